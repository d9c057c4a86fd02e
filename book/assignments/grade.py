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

from release import COURSE, course, nbgrader
from repair import DamagedError, cells_of, repair

warnings.filterwarnings("ignore", "Object of type")  # nbgrader's use of SQLAlchemy
LARGEST = 50 * 2**20
SYSTEM = re.compile(r"__MACOSX|\.git|\.ipynb_checkpoints|\.DS_Store|Thumbs\.db|desktop\.ini|\._.*")
# What learning management systems write around the name of a student: Moodle, Canvas, Blackboard.
EXPORTS = re.compile(r"(.+)_\d+_assignsubmission_.*|([^_]+)(?:_LATE)?_\d+_\d+_.*|.+?_([^_]+)_attempt_.*")
NUMBER = re.compile(r"""^STUDENT_ID\s*=\s*["']?([^"'\n#]{1,100})""", re.MULTILINE)
# Runs before a kernel, in its process: limits, and none of the teacher's environment.
LAUNCH = """import os, resource as r, sys
home, processes = sys.argv[1], int(sys.argv[2])
for limit, most in ((r.RLIMIT_CORE, 0), (r.RLIMIT_FSIZE, 2**28), (r.RLIMIT_NPROC, processes)):
    r.setrlimit(limit, (most, most))
os.chdir(home)
parent = {} if "bwrap" in sys.argv[3] else {"JPY_PARENT_PID": os.environ.get("JPY_PARENT_PID", "")}
os.execve(sys.argv[3], sys.argv[3:], parent | {"PATH": os.defpath, "HOME": home, "LANG": "C.UTF-8",
    "OMP_NUM_THREADS": "1", "NBGRADER_EXECUTION": "autograde"})"""


@dataclass
class Row:
    """One file, and what came of it."""

    file: str
    student: str
    data: bytes = b""
    status: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    number: str = ""
    notebook: Any = None  # what nbgrader gets; None if there is nothing to grade
    result: dict[str, Any] = field(default_factory=dict)


def files(folder: Path, above: str = "") -> Iterator[tuple[str, bytes | None]]:
    """Yield the path and the content (None: not to be read) of every file, those in archives included."""
    for path in sorted(folder.iterdir()):
        place = f"{above}{path.name}"
        large = path.is_file() and path.stat().st_size > LARGEST
        if SYSTEM.fullmatch(path.name) or path.is_symlink() or large:
            yield place, None
        elif path.is_dir():
            yield from files(path, f"{place}/")
        elif path.suffix.lower() != ".zip" or not zipfile.is_zipfile(path):
            yield place, path.read_bytes()
        else:
            with zipfile.ZipFile(path) as archive:  # by entry, not by name: two may have the same
                for entry in (e for e in archive.infolist() if not e.is_dir()):
                    data: bytes | None = b""
                    with contextlib.suppress(OSError, RuntimeError, ValueError, zipfile.BadZipFile):
                        strange = any(map(SYSTEM.fullmatch, entry.filename.split("/")))
                        data = None if strange or entry.file_size > LARGEST else archive.read(entry)
                    yield f"{place}/{entry.filename}", data


def students(places: list[str], assignment: str) -> list[str]:
    """Guess from their paths whose files these are."""
    parts = [place.split("/") for place in places]
    heads = Counter(tuple(p[:1]) for p in {tuple(p[:2]) for p in parts if len(p) > 1})
    around = {p[0] for p in parts if p[0].lower().endswith(".zip") and heads[(p[0],)] > 1}
    if len({p[0] for p in parts}) == 1 and max(heads.values(), default=0) > 1:
        around.add(parts[0][0])  # one folder around all
    names = []
    for part in parts:
        part = part[1:] if part[0] in around else part
        name = re.sub(r"\.(ipynb|json|txt|zip)$", "", part[0], flags=re.IGNORECASE)
        if match := EXPORTS.fullmatch(name):
            name = next(group for group in match.groups() if group)
        elif len(part) == 1 and not name.lower().startswith("copy"):
            name = name.replace(assignment, "").strip("_- ") or name
        names.append(re.sub(r"[^\w.'@-]+", "_", name).strip("._") or "student")
    return names


