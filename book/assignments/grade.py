"""Grade a folder of submissions with nbgrader: ``make grade``, or ``python book/assignments/grade.py``.

Every file gets a line in ``grades.csv``.  nbgrader runs once for each student, with a gradebook of its own;
the student's kernel runs inside bubblewrap where that is installed.  The output is a course folder.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import hashlib
import json
import multiprocessing
import os
import re
import resource
import shutil
import signal
import site
import subprocess
import sys
import tempfile
import warnings
import zipfile
from collections import Counter
from collections.abc import Iterator
from multiprocessing.connection import wait
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbformat
import pandas as pd
import psutil
from nbgrader.api import Gradebook, MissingEntry
from nbgrader.apps import NbGraderAPI
from nbgrader.coursedir import CourseDirectory
from nbgrader.preprocessors import SaveAutoGrades
from tqdm import tqdm
from traitlets.config.loader import Config, PyFileConfigLoader

from repair import repair

warnings.filterwarnings("ignore", "Object of type")  # nbgrader's use of SQLAlchemy
COURSE = Path(__file__).resolve().parent
LARGEST = 50 * 2**20
SYSTEM = re.compile(  # what systems, and the exchange of nbgrader, leave beside a notebook
    r"(^|/)(__MACOSX|\.git|\.ipynb_checkpoints|\.DS_Store|Thumbs.db|desktop.ini|\._.*"
    r"|timestamp.txt|submission_secret.txt)(/|$)"
)
LATE = 75  # how a process ends whose time is up
os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # nbgrader calls alembic


def nbgrader(root: Path, **settings: dict[str, Any]) -> NbGraderAPI:
    """Return nbgrader at work in a course folder, with further settings by class."""
    config = PyFileConfigLoader("nbgrader_config.py", path=str(COURSE)).load_config()
    config.merge(Config(settings))
    config.CourseDirectory.root = str(root)
    return NbGraderAPI(CourseDirectory(config=config), config=config)


def files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield place and content (empty: not to be read) of all files in a folder and its zip archives."""
    for path in sorted(folder.rglob("*")) if folder.is_dir() else [folder]:
        place = "" if path == folder else f"{path.relative_to(folder).as_posix()}/"
        if path.is_symlink() or not path.is_file():  # a link may lead anywhere
            continue
        if path.suffix.lower() != ".zip" or not zipfile.is_zipfile(path):
            yield place.rstrip("/"), path.read_bytes() if path.stat().st_size <= LARGEST else b""
            continue
        archive = zipfile.ZipFile(path)
        for entry in (e for e in archive.infolist() if not e.is_dir()):  # two may have the same name
            data = b""
            with contextlib.suppress(Exception):  # damaged, encrypted, packed in an unknown way
                data = archive.read(entry) if entry.file_size <= LARGEST else b""
            yield place + entry.filename, data


def collect(folder: Path, assignment: str, released: nbformat.NotebookNode) -> list[SimpleNamespace]:
    """Read what an LMS exports, a checkout of GitHub Classroom, or notebooks side by side."""
    rows, taken = [], set()
    for file, data in files(folder):
        if SYSTEM.search(file):
            continue
        path = re.sub(r"\.(ipynb|zip)(?=/|$)", "", file, flags=re.IGNORECASE).replace(assignment, "")
        student = name = re.sub(r"[^\w.'@-]+", "_", path).strip("._-")[:100] or "student"
        notebook, status = repair(data, released)
        if notebook:
            k = 1
            while student.lower() in taken:  # lower: some disks do not tell Anna from anna
                student = f"{name}-{(k := k + 1)}"
            taken.add(student.lower())
            status += [] if file.endswith(f"{assignment}.ipynb") else ["renamed"]
        row = {"student": student, "file": file, "status": status, "notebook": notebook}
        digest = hashlib.sha256(data).hexdigest()
        rows.append(SimpleNamespace(**row, digest=digest, points={}, messages={}))
    return rows


