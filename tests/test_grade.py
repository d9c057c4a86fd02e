"""Grading: one folder of forty files, as messy as they come, goes through the real nbgrader."""

from __future__ import annotations

import copy
import csv
import importlib.util
import json
import os
import subprocess
import sys
import time
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
from repair import repair

COURSE = Path(__file__).resolve().parents[1] / "book" / "assignments"
NAME = "01_ridge_by_hand"
SOURCE = nbformat.read(COURSE / "source" / NAME / f"{NAME}.ipynb", 4)
RELEASED = nbformat.read(COURSE / f"{NAME}.ipynb", 4)
MARK = f"299.{uuid.uuid4().int % 10**12}"  # seconds that the children of a submission sleep: to find them by
spec = importlib.util.spec_from_file_location("mutants", COURSE / "mutants" / f"{NAME}.py")
spec.loader.exec_module(module := importlib.util.module_from_spec(spec))
WRONG = {cell: (code, failed) for cell, code, failed in module.MUTANTS.values()}  # one for each question
POINTS = {c.metadata.nbgrader.grade_id: c.metadata.nbgrader.get("points", 0) for c in SOURCE.cells}


def solved() -> nbformat.NotebookNode:
    """The copy with all answers."""
    notebook = copy.deepcopy(RELEASED)
    for cell, source in zip(notebook.cells, SOURCE.cells, strict=True):
        if cell.metadata.nbgrader.solution:
            cell.source = "\n".join(line for line in source.source.split("\n") if "### " not in line)
    return notebook


def at(notebook: nbformat.NotebookNode, name: str) -> int:
    return next(k for k, c in enumerate(notebook.cells) if c.metadata.nbgrader.grade_id == name)


def first(code: str) -> nbformat.NotebookNode:
    """The solution, with code of another kind at the head of the answer to question 4."""
    cell = (notebook := solved()).cells[at(notebook, "q4")]
    cell.source = f"{code}\n{cell.source}"
    return notebook


def changed(change: Callable[[nbformat.NotebookNode], object]) -> nbformat.NotebookNode:
    change(notebook := solved())
    return notebook


def lose_metadata(notebook: nbformat.NotebookNode) -> None:
    for k, cell in enumerate(notebook.cells):
        cell.metadata, cell["id"] = nbformat.from_dict({}), f"x{k}"


def copy_cell(notebook: nbformat.NotebookNode) -> None:
    k = at(notebook, "q2")
    notebook.cells.insert(k + 1, copy.deepcopy(RELEASED.cells[k]) | {"id": "twin"})


def cheat(notebook: nbformat.NotebookNode) -> None:
    """Edit a test, its points, and leave a wrong answer."""
    notebook.cells[at(notebook, "q2")].source = WRONG["q2"][0]
    for name in ("q2-visible", "q2-hidden"):
        notebook.cells[at(notebook, name)].source = "assert True"
        notebook.cells[at(notebook, name)].metadata.nbgrader.points = 100


def text(notebook: nbformat.NotebookNode) -> bytes:
    return json.dumps(notebook).encode()


MAGIC = "from __future__ import annotations\nimport asyncio\nawait asyncio.sleep(0)\n%timeit -n1 -r1 pass"
HOSTILE = f"""
import contextlib, os, pathlib
for _ in range(20):
    if os.fork() == 0:
        os.setsid()
        os.execvp("sleep", ["sleep", "{MARK}"])
with contextlib.suppress(OSError):
    pathlib.Path("VICTIM").write_text("changed")
"""
MOODLE = "Anna Berg_4711_assignsubmission_file_"
NO = "not a notebook"

