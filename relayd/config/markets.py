"""The markets that a source's events may name, from the value of `markets:`."""

from typing import Literal

from relayd.config.fields import ALL_MARKETS
from relayd.config.findings import Findings
from relayd.config.problem import KeyPath


def markets_of(
    key: KeyPath, markets: Literal["*"] | list[str], findings: Findings
) -> frozenset[str] | None:
    """Return them, None for any; an error goes to `findings`."""
    if markets == ALL_MARKETS:
        return None
    if ALL_MARKETS in markets:
        findings.error(
            key, "lists `*` as a market", f'write markets: "{ALL_MARKETS}" for any market'
        )
    return frozenset(markets)
