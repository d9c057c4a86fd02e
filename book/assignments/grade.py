"""Grade a folder of submissions with nbgrader: ``make grade``, or ``python book/assignments/grade.py``.

Every file gets a line in ``grades.csv``.  nbgrader runs once for each student, in a process of its own; the
student's kernel runs inside bubblewrap.  The output is a course folder of nbgrader.
"""

import argparse
import contextlib
import hashlib
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Iterator
from multiprocessing import connection, get_context
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbformat
import pandas as pd
from nbgrader.api import MissingEntry
from nbgrader.apps import NbGraderAPI
from tqdm import tqdm
from traitlets.config.loader import Config, PyFileConfigLoader

from repair import repair

COURSE = Path(__file__).resolve().parent
LARGEST = 50 * 2**20
SYSTEM = re.compile(  # what systems, and the exchange of nbgrader, leave beside a notebook
    r"(^|/)(__MACOSX|\.git|\.ipynb_checkpoints|\.DS_Store|Thumbs.db|desktop.ini|\._.*"
    r"|timestamp.txt|submission_secret.txt)(/|$)"
)
NO_WALL = """
!!! NO BUBBLEWRAP: submissions would run as your own programs do.  They could read and change YOUR FILES and
!!! the grades of others, use the network, and run on.  Install it, or use book/assignments/Containerfile.
"""
os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # nbgrader calls alembic


def nbgrader(root: Path, **settings: dict[str, Any]) -> NbGraderAPI:
    """Return nbgrader at work in a course folder, with further settings by class."""
    config = PyFileConfigLoader("nbgrader_config.py", path=str(COURSE)).load_config()
    db_url = f"sqlite:///{root}/gradebook.db?timeout=600"  # seconds that one process waits for others
    config.merge(Config({"CourseDirectory": {"root": str(root), "db_url": db_url}, **settings}))
    return NbGraderAPI(config=config)


