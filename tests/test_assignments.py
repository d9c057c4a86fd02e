"""The six assignments of the book: solved, unsolved, solved wrongly, released, and not given away.

The grader itself is tested in ``test_classroom.py``; here it is used. All share one grader, which
imports torch once and forks for each submission.
"""

from __future__ import annotations

import ast
import html
import importlib.util
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

from l2lab.classroom.check import Mutant, check, mutated
from l2lab.classroom.format import Assignment, leaks, read_assignment, release, write_notebook
from l2lab.classroom.grade import Grader, modules_of
from l2lab.classroom.solutions import write_solutions

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "book" / "assignments"
NAMES = (
    "01_ridge_by_hand",
    "02_four_ways",
    "03_fair_comparison",
    "04_l1_from_l2",
    "05_layer_and_sweep",
    "06_images",
)
# What Colab ships; scipy comes with scikit-learn.
ON_COLAB = {"numpy", "torch", "matplotlib", "sklearn", "scipy"}

each = pytest.mark.parametrize("name", NAMES)


def source_of(name: str) -> Path:
    return FOLDER / "source" / name / f"{name}.ipynb"


def assignment_of(name: str) -> Assignment:
    return read_assignment(source_of(name))


def mutants_of(name: str) -> dict[str, Mutant]:
    spec = importlib.util.spec_from_file_location(f"mutants_{name}", FOLDER / "mutants" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.MUTANTS


@pytest.fixture(scope="module")
def grader() -> Iterator[Grader]:
    """One grader for all: what the assignments import is imported once."""
    with Grader(modules=modules_of(*(assignment_of(name) for name in NAMES))) as shared:
        yield shared


# ---- graded ------------------------------------------------------------------------------------------------


@each
def test_solution_passes_stub_fails_and_every_mutant_fails_exactly_its_tests(name, grader):
    mutants = mutants_of(name)
    assert len(mutants) >= 6
    assert check(source_of(name), mutants, grader) == []


@each
def test_the_solution_passes_for_another_student_too(name, grader):
    other = mutated(source_of(name), {"student": 'STUDENT_ID = "4711"'})
    (result,) = grader.grade(source_of(name), {"4711": other}, progress=False)
    assert (result.status, result.failed()) == ("ok", set()), result.as_dict()


# Cell -> what a student could copy from another one.
COPIED = {
    "01_ridge_by_hand": ("q5-own", ["my_lam", "my_df"]),
    "02_four_ways": ("q4-own", ["my_lam"]),
    "03_fair_comparison": ("q5", ["my_interval", "my_verdict"]),
    "05_layer_and_sweep": ("q5-own", ["my_choice"]),
    "06_images": ("q4-own", ["my_report"]),
}


@pytest.mark.parametrize("name", COPIED)
def test_numbers_copied_from_another_student_are_wrong(name, grader):
    assignment, (cell, variables) = assignment_of(name), COPIED[name]
    other: dict = {}
    for one in assignment.cells:
        if one.cell_type == "code" and one.kind != "test":
            text = 'STUDENT_ID = "berta"' if one.grade_id == "student" else one.source
            exec(compile(text, one.grade_id, "exec"), other)
        if one.grade_id == cell:
            break
    lines = ["import numpy as np", *(f"{name} = {plain(other[name])!r}" for name in variables)]
    copied = mutated(assignment, {"student": 'STUDENT_ID = "anna"', cell: "\n".join(lines)})
    (result,) = grader.grade(assignment, {"anna": copied}, progress=False)
    assert result.failed() == {f"{cell}-hidden"}, result.as_dict()


def plain(value):
    """The same value without NumPy's types, so that its repr can be run."""
    if isinstance(value, tuple | list):
        return tuple(plain(item) for item in value)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value.item() if hasattr(value, "item") else value


# ---- made as agreed ----------------------------------------------------------------------------------------


@each
def test_three_to_six_questions_worth_twenty_points_and_one_of_them_written(name):
    assignment = assignment_of(name)
    tests, written = assignment.of_kind("test"), assignment.of_kind("manual")
    assert 3 <= len(assignment.questions) <= 6
    assert sum(cell.points for cell in (*tests, *written)) == 20
    assert all(cell.points > 0 for cell in (*tests, *written))
    (question,) = written
    assert question.cell_type == "markdown"
    solution, _, rubric = question.source.partition("**Rubric**")
    assert len(solution.split()) > 50, "a model answer"
    assert rubric.count("1 point") >= 1
    assert "Rubric" not in question.released


@each
def test_every_question_states_its_points_and_has_visible_and_hidden_tests(name):
    assignment = assignment_of(name)
    headings = dict(
        re.findall(
            r"(?m)^## Question (\d): .*\((\d+) points",
            "\n".join(cell["source"] for cell in assignment.notebook["cells"]),
        )
    )
    for question in assignment.questions:
        cells = [c for c in assignment.cells if c.question == question and c.points]
        assert sum(cell.points for cell in cells) == int(headings[question[1:]]), question
        if all(cell.kind == "test" for cell in cells):
            assert {cell.hidden for cell in cells} == {True, False}, f"{question}: partial credit"


@each
def test_every_assert_says_what_is_wrong(name):
    for cell in assignment_of(name).of_kind("test"):
        for node in ast.walk(ast.parse(cell.source)):
            assert not isinstance(node, ast.Assert) or node.msg is not None, f"{cell.grade_id}:{node.lineno}"


@each
def test_nothing_is_imported_that_colab_does_not_ship(name):
    for cell in assignment_of(name).cells:
        if cell.cell_type == "code":
            for node in ast.walk(ast.parse(cell.source)):
                names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
                names += [node.module] if isinstance(node, ast.ImportFrom) else []
                roots = {module.partition(".")[0] for module in names}
                assert roots <= ON_COLAB | sys.stdlib_module_names, cell.grade_id


def test_there_are_no_other_assignments():
    assert sorted(path.name for path in (FOLDER / "source").iterdir()) == sorted(NAMES)
    assert sorted(path.stem for path in FOLDER.glob("*.ipynb")) == sorted(NAMES)
    assert sorted(path.stem for path in (FOLDER / "mutants").glob("*.py")) == sorted(NAMES)


# ---- released ----------------------------------------------------------------------------------------------


@each
def test_the_students_copy_is_the_source_without_its_secrets(name, tmp_path):
    write_notebook(release(source_of(name)), tmp_path / "copy.ipynb")
    committed = (FOLDER / f"{name}.ipynb").read_text("utf-8")
    assert committed == (tmp_path / "copy.ipynb").read_text("utf-8"), (
        f"run: python -m l2lab.classroom release book/assignments/source/{name}/{name}.ipynb "
        f"book/assignments/{name}.ipynb"
    )
    assert leaks(committed, source_of(name)) == []


@each
def test_the_search_for_leaks_finds_every_solution_and_every_hidden_test(name):
    """Each secret, put back into the copy, must be found: in the notebook and on a highlighted page."""
    assignment = assignment_of(name)
    for cell in assignment.cells:
        if cell.source != cell.released:
            notebook = release(assignment)
            secret = re.sub(r"### (BEGIN|END) [A-Z ]+", "", cell.source)
            notebook["cells"][cell.index]["source"] = secret
            page = re.sub(r"(\w+)", r'<span class="n">\1</span>', html.escape(secret))
            for text in (json.dumps(notebook), page):
                assert leaks(text, assignment), f"{cell.grade_id} could leak unseen"


@each
def test_the_page_of_the_site_gives_nothing_away(name, site):
    for place in (f"book/assignments/{name}.html", f"_sources/book/assignments/{name}.ipynb"):
        assert (site / place).exists(), f"add book/assignments/{name} to _toc.yml"
        assert leaks((site / place).read_text("utf-8"), source_of(name)) == []
    for folder in ("source", "mutants"):
        assert not list(site.rglob(f"assignments/{folder}"))


@each
def test_the_students_copy_is_a_valid_notebook_without_outputs(name):
    raw = json.loads((FOLDER / f"{name}.ipynb").read_text("utf-8"))
    nbformat.validate(nbformat.from_dict(raw))
    assert (raw["nbformat"], raw["nbformat_minor"]) == (4, 5)
    assert set(raw["metadata"]) == {"kernelspec", "language_info"}
    for cell in raw["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None
            assert len(cell["source"]) <= 40


def test_nbgrader_makes_the_same_copies(tmp_path):
    """Its own converter, where it is installed; the book does not need it."""
    pytest.importorskip("nbgrader")
    from nbgrader.apps import NbGraderAPI
    from traitlets.config import Config

    from l2lab.classroom.format import CODE_STUB

    config = Config()
    config.CourseDirectory.root = str(tmp_path)
    config.ClearSolutions.code_stub = {"python": CODE_STUB}
    for name in NAMES:
        target = tmp_path / "source" / name / f"{name}.ipynb"
        target.parent.mkdir(parents=True)
        target.write_bytes(source_of(name).read_bytes())
        assert NbGraderAPI(config=config).generate_assignment(name)["success"]
        theirs = nbformat.read(tmp_path / "release" / name / f"{name}.ipynb", 4)
        ours = nbformat.read(FOLDER / f"{name}.ipynb", 4)
        assert [(c.source, c.metadata.get("nbgrader")) for c in theirs.cells] == [
            (c.source, c.metadata.get("nbgrader")) for c in ours.cells
        ]


# ---- for instructors ---------------------------------------------------------------------------------------


def test_solutions_are_pages_with_all_that_students_do_not_see(tmp_path):
    (path,) = write_solutions([source_of(NAMES[0])], tmp_path / "out")
    page = path.read_text("utf-8")
    assert "Not for students" in page
    assert "hidden test, 2 points" in page
    assert "Rubric" in page
    assert len(leaks(page, source_of(NAMES[0]))) > 20


def test_an_invalid_source_writes_no_page(tmp_path):
    (tmp_path / "x.ipynb").write_text("{}")
    with pytest.raises(ValueError, match=r"x\.ipynb"):
        write_solutions([source_of(NAMES[0]), tmp_path / "x.ipynb"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def chapter_text(path: Path) -> str:
    return "\n".join(cell.source for cell in nbformat.read(path, 4).cells)


def test_the_course_plan_names_questions_and_explorers_that_exist():
    plan = (ROOT / "book" / "course_plan.md").read_text("utf-8")
    for name in NAMES:
        assert f"assignments/{name}" in plan, name
        number = int(name[:2])
        named = {f"q{q}" for q in re.findall(rf"\b{number}\.(\d)\b", plan.partition("(sec-goals)=")[2])}
        assert named == set(assignment_of(name).questions), (
            f"assignment {number}: goals without question or the reverse"
        )
    for chapter, explorer in re.findall(r"(\w+)\.html#(\w+)", plan):
        path = ROOT / "book" / f"{chapter}.ipynb"
        assert path.exists(), chapter
        assert f'name="{explorer}"' in chapter_text(path), f"{chapter} has no explorer {explorer}"
