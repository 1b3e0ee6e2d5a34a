"""The package under a real systemd, as process 1: what the unit promises, seen from outside.

One tree and one boot for each Debian release; the tests go on from each other, in this order.
"""

import json
import re
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from trees.tree import SUITES, Tree, fresh, until

pytestmark = pytest.mark.timeout(900)

CONFIG = "/etc/relayd/config.yaml"
SUBSCRIPTIONS = """
allow_networks: [127.0.0.0/8]
subscriptions:
  books:
    url: http://receiver.test:8080/webhooks
    events: ["*"]
    secret: {credential: books}
    retry: [1s, 1s, 1s, 1s, 1s]
    rate_limit: 1000/s
  shop:
    url: http://127.0.0.1:8081/shop
    events: ["order.*"]
    secret: {file: /etc/relayd/secrets/shop}
    retry: [1s, 1s, 1s, 1s, 1s]
    rate_limit: 1000/s
"""
INSERT = """
import sqlite3, sys
path, *ids = sys.argv[1:]
db = sqlite3.connect(path, timeout=20, isolation_level=None)
for each in ids:
    db.execute("INSERT INTO relayd_spool (id, type, data) VALUES (?, 'order.created', '{}')", [each])
"""
SEND = """
import json, socket, sys
with socket.socket(socket.AF_UNIX) as relay:
    relay.settimeout(float(sys.argv[2]))
    relay.connect("/run/relayd/relayd.sock")
    event = {"type": "order.created", "data": {}, "id": sys.argv[1]}
    relay.sendall(json.dumps(event).encode() + b"\\n")
    print(relay.makefile().readline(), end="")
"""
# Hands over one event after the other, each on its own connection, until a file is there. What was
# not answered is given again. Prints how many were answered, and how many connections refused.
PRODUCE = """
import json, os, socket
answered = refused = number = 0
while not os.path.exists("/tmp/enough"):
    event = {"type": "user.created", "data": {}, "id": f"evt_many_{number}"}
    with socket.socket(socket.AF_UNIX) as relay:
        relay.settimeout(60)
        try:
            relay.connect("/run/relayd/relayd.sock")
        except OSError:
            refused += 1
            continue
        try:
            relay.sendall(json.dumps(event).encode() + b"\\n")
            line = relay.makefile().readline()
        except ConnectionError:
            continue
        if line and json.loads(line)["ok"]:
            answered += 1
            number += 1
print(json.dumps({"answered": answered, "refused": refused}))
"""


@pytest.fixture(scope="module", params=SUITES)
def system(request: pytest.FixtureRequest) -> Iterator[Tree]:
    packages = ("systemd", "systemd-sysv", "dbus", "python3", "iproute2", "procps")
    with fresh(request.param, *packages) as tree:
        tree.write("/etc/hosts", "127.0.0.1 localhost receiver.test\n")
        with tree.booted():
            yield tree


def shown(system: Tree, key: str, unit: str = "relayd.service") -> str:
    return system.run("systemctl", "show", "--value", f"--property={key}", unit).strip()


def active(system: Tree) -> None:
    until(lambda: shown(system, "ActiveState") == "active", "an active service")


def journal(system: Tree, *options: str) -> list[dict[str, str]]:
    system.run("journalctl", "--sync")
    lines = system.run(
        "journalctl", "--unit=relayd.service", "--output=json", "--quiet", *options
    ).splitlines()
    return [json.loads(line) for line in lines]


def listed(system: Tree, event_id: str) -> bool:
    return event_id in system.run("relayd", "deliveries")


def accepted_more(system: Tree, count: int) -> bool:
    return len(journal(system, "--grep=event_accepted")) > count


def runs_as_another(system: Tree, pid: str) -> bool:
    return shown(system, "MainPID") not in {"0", pid}


def drop_in(system: Tree, name: str, text: str) -> None:
    system.write(f"/etc/systemd/system/relayd.service.d/{name}.conf", f"[Service]\n{text}\n")
    system.run("systemctl", "daemon-reload")


def states(system: Tree, event_id: str) -> dict[str, str]:
    found = json.loads(system.run("relayd", "show", event_id, "--json"))
    return {each["subscription"]: each["state"] for each in found["deliveries"]}


