"""The classroom: the format of assignments, the batch grader under attack, the report."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import classroom_submissions as cs
from l2lab.classroom import __main__ as command
from l2lab.classroom import format as fmt
from l2lab.classroom import grade as grading
from l2lab.classroom import report, sandbox
from l2lab.classroom.check import benchmark, check, mutated
from l2lab.classroom.grade import Grader, Limits, Result, Verdict

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="grading needs fork")

LIMITS = Limits(seconds=1.5, total=60, memory=200, processes=16, output=2, disk=20, size=2)
SOURCE = cs.assignment()
READ = fmt.read_assignment(SOURCE, "small")


@pytest.fixture(scope="module", autouse=True)
def impatient():
    """Wait a second, and not three, before a process that does not end by itself is ended."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grading, "_GRACE_SECONDS", 1.0)
        yield


@pytest.fixture(scope="module")
def grader():
    with Grader(2, LIMITS, modules=("math",)) as made:
        yield made


def verify(results, cases):
    """Compare results with what the cases say, all differences at once."""
    wrong = []
    for result in results:
        case = cases[result.name]
        told = " | ".join(result.notes)
        if not re.match(case.status + ("$" if case.status == "ok" else ""), result.status):
            wrong.append(f"{result.name}: status {result.status!r}, expected {case.status!r}")
        if result.tests and result.failed() != case.failed:
            messages = {k: (v.outcome, v.message) for k, v in result.tests.items()}
            wrong.append(f"{result.name}: failed {sorted(result.failed())}: {messages} {result.errors}")
        if not re.search(case.note, told):
            wrong.append(f"{result.name}: notes {told!r}, expected {case.note!r}")
    assert not wrong, "\n".join(wrong)
    assert {r.name for r in results} == set(cases)


# ---- format ------------------------------------------------------------------------------------------------


def test_release_is_the_source_without_what_students_must_not_see():
    made = fmt.release(SOURCE)
    by_id = {c["id"]: c["source"] for c in made["cells"]}
    assert by_id["q1"] == 'def double(x):\n    """Return 2x."""\n' + "\n".join(
        "    " + line for line in fmt.CODE_STUB.split("\n")
    )
    assert by_id["q2-visible"] == READ.cell("q2-visible").source
    assert by_id["q1-hidden"] == "# Question 1: more checks run when this is graded"
    assert by_id["q4-written"] == fmt.TEXT_STUB
    assert fmt.leaks(json.dumps(made), READ) == []
    assert cs.SECRET not in json.dumps(made)
    assert cs.SECRET in json.dumps(SOURCE), "the source itself must not change"
    with pytest.raises(RuntimeError, match="no answer"):
        exec(by_id["q3"])


def test_release_clears_outputs():
    notebook = cs.assignment()
    notebook["cells"][3] |= {"outputs": [{"output_type": "stream", "text": cs.SECRET}], "execution_count": 3}
    notebook["cells"][3]["metadata"]["scrolled"] = True
    made = fmt.release(notebook)["cells"][3]
    assert made["outputs"] == []
    assert made["execution_count"] is None
    assert "scrolled" not in made["metadata"]


def test_release_is_that_of_nbgrader(tmp_path):
    pytest.importorskip("nbgrader", reason="nbgrader is no dependency; compared where it is installed")
    import nbformat
    from nbgrader import preprocessors as pre

    config = __import__("traitlets").config.Config()
    config.ClearSolutions.code_stub = {"python": fmt.CODE_STUB}
    notebook, resources = nbformat.from_dict(cs.assignment()), {"unique_key": "x"}
    steps = "LockCells ClearSolutions ClearOutput CheckCellMetadata ComputeChecksums ClearHiddenTests "
    for step in (steps + "ClearMarkScheme ComputeChecksums CheckCellMetadata").split():
        notebook, resources = getattr(pre, step)(config=config).preprocess(notebook, resources)
    assert json.loads(json.dumps(notebook)) == fmt.release(SOURCE)


def test_leaks_are_found_in_notebooks_and_in_highlighted_html():
    secret = "return sum(v**2 for v in w)"
    assert any("q2" in line for line in fmt.leaks(json.dumps({"x": f"    {secret}\n"}), READ))
    spans = '<span class="k">return</span> <span>sum</span>(<span>v</span>**<span>2</span> for v in w)'
    assert fmt.leaks(f"<pre>{spans}</pre>", READ)
    assert fmt.leaks("### BEGIN HIDDEN TESTS", READ) == ["BEGIN HIDDEN TESTS"]
    assert fmt.leaks("def norm(w): a norm", READ) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c[4]["metadata"]["nbgrader"].update(grade_id="q1-hidden"), "occurs 2 times"),
        (lambda c: c[4]["metadata"]["nbgrader"].update(points="many"), "points must be a number"),
        (lambda c: c[4]["metadata"]["nbgrader"].update(schema_version=2), "schema_version must be 3"),
        (lambda c: c[4]["metadata"]["nbgrader"].update(grade_id="q 1"), "letters, digits"),
        (lambda c: c[3].update(source="### BEGIN SOLUTION\nx = 1"), "without its END"),
        (lambda c: c[3].update(source="### END SOLUTION"), "without its BEGIN"),
        (lambda c: c[1].update(source="### BEGIN SOLUTION\n### END SOLUTION"), "not marked as one"),
        (
            lambda c: c[3].update(source="### BEGIN HIDDEN TESTS\n### END HIDDEN TESTS"),
            "not marked as a test",
        ),
        (lambda c: c.__delitem__(slice(1, None)), "no cell is an autograded test"),
    ],
)
def test_a_source_with_mistakes_is_refused(change, message):
    notebook = cs.assignment()
    change(notebook["cells"])
    with pytest.raises(fmt.AssignmentError, match=message):
        fmt.read_assignment(notebook)


