"""The daemon's log: one line for each thing that happened, with the same field names everywhere.

JSON where a program reads it, colours and columns where a person does. docs/diagnostics.md lists every
event name. Field names: `event_id`,
`event_type`, `delivery_id`, `subscription`, `endpoint` (as `endpoint_name` gives it), `attempt`,
`status`, `failure`, `detail`, `duration_ms`, `due_at`, `source`. No payload and no secret.
"""

import io
import logging
import os
import sys
import threading
import time
from collections import deque
from typing import Literal, Self, TextIO

import structlog

from relayd.core.line_limit import LineLimit
from relayd.core.operating_events import urls_cut

Format = Literal["auto", "json", "text"]

_log = structlog.get_logger()

_KEPT_LINES = 10_000
"""Lines kept for a slow reader of the log; further ones are dropped and counted."""


class LineWriter:
    """Writes lines from a separate thread, so that a log that nobody reads does not stop delivery.

    A closed or full pipe, a hung terminal or a full disk loses log lines, nothing else.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lines: deque[str] = deque()
        self._dropped = 0
        self._changed = threading.Condition()
        self._closing = False
        # A daemon thread: a reader that never reads must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="relayd-log", daemon=True)
        self._thread.start()

    def write(self, line: str) -> None:
        """Queue one line, given without its newline. Never waits."""
        with self._changed:
            if len(self._lines) >= _KEPT_LINES:
                self._dropped += 1
                return
            self._lines.append(line)
            if len(self._lines) == 1:
                self._changed.notify()

    def close(self, timeout_s: float = 1.0) -> None:
        """Write the lines that are queued, for at most `timeout_s` seconds."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._lines and not self._closing:
                    self._changed.wait()
                if not self._lines:
                    return
                lines = list(self._lines)
                self._lines.clear()
                dropped, self._dropped = self._dropped, 0
            if dropped:
                lines.append(f"relayd: {dropped} log lines were dropped: the log was not read")
            try:
                self._stream.write("".join(f"{line}\n" for line in lines))
                self._stream.flush()
            except (OSError, ValueError):
                # There is nowhere left to report it.
                continue


class _LineLogger:
    """The logger that structlog calls after its processors.

    With `priorities` each line begins with its syslog priority: `<4>` for a warning (sd-daemon(3)).
    """

    def __init__(self, writer: LineWriter, *, priorities: bool) -> None:
        self._writer = writer
        self._priorities = priorities

    def debug(self, message: str) -> None:
        self._write(7, message)

    def info(self, message: str) -> None:
        self._write(6, message)

    def warning(self, message: str) -> None:
        self._write(4, message)

    def error(self, message: str) -> None:
        self._write(3, message)

    def critical(self, message: str) -> None:
        self._write(2, message)

    def _write(self, priority: int, message: str) -> None:
        self._writer.write(f"<{priority}>{message}" if self._priorities else message)


class _Logger(structlog.BoundLoggerBase):
    """Passes lines at or above a level that may change at any time, up to a limit for each event name.

    structlog's own filtering loggers keep the level that they were made with. The limit comes before
    the processors, since under load most lines are suppressed.
    """

    threshold = logging.INFO
    limit = LineLimit()

    def debug(self, event: str, **fields: object) -> None:
        if self.threshold <= logging.DEBUG and self._is_admitted(event):
            self._proxy_to_logger("debug", event, **fields)

    def info(self, event: str, **fields: object) -> None:
        if self.threshold <= logging.INFO and self._is_admitted(event):
            self._proxy_to_logger("info", event, **fields)

    def warning(self, event: str, **fields: object) -> None:
        if self.threshold <= logging.WARNING and self._is_admitted(event):
            self._proxy_to_logger("warning", event, **fields)

    def error(self, event: str, **fields: object) -> None:
        if self._is_admitted(event):
            self._proxy_to_logger("error", event, **fields)

    def critical(self, event: str, **fields: object) -> None:
        if self._is_admitted(event):
            self._proxy_to_logger("critical", event, **fields)

    def exception(self, event: str, **fields: object) -> None:
        if self._is_admitted(event):
            self._proxy_to_logger("error", event, exc_info=True, **fields)

    def _is_admitted(self, event: str) -> bool:
        suppressed = self.limit.admit(event, time.monotonic())
        if suppressed:
            _log_suppressed(event, suppressed)
        return suppressed is not None


class Log:
    """Configures the daemon's loggers. A reload may change `level`."""

    def __init__(self, level: str, form: Format, stream: TextIO = sys.stdout) -> None:
        self._writer = LineWriter(stream)
        _Logger.limit = LineLimit()
        self.configure(level)
        priorities = _is_the_journal(stream)
        structlog.configure(
            processors=_processors(form, stream),
            wrapper_class=_Logger,
            logger_factory=lambda *_: _LineLogger(self._writer, priorities=priorities),
        )

    def configure(self, level: str) -> None:
        """Log lines of this level and above, from every existing logger."""
        _Logger.threshold = logging.getLevelNamesMapping()[level.upper()]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for kind, count in _Logger.limit.left_out().items():
            _log_suppressed(kind, count)
        self._writer.close()


def _log_suppressed(kind: str, count: int) -> None:
    _log.warning("log_lines_suppressed", of=kind, count=count, detail="the queue has their details")


def _processors(form: Format, stream: TextIO) -> list[structlog.typing.Processor]:
    as_json = form == "json" or (form == "auto" and not stream.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=as_json, key="time"),
        _common_fields_first,
    ]
    if as_json:
        return [
            *shared,
            # Without the frames' variables: they hold bodies and secrets.
            structlog.processors.ExceptionRenderer(
                structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
            ),
            _urls_of_exceptions_cut,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ]
    colors = stream.isatty() and "NO_COLOR" not in os.environ
    return [
        *shared,
        structlog.dev.ConsoleRenderer(
            colors=colors,
            timestamp_key="time",
            pad_event_to=22,
            exception_formatter=_traceback,
        ),
    ]


def _is_the_journal(stream: TextIO) -> bool:
    """Return whether systemd's journal reads the stream (JOURNAL_STREAM in systemd.exec(5))."""
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def _urls_of_exceptions_cut(
    _: object, __: str, fields: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Cut the URLs in an exception's words, which may be a library's."""
    if "exception" in fields:
        fields["exception"] = _cut(fields["exception"])
    return fields


def _cut(value: object) -> object:
    if isinstance(value, str):
        return urls_cut(value)
    if isinstance(value, dict):
        return {key: _cut(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_cut(each) for each in value]
    return value


def _traceback(out: TextIO, exc_info: structlog.typing.ExcInfo) -> None:
    whole = io.StringIO()
    structlog.dev.plain_traceback(whole, exc_info)
    out.write(urls_cut(whole.getvalue()))


def _common_fields_first(
    _: object, __: str, fields: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Put the fields that every line has first."""
    first = {name: fields.pop(name) for name in ("time", "level", "event")}
    return {**first, **fields}
