"""The commands of the book: make, install, execute, check, repository."""

from __future__ import annotations

import ast
import base64
import importlib.metadata
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import numpy as np
import pytest
import yaml
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from packaging.version import Version
from PIL import Image

import check
import execute
import install
import l2lab
import repository
from conftest import ROOT

VIEW, STATE = check.VIEW, check.STATE


def run(*command: str | Path, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)


# ---- make --------------------------------------------------------------------------------------------------


def test_every_command_that_is_documented_can_be_made():
    """As far as make itself can tell: the target and all that it needs exist."""
    pages = [ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "SUPPORT")]
    texts = [*pages, *(ROOT / ".github" / "workflows").glob("*.yml")]
    said = "\n".join(path.read_text("utf-8") for path in texts)
    named = set(re.findall(r"(?m)(?:^|`|run: )(?:\S+=\S+ )?make ([a-z][a-z-]*)", said))
    assert {"book", "serve", "lab", "execute", "test", "dist"} <= named
    # without the flags of the make that runs the tests
    env = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    done = run("make", "-n", *sorted(named - {"clean", "distclean"}), cwd=ROOT, env=env)
    assert done.returncode == 0, done.stderr
    for script in re.findall(r"book/\S+\.py", done.stdout):
        assert (ROOT / script).is_file(), script


# ---- README ------------------------------------------------------------------------------------------------

README = (ROOT / "README.md").read_text("utf-8")
BUILD_WHEEL = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
CLAIMS = """
import sys
from pathlib import Path
import l2lab
assert Path(l2lab.__file__).is_relative_to(sys.argv[1]), "the one that was installed"
assert result.metrics["train_loss"].size == 9, "nine networks"
assert (result.metrics["test_accuracy"] > 0.8).all()
assert xor().splits["train"][0].shape[1] == 50
assert selector.get_support(indices=True).tolist() == xor().support.nonzero()[0].tolist() == [0, 1]
"""


