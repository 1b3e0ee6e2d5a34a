"""The mail server of the file's models, and what a `mailto:` URL needs and rules out."""

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Final

from relayd.config.build_secrets import SecretBuilder
from relayd.config.findings import Findings
from relayd.config.models import SmtpSection
from relayd.config.problem import KeyPath
from relayd.config.subscription_models import SubscriptionSection
from relayd.config.urls import BadUrl
from relayd.core.secret import SourcedSecret
from relayd.core.smtp import DEFAULT_PORTS, MAILTO, Smtp, is_address

_NOT_OF_MAIL: Final[Mapping[str, str]] = {
    "format": "is for http, and a mail has a form of its own",
    "template": "is for http, and a mail has a form of its own",
    "signature": "is for http, and a mail is not signed",
    "previous_secret": "is for http, and a mail is not signed",
    "headers": "is for http, and a mail has none of them",
    "tls": "is for http, and `smtp:` says how the mail server is reached",
    "ip": "is for http, and `smtp:` says how the mail server is reached",
    "max_in_flight": "is for http, and mail goes over one connection at a time",
}


def build_smtp(section: SmtpSection, secrets: SecretBuilder, findings: Findings) -> Smtp:
    """Return the mail server. Reads the password, so it blocks on the disk."""
    password: SourcedSecret | None = None
    if section.password is not None:
        password = secrets.login(section.password, ("smtp", "password"))
        if section.user is None and not findings.is_doubtful(("smtp", "user")):
            findings.error(
                ("smtp", "password"), "has no user", "add `user:`, or remove it", at_key=True
            )
    elif section.user is not None and not findings.is_doubtful(("smtp", "password")):
        findings.error(
            ("smtp", "user"), "has no password", "add `password: {file: PATH}`", at_key=True
        )
    if section.user is not None and section.tls == "none" and not _is_this_machine(section.host):
        findings.error(
            ("smtp", "tls"),
            "is none, and a login is sent only over TLS or to this machine",
            "write tls: starttls or implicit, or remove user and password",
        )
    return Smtp(
        host=section.host,
        port=section.port or DEFAULT_PORTS[section.tls],
        tls=section.tls,
        sender=section.sender,
        user=section.user,
        password=password,
    )


def normal_mailto(text: str) -> str | BadUrl:
    """Return a mailto URL with its host in lower case, or why nothing can be delivered to it."""
    address = text[len(MAILTO) :]
    if is_address(address):
        local, _, host = address.rpartition("@")
        return f"{MAILTO}{local}@{host.lower()}"
    if "," in address or ";" in address or address.count("@") > 1:
        return BadUrl(
            "must have one address", "write a subscription for each, or use a list's address"
        )
    if "?" in address:
        return BadUrl("must have an address and nothing else", "leave out ? and what follows")
    return BadUrl("must have one plain e-mail address in ASCII", "as mailto:ops@example.com")


def check_mail(
    section: SubscriptionSection, path: KeyPath, smtp: Smtp | None, findings: Findings
) -> None:
    """Note what is wrong with a subscription because its URL is a mailto one."""
    if smtp is None and not findings.is_doubtful(("smtp",)):
        findings.error(
            (*path, "url"),
            "is delivered to by mail, and there is no `smtp:`",
            "add `smtp: {host: localhost, port: 25, tls: none, from: relayd@your-market.com}` at the"
            " file's left edge, with your mail server",
        )
    for key, message in _NOT_OF_MAIL.items():
        if getattr(section, key) is not None:
            findings.error((*path, key), message, "remove it", at_key=True)


def _is_this_machine(host: str) -> bool:
    if f".{host.lower().removesuffix('.')}".endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
