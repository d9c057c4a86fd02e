"""Run a notebook in a kernel that a given command starts, in a given folder and environment.

``execute.py`` runs notebooks as their readers do and stores them. Here they run as they do elsewhere: in
another environment (``colab.py``), or under conditions that nobody wishes for (``tests/test_robustness.py``).
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import nbformat
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpecManager
from nbclient import NotebookClient

COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def run(
    notebook: nbformat.NotebookNode,
    command: Sequence[str | Path],
    *,
    cwd: Path,
    env: Mapping[str, str],
    timeout: int = 600,
) -> None:
    """Execute all code cells in place; what they raise stands in their outputs.

    The command, to which ``-f {connection_file}`` is appended, starts the kernel, in the folder ``cwd`` and
    with the environment variables ``env`` alone.  A single cell may take ``timeout`` seconds.
    """
    clear(notebook)
    with tempfile.TemporaryDirectory() as folder:
        spec = Path(folder) / "chosen" / "kernel.json"
        spec.parent.mkdir()
        argv = [*map(str, command), "-f", "{connection_file}"]
        spec.write_text(json.dumps({"argv": argv, "display_name": "chosen", "language": "python"}), "utf-8")
        specs = KernelSpecManager(kernel_dirs=[folder], ensure_native_kernel=False)
        manager = AsyncKernelManager(kernel_name="chosen", kernel_spec_manager=specs)
        options = {"allow_errors": True, "record_timing": False, "coalesce_streams": True}
        client = NotebookClient(notebook, km=manager, timeout=timeout, **options)
        client.execute(cwd=str(cwd), env=dict(env), cleanup_kc=True)


def clear(notebook: nbformat.NotebookNode) -> None:
    """Remove what an earlier run has left."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None


def text(cell: nbformat.NotebookNode) -> str:
    """What a cell has printed, on both streams."""
    return "".join(output.text for output in cell.outputs if output.output_type == "stream")


def error(cell: nbformat.NotebookNode) -> str | None:
    """What a cell has raised, in one line, or None."""
    for output in cell.outputs:
        if output.output_type == "error":
            return COLOUR.sub("", f"{output.ename}: {output.evalue}").replace("\n", " ")
    return None
