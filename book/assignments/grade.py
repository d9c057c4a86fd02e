"""Grade a folder of submissions with nbgrader: ``python book/assignments/grade.py FOLDER NAME``, or ``make grade``.

Every file gets a line in ``grades.csv``.  nbgrader runs once for each student, with a gradebook of its own; the
student's kernel runs inside bubblewrap where that is installed.  ``OUT`` is a course folder of nbgrader: the
written questions are graded in its formgrader.  A run that was killed goes on where it was.
"""

from __future__ import annotations

import argparse
import csv
import ctypes
import hashlib
import io
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
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import nbformat
import psutil
from release import COURSE, course, nbgrader
from repair import Damaged, cells_of, repair
from tqdm import tqdm

warnings.filterwarnings("ignore", "Object of type")  # nbgrader's use of SQLAlchemy
LARGEST = 50 * 2**20
SYSTEM = re.compile(r"(^|/)(__MACOSX|\.git|\.ipynb_checkpoints|\.DS_Store|Thumbs\.db|desktop\.ini|\._[^/]*)(/|$)")
# What learning management systems write around the name of a student.
EXPORTS = (r"(.+)_\d+_assignsubmission_.*", r"([^_]+)(?:_LATE)?_\d+_\d+_.*", r".+?_([^_]+)_attempt_.*")
NUMBER = re.compile(r"""^STUDENT_ID\s*=\s*["']?([^"'\n#]{1,100})""", re.MULTILINE)
LAUNCH = """
import os, resource as r, sys
home, user, processes = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
r.setrlimit(r.RLIMIT_CORE, (0, 0)); r.setrlimit(r.RLIMIT_FSIZE, (2**28, 2**28))
r.setrlimit(r.RLIMIT_NPROC, (processes, processes))
if user:
    for name in [home, *(os.path.join(home, n) for n in os.listdir(home))]: os.chown(name, user, user)
    os.setgroups([]); os.setgid(user); os.setuid(user)
os.chdir(home)
keep = {k: os.environ[k] for k in ("JPY_PARENT_PID",) if k in os.environ and "bwrap" not in sys.argv[4]}
os.execve(sys.argv[4], sys.argv[4:], keep | {"PATH": os.defpath, "HOME": home, "USER": "student",
    "LANG": "C.UTF-8", "OMP_NUM_THREADS": "1", "NBGRADER_EXECUTION": "autograde"})
"""


@dataclass
class Row:
    """One file, and what came of it."""

    file: str
    name: str  # what its path says about the student
    data: bytes = b""
    student: str = ""  # the student for nbgrader; empty if there is nothing to grade
    status: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    number: str = ""
    notebook: Any = None
    result: dict[str, Any] = field(default_factory=dict)


def files(folder: Path) -> Iterator[tuple[str, str, bytes | None]]:
    """Yield path, path for the name of the student, and content (None: not to be read) of every file."""
    for path in sorted(folder.rglob("*")):
        place = path.relative_to(folder).as_posix()
        if path.is_symlink() or (path.is_dir() and SYSTEM.search(place)):
            if not SYSTEM.search(path.parent.relative_to(folder).as_posix()):
                yield place, place, None
        elif path.is_file() and not SYSTEM.search(path.parent.relative_to(folder).as_posix()):
            data = path.read_bytes() if path.stat().st_size <= LARGEST and not SYSTEM.search(place) else None
            if data is None or path.suffix.lower() != ".zip" or not zipfile.is_zipfile(io.BytesIO(data)):
                yield place, place, data
                continue
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                members = [m for m in archive.infolist() if not m.is_dir()]
                many = len({m.filename.split("/")[0] for m in members if not SYSTEM.search(m.filename)}) > 1
                for member in members:
                    inner = member.filename if many and "/" not in place else f"{path.stem}/{member.filename}"
                    try:
                        small = member.file_size <= LARGEST and not SYSTEM.search(member.filename)
                        content = archive.open(member).read(LARGEST) if small else None
                    except (OSError, RuntimeError, ValueError, NotImplementedError, zipfile.BadZipFile):
                        content = b""  # encrypted or broken
                    yield f"{place}/{member.filename}", inner, content


