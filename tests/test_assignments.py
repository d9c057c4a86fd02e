"""The six assignments: solved, unsolved, solved wrongly, released, and not given away."""

from __future__ import annotations

import functools
import re
import shutil
import symtable
import tomllib
from pathlib import Path
from typing import Any

import nbformat
import pytest

from grade import nbgrader

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "book" / "assignments"
NAMES = sorted(path.name for path in (FOLDER / "source").iterdir())

each = pytest.mark.parametrize("name", NAMES)


@functools.cache
def source_of(name: str) -> nbformat.NotebookNode:
    return nbformat.read(FOLDER / "source" / name / f"{name}.ipynb", 4)


def mark(cell: Any) -> Any:
    return cell.metadata["nbgrader"]


def code_of(notebook: nbformat.NotebookNode) -> dict[str, str]:
    return {mark(c)["grade_id"]: c.source for c in notebook.cells if c.cell_type == "code"}


def mutants_of(name: str) -> dict[str, tuple[str, dict[str, str] | str, set[str]]]:
    """The wrong answers, with the whole names of the tests that fail."""
    mutants = {}
    for wrong, told in tomllib.loads((FOLDER / "mutants" / f"{name}.toml").read_text("utf-8")).items():
        failing = {t if t.startswith("q") else f"{told['cell']}-{t}" for t in told["fails"].split()}
        mutants[wrong] = told["cell"], told.get("answer") or told["change"], failing
    return mutants


def run(cells: dict[str, str], variables: dict[str, Any]) -> tuple[set[str], dict[str, Any]]:
    """Run cells one after the other; return which ended with an error, and the variables."""
    failed, variables = set(), dict(variables)
    for name, text in cells.items():
        try:
            exec(compile(text, name, "exec"), variables)
        except Exception:
            failed.add(name)
    return failed, variables


@functools.cache
def solution_of(name: str) -> tuple[set[str], dict[str, Any]]:
    return run(code_of(source_of(name)), {"__name__": "__main__"})


def with_answer(name: str, changed: str, text: str) -> set[str]:
    """Run another answer and, after the solution, the cells that it can touch."""
    cells, names, touched = code_of(source_of(name)), set(), {}
    for cell, code in list(cells.items())[list(cells).index(changed) :]:
        if cell == changed or names & set(re.findall(r"\w+", code)):
            touched[cell] = text if cell == changed else code
            symbols = symtable.symtable(code, cell, "exec").get_symbols()
            names |= {symbol.get_name() for symbol in symbols if symbol.is_assigned()}
    return run(touched, solution_of(name)[1])[0]


def wrong_answer(solution: str, change: dict[str, str] | str) -> str:
    """What a mutant makes of a solution: all its changes at once, none of them in vain."""
    if isinstance(change, str):
        return change
    for right in change:
        assert right in solution, f"the solution does not say {right!r}"
    return re.sub("|".join(map(re.escape, change)), lambda found: change[found[0]], solution)


@each
def test_solution_passes_stub_fails_and_every_mutant_fails_exactly_its_tests(name):
    cells, mutants = code_of(source_of(name)), mutants_of(name)
    marks = [mark(cell) for cell in source_of(name).cells]
    tests = {m["grade_id"] for m in marks if m["grade"] and not m["solution"]}
    assert solution_of(name)[0] == set()
    assert with_answer(name, "student", 'STUDENT_ID = "4711"') == set(), "other data"
    stub = code_of(nbformat.read(FOLDER / f"{name}.ipynb", 4)) | {test: cells[test] for test in tests}
    assert run(stub, {"__name__": "__main__"})[0] & tests == tests
    for wrong, (cell, change, failing) in mutants.items():
        text = wrong_answer(cells[cell], change)
        assert with_answer(name, cell, text) & tests == failing, f"mutant {wrong}"
    assert set().union(*(failing for _, _, failing in mutants.values())) == tests, "no mutant fails a test"


@each
def test_twenty_points_as_stated(name):
    points: dict[str, int] = {}
    for cell in (cell for cell in source_of(name).cells if mark(cell)["grade"]):
        question = mark(cell)["grade_id"].partition("-")[0]
        points[question] = points.get(question, 0) + mark(cell)["points"]
    text = "\n".join(cell.source for cell in source_of(name).cells)
    stated = re.findall(r"(?m)^## Question (\d): .*\((\d+) points", text)
    assert points == {f"q{question}": int(of) for question, of in stated}
    assert sum(points.values()) == 20


@each
def test_the_committed_copy_is_what_nbgrader_makes_and_gives_nothing_away(name, tmp_path):
    shutil.copytree(FOLDER / "source" / name, tmp_path / "source" / name)
    api = nbgrader(tmp_path, SaveCells={"enabled": False}, GenerateAssignment={"no_database": True})
    assert api.generate_assignment(name)["success"]
    made = (tmp_path / "release" / name / f"{name}.ipynb").read_text("utf-8")
    assert (FOLDER / f"{name}.ipynb").read_text("utf-8") == made, "run: make release"
    assert not re.search("(BEGIN|END) (SOLUTION|HIDDEN)|Rubric", made)
    assert all(not cell.get("outputs") for cell in nbformat.reads(made, 4).cells)


def test_the_site_has_the_copies_and_neither_sources_nor_mutants(site):
    for name in NAMES:
        assert (site / f"book/assignments/{name}.html").exists(), f"add book/assignments/{name} to _toc.yml"
    published = {path.relative_to(site).as_posix() for path in site.rglob("*assignments/*/*")}
    assert not {path for path in published if "/source/" in path or "/mutants/" in path}
    for path in site.glob("**/assignments/*"):
        assert path.is_dir() or not re.search("BEGIN (SOLUTION|HIDDEN)", path.read_text("utf-8")), path