def wall(home: str, bubblewrap: str | None) -> list[str]:
    """Say what stands before the command of a kernel: a bare environment, and bubblewrap if it is here."""
    command = ["env", "-i", f"PATH={os.defpath}", f"HOME={home}", "LANG=C.UTF-8", "OMP_NUM_THREADS=1"]
    if bubblewrap is None:
        return [*command, f"JPY_PARENT_PID={os.getpid()}"]  # the kernel ends with this process
    command += [bubblewrap, "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    command += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]
    places = ["/usr", "/bin", "/lib", "/lib64", "/etc/alternatives", "/etc/fonts", "/etc/ld.so.cache"]
    places += [sys.base_prefix, sys.prefix, os.path.dirname(os.path.realpath(sys.executable))]
    for place in dict.fromkeys([*places, *site.getsitepackages()]):
        command += ["--ro-bind-try", place, place]
    return [*command, "--bind", home, home, "--chdir", home]


def find_bubblewrap(home: str) -> str | None:
    """Try whether bubblewrap works here, and say so loudly if it does not."""
    found = shutil.which("bwrap")
    command = [*wall(home, found), sys.executable, "-c", "import ipykernel"]
    if found and not subprocess.run(command).returncode:
        return found
    print("!!! NO BUBBLEWRAP: submissions can read and change YOUR FILES, and use the network.")
    print("!!! Install it, or use book/assignments/Containerfile.")
    return None


def end_descendants() -> None:
    """Kill whatever this process has started, and what that has started."""
    while children := [p for p in psutil.Process().children(True) if p.status() != psutil.STATUS_ZOMBIE]:
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        psutil.wait_procs(children, timeout=1)


def shut_in(log: Path, seconds: int, memory: int) -> None:
    """Give this process a log, limits that its kernel inherits, and all that the kernel leaves behind."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(36, 1)  # what the submission leaves behind becomes a child of this process
        ctypes.CDLL(None).prctl(1, 9)  # and this process ends with the one that has started it
    with open(log, "wb") as file:
        os.dup2(file.fileno(), 1), os.dup2(file.fileno(), 2)
    processes = 256 + sum(p.info["num_threads"] or 0 for p in psutil.process_iter(["num_threads"]))
    for limit, most in (("AS", memory * 2**20), ("NPROC", processes), ("FSIZE", 2**28)):
        resource.setrlimit(getattr(resource, f"RLIMIT_{limit}"), (most, most))
    signal.signal(signal.SIGALRM, lambda *_: (end_descendants(), os._exit(LATE)))
    signal.alarm(seconds)


def grade_one(row: Any, name: str, home: str, bubblewrap: str | None, given: argparse.Namespace) -> None:
    """Grade one submission, in a process of its own that ends with this function."""
    shut_in(given.out / "runs" / f"{row.student}.log", given.total, given.memory)
    tempfile.tempdir = home = tempfile.mkdtemp(dir=home)
    os.environ |= {"JUPYTER_PATH": home, "JUPYTER_RUNTIME_DIR": home}
    command = [*wall(home, bubblewrap), sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    kernel = {"display_name": "", "language": "python", "interrupt_mode": "message", "argv": command}
    submitted = given.out / "submitted" / row.student / name
    for folder in (Path(home, "kernels", "student"), submitted):
        folder.mkdir(parents=True, exist_ok=True)
    Path(home, "kernels", "student", "kernel.json").write_text(json.dumps(kernel))
    nbformat.write(row.notebook, submitted / f"{name}.ipynb")
    api = nbgrader(
        given.out,
        CourseDirectory={"db_url": f"sqlite:///{shutil.copy(given.out / 'runs' / 'empty.db', home)}"},
        Execute={"timeout": given.timeout, "kernel_name": "student"},
        ConnectionFileMixin={"transport": "ipc", "ip": f"{home}/kernel"},  # reaches through the wall
    )
    done = api.autograde(name, row.student)
    if done["success"]:
        done = api.generate_feedback(name, row.student)
    print(done.get("log"), done.get("error"), flush=True)
    end_descendants()
    os._exit(0 if done["success"] else 1)


def grade_all(todo: list[Any], name: str, given: argparse.Namespace) -> None:
    """Grade several at a time, and note how it ended."""
    queue, running = list(todo), {}
    fork = multiprocessing.get_context("fork")  # nbgrader is imported once
    with tempfile.TemporaryDirectory(prefix="l2-") as home, tqdm(total=len(todo), unit="student") as bar:
        bubblewrap = find_bubblewrap(home)
        while queue or running:
            while queue and len(running) < given.jobs:
                process = fork.Process(target=grade_one, args=(queue[0], name, home, bubblewrap, given))
                process.start()
                running[process] = queue.pop(0)
            wait([process.sentinel for process in running])
            for process in [process for process in running if not process.is_alive()]:
                row = running.pop(process)
                status = {0: "graded", LATE: "timeout"}.get(process.exitcode, "died")
                (given.out / "runs" / f"{row.student}.done").write_text(f"{row.digest} {status}")
                bar.update()


def load(row: Any, name: str, out: Path, database: str, gradebook: Gradebook) -> None:
    """Put status, messages, and points, those given by hand first, into the row."""
    status = (out / "runs" / f"{row.student}.done").read_text().split()[1]
    if status == "graded":
        notebook = nbformat.read(out / "autograded" / row.student / name / f"{name}.ipynb", 4)
        try:
            submission = gradebook.find_submission_notebook(name, name, row.student)
        except MissingEntry:  # from the gradebook of the student into that of the course
            gradebook.update_or_create_student(row.student)
            gradebook.update_or_create_submission(name, row.student)
            about = {"student": row.student, "assignment": name, "notebook": name, "db_url": database}
            SaveAutoGrades().preprocess(notebook, {"nbgrader": about})
            submission = gradebook.find_submission_notebook(name, name, row.student)
        for grade in submission.grades:
            score = grade.auto_score if grade.manual_score is None else grade.manual_score
            row.points[grade.name] = score
        for cell in notebook.cells:
            for output in (o for o in cell.get("outputs", []) if o.output_type == "error"):
                mark = cell.metadata.get("nbgrader", {}).get("grade_id")
                row.messages[mark] = f"{output.ename}: {output.evalue}"[:1000]
                status = "timeout" if output.ename == "CellTimeoutError" else status
    row.status = [status, *row.status] if status != "graded" or not row.status else row.status


def write_table(rows: list[Any], most: dict[str, float], path: Path) -> None:
    """Write grades.csv."""
    named = [{"student": row.student, "file": row.file, "status": ", ".join(row.status)} for row in rows]
    texts = pd.DataFrame(named, columns=["student", "file", "status"])
    texts = texts.replace("^(?=[=+@-])", "'", regex=True)  # no formula for Excel
    points = pd.DataFrame([row.points for row in rows], columns=list(most), dtype=float)
    texts["score"], texts["of"] = points.sum(axis=1, min_count=1), sum(most.values())
    for question, columns in points.T.groupby(lambda test: test.partition("-")[0], sort=False):
        texts[question] = columns.sum(skipna=False)
    texts.to_csv(path, index=False, float_format="%g", encoding="utf-8-sig")


def write_gradescope(rows: list[Any], most: dict[str, float], path: Path) -> None:
    """Write results.json: the points of the best file, and what is to be said of each."""
    best = max(rows, key=lambda row: sum(p or 0 for p in row.points.values()), default=None)
    tests = []
    for test, of in most.items() if best and best.points else []:
        score = best.points[test]
        text = "read by a person" if score is None else best.messages.get(test, "")
        tests.append({"name": test, "score": score or 0, "max_score": of, "output": text})
    said = "\n".join(f"{row.file}: {', '.join(row.status)}" for row in rows) or "Nothing was handed in."
    results = {"score": sum(test["score"] for test in tests), "tests": tests, "output": said}
    path.write_text(json.dumps(results))


def main() -> None:
    """Read the command line and grade."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("submissions", type=Path, help="folder or zip file, as it came from the LMS")
    parser.add_argument("assignment", help="its name in book/assignments/source")
    parser.add_argument("--out", type=Path, help="course folder to write (default: grades/NAME)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="students at the same time")
    parser.add_argument("--timeout", type=int, default=60, help="seconds for one cell")
    parser.add_argument("--total", type=int, default=600, help="seconds for one student")
    parser.add_argument("--memory", type=int, default=8192, help="MiB of address space for one process")
    parser.add_argument("--gradescope", type=Path, metavar="FILE", help="write results.json there")
    given = parser.parse_args()
    name = given.assignment
    source = COURSE / "source" / name / f"{name}.ipynb"
    if not given.submissions.exists() or not source.is_file():
        sys.exit(f"there is no {given.submissions if source.is_file() else source}")
    given.out = out = (given.out or COURSE.parents[1] / "grades" / name).resolve()
    known = out / "source" / name / f"{name}.ipynb"
    if known.exists() and known.read_bytes() != source.read_bytes():
        sys.exit(f"{out} holds grades for another version of {name}: move it away, or give another --out")
    if not (out / "runs").exists():
        shutil.copytree(source.parent, known.parent, dirs_exist_ok=True)
        shutil.copy(COURSE / "nbgrader_config.py", out)
        done = nbgrader(out).generate_assignment(name)
        if not done["success"]:
            sys.exit(f"{source} is no assignment of nbgrader:\n{done['log']}")
        (out / "runs").mkdir()
        shutil.copy(out / "gradebook.db", out / "runs" / "empty.db")
    released = nbformat.read(out / "release" / name / f"{name}.ipynb", 4)
    rows = collect(given.submissions, name, released)
    graded = [row for row in rows if row.notebook]
    done = {path.stem: path.read_text() for path in (out / "runs").glob("*.done")}
    todo = [row for row in graded if row.digest not in done.get(row.student, "")]
    database = f"sqlite:///{out}/gradebook.db"
    with Gradebook(database, "l2") as gradebook:
        for row in todo:
            with contextlib.suppress(MissingEntry):  # an earlier version
                gradebook.remove_submission(name, row.student)
    if todo:
        grade_all(todo, name, given)
    with Gradebook(database, "l2") as gradebook:
        for row in graded:
            load(row, name, out, database, gradebook)
    marks = [c.metadata.nbgrader for c in released.cells if c.metadata.nbgrader.grade]
    most = {mark.grade_id: mark.points for mark in marks}
    write_table(rows, most, out / "grades.csv")
    if given.gradescope:
        write_gradescope(rows, most, given.gradescope)
    counts = Counter(", ".join(row.status) for row in rows)
    print(f"{len(rows)} files:", "; ".join(f"{n} {status}" for status, n in counts.items()))
    print(out / "grades.csv")


if __name__ == "__main__":
    main()
