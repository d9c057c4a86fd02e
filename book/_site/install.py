"""Install what the book needs into a virtual environment: ``python book/_site/install.py GROUP``.

Runs under the system's Python, with the standard library only.  The environment is made with uv where it is
installed, else with venv and pip.  A stamp holds the hash of the contents of the requirement files: as long
as that is unchanged, a second call does nothing.
"""

from __future__ import annotations

import argparse
import os
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
LOCK = "requirements.lock"
OLDEST = (3, 11)


def venv_python(venv: Path) -> Path:
    """The interpreter of a virtual environment."""
    return venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def site_packages(venv: Path) -> Path:
    """Where a virtual environment keeps its packages.

    Raises
    ------
    SystemExit
        If there is no such environment.
    """
    python = venv_python(venv)
    if not python.exists():
        stop(f"{venv.name} is missing or broken: make env-test")
    question = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return Path(subprocess.check_output([str(python), "-I", "-c", question], text=True).strip())


def run(*command: str | Path) -> None:
    """Run a command; its failure ends the tool."""
    code = subprocess.run([str(part) for part in command], cwd=ROOT).returncode
    if code:
        stop(f"\nThe installation failed (code {code}): {' '.join(map(str, command))}")


def works(python: Path) -> bool:
    """Whether an interpreter starts and is new enough."""
    if not python.exists():
        return False
    question = f"import sys; sys.exit(sys.version_info < {OLDEST})"
    return subprocess.run([str(python), "-c", question], capture_output=True).returncode == 0


def make_venv(venv: Path, uv: str | None) -> None:
    """Create the environment."""
    if venv.exists() and not (venv / "pyvenv.cfg").exists():
        stop(f"{venv} exists and is not a virtual environment: move it away, or give another one with VENV=…")
    say(f"Creating {venv.name} with Python {sys.version.split()[0]} …")
    shutil.rmtree(venv, ignore_errors=True)
    if uv:
        run(uv, "venv", "--quiet", "--python", sys.executable, venv)
        return
    code = subprocess.run([sys.executable, "-m", "venv", str(venv)], cwd=ROOT).returncode
    if code:
        shutil.rmtree(venv, ignore_errors=True)
        stop(
            "Python cannot make a virtual environment here.\n"
            "On Debian or Ubuntu: apt-get install python3-venv. Anywhere: install uv."
        )


def stamp_of(group: str, venv: Path) -> tuple[Path, str]:
    """The stamp file of a group, and what it holds when everything is installed."""
    files = [ROOT / name for name in [*REQUIREMENTS[group], LOCK, "pyproject.toml"] if (ROOT / name).exists()]
    return venv / f".installed-{group}", content_hash(
        files, str(ROOT), ".".join(map(str, sys.version_info[:2]))
    )


def install(group: str, venv: Path) -> None:
    """Bring the environment up to date for a group of requirements.

    Parameters
    ----------
    group : {"book", "classroom", "test", "audit"}
        ``book`` is what reading, running and building need; ``classroom`` adds nbgrader, ``test`` that and
        what the tests need; ``audit`` is for an environment of its own.
    venv : pathlib.Path
        Folder of the environment; made if it is missing or broken.
    """
    python = venv_python(venv)
    stamp, mark = stamp_of(group, venv)
    if works(python) and stamp.exists() and stamp.read_text() == mark:
        return
    uv = shutil.which("uv")
    if not works(python):
        make_venv(venv, uv)
    arguments: list[str | Path] = [] if group == "audit" else ["--editable", "."]
    for name in REQUIREMENTS[group]:
        arguments += ["--requirement", name]
    if (ROOT / LOCK).exists() and group != "audit":
        arguments += ["--constraint", LOCK]
    say(
        f"Installing {', '.join(REQUIREMENTS[group])} into {venv.name} "
        + ("…" if group == "audit" else "(the first time this takes minutes: torch is large) …")
    )
    if uv:
        run(uv, "pip", "install", "--quiet", "--python", python, *arguments)
    else:
        if subprocess.run([str(python), "-m", "pip", "--version"], capture_output=True).returncode:
            run(python, "-m", "ensurepip", "--upgrade")  # an environment that uv made has no pip
        run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments)
    stamp.write_text(mark)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Install the book's requirements into a virtual environment."
    )
    parser.add_argument("group", choices=sorted(REQUIREMENTS))
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv")
    arguments = parser.parse_args()
    install(arguments.group, arguments.venv.absolute())


if __name__ == "__main__":
    main()
