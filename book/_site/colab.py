"""Run notebooks as Google Colab would: ``python book/_site/colab.py`` (that is ``make test-colab``).

Imitated are the versions (``requirements-colab.txt``, nothing else), the package ``google.colab`` (a
stand-in), a folder with nothing but the notebook, and the installation by the notebook's own first cell: git
fetches the *last commit* of this checkout.  Not imitated: a GPU, and the page that shows outputs.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

import nbformat

import install
import kernels
from common import BOOK, ROOT, chapters, content_hash, say, stop

PINS = ROOT / "requirements-colab.txt"
STUB = Path(__file__).parent / "colab_stub"
WHEELS = "build-wheels"
# On Colab its package is loaded before the first cell, which looks for it.
START = "import google.colab; from ipykernel.kernelapp import launch_new_instance; launch_new_instance()"
VIEW = "application/vnd.jupyter.widget-view+json"
ADDRESS = re.compile(r'(?m)^BOOK = "[^"]*"')
# What a notebook meets before it is solved: an open question, and what needs its answer.
UNSOLVED = re.compile(r"RuntimeError: this question has no answer yet|AssertionError|NameError")
VERSIONS = re.compile(r"Python \d.*l2lab \d.*torch \d.*numpy \d.*device \w")
# What a widget meets first on Colab. The rest of the light environment is that of the tests.
FRONT_END = (
    "anywidget", "backcall", "debugpy", "decorator", "entrypoints", "ipykernel", "ipython",
    "ipython-genutils", "ipywidgets", "jupyter-client", "jupyter-core", "jupyterlab-widgets",
    "matplotlib", "matplotlib-inline", "nest-asyncio", "parso", "pexpect", "pickleshare", "pip",
    "platformdirs", "prompt-toolkit", "psutil", "psygnal", "ptyprocess", "pygments", "python-dateutil",
    "pyzmq", "setuptools", "tornado", "traitlets", "wcwidth", "wheel", "widgetsnbextension",
)  # fmt: skip


def pins() -> dict[str, str]:
    """Return name (in normal form) and version of every package that Colab's list names."""
    lines = re.findall(r"(?m)^([\w.-]+)==(\S+)", PINS.read_text("utf-8"))
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in lines}


def make_environment(venv: Path, python: str = sys.executable, *, light: bool = False) -> Path:
    """Make an environment with Colab's versions, unless it stands already; return its interpreter.

    A light one has Colab's versions of what shows notebooks and widgets only.  All else (torch, NumPy, …) is
    read from the environment that runs this, so that little is fetched.
    """
    made, inside = venv / ".made", venv / "bin" / "python"
    mark = content_hash([PINS, *STUB.rglob("*.py")], python, sys.prefix, *FRONT_END)
    if install.works(inside) and made.exists() and made.read_text() == mark:
        return inside
    install.make_venv(venv, python)
    versions = pins()
    wanted = [f"{name}=={versions[name]}" for name in (FRONT_END if light else versions)]
    install.pip_install(inside, *(["--no-deps"] if light else []), *wanted)
    build = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["build-system"]["requires"]
    install.run(inside, "-m", "pip", "download", "--quiet", "--dest", venv / WHEELS, *build)
    (packages,) = venv.glob("lib/python*/site-packages")
    shutil.copytree(STUB, packages, dirs_exist_ok=True)
    if light:  # a line for the search path; the .pth files there, that of l2lab for one, are not read
        (packages / "rest.pth").write_text(sysconfig.get_path("purelib"))
    made.write_text(mark)
    return inside


def environment(python: Path) -> dict[str, str]:
    """Return the variables of a kernel on Colab: nothing leads to the checkout or to another environment."""
    foreign = ("PYTHON", "VIRTUAL_ENV", "CONDA", "L2LAB_", "JUPYTER", "IPYTHON", "MPL", "GIT_")
    env = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
    return env | {
        "PATH": os.pathsep.join([str(python.parent), env.get("PATH", "")]),
        # what builds l2lab comes from here, and not from an index
        "PIP_FIND_LINKS": (python.parents[1] / WHEELS).as_uri(),  # pip splits a plain path at its spaces
        "PIP_NO_INDEX": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",  # the debugger of ipykernel would give advice
    }


