"""A small assignment, and all kinds of submissions to it: right, wrong, broken and hostile ones."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, field
from typing import Any

from l2lab.classroom.check import mutated
from l2lab.classroom.format import Notebook, release

TESTS = ("q1-visible", "q1-hidden", "q2-visible", "q2-hidden", "q3-hidden")
POINTS = dict(zip(TESTS, (1, 2, 1, 2, 1), strict=True))
SECRET = "a secret of the hidden tests: "


def cell(
    text: str, kind: str = "", grade_id: str = "", points: float = 0, code: bool = True
) -> dict[str, Any]:
    """One cell of a source; `kind` as in the package, empty for a cell without marks."""
    made: dict[str, Any] = {
        "cell_type": "code" if code else "markdown",
        "metadata": {},
        "source": text.strip("\n"),
    }
    made["id"] = grade_id or f"free-{abs(hash(text)) % 10**6}"
    if code:
        made |= {"outputs": [], "execution_count": None}
    if kind:
        mark = {"schema_version": 3, "grade_id": grade_id, "task": False, "locked": kind in ("fixed", "test")}
        mark |= {"grade": kind in ("test", "manual"), "solution": kind in ("answer", "manual")}
        if mark["grade"]:
            mark["points"] = points
        made["metadata"]["nbgrader"] = mark
    return made


def assignment(tool: str = "math") -> Notebook:
    """Three questions and a written one. Tests compare with ``math.isclose`` or ``torch.isclose``."""
    close = {
        "math": "def close(a, b):\n    return math.isclose(a, b)",
        "torch": (
            "def close(a, b):\n    return bool(torch.isclose(torch.tensor(float(a)), torch.tensor(float(b))))"
        ),
    }[tool]
    cells = [
        cell("# A small assignment", "fixed", "title", code=False),
        cell(f'import {tool}\n\nSTUDENT_ID = "example"\n\n\n{close}', "fixed", "setup"),
        cell("## Question 1\n\nDouble it.", "fixed", "q1-text", code=False),
        cell(
            'def double(x):\n    """Return 2x."""\n    ### BEGIN SOLUTION\n'
            "    return 2 * x + 0\n    ### END SOLUTION",
            "answer",
            "q1",
        ),
        cell('assert close(double(1.5), 3.0), "twice 1.5 is 3"', "test", "q1-visible", 1),
        cell(
            "# Question 1: more checks run when this is graded\n### BEGIN HIDDEN TESTS\n"
            f'secret = "{SECRET}doubles"\n'
            'assert close(double(-4.25), -8.5), f"negative numbers count, got {double(-4.25)}"\n'
            "### END HIDDEN TESTS",
            "test",
            "q1-hidden",
            2,
        ),
        cell(
            "def norm(w):\n    ### BEGIN SOLUTION\n    return sum(v**2 for v in w)\n    ### END SOLUTION",
            "answer",
            "q2",
        ),
        cell('sample = [3, 4]\nassert close(norm(sample), 25), "3² + 4² = 25"', "test", "q2-visible", 1),
        cell(
            "### BEGIN HIDDEN TESTS\n"
            f'secret = "{SECRET}norms"\n'
            "assert all(close(norm([k * v for v in sample]), 25 * k**2) for k in (2, 5, 7)), "
            '"it grows with the square"\n### END HIDDEN TESTS',
            "test",
            "q2-hidden",
            2,
        ),
        cell("### BEGIN SOLUTION\nanswer = 2 * len(STUDENT_ID)\n### END SOLUTION", "answer", "q3"),
        cell(
            "### BEGIN HIDDEN TESTS\n"
            'assert isinstance(answer, int) and answer == 2 * len(STUDENT_ID), "your own number"\n'
            "### END HIDDEN TESTS",
            "test",
            "q3-hidden",
            1,
        ),
        cell(
            "### BEGIN SOLUTION\nRubric: one point for the word shrink.\n### END SOLUTION",
            "manual",
            "q4-written",
            2,
            False,
        ),
    ]
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    return {"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}


@dataclass
class Case:
    """A submission and what must come of it.

    `status` is a regular expression; `failed` names the tests that must not pass; `note` is a regular
    expression that one of the notes must match.
    """

    content: Any
    failed: set[str] = field(default_factory=set)
    status: str = "ok"
    note: str = ""


Q1, Q2, Q3 = {"q1-visible", "q1-hidden"}, {"q2-visible", "q2-hidden"}, {"q3-hidden"}
NORM = "def norm(w):\n    return sum(v**2 for v in w)\n"


def answers(source: Notebook, **given: str) -> Notebook:
    """The solution with other answers to q1, q2 or q3."""
    return mutated(source, given)


def ordinary(source: Notebook) -> dict[str, Case]:
    """Right, wrong and partly right ones, and those that only look odd."""
    stub = release(source)
    half = "def norm(w):\n    return sum(v**2 for v in w) if list(w) == [3, 4] else 0\n"
    noisy = (
        'import sys, warnings\nprint("x" * 10_000)\nprint("e", file=sys.stderr)\nwarnings.warn("look")\n'
        + NORM
    )
    magics = "%matplotlib inline\n!pip install something\n%%time\n" + NORM
    return {
        "right": Case(source),
        "stub": Case(stub, set(TESTS)),
        "wrong q1": Case(answers(source, q1="def double(x):\n    return x * x"), Q1),
        "half q1": Case(answers(source, q1="def double(x):\n    return abs(2 * x)"), {"q1-hidden"}),
        "half q2": Case(answers(source, q2=half), {"q2-hidden"}),
        "raises": Case(answers(source, q2="def norm(w):\n    return w.no_such_thing()"), Q2),
        "syntax error": Case(answers(source, q2="def norm(w) return w"), Q2),
        "noise and warnings": Case(answers(source, q2=noisy)),
        "magics": Case(answers(source, q2=magics)),
        "exit": Case(answers(source, q2="import sys\nsys.exit(0)\n" + NORM), Q2),
        "own id": Case(_with_id(source, "ada"), note="^$"),
    }


def _with_id(source: Notebook, identity: str) -> Notebook:
    notebook = copy.deepcopy(source)
    notebook["cells"][1]["source"] = notebook["cells"][1]["source"].replace("example", identity)
    notebook["cells"][9]["source"] = f"answer = {2 * len(identity)}"
    return notebook


def repaired(source: Notebook) -> dict[str, Case]:
    """Right answers in notebooks that were damaged on their way."""

    def changed(**what: Any) -> Notebook:
        return copy.deepcopy(source)

    stripped = changed()
    for part in stripped["cells"]:
        part["metadata"] = {}
        part.pop("id")
    copied = changed()
    copied["cells"].insert(4, copy.deepcopy(copied["cells"][3]))
    copied["cells"][3]["source"] = "def double(x):\n    return 0"
    left = changed()
    left["cells"].append(copy.deepcopy(release(source)["cells"][3]))
    renamed = changed()
    for part in renamed["cells"]:
        if "nbgrader" in part["metadata"]:
            part["metadata"]["nbgrader"]["grade_id"] = "cell-" + part["id"]
        part["id"] = "other-" + part["id"]
    deleted = changed()
    deleted["cells"] = [
        part for part in deleted["cells"] if part["id"] not in ("q2-visible", "q2-hidden", "setup")
    ]
    edited = changed()
    for part in edited["cells"]:
        if part["id"] in TESTS:
            part["source"] = "assert True"
    edited["cells"][6]["source"] = "def norm(w):\n    return 1"
    moved = changed()
    moved["cells"].append(moved["cells"].pop(3))  # the answer to q1 stands at the end, behind its tests
    old = {
        "nbformat": 3,
        "worksheets": [
            {
                "cells": [
                    {"cell_type": part["cell_type"], "input": part["source"].splitlines(keepends=True)}
                    for part in source["cells"]
                ]
            }
        ],
    }
    return {
        "metadata lost": Case(stripped, note="recognized without metadata"),
        "answer copied": Case(copied, note="q1: occurs 2 times"),
        "unanswered copy": Case(left, note="q1: occurs 2 times"),
        "cells renamed": Case(renamed, note="recognized without metadata"),
        "tests deleted": Case(deleted, note="q2-visible: the test was missing"),
        "tests edited": Case(edited, Q2, note="q2-hidden: the test was edited"),
        "answer moved": Case(moved),
        "version 3": Case(old),
        "only text": Case(
            {"cells": [cell("hello", code=False)], "metadata": {}, "nbformat": 4, "nbformat_minor": 5},
            set(TESTS),
            "no answers found",
        ),
    }


def broken() -> dict[str, Case]:
    """Content that cannot be graded at all."""
    everything = set(TESTS)
    return {
        "empty": Case(b"", everything, "not a notebook: the file is empty"),
        "binary": Case(b"PK\x03\x04\xff\xfe" * 10, everything, "not a notebook: it is a binary file"),
        "not json": Case(b"print('hello')", everything, "not a notebook: it is not JSON"),
        "cut off": Case(json.dumps(assignment()).encode()[:-40], everything, "not a notebook"),
        "other json": Case(b'{"cells": 3}', everything, "not a notebook: it is JSON"),
        "deep json": Case(b"[" * 200_000, everything, "not a notebook"),
        "huge": Case(b" " * (3 * 2**20), everything, "too large"),
    }


def hostile(source: Notebook, tool: str = "math") -> dict[str, Case]:
    """Code that tries to disturb the grader or to get points that it does not deserve."""
    name = f"{tool}.isclose"
    tampered = "tampered with .*" + name.replace(".", r"\.")
    lie = f"{name} = lambda *a, **k: True\n"
    bad = "def norm(w):\n    return 1\n"

    def q2(code: str) -> Notebook:
        return answers(source, q2=code)

    forge = (
        "import os, sys\ndef norm(w):\n    frame = sys._getframe()\n    while frame:\n"
        "        names = frame.f_locals\n        if 'message' in names and 'data' in names:\n"
        "            names['send'](names['data'], {'key': names['message']['key'], 'error': None})\n"
        "            os._exit(0)\n        frame = frame.f_back\n"
    )
    stubborn = (
        "import time\nwhile True:\n    try:\n        time.sleep(0.01)\n"
        "    except BaseException:\n        pass\n"
    )
    bomb = (
        "import os, time\nfor _ in range(60):\n    if os.fork() == 0:\n"
        "        time.sleep(20)\n        os._exit(0)\ntime.sleep(20)"
    )
    hog = (
        "import os, time\nfor _ in range(5):\n    if os.fork() == 0:\n"
        "        x = b'1' * (100 * 2**20)\n        time.sleep(20)\ntime.sleep(20)"
    )
    flood = "while True:\n    print('x' * 100_000)\n"
    fake = "class Fake:\n    def __getattr__(self, name):\n        return lambda *a, **k: True\n"
    peek = (
        "import sys\ndef norm(w):\n    seen = []\n    frame = sys._getframe()\n    while frame:\n"
        "        seen.append(str(frame.f_code.co_consts) + str(frame.f_locals.get('message')))\n"
        "        frame = frame.f_back\n    open('seen', 'w').write(str(seen))\n"
        "    raise ValueError(str(seen))\n"
    )
    smuggle = "raise ValueError(open('seen').read())"
    smuggler = q2(peek)
    smuggler["cells"].append(cell(smuggle))
    return {
        "endless cell": Case(q2("while True:\n    pass"), Q2, "timeout in q2"),
        "endless answer": Case(
            q2("def norm(w):\n    while True:\n        pass"), Q2, "timeout in q2-visible; .*hidden"
        ),
        "stubborn cell": Case(q2(stubborn), Q2, "timeout in q2"),
        "ends in cell": Case(q2("import os\nos._exit(0)"), Q2, r"died \(exit 0\) in q2"),
        "ends in answer": Case(
            q2("import os\ndef norm(w):\n    os._exit(0)"), Q2, r"died \(exit 0\) in q2-visible"
        ),
        "segfault": Case(
            q2("import ctypes\ndef norm(w):\n    return ctypes.string_at(0)"),
            Q2,
            r"died \(signal 11\) in q2-visible",
        ),
        "segfault in cell": Case(q2("import ctypes\nctypes.string_at(0)"), Q2, r"died \(signal 11\) in q2"),
        "memory": Case(q2("x = b'1' * (2 * 2**30)\n" + NORM), Q2),
        "memory of children": Case(q2(hog), Q2, "too much memory in q2"),
        "flood": Case(q2(flood), Q2, "too much output in q2"),
        "flood in answer": Case(
            q2("def norm(w):\n    " + flood.replace("\n", "\n    ")), Q2, "too much output in q2-v"
        ),
        "fork bomb": Case(q2(bomb), Q2, "too many processes in q2"),
        "large file": Case(
            q2("with open('x', 'wb') as f:\n    for _ in range(99):\n        f.write(bytes(2**20))\n" + NORM),
            Q2,
        ),
        "kills its parent": Case(q2("import os\nos.kill(os.getppid(), 9)\n" + NORM), set(), "ok$|died"),
        "kills all": Case(q2("import os\nos.kill(-1, 9)\n" + bad), Q2, "ok$|died"),
        "patches the comparison": Case(q2(lie + bad), Q2, note=tampered),
        "patches while tested": Case(q2(f"def norm(w):\n    {lie}    return 1"), Q2),
        "patches and restores": Case(
            q2(
                f"true = {name}\ndef lie(*a, **k):\n    {name} = true\n    return True\n"
                f"def norm(w):\n    {name} = lie\n    return 1"
            ),
            Q2,
        ),
        "patches builtins": Case(
            q2("import builtins\nbuiltins.all = lambda x: True\n" + bad), Q2, note="builtins.all"
        ),
        "shadows the module": Case(q2(f"{fake}{tool} = Fake()\n{bad}"), Q2),
        "shadows a builtin": Case(q2(f"def all(x):\n    return True\n{bad}"), Q2),
        "shadows a helper": Case(q2("def close(a, b):\n    return True\n" + bad), Q2),
        "traces": Case(q2("import sys\nsys.settrace(lambda *a: 1 / 0)\n" + NORM), set(), note="unusual code"),
        "answers that equal all": Case(
            answers(
                source,
                q3="class Any(int):\n    def __eq__(self, other):\n        return True\nanswer = 'Any'",
            ),
            Q3,
        ),
        "forges a verdict": Case(q2(forge), Q2, "died.*", note="unusual code.*_getframe"),
        "shows hidden tests": Case(smuggler, Q2, note="unusual code"),
        "breaks the protocol": Case(
            q2(
                "import os\nfor fd in range(3, 600):\n    try:\n"
                "        os.write(fd, b'x' * 64)\n    except OSError:\n        pass"
            ),
            Q2,
            "wrote into the channel of the grader in q2",
        ),
        "forks and returns": Case(q2("import os\nos.fork()\n" + NORM)),
        "crashes compilers": Case(q2("x = " + "-" * 30_000 + "1\n" + NORM), Q2, "ok$|died|timeout"),
        "crashes readers": Case(
            answers(source, q2="STUDENT_ID = " + "(" * 5000 + "[-" * 90_000), Q2, "ok$|died|timeout"
        ),
        "exits in answer": Case(q2("def norm(w):\n    raise SystemExit"), Q2),
        "odd exception": Case(
            q2(
                "class Odd(Exception):\n    def __str__(self):\n"
                "        raise self\ndef norm(w):\n    raise Odd"
            ),
            Q2,
        ),
        "surrogates": Case(
            q2("def norm(w):\n    raise ValueError('\\ud800 \\x1b[2J <script>alert(1)</script>')"), Q2
        ),
    }