def delivered(system: Tree, event_id: str) -> None:
    until(lambda: set(states(system, event_id).values()) == {"delivered"}, f"{event_id} everywhere")


def test_it_starts_when_it_is_installed(system: Tree) -> None:
    said = system.install()
    assert shown(system, "ActiveState") == "active", said
    assert shown(system, "ActiveState", "relayd.socket") == "active"
    assert shown(system, "StatusText") == "0 subscriptions, 0 endpoints"
    [warning] = journal(system, "--priority=warning")
    assert json.loads(warning["MESSAGE"])["event"] == "configuration_warning"
    assert {each["PRIORITY"] for each in journal(system, "--identifier=relayd")} == {"4", "6"}


def test_the_units_are_right_by_this_systemd_too(system: Tree) -> None:
    units = ("relayd.service", "relayd.socket")
    assert system.run("systemd-analyze", "verify", "--man=no", *units) == ""
    said = system.run("systemd-analyze", "security", "--threshold=12", "relayd.service")
    print(said.splitlines()[-1])


def test_credentials_files_and_names_reach_it(system: Tree) -> None:
    system.write("/etc/relayd/credentials/books", "a-secret-that-only-root-may-read", 0o600)
    system.write("/etc/relayd/secrets/shop", "a-secret-that-relayd-may-read", 0o400)
    system.run("chown", "relayd:relayd", "/etc/relayd/secrets/shop")
    text = (system.path / CONFIG.lstrip("/")).read_text()
    system.write("/root/config.yaml", text.replace("subscriptions:\n", SUBSCRIPTIONS))
    system.run("sh", "-c", f"cat /root/config.yaml > {CONFIG}")
    drop_in(system, "credentials", "LoadCredential=books:/etc/relayd/credentials/books")
    system.run("systemctl", "restart", "relayd.service")
    assert shown(system, "StatusText") == "2 subscriptions, 2 endpoints"
    # A receiver answers 401 to a wrong signature.
    for port, secret in (("8080", "credentials/books"), ("8081", "secrets/shop")):
        listen = ("relayd", "listen", "--port", port, "--secret-file", f"/etc/relayd/{secret}")
        system.run("systemd-run", f"--unit=receiver-{port}", "--quiet", *listen)
    system.run("useradd", "--system", "--user-group", "--groups", "relayd", "market")
    system.python(INSERT, "/var/lib/relayd/spool/spool.db", "evt_spool", user="market")
    assert '"ok":true' in system.python(SEND, "evt_socket", "20", user="market")
    for event_id in ("evt_spool", "evt_socket"):
        until(partial(listed, system, event_id), event_id)
        delivered(system, event_id)
    # relayd's own user cannot read the credential on the disk.
    as_relayd = ("setpriv", "--reuid", "relayd", "--regid", "relayd", "--init-groups")
    system.run(*as_relayd, "cat", "/etc/relayd/credentials/books", status=1)


def test_a_good_file_is_reloaded_and_a_bad_one_fails_visibly(system: Tree) -> None:
    pid = shown(system, "MainPID")
    text = (system.path / CONFIG.lstrip("/")).read_text()
    system.run("sh", "-c", f"sed -i 's/shop:$/store:/' {CONFIG}")
    said = system.run("relayd", "check", "--diff")
    assert "subscription store: added" in said
    system.run("systemctl", "reload", "relayd.service")
    assert "subscription store: added" in str(journal(system))
    system.run("sh", "-c", f"sed -i 's/market_id:/markt_id:/' {CONFIG}")
    said = system.run("systemctl", "reload", "relayd.service", status=1)
    assert "Job for relayd.service failed" in said
    assert shown(system, "ActiveState") == "active"
    assert "markt_id: unknown key" in system.run("systemctl", "status", "relayd.service")
    assert any("markt_id" in each["MESSAGE"] for each in journal(system, "--priority=err"))
    assert '"ok":true' in system.python(SEND, "evt_meanwhile", "20")
    delivered(system, "evt_meanwhile")
    (system.path / CONFIG.lstrip("/")).write_text(text)
    system.run("systemctl", "reload", "relayd.service")
    # By SIGHUP, too, systemd sees it reload and be there again.
    system.run("systemctl", "kill", "--signal=HUP", "relayd.service")
    active(system)
    assert shown(system, "MainPID") == pid


