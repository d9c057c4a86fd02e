"""The commands of the book: make, execute, check_site, set_repository, install, serve."""

from __future__ import annotations

import ast
import hashlib
import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import tomllib
import urllib.request
from pathlib import Path

import nbformat
import pytest
import yaml
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

import check_links
import check_site
import execute
import install
import set_repository
import supply_chain

ROOT = Path(__file__).resolve().parents[1]
TOOLS = ROOT / "book" / "_tools"
VIEW = "application/vnd.jupyter.widget-view+json"
STATE = "application/vnd.jupyter.widget-state+json"


def run(*command: str | Path, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=600, **options
    )


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    # Without the flags of the make that runs the tests.
    env = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    return run("make", *arguments, cwd=ROOT, env=env)


# ---- make --------------------------------------------------------------------------------------------------


def targets() -> set[str]:
    """The public targets: those with a description."""
    return set(re.findall(r"(?m)^([a-z-]+):.*## ", (ROOT / "Makefile").read_text()))


def test_make_alone_prints_the_help():
    assert make().stdout == make("help").stdout


def test_help_lists_every_public_target():
    listed = set(re.findall(r"(?m)^ {2}make ([a-z-]+)", make("help").stdout))
    assert listed == targets()
    wanted = {"book", "serve", "lab", "execute", "test", "bench", "lint", "lock", "clean", "help"}
    assert wanted <= listed


@pytest.mark.parametrize(
    "name",
    [
        "README.md",
        "CONTRIBUTING.md",
        ".ci/run",
        ".github/workflows/test.yml",
        ".github/workflows/pages.yml",
        "book/_tools/serve.py",
        "book/_tools/lock.py",
    ],
)
def test_every_make_command_that_is_named_exists(name):
    named = set(re.findall(r"(?:^|[\s`(])make ([a-z][a-z-]*)(?=[\s`;:.,)\"]|$)", (ROOT / name).read_text()))
    named -= {"a", "is", "the", "needs", "and", "alone"}  # prose about make
    assert named, "no command found: does the pattern still fit?"
    assert named <= targets()


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "Makefile", ".github/workflows/pages.yml"])
def test_every_file_that_is_named_exists(name):
    for path in re.findall(r"(?<![\w/.-])book/_\w+/\w+\.py|tests/\w+\.\w+", (ROOT / name).read_text()):
        assert (ROOT / path).is_file(), path


def test_readme_links_lead_to_files():
    for link in re.findall(r"\]\(([^)#:]+)\)", (ROOT / "README.md").read_text()):
        assert (ROOT / link).exists(), link


@pytest.mark.parametrize("target", sorted(targets() - {"help", "clean", "distclean"}))
def test_an_old_python_gets_a_clear_message(target, tmp_path):
    old = tmp_path / "oldpython"
    # Runs the Makefile's own check with a version that is too old.
    old.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "import sys; sys.version_info = (3, 9); $2"\n')
    old.chmod(0o755)
    result = make(target, f"PYTHON={old}", f"VENV={tmp_path / 'venv'}")
    assert result.returncode != 0
    assert "needs Python 3.11 or newer" in result.stderr
    assert not (tmp_path / "venv").exists()


def test_ci_runs_the_tests_and_can_be_started():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert run("bash", "-n", script).returncode == 0
    assert re.search(r"(?m)^make test$", script.read_text())


WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
# What a job may do beyond reading, and why: publish the pages, make a release, open an issue.
RIGHTS = {
    ("pages", "publish"): {"pages": "write", "id-token": "write"},
    ("release", "publish"): {"contents": "write"},
    ("weekly", "report"): {"issues": "write"},
}
each_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)


@each_workflow
def test_workflows_have_least_rights_and_no_secrets(path):
    text, workflow = path.read_text(), yaml.safe_load(path.read_text())
    assert workflow["permissions"] == {"contents": "read"}
    assert "secrets." not in text
    assert "pull_request_target" not in text
    for name, job in workflow["jobs"].items():
        assert job.get("permissions") == RIGHTS.get((path.stem, name)), name
        assert job["timeout-minutes"] <= 90
        if "permissions" in job:
            used = {step.get("uses", "").partition("@")[0] for step in job["steps"]}
            assert "actions/checkout" not in used, "a job that may write runs no code of the book"


