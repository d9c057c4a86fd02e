"""Grading: one folder of forty files, as messy as they come, goes through the real nbgrader."""

from __future__ import annotations

import copy
import csv
import json
import os
import runpy
import subprocess
import sys
import tempfile
import time
import uuid
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbformat
import psutil
import pytest

pytest.importorskip("resource", reason="grading needs Linux, macOS or WSL")
import grade
from test_assignments import code_of, wrong_answer

COURSE = Path(__file__).resolve().parents[1] / "book" / "assignments"
NAME = "01_ridge_by_hand"
SOURCE = nbformat.read(COURSE / "source" / NAME / f"{NAME}.ipynb", 4)
RELEASED = nbformat.read(COURSE / f"{NAME}.ipynb", 4)
MARK = f"299.{uuid.uuid4().int % 10**12}"  # seconds that the children of a submission sleep: to find them by
MUTANTS = runpy.run_path(str(COURSE / "mutants" / f"{NAME}.py"))["MUTANTS"]
CHANGE, FAILED = next((change, failed) for cell, change, failed in MUTANTS.values() if cell == "q4")
WRONG = wrong_answer(code_of(SOURCE)["q4"], CHANGE)
MARKS = [cell.metadata.nbgrader for cell in SOURCE.cells]
LEFT = 17 - sum(mark.points for mark in MARKS if mark.grade_id in FAILED)  # with this wrong answer
WALLED = subprocess.run("bwrap --unshare-all --ro-bind / / true", shell=True).returncode == 0
VICTIM = Path(tempfile.gettempdir(), f"l2-victim-{MARK}")


def at(notebook: nbformat.NotebookNode, name: str) -> int:
    return next(k for k, c in enumerate(notebook.cells) if c.metadata.nbgrader.grade_id == name)


def solved(change: Callable[[nbformat.NotebookNode], object] = id) -> nbformat.NotebookNode:
    """The copy with all answers, changed."""
    notebook = copy.deepcopy(RELEASED)
    for cell, source in zip(notebook.cells, SOURCE.cells, strict=True):
        if cell.metadata.nbgrader.solution:
            cell.source = "\n".join(line for line in source.source.split("\n") if "### " not in line)
    change(notebook)
    return notebook


def first(code: str) -> nbformat.NotebookNode:
    """The solution, with code of another kind at the head of the answer to question 4."""
    cell = (notebook := solved()).cells[at(notebook, "q4")]
    cell.source = f"{code}\n{cell.source}"
    return notebook


def answer_wrong(notebook: nbformat.NotebookNode) -> None:
    notebook.cells[at(notebook, "q4")].source = WRONG


def colab(notebook: nbformat.NotebookNode) -> None:
    for k, cell in enumerate(notebook.cells):
        cell.metadata["id"] = f"{cell.pop('id')}{k}"
        cell["source"] = cell.source.splitlines(keepends=True)


def deepnote(notebook: nbformat.NotebookNode) -> None:
    for k, cell in enumerate(notebook.cells):
        cell["metadata"] = {"cell_id": cell.pop("id"), "deepnote_cell_type": cell.cell_type}
        cell.source += "\n" * (k % 3)


def copy_cell(notebook: nbformat.NotebookNode) -> None:
    k = at(notebook, "q2")
    notebook.cells.insert(k + 1, copy.deepcopy(RELEASED.cells[k]) | {"id": "twin"})


def damage(notebook: nbformat.NotebookNode) -> None:
    """Answer wrongly, delete a test, make another one pass, and make text of an answer."""
    answer_wrong(notebook)
    del notebook.cells[at(notebook, "q4-visible")]
    notebook.cells[at(notebook, "q4-hidden")].source = "assert True"
    notebook.cells[at(notebook, "q3")].cell_type = "markdown"


def text(notebook: nbformat.NotebookNode) -> bytes:
    return json.dumps(notebook).encode()


MAGIC = "from __future__ import annotations\nimport asyncio\nawait asyncio.sleep(0)\n%timeit -n1 -r1 pass"
HOSTILE = f"import os\nos.system('touch {VICTIM}; for k in $(seq 20); do setsid sleep {MARK} & done')"
STUBBORN = "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\ntime.sleep(10**6)"
MOODLE = "Anna Berg_4711_assignsubmission_file_"
ANNA = "Anna_Berg_4711_assignsubmission_file"

