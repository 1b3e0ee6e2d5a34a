"""The secrets of the file's models, read from where the file says that they are."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from relayd.config.exposure import Producers
from relayd.config.findings import Findings
from relayd.config.problem import KeyPath
from relayd.config.secrets import (
    NoSecret,
    credential_secret,
    env_secret,
    file_secret,
    mistakes,
    standard_problem,
    text_secret,
    weaknesses,
)
from relayd.config.subscription_models import SecretSource
from relayd.core.secret import SourcedSecret


class SecretBuilder:
    """Reads one secret after the other; what is wrong with one goes to `findings`."""

    def __init__(
        self,
        *,
        directory: Path,
        environ: Mapping[str, str],
        producers: Producers,
        findings: Findings,
    ) -> None:
        self._directory = directory
        self._environ = environ
        self._producers = producers
        self._findings = findings

    def text(self, given: SecretSource, path: KeyPath) -> str:
        """Return the text of a value that may be a secret, such as a header's; empty with an error."""
        read = self.read(given, path)
        if read is None:
            return ""
        self._warn(mistakes(read), path)
        return read.secret.reveal()

    def secret(self, given: str | SecretSource, path: KeyPath) -> SourcedSecret | None:
        """Return a secret to sign with, None with an error; what makes it weak is warned of."""
        read = self.read(given, path)
        if read is not None:
            self._warn(weaknesses(read), path)
        return read

    def login(self, given: str | SecretSource, path: KeyPath) -> SourcedSecret | None:
        """Return a password, None with an error. How good it is, is the other side's affair."""
        read = self.read(given, path)
        if read is not None:
            self._warn(mistakes(read), path)
            if "\0" in read.secret.reveal():
                self._findings.error(path, "contains a NUL, which no login can send")
        return read

    def provided(self, given: str | SecretSource, path: KeyPath) -> SourcedSecret | None:
        """Return a secret that somebody else chose, None with an error; mistakes are warned of."""
        read = self.read(given, path)
        if read is not None:
            self._warn(mistakes(read), path)
        return read

    def _warn(self, doubts: Iterable[NoSecret], path: KeyPath) -> None:
        for each in doubts:
            self._findings.warning(path, each.message, each.hint)

    def read(self, given: str | SecretSource, path: KeyPath) -> SourcedSecret | None:
        """Read a secret from where the configuration says; None, with an error, if it cannot be."""
        if self._findings.is_doubtful(path):
            return None
        read = self._lookup(given)
        if isinstance(read, NoSecret):
            self._findings.error(path, read.message, read.hint)
            return None
        return read

    def _lookup(self, given: str | SecretSource) -> SourcedSecret | NoSecret:
        if isinstance(given, str):
            return text_secret(given)
        if len(given.model_fields_set) != 1:
            return NoSecret(
                "must have exactly one of file, env and credential",
                "as {file: PATH}, or the text itself",
            )
        if given.file is not None:
            return file_secret(self._directory / given.file, self._producers)
        if given.env is not None:
            return env_secret(given.env, self._environ)
        return credential_secret(given.credential or "", self._environ)

    def check_standard(self, sourced: SourcedSecret | None, path: KeyPath) -> None:
        """Note an error where a secret is not a key of the Standard Webhooks specification."""
        problem = None if sourced is None else standard_problem(sourced)
        if problem is not None:
            self._findings.error(path, problem.message, problem.hint)