def test_a_subscription_is_added_and_removed_as_a_file(system: Tree) -> None:
    folder = "/etc/relayd/subscriptions.d"
    add = ("relayd", "add", "extra", "--events", "user.deleted")
    to = ("--url", "http://127.0.0.1:8081/extra", "--secret-file", "/etc/relayd/secrets/shop")
    assert system.run("stat", "--format=%U %a", folder).strip() == "relayd 700"
    assert "Accepted: 200" in system.run(*add, *to, "--test")
    assert system.run("stat", "--format=%U %a", f"{folder}/extra.yaml").strip() == "relayd 600"
    assert "extra removed" in system.run("relayd", "remove", "extra")
    assert system.run("ls", "-A", folder) == ""
    # A unit that keeps the daemon out says so, and how to let it in.
    drop_in(system, "strict", "ReadWritePaths=")
    system.run("systemctl", "restart", "relayd.service")
    said = system.run(*add, *to, status=1)
    assert f"ReadWritePaths=-{folder}" in said
    assert system.run("ls", "-A", folder) == ""
    (system.path / "etc/systemd/system/relayd.service.d/strict.conf").unlink()
    system.run("systemctl", "daemon-reload")
    # Without the daemon, root writes as relayd.
    system.run("systemctl", "stop", "relayd.service", "relayd.socket")
    assert "from the next start on" in system.run(*add, *to)
    assert system.run("stat", "--format=%U %a", f"{folder}/extra.yaml").strip() == "relayd 600"
    system.run("systemctl", "start", "relayd.service")
    assert shown(system, "StatusText") == "3 subscriptions, 3 endpoints"
    assert "extra removed" in system.run("relayd", "remove", "extra")
    assert shown(system, "StatusText") == "2 subscriptions, 2 endpoints"


def test_no_producer_is_refused_while_it_restarts_or_is_killed(system: Tree) -> None:
    as_market = ("--property=User=market", "--property=Group=market")
    produce = ("python3", "-c", PRODUCE)
    run = ("systemd-run", "--unit=producer", "--property=RemainAfterExit=yes", "--quiet")
    system.run(*run, *as_market, *produce)
    restart, kill = ("restart",), ("kill", "--signal=KILL")
    for how in (restart, kill, restart, kill):
        count = len(journal(system, "--grep=event_accepted"))
        until(partial(accepted_more, system, count + 10), "events")
        pid = shown(system, "MainPID")
        system.run("systemctl", *how, "relayd.service")
        until(partial(runs_as_another, system, pid), "another process")
        active(system)
    system.run("touch", "/tmp/enough")
    until(lambda: shown(system, "SubState", "producer.service") == "exited", "the producer's end")
    [line] = [
        each
        for each in system.run("journalctl", "--unit=producer", "--output=cat").splitlines()
        if each.startswith("{")
    ]
    told = json.loads(line)
    assert told["answered"] > 40
    assert told["refused"] == 0
    delivered(system, f"evt_many_{told['answered'] - 1}")


def test_a_process_that_stands_still_is_replaced(system: Tree) -> None:
    drop_in(system, "watchdog", "WatchdogSec=2s")
    system.run("systemctl", "restart", "relayd.service")
    pid, before = shown(system, "MainPID"), int(shown(system, "NRestarts"))
    system.python("import time; time.sleep(6)")
    assert shown(system, "MainPID") == pid, "it is fed while all is well"
    system.run("systemctl", "kill", "--signal=STOP", "relayd.service")
    until(lambda: int(shown(system, "NRestarts")) > before, "a restart")
    active(system)
    assert "Failed with result 'watchdog'" in system.run("journalctl", "--unit=relayd.service")
    assert '"ok":true' in system.python(SEND, "evt_watched", "20")


