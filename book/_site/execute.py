"""Run notebooks top to bottom and store what should be committed (``make execute``).

For each notebook, in a fresh kernel with ``book/`` as working directory:

- the notebook itself, with outputs, execution counts 1 … n and nothing that changes from run to run: no
  times, no interpreter version, no widget state;
- ``results/widgets/<notebook>.json`` with the state of the widgets that are displayed (or that those refer
  to).  Inside the notebook the state would make GitHub show nothing; the Sphinx extension
  ``notebook_outputs`` puts it back.

In ``results/execution.json`` it keeps for each notebook when and on what that was, and a hash of the code: so
the book can say of its stored outputs which run they come from, and a test that no code was changed since.

Widget models get ids that follow from the notebook's name and the order of display, so that two runs with the
same outputs write the same bytes.  A cell that raises stops the tool with the cell shown, and the file stays
as it was; a cell with the tag ``raises-exception`` may raise.
"""

from __future__ import annotations

import argparse
import copy
import datetime
import hashlib
import json
import platform
import re
import time
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

from common import BOOK, ROOT, chapters, say, sidecar_of, stop

VIEW = "application/vnd.jupyter.widget-view+json"
STATE = "application/vnd.jupyter.widget-state+json"
REFERENCE = re.compile(r"IPY_MODEL_([0-9a-f-]{32,36})")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
LINKS = ("LinkModel", "DirectionalLinkModel")
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "l2-book.widgets")
RECORD = "results/execution.json"
SETUP = re.compile(
    r"^device (?P<device>.+), torch (?P<torch>\S+), (?P<threads>\d+) threads?, profile (?P<profile>\w+)", re.M
)
ADDRESS = re.compile(r'(?m)^BOOK = "[^"]*"')
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def displayed_models(notebook: nbformat.NotebookNode) -> list[str]:
    """Ids of the widget models that outputs show, each once, in the order of display."""
    ids: dict[str, None] = {}
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            view = output.get("data", {}).get(VIEW)
            if view:
                ids.setdefault(view["model_id"])
    return list(ids)


def references(value: Any) -> Iterator[str]:
    """Ids of the models that a piece of widget state refers to, in a fixed order."""
    yield from REFERENCE.findall(json.dumps(value, sort_keys=True))


def reachable(state: dict[str, Any], roots: Iterable[str]) -> list[str]:
    """The given models and all that they refer to, breadth first.

    Raises
    ------
    KeyError
        If a displayed model, or one that is referred to, has no state.
    """
    order: dict[str, None] = dict.fromkeys(roots)
    queue = list(order)
    while queue:
        for other in references(state[queue.pop(0)]["state"]):
            if other not in order:
                order.setdefault(other)
                queue.append(other)
    return list(order)


def is_link(record: dict[str, Any], kept: Iterable[str]) -> bool:
    """Whether a model links widgets that are kept: nothing refers to a link, yet it belongs to them."""
    return record["model_name"] in LINKS and set(references(record["state"])) <= set(kept)


def rename(value: Any, names: dict[str, str]) -> Any:
    """Replace model ids wherever they stand (ids are random, so nothing else can look like one)."""
    text = json.dumps(value)
    for old, new in names.items():
        text = text.replace(old, new)
    return json.loads(text)


def split_widgets(notebook: nbformat.NotebookNode, name: str) -> dict[str, Any] | None:
    """Take the widget state out of an executed notebook.

    Parameters
    ----------
    notebook : nbformat.NotebookNode
        The notebook; its ``metadata.widgets`` is removed and the ids in its outputs are replaced.
    name : str
        Name of the notebook, from which the new ids follow.

    Returns
    -------
    dict or None
        The standard ``application/vnd.jupyter.widget-state+json`` value, or None when nothing is displayed.
    """
    saved = notebook.metadata.pop("widgets", {}).get(STATE, {})
    state = saved.get("state", {})
    roots = displayed_models(notebook)
    if not roots:
        return None
    missing = [model for model in roots if model not in state]
    if missing:
        stop(f"{name}: {len(missing)} displayed widgets have no state; were they closed in the run?")
    kept = reachable(state, roots)
    kept += [model for model in state if model not in kept and is_link(state[model], kept)]
    names = {old: uuid.uuid5(NAMESPACE, f"{name}/{number}").hex for number, old in enumerate(kept)}
    for cell in notebook.cells:
        for number, output in enumerate(cell.get("outputs", [])):
            if VIEW in output.get("data", {}):
                cell.outputs[number] = nbformat.from_dict(rename(output, names))
    result = {}
    for old in kept:
        record = rename(state[old], names)
        if record["state"].get("_anywidget_id", "").startswith("l2lab."):
            for source in ("_esm", "_css"):  # the page takes those of the package (explore.compact_state)
                record["state"].pop(source, None)
        if "buffers" in record:
            record["buffers"].sort(key=lambda buffer: [str(step) for step in buffer["path"]])
        result[names[old]] = record
    return {"version_major": 2, "version_minor": 0, "state": result}


def tidy(notebook: nbformat.NotebookNode, name: str) -> None:
    """Remove what changes from run to run, and give ids to cells that have none."""
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    notebook.metadata["kernelspec"] = dict(KERNEL)
    notebook.metadata["language_info"] = {"name": "python"}
    seen: set[str] = set()
    for number, cell in enumerate(notebook.cells):
        if not cell.get("id") or cell["id"] in seen:
            cell["id"] = uuid.uuid5(NAMESPACE, f"{name}/cell/{number}").hex[:8]
        seen.add(cell["id"])
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            for output in cell.outputs:
                output.get("metadata", {}).pop("execution", None)


