"""What runs where the submissions run. Five processes in a row, each forked from the one before.

zygote      imports torch and the rest once, then forks for each submission
supervisor  makes the namespaces, counts processes and memory, ends everything
init        first process of the namespace, reaps what is left behind
worker      runs the cells of one submission, and sees no test
tester      a copy of the worker at one point of the notebook: gets a test, runs it, gives a verdict

Worker and tester run foreign code, which can do to them whatever it wants. So nothing that they say is
trusted beyond the submission at hand, and they hold nothing that is worth reading: the tests of the cells at
hand at the most. Functions and classes that the tests call are put back to what they were before the
submission started.
"""

from __future__ import annotations

import builtins
import contextlib
import gc
import importlib
import io
import json
import linecache
import os
import random
import select
import shutil
import signal
import socket
import sys
import tempfile
import types
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from . import sandbox
from ._messages import _receive, _send

__all__: list[str] = []

_POLL_SECONDS = 0.05
# Restored before each test, besides what the tests themselves name.
_GUARDED = (
    "builtins",
    "math",
    "random",
    "os",
    "time",
    "json",
    "json.encoder",
    "json.decoder",
    "socket",
    "struct",
    "signal",
    "traceback",
    "inspect",
    "copy",
    "types",
    "operator",
    "functools",
    "itertools",
    "numpy",
    "numpy.linalg",
    "numpy.testing",
    "numpy.random",
    "torch",
    "torch.Tensor",
    "torch.nn",
    "torch.nn.Module",
    "torch.nn.functional",
    "torch.linalg",
    "torch.testing",
    "torch.autograd",
    "torch.optim",
)


# ---- zygote ------------------------------------------------------------------------------------------------


def _zygote(fd: int, modules: list[str]) -> NoReturn:
    """Import once, then fork for each pair of channels that arrives; end when the grader ends."""
    control = socket.socket(fileno=fd)
    sys.path[:] = [entry for entry in sys.path if entry]
    failed = [name for name in modules if not _import(name)]
    _warm_up()
    _send(control, {"failed": failed, "namespaces": _can_isolate()})
    gc.collect()
    gc.freeze()  # the collector would otherwise touch, and so copy, all memory in each fork
    while True:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if not select.select([control], [], [], 1.0)[0]:
            continue
        text, fds, _, _ = socket.recv_fds(control, 65536, 2)
        if len(fds) != 2:
            os._exit(0)
        if os.fork() == 0:
            control.close()
            _guarded(_supervise, *(socket.socket(fileno=fd) for fd in fds), json.loads(text))
        for fd in fds:
            os.close(fd)
        control.sendall(b"+")


def _guarded(function: Callable[..., Any], *arguments: Any) -> NoReturn:
    """Run the rest of a forked process; it must never return into the code of its parent."""
    try:
        function(*arguments)
    finally:
        os._exit(3)


def _import(name: str) -> bool:
    try:
        importlib.import_module(name)
    except Exception:  # a package that is missing or broken here is the assignment's concern
        return False
    return True


def _warm_up() -> None:
    """Do now what libraries do when they are first used."""
    from IPython.core.inputtransformer2 import TransformerManager

    TransformerManager().transform_cell("%time 1")
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)
        torch.set_num_interop_threads(1)
        weight = torch.nn.Parameter(torch.ones(2))
        for kind in (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW):
            kind([weight], lr=0.1)  # the first one imports the compiler: seconds
        torch.nn.Linear(2, 2)(torch.ones(1, 2)).sum().backward()


def _can_isolate() -> bool:
    pid = os.fork()
    if pid == 0:
        try:
            done = sandbox._isolate()
            inner = os.fork() if done else -1
            if inner == 0:
                os._exit(0 if os.getpid() == 1 else 1)
            os._exit(0 if done and os.waitpid(inner, 0)[1] == 0 else 1)
        finally:
            os._exit(1)
    return os.waitpid(pid, 0)[1] == 0


# ---- supervisor and init -----------------------------------------------------------------------------------