def test_a_source_that_is_no_notebook_is_named(tmp_path):
    file = tmp_path / "a.ipynb"
    file.write_text("no")
    with pytest.raises(fmt.AssignmentError, match=r"a\.ipynb: it is not JSON"):
        fmt.read_assignment(file)


def test_what_the_assignment_says_about_itself(tmp_path):
    fmt.write_notebook(SOURCE, tmp_path / "small.ipynb")
    read = fmt.read_assignment(tmp_path / "small.ipynb")
    assert (read.name, read.questions, read.max_score) == ("small", ("q1", "q2", "q3", "q4"), 7)
    assert [c.grade_id for c in read.cells] == [c.grade_id for c in READ.cells]
    assert {c.grade_id for c in read.cells if c.hidden} == {"q1-hidden", "q2-hidden", "q3-hidden"}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('STUDENT_ID = "ada"', "ada"),
        ("STUDENT_ID: str = 'a b'  # mine", "a b"),
        ("STUDENT_ID = 12345", "12345"),
        ("STUDENT_ID = input()", None),
        ('STUDENT_ID = "' + "x" * 101 + '"', None),
        ("STUDENT_ID = True", None),
        ('if True:\n    STUDENT_ID = "ada"', None),
        ("STUDENT_ID = 1" + "0" * 5000, None),
        ('STUDENT_ID = "a" + "b"', None),
        ("STUDENT_ID = 'ada'\nx = STUDENT_ID == 'bob'", "ada"),
    ],
)
def test_the_id_is_read_as_a_literal(line, expected):
    assert fmt.student_id({"cells": [cs.cell(line)]}) == expected


def test_tests_are_placed_behind_the_answers_to_their_question():
    for name, case in cs.repaired(SOURCE).items():
        steps, _ = fmt.repair(fmt.read_notebook(json.dumps(case.content).encode()), READ)
        order = [step.grade_id for step in steps]
        assert Counter(s.grade_id for s in steps if s.kind == "test") == Counter(cs.TESTS), name
        for test in cs.TESTS:
            assert READ.cell(test).source in {s.source for s in steps if s.grade_id == test}, name
            answer = test.partition("-")[0]
            assert answer not in order[order.index(test) :], (name, test)


# ---- grading: what must come of each kind ------------------------------------------------------------------


def test_ordinary_and_damaged_submissions(grader):
    cases = cs.ordinary(SOURCE) | cs.repaired(SOURCE) | cs.broken()
    results = grader.grade(READ, {name: case.content for name, case in cases.items()})
    verify(results, cases)
    by_name = {r.name: r for r in results}
    assert by_name["right"].score == 7
    assert by_name["stub"].score == 0
    assert {t.outcome for t in by_name["stub"].tests.values()} == {"not answered"}
    assert by_name["own id"].student_id == "ada"
    assert by_name["raises"].tests["q2-visible"].message.startswith("AttributeError: 'list' object has no")
    assert by_name["raises"].tests["q2-visible"].shown.startswith("This test ended with AttributeError.")
    assert by_name["half q1"].tests["q1-hidden"].message == "negative numbers count, got 8.5"
    assert by_name["half q1"].tests["q1-hidden"].shown == "negative numbers count, got …"
    assert "SyntaxError" in by_name["syntax error"].errors["q2"]
    for name in cs.broken():
        assert by_name[name].score is None, f"{name}: a silent 0"


def test_hostile_submissions_hurt_only_themselves(grader):
    cases = cs.hostile(SOURCE)
    if not grader.protection.namespaces:
        cases.pop("kills all")
    neighbours = {f"neighbour {k}": cs.Case(SOURCE) for k in range(5)}
    # names that sort between the hostile ones, so that the neighbours run while these do
    shuffled = {f"{k % 7} {name}": case for k, (name, case) in enumerate((cases | neighbours).items())}
    results = grader.grade(READ, {name: case.content for name, case in shuffled.items()})
    verify(results, shuffled)
    for result in results:
        page = report.feedback_page(result, "small")
        assert fmt.leaks(page, READ) == [], result.name
        assert cs.SECRET not in page, result.name
        assert "<script" not in page


@pytest.fixture(scope="module")
def with_torch():
    with Grader(2, LIMITS, modules=("torch",)) as made:
        yield made