@each_workflow
def test_actions_are_pinned_by_hash_and_leave_no_token(path):
    for line in path.read_text().splitlines():
        if "uses:" in line:
            assert re.search(r"uses: [\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line), line
    for job in yaml.safe_load(path.read_text())["jobs"].values():
        for step in job["steps"]:
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False
            # what an event brings could be a command: it comes through the environment
            assert "${{" not in step.get("run", "")


@each_workflow
def test_workflows_call_targets_that_exist(path):
    called = set(re.findall(r"\bmake ((?:[a-z-]+ ?)+)", path.read_text()))
    assert {target for line in called for target in line.split()} <= targets()


def test_the_old_book_stays_until_the_new_one_was_looked_at():
    jobs = yaml.safe_load((ROOT / ".github/workflows/pages.yml").read_text())["jobs"]
    assert jobs["publish"]["needs"] == "build"
    commands = [step.get("run", step.get("uses", "")) for step in jobs["build"]["steps"]]
    last = next(k for k, command in enumerate(commands) if "upload-pages-artifact" in command)
    assert "make test-site" in commands[:last]
    assert any("set_repository.py --check" in command for command in commands[:last])


def test_the_weekly_run_takes_the_newest_and_reports_what_fails():
    jobs = yaml.safe_load((ROOT / ".github/workflows/weekly.yml").read_text())["jobs"]
    commands = [step.get("run", "") for step in jobs["newest"]["steps"]]
    assert [c.split()[:2] for c in commands if c.startswith(("rm", "make"))][:2] == [
        ["rm", "requirements.lock"],
        ["make", "test"],
    ]
    assert set(jobs["report"]["needs"]) == set(jobs) - {"report"}
    assert jobs["report"]["if"] == "failure()"


def test_the_matrix_is_the_pythons_that_the_package_names():
    versions = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text())["jobs"]["test"]["strategy"][
        "matrix"
    ]
    classifiers = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"]
    supported = {c.rpartition(" ")[2] for c in classifiers if re.search(r":: 3\.\d+$", c)}
    assert set(versions["python"]) == supported


# ---- links and supply chain --------------------------------------------------------------------------------