def collect(folder: Path, assignment: str, released: nbformat.NotebookNode) -> list[Row]:
    """Read a folder: what an LMS exports, a checkout of GitHub Classroom, or notebooks side by side."""
    found = list(files(folder))
    rows, taken = [], set()
    names = students([place for place, _ in found], assignment)
    for (place, data), name in zip(found, names, strict=True):
        rows.append(row := Row(place, name, data or b""))
        try:
            if data is None:
                raise DamagedError("ignored", "")
            row.notebook, row.status, row.notes = repair(cells_of(data), released)
        except DamagedError as reason:
            row.status, row.notes = [reason.status], [str(reason)]
            continue
        own = Path(place).name
        if assignment not in own or own.lower().startswith("copy") or not own.endswith(".ipynb"):
            row.status.insert(0, "renamed")
        k = 1
        while row.student.lower() in taken:  # lower: some disks do not tell Anna from anna
            row.student, k = f"{name}-{k + 1}", k + 1
        taken.add(row.student.lower())
        row.notes += [f"file {k} of {name}"] * (k > 1)
        numbers = [NUMBER.findall(cell.source) for cell in row.notebook.cells if cell.cell_type == "code"]
        row.number = next((n[-1].strip() for n in numbers if n), "")
    return rows


def wall(home: str, bubblewrap: str | None, processes: int) -> list[str]:
    """Compose what stands before the command of a kernel: limits, and bubblewrap if it is there."""
    command = [sys.executable, "-I", "-S", "-c", LAUNCH, home, str(processes)]
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
        command = [*wall(home, found, 5000), sys.executable, "-c", "import ipykernel"]
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


