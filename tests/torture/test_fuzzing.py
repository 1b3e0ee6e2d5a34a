"""The fuzzers in short form; `make torture` runs each for ten minutes."""

from pathlib import Path

import pytest
from torture import fuzzing
from torture.fuzzing import fuzz, parsers

EXAMPLE = (Path(__file__).parents[2] / "config.example.yaml").read_bytes()


@pytest.mark.parametrize("name", list(parsers(EXAMPLE)))
def test_a_parser_bears_mutants(name: str) -> None:
    number, finding = fuzz(name, 1.0, 20261124, EXAMPLE)
    assert finding is None
    assert number > 20


def test_a_fuzzer_finds_a_defect_and_its_seed_finds_it_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RecursionError("too deep")

    monkeypatch.setattr(fuzzing, "event_from_line", broken)
    number, finding = fuzz("line", 5.0, 7, EXAMPLE)
    assert number == 1
    assert finding is not None
    assert "RecursionError" in finding.error
    assert fuzz("line", 5.0, 7, EXAMPLE) == (number, finding)
