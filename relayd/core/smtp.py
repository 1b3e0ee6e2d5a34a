"""The mail server that delivers to `mailto:` URLs, and the form of an address."""

import re
from dataclasses import dataclass, field
from typing import Final, Literal

from relayd.core.secret import SourcedSecret

SmtpTls = Literal["starttls", "implicit", "none"]
"""`starttls` asks for TLS after the connection, and sends nothing without; `implicit` begins with it."""

MAILTO: Final = "mailto:"

MAIL_SERVER: Final = "mail server"
"""How it is named in the words of a failure."""

DEFAULT_PORTS: Final[dict[SmtpTls, int]] = {"starttls": 587, "implicit": 465, "none": 25}

# A URL's own characters (%, ?, #) are not among these: what is written is the address itself.
_ATOM: Final = r"[A-Za-z0-9!$&'*+/=^_`{|}~-]+"
_LABEL: Final = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
ADDRESS_PATTERN: Final = (
    rf"^(?=.{{1,254}}$)(?=[^@]{{1,64}}@){_ATOM}(\.{_ATOM})*@{_LABEL}(\.{_LABEL})*$"
)

_ADDRESS = re.compile(ADDRESS_PATTERN.removeprefix("^").removesuffix("$"), re.ASCII)


@dataclass(frozen=True, slots=True)
class Smtp:
    """The mail server, and who mail comes from. `user` and `password` are both set, or neither.

    A login is made over TLS or to this machine only: the configuration is refused otherwise.
    """

    host: str
    port: int
    tls: SmtpTls
    sender: str
    user: str | None = field(default=None, repr=False)
    password: SourcedSecret | None = field(default=None, repr=False)

    @property
    def place(self) -> str:
        """Return the server as messages name it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def is_address(text: str) -> bool:
    """Tell whether a text is one plain e-mail address, in ASCII and without quotes."""
    return _ADDRESS.fullmatch(text) is not None


def is_mailto(url: str) -> bool:
    """Tell whether a URL in its normal form is delivered to by mail."""
    return url.startswith(MAILTO)


def shown_mailto(url: str) -> str:
    """Return a mailto URL as logs and relayd's own events show it: `mailto:…@host`."""
    return f"{MAILTO}…@{url.rpartition('@')[2]}"
