"""What a person sees of a long computation, and how they end it: the progress bar and Ctrl-C."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["interruptible", "progress_bar", "someone_watches"]

# Shorter computations show no bar.
BAR_AFTER_SECONDS = 1.0


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C into a question to be asked between steps; the second one interrupts as usual.

    Outside of the main thread, which alone gets signals, the answer is always no.
    """
    asked = False

    def handler(signum: int, frame: Any) -> None:
        nonlocal asked
        asked = True
        signal.signal(signal.SIGINT, former)

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    former = signal.signal(signal.SIGINT, handler)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, former)


def someone_watches() -> bool:
    """Tell whether a person sees the output, and not a program that executes a notebook."""
    if "ipykernel" in sys.modules:
        from IPython import get_ipython

        kernel = getattr(get_ipython(), "kernel", None)
        if kernel is not None:
            # A front end with a person at it can answer input(); other programs say that they cannot.
            return bool(kernel.get_parent().get("content", {}).get("allow_stdin"))
    return sys.stderr is not None and sys.stderr.isatty()


@contextmanager
def progress_bar(total: int | None, wanted: bool, desc: str, unit: str) -> Iterator[Callable[..., Any]]:
    """Show a bar that appears after a second, if it is wanted and somebody watches, and vanishes at the end.

    Yields ``advance(n, shown="")``, which moves the bar by n units and shows a text behind it.
    """
    if not (wanted and someone_watches()):
        yield lambda n, shown="": None
        return
    from tqdm.auto import tqdm  # of a terminal or of a notebook

    with tqdm(total=total, desc=desc, unit=unit, delay=BAR_AFTER_SECONDS, leave=False) as bar:

        def advance(n: int, shown: str = "") -> None:
            if shown:
                bar.set_postfix_str(shown, refresh=False)
            bar.update(n)

        yield advance
