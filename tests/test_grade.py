"""Grading: forty files, as messy as they come, are read; four of them go through the real nbgrader."""

from __future__ import annotations

import copy
import csv
import json
import os
import subprocess
import sys
import tempfile
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
from test_assignments import code_of, mutants_of, wrong_answer

COURSE = Path(__file__).resolve().parents[1] / "book" / "assignments"
NAME = "01_ridge_by_hand"
SOURCE = nbformat.read(COURSE / "source" / NAME / f"{NAME}.ipynb", 4)
RELEASED = nbformat.read(COURSE / f"{NAME}.ipynb", 4)
MARK = f"299.{uuid.uuid4().int % 10**12}"  # seconds that the children of a submission sleep: to find them by
CHANGE, FAILED = next((change, failed) for cell, change, failed in mutants_of(NAME).values() if cell == "q4")
WRONG = wrong_answer(code_of(SOURCE)["q4"], CHANGE)
MARKS = [cell.metadata.nbgrader for cell in SOURCE.cells]
LEFT = str(17 - sum(mark.points for mark in MARKS if mark.grade_id in FAILED))  # with this wrong answer
WALLED = subprocess.run("bwrap --unshare-all --ro-bind / / true", shell=True).returncode == 0
VICTIM = Path(tempfile.gettempdir(), f"l2-victim-{MARK}")
ANSWERS = {
    cell.metadata.nbgrader.grade_id: "\n".join(line for line in cell.source.split("\n") if "### " not in line)
    for cell in SOURCE.cells
    if cell.metadata.nbgrader.solution
}


def at(notebook: nbformat.NotebookNode, name: str) -> int:
    return next(k for k, c in enumerate(notebook.cells) if c.metadata.nbgrader.grade_id == name)


def solved(change: Callable[[nbformat.NotebookNode], object] = id) -> nbformat.NotebookNode:
    """The copy with all answers, changed."""
    notebook = copy.deepcopy(RELEASED)
    for cell in notebook.cells:
        cell.source = ANSWERS.get(cell.metadata.nbgrader.grade_id, cell.source)
    change(notebook)
    return notebook


def first(code: str) -> nbformat.NotebookNode:
    """The solution, with code of another kind at the head of the answer to question 4."""
    cell = (notebook := solved()).cells[at(notebook, "q4")]
    cell.source = f"{code}\n{cell.source}"
    return notebook


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
    notebook.cells[at(notebook, "q4")].source = WRONG
    del notebook.cells[at(notebook, "q4-visible")]
    notebook.cells[at(notebook, "q4-hidden")].source = "assert True"
    notebook.cells[at(notebook, "q3")].cell_type = "markdown"


def text(notebook: nbformat.NotebookNode) -> bytes:
    return json.dumps(notebook).encode()


MAGIC = "from __future__ import annotations\nimport asyncio\nawait asyncio.sleep(0)\n%timeit -n1 -r1 pass"
HOSTILE = f"import os\nos.system('touch {VICTIM}; for k in $(seq 20); do setsid sleep {MARK} & done')\n"
HOG = "x = bytearray(2**36)"
STUBBORN = "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\ntime.sleep(10**6)"
ANNA = "Anna_Berg_4711_assignsubmission_file"

# path -> content, what is unusual about it; all with the right answers.
READ: dict[str, tuple[Any, str]] = {
    f"bergberta_12345_67890_{NAME}.ipynb": (solved(), ""),
    f"lost/{NAME}.ipynb": (solved(deepnote), "metadata lost"),
    f"colab/{NAME}.ipynb": (solved(colab), ""),
    f"twin/{NAME}.ipynb": (solved(copy_cell), "copied cell"),
    f"o'neil7/{NAME}.ipynb": (b"\xef\xbb\xbf" + text(solved()).replace(b"\\n", b"\\r\\n"), ""),
}
BROKEN = {"page.html": b"<!DOCTYPE html><html></html>", "picture/photo.PNG": b"\x89PNG\r\n\x1a\n"}
BROKEN |= {"report.pdf": b"%PDF-1.7 \xff\xfe", "broken.zip": b"PK\x03\x04 broken", "=cmd.csv": b"1,2"}
BAD = [b"", b"\0" * 99, text(solved())[:5000], b"[1, 2]", b"null", b"NaN", b"[" * 100_000, b'"\xe4"', b"#"]
BAD += [b'{"cells": 3}', b'{"cells": [{}]}', b'{"worksheets": []}', b"PK\x03\x04", b"\x89PNG\r\n\x1a\n"]
BROKEN |= {f"broken{k}.ipynb": content for k, content in enumerate(BAD)}
LEFT_BY_SYSTEMS = ["__MACOSX/._x.ipynb", "dora/._x.ipynb", "dora/.DS_Store", "dora/.git/config"]
LEFT_BY_SYSTEMS += ["dora/.ipynb_checkpoints/x-checkpoint.ipynb", "dora/timestamp.txt"]
ZIPPED = ["frida/hand in.ipynb", "frida/hand in.ipynb", "frida/damaged.ipynb"]  # the last one: not a notebook

# path -> content, status, points of the tests, as nbgrader gives them.
GRADED: dict[str, tuple[Any, str, str]] = {
    f"Anna Berg_4711_assignsubmission_file_/{NAME}.IPYNB": (first(MAGIC), "renamed", "17"),
    f"damaged/{NAME}.ipynb": (solved(damage), "cell missing: q4-visible", LEFT),
    f"exit/{NAME}.ipynb": (first("import os\nos._exit(0)"), "died", ""),
    f"hostile/{NAME}.ipynb": (first((HOSTILE if WALLED else "") + HOG), "graded", "14"),
    "=report.pdf": (b"%PDF-1.7", "not a notebook", ""),
}


