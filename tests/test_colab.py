"""Colab: what its versions allow, and what a run is asked for (``make test-colab`` runs all notebooks)."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from nbformat.v4 import new_code_cell, new_output
from packaging.requirements import Requirement

import colab

ROOT = Path(__file__).resolve().parents[1]


def test_what_l2lab_needs_is_there_in_a_version_that_it_accepts():
    """The first cell installs without dependencies: a bound that Colab does not meet shows only there."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    pins = colab.pins()
    for need in map(Requirement, project["dependencies"]):
        assert need.name in pins, f"{need.name} is not on Colab"
        assert need.specifier.contains(pins[need.name]), need


MANAGED = {colab.VIEW: {"colab": {"custom_widget_manager": {"url": "u"}}}}


@pytest.mark.parametrize(
    ("output", "unsolved", "complaint"),
    [
        (new_output("error", ename="NameError", evalue="x"), False, "raised NameError"),
        (new_output("error", ename="NameError", evalue="x"), True, ""),
        (new_output("error", ename="OSError", evalue="x"), True, "raised OSError"),
        (new_output("display_data", {colab.VIEW: {}, "image/png": ""}), False, "Colab's widget manager"),
        (new_output("display_data", {colab.VIEW: {}}, metadata=MANAGED), False, "without a picture"),
        (new_output("display_data", {colab.VIEW: {}, "image/png": ""}, metadata=MANAGED), False, ""),
    ],
)
def test_a_run_is_asked_for_errors_and_for_what_colab_needs_to_show_widgets(output, unsolved, complaint):
    found = list(colab.about_cells([new_code_cell("x", outputs=[output])], unsolved))
    assert len(found) == bool(complaint)
    assert complaint in "".join(found)