def test_torch_is_given_back_to_the_tests(with_torch):
    source = cs.assignment("torch")
    bad = "def norm(w):\n    return 1\n"
    cases = {
        "right": cs.Case(source),
        **{
            k: v
            for k, v in cs.hostile(source, "torch").items()
            if re.match("patches|shadows|segfault|forges", k)
        },
        "patches the tensor": cs.Case(
            cs.answers(source, q2="torch.Tensor.__bool__ = lambda self: True\n" + bad), cs.Q2
        ),
        "patches a method while tested": cs.Case(
            cs.answers(
                source, q2="def norm(w):\n    torch.Tensor.__bool__ = lambda self: True\n    return 1"
            ),
            cs.Q2,
            note="torch.Tensor.__bool__",
        ),
        "patches float": cs.Case(
            cs.answers(
                source, q2="torch.Tensor.isclose = torch.isclose = lambda *a: torch.tensor(True)\n" + bad
            ),
            cs.Q2,
            note="torch.isclose",
        ),
        "backward": cs.Case(
            cs.answers(
                source,
                q2="torch.set_num_threads(2)\n"
                "(torch.ones(300, 300, requires_grad=True) @ torch.ones(300, 300))"
                ".sum().backward()\n"
                "def norm(w):\n    w = torch.tensor(w, dtype=torch.float64, requires_grad=True)\n"
                "    (0.5 * (w @ w)).backward()\n    return float(w.grad @ w.grad)",
            )
        ),
        "optimizer": cs.Case(
            cs.answers(
                source,
                q2="p = torch.nn.Parameter(torch.ones(2))\ntorch.optim.Adam([p]).step()\n" + cs.NORM,
            ),
            note="^((?!tampered).)*$",
        ),
    }
    verify(with_torch.grade(source, {name: case.content for name, case in cases.items()}), cases)


def test_the_random_generators_start_the_same_in_each_test(grader):
    source = cs.assignment()
    source["cells"][4]["source"] = "import random\nassert random.random() == double(0.0), 'x'"
    first = __import__("random").Random(0).random()
    answer = f"import random\nfor _ in range(5): random.random()\ndef double(x):\n    return {first!r}"
    result = grader.grade_one(source, "a", cs.answers(source, q1=answer))
    assert result.tests["q1-visible"].outcome == "passed"


def test_a_test_does_not_change_what_later_cells_see(grader):
    source = cs.assignment()
    source["cells"][4]["source"] = (
        "double.seen = True\nimport math\nmath.pi = 3\nassert close(double(1.5), 3.0)"
    )
    late = cs.answers(
        source, q2="import math\nassert math.pi > 3.1 and not hasattr(double, 'seen')\n" + cs.NORM
    )
    assert grader.grade_one(source, "a", late).failed() == set()


def test_a_test_may_read_the_answer_and_the_answer_may_not_read_the_test(grader):
    source = cs.assignment()
    source["cells"][4]["source"] = (
        "import inspect\nassert '2 * x' in inspect.getsource(double), 'write 2 * x'"
    )
    assert grader.grade_one(source, "right", source).failed() == set()
    look = (
        "import inspect\ndef norm(w):\n    frame = inspect.currentframe().f_back\n"
        "    assert inspect.getsource(frame)\n    return sum(v**2 for v in w)"
    )
    assert grader.grade_one(source, "look", cs.answers(source, q2=look)).failed() == cs.Q2


def test_new_methods_of_library_classes_stay(with_torch):
    helper = "torch.Tensor.own_norm = lambda self: float(self @ self)\n"
    answer = helper + "def norm(w):\n    return torch.tensor(w, dtype=torch.float64).own_norm()"
    result = with_torch.grade_one(cs.assignment("torch"), "a", cs.answers(cs.assignment("torch"), q2=answer))
    assert result.failed() == set()
    assert not any("tampered" in note for note in result.notes)


def test_the_whole_time_of_a_submission_is_limited():
    slow = cs.answers(SOURCE, q1="import time\ndef double(x):\n    time.sleep(0.9)\n    return 2 * x")
    with Grader(limits=Limits(seconds=5, total=1.2), modules=()) as made:
        result = made.grade_one(READ, "slow", slow)
    assert "timeout" in result.status
    assert result.tests["q1-visible"].outcome == "passed"
    assert "not run" in {t.outcome for t in result.tests.values()}
    assert result.score < 7


# ---- walls -------------------------------------------------------------------------------------------------


def spy(body: str) -> str:
    """An answer to q2 that is right only if what it tries has worked: it fails where there is a wall."""
    lines = "".join(f"    {line}\n" for line in body.strip("\n").split("\n"))
    return (
        f"import os, socket, glob\ntry:\n{lines}    open_door = True\n"
        f"except Exception:\n    open_door = False\n"
        + ("def norm(w):\n    assert open_door\n    return sum(v**2 for v in w)\n")
    )


def test_the_control_of_the_spies(grader):
    assert grader.grade_one(READ, "spy", cs.answers(SOURCE, q2=spy("1 + 1"))).failed() == set()


