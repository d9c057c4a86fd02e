"""Run notebooks top to bottom and store what should be committed (``make execute``).

Stored are the notebook with its outputs and nothing that changes from run to run; the state of the widgets
that it shows, in ``results/widgets/`` (inside the notebook GitHub would show nothing); and in
``results/execution.json`` when and on what that was.  A cell that raises stops the program, and the files
stay as they were; one with the tag ``raises-exception`` may raise.
"""

from __future__ import annotations

import datetime
import json
import platform
import re
import sys
import time
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

import kernels
from common import chapters, say, sidecar_of, stop

VIEW = "application/vnd.jupyter.widget-view+json"
STATE = "application/vnd.jupyter.widget-state+json"
REFERENCE = re.compile(r"IPY_MODEL_([0-9a-f-]{32,36})")
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "l2-book.widgets")
RECORD = "results/execution.json"
SETUP = re.compile(
    r"^device (?P<device>.+), torch (?P<torch>\S+), (?P<threads>\d+) threads?, profile (?P<profile>\w+)", re.M
)
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
CELL_SECONDS = 1800


def reachable(state: dict[str, Any], roots: Iterable[str]) -> list[str]:
    """The given widget models and all that they refer to, breadth first; a KeyError if one was closed."""
    order = list(dict.fromkeys(roots))
    for model in order:  # it grows on the way
        found = REFERENCE.findall(json.dumps(state[model]["state"], sort_keys=True))
        order += [other for other in dict.fromkeys(found) if other not in order]
    return order


def rename(value: Any, names: dict[str, str]) -> Any:
    """Replace model ids wherever they stand (ids are random, so nothing else can look like one)."""
    text = json.dumps(value)
    for old, new in names.items():
        text = text.replace(old, new)
    return json.loads(text)


def split_widgets(notebook: nbformat.NotebookNode, name: str) -> dict[str, Any] | None:
    """Take the widget state out of an executed notebook; None if it displays no widget.

    The ids in its outputs are replaced by some that follow from its name and the order of display, so that
    two runs with the same outputs write the same bytes.
    """
    state = notebook.metadata.pop("widgets", {}).get(STATE, {}).get("state", {})
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    shown = [output for output in outputs if VIEW in output.get("data", {})]
    if not shown:
        return None
    kept = reachable(state, [output.data[VIEW]["model_id"] for output in shown])
    names = {old: uuid.uuid5(NAMESPACE, f"{name}/{number}").hex for number, old in enumerate(kept)}
    for output in shown:
        output.data = nbformat.from_dict(rename(output.data, names))
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


def tidy(notebook: nbformat.NotebookNode) -> None:
    """Remove what changes from run to run."""
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    notebook.metadata["kernelspec"] = dict(KERNEL)
    notebook.metadata["language_info"] = {"name": "python"}
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", []):
            output.get("metadata", {}).pop("execution", None)


def run(notebook: nbformat.NotebookNode, folder: Path) -> None:
    """Execute all cells in a fresh kernel, in place; a cell that raises and may not ends this."""
    kernels.clear(notebook)
    notebook.metadata.pop("widgets", None)
    notebook.metadata["kernelspec"] = dict(KERNEL)
    NotebookClient(
        notebook,
        timeout=CELL_SECONDS,
        kernel_name="python3",
        record_timing=False,
        store_widget_state=True,
        coalesce_streams=True,
        extra_arguments=["--IPKernelApp.log_level=ERROR"],  # a local kernel needs no advice about networks
        resources={"metadata": {"path": str(folder)}},
    ).execute()


def to_json(value: Any, **options: Any) -> str:
    """Write JSON that is the same whenever the value is."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, **options) + "\n"


def write(path: Path, notebook: nbformat.NotebookNode, state: dict[str, Any] | None) -> None:
    """Write the notebook and its sidecar (or remove a sidecar that nothing needs)."""
    path.write_text(to_json(notebook, indent=1), "utf-8")
    sidecar = sidecar_of(path)
    if state is None:
        sidecar.unlink(missing_ok=True)
    else:
        sidecar.parent.mkdir(parents=True, exist_ok=True)
        sidecar.write_text(to_json(state, separators=(",", ":")), "utf-8")


def describe_run(notebook: nbformat.NotebookNode, seconds: float) -> dict[str, Any]:
    """What is kept of a run; device, torch, threads and profile as the notebook itself has printed them."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    found = SETUP.search("".join(kernels.text(cell) for cell in code))
    return {
        "date": datetime.date.today().isoformat(),
        "seconds": round(seconds),
        "python": platform.python_version(),
        **(found.groupdict() if found else {}),
    }


def keep_record(path: Path, run: dict[str, Any]) -> None:
    """Replace the record of one notebook; those of notebooks that are gone go."""
    file = path.parent / RECORD
    records = json.loads(file.read_text("utf-8")) if file.exists() else {}
    records = {name: old for name, old in records.items() if (path.parent / name).exists()} | {path.name: run}
    file.parent.mkdir(exist_ok=True)
    file.write_text(to_json(records, indent=1), "utf-8")


def execute(path: Path) -> None:
    """Execute one notebook, in its folder, and store it with its sidecar.

    If a cell raises or takes too long, the program ends and the files stay as they were.
    """
    say(f"{path.name} …")
    notebook = nbformat.read(path, 4)
    began = time.monotonic()
    try:
        run(notebook, path.parent)
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        stop(f"{path.name}: {kernels.COLOUR.sub('', str(error))}")
    seconds = time.monotonic() - began
    tidy(notebook)
    state = split_widgets(notebook, path.stem)
    nbformat.validate(notebook)
    write(path, notebook, state)
    keep_record(path, describe_run(notebook, seconds))
    say(f"{path.name}: {seconds:.0f} s, {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    for chosen in [Path(name).resolve() for name in sys.argv[1:]] or chapters():
        execute(chosen)
