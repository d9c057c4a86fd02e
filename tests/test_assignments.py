"""The six assignments: solved, unsolved, solved wrongly, released, and not given away."""

from __future__ import annotations

import functools
import re
import runpy
import shutil
import symtable
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


def copy_of(name: str) -> nbformat.NotebookNode:
    return nbformat.read(FOLDER / f"{name}.ipynb", 4)


def mark(cell: Any) -> Any:
    return cell.metadata["nbgrader"]


def code_of(notebook: nbformat.NotebookNode) -> dict[str, str]:
    return {mark(c)["grade_id"]: c.source for c in notebook.cells if c.cell_type == "code"}


@functools.cache
def checks_of(name: str) -> set[str]:
    marks = [mark(cell) for cell in source_of(name).cells]
    return {m["grade_id"] for m in marks if m["grade"] and not m["solution"]}


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


def names_in(text: str) -> tuple[set[str], set[str]]:
    """The global names that a cell binds, and those that it reads."""
    tables = [symtable.symtable(text, "cell", "exec")]
    bound = {s.get_name() for s in tables[0].get_symbols() if s.is_assigned() or s.is_imported()}
    read: set[str] = set()
    while tables:
        table = tables.pop()
        tables += table.get_children()
        read |= {s.get_name() for s in table.get_symbols() if s.is_referenced() and s.is_global()}
    return bound, read


def with_answer(name: str, changed: str, text: str, **given: Any) -> tuple[set[str], dict[str, Any]]:
    """Run another answer and, after the solution, the cells that it can touch."""
    cells, names, touched = code_of(source_of(name)), names_in(text)[0], {}
    for cell, code in list(cells.items())[list(cells).index(changed) :]:
        bound, read = names_in(code)
        if cell == changed or read & names:
            touched[cell] = text if cell == changed else code
            names |= bound
    return run(touched, solution_of(name)[1] | given)


def wrong_answer(solution: str, change: dict[str, str] | str) -> str:
    """What a mutant makes of a solution: all its changes at once, none of them in vain."""
    if isinstance(change, str):
        return change
    for right in change:
        assert right in solution, f"the solution does not say {right!r}"
    return re.sub("|".join(map(re.escape, change)), lambda found: change[found[0]], solution)


@each
def test_solution_passes_stub_fails_and_every_mutant_fails_exactly_its_tests(name):
    cells, tests = code_of(source_of(name)), checks_of(name)
    mutants = runpy.run_path(str(FOLDER / "mutants" / f"{name}.py"))["MUTANTS"]
    assert solution_of(name)[0] == set()
    stub = code_of(copy_of(name)) | {test: cells[test] for test in tests}
    assert run(stub, {"__name__": "__main__"})[0] & tests == tests
    assert len(mutants) >= 6
    for wrong, (cell, change, failing) in mutants.items():
        text = wrong_answer(cells[cell], change)
        assert with_answer(name, cell, text)[0] & tests == set(failing), f"mutant {wrong}"
    assert set().union(*(failing for _, _, failing in mutants.values())) == tests, "no mutant fails a test"


# Cell -> what a student could copy from another one.
COPIED = {
    "01_ridge_by_hand": ("q5-own", ["my_lam", "my_df"]),
    "02_four_ways": ("q4-own", ["my_lam"]),
    "03_fair_comparison": ("q5", ["my_interval", "my_verdict"]),
    "05_layer_and_sweep": ("q5-own", ["my_choice"]),
    "06_images": ("q4-own", ["my_report"]),
}


@pytest.mark.parametrize("name", COPIED)
def test_another_student_has_other_data_the_solution_passes_and_copied_numbers_fail(name):
    cell, variables = COPIED[name]
    failed, theirs = with_answer(name, "student", 'STUDENT_ID = "4711"')
    assert failed == set()
    copied = "\n".join(f"{variable} = theirs['{variable}']" for variable in variables)
    failed, _ = with_answer(name, cell, copied, theirs=theirs)
    assert failed & checks_of(name) == {f"{cell}-hidden"}


@each
def test_twenty_points_as_stated_and_every_question_but_the_written_one_has_a_visible_and_a_hidden_test(name):
    points: dict[str, int] = {}
    hidden: dict[str, set[bool]] = {}
    for cell in (cell for cell in source_of(name).cells if mark(cell)["grade"]):
        question = mark(cell)["grade_id"].partition("-")[0]
        points[question] = points.get(question, 0) + mark(cell)["points"]
        hidden.setdefault(question, set()).add("BEGIN HIDDEN" in cell.source)
    text = "\n".join(cell.source for cell in source_of(name).cells)
    stated = re.findall(r"(?m)^## Question (\d): .*\((\d+) points", text)
    assert points == {f"q{question}": int(of) for question, of in stated}
    assert sum(points.values()) == 20
    assert [tests for tests in hidden.values() if tests != {True, False}] == [{False}]


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A course folder in which nbgrader has made the copies anew."""
    root = tmp_path_factory.mktemp("course")
    shutil.copytree(FOLDER / "source", root / "source")
    api = nbgrader(root, SaveCells={"enabled": False}, GenerateAssignment={"no_database": True})
    for name in NAMES:
        assert api.generate_assignment(name)["success"], name
    return root


@each
def test_the_committed_copy_is_what_nbgrader_makes_and_gives_nothing_away(name, course):
    made = (course / "release" / name / f"{name}.ipynb").read_text("utf-8")
    assert (FOLDER / f"{name}.ipynb").read_text("utf-8") == made, "run: make release"
    assert not re.search("(BEGIN|END) (SOLUTION|HIDDEN)|Rubric", made)
    assert all(not cell.get("outputs") for cell in copy_of(name).cells)


def test_the_site_has_the_copies_and_neither_sources_nor_mutants(site):
    for name in NAMES:
        assert (site / f"book/assignments/{name}.html").exists(), f"add book/assignments/{name} to _toc.yml"
    published = {path.relative_to(site).as_posix() for path in site.rglob("*assignments/*/*")}
    assert not {path for path in published if "/source/" in path or "/mutants/" in path}
    for path in site.glob("**/assignments/*"):
        assert path.is_dir() or not re.search("BEGIN (SOLUTION|HIDDEN)", path.read_text("utf-8")), path