# path -> content, status, points of the tests (None: no score)
FILES: dict[str, tuple[Any, str, int | None]] = {
    f"{MOODLE}/{NAME}.ipynb": (solved(), "graded", 17),
    f"bergberta_12345_67890_{NAME}.ipynb": (RELEASED, "graded", 0),
    f"wrong/{NAME}.ipynb": (
        changed(lambda n: n.cells[at(n, "q4")].update(source=WRONG["q4"][0])),
        "graded",
        17 - sum(POINTS[test] for test in WRONG["q4"][1]),
    ),
    f"lost/{NAME}.ipynb": (changed(lose_metadata), "metadata lost", 17),
    f"twin/{NAME}.ipynb": (changed(copy_cell), "copied cell", 17),
    f"o'neil7/{NAME}.ipynb": (b"\xef\xbb\xbf" + text(solved()).replace(b"\\n", b"\\r\\n"), "graded", 17),
    f"magic/{NAME}.ipynb": (first(MAGIC), "graded", 17),
    f"cheat/{NAME}.ipynb": (changed(cheat), "graded", 17 - sum(POINTS[test] for test in WRONG["q2"][1])),
    f"slow/{NAME}.ipynb": (first("import time\ntime.sleep(10**6)"), "timeout", 14),
    f"exit/{NAME}.ipynb": (first("import os\nos._exit(0)"), "died", None),
    f"hostile/{NAME}.ipynb": (HOSTILE, "graded", 17),
    f"hog/{NAME}.ipynb": (first("x = bytearray(2**36)"), "graded", 14),
    f"other/{NAME}.ipynb": ((COURSE / "02_four_ways.ipynb").read_bytes(), "another notebook", None),
    "empty.ipynb": (b"", NO, None),
    "zeros.ipynb": (b"\0" * 99, NO, None),
    "cut.ipynb": (text(solved())[:5000], NO, None),
    "list.ipynb": (b"[1, 2]", NO, None),
    "null.ipynb": (b"null", NO, None),
    "number.ipynb": (b"NaN", NO, None),
    "cells.ipynb": (b'{"cells": 3}', NO, None),
    "cell.ipynb": (b'{"cells": [{}]}', NO, None),
    "metadata.ipynb": (b'{"cells": [{"source": "", "cell_type": "code", "metadata": null}]}', NO, None),
    "deep.ipynb": (b"[" * 100_000, NO, None),
    "sheets.ipynb": (b'{"worksheets": []}', NO, None),
    "photo.ipynb": (b"\x89PNG\r\n\x1a\n", NO, None),
    "latin.ipynb": (b'{"cells": ["\xe4"]}', NO, None),
    "page.html": (b"<!DOCTYPE html><html></html>", NO, None),
    "README.md": (b"# Homework", NO, None),
    "picture/photo.PNG": (b"\x89PNG\r\n\x1a\n", NO, None),
    "report.pdf": (b"%PDF-1.7 \xff\xfe", NO, None),
    "broken.zip": (b"PK\x03\x04 broken", NO, None),
    "=cmd.csv": (b"1,2", NO, None),
    "__MACOSX/._x.ipynb": (b"\0\5\x16\7", "ignored", None),
    "dora/._x.ipynb": (b"\0\5\x16\7", "ignored", None),
    "dora/.DS_Store": (b"\0", "ignored", None),
    "dora/.git/config": (b"[core]", "ignored", None),
    "dora/.ipynb_checkpoints/x-checkpoint.ipynb": (text(solved()), "ignored", None),
}
ZIPPED = ["frida/hand in.ipynb", "frida/hand in.ipynb", "frida/damaged.ipynb"]  # the last one: not a notebook