def _supervise(data: socket.socket, control: socket.socket, settings: dict[str, Any]) -> NoReturn:
    """Start the submission, watch it, end it with all that it has started, and say how it ended."""
    isolated = settings["namespaces"] and sandbox._isolate()
    sandbox._prctl(sandbox._DUMPABLE, 0)  # else the submission could open this process through /proc
    if not isolated:
        sandbox._prctl(sandbox._SUBREAPER, 1)
    folder = None if isolated and settings["scratch"] else tempfile.mkdtemp(prefix="submission-")
    usual = sandbox._private_bytes(os.getpid())
    pid = os.fork()
    if pid == 0:
        control.close()
        _guarded(_init, data, settings, isolated, folder)
    data.close()
    reason, status = _watch(pid, control, settings, usual)
    if not isolated:
        _end_group(pid)
    if status is None:
        os.kill(pid, signal.SIGKILL)  # the kernel ends a namespace with its first process
        status = os.waitpid(pid, 0)[1]
    if not isolated:
        _end_orphans()
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):
        _send(control, {"status": os.waitstatus_to_exitcode(status), "reason": reason})
    os._exit(0)


def _watch(pid: int, control: socket.socket, settings: dict[str, Any], usual: int) -> tuple[str, int | None]:
    """Wait until the submission ends or must be ended; return why it must be, or how it has ended."""
    try:
        ended: list[Any] = [os.pidfd_open(pid)]
    except (AttributeError, OSError):
        ended = []
    while True:
        ready = select.select([control, *ended], [], [], _POLL_SECONDS)[0]
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return "", status
        if control in ready:
            return "the grader has ended it", None
        processes = [pid, *sandbox._descendants(pid)]
        if len(processes) > settings["processes"] + 3:  # init, worker, tester
            return "too many processes", None
        used = sum(max(0, sandbox._private_bytes(process) - usual) for process in processes)
        if used > 2 * settings["memory"] * 2**20:
            return "too much memory", None


def _end_group(pid: int) -> None:
    """End what a submission without a namespace has started, as far as it can be found."""
    for process in sandbox._descendants(os.getpid()):
        if process != pid:
            with contextlib.suppress(OSError):
                os.kill(process, signal.SIGKILL)
    with contextlib.suppress(OSError):
        os.killpg(pid, signal.SIGKILL)


def _end_orphans() -> None:
    """End what the submission has left behind; it became a child of this process when its parent ended."""
    for _ in range(100):
        left = sandbox._descendants(os.getpid())
        for process in left:
            with contextlib.suppress(OSError):
                os.kill(process, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        select.select([], [], [], 0.01)


def _init(data: socket.socket, settings: dict[str, Any], isolated: bool, folder: str | None) -> NoReturn:
    """Start the worker and reap orphans until it ends."""
    sandbox._prctl(sandbox._PDEATHSIG, signal.SIGKILL)
    if isolated:
        own = (settings["scratch"], "/dev/shm") if settings["scratch"] else ()
        if not sandbox._own_mounts(settings["disk"] * 2**20, own) and folder is None:
            folder = tempfile.mkdtemp(prefix="submission-")
    if not isolated:
        os.setpgid(0, 0)
    os.chdir(folder or settings["scratch"])
    pid = os.fork()
    if pid == 0:
        sandbox._give_up_privileges()
        _guarded(_work, data, settings)
    data.close()
    while True:
        ended, status = os.wait()
        if ended == pid:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)


# ---- worker ------------------------------------------------------------------------------------------------


class _Timeout(BaseException):
    """Raised in a cell that takes too long."""


class _Flood(BaseException):
    """Raised in a cell that prints too much."""


class _Sink(io.TextIOBase):
    """Take what is printed, keep none of it, and refuse to take too much."""

    def __init__(self, limit: int) -> None:
        self.left = limit

    @property
    def encoding(self) -> str:
        return "utf-8"

    @property
    def buffer(self) -> io.BytesIO:
        return io.BytesIO()

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.left -= len(text)
        if self.left < 0:
            raise _Flood
        return len(text)


