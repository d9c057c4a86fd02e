"""Run notebooks as Google Colab would: ``python book/_site/colab.py`` (that is ``make test-colab``).

The real service cannot be asked. What is imitated:

- **Versions.** An environment with exactly the versions of ``requirements-colab.txt`` and nothing else.
- **Kernel.** ``google.colab`` is there (a stand-in, ``colab_stub/``), and the shell is of its class.
- **Files.** The notebook lies alone in an empty folder, which is the working directory. No checkout is on
  the search path.
- **Installation.** The notebook's own first cell runs ``pip install "l2lab @ git+https://…"``. Git is told by
  environment variables to fetch from this checkout instead, so what is installed is the *last commit* (HEAD),
  not the files as they lie here. Nothing comes from the network: pip may not ask an index, and finds what
  builds the package in a folder that was filled when the environment was made.

Not imitated: a GPU, the page that shows outputs, and the rest of what Colab has installed.

For each notebook the tool runs all cells and then the first one again, and says what is wrong: a cell that
raised, an installation that changed anything but ``l2lab``, a first cell that does not say what runs or does
something the second time, a slider that Colab would not show. Of an assignment both is run, the solved source
and the students' copy; there an open question may raise, and what needs its answer may fail.
"""

from __future__ import annotations

import argparse
import ast
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbformat.v4 import new_code_cell

import execute
import install
import kernels
from common import BOOK, ROOT, chapters, content_hash, say, stop

VENV = ROOT / ".venv-colab"
PINS = ROOT / "requirements-colab.txt"
STUB = Path(__file__).parent / "colab_stub"
PYTHON = "python3.12"  # the one that the list of versions belongs to
WHEELS = "build-wheels"
VIEW = "application/vnd.jupyter.widget-view+json"
OPEN_QUESTION = "RuntimeError: this question has no answer yet"
# What a widget meets first on Colab. The rest of the light environment is that of the tests.
FRONT_END = (
    "anywidget", "backcall", "debugpy", "decorator", "entrypoints", "ipykernel", "ipython",
    "ipython-genutils", "ipywidgets", "jupyter-client", "jupyter-core", "jupyterlab-widgets",
    "matplotlib", "matplotlib-inline", "nest-asyncio", "parso", "pexpect", "pickleshare", "pip",
    "platformdirs", "prompt-toolkit", "psutil", "psygnal", "ptyprocess", "pygments", "python-dateutil",
    "pyzmq", "setuptools", "tornado", "traitlets", "wcwidth", "wheel", "widgetsnbextension",
)  # fmt: skip

# Runs in the imitated Colab, after the first cell and after the last.
PROBE = """\
def _probe():
    import sys
    import google.colab
    package = sys.modules.get("l2lab")
    return {
        "shell": type(get_ipython()).__module__,
        "path": sys.path,
        "package": package and package.__file__,
        "widgets": google.colab.output._widgets._installed_url is not None,
    }
print(_probe())
del _probe"""


# ---- the environments --------------------------------------------------------------------------------------


