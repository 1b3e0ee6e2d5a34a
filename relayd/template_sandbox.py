"""Jinja2 as templates get it: sandboxed, strict, and the same output for the same event.

There is no file, no clock, no randomness and no attribute of Python's objects. Importing this module
fails where the extra `templates` is not installed.
"""

import json
import re
import textwrap  # noqa: F401 - a filter imports it, where no file can be opened any more
from collections.abc import Iterator, Mapping
from types import FrameType, TracebackType
from typing import Any, Final

import jinja2.debug  # noqa: F401 - would be imported at the first error
from jinja2 import Environment, StrictUndefined, Undefined, meta, nodes, pass_context
from jinja2.exceptions import (
    FilterArgumentError,
    SecurityError,
    TemplateRuntimeError,
    TemplateSyntaxError,
    UndefinedError,
)
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from relayd.core.sentence import plain, sentence_about
from relayd.core.template import MAX_OUTPUT_BYTES, VARIABLES

_NAME: Final = "<template>"
"""The file name that Jinja gives to the code of a template without a file."""

_GLOBALS: Final = ("range", "dict", "cycler", "joiner", "namespace")
_PRINTED: Final = (str, int, float, list, tuple, dict, Undefined, type(None))
_LOADING: Final = (nodes.Extends, nodes.Include, nodes.Import, nodes.FromImport)

# Their messages name types, and names that the template has; what they quote is looked up there.
_SPOKEN: Final = (
    UndefinedError,
    SecurityError,
    TemplateRuntimeError,
    FilterArgumentError,
    TypeError,
    ZeroDivisionError,
    OverflowError,
)
_QUOTED = re.compile(r"'([^']*)'|\"([^\"]*)\"")
_TYPES: Final = frozenset(
    {"str", "int", "float", "bool", "list", "tuple", "dict", "type", "NoneType", "dict object", "list object"}
)  # fmt: skip


class TemplateFaultError(Exception):
    """A template did not render: says why, with no value of the event. `line` is None if not known."""

    def __init__(self, message: str, line: int | None) -> None:
        super().__init__(message)
        self.line = line


def template_problem(text: str) -> tuple[int | None, str] | None:
    """Return the line and what is wrong with a template that can never render; None if nothing is."""
    environment = _environment()
    try:
        tree = environment.parse(text)
        for node in tree.find_all(_LOADING):
            return (
                node.lineno,
                "include, import and extends are not available: a template is one file",
            )
        for name in sorted(_undeclared(environment, tree) - set(environment.globals)):
            if name not in VARIABLES:
                return _line_of(tree, name), f"{plain(name)} is not defined"
        environment.compile(text)
    except TemplateSyntaxError as error:
        return error.lineno, plain(error.message or "is not a template")
    except RecursionError:
        return None, "is nested too deeply"
    return None


def rendered(text: str, event: Mapping[str, Any]) -> bytes:
    """Return what a template makes of an event, in UTF-8. Raises `TemplateFaultError`.

    Takes as long and as much memory as the template wants: call it where both are bounded.
    """
    try:
        template = _environment().from_string(text)
        values = {**event, "sentence": str(sentence_about(event))}
        return b"".join(_bounded(template.generate(values)))
    except TemplateFaultError:
        raise
    except TemplateSyntaxError as error:
        raise TemplateFaultError(
            plain(error.message or "is not a template"), error.lineno
        ) from None
    except MemoryError:
        raise TemplateFaultError("takes more memory than it may have", None) from None
    except RecursionError as error:
        raise TemplateFaultError("recurses without end", _line(error.__traceback__)) from None
    except Exception as error:  # noqa: BLE001 - whatever a template does is a failed rendering
        raise TemplateFaultError(_words(error, text), _line(error.__traceback__)) from None


def current_line(frame: FrameType | None) -> int | None:
    """Return the template's line at which this frame, or one that called it, is."""
    while frame is not None:
        template = frame.f_globals.get("__jinja_template__")
        if template is not None and frame.f_code.co_filename == _NAME:
            return int(template.get_corresponding_lineno(frame.f_lineno))
        frame = frame.f_back
    return None


class _Sandbox(ImmutableSandboxedEnvironment):
    """Finds an event's keys before Python's methods: `data.object.items` is what the event has."""

    def getattr(self, obj: Any, attribute: str) -> Any:  # noqa: ANN401 - as Jinja has it
        if isinstance(obj, dict) and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)


def _undeclared(environment: Environment, tree: nodes.Template) -> set[str]:
    # As meta.find_undeclared_variables does, which computes constants.
    names = meta.TrackingCodeGenerator(environment)
    names.optimizer = None
    names.visit(tree)
    return names.undeclared_identifiers


def _environment() -> Environment:
    # Without the optimizer, nothing is computed while a template is compiled.
    made = _Sandbox(undefined=StrictUndefined, autoescape=False, optimized=False, finalize=_printed)
    made.globals = {name: made.globals[name] for name in _GLOBALS}
    del made.filters["random"]
    made.filters["tojson"] = _json
    return made


@pass_context  # so that Jinja cannot call it, and compute a constant, while it compiles
def _printed(_: Context, value: object) -> object:
    """Refuse what has no text of its own: Python would print where it is in memory."""
    if isinstance(value, _PRINTED):
        return value
    raise TemplateRuntimeError(
        f"prints a {type(value).__name__}, which is not text: write |list or |join behind it"
    )


def _json(value: object, indent: int | None = None) -> str:
    separators = (",", ":") if indent is None else None
    return json.dumps(
        value, ensure_ascii=False, indent=indent, separators=separators, default=_none
    )


def _none(value: object) -> object:
    if isinstance(value, Undefined):
        str(value)  # says which name
    raise TypeError(f"a {type(value).__name__} is not JSON: write |list before |tojson")


def _bounded(parts: Iterator[str]) -> Iterator[bytes]:
    size = 0
    for part in parts:
        raw = part.encode(errors="replace")  # half of a surrogate pair
        size += len(raw)
        if size > MAX_OUTPUT_BYTES:
            raise TemplateFaultError("renders more than 1 MiB", None)
        yield raw


def _words(error: Exception, text: str) -> str:
    message = str(error)
    quoted = [one or other for one, other in _QUOTED.findall(message)]
    if not isinstance(error, _SPOKEN) or any(
        each not in _TYPES and each not in text for each in quoted
    ):
        return type(error).__name__  # the message may show a value of the event
    return plain(message.rstrip("."))  # a sentence goes on behind it


def _line(traceback: TracebackType | None) -> int | None:
    line = None
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == _NAME:
            line = traceback.tb_lineno  # Jinja has put the template's lines there
        traceback = traceback.tb_next
    return line


def _line_of(tree: nodes.Template, name: str) -> int | None:
    lines = (each.lineno for each in tree.find_all(nodes.Name) if each.name == name)
    return next(lines, None)
