"""Install what the book needs into a virtual environment: ``python book/_site/install.py GROUP VENV``.

Runs under the system's Python, with the standard library only; uv is used where it is installed, else venv
and pip.  A stamp holds the hash of the requirement files: while it is the same, a second call does nothing.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from common import ROOT, content_hash, say, stop

REQUIREMENTS = {
    "book": ["requirements.txt"],
    "classroom": ["requirements.txt", "requirements-classroom.txt"],
    "test": ["requirements.txt", "requirements-classroom.txt", "requirements-test.txt"],
    "audit": ["requirements-audit.txt"],  # not the book: these programs look at its environment from outside
}
LOCK = ROOT / "requirements.lock"


def run(*command: str | Path) -> None:
    """Run a command; its failure ends the program."""
    if subprocess.run([str(part) for part in command], cwd=ROOT).returncode:
        stop(f"\nThis failed: {' '.join(map(str, command))}")


def works(python: Path) -> bool:
    """Whether an interpreter is there and starts."""
    return python.exists() and not subprocess.run([python, "-c", ""], capture_output=True).returncode


def make_venv(venv: Path, python: str = sys.executable) -> None:
    """Make an environment anew, in place of one that is broken."""
    if venv.exists() and not (venv / "pyvenv.cfg").exists():
        stop(f"{venv} exists and is not a virtual environment: move it away, or give another one with VENV=…")
    say(f"Making {venv.name} …")
    shutil.rmtree(venv, ignore_errors=True)
    if shutil.which("uv"):
        run("uv", "venv", "--quiet", "--python", python, venv)
    elif subprocess.run([python, "-m", "venv", str(venv)]).returncode:
        shutil.rmtree(venv, ignore_errors=True)
        stop("On Debian or Ubuntu: apt-get install python3-venv. Anywhere: install uv.")


def pip_install(python: Path, *arguments: str | Path) -> None:
    """Install into an environment."""
    if shutil.which("uv"):
        run("uv", "pip", "install", "--quiet", "--python", python, *arguments)
        return
    if subprocess.run([python, "-m", "pip", "--version"], capture_output=True).returncode:
        run(python, "-m", "ensurepip", "--upgrade")  # an environment that uv made has no pip
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments)


def install(group: str, venv: Path) -> None:
    """Bring an environment up to date for a group of requirements; it is made if it is missing or broken.

    ``book`` is what reading, running and building need; ``classroom`` adds nbgrader, ``test`` that and what
    the tests need; ``audit`` is for an environment of its own.
    """
    python, stamp = venv / "bin" / "python", venv / f".installed-{group}"
    files = [ROOT / name for name in (*REQUIREMENTS[group], "requirements.lock", "pyproject.toml")]
    mark = content_hash([f for f in files if f.exists()], str(ROOT), sys.version)
    if works(python) and stamp.exists() and stamp.read_text() == mark:
        return
    if not works(python):
        make_venv(venv)
    arguments: list[str | Path] = [f"--requirement={name}" for name in REQUIREMENTS[group]]
    if group != "audit":
        arguments += ["--editable", ".", *([f"--constraint={LOCK}"] if LOCK.exists() else [])]
    say(f"Installing {', '.join(REQUIREMENTS[group])} into {venv.name} (with torch: this takes minutes) …")
    pip_install(python, *arguments)
    stamp.write_text(mark)


if __name__ == "__main__":
    install(sys.argv[1], Path(sys.argv[2]).absolute())
