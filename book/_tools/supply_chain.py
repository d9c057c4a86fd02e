"""What the book is made of, and whether any of it has a known weakness (``make audit``, ``make sbom``).

``audit`` asks the Python advisory database about every package in the environment of the book; it needs the
network.  ``sbom`` writes ``_build/sbom.cdx.json``, a software bill of materials in CycloneDX's form: the
packages of the environment and the scripts that the published pages bring along.  Both programs come from
PyPI and live in an environment of their own, so that they change nothing in the one that they look at.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from common import BOOK, BUILD, ROOT, say, stop
from install import site_packages, venv_python

SBOM = BUILD / "sbom.cdx.json"
MATHJAX = BOOK / "_offline" / "vendor" / "mathjax"


def audit(venv: Path) -> int:
    """Look up known weaknesses of all packages of an environment; 0 when there are none."""
    command = [
        sys.executable,
        "-m",
        "pip_audit",
        "--path",
        str(site_packages(venv)),
        "--progress-spinner",
        "off",
    ]
    return subprocess.run([*command, "--desc", "on"], cwd=ROOT).returncode


def mathjax() -> dict[str, Any]:
    """The bill's entry for the MathJax that the pages load, with the hash of its main file."""
    script = MATHJAX / "tex-mml-chtml.js"
    found = re.search(r'VERSION="(3\.[\d.]+)"', script.read_text("utf-8"))
    if found is None:
        stop(f"{script.relative_to(ROOT)} does not say its version: is it MathJax 3?")
    return {
        "bom-ref": f"mathjax@{found[1]}",
        "type": "library",
        "name": "mathjax",
        "version": found[1],
        "purl": f"pkg:npm/mathjax@{found[1]}",
        "licenses": [{"license": {"id": "Apache-2.0"}}],
        "hashes": [{"alg": "SHA-256", "content": hashlib.sha256(script.read_bytes()).hexdigest()}],
    }


def write_sbom(venv: Path, out: Path = SBOM) -> dict[str, Any]:
    """Write the bill of materials.

    Parameters
    ----------
    venv : pathlib.Path
        The environment that is listed.
    out : pathlib.Path
        The file.

    Returns
    -------
    dict
        What was written.
    """
    site_packages(venv)  # ends with a message where there is none
    out.parent.mkdir(parents=True, exist_ok=True)
    command = [
        sys.executable,
        "-m",
        "cyclonedx_py",
        "environment",
        str(venv_python(venv)),
        "--output-reproducible",
    ]
    options = ["--pyproject", str(ROOT / "pyproject.toml"), "--output-file", str(out)]
    code = subprocess.run([*command, *options], cwd=ROOT).returncode
    if code:
        stop(f"the bill of materials was not written (code {code} of cyclonedx-py)", code)
    bill = json.loads(out.read_text("utf-8"))
    bill["components"].append(mathjax())
    out.write_text(json.dumps(bill, indent=1, sort_keys=True, ensure_ascii=False) + "\n", "utf-8")
    return bill


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Audit the environment, or list what it is made of.")
    parser.add_argument("what", choices=["audit", "sbom"])
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv", help="the environment that is looked at")
    arguments = parser.parse_args()
    venv = arguments.venv.absolute()
    if arguments.what == "audit":
        raise SystemExit(audit(venv))
    bill = write_sbom(venv)
    say(f"{SBOM.relative_to(ROOT)}: {len(bill['components'])} components")


if __name__ == "__main__":
    main()