def collect(folder: Path, assignment: str, released: nbformat.NotebookNode) -> list[Row]:
    """Read a folder: what an LMS exports, a checkout of GitHub Classroom, or notebooks side by side."""
    found = list(files(folder))
    parts = [name.split("/") for _, name, _ in found]
    while len({p[0] for p in parts}) == 1 and min(map(len, parts)) > 1 and len({p[1] for p in parts}) > 1:
        parts = [p[1:] for p in parts]  # a folder around all students
    rows, taken = [], set()
    for (place, _, data), part in zip(found, parts, strict=True):
        rows.append(row := Row(place, part[0], data or b""))
        if data is None:
            row.status = ["ignored"]
            continue
        try:
            row.notebook, row.status, row.notes = repair(cells_of(data), released)
        except Damaged as reason:
            row.status, row.notes = [reason.status], [str(reason)]
            continue
        stem = re.sub(r"\.(ipynb|json|txt)$", "", part[0], flags=re.IGNORECASE) if len(part) == 1 else part[0]
        for pattern in EXPORTS:
            stem = re.sub(rf"^{pattern}$", r"\1", stem)
        if len(part) == 1 and not stem.lower().startswith("copy"):
            stem = stem.replace(assignment, "").strip("_- ") or stem
        row.name, own = stem, Path(place).stem
        if assignment not in own or own.lower().startswith("copy") or not place.endswith(".ipynb"):
            row.status.insert(0, "renamed")
        slug = re.sub(r"[^\w.'@-]+", "_", stem).strip("._") or "student"
        row.student, k = slug, 1
        while row.student.lower() in taken:  # also on disks that do not tell Anna from anna
            row.student, k = f"{slug}-{k + 1}", k + 1
        if k > 1:
            row.notes.append(f"file {k} of {slug}")
        taken.add(row.student.lower())
        numbers = [NUMBER.findall(c.source) for c in row.notebook.cells if c.cell_type == "code"]
        row.number = next((n[-1].strip() for n in numbers if n), "")
    return rows


