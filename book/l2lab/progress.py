"""What a person sees of a long computation, and how they end it: the progress bar and Ctrl-C.

The sweep, the training loop and the shards share these: all of them are silent when nobody watches, and give
back what they have when somebody has seen enough.
"""

from __future__ import annotations

import os
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

    Yields
    ------
    callable
        It takes nothing and tells whether Ctrl-C was pressed. Outside of the main thread, which alone gets
        signals, it always says no.
    """
    asked = False

    def handler(signum: int, frame: Any) -> None:
        nonlocal asked
        asked = True
        signal.signal(signal.SIGINT, former)

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    former = signal.getsignal(signal.SIGINT)
    if former is None:  # installed by a program other than Python, which could not be restored
        yield lambda: False
        return
    signal.signal(signal.SIGINT, handler)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, former)


def someone_watches() -> str | None:
    """Tell who sees the output.

    Returns
    -------
    {"notebook", "terminal"} or None
        None if no person watches: output that goes to a file, a test machine, a notebook that a program
        executes.
    """
    if "ipykernel" in sys.modules:
        from IPython import get_ipython

        kernel = getattr(get_ipython(), "kernel", None)
        if kernel is not None:
            # A front end with a person at it can answer input(); programs that execute notebooks say that
            # they cannot.
            request = kernel.get_parent() if hasattr(kernel, "get_parent") else {}
            return "notebook" if request.get("content", {}).get("allow_stdin") else None
    return "terminal" if sys.stderr is not None and sys.stderr.isatty() and "CI" not in os.environ else None


@contextmanager
def progress_bar(total: int | None, wanted: bool, desc: str, unit: str) -> Iterator[Callable[..., Any]]:
    """Show a bar that appears after a second and vanishes at the end.

    Parameters
    ----------
    total : int or None
        Number of units; None if it is not known, then there is no remaining time.
    wanted : bool
        False shows nothing. True shows the bar if :func:`someone_watches`.
    desc, unit : str
        What is being done, and what is counted.

    Yields
    ------
    callable
        ``advance(n, shown="")`` moves the bar by n units and shows a text behind it.
    """
    watcher = someone_watches() if wanted else None
    if watcher is None:
        yield lambda n, shown="": None
        return
    if watcher == "notebook":
        from tqdm.auto import tqdm
    else:
        from tqdm import tqdm
    with tqdm(total=total, desc=desc, unit=unit, delay=BAR_AFTER_SECONDS, leave=False) as bar:

        def advance(n: int, shown: str = "") -> None:
            if shown:
                bar.set_postfix_str(shown, refresh=False)
            bar.update(n)

        yield advance
