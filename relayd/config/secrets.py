"""Reading a secret from the place that the configuration names, or saying why not.

An unset variable, an empty file or one that everybody may read is an error, never an empty
secret. What was read never stands in a message.
"""

import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from relayd.config.reading import Unreadable, read_file
from relayd.core.secret import Secret, SourcedSecret

MAX_BYTES: Final = 65_536
SHORT: Final = 16
"""Below so many characters a secret could be guessed, and a warning says so."""

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
            "is a placeholder, and nothing replaces it",
            "write {env: NAME} for an environment variable",
        )
    return SourcedSecret(Secret(text), "text")


def file_secret(path: Path) -> SourcedSecret | NoSecret:
    """Return the secret in a file, without its last line break. Blocks on the disk."""
    return _read(path, f"file {path}", private=True)


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
            f"there is no credential {name}, since CREDENTIALS_DIRECTORY is not set",
            f"run under systemd, with LoadCredential={name}:PATH in the unit",
        )
    # systemd guards its directory with an access list; the mode of a file in it says nothing.
    return _read(Path(directory, name), f"credential {name}", private=False)


def weaknesses(sourced: SourcedSecret) -> list[NoSecret]:
    """Return what is doubtful about a secret that can be used all the same."""
    text = sourced.secret.reveal()
    found = []
    if len(text) < SHORT:
        found.append(
            NoSecret(
                f"is shorter than {SHORT} characters, and could be guessed",
                "`openssl rand -hex 32` makes a good one",
            )
        )
    if text != text.strip():
        found.append(NoSecret("begins or ends with white space, which is part of it"))
    return found


def is_standard_key(sourced: SourcedSecret) -> bool:
    """Tell whether Standard Webhooks can sign with it: after `whsec_`, base64 must follow."""
    secret = sourced.secret
    return not secret.reveal().startswith("whsec_") or secret.standard_key != secret.key


def _read(path: Path, source: str, *, private: bool) -> SourcedSecret | NoSecret:
    content = read_file(path, MAX_BYTES)
    if isinstance(content, Unreadable):
        hint = "" if content.missing else "it must be a file that relayd's user may read"
        return NoSecret(f"{source} {content.reason}", hint)
    if private and content.mode & stat.S_IROTH:
        return NoSecret(f"{source} may be read by everybody on this machine", f"chmod o= {path}")
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