@pytest.fixture
def resolver():
    """Something that knows one DOI, as doi.org does: it sends on those that exist."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(302 if self.path == "/10.1/known(1)" else 404)
            self.send_header("Location", "http://localhost:9/never-asked")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("localhost", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://localhost:{server.server_port}/"
    server.shutdown()
    server.server_close()


def test_a_doi_that_the_resolver_does_not_know_is_found(resolver):
    assert check_links.missing_dois(["10.1/known(1)", "10.1/unknown"], resolver) == ["10.1/unknown: 404"]


def test_a_resolver_that_does_not_answer_is_a_finding():
    (problem,) = check_links.missing_dois(["10.1/known"], "http://localhost:9/")
    assert problem.startswith("10.1/known: no answer")


def test_all_dois_of_the_bibliography_are_asked():
    text = (ROOT / "book" / "references.bib").read_text("utf-8")
    assert len(check_links.DOI.findall(text)) == len(re.findall(r"\bdoi\s*=", text)) > 0


def test_the_bill_of_materials_has_the_packages_and_what_the_pages_load(monkeypatch, tmp_path):
    def cyclonedx(command, **options):
        out = command[command.index("--output-file") + 1]
        Path(out).write_text(json.dumps({"bomFormat": "CycloneDX", "components": [{"name": "torch"}]}))
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(supply_chain, "site_packages", lambda venv: tmp_path)
    monkeypatch.setattr(supply_chain.subprocess, "run", cyclonedx)
    bill = supply_chain.write_sbom(tmp_path, tmp_path / "new" / "bill.json")
    assert bill == json.loads((tmp_path / "new" / "bill.json").read_text())
    assert [component["name"] for component in bill["components"]] == ["torch", "mathjax"]
    script = ROOT / "book/_offline/vendor/mathjax/tex-mml-chtml.js"
    assert bill["components"][1]["hashes"][0]["content"] == hashlib.sha256(script.read_bytes()).hexdigest()
    assert bill["components"][1]["version"] in script.read_text()


def test_a_missing_environment_is_said(tmp_path, capsys):
    with pytest.raises(SystemExit):
        supply_chain.write_sbom(tmp_path / "none")
    assert "none is missing or broken: make env-test" in capsys.readouterr().err


# ---- install -----------------------------------------------------------------------------------------------


class TestInstall:
    @pytest.fixture
    def calls(self, monkeypatch):
        """Record what would be run instead of running it."""
        calls: list[list[str]] = []
        monkeypatch.setattr(install, "run", lambda *command: calls.append([str(part) for part in command]))
        return calls

    @pytest.fixture
    def venv(self, tmp_path):
        folder = tmp_path / "venv"
        (folder / "bin").mkdir(parents=True)
        (folder / "pyvenv.cfg").touch()
        (folder / "bin" / "python").symlink_to(sys.executable)
        return folder

    def test_second_run_does_nothing(self, calls, venv):
        install.install("book", venv)
        assert len(calls) >= 1
        calls.clear()
        install.install("book", venv)
        assert calls == []

    def test_changed_requirements_install_again(self, calls, venv, monkeypatch, tmp_path):
        names = [*install.REQUIREMENTS["test"], "requirements.lock", "pyproject.toml"]
        for name in names:
            shutil.copy(ROOT / name, tmp_path)
        monkeypatch.setattr(install, "ROOT", tmp_path)
        monkeypatch.setattr(
            install, "content_hash", lambda files, *extra: install_hash(files, *extra, root=tmp_path)
        )
        install_hash = __import__("common").content_hash
        install.install("book", venv)
        calls.clear()
        with (tmp_path / "requirements.txt").open("a") as file:
            file.write("pandas\n")
        install.install("book", venv)
        assert calls

    def test_uv_where_it_is_installed_else_pip(self, calls, venv, monkeypatch):
        monkeypatch.setattr(install.shutil, "which", lambda name: "/opt/uv" if name == "uv" else None)
        install.install("test", venv)
        assert calls[-1][:3] == ["/opt/uv", "pip", "install"]
        (venv / ".installed-test").unlink()
        monkeypatch.setattr(install.shutil, "which", lambda name: None)
        install.install("test", venv)
        assert calls[-1][1:4] == ["-m", "pip", "install"]
        for command in calls:
            if "install" in command:
                assert "requirements-test.txt" in command
                assert command[command.index("--editable") + 1] == "."

    def test_a_folder_that_is_no_environment_is_left_alone(self, calls, tmp_path, capsys):
        (tmp_path / "work").mkdir()
        with pytest.raises(SystemExit):
            install.install("book", tmp_path / "work")
        assert "not a virtual environment" in capsys.readouterr().err
        assert (tmp_path / "work").exists()


def test_package_dependencies_have_lower_bounds_only():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for requirement in project["dependencies"]:
        assert re.fullmatch(r"[a-z0-9-]+>=[\d.]+", requirement), requirement


def third_party_imports() -> set[str]:
    """Top-level names that the package imports and that neither Python nor the package has."""
    found = set()
    for path in (ROOT / "book" / "l2lab").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add(node.module)
    return {name.partition(".")[0] for name in found} - sys.stdlib_module_names - {"l2lab"}


def test_package_dependencies_are_what_the_package_imports():
    distribution = {"sklearn": "scikit-learn", "PIL": "pillow", "IPython": "ipython"}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {re.match(r"[a-z0-9-]+", requirement)[0] for requirement in project["dependencies"]}
    imported = {distribution.get(name, name) for name in third_party_imports()}
    # a rival in the studies; the pages of solutions for instructors: both say so and the rest goes on without
    optional = {"lassonet", "nbconvert", "nbformat"}
    assert imported - optional == declared
    tested = "".join((ROOT / f"requirements{part}.txt").read_text() for part in ("", "-test"))
    assert all(re.search(rf"(?m)^{name}\b", tested) for name in imported & optional)


def test_the_book_s_requirements_cover_those_of_the_package():
    """A lower bound may be higher for the book, never lower than what the package itself asks for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    book = dict(re.findall(r"(?m)^([a-z0-9-]+)>=([\d.]+)", (ROOT / "requirements.txt").read_text()))
    for requirement in project["dependencies"]:
        name, _, bound = requirement.partition(">=")
        if name in book:
            assert [int(x) for x in book[name].split(".")] >= [int(x) for x in bound.split(".")], name


