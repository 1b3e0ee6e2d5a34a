"""Says what is wrong with a queue's file, without changing anything."""

import os
import sqlite3
from pathlib import Path

from relayd.core.queue_files import sqlite_files
from relayd.file_identity import not_a_file
from relayd.queue.sqlite.schema import SchemaMismatchError, read_version
from relayd.spool.files import SpoolBarredError, looking_into
from relayd.sqlite_errors import is_busy, is_interrupted


def unusable(path: Path, *, within_s: float) -> str | None:
    """Return why this relayd cannot use the file at `path` as its queue; None where it can.

    Also None where nothing can be said: it is not there, not readable for this user, or busy.
    """
    if not os.path.exists(path) or not os.access(path, os.R_OK):  # noqa: PTH110 - Path.exists raises where it may not look
        return None  # nothing can be said
    if (problem := not_a_file(sqlite_files(os.path.realpath(path)))) is not None:
        return problem.removeprefix(f"{path} ")
    try:
        with looking_into(path, within_s, within_s) as db:
            read_version(db)
    except (SchemaMismatchError, SpoolBarredError) as error:
        return str(error)
    except sqlite3.DatabaseError as error:
        return None if is_busy(error) or is_interrupted(error) else str(error)
    except OSError:
        return None
    return None
