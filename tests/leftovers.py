"""What the tests leave behind: all that lies around, before the whole suite and after it.

In the repository, in the home folder and in ``/``, each two levels deep, nothing of the user who runs the
suite may lie after it that did not lie there before: once a test wrote into every folder that it found.  Not
counted are caches and builds, hidden names of the home folder, and the folders of the system.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

CACHES = (
    *("__pycache__", ".pytest_cache", ".ruff_cache", ".hypothesis", ".ipynb_checkpoints", ".coverage*"),
    *("_build", ".venv*", "*.egg-info", ".git", "*.swp", "*~", ".DS_Store", ".idea", ".vscode"),
)
SYSTEM = ("boot", "dev", "etc", "home", "lib*", "proc", "root", "run", "sys", "tmp", "usr", "var", "private")


def entries(place: Path, skip: tuple[str, ...], levels: int = 2) -> Iterator[str]:
    """Paths of what this user has in a folder, level by level, without the names to skip."""
    try:
        listed = [(item, item.stat(follow_symlinks=False)) for item in os.scandir(place)]
    except OSError:  # another's, or gone
        return
    for item, found in listed:
        if any(fnmatch(item.name, pattern) for pattern in skip):
            continue
        if found.st_uid == os.geteuid():
            yield item.path
        if levels > 1 and item.is_dir(follow_symlinks=False) and not os.path.ismount(item.path):
            yield from entries(Path(item.path), skip, levels - 1)


class Leftovers:
    """A plugin that looks around before the suite and after it, in the process that gathers the results."""

    def __init__(self, repository: Path) -> None:
        self.places = {repository: CACHES, Path.home(): (*CACHES, ".*"), Path("/"): (*CACHES, *SYSTEM)}
        self.left: list[str] = []

    def look(self) -> set[str]:
        """All that lies around."""
        return {path for place, skip in self.places.items() for path in entries(place, skip)}

    def pytest_sessionstart(self) -> None:
        """Look for the first time, and give what tests make with `tempfile` a folder of its own."""
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())  # tmp_path stays where it is
        self.own = tempfile.mkdtemp(prefix="l2-tests-")
        os.environ["TMPDIR"] = tempfile.tempdir = self.own
        self.before = self.look()

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Look again; let the suite fail if something is new."""
        shutil.rmtree(self.own, ignore_errors=True)
        new = self.look() - self.before
        self.left = sorted(path for path in new if os.path.dirname(path) not in new)
        if self.left and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Name what is new."""
        if self.left:
            terminalreporter.section("LEFT BEHIND", red=True)
            terminalreporter.write_line("\n".join(self.left))
