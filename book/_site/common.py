"""What the programs behind ``make`` share: where things are, and how a message looks."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parents[2]
BOOK = ROOT / "book"
BUILD = ROOT / "_build"
SITE = BUILD / "html"
VIEW = "application/vnd.jupyter.widget-view+json"
STATE = "application/vnd.jupyter.widget-state+json"


def say(text: str) -> None:
    """Print one line of progress at once, also when the output goes to a file."""
    print(text, flush=True)


def stop(text: str) -> NoReturn:
    """End the program with a message on standard error."""
    print(text, file=sys.stderr, flush=True)
    raise SystemExit(1)


def sidecar_of(notebook: Path) -> Path:
    """Where the widget state of a notebook is kept: ``results/widgets/`` beside it."""
    return notebook.parent / "results" / "widgets" / f"{notebook.stem}.json"


def chapters() -> list[Path]:
    """Return the notebooks of the book, in the order of their names."""
    return sorted(BOOK.glob("*.ipynb"))