def start(folder: Path, out: Path, *more: str) -> subprocess.Popen[str]:
    command = [
        sys.executable,
        COURSE / "grade.py",
        folder,
        NAME,
        "--out",
        out,
        "--jobs",
        "2",
        "--timeout",
        "30",
    ]
    environment = os.environ | {"TMPDIR": str(out.parent)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.Popen([*map(str, command), *more], text=True, env=environment, **pipes)


def run(folder: Path, out: Path, *more: str) -> str:
    with start(folder, out, *more) as process:
        said = process.communicate()[0]
    assert process.returncode == 0, said
    return said


def table(out: Path) -> list[dict[str, str]]:
    with open(out / "grades.csv", encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def graded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, str]], str]:
    """The folder where all was graded after a first run was killed, the table, and what was said."""
    place = tmp_path_factory.mktemp("g")
    folder, out, runs = place / "submissions", place / "out", place / "out" / "runs"
    (place / "victim").write_text("as it was")
    for name, (content, _, _) in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if content is HOSTILE:
            content = first(HOSTILE.replace("VICTIM", str(place / "victim")))
        (folder / name).write_bytes(content if isinstance(content, bytes) else text(content))
    with zipfile.ZipFile(folder / "export.zip", "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the name that occurs twice
        for name in ZIPPED:
            archive.writestr(name, text(solved()))
    data = (folder / "export.zip").read_bytes()
    head, body = data[: (k := data.rindex(b"PK\x03\x04"))], data[k:]
    (folder / "export.zip").write_bytes(
        head + body.replace(b"Assignment 1", b"Assignment 9", 1)
    )  # its checksum
    with start(folder, out) as process:
        while process.poll() is None and not list(runs.glob("*.json")):
            time.sleep(0.1)
        process.kill()
    before = {path: path.stat().st_mtime_ns for path in runs.glob("*.json")}
    said = run(folder, out)
    print(said)
    assert before
    assert before == {path: path.stat().st_mtime_ns for path in before}, "graded twice"
    assert f"{14 - len(before)} graded by nbgrader" in said
    return out, table(out), said


@pytest.mark.parametrize("name", FILES)
def test_every_file_gets_its_line_and_its_points(name, graded):
    _, status, points = FILES[name]
    folder = name.rpartition("/")[0]
    shown = folder if folder.endswith(("__MACOSX", ".git", "checkpoints")) else name
    (row,) = (row for row in graded[1] if row["file"].removeprefix("'") == shown)
    assert (row["status"], row["score"]) == (status, "" if points is None else f"{points}"), row


def test_colliding_names_of_an_archive_are_all_graded_and_nothing_else_is_in_the_table(graded):
    zipped = [row for row in graded[1] if row["file"].startswith("export.zip/")]
    assert [(row["file"][11:], row["status"], row["score"]) for row in zipped] == [
        *[(ZIPPED[0], "renamed", "17")] * 2,
        (ZIPPED[2], NO, ""),
    ]
    assert [row["student"] for row in zipped[:2]] == ["export_frida_hand_in", "export_frida_hand_in-2"]
    assert len(graded[1]) == len(FILES) + len(ZIPPED) == 40
    students = {row["student"] for row in graded[1]}
    assert {MOODLE.replace(" ", "_").strip("_"), "bergberta_12345_67890", "o'neil7"} <= students


def test_what_a_submission_starts_and_writes_is_gone(graded):
    assert not [p for p in psutil.process_iter(["cmdline"]) if MARK in (p.info["cmdline"] or [])]
    if "NO BUBBLEWRAP" not in graded[2]:  # else the victim, which lies below tmp_path, may be changed
        assert (graded[0].parent / "victim").read_text() == "as it was"


def test_feedback_says_what_failed_and_shows_no_hidden_test(graded):
    page = (graded[0] / "feedback" / "wrong" / NAME / f"{NAME}.html").read_text("utf-8")
    assert "AssertionError" in page
    assert "more checks run when this is graded" in page
    assert not {word for word in ("q4_seed", "HIDDEN TESTS", "q4_rng") if word in page}


def test_a_second_run_grades_nothing_keeps_points_given_by_hand_and_gradescope_is_told(graded, tmp_path):
    from nbgrader.api import Gradebook

    out, results = graded[0], tmp_path / "results.json"
    for place, content in ((f"right/{MOODLE}/{NAME}.ipynb", text(solved())), ("wrong/essay.docx", b"PK")):
        (tmp_path / place).parent.mkdir(parents=True)
        (tmp_path / place).write_bytes(content)
    with Gradebook(f"sqlite:///{out / 'gradebook.db'}", "l2") as gradebook:
        student = MOODLE.replace(" ", "_").strip("_")
        gradebook.find_grade("q6-written", NAME, NAME, student).manual_score = 2.5
        gradebook.db.commit()
    assert "graded by nbgrader" not in run(tmp_path / "right", out, "--gradescope", str(results))
    (row,) = table(out)
    assert (row["score"], row["q6"]) == ("19.5", "2.5")
    given = json.loads(results.read_text())
    assert (given["score"], sum(test["max_score"] for test in given["tests"])) == (19.5, 20)
    run(tmp_path / "wrong", out, "--gradescope", str(results))
    given = json.loads(results.read_text())
    assert (given["score"], given["output"][:28]) == (0, "essay.docx: not a notebook. ")


def test_who_is_not_done_in_time_has_no_score(graded, tmp_path):
    (tmp_path / f"late_{NAME}.ipynb").write_bytes(text(solved()))
    run(tmp_path, graded[0], "--total", "0")
    (row,) = table(graded[0])
    assert (row["student"], row["status"], row["score"]) == ("late", "timeout", "")


def colab(notebook: dict[str, Any]) -> None:
    for k, cell in enumerate(notebook["cells"]):
        cell["metadata"]["id"] = f"{cell.pop('id')}{k}"
        cell["source"] = cell["source"].splitlines(keepends=True)


def vscode(notebook: dict[str, Any]) -> None:
    for cell in notebook["cells"]:
        cell["metadata"] = {"vscode": {"languageId": "python"}}


def deepnote(notebook: dict[str, Any]) -> None:
    for k, cell in enumerate(notebook["cells"]):
        cell["metadata"] = {"cell_id": cell.pop("id"), "deepnote_cell_type": cell["cell_type"]}
        cell["source"] += "\n" * (k % 3)


def markdown(notebook: dict[str, Any]) -> None:
    notebook["cells"][at(notebook, "q3")]["cell_type"] = "markdown"


def short(notebook: dict[str, Any]) -> None:
    notebook["cells"] = [
        c for c in notebook["cells"] if "-visible" not in c["metadata"]["nbgrader"]["grade_id"]
    ]


SAVED = {
    colab: [],
    vscode: ["metadata lost"],
    deepnote: ["metadata lost"],
    markdown: [],
    short: ["cell missing"],
}


@pytest.mark.parametrize("saved", SAVED)
def test_what_an_editor_has_saved_is_laid_out_as_it_was_handed_out(saved):
    notebook = solved()
    notebook.cells[-1].source = "It has not."
    saved(changed := copy.deepcopy(notebook))
    laid, said, _ = repair(text(changed), RELEASED)
    assert said == SAVED[saved]
    assert [cell.source.rstrip() for cell in laid.cells] == [cell.source.rstrip() for cell in notebook.cells]
    assert [cell.metadata for cell in laid.cells] == [cell.metadata for cell in RELEASED.cells]