def test_every_file_of_the_package_is_installed_with_it():
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["*"]
    package = ROOT / "book" / "l2lab"
    files = [
        p for p in package.rglob("*") if p.is_file() and "__pycache__" not in p.parts and p.suffix != ".py"
    ]
    assert files
    for path in files:
        assert any(path.match(pattern) for pattern in patterns), f"{path.name}: not in package-data"
        assert (path.parent / "__init__.py").exists(), f"{path.parent.name}/ is no package"


def test_the_lock_leaves_torch_to_the_machine_and_names_no_index():
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert all(re.match(r"[A-Za-z0-9._-]+==[\w.]+( ;|$)", line) for line in pins)
    assert not [line for line in pins if re.match(r"(torch|torchvision|triton|nvidia|cuda)", line)]
    assert any(line.startswith("sphinx==") for line in pins)


# ---- execute -----------------------------------------------------------------------------------------------

WIDGETS = """\
import base64
import ipywidgets as widgets
from IPython.display import display

hidden = widgets.Text("never shown")
slider = widgets.IntSlider(3)
label = widgets.Label()
link = widgets.jslink((slider, "value"), (label, "value"))
box = widgets.VBox([slider, label])
picture = widgets.Image(value=b"bytes of a picture", format="png")
"""


@pytest.fixture
def notebook(tmp_path):
    """Write a notebook of the given code cells and return its path."""

    def write(*cells, name="nb.ipynb") -> Path:
        made = [cell if not isinstance(cell, str) else new_code_cell(cell) for cell in cells]
        nbformat.write(new_notebook(cells=[new_markdown_cell("# T"), *made]), tmp_path / name)
        return tmp_path / name

    return write


