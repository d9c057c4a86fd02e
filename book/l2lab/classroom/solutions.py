"""Solutions for instructors: an assignment as one page to read, with its hidden tests and its rubric."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from pathlib import Path

from .format import Assignment, Cell, read_assignment

__all__ = ["solution_page", "write_solutions"]

_KINDS = {"answer": "solution", "manual": "question for a person", "fixed": ""}


def _label(cell: Cell) -> str:
    kind = _KINDS.get(cell.kind, "hidden test" if cell.hidden else "visible test")
    points = f", {cell.points:g} point{'s' * (cell.points != 1)}" if cell.points else ""
    return f"**`{cell.grade_id}`** {kind}{points}" if kind else ""


def solution_page(source: str | Path | Assignment) -> str:
    """Make a page with everything that students do not see.

    Parameters
    ----------
    source : str, Path or Assignment
        The source of the assignment.

    Returns
    -------
    str
        HTML. Above each answer and each test stands its grade_id, its kind and its points.

    Raises
    ------
    ImportError
        If nbconvert is missing; it comes with Jupyter.
    AssignmentError
        If the source is not valid.
    """
    try:
        import nbformat
        from nbconvert import HTMLExporter
    except ImportError as error:
        raise ImportError("the solutions are made with nbconvert: pip install nbconvert") from error
    assignment = read_assignment(source)
    labels = {cell.index: _label(cell) for cell in assignment.cells}
    title = f"**{assignment.name}, with solutions and hidden tests. Not for students.**"
    cells = [{"cell_type": "markdown", "metadata": {}, "source": title}]
    for index, cell in enumerate(copy.deepcopy(assignment.notebook["cells"])):
        if labels.get(index):
            cells.append({"cell_type": "markdown", "metadata": {}, "source": labels[index]})
        cells.append({key: value for key, value in cell.items() if key != "id"})
    notebook = assignment.notebook | {"cells": cells, "nbformat_minor": 4}
    exporter = HTMLExporter(exclude_input_prompt=True, exclude_output_prompt=True)
    page, _ = exporter.from_notebook_node(
        nbformat.from_dict(notebook), {"metadata": {"name": f"{assignment.name}: solutions"}}
    )
    return page


def write_solutions(sources: Iterable[str | Path], folder: str | Path) -> list[Path]:
    """Write one page of solutions for each assignment.

    Parameters
    ----------
    sources : iterable of str or Path
        The sources of the assignments.
    folder : str or Path
        Where the pages go, as ``NAME-solutions.html``; made if it is missing. Do not publish it.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    ImportError
        If nbconvert is missing.
    AssignmentError
        If a source is not valid; nothing is written then.
    """
    pages = {Path(source).stem: solution_page(source) for source in sources}
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, page in pages.items():
        path = folder / f"{name}-solutions.html"
        path.write_text(page, "utf-8")
        written.append(path)
    return written
