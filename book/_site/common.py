"""What the tools of the book share: where things are, and how a message looks."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parents[2]
BOOK = ROOT / "book"
BUILD = ROOT / "_build"
SITE = BUILD / "html"


def say(text: str) -> None:
    """Print one line of progress at once, also when the output goes to a file."""
    print(text, flush=True)


def stop(text: str, code: int = 1) -> NoReturn:
    """End the tool with a message on standard error."""
    print(text, file=sys.stderr, flush=True)
    raise SystemExit(code)


def sidecar_of(notebook: Path) -> Path:
    """Where the widget state of a notebook is kept: ``results/widgets/`` beside it."""
    return notebook.parent / "results" / "widgets" / f"{notebook.stem}.json"


def chapters(root: Path = ROOT) -> list[Path]:
    """Return the notebooks of the book, in the order of their names."""
    return sorted(p for p in (root / "book").glob("*.ipynb"))


def content_hash(paths: Iterable[Path], *extra: str, root: Path = ROOT) -> str:
    """Hash the names and contents of files, and any further strings.

    Contents, not times: a fresh checkout of the same files has the same hash.
    """
    digest = hashlib.sha256()
    for text in extra:
        digest.update(text.encode() + b"\0")
    for path in sorted(paths):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
