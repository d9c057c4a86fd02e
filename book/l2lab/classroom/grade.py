"""The batch grader: each submission in a process of its own, a status for each, no grade that it could touch.

The process that grades reads the files and keeps the tests and the grades. It never runs a line of a
submission, and takes from the processes that do nothing but short JSON messages. These say for one test
at a time whether it passed, and must repeat a key that came with the test. How the processes are shut in is
told in :mod:`l2lab.classroom.sandbox`.

What is protected, with both walls: the disk, the network, the grades, other submissions, the hidden tests of
questions that are not being tested, and the machine from floods of output, memory and processes. Functions
that tests call are the original ones, whatever a submission has put in their place.

What no grader can prevent that runs answer and test in one process: code that is written against this
grader, looks at its caller while a test runs and answers in its place, or changes methods of a class until
the test has asked them. It can raise the grade of its own submission, of no other one, and stands in the
notebook for everybody to read (the notes name what looks like it).

For very many submissions, ``--shard K/N`` grades the K-th of N parts with a journal of its own, on any
number of machines. The journals put one after the other are the journal of the whole: the command without
``--shard`` then finds everything done, and writes tables and pages.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import csv
import errno
import hashlib
import json
import os
import re
import secrets
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..progress import progress_bar
from ._messages import _Broken, _receive, _send
from .format import (
    STUB_MESSAGE,
    Assignment,
    Cell,
    Notebook,
    Step,
    answers_of,
    read_assignment,
    read_notebook,
    repair,
    student_id,
)
from .sandbox import Protection, bubblewrap, scratch, wrapped

__all__ = [
    "Grader",
    "Limits",
    "Result",
    "Verdict",
    "collect",
    "grade",
    "modules_of",
    "read_results",
    "write_csv",
    "write_results",
]

# Imported once, before anything is graded, besides what the assignment itself imports.
_MODULES = ("numpy", "torch")
_GRACE_SECONDS = 3.0  # between the polite end of a cell and that of its process
_START_SECONDS = 60.0  # for what must happen before a cell or test starts; much on a busy machine
_RESTARTS = 4  # times that a submission may end its process before the rest is given up
_SHOWN_INCIDENTS = 6
_VERSION = 1  # of what the journal stores
_UNUSUAL = (
    "_getframe|_current_frames|f_back|tb_frame|f_locals|f_code|__code__|__closure__|gc\\.get_|ctypes|"
    "l2lab\\.classroom|_exit\\(|SIGALRM|setitimer|sys\\.modules|__subclasses__|__builtins__|settrace|linecache|"
    "os\\.(?:kill|fork|dup2|write|read)\\b|getppid|/proc/|\\bmmap\\b|subprocess"
)


@dataclass(frozen=True)
class Limits:
    """What a submission may use.

    Parameters
    ----------
    seconds : float, default 30
        For one cell.
    total : float, default 300
        Seconds for the whole submission.
    memory : int, default 2048
        MiB more than Python and its libraries need, for each process; twice that for all together.
    processes : int, default 32
        Processes at the same time.
    output : int, default 10
        MiB that one cell may print.
    disk : int, default 100
        MiB of one file, and of the temporary folder where it is the submission's own.
    size : int, default 50
        MiB of the notebook.

    Raises
    ------
    ValueError
        If one is not positive.
    """

    seconds: float = 30.0
    total: float = 300.0
    memory: int = 2048
    processes: int = 32
    output: int = 10
    disk: int = 100
    size: int = 50

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e9:
                raise ValueError(f"the limit {name} must be a positive number, got {value!r}")


@dataclass
class Verdict:
    """What came of one test.

    Parameters
    ----------
    points : float
        What it gives if it passes.
    outcome : str
        "passed", "failed" (an assert), "error", "timeout", "died", "not answered" or "not run".
    message : str
        For the person who grades: the whole message, with whatever the submission has put into it.
    shown : str
        For the student: what the author of the test wrote as its message. Nothing in it is computed, since a
        hidden test could be read by the answer that it calls and be given away in a message.
    hidden : bool
        Whether it is a hidden test.
    """

    points: float
    outcome: str = "not run"
    message: str = ""
    shown: str = ""
    hidden: bool = False

    @property
    def score(self) -> float:
        """Points that were reached."""
        return self.points if self.outcome == "passed" else 0.0


@dataclass
class Result:
    """What came of one submission.

    Parameters
    ----------
    name : str
        Name of the submission.
    status : str
        "ok", or all that went wrong: "timeout in q2", "died (signal 11) in q3-hidden", "not a notebook: …".
    tests : dict of str to Verdict
        By grade_id; empty if nothing could be graded.
    questions : dict of str to str
        The question of each test.
    manual : dict of str to float
        Points of the questions that a person grades.
    answers : dict of str to str
        What the student wrote, by grade_id.
    notes : list of str
        What a person should know: repaired cells, functions that were tampered with, unusual code.
    errors : dict of str to str
        Exceptions that cells of the student have ended with, by cell.
    student_id : str or None
        The value of ``STUDENT_ID``.
    seconds : float
        Time that it took.
    """

    name: str
    status: str = "ok"
    tests: dict[str, Verdict] = field(default_factory=dict)
    questions: dict[str, str] = field(default_factory=dict)
    manual: dict[str, float] = field(default_factory=dict)
    answers: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)
    student_id: str | None = None
    seconds: float = 0.0

    @property
    def score(self) -> float | None:
        """Points of all tests; None if nothing could be graded, which is not the same as 0."""
        return sum(test.score for test in self.tests.values()) if self.tests else None

    @property
    def max_score(self) -> float:
        """Points that all tests give."""
        return sum(test.points for test in self.tests.values())

    def by_question(self) -> dict[str, tuple[float, float]]:
        """Add up the tests of each question.

        Returns
        -------
        dict of str to (float, float)
            Points reached and points possible, in the order of the assignment.
        """
        sums: dict[str, tuple[float, float]] = {}
        for grade_id, test in self.tests.items():
            reached, possible = sums.get(self.questions[grade_id], (0.0, 0.0))
            sums[self.questions[grade_id]] = reached + test.score, possible + test.points
        return sums

    def failed(self) -> set[str]:
        """Name the tests that were not passed.

        Returns
        -------
        set of str
            Their grade_ids.
        """
        return {grade_id for grade_id, test in self.tests.items() if test.outcome != "passed"}

    def as_dict(self) -> dict[str, Any]:
        """Give all of it as JSON can hold it.

        Returns
        -------
        dict
            Also with the scores, which are computed.
        """
        questions = {q: {"score": s, "points": p} for q, (s, p) in self.by_question().items()}
        return asdict(self) | {"score": self.score, "max_score": self.max_score, "scores": questions}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Result:
        """Read what :meth:`as_dict` has given.

        Parameters
        ----------
        values : dict
            Its result.

        Returns
        -------
        Result
            An equal one.
        """
        known = {name: values[name] for name in cls.__dataclass_fields__}
        return cls(**known | {"tests": {k: Verdict(**v) for k, v in values["tests"].items()}})


# ---- which submissions there are ---------------------------------------------------------------------------


def collect(paths: Iterable[str | Path]) -> dict[str, Path]:
    """Find notebooks and give each a name.

    Parameters
    ----------
    paths : iterable of str or Path
        Notebooks, and folders in which all files ending in ``.ipynb`` are taken. Links are not followed.

    Returns
    -------
    dict of str to Path
        Sorted by name. The name is the path below the folder that all have in common, without its ending.
        In the layout of nbgrader (``student/assignment/notebook.ipynb``) it is the student's.

    Raises
    ------
    ValueError
        If a path does not exist or nothing is found.
    """
    files: list[Path] = []
    for given in paths:
        path = Path(os.path.abspath(given))  # removes "..", keeps links
        if path.is_dir() and not path.is_symlink():
            for folder, folders, names in os.walk(path):
                folders[:] = sorted(name for name in folders if name != ".ipynb_checkpoints")
                files += [Path(folder, name) for name in sorted(names) if name.endswith(".ipynb")]
                files += [Path(folder, name) for name in folders if Path(folder, name).is_symlink()]
        elif os.path.lexists(path):
            files.append(path)
        else:
            raise ValueError(f"there is no submission at {given}")
    files = list(dict.fromkeys(files))
    if not files:
        raise ValueError("no submissions were found; give notebooks or a folder with notebooks (*.ipynb)")
    parents = [path.parent for path in files]
    common = Path(os.path.commonpath(parents))
    named = {path.relative_to(common).as_posix().removesuffix(".ipynb"): path for path in files}
    if len(named) < len(files):  # "x" and "x.ipynb"
        named = {path.relative_to(common).as_posix(): path for path in files}
    parts = [name.split("/") for name in named]
    students = [part[0] for part in parts]
    if all(len(part) == 3 for part in parts) and len(set(students)) == len(students):
        named = dict(zip(students, named.values(), strict=True))
    return {_plain(name, 300): named[name] for name in sorted(named)}


def _plain(text: Any, limit: int) -> str:
    """A text from outside, without what breaks lines, files or terminals."""
    text = str(text).encode("utf-8", "replace").decode()
    text = "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _read_safely(path: Path, limit: int) -> bytes:
    """Read a regular file that is not larger than `limit` bytes; never wait for it, never follow a link."""
    try:
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EMLINK) or path.is_symlink():
            raise _Refused("refused: a symbolic link") from None
        raise _Refused(f"unreadable: {error.strerror}") from None
    with os.fdopen(fd, "rb") as file:
        about = os.fstat(fd)
        if not stat.S_ISREG(about.st_mode):
            raise _Refused("not a file")
        if about.st_size > limit:
            raise _Refused(f"too large: {about.st_size / 2**20:.0f} MiB, {limit / 2**20:.0f} are allowed")
        content = file.read(limit + 1)
    if len(content) > limit:
        raise _Refused("too large")
    return content


class _Refused(Exception):  # noqa: N818 - it is no error of this program
    """A submission that is not run; the text is its status."""


# ---- what the tests of an assignment need ------------------------------------------------------------------


def _trees(cells: Iterable[Cell]) -> Iterator[ast.Module]:
    for cell in cells:
        if cell.cell_type == "code":
            with contextlib.suppress(SyntaxError):  # magics
                yield ast.parse(cell.source)


class _Needs:
    """Names that tests use: they get the original, whatever the submission has put there."""

    def __init__(self, assignment: Assignment) -> None:
        fixed, tests = assignment.of_kind("fixed"), assignment.of_kind("test")
        answers = frozenset().union(*(cell.names for cell in assignment.of_kind("answer")))
        self.imports: dict[str, str] = {}
        modules: set[str] = set()
        for tree in _trees([*fixed, *tests]):
            for node in ast.walk(tree):
                if isinstance(node, ast.Import):
                    for alias in node.names:
                        modules.add(alias.name)
                        top = alias.name.partition(".")[0]
                        self.imports[alias.asname or top] = alias.name if alias.asname else top
                elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                    modules.add(node.module)
                    self.imports |= {
                        a.asname or a.name: f"{node.module}.{a.name}" for a in node.names if a.name != "*"
                    }
        self.imports = {name: path for name, path in self.imports.items() if name not in answers}
        self.modules = sorted(modules)
        guarded, loaded, stored = set(self.imports.values()), set(), set()
        for tree in _trees(tests):
            for node in ast.walk(tree):
                if isinstance(node, ast.Attribute):
                    guarded |= self._prefixes(node)
                elif isinstance(node, ast.Name):
                    (loaded if isinstance(node.ctx, ast.Load) else stored).add(node.id)
        self.guarded = sorted(guarded)
        own = frozenset().union(*(cell.names for cell in fixed if cell.cell_type == "code"))
        self.builtins = sorted(
            n for n in loaded - stored - own - answers - set(self.imports) if hasattr(builtins, n)
        )
        self.kept = sorted(
            node.name
            for tree in _trees(fixed)
            for node in tree.body
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name not in answers
        )
        self.asks_for_id = any("STUDENT_ID" in cell.source for cell in assignment.cells)
        self.example_id = student_id(assignment.notebook)

    def _prefixes(self, node: ast.Attribute) -> set[str]:
        """``torch.nn`` and ``torch.nn.Linear`` for ``torch.nn.Linear``, whatever torch is called."""
        parts: list[str] = []
        current: ast.AST = node
        while isinstance(current, ast.Attribute):
            parts.append(current.attr)
            current = current.value
        if not isinstance(current, ast.Name) or current.id not in self.imports:
            return set()
        path = [self.imports[current.id], *reversed(parts)]
        return {".".join(path[:k]) for k in range(1, len(path) + 1)}


def _digest(*parts: Any) -> str:
    text = json.dumps(parts, sort_keys=True, ensure_ascii=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


# ---- the process that has imported everything --------------------------------------------------------------


class _GraderDied(Exception):  # noqa: N818
    """The process from which submissions are forked has ended."""


class _Zygote:
    """Start the process that imports once, and open channels to submissions that it forks."""

    def __init__(self, modules: Iterable[str], box: str | None) -> None:
        self._lock = threading.Lock()
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self._control, inner = socket.socketpair()
        folder = str(Path(__file__).resolve().parents[2])
        packages = [entry for entry in sys.path if entry.endswith(("site-packages", "dist-packages"))]
        code = (
            f"import sys; sys.path += [p for p in {packages!r} if p not in sys.path]; "
            f"sys.path.insert(0, {folder!r}); from l2lab.classroom._child import _zygote; "
            "_zygote(int(sys.argv[1]), sys.argv[2:])"
        )
        command = [
            *(wrapped(box) if box else []),
            sys.executable,
            "-B",
            "-c",
            code,
            str(inner.fileno()),
            *modules,
        ]
        home = scratch() if box else tempfile.gettempdir()
        ones = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "PYTHONDONTWRITEBYTECODE")
        environment = dict.fromkeys(ones, "1") | {
            "PATH": os.defpath,
            "LANG": "C.UTF-8",
            "HOME": home,
            "TMPDIR": home,
            "USER": "student",
            "LOGNAME": "student",
            "MPLBACKEND": "Agg",
            "PYTHONHASHSEED": "0",
            "CUDA_VISIBLE_DEVICES": "",
        }
        for name in ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"):
            if name in os.environ:
                environment[name] = os.environ[name]
        self._process = subprocess.Popen(
            command,
            pass_fds=(inner.fileno(),),
            env=environment,
            cwd=tempfile.gettempdir(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._stderr,
            start_new_session=True,
        )
        inner.close()
        try:
            ready = _receive(self._control, time.monotonic() + 300)
        except _Broken:
            self._stderr.seek(0)
            told = self._stderr.read()[-2000:].decode("utf-8", "replace").strip()
            self.close()
            raise RuntimeError(f"the process that runs submissions did not start:\n{told}") from None
        self._control.settimeout(60)
        self.failed: list[str] = ready["failed"]
        self.protection = Protection(box is not None, bool(ready["namespaces"]))

    def open(self, limits: Limits) -> _Session:
        """Fork for a submission."""
        data, inner_data = socket.socketpair()
        control, inner_control = socket.socketpair()
        settings = asdict(limits) | {
            "namespaces": self.protection.namespaces,
            "scratch": scratch() if self.protection.bubblewrap else "",
        }
        with inner_data, inner_control:
            try:
                with self._lock:
                    fds = [inner_data.fileno(), inner_control.fileno()]
                    socket.send_fds(self._control, [json.dumps(settings).encode()], fds)
                    if not self._control.recv(1):
                        raise OSError
            except OSError:
                data.close()
                control.close()
                raise _GraderDied from None
        return _Session(data, control)

    def close(self) -> None:
        self._control.close()
        self._process.kill()
        self._process.wait()
        self._stderr.close()


class _Session:
    """Both channels to one forked submission."""

    def __init__(self, data: socket.socket, control: socket.socket) -> None:
        self.data, self.control = data, control

    def __enter__(self) -> _Session:
        return self

    def __exit__(self, *error: object) -> None:
        self.data.close()
        self.control.close()  # the supervisor notices, and ends everything

    def tell(self, **message: Any) -> None:
        try:
            self.data.settimeout(10)
            _send(self.data, message)
        except OSError:
            raise _Broken("ended") from None

    def ask(self, deadline: float, **message: Any) -> dict[str, Any]:
        """Send a message with a fresh key and return the answer, which must repeat the key."""
        key = secrets.token_hex(8)
        self.tell(key=key, **message)
        return self.hear((key,), deadline)

    def hear(self, keys: tuple[str, ...], deadline: float) -> dict[str, Any]:
        """Return the next message, which must carry one of these keys."""
        answer = _receive(self.data, deadline)
        if answer.get("key") not in keys:
            raise _Broken("nonsense")
        return answer

    def post_mortem(self) -> tuple[int | None, str]:
        """Exit code of the first process, and why it was ended, if it was."""
        try:
            end = _receive(self.control, time.monotonic() + 5)
            return int(end["status"]), str(end["reason"])
        except (_Broken, KeyError, TypeError, ValueError):
            return None, ""


# ---- one submission ----------------------------------------------------------------------------------------


class _Examination:
    """Run one submission, again without the cell that ended it if one did, and collect its verdicts."""

    def __init__(
        self, assignment: Assignment, needs: _Needs, notebook: Notebook, name: str, limits: Limits
    ) -> None:
        self.assignment, self.needs, self.limits = assignment, needs, limits
        self.steps, notes = repair(notebook, assignment)
        answers = answers_of(notebook, assignment)
        self.result = Result(
            name,
            tests={c.grade_id: Verdict(c.points, hidden=c.hidden) for c in assignment.of_kind("test")},
            questions={c.grade_id: c.question for c in assignment.of_kind("test")},
            manual={c.grade_id: c.points for c in assignment.of_kind("manual")},
            answers={name: _plain(text, 20_000) for name, text in answers.items()},
            notes=notes,
            student_id=student_id(notebook),
        )
        self.incidents: dict[str, str] = {}
        self.pending = set(self.result.tests)
        self.lethal: set[int] = set()
        self.label = ""  # of the cell that runs
        self.deadline = time.monotonic() + limits.total

    def run(self, open_session: Callable[[], _Session]) -> Result:
        result = self.result
        self._look_at(result.answers)
        for _ in range(_RESTARTS + 1):
            if time.monotonic() >= self.deadline:
                break
            with open_session() as session:
                if self._attempt(session):
                    break
        else:
            self.incidents["the submission"] = f"ended its process {_RESTARTS + 1} times"
        if time.monotonic() >= self.deadline and self.pending:
            self.incidents["the submission"] = "timeout"
        for grade_id in self.pending:
            result.tests[grade_id].shown = "This test was not run."
        self._mark_unanswered()
        status = [f"{what} in {where}" for where, what in self.incidents.items()]
        if len(status) > _SHOWN_INCIDENTS:
            status[_SHOWN_INCIDENTS:] = [f"and {len(status) - _SHOWN_INCIDENTS} more of this kind"]
        answers = [c.grade_id for c in self.assignment.of_kind("answer")]
        if answers and not any(name in result.answers for name in answers):
            status.insert(0, "no answers found")
        result.status = "; ".join(status) or "ok"
        return result

    def _look_at(self, answers: Mapping[str, str]) -> None:
        result = self.result
        given = {step.grade_id or "own cell": step.source for step in self.steps if step.kind == "cell"}
        fixed = {cell.grade_id for cell in self.assignment.of_kind("fixed")}
        text = "\n".join(source for name, source in given.items() if name not in fixed)
        known = "\n".join(cell.source for cell in self.assignment.of_kind("answer"))
        unusual = sorted(set(re.findall(_UNUSUAL, text)) - set(re.findall(_UNUSUAL, known)))
        if unusual:
            result.notes.append("unusual code, please read: " + ", ".join(unusual))
        if self.needs.asks_for_id:
            if result.student_id is None:
                result.notes.append('no STUDENT_ID = "…" was found; the example was used')
            elif result.student_id == self.needs.example_id:
                result.notes.append("STUDENT_ID was not filled in; the example was used")

    def _attempt(self, session: _Session) -> bool:
        """Run all steps; return whether there is nothing that another attempt could add."""
        position, own = 0, 0
        self._greet(session)
        try:
            while position < len(self.steps):
                if time.monotonic() >= self.deadline:
                    return True
                step = self.steps[position]
                if step.kind == "test":
                    group = self._group(position)
                    position += len(group)
                    left = [step for step in group if step.grade_id in self.pending]
                    while left:
                        left = self._test(session, left)
                    continue
                own += not step.grade_id
                self.label = step.grade_id or f"own cell {own}"
                if position not in self.lethal:
                    self._cell(session, step)
                position += 1
            self.label = "the end"
            session.ask(self._until(), do="end")
        except _Broken as broken:
            self._incident(self.label, self._cause(session, str(broken)))
            if position < len(self.steps) and self.steps[position].kind == "cell":
                self.lethal.add(position)
            return self.label == "the end"
        return True

    def _greet(self, session: _Session) -> None:
        """Tell what will be needed. Nothing of the submission has run yet, so it cannot be to blame."""
        needs, identity = self.needs, self.result.student_id
        try:
            session.ask(
                time.monotonic() + _START_SECONDS,
                modules=needs.modules,
                imports=needs.imports,
                guarded=needs.guarded,
                builtins=needs.builtins,
                kept=needs.kept,
                values={"STUDENT_ID": identity} if needs.asks_for_id and identity is not None else {},
                seconds=self.limits.seconds,
                output=self.limits.output,
            )
        except _Broken:
            raise _GraderDied from None

    def _group(self, position: int) -> list[Step]:
        """The tests that stand here one after the other."""
        group = []
        while position < len(self.steps) and self.steps[position].kind == "test":
            group.append(self.steps[position])
            position += 1
        return group

    def _until(self) -> float:
        """When the answer to a message must be here."""
        left = min(self.limits.seconds, max(0.0, self.deadline - time.monotonic()))
        return time.monotonic() + left + _GRACE_SECONDS

    def _cell(self, session: _Session, step: Step) -> None:
        fixed = step.grade_id in {cell.grade_id for cell in self.assignment.of_kind("fixed")}
        label = f"<cell {self.label}>"
        answer = session.ask(self._until(), do="cell", source=step.source, label=label, fixed=fixed)
        if answer.get("error") is None:
            return
        kind, text, _ = _checked(answer["error"])
        if kind == "_Timeout":
            self._incident(self.label, "timeout")
        elif kind == "_Flood":
            self._incident(self.label, "too much output")
        elif STUB_MESSAGE not in text and len(self.result.errors) < 20:
            self.result.errors.setdefault(self.label, f"{kind}: {text}"[:300])

    def _test(self, session: _Session, group: list[Step]) -> list[Step]:
        """Run tests in a copy of the worker; return those that are left when the copy has ended early.

        A verdict counts when the copy that has given it goes on with what comes next. So writing a verdict
        and ending the process gives nothing.
        """
        self.label = group[0].grade_id
        fork = secrets.token_hex(8)
        session.tell(do="tests", key=fork)
        ready = session.hear((fork,), time.monotonic() + _START_SECONDS)
        if "over" in ready:
            return self._ended(group, 0, ready)
        self._note_changes(ready.get("changed"))
        error: Any = None
        for k, step in enumerate(group):
            key = secrets.token_hex(8)
            session.tell(do="test", key=key, source=step.source, label=f"<test {step.grade_id}>")
            started = session.hear((key, fork), self._until())
            if "over" in started:
                return self._ended(group, max(0, k - 1), started)
            if k:
                self._judge(group[k - 1], error)
            self.label = step.grade_id
            verdict = session.hear((key, fork), self._until())
            if "over" in verdict:
                return self._ended(group, k, verdict)
            error = verdict.get("error")
        key = secrets.token_hex(8)
        session.tell(do="over", key=key)
        last = session.hear((key, fork), self._until())
        if "over" in last:
            return self._ended(group, len(group) - 1, last)
        self._judge(group[-1], error)
        session.hear((fork,), self._until())
        return []

    def _ended(self, group: list[Step], k: int, message: dict[str, Any]) -> list[Step]:
        """Note that the copy has ended in a test; the tests after it get a new copy."""
        try:
            code = os.waitstatus_to_exitcode(int(message["over"]))
        except (TypeError, ValueError):
            raise _Broken("nonsense") from None
        what = f"died (signal {-code})" if code < 0 else f"died (exit {code})"
        self._incident(group[k].grade_id, what)
        return group[k + 1 :]

    def _cause(self, session: _Session, what: str) -> str:
        if what == "late":
            return "timeout"
        if what == "nonsense":
            return "wrote into the channel of the grader"
        code, reason = session.post_mortem()
        if reason:
            return reason
        if code is None:
            return "died"
        return f"died (signal {code - 128})" if code > 128 else f"died (exit {code})"

    def _incident(self, label: str, what: str) -> None:
        """Note what went wrong where; a test in which it did is over."""
        self.incidents.setdefault(label, what)
        if label not in self.pending:
            return
        self.pending.discard(label)
        test = self.result.tests[label]
        test.message = what
        if what == "timeout":
            test.outcome = "timeout"
            test.shown = f"This test took longer than {self.limits.seconds:g} seconds."
        else:
            test.outcome = "died"
            test.shown = f"Your code ended its process while this test ran: {what}."

    def _judge(self, step: Step, error: Any) -> None:
        self.pending.discard(step.grade_id)
        test = self.result.tests[step.grade_id]
        if error is None:
            test.outcome = "passed"
            return
        kind, text, line = _checked(error)
        if kind == "_Timeout":
            self.pending.add(step.grade_id)
            self._incident(step.grade_id, "timeout")
            return
        cell = self.assignment.cell(step.grade_id)
        test.outcome = "failed" if kind == "AssertionError" else "error"
        if kind == "_Flood":
            self.incidents.setdefault(step.grade_id, "too much output")
            text = f"more than {self.limits.output:g} MiB"
        elif kind == "_Tampered":
            self._note_changes(text.split(", "))
            text = f"changed {text} while the test ran"
        elif STUB_MESSAGE in text:
            test.outcome = "not answered"
        elif kind == "AssertionError":
            text = text or _line(cell, line)
        test.message = f"{kind.strip('_')}: {text}" if test.outcome == "error" else text
        test.shown = _shown(cell, kind, line)

    def _note_changes(self, changed: Any) -> None:
        if not isinstance(changed, list) or not changed:
            return
        names = ", ".join(sorted({_plain(name, 80) for name in changed if isinstance(name, str)})[:10])
        note = f"tampered with {names}; the tests used the originals"
        if note not in self.result.notes:
            self.result.notes.append(note)

    def _mark_unanswered(self) -> None:
        """Tell questions that were left as they were handed out from those that were answered wrongly."""
        for question in self.assignment.questions:
            cells = [c for c in self.assignment.of_kind("answer") if c.question == question]
            given = [self.result.answers.get(c.grade_id) for c in cells]
            if not cells or any(
                text is None or text.split() != cell.released.split()
                for text, cell in zip(given, cells, strict=True)
            ):
                continue
            for grade_id, test in self.result.tests.items():
                if self.result.questions[grade_id] == question and test.outcome in ("failed", "error"):
                    test.outcome, test.shown = "not answered", "This question has no answer yet."


def _checked(error: Any) -> tuple[str, str, int]:
    """Kind, text and line of an error that came from outside."""
    if not isinstance(error, dict):
        raise _Broken("nonsense")
    line = error.get("line")
    kind = _plain(error.get("type"), 80).replace("\n", " ")
    return kind, _plain(error.get("text"), 500), line if isinstance(line, int) else 0


def _line(cell: Cell, line: int) -> str:
    lines = cell.source.split("\n")
    return lines[line - 1].strip() if 0 < line <= len(lines) else ""


def _shown(cell: Cell, kind: str, line: int) -> str:
    """What a student may read of a test that was not passed."""
    if kind == "_Flood":
        return "Your code printed too much in this test."
    if kind == "_Tampered":
        return "Your code changed functions of a library while this test ran."
    if kind != "AssertionError":
        name = kind if isinstance(getattr(builtins, kind, None), type) else "an exception"
        more = "" if cell.hidden else " Run the test in your notebook to see where."
        return f"This test ended with {name}.{more}"
    with contextlib.suppress(SyntaxError):
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.Assert) and node.lineno <= line <= (node.end_lineno or node.lineno):
                return _constant_text(node.msg) or "This test failed."
    return "This test failed."


def _constant_text(node: ast.expr | None) -> str:
    """The text of a message without the values in it, which may come from the answer."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(
            part.value if isinstance(part, ast.Constant) and isinstance(part.value, str) else "…"
            for part in node.values
        )
    return ""


