"""Reading a secret from the place that the configuration names, or saying why not.

An unset variable, an empty file or one that everybody may read is an error, never an empty
secret. What was read never stands in a message.
"""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from relayd.config.exposure import Producers, exposure
from relayd.config.reading import Unreadable, read_file
from relayd.core.secret import STANDARD_PREFIX, Secret, SourcedSecret

MAX_BYTES: Final = 65_536
SHORT: Final = 16
"""Below so many characters a secret could be guessed, and a warning says so."""

STANDARD_BYTES: Final = (24, 64)
"""How long a Standard Webhooks key is, as its specification says."""

STANDARD_HINT: Final = "`echo whsec_$(openssl rand -base64 32)` makes one"

_QUOTES: Final = frozenset({'""', "''", "``", "\u201c\u201d", "\u2018\u2019", "\xab\xbb"})
# A base64 text may end in `=`, and a random one may hold it; a name, `=` and a longer text do not
# come about by chance.
_ASSIGNMENT = re.compile(r"(export\s+)?[A-Za-z_][A-Za-z0-9_]{2,}\s*=(?=[^=]).{8,}", re.DOTALL)
# A line of YAML. Without the space it may be a name and a password.
_KEY = re.compile(
    r"\w*(?:secret|key|token|password):\s.+|[A-Za-z_][\w-]{2,}:\s+\S{8,}",
    re.DOTALL | re.IGNORECASE,
)
_JSON = re.compile(r"\{\s*\"[^\"]*\"\s*:.*\}", re.DOTALL)
_ESCAPED_END: Final = ("\\n", "\\r")
# What the example of the configuration has, and others like it.
_EXAMPLE = re.compile(
    r"(replace|change|insert)[-_ ]?(me|this|it)\b|your[-_ ](\w+[-_ ])?(secret|key)\b"
    r"|the-one-that-was-in-use-before",
    re.IGNORECASE,
)
# What no font shows, and Unicode does not count among control or format characters.
_BLANK: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
_VARIATION = re.compile("[\ufe00-\ufe0f\u180b-\u180f\U000e0100-\U000e01ef]")
_PLACEHOLDER = re.compile(r"\$\{?\w+\}?|\{\{.*\}\}|<[^<>]*>", re.DOTALL)


@dataclass(frozen=True, slots=True)
class NoSecret:
    """Why there is no secret, and what would be right."""

    message: str
    hint: str = ""


def text_secret(text: str) -> SourcedSecret | NoSecret:
    """Return the secret that stands in the configuration itself."""
    if not text:
        return NoSecret("is empty", "write the text, or {file: PATH}")
    if _PLACEHOLDER.fullmatch(text):
        return NoSecret(
            "is a placeholder, which is not expanded",
            "write {env: NAME} for an environment variable",
        )
    return SourcedSecret(Secret(text), "text")


_NO_PRODUCERS: Final = Producers()


def file_secret(path: Path, producers: Producers = _NO_PRODUCERS) -> SourcedSecret | NoSecret:
    """Return the secret in a file, without its last line break. Blocks on the disk.

    A file that everybody or the `producers` may read or write is refused.
    """
    return _read(path, f"file {path}", private_to=producers)


def env_secret(name: str, environ: Mapping[str, str]) -> SourcedSecret | NoSecret:
    """Return the secret in an environment variable."""
    text = environ.get(name)
    if text is None:
        return NoSecret(
            f"the environment variable {name} is not set", "set it where relayd is started"
        )
    if not text:
        return NoSecret(f"the environment variable {name} is empty")
    try:
        text.encode()
    except UnicodeEncodeError:
        return NoSecret(f"the environment variable {name} is not text in UTF-8")
    return SourcedSecret(Secret(text), f"env {name}")


def credential_secret(name: str, environ: Mapping[str, str]) -> SourcedSecret | NoSecret:
    """Return the secret in a credential that systemd passes. Blocks on the disk."""
    directory = environ.get("CREDENTIALS_DIRECTORY")
    if not directory:
        return NoSecret(
            f"there is no credential {name}, because CREDENTIALS_DIRECTORY is not set",
            f"run under systemd, with LoadCredential={name}:PATH in the unit",
        )
    # systemd guards its directory with an access list; the mode of a file in it says nothing.
    return _read(Path(directory, name), f"credential {name}", private_to=None)


def weaknesses(sourced: SourcedSecret) -> list[NoSecret]:
    """Return what is doubtful about a secret that can be used all the same."""
    text = sourced.secret.reveal()
    found = mistakes(sourced)
    if len(text) < SHORT:
        found.append(
            NoSecret(
                f"is shorter than {SHORT} characters, and could be guessed",
                "`openssl rand -hex 32` makes a good one",
            )
        )
    if _JSON.fullmatch(text):
        found.append(NoSecret("is JSON as a whole", "write the secret alone"))
    if text != text.strip():
        found.append(NoSecret("begins or ends with white space, which is part of it"))
    return found


