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

from common import STATE, VIEW, chapters, say, sidecar_of, stop

REFERENCE = re.compile(r"IPY_MODEL_([0-9a-f-]{32,36})")
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "l2-book.widgets")
RECORD = "results/execution.json"
SETUP = re.compile(
    r"^device (?P<device>.+), torch (?P<torch>\S+), (?P<threads>\d+) threads?, profile (?P<profile>\w+)", re.M
)
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
CELL_SECONDS = 1800


def reachable(state: dict[str, Any], roots: Iterable[str]) -> list[str]:
    """The given widget models and all that they refer to, breadth first; a KeyError if one was closed."""
    order = list(dict.fromkeys(roots))
    for model in order:  # it grows on the way
        found = REFERENCE.findall(json.dumps(state[model]["state"], sort_keys=True))
        order += [other for other in dict.fromkeys(found) if other not in order]
    return order


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
    kept = {old: state[old] for old in reachable(state, [o.data[VIEW]["model_id"] for o in shown])}
    for record in kept.values():
        if record["state"].get("_anywidget_id", "").startswith("l2lab."):
            for source in ("_esm", "_css"):  # the page takes those of the package (explore.compact_state)
                record["state"].pop(source, None)
        if "buffers" in record:
            record["buffers"].sort(key=lambda buffer: [str(step) for step in buffer["path"]])
    texts = [json.dumps(value) for value in (kept, *(output.data for output in shown))]
    for number, old in enumerate(kept):  # ids are random, so nothing else can look like one
        new = uuid.uuid5(NAMESPACE, f"{name}/{number}").hex
        texts = [text.replace(old, new) for text in texts]
    for output, text in zip(shown, texts[1:], strict=True):
        output.data = nbformat.from_dict(json.loads(text))
    return {"version_major": 2, "version_minor": 0, "state": json.loads(texts[0])}


def run(notebook: nbformat.NotebookNode, folder: Path) -> None:
    """Execute all cells in a fresh kernel, in place; a cell that raises and may not ends this.

    What an earlier run has left, and what changes from run to run, is removed.
    """
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    notebook.metadata.pop("widgets", None)
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
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    notebook.metadata["kernelspec"] = dict(KERNEL)
    notebook.metadata["language_info"] = {"name": "python"}
    for cell in notebook.cells:
        for part in (cell, *cell.get("outputs", [])):
            part.get("metadata", {}).pop("execution", None)


def to_json(value: Any, **options: Any) -> str:
    """Write JSON that is the same whenever the value is."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, **options) + "\n"


def describe_run(notebook: nbformat.NotebookNode, seconds: float) -> dict[str, Any]:
    """What is kept of a run; device, torch, threads and profile as the notebook itself has printed them."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    found = SETUP.search("".join(output.get("text", "") for output in outputs))
    return {
        "date": datetime.date.today().isoformat(),
        "seconds": round(seconds),
        "python": platform.python_version(),
        **(found.groupdict() if found else {}),
    }


def execute(path: Path) -> None:
    """Execute one notebook, in its folder, and store it with its sidecar and the record of the run.

    If a cell raises or takes too long, the program ends and the files stay as they were.
    """
    say(f"{path.name} …")
    notebook = nbformat.read(path, 4)
    began = time.monotonic()
    try:
        run(notebook, path.parent)
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        stop(f"{path.name}: {COLOUR.sub('', str(error))}")
    seconds = time.monotonic() - began
    state = split_widgets(notebook, path.stem)
    nbformat.validate(notebook)
    path.write_text(to_json(notebook, indent=1), "utf-8")
    sidecar, record = sidecar_of(path), path.parent / RECORD
    sidecar.parent.mkdir(parents=True, exist_ok=True)
    sidecar.unlink(missing_ok=True)
    if state:
        sidecar.write_text(to_json(state, separators=(",", ":")), "utf-8")
    runs = json.loads(record.read_text("utf-8")) if record.exists() else {}
    runs[path.name] = describe_run(notebook, seconds)
    runs = {name: run for name, run in runs.items() if (path.parent / name).exists()}
    record.write_text(to_json(runs, indent=1), "utf-8")
    say(f"{path.name}: {seconds:.0f} s, {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    for chosen in [Path(name).resolve() for name in sys.argv[1:]] or chapters():
        execute(chosen)
