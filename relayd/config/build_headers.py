"""The headers of the file's models: the defaults' and each subscription's, with their secrets."""

import re
from collections.abc import Mapping

from relayd.config.build_secrets import SecretBuilder
from relayd.config.findings import Findings
from relayd.config.problem import KeyPath
from relayd.config.subscription_models import SecretSource, SubscriptionSection
from relayd.config.urls import PLACEHOLDER
from relayd.core.signature import RESERVED_HEADERS
from relayd.core.subscription import HeaderSignature, SignatureScheme

# h11 sends no other characters; what is not ASCII would be read in different ways.
_HEADER_VALUE = re.compile(r"[\x20-\x7e\t]*")


class HeaderBuilder:
    """Builds the headers of one subscription after the other; errors go to `findings`."""

    def __init__(
        self,
        defaults: Mapping[str, str | SecretSource] | None,
        secrets: SecretBuilder,
        findings: Findings,
    ) -> None:
        self._secrets = secrets
        self._findings = findings
        self._defaults = self._read(defaults, ("defaults", "headers"))

    def merged(
        self,
        section: SubscriptionSection,
        path: KeyPath,
        signature: SignatureScheme | HeaderSignature,
    ) -> tuple[tuple[str, str], ...]:
        """Return the defaults' headers and the subscription's own, which win, as they are sent."""
        own = self._read(section.headers, (*path, "headers"))
        merged = {**self._defaults, **own}
        formed = section.format is not None or section.template is not None
        if formed and "content-type" not in own:
            merged.pop("content-type", None)  # the defaults' is about events
        if isinstance(signature, HeaderSignature) and signature.header.lower() in merged:
            name, _ = merged[signature.header.lower()]
            place: KeyPath = path if signature.header.lower() in own else ("defaults",)
            other = (*(path if section.signature else ("defaults",)), "signature")
            self._findings.error(
                (*place, "headers", name),
                "is also the header of the signature:"
                f" {self._findings.place_words((*other, 'header'))}",
                "keep one",
                at_key=True,
            )
        return tuple(merged.values())

    def _read(
        self, headers: Mapping[str, str | SecretSource] | None, path: KeyPath
    ) -> dict[str, tuple[str, str]]:
        """Return names and values by the name in lower case, as HTTP compares them."""
        found: dict[str, tuple[str, str]] = {}
        for name, given in (headers or {}).items():
            place = (*path, name)
            if name.lower() in RESERVED_HEADERS:
                self._findings.error(
                    place, "is a header that relayd sets itself", "remove it", at_key=True
                )
            elif name.lower() in found:
                self._findings.error(
                    place, "is given twice, in different case", "keep one", at_key=True
                )
            value = given if isinstance(given, str) else self._secrets.text(given, place)
            if isinstance(given, str) and PLACEHOLDER.search(given):
                self._findings.error(
                    place,
                    "contains a placeholder, which is not expanded",
                    "write {env: NAME} or {file: PATH}, whose text is the whole value",
                )
            if not _HEADER_VALUE.fullmatch(value):
                self._findings.error(
                    place,
                    "holds a line break, or a character that is not ASCII",
                    "a header is one line of ASCII",
                )
            found[name.lower()] = (name, value.strip())
        return found
