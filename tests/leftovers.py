"""What the tests leave behind: all that lies around, before the whole suite and after it.

The rule. In the repository, in the home folder, in ``/`` and in ``/tmp``, each two levels deep, nothing of
the user who runs the suite may lie after it that did not lie there before. What is new makes the suite fail
and is named, a folder with all that is in it. Not counted are

- caches and builds (`CACHES`), and in ``/`` the folders of the system (`SYSTEM`) and other file systems;
- hidden names of the home folder and what is in hidden folders there, where other programs keep their state;
- in ``/tmp``, pytest's own folder. Everything else that tests make with `tempfile` lies in a folder of this
  suite, which is removed at the end. So what is new in ``/tmp`` was either put there by its name, or by
  another program. As long as a process of the same user runs that is neither a parent nor a child of this
  suite, one cannot tell, and it is only mentioned.

Only the process that gathers the results looks; with pytest-xdist the others are its children.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import psutil
import pytest

CACHES = (
    *("__pycache__", ".pytest_cache", ".ruff_cache", ".hypothesis", ".ipynb_checkpoints", ".coverage*"),
    *("_build", ".venv*", "*.egg-info", ".git", "*.swp", "*~", ".DS_Store", ".idea", ".vscode"),
)
SYSTEM = ("boot", "dev", "etc", "home", "lib*", "proc", "root", "run", "sys", "tmp", "usr", "var")


def is_one_of(name: str, patterns: tuple[str, ...]) -> bool:
    """Whether a name fits one of these patterns."""
    return any(fnmatch(name, pattern) for pattern in patterns)


def entries(place: Path, *skip: str, levels: int = 2) -> Iterator[str]:
    """Paths of what this user has in a folder, level by level, without the names to skip."""
    try:
        listed = [item for item in os.scandir(place) if not is_one_of(item.name, skip)]
        device = os.stat(place).st_dev
    except OSError:  # another's, or gone
        return
    for item in listed:
        try:
            found = item.stat(follow_symlinks=False)
        except OSError:
            continue
        if found.st_uid == os.geteuid():
            yield item.path
        if levels > 1 and found.st_dev == device and item.is_dir(follow_symlinks=False):
            yield from entries(Path(item.path), *skip, levels=levels - 1)


def others_run() -> bool:
    """Whether a process of this user runs that is neither a parent nor a child of this one."""
    me = psutil.Process()
    ours = {process.pid for process in (me, *me.parents(), *me.children(recursive=True))}
    mine = {
        p.pid for p in psutil.process_iter(["uids"]) if p.info["uids"] and p.info["uids"].real == os.getuid()
    }
    return bool(mine - ours)


class Leftovers:
    """A plugin of pytest that compares before and after, and keeps temporary files of the suite together."""

    def __init__(self, repository: Path, home: Path, top: Path, temporary: Path) -> None:
        self.places = {repository: CACHES, home: (*CACHES, ".*"), top: (*CACHES, *SYSTEM), temporary: CACHES}
        self.temporary = temporary
        self.left: list[str] = []
        self.maybe: list[str] = []

    def look(self) -> dict[str, bool]:
        """All that lies around, and whether it lies in the folder that programs share for temporary files."""
        seen: dict[str, bool] = {}
        for place, skip in self.places.items():
            skip += ("pytest-of-*", self.own.name) if place == self.temporary else ()
            for path in entries(place, *skip):
                seen.setdefault(path, place == self.temporary)
        return seen

    def pytest_sessionstart(self) -> None:
        """Look for the first time."""
        os.environ.setdefault(
            "PYTEST_DEBUG_TEMPROOT", str(self.temporary)
        )  # tmp_path stays where it always is
        self.own = Path(tempfile.mkdtemp(prefix="l2-tests-", dir=self.temporary))
        os.environ["TMPDIR"] = tempfile.tempdir = str(self.own)
        self.before = self.look()

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Look again; let the suite fail if something is new."""
        shutil.rmtree(self.own, ignore_errors=True)
        new = {path: shared for path, shared in sorted(self.look().items()) if path not in self.before}
        new = {path: shared for path, shared in new.items() if os.path.dirname(path) not in new}
        unsure = any(new.values()) and others_run()
        self.maybe = [path for path, shared in new.items() if shared and unsure]
        self.left = [path for path in new if path not in self.maybe]
        if self.left and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Name what is new."""
        for title, paths in (("LEFT BEHIND", self.left), ("new, perhaps another program's", self.maybe)):
            if paths:
                terminalreporter.section(title, red=paths is self.left)
                terminalreporter.write_line("\n".join(paths))