class TestExecute:
    def test_outputs_counts_and_nothing_that_changes(self, notebook):
        path = notebook("print('λ')", "import os; os.path.basename(os.getcwd())", new_code_cell(""), "1 + 1")
        execute.execute(path)
        stored = json.loads(path.read_text("utf-8"))
        code = [cell for cell in stored["cells"] if cell["cell_type"] == "code" and cell["source"]]
        assert [cell["execution_count"] for cell in code] == [1, 2, 3]
        assert code[0]["outputs"][0]["text"] in ("λ\n", ["λ\n"])
        assert path.parent.name in str(code[1]["outputs"]), "the kernel runs beside the notebook"
        assert not any("execution" in cell["metadata"] for cell in stored["cells"])
        assert stored["metadata"]["language_info"] == {"name": "python"}
        assert not execute.sidecar_of(path).exists()

    def test_widgets_go_to_the_sidecar_with_stable_ids(self, notebook):
        path = notebook(WIDGETS, "display(box)", "display(picture); display(box)")
        execute.execute(path)
        first = path.read_bytes(), execute.sidecar_of(path).read_bytes()
        execute.execute(path)
        assert (path.read_bytes(), execute.sidecar_of(path).read_bytes()) == first, "two runs, the same bytes"

        stored = nbformat.read(path, 4)
        assert "widgets" not in stored.metadata
        sidecar = json.loads(first[1])
        state = sidecar["state"]
        assert (sidecar["version_major"], sidecar["version_minor"]) == (2, 0)
        shown = [out.data[VIEW]["model_id"] for cell in stored.cells for out in cell.get("outputs", [])]
        assert len(shown) == 3
        assert shown[0] == shown[2] != shown[1], "one model keeps one id"
        assert set(shown) <= set(state)
        names = [record["model_name"] for record in state.values()]
        assert "VBoxModel" in names
        assert "IntSliderModel" in names, "what a displayed widget refers to is kept"
        assert "TextModel" not in names, "what nothing shows is not"
        referred = set(re.findall(r"IPY_MODEL_(\w+)", first[1].decode()))
        assert referred <= set(state)
        image = next(record for record in state.values() if record["model_name"] == "ImageModel")
        assert image["buffers"][0]["path"] == ["value"]

    def test_a_link_is_kept_with_the_widgets_that_it_links(self, notebook):
        kinds = []
        for shown in ("display(slider, label)", "display(slider)"):
            path = notebook(WIDGETS, shown)
            execute.execute(path)
            state = json.loads(execute.sidecar_of(path).read_text())["state"]
            kinds.append({record["model_name"] for record in state.values()})
        assert {"LinkModel", "IntSliderModel", "LabelModel"} <= kinds[0]
        assert not {"LinkModel", "LabelModel"} & kinds[1]

    def test_ids_differ_between_notebooks(self, notebook):
        ids = []
        for name in ("a.ipynb", "b.ipynb"):
            path = notebook(WIDGETS, "box", name=name)
            execute.execute(path)
            ids.append(set(json.loads(execute.sidecar_of(path).read_text())["state"]))
        assert not ids[0] & ids[1]

    def test_a_sidecar_that_nothing_needs_goes(self, notebook):
        path = notebook("1")
        execute.sidecar_of(path).write_text("{}")
        execute.execute(path)
        assert not execute.sidecar_of(path).exists()

    def test_a_failing_cell_is_shown_and_nothing_is_written(self, notebook):
        allowed = new_code_cell("raise KeyError('meant')", metadata={"tags": ["raises-exception"]})
        path = notebook("a = 1", allowed, "weights = None\nweights.sum()", "print('later')")
        before = path.read_bytes()
        result = run(sys.executable, TOOLS / "execute.py", path)
        assert result.returncode == 1
        assert "nb.ipynb: cell 4 raised AttributeError" in result.stderr
        assert "weights.sum()" in result.stderr
        assert path.read_bytes() == before

    def test_a_cell_that_may_raise(self, notebook):
        path = notebook(
            new_code_cell("raise KeyError('meant')", metadata={"tags": ["raises-exception"]}), "1"
        )
        execute.execute(path)
        outputs = [
            out.output_type for cell in nbformat.read(path, 4).cells for out in cell.get("outputs", [])
        ]
        assert outputs == ["error", "execute_result"]

    def test_the_run_is_recorded_as_the_notebook_has_printed_it(self, notebook, tmp_path):
        line = "device cuda:0 (A, B), torch 2.9.1+cu1, 12 threads, profile full, seed 0"
        execute.execute(notebook(f"print('device of mine')\nprint({line!r})"))
        execute.execute(notebook("1", name="other.ipynb"))
        records = json.loads((tmp_path / execute.RECORD).read_text())
        assert set(records) == {"nb.ipynb", "other.ipynb"}
        printed = {"device": "cuda:0 (A, B)", "torch": "2.9.1+cu1", "threads": "12", "profile": "full"}
        assert printed.items() <= records["nb.ipynb"].items()
        assert "device" not in records["other.ipynb"]
        (tmp_path / "nb.ipynb").unlink()
        execute.execute(tmp_path / "other.ipynb")
        assert set(json.loads((tmp_path / execute.RECORD).read_text())) == {"other.ipynb"}

    def test_the_hash_is_of_the_code_alone(self, notebook):
        path = notebook("a = 1", "b = 2")
        before = json.loads(path.read_text())
        after = json.loads(path.read_text())
        after["cells"][0]["source"] = "# Another title"
        assert execute.code_hash(before) == execute.code_hash(after)
        after["cells"][1]["source"] = ["a = ", "2"]
        assert execute.code_hash(before) != execute.code_hash(after)

    def test_a_name_that_is_not_there(self, tmp_path):
        result = run(sys.executable, TOOLS / "execute.py", tmp_path / "no.ipynb")
        assert result.returncode == 1
        assert "no.ipynb: there is no such notebook" in result.stderr


# ---- nbval ----------------------------------------------------------------------------------------


