"""Rules that ruff and import-linter do not know: docstrings, imports at run time, nothing of one machine."""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest
from numpydoc.validate import validate

from conftest import ROOT

PACKAGE = ROOT / "book" / "l2lab"
BINARY = {".png", ".zip"}
VENDORED = "book/_site/vendor/mathjax"


def tracked() -> list[Path]:
    """Text files of the repository, those not yet added included, without what others wrote."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("an unpacked archive")
    paths = [ROOT / name for name in listed.stdout.splitlines() if not name.startswith(VENDORED)]
    return [path for path in paths if path.suffix not in BINARY and path.is_file()]


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [("l2lab.explore", "torch"), ("l2lab", "torch"), ("l2lab.engine", "matplotlib.pyplot")],
)
def test_importing_does_not_pull_in(module, unwanted):
    code = f"import sys, {module}; sys.exit({unwanted!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT / "book").returncode == 0


# From numpydoc's list: what makes a docstring wrong or useless, not what makes it long. A summary that is
# missing or no sentence; sections out of order; parameters that are missing, unknown, out of order or without
# a type; nothing on what is returned.
CHECKS = (
    *("GL03", "GL07", "GL08", "GL09", "SS02", "SS03", "SS04", "PR01", "PR02", "PR03", "PR04", "PR10"),
    *("RT01", "YD01"),
)


@functools.cache
def public_objects() -> dict[str, object]:
    """All public functions, classes and methods of the package, by full name."""
    found: dict[str, object] = {}
    for info in pkgutil.walk_packages([str(PACKAGE)], "l2lab."):
        if info.name.rpartition(".")[2].startswith(("__", "make_")):  # programs
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


def shown_names() -> set[str]:
    """Full names of what the pages of the package show; a reader of the source gets by with less."""
    pages = "".join(path.read_text("utf-8") for path in (ROOT / "book").glob("api*.md"))
    modules = [importlib.import_module(name) for name in re.findall(r"automodule:: (\S+)", pages)]
    shown = [getattr(module, name) for module in modules for name in getattr(module, "__all__", [])]
    return {f"{o.__module__}.{o.__qualname__}" for o in shown if hasattr(o, "__qualname__")}


def test_numpydoc_docstrings():
    shown, wrong = shown_names(), []
    assert len(shown) > 50 < len(public_objects())
    for name, target in public_objects().items():
        asked = set(CHECKS)
        # What holds values documents them as attributes; so does a named tuple, field by field.
        attributes = re.search(r"(?m)^\s*Attributes\n\s*-+$", target.__doc__ or "")
        if inspect.isclass(target) and (attributes or hasattr(target, "_fields")):
            asked -= {"PR01"}
        if not any(name == other or name.startswith(f"{other}.") for other in shown):
            asked -= {"PR01", "RT01", "YD01"}
        # A method without parameters says all in one sentence; its type stands in the annotation. So does one
        # whose parameters other methods get, too, and the class explains.
        if inspect.isfunction(target):
            owner = getattr(inspect.getmodule(target), target.__qualname__.partition(".")[0])
            explained = re.findall(r"(?<!`)`(\w+)`(?!`)", owner.__doc__ if inspect.isclass(owner) else "")
            if set(inspect.signature(target).parameters) <= {"self", "cls", *explained}:
                asked -= {"PR01", "RT01"}
        wrong += [f"{name}: {code}, {text}" for code, text in validate(name)["errors"] if code in asked]
    assert wrong == []


# Written so that this file does not contain what it looks for.
ABSOLUTE = r"(?<![\w.:/~$\"'}-])/(?:" + "|".join(["tmp", "work", "root", "home", "Users"]) + r")/[\w.-]+"
INDEX = (
    r"--(?:extra-)?index" + r"-url|--find" + r"-links|files\.python" + r"hosted\.org|py" + r"pi\.org/simple"
)


def test_nothing_of_one_machine_is_named():
    found = []
    for path in tracked():
        pattern = re.compile(INDEX if path.parent.name == "tests" else f"{ABSOLUTE}|{INDEX}")
        for line in path.read_text("utf-8", "replace").splitlines():
            if len(line) < 20_000 and (hit := pattern.search(line)):
                found.append(f"{path.relative_to(ROOT)}: {hit[0]}")
    assert found == []
