"""A state given with `--state` that is for another command."""

import pytest
from click.testing import CliRunner

from relayd.cli import cli


@pytest.mark.parametrize(
    ("command", "state", "instead"),
    [
        ("replay", "pending", "`relayd retry SUBSCRIPTION`"),
        ("replay", "retrying", "`relayd retry SUBSCRIPTION`"),
        ("replay", "held", "`relayd resume SUBSCRIPTION`"),
        ("cancel", "exhausted", "`relayd cancel ID`"),
        ("cancel", "cancelled", "`relayd replay`"),
        ("cancel", "delivered", "cannot be taken back"),
    ],
)
def test_a_state_that_is_for_another_command_names_that(
    command: str, state: str, instead: str
) -> None:
    result = CliRunner().invoke(cli, [command, "books", "--state", state])
    assert result.exit_code == 2
    assert instead in result.output


def test_a_state_that_no_command_has_is_refused_as_before() -> None:
    result = CliRunner().invoke(cli, ["replay", "books", "--state", "lost"])
    assert result.exit_code == 2
    assert "is not one of 'exhausted', 'cancelled', 'delivered'" in result.output
