"""The format of an assignment: one notebook with solutions and hidden tests, as nbgrader has defined it.

The source of an assignment is a normal notebook. The metadata of a cell say what it is (answer, test,
question for a person, fixed text), and comments mark what students must not see::

    ### BEGIN SOLUTION        ### BEGIN HIDDEN TESTS
    ### END SOLUTION          ### END HIDDEN TESTS

:func:`release` makes the copy for the students, :func:`repair` finds out which cell of a submission is
which, whatever Colab, an LMS or the student has done to its metadata. Notebooks are plain dictionaries, as
JSON holds them, with each source as one string.
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = [
    "CODE_STUB",
    "TEXT_STUB",
    "Assignment",
    "AssignmentError",
    "Cell",
    "Step",
    "answers_of",
    "leaks",
    "read_assignment",
    "read_notebook",
    "release",
    "repair",
    "student_id",
    "write_notebook",
]

STUB_MESSAGE = "this question has no answer yet"
#: What stands in the students' copy instead of a solution. (nbgrader: ``ClearSolutions.code_stub``.)
CODE_STUB = f'# YOUR CODE HERE\nraise RuntimeError("{STUB_MESSAGE}")'
#: The same for a written answer.
TEXT_STUB = "YOUR ANSWER HERE"

_REGIONS = ("SOLUTION", "HIDDEN TESTS", "MARK SCHEME")
_STUDENT_ID = re.compile(r"^STUDENT_ID[ \t]*(?::[^=\n]*)?=[^=\n].*$", re.MULTILINE)
# Submissions are never parsed as Python in the grader: its compiler can be crashed by what it reads.
_STUDENT_ID_VALUE = re.compile(
    r"^STUDENT_ID[ \t]*(?::[^=\n]*)?=[ \t]*"
    r"""(?:(["'])([^"'\\\n]{1,100})\1|([0-9]{1,100}))[ \t]*(?:[#;].*)?$""",
    re.MULTILINE,
)
_TOP_LEVEL_NAME = re.compile(
    r"^(?:(?:async[ \t]+)?def[ \t]+|class[ \t]+|(?=\w+[ \t]*(?::[^=\n]*)?=[^=]))(\w+)", re.MULTILINE
)
Notebook = dict[str, Any]


class AssignmentError(ValueError):
    """The source of an assignment breaks the format; the message lists all that is wrong."""


@dataclass(frozen=True)
class Cell:
    """One marked cell of an assignment.

    Parameters
    ----------
    grade_id : str
        Its name, unique in the notebook. What stands before the first hyphen is the question.
    kind : {"answer", "test", "manual", "fixed"}
        Answer of the student, autograded test, answer that a person grades, text or code that stays as it is.
    cell_type : {"code", "markdown", "raw"}
        As in the notebook.
    source : str
        All of it, solutions and hidden tests included.
    points : float
        0 for cells that are not graded.
    index : int
        Position in the notebook.
    """

    grade_id: str
    kind: str
    cell_type: str
    source: str
    points: float
    index: int

    @property
    def question(self) -> str:
        """The question that the cell belongs to: ``q1`` for ``q1-hidden``."""
        return self.grade_id.partition("-")[0]

    @property
    def hidden(self) -> bool:
        """Whether students do not see the whole test."""
        return "BEGIN HIDDEN TESTS" in self.source

    @property
    def released(self) -> str:
        """The text of the cell in the students' copy."""
        return _clean(self.source, self.kind in ("answer", "manual"), self.cell_type)

    @property
    def names(self) -> frozenset[str]:
        """Functions, classes and variables that the cell defines at its top level."""
        return _defined(self.released) | _defined(self.source)


@dataclass(frozen=True)
class Assignment:
    """The source of an assignment, read and checked by :func:`read_assignment`.

    Parameters
    ----------
    name : str
        Name of the file without its ending.
    notebook : dict
        The whole notebook.
    cells : tuple of Cell
        The marked cells in their order.
    """

    name: str
    notebook: Notebook = field(repr=False)
    cells: tuple[Cell, ...]

    def of_kind(self, kind: str) -> tuple[Cell, ...]:
        """Return the cells of a kind.

        Parameters
        ----------
        kind : {"answer", "test", "manual", "fixed"}
            See :class:`Cell`.

        Returns
        -------
        tuple of Cell
            In the order of the notebook.
        """
        return tuple(cell for cell in self.cells if cell.kind == kind)

    def cell(self, grade_id: str) -> Cell:
        """Return the cell of this name.

        Parameters
        ----------
        grade_id : str
            Its name.

        Returns
        -------
        Cell
            The cell.

        Raises
        ------
        KeyError
            If the assignment has no such cell.
        """
        for cell in self.cells:
            if cell.grade_id == grade_id:
                return cell
        raise KeyError(f"{self.name} has no cell {grade_id!r}")

    @property
    def questions(self) -> tuple[str, ...]:
        """Names of the questions that give points, in order."""
        graded = (cell.question for cell in self.cells if cell.kind in ("test", "manual"))
        return tuple(dict.fromkeys(graded))

    @property
    def max_score(self) -> float:
        """Points of all tests; questions that a person grades are not counted."""
        return sum(cell.points for cell in self.of_kind("test"))


# ---- reading and writing -----------------------------------------------------------------------------------


def read_notebook(source: str | Path | bytes) -> Notebook:
    """Read a notebook of any version from 3 on, and take whatever can be understood of a damaged one.

    Parameters
    ----------
    source : str, Path or bytes
        A file, or its content as bytes.

    Returns
    -------
    dict
        With the key ``"cells"``; each cell has ``cell_type``, ``source`` (one string) and ``metadata``.

    Raises
    ------
    ValueError
        If it is not JSON in UTF-8, or holds no cells. The message says what it is instead.
    OSError
        If the file cannot be read.
    """
    raw = source if isinstance(source, bytes) else Path(source).read_bytes()
    if not raw.strip():
        raise ValueError("the file is empty")
    try:
        notebook = json.loads(raw.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise ValueError("it is a binary file") from None
    except RecursionError:
        raise ValueError("its JSON is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"it is not JSON ({error})"[:200]) from None
    cells = notebook.get("cells") if isinstance(notebook, dict) else None
    if cells is None and isinstance(notebook, dict):
        sheets = notebook.get("worksheets")  # version 3
        if isinstance(sheets, list):
            cells = [cell for sheet in sheets if isinstance(sheet, dict) for cell in sheet.get("cells") or []]
    if not isinstance(cells, list):
        raise ValueError("it is JSON, but has no list of cells")
    notebook["cells"] = [_plain_cell(cell) for cell in cells if isinstance(cell, dict)]
    return notebook


def _plain_cell(cell: dict[str, Any]) -> dict[str, Any]:
    text = cell.get("source", cell.get("input", ""))
    if isinstance(text, list):
        text = "".join(part for part in text if isinstance(part, str))
    kind = cell.get("cell_type")
    plain = dict(cell)
    plain["cell_type"] = kind if kind in ("code", "markdown", "raw") else "markdown"
    plain["source"] = text if isinstance(text, str) else ""
    plain["metadata"] = dict(cell["metadata"]) if isinstance(cell.get("metadata"), dict) else {}
    return plain


def write_notebook(notebook: Notebook, path: str | Path) -> None:
    """Write a notebook as Jupyter does: indented by one, each line of a source a string of its own.

    Parameters
    ----------
    notebook : dict
        As :func:`read_notebook` returns it.
    path : str or Path
        The file, overwritten if it exists.
    """
    cells = [cell | {"source": cell["source"].splitlines(keepends=True)} for cell in notebook["cells"]]
    text = json.dumps(notebook | {"cells": cells}, indent=1, ensure_ascii=False, sort_keys=True)
    Path(path).write_text(text + "\n", "utf-8")


def _mark(cell: dict[str, Any]) -> dict[str, Any]:
    """The metadata by which nbgrader marks a cell, empty for all others."""
    mark = cell["metadata"].get("nbgrader")
    return mark if isinstance(mark, dict) else {}


def _kind(mark: dict[str, Any]) -> str:
    if mark.get("task") or (mark.get("grade") and mark.get("solution")):
        return "manual"
    if mark.get("solution"):
        return "answer"
    return "test" if mark.get("grade") else "fixed"


def read_assignment(source: str | Path | Notebook | Assignment, name: str | None = None) -> Assignment:
    """Read the source of an assignment and check it.

    Parameters
    ----------
    source : str, Path, dict or Assignment
        The file or the notebook; an assignment is returned as it is.
    name : str, optional
        Name of the assignment; by default that of the file.

    Returns
    -------
    Assignment
        With at least one test.

    Raises
    ------
    AssignmentError
        If the format is broken. Everything that is wrong is listed.
    ValueError, OSError
        If it cannot be read at all.

    References
    ----------
    nbgrader, "Developing assignments" (cell types and metadata, schema version 3).
    """
    if isinstance(source, Assignment):
        return source
    label = name or (Path(source).stem if isinstance(source, str | Path) else "assignment")
    try:
        if isinstance(source, dict):
            notebook = dict(source) | {"cells": [_plain_cell(cell) for cell in source["cells"]]}
        else:
            notebook = read_notebook(source)
    except ValueError as error:
        raise AssignmentError(f"{source}: {error}; give the source notebook of an assignment") from None
    cells, wrong = [], []
    for index, cell in enumerate(notebook["cells"]):
        mark = _mark(cell)
        where = f"cell {index} ({mark.get('grade_id', 'not marked')})"
        wrong += [f"{where}: {text}" for text in _wrong_regions(cell["source"], mark)]
        if not mark:
            continue
        kind, points = _kind(mark), mark.get("points", 0)
        wrong += [f"{where}: {text}" for text in _wrong_marks(mark, kind, cell["cell_type"])]
        points = float(points) if isinstance(points, int | float) and kind in ("test", "manual") else 0.0
        cells.append(Cell(str(mark.get("grade_id")), kind, cell["cell_type"], cell["source"], points, index))
    names = [cell.grade_id for cell in cells]
    wrong += [
        f"grade_id {name!r} occurs {names.count(name)} times"
        for name in sorted(set(names))
        if names.count(name) > 1
    ]
    if not any(cell.kind == "test" for cell in cells):
        wrong.append("no cell is an autograded test (nbgrader metadata: grade true, solution false)")
    if wrong:
        raise AssignmentError(f"{label} is no assignment in nbgrader's format:\n  " + "\n  ".join(wrong))
    return Assignment(label, notebook, tuple(cells))


def _wrong_marks(mark: dict[str, Any], kind: str, cell_type: str) -> list[str]:
    wrong = []
    if mark.get("schema_version") != 3:
        wrong.append(f"schema_version must be 3, got {mark.get('schema_version')!r}")
    if not re.fullmatch(r"[A-Za-z0-9_-]+", str(mark.get("grade_id", ""))):
        wrong.append("grade_id must consist of letters, digits, hyphens and underscores")
    if kind in ("test", "manual"):
        points = mark.get("points")
        if isinstance(points, bool) or not isinstance(points, int | float) or not 0 <= points < 1e6:
            wrong.append(f"points must be a number of at least 0, got {points!r}")
    if kind == "test" and cell_type != "code":
        wrong.append("a test must be a code cell")
    return wrong


def _wrong_regions(source: str, mark: dict[str, Any]) -> list[str]:
    wrong = []
    for region in _REGIONS:
        inside = False
        for line in source.split("\n"):
            if f"BEGIN {region}" in line:
                if inside:
                    wrong.append(f"BEGIN {region} inside of another one")
                inside = True
            elif f"END {region}" in line:
                if not inside:
                    wrong.append(f"END {region} without its BEGIN")
                inside = False
        if inside:
            wrong.append(f"BEGIN {region} without its END")
    if "BEGIN SOLUTION" in source and not mark.get("solution"):
        wrong.append("a solution stands in a cell that is not marked as one")
    if "BEGIN HIDDEN TESTS" in source and not mark.get("grade"):
        wrong.append("hidden tests stand in a cell that is not marked as a test")
    return wrong


# ---- the students' copy ------------------------------------------------------------------------------------


def _without(source: str, region: str, stub: str | None = None) -> tuple[str, list[str]]:
    """Cut out a region; `stub` goes to its place with its indent. Also return the lines that were cut."""
    kept, cut, inside = [], [], False
    for line in source.split("\n"):
        if f"BEGIN {region}" in line:
            inside = True
            if stub is not None:
                indent = re.match(r"\s*", line)[0]
                kept += [indent + part for part in stub.split("\n")]
        elif f"END {region}" in line:
            inside = False
        elif inside:
            cut.append(line)
        else:
            kept.append(line)
    return "\n".join(kept), cut


def _clean(source: str, is_answer: bool, cell_type: str) -> str:
    stub = CODE_STUB if cell_type == "code" else TEXT_STUB
    if is_answer:
        source = _without(source, "SOLUTION", stub)[0] if "BEGIN SOLUTION" in source else stub
    for region in _REGIONS[1:]:
        source = _without(source, region)[0]
    return source


def _checksum(cell: dict[str, Any]) -> str:
    """The sum by which nbgrader's validation notices that a test was changed (nbgrader.utils)."""
    mark = _mark(cell)
    grade, solution = mark.get("grade", False), mark.get("solution", False)
    locked = not solution and (True if grade else mark.get("locked", False))
    parts = [cell["source"], cell["cell_type"], str(grade), str(solution), str(locked), mark["grade_id"]]
    if grade:
        parts.append(str(float(mark["points"])))
    return hashlib.md5("".join(parts).encode(), usedforsecurity=False).hexdigest()


def release(source: str | Path | Notebook | Assignment) -> Notebook:
    """Make the students' copy: without solutions, hidden tests, mark schemes and outputs.

    The result is what ``nbgrader generate_assignment`` makes with :data:`CODE_STUB` as its stub, so that hubs
    with nbgrader can hand it out.

    Parameters
    ----------
    source : str, Path, dict or Assignment
        The source of the assignment.

    Returns
    -------
    dict
        A notebook; the source is not changed.

    Raises
    ------
    AssignmentError
        See :func:`read_assignment`.
    """
    assignment = read_assignment(source)
    notebook = copy.deepcopy(assignment.notebook)
    notebook["metadata"] = {k: v for k, v in notebook.get("metadata", {}).items() if k != "celltoolbar"}
    for cell in notebook["cells"]:
        mark = _mark(cell)
        cell["source"] = _clean(cell["source"], bool(mark.get("solution")), cell["cell_type"])
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None
            for key in ("collapsed", "scrolled"):
                cell["metadata"].pop(key, None)
        if not mark:
            continue
        locked = not mark.get("solution") and (mark.get("grade") or mark.get("locked"))
        if mark.get("solution") or mark.get("grade") or locked:
            cell["metadata"]["deletable"] = False
            mark["checksum"], mark["cell_type"] = _checksum(cell), cell["cell_type"]
        if locked:
            cell["metadata"]["editable"] = False
    return notebook


def leaks(text: str, source: str | Path | Notebook | Assignment) -> list[str]:
    """Search a text for lines that students must not see.

    Parameters
    ----------
    text : str
        A released notebook as JSON, a feedback page or a page of the site.
    source : str, Path, dict or Assignment
        The source of the assignment.

    Returns
    -------
    list of str
        Lines of solutions and hidden tests that stand in `text`, and markers. Lines shorter than 12
        characters, and those that also stand in the released part, are not looked for.
    """
    assignment = read_assignment(source)
    flat = _flat(text)
    public = _flat("\n".join(cell["source"] for cell in release(assignment)["cells"]))
    found = [
        f"{side} {region}"
        for side in ("BEGIN", "END")
        for region in _REGIONS
        if _flat(f"{side} {region}") in flat
    ]
    for cell in assignment.cells:
        for region in _REGIONS:
            for line in _without(cell.source, region)[1]:
                key = _flat(line)
                if len(key) >= 12 and key in flat and key not in public:
                    found.append(f"{cell.grade_id}: {line.strip()}")
        if cell.kind in ("answer", "manual") and "BEGIN SOLUTION" not in cell.source:
            lines = (line for line in cell.source.split("\n") if len(_flat(line)) >= 12)
            found += [
                f"{cell.grade_id}: {line.strip()}"
                for line in lines
                if _flat(line) in flat and _flat(line) not in public
            ]
    return list(dict.fromkeys(found))


def _flat(text: str) -> str:
    """Letters and digits only: what survives JSON, HTML and the spans of a highlighter."""
    text = re.sub(r"</?[A-Za-z!][^<>]*>", "", text)  # tags, and not "a < b … c > d"
    text = re.sub(r"&(?:[a-z]+|#x?[0-9a-f]+);", "", text)
    text = re.sub(r"\\[nt\"]", "", text)
    return re.sub(r"[\W_]+", "", text)


# ---- submissions -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """One cell to run.

    Parameters
    ----------
    kind : {"cell", "test"}
        Code of the student (or fixed code of the source), or a test of the source.
    grade_id : str
        Empty for cells that the student has added.
    source : str
        What is run.
    """

    kind: str
    grade_id: str
    source: str


def student_id(submission: Notebook) -> str | None:
    """Read ``STUDENT_ID = "…"`` from a submission without running it.

    Parameters
    ----------
    submission : dict
        The notebook.

    Returns
    -------
    str or None
        The last value given at the top level of a cell, as a literal of at most 100 characters; None if
        there is none.
    """
    found = None
    for cell in submission["cells"]:
        if cell["cell_type"] == "code":
            for match in _STUDENT_ID_VALUE.finditer(cell["source"]):
                found = (match[2] or match[3]).strip() or found
    return found


def _defined(source: str) -> frozenset[str]:
    """Functions, classes and variables that stand at the beginning of a line."""
    return frozenset(_TOP_LEVEL_NAME.findall(source))


def _normal(source: str) -> str:
    return "\n".join(line.rstrip() for line in source.strip().splitlines())


def _identify(submission: Notebook, assignment: Assignment) -> tuple[list[str | None], list[str]]:
    """For each cell of the submission, the name of the cell that it is, or None; and what was repaired."""
    known = {cell.grade_id: cell for cell in assignment.cells}
    ids = {assignment.notebook["cells"][c.index].get("id"): c.grade_id for c in assignment.cells}
    texts: dict[str, list[str]] = {}
    for cell in assignment.cells:
        if cell.kind != "answer":
            for text in {_normal(cell.released), _normal(cell.source)}:
                texts.setdefault(text, []).append(cell.grade_id)
    answers = assignment.of_kind("answer")
    names: list[str | None] = []
    found: list[str] = []
    for cell in submission["cells"]:
        same_type = {n for n, c in known.items() if c.cell_type == cell["cell_type"]}
        name = _mark(cell).get("grade_id")
        name = name if isinstance(name, str) and name in same_type else None
        if name is None:
            by_id = ids.get(cell.get("id")) if isinstance(cell.get("id"), str) else None
            by_text = texts.get(_normal(cell["source"]), [])
            if by_id in same_type:
                name = by_id
            elif len(by_text) == 1 and by_text[0] in same_type:
                name = by_text[0]
            elif cell["cell_type"] == "code":
                name = _closest(_defined(cell["source"]), answers)
            if name is not None:
                found.append(name)
        names.append(name)
    return names, [f"recognized without metadata: {', '.join(found)}"] if found else []


def _closest(names: frozenset[str], answers: tuple[Cell, ...]) -> str | None:
    """The answer that defines most of these names, if one does so more than all others."""
    shares = sorted(
        (len(names & a.names) / len(names | a.names), a.grade_id) for a in answers if names & a.names
    )
    if not shares or (len(shares) > 1 and shares[-1][0] == shares[-2][0]):
        return None
    return shares[-1][1]


def repair(submission: Notebook, source: str | Path | Notebook | Assignment) -> tuple[list[Step], list[str]]:
    """Lay out what must be run to grade a submission.

    Cells are recognized by their metadata, else by their id, their text or the names that they define.
    Tests and fixed code come from the source, whatever the student did to them; a test stands where the
    student had it, but never before the answers to its question. Of copied answers all are run, except
    copies that were left unanswered.

    Parameters
    ----------
    submission : dict
        The student's notebook.
    source : str, Path, dict or Assignment
        The source of the assignment.

    Returns
    -------
    steps : list of Step
        In the order of running.
    notes : list of str
        What was repaired.
    """
    assignment = read_assignment(source)
    known = {cell.grade_id: cell for cell in assignment.cells}
    names, notes = _identify(submission, assignment)
    positions: dict[str, list[int]] = {}
    for k, (cell, name) in enumerate(zip(submission["cells"], names, strict=True)):
        if name is not None and cell["cell_type"] == known[name].cell_type:
            positions.setdefault(name, []).append(k)
    skipped = _superfluous(submission, known, positions, notes)
    identity = student_id(submission)
    queue: dict[int, list[Step]] = {}  # what comes right after a cell of the submission; -1: before all
    for k, (cell, name) in enumerate(zip(submission["cells"], names, strict=True)):
        if cell["cell_type"] != "code" or k in skipped:
            continue
        kind = known[name].kind if name else "own"
        if kind == "test":
            if _normal(cell["source"]) not in (_normal(known[name].released), _normal(known[name].source)):
                notes.append(f"{name}: the test was edited; the original is used")
        elif kind == "fixed":
            changed = _STUDENT_ID.sub("", _normal(cell["source"]))
            if changed != _STUDENT_ID.sub("", _normal(known[name].released)):
                notes.append(f"{name}: the fixed cell was edited; the original is used")
            queue.setdefault(k, []).append(Step("cell", name, _with_id(known[name].source, identity)))
        else:
            queue.setdefault(k, []).append(Step("cell", name or "", cell["source"]))
    _place(assignment, positions, queue, identity, notes)
    steps = [step for k in sorted(queue) for step in queue[k]]
    return steps, list(dict.fromkeys(notes))


def _superfluous(
    submission: Notebook, known: dict[str, Cell], positions: dict[str, list[int]], notes: list[str]
) -> set[int]:
    """Copies that must not run: all but the first of fixed cells, unanswered ones of answers."""
    skipped: set[int] = set()
    for name, places in positions.items():
        if len(places) < 2:
            continue
        kind = known[name].kind
        if kind == "answer":
            stub = _normal(known[name].released)
            unanswered = [k for k in places if _normal(submission["cells"][k]["source"]) == stub]
            if len(unanswered) < len(places):
                skipped |= set(unanswered)
            notes.append(f"{name}: occurs {len(places)} times, the last answer counts")
        elif kind == "fixed":
            skipped |= set(places[1:])
        positions[name] = [k for k in places if k not in skipped]
    return skipped


def _place(
    assignment: Assignment,
    positions: dict[str, list[int]],
    queue: dict[int, list[Step]],
    identity: str | None,
    notes: list[str],
) -> None:
    """Put the tests, and fixed code that is missing, to their places."""
    needed: dict[str, int] = {}  # where the last cell stands that the tests of a question build on
    reached, at = -1, -1
    tests: list[Step] = []

    def flush() -> None:
        """Keep tests together that stand together in the source: they may share what they define."""
        queue.setdefault(at, []).extend(tests)
        tests.clear()

    for cell in assignment.cells:
        if cell.cell_type != "code":
            continue
        places = positions.get(cell.grade_id, [])
        if cell.kind == "test":
            if not places:
                notes.append(f"{cell.grade_id}: the test was missing; the original is used")
            own = max(places[0] if places else -1, needed.get(cell.question, -1 if places else reached))
            at = max(at, own) if tests else own
            tests.append(Step("test", cell.grade_id, cell.source))
            continue
        flush()
        if not places and cell.kind == "fixed":
            notes.append(f"{cell.grade_id}: the fixed cell was missing; the original is used")
            queue.setdefault(reached, []).append(Step("cell", cell.grade_id, _with_id(cell.source, identity)))
        elif not places:
            notes.append(f"{cell.grade_id}: no answer was found")
        reached = max([reached, *places])
        needed[cell.question] = max(needed.get(cell.question, -1), reached if not places else places[-1])
    flush()


def _with_id(source: str, identity: str | None) -> str:
    return source if identity is None else _STUDENT_ID.sub(lambda _: f"STUDENT_ID = {identity!r}", source)


def answers_of(submission: Notebook, source: str | Path | Notebook | Assignment) -> dict[str, str]:
    """Collect what the student wrote.

    Parameters
    ----------
    submission : dict
        The student's notebook.
    source : str, Path, dict or Assignment
        The source of the assignment.

    Returns
    -------
    dict of str to str
        For each answer cell and each question for a person that was found: the text, of copies the last
        one that was answered.
    """
    assignment = read_assignment(source)
    known = {cell.grade_id: cell for cell in assignment.cells}
    found: dict[str, str] = {}
    for cell, name in zip(submission["cells"], _identify(submission, assignment)[0], strict=True):
        if name is None or known[name].kind not in ("answer", "manual"):
            continue
        if name not in found or _normal(cell["source"]) != _normal(known[name].released):
            found[name] = cell["source"]
    return found
