"""Write the repository's address wherever it stands: ``make address``.

The address is that of the git remote ``origin``, or the one that is given (``make address ADDRESS=…``); it is
to be committed, since Colab opens what the repository holds.  Without an address (``ADDRESS=none``) nothing
leads anywhere: a name that nobody has registered could be somebody's tomorrow.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from common import ROOT, say, stop

ADDRESS = re.compile(
    r"(?:https://(?:[^@/\s]+@)?github\.com/|(?:ssh://)?git@github\.com[:/])"
    r"([A-Za-z0-9][\w.-]*)/([A-Za-z0-9_][\w.-]*?)(?:\.git)?/?"
)
CONFIG = "_config.yml"
HOME = r"(?m)(^repository:\n(?:  .*\n)*?  url: )(.*)"
# Files, what stands there behind the part that stays (the group), its form with an address and without.
PLACES = (
    (CONFIG, HOME, "{address}", '""'),
    ("CITATION.cff", r"(?m)()^(?:# )?repository-code:.*", "repository-code: {address}", "# repository-code:"),
    ("pyproject.toml", r"(\[project\.urls\]\n)(?:\w+ = .*\n)*", 'Repository = "{address}"\n', ""),
    ("book/_site/404.html", r'(<base href=")[^"]*', "{pages}", "/"),
    (
        "README.md",
        r"(?m)()^.*<!-- address -->$",
        'The pages: **{pages}**. The package: `pip install "git+{address}"`. <!-- address -->',
        "This copy of the book is not published yet: `make address` comes first. <!-- address -->",
    ),
)
# The same in the first cells of a notebook. Of an assignment, readers open the students' copy.
FIRST_CELLS = {
    "code": (r'(?m)^(BOOK = ")[^"]*', "{address}", ""),
    "markdown": (
        r"\A((?:.*\n)*?# .*\n\n)(?:> Run this notebook \[on Colab\].*\n\n)?",
        "> Run this notebook [on Colab](https://colab.research.google.com/github/{place}/blob/{branch}/{file})"
        " or read it [as a page]({page}), where all links work.\n\n",
        "",
    ),
}


def home(root: Path = ROOT) -> str:
    """Return the address that ``_config.yml`` gives; empty if there is none yet."""
    return re.search(HOME, (root / CONFIG).read_text("utf-8"))[2].strip("\"'")


def pages(address: str) -> str:
    """Return the address under which GitHub Pages publishes a repository."""
    owner, name = ADDRESS.fullmatch(address).groups()
    host = f"https://{owner.lower()}.github.io"
    return f"{host}/" if name.lower() == f"{owner.lower()}.github.io" else f"{host}/{name}/"


def clean(address: str) -> str:
    """Return ``https://github.com/OWNER/NAME`` or say what is wrong with the given address."""
    match = ADDRESS.fullmatch(address.strip()) or stop(
        f"{address!r} is not an address of the form https://github.com/OWNER/NAME: make address ADDRESS=…"
    )
    return f"https://github.com/{match[1]}/{match[2]}"


def write(text: str, place: Sequence[str], words: dict[str, str]) -> str:
    """Write the address into a text."""
    old, with_address, without = place
    form = with_address.format(**words) if words["address"] else without
    return re.sub(old, lambda match: match[1] + form, text, count=1)


def write_notebook(text: str, words: dict[str, str]) -> str:
    """Write the address into the first cells of a notebook."""
    notebook = json.loads(text)
    for kind, place in FIRST_CELLS.items():
        cell = next((cell for cell in notebook["cells"] if cell["cell_type"] == kind), {"source": ""})
        source = write("".join(cell["source"]), place, words)
        cell["source"] = source if isinstance(cell["source"], str) else source.splitlines(keepends=True)
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def set_address(address: str, root: Path = ROOT) -> list[Path]:
    """Write an address, or none if it is empty, into all places, and return the files that changed."""
    words = {"address": address and clean(address)}
    words["pages"] = pages(words["address"]) if address else ""
    words["place"] = words["address"].removeprefix("https://github.com/")
    words["branch"] = re.search(r"(?m)^  branch: (\S+)", (root / CONFIG).read_text("utf-8"))[1]
    results = {root / name: write((root / name).read_text("utf-8"), place, words) for name, *place in PLACES}
    for path in root.glob("book/**/*.ipynb"):
        folder = "book/assignments" if "assignments" in path.parts else "book"
        words |= {"file": f"{folder}/{path.name}", "page": f"{words['pages']}{folder}/{path.stem}.html"}
        results[path] = write_notebook(path.read_text("utf-8"), words)
    changed = [path for path, text in sorted(results.items()) if text != path.read_text("utf-8")]
    for path in changed:
        path.write_text(results[path], "utf-8")
    return changed


def origin() -> str:
    """Return the address of the git remote ``origin``."""
    done = subprocess.run(["git", "remote", "get-url", "origin"], cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip() or stop("There is no git remote origin: make address ADDRESS=…")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Write the repository's address wherever it stands.")
    parser.add_argument("address", nargs="?", help="https://github.com/OWNER/NAME, or none (default: origin)")
    parser.add_argument("--check", action="store_true", help="fail if another one stands here")
    given = parser.parse_args()
    new = "" if given.address == "none" else clean(given.address or origin())
    if given.check and home().lower() != new.lower():
        stop(
            f"This repository is {new}, but the book committed in it says {home() or 'none'}. "
            f"Run `make address ADDRESS={new}` in a checkout, commit what it changes, and push."
        )
    for path in () if given.check else set_address(new):
        say(f"changed, to be committed: {path.relative_to(ROOT).as_posix()}")


if __name__ == "__main__":
    main()
