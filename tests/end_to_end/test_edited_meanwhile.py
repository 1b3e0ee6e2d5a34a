"""`relayd add` and `remove` beside an editor, and where a process ends on the way."""

import errno
import signal
from pathlib import Path

import pytest
import trio
from processes import command, run_command, running, write_config

from relayd.cli.command_error import CommandError
from relayd.cli.offline_subscriptions import remove_offline
from relayd.commands import subscription_file_refusals, subscription_files
from relayd.config import included_file

URL = "https://shop.example/hooks"
MORE = "  three: {url: https://x.example/, events: '*', secret: ssssssssssssssssssssssss}\n"


def including(folder: Path) -> Path:
    (folder / "subs.d").mkdir(mode=0o700)
    return write_config(folder, include="subs.d/*.yaml")


async def add(config: Path, name: str, *, status: int = 0) -> str:
    return await command(
        "add", name, "--url", URL, "--events", "order.*", config=config, status=status
    )


async def test_what_an_editor_saved_before_it_was_set_aside_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = including(tmp_path)
    await add(config, "shop")
    file = tmp_path / "subs.d" / "shop.yaml"

    def edited(path: Path) -> Path:
        with path.open("a") as opened:
            opened.write(MORE)
        return included_file.set_aside(path)

    monkeypatch.setattr("relayd.cli.offline_subscriptions.set_aside", edited)
    with pytest.raises(CommandError, match=r"shop\.yaml was changed meanwhile"):
        remove_offline(config, "shop", file)
    assert file.read_text().endswith(MORE)
    assert [each.name for each in file.parent.iterdir()] == ["shop.yaml"]


def test_what_was_judged_is_what_is_removed(tmp_path: Path) -> None:
    from relayd.config.reading import read_file, recorded_reads  # noqa: PLC0415 - with the test

    file = tmp_path / "shop.yaml"
    file.write_text("a")
    with recorded_reads() as files:
        read_file(file, 100)
    judged = files[str(file)]
    assert not subscription_files.is_changed(file, judged)
    file.write_text("b")
    assert subscription_files.is_changed(file, judged)
    file.unlink()
    assert subscription_files.is_changed(file, judged)


async def test_a_file_that_is_written_again_during_the_reload_is_not_called_removed(
    tmp_path: Path,
) -> None:
    config = including(tmp_path)
    folder = tmp_path / "subs.d"
    await add(config, "shop")
    file = folder / "shop.yaml"
    text = file.read_text()
    # What takes long to read keeps the reload going until the file is there again.
    for number in range(600):
        other = folder / f"o{number}.yaml"
        other.write_text(
            f"subscriptions:\n  o{number}: {{url: {URL}, events: '*', secret: {'s' * 24}}}\n"
        )
        other.chmod(0o600)
    async with running(config):
        said: list[str] = []

        async def remove() -> None:
            done = await run_command("remove", "shop", "--yes", config=config)
            said.append(f"{done.returncode} {done.stderr.decode()}")

        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(remove)
                while file.exists():
                    await trio.sleep(0.001)
                file.write_text(text)
                file.chmod(0o600)
        assert said[0].startswith("1 "), said
        assert "was written again meanwhile" in said[0].replace("\n  ", " ")
        assert file.exists()
        assert len(list(folder.iterdir())) == 601


async def test_a_lost_answer_says_where_to_look(tmp_path: Path) -> None:
    config = including(tmp_path)
    folder = tmp_path / "subs.d"
    for number in range(300):
        other = folder / f"o{number}.yaml"
        other.write_text(
            f"subscriptions:\n  o{number}: {{url: {URL}, events: '*', secret: {'s' * 24}}}\n"
        )
        other.chmod(0o600)
    async with running(config) as relayd:
        said: list[str] = []

        async def lost() -> None:
            said.append(await add(config, "shop", status=1))

        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(lost)
                while not (folder / "shop.yaml").exists():
                    await trio.sleep(0.001)
                relayd.signal(signal.SIGKILL)
                await relayd.wait()
    assert "`relayd check` says whether shop was added" in said[0].replace("\n  ", " ")


@pytest.mark.parametrize("name", ["-x", "--", "-", "--yes"])
async def test_a_name_that_would_be_an_option_of_other_commands_is_refused(
    tmp_path: Path, name: str
) -> None:
    config = including(tmp_path)
    said = await command(
        "add", "--url", URL, "--events", "*", "--config", str(config), "--", name, status=2
    )
    assert f"`{name}`: a name is 1 to 64" in said
    assert "begins with no `-`" in said.replace("\n", " ")
    assert not list((tmp_path / "subs.d").iterdir())


async def test_a_name_of_any_length_is_refused_in_a_short_line(tmp_path: Path) -> None:
    said = await add(including(tmp_path), "x" * 100_000, status=2)
    assert len(said) < 500


def test_a_folder_of_the_right_user_with_the_wrong_mode_gets_the_command_for_it(
    tmp_path: Path,
) -> None:
    tmp_path.chmod(0o500)
    refused = subscription_file_refusals.cannot_write(
        tmp_path / "shop.yaml", PermissionError(errno.EACCES, "Permission denied")
    )
    assert str(refused).endswith(f"its owner may not write there (chmod u+wx {tmp_path})")
    tmp_path.chmod(0o700)