def read(path: Path) -> nbformat.NotebookNode:
    """Read a notebook; the ids of an old one without ids are left for :func:`tidy`."""
    raw = json.loads(path.read_text("utf-8"))
    without = [number for number, cell in enumerate(raw["cells"]) if "id" not in cell]
    notebook = nbformat.read(path, 4)
    for number in without:
        notebook.cells[number]["id"] = ""
    return notebook


def run(notebook: nbformat.NotebookNode, folder: Path, *, timeout: int) -> None:
    """Execute all cells in a fresh kernel, in place.

    Raises
    ------
    nbclient.exceptions.CellExecutionError
        If a cell raises that is not tagged ``raises-exception``.
    """
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    notebook.metadata.pop("widgets", None)
    notebook.metadata["kernelspec"] = dict(KERNEL)
    NotebookClient(
        notebook,
        timeout=timeout,
        kernel_name="python3",
        record_timing=False,
        store_widget_state=True,
        coalesce_streams=True,
        extra_arguments=["--IPKernelApp.log_level=ERROR"],  # a local kernel needs no advice about networks
        resources={"metadata": {"path": str(folder)}},
    ).execute()


def write(path: Path, notebook: nbformat.NotebookNode, state: dict[str, Any] | None) -> None:
    """Write the notebook and its sidecar (or remove a sidecar that nothing needs)."""
    path.write_text(json.dumps(notebook, indent=1, sort_keys=True, ensure_ascii=False) + "\n", "utf-8")
    sidecar = sidecar_of(path)
    if state is None:
        sidecar.unlink(missing_ok=True)
    else:
        text = json.dumps(state, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        sidecar.parent.mkdir(parents=True, exist_ok=True)
        sidecar.write_text(text + "\n", "utf-8")


def code_hash(notebook: dict[str, Any]) -> str:
    """Hash of the code cells: it changes when outputs may have to, and not with the text around them."""
    code = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    code = [ADDRESS.sub("", source) for source in code]  # a fork has another, and the same outputs
    return hashlib.sha256("\0".join(code).encode()).hexdigest()[:16]


def describe_run(notebook: nbformat.NotebookNode, seconds: float) -> dict[str, Any]:
    """What is kept of a run; device, torch, threads and profile as the notebook itself has printed them.

    Parameters
    ----------
    notebook : nbformat.NotebookNode
        The executed notebook.
    seconds : float
        How long it ran.

    Returns
    -------
    dict
        The record; without a line of ``l2lab.runtime.setup`` among the outputs, its four values are missing.
    """
    printed = "".join(
        output.get("text", "")
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if output.output_type == "stream"
    )
    found = SETUP.search(printed)
    return {
        "date": datetime.date.today().isoformat(),
        "seconds": round(seconds),
        "python": platform.python_version(),
        "code": code_hash(notebook),
        **(found.groupdict() if found else {}),
    }


def keep_record(path: Path, run: dict[str, Any]) -> None:
    """Replace the record of one notebook; those of notebooks that are gone go."""
    file = path.parent / RECORD
    records = json.loads(file.read_text("utf-8")) if file.exists() else {}
    records = {name: old for name, old in records.items() if (path.parent / name).exists()} | {path.name: run}
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(records, indent=1, sort_keys=True, ensure_ascii=False) + "\n", "utf-8")


def failure(path: Path, notebook: nbformat.NotebookNode, error: CellExecutionError) -> str:
    """What a person needs who has to mend the cell: its number, its source and the end of the traceback."""
    # The run stops at the failing cell, so it is the last one with an error (earlier ones are allowed by
    # their tag).
    number, cell = next(
        (i, c)
        for i, c in reversed(list(enumerate(notebook.cells, start=1)))
        if any(output.output_type == "error" for output in c.get("outputs", []))
    )
    bar = "-" * 78
    trace = COLOUR.sub("", error.traceback)[-3000:]
    head = f"{path.name}: cell {number} raised {error.ename}: {error.evalue}"
    return "\n".join([head, bar, cell.source, bar, trace])


def execute(path: Path, *, timeout: int = 1800) -> None:
    """Execute one notebook and store it with its sidecar.

    Parameters
    ----------
    path : pathlib.Path
        The notebook; the kernel's working directory is its folder.
    timeout : int
        Seconds that a single cell may take.

    Raises
    ------
    SystemExit
        If a cell raises or takes too long; the files stay as they were.
    """
    notebook = read(path)
    executed = copy.deepcopy(notebook)
    began = time.monotonic()
    try:
        run(executed, path.parent, timeout=timeout)
    except CellExecutionError as error:
        stop(failure(path, executed, error))
    except (CellTimeoutError, DeadKernelError) as error:
        stop(f"{path.name}: {error}")
    tidy(executed, path.stem)
    state = split_widgets(executed, path.stem)
    nbformat.validate(executed)
    write(path, executed, state)
    keep_record(path, describe_run(executed, time.monotonic() - began))


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Run notebooks top to bottom and store outputs and widget state."
    )
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: all notebooks of the book")
    parser.add_argument("--timeout", type=int, default=1800, help="seconds for one cell (default 1800)")
    arguments = parser.parse_args()
    paths = [path.resolve() for path in arguments.notebooks] or chapters()
    if not paths:
        stop(f"no notebooks in {BOOK.relative_to(ROOT)}/")
    for path in paths:
        if not path.is_file():
            stop(f"{path.name}: there is no such notebook")
    for path in paths:
        began = time.monotonic()
        say(f"{path.name} …")
        execute(path, timeout=arguments.timeout)
        size = sidecar_of(path).stat().st_size / 1e3 if sidecar_of(path).exists() else 0
        seconds, own = time.monotonic() - began, path.stat().st_size / 1e3
        say(f"{path.name}: {seconds:.0f} s, {own:.0f} kB, state {size:.0f} kB")


if __name__ == "__main__":
    main()
