"""docs/frameworks.md: the table that each framework makes, and transactions that read before they write."""

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from snippets import PYTHON, needs, needs_library, program_environment, snippets

from relayd.spool.shape import differences
from relayd.spool.table import SPOOL_TABLE

SQL = SPOOL_TABLE.format(table="relayd_spool")
OWN = "Your own statements go here as well."


def with_sql(name: str) -> str:
    """Return a migration with the table's SQL in the place of `…`, indented as that is."""
    code = snippets()[name]
    line = next(line for line in code.splitlines() if line.strip() == "…")
    indent = line.removesuffix("…")
    table = "\n".join(indent + each for each in SQL.rstrip("\n").splitlines())
    return code.replace(f"\n{line}\n", f"\n{table}\n", 1)


def run(program: str | Path, *arguments: str, folder: Path) -> str:
    done = subprocess.run(
        [program, *arguments],
        cwd=folder,
        env=program_environment(),
        check=False,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def database(folder: Path, *, table: bool = True) -> Path:
    path = folder / "market.db"
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, total INTEGER NOT NULL)")
        if table:
            db.execute(SQL)
    return path


def is_the_table(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        assert list(differences(db, "relayd_spool")) == []
        db.execute("INSERT INTO relayd_spool (type, data) VALUES ('order.created', '{}')")


def has_no_table(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        assert not list(db.execute("SELECT 1 FROM sqlite_master WHERE name = 'relayd_spool'"))


# ---- what makes the table -----------------------------------------------------------------------

_DJANGO = """
import sys
from django.conf import settings
exec(open("settings.py").read())
settings.configure(DATABASES=DATABASES, INSTALLED_APPS=["shop"], USE_TZ=True)
import django
from django.core.management import call_command
django.setup()
{what}
"""


def test_django(tmp_path: Path) -> None:
    needs_library("Django", PYTHON, "-c", "import django")
    app = tmp_path / "shop"
    (app / "migrations").mkdir(parents=True)
    (app / "__init__.py").touch()
    (app / "migrations" / "__init__.py").touch()
    (app / "migrations" / "0007_relayd.py").write_text(with_sql("migration_django.py"))
    (tmp_path / "settings.py").write_text(snippets()["settings_django.py"])
    script = tmp_path / "manage.py"
    commands = 'call_command("migrate"); call_command("makemigrations", check_changes=True)'
    script.write_text(_DJANGO.format(what=commands))
    assert "No changes detected" in run(PYTHON, str(script), folder=tmp_path)
    is_the_table(tmp_path / "market.db")
    script.write_text(_DJANGO.format(what='call_command("migrate", "shop", "zero")'))
    run(PYTHON, str(script), folder=tmp_path)
    has_no_table(tmp_path / "market.db")


_ALEMBIC = """
import importlib.util
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Column, Integer, MetaData, Table, create_engine

exec(open("alembic_env.py").read())
models = MetaData()
Table("orders", models, Column("id", Integer, primary_key=True), Column("total", Integer, nullable=False))
spec = importlib.util.spec_from_file_location("migration", "migration_alembic.py")
migration = importlib.util.module_from_spec(spec)
spec.loader.exec_module(migration)
with create_engine("sqlite:///market.db").connect() as connection:
    with Operations.context(MigrationContext.configure(connection)):
        migration.upgrade()
    connection.commit()
    for opts in ({}, {"include_name": include_name}):
        context = MigrationContext.configure(connection, opts=opts)
        print("relayd_spool" in repr(compare_metadata(context, models)))
    if len(__import__("sys").argv) > 1:
        with Operations.context(MigrationContext.configure(connection)):
            migration.downgrade()
        connection.commit()
"""


def test_alembic(tmp_path: Path) -> None:
    needs_library("alembic", PYTHON, "-c", "import alembic")
    path = database(tmp_path, table=False)
    (tmp_path / "migration_alembic.py").write_text(with_sql("migration_alembic.py"))
    (tmp_path / "alembic_env.py").write_text(snippets()["alembic_env.py"])
    printed = run(PYTHON, "-c", _ALEMBIC, folder=tmp_path).split()
    assert printed == ["True", "False"], "without, and with the page's include_name"
    is_the_table(path)
    path.unlink()
    database(tmp_path, table=False)
    run(PYTHON, "-c", _ALEMBIC, "down", folder=tmp_path)
    has_no_table(path)


_RAILS = """
require "active_record"
require "json"
ActiveRecord::Base.establish_connection(adapter: "sqlite3", database: "market.db", timeout: 10000)
ActiveRecord::Migration.verbose = false
"""
_RAILS_DUMP = """
AddRelaydSpool.migrate(:up)
require "stringio"
[[], ["relayd_spool"]].each do |ignored|
  ActiveRecord::SchemaDumper.ignore_tables = ignored
  dump = StringIO.new
  ActiveRecord::SchemaDumper.dump(ActiveRecord::Base.connection, dump)
  puts dump.string.include?("relayd_spool")
end
exit if ARGV.empty?
AddRelaydSpool.migrate(:down)
"""


def rails_migration() -> str:
    needs_library("Active Record", "ruby", "-e", 'require "active_record"; require "sqlite3"')
    version = "[ActiveRecord::Migration.current_version]"
    return _RAILS + with_sql("migration_rails.rb").replace("[8.0]", version)


def test_rails(tmp_path: Path) -> None:
    path = database(tmp_path, table=False)
    (tmp_path / "migrate.rb").write_text(rails_migration() + _RAILS_DUMP)
    assert run("ruby", "migrate.rb", folder=tmp_path).split() == ["true", "false"]
    is_the_table(path)
    path.unlink()
    database(tmp_path, table=False)
    run("ruby", "migrate.rb", "down", folder=tmp_path)
    has_no_table(path)


_LARAVEL = """<?php
require 'Illuminate/Database/autoload.php';
$capsule = new Illuminate\\Database\\Capsule\\Manager;
$capsule->addConnection(['driver' => 'sqlite', 'database' => __DIR__ . '/market.db', 'prefix' => '',
                         'options' => [PDO::ATTR_TIMEOUT => 10]]);
$capsule->setAsGlobal();
class_alias('Illuminate\\Database\\Capsule\\Manager', 'Illuminate\\Support\\Facades\\DB');
class_alias('Illuminate\\Database\\Capsule\\Manager', 'DB');
"""


def laravel() -> None:
    load = "require 'Illuminate/Database/autoload.php';"
    needs_library("Laravel's database", "php", "-r", load)


def test_laravel(tmp_path: Path) -> None:
    laravel()
    path = database(tmp_path, table=False)
    (tmp_path / "migration.php").write_text(with_sql("migration_laravel.php"))
    script = tmp_path / "migrate.php"
    script.write_text(_LARAVEL + "(require 'migration.php')->up();")
    run("php", str(script), folder=tmp_path)
    is_the_table(path)
    script.write_text(_LARAVEL + "(require 'migration.php')->down();")
    run("php", str(script), folder=tmp_path)
    has_no_table(path)


_DOCTRINE = """<?php
require 'Doctrine/DBAL/autoload.php';
$config = new Doctrine\\DBAL\\Configuration();
$filter = $argv[1] ?? '';
if ($filter) {
    $config->setSchemaAssetsFilter(fn ($asset) => (bool) preg_match(
        $filter, is_string($asset) ? $asset : $asset->getName()));
}
$connection = Doctrine\\DBAL\\DriverManager::getConnection(
    ['driver' => 'pdo_sqlite', 'path' => 'market.db', 'driverOptions' => [PDO::ATTR_TIMEOUT => 10]], $config);
"""
_DOCTRINE_DIFF = """
$manager = $connection->createSchemaManager();
$difference = $manager->createComparator()->compareSchemas(
    $manager->introspectSchema(), new Doctrine\\DBAL\\Schema\\Schema());
echo implode("\\n", $connection->getDatabasePlatform()->getAlterSchemaSQL($difference));
"""


def doctrine() -> None:
    needs_library("Doctrine's DBAL", "php", "-r", "require 'Doctrine/DBAL/autoload.php';")


def test_doctrine_drops_the_table_unless_it_is_filtered_out_as_the_page_says(
    tmp_path: Path,
) -> None:
    doctrine()
    database(tmp_path)
    page = (Path(__file__).parents[3] / "docs" / "frameworks.md").read_text()
    expression = page.partition("schema_filter: '")[2].partition("'")[0]
    script = tmp_path / "diff.php"
    script.write_text(_DOCTRINE + _DOCTRINE_DIFF)
    assert "DROP TABLE relayd_spool" in run("php", str(script), folder=tmp_path)
    filtered = run("php", str(script), expression, folder=tmp_path)
    assert "relayd_spool" not in filtered
    assert "DROP TABLE orders" in filtered


# ---- transactions that read first ---------------------------------------------------------------


def python_sqlalchemy(folder: Path) -> list[str]:
    needs_library("SQLAlchemy", PYTHON, "-c", "import sqlalchemy")
    reads = 'connection.execute(text("SELECT count(*) FROM orders")).all(); pause()'
    code = snippets()["transaction_sqlalchemy.py"].replace(f"# {OWN}", reads)
    return script(folder, "shop.py", _PAUSE_PY + code + '\nplace({"id": "order_456"})\n', PYTHON)


def python_django(folder: Path) -> list[str]:
    needs_library("Django", PYTHON, "-c", "import django")
    (folder / "shop").mkdir()
    (folder / "shop" / "__init__.py").touch()
    (folder / "settings.py").write_text(snippets()["settings_django.py"])
    reads = 'connection.cursor().execute("SELECT count(*) FROM orders").fetchall(); pause()'
    code = snippets()["transaction_django.py"].replace(f"# {OWN}", reads)
    what = _PAUSE_PY + code + '\nplace({"id": "order_456"})\n'
    return script(folder, "place.py", _DJANGO.format(what=what), PYTHON)


def php_laravel(folder: Path) -> list[str]:
    laravel()
    reads = "DB::select('SELECT count(*) FROM orders'); echo \"read\\n\"; fgets(STDIN);"
    code = snippets()["transaction_laravel.php"].replace(f"// {OWN}", reads)
    return script(folder, "place.php", f"{_LARAVEL}$order = ['id' => 'order_456'];\n{code}", "php")


def php_doctrine(folder: Path) -> list[str]:
    doctrine()
    reads = "$connection->fetchOne('SELECT count(*) FROM orders'); echo \"read\\n\"; fgets(STDIN);"
    code = snippets()["transaction_doctrine.php"].replace(f"// {OWN}", reads)
    return script(folder, "place.php", f"{_DOCTRINE}$order = ['id' => 'order_456'];\n{code}", "php")


def ruby_rails(folder: Path) -> list[str]:
    rails_migration()
    reads = 'connection.select_value("SELECT count(*) FROM orders"); puts "read"; gets'
    code = snippets()["transaction_rails.rb"].replace(f"# {OWN}", reads)
    start = f'$stdout.sync = true\n{_RAILS}order = {{ id: "order_456" }}\n'
    return script(folder, "place.rb", start + code, "ruby")


def node_sqlite(folder: Path) -> list[str]:
    needs_library("better-sqlite3", "node", "-e", 'require("better-sqlite3")')
    reads = (
        'market.prepare("SELECT count(*) FROM orders").get();'
        ' console.log("read"); require("fs").readSync(0, Buffer.alloc(1));'
    )
    code = snippets()["producer.js"].replace("spool/spool.db", "market.db")
    return script(folder, "place.js", code.replace("// Your own", f"{reads} // Your own"), "node")


def php_pdo(folder: Path) -> list[str]:
    needs_library("PHP's pdo_sqlite", "php", "-r", "new PDO('sqlite::memory:');")
    reads = (
        "$market->query('SELECT count(*) FROM orders')->fetchAll(); echo \"read\\n\"; fgets(STDIN);"
    )
    code = snippets()["producer.php"].replace("spool/spool.db", "market.db")
    return script(folder, "place.php", code.replace(f"// {OWN}", reads), "php")


def ruby_sqlite(folder: Path) -> list[str]:
    needs_library("Ruby's sqlite3", "ruby", "-e", 'require "sqlite3"')
    reads = 'market.execute("SELECT count(*) FROM orders"); puts "read"; $stdout.flush; gets'
    code = snippets()["producer.rb"].replace("spool/spool.db", "market.db")
    return script(folder, "place.rb", code.replace(f"# {OWN}", reads), "ruby")


_PAUSE_PY = """
import sys
def pause():
    print("read", flush=True)
    sys.stdin.readline()
"""


def python_plain(folder: Path) -> list[str]:
    """Return a program that does what the page warns of."""
    code = f"""{_PAUSE_PY}
import sqlite3
db = sqlite3.connect("market.db", timeout=10, isolation_level=None)
db.execute("BEGIN")
db.execute("SELECT count(*) FROM orders").fetchall()
pause()
db.execute("INSERT INTO relayd_spool (type, data) VALUES ('order.created', '{{}}')")
db.execute("COMMIT")
"""
    return script(folder, "place.py", code, sys.executable)


def script(folder: Path, name: str, code: str, program: str | Path) -> list[str]:
    (folder / name).write_text(code)
    return [str(program), name]


def commits_between(arguments: list[str], folder: Path) -> tuple[bool, int, str]:
    """Commit between a program's reading and writing. Return whether that was possible, and its end."""
    needs(arguments[0])
    with subprocess.Popen(
        arguments,
        cwd=folder,
        env=program_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        read = process.stdout.readline()
        committed = False
        if read == "read\n":
            with closing(sqlite3.connect(folder / "market.db", timeout=0.1)) as db:
                try:
                    with db:
                        db.execute("INSERT INTO orders (total) VALUES (4250)")
                    committed = True
                except sqlite3.OperationalError as error:
                    if error.sqlite_errorname != "SQLITE_BUSY":
                        raise
        out, err = process.communicate("\n", timeout=60)
        return committed, process.returncode, read + out + err


@pytest.mark.parametrize(
    "shop",
    [
        node_sqlite,
        php_doctrine,
        php_laravel,
        php_pdo,
        python_django,
        python_sqlalchemy,
        ruby_rails,
        ruby_sqlite,
    ],
    ids=lambda shop: shop.__name__,
)
def test_nobody_commits_between_reading_and_writing(
    tmp_path: Path, shop: Callable[[Path], list[str]]
) -> None:
    path = database(tmp_path)
    committed, status, printed = commits_between(shop(tmp_path), tmp_path)
    assert status == 0, printed
    assert printed.startswith("read\n")
    assert not committed, "it did not hold the write lock"
    with closing(sqlite3.connect(path)) as db:
        [[event_type]] = db.execute("SELECT type FROM relayd_spool")
    assert event_type == "order.created"


def test_a_plain_begin_fails_at_once(tmp_path: Path) -> None:
    database(tmp_path)
    committed, status, printed = commits_between(python_plain(tmp_path), tmp_path)
    assert committed
    assert status == 1
    assert "database is locked" in printed


def test_relayd_itself_finds_a_table_from_a_dump(tmp_path: Path) -> None:
    if shutil.which("ruby") is None:
        pytest.skip("ruby is not installed")
    database(tmp_path, table=False)
    dumped = """
require "stringio"
AddRelaydSpool.migrate(:up)
dump = StringIO.new
ActiveRecord::SchemaDumper.dump(ActiveRecord::Base.connection, dump)
ActiveRecord::Base.establish_connection(adapter: "sqlite3", database: "loaded.db")
ActiveRecord::Schema.verbose = false
eval(dump.string)
"""
    (tmp_path / "load.rb").write_text(rails_migration() + dumped)
    run("ruby", "load.rb", folder=tmp_path)
    with closing(sqlite3.connect(tmp_path / "loaded.db")) as db:
        found = list(differences(db, "relayd_spool"))
    assert any(each.breaks for each in found)
