"""Conditions of a subscription as a person writes them apart from a file: each a line of YAML."""

from collections.abc import Sequence
from typing import Final

from relayd.config.yaml_nodes import YamlError
from relayd.config.yaml_text import parse_yaml

_A_CONDITION: Final = "write a path, a colon, a space and a value, as 'data.object.currency: usd'"


class NotConditionsError(ValueError):
    """A text is not a condition; says why, after the name of the option or field that has it."""


def conditions_of(given: Sequence[str]) -> dict[str, object]:
    """Return the conditions that these texts have together. Raises `NotConditionsError`."""
    found: dict[str, object] = {}
    for text in given:
        if not text.strip():
            raise NotConditionsError(f" {text!r}: {_A_CONDITION}")
        try:
            document = parse_yaml(text.encode(errors="surrogateescape"))
            faults = list(document.faults)
        except YamlError as error:
            faults = error.faults
        if faults:
            where = "" if faults[0].place is None else f" at column {faults[0].place.column}"
            hint = f" ({faults[0].hint})" if faults[0].hint else ""
            raise NotConditionsError(f" {text!r}{where}: {faults[0].message}{hint}")
        conditions = document.root.data
        # `path=value`, or what is left of a list of fields, would be a condition that never holds.
        if not isinstance(conditions, dict) or any(set("={}<>") & set(each) for each in conditions):
            raise NotConditionsError(f" {text!r}: {_A_CONDITION}")
        for path, wanted in conditions.items():
            if path in found:
                raise NotConditionsError(f": there are two conditions on {path}")
            found[path] = wanted
    return found
