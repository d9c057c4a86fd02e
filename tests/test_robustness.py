"""What a chapter does, under conditions that nobody wishes for.

A read-only checkout whose path has a space, an umlaut and a λ; a home folder that does not exist; no display;
the C locale; a working directory elsewhere; and every cell twice.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from conftest import ROOT

PLACE = "λ und Maß 1"
# What tells a program where a person keeps things and has a screen, or leads to another copy of the book.
PERSONAL = ("HOME", "XDG_", "MPL", "IPYTHON", "JUPYTER", "DISPLAY", "WAYLAND")
PERSONAL += ("PYTHON", "L2LAB_", "LANG", "LC_")

# The parts of a chapter: data from the package, a sweep, a training with a checkpoint, a figure, an explorer.
CODE = """\
import os, sys, tempfile
from pathlib import Path
import matplotlib.pyplot as plt
import numpy as np
import torch
import l2lab
from l2lab import data, explore, plots, runtime
from l2lab.engine import MLP, fit, sweep
for again in range(2):
    plots.use_style()
    machine = runtime.setup(seed=0)
    problem = data.digits(n_train=60, seed=0)
    lams = np.logspace(-3, 0, 3)
    result = sweep(MLP((64, 5, 10)), problem, lams, steps=20, device=machine.device)
    pictures = data.load_pictograms20()
    net = torch.nn.Linear(64, 10)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    options = dict(criterion=torch.nn.functional.cross_entropy, optimizer=optimizer)
    with tempfile.TemporaryDirectory() as folder:
        fit(net, (problem.X_train, problem.y_train), epochs=2, checkpoint=Path(folder) / "run.pt", **options)
    fig, ax = plt.subplots()
    ax.plot(lams, result.metrics["train_loss"][:, 0, 0])
    ax.set(title="Verlust über λ")
    plots.show(fig, alt="The training loss rises with the weight decay.", caption="A figure for a test.")
    curves = explore.curves_panel({"train": np.linspace(0.1, 1, 3)})
    explorer = explore.LambdaExplorer(lams, [curves], name="t", alt="One curve that rises, for a test.")
    assert "image/png" in explorer._repr_mimebundle_()[0]
try:
    (Path(l2lab.__file__).parent / "written.txt").touch()
except OSError:
    assert Path(l2lab.__file__).is_relative_to(sys.argv[1]), "it was another copy that ran"
    assert not Path(os.path.expanduser("~")).exists()
    sys.exit()
sys.exit("the package could be written to")
"""


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


def test_twice_beside_a_read_only_package_without_home_locale_and_display(tmp_path):
    top = tmp_path / PLACE
    shutil.copytree(ROOT / "book" / "l2lab", top / "l2lab", ignore=shutil.ignore_patterns("__pycache__"))
    everything = [top, *top.rglob("*")]
    env = {key: value for key, value in os.environ.items() if not key.startswith(PERSONAL)}
    env |= {"LC_ALL": "C", "HOME": str(top / "nobody"), "PYTHONPATH": str(top)}
    for path in everything:
        path.chmod(path.stat().st_mode & ~0o222)
    command = [*deny_writing(), sys.executable, "-c", CODE, str(top)]
    done = subprocess.run(command, cwd="/", env=env, capture_output=True, text=True)
    for path in everything:
        path.chmod(path.stat().st_mode | 0o200)
    assert done.returncode == 0, done.stderr
    assert not (top / "nobody").exists()