class _Shell:
    """Stand in for IPython: magics that time or capture code run it, all others do nothing."""

    def __init__(self, run: Callable[[str], None]) -> None:
        self._run = run

    def run_cell_magic(self, name: str, line: str, cell: str) -> None:
        if name in ("time", "timeit", "capture", "prun"):
            self._run(cell)

    def run_line_magic(self, name: str, line: str, *rest: Any) -> None:
        if name in ("time", "timeit", "prun"):
            self._run(line)

    def system(self, command: str) -> None:
        """Run no program."""

    def getoutput(self, command: str) -> list[str]:
        return []

    def __getattr__(self, name: str) -> Callable[..., None]:
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda *arguments, **options: None


def _limit(settings: dict[str, Any]) -> None:
    import resource

    limits = {
        "RLIMIT_CORE": 0,
        "RLIMIT_FSIZE": settings["disk"] * 2**20,
        "RLIMIT_NOFILE": 512,
    }
    with contextlib.suppress(OSError), open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
        limits["RLIMIT_AS"] = now + settings["memory"] * 2**20
    for name, value in limits.items():
        with contextlib.suppress(OSError, ValueError, AttributeError):
            resource.setrlimit(getattr(resource, name), (value, value))


def _seed() -> None:
    random.seed(0)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(0)
    if torch := sys.modules.get("torch"):
        torch.default_generator.manual_seed(0)


def _work(data: socket.socket, settings: dict[str, Any]) -> NoReturn:
    """Run cells and fork for tests, as the grader asks for them."""
    own = data.fileno()
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    for first, last in ((3, own), (own + 1, 4096)):
        os.closerange(first, last)
    _limit(settings)
    hello = _receive(data)
    for name in hello["modules"]:
        _import(name)
    runner = _Runner(hello)
    guard = _Guard(
        [*_GUARDED, *hello["guarded"], *(n for n in sys.modules if n.startswith("l2lab.classroom"))]
    )
    originals = {
        name: value for name, path in hello["imports"].items() if (value := _resolve(path)) is not None
    }
    kept: dict[str, Any] = {}
    _seed()
    # Bound now: foreign code may have changed the names by the time they are needed.
    receive, send, fork, wait, leave, test = _receive, _send, os.fork, os.waitpid, os._exit, _test
    send(data, {"key": hello["key"]})
    while True:
        message = receive(data)
        if message["do"] == "cell":
            error = runner.run(message["source"], message["label"], hello["seconds"], remember=True)
            if message["fixed"]:
                kept.update({name: runner.names[name] for name in hello["kept"] if name in runner.names})
            send(data, {"key": message["key"], "error": error})
        elif message["do"] == "tests":
            pid = fork()
            if pid == 0:
                try:
                    test(data, runner, hello, guard, originals, kept, message["key"])
                finally:
                    leave(3)
            send(data, {"key": message["key"], "over": wait(pid, 0)[1]})
        elif message["do"] == "end":
            send(data, {"key": message["key"]})
            leave(0)
        # else it was meant for a tester that has ended


def _test(
    data: socket.socket,
    runner: _Runner,
    hello: dict[str, Any],
    guard: _Guard,
    originals: dict[str, Any],
    kept: dict[str, Any],
    key: str,
) -> NoReturn:
    """Run tests on what the cells have made. The key of each verdict comes with the test, so not earlier."""
    receive, send, leave, restore = _receive, _send, os._exit, guard.restore
    changed = restore()
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)  # a pool of threads does not survive a fork
    protected, defined = _Protected(guard.modules, originals), dict[str, Any]()
    send(data, {"key": key, "changed": changed})
    while True:
        message = receive(data)
        send(data, {"key": message["key"], "started": True})
        if message["do"] == "over":
            leave(0)
        restore()
        names = {name: value for name, value in runner.names.items() if name not in hello["builtins"]}
        protected.protect(names, kept)
        names |= defined | hello["values"]
        before = dict(names)
        _seed()
        error = runner.run(message["source"], message["label"], hello["seconds"], remember=False, names=names)
        changed = restore()
        if changed and error is None:
            error = {"type": "_Tampered", "text": ", ".join(changed), "line": 0}
        defined |= {n: value for n, value in names.items() if n not in before or before[n] is not value}
        send(data, {"key": message["key"], "error": error})