def package_files(folder: Path) -> set[str]:
    """What lies in a folder and below, but for compiled modules."""
    files = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {path.as_posix() for path in files if "__pycache__" not in path.parts}


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """What ``pip install .`` installs: the wheel that setuptools builds, without the network, unpacked."""
    if Version(importlib.metadata.version("setuptools")) < Version("77"):
        pytest.skip("setuptools is older than pyproject.toml asks for; pip would fetch a newer one")
    source, out = tmp_path_factory.mktemp("checkout"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE", "requirements.txt", "requirements-test.txt"):
        shutil.copy(ROOT / name, source)
    package = Path("book", "l2lab")
    shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    done = run(sys.executable, "-c", BUILD_WHEEL, out, cwd=source)
    assert done.returncode == 0, done.stderr
    (wheel,) = out.glob("*.whl")
    shutil.unpack_archive(wheel, out / "site", "zip")
    return out / "site"


def test_pip_installs_all_of_the_package_in_its_version(installed):
    assert package_files(installed / "l2lab") == package_files(ROOT / "book" / "l2lab")
    metadata = (installed / f"l2lab-{l2lab.__version__}.dist-info" / "METADATA").read_text("utf-8")
    assert f"\nVersion: {l2lab.__version__}\n" in metadata


def test_the_python_of_the_readme_does_what_it_says_where_the_package_is_installed(installed, tmp_path):
    assert "`pip install .`" in README
    code = "\n".join(re.findall(r"(?ms)^```python\n(.*?)^```$", README))
    assert "selector.get_support(indices=True)  # the two inputs of 50 that matter" in code
    env = {**os.environ, "PYTHONPATH": str(installed)}
    done = run(sys.executable, "-c", code + CLAIMS, installed, cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stderr


def test_the_readme_is_one_screen_whose_links_and_pictures_are_there():
    assert len(README.splitlines()) <= 55
    page = BeautifulSoup(README, "html.parser")
    pictures = [ROOT / page.img["src"], ROOT / page.source["srcset"]]
    links = [ROOT / link for link in re.findall(r"\]\(([^):#]+)\)", README)]
    assert len(links) >= 8
    assert all(path.is_file() for path in links)
    assert sum(path.stat().st_size for path in pictures) < 60_000
    # the one for light pages is that of the introduction, as far as rounding on another processor leaves it
    cells = nbformat.read(ROOT / "book" / "intro.ipynb", 4).cells
    outputs = [output for cell in cells for output in cell.get("outputs", []) if "metadata" in output]
    (shown,) = [o for o in outputs if o.metadata.get("image/png", {}).get("alt") == page.img["alt"]]
    stored, light, dark = (
        np.asarray(Image.open(file).convert("L"), float)
        for file in (io.BytesIO(base64.b64decode(shown.data["image/png"])), *pictures)
    )
    assert stored.shape == light.shape == dark.shape
    assert np.abs(light - stored).mean() < 1
    assert light.mean() > 200
    assert dark.mean() < 60


# ---- a release ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tag", "day", "passes"),
    [
        (f"v{l2lab.__version__}", "2030-01-02", True),
        (f"v{l2lab.__version__}", "", False),
        ("v999.0.0", "2030-01-02", False),
        (f"v{l2lab.__version__.replace('.', 'x')}", "2030-01-02", False),
    ],
)
def test_a_release_is_refused_unless_its_tag_is_the_version_that_has_a_day(tmp_path, tag, day, passes):
    jobs = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text("utf-8"))["jobs"]
    commands = [step.get("run", "") for step in jobs["build"]["steps"]]
    (check_tag,) = [command for command in commands if "GITHUB_REF_NAME" in command]
    for name in ("CITATION.cff", "CHANGELOG.md", "book/l2lab/__init__.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        text = (ROOT / name).read_text("utf-8")
        if day:
            text = re.sub(r"(?m)^(?:# )?date-released: .*", f"date-released: {day}", text)
            text = re.sub(rf"(?m)^(## {re.escape(l2lab.__version__)}, ).*", rf"\g<1>{day}", text)
        else:
            text = re.sub(r"(?m)^date-released: ", "# date-released: ", text)
        (tmp_path / name).write_text(text, "utf-8")
    env = {**os.environ, "GITHUB_REF_NAME": tag}
    done = run("bash", "-e", "-c", check_tag, cwd=tmp_path, env=env)
    assert (done.returncode == 0) == passes, done.stderr


# ---- install -----------------------------------------------------------------------------------------------


def test_a_second_installation_does_nothing_until_requirements_change(tmp_path, monkeypatch):
    calls: list[tuple] = []
    monkeypatch.setattr(install, "run", lambda *command: calls.append(command))
    monkeypatch.setattr(install, "ROOT", tmp_path)
    for name in (*install.REQUIREMENTS["book"], "requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").symlink_to(sys.executable)
    for change, expected in (("", True), ("", False), ("pandas\n", True)):
        calls.clear()
        with (tmp_path / "requirements.txt").open("a") as file:
            file.write(change)
        install.install("book", venv)
        assert bool(calls) == expected


def test_a_folder_that_is_no_environment_is_left_alone(tmp_path, capsys):
    (tmp_path / "work").mkdir()
    with pytest.raises(SystemExit):
        install.install("book", tmp_path / "work")
    assert "not a virtual environment" in capsys.readouterr().err
    assert (tmp_path / "work").exists()


def test_package_dependencies_are_what_the_package_imports():
    distribution = {"sklearn": "scikit-learn", "PIL": "pillow", "IPython": "ipython"}
    imported = set()
    for path in (ROOT / "book" / "l2lab").rglob("*.py"):
        if path.name == "make_pictograms.py":  # nothing imports it
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and not node.level else []
            imported |= {name.partition(".")[0] for name in names}
    imported = {distribution.get(name, name) for name in imported - sys.stdlib_module_names - {"l2lab"}}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {re.match(r"[a-z0-9-]+", requirement)[0] for requirement in project["dependencies"]}
    assert imported == declared


def test_every_file_of_the_package_is_installed_with_it():
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["*"]
    for path in (ROOT / "book" / "l2lab").rglob("*.*"):
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".py":
            pattern = next((pattern for pattern in patterns if path.match(pattern)), None)
            assert pattern, f"{path.name}: not in package-data"
            folder = path.parents[pattern.count("/")]  # setuptools reads the pattern from a package on
            assert (folder / "__init__.py").exists(), f"{folder.name}/ is no package"


def test_the_lock_leaves_torch_to_the_machine():
    pins = re.findall(r"(?m)^([A-Za-z0-9._-]+)==", (ROOT / "requirements.lock").read_text())
    assert "sphinx" in pins
    assert not [name for name in pins if name.startswith(("torch", "triton", "nvidia", "cuda"))]


# ---- execute -----------------------------------------------------------------------------------------------

WIDGETS = """\
import ipywidgets as widgets
from IPython.display import display

hidden = widgets.Text("never shown")
box = widgets.VBox([widgets.IntSlider(3), widgets.Label()])
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


MEANT = new_code_cell("raise KeyError('meant')", metadata={"tags": ["raises-exception"]})


def test_execute_stores_outputs_counts_and_what_the_run_has_printed(notebook, tmp_path):
    line = "device cuda:0 (A, B), torch 2.9.1+cu1, 12 threads, profile full, seed 0"
    path = notebook("print('λ')", "import os; os.path.basename(os.getcwd())", MEANT, f"print({line!r})")
    sidecar = execute.sidecar_of(path)
    sidecar.parent.mkdir(parents=True)
    sidecar.write_text("{}")
    execute.execute(path)
    stored = json.loads(path.read_text("utf-8"))
    code = [cell for cell in stored["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == [1, 2, 3, 4]
    assert code[0]["outputs"][0]["text"] in ("λ\n", ["λ\n"])
    assert tmp_path.name in str(code[1]["outputs"]), "the kernel runs beside the notebook"
    assert code[2]["outputs"][0]["output_type"] == "error"
    assert not any("execution" in cell["metadata"] for cell in stored["cells"])
    assert stored["metadata"]["language_info"] == {"name": "python"}
    assert not sidecar.exists(), "nothing needs it"
    record = json.loads((tmp_path / execute.RECORD).read_text())["nb.ipynb"]
    printed = {"device": "cuda:0 (A, B)", "torch": "2.9.1+cu1", "threads": "12", "profile": "full"}
    assert printed.items() <= record.items()


def test_execute_puts_widgets_beside_the_notebook_with_stable_ids(notebook):
    path = notebook(WIDGETS, "display(box)", "display(picture); display(box)")
    execute.execute(path)
    first = path.read_bytes(), execute.sidecar_of(path).read_bytes()
    execute.execute(path)
    assert (path.read_bytes(), execute.sidecar_of(path).read_bytes()) == first, "two runs, the same bytes"
    stored, sidecar = nbformat.read(path, 4), json.loads(first[1])
    assert "widgets" not in stored.metadata
    shown = [out.data[VIEW]["model_id"] for cell in stored.cells for out in cell.get("outputs", [])]
    assert shown[0] == shown[2] != shown[1], "one model keeps one id"
    assert set(shown) | set(re.findall(r"IPY_MODEL_(\w+)", first[1].decode())) <= set(sidecar["state"])
    records = {record["model_name"]: record for record in sidecar["state"].values()}
    assert {"VBoxModel", "IntSliderModel"} <= set(records), "what a displayed widget refers to is kept"
    assert "TextModel" not in records, "what nothing shows is not"
    assert records["ImageModel"]["buffers"][0]["path"] == ["value"]


def test_execute_shows_a_failing_cell_and_writes_nothing(notebook, capsys):
    path = notebook("a = 1", MEANT, "weights = None\nweights.sum()", "print('later')")
    before = path.read_bytes()
    with pytest.raises(SystemExit):
        execute.execute(path)
    said = capsys.readouterr().err
    assert said.startswith("nb.ipynb: ")
    assert "weights.sum()" in said
    assert "AttributeError" in said
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("stored", "now", "passes"),
    [
        ("loss 0.1234 at 3 of 5", "loss 0.1235 at 3 of 5", False),
        ("device cpu, torch 2.6.0, profile quick", "device cuda, torch 2.9.1, profile quick", True),
        ("a 0.5\nb 0.5", "a 0.5", False),
    ],
)
def test_nbval_compares_all_but_the_line_that_names_the_machine(stored, now, passes):
    settings = (ROOT / "tests" / "nbval.cfg").read_text("utf-8")
    pattern, word = re.search(r"(?m)^regex: (.*)\nreplace: (.*)$", settings).groups()
    stored, now = (re.sub(pattern, word, text, flags=re.M) for text in (stored, now))
    assert (stored == now) == passes


# ---- check -------------------------------------------------------------------------------------------------

GOOD = f"""<!doctype html><html lang="en"><head><title>T</title>
<link rel="stylesheet" href="a.css"><link rel="canonical" href="https://example.org/x.html">
<script src="a.js"></script></head><body>
<a href="#here">in the page</a> <a href="other.html#there">elsewhere</a> <a href="https://example.org">far</a>
<a href="#digits:lam=1e-3">a position of the slider</a>
<h1 id="here">T</h1><img src="p.png" alt="A curve that falls, then rises">
<div><div class="widget-fallback"><img src="p.png" alt="Three small drawings"></div>
<script type="{VIEW}">{{"model_id": "m"}}</script></div>
<script type="{STATE}">{{"state": {{"m": {{"state": {{"name": "digits"}}}}}}}}</script></body></html>"""


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("", "", ""),
        ('src="a.js"', 'src="https://cdn.example.org/a.js"', "loads from another host"),
        ('src="a.js"', 'src="//cdn.example.org/a.js"', "loads from another host"),
        ('src="a.js"', 'src="/a.js"', "loads from the top of the host"),
        ('src="a.js"', 'src="missing.js"', "a file that is not there"),
        ('href="other.html#there"', 'href="/other.html"', "a link from the top of the host"),
        ('href="a.css"', 'href="https://fonts.example.org/a.css"', "loads from another host"),
        ("<h1", '<iframe src="https://video.example.org/1"></iframe><h1', "loads from another host"),
        (' alt="A curve that falls, then rises"', "", "alternative text says nothing"),
        ("A curve that falls, then rises", "3f2a77c0d1e2f3a4b5c6", "alternative text says nothing"),
        ('{"model_id": "m"}', '{"model_id": "n"}', "a widget without state"),
        ('<div class="widget-fallback">', "<div>", "a widget without a static picture"),
        ('href="#here"', 'href="#gone"', "an anchor that is not there: #gone"),
        ("other.html#there", "other.html#gone", "an anchor that is not there"),
        ("other.html#there", "gone.html", "a link leads nowhere"),
        ("#digits:", "#nobody:", "a link to an explorer that is not there"),
        ("<h1", "<p>saved in /home/somebody/book</p><h1", "a path of the building machine"),
        ("p.png", "heavy.png", "loads 2001 kB"),
    ],
)
def test_check_finds_a_planted_fault_and_no_other(tmp_path, old, new, complaint):
    assert old in GOOD
    (tmp_path / "index.html").write_text(GOOD.replace(old, new, 1))
    (tmp_path / "other.html").write_text("<h1 id='there'>Other</h1>")
    for name, size in (("a.css", 9), ("a.js", 9), ("p.png", 100), ("heavy.png", 2_000_000)):
        (tmp_path / name).write_bytes(b"x" * size)
    found = [problem for _, problem in check.problems(check.pages_of(tmp_path))]
    assert len(found) == bool(complaint), found
    assert complaint in "".join(found)


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


def test_with_an_address_all_of_a_fork_leads_to_the_fork(copy_of_the_book):
    root, tool = copy_of_the_book, copy_of_the_book / "book/_site/repository.py"
    before = {path: path.read_bytes() for path in root.rglob("*.*")}
    told = run(sys.executable, tool, "--check", FORK)
    assert told.returncode == 1
    assert f"make address ADDRESS={FORK}" in told.stderr
    git = ["git", "-C", root]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "remote", "add", "origin", "git@github.com:Some-One/their.book.git"], check=True)
    assert run(sys.executable, tool).returncode == 0
    assert run(sys.executable, tool, "--check", FORK.lower()).returncode == 0
    assert yaml.safe_load((root / "_config.yml").read_text())["repository"]["url"] == FORK
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    assert project["urls"]["Repository"] == FORK
    assert yaml.safe_load((root / "CITATION.cff").read_text())["repository-code"] == FORK
    assert f"git+{FORK}" in (root / "README.md").read_text()
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
    assert not [path for path in before if b"ome-One" in path.read_bytes()], "the second replaces the first"
    repository.set_address("", root)
    assert {path: path.read_bytes() for path in before} == before, "and back"


@pytest.mark.parametrize("address", ["github.com/a/b", "https://github.com/a", "https://example.org/a/b"])
def test_what_is_no_address_is_refused(address, capsys):
    with pytest.raises(SystemExit):
        repository.set_address(address)
    assert "OWNER/NAME" in capsys.readouterr().err
