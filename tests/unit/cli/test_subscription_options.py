"""What is wrong with an option of `add`: each error names the option, and shows one that is right."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from processes import write_config

from relayd.cli import cli

EXAMPLES = {
    "--timeout": "--timeout 10s",
    "--rate-limit": "--rate-limit 100/min",
    "--retry": "--retry 2m,10m,1h",
}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    folder = tmp_path / "subscriptions.d"
    folder.mkdir(mode=0o700)
    return write_config(tmp_path, spools=None, include="subscriptions.d/*.yaml")


def add(config: Path, option: str, value: str) -> tuple[int, str]:
    needed = ("--url", "https://a.example/", "--events", "order.*")
    arguments = ["add", "shop", *needed, f"{option}={value}", "--config", str(config)]
    done = CliRunner().invoke(cli, arguments, terminal_width=200)
    assert not isinstance(done.exception, Exception), done.exception
    return done.exit_code, " ".join(done.output.split())


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--timeout", "", "must be a number and a unit"),
        ("--timeout", "10", "must be a number and a unit"),
        ("--timeout", "1h", "must be between 100ms and 1m"),
        ("--rate-limit", "100", "must be a whole number, from 1 to 1,000,000, and a period"),
        ("--rate-limit", "9999999/s", "must be a whole number, from 1 to 1,000,000, and a period"),
        ("--retry", "2m,abc", "wait 2: must be a number and a unit"),
        ("--retry", "400d", "wait 1: must be between 1ms and 30d"),
        ("--retry", "", "there is no wait in it"),
        ("--retry", ",", "there is no wait in it"),
        ("--retry", "[ ]", "there is no wait in it"),
    ],
)
def test_each_error_names_the_option_and_an_example(
    config: Path, option: str, value: str, said: str
) -> None:
    status, output = add(config, option, value)
    assert status == 2
    assert option in output
    assert said in output
    assert EXAMPLES[option] in output
    assert not list((config.parent / "subscriptions.d").iterdir())


@pytest.mark.parametrize("value", ["none", "[]", "2m", "[2m, 10m]", "2m 10m"])
def test_waits_that_are_some_and_none_on_purpose(config: Path, value: str) -> None:
    status, output = add(config, "--retry", value)
    assert (status, output[:10]) == (0, "shop added")


@given(
    option=st.sampled_from(sorted(EXAMPLES)),
    value=st.one_of(
        st.text(max_size=20),
        st.text(alphabet="0123456789.,/ -+[]smhdin", max_size=12),
    ),
)
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_whatever_is_written_is_taken_or_refused_in_terms_of_the_option(
    config: Path, option: str, value: str
) -> None:
    try:
        value.encode()
    except UnicodeEncodeError:
        return  # no argument of a process
    if "\0" in value:
        return
    status, output = add(config, option, value)
    added = config.parent / "subscriptions.d" / "shop.yaml"
    assert added.exists() == (status == 0)
    added.unlink(missing_ok=True)
    assert status in {0, 2}
    if status == 2:
        assert option in output
