"""Options that take a number: what is wrong is said with what is allowed."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from processes import write_config

from relayd.cli import cli


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["events", "--limit", "x"], "'x' is not allowed: give a whole number from 1 to 10,000"),
        (["events", "--limit", "0"], "'0' is not allowed: give a whole number from 1 to 10,000"),
        (["deliveries", "--limit", "1e9"], "'1e9' is not allowed: give a whole number from 1 to"),
        (["deliveries", "--limit", "nan"], "'nan' is not allowed: give a whole number from 1 to"),
        (["emit", "order.created", "--count", "-1"], "'-1' is not allowed: give a whole number"),
        (["sign", "--timestamp", "-1"], "'-1' is not allowed: give a whole number of 0 or more"),
        (["listen", "--port", "9" * 5000], "give a whole number from 0 to 65,535"),
    ],
)
def test_a_number_that_cannot_be(arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 2, result.output
    assert said in " ".join(result.output.split())


@pytest.mark.parametrize("text", ["", " ", "\n"])
def test_an_empty_condition_says_what_a_condition_is(text: str, tmp_path: Path) -> None:
    config = str(write_config(tmp_path))
    result = CliRunner().invoke(
        cli,
        [
            "add",
            "shop",
            "--url",
            "https://a.example/",
            "--events",
            "*",
            "--where",
            text,
            "--config",
            config,
        ],
    )
    assert result.exit_code == 2, result.output
    assert "write a path, a colon, a space and a value" in " ".join(result.output.split())
