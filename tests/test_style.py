"""Rules that hold for all files: lint, import arrows, docstrings, nothing of one machine in the tree."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest
from numpydoc.validate import validate

import l2lab

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "book" / "l2lab"
MODULES = sorted(PACKAGE.rglob("*.py"))
TEXTS = {
    ".py",
    ".md",
    ".ipynb",
    ".yml",
    ".toml",
    ".txt",
    ".js",
    ".css",
    ".json",
    ".cfg",
    ".cff",
    ".html",
    ".lock",
    ".bib",
    "",
}
VENDORED = "book/_offline/vendor/mathjax"


def tracked() -> list[Path]:
    """Text files of the repository, those not yet added included, without what others wrote."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    names = listed.stdout.splitlines()
    if listed.returncode or not names:  # an unpacked archive
        kept = (".github", ".ci", ".gitignore")
        names = [
            path.relative_to(ROOT).as_posix()
            for top in ROOT.iterdir()
            if (top.name in kept or not top.name.startswith(".")) and top.name != "_build"
            for path in (top.rglob("*") if top.is_dir() else [top])
            if not re.search(r"egg-info|__pycache__", path.as_posix())
        ]
    paths = [ROOT / name for name in names if not name.startswith(VENDORED)]
    return [path for path in paths if path.suffix in TEXTS and path.is_file()]


def test_ruff_finds_nothing():
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", ".", "--no-cache", "--output-format", "concise"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout


# ---- who may import whom -----------------------------------------------------------------------------------

# room -> what it must not know (prefixes of imported modules)
FORBIDDEN = {
    "explore": ("torch", "l2lab.engine", "l2lab.data", "l2lab.plots"),
    "data": ("l2lab.engine", "l2lab.plots", "l2lab.explore", "matplotlib"),
    "engine": ("matplotlib", "l2lab.plots", "l2lab.explore", "l2lab.data", "l2lab.compare", "l2lab.select"),
    "layers": ("matplotlib", "l2lab."),
    "select": ("matplotlib", "l2lab.plots", "l2lab.explore", "l2lab.compare"),
    "compare": ("l2lab.plots", "l2lab.explore", "l2lab.select"),
    "progress": ("torch", "matplotlib", "l2lab."),
    "checks": ("torch", "matplotlib", "l2lab."),
    "budget": ("torch", "matplotlib", "l2lab."),
    "conventions": ("torch", "matplotlib", "l2lab."),
    "measures": ("matplotlib", "l2lab.plots", "l2lab.explore", "l2lab.engine"),
    "prune": ("matplotlib", "l2lab.plots", "l2lab.explore", "l2lab.data"),
    "plots": ("l2lab.explore", "l2lab.engine", "torch"),
    "runtime": ("matplotlib", "l2lab."),
}


def imports_of(path: Path) -> set[str]:
    """All modules that a file names in its imports, relative ones made absolute."""
    package = ["l2lab", *path.relative_to(PACKAGE).parent.parts]
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
    return found


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def test_the_rule_sees_relative_imports(tmp_path, monkeypatch):
    monkeypatch.setattr(f"{__name__}.PACKAGE", tmp_path)
    (tmp_path / "data").mkdir()
    file = tmp_path / "data" / "x.py"
    file.write_text(
        "from .. import engine\nfrom ..plots import show\nfrom .tables import a\nimport torch.nn as nn\n"
    )
    assert {"l2lab.engine", "l2lab.plots", "l2lab.data.tables", "torch.nn"} <= imports_of(file)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_imports_go_one_way(path):
    for name in imports_of(path):
        for other in FORBIDDEN.get(room(path), ()):
            assert not (name == other.rstrip(".") and not other.endswith(".")), f"{path.name} imports {name}"
            assert not name.startswith(other.rstrip(".") + "."), f"{path.name} imports {name}"
        assert not re.match(r"(book|tests)\b|\d\d_", name), (
            f"{path.name} imports {name}, which is no part of the package"
        )


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [("l2lab.explore", "torch"), ("l2lab", "torch"), ("l2lab.engine", "matplotlib.pyplot")],
)
def test_importing_does_not_pull_in(module, unwanted):
    code = f"import sys, {module}; sys.exit({unwanted!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT / "book").returncode == 0


# ---- docstrings --------------------------------------------------------------------------------------------

# From numpydoc's list: what makes a docstring wrong or useless, not what makes it long.
CHECKS = {
    "GL08",  # no docstring
    "GL03",
    "GL07",
    "GL09",  # blank lines and order of the sections
    "SS02",
    "SS03",
    "SS04",  # summary: capital, period, no leading spaces
    "PR01",
    "PR02",
    "PR03",  # parameters: missing, unknown, wrong order
    "PR04",
    "PR10",  # parameter without type; no space before the colon
    "RT01",  # no section on what is returned
    "YD01",
}


