"""Write the repository's address wherever it is repeated: ``python book/_tools/set_repository.py ADDRESS``.

The address has one home, ``repository: url:`` in ``_config.yml``.  Colab cells, package metadata, citation
and README must repeat it.  The publishing workflow gives the repository that it runs in, so that a fork
publishes a book that points to the fork.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from common import ROOT, say, stop

CONFIG = "_config.yml"
COLAB = "https://colab.research.google.com/github/"
PLACES = (
    "pyproject.toml",
    "CITATION.cff",
    "README.md",
    "CONTRIBUTING.md",
    ".github/**/*.yml",
    "book/*.md",
    "book/_offline/404.html",
    "book/*.ipynb",
    "book/assignments/**/*.ipynb",
)
ADDRESS = re.compile(r"https://github\.com/([A-Za-z0-9][\w.-]*)/([A-Za-z0-9_][\w.-]*?)(?:\.git)?/?")
HOME = re.compile(r"(?m)^(repository:\s*\n(?:[ \t]+.*\n)*?[ \t]+url:\s*)(\S+)")


def home(root: Path = ROOT) -> str:
    """Return the address that ``_config.yml`` gives."""
    found = HOME.search((root / CONFIG).read_text("utf-8"))
    if found is None:
        stop(f"{CONFIG} has no repository: url:")
    return found[2]


def pages(address: str) -> str:
    """Return the address under which GitHub Pages publishes a repository."""
    owner, name = ADDRESS.fullmatch(address).groups()
    host = f"https://{owner.lower()}.github.io"
    return f"{host}/" if name.lower() == f"{owner.lower()}.github.io" else f"{host}/{name}/"


def places(root: Path = ROOT) -> list[Path]:
    """Return the files that may repeat the address."""
    return sorted(path for pattern in PLACES for path in root.glob(pattern) if path.is_file())


def clean(address: str) -> str:
    """Return ``https://github.com/OWNER/NAME`` or say what is wrong with the given address."""
    match = ADDRESS.fullmatch(address.strip())
    if match is None:
        stop(f"{address!r} is not an address of the form https://github.com/OWNER/NAME")
    return f"https://github.com/{match[1]}/{match[2]}"


def replace(text: str, old: str, new: str) -> str:
    """Replace an address, but not a longer one that begins with it."""
    text = re.sub(rf"{re.escape(old)}(?![\w-])", new, text)
    # colab.research.google.com/github/OWNER/NAME/…
    colab = [address.replace("https://github.com/", COLAB) + "/" for address in (old, new)]
    text = text.replace(*colab)
    # github.com/OWNER/NAME and OWNER.github.io/NAME/ always go together
    return text.replace(pages(old), pages(new))


def set_repository(address: str, root: Path = ROOT) -> list[Path]:
    """Write an address into its home and wherever it is repeated.

    Parameters
    ----------
    address : str
        ``https://github.com/OWNER/NAME``.
    root : pathlib.Path
        Top folder of the repository.

    Returns
    -------
    list of pathlib.Path
        The files that changed.
    """
    new, old = clean(address), clean(home(root))
    changed = []
    for path in [root / CONFIG, *places(root)]:
        text = path.read_text("utf-8")
        result = replace(text, old, new)
        if result != text:
            path.write_text(result, "utf-8")
            changed.append(path)
    return changed


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Write the repository's address wherever it is repeated.")
    parser.add_argument("address", help="https://github.com/OWNER/NAME")
    changed = set_repository(parser.parse_args().address)
    for path in changed:
        say(f"changed {path.relative_to(ROOT).as_posix()}")
    say(f"The repository is {home()}, {len(changed)} files changed.")


if __name__ == "__main__":
    main()
