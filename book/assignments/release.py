"""Make the students' copies of the assignments: ``make release``, or ``python book/assignments/release.py``.

nbgrader cuts solutions and hidden tests out of ``source/NAME/NAME.ipynb``; the copy goes to ``NAME.ipynb``.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nbgrader.apps import NbGraderAPI

COURSE = Path(__file__).resolve().parent
# nbgrader calls "alembic" as a command
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])


def nbgrader(root: Path, **settings: dict[str, Any]) -> NbGraderAPI:
    """Return nbgrader at work in a course folder, with further settings by class."""
    from nbgrader.apps import NbGraderAPI
    from nbgrader.coursedir import CourseDirectory
    from traitlets.config.loader import Config, PyFileConfigLoader

    config = PyFileConfigLoader("nbgrader_config.py", path=str(COURSE)).load_config()
    config.merge(Config(settings))
    config.CourseDirectory.root = str(root)
    return NbGraderAPI(CourseDirectory(config=config), config=config)


def release(source: Path, root: Path) -> Path:
    """Put an assignment into a course folder; return the students' copy, which lies in it then."""
    (root / "source" / source.stem).mkdir(parents=True, exist_ok=True)
    shutil.copy(source, root / "source" / source.stem)
    done = nbgrader(root).generate_assignment(source.stem)
    if not done["success"]:
        raise ValueError(f"{source} is no assignment of nbgrader:\n{done.get('error', '')}")
    return root / "release" / source.stem / source.name


def main() -> None:
    """Write the copies."""
    parser = argparse.ArgumentParser(description="Make the students' copies of assignments.")
    parser.add_argument("names", nargs="*", help="default: all in book/assignments/source")
    for name in parser.parse_args().names or sorted(path.name for path in (COURSE / "source").iterdir()):
        source = COURSE / "source" / name / f"{name}.ipynb"
        if not source.is_file():
            sys.exit(f"there is no {source}")
        with tempfile.TemporaryDirectory() as root:
            shutil.copyfile(release(source, Path(root)), COURSE / source.name)
        print(f"book/assignments/{source.name}")


if __name__ == "__main__":
    main()
