"""Find out which cell of a submission is which, whatever an editor, an LMS or the student has done to it."""

from __future__ import annotations

import copy
import json
import re
from typing import Any

import nbformat

DEFINED = re.compile(r"^(?:(?:async\s+)?def\s+|class\s+|(?=\w+[ \t]*(?::[^=\n]*)?=[^=]))(\w+)", re.MULTILINE)


class DamagedError(ValueError):
    """There is nothing to grade in a file; the message says why."""

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def cells_of(data: bytes) -> list[dict[str, Any]]:
    """Return the cells of a notebook (version 4), with what is needed of them."""
    kind = "not a notebook"
    if not data.strip(b"\0\r\n\t "):
        raise DamagedError(kind, "empty, or unreadable in its archive")
    try:
        notebook = json.loads(data)  # UTF-8, 16 or 32, with or without a mark
    except (ValueError, RecursionError):
        page = b"<html" in data[:5000].lower()
        why = "a web page: ask for the .ipynb" if page else "not JSON, as a notebook is"
        raise DamagedError(kind, why) from None
    cells = notebook.get("cells") if isinstance(notebook, dict) else None
    if not isinstance(cells, list):
        raise DamagedError(kind, "JSON without a list of cells")
    found = []
    for cell in cells:
        if isinstance(cell, dict):
            text = cell.get("source", "")
            meta = cell.get("metadata")
            mark = meta.get("nbgrader") if isinstance(meta, dict) else None
            grade_id = mark.get("grade_id") if isinstance(mark, dict) else None
            text = "".join(map(str, text)) if isinstance(text, list) else str(text)
            code = cell.get("cell_type") == "code"
            text = text.replace("\r\n", "\n")
            found.append({"source": text, "code": code, "id": str(cell.get("id")), "mark": grade_id})
    return found


def flat(source: str) -> str:
    """Return a text without what editors change."""
    return "\n".join(line.rstrip() for line in source.strip().splitlines())


def identify(cells: list[dict[str, Any]], known: dict[str, Any]) -> list[str | None]:
    """Name cells by their metadata, their id, their text, what they define, or the gap that they fill."""
    answers = {name: set(DEFINED.findall(cell.source)) for name, cell in known.items() if is_answer(cell)}
    by_text = {flat(cell.source): name for name, cell in known.items() if name not in answers}
    by_id = {cell.get("id"): name for name, cell in known.items()}
    names: list[str | None] = []
    for cell in cells:
        mine = set(DEFINED.findall(cell["source"]))
        alike = sorted((len(mine & a) / len(mine | a), name) for name, a in answers.items() if mine & a)
        clear = alike and (len(alike) == 1 or alike[-1][0] > alike[-2][0])
        marked = cell["mark"] if cell["mark"] in known else by_id.get(cell["id"])
        names.append(marked or by_text.get(flat(cell["source"])) or (alike[-1][1] if clear else None))
    order = list(known)
    for k, name in enumerate(names):
        before = next((order.index(n) for n in reversed(names[:k]) if n), None)
        if name is None and before is not None and before + 1 < len(order):
            missing, after = order[before + 1], next((n for n in names[k + 1 :] if n), None)
            fits = is_answer(known[missing]) and missing not in names
            if fits and (after is None or order.index(after) > before + 1):
                names[k] = missing
    return names


def is_answer(cell: Any) -> bool:
    """Whether a cell of the students' copy is theirs to fill in."""
    return bool(cell.metadata["nbgrader"].get("solution"))


def repair(cells: list[dict[str, Any]], released: Any) -> tuple[Any, list[str], list[str]]:
    """Lay a submission out as nbgrader expects it.

    Parameters
    ----------
    cells : list of dict
        Of :func:`cells_of`.
    released : nbformat.NotebookNode
        The students' copy.

    Returns
    -------
    notebook : nbformat.NotebookNode
        All cells of the copy in their order, with the student's answers; cells that the student has added
        follow the cell that they followed.  Of copied answers all run, and the last that is answered counts.
    status, notes : list of str
        What was repaired.
    """
    known = {cell.metadata["nbgrader"]["grade_id"]: cell for cell in released.cells}
    names = identify(cells, known)
    texts = {flat(c.source) for c in known.values() if not is_answer(c) and len(c.source) > 120}
    mine = set(DEFINED.findall("\n".join(c["source"] for c in cells)))
    asked = [set(DEFINED.findall(c.source)) for c in known.values() if is_answer(c)]
    few = sum(bool(names & mine) for names in asked) < len(asked) / 2
    if few and not any(flat(c["source"]) in texts for c in cells):  # every assignment has cells called q1
        raise DamagedError("another notebook", "no cell of this assignment is in it")
    status, notes, place = [], [], {}
    for k, name in enumerate(names):
        unanswered = name in place and flat(cells[k]["source"]) == flat(known[name].source)
        if name and not unanswered:
            place[name] = k
    if any(names.count(name) > 1 for name in set(names) - {None}):
        status.append("copied cell")
    if any(name and cells[k]["mark"] != name for k, name in enumerate(names)):
        status.append("metadata lost")
    if lost := [name for name in known if name not in place and known[name].cell_type == "code"]:
        status.append("cell missing")
        notes.append(f"missing: {', '.join(lost)}")
    added: dict[str | None, list[Any]] = {}
    stubs = {flat(cell.source) for cell in known.values()}
    last = None
    for k, (cell, name) in enumerate(zip(cells, names, strict=True)):
        if name and place[name] == k:
            last = name
        elif cell["code"] and (name is None or is_answer(known[name])) and flat(cell["source"]) not in stubs:
            added.setdefault(last, []).append(nbformat.v4.new_code_cell(cell["source"]))
    laid = list(added.get(None, []))
    for name, cell in known.items():
        laid.append(own := copy.deepcopy(cell))
        if name in place:
            theirs = cells[place[name]]
            if not own.metadata["nbgrader"].get("locked"):
                own.source = theirs["source"]
            elif own.cell_type == "code" and flat(theirs["source"]) != flat(own.source):
                notes.append(f"edited: {name}")
            if theirs["code"] != (own.cell_type == "code"):
                notes.append(f"type of cell changed: {name}")
        laid += added.get(name, [])
    return nbformat.v4.new_notebook(cells=laid, metadata=released.metadata), status, notes