def test_bubblewrap_hides_files_grades_and_the_network(grader, tmp_path):
    if not grader.protection.bubblewrap:
        pytest.skip("bubblewrap does not work here")
    grades = tmp_path / "grades.csv"
    grades.write_text("nobody has touched this")
    home = Path(__file__).resolve()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        tries = {
            "grades": f"open({str(grades)!r}, 'w').write('7')",
            "submissions": f"assert os.listdir({str(tmp_path)!r})",
            "this file": f"open({str(home)!r})",
            "package": f"open({str(Path(fmt.__file__))!r}, 'a')",
            "python": f"open({sys.prefix + '/x'!r}, 'w')",
            "passwords": "open('/etc/shadow').read()",
            "kernel": "open('/proc/sys/kernel/core_pattern', 'a')",
            "restart": "open('/proc/sysrq-trigger', 'w')",  # to open it does nothing
            "network": f"socket.create_connection(('127.0.0.1', {port}), timeout=1)",
            "environment": "assert os.environ['PYTEST_CURRENT_TEST']",
        }
        notebooks = {name: cs.answers(SOURCE, q2=spy(body)) for name, body in tries.items()}
        for result in grader.grade(READ, notebooks):
            assert result.failed() == cs.Q2, f"{result.name}: the door is open"
    assert grades.read_text() == "nobody has touched this"


def test_submissions_cannot_reach_each_other_or_the_grader(grader):
    if not grader.protection.namespaces:
        pytest.skip("namespaces are not allowed here")
    meet = (
        "places = {'/', '.', *glob.glob('/*/'), *glob.glob('/*/*/'), *glob.glob('/dev/*/')}\n"
        "seen = [name for place in places for name in glob.glob(place + '/left-*')]\n"
        "for place in places:\n    try:\n        open(f'{place}/left-{os.urandom(4).hex()}', 'w').close()\n"
        "    except OSError:\n        pass\nassert seen"
    )
    tries = {
        "files": meet,
        "memory": "assert any(open(f'/proc/{p}/mem', 'rb') for p in os.listdir('/proc')"
        " if p.isdigit() and int(p) not in (1, os.getpid(), os.getppid()))",
        "signals": "os.kill(max(int(p) for p in os.listdir('/proc') if p.isdigit() and int(p) > 20), 9)",
        "privileges": "import ctypes\nassert ctypes.CDLL(None).umount(b'/tmp') == 0",
        "abstract": "s = socket.socket(socket.AF_UNIX)\ntry:\n    s.bind('\\0meet')\n    s.listen()\n"
        "    import time; time.sleep(0.3)\n    raise ValueError\nexcept OSError:\n    pass",
    }
    notebooks = {f"{n} {k}": cs.answers(SOURCE, q2=spy(body)) for n, body in tries.items() for k in range(2)}
    for result in grader.grade(READ, notebooks):
        assert result.failed() == cs.Q2, f"{result.name}: the door is open"
        assert result.status == "ok"


