"""Grade a folder of submissions with nbgrader: ``make grade``, or ``python book/assignments/grade.py``.

Every file gets a line in ``grades.csv``.  nbgrader runs once for each student, with a gradebook of its own;
the student's kernel runs inside bubblewrap where that is installed.  The output is a course folder of
nbgrader, so the written questions are graded in its formgrader.  An interrupted run goes on where it was.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import ctypes
import hashlib
import json
import multiprocessing
import os
import re
import resource
import shutil
import site
import subprocess
import sys
import tempfile
import time
import warnings
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import nbformat
import psutil
from tqdm import tqdm

from release import COURSE, nbgrader, release
from repair import repair

warnings.filterwarnings("ignore", "Object of type")  # nbgrader's use of SQLAlchemy
LARGEST = 50 * 2**20
SYSTEM = re.compile(r"__MACOSX|\.git|\.ipynb_checkpoints|\.DS_Store|Thumbs\.db|desktop\.ini|\._.*")


@dataclass
class Row:
    """One file, and what came of it."""

    file: str
    student: str
    status: list[str]
    notes: list[str]
    notebook: Any = None  # what nbgrader gets; None if there is nothing to grade
    digest: str = ""
    result: dict[str, Any] = field(default_factory=dict)


def files(path: Path) -> Iterator[tuple[str, bytes | None]]:
    """Yield place and content (None: not to be read) of all files in a folder or a zip archive."""
    if SYSTEM.fullmatch(path.name) or path.is_symlink() or (path.is_file() and path.stat().st_size > LARGEST):
        yield "", None
    elif path.is_dir():
        for inner in sorted(path.iterdir()):
            for place, data in files(inner):
                yield f"{inner.name}/{place}".rstrip("/"), data
    elif path.suffix.lower() != ".zip":
        yield "", path.read_bytes()
    else:
        try:
            archive = zipfile.ZipFile(path)
        except zipfile.BadZipFile:
            yield "", path.read_bytes()
            return
        for entry in (e for e in archive.infolist() if not e.is_dir()):  # two may have the same name
            data: bytes | None = b""
            with contextlib.suppress(Exception):  # damaged, encrypted, packed in an unknown way
                strange = any(map(SYSTEM.fullmatch, entry.filename.split("/"))) or entry.file_size > LARGEST
                data = None if strange else archive.read(entry)
            yield entry.filename, data


def collect(folder: Path, assignment: str, released: nbformat.NotebookNode) -> list[Row]:
    """Read what an LMS exports, a checkout of GitHub Classroom, or notebooks side by side."""
    rows, taken = [], set()
    for place, data in files(folder):
        path = re.sub(r"\.(ipynb|zip)(?=/|$)", "", place, flags=re.IGNORECASE).replace(assignment, "")
        name, k = re.sub(r"[^\w.'@-]+", "_", path).strip("._-")[:100] or "student", 1
        rows.append(row := Row(place, name, ["ignored"], []))
        if data is None:
            continue
        row.notebook, row.status, row.notes = repair(data, released)
        if row.notebook is None:
            continue
        if not place.endswith(f"{assignment}.ipynb"):
            row.status.insert(0, "renamed")
        row.digest = hashlib.sha256(data).hexdigest()
        while row.student.lower() in taken:  # lower: some disks do not tell Anna from anna
            row.student = f"{name}-{(k := k + 1)}"
        taken.add(row.student.lower())
    return rows


def wall(home: str, bubblewrap: str | None) -> list[str]:
    """Say what stands before the command of a kernel: a bare environment, and bubblewrap if it is here."""
    variables = {"PATH": os.defpath, "HOME": home, "LANG": "C.UTF-8", "OMP_NUM_THREADS": "1"}
    if bubblewrap is None:
        variables["JPY_PARENT_PID"] = str(os.getpid())  # the kernel ends with this process
    command = ["env", "-i", *(f"{key}={value}" for key, value in variables.items())]
    if bubblewrap is None:
        return command
    command += [bubblewrap, "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    command += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]
    for place in ("/usr", "/bin", "/lib", "/lib64", "/etc/alternatives", "/etc/fonts", "/etc/ld.so.cache"):
        link = os.path.islink(place)
        command += ["--symlink", os.readlink(place), place] if link else ["--ro-bind-try", place, place]
    python = os.path.dirname(os.path.realpath(sys.executable))
    for place in dict.fromkeys([sys.base_prefix, sys.prefix, python, *site.getsitepackages()]):
        command += [] if place.startswith("/usr") else ["--ro-bind", place, place]
    return [*command, "--bind", home, home, "--chdir", home]


def find_bubblewrap() -> str | None:
    """Try whether bubblewrap works here, and say so loudly if it does not."""
    found = shutil.which("bwrap")
    with tempfile.TemporaryDirectory() as home:
        command = [*wall(home, found), sys.executable, "-c", "import ipykernel"]
        if found and subprocess.run(command, capture_output=True).returncode:
            found = None
    if found is None:
        say = "!!! NO BUBBLEWRAP: submissions can read and change YOUR FILES, and use the network.\n"
        print(say + "!!! Install it, or use book/assignments/Containerfile.", file=sys.stderr)
    if os.geteuid() == 0:
        print("!!! YOU ARE ROOT: nothing limits the number of processes.", file=sys.stderr)
    return found


def end_descendants(process: psutil.Process) -> None:
    """Kill whatever a process has started, and what that has started."""
    while children := [p for p in process.children(recursive=True) if p.status() != psutil.STATUS_ZOMBIE]:
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        psutil.wait_procs(children, timeout=1)


def shut_in(row: Row, given: argparse.Namespace) -> None:
    """Give this process a log, limits that its kernel inherits, and all that the kernel leaves behind."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(36, 1)  # what the submission leaves behind becomes a child of this process
        ctypes.CDLL(None).prctl(1, 9)  # and this process ends with the one that has started it
    log = os.open(given.out / "runs" / f"{row.student}.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1), os.dup2(log, 2)
    threads = [p.info for p in psutil.process_iter(["num_threads", "uids"]) if p.info["num_threads"]]
    processes = 256 + sum(p["num_threads"] for p in threads if p["uids"].real == os.getuid())  # all of a user
    limits = {resource.RLIMIT_AS: given.memory * 2**20, resource.RLIMIT_NPROC: processes}
    limits |= {resource.RLIMIT_CORE: 0, resource.RLIMIT_FSIZE: 2**28}
    for limit, most in limits.items():
        resource.setrlimit(limit, (most, most))


def grade_one(row: Row, name: str, bubblewrap: str | None, given: argparse.Namespace) -> None:
    """Grade one submission, in a process of its own that ends with this function."""
    shut_in(row, given)
    tempfile.tempdir = home = tempfile.mkdtemp(prefix="l2-")
    spec, database = Path(home, "kernels", "student", "kernel.json"), given.out / "runs" / f"{row.student}.db"
    spec.parent.mkdir(parents=True)
    command = [*wall(home, bubblewrap), sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    about = {"display_name": "student", "language": "python", "interrupt_mode": "message", "argv": command}
    spec.write_text(json.dumps(about))
    os.environ |= {"JUPYTER_PATH": home, "JUPYTER_RUNTIME_DIR": home}
    shutil.copy(given.out / "runs" / "empty.db", database)
    api = nbgrader(
        given.out,
        CourseDirectory={"db_url": f"sqlite:///{database}"},
        Execute={"timeout": given.timeout, "kernel_name": "student"},
        ConnectionFileMixin={"transport": "ipc", "ip": f"{home}/kernel"},  # reaches through the wall
    )
    try:
        done = api.autograde(name, row.student)
        if done["success"]:
            result = read_result(api, name, row.student)
            feedback = api.generate_feedback(name, row.student)
            result["note"] = "" if feedback["success"] else "no feedback page"
        else:
            print(done.get("log"), done.get("error"), flush=True)
            dead = "DeadKernelError" in str(done)
            why = "its kernel was ended, crashed, or ran out of memory" if dead else "see the log"
            result = {"status": "died", "note": f"{why}: runs/{row.student}.log"}
    finally:
        end_descendants(psutil.Process())
        shutil.rmtree(home, ignore_errors=True)
    keep(row, given.out, result)


def read_result(api: Any, name: str, student: str) -> dict[str, Any]:
    """Take points and messages from what nbgrader has made."""
    notebook = nbformat.read(api.coursedir.format_path("autograded", student, name) + f"/{name}.ipynb", 4)
    messages, status = {}, ""
    for cell in notebook.cells:
        for output in (o for o in cell.get("outputs", []) if o.output_type == "error"):
            grade_id = cell.metadata.get("nbgrader", {}).get("grade_id", "")
            messages[grade_id] = f"{output.ename}: {output.evalue}"[:1000]
            status = "timeout" if output.ename == "CellTimeoutError" else status
    with api.gradebook as gradebook:
        grades = gradebook.find_submission_notebook(name, name, student).grades
        return {"status": status, "points": {g.name: g.auto_score for g in grades}, "messages": messages}


def keep(row: Row, out: Path, result: dict[str, Any]) -> None:
    """Store what came of a submission, whole or not at all."""
    path = out / "runs" / f"{row.student}.json"
    path.with_suffix(".new").write_text(json.dumps(result | {"digest": row.digest}), "utf-8")
    path.with_suffix(".new").replace(path)


def load(row: Row, out: Path) -> bool:
    """Put the stored result into the row, if there is one of this very file."""
    path = out / "runs" / f"{row.student}.json"
    stored = json.loads(path.read_text("utf-8")) if path.exists() else {}
    row.result = stored if stored.get("digest") == row.digest else {}
    return bool(row.result)


def grade_all(todo: list[Row], name: str, given: argparse.Namespace) -> None:
    """Grade several at a time, and leave the results in the rows."""
    count, bubblewrap = len(todo), find_bubblewrap()
    begun, used = time.monotonic(), sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
    running: dict[Any, tuple[Row, float]] = {}
    fork = multiprocessing.get_context("fork")  # nbgrader is imported once
    with tqdm(total=count, unit="student") as bar:
        while todo or running:
            while todo and len(running) < given.jobs:
                process = fork.Process(target=grade_one, args=(todo[0], name, bubblewrap, given))
                process.start()
                running[process] = (todo.pop(0), time.monotonic() + given.total)
            wait([process.sentinel for process in running], timeout=1)
            for process, (row, deadline) in list(running.items()):
                late = time.monotonic() > deadline
                if process.is_alive() and not late:
                    continue
                if process.is_alive():
                    with contextlib.suppress(psutil.NoSuchProcess):
                        end_descendants(psutil.Process(process.pid))
                    process.kill()
                process.join()
                del running[process]
                if not load(row, given.out):
                    why = f"not done after {given.total} seconds" if late else "its grading was ended"
                    keep(row, given.out, {"status": "timeout" if late else "died", "note": why})
                    load(row, given.out)
                bar.update()
    seconds, used = time.monotonic() - begun, sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2]) - used
    each = f"{seconds / count:.1f} s each, {used / count:.1f} s of CPU"
    print(f"{count} graded by nbgrader in {seconds:.0f} s, {given.jobs} at a time: {each}")


