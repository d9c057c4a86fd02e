"""Notebooks under conditions that nobody wishes for.

A read-only checkout whose path has a space, an umlaut and a λ; no home folder; no display; the C locale; any
working directory; every cell twice; Ctrl-C in mid-training. A short notebook with what chapters do stands for
all; with ``L2LAB_TEST_CHAPTERS=1`` in the environment the chapters themselves run (minutes).
"""

from __future__ import annotations

import ast
import copy
import functools
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

import kernels
from common import chapters

ROOT = Path(__file__).resolve().parents[1]
PLACE = "λ und Maß 1"
KERNEL = [sys.executable, "-m", "ipykernel_launcher"]
# What tells a program where a person keeps things and has a screen, or leads to another copy of the book.
PERSONAL = ("HOME", "XDG_", "MPL", "IPYTHON", "JUPYTER", "DISPLAY", "WAYLAND")
PERSONAL += ("PYTHON", "L2LAB_", "LANG", "LC_")

# The parts of a chapter: data from the package, a sweep, a training with a checkpoint, a figure, an explorer.
NOTEBOOK = (
    """\
import sys, tempfile
from pathlib import Path
import matplotlib.pyplot as plt
import numpy as np
import torch
import l2lab
from l2lab import data, explore, measures, plots, runtime
from l2lab.engine import MLP, fit, sweep
plots.use_style()
machine = runtime.setup(seed=0)""",
    """\
problem = data.digits(n_train=60, seed=0)
lams = np.logspace(-3, 0, 3)
result = sweep(MLP((64, 5, 10)), problem, lams, steps=20, device=machine.device)
pictures = data.load_pictograms20()""",
    """\
net = torch.nn.Linear(64, 10)
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
rows = problem.X_train, problem.y_train
options = dict(criterion=torch.nn.functional.cross_entropy, optimizer=optimizer)
with tempfile.TemporaryDirectory() as folder:
    fit(net, rows, epochs=2, checkpoint=Path(folder) / "run.pt", **options)""",
    """\
fig, ax = plt.subplots()
ax.plot(lams, result.metrics["train_loss"][:, 0, 0])
ax.set(title="Verlust über λ")
plots.show(fig, alt="The training loss rises with the weight decay.", caption="A figure for a test.")""",
    """\
explore.LambdaExplorer(lams, [explore.curves_panel({"train": np.linspace(0.1, 1, 3)})], name="t",
                       alt="One curve that rises, for a test.")""",
)
PROBE = """\
import os
def _writable():
    try:
        (Path(l2lab.__file__).parent / "written.txt").touch()
    except OSError:
        return False
    return True
home = os.path.expanduser("~")
print({"package": l2lab.__file__, "cwd": os.getcwd(), "home": home, "writable": _writable()})"""