def write(folder: Path, files: dict[str, Any]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content if isinstance(content, bytes) else text(content))


def test_what_was_handed_in_is_read_and_what_systems_leave_is_not(tmp_path):
    folder = tmp_path / "submissions"
    other = {f"other/{NAME}.ipynb": (COURSE / "02_four_ways.ipynb").read_bytes()}
    read = {name: content for name, (content, _) in READ.items()}
    write(folder, read | other | BROKEN | dict.fromkeys(LEFT_BY_SYSTEMS, solved()))
    with zipfile.ZipFile(folder / "export.zip", "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the name that occurs twice
        for name in ZIPPED:
            archive.writestr(name, text(solved()))
    head, start_of_last, body = (folder / "export.zip").read_bytes().rpartition(b"PK\x03\x04")
    body = body.replace(b"Assignment 1", b"Assignment 9", 1)  # its checksum is wrong now
    (folder / "export.zip").write_bytes(head + start_of_last + body)
    rows = grade.collect(SimpleNamespace(submissions=folder, assignment=NAME, out=tmp_path), RELEASED)
    status = {name: status for name, (_, status) in READ.items()}
    status |= dict.fromkeys(other, "another notebook") | dict.fromkeys(BROKEN, "not a notebook")
    status |= {f"export.zip/{ZIPPED[0]}": "renamed", f"export.zip/{ZIPPED[2]}": "not a notebook"}
    assert len(rows) == len(status) + 1
    assert {row.file: ", ".join(row.status) for row in rows} == status
    students = {"export_frida_hand_in", "export_frida_hand_in~2", "bergberta_12345_67890", "o'neil7"}
    assert students <= {row.student for row in rows}
    for row in (row for row in rows if row.file in READ):
        cells = {cell.metadata.nbgrader.grade_id: cell for cell in row.notebook.cells if cell.metadata}
        assert {name: cells[name].source.strip() for name in ANSWERS} == ANSWERS, row.file
        assert list(cells) == [mark.grade_id for mark in MARKS]


def run(folder: Path, out: Path, *more: object) -> tuple[list[dict[str, str]], str]:
    """Grade; return the table, and what was said."""
    options = ["--out", out, "--jobs", 2, "--timeout", 60, "--trust", *more]
    command = [sys.executable, grade.__file__, folder, NAME, *options]
    environment = os.environ | {"TMPDIR": str(out.parent)}
    done = subprocess.run(map(str, command), env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with open(out / "grades.csv", encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file)), done.stdout + done.stderr


@pytest.fixture(scope="module")
def graded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, str]], str]:
    """The folder where all was graded, the table, and what was said."""
    place = tmp_path_factory.mktemp("g")
    write(place / "submissions", {name: content for name, (content, *_) in GRADED.items()})
    return place / "out", *run(place / "submissions", place / "out")


def test_every_file_gets_its_line_its_points_and_its_page_and_what_a_submission_starts_is_gone(graded):
    out, table, said = graded
    lines = {row["file"].removeprefix("'"): (row["status"], row["score"]) for row in table}
    assert lines == {name: (status, points) for name, (_, status, points) in GRADED.items()}
    assert {row["student"] for row in table} >= {ANNA, "damaged"}
    assert "4/4 [" in said
    with grade.nbgrader(out).gradebook as gradebook:  # not a silent 0 for whom it could not grade
        known = {submission.student.id for submission in gradebook.assignment_submissions(NAME)}
    assert known == {ANNA, "damaged", "hostile"}
    assert ("NO BUBBLEWRAP" in said) != WALLED
    assert not VICTIM.exists()
    assert not [p for p in psutil.process_iter(["cmdline"]) if MARK in (p.info["cmdline"] or [])]
    page = (out / "feedback" / "damaged" / NAME / f"{NAME}.html").read_text("utf-8")
    assert "AssertionError" in page
    assert "more checks run when this is graded" in page
    assert not {word for word in ("q4_seed", "HIDDEN TESTS", "q4_rng") if word in page}


def test_without_bubblewrap_nothing_is_graded_unless_one_says_so(monkeypatch):
    monkeypatch.setattr(grade.shutil, "which", lambda _: "/no/bwrap")
    with pytest.raises(SystemExit, match="NO BUBBLEWRAP"):
        grade.grade_all([SimpleNamespace()], SimpleNamespace(trust=False))


def test_a_second_run_grades_nothing_twice_and_keeps_points_given_by_hand(graded, tmp_path):
    """Except who comes with a new version: not done in time, it has no score, and no page on the old one."""
    out = graded[0]
    with grade.nbgrader(out).gradebook as gradebook:
        found = gradebook.find_grade("q6-written", NAME, NAME, ANNA)
        assert found.needs_manual_grade, "formgrader does not show it"
        found.manual_score, found.needs_manual_grade = 2.5, False
        gradebook.db.commit()
    write(tmp_path, {f"{ANNA}.ipynb": first(MAGIC), f"damaged_{NAME}.ipynb": first(STUBBORN)})
    (anna, late), said = run(tmp_path, out, "--timeout", 1)
    assert "1/1 [" in said
    assert (anna["score"], anna["q6"]) == ("19.5", "2.5")
    assert (late["student"], late["score"]) == ("damaged", "")
    # Whether the alarm or Jupyter gives up the kernel first depends on the machine.
    assert late["status"] in ("timeout", "died")
    assert not (out / "feedback" / "damaged").exists()