def test_stored_outputs_are_compared_number_by_number(tmp_path):
    """Every printed number is compared; only the line that names the machine may differ."""
    pairs = [  # stored, printed by the code now, whether that may pass
        ("loss 0.1234 at 3 of 5", "loss 0.1235 at 3 of 5", False),
        ("93 % right", "92 % right", False),
        ("device cpu, torch 2.6.0, profile quick", "device cuda, torch 2.9.1, profile quick", True),
        ("0 of 4100 weights are zero", "3 of 4100 weights are zero", False),
        ("ridge wins", "lasso wins", False),
        ("a 0.5\\nb 0.5", "a 0.5", False),
    ]
    cells = []
    for count, (stored, now, _) in enumerate(pairs, start=1):
        text = stored.replace("\\n", "\n") + "\n"
        output = nbformat.v4.new_output("stream", name="stdout", text=text)
        cells.append(new_code_cell(f'print("{now}")', outputs=[output], execution_count=count))
    nbformat.write(new_notebook(cells=cells), tmp_path / "nb.ipynb")
    options = ["--nbval", "--nbval-current-env", f"--nbval-sanitize-with={ROOT / 'tests' / 'nbval.cfg'}"]
    done = run(sys.executable, "-m", "pytest", *options, "-rA", "--rootdir", tmp_path, tmp_path, cwd=tmp_path)
    failed = {int(number) for number in re.findall(r"(?m)^FAILED .*Cell (\d+)", done.stdout)}
    assert failed == {k for k, (_, _, passes) in enumerate(pairs) if not passes}, done.stdout
    assert f"{len(pairs) - len(failed)} passed" in done.stdout


# ---- check_site --------------------------------------------------------------------------------------------

HASH = check_site.script_hash("let a = 1;")

NOTHING = "'none'"


def policy(scripts: str) -> str:
    return f"""<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src {scripts};
object-src 'none'; base-uri 'none'; form-action 'self'">"""


GOOD = f"""<!doctype html><html lang="en"><head><title>T</title>
{policy(f"'self' {HASH} blob:")}
<script>let a = 1;</script>
<link rel="stylesheet" href="a.css"><link rel="canonical" href="https://example.org/x.html">
<script src="a.js"></script></head><body>
<a href="#here">in the page</a> <a href="other.html#there">elsewhere</a> <a href="https://example.org">far</a>
<h1 id="here">T</h1><img src="p.png" alt="A curve that falls, then rises">
<div><div class="widget-fallback"><img src="p.png" alt="Three small drawings"></div>
<script type="{VIEW}">{{"model_id": "m"}}</script></div>
<script type="{STATE}">{{"state": {{"m": {{}}}}}}</script></body></html>"""


@pytest.fixture
def small_site(tmp_path):
    """A small site without a fault."""
    (tmp_path / "index.html").write_text(GOOD)
    (tmp_path / "other.html").write_text(f"<head>{policy(NOTHING)}</head><h1 id='there'>Other</h1>")
    (tmp_path / "a.css").write_text("p { color: red; /* url(https://example.org/in-a-comment) */ }")
    (tmp_path / "a.js").write_text("1;")
    (tmp_path / "p.png").write_bytes(b"x" * 100)
    return tmp_path