@functools.cache
def deny_writing() -> tuple[str, ...]:
    """What must stand before a command for permission bits to bind it: root ignores them otherwise."""
    if os.geteuid() != 0:
        return ()
    rights = "-dac_override,-dac_read_search"
    prefix = ("setpriv", f"--bounding-set={rights}", f"--inh-caps={rights}")
    try:
        subprocess.run([*prefix, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("root may write everywhere, and setpriv (util-linux), which denies it, does not work")
    return prefix


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of what a reader of the chapters has, which nobody may write to."""
    top = tmp_path_factory.mktemp("robust") / PLACE
    left_out = shutil.ignore_patterns("__pycache__", "_site", "assignments", ".ipynb_checkpoints")
    shutil.copytree(ROOT / "book", top / "book", ignore=left_out)
    everything = [top, *top.rglob("*")]
    for path in everything:
        path.chmod(path.stat().st_mode & ~0o222)
    yield top
    for path in everything:
        path.chmod(path.stat().st_mode | 0o200)


def environment(**more: str) -> dict[str, str]:
    """The variables of this process, without those that name a home, a screen, a language or a checkout."""
    bare = {key: value for key, value in os.environ.items() if not key.startswith(PERSONAL)}
    return bare | {"LC_ALL": "C", "PYDEVD_DISABLE_FILE_VALIDATION": "1"} | more


def run(sources, cwd, env, *, timeout=600) -> list[nbformat.NotebookNode]:
    notebook = new_notebook(cells=[new_code_cell(source) for source in sources])
    kernels.run(notebook, [*deny_writing(), *KERNEL], cwd=cwd, env=env, timeout=timeout)
    return notebook.cells


def raised(cells) -> list[str]:
    return [f"{cell.source[:60]}: {kernels.error(cell)}" for cell in cells if kernels.error(cell)]


def test_twice_in_one_kernel_beside_a_read_only_package_without_home(checkout):
    """The reader opens a chapter where it lies and presses "Run all" two times."""
    cells = run([*NOTEBOOK, *NOTEBOOK, PROBE], checkout / "book", environment())
    assert raised(cells) == []
    seen = ast.literal_eval(kernels.text(cells[-1]))
    assert Path(seen["package"]).is_relative_to(checkout), "it was another copy that ran"
    assert not seen["writable"], "the condition was not met"
    first, second = cells[: len(NOTEBOOK)], cells[len(NOTEBOOK) : -1]
    said = [re.findall(r"(?m)^device .*$", kernels.text(cell)) for cell in (first[0], second[0])]
    assert len(said[0]) == 1, "one line"
    assert said[1] == said[0], "and the same the second time"
    for number in (3, 4):  # figure and explorer
        for cell in (first[number], second[number]):
            assert any("image/png" in output.get("data", {}) for output in cell.outputs)


# The stop button sends the kernel a SIGINT. Here one comes after the first steps, not by the clock.
SWEEPING = """\
import importlib, os, signal
engine = importlib.import_module("l2lab.engine.sweep")
train = engine._train
def train_and_press(*args):
    *others, advance = args
    return train(*others, lambda n: (os.kill(os.getpid(), signal.SIGINT), advance(n)))
engine._train = train_and_press
long = sweep(MLP((64, 5, 10)), problem, lams, steps=10_000, device=machine.device)
print(long.interrupted, 0 < long.steps < 10_000, bool(np.isfinite(long.weights()).all()))"""
FITTING = """\
before = net.weight.detach().clone()
calls = []
def press(outputs, y):
    calls.append(1)
    if len(calls) == 2:
        os.kill(os.getpid(), signal.SIGINT)
    return torch.nn.functional.cross_entropy(outputs, y)
stopped = fit(net, rows, epochs=1000, **options | {"criterion": press})
print(stopped.stopped, not torch.equal(net.weight, before))"""


@pytest.fixture(scope="module")
def elsewhere(checkout):
    """The cells of a kernel in the top folder, whose home does not exist, and which is interrupted."""
    env = environment(HOME=str(checkout / "nobody"), PYTHONPATH=str(checkout / "book"))
    return run([*NOTEBOOK, PROBE, SWEEPING, FITTING, "print(long.steps > 0)"], Path("/"), env)


def test_in_any_folder_with_a_home_that_does_not_exist(elsewhere, checkout):
    assert raised(elsewhere) == []
    seen = ast.literal_eval(kernels.text(elsewhere[len(NOTEBOOK)]))
    assert Path(seen["package"]).is_relative_to(checkout)
    assert (seen["cwd"], seen["home"]) == ("/", str(checkout / "nobody"))
    assert not (checkout / "nobody").exists()


def test_ctrl_c_keeps_the_state_and_the_kernel(elsewhere):
    sweeping, fitting, later = (kernels.text(cell).split() for cell in elsewhere[-3:])
    assert sweeping == ["True", "True", "True"], "interrupted, after some steps, with finite weights"
    assert fitting == ["interrupted", "True"], "the model is as far as it got"
    assert later == ["True"], "the kernel goes on"


@pytest.mark.skipif("L2LAB_TEST_CHAPTERS" not in os.environ, reason="minutes: set L2LAB_TEST_CHAPTERS=1")
@pytest.mark.parametrize("path", chapters(), ids=lambda path: path.stem)
def test_chapters_run_twice_under_all_of_this(path, checkout):
    notebook = nbformat.read(checkout / "book" / path.name, 4)
    notebook.cells += copy.deepcopy(notebook.cells)
    env = environment(HOME=str(checkout / "nobody"))
    kernels.run(notebook, [*deny_writing(), *KERNEL], cwd=checkout / "book", env=env, timeout=1200)
    allowed = [c for c in notebook.cells if "raises-exception" not in c.metadata.get("tags", [])]
    assert raised([cell for cell in allowed if cell.cell_type == "code"]) == []