# path -> content, status, points of the tests (None: no score). The dreamer is graded beside those who come
# later: neither in the run that is killed nor as the last one.
FILES: dict[str, tuple[Any, str, int | None]] = {
    f"{MOODLE}/{NAME}.ipynb": (solved(), "graded", 17),
    f"bergberta_12345_67890_{NAME}.ipynb": (RELEASED, "graded", 0),
    f"wrong/{NAME}.ipynb": (solved(answer_wrong), "graded", LEFT),
    f"lost/{NAME}.ipynb": (solved(deepnote), "metadata lost", 17),
    f"colab/{NAME}.ipynb": (solved(colab), "graded", 17),
    f"twin/{NAME}.ipynb": (solved(copy_cell), "copied cell", 17),
    f"o'neil7/{NAME}.ipynb": (b"\xef\xbb\xbf" + text(solved()).replace(b"\\n", b"\\r\\n"), "graded", 17),
    f"magic/{NAME}.IPYNB": (first(MAGIC), "renamed", 17),
    f"damaged/{NAME}.ipynb": (solved(damage), "cell missing: q4-visible", LEFT),
    f"dreamer/{NAME}.ipynb": (first("import time\ntime.sleep(10**6)"), "timeout", 14),
    f"exit/{NAME}.ipynb": (first("import os\nos._exit(0)"), "died", None),
    f"hostile/{NAME}.ipynb": (first(HOSTILE if WALLED else "pass"), "graded", 17),
    f"hog/{NAME}.ipynb": (first("x = bytearray(2**36)"), "graded", 14),
    f"other/{NAME}.ipynb": ((COURSE / "02_four_ways.ipynb").read_bytes(), "another notebook", None),
}
BROKEN = {"page.html": b"<!DOCTYPE html><html></html>", "picture/photo.PNG": b"\x89PNG\r\n\x1a\n"}
BROKEN |= {"report.pdf": b"%PDF-1.7 \xff\xfe", "broken.zip": b"PK\x03\x04 broken", "=cmd.csv": b"1,2"}
BAD = [b"", b"\0" * 99, text(solved())[:5000], b"[1, 2]", b"null", b"NaN", b"[" * 100_000, b'"\xe4"', b"#"]
BAD += [b'{"cells": 3}', b'{"cells": [{}]}', b'{"worksheets": []}', b"PK\x03\x04", b"\x89PNG\r\n\x1a\n"]
BROKEN |= {f"broken{k}.ipynb": content for k, content in enumerate(BAD)}
FILES |= {name: (content, "not a notebook", None) for name, content in BROKEN.items()}
LEFT_BY_SYSTEMS = ["__MACOSX/._x.ipynb", "dora/._x.ipynb", "dora/.DS_Store", "dora/.git/config"]
LEFT_BY_SYSTEMS += ["dora/.ipynb_checkpoints/x-checkpoint.ipynb", "dora/timestamp.txt"]
ZIPPED = ["frida/hand in.ipynb", "frida/hand in.ipynb", "frida/damaged.ipynb"]  # the last one: not a notebook


def start(folder: Path, out: Path, *more: object) -> subprocess.Popen[bytes]:
    options = ["--out", out, "--jobs", 2, "--timeout", 30, "--trust", *more]
    command = [sys.executable, grade.__file__, folder, NAME, *options]
    with open(out.with_suffix(".log"), "w") as log:
        environment = os.environ | {"TMPDIR": str(out.parent)}
        return subprocess.Popen(map(str, command), stdout=log, stderr=log, env=environment)


def run(folder: Path, out: Path, *more: object) -> tuple[list[dict[str, str]], str]:
    """Grade; return the table, and what was said."""
    code = start(folder, out, *more).wait()
    said = out.with_suffix(".log").read_text()
    assert code == 0, said
    with open(out / "grades.csv", encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file)), said


