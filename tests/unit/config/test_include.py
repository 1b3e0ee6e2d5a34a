"""Included files: which are read, in which order, and who may decide what is in them."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import click
import pytest
import trio
from processes import write_config

from relayd.cli.check.files import file_notes
from relayd.cli.options import complete_subscriptions
from relayd.config import included
from relayd.config.config import Config
from relayd.config.included import IncludedReader
from relayd.config.load import load_config
from relayd.config.partial import read_partial_config, read_places
from relayd.config.problem import ConfigError
from relayd.config.transfer import pieces_of, received
from relayd.config_loader import ConfigLoader
from relayd.core.parts import whole

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
NOBODY = 65534


def subscription(name: str, host: str = "first.example", **keys: object) -> str:
    more = "".join(f", {key}: {value}" for key, value in keys.items())
    return (
        f"subscriptions:\n  {name}: {{url: https://{host}/, events: [order.created],"
        f" secret: 0123456789abcdef0123{more}}}\n"
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "subs.d"
    made.mkdir(mode=0o700)
    return made


def write(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def including(folder: Path, include: object = "subs.d/*.yaml", **keys: Any) -> Path:
    return write_config(folder.parent, include=include, **keys)


def load(path: Path) -> Config:
    return load_config(path, environ={})


def refusal(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(path)
    return [str(each).replace(f"{path.parent}/", "") for each in caught.value.problems]


def test_files_are_read_in_the_order_of_their_names(folder: Path) -> None:
    config = including(folder)
    for name in ("b", "a", "c"):
        write(folder / f"{name}.yaml", subscription(f"sub-{name}"))
    write(folder / ".d.yaml", "junk: [")
    write(folder / "e.yaml~", "junk: [")
    write(folder / "all-off.yaml", "# subscriptions:\n#   off:\n")
    write(folder / "empty.yaml", "subscriptions:\n")
    loaded = load(config)
    own = [name for name in loaded.subscriptions if name not in loaded.included]
    assert list(loaded.subscriptions) == [*own, "sub-a", "sub-b", "sub-c"]
    assert loaded.included == {f"sub-{each}": folder / f"{each}.yaml" for each in "abc"}
    read = [Path(each.path) for each in loaded.files]
    names = ["a.yaml", "all-off.yaml", "b.yaml", "c.yaml", "empty.yaml"]
    assert read == [config, *(folder / name for name in names)]
    assert len({each.digest for each in loaded.files}) == 6


def test_nothing_to_include_is_fine_and_check_notes_what_is_missing(folder: Path) -> None:
    def notes(config: Path) -> list[str]:
        return [each for each in file_notes(load(config)) if each.startswith("include")]

    assert load(including(folder)).included == {}
    assert notes(including(folder)) == []
    folder.rmdir()
    (note,) = notes(including(folder))
    assert note.startswith(f"include needs the directory {folder}, which does not exist (mkdir")
    (note,) = notes(including(folder, ["nothing.yaml"]))
    assert note == f"include names the file {folder.parent}/nothing.yaml, which does not exist"


def test_lists_absolute_paths_and_one_file_twice(folder: Path) -> None:
    write(folder / "a.yaml", subscription("one"))
    (folder / "b.yaml").symlink_to("a.yaml")
    other = write(folder.parent / "other.yml", subscription("two"))
    config = including(folder, [str(other), "subs.d/*.yaml", "./subs.d/a.yaml", "subs.d/[ab].yaml"])
    assert [Path(each.path).name for each in load(config).files] == [
        "config.yaml",
        "other.yml",
        "a.yaml",
    ]


def test_all_that_is_wrong_is_said_at_once_with_its_file(folder: Path) -> None:
    config = including(folder)
    write(folder / "a.yaml", subscription("one", foo=1))
    write(folder / "b.yaml", f"{subscription('two')}queue: {{path: x}}\n")
    write(folder / "c.yaml", "subscriptions: [1\n")
    write(folder / "d.yaml", "- one\n")
    write(folder / "e.yaml", "subscriptions: [one]\n")
    write(folder / "f.yaml", "subscriptions:\n  six:\n    url: ftp://x/\n    url: https://x/\n")
    os.mkfifo(folder / "g.yaml")
    (folder / "h.yaml").symlink_to("/dev/zero")
    (folder / "i.yaml").mkdir()
    (folder / "j.yaml").symlink_to("nowhere")
    said = refusal(config)
    assert any(each.startswith("subs.d/a.yaml:2:") and "one.foo: unknown" in each for each in said)
    assert "subs.d/b.yaml:3:1: queue: an included file holds `subscriptions:` only (move it to" in (
        next(each for each in said if "b.yaml" in each)
    )
    assert any(each.startswith("subs.d/c.yaml:2:1: ") for each in said)
    assert any(each.startswith("subs.d/d.yaml:1:1: must be keys and values") for each in said)
    assert any(each.startswith("subs.d/e.yaml:1:16: subscriptions: must be keys") for each in said)
    assert any(each.startswith("subs.d/f.yaml:4:5: ") and "duplicate key" in each for each in said)
    assert any(each.startswith("subs.d/f.yaml:2:3: ") and "six.events" in each for each in said)
    assert "subs.d/g.yaml: is not a file" in said
    assert "subs.d/h.yaml: is not a file" in said
    assert any(each.startswith("subs.d/i.yaml: is a directory") for each in said)
    assert "subs.d/j.yaml: does not exist" in said


def test_a_name_twice_names_both_places(folder: Path) -> None:
    shop = {"url": "https://shop.example/", "events": "*", "secret": "0123456789abcdef0123"}
    config = including(folder, subscriptions={"shop": shop})
    write(folder / "a.yaml", subscription("one"))
    write(folder / "b.yaml", subscription("one"))
    write(folder / "c.yaml", subscription("shop"))
    first, second = refusal(config)
    assert first == (
        "subs.d/b.yaml:2:3: subscriptions.one: duplicate name, first defined at subs.d/a.yaml:2:3"
        " (rename or remove one of them)"
    )
    assert second.startswith("subs.d/c.yaml:2:3: ")
    assert f"first defined at {config.name}:" in second


def test_limits_that_differ_for_one_url_name_both_files(folder: Path) -> None:
    config = including(folder)
    write(folder / "a.yaml", subscription("one", rate_limit="5/s"))
    write(folder / "b.yaml", subscription("two", rate_limit="6/s"))
    (said,) = refusal(config)
    assert said.startswith("subs.d/b.yaml:2:")
    assert "in subscriptions.one, subs.d/a.yaml:2:3" in said


@pytest.mark.parametrize(
    ("include", "said"),
    [
        ("*/a.yaml", "include: has a wildcard in the name of a folder"),
        ("subs.d/", "include: names a folder"),
        (["subs.d/*", "x/.y"], "include[1]: names a file that begins with a dot"),
        ([7], "include[0]: must be text"),
        ({"a": 1}, "include: must be a list"),
        ("", "include: must be a path"),
        ("~/subs.d/*", "include: `~` is not replaced"),
        (["a\0b"], "include[0]: must be a path"),
    ],
)
def test_patterns_that_cannot_be_used(folder: Path, include: object, said: str) -> None:
    assert any(said in each for each in refusal(including(folder, include)))


@pytest.mark.parametrize("mode", [0o602, 0o666])
def test_a_file_that_others_may_write_is_refused(folder: Path, mode: int) -> None:
    config = including(folder)
    write(folder / "a.yaml", subscription("one"), mode)
    (said,) = refusal(config)
    assert said.startswith("subs.d/a.yaml: may be written by everybody on this machine (chmod go-w")


def test_a_group_counts_where_somebody_else_is_in_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = including(folder)
    write(folder / "a.yaml", subscription("one"), 0o660)
    monkeypatch.setattr(included, "members_of", lambda _: {0, os.geteuid()})
    assert "one" in load(config).subscriptions
    monkeypatch.setattr(included, "members_of", lambda _: {0, os.geteuid(), NOBODY})
    (said,) = refusal(config)
    assert "may be written by user nobody, by its group" in said


def test_a_folder_in_which_others_may_write_is_refused(folder: Path) -> None:
    config = including(folder)
    write(folder / "a.yaml", subscription("one"))
    folder.chmod(0o703)
    (said,) = refusal(config)
    assert said.startswith("subs.d/a.yaml: could be replaced by everybody on this machine")
    folder.chmod(0o1703)  # others may still add files
    (said,) = refusal(config)
    assert said.startswith("subs.d/a.yaml: could be replaced by everybody on this machine")


def test_a_link_is_judged_by_where_it_leads(folder: Path) -> None:
    config = including(folder)
    away = folder.parent / "away"
    away.mkdir(mode=0o700)
    target = write(away / "real.yaml", subscription("one"))
    (folder / "a.yaml").symlink_to(target)
    assert load(config).included == {"one": folder / "a.yaml"}
    away.chmod(0o707)
    (said,) = refusal(config)
    assert "away (chmod go-w" in said
    away.chmod(0o700)
    target.chmod(0o606)
    assert "may be written by everybody" in refusal(config)[0]


@as_root
def test_a_file_or_a_folder_of_somebody_else_is_refused(folder: Path) -> None:
    config = including(folder)
    file = write(folder / "a.yaml", subscription("one"))
    folder.parent.chmod(0o755)
    os.chown(file, NOBODY, -1)
    (said,) = refusal(config)
    assert said.startswith("subs.d/a.yaml: belongs to user nobody, and must belong to root")
    os.chown(file, 0, -1)
    os.chown(folder, NOBODY, -1)
    folder.chmod(0o755)
    file.chmod(0o644)
    (said,) = refusal(config)
    assert said.startswith("subs.d/a.yaml: could be replaced by user nobody, to whom")


@as_root
def test_root_does_not_follow_another_users_link_to_what_only_root_may_read(folder: Path) -> None:
    config = including(folder)
    private = write(folder.parent / "private", "a secret of root: 1\n")
    (folder / "a.yaml").symlink_to(private)
    for each in folder.parents[:3]:
        each.chmod(0o755)
    os.chown(folder, NOBODY, -1)
    os.chown(folder.parent, NOBODY, -1)  # the queue's: nobody is relayd's user here
    said = refusal(config)
    assert "a secret of root" not in str(said)
    assert any("a.yaml: cannot be opened by user" in each for each in said), said


def test_all_files_together_have_bounds(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = including(folder)
    for name in "abcd":
        write(folder / f"{name}.yaml", subscription(f"sub-{name}") + "#" * 1_200_000)
    (said,) = refusal(config)
    assert said == "subs.d/d.yaml: all files together are larger than 4 MiB"
    for name in "abcd":
        write(folder / f"{name}.yaml", "a: &a [1,2,3,4,5,6,7,8,9,10]\n" + "b: [*a,*a,*a,*a]\n" * 1)
    monkeypatch.setattr("relayd.config.documents.MAX_NODES", 60)
    assert any("more than 60 keys and values" in each for each in refusal(config))
    monkeypatch.setattr(included, "MOST_FILES", 2)
    assert any("more than 2 files are included" in each for each in refusal(config))
    monkeypatch.setattr(included, "MOST_NAMES", 3)
    assert any("subs.d: more than 3 names are in the" in each for each in refusal(config))


def test_names_are_counted_for_all_patterns_together(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        write(folder / f"{name}.yaml", subscription(name))
    looked_at = 0

    class Entries:
        def __init__(self, path: Path) -> None:
            self._entries = os.scandir(path)

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            self._entries.close()

        def __iter__(self) -> Self:
            return self

        def __next__(self) -> object:
            nonlocal looked_at
            found = next(self._entries)
            looked_at += 1
            return found

    monkeypatch.setattr(included, "os", SimpleNamespace(**{**vars(os), "scandir": Entries}))
    monkeypatch.setattr(included, "MOST_NAMES", 20)
    patterns = ["subs.d/*.yaml", *(f"subs.d/{number}*.yaml" for number in range(9))]
    assert set(load(including(folder, patterns)).subscriptions) == {"one", "two"}
    assert looked_at == 20
    patterns += [f"subs.d/x{number}*.yaml" for number in range(1_000)]
    looked_at = 0
    said = refusal(including(folder, patterns))
    assert sum("subs.d: more than 20 names are in the folders" in each for each in said) == 1
    assert looked_at == 21
    # Names without a wildcard are looked at, too.
    patterns = [f"subs.d/x{number}.yaml" for number in range(21)]
    assert "more than 20 names" in str(refusal(including(folder, patterns)))


def test_a_part_is_read_while_an_included_file_is_wrong(folder: Path) -> None:
    config = including(folder)
    write(folder / "a.yaml", subscription("one"))
    assert "one" in read_partial_config(config).subscriptions
    write(folder / "b.yaml", "subscriptions: {two: {events: nothing}}\n")
    partial = read_partial_config(config)
    assert {"two"} == partial.doubtful
    write(folder / "c.yaml", "[")
    assert read_places(config, "queue", "spools", "socket").spools
    with pytest.raises(ConfigError, match=r"c\.yaml"):
        read_partial_config(config)


def test_the_shell_completes_their_names(folder: Path) -> None:
    config = including(folder)
    write(folder / "a.yaml", subscription("one"))
    context = click.Context(click.Command("pause"))
    context.params["config_path"] = config
    parameter = click.Argument(["names"])
    found = complete_subscriptions(context, parameter, "o")
    assert [each.value for each in found] == ["one"]
    config.write_text("[")
    assert complete_subscriptions(context, parameter, "o") == []


def test_the_files_cross_to_the_daemon(folder: Path) -> None:
    config = including(folder)
    write(folder / "a.yaml", subscription("one"))
    loaded = load(config)
    there = whole(received(memoryview(b"".join(pieces_of(loaded)))))
    assert [(each.path, each.digest) for each in there.files] == [
        (each.path, each.digest) for each in loaded.files
    ]
    assert there.included == loaded.included
    by_the_process = trio.run(ConfigLoader().load, config, loaded)
    assert [each.path for each in by_the_process.files] == [each.path for each in loaded.files]
    assert by_the_process.included == loaded.included
    assert by_the_process.subscriptions["one"] is loaded.subscriptions["one"]


def test_what_is_judged_is_what_is_read_where_a_pattern_goes_up_behind_a_link(
    folder: Path,
) -> None:
    base = folder.parent
    (base / "x" / "y").mkdir(parents=True)
    (base / "x" / "subs.d").mkdir()
    write(base / "x" / "subs.d" / "other.yaml", subscription("other"))
    (base / "lnk").symlink_to("x/y")
    write(folder / "a.yaml", subscription("one"))
    config = including(folder, "lnk/../subs.d/*.yaml")
    loaded = load(config)
    assert list(loaded.subscriptions) == ["one"]
    assert set(loaded.included.values()) == {folder / "a.yaml"}


@as_root
def test_a_link_of_another_user_on_the_way_may_be_made_again(folder: Path) -> None:
    sticky = folder.parent / "sticky"
    sticky.mkdir()
    sticky.chmod(0o1777)
    link = sticky / "link"
    link.symlink_to(folder)
    # Asked for directly: many kernels do not follow such a link at all (fs.protected_symlinks).
    reader = IncludedReader(including(folder), 0)
    assert reader.place_problem(link / "shop.yaml") is None
    os.chown(link, NOBODY, -1, follow_symlinks=False)
    problem = IncludedReader(including(folder), 0).place_problem(link / "shop.yaml")
    assert problem is not None
    assert "could be replaced by user nobody, to whom the link" in problem.message
