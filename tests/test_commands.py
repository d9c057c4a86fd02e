"""The commands of the book: make, install, execute, check, repository."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest
import yaml
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

import check
import execute
import install
import repository

ROOT = Path(__file__).resolve().parents[1]
TOOLS = ROOT / "book" / "_site"
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


def test_every_command_that_is_documented_can_be_made():
    """As far as make itself can tell: the target and all that it needs exist."""
    texts = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / ".github" / "workflows").glob("*.yml")]
    said = "\n".join(path.read_text("utf-8") for path in texts)
    named = set(re.findall(r"(?m)(?:^|`|run: )(?:\S+=\S+ )?make ([a-z][a-z-]*)", said))
    assert {"book", "serve", "lab", "execute", "test", "dist"} <= named
    for target in named:
        done = make("-n", target)
        assert done.returncode == 0, done.stderr
        for script in re.findall(r"book/\S+\.py", done.stdout):
            assert (ROOT / script).is_file(), f"make {target} needs {script}"


def test_an_old_python_gets_a_clear_message(tmp_path):
    old = tmp_path / "oldpython"
    # Runs the Makefile's own check with a version that is too old.
    old.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "import sys; sys.version_info = (3, 9); $2"\n')
    old.chmod(0o755)
    result = make("test", f"PYTHON={old}", f"VENV={tmp_path / 'venv'}")
    assert result.returncode != 0
    assert "needs Python 3.11 or newer" in result.stderr
    assert not (tmp_path / "venv").exists()


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

    def test_a_folder_that_is_no_environment_is_left_alone(self, calls, tmp_path, capsys):
        (tmp_path / "work").mkdir()
        with pytest.raises(SystemExit):
            install.install("book", tmp_path / "work")
        assert "not a virtual environment" in capsys.readouterr().err
        assert (tmp_path / "work").exists()


def third_party_imports() -> set[str]:
    """Top-level names that the package imports and that neither Python nor the package has."""
    found = set()
    for path in (ROOT / "book" / "l2lab").rglob("*.py"):
        if path.name == "make_pictograms.py":  # nothing imports it
            continue
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
        pattern = next((pattern for pattern in patterns if path.match(pattern)), None)
        assert pattern, f"{path.name}: not in package-data"
        folder = path.parents[pattern.count("/")]  # setuptools reads the pattern from a package on
        assert (folder / "__init__.py").exists(), f"{folder.name}/ is no package"


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

    def test_a_sidecar_that_nothing_needs_goes(self, notebook):
        path = notebook("1")
        execute.sidecar_of(path).parent.mkdir(parents=True)
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


# ---- check --------------------------------------------------------------------------------------------

GOOD = f"""<!doctype html><html lang="en"><head><title>T</title>
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
    (tmp_path / "other.html").write_text("<h1 id='there'>Other</h1>")
    (tmp_path / "a.css").write_text("p { color: red; /* url(https://example.org/in-a-comment) */ }")
    (tmp_path / "a.js").write_text("1;")
    (tmp_path / "p.png").write_bytes(b"x" * 100)
    return tmp_path


def test_check_site_accepts_a_good_site(small_site):
    report = check.check(small_site)
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
        ("<h1", "<p>saved in /home/somebody/book</p><h1", "a path of the building machine"),
    ],
)
def test_check_site_finds_a_planted_fault(small_site, old, new, complaint):
    assert old in GOOD
    (small_site / "index.html").write_text(GOOD.replace(old, new, 1))
    problems = check.check(small_site).problems
    assert any(complaint in line and line.startswith("index.html") for line in problems), problems


def test_check_site_knows_links_that_move_a_slider(small_site):
    page = GOOD.replace('"m": {}', '"m": {"state": {"name": "digits", "panels": []}}')
    assert page != GOOD
    (small_site / "index.html").write_text(page.replace("#here", "#digits:lam=1e-3"))
    assert check.check(small_site).problems == []


def test_check_site_finds_a_foreign_load_in_a_style_sheet(small_site):
    (small_site / "a.css").write_text("@font-face { src: url('https://fonts.example.org/x.woff2') }")
    assert any("a.css" in line for line in check.check(small_site).problems)


def test_check_site_finds_a_heavy_page(small_site):
    (small_site / "p.png").write_bytes(b"x" * 2_000_000)
    assert any("loads 2.00 MB" in line for line in check.check(small_site).problems)


# ---- the address of the repository -------------------------------------------------------------------------


FORK = "https://github.com/Some-One/their.book"


@pytest.fixture
def copy_of_the_book(tmp_path) -> Path:
    """The files that name the repository, and a program beside them, as a checkout has them."""
    for pattern in (*(name for name, *_ in repository.PLACES), "book/**/*.ipynb", "book/_site/*.py"):
        for path in ROOT.glob(pattern):
            place = tmp_path / path.relative_to(ROOT)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, place)
    repository.set_address("", tmp_path)
    return tmp_path


def test_no_text_names_a_repository_that_is_not_the_book_s():
    home = repository.home()
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
    assert run(sys.executable, root / "book/_site/repository.py").returncode == 0
    assert repository.home(root) == FORK
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

    assert repository.set_address(f"{FORK}.git", root) == [], "a second time nothing changes"
    repository.set_address("https://github.com/other/b", root)
    assert not [path.name for path in before if b"ome-One" in path.read_bytes()], (
        "the second replaces the first"
    )
    repository.set_address("", root)
    assert {path: path.read_bytes() for path in before} == before, "and back"


def test_the_workflow_is_told_what_to_run_if_another_address_is_committed(copy_of_the_book):
    tool = copy_of_the_book / "book/_site/repository.py"
    said = run(sys.executable, tool, "--check", FORK)
    assert said.returncode == 1
    assert f"make address ADDRESS={FORK}" in said.stderr
    repository.set_address(FORK, copy_of_the_book)
    assert run(sys.executable, tool, "--check", FORK.lower()).returncode == 0


@pytest.mark.parametrize("address", ["github.com/a/b", "https://github.com/a", "https://example.org/a/b"])
def test_what_is_no_address_is_refused_what_is_no_address(address, capsys):
    with pytest.raises(SystemExit):
        repository.set_address(address)
    assert "OWNER/NAME" in capsys.readouterr().err
