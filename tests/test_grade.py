"""Grading: one folder of forty files, as messy as they come, goes through the real nbgrader."""

from __future__ import annotations

import copy
import csv
import importlib.util
import json
import subprocess
import sys
import uuid
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest

pytest.importorskip("resource", reason="grading needs Linux, macOS or WSL")
ROOT = Path(__file__).resolve().parents[1]
COURSE = ROOT / "book" / "assignments"
NAME = "01_ridge_by_hand"
SOURCE = nbformat.read(COURSE / "source" / NAME / f"{NAME}.ipynb", 4)
RELEASED = nbformat.read(COURSE / f"{NAME}.ipynb", 4)
OTHER = (COURSE / "02_four_ways.ipynb").read_bytes()
MARK = f"299.{uuid.uuid4().int % 10**12}"  # seconds that the children of a submission sleep: to find them by


def mutants() -> dict[str, Any]:
    spec = importlib.util.spec_from_file_location("mutants", COURSE / "mutants" / f"{NAME}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.MUTANTS


POINTS = {
    c.metadata["nbgrader"]["grade_id"]: c.metadata["nbgrader"]["points"]
    for c in SOURCE.cells
    if c.metadata["nbgrader"]["grade"]
}
WRONG = {cell: (code, failed) for cell, code, failed in mutants().values()}  # one for each question


def lost(*tests: str) -> int:
    return 17 - sum(POINTS[test] for test in tests)


def solved(**answers: str) -> nbformat.NotebookNode:
    """The copy with all answers; others for some cells."""
    notebook = copy.deepcopy(RELEASED)
    for cell, source in zip(notebook.cells, SOURCE.cells, strict=True):
        name = cell.metadata["nbgrader"]["grade_id"]
        if cell.metadata["nbgrader"]["solution"]:
            lines = source.source.split("\n")
            cell.source = "\n".join(line for line in lines if "### " not in line)
        cell.source = answers.get(name.replace("-", "_"), cell.source)
    return notebook


def at(notebook: nbformat.NotebookNode, name: str) -> int:
    return next(k for k, c in enumerate(notebook.cells) if c.metadata["nbgrader"]["grade_id"] == name)


def first(code: str) -> nbformat.NotebookNode:
    """The solution, with code of another kind at the head of the answer to question 4."""
    notebook = solved()
    notebook.cells[at(notebook, "q4")].source = code + "\n" + notebook.cells[at(notebook, "q4")].source
    return notebook


def changed(change: Callable[[nbformat.NotebookNode], object]) -> nbformat.NotebookNode:
    change(notebook := solved())
    return notebook


def lose_metadata(notebook: nbformat.NotebookNode) -> None:
    """As an editor may: other ids, no metadata, no outputs."""
    for k, cell in enumerate(notebook.cells):
        cell.metadata, cell["id"] = nbformat.from_dict({"id": f"x{k}"}), f"x{k}"
    notebook.metadata = nbformat.from_dict({"colab": {"provenance": []}})


def copy_cell(notebook: nbformat.NotebookNode) -> None:
    k = at(notebook, "q2")
    twin = copy.deepcopy(RELEASED.cells[k])
    twin["id"] = "twin"
    notebook.cells.insert(k + 1, twin)


def to_markdown(notebook: nbformat.NotebookNode) -> None:
    k = at(notebook, "q3")
    cell = nbformat.v4.new_markdown_cell(notebook.cells[k].source, metadata=notebook.cells[k].metadata)
    notebook.cells[k] = cell


def delete_tests(notebook: nbformat.NotebookNode) -> None:
    del notebook.cells[at(notebook, "q1-visible") : at(notebook, "q1-hidden") + 1]


def cheat(notebook: nbformat.NotebookNode) -> None:
    """Edit a test, its points, and leave a wrong answer."""
    notebook.cells[at(notebook, "q2")].source = WRONG["q2"][0]
    for name in ("q2-visible", "q2-hidden"):
        notebook.cells[at(notebook, name)].source = "assert True"
        notebook.cells[at(notebook, name)].metadata["nbgrader"]["points"] = 100


def text(notebook: nbformat.NotebookNode) -> bytes:
    return json.dumps(notebook).encode()


MAGIC = "from __future__ import annotations\nimport asyncio\nawait asyncio.sleep(0)\n%timeit -n1 -r1 pass"
FORK = f"""
import os
for _ in range(20):
    if os.fork() == 0:
        os.setsid()
        os.execvp("sleep", ["sleep", "{MARK}"])
"""
WRITE = """
import pathlib
for place in {places}:
    try:
        pathlib.Path(place).write_text("changed")
    except OSError:
        pass
"""
BOM = b"\xef\xbb\xbf"
MOODLE = "Anna Berg_4711_assignsubmission_file_"

# path -> content, status, points of the tests (None: no score)
FILES: dict[str, tuple[Any, str, int | None]] = {
    f"{MOODLE}/{NAME}.ipynb": (solved(), "graded", 17),
    f"bergberta_12345_67890_{NAME}.ipynb": (RELEASED, "graded", 0),
    **{
        f"wrong-{cell}/{NAME}.ipynb": (solved(**{cell.replace("-", "_"): code}), "graded", lost(*tests))
        for cell, (code, tests) in WRONG.items()
        if cell in ("q1", "q4", "q5-own")
    },
    f"carl/Copy_of_{NAME} (2).ipynb": (solved(), "renamed", 17),
    "dora.IPYNB": (solved(), "renamed", 17),
    f"lost/{NAME}.ipynb": (changed(lose_metadata), "metadata lost", 17),
    f"twin/{NAME}.ipynb": (changed(copy_cell), "copied cell", 17),
    f"typed/{NAME}.ipynb": (changed(to_markdown), "graded", 17),
    f"o'neil7/{NAME}.ipynb": (BOM + text(solved()).replace(b"\\n", b"\\r\\n"), "graded", 17),
    f"magic/{NAME}.ipynb": (first(MAGIC), "graded", 17),
    f"short/{NAME}.ipynb": (changed(delete_tests), "cell missing", 17),
    f"cheat/{NAME}.ipynb": (changed(cheat), "graded", lost(*WRONG["q2"][1])),
    f"slow/{NAME}.ipynb": (first("import time\ntime.sleep(10**6)"), "timeout", 14),
    f"exit/{NAME}.ipynb": (first("import os\nos._exit(0)"), "died", None),
    f"fork/{NAME}.ipynb": (first(FORK), "graded", 17),
    f"hog/{NAME}.ipynb": (first("x = bytearray(2**36)"), "graded", 14),
    f"write/{NAME}.ipynb": (WRITE, "graded", 17),
    f"syntax/{NAME}.ipynb": (first("def ("), "graded", 14),
    "empty.ipynb": (b"", "not a notebook", None),
    "cut.ipynb": (text(solved())[:5000], "not a notebook", None),
    "list.ipynb": (b"[1, 2]", "not a notebook", None),
    "cells.ipynb": (b'{"cells": 3}', "not a notebook", None),
    "deep.ipynb": (b"[" * 100_000, "not a notebook", None),
    "sheets.ipynb": (b'{"worksheets": []}', "not a notebook", None),
    "page.html": (b"<!DOCTYPE html><html></html>", "not a notebook", None),
    "README.md": (b"# Homework", "not a notebook", None),
    "number.ipynb": (b"NaN", "not a notebook", None),
    "picture/photo.PNG": (b"\x89PNG\r\n\x1a\n", "not a notebook", None),
    "report.pdf": (b"%PDF-1.7 \xff\xfe", "not a notebook", None),
    "photo.ipynb": (b"\x89PNG\r\n\x1a\n", "not a notebook", None),
    "broken.zip": (b"PK\x03\x04 broken", "not a notebook", None),
    f"wrong/{NAME}.ipynb": (OTHER, "another notebook", None),
    f"__MACOSX/._{NAME}.ipynb": (b"\0\5\x16\7", "ignored", None),
    f"dora/._{NAME}.ipynb": (b"\0\5\x16\7", "ignored", None),
    "dora/.ipynb_checkpoints/x-checkpoint.ipynb": (text(solved()), "ignored", None),
}
ZIPPED = [("emil/hand in.ipynb", "renamed"), *[(f"frida/{NAME}.ipynb", "graded")] * 2]


def run(folder: Path, out: Path, *more: str) -> str:
    command = [sys.executable, COURSE / "grade.py", folder, NAME, "--out", out, "--jobs", "2", *more]
    command += ["--timeout", "30"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def table(out: Path) -> list[dict[str, str]]:
    with open(out / "grades.csv", encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def graded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, str]], str]:
    """The folder where all was graded (the first half by itself), the table, and what was said."""
    place = tmp_path_factory.mktemp("grade")
    folder, out = place / "submissions", place / "out"
    (place / "victim").write_text("as it was")
    targets = [str(place / "victim"), str(out / "gradebook.db"), str(out / "runs" / "empty.db")]
    for name, (content, _, _) in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if content is WRITE:
            content = first(WRITE.format(places=targets))
        (folder / name).write_bytes(content if isinstance(content, bytes) else text(content))
    with zipfile.ZipFile(folder / "export.zip", "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the name that occurs twice
        for name, _ in ZIPPED:
            archive.writestr(name, text(solved()))
    said = run(folder, out, "--part", "1/2")
    assert not (out / "grades.csv").exists()
    half = len(list((out / "runs").glob("*.json")))
    said += run(folder, out)
    assert 0 < half < len(list((out / "runs").glob("*.json")))
    print(said)
    return out, table(out), said


@pytest.mark.parametrize("name", FILES)
def test_every_file_gets_its_line_and_its_points(name, graded):
    _, status, points = FILES[name]
    shown = name.rpartition("/")[0] if "checkpoint" in name or "__MACOSX" in name else name
    (row,) = (row for row in graded[1] if row["file"] == shown)
    assert (row["status"], row["score"]) == (status, "" if points is None else f"{points}"), row


def test_nothing_else_is_in_the_table_and_colliding_names_of_an_archive_are_all_graded(graded):
    zipped = [row for row in graded[1] if row["file"].startswith("export.zip/")]
    assert [(row["file"][11:], row["status"], row["score"]) for row in zipped] == [(*z, "17") for z in ZIPPED]
    assert [row["student"] for row in zipped] == ["emil", "frida", "frida-2"]
    assert len(graded[1]) == len(FILES) + len(ZIPPED) == 40
    students = [row["student"] for row in graded[1]]
    assert {"Anna_Berg", "bergberta", "carl", "dora", "o'neil7"} <= set(students)


def test_what_a_submission_starts_and_writes_is_gone(graded):
    assert not [p for p in psutil.process_iter(["cmdline"]) if MARK in (p.info["cmdline"] or [])]
    if "NO BUBBLEWRAP" not in graded[2]:  # else the targets, all below tmp_path, may be changed
        assert (graded[0].parent / "victim").read_text() == "as it was"


def test_feedback_says_what_failed_and_shows_no_hidden_test(graded):
    out, _, _ = graded
    page = (out / "feedback" / "wrong-q4" / NAME / f"{NAME}.html").read_text("utf-8")
    assert "AssertionError" in page
    assert "more checks run when this is graded" in page
    assert "q4_seed" not in page
    assert "HIDDEN TESTS" not in page
    assert "q4_rng" not in page


def test_a_second_run_grades_nothing_and_keeps_points_given_by_hand(graded, tmp_path):
    from nbgrader.api import Gradebook

    out = graded[0]
    right = tmp_path / "right" / "Anna_Berg" / f"{NAME}.ipynb"
    right.parent.mkdir(parents=True)
    right.write_bytes(text(solved()))
    (tmp_path / "wrong").mkdir()
    (tmp_path / "wrong" / "essay.docx").write_bytes(b"PK")
    with Gradebook(f"sqlite:///{out / 'gradebook.db'}", "l2") as gradebook:
        gradebook.find_grade("q6-written", NAME, NAME, "Anna_Berg").manual_score = 2.5
        gradebook.db.commit()
    results = tmp_path / "results.json"
    assert "graded by nbgrader" not in run(tmp_path / "right", out, "--gradescope", str(results))
    (row,) = table(out)
    assert (row["score"], row["q6"]) == ("19.5", "2.5")
    given = json.loads(results.read_text())
    assert given["score"] == 19.5
    assert sum(test["max_score"] for test in given["tests"]) == 20
    run(tmp_path / "wrong", out, "--gradescope", str(results))
    given = json.loads(results.read_text())
    assert given["score"] == 0
    assert "essay.docx: not a notebook" in given["output"]


def test_who_is_not_done_in_time_has_no_score(graded, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / f"late_{NAME}.ipynb").write_bytes(text(solved()))
    run(tmp_path / "in", graded[0], "--total", "0")
    (row,) = table(graded[0])
    assert (row["student"], row["status"], row["score"]) == ("late", "timeout", "")
