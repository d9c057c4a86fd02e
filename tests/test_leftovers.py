"""The guard that names what tests leave behind, on small suites of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import leftovers

CONFTEST = """
from pathlib import Path
import leftovers
leftovers.others_run = lambda: {others}
top = Path({top!r})
def pytest_configure(config):
    if not hasattr(config, "workerinput"):
        places = [top / "repository", top / "home", top, top / "tmp"]
        config.pluginmanager.register(leftovers.Leftovers(*places))
"""
SUITE = """
import tempfile
from pathlib import Path
import pytest
@pytest.mark.parametrize("name", {names!r})
def test_that_makes_a_file(name):
    path = Path({top!r}, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
def test_with_temporary_files(tmp_path):
    (tmp_path / "file").touch()
    assert Path(tempfile.mkdtemp()).parent.parent == Path({top!r}, "tmp")
"""
ALLOWED = [
    "repository/book/__pycache__/a.pyc",
    "repository/_build/html/a.html",
    "repository/.git/index.lock",
    "home/.cache/fonts",
    "home/.bash_history",
    "usr/share",
]


def outcome(top: Path, names: list[str], *options: str, others: bool = False) -> tuple[int, list[str], str]:
    """Run a suite that makes these files: its exit status, what it says is left behind, all that it says."""
    for folder in ("repository/book", "home/work", "tmp/of-another"):
        (top / folder).mkdir(parents=True)
    suite = top / "repository" / "tests"
    suite.mkdir()
    (suite / "conftest.py").write_text(CONFTEST.format(top=str(top), others=others))
    (suite / "test_small.py").write_text(SUITE.format(top=str(top), names=names))
    folder = str(Path(leftovers.__file__).parent)
    env = os.environ | {"PYTHONPATH": folder, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    env.pop("PYTEST_DEBUG_TEMPROOT", None)
    command = [sys.executable, "-m", "pytest", "-q", "--rootdir", suite, *options, suite]
    done = subprocess.run(
        command, cwd=top / "repository", env=env, capture_output=True, text=True, timeout=600
    )
    said = done.stdout.partition("LEFT BEHIND")[2].splitlines()
    return (
        done.returncode,
        [line[len(f"{top}/") :] for line in said if line.startswith(f"{top}/")],
        done.stdout,
    )


@pytest.mark.parametrize("options", [[], ["-p", "xdist", "-n", "2"]], ids=["one process", "workers"])
def test_the_guard_names_what_is_new_and_fails(tmp_path, options):
    planted = [
        "home/a",
        "home/work/a",
        "repository/b",
        "repository/book/c",
        "srv/d",
        "tmp/of-another/e",
    ]
    status, left, _ = outcome(tmp_path, [*planted, *ALLOWED], *options)
    assert (status, left) == (1, sorted([*planted[:4], "srv", planted[5]]))


def test_the_guard_is_silent_about_what_may_be_made(tmp_path):
    status, left, said = outcome(tmp_path, ALLOWED)
    assert (status, left) == (0, []), said
    assert sorted(path.name for path in (tmp_path / "tmp").iterdir() if path.name[:10] != "pytest-of-") == [
        "of-another"
    ]


def test_beside_other_programs_a_file_in_tmp_is_mentioned_only(tmp_path):
    status, left, said = outcome(tmp_path, ["tmp/e", "tmp/of-another/f"], others=True)
    assert (status, left) == (0, [])
    assert f"{tmp_path}/tmp/of-another/f" in said


def test_a_process_that_is_no_relative_counts_as_another_program():
    """Its parent ends at once, so that nothing leads from it to us."""
    script = """import subprocess, sys
quiet = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
print(subprocess.Popen(["sleep", "600"], start_new_session=True, **quiet).pid)"""
    stranger = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, check=True)
    try:
        assert leftovers.others_run()
    finally:
        os.kill(int(stranger.stdout), 9)
