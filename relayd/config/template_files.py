"""The files of `template:`, read and checked; each once, however many subscriptions name it."""

from pathlib import Path
from typing import Final

from relayd.config.exposure import Producers, exposure
from relayd.config.reading import Unreadable, read_file
from relayd.config.secrets import NoSecret
from relayd.core.template import MAX_TEMPLATE_BYTES, Template

_NOT_INSTALLED: Final = NoSecret(
    "needs Jinja2, which is not installed where relayd is",
    "install it there: `pip install -c constraints.txt '.[templates]'` in the folder that relayd was"
    " installed from (pipx: `pipx inject relayd jinja2`), and restart relayd",
)


class TemplateReader:
    """Reads templates. Blocks on the disk."""

    def __init__(self, producers: Producers) -> None:
        self._producers = producers
        self._read: dict[Path, Template | NoSecret] = {}

    def read(self, path: Path) -> Template | NoSecret:
        """Return the template in a file, or why it cannot be used."""
        if path not in self._read:
            self._read[path] = self._result(path)
        return self._read[path]

    def _result(self, path: Path) -> Template | NoSecret:
        text = self._text(path)
        if isinstance(text, NoSecret):
            return text
        problem = _problem(text)
        if isinstance(problem, NoSecret):
            return problem
        if problem is not None:
            line, message = problem
            place = "" if line is None else f":{line}"
            return NoSecret(f"{path}{place}: {message}")
        return Template(str(path), text)

    def _text(self, path: Path) -> str | NoSecret:
        content = read_file(path, MAX_TEMPLATE_BYTES)
        if isinstance(content, Unreadable):
            return NoSecret(f"file {path} {content.reason}")
        open_to = exposure(path, content, self._producers, public=True)
        if open_to is not None:
            return NoSecret(f"file {path} {open_to[0]}", open_to[1])
        if len(content.raw) > MAX_TEMPLATE_BYTES:
            return NoSecret(f"file {path} has more than {MAX_TEMPLATE_BYTES // 1024} KiB")
        try:
            text = content.raw.decode("utf-8-sig")
        except UnicodeDecodeError:
            return NoSecret(f"file {path} is not text in UTF-8")
        return text if text.strip() else NoSecret(f"file {path} is empty")


def _problem(text: str) -> tuple[int | None, str] | NoSecret | None:
    try:
        # Jinja2 is optional, and takes 60 ms to load.
        from relayd.template_sandbox import template_problem  # noqa: PLC0415 - see above
    except ModuleNotFoundError:
        return _NOT_INSTALLED
    return template_problem(text)
