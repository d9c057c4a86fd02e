"""Which features? :class:`l2lab.select.L2GateSelector` against its rivals on problems with a known answer.

Everybody ranks the features on the same rows, those for training and for validation. Scored are the overlap
of the best features with the true ones, and a network with L2 on the best k, by the rules of
:mod:`l2lab.compare`. Equal scores are ordered by column, and the true columns come first; only LassoNet,
which drops several columns at once, was seen to gain from it.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .. import runtime
from ..checks import one_of
from ..compare import METHODS, Budget, LassoNetMethod, Task, measure
from ..data import Problem
from ..measures import support_scores
from ..select import L2GateSelector
from .contests import PROBLEMS
from .record import FOLDER, RESULTS, Record, code_hash

__all__ = ["RANKINGS", "RESULTS", "main", "rank_and_score", "rankings"]

# The settings of the selector were chosen while looking at seeds below this one.
FIRST_SEED = 100
# profile -> number of seeds of each problem
PROFILES = {"quick": 5, "full": 10}
# Pixels at the edge of digits are hardly ever on, so even a perfect selector does not want all of them.
KEPT = {"digits": 20}
# Of the network that judges.
JUDGE = Budget(lr=0.03)

Ranking = Callable[[np.ndarray, np.ndarray, int], np.ndarray]


def _gates(X: np.ndarray, y: np.ndarray, seed: int) -> np.ndarray:
    task = "regression" if y.dtype.kind == "f" else "classification"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # constant pixels
        return L2GateSelector(1, task=task, device="cpu", random_state=seed).fit(X, y).scores_


# name in the result files -> rank(X, y, seed) -> scores
RANKINGS: dict[str, Ranking] = {
    "L2 gates": _gates,
    "STG": METHODS["stg"].rank,
    "group lasso (prox)": METHODS["group_inputs"].rank,
    "LassoNet": LassoNetMethod().rank,
    "random forest": METHODS["forest"].rank,
    "ANOVA": METHODS["univariate"].rank,
}


def rankings() -> dict[str, Ranking]:
    """Return those of `RANKINGS` that can run: without its package, LassoNet is left out."""
    if importlib.util.find_spec("lassonet") is not None:
        return RANKINGS
    print("lassonet is not installed: its rows are left out (pip install lassonet)")
    return {name: rank for name, rank in RANKINGS.items() if name != "LassoNet"}


def rank_and_score(
    problem: Problem, rank: Ranking | None, ks: tuple[int, ...], seed: int
) -> tuple[np.ndarray, float, list[float]]:
    """Rank the features of a problem, and test a network on the best of them.

    Parameters
    ----------
    problem : Problem
        Its rows for training and validation are ranked on.
    rank : callable or None
        ``rank(X, y, seed)`` gives scores; None keeps the order of the columns.
    ks, seed : tuple of int, int
        Numbers of features; the seed draws whatever is random.

    Returns
    -------
    tuple of (ndarray of int, float, list of float)
        The features, best first; the CPU time of ranking them; for each k accuracy or R² on the test rows.
    """
    X = np.concatenate([problem.X_train, problem.X_valid])
    y = np.concatenate([problem.y_train, problem.y_valid])
    started = time.process_time()
    order = np.arange(X.shape[1]) if rank is None else np.argsort(-rank(X, y, seed), kind="stable")
    seconds = time.process_time() - started
    scores = []
    for k in ks:
        best = np.sort(order[:k])
        splits = {key: (X[:, best], y) for key, (X, y) in problem.splits.items()}
        names = tuple(problem.feature_names[j] for j in best)
        narrow = replace(problem, splits=splits, feature_names=names, support=None)
        task = Task(problem.name, problem.name, lambda _, narrow=narrow: narrow)
        scores.append(measure(task, METHODS["l2_sgd"], [seed], JUDGE)[0]["metric"])
    return order, seconds, scores


def _rows(problem: Problem, rank: Ranking, seed: int) -> list[dict[str, Any]]:
    true = int(problem.support.sum())
    k = KEPT.get(problem.name, true)
    order, seconds, (at_k,) = rank_and_score(problem, rank, (k,), seed)
    found = np.isin(np.arange(len(order)), order[:true])
    f1 = support_scores(found, problem.support).f1
    row = {"path_seconds": round(seconds, 3), "f1_at_truth": round(f1, 4), "score_at_k": round(at_k, 4)}
    return [{"k": k, **row}]


def _peak_mb() -> float | None:
    """Largest memory of this process so far; None on Windows, which does not tell."""
    try:
        import resource
    except ImportError:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2 ** (20 if sys.platform == "darwin" else 10)


def _wide(n: int, p: int, threads: int) -> dict[str, Any]:
    """Time and memory (MB, over that with imports and data) of a path for many features, 10 of which matter.

    On a busy machine several threads need ``OMP_WAIT_POLICY=PASSIVE``.
    """
    torch.set_num_threads(threads)
    rng = np.random.default_rng(FIRST_SEED)
    X = rng.standard_normal((n, p))
    y = X[:, :10] @ rng.choice([-1.0, 1.0], 10) + rng.standard_normal(n)
    selector = L2GateSelector(10, device="cpu", random_state=FIRST_SEED)
    before, started, cpu = _peak_mb(), time.perf_counter(), time.process_time()
    selector.fit(X, y)
    return {
        "n": n,
        "p": p,
        "threads": threads,
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "wait_policy": os.environ.get("OMP_WAIT_POLICY", "default"),
        "wall_seconds": round(time.perf_counter() - started, 1),
        "cpu_seconds": round(time.process_time() - cpu, 1),
        "memory_mb": None if before is None else round(_peak_mb() - before, 1),
        "found": int(selector.support_[:10].sum()),
    }


def _run_wide(threads: int) -> list[dict[str, Any]]:
    """Run :func:`_wide` in a process of its own, where no memory that others gave back hides its needs."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return [pool.submit(_wide, 500, 10_000, threads).result()]


def main(profile: str = "quick", folder: str | Path = FOLDER) -> dict[str, Any]:
    """Run the study and write ``selection-<profile>.json``.

    Parameters
    ----------
    profile : {"quick", "full"}
        14 problems with 5 seeds, or with 10.
    folder : str or Path
        Where to.

    Returns
    -------
    dict
        What was written.

    Raises
    ------
    ValueError
        If there is no such profile.
    """
    seeds = list(range(FIRST_SEED, FIRST_SEED + PROFILES[one_of("profile", profile, PROFILES)]))
    runtime.setup()
    competitors = rankings()
    record = Record(Path(folder) / f"selection-{profile}.json", code_hash("contests", "selection"))
    # How the selector was settled was measured once, and no run of this study does it anew.
    kept = json.loads(record.path.read_text("utf-8")).get("tried") if record.path.exists() else None
    rows, wide = [], []
    for seed in seeds:
        for problem, draw in PROBLEMS.items():
            drawn = draw(seed)
            for method, rank in competitors.items():
                settings = {"problem": problem, "seed": seed, "method": method}
                found = record.rows(settings, drawn.content_hash, partial(_rows, drawn, rank, seed))
                rows += [{**settings, **row} for row in found]
    for threads in (1, 2):
        wide += record.rows({"threads": threads}, "drawn by the code", partial(_run_wide, threads))
    content = {
        "what": "feature selection: L2 gates against rivals",
        "profile": profile,
        "clock": "process CPU time on one thread; other programs may have been running",
        "seeds": seeds,
        "wide": wide,
        **({"tried": kept} if kept else {}),
        "rows": rows,
    }
    return record.finish(content)
