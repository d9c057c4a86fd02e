"""Lay a submission out as nbgrader expects it, whatever an editor or the student has done to its cells."""

from __future__ import annotations

import copy
import json
import re
from itertools import pairwise
from typing import Any

import nbformat

DEFINED = re.compile(r"^(?:(?:async\s+)?def\s+|class\s+|(?=\w+[ \t]*(?::[^=\n]*)?=[^=]))(\w+)", re.MULTILINE)


def flat(source: str) -> str:
    """Return a text without what editors change."""
    return "\n".join(line.rstrip() for line in source.strip().splitlines())


def repair(data: bytes, released: Any) -> tuple[Any, list[str]]:
    """Return a notebook for nbgrader (None: nothing to grade), and what is unusual about it.

    It has all cells of the students' copy in their order, with the student's answers; cells that the student
    has added follow the one that they followed.  Of copies all run, and the last that is answered counts.
    """
    try:
        cells = json.loads(data)["cells"]
        sources = ["".join(cell["source"]).replace("\r\n", "\n") for cell in cells]
        marks = [str(cell.get("metadata", {}).get("nbgrader", {}).get("grade_id")) for cell in cells]
        added = [nbformat.v4.new_code_cell(source) for source in sources]
        ids, code = [str(cell.get("id")) for cell in cells], [cell["cell_type"] == "code" for cell in cells]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None, ["not a notebook"]
    known = {cell.metadata.nbgrader.grade_id: cell for cell in released.cells}
    free = {name for name, cell in known.items() if not cell.metadata.nbgrader.locked}
    by_id = {cell.id: name for name, cell in known.items()}
    by_text = {flat(cell.source): name for name, cell in known.items()}
    by_word = {word: name for name in free for word in DEFINED.findall(known[name].source)}
    essay = {before: name for before, name in pairwise(known) if known[name].source == "YOUR ANSWER HERE"}
    words = by_word.keys() & DEFINED.findall("\n".join(sources))
    if len(words) < len(by_word) / 2:  # by marks one cannot tell: all assignments have a cell q1
        return None, ["another notebook"]

    names: list[str | None] = []
    for k, source in enumerate(sources):
        name = marks[k] if marks[k] in known else by_id.get(ids[k]) or by_text.get(flat(source))
        name = name or next((by_word[word] for word in DEFINED.findall(source) if word in by_word), None)
        names.append(name or (essay.get(names[-1]) if names and not code[k] else None))
    place: dict[str | None, int] = {}
    for k, name in enumerate(names):
        if name and (name not in place or flat(sources[k]) != flat(known[name].source)):
            place[name] = k
    missing = [name for name in known if name not in place and known[name].cell_type == "code"]
    found = {
        "copied cell": any(names.count(name) > 1 for name in place),
        "metadata lost": any(name and name != mark for name, mark in zip(names, marks, strict=True)),
        f"cell missing: {' '.join(missing)}": bool(missing),
    }
    laid: dict[str | None, list[Any]] = {None: []} | {name: [copy.deepcopy(known[name])] for name in known}
    last = None
    for k, name in enumerate(names):
        if name and place[name] == k:
            last = name
            if name in free:
                laid[name][0].source = sources[k]
        elif code[k] and (name is None or name in free) and flat(sources[k]) not in by_text:
            laid[last].append(added[k])
    notebook = nbformat.v4.new_notebook(metadata=released.metadata)
    notebook.cells = [cell for part in laid.values() for cell in part]
    return notebook, [status for status, yes in found.items() if yes]
