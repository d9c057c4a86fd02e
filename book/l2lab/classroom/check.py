"""Check an assignment itself, and measure how fast submissions to it are graded.

:func:`check` is meant for the tests of a repository: the solution passes, the students' copy fails, each
known wrong answer fails where it must, and nothing is given away.
"""

from __future__ import annotations

import copy
import json
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .format import Assignment, Notebook, leaks, read_assignment, release
from .grade import Grader, Result, modules_of

__all__ = ["Mutant", "benchmark", "check", "mutated"]

#: A wrong answer: the cell that it replaces, its code, and the tests that must fail.
Mutant = tuple[str, str, Iterable[str]]


def mutated(source: str | Path | Notebook | Assignment, answers: Mapping[str, str]) -> Notebook:
    """Hand in the solution with some other answers.

    Parameters
    ----------
    source : str, Path, dict or Assignment
        The source of the assignment.
    answers : mapping of str to str
        Other content of cells, by grade_id.

    Returns
    -------
    dict
        A notebook.

    Raises
    ------
    KeyError
        If there is no such cell.
    """
    assignment = read_assignment(source)
    notebook = copy.deepcopy(assignment.notebook)
    for grade_id, text in answers.items():
        notebook["cells"][assignment.cell(grade_id).index]["source"] = text.strip("\n")
    return notebook


def check(
    source: str | Path | Notebook | Assignment,
    mutants: Mapping[str, Mutant] | None = None,
    grader: Grader | None = None,
) -> list[str]:
    """Check an assignment: solution, students' copy, known wrong answers, secrets.

    Parameters
    ----------
    source : str, Path, dict or Assignment
        The source of the assignment.
    mutants : mapping of str to (str, str, iterable of str), optional
        Wrong answers by name: the cell that each replaces, its code, and all tests that must fail. If some
        are given, each test must be failed by one of them.
    grader : Grader, optional
        To be used and not closed, so that several assignments share its imports.

    Returns
    -------
    list of str
        What is wrong, one sentence each; empty if nothing is.

    Raises
    ------
    AssignmentError
        If the source is not valid.
    """
    assignment = read_assignment(source)
    mutants = mutants or {}
    released = release(assignment)
    notebooks: dict[str, Any] = {"the solution": assignment.notebook, "the students' copy": released}
    tests = {cell.grade_id for cell in assignment.of_kind("test")}
    wrong = [f"the students' copy gives away {line}" for line in leaks(json.dumps(released), assignment)]
    expected: dict[str, set[str]] = {"the solution": set(), "the students' copy": tests}
    for name, (grade_id, code, failing) in mutants.items():
        try:
            notebooks[f"mutant {name}"] = mutated(assignment, {grade_id: code})
        except KeyError as error:
            wrong.append(f"mutant {name}: {error.args[0]}")
            continue
        expected[f"mutant {name}"] = set(failing)
    if mutants:
        missed = tests - set().union(*(set(failing) for _, _, failing in mutants.values()))
        wrong += [f"no mutant fails {test}" for test in sorted(missed)]
    own = grader or Grader(modules=modules_of(assignment))
    try:
        results = own.grade(assignment, notebooks, progress=False)
    finally:
        if grader is None:
            own.close()
    for result in results:
        wrong += _differences(result, expected[result.name])
    return wrong


def _differences(result: Result, expected: set[str]) -> list[str]:
    wrong = []
    if result.status != "ok":
        wrong.append(f"{result.name}: status {result.status!r}")
    failed = result.failed()
    for test in sorted(failed - expected):
        verdict = result.tests[test]
        wrong.append(f"{result.name} should pass {test}: {verdict.outcome}: {verdict.message}")
    wrong += [f"{result.name} should fail {test}" for test in sorted(expected - failed)]
    if not expected:
        wrong += [f"{result.name}: {cell} ended with {text}" for cell, text in result.errors.items()]
    return wrong


def benchmark(
    source: str | Path | Notebook | Assignment, count: int = 200, jobs: int = 2, sandbox: str = "auto"
) -> dict[str, Any]:
    """Measure how long it takes to grade many submissions.

    Parameters
    ----------
    source : str, Path, dict or Assignment
        The source of the assignment.
    count : int, default 200
        Number of submissions. Every second one is the solution, the others are the students' copy, partly
        answered.
    jobs : int, default 2
        Submissions at the same time.
    sandbox : {"auto", "require", "off"}, default "auto"
        See :class:`l2lab.classroom.grade.Grader`.

    Returns
    -------
    dict
        ``import_seconds`` and ``seconds`` (all submissions), both of the wall clock; ``per_submission``
        (seconds that one takes while `jobs` run), ``load`` (average of the machine in the minute before),
        `count`, `jobs`, and which walls stood.

    Raises
    ------
    ValueError
        If `count` is not positive.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    assignment = read_assignment(source)
    released = release(assignment)
    answers = assignment.of_kind("answer")
    submissions: dict[str, Notebook] = {}
    for k in range(count):
        notebook = copy.deepcopy(released if k % 2 else assignment.notebook)
        for cell in answers[: (k // 2) % (len(answers) + 1)] if k % 2 else ():
            notebook["cells"][cell.index]["source"] = cell.source
        notebook["cells"].append(
            {"cell_type": "code", "metadata": {}, "source": f"# submission {k}", "outputs": []}
        )
        submissions[f"student {k:04d}"] = notebook
    with Grader(jobs, sandbox=sandbox, modules=modules_of(assignment)) as grader:
        started = time.perf_counter()
        protection = grader.protection
        imported = time.perf_counter()
        results = grader.grade(assignment, submissions)
        ended = time.perf_counter()
    return {
        "assignment": assignment.name,
        "count": count,
        "jobs": jobs,
        "import_seconds": round(imported - started, 2),
        "seconds": round(ended - imported, 2),
        "per_submission": round(sum(r.seconds for r in results) / count, 3),
        "load": round(os.getloadavg()[0], 2),
        "bubblewrap": protection.bubblewrap,
        "namespaces": protection.namespaces,
    }
