"""Colab, imitated: the first cell, every panel and an assignment with Colab's versions.

The environment is the light one: ipywidgets 7, anywidget, IPython, ipykernel and Matplotlib are those of
Colab, torch and the rest come from the environment of the tests. ``make test-colab`` runs all notebooks with
all versions.
"""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from packaging.requirements import Requirement

import colab
import kernels
from common import chapters

ROOT = Path(__file__).resolve().parents[1]
ASSIGNMENT = "01_ridge_by_hand"

IMPORTS = """\
import importlib, pkgutil
import l2lab
for module in pkgutil.walk_packages(l2lab.__path__, "l2lab."):
    if not module.name.rpartition(".")[2].startswith("_"):
        importlib.import_module(module.name)
import anywidget, ipywidgets, IPython
print(anywidget.__version__, ipywidgets.__version__, IPython.__version__)"""
DATA = """\
import numpy as np
from l2lab import explore
lams = np.logspace(-3, 0, 4)
flat = np.ones((4, 1))
x = np.linspace(0, 1, 9)"""
PANELS = {
    "hist_panel": "[0, 1, 2], np.ones((4, 2), int)",
    "curves_panel": "{'train': lams, 'test': 1 - lams}",
    "paths_panel": "flat * [1, 2, 3]",
    "bars_panel": "flat * [1, 2, 3], ylim=(0, 4)",
    "fit_panel": "x, flat * x, np.c_[x, x], ylim=(0, 1)",
    "field_panel": "np.full((4, 5, 5), 0.3), (0, 1, 0, 1)",
    "pixels_panel": "np.ones((4, 2, 2)), np.eye(2), title='pixels'",
    "geometry_panel": "np.eye(2), [1, 0.5]",
    "heatmap_panel": "flat * [1, 2, 3], [1, 2, 4], title='map', zlim=(1, 3)",
    "budget_panel": "",
}
EXPLORER = (
    "explore.LambdaExplorer(lams, [explore.{}({})], name='t', alt='One panel of each kind, for a test.')"
)
LIVE = """\
def compute(noise):
    return np.logspace(-2, 0, 3), [explore.curves_panel({'test': np.full(3, noise)})]
live = explore.LambdaExplorer(lams, [explore.curves_panel({'train': lams})], name='u', index=3,
                              controls={'noise': [0.0, 0.5]}, compute=compute,
                              alt='One curve, made anew by a choice.')
seen, sent = [], []
live.observe(lambda change: seen.append(change.new), names='lam')
live.set_state({'index': 0})  # as the browser does
live.set_state({'index': 3})
live._send = lambda message, buffers=None: sent.append(sorted(message['state']) + message['buffer_paths'])
live.set_state({'choice': {'noise': 0.5}})
print(seen[:2] == [lams[0], lams[3]], live.error == '', live.index == 2)
print(sent)"""


def first_cell() -> str:
    """The cell that every chapter begins with; ``test_notebooks`` sees to it that it is the same in all."""
    notebook = nbformat.read(chapters()[0], 4)
    return next(cell.source for cell in notebook.cells if cell.cell_type == "code")


def store(folder: Path, *sources: str) -> Path:
    path = folder / "notebook.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell(source) for source in sources]), path)
    return path


@pytest.fixture(scope="module")
def python() -> Path:
    """The interpreter of the light environment; made once, kept beside the environment of the tests."""
    if not (ROOT / ".git").exists():
        pytest.skip("an unpacked archive: on Colab l2lab is installed with git, and here is no commit")
    try:
        return colab.make_environment(ROOT / ".venv-colab-light", light=True)
    except SystemExit:  # what pip said stands in the captured output
        pytest.skip("Colab's versions could not be installed, which needs the network once")


def test_what_l2lab_needs_is_there_in_a_version_that_it_accepts():
    """The first cell installs without dependencies: a bound that Colab does not meet shows only there."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    pins = colab.pins()
    for need in map(Requirement, project["dependencies"]):
        assert need.name in pins, f"{need.name} is not on Colab"
        assert need.specifier.contains(pins[need.name]), need


def test_the_first_cell_installs_and_every_panel_is_shown(python, tmp_path):
    shown = [EXPLORER.format(*panel) for panel in PANELS.items()]
    problems, notebook = colab.run(store(tmp_path, first_cell(), IMPORTS, DATA, *shown, LIVE), python)
    assert problems == []
    _, imports, _, *panels, live = notebook.cells
    pins = colab.pins()
    assert kernels.text(imports).split() == [pins["anywidget"], pins["ipywidgets"], pins["ipython"]]
    for name, cell in zip(PANELS, panels, strict=True):
        bundles = [output for output in cell.outputs if "data" in output]
        assert len(bundles) == 1, name
        assert {colab.VIEW, "image/png", "text/plain"} <= set(bundles[0].data), name
        assert bundles[0].metadata["l2lab"]["role"] == "explorer"
    works, sent = kernels.text(live).splitlines()
    assert works == "True True True"
    assert ast.literal_eval(sent) == [["busy"], ["index", "lams", "panels", ["blob"]], ["busy"]], (
        "one message for all that belongs together, or the browser draws a mixture"
    )


def test_an_assignment_needs_no_installation_and_its_solution_passes(python):
    folder = ROOT / "book" / "assignments"
    assert colab.run(folder / "source" / ASSIGNMENT / f"{ASSIGNMENT}.ipynb", python)[0] == []
    problems, notebook = colab.run(folder / f"{ASSIGNMENT}.ipynb", python, unsolved=True)
    assert problems == []
    assert any(kernels.error(cell) for cell in notebook.cells if cell.cell_type == "code")
