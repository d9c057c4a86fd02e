"""Resolve the requirements anew and write ``requirements.lock``: ``python book/_tools/lock.py`` (needs uv).

The lock is a list of constraints: it pins the documentation tools, the notebook tools and the test tools for
all supported Pythons.  torch, torchvision, their CUDA packages and what only they need are left out, so that
a machine keeps the torch that fits it.  It names no package index.
"""

from __future__ import annotations

import re
import shutil
import subprocess

from common import ROOT, say, stop

LOCK = ROOT / "requirements.lock"
SOURCES = ("requirements.txt", "requirements-classroom.txt", "requirements-test.txt")
FREE = re.compile(
    r"(torch|torchvision|triton|nvidia-.+|cuda-.+|sympy|mpmath|networkx|fsspec|filelock|setuptools|numpy|typing-extensions)"
)
HEAD = """\
# Constraints for a reproducible environment, for Python 3.11 to 3.13. Written by `make lock`; not edited by
# hand. Left free on purpose: torch, torchvision, numpy and what torch brings with it.
"""


def resolve() -> list[str]:
    """Ask uv for one version of everything, valid for all supported Pythons and systems."""
    uv = shutil.which("uv")
    if uv is None:
        stop("make lock needs uv: pip install uv")
    command = [uv, "pip", "compile", "--quiet", "--universal", "--upgrade", "--python-version", "3.11"]
    options = ["--no-annotate", "--no-header", "--no-emit-index-url", "--no-emit-find-links"]
    done = subprocess.run([*command, *options, *SOURCES], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        stop(f"uv could not resolve the requirements:\n{done.stderr}")
    return done.stdout.splitlines()


def keep(line: str) -> bool:
    """Whether a resolved line belongs into the lock."""
    match = re.match(r"([A-Za-z0-9._-]+)==", line)
    return bool(match) and not FREE.fullmatch(match[1].lower())


def main() -> None:
    """Write the lock."""
    lines = [line for line in resolve() if keep(line)]
    LOCK.write_text(HEAD + "\n".join(lines) + "\n", "utf-8")
    say(f"{LOCK.name}: {len(lines)} packages pinned. Now: make test")


if __name__ == "__main__":
    main()