def test_a_queue_that_hangs_while_the_loop_turns_starves_the_watchdog(system: Tree) -> None:
    hanging = Path(__file__).parents[1] / "hanging_relayd.py"
    shutil.copy(hanging, system.path / "srv/hanging_relayd.py")
    python = system.python("import sys; print('{}.{}'.format(*sys.version_info))").strip()
    library = f"/usr/lib/relayd/any:/usr/lib/relayd/python{python}"
    drop_in(
        system,
        "hanging",
        f"Environment=PYTHONPATH={library}\nExecStart=\n"
        f"ExecStart=/usr/bin/python3 /srv/hanging_relayd.py run --config {CONFIG}",
    )
    system.run("systemctl", "restart", "relayd.service")
    before = int(shown(system, "NRestarts"))
    system.python(SEND, "evt_hanging", "1", status=1)
    until(lambda: int(shown(system, "NRestarts")) > before, "a restart")
    said = str(journal(system))
    assert "watchdog_ping_withheld" in said
    assert "in _hang" in said, "where each thread was"
    for name in ("hanging", "watchdog"):
        (system.path / f"etc/systemd/system/relayd.service.d/{name}.conf").unlink()
    system.run("systemctl", "daemon-reload")
    system.run("systemctl", "restart", "relayd.service")


def test_the_spool_may_be_in_the_markets_own_database(system: Tree) -> None:
    system.run("install", "-d", "-o", "market", "-g", "market", "-m", "2770", "/srv/market")
    table = system.run("relayd", "spool", "sql")
    make = (
        "import sqlite3, sys, os\nos.umask(0o007)\ndb = sqlite3.connect('/srv/market/market.db')\n"
    )
    make += "db.execute('PRAGMA journal_mode = WAL'); db.executescript(sys.argv[1])"
    system.python(make, table, user="market")
    text = (system.path / CONFIG.lstrip("/")).read_text()
    (system.path / CONFIG.lstrip("/")).write_text(
        text.replace("spools:\n", "spools:\n  own: {path: /srv/market/market.db}\n")
    )
    system.run("systemctl", "reload", "relayd.service")
    waits = until(
        lambda: [
            each for each in journal(system, "--grep=source_unavailable") if "own" in str(each)
        ],
        "a spool that waits",
    )
    assert "ReadWritePaths=" in waits[-1]["MESSAGE"]
    system.run("chmod", "g+w", "/srv/market/market.db")
    drop_in(system, "market", "SupplementaryGroups=market\nReadWritePaths=/srv/market")
    system.run("systemctl", "restart", "relayd.service")
    system.python(INSERT, "/srv/market/market.db", "evt_own", user="market")
    until(lambda: "evt_own" in system.run("relayd", "deliveries"), "evt_own")
    delivered(system, "evt_own")
    (system.path / CONFIG.lstrip("/")).write_text(text)
    system.run("systemctl", "reload", "relayd.service")


def test_the_readers_of_the_spools_are_confined(system: Tree) -> None:
    def confined() -> bool:
        sources = json.loads(system.run("relayd", "status", "--json"))["sources"]
        spools = [each for each in sources if each["name"].startswith("spool")]
        return bool(spools) and all(each["confined"] for each in spools)

    until(confined, "a confined reader for each spool")
    # Not by --grep, with which journalctl ends with 1 when nothing is found.
    assert not [each for each in journal(system) if "reader_not_confined" in each["MESSAGE"]]


def test_a_wrong_configuration_is_not_started_again_and_again(system: Tree) -> None:
    text = (system.path / CONFIG.lstrip("/")).read_text()
    (system.path / CONFIG.lstrip("/")).write_text(text.replace("market_id:", "markt_id:"))
    told = system.run("journalctl", "--unit=relayd.service", "--output=cat").splitlines()
    told_before = sum("markt_id: unknown key" in line for line in told)
    system.run("systemctl", "restart", "relayd.service", status=1)
    assert shown(system, "ActiveState") == "failed"
    assert shown(system, "ExecMainStatus") == "78"
    before = int(shown(system, "NRestarts"))
    assert "markt_id: unknown key" in system.run("journalctl", "--unit=relayd.service")
    # Its socket is closed too: no producer's connection starts it once more.
    assert shown(system, "ActiveState", "relayd.socket") == "inactive"
    for _ in range(3):
        system.python(SEND, "evt_lost", "20", status=1)
    assert int(shown(system, "NRestarts")) == before
    told = system.run("journalctl", "--unit=relayd.service", "--output=cat").splitlines()
    assert sum("markt_id: unknown key" in line for line in told) == told_before + 1
    (system.path / CONFIG.lstrip("/")).write_text(text)
    system.run("systemctl", "start", "relayd.service")
    assert shown(system, "ActiveState", "relayd.socket") == "active"
    assert '"ok":true' in system.python(SEND, "evt_after", "20")