def public_objects() -> dict[str, object]:
    """All public functions, classes and methods of the package, by full name."""
    found: dict[str, object] = {}
    for info in pkgutil.walk_packages([str(PACKAGE)], "l2lab."):
        if info.name.rpartition(".")[2].startswith("__"):
            continue
        module = importlib.import_module(info.name)
        for name, value in vars(module).items():
            if name.startswith("_") or getattr(value, "__module__", None) != info.name:
                continue
            if not (inspect.isfunction(value) or inspect.isclass(value)):
                continue
            found[f"{info.name}.{name}"] = value
            if inspect.isclass(value):
                for method, function in vars(value).items():
                    inherited = any(hasattr(base, method) for base in value.__bases__)
                    if inspect.isfunction(function) and not method.startswith("_") and not inherited:
                        found[f"{info.name}.{name}.{method}"] = function
    return found


PUBLIC = sorted(public_objects())


def test_the_package_has_a_public_face():
    assert len(PUBLIC) > 20


@pytest.mark.parametrize("name", PUBLIC)
def test_numpydoc_docstring(name):
    errors = [f"{code}: {text}" for code, text in validate(name)["errors"] if code in CHECKS]
    target = public_objects()[name]
    # What holds values documents them as attributes; so does a named tuple, field by field.
    attributes = re.search(r"(?m)^\s*Attributes\n\s*-+$", target.__doc__ or "")
    if inspect.isclass(target) and (attributes or hasattr(target, "_fields")):
        errors = [error for error in errors if not error.startswith("PR01")]
    # A method without parameters says all in one sentence; its type stands in the annotation.
    if inspect.isfunction(target) and set(inspect.signature(target).parameters) <= {"self", "cls"}:
        errors = [error for error in errors if not error.startswith("RT01")]
    assert not errors


@pytest.mark.parametrize("name", PUBLIC)
def test_public_functions_are_typed(name):
    target = public_objects()[name]
    function = target.__init__ if inspect.isclass(target) else target
    if not inspect.isfunction(function) or function.__module__ != target.__module__:
        pytest.skip("inherited or generated")
    signature = inspect.signature(function)
    untyped = [
        p.name
        for p in signature.parameters.values()
        if p.annotation is p.empty and p.name not in ("self", "cls")
    ]
    assert not untyped
    assert inspect.isclass(target) or signature.return_annotation is not signature.empty


def test_the_version_stands_in_one_place():
    assert re.fullmatch(r"\d+\.\d+\.\d+", l2lab.__version__)
    import yaml

    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == l2lab.__version__
    assert not re.search(r'(?m)^version\s*=\s*"', (ROOT / "pyproject.toml").read_text())


# ---- what must not stand in any file -----------------------------------------------------------------------

# Written so that this file does not contain what it looks for.
ABSOLUTE = re.compile(
    r"(?<![\w.:/~$\"'}-])/(?:" + "|".join(["tmp", "work", "root", "home", "Users"]) + r")/[\w.-]+"
)
UNFINISHED = re.compile(
    r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "XX" + "X", "NotImplemented" + "Error"]) + r")\b"
)
INDEX = re.compile(
    r"--(?:extra-)?index" + r"-url|--find" + r"-links|files\.python" + r"hosted\.org|py" + r"pi\.org/simple"
)


def lines_with(pattern: re.Pattern[str], *, skip: tuple[str, ...] = ()) -> list[str]:
    found = []
    for path in tracked():
        name = path.relative_to(ROOT).as_posix()
        if name.startswith(skip):
            continue
        for number, line in enumerate(path.read_text("utf-8", "replace").splitlines(), start=1):
            if len(line) < 20_000 and (hit := pattern.search(line)):
                found.append(f"{name}:{number}: {hit[0]}")
    return found


def test_no_absolute_paths():
    assert lines_with(ABSOLUTE, skip=("tests/",)) == []


def test_nothing_is_left_unfinished():
    assert lines_with(UNFINISHED) == []


def test_no_package_index_is_named():
    assert lines_with(INDEX, skip=("book/_tools/lock.py",)) == []


def test_text_files_end_with_a_newline_and_have_no_tabs_or_trailing_blanks():
    for path in tracked():
        text = path.read_text("utf-8")
        name = path.relative_to(ROOT)
        if path.suffix in (".py", ".md", ".yml", ".toml", ".css", ".js"):
            assert text.endswith("\n") or not text, name
            assert "\t" not in text, name
            assert not re.search(r"[ \t]+$", text, re.MULTILINE) or path.suffix == ".md", name


def test_code_outside_the_package_has_no_pictures_or_large_files():
    for path in tracked():
        assert path.stat().st_size < 3_000_000, path.name


def test_vendored_files_have_their_licences():
    for folder in (ROOT / "book" / "_offline" / "vendor").iterdir():
        if folder.is_dir():
            assert any(p.name.upper().startswith("LICENSE") for p in folder.iterdir()), folder.name