def pip(python: Path, *arguments: str) -> set[str]:
    """Return the lines that pip says."""
    command = [python, "-m", "pip", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment(python))
    return set(done.stdout.splitlines())


def run(path: Path, python: Path, *, unsolved: bool = False) -> tuple[list[str], nbformat.NotebookNode]:
    """Run a notebook as Colab would, and return what is wrong, and the notebook as it ran.

    In an assignment without answers (``unsolved``) checks may fail.
    """
    notebook = nbformat.read(path, 4)
    first = next(cell for cell in notebook.cells if cell.cell_type == "code")
    installs = "l2lab" in first.source
    # l2lab comes from the last commit here, whatever address the cell gives
    first.source = ADDRESS.sub(f'BOOK = "{ROOT.as_uri()}"', first.source)
    pip(python, "uninstall", "--yes", "l2lab")
    before = pip(python, "freeze", "--all")
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(path, folder)
        kernels.run(notebook, [python, "-c", START], cwd=Path(folder), env=environment(python))
    after = pip(python, "freeze", "--all")
    problems = [f"pip changed {line}" for line in sorted(before ^ after) if "l2lab" not in line]
    if installs:
        if not any(line.startswith("l2lab @ git+") for line in after):
            problems.append("the first cell did not install l2lab")
        if not VERSIONS.search(kernels.text(first)):
            problems.append(f"the first cell does not name versions and device: {kernels.text(first)!r}")
    return [*problems, *about_cells(notebook.cells, unsolved)], notebook


def about_cells(cells: Sequence[nbformat.NotebookNode], unsolved: bool) -> Iterator[str]:
    """Whether a cell raised, and whether each widget carries what Colab needs to show it."""
    for number, cell in enumerate(cells, start=1):
        if cell.cell_type != "code":
            continue
        raised = kernels.error(cell) or ""
        meant = "raises-exception" in cell.metadata.get("tags", []) or (unsolved and UNSOLVED.match(raised))
        if raised and not meant:
            yield f"cell {number} raised {raised[:300]}"
        for output in cell.outputs:
            if VIEW in output.get("data", {}):
                colab = output.metadata.get(VIEW, {}).get("colab", {})
                if "url" not in colab.get("custom_widget_manager", {}):
                    yield f"cell {number}: a widget without Colab's widget manager"
                if "image/png" not in output.data:
                    yield f"cell {number}: a widget without a picture"


def main() -> None:
    """Run the notebooks that are named, or all: chapters, students' copies and solved assignments."""
    parser = argparse.ArgumentParser(description="Run notebooks as Google Colab would.")
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: all chapters and assignments")
    parser.add_argument("--python", help="the interpreter that Colab has", default="python3.12")
    arguments = parser.parse_args()
    if not shutil.which(arguments.python):
        stop(f"{arguments.python} is not installed: name another interpreter with --python")
    say("What is installed is the last commit of this checkout.")
    python = make_environment(ROOT / ".venv-colab", arguments.python)
    assignments = BOOK / "assignments"
    copies, sources = sorted(assignments.glob("*.ipynb")), sorted(assignments.glob("source/*/*.ipynb"))
    failed = 0
    for path in [path.resolve() for path in arguments.notebooks] or [*chapters(), *copies, *sources]:
        began = time.monotonic()
        problems, _ = run(path, python, unsolved=path in copies)
        said = "; ".join(problems) or "ok"
        say(f"{path.relative_to(BOOK)}: {time.monotonic() - began:.0f} s, {said}")
        failed += bool(problems)
    if failed:
        stop(f"\n{failed} notebooks do not run on Colab as they should (above).")


if __name__ == "__main__":
    main()