@pytest.fixture(scope="module")
def graded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, str]], str]:
    """The folder where all was graded after a first run was killed, the table, and what was said."""
    place = tmp_path_factory.mktemp("g")
    folder, out, runs = place / "submissions", place / "out", place / "out" / "runs"
    system = {name: (text(solved()), "", None) for name in LEFT_BY_SYSTEMS}
    for name, (content, _, _) in (FILES | system).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content if isinstance(content, bytes) else text(content))
    with zipfile.ZipFile(folder / "export.zip", "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the name that occurs twice
        for name in ZIPPED:
            archive.writestr(name, text(solved()))
    head, start_of_last, body = (folder / "export.zip").read_bytes().rpartition(b"PK\x03\x04")
    body = body.replace(b"Assignment 1", b"Assignment 9", 1)  # its checksum is wrong now
    (folder / "export.zip").write_bytes(head + start_of_last + body)
    process = start(folder, out)
    while process.poll() is None and not list(runs.glob("*.done")):
        time.sleep(0.1)
    process.kill()
    process.wait()
    before = len(list(runs.glob("*.done")))
    table, said = run(folder, out)
    print(said)
    assert f"{15 - before}/{15 - before} [" in said, "graded twice"
    assert "s/student" in said
    return out, table, said


@pytest.mark.parametrize("name", FILES)
def test_every_file_gets_its_line_and_its_points(name, graded):
    _, status, points = FILES[name]
    (row,) = (row for row in graded[1] if row["file"].removeprefix("'") == name)
    assert (row["status"], row["score"]) == (status, "" if points is None else f"{points}"), row


def test_colliding_names_of_an_archive_are_all_graded_and_what_systems_leave_is_not_in_the_table(graded):
    zipped = [row for row in graded[1] if row["file"].startswith("export.zip/")]
    assert [(row["file"][11:], row["status"], row["score"]) for row in zipped] == [
        *[(ZIPPED[0], "renamed", "17")] * 2,
        (ZIPPED[2], "not a notebook", ""),
    ]
    assert len(graded[1]) == len(FILES) + len(ZIPPED) == 42 - len(LEFT_BY_SYSTEMS)
    names = {"export_frida_hand_in", "export_frida_hand_in~2", ANNA, "bergberta_12345_67890", "o'neil7"}
    assert names <= {row["student"] for row in graded[1]}


def test_what_a_submission_starts_and_writes_is_gone(graded):
    assert ("NO BUBBLEWRAP" in graded[2]) != WALLED
    assert not VICTIM.exists()
    assert not [p for p in psutil.process_iter(["cmdline"]) if MARK in (p.info["cmdline"] or [])]


def test_without_bubblewrap_nothing_is_graded_unless_one_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(grade.shutil, "which", lambda _: "/no/bwrap")
    (tmp_path / "runs").mkdir()
    with pytest.raises(SystemExit, match="NO BUBBLEWRAP"):
        grade.grade_all([SimpleNamespace()], SimpleNamespace(out=tmp_path, trust=False))


def test_feedback_says_what_failed_and_shows_no_hidden_test(graded):
    page = (graded[0] / "feedback" / "wrong" / NAME / f"{NAME}.html").read_text("utf-8")
    assert "AssertionError" in page
    assert "more checks run when this is graded" in page
    assert not {word for word in ("q4_seed", "HIDDEN TESTS", "q4_rng") if word in page}


def test_a_second_run_grades_nothing_keeps_points_given_by_hand_and_gradescope_is_told(graded, tmp_path):
    out, results = graded[0], tmp_path / "results.json"
    (tmp_path / f"{ANNA}.ipynb").write_bytes(text(solved()))
    with grade.nbgrader(out).gradebook as gradebook:
        found = gradebook.find_grade("q6-written", NAME, NAME, ANNA)
        assert found.needs_manual_grade, "formgrader does not show it"
        found.manual_score, found.needs_manual_grade = 2.5, False
        gradebook.db.commit()
    (row,), said = run(tmp_path, out, "--gradescope", results)
    assert "student]" not in said
    assert (row["score"], row["q6"]) == ("19.5", "2.5")
    given = json.loads(results.read_text())
    assert (given["score"], sum(test["max_score"] for test in given["tests"])) == (19.5, 20)
    wrong = SimpleNamespace(file="essay.docx", status=["not a notebook"], tests=[])
    grade.write_gradescope([wrong], results)
    given = json.loads(results.read_text())
    assert (given["score"], given["output"]) == (0, "essay.docx: not a notebook")


def test_who_is_not_done_in_time_has_no_score_even_if_an_earlier_version_had_one(graded, tmp_path):
    (tmp_path / f"dreamer_{NAME}.ipynb").write_bytes(text(first(STUBBORN)))
    (row,), _ = run(tmp_path, graded[0], "--timeout", 1)
    assert (row["student"], row["score"]) == ("dreamer", "")
    # Whether the alarm or Jupyter gives up the kernel first depends on the machine.
    assert row["status"] in ("timeout", "died")
    assert not (graded[0] / "feedback" / "dreamer").exists(), "a page on the earlier version"
