"""A secret's file that the producers or everybody can read or write is refused."""

import grp
import os
import pwd
from pathlib import Path

import pytest

from relayd.config import exposure
from relayd.config.exposure import producers_of
from relayd.config.load import ConfigError, load_config
from relayd.config.secrets import NoSecret, file_secret
from relayd.config.sections import QueueConfig, SocketConfig, SpoolConfig
from relayd.core.secret import SourcedSecret

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="changes owners")

RELAYD, MARKET = 4201, 4202
"""Users of the same numbers as their groups. The market is in relayd's group."""

SECRET = "hunter2-hunter2-hunter2"


@pytest.fixture(autouse=True)
def _users(monkeypatch: pytest.MonkeyPatch) -> None:
    users = {"root": 0, "relayd": RELAYD, "market": MARKET}
    groups = {RELAYD: ("relayd", ["market", "gone"]), MARKET: ("market", []), 0: ("root", [])}

    def user(name: str) -> pwd.struct_passwd:
        return pwd.struct_passwd((name, "x", users[name], users[name], "", "/", "/bin/sh"))

    def group(number: int) -> grp.struct_group:
        name, members = groups[number]
        return grp.struct_group((name, "x", number, members))

    monkeypatch.setattr(pwd, "getpwall", lambda: list(map(user, users)))
    monkeypatch.setattr(pwd, "getpwnam", user)
    monkeypatch.setattr(
        pwd, "getpwuid", lambda number: user({v: k for k, v in users.items()}[number])
    )
    monkeypatch.setattr(grp, "getgrgid", group)


class Place:
    """A spool's folder of a group, and a folder of secrets beside it; both can be reached."""

    def __init__(self, root: Path, group: int = RELAYD) -> None:
        # pytest's own folders are for one user alone.
        for each in (root, *list(root.parents)[:-2]):
            each.chmod(each.stat().st_mode | 0o011)
        self.root = root
        self.queue = root / "queue"
        self.spool = root / "spool"
        self.secrets = root / "secrets"
        self._folder(self.queue, RELAYD, RELAYD, 0o750)
        self._folder(self.spool, RELAYD, group, 0o2770)
        self._folder(self.secrets, 0, RELAYD, 0o755)

    @staticmethod
    def _folder(path: Path, user: int, group: int, mode: int) -> None:
        path.mkdir()
        os.chown(path, user, group)
        path.chmod(mode)

    def secret(
        self, user: int, group: int, mode: int, folder: Path | None = None
    ) -> SourcedSecret | NoSecret:
        path = (folder or self.secrets) / "shop"
        # In a sticky folder not even root may open another's file for writing: fs.protected_regular.
        path.unlink(missing_ok=True)
        path.write_text(SECRET)
        os.chown(path, user, group)
        path.chmod(mode)
        spool = SpoolConfig("market", self.spool / "spool.db", "relayd_spool", "m", "v")
        producers = producers_of([spool], None, QueueConfig(self.queue / "queue.db", 1.0))
        return file_secret(path, producers)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def refused(read: SourcedSecret | NoSecret, words: str) -> NoSecret:
    assert isinstance(read, NoSecret), "not refused"
    assert words in read.message
    assert "hunter2" not in str(read)
    return read


def test_a_group_that_producers_are_in_may_not_read_it(place: Place) -> None:
    found = refused(place.secret(0, RELAYD, 0o640), "by the producers, who are in the group relayd")
    path = place.secrets / "shop"
    assert found.hint == f"chown relayd {path} && chmod 0400 {path}"


def test_another_users_file_is_refused(place: Place) -> None:
    found = refused(place.secret(MARKET, RELAYD, 0o400), "belongs to user market, who can replace")
    assert (
        found.hint
        == f"chown relayd {place.secrets / 'shop'} && chmod 0400 {place.secrets / 'shop'}"
    )


def test_another_users_folder_is_refused(place: Place) -> None:
    os.chown(place.secrets, MARKET, MARKET)
    found = refused(place.secret(RELAYD, RELAYD, 0o400), "in a folder of user market, who can")
    assert "/etc/relayd/secrets" in found.hint


def test_a_file_named_without_a_configuration_may_be_any_users(place: Place) -> None:
    # As with `sudo relayd listen --secret-file FILE`: nothing says who relayd's user is.
    place.secret(RELAYD, RELAYD, 0o400)
    os.chown(place.secrets, RELAYD, RELAYD)
    path = place.secrets / "shop"
    assert isinstance(file_secret(path), SourcedSecret)
    path.chmod(0o404)
    refused(file_secret(path), "by everybody")
    path.chmod(0o400)
    place.secrets.chmod(0o777)
    refused(file_secret(path), "in which everybody may write")


def test_who_owns_the_configuration_may_own_its_secrets(place: Place, tmp_path: Path) -> None:
    # As in a container whose files are the host user's, while relayd runs as root there.
    file = tmp_path / "config.yaml"
    file.touch()
    os.chown(file, MARKET, MARKET)
    path = place.secrets / "shop"
    place.secret(MARKET, MARKET, 0o400)
    queue = QueueConfig(place.queue / "queue.db", 1.0)
    assert isinstance(file_secret(path, producers_of([], None, queue, file)), SourcedSecret)


def test_the_command_that_it_names_closes_it(place: Place) -> None:
    refused(place.secret(0, RELAYD, 0o640), "by the producers")
    assert isinstance(place.secret(RELAYD, RELAYD, 0o400), SourcedSecret)


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o700])
def test_what_only_its_owner_reads_is_fine(place: Place, mode: int) -> None:
    assert isinstance(place.secret(RELAYD, RELAYD, mode), SourcedSecret)


