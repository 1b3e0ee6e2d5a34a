"""Asks which locked packages have known vulnerabilities, and writes down what relayd is made of.

Its arguments: the lock, the part of it that relayd needs when it runs, pyproject.toml, and where
the SBOM (CycloneDX, JSON) goes. Ends with 1 for a known vulnerability. A package of which the
advisories cannot be had is told, and is no failure: pip-audit alone would say "no known
vulnerabilities found" of it.
"""  # noqa: INP001 - a script

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import relayd

_TIMEOUT_S = 300.0


def sbom(runtime: str, project: str) -> str:
    """Return the SBOM of the packages that relayd needs when it runs, as JSON."""
    made = subprocess.run(  # noqa: S603 - arguments of our own
        [*_tool("cyclonedx_py"), "requirements", "--pyproject", project, "--output-reproducible",
         "--output-file", "-", runtime],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    document: dict[str, Any] = json.loads(made.stdout)
    # Our version is dynamic, which the tool does not follow.
    document["metadata"]["component"]["version"] = relayd.__version__
    return json.dumps(document, indent=2) + "\n"


def audit(lock: str) -> tuple[list[str], list[str], str]:
    """Return the known vulnerabilities, the packages that were not checked, and why not."""
    command = [*_tool("pip_audit"), "--requirement", lock, "--require-hashes", "--disable-pip",
               "--progress-spinner", "off", "--format", "json"]  # fmt: skip
    try:
        ran = subprocess.run(  # noqa: S603 - as above
            command, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S
        )
        found = json.loads(ran.stdout)["dependencies"]
    except subprocess.TimeoutExpired:
        return [], ["every package"], "the registry does not answer"
    except ValueError:
        return [], ["every package"], (ran.stderr.strip().splitlines() or ["pip-audit failed"])[-1]
    return judged(found)


def judged(found: list[dict[str, Any]]) -> tuple[list[str], list[str], str]:
    """Read what pip-audit found of each package."""
    known = [
        f"{each['name']} {each['version']}: {vulnerability['id']},"
        f" mended in {', '.join(vulnerability['fix_versions']) or 'no version yet'}"
        for each in found
        for vulnerability in each.get("vulns", ())
    ]
    skipped = [each["name"] for each in found if "skip_reason" in each]
    return known, skipped, "the registry that is used here has no advisories of them"


def _tool(module: str) -> list[str]:
    return [sys.executable, "-m", module]


def main() -> int:
    """Write the SBOM, ask for advisories, and return the exit status."""
    lock, runtime, project, output = sys.argv[1:]
    text = sbom(runtime, project)
    Path(output).parent.mkdir(parents=True, exist_ok=True)
    Path(output).write_text(text)
    print(f"{output}: {len(json.loads(text)['components'])} packages")  # noqa: T201 - its output
    known, skipped, reason = audit(lock)
    for each in known:
        print(f"VULNERABLE: {each}")  # noqa: T201
    if skipped:
        names = ", ".join(skipped[:4]) + (", …" if len(skipped) > 4 else "")
        print(f"not checked: {len(skipped)} of the lock's packages ({names}): {reason}")  # noqa: T201
    if not known and not skipped:
        print("no known vulnerabilities in the lock's packages")  # noqa: T201
    return 1 if known else 0


if __name__ == "__main__":
    sys.exit(main())
