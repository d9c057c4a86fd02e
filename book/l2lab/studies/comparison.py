"""The study of the chapter "Comparison": all methods on all tasks, LassoNet on two of them."""

from __future__ import annotations

import importlib.util
import warnings
from typing import Any

from .. import runtime
from ..compare import METHODS, TASKS, Budget, ComparisonResult, LassoNetMethod, compare
from .record import RESULTS

# A path of LassoNet at its authors' settings takes minutes: these two tasks have few inputs.
LASSONET_TASKS = ("xor", "breast_cancer")
# Strengths, learning rates and tasks were settled on seeds below this one.
FIRST_SEED = 100
# profile -> number of seeds, budget, CPU seconds for one LassoNet path
PROFILES: dict[str, tuple[int, Budget, float]] = {
    "quick": (10, Budget(n_trials=8, steps=1000), 120.0),
    "full": (20, Budget(n_trials=16, steps=3000), 600.0),
}


def main(profile: str = "quick") -> dict[str, Any]:
    """Run the study, print its tables and write ``book/results/comparison-<profile>.json``.

    Parameters
    ----------
    profile : {"quick", "full"}
        10 seeds, 8 strengths and 1000 updates (half an hour on one core), or 20 seeds, 16 strengths
        and 3000 updates (hours).

    Returns
    -------
    dict
        ``"path"`` of the file and ``"result"``, the :class:`~l2lab.compare.ComparisonResult`.

    Raises
    ------
    ValueError
        If there is no such profile.
    """
    if profile not in PROFILES:
        raise ValueError(f"profile must be one of {list(PROFILES)}, got {profile!r}")
    n_seeds, budget, seconds = PROFILES[profile]
    seeds = list(range(FIRST_SEED, FIRST_SEED + n_seeds))
    runtime.setup()
    result = compare(TASKS, METHODS, seeds, budget, progress=True)
    result = result.joined(run_lassonet(seeds, budget, seconds))
    path = result.save(RESULTS / f"comparison-{profile}.json")
    for task in result.tasks:
        print(f"\n{result.labels[task]}\n{result.table(task)!r}")
    print(f"\n{result.verdict_table()!r}\nwrote {path.name}")
    return {"path": path, "result": result}


def run_lassonet(seeds: list[int], budget: Budget, seconds: float) -> ComparisonResult | None:
    """Run LassoNet on its two tasks, if the package is installed.

    Parameters
    ----------
    seeds : list of int
        Of the problems and of the networks.
    budget : Budget
        As for the other methods; of the training settings only the hidden units concern LassoNet.
    seconds : float
        Limit for one path.

    Returns
    -------
    ComparisonResult or None
        None, and a line on the screen, without the package.
    """
    if importlib.util.find_spec("lassonet") is None:
        print("lassonet is not installed: its rows are left out (pip install lassonet)")
        return None
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="(?s).*might be too large")
        return compare(LASSONET_TASKS, [LassoNetMethod(seconds)], seeds, budget, progress=True)