def test_check_site_accepts_a_good_site(small_site):
    report = check_site.check(small_site)
    assert report.problems == []
    assert (report.widgets, report.images, len(report.weights)) == (1, 2, 2)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('src="a.js"', 'src="https://cdn.example.org/a.js"', "loads from another host"),
        ('src="a.js"', 'src="//cdn.example.org/a.js"', "loads from another host"),
        ('src="a.js"', 'src="/a.js"', "loads from the top of the host"),
        ('href="other.html#there"', 'href="/other.html"', "a link from the top of the host"),
        ('src="a.js"', 'src="missing.js"', "a file that is not there"),
        ('href="a.css"', 'href="https://fonts.example.org/a.css"', "loads from another host"),
        (
            "<h1",
            '<style>@import "https://fonts.example.org/x.css";</style><h1',
            "a style loads from another host",
        ),
        ("<h1", '<p style="background: url(//x.example.org/y.png)">', "a style loads from another host"),
        ("<h1", '<iframe src="https://video.example.org/1"></iframe><h1', "loads from another host"),
        ("<h1", '<script>import("https://cdn.example.org/a.js")</script><h1', "an inline script"),
        (
            '<img src="p.png" alt="A',
            '<img src="https://img.example.org/badge.svg" alt="A',
            "loads from another host",
        ),
        (
            '<img src="p.png" alt="A',
            '<img srcset="//img.example.org/b.png 2x" alt="A',
            "loads from another host",
        ),
        (' alt="A curve that falls, then rises"', "", "without alternative text"),
        ("A curve that falls, then rises", "", "empty alternative text"),
        ("A curve that falls, then rises", "_images/3f2a77c0d1e2f3a4b5c6.png", "is a file name"),
        ('{"model_id": "m"}', '{"model_id": "n"}', "a widget without state"),
        ('<div class="widget-fallback">', "<div>", "a widget without a static picture"),
        ('href="#here"', 'href="#gone"', "an anchor that is not there: #gone"),
        ("other.html#there", "other.html#gone", "an anchor that is not there"),
        ("other.html#there", "gone.html", "a link leads nowhere"),
        ("#here", "#nobody:lam=0.03", "a link to an explorer that is not there"),
        ("http-equiv", "name", "0 Content-Security-Policies"),
        ("</head>", f"{policy(NOTHING)}</head>", "2 Content-Security-Policies"),
        ("<title>", "<script src='a.js'></script><title>", "before all that it governs"),
        ("default-src 'none'", "default-src 'self'", "must say: default-src 'none'"),
        ("base-uri 'none'; ", "", "must say: base-uri 'none'"),
        ("blob:", "blob: 'unsafe-inline'", "lets scripts in by 'unsafe-inline'"),
        ("blob:", "blob: 'unsafe-eval'", "lets scripts in by 'unsafe-eval'"),
        ("blob:", "blob: https://cdn.example.org", "lets scripts in by https://cdn.example.org"),
        (
            f'<script type="{STATE}">',
            '<script type="application/json">',
            "allows blob: on a page without widgets",
        ),
        ("let a = 1;", "let a = 2;", "an inline script without its hash in the policy: let a = 2;"),
        ("<script>let a = 1;</script>", "", "a hash of no script of the page"),
        ("<h1", '<h1 onclick="go()"', "<h1> has a handler in an attribute: onclick"),
        ('href="https://example.org"', 'href="javascript:go()"', "a script as its address: javascript:go()"),
        ("<h1", "<p>saved in /home/somebody/book</p><h1", "a path of the building machine"),
    ],
)
def test_check_site_finds_a_planted_fault(small_site, old, new, complaint):
    assert old in GOOD
    (small_site / "index.html").write_text(GOOD.replace(old, new, 1))
    problems = check_site.check(small_site).problems
    assert any(complaint in line and line.startswith("index.html") for line in problems), problems


def test_check_site_knows_links_that_move_a_slider(small_site):
    page = GOOD.replace('"m": {}', '"m": {"state": {"name": "digits", "panels": []}}')
    assert page != GOOD
    (small_site / "index.html").write_text(page.replace("#here", "#digits:lam=1e-3"))
    assert check_site.check(small_site).problems == []


def test_check_site_finds_a_foreign_load_in_a_style_sheet(small_site):
    (small_site / "a.css").write_text("@font-face { src: url('https://fonts.example.org/x.woff2') }")
    assert any("a.css" in line for line in check_site.check(small_site).problems)


def test_check_site_finds_a_heavy_page(small_site):
    (small_site / "p.png").write_bytes(b"x" * 2_000_000)
    assert any("loads 2.00 MB" in line for line in check_site.check(small_site).problems)


def test_check_site_as_a_command(small_site):
    assert run(sys.executable, TOOLS / "check_site.py", small_site).returncode == 0
    (small_site / "a.js").unlink()
    result = run(sys.executable, TOOLS / "check_site.py", small_site)
    assert result.returncode == 1
    assert "PROBLEM index.html" in result.stdout


def test_check_site_refuses_an_empty_folder(tmp_path):
    assert check_site.check(tmp_path).problems


# ---- the address of the repository -------------------------------------------------------------------------


FORK = "https://github.com/Some-One/their.book"


@pytest.fixture
def copy_of_the_book(tmp_path) -> Path:
    """The files that name the repository, and a program beside them, as a checkout has them."""
    for pattern in (*(name for name, *_ in set_repository.PLACES), "book/**/*.ipynb", "book/_tools/*.py"):
        for path in ROOT.glob(pattern):
            place = tmp_path / path.relative_to(ROOT)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, place)
    set_repository.set_repository("", tmp_path)
    return tmp_path