def mistakes(sourced: SourcedSecret) -> list[NoSecret]:
    """Return what was surely not meant in a secret; it is used as it is all the same."""
    text = sourced.secret.reveal()
    found = []
    if text.startswith("\ufeff"):
        found.append(
            NoSecret(
                "begins with a byte order mark, which an editor put there, and which is part of it",
                "save it as UTF-8 without one",
            )
        )
        text = text[1:]
    if len(text) > 2 and text[0] + text[-1] in _QUOTES:
        found.append(NoSecret("is in quotes, which are part of it", "leave them out"))
    if _ASSIGNMENT.fullmatch(text):
        found.append(
            NoSecret("begins with a name and =, which are part of it", "leave the name out")
        )
    if _KEY.fullmatch(text):
        found.append(
            NoSecret(
                "begins with a name and a colon, which are part of it",
                "leave the name out",
            )
        )
    if text.endswith(_ESCAPED_END):
        found.append(
            NoSecret(
                f"ends with a backslash and {text[-1]}, which are part of it",
                "leave them out; a file's last line break is never part of it",
            )
        )
    if _is_example(sourced.secret):
        found.append(
            NoSecret(
                "is the text of an example, which everybody knows", "put your own in its place"
            )
        )
    hidden = list(dict.fromkeys(map(_code_point, filter(_is_hidden, text))))
    if hidden:
        more = "" if len(hidden) <= _MOST_HIDDEN else f" and {len(hidden) - _MOST_HIDDEN} more"
        found.append(
            NoSecret(
                "contains invisible characters, which are part of it:"
                f" {', '.join(hidden[:_MOST_HIDDEN])}{more}",
                "write it again without them",
            )
        )
    return found


def _is_example(secret: Secret) -> bool:
    standard = secret.standard_key or b""
    texts = (secret.reveal().removeprefix(STANDARD_PREFIX), standard.decode(errors="replace"))
    return any(map(_EXAMPLE.match, texts))


_MOST_HIDDEN: Final = 5


def _is_hidden(character: str) -> bool:
    # isprintable knows control and format characters, and every space but the usual one.
    return (
        not character.isprintable()
        or character in _BLANK
        or _VARIATION.fullmatch(character) is not None
    )


def _code_point(character: str) -> str:
    name = _CONTROLS.get(character) or unicodedata.name(character, "").lower()
    return f"U+{ord(character):04X}" + (f" ({name})" if name else "")


_CONTROLS: Final = {"\0": "NUL", "\n": "line break", "\r": "carriage return", "\t": "tab"}


def standard_problem(sourced: SourcedSecret) -> NoSecret | None:
    """Return why no Standard Webhooks library verifies what is signed with it, or None."""
    text = sourced.secret.reveal()
    key = sourced.secret.standard_key
    if not text.startswith(STANDARD_PREFIX):
        return NoSecret(f"must be whsec_ and base64, for {_STANDARD}", STANDARD_HINT)
    if key is None:
        return NoSecret(f"must contain base64 after whsec_, for {_STANDARD}", STANDARD_HINT)
    shortest, longest = STANDARD_BYTES
    if not shortest <= len(key) <= longest:
        return NoSecret(
            f"must be the base64 of {shortest} to {longest} bytes after whsec_, not of {len(key)},"
            f" for {_STANDARD}",
            STANDARD_HINT,
        )
    return None


_STANDARD: Final = "`signature: standard`"


def _read(path: Path, source: str, *, private_to: Producers | None) -> SourcedSecret | NoSecret:
    content = read_file(path, MAX_BYTES)
    if isinstance(content, Unreadable):
        hint = "" if content.missing else "it must be a file that relayd's user may read"
        return NoSecret(f"{source} {content.reason}", hint)
    exposed = None if private_to is None else exposure(path, content, private_to)
    if exposed is not None:
        reason, command = exposed
        return NoSecret(f"{source} {reason}", command)
    return _file_text(content.raw, source)


def _file_text(raw: bytes, source: str) -> SourcedSecret | NoSecret:
    if len(raw) > MAX_BYTES:
        return NoSecret(f"{source} is larger than {MAX_BYTES // 1024} KiB")
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return NoSecret(f"{source} is not text in UTF-8", "a binary key: store its base64")
    # Editors and `echo` end a file with a line break that nobody means.
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        return NoSecret(f"{source} is empty")
    return SourcedSecret(Secret(text), source)