class _Runner:
    """Run cells one after the other in one set of names, as a kernel does."""

    def __init__(self, hello: dict[str, Any]) -> None:
        from IPython.core.inputtransformer2 import TransformerManager

        module = types.ModuleType("__main__")
        sys.modules["__main__"] = module
        self.names = module.__dict__
        self._transform = TransformerManager().transform_cell
        self._label, self._current = "", self.names
        shell = _Shell(self._execute)
        self.names |= {
            "get_ipython": lambda: shell,
            "display": lambda *a, **k: None,
            "__builtins__": builtins,
        }
        self._printed = hello["output"] * 2**20
        signal.signal(signal.SIGALRM, self._late)
        self._bound = signal.setitimer, sys.settrace, sys.setprofile, os.getpid, os._exit

    @staticmethod
    def _late(signum: int, frame: Any) -> NoReturn:
        raise _Timeout

    def _execute(self, source: str) -> None:
        exec(compile(self._transform(source), self._label, "exec", dont_inherit=True), self._current)

    def run(
        self, source: str, label: str, seconds: float, remember: bool, names: dict[str, Any] | None = None
    ) -> dict[str, Any] | None:
        """Run a cell, with names of its own if some are given; return what went wrong, or None."""
        self._label, self._current = label, self.names if names is None else names
        if remember:  # inspect.getsource works on answers, and not on tests
            linecache.cache[label] = (len(source), None, source.splitlines(keepends=True), label)
        sys.stdout = sys.stderr = _Sink(self._printed)  # type: ignore[assignment]
        setitimer, settrace, setprofile, getpid, leave = self._bound
        own = getpid()
        try:
            # again and again: the cell may catch all exceptions
            setitimer(signal.ITIMER_REAL, seconds, 0.5)
            try:
                self._execute(source)
            except BaseException as error:
                settrace(None)
                setprofile(None)
                return _describe(error, label)
            finally:
                settrace(None)
                setprofile(None)
                setitimer(signal.ITIMER_REAL, 0)
                if getpid() != own:  # the cell has forked, and this is the copy
                    leave(0)
        except BaseException as error:
            setitimer(signal.ITIMER_REAL, 0)
            return {"type": "_Timeout" if isinstance(error, _Timeout) else "Exception", "text": "", "line": 0}
        return None


def _describe(error: BaseException, label: str) -> dict[str, Any]:
    """Kind, text and place of an exception. Its text may be foreign code that fails or never ends."""
    own = isinstance(error, _Timeout | _Flood)
    kind = type(error).__name__ if own or type(error).__module__ != __name__ else "Exception"
    try:
        text = "" if own else str(error)[:1000]
    except Exception:
        text = "(its text cannot be shown)"
    line, here, depth = 0, error.__traceback__, 0
    while here is not None:
        depth += 1
        if here.tb_frame.f_code.co_filename == label:
            line, depth = here.tb_lineno, 0
        here = here.tb_next
    if isinstance(error, SyntaxError) and error.filename == label:
        line = error.lineno or 0
    return {"type": str(kind)[:100], "text": text, "line": line, "inside": depth > 0}


# ---- what the tests call -----------------------------------------------------------------------------------


def _resolve(path: str) -> Any:
    """The object that a dotted path names, or None: modules first, then attributes."""
    parts = path.split(".")
    found = sys.modules.get(parts[0])
    for k, part in enumerate(parts[1:], start=2):
        found = sys.modules.get(".".join(parts[:k])) or getattr(found, part, None)
        if found is None:
            return None
    return found


