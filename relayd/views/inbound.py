"""The entries of `inbound:` as documents: for `check` without their secrets, for the web process with them."""

from collections.abc import Mapping
from ipaddress import ip_network
from typing import Any

from relayd.core.inbound.entry import HmacScheme, Inbound, Place, Provider
from relayd.core.secret import Secret


def inbound_document(entry: Inbound) -> dict[str, object]:
    """Return an entry as it is interpreted, without its secrets."""
    return {
        "name": entry.name,
        "path": entry.path,
        "provider": str(entry.provider),
        "secrets_from": list(entry.secrets_from),
        "market_id": entry.market_id,
        "tolerance_s": entry.tolerance_s,
        "allow_from": [str(network) for network in entry.networks],
        "allow_test_mode": entry.allow_test_mode,
        "types": dict(entry.types),
        "scheme": None if entry.scheme is None else _scheme_document(entry.scheme),
    }


def secrets_document(entries: Mapping[str, Inbound]) -> dict[str, list[str]]:
    """Return the secrets of all entries, by name: for `QUEUE.web`, and nothing else."""
    return {name: [secret.reveal() for secret in entry.secrets] for name, entry in entries.items()}


def read_inbound(
    documents: list[dict[str, Any]], secrets: Mapping[str, list[str]]
) -> dict[str, Inbound]:
    """Return the entries of what both functions wrote, by name.

    Raises KeyError, TypeError or ValueError where another program wrote it.
    """
    return {each["name"]: _entry(each, secrets[each["name"]]) for each in documents}


def _entry(document: Mapping[str, Any], secrets: list[str]) -> Inbound:
    scheme = document["scheme"]
    return Inbound(
        name=document["name"],
        provider=Provider(document["provider"]),
        market_id=document["market_id"],
        secrets=tuple(map(Secret, secrets)),
        secrets_from=tuple(document["secrets_from"]),
        tolerance_s=document["tolerance_s"],
        networks=tuple(map(ip_network, document["allow_from"])),
        types=document["types"],
        allow_test_mode=document["allow_test_mode"],
        scheme=None if scheme is None else _scheme(scheme),
    )


def _scheme_document(scheme: HmacScheme) -> dict[str, object]:
    return {
        "header": scheme.header,
        "algorithm": scheme.algorithm,
        "encoding": scheme.encoding,
        "prefix": scheme.prefix,
        "signed": scheme.signed,
        "url": scheme.url,
        "timestamp": scheme.timestamp,
        "id": _place_document(scheme.id),
        "type": [_place_document(each) for each in scheme.type],
        "time": _place_document(scheme.time),
    }


def _scheme(document: Mapping[str, Any]) -> HmacScheme:
    return HmacScheme(
        **{
            **document,
            "id": _place(document["id"]),
            "type": tuple(Place(**each) for each in document["type"]),
            "time": _place(document["time"]),
        }
    )


def _place_document(place: Place | None) -> dict[str, str] | None:
    return None if place is None else {"header": place.header, "path": place.path}


def _place(document: Mapping[str, str] | None) -> Place | None:
    return None if document is None else Place(**document)
