"""The commands of the book: make, those of the README, execute, check, the address."""

from __future__ import annotations

import ast
import importlib.metadata
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
from packaging.requirements import Requirement
from packaging.version import Version

import check
import execute
import l2lab
import repository
from common import STATE, VIEW
from conftest import ROOT


def run(*command: str | Path, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)


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


def test_the_links_and_pictures_of_the_readme_are_there():
    found = re.findall(r"\]\(([^):#]+)\)|(?:src|srcset)=\"([^\"]+)", README)
    assert len(found) >= 10
    assert all((ROOT / (link or picture)).is_file() for link, picture in found)


def test_package_dependencies_are_what_the_package_imports_in_versions_that_colab_has():
    """On Colab the first cell installs without dependencies: a bound that is not met shows only there."""
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
    needs = {need.name: need for need in map(Requirement, project["dependencies"])}
    assert imported == set(needs)
    colab = dict(re.findall(r"(?m)^([\w.-]+)==(\S+)", (ROOT / "requirements-colab.txt").read_text()))
    assert [str(need) for name, need in needs.items() if not need.specifier.contains(colab[name])] == []


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
        ('src="a.js"', 'src="/a.js"', "a file that is not there"),
        ('src="a.js"', 'src="missing.js"', "a file that is not there"),
        ('href="other.html#there"', 'href="/other.html"', "a link leads nowhere"),
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
def test_check_finds_a_planted_fault_and_no_other(tmp_path, capsys, old, new, complaint):
    assert old in GOOD
    (tmp_path / "index.html").write_text(GOOD.replace(old, new, 1))
    (tmp_path / "other.html").write_text("<h1 id='there'>Other</h1>")
    for name, size in (("a.css", 9), ("a.js", 9), ("p.png", 100), ("heavy.png", 2_000_000)):
        (tmp_path / name).write_bytes(b"x" * size)
    assert check.report(tmp_path) == bool(complaint)
    assert complaint in capsys.readouterr().out


FORK = "https://github.com/Some-One/their.book"


def test_with_an_address_all_of_a_fork_leads_to_the_fork(tmp_path):
    for pattern in (*(name for name, *_ in repository.PLACES), "book/_site/*.py"):
        for path in ROOT.glob(pattern):
            place = tmp_path / path.relative_to(ROOT)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, place)
    repository.set_address("", tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
    git = ["git", "-C", tmp_path]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "remote", "add", "origin", "git@github.com:Some-One/their.book.git"], check=True)
    assert run(sys.executable, tmp_path / "book/_site/repository.py").returncode == 0
    assert repository.home(tmp_path) == FORK
    assert yaml.safe_load((tmp_path / "_config.yml").read_text())["repository"]["url"] == FORK
    project = tomllib.loads((tmp_path / "pyproject.toml").read_text())["project"]
    assert project["urls"]["Repository"] == FORK
    assert yaml.safe_load((tmp_path / "CITATION.cff").read_text())["repository-code"] == FORK
    assert f"git+{FORK}" in (tmp_path / "README.md").read_text()
    assert (
        '<base href="https://some-one.github.io/their.book/' in (tmp_path / "book/_site/404.html").read_text()
    )
    for path in tmp_path.glob("book/*.ipynb"):
        first = next(cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code")
        assert f'BOOK = "{FORK}"' in first.source

    assert repository.set_address(f"{FORK}.git", tmp_path) == [], "a second time nothing changes"
    repository.set_address("https://github.com/other/b", tmp_path)
    assert not [path for path in before if b"ome-One" in path.read_bytes()], "the second replaces the first"
    repository.set_address("", tmp_path)
    assert {path: path.read_bytes() for path in before} == before, "and back"


@pytest.mark.parametrize("address", ["github.com/a/b", "https://github.com/a", "https://example.org/a/b"])
def test_what_is_no_address_is_refused(address, capsys):
    with pytest.raises(SystemExit):
        repository.set_address(address)
    assert "OWNER/NAME" in capsys.readouterr().err