def pins(file: Path = PINS) -> dict[str, str]:
    """Return name (in normal form) and version of every package that Colab's list names."""
    found = {}
    for line in file.read_text("utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            name, _, version = line.partition("==")
            found[normal(name)] = version
    return found


def normal(name: str) -> str:
    """Return the normal form of a package's name, in which all its spellings are the same."""
    return re.sub(r"[-_.]+", "-", name).lower()


def make_environment(venv: Path = VENV, python: str | None = None) -> Path:
    """Make the environment with all of Colab's versions, unless it stands already.

    Parameters
    ----------
    venv : pathlib.Path
        Its folder.
    python : str, optional
        The interpreter, a name or a path. By default the one of Colab's list.

    Returns
    -------
    pathlib.Path
        The environment's interpreter.
    """
    python = python or PYTHON
    try:
        version = subprocess.run(
            [python, "-c", "import sys; print(sys.version)"], capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        stop(f"{python} does not run: install it, or name another interpreter with --python")
    mark = content_hash([PINS, *STUB.rglob("*.py")], version)
    if _is_made(venv, mark):
        return install.venv_python(venv)
    _make(venv, python, [f"{name}=={version}" for name, version in pins().items()])
    (venv / ".made").write_text(mark)
    return install.venv_python(venv)


def make_light_environment(venv: Path) -> Path:
    """Make an environment in which only what shows notebooks and widgets has Colab's versions.

    All else (torch, NumPy, …) is linked from the environment that runs this, so that little is fetched.

    Parameters
    ----------
    venv : pathlib.Path
        Its folder.

    Returns
    -------
    pathlib.Path
        The environment's interpreter.
    """
    here = {Path(sysconfig.get_path(key)) for key in ("purelib", "platlib")}
    linked = sorted(str(path) for folder in here for path in folder.iterdir())
    mark = content_hash([PINS, *STUB.rglob("*.py")], sys.version, *FRONT_END, *linked)
    if _is_made(venv, mark):
        return install.venv_python(venv)
    versions = pins()
    _make(venv, sys.executable, ["--no-deps", *(f"{name}=={versions[name]}" for name in FRONT_END)])
    target = install.site_packages(venv)
    for folder in here:
        _link(folder, target, leave_out=(*FRONT_END, "l2lab"))
    (venv / ".made").write_text(mark)
    return install.venv_python(venv)


def _is_made(venv: Path, mark: str) -> bool:
    made = venv / ".made"
    return install.works(install.venv_python(venv)) and made.exists() and made.read_text() == mark


def _make(venv: Path, python: str, requirements: Sequence[str]) -> None:
    """Make an environment, install into it, and put the stand-in for Colab's package there."""
    uv = shutil.which("uv")
    if venv.exists() and not (venv / "pyvenv.cfg").exists():
        stop(f"{venv} exists and is not a virtual environment: move it away")
    shutil.rmtree(venv, ignore_errors=True)
    say(f"Making {venv.name} with Colab's versions …")
    interpreter = install.venv_python(venv)
    if uv:
        install.run(uv, "venv", "--quiet", "--python", python, venv)
        install.run(uv, "pip", "install", "--quiet", "--python", interpreter, *requirements)
    else:
        install.run(python, "-m", "venv", venv)
        quiet = ("--quiet", "--disable-pip-version-check")
        install.run(interpreter, "-m", "pip", "install", *quiet, *requirements)
    build = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["build-system"]["requires"]
    install.run(interpreter, "-m", "pip", "download", "--quiet", "--dest", venv / WHEELS, *build)
    shutil.copytree(STUB, install.site_packages(venv), dirs_exist_ok=True)


def _link(source: Path, target: Path, *, leave_out: Iterable[str]) -> None:
    """Link all packages of one environment into another, but for those that it has, and some by name."""
    absent = set(leave_out)
    modules = set()
    for dist in importlib.metadata.distributions(path=[str(source)]):
        if normal(dist.name) in absent:
            modules |= {path.parts[0] for path in dist.files or ()}
    for entry in source.iterdir():
        # .pth files lead to checkouts (that of l2lab, for one)
        if entry.name in modules or entry.suffix == ".pth" or entry.name == "__pycache__":
            continue
        if not (target / entry.name).exists():
            (target / entry.name).symlink_to(entry)


def environment(python: Path) -> dict[str, str]:
    """Return the variables of a kernel that believes to run on Colab.

    Parameters
    ----------
    python : pathlib.Path
        Interpreter of the environment.

    Returns
    -------
    dict of str to str
        What this process has, without what would lead to the checkout or to another environment.
    """
    foreign = ("PYTHON", "VIRTUAL_ENV", "CONDA", "L2LAB_", "JUPYTER", "IPYTHON", "MPL", "GIT_")
    env = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
    return env | {
        "PATH": os.pathsep.join([str(python.parent), env.get("PATH", "")]),
        # what builds l2lab comes from here
        "PIP_FIND_LINKS": (python.parents[1] / WHEELS).as_uri(),  # pip splits a plain path at its spaces
        "PIP_NO_INDEX": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        # the debugger of ipykernel would give advice
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }


def freeze(python: Path) -> set[str]:
    """Return what ``pip freeze`` lists."""
    done = subprocess.run(
        [python, "-m", "pip", "freeze", "--all"],
        capture_output=True,
        text=True,
        check=True,
        env=environment(python),
    )
    return set(done.stdout.splitlines())


def uninstall(python: Path) -> None:
    """Remove l2lab from an environment, as it is not there when a reader opens a notebook."""
    subprocess.run(
        [python, "-m", "pip", "uninstall", "--quiet", "--yes", "l2lab"],
        capture_output=True,
        check=True,
        env=environment(python),
    )


# ---- one notebook ------------------------------------------------------------------------------------------


@dataclass
class Report:
    """What running one notebook has shown."""

    name: str
    seconds: float = 0.0
    line: str = ""  # what the first cell says
    problems: list[str] = field(default_factory=list)
    notebook: nbformat.NotebookNode | None = None  # as it ran, without the cells of this tool


def run(path: Path, python: Path, *, unsolved: bool = False, timeout: int = 600) -> Report:
    """Run a notebook as Colab would.

    Parameters
    ----------
    path : pathlib.Path
        The notebook.
    python : pathlib.Path
        Interpreter of the environment.
    unsolved : bool
        Whether it is an assignment without answers: then checks may fail.
    timeout : int
        Seconds that a single cell may take.

    Returns
    -------
    Report
        What is wrong; nothing if all is well.
    """
    report = Report(path.stem)
    notebook = nbformat.read(path, 4)
    own = list(notebook.cells)
    first = next(cell for cell in own if cell.cell_type == "code")
    installs = "l2lab" in first.source
    # l2lab comes from the last commit here, whatever address the cell gives
    first.source = execute.ADDRESS.sub(f'BOOK = "{ROOT.as_uri()}"', first.source)
    if installs:
        again = new_code_cell(first.source)
        after_first, after_all = new_code_cell(PROBE), new_code_cell(PROBE)
        notebook.cells.insert(own.index(first) + 1, after_first)
        notebook.cells += [again, after_all]
    else:
        again, after_first, after_all = None, None, new_code_cell(PROBE)
        notebook.cells.append(after_all)
    uninstall(python)
    before = freeze(python)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(path, folder)
        command = [
            python,
            "-m",
            "ipykernel_launcher",
            "--IPKernelApp.kernel_class=google.colab._kernel.Kernel",
        ]
        try:
            kernels.run(notebook, command, cwd=Path(folder), env=environment(python), timeout=timeout)
        except (CellTimeoutError, DeadKernelError) as failure:
            report.problems.append(f"{type(failure).__name__}: {str(failure).splitlines()[0]}")
    report.seconds = time.monotonic() - started
    installed = freeze(python)
    uninstall(python)
    if report.problems:
        return report
    report.problems += _errors(own, unsolved)
    report.problems += _changes(before, installed, installs)
    report.problems += _about_kernel(after_all, install.site_packages(python.parents[1]), installs)
    if installs:
        report.line = _last_line(first)
        report.problems += _about_first_cell(first, again, after_first)
        report.problems += _about_widgets(own)
    report.notebook = nbformat.v4.new_notebook(cells=own, metadata=notebook.metadata)
    return report


def _errors(cells: Sequence[nbformat.NotebookNode], unsolved: bool) -> list[str]:
    found = []
    for number, cell in enumerate(cells, start=1):
        if cell.cell_type != "code" or "raises-exception" in cell.metadata.get("tags", []):
            continue
        if cell.source.strip() and cell.execution_count is None:
            found.append(f"cell {number} did not run")
        raised = kernels.error(cell)
        if raised and not (unsolved and re.match(rf"{OPEN_QUESTION}|AssertionError|NameError", raised)):
            found.append(f"cell {number} raised {raised[:300]}")
    return found


def _changes(before: set[str], after: set[str], installs: bool) -> list[str]:
    """What the notebook changed in the environment, beyond what it should."""
    gone, new = sorted(before - after), sorted(after - before)
    wanted = [line for line in new if line.startswith("l2lab @ git+")]
    found = [f"pip freeze: {line} is gone" for line in gone]
    found += [f"pip freeze: {line} is new" for line in new if line not in wanted]
    if installs and not wanted:
        found.append("the first cell did not install l2lab")
    return found


def _about_kernel(probe: nbformat.NotebookNode, packages: Path, installs: bool) -> list[str]:
    """Whether the notebook ran where it was meant to: what is wrong there is wrong with this tool."""
    seen = ast.literal_eval(kernels.text(probe))
    found = []
    if seen["shell"] != "google.colab._shell":
        found.append(f"the shell came from {seen['shell']}, not from google.colab")
    if BOOK in [Path(folder).resolve() for folder in seen["path"] if folder]:
        found.append("the checkout was on the search path")
    if installs and not (seen["package"] and Path(seen["package"]).is_relative_to(packages)):
        found.append(f"l2lab came from {seen['package']}, not from the environment")
    return found


def _last_line(cell: nbformat.NotebookNode) -> str:
    return (kernels.text(cell).strip().splitlines() or [""])[-1]


def _about_first_cell(
    first: nbformat.NotebookNode, again: nbformat.NotebookNode, probe: nbformat.NotebookNode
) -> list[str]:
    found = []
    line = _last_line(first)
    if not re.search(r"Python \d.*l2lab \d.*torch \d.*numpy \d.*device \w", line):
        found.append(f"the first cell does not name versions and device: {line!r}")
    if raised := kernels.error(again):
        found.append(f"the first cell, run again, raised {raised}")
    elif kernels.text(again).strip() != line:
        found.append(f"the first cell, run again, said {kernels.text(again).strip()!r}")
    if not ast.literal_eval(kernels.text(probe))["widgets"]:
        found.append("the first cell does not enable the custom widget manager")
    return found


def _about_widgets(cells: Iterable[nbformat.NotebookNode]) -> list[str]:
    """Whether each widget that is displayed carries what Colab needs to show it."""
    found = []
    for number, cell in enumerate(cells, start=1):
        for output in cell.get("outputs", []):
            if VIEW in output.get("data", {}):
                colab = output.metadata.get(VIEW, {}).get("colab", {})
                if "url" not in colab.get("custom_widget_manager", {}):
                    found.append(f"cell {number}: a widget without Colab's widget manager")
                if "image/png" not in output.data:
                    found.append(f"cell {number}: a widget without a picture")
    return found


# ---- all of them -------------------------------------------------------------------------------------------


def jobs() -> list[tuple[Path, bool]]:
    """Return all notebooks of the book, and whether each is an assignment without answers."""
    copies = sorted((BOOK / "assignments").glob("*.ipynb"))
    sources = sorted((BOOK / "assignments" / "source").glob("*/*.ipynb"))
    return [
        *((path, False) for path in chapters()),
        *((path, True) for path in copies),
        *((path, False) for path in sources),
    ]


def uncommitted() -> str:
    """Return what of the package differs from the last commit; end the tool if there is no commit."""
    done = subprocess.run(
        ["git", "status", "--porcelain", "--", "book/l2lab", "pyproject.toml"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        stop("Colab installs l2lab with git: this needs git, and a checkout rather than an unpacked archive.")
    return done.stdout


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Run notebooks as Google Colab would.")
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: all chapters and assignments")
    parser.add_argument("--venv", type=Path, default=VENV, help=f"the environment (default {VENV.name})")
    parser.add_argument("--python", help=f"interpreter that makes the environment (default {PYTHON})")
    parser.add_argument("--timeout", type=int, default=600, help="seconds for one cell (default 600)")
    arguments = parser.parse_args()
    chosen = [path.resolve() for path in arguments.notebooks]
    for path in chosen:
        if not path.is_file():
            stop(f"{path.name}: there is no such notebook")
    if uncommitted():
        say("Uncommitted changes of l2lab are not seen here: the last commit is installed.")
    python = make_environment(arguments.venv.absolute(), arguments.python)
    known = dict(jobs())
    failed = 0
    for path in chosen or known:
        unsolved = known.get(path, False)
        report = run(path, python, unsolved=unsolved, timeout=arguments.timeout)
        solved = path.is_relative_to(BOOK / "assignments" / "source")
        kind = "unsolved" if unsolved else "solved" if solved else "chapter"
        say(f"{report.name:<22} {kind:<9} {report.seconds:5.0f} s  {'; '.join(report.problems) or 'ok'}")
        if report.line:
            say(f"    {report.line}")
        failed += bool(report.problems)
    if failed:
        stop(f"\n{failed} notebooks do not run on Colab as they should (above).")


if __name__ == "__main__":
    main()