def merge(rows: list[Row], out: Path, name: str) -> dict[str, dict[str, float | None]]:
    """Enter new results into the gradebook of the course; return all points, those given by hand included."""
    from nbgrader.api import MissingEntry

    points: dict[str, dict[str, float | None]] = {}
    with nbgrader(out).gradebook as gradebook:
        for row in rows:
            if "points" not in row.result:
                with contextlib.suppress(MissingEntry):  # an earlier version that could be graded
                    gradebook.remove_submission(name, row.student)
                continue
            marker = out / "merged" / row.student
            if fresh := not marker.exists() or marker.read_text() != row.digest:
                gradebook.update_or_create_student(row.student)
                gradebook.update_or_create_submission(name, row.student)
            for grade in gradebook.find_submission_notebook(name, name, row.student).grades:
                if fresh:
                    grade.auto_score = row.result["points"][grade.name]
                    grade.needs_manual_grade = grade.auto_score is None or grade.manual_score is not None
                score = grade.auto_score if grade.manual_score is None else grade.manual_score
                points.setdefault(row.student, {})[grade.name] = score
            gradebook.db.commit()
            marker.write_text(row.digest)
    return points


def write_table(rows: list[Row], points: dict[str, Any], most: dict[str, float], out: Path) -> None:
    """Write grades.csv."""
    questions = list(dict.fromkeys(test.partition("-")[0] for test in most))
    with open(out / "grades.csv", "w", newline="", encoding="utf-8-sig") as file:  # sig: for Excel
        table = csv.writer(file)
        table.writerow(["student", "file", "status", "score", "of", *questions, "notes"])
        for row in rows:
            mine = points.get(row.student, {}) if row.notebook else {}
            sums = [[p for test, p in mine.items() if test.partition("-")[0] == q] for q in questions]
            cells = ["" if not s or None in s else f"{sum(s):g}" for s in sums]
            score = f"{sum(p or 0 for p in mine.values()):g}" if mine else ""
            texts = [row.student, row.file, ", ".join(row.status), score, f"{sum(most.values()):g}", *cells]
            texts.append("; ".join(filter(None, row.notes)))
            table.writerow([f"'{t}" if t.startswith(("=", "+", "-", "@")) else t for t in texts])