def grade_one(row: Row, name: str, bubblewrap: str | None, given: argparse.Namespace) -> None:
    """Grade one submission, in a process of its own that ends with this function."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(36, 1)  # what the submission leaves behind becomes a child of this process
        ctypes.CDLL(None).prctl(1, 9)  # and this process ends with the one that has started it
    log = os.open(given.out / "runs" / f"{row.student}.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1), os.dup2(log, 2)
    resource.setrlimit(resource.RLIMIT_AS, (given.memory * 2**20,) * 2)
    mine = [p for p in psutil.process_iter(["num_threads", "uids"]) if p.info["uids"].real == os.getuid()]
    processes = 256 + sum(p.info["num_threads"] or 0 for p in mine)  # the limit counts all of a user
    tempfile.tempdir = home = tempfile.mkdtemp(prefix="l2-")
    spec, database = Path(home, "kernels", "student", "kernel.json"), given.out / "runs" / f"{row.student}.db"
    spec.parent.mkdir(parents=True)
    kernel = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    about = {"display_name": "student", "language": "python", "interrupt_mode": "message"}
    spec.write_text(json.dumps(about | {"argv": [*wall(home, bubblewrap, processes), *kernel]}))
    os.environ |= {"JUPYTER_PATH": home, "JUPYTER_RUNTIME_DIR": home}
    shutil.copy(given.out / "runs" / "empty.db", database)
    settings = {
        "CourseDirectory": {"db_url": f"sqlite:///{database}"},
        "Execute": {"timeout": given.timeout, "kernel_name": "student"},
        "ConnectionFileMixin": {"transport": "ipc", "ip": f"{home}/kernel"},  # reaches through the wall
    }
    try:
        done = nbgrader("Autograde", given.out, name, row.student, **settings)
        if done["success"]:
            result = read_result(database, given.out, name, row.student)
            if not nbgrader("GenerateFeedback", given.out, name, row.student, **settings)["success"]:
                result["notes"].append("no feedback page")
        else:
            print(done.get("log"), done.get("error"), flush=True)
            dead = "DeadKernelError" in str(done)
            why = "its kernel was ended, crashed, or ran out of memory" if dead else "see the log"
            result = {"status": "died", "notes": [f"{why}: runs/{row.student}.log"]}
    finally:
        end_descendants(psutil.Process())
        shutil.rmtree(home, ignore_errors=True)
    keep(row, given.out, result)


def read_result(database: Path, out: Path, name: str, student: str) -> dict[str, Any]:
    """Take points and messages from what nbgrader has made."""
    from nbgrader.api import Gradebook

    notebook = nbformat.read(out / "autograded" / student / name / f"{name}.ipynb", 4)
    messages, late = {}, False
    for cell in notebook.cells:
        for output in (o for o in cell.get("outputs", []) if o.output_type == "error"):
            grade_id = cell.metadata.get("nbgrader", {}).get("grade_id", "")
            messages[grade_id] = f"{output.ename}: {output.evalue}"[:1000]
            late = late or output.ename == "CellTimeoutError"
    with Gradebook(f"sqlite:///{database}") as gradebook:
        grades = gradebook.find_submission_notebook(name, name, student).grades
        points = {grade.name: grade.auto_score for grade in grades}
    return {"status": "timeout" if late else "", "notes": [], "points": points, "messages": messages}


def keep(row: Row, out: Path, result: dict[str, Any]) -> None:
    """Store what came of a submission, whole or not at all."""
    path = out / "runs" / f"{row.student}.json"
    path.with_suffix(".new").write_text(json.dumps(result | {"digest": row.result["digest"]}), "utf-8")
    path.with_suffix(".new").replace(path)


def load(row: Row, out: Path) -> bool:
    """Put the stored result into the row, if there is one of this very file."""
    path = out / "runs" / f"{row.student}.json"
    stored = json.loads(path.read_text("utf-8")) if path.exists() else {}
    if stored.get("digest") == row.result["digest"]:
        row.result = stored
    return "status" in row.result


def grade_all(todo: list[Row], name: str, given: argparse.Namespace) -> None:
    """Grade several at a time, and leave the results in the rows."""
    count, begun, bubblewrap = len(todo), time.monotonic(), find_bubblewrap()
    running: dict[Any, tuple[Any, Row, float]] = {}
    fork = multiprocessing.get_context("fork")  # nbgrader is imported once
    with tqdm(total=count, unit="student") as bar:
        while todo or running:
            while todo and len(running) < given.jobs:
                row = todo.pop(0)
                process = fork.Process(target=grade_one, args=(row, name, bubblewrap, given))
                process.start()
                running[process.sentinel] = (process, row, time.monotonic() + given.total)
            wait(list(running), timeout=1)
            for sentinel, (process, row, deadline) in list(running.items()):
                late = process.is_alive() and time.monotonic() > deadline
                if process.is_alive() and not late:
                    continue
                if late:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        end_descendants(psutil.Process(process.pid))
                    process.kill()
                process.join()
                del running[sentinel]
                if not load(row, given.out):
                    why = f"not done after {given.total} seconds" if late else "its grading was ended"
                    keep(row, given.out, {"status": "timeout" if late else "died", "notes": [why]})
                    load(row, given.out)
                bar.update()
    used, seconds = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic() - begun
    each = f"{seconds / count:.1f} s each, {(used.ru_utime + used.ru_stime) / count:.1f} s of CPU"
    print(f"{count} graded by nbgrader in {seconds:.0f} s, {given.jobs} at a time: {each}")


def merge(rows: list[Row], out: Path, name: str) -> dict[str, dict[str, float | None]]:
    """Enter new results into the gradebook of the course; return all points, those given by hand included."""
    from nbgrader.api import Gradebook, MissingEntry

    points: dict[str, dict[str, float | None]] = {}
    with Gradebook(f"sqlite:///{out / 'gradebook.db'}", "l2") as gradebook:
        for row in rows:
            if "points" not in row.result:
                with contextlib.suppress(MissingEntry):  # an earlier version that could be graded
                    gradebook.remove_submission(name, row.student)
                continue
            marker = out / "runs" / f"{row.student}.merged"
            fresh = not marker.exists() or marker.read_text() != row.result["digest"]
            if fresh:
                gradebook.update_or_create_student(row.student)
                gradebook.update_or_create_submission(name, row.student)
            for grade in gradebook.find_submission_notebook(name, name, row.student).grades:
                if fresh:
                    grade.auto_score = row.result["points"][grade.name]
                    grade.needs_manual_grade = grade.auto_score is None or grade.manual_score is not None
                score = grade.auto_score if grade.manual_score is None else grade.manual_score
                points.setdefault(row.student, {})[grade.name] = score
            gradebook.db.commit()
            marker.write_text(row.result["digest"])
    return points


def write_tables(rows: list[Row], points: dict[str, Any], released: Any, given: argparse.Namespace) -> None:
    """Write grades.csv, and results.json for Gradescope."""
    marks = [cell.metadata["nbgrader"] for cell in released.cells if cell.metadata["nbgrader"].get("grade")]
    questions = list(dict.fromkeys(mark["grade_id"].partition("-")[0] for mark in marks))
    numbers = Counter(row.number for row in rows if not row.number.startswith("your "))
    with open(given.out / "grades.csv", "w", newline="", encoding="utf-8-sig") as file:  # sig: for Excel
        table = csv.writer(file)
        table.writerow(["student", "file", "status", "score", "of", *questions, "student_id", "notes"])
        for row in rows:
            mine = points.get(row.student, {}) if row.notebook else {}
            row.notes += ["student_id occurs more than once"] * (bool(row.number) and numbers[row.number] > 1)
            sums = [[p for n, p in mine.items() if n.partition("-")[0] == q] for q in questions]
            cells = ["" if not s or None in s else f"{sum(s):g}" for s in sums]
            score = f"{sum(p or 0 for p in mine.values()):g}" if mine else ""
            most = sum(mark["points"] for mark in marks)
            texts = [row.student, row.file, ", ".join(row.status), score, f"{most:g}", *cells, row.number]
            texts.append("; ".join(filter(None, row.notes)))
            table.writerow([f"'{t}" if t.startswith(("=", "+", "-", "@")) else t for t in texts])
    if given.gradescope:
        said = [f"{row.file}: {', '.join(row.status)}. {'; '.join(row.notes)}" for row in rows]
        graded = [row for row in rows if row.notebook and row.student in points]
        best = max(graded, key=lambda row: sum(p or 0 for p in points[row.student].values()), default=None)
        tests = []
        for mark in marks if best else []:
            score = points[best.student][mark["grade_id"]]
            text = "read by a person" if score is None else best.result["messages"].get(mark["grade_id"], "")
            test = {"name": mark["grade_id"], "score": score or 0, "max_score": mark["points"]}
            tests.append(test | {"output": text})
        results = {"score": sum(test["score"] for test in tests), "tests": tests}
        results["output"] = "\n".join(said) or "Nothing was handed in."
        given.gradescope.write_text(json.dumps(results))


def main() -> None:
    """Read the command line and grade."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("submissions", type=Path, help="folder, as it came from the LMS")
    parser.add_argument("assignment", help="name, or path of a source notebook that lies elsewhere")
    parser.add_argument("--out", type=Path, help="course folder to write (default: grades/NAME)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="students at the same time")
    parser.add_argument("--timeout", type=int, default=60, help="seconds for one cell")
    parser.add_argument("--total", type=int, default=600, help="seconds for one student")
    parser.add_argument("--memory", type=int, default=8192, help="MiB of address space for one process")
    parser.add_argument("--part", default="1/1", help="K/N: grade the K-th of N parts, and write no table")
    parser.add_argument("--gradescope", type=Path, metavar="FILE", help="write results.json there")
    given = parser.parse_args()
    source = Path(given.assignment)
    if source.suffix != ".ipynb":
        source = COURSE / "source" / given.assignment / f"{given.assignment}.ipynb"
    if not given.submissions.is_dir() or not source.is_file():
        sys.exit(f"there is no {given.submissions if source.is_file() else source}")
    name = source.stem
    given.out = out = (given.out or COURSE.parents[1] / "grades" / name).resolve()
    known = out / "source" / name / f"{name}.ipynb"
    if known.exists() and known.read_bytes() != source.read_bytes():
        sys.exit(f"{out} holds grades for another version of {name}: move it away, or give another --out")
    if not (out / "runs" / "empty.db").exists():
        (out / "runs").mkdir(parents=True, exist_ok=True)
        course(source, out)
        shutil.copy(COURSE / "nbgrader_config.py", out)
        shutil.copy(out / "gradebook.db", out / "runs" / "empty.db")
    released = nbformat.read(out / "release" / name / f"{name}.ipynb", 4)
    rows = collect(given.submissions, name, released)
    todo, graded = [], [row for row in rows if row.notebook]
    part, parts = map(int, given.part.split("/"))
    for row in graded[part - 1 :: parts]:
        limits = f"{given.timeout} {given.total} {given.memory}".encode()
        row.result = {"digest": hashlib.sha256(row.data + limits).hexdigest()}
        if not load(row, out):
            target = out / "submitted" / row.student / name / f"{name}.ipynb"
            target.parent.mkdir(parents=True, exist_ok=True)
            nbformat.write(row.notebook, target)
            todo.append(row)
    if todo:
        grade_all(todo, name, given)
    if parts > 1:
        return
    for row in graded:
        row.status = list(filter(None, [row.result["status"], *row.status])) or ["graded"]
        row.notes += row.result["notes"]
    write_tables(rows, merge(graded, out, name), released, given)
    counts = Counter(", ".join(row.status) for row in rows)
    print(f"{len(rows)} files:", "; ".join(f"{n} {status}" for status, n in counts.items()))
    print(out / "grades.csv")


if __name__ == "__main__":
    main()