def alive(word: str) -> list[str]:
    """Command lines of this machine's processes that hold a word."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = file.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue
        if word in line:
            found.append(line)
    return found


@pytest.mark.parametrize("namespaces", [True, False])
def test_what_a_submission_leaves_behind_ends_with_it(namespaces):
    if not sys.platform.startswith("linux"):
        pytest.skip("children of children are found through /proc")
    seconds = f"41{int(namespaces)}.25"
    leave = f"import subprocess\nsubprocess.Popen(['sleep', '{seconds}'], start_new_session=True)\n" + cs.NORM
    with Grader(limits=LIMITS, sandbox="off", modules=()) as made:
        zygote = made._started()
        if not namespaces:
            zygote.protection = sandbox.Protection(False, False)
        assert made.grade_one(READ, "leaves", cs.answers(SOURCE, q2=leave)).status == "ok"
        for _ in range(50):
            if not alive(f"sleep {seconds}"):
                break
            time.sleep(0.1)
        assert not alive(f"sleep {seconds}")


def test_without_any_wall_each_submission_still_gets_its_own_grade():
    hostile = cs.hostile(SOURCE)
    names = [
        "ends in cell",
        "segfault",
        "endless answer",
        "patches the comparison",
        "fork bomb",
        "forges a verdict",
    ]
    cases = {name: hostile[name] for name in names} | {"right": cs.Case(SOURCE)}
    if not sys.platform.startswith("linux"):
        cases.pop("fork bomb")
    with Grader(limits=LIMITS, sandbox="off", modules=()) as made:
        made._started().protection = sandbox.Protection(False, False)
        verify(made.grade(READ, {name: case.content for name, case in cases.items()}), cases)


def test_a_grader_that_is_killed_starts_again(grader):
    first = grader._started()
    first._process.kill()
    first._process.wait()
    assert grader.grade_one(READ, "right", SOURCE).score == 7
    assert grader._started() is not first


def test_a_closed_grader_starts_nothing():
    made = Grader(modules=())
    made.close()
    with pytest.raises(RuntimeError, match="was closed"):
        made.grade_one(READ, "right", SOURCE)


def test_missing_walls_are_said_aloud():
    assert sandbox.Protection(True, True).warning() == ""
    none = sandbox.Protection(False, False).warning()
    assert "NOT PROTECTED" in none
    assert "apt-get install bubblewrap" in none
    assert "the grades" in none
    assert "network" in none
    assert "network" not in sandbox.Protection(False, True).warning()


def test_protection_can_be_required(monkeypatch):
    monkeypatch.setattr(grading, "bubblewrap", lambda: None)
    with Grader(sandbox="require", modules=()) as made, pytest.raises(RuntimeError, match="NOT PROTECTED"):
        made.grade_one(READ, "a", SOURCE)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"jobs": 0}, "jobs"), ({"jobs": True}, "jobs"), ({"sandbox": "maybe"}, "sandbox")],
)
def test_the_grader_refuses_wrong_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        Grader(**options)


@pytest.mark.parametrize("value", [0, -1, True, "1", float("nan")])
def test_limits_must_be_positive_numbers(value):
    with pytest.raises(ValueError, match="the limit memory must be a positive number"):
        Limits(memory=value)


# ---- files and names ---------------------------------------------------------------------------------------


def test_links_and_things_that_are_no_files_are_not_read(grader, tmp_path):
    outside = tmp_path / "outside"
    folder = tmp_path / "submitted"
    outside.mkdir()
    folder.mkdir()
    fmt.write_notebook(SOURCE, outside / "someone.ipynb")
    fmt.write_notebook(SOURCE, folder / "honest.ipynb")
    (folder / "link.ipynb").symlink_to(outside / "someone.ipynb")
    (folder / "folder-link").symlink_to(outside)
    (folder / "nothing.ipynb").symlink_to(tmp_path / "nothing")
    os.mkfifo(folder / "pipe.ipynb")
    (folder / "folder.ipynb").mkdir()
    (folder / ".ipynb_checkpoints").mkdir()
    fmt.write_notebook(SOURCE, folder / ".ipynb_checkpoints" / "honest.ipynb")
    result = {r.name: r.status for r in grader.grade(READ, [folder])}
    assert result == {
        "honest": "ok",
        "link": "refused: a symbolic link",
        "folder-link": "refused: a symbolic link",
        "nothing": "refused: a symbolic link",
        "pipe": "not a file",
    }


def test_names_are_sorted_unique_and_harmless(tmp_path):
    odd = ["b.ipynb", "a b.ipynb", "=1+1.ipynb", "ä\x1b[2J.ipynb", "x'; rm -rf .ipynb", "-v.ipynb"]
    for name in odd:
        fmt.write_notebook(SOURCE, tmp_path / name)
    found = grading.collect([tmp_path / "sub" / ".." / "b.ipynb", tmp_path])
    assert len(found) == len(odd)
    assert list(found) == sorted(found)
    assert not any("\x1b" in name or ".." in name for name in found)
    files = {report._file_name(name) for name in [*found, "../../etc/passwd", "..", "", "a/b", "A/b"]}
    assert len(files) == len(odd) + 5
    assert all(re.fullmatch(r"[A-Za-z0-9_-]+", name) for name in files)


def test_students_are_named_after_their_folders(tmp_path):
    for student in ("ada", "bob"):
        (tmp_path / student / "ps1").mkdir(parents=True)
        fmt.write_notebook(SOURCE, tmp_path / student / "ps1" / "ps1.ipynb")
    assert list(grading.collect([tmp_path])) == ["ada", "bob"]


def test_nothing_to_grade_is_said(tmp_path):
    with pytest.raises(ValueError, match=r"there is no submission at .*nowhere"):
        grading.collect([tmp_path / "nowhere"])
    with pytest.raises(ValueError, match="no submissions were found"):
        grading.collect([tmp_path])


# ---- journal, command --------------------------------------------------------------------------------------


def test_a_journal_goes_on_where_it_was_cut_off(grader, tmp_path):
    journal = tmp_path / "j"
    notebooks = {f"s{k}": cs.answers(SOURCE, q3=f"answer = {13 + k}") for k in range(4)}
    seen = []

    def stop(result):
        seen.append(result.name)
        if len(seen) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        grader.grade(READ, notebooks, journal=journal, report=stop)
    whole = journal.read_text()
    assert whole.count("\n") == 2
    journal.write_text(whole + whole[: len(whole) // 3])  # as a kill leaves it
    again = []
    results = grader.grade(READ, notebooks, journal=journal, report=lambda r: again.append(r.name))
    assert sorted(seen + again) == sorted(notebooks)
    assert [r.score for r in results] == [6, 7, 6, 6]
    again.clear()
    assert grader.grade(READ, notebooks, journal=journal, report=lambda r: again.append(r.name)) == results
    assert again == []
    notebooks["s0"] = SOURCE  # handed in again
    grader.grade(READ, notebooks, journal=journal, report=lambda r: again.append(r.name))
    assert again == ["s0"]


def test_a_killed_command_goes_on(tmp_path):
    fmt.write_notebook(SOURCE, tmp_path / "small.ipynb")
    (tmp_path / "in").mkdir()
    slow = cs.answers(SOURCE, q1="import time\ntime.sleep(0.3)\ndef double(x):\n    return 2 * x")
    for k in range(6):
        fmt.write_notebook(slow, tmp_path / "in" / f"s{k}.ipynb")
    line = [sys.executable, "-m", "l2lab.classroom", "grade", "small.ipynb", "in", "--json", "out.json"]
    environment = os.environ | {"PYTHONPATH": str(Path(fmt.__file__).parents[2])}
    process = subprocess.Popen(line, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL)
    journal = tmp_path / "out.json.journal"
    for _ in range(200):
        if journal.exists() and journal.read_text().count("\n") >= 2:
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "out.json").exists()
    done = journal.read_text().count("\n")
    told = subprocess.run(
        line, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
    ).stderr
    assert 2 <= done < 6
    assert told.count("7 of 7, ok") == 6 - done, told
    _, results = grading.read_results(tmp_path / "out.json")
    assert [r.score for r in results] == [7] * 6


def test_the_command_grades_and_reports(tmp_path, capsys):
    fmt.write_notebook(SOURCE, tmp_path / "small.ipynb")
    folder = tmp_path / "in"
    folder.mkdir()
    cases = cs.ordinary(SOURCE) | {k: v for k, v in cs.broken().items() if k in ("empty", "not json")}
    for name, case in cases.items():
        if isinstance(case.content, bytes):
            (folder / f"{name}.ipynb").write_bytes(case.content)
        else:
            fmt.write_notebook(case.content, folder / f"{name}.ipynb")
    (folder / "=cmd.ipynb").write_bytes(b"")
    arguments = [
        "grade",
        tmp_path / "small.ipynb",
        folder,
        "--csv",
        tmp_path / "g.csv",
        "--json",
        tmp_path / "g.json",
    ]
    arguments += ["--report", tmp_path / "pages", "--gradescope", tmp_path / "gs", "--timeout", "5"]
    assert command.main([*map(str, arguments)]) == 0
    rows = [line.split(",") for line in (tmp_path / "g.csv").read_text().splitlines()]
    assert rows[0] == [
        "submission",
        "status",
        "student_id",
        "score",
        "max_score",
        "q1",
        "q2",
        "q3",
        "q4-written (by hand)",
    ]
    table = {row[0]: row for row in rows[1:]}
    assert table["right"] == ["right", "ok", "example", "7", "7", "3", "3", "1", ""]
    assert table["half q2"][5:8] == ["3", "1", "1"]
    assert table["empty"][3:5] == ["", ""]
    assert table["empty"][1].startswith("not a notebook")
    assert "'=cmd" in table, "a spreadsheet would run it"
    told = capsys.readouterr().err
    assert "14 submissions, 3 with a status other than ok" in told
    assert command.main(["report", str(tmp_path / "g.json"), str(tmp_path / "again")]) == 0
    pages = sorted(p.name for p in (tmp_path / "pages" / "feedback").iterdir())
    assert pages == sorted(p.name for p in (tmp_path / "again" / "feedback").iterdir())
    assert len(pages) == 14 + 1
    scores = [json.loads(p.read_text()) for p in (tmp_path / "gs").glob("*/results.json")]
    assert len(scores) == 14
    assert sum("COULD NOT BE GRADED" in s["output"] for s in scores) == 3
    assert not any(fmt.leaks(json.dumps(s), READ) for s in scores)


def test_shards_share_their_work(tmp_path, capsys):
    fmt.write_notebook(SOURCE, tmp_path / "small.ipynb")
    (tmp_path / "in").mkdir()
    for k in range(3):
        fmt.write_notebook(SOURCE, tmp_path / "in" / f"s{k}.ipynb")
    line = ["grade", str(tmp_path / "small.ipynb"), str(tmp_path / "in"), "--journal", str(tmp_path / "j")]
    for part in ("1/2", "2/2"):
        assert command.main([*line, "--shard", part]) == 0
    capsys.readouterr()
    assert command.main(line) == 0
    said = capsys.readouterr()
    assert said.out.count("7 of 7") == 3
    assert "[1/" not in said.err, "all of it was in the journal"
    with pytest.raises(SystemExit):
        command.main([*line, "--shard", "3/2"])


def test_the_recipe_for_a_cluster_gives_the_table_of_one_machine(tmp_path, monkeypatch):
    page = (Path(__file__).parents[1] / "book" / "for_instructors.md").read_text("utf-8")
    (recipe,) = re.findall(r"(?s)```python\n(import subprocess.*?)```", page)
    for old, new in {
        '"python -m': f'"{sys.executable} -m',
        "SOURCE.ipynb": "small.ipynb",
        "PARTS = 20": "PARTS = 2",
        "Client()": "Client(processes=False, n_workers=2, threads_per_worker=1, dashboard_address=None)",
    }.items():
        assert old in recipe
        recipe = recipe.replace(old, new)
    fmt.write_notebook(SOURCE, tmp_path / "small.ipynb")
    (tmp_path / "submissions").mkdir()
    for k in range(3):
        fmt.write_notebook(SOURCE, tmp_path / "submissions" / f"s{k}.ipynb")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1] / "book"))
    scope: dict = {}
    try:
        exec(recipe, scope)
    finally:
        scope["client"].close()
    table = (tmp_path / "grades.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in table[1:]] == ["s0", "s1", "s2"]
    assert len((tmp_path / "all.jsonl").read_text().splitlines()) == 3
    shared = [len(Path(f"part-{k}.jsonl").read_text().splitlines()) for k in (1, 2)]
    assert shared == [2, 1]


def test_wrong_input_to_the_command_is_explained(tmp_path, capsys):
    (tmp_path / "x.ipynb").write_text("{}")
    assert command.main(["grade", str(tmp_path / "x.ipynb"), str(tmp_path)]) == 2
    assert "has no list of cells" in capsys.readouterr().err
    assert command.main(["report", str(tmp_path / "x.ipynb"), str(tmp_path)]) == 2
    assert "holds no results of the grader" in capsys.readouterr().err


def test_check_finds_what_is_wrong_with_an_assignment(grader):
    mutants = {
        "square": ("q1", "def double(x):\n    return x * x", cs.Q1),
        "one": ("q2", "def norm(w):\n    return 1", cs.Q2),
        "wrong": ("q3", "answer = 'x'", cs.Q3),
    }
    assert check(READ, mutants, grader) == []
    wrong = check(
        READ, {"right": ("q1", READ.cell("q1").source, {"q1-hidden"}), "no": ("q9", "", set())}, grader
    )
    assert "mutant right should fail q1-hidden" in wrong
    assert "no mutant fails q2-visible" in wrong
    assert any("q9" in line for line in wrong)
    flawed = mutated(SOURCE, {"q2-visible": "assert norm([3, 4]) == 24", "q1-visible": "pass"})
    told = check(flawed, None, grader)
    assert any("the solution should pass q2-visible" in line for line in told)
    assert "the students' copy should fail q1-visible" in told


# ---- report ------------------------------------------------------------------------------------------------


def made_up(scores: np.ndarray, answers: list[str] | None = None) -> list[Result]:
    """Results of tests that give one point each."""
    return [
        Result(
            f"student {k:02d}",
            tests={
                f"q{j}": Verdict(1.0, "passed" if hit else "failed", "m", "m") for j, hit in enumerate(row)
            },
            questions={f"q{j}": f"q{j}" for j in range(len(row))},
            answers={"q0": answers[k]} if answers else {},
        )
        for k, row in enumerate(scores)
    ]


def test_item_statistics_are_those_of_the_textbook():
    rng = np.random.default_rng(0)
    ability = rng.normal(size=200)
    scores = (ability[:, None] + rng.normal(size=(200, 5)) > np.linspace(-1, 1, 5)).astype(float)
    items = report.item_statistics(made_up(scores))
    np.testing.assert_allclose([i.difficulty for i in items], scores.mean(axis=0))
    rest = scores.sum(axis=1) - scores[:, 2]
    right, wrong = rest[scores[:, 2] == 1], rest[scores[:, 2] == 0]
    share = scores[:, 2].mean()
    point_biserial = (right.mean() - wrong.mean()) / rest.std() * np.sqrt(share * (1 - share))
    assert items[2].discrimination == pytest.approx(point_biserial)
    order = np.argsort(scores.sum(axis=1), kind="stable")
    assert items[0].upper_lower == pytest.approx(scores[order[-54:], 0].mean() - scores[order[:54], 0].mean())
    constant = report.item_statistics(made_up(np.ones((10, 3))))
    assert np.isnan(constant[0].discrimination)
    assert report.item_statistics([Result("a", "not a notebook")]) == []


def test_wrong_answers_are_grouped_by_what_they_say():
    results = made_up(np.ones((4, 1)))
    for k, result in enumerate(results[:3]):
        result.tests["q0"] = Verdict(1, "failed", f"got tensor([{k}., 2.5]) after {k} steps, expected 3e-{k}")
    results[3].tests["q0"] = Verdict(1, "not answered")
    assert report.common_mistakes(results) == [
        ("q0", "got tensor(…) after … steps, expected …", ["student 00", "student 01", "student 02"])
    ]


def test_only_unusual_passages_make_submissions_similar():
    usual = (
        "def penalty(w, lam):\n    total = 0\n    for v in w:\n"
        "        total += v ** 2\n    return lam / 2 * total\n"
    )
    own = (
        "def penalty({0}, lam):\n    # walk down the stairs of the tensors\n    stack, {1} = list({0}), []\n"
        "    while stack:\n        {1}.append(stack.pop() ** 2.0)\n    return lam * 0.5 * sum({1}[::-1])\n"
    )
    other = (
        "import numpy as np\ndef penalty(w, lam):\n"
        "    flat = np.concatenate([np.ravel(v) for v in w])\n    return np.dot(flat, flat) * lam / 2\n"
    )
    texts = [usual] * 17 + [own.format("w", "out"), own.format("params", "squares"), other]
    (cluster,) = report.similar_submissions(made_up(np.ones((20, 1)), texts))
    assert cluster.names == ("student 17", "student 18")
    assert cluster.similarity > 0.8
    assert "# walk down the stairs of the tensors" in cluster.passages
    assert report.similar_submissions(made_up(np.ones((2, 1)), ["", "x = ("])) == []


class _Outline(HTMLParser):
    """Tags and attributes of a page; complains about tags that are not closed."""

    VOID = ("meta", "br", "rect", "line", "link")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict]] = []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_pages_are_whole_accessible_and_escape_what_submissions_say(tmp_path):
    rng = np.random.default_rng(1)
    evil = "<script>alert(1)</script>"
    results = made_up(rng.integers(0, 2, size=(30, 4)), [f"{evil} = {k}" for k in range(30)])
    for result in results[:2]:
        result.notes.append(evil)
        result.errors["q1"] = f"{evil}: {evil}"
        result.student_id = evil
        result.name = evil + result.name
        result.tests["q1"] = Verdict(1, "error", evil, "This test ended with ValueError.", True)
    results.append(Result("broken", "not a notebook: the file is empty"))
    path = report.write_report("small", results, tmp_path / "out", sandbox.Protection(False, True))
    pages = [path, *(tmp_path / "out" / "feedback").glob("*.html")]
    assert len(pages) == 32
    for page in pages:
        text = page.read_text()
        outline = _Outline(text)
        names = [tag for tag, _ in outline.tags]
        assert "script" not in names
        assert names.count("h1") == 1
        assert ("html", {"lang": "en"}) in outline.tags
        assert not any(
            re.match("https?:", str(v)) for _, a in outline.tags for k, v in a.items() if k in ("src", "href")
        )
        assert names.count("table") == names.count("caption")
        assert all(a.get("scope") for tag, a in outline.tags if tag == "th")
        assert all(a.get("role") == "img" for tag, a in outline.tags if tag == "svg")
    text = path.read_text()
    assert "NOT PROTECTED" in text
    assert "31 submissions, 30 graded" in text
    links = [a["href"] for tag, a in _Outline(text).tags if tag == "a"]
    assert len(links) == 31
    assert all((tmp_path / "out" / link).is_file() for link in links)
    broken = next(p for p in pages if p.name.startswith("broken")).read_text()
    assert "That is no score of 0" in broken


def test_results_survive_the_way_through_json(tmp_path, grader):
    results = grader.grade(READ, {"a": SOURCE, "b": b""})
    grading.write_results(results, tmp_path / "r.json", "small", grader.protection)
    assert grading.read_results(tmp_path / "r.json") == ("small", results)


# ---- many --------------------------------------------------------------------------------------------------


def test_a_mixed_batch_of_two_hundred(grader, tmp_path):
    kinds = cs.ordinary(SOURCE) | cs.repaired(SOURCE) | cs.broken() | cs.hostile(SOURCE)
    if not grader.protection.namespaces:
        kinds.pop("kills all")
    slow = {n for n, c in kinds.items() if re.match("timeout|too many|too much memory", c.status)}
    quick = [name for name in kinds if name not in slow]
    names = [*sorted(slow), *(quick[k % len(quick)] for k in range(200 - len(slow)))]
    cases = {f"{k:03d} {name}": kinds[name] for k, name in enumerate(names)}
    assert len(cases) == 200
    started = time.perf_counter()
    results = grader.grade(READ, {name: case.content for name, case in cases.items()})
    assert time.perf_counter() - started < 180
    verify(results, cases)
    assert [r.name for r in results] == sorted(cases)
    report.write_report("small", results, tmp_path, grader.protection)
    pages = "".join(p.read_text() for p in (tmp_path / "feedback").glob("*.html"))
    assert cs.SECRET not in pages


def test_the_benchmark_counts_all(monkeypatch):
    told = benchmark(READ, count=6, jobs=2)
    assert told["count"] == 6
    assert 0 < told["per_submission"] < 30
    with pytest.raises(ValueError, match="count must be at least 1"):
        benchmark(READ, count=0)


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")
def test_the_folders_of_python_are_bound_and_nothing_above_them():
    line = sandbox.wrapped("bwrap")
    bound = {line[k + 1] for k, word in enumerate(line) if word == "--ro-bind"}
    assert str(Path(fmt.__file__).resolve().parents[1]) in bound
    assert not {"/", "/home", "/root", "/tmp", str(Path.cwd())} & bound


def test_a_submission_that_could_not_be_started_gets_no_score(grader, monkeypatch):
    def never(self, session):
        raise grading._GraderDied

    monkeypatch.setattr(grading._Examination, "_greet", never)
    result = grader.grade_one(READ, "right", SOURCE)
    assert result.score is None
    assert result.status.startswith("not graded")