def test_roots_file_for_relayds_group_is_fine_when_nobody_else_is_in_it(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        grp, "getgrgid", lambda _: grp.struct_group(("relayd", "x", RELAYD, ["relayd", "root"]))
    )
    assert isinstance(place.secret(0, RELAYD, 0o640), SourcedSecret)


def test_roots_file_for_relayds_group_is_fine_in_a_folder_that_is_shut(place: Place) -> None:
    os.chown(place.secrets, RELAYD, RELAYD)
    place.secrets.chmod(0o700)
    assert isinstance(place.secret(0, RELAYD, 0o640), SourcedSecret)
    place.secrets.chmod(0o710)  # the group passes through
    refused(place.secret(0, RELAYD, 0o640), "by the producers")


def test_another_group_is_not_the_producers(tmp_path: Path) -> None:
    """relayd has joined the market's group, and reads its secrets by its own."""
    place = Place(tmp_path, MARKET)
    assert isinstance(place.secret(0, RELAYD, 0o640), SourcedSecret)
    # The market is in its group by its own entry among the users, not the group's.
    refused(place.secret(0, MARKET, 0o640), "in the group market")


def test_a_spool_that_its_owner_alone_may_write_has_no_group_of_producers(place: Place) -> None:
    place.spool.chmod(0o755)
    assert isinstance(place.secret(0, RELAYD, 0o640), SourcedSecret)


def test_the_group_of_a_spools_file_counts_too(place: Place) -> None:
    place.spool.chmod(0o755)
    database = place.spool / "spool.db"
    database.touch()
    os.chown(database, RELAYD, RELAYD)
    database.chmod(0o660)
    refused(place.secret(0, RELAYD, 0o640), "by the producers")


def test_the_sockets_group_counts_too(place: Place) -> None:
    path = place.secrets / "shop"
    path.write_text(SECRET)
    os.chown(path, 0, RELAYD)
    path.chmod(0o640)
    socket = place.root / "relayd.sock"
    socket.touch()
    os.chown(socket, RELAYD, RELAYD)
    config = SocketConfig(socket, 0o660, "market_123")
    for mode, kind in ((0o660, NoSecret), (0o600, SourcedSecret)):
        socket.chmod(mode)
        producers = producers_of([], config, QueueConfig(place.queue / "queue.db", 1.0))
        assert isinstance(file_secret(path, producers), kind)
    # Before the first start: its folder will give it its group.
    socket.unlink()
    os.chown(place.root, 0, RELAYD)
    for bits, kind in ((0o2755, NoSecret), (0o755, SourcedSecret)):
        place.root.chmod(bits)
        producers = producers_of([], config, QueueConfig(place.queue / "queue.db", 1.0))
        assert isinstance(file_secret(path, producers), kind)


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        (0o602, "may be written by everybody"),
        (0o646, "may be read by everybody"),
        (0o620, "may be written by the producers"),
    ],
)
def test_what_others_may_write_is_refused(place: Place, mode: int, words: str) -> None:
    refused(place.secret(RELAYD, RELAYD, mode), words)


def test_a_folder_in_which_others_may_replace_it_is_refused(place: Place) -> None:
    found = refused(place.secret(RELAYD, RELAYD, 0o400, place.spool), "producers may write")
    assert "move it" in found.hint
    place.secrets.chmod(0o777)
    found = refused(place.secret(RELAYD, RELAYD, 0o400), "everybody may write")
    assert found.hint == f"chmod o-w {place.secrets}"
    place.secrets.chmod(0o1777)  # as /tmp: only the owner removes it
    assert isinstance(place.secret(RELAYD, RELAYD, 0o400), SourcedSecret)


def test_a_link_hides_nothing(place: Place) -> None:
    refused(place.secret(0, RELAYD, 0o640), "by the producers")
    link = place.root / "link"
    link.symlink_to(place.secrets / "shop")
    spool = SpoolConfig("market", place.spool / "spool.db", "relayd_spool", "m", "v")
    producers = producers_of([spool], None, QueueConfig(place.queue / "queue.db", 1.0))
    refused(file_secret(link, producers), "by the producers")


def test_in_a_user_namespace_unmapped_groups_are_not_taken_for_one(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused(place.secret(0, RELAYD, 0o640), "by the producers")
    monkeypatch.setattr(exposure, "_overflow", lambda _: RELAYD)
    assert isinstance(place.secret(0, RELAYD, 0o640), SourcedSecret)


def test_a_configuration_with_such_a_file_is_refused(place: Place) -> None:
    path = place.root / "config.yaml"
    path.write_text(f"""\
market_id: market_1
spools: {{market: {{path: {place.spool}/spool.db}}}}
queue: {{path: {place.queue}/queue.db}}
subscriptions:
  shop:
    url: https://shop.example/
    events: "*"
    secret: {{file: secrets/shop}}
    headers: {{X-Key: {{file: secrets/shop}}}}
""")
    place.secret(0, RELAYD, 0o640)
    with pytest.raises(ConfigError) as caught:
        load_config(path, environ={})
    assert [problem.key for problem in caught.value.problems] == [
        "subscriptions.shop.secret",
        "subscriptions.shop.headers.X-Key",
    ]
    assert "chown relayd" in str(caught.value)
