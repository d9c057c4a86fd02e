"""Lay a submission out as nbgrader expects it, whatever an editor or the student has done to its cells."""

import copy
import re
from itertools import pairwise
from typing import Any

import nbformat

DEFINED = re.compile(r"^(?:(?:async\s+)?def\s+|class\s+|(?=\w+[ \t]*(?::[^=\n]*)?=[^=]))(\w+)", re.MULTILINE)
NEW_CELL = {"code": nbformat.v4.new_code_cell, "markdown": nbformat.v4.new_markdown_cell}


def keys(cell: Any) -> list[tuple[str, Any]]:
    """Say by what a cell can be recognized, the surest first."""
    text = "\n".join(line.rstrip() for line in cell.source.strip().splitlines())
    mark = str(cell.metadata.get("nbgrader", {}).get("grade_id"))
    words = [("defines", word) for word in DEFINED.findall(cell.source)]
    return [("mark", mark), ("id", cell.get("id")), ("text", text), *words]


def repair(data: bytes, released: Any) -> tuple[Any, list[str]]:
    """Return a notebook for nbgrader (None: nothing to grade), and what is unusual about it.

    It has all cells of the students' copy in their order, with the student's answers; cells that the student
    has added follow the one that they followed.  Of copies all run, and the last that is answered counts.
    """
    try:
        cells = nbformat.reads(data.decode("utf-8-sig"), 4).cells
        for cell in cells:
            cell.source = cell.source.replace("\r\n", "\n")
        found = [keys(cell) for cell in cells]
    except Exception:  # nbformat has many ways to fail on what is no notebook
        return None, ["not a notebook"]
    known = {cell.metadata.nbgrader.grade_id: cell for cell in released.cells}
    free = [name for name, cell in known.items() if not cell.metadata.nbgrader.locked]
    given = {name: keys(cell)[2] for name, cell in known.items()}
    name_of = {key: name for name in known for key in keys(known[name])[: None if name in free else 3]}
    essay = {before: name for before, name in pairwise(known) if known[name].source == "YOUR ANSWER HERE"}
    defined = [any(key in cell for cell in found) for key in name_of if key[0] == "defines"]
    if sum(defined) < len(defined) / 2:  # marks would not tell: all assignments have a cell q1
        return None, ["another notebook"]

    names: list[str | None] = []
    for cell, keys_ in zip(cells, found, strict=True):
        name = next((name_of[key] for key in keys_ if key in name_of), None)
        if name is None and names and cell.cell_type == "markdown":
            name = essay.get(names[-1])
        names.append(name)
    place = {name: names.index(name) for name in names if name}
    place |= {name: k for k, name in enumerate(names) if name and found[k][2] != given[name]}
    graded = [name for name, cell in known.items() if name in free or cell.metadata.nbgrader.grade]
    missing = [name for name in graded if name not in place]
    status = {
        "copied cell": any(names.count(name) > 1 for name in place),
        "metadata lost": any(name and name != keys_[0][1] for name, keys_ in zip(names, found, strict=True)),
        f"cell missing: {' '.join(missing)}": bool(missing),
    }

    laid: dict[str | None, list[Any]] = {None: []} | {name: [copy.deepcopy(known[name])] for name in known}
    last = None
    for k, (name, cell) in enumerate(zip(names, cells, strict=True)):
        if name and place[name] == k:
            last = name
            if name in free:
                laid[name][0].source = cell.source
        elif name is None or (name in free and found[k][2] != given[name]):
            laid[last].append(NEW_CELL.get(cell.cell_type, NEW_CELL["markdown"])(cell.source))
    notebook = nbformat.v4.new_notebook(metadata=released.metadata)
    notebook.cells = [cell for part in laid.values() for cell in part]
    return notebook, [text for text, yes in status.items() if yes]