def write_gradescope(rows: list[Row], points: dict[str, Any], most: dict[str, float], path: Path) -> None:
    """Write results.json: the points of the best file, and what is to be said of each."""
    said = [f"{row.file}: {', '.join(row.status)}. {'; '.join(row.notes)}" for row in rows]
    graded = [row for row in rows if row.notebook and row.student in points]
    best = max(graded, key=lambda row: sum(p or 0 for p in points[row.student].values()), default=None)
    tests = []
    for test, of in most.items() if best else []:
        score = points[best.student][test]
        text = "read by a person" if score is None else best.result["messages"].get(test, "")
        tests.append({"name": test, "score": score or 0, "max_score": of, "output": text})
    results = {"score": sum(test["score"] for test in tests), "tests": tests}
    path.write_text(json.dumps(results | {"output": "\n".join(said) or "Nothing was handed in."}))


def main() -> None:
    """Read the command line and grade."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("submissions", type=Path, help="folder or zip file, as it came from the LMS")
    parser.add_argument("assignment", help="name, or path of a source notebook that lies elsewhere")
    parser.add_argument("--out", type=Path, help="course folder to write (default: grades/NAME)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="students at the same time")
    parser.add_argument("--timeout", type=int, default=60, help="seconds for one cell")
    parser.add_argument("--total", type=int, default=600, help="seconds for one student")
    parser.add_argument("--memory", type=int, default=8192, help="MiB of address space for one process")
    parser.add_argument("--gradescope", type=Path, metavar="FILE", help="write results.json there")
    given = parser.parse_args()
    source = Path(given.assignment)
    if source.suffix != ".ipynb":
        source = COURSE / "source" / given.assignment / f"{given.assignment}.ipynb"
    if not given.submissions.exists() or not source.is_file():
        sys.exit(f"there is no {given.submissions if source.is_file() else source}")
    name = source.stem
    given.out = out = (given.out or COURSE.parents[1] / "grades" / name).resolve()
    known = out / "source" / name / f"{name}.ipynb"
    if known.exists() and known.read_bytes() != source.read_bytes():
        sys.exit(f"{out} holds grades for another version of {name}: move it away, or give another --out")
    if not (out / "runs" / "empty.db").exists():
        for folder in ("runs", "merged"):
            (out / folder).mkdir(parents=True, exist_ok=True)
        release(source, out)
        shutil.copy(COURSE / "nbgrader_config.py", out)
        shutil.copy(out / "gradebook.db", out / "runs" / "empty.db")
    released = nbformat.read(out / "release" / name / f"{name}.ipynb", 4)
    rows = collect(given.submissions, name, released)
    graded = [row for row in rows if row.notebook]
    for row in graded:
        row.digest += f" {given.timeout} {given.total} {given.memory}"
    todo = [row for row in graded if not load(row, out)]
    for row in todo:
        target = out / "submitted" / row.student / name / f"{name}.ipynb"
        target.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(row.notebook, target)
    if todo:
        grade_all(todo, name, given)
    for row in graded:
        row.status = list(filter(None, [row.result["status"], *row.status])) or ["graded"]
        row.notes.append(row.result["note"])
    marks = [c.metadata.nbgrader for c in released.cells if c.metadata.nbgrader.grade]
    most = {mark.grade_id: mark.points for mark in marks}
    points = merge(graded, out, name)
    write_table(rows, points, most, out)
    if given.gradescope:
        write_gradescope(rows, points, most, given.gradescope)
    counts = Counter(", ".join(row.status) for row in rows)
    print(f"{len(rows)} files:", "; ".join(f"{n} {status}" for status, n in counts.items()))
    print(out / "grades.csv")


if __name__ == "__main__":
    main()