class _Protected:
    """What tests see of modules: copies that no answer holds, so that nothing can be put into them.

    Putting back before a test would not do: an answer can change a function while the test waits for it.
    """

    def __init__(self, modules: Iterable[types.ModuleType], originals: dict[str, Any]) -> None:
        self._copies: dict[int, types.ModuleType] = {}
        for module in modules:
            twin = types.ModuleType(module.__name__)
            twin.__dict__.update(module.__dict__)
            self._copies[id(module)] = twin
        for twin in self._copies.values():
            linked = {n: self._copies[id(v)] for n, v in twin.__dict__.items() if id(v) in self._copies}
            twin.__dict__.update(linked)
        self._builtins = dict(vars(builtins)) | {"__import__": self._import}
        self._originals = {name: self._twin(value) for name, value in originals.items()}

    def _twin(self, value: Any) -> Any:
        return self._copies.get(id(value), value)

    def _import(self, *arguments: Any, **options: Any) -> Any:
        return self._twin(__import__(*arguments, **options))

    def protect(self, names: dict[str, Any], kept: dict[str, Any]) -> None:
        """Put originals into the names of a test, and helpers of the source that look only there."""
        names |= self._originals
        names["__builtins__"] = self._builtins
        for name, value in kept.items():
            if isinstance(value, types.FunctionType) and value.__closure__ is None:
                twin = types.FunctionType(value.__code__, names, value.__name__, value.__defaults__)
                twin.__kwdefaults__ = value.__kwdefaults__
                twin.__dict__.update(value.__dict__)
                value = twin
            names[name] = value


_IMPLICIT = {"__dict__", "__weakref__", "__doc__", "__module__", "__annotations__", "__abstractmethods__"}


class _Guard:
    """Remember functions of modules and members of classes, and put them back."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._saved: list[tuple[str, Any, dict[str, Any]]] = []
        self._codes: list[tuple[str, types.FunctionType, tuple[Any, ...]]] = []
        self.modules: list[types.ModuleType] = []
        for path in dict.fromkeys(paths):
            target = _resolve(path)
            if not isinstance(target, types.ModuleType | type):
                continue
            members = {
                name: value
                for name, value in list(vars(target).items())
                if name not in _IMPLICIT
                and (callable(value) or isinstance(value, classmethod | staticmethod | property))
            }
            self._saved.append((path, target, members))
            if isinstance(target, types.ModuleType):
                self.modules.append(target)
            for name, value in members.items():
                if isinstance(value, types.FunctionType):
                    code = (value.__code__, value.__defaults__, value.__kwdefaults__)
                    self._codes.append((f"{path}.{name}", value, code))

    def restore(
        self, *, isinstance=isinstance, setattr=setattr, delattr=delattr, suppress=contextlib.suppress
    ) -> list[str]:
        """Put all back. Return what the notebook had put there: libraries change a few of their own."""
        foreign = []
        for path, target, members in self._saved:
            current = target.__dict__
            for name, value in members.items():
                if name in current and current[name] is value:
                    continue
                if _is_foreign(current.get(name)):
                    foreign.append(f"{path}.{name}")
                with suppress(TypeError, AttributeError):
                    setattr(target, name, value)
            if isinstance(target, type):
                bases = [vars(base) for base in target.__mro__[1:]]
                for name in [n for n in current if n not in members and n not in _IMPLICIT]:
                    hides = name.startswith("__") or any(name in base for base in bases)
                    if hides and _is_foreign(current[name]):
                        foreign.append(f"{path}.{name}")
                        with suppress(TypeError, AttributeError):
                            delattr(target, name)
        for path, function, (code, defaults, keywords) in self._codes:
            if function.__code__ is not code:
                foreign.append(path)
                function.__code__ = code
            if function.__defaults__ is not defaults:
                function.__defaults__ = defaults
            if function.__kwdefaults__ is not keywords:
                function.__kwdefaults__ = keywords
        return foreign[:50]


def _is_foreign(value: Any) -> bool:
    """Whether a function or class comes from the notebook."""
    value = getattr(value, "__func__", getattr(value, "fget", value))
    code = getattr(value, "__code__", None)
    if code is not None:
        return str(code.co_filename).startswith("<cell ")
    return (
        getattr(value, "__module__", None) == "__main__"
        or getattr(type(value), "__module__", "") == "__main__"
    )
