"""Make the students' copies of the assignments: ``make release``, or ``python book/assignments/release.py``.

nbgrader cuts solutions and hidden tests out of ``source/NAME/NAME.ipynb``; the copy goes to ``NAME.ipynb``, a
page of the book.  It gets a link to Colab as soon as ``_config.yml`` names a repository on GitHub.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
import yaml

COURSE = Path(__file__).resolve().parent
# nbgrader calls "alembic" as a command
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
GITHUB = re.compile(r"https://github\.com/([\w.-]+/[\w.-]+?)(?:\.git)?/?")


def colab_link(name: str, config: Path = COURSE.parents[1] / "_config.yml") -> str:
    """Return Markdown that opens a copy on Colab, or nothing as long as no repository is named."""
    home = (yaml.safe_load(config.read_text("utf-8")) or {}).get("repository") or {}
    match = GITHUB.fullmatch(home.get("url") or "")
    if match is None:
        return ""
    place = f"{match[1]}/blob/{home.get('branch') or 'main'}/book/assignments/{name}.ipynb"
    return f"[Open in Colab](https://colab.research.google.com/github/{place})"


def nbgrader(
    step: str, root: Path, name: str, student: str = "*", **settings: dict[str, Any]
) -> dict[str, Any]:
    """Run one of nbgrader's converters (``Autograde``, …) in a course folder; return what it said.

    Parameters
    ----------
    step : str
        Name of a class in ``nbgrader.converters``.
    root : Path
        The course folder: ``source/``, ``submitted/``, ….
    name, student : str
        Assignment and student.
    **settings : dict
        Further settings of nbgrader, by class.

    Returns
    -------
    dict
        ``success``, and, where it has something to say, ``log`` and ``error``.
    """
    from nbgrader import converters
    from nbgrader.coursedir import CourseDirectory
    from nbgrader.utils import capture_log
    from traitlets.config.loader import Config, PyFileConfigLoader

    config = PyFileConfigLoader("nbgrader_config.py", path=str(COURSE)).load_config()
    own = {"root": str(root), "assignment_id": name, "student_id": student}
    config.merge(Config(settings))
    config.merge(Config({"CourseDirectory": own}))
    app = getattr(converters, step)(coursedir=CourseDirectory(config=config), config=config)
    app.force, app.log.propagate = True, False
    return capture_log(app)


def course(source: Path, root: Path) -> Path:
    """Put an assignment into a course folder; return nbgrader's students' copy, which lies in it then."""
    name = source.stem
    target = root / "source" / name / source.name
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)
    done = nbgrader("GenerateAssignment", root, name)
    if not done["success"]:
        raise ValueError(f"{source} is no assignment of nbgrader:\n{done.get('error', '')}")
    return root / "release" / name / source.name


def with_link(copy: Path, link: str) -> nbformat.NotebookNode:
    """Read a students' copy and put a link below its heading, if there is one."""
    notebook = nbformat.read(copy, 4)
    if link:
        heading, _, rest = notebook.cells[0].source.partition("\n\n")
        notebook.cells[0].source = f"{heading}\n\n{link}\n\n{rest}"
    return notebook


def main() -> None:
    """Write the copies."""
    parser = argparse.ArgumentParser(description="Make the students' copies of assignments.")
    parser.add_argument("names", nargs="*", help="default: all in book/assignments/source")
    names = parser.parse_args().names or sorted(path.name for path in (COURSE / "source").iterdir())
    with tempfile.TemporaryDirectory() as root:
        for name in names:
            source = COURSE / "source" / name / f"{name}.ipynb"
            if not source.exists():
                sys.exit(f"there is no {source}")
            nbformat.write(
                with_link(course(source, Path(root)), colab_link(name)), COURSE / f"{name}.ipynb"
            )
            print(f"book/assignments/{name}.ipynb")


if __name__ == "__main__":
    main()
