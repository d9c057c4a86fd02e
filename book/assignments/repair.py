"""Lay a submission out as nbgrader expects it, whatever an editor or the student has done to its cells."""

from __future__ import annotations

import copy
import json
import re
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import nbformat

DEFINED = re.compile(r"^(?:(?:async\s+)?def\s+|class\s+|(?=\w+[ \t]*(?::[^=\n]*)?=[^=]))(\w+)", re.MULTILINE)


def cells_of(data: bytes) -> list[SimpleNamespace]:
    """Return the cells of a notebook (version 4), with what is needed of them."""
    return [
        SimpleNamespace(
            source="".join(cell["source"]).replace("\r\n", "\n"),
            code=cell["cell_type"] == "code",
            id=str(cell.get("id")),
            mark=str(cell.get("metadata", {}).get("nbgrader", {}).get("grade_id")),
        )
        for cell in json.loads(data)["cells"]
    ]


def flat(source: str) -> str:
    """Return a text without what editors change."""
    return "\n".join(line.rstrip() for line in source.strip().splitlines())


def repair(data: bytes, released: Any) -> tuple[Any, list[str], list[str]]:
    """Return a notebook for nbgrader (None: nothing to grade), its status, and notes.

    It has all cells of the students' copy in their order, with the student's answers; cells that the student
    has added follow the one that they followed.  Of copies all run, and the last that is answered counts.
    """
    try:
        cells = cells_of(data)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        page = b"<html" in data[:5000].lower()
        return None, ["not a notebook"], ["a web page: ask for the .ipynb" if page else "not JSON with cells"]
    known = {cell.metadata.nbgrader.grade_id: cell for cell in released.cells}
    free = {name for name, cell in known.items() if not cell.metadata.nbgrader.locked}
    by_id = {cell.id: name for name, cell in known.items()}
    by_text = {flat(cell.source): name for name, cell in known.items()}
    by_word = {word: name for name in free for word in DEFINED.findall(known[name].source)}
    essay = {before: name for before, name in pairwise(known) if known[name].source == "YOUR ANSWER HERE"}

    names: list[str | None] = []
    words: set[str] = set()
    for cell in cells:
        mine = DEFINED.findall(cell.source)
        name = cell.mark if cell.mark in known else by_id.get(cell.id) or by_text.get(flat(cell.source))
        name = name or next((by_word[word] for word in mine if word in by_word), None)
        names.append(name or (essay.get(names[-1]) if names and not cell.code else None))
        words.update(mine)
    texts = {flat(cell.source) for cell in cells}
    long = {text for text, name in by_text.items() if name not in free and len(text) > 120}
    if not texts & long and len(words & set(by_word)) < len(by_word) / 2:  # all assignments have a cell q1
        return None, ["another notebook"], ["no cell of this assignment is in it"]

    status, notes, place = [], [], {}
    for k, name in enumerate(names):
        if name and (name not in place or flat(cells[k].source) != flat(known[name].source)):
            place[name] = k
    if any(names.count(name) > 1 for name in place):
        status.append("copied cell")
    if any(name and cell.mark != name for cell, name in zip(cells, names, strict=True)):
        status.append("metadata lost")
    if lost := [name for name in known if name not in place and known[name].cell_type == "code"]:
        status.append("cell missing")
        notes.append(f"missing: {', '.join(lost)}")
    added: dict[str | None, list[Any]] = {name: [] for name in (None, *known)}
    last = None
    for k, (cell, name) in enumerate(zip(cells, names, strict=True)):
        if name and place[name] == k:
            last = name
        elif cell.code and (name is None or name in free) and flat(cell.source) not in by_text:
            added[last].append(nbformat.v4.new_code_cell(cell.source))
    laid = added[None]
    for name, cell in known.items():
        laid.append(copy.deepcopy(cell))
        if name in place and name in free:
            laid[-1].source = cells[place[name]].source
        laid += added[name]
    return nbformat.v4.new_notebook(cells=laid, metadata=released.metadata), status, notes