# ---- all submissions ---------------------------------------------------------------------------------------


class Grader:
    """Grade submissions; libraries are imported once, when the first one comes.

    To be used in a ``with`` statement, which ends its processes.

    Parameters
    ----------
    jobs : int, default 1
        Submissions at the same time.
    limits : Limits, optional
        What each may use.
    sandbox : {"auto", "require", "off"}, default "auto"
        Use bubblewrap if it works here, insist on both walls of :mod:`l2lab.classroom.sandbox`, or do
        without bubblewrap.
    modules : tuple of str, default ("numpy", "torch")
        To be imported once (:func:`modules_of` lists what assignments need). What an assignment imports
        besides is imported for each submission.

    Raises
    ------
    ValueError
        If an argument is not valid.
    RuntimeError
        If this system cannot fork (Windows), or if protection is required and not to be had.
    """

    def __init__(
        self,
        jobs: int = 1,
        limits: Limits | None = None,
        sandbox: str = "auto",
        modules: tuple[str, ...] = _MODULES,
    ) -> None:
        if isinstance(jobs, bool) or not isinstance(jobs, int) or jobs < 1:
            raise ValueError(f"jobs must be an integer of at least 1, got {jobs!r}")
        if sandbox not in ("auto", "require", "off"):
            raise ValueError(f"sandbox must be 'auto', 'require' or 'off', got {sandbox!r}")
        if not hasattr(os, "fork") or not hasattr(socket, "send_fds"):
            raise RuntimeError("grading needs Linux or macOS; on Windows use WSL")
        self.jobs, self.limits, self.sandbox, self.modules = jobs, limits or Limits(), sandbox, tuple(modules)
        self._zygote: _Zygote | None = None
        self._closed = False
        self._lock = threading.Lock()

    def __enter__(self) -> Grader:
        """Return itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """End its processes."""
        self.close()

    def close(self) -> None:
        """End its processes, submissions that run included. It cannot be used again."""
        with self._lock:
            self._closed = True
            if self._zygote is not None:
                self._zygote.close()
                self._zygote = None

    def _started(self) -> _Zygote:
        with self._lock:
            if self._closed:
                raise RuntimeError("this grader was closed; make a new one")
            if self._zygote is None:
                box = bubblewrap() if self.sandbox != "off" else None
                self._zygote = _Zygote(self.modules, box)
                if self.sandbox == "require" and not self._zygote.protection.complete:
                    warning = self._zygote.protection.warning()
                    self._zygote.close()
                    self._zygote = None
                    raise RuntimeError(f"protection is required.\n{warning}")
            return self._zygote

    def _open(self) -> _Session:
        zygote = self._started()
        try:
            return zygote.open(self.limits)
        except _GraderDied:
            with self._lock:
                if self._zygote is zygote:
                    zygote.close()
                    self._zygote = None
            raise

    @property
    def protection(self) -> Protection:
        """Which walls stand on this machine; starts the process from which submissions are forked."""
        return self._started().protection

    def grade_one(self, source: str | Path | Notebook | Assignment, name: str, submission: Any) -> Result:
        """Grade one submission.

        Parameters
        ----------
        source : str, Path, dict or Assignment
            The source of the assignment.
        name : str
            Name of the submission.
        submission : Path, bytes or dict
            A file, its content, or the notebook.

        Returns
        -------
        Result
            Always, with a status; nothing that the submission is or does raises an exception.
        """
        assignment = read_assignment(source)
        return self._graded(assignment, _Needs(assignment), name, self._content(submission))

    def _content(self, submission: Any) -> bytes | _Refused:
        """The bytes of a submission, or why they are not read."""
        try:
            if isinstance(submission, str | Path):
                return _read_safely(Path(submission), int(self.limits.size * 2**20))
            content = submission if isinstance(submission, bytes) else json.dumps(submission).encode()
            if len(content) > self.limits.size * 2**20:
                raise _Refused("too large")
            return content
        except _Refused as refused:
            return refused

    def _graded(self, assignment: Assignment, needs: _Needs, name: str, content: bytes | _Refused) -> Result:
        started = time.perf_counter()
        if isinstance(content, _Refused):
            return Result(name, status=str(content))
        try:
            notebook = read_notebook(content)
        except ValueError as error:
            return Result(name, status=_plain(f"not a notebook: {error}", 200))
        result = Result(name, status="not graded: its process could not be started, or the grader was ended")
        for _ in range(3):
            examination = _Examination(assignment, needs, notebook, name, self.limits)
            try:
                result = examination.run(self._open)
                break
            except _GraderDied:
                continue
        result.seconds = round(time.perf_counter() - started, 3)
        return result

    def grade(
        self,
        source: str | Path | Notebook | Assignment,
        submissions: Mapping[str, Any] | Iterable[str | Path],
        *,
        journal: str | Path | None = None,
        progress: bool = True,
        report: Callable[[Result], None] | None = None,
    ) -> list[Result]:
        """Grade all submissions.

        Parameters
        ----------
        source : str, Path, dict or Assignment
            The source of the assignment.
        submissions : mapping, or iterable of str or Path
            Notebooks (paths, bytes or dictionaries) by name, or what :func:`collect` takes.
        journal : str or Path, optional
            A file of JSON lines to which each result is added as soon as it is there. What it already
            holds of the same submission, assignment and limits is not graded again, so that the same call
            goes on after an interruption.
        progress : bool, default True
            Show a bar with the remaining time if somebody watches.
        report : callable, optional
            Called with each result.

        Returns
        -------
        list of Result
            Sorted by name; one for each submission.

        Raises
        ------
        AssignmentError
            If the source is not valid.
        ValueError
            If there are no submissions.
        KeyboardInterrupt
            After Ctrl-C; what was graded is in the journal.
        """
        assignment = read_assignment(source)
        named = dict(submissions) if isinstance(submissions, Mapping) else collect(submissions)
        if not named:
            raise ValueError("there are no submissions")
        base = _digest(_VERSION, assignment.notebook, asdict(self.limits))
        known = _read_journal(journal)
        done = {
            name: known[key]
            for name, submission in named.items()
            if known and (key := _key(base, name, self._content(submission))) in known
        }
        todo = [name for name in sorted(named) if name not in done]
        needs = _Needs(assignment)

        def work(name: str) -> tuple[str, Result]:
            content = self._content(named[name])
            return _key(base, name, content), self._graded(assignment, needs, name, content)

        pool = ThreadPoolExecutor(self.jobs)
        try:
            with progress_bar(len(todo), progress, "grading", "submission") as advance:
                futures = {pool.submit(work, name): name for name in todo}
                for future in as_completed(futures):
                    name, (key, result) = futures[future], future.result()
                    done[name] = result
                    _write_journal(journal, key, result)
                    advance(1, name[:20])
                    if report is not None:
                        report(result)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        return [done[name] for name in sorted(done)]


def _key(base: str, name: str, content: bytes | _Refused) -> str:
    raw = content if isinstance(content, bytes) else str(content).encode()
    return _digest(base, name, hashlib.sha256(raw).hexdigest())


def _read_journal(path: str | Path | None) -> dict[str, Result]:
    """What a journal holds; a line that a kill has cut off is left out."""
    known: dict[str, Result] = {}
    if path is None or not Path(path).exists():
        return known
    for line in Path(path).read_text("utf-8", "replace").splitlines():
        with contextlib.suppress(ValueError, KeyError, TypeError):
            entry = json.loads(line)
            known[entry["key"]] = Result.from_dict(entry["result"])
    return known


def _write_journal(path: str | Path | None, key: str, result: Result) -> None:
    if path is None:
        return
    line = json.dumps({"key": key, "result": result.as_dict()})
    with open(path, "a", encoding="utf-8") as file:
        if file.tell() and not _ends_with_newline(path):
            file.write("\n")
        file.write(line + "\n")
        file.flush()
        os.fsync(file.fileno())


def _ends_with_newline(path: str | Path) -> bool:
    with open(path, "rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def grade(
    source: str | Path | Notebook | Assignment,
    submissions: Mapping[str, Any] | Iterable[str | Path],
    *,
    jobs: int = 1,
    limits: Limits | None = None,
    sandbox: str = "auto",
    journal: str | Path | None = None,
    progress: bool = True,
) -> list[Result]:
    """Grade all submissions to an assignment.

    Parameters
    ----------
    source : str, Path, dict or Assignment
        The source of the assignment.
    submissions : mapping, or iterable of str or Path
        Notebooks by name, or files and folders.
    jobs : int, default 1
        Submissions at the same time.
    limits : Limits, optional
        What each may use.
    sandbox : {"auto", "require", "off"}, default "auto"
        See :class:`Grader`.
    journal : str or Path, optional
        See :meth:`Grader.grade`.
    progress : bool, default True
        Show a bar.

    Returns
    -------
    list of Result
        Sorted by name; one for each submission.

    Raises
    ------
    AssignmentError, ValueError, RuntimeError, KeyboardInterrupt
        As in :class:`Grader` and :meth:`Grader.grade`.

    Examples
    --------
    >>> results = grade("source/01_ridge/01_ridge.ipynb", ["submitted"], jobs=2, journal="grades.jsonl")
    >>> write_csv(results, "grades.csv")
    """
    assignment = read_assignment(source)
    with Grader(jobs, limits, sandbox, modules_of(assignment)) as grader:
        return grader.grade(assignment, submissions, journal=journal, progress=progress)


def modules_of(*assignments: Assignment) -> tuple[str, ...]:
    """List what is worth importing once for these assignments.

    Parameters
    ----------
    *assignments : Assignment
        One or several.

    Returns
    -------
    tuple of str
        Modules that their code imports.
    """
    modules = {name for a in assignments for name in _Needs(a).modules} | {
        name for a in assignments for name in _answer_modules(a)
    }
    return tuple(sorted(modules))


def _answer_modules(assignment: Assignment) -> set[str]:
    found: set[str] = set()
    for tree in _trees(assignment.of_kind("answer")):
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module)
    return found


# ---- files -------------------------------------------------------------------------------------------------


def _cell_text(text: str) -> str:
    """A text that a spreadsheet does not take for a formula."""
    text = text.replace("\n", " ")
    return "'" + text if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def write_csv(results: Iterable[Result], path: str | Path) -> None:
    """Write a table with one row for each submission.

    Parameters
    ----------
    results : iterable of Result
        All of one assignment.
    path : str or Path
        The file. Columns: submission, status, student_id, score (empty, not 0, where nothing could be
        graded), max_score, the points of each question, and an empty column for each that a person grades.
    """
    results = list(results)
    questions = list(dict.fromkeys(q for r in results for q in r.by_question()))
    manual = list(dict.fromkeys(name for r in results for name in r.manual))
    with open(path, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        head = ["submission", "status", "student_id", "score", "max_score", *questions]
        table.writerow([*head, *(f"{name} (by hand)" for name in manual)])
        for r in results:
            scores = r.by_question()
            row = [_cell_text(r.name), _cell_text(r.status), _cell_text(r.student_id or "")]
            row += ["", ""] if r.score is None else [f"{r.score:g}", f"{r.max_score:g}"]
            row += [f"{scores[q][0]:g}" if q in scores else "" for q in questions]
            table.writerow([*row, *("" for _ in manual)])


def write_results(
    results: Iterable[Result], path: str | Path, assignment: str, protection: Protection
) -> None:
    """Write all that is known about the results as JSON, with hidden messages: for the person who grades.

    Parameters
    ----------
    results : iterable of Result
        All of one assignment.
    path : str or Path
        The file.
    assignment : str
        Name of the assignment.
    protection : Protection
        Under which they were graded.
    """
    content = {
        "assignment": assignment,
        "protection": asdict(protection),
        "results": [result.as_dict() for result in results],
    }
    Path(path).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8")


def read_results(path: str | Path) -> tuple[str, list[Result]]:
    """Read what :func:`write_results` has written.

    Parameters
    ----------
    path : str or Path
        The file.

    Returns
    -------
    assignment : str
        Name of the assignment.
    results : list of Result
        As they were written.

    Raises
    ------
    ValueError
        If it is no such file.
    """
    try:
        content = json.loads(Path(path).read_text("utf-8"))
        return content["assignment"], [Result.from_dict(values) for values in content["results"]]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} holds no results of the grader ({error!r}); write them with --json"
        ) from None