def files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield place and content (empty: not to be read) of all files in a folder and its zip archives."""
    for path in sorted(folder.rglob("*")) if folder.is_dir() else [folder]:
        place = "" if path == folder else f"{path.relative_to(folder).as_posix()}/"
        if path.is_symlink() or not path.is_file():  # a link may lead anywhere
            continue
        if path.suffix.lower() == ".zip" and zipfile.is_zipfile(path):
            archive = zipfile.ZipFile(path)
            for entry in (e for e in archive.infolist() if not e.is_dir()):  # two may have the same name
                data = b""
                with contextlib.suppress(Exception):  # damaged, encrypted, packed in an unknown way
                    data = archive.read(entry) if entry.file_size <= LARGEST else b""
                yield place + entry.filename, data
        else:
            yield place.rstrip("/"), path.read_bytes() if path.stat().st_size <= LARGEST else b""


def collect(given: argparse.Namespace, released: nbformat.NotebookNode) -> list[SimpleNamespace]:
    """Read what an LMS exports, a checkout of GitHub Classroom, or notebooks side by side."""
    rows, seen, name = [], {}, given.assignment
    for file, data in files(given.submissions):
        if SYSTEM.search(file):
            continue
        path = re.sub(r"\.(ipynb|zip)(?=/|$)", "", file, flags=re.IGNORECASE).replace(name, "")
        student = re.sub(r"[^\w.'@-]+", "_", path).strip("._-")[:100] or "student"
        notebook, status = repair(data, released)
        if notebook:
            same = student.lower()  # some disks do not tell Anna from anna
            seen[same] = seen.get(same, 0) + 1
            student += f"~{seen[same]}" if seen[same] > 1 else ""
            status += [] if file.endswith(f"{name}.ipynb") else ["renamed"]
        row = SimpleNamespace(student=student, file=file, status=status, notebook=notebook, points={})
        row.digest, row.done = hashlib.sha256(data).hexdigest(), given.out / "runs" / f"{student}.done"
        rows.append(row)
    return rows


def wall(home: Path) -> list[str]:
    """Say what stands before a command that shall reach nothing but Python and its own home."""
    command = ["env", "-i", f"PATH={os.defpath}", f"HOME={home}", "LANG=C.UTF-8", "OMP_NUM_THREADS=1"]
    command += [shutil.which("bwrap") or "bwrap", "--unshare-all", "--die-with-parent", "--new-session"]
    command += ["--cap-drop", "ALL", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]
    places = ["/usr", "/bin", "/lib", "/lib64", "/etc/alternatives", "/etc/fonts", "/etc/ld.so.cache"]
    places += [sys.base_prefix, sys.prefix, os.path.dirname(os.path.realpath(sys.executable))]
    for place in places:
        command += ["--ro-bind-try", place, place]
    return [*command, "--bind", str(home), str(home), "--chdir", str(home)]


def grade_one(row: Any, place: Path, given: argparse.Namespace) -> None:
    """Grade one submission, in a process of its own."""
    with row.done.with_suffix(".log").open("wb") as log:
        os.dup2(log.fileno(), 1), os.dup2(log.fileno(), 2)
    signal.alarm(10 * given.timeout)  # it ends this process
    for limit, most in (("AS", given.memory * 2**20), ("NPROC", 4096), ("FSIZE", 2**28)):
        with contextlib.suppress(ValueError):  # it is lower already
            resource.setrlimit(getattr(resource, f"RLIMIT_{limit}"), (most, most))
    name, home = given.assignment, place / "home"
    submitted = given.out / "submitted" / row.student / name
    for folder in (home, place / "kernels" / "student", submitted):
        folder.mkdir(parents=True, exist_ok=True)
    nbformat.write(row.notebook, submitted / f"{name}.ipynb")
    shutil.rmtree(given.out / "feedback" / row.student, ignore_errors=True)  # on an earlier version
    command = [*(wall(home) if given.walled else []), sys.executable, "-m", "ipykernel_launcher", "-f"]
    kernel = {"argv": [*command, "{connection_file}"], "display_name": "", "language": "python"}
    kernel["interrupt_mode"] = "message"  # a signal would end the wall
    (place / "kernels" / "student" / "kernel.json").write_text(json.dumps(kernel))
    os.environ |= {"JUPYTER_PATH": str(place), "JUPYTER_RUNTIME_DIR": str(home)}
    tempfile.tempdir = str(home)  # there Jupyter writes how to connect
    ipc = {"transport": "ipc", "ip": f"{home}/kernel"}  # reaches through the wall
    execute = {"timeout": given.timeout, "kernel_name": "student"}
    api = nbgrader(given.out, Execute=execute, ConnectionFileMixin=ipc)
    for step in (api.autograde, api.generate_feedback):
        done = step(name, row.student)
        print(done.get("log"), done.get("error"))
        if not done["success"]:
            sys.exit(1)


def grade_all(todo: list[Any], given: argparse.Namespace) -> None:
    """Grade several at a time, and note how it ended."""
    fork = get_context("fork")  # nbgrader is imported once
    with tempfile.TemporaryDirectory(prefix="l2-") as folder:
        trial = [*wall(Path(folder)), sys.executable, "-c", "import ipykernel"]
        given.walled = subprocess.run(trial).returncode == 0
        if not given.walled and not given.trust:
            sys.exit(f"{NO_WALL}!!! Or have them graded all the same: --trust")
        print("" if given.walled else NO_WALL)
        bar, running = tqdm(total=len(todo), unit="student"), {}
        while todo or running:
            while todo and len(running) < max(1, given.jobs):
                row, place = todo.pop(0), Path(tempfile.mkdtemp(dir=folder))
                row.process = fork.Process(target=grade_one, args=(row, place, given), daemon=True)
                row.process.start()
                running[row.process.sentinel] = row
            for sentinel in connection.wait(running):
                row = running.pop(sentinel)
                row.process.join()
                status = {0: "graded", -signal.SIGALRM: "timeout"}.get(row.process.exitcode, "died")
                row.done.write_text(f"{row.digest} {status}")
                bar.update()


def load(row: Any, name: str, out: Path, gradebook: Any) -> None:
    """Put the points of the tests, those given by hand included, into a row, and how its grading ended."""
    status = row.done.read_text().split()[1]
    if status != "graded":
        forget(gradebook, name, row.student)
    else:
        notebook = nbformat.read(out / "autograded" / row.student / name / f"{name}.ipynb", 4)
        if any(o.get("ename") == "CellTimeoutError" for c in notebook.cells for o in c.get("outputs", [])):
            status = "timeout"
        for grade in gradebook.find_submission_notebook(name, name, row.student).grades:
            row.points[grade.name] = None if grade.needs_manual_grade else grade.score
    row.status = [status, *row.status] if status != "graded" or not row.status else row.status


def forget(gradebook: Any, name: str, student: str) -> None:
    """Remove what nbgrader has noted of an earlier version, or of one that it could not grade."""
    with contextlib.suppress(MissingEntry):
        gradebook.remove_submission(name, student)


def write_table(rows: list[Any], most: dict[str, float], path: Path) -> pd.DataFrame:
    """Write grades.csv."""
    points = pd.DataFrame([row.points for row in rows], columns=list(most), dtype=float)
    table = pd.DataFrame(map(vars, rows), columns=["student", "file", "status"])
    table["status"] = table["status"].str.join(", ")
    table = table.replace("^(?=[=+@-])", "'", regex=True)  # no formula for Excel
    table["score"], table["of"] = points.sum(axis=1, min_count=1), sum(most.values())
    for question, tests in points.T.groupby(lambda test: test.partition("-")[0]):
        table[question] = tests.sum(skipna=False)
    table.to_csv(path, index=False, float_format="%g", encoding="utf-8-sig")
    return table


def main() -> None:
    """Read the command line and grade."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("submissions", type=Path, help="folder or zip file, as it came from the LMS")
    parser.add_argument("assignment", help="its name in book/assignments/source")
    parser.add_argument("--out", type=Path, help="course folder to write (default: grades/NAME)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="students at the same time")
    parser.add_argument("--timeout", type=int, default=60, help="seconds for a cell; for all ten times that")
    parser.add_argument("--memory", type=int, default=8192, help="MiB of address space for one process")
    parser.add_argument("--trust", action="store_true", help="grade even where bubblewrap does not work")
    given = parser.parse_args()
    warnings.simplefilter("ignore")  # of nbformat and SQLAlchemy, for those who write programs
    name, file = given.assignment, f"{given.assignment}.ipynb"
    given.out = out = (given.out or COURSE.parents[1] / "grades" / name).resolve()
    source, known, made = COURSE / "source" / name, out / "source" / name, out / "release" / name
    if not given.submissions.exists() or not (source / file).is_file():
        sys.exit(f"there is no {given.submissions} or no {source / file}")
    api = nbgrader(out)
    if not made.exists():
        (out / "runs").mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, known, dirs_exist_ok=True)
        shutil.copy(COURSE / "nbgrader_config.py", out)
        if not (done := api.generate_assignment(name))["success"]:
            sys.exit(f"{source} is no assignment of nbgrader:\n{done['log']}")
    elif (known / file).read_bytes() != (source / file).read_bytes():
        sys.exit(f"{out} holds grades for another version of {name}: move it away, or give another --out")
    rows = collect(given, nbformat.read(made / file, 4))
    graded = [row for row in rows if row.notebook]
    todo = [row for row in graded if not row.done.exists() or row.digest not in row.done.read_text()]
    with api.gradebook as gradebook:
        for row in todo:
            forget(gradebook, name, row.student)
    if todo:
        grade_all(todo, given)
    with api.gradebook as gradebook:
        for row in graded:
            load(row, name, out, gradebook)
        most = {cell.name: cell.max_score for cell in gradebook.find_notebook(name, name).grade_cells}
    table = write_table(rows, most, out / "grades.csv")
    counts = table["status"].value_counts().items()
    print(f"{len(rows)} files:", "; ".join(f"{n} {status}" for status, n in counts))
    print(out / "grades.csv")


if __name__ == "__main__":
    main()