def test_it_stops_and_starts(system: Tree) -> None:
    system.run("systemctl", "stop", "relayd.service", "relayd.socket")
    assert shown(system, "ActiveState") == "inactive"
    assert shown(system, "ExecMainStatus") == "0"
    assert shown(system, "Result") == "success"
    system.python(SEND, "evt_refused", "5", status=1)
    # A connection to the socket alone starts the service.
    system.run("systemctl", "start", "relayd.socket")
    assert '"ok":true' in system.python(SEND, "evt_started", "20")
    active(system)


ASK = """
import sys, urllib.error, urllib.request
path, token, *body = sys.argv[1:]
request = urllib.request.Request(f"http://127.0.0.1:8787{path}", *map(str.encode, body))
if token:
    request.add_header("Authorization", f"Bearer {token}")
try:
    with urllib.request.urlopen(request, timeout=20) as answer:
        print(answer.status, answer.read(1_000_000).decode())
except urllib.error.HTTPError as error:
    print(error.code, error.read().decode())
"""


def test_the_web_process_serves_beside_it(system: Tree) -> None:
    unit = "relayd-web.service"
    system.install_web()
    # Without `http:` there is nothing to serve: that is no failure.
    assert shown(system, "ActiveState", unit) == "inactive"
    assert shown(system, "Result", unit) == "success"
    assert system.run("systemd-analyze", "verify", "--man=no", unit) == ""
    token = "t" * 40
    system.write("/etc/relayd/secrets/web", token, 0o400)
    system.run("chown", "relayd", "/etc/relayd/secrets/web")
    http = "http: {listen: 127.0.0.1:8787, token: {file: /etc/relayd/secrets/web}}"
    system.run("sh", "-c", f"echo '{http}' >> {CONFIG}")
    system.run("systemctl", "reload", "relayd.service")
    system.run("systemctl", "start", unit)
    assert system.python(ASK, "/healthz", "") == '200 {"ok":true}\n'
    event = '{"id": "evt_web", "type": "order.created", "data": {}}'
    assert system.python(ASK, "/v1/events", token, event) == '202 {"id":"evt_web"}\n'
    delivered(system, "evt_web")
    assert "relayd_up 1" in system.python(ASK, "/metrics", token)
    assert system.python(ASK, "/", token).startswith("200 ")
    # What it may not see: the configuration and its secrets, and what producers hand over.
    inside = ("nsenter", "--target", shown(system, "MainPID", unit), "--mount", "--")
    for path in ("/etc/relayd", "/var/lib/relayd/spool"):
        assert system.run(*inside, "stat", "--format=%a", path).strip() == "0", path
    # It goes on without the daemon, and says so; and it comes back when it is killed.
    system.run("systemctl", "stop", "relayd.socket", "relayd.service")
    until(
        lambda: system.python(ASK, "/healthz", "") == '503 {"ok":false}\n', "the news of the stop"
    )
    system.run("systemctl", "start", "relayd.socket", "relayd.service")
    pid = shown(system, "MainPID", unit)
    system.run("systemctl", "kill", "--signal=KILL", unit)
    until(lambda: shown(system, "MainPID", unit) not in {"0", pid}, "another web process")
    until(lambda: shown(system, "ActiveState", unit) == "active", "an active web process")
    assert system.python(ASK, "/readyz", "") == '200 {"ok":true}\n'
    system.run("apt-get", "purge", "-y", "relayd-web")
    assert shown(system, "ActiveState") == "active"


def test_an_upgrade_restarts_it_and_a_removal_stops_it(system: Tree) -> None:
    pid = shown(system, "MainPID")
    system.install()
    active(system)
    assert shown(system, "MainPID") != pid
    assert '"ok":true' in system.python(SEND, "evt_upgraded", "20")
    delivered(system, "evt_upgraded")
    system.run("apt-get", "remove", "-y", "relayd")
    assert shown(system, "ActiveState") == "inactive"
    assert not re.search(r"^.*relayd run", system.run("ps", "ax"), re.MULTILINE)
    assert (system.path / "var/lib/relayd/queue.db").exists()
    system.install()
    assert shown(system, "ActiveState") == "active"
    delivered(system, "evt_upgraded")
    system.run("apt-get", "purge", "-y", "relayd")
    assert not (system.path / "var/lib/relayd").exists()
    assert not (system.path / "etc/relayd").exists()