def wall(home: str, user: int, bubblewrap: str | None, processes: int) -> list[str]:
    """Compose what stands before the command of a kernel: limits, and bubblewrap if it is there."""
    command = [sys.executable, "-I", "-S", "-c", LAUNCH, home, str(user), str(processes)]
    if bubblewrap is None:
        return command
    command += [bubblewrap, "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    command += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]
    for folder in ("/usr", "/bin", "/lib", "/lib64", "/etc/alternatives", "/etc/fonts", "/etc/ld.so.cache"):
        if os.path.islink(folder):
            command += ["--symlink", os.readlink(folder), folder]
        else:
            command += ["--ro-bind-try", folder, folder]
    packages = site.getsitepackages()  # may be linked from elsewhere
    for folder in dict.fromkeys([sys.base_prefix, sys.prefix, os.path.dirname(os.path.realpath(sys.executable)), *packages]):
        if not folder.startswith("/usr"):
            command += ["--ro-bind", folder, folder]
    return [*command, "--bind", home, home, "--chdir", home]


def find_walls() -> tuple[int, str | None, list[str]]:
    """Try which walls can be built here; return user (0: the own one), bubblewrap, and what must be said."""
    bubblewrap, root = shutil.which("bwrap"), os.geteuid() == 0
    for user, bwrap in [(root * 20000, bubblewrap), (0, bubblewrap), (root * 20000, None), (0, None)]:
        with tempfile.TemporaryDirectory() as home:
            command = [*wall(home, user, bwrap, 5000), sys.executable, "-c", "import ipykernel"]
            if subprocess.run(command, capture_output=True).returncode == 0:
                break
    said = [] if bwrap else ["NO BUBBLEWRAP: submissions see your files and the network.", "Install it, or grade in a container: book/assignments/Containerfile."]
    if root and not user:
        said.append("YOU ARE ROOT, and submissions run as root. Grade as another user.")
    return user, bwrap, said


def end_descendants(process: psutil.Process) -> None:
    """Kill whatever a process has started, and what that has started."""
    while children := [p for p in process.children(recursive=True) if p.status() != psutil.STATUS_ZOMBIE]:
        for child in children:
            try:
                child.kill()
            except psutil.NoSuchProcess:
                pass
        psutil.wait_procs(children, timeout=1)


def grade_one(row: Row, out: Path, assignment: str, walls: tuple[int, str | None, list[str]], given: argparse.Namespace) -> None:
    """Grade one submission, in a process of its own that ends with this function."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        libc.prctl(36, 1)  # what the submission leaves behind becomes a child of this process
        libc.prctl(1, 9)  # and this process ends with the one that has started it
    log = os.open(out / "runs" / f"{row.student}.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1), os.dup2(log, 2)
    memory = given.memory * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    user, bubblewrap, _ = walls
    processes = 256
    if not user:  # the limit counts all processes of the user
        mine = (p.info["num_threads"] or 0 for p in psutil.process_iter(["num_threads", "uids"]) if p.info["uids"].real == os.getuid())
        processes += sum(mine)
    tempfile.tempdir = home = tempfile.mkdtemp(prefix="l2-")
    try:
        spec = Path(home, "kernels", "student", "kernel.json")
        spec.parent.mkdir(parents=True)
        kernel = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        own = user and user + os.getpid() % 40000
        argv = [*wall(home, own, bubblewrap, processes), *kernel]
        spec.write_text(json.dumps({"argv": argv, "display_name": "student", "language": "python", "interrupt_mode": "message"}))
        os.environ |= {"JUPYTER_PATH": home, "JUPYTER_RUNTIME_DIR": home}
        database = out / "runs" / f"{row.student}.db"
        shutil.copy(out / "runs" / "empty.db", database)
        settings = {
            "CourseDirectory": {"db_url": f"sqlite:///{database}"},
            "Execute": {"timeout": given.timeout, "kernel_name": "student"},
            "ConnectionFileMixin": {"transport": "ipc", "ip": f"{home}/kernel"},
        }
        done = nbgrader("Autograde", out, assignment, row.student, **settings)
        if done["success"]:
            result = read_result(database, out, assignment, row.student)
            if not nbgrader("GenerateFeedback", out, assignment, row.student, **settings)["success"]:
                result["notes"].append("no feedback page")
        else:
            print(done.get("log"), done.get("error"), flush=True)
            result = {"status": "died", "notes": [str(done.get("error")).strip().splitlines()[-1][:200]]}
            if "DeadKernelError" in str(done):
                result["notes"] = ["its kernel died: it was ended, crashed, or ran out of memory"]
    finally:
        end_descendants(psutil.Process())
        shutil.rmtree(home, ignore_errors=True)
    write_result(out, row, result)


def read_result(database: Path, out: Path, assignment: str, student: str) -> dict[str, Any]:
    """Take points and messages from what nbgrader has made."""
    from nbgrader.api import Gradebook

    notebook = nbformat.read(out / "autograded" / student / assignment / f"{assignment}.ipynb", 4)
    errors = [(c, o) for c in notebook.cells for o in c.get("outputs", []) if o.output_type == "error"]
    late = any(o.ename == "CellTimeoutError" for _, o in errors)
    messages = {c.metadata.get("nbgrader", {}).get("grade_id", ""): f"{o.ename}: {o.evalue}"[:1000] for c, o in errors}
    with Gradebook(f"sqlite:///{database}") as gradebook:
        submission = gradebook.find_submission_notebook(assignment, assignment, student)
        points = {g.name: g.auto_score for g in submission.grades}
        comments = {c.name: c.auto_comment for c in submission.comments}
    return {"status": "timeout" if late else "", "notes": [], "points": points, "comments": comments, "messages": messages}


def write_result(out: Path, row: Row, result: dict[str, Any]) -> None:
    """Keep what came of a submission, so that a second run finds it done."""
    path = out / "runs" / f"{row.student}.json"
    path.with_suffix(".new").write_text(json.dumps(result | {"digest": row.result["digest"]}), "utf-8")
    path.with_suffix(".new").replace(path)


def grade_all(rows: list[Row], out: Path, assignment: str, given: argparse.Namespace) -> None:
    """Grade what has no result yet, several at a time, and leave the results in the rows."""
    walls = find_walls()
    for line in walls[2]:
        print(f"!!! {line}", file=sys.stderr, flush=True)
    todo = [row for row in rows if "status" not in row.result]
    running: dict[int, tuple[Any, Row, float]] = {}
    fork = multiprocessing.get_context("fork")  # nbgrader is imported once
    bar, begun = tqdm(total=len(todo), unit="student"), time.monotonic()
    while todo or running:
        while todo and len(running) < given.jobs:
            row = todo.pop(0)
            process = fork.Process(target=grade_one, args=(row, out, assignment, walls, given))
            process.start()
            running[process.sentinel] = (process, row, time.monotonic() + given.total)
        wait(list(running), timeout=1)
        for sentinel, (process, row, deadline) in list(running.items()):
            late = time.monotonic() > deadline
            if process.is_alive() and not late:
                continue
            if process.is_alive():
                end_descendants(psutil.Process(process.pid))
                process.kill()
            process.join()
            del running[sentinel]
            path = out / "runs" / f"{row.student}.json"
            result = json.loads(path.read_text("utf-8")) if path.exists() else {}
            if result.get("digest") != row.result["digest"]:
                why = f"not done after {given.total} seconds" if late else "its grading process was ended"
                write_result(out, row, {"status": "timeout" if late else "died", "notes": [why]})
                result = json.loads(path.read_text("utf-8"))
            row.result = result
            bar.update()
    bar.close()
    if bar.total:
        used, seconds = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic() - begun
        each = f"{seconds / bar.total:.1f} s each, {(used.ru_utime + used.ru_stime) / bar.total:.1f} s of CPU"
        print(f"{bar.total} graded by nbgrader in {seconds:.0f} s, {given.jobs} at a time: {each}")


def merge(rows: list[Row], out: Path, assignment: str) -> dict[str, dict[str, float | None]]:
    """Enter new results into the gradebook of the course; return all points, those given by hand included."""
    from nbgrader.api import Gradebook, MissingEntry

    points: dict[str, dict[str, float | None]] = {}
    with Gradebook(f"sqlite:///{out / 'gradebook.db'}", "l2") as gradebook:
        for row in (row for row in rows if "points" in row.result):
            marker = out / "runs" / f"{row.student}.merged"
            fresh = not marker.exists() or marker.read_text() != row.result["digest"]
            if fresh:
                gradebook.update_or_create_student(row.student)
                gradebook.update_or_create_submission(assignment, row.student)
            for grade in gradebook.find_submission_notebook(assignment, assignment, row.student).grades:
                if fresh:
                    grade.auto_score = row.result["points"][grade.name]
                    grade.needs_manual_grade = grade.auto_score is None or grade.manual_score is not None
                score = grade.auto_score if grade.manual_score is None else grade.manual_score
                points.setdefault(row.student, {})[grade.name] = score
            gradebook.db.commit()
            marker.write_text(row.result["digest"])
        for row in (row for row in rows if row.student and "points" not in row.result):
            try:  # an earlier, graded version of what does not run any more
                gradebook.remove_submission(assignment, row.student)
            except MissingEntry:
                continue
    return points


def write_tables(rows: list[Row], points: dict[str, dict[str, float | None]], released: Any, given: argparse.Namespace) -> None:
    """Write grades.csv, and results.json for Gradescope."""
    marks = [cell.metadata["nbgrader"] for cell in released.cells if cell.metadata["nbgrader"].get("grade")]
    questions = list(dict.fromkeys(mark["grade_id"].partition("-")[0] for mark in marks))
    most = sum(mark["points"] for mark in marks)
    numbers = [row.number for row in rows if row.student and not row.number.startswith("your ")]
    with open(given.out / "grades.csv", "w", newline="", encoding="utf-8-sig") as file:  # Excel needs the mark
        table = csv.writer(file)
        table.writerow(["student", "file", "status", "score", "of", *questions, "student_id", "notes"])
        for row in rows:
            mine = points.get(row.student, {})
            if row.student and numbers.count(row.number) > 1:
                row.notes.append("student_id occurs more than once")
            sums = [[p for n, p in mine.items() if n.partition("-")[0] == q] for q in questions]
            cells = ["" if not s or None in s else f"{sum(s):g}" for s in sums]
            score = f"{sum(p or 0 for p in mine.values()):g}" if mine else ""
            line = [row.student or row.name, row.file, ", ".join(row.status), score, f"{most:g}", *cells, row.number, "; ".join(row.notes)]
            table.writerow([f"'{c}" if c.startswith(("=", "+", "-", "@")) else c for c in line])
    if given.gradescope:
        best = max(rows, key=lambda row: sum(p or 0 for p in points.get(row.student, {"": -1}).values()), default=None)
        said = [f"{row.file}: {', '.join(row.status)}. {'; '.join(row.notes)}" for row in rows] or ["Nothing was handed in."]
        tests = []
        for mark in marks if best and best.student in points else []:
            name, score = mark["grade_id"], points[best.student][mark["grade_id"]]
            text = "read by a person" if score is None else best.result["messages"].get(name, "")
            tests.append({"name": name, "score": score or 0, "max_score": mark["points"], "output": text})
        given.gradescope.write_text(json.dumps({"output": "\n".join(said), "score": sum(t["score"] for t in tests), "tests": tests}))


def main() -> None:
    """Read the command line and grade."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
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
    for path in (given.submissions, source):
        if not path.exists():
            sys.exit(f"there is no {path}")
    name = source.stem
    given.out = out = (given.out or COURSE.parents[1] / "grades" / name).resolve()
    copy = out / "source" / name / f"{name}.ipynb"
    if copy.exists() and copy.read_bytes() != source.read_bytes():
        sys.exit(f"{out} holds grades for another version of {name}: move it away, or give another --out")
    (out / "runs").mkdir(parents=True, exist_ok=True)
    if not (out / "runs" / "empty.db").exists():
        course(source, out)
        shutil.copy(COURSE / "nbgrader_config.py", out)
        shutil.copy(out / "gradebook.db", out / "runs" / "empty.db")
    released = nbformat.read(out / "release" / name / f"{name}.ipynb", 4)
    rows = collect(given.submissions, name, released)
    students = [row for row in rows if row.student]
    for row in students:
        limits = f"{given.timeout} {given.total} {given.memory}"
        row.result = {"digest": hashlib.sha256(row.data + limits.encode()).hexdigest()}
        path = out / "runs" / f"{row.student}.json"
        if path.exists() and json.loads(path.read_text("utf-8"))["digest"] == row.result["digest"]:
            row.result = json.loads(path.read_text("utf-8"))
            continue
        target = out / "submitted" / row.student / name / f"{name}.ipynb"
        target.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(row.notebook, target)
    part, parts = map(int, given.part.split("/"))
    grade_all(students[part - 1 :: parts], out, name, given)
    if parts > 1:
        return
    for row in students:
        row.status = ([row.result["status"]] if row.result["status"] else []) + row.status or ["graded"]
        row.notes += row.result["notes"]
    write_tables(rows, merge(students, out, name), released, given)
    counts = [f"{sum(row.status == s for row in rows)} {', '.join(s)}" for s in {tuple(r.status): r.status for r in rows}.values()]
    print(f"{len(rows)} files: {'; '.join(counts)}\n{out / 'grades.csv'}")


if __name__ == "__main__":
    main()