def test_no_text_names_a_repository_that_is_not_the_book_s():
    home = set_repository.home()
    texts = [*ROOT.glob("*.*"), *ROOT.glob("book/**/*.md"), *ROOT.glob("book/**/*.ipynb")]
    assert len(texts) > 30
    for path in texts:
        if path.suffix in (".md", ".toml", ".cff", ".yml", ".ipynb") and path.is_file():
            text = path.read_text("utf-8")
            named = re.findall(
                r"(?:git\+https://|colab\.[\w.]+/)(?:github\.com|github)/[\w.-]+/[\w.-]*", text
            )
            named += re.findall(
                r"(?:repository-code: |Repository = \"|url: )https://[\w.-]+/[\w.-]+/[\w.-]+", text
            )
            place = home.removeprefix("https://github.com/")
            assert not [name for name in named if not home or not name.endswith(place)], path.name


def test_with_an_address_all_of_a_fork_leads_to_the_fork(copy_of_the_book):
    root = copy_of_the_book
    before = {path: path.read_bytes() for path in root.rglob("*.*")}
    git = ["git", "-C", root]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "remote", "add", "origin", "git@github.com:Some-One/their.book.git"], check=True)
    assert run(sys.executable, root / "book/_tools/set_repository.py").returncode == 0
    assert set_repository.home(root) == FORK
    assert yaml.safe_load((root / "_config.yml").read_text())["repository"]["url"] == FORK
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    assert project["urls"]["Repository"] == FORK
    assert yaml.safe_load((root / "CITATION.cff").read_text())["repository-code"] == FORK
    readme = (root / "README.md").read_text()
    assert f"git+{FORK}" in readme
    assert "https://some-one.github.io/their.book/" in readme
    for path in root.glob("book/**/*.ipynb"):
        notebook = nbformat.read(path, 4)
        title, _ = notebook.cells[0].source.split("> Run this notebook", 1)
        assert re.search(r"(?m)^# .+\n\n\Z", title), f"{path.name}: below the title"
        place = "https://colab.research.google.com/github/Some-One/their.book/blob/main/"
        opened = re.search(rf"\[on Colab\]\({re.escape(place)}([^)]+)\)", notebook.cells[0].source)[1]
        assert (root / opened).is_file(), "Colab opens what the fork has"
        assert f"(https://some-one.github.io/their.book/{opened[:-6]}.html)" in notebook.cells[0].source
        if path.parent == root / "book":
            first = next(cell for cell in notebook.cells if cell.cell_type == "code")
            assert f'BOOK = "{FORK}"' in first.source

    assert set_repository.set_repository(f"{FORK}.git", root) == [], "a second time nothing changes"
    set_repository.set_repository("https://github.com/other/b", root)
    assert not [path.name for path in before if b"ome-One" in path.read_bytes()], (
        "the second replaces the first"
    )
    set_repository.set_repository("", root)
    assert {path: path.read_bytes() for path in before} == before, "and back"


def test_the_workflow_is_told_what_to_run_if_another_address_is_committed(copy_of_the_book):
    tool = copy_of_the_book / "book/_tools/set_repository.py"
    said = run(sys.executable, tool, "--check", FORK)
    assert said.returncode == 1
    assert f"make address ADDRESS={FORK}" in said.stderr
    set_repository.set_repository(FORK, copy_of_the_book)
    assert run(sys.executable, tool, "--check", FORK.lower()).returncode == 0


@pytest.mark.parametrize("address", ["github.com/a/b", "https://github.com/a", "https://example.org/a/b"])
def test_set_repository_refuses_what_is_no_address(address, capsys):
    with pytest.raises(SystemExit):
        set_repository.set_repository(address)
    assert "OWNER/NAME" in capsys.readouterr().err


# ---- serve -------------------------------------------------------------------------------------------------


def test_serve_prints_an_address_that_answers(site):
    process = subprocess.Popen([sys.executable, TOOLS / "serve.py"], stdout=subprocess.PIPE, text=True)
    try:
        address = re.search(r"http://localhost:\d+/", process.stdout.readline())[0]
        with urllib.request.urlopen(f"{address}book/intro.html", timeout=600) as answer:
            assert b"</html>" in answer.read()
    finally:
        process.terminate()
        process.wait(600)


def test_a_second_server_takes_another_port(site):
    import serve

    with serve.free_server(8000) as one, serve.free_server(one.server_port) as two:
        assert one.server_port != two.server_port
