"""Which features? :class:`l2lab.select.L2GateSelector` against its rivals on problems with a known answer.

Methods rank the features on the training rows. Scored are the overlap of the best features with the true
ones, a network with L2 and a forest on the best k of them, and the number of features that validation rows
choose. The page "How the selectors are compared" is the protocol; it and this file were committed before any
of the results.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.feature_selection import mutual_info_classif, mutual_info_regression

from .. import runtime
from ..checks import one_of
from ..compare import METHODS, Budget, LassoNetMethod, NetworkMethod, Task, TopInputs, measure
from ..data import Problem
from ..measures import support_scores
from ..select import L2GateSelector
from ..survival import candidate_sizes
from .contests import PROBLEMS, parity
from .record import FOLDER, RESULTS, Record, code_hash

__all__ = ["RANKINGS", "RESULTS", "main", "rank_and_score", "rankings", "score_best"]

# profile -> seeds of the problems: a look on seeds that the methods were developed on, or the study itself
SEEDS = {"quick": range(1), "full": range(2000, 2020)}
# What the look is taken at.
QUICK = ("linear", "XOR, 200 features", "even effects", "discrete", "dense", "diabetes + random")
# profile -> what is left out, because it takes most of the time
SLOW = {"quick": ("LassoNet",), "full": ()}
# Of the table whose time and memory are measured.
WIDE_SEED = 100
# Of the networks that judge.
JUDGE = Budget(n_trials=5, lr=0.05)
# Largest number of features that validation rows choose.
MOST = 64
# Columns with so few values are categories for mutual information.
FEW_VALUES = 10
PACKAGES = ("torch", "numpy", "scikit-learn", "lassonet")
MODULES = {"scikit-learn": "sklearn"}
DEFAULT = "L2 gates, default"
# Order k of a parity -> features and training rows of its ladder: how many rows are needed among how many
# features? LassoNet takes too long for it, and methods that look at single features have no chance.
LADDER = {2: ((20, 50, 100, 200), (100, 200, 400, 800)), 3: ((10, 20, 40), (500, 1000, 2000))}
ON_LADDER = ("L2 gates", "STG", "group lasso (prox)", "random forest")
LADDER_SEEDS = {"quick": range(0), "full": range(2000, 2005)}

# rank(X, y, seed, wanted) -> scores; a method that is not told how many features are true is asked for one
Ranking = Callable[[np.ndarray, np.ndarray, int, int], np.ndarray]
NOT_TOLD = 1
# judge(features) -> test scores of a network and of a forest that see only these
Judge = Callable[[np.ndarray], tuple[float, float]]


def _selector(X: np.ndarray, y: np.ndarray, seed: int, wanted: int | None) -> L2GateSelector:
    task = "regression" if y.dtype.kind == "f" else "classification"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # constant pixels; nothing found
        return L2GateSelector(wanted, task=task, device="cpu", random_state=seed).fit(X, y)


def _gates(X: np.ndarray, y: np.ndarray, seed: int, wanted: int) -> np.ndarray:
    return _selector(X, y, seed, wanted).scores_


def _mutual_information(X: np.ndarray, y: np.ndarray, seed: int, wanted: int) -> np.ndarray:
    information = mutual_info_regression if y.dtype.kind == "f" else mutual_info_classif
    discrete = np.array([len(np.unique(column)) <= FEW_VALUES for column in X.T])
    return information(X, y, discrete_features=discrete, random_state=seed)


def _chance(X: np.ndarray, y: np.ndarray, seed: int, wanted: int) -> np.ndarray:
    return np.random.default_rng([seed, 3]).random(X.shape[1])


# name in the result files -> rank(X, y, seed, wanted) -> scores
RANKINGS: dict[str, Ranking] = {
    "L2 gates": _gates,
    "STG": METHODS["stg"].rank,
    "group lasso (prox)": METHODS["group_inputs"].rank,
    "LassoNet": LassoNetMethod().rank,
    "random forest": METHODS["forest"].rank,
    "ANOVA": METHODS["univariate"].rank,
    "mutual information": _mutual_information,
    "chance": _chance,
}


# They look for more features while more are wanted; for the others it makes no difference to be told.
ASKED = ("L2 gates", "STG", "group lasso (prox)")


def rankings() -> dict[str, Ranking]:
    """Return those of `RANKINGS` that can run: without its package, LassoNet is left out."""
    if importlib.util.find_spec("lassonet") is not None:
        return RANKINGS
    print("lassonet is not installed: its rows are left out (pip install lassonet)")
    return {name: rank for name, rank in RANKINGS.items() if name != "LassoNet"}


def score_best(problem: Problem, best: np.ndarray, seed: int) -> tuple[float, float]:
    """Test a network with L2, whose λ the validation rows choose, and a forest on some of the features.

    Parameters
    ----------
    problem, best, seed : Problem, ndarray of int, int
        Rows; the features, perhaps none; the seed of whatever is random.

    Returns
    -------
    tuple of (float, float)
        Accuracy or R² on the test rows, of the network and of the forest; at least that of a constant.
    """
    (X, y), (X_test, y_test) = problem.splits["train"], problem.splits["test"]
    constant = float(np.mean(y_test == np.bincount(y).argmax())) if problem.n_classes else 0.0
    if not len(best):
        return constant, constant
    best = np.sort(best)
    splits = {key: (X[:, best], y) for key, (X, y) in problem.splits.items()}
    names = tuple(problem.feature_names[j] for j in best)
    narrow = replace(problem, splits=splits, feature_names=names, support=None)
    task = Task(problem.name, problem.name, lambda _: narrow)
    try:
        network = measure(task, METHODS["l2_sgd"], [seed], JUDGE)[0]["metric"]
    except ValueError:  # all of its networks diverged
        network = constant
    forest = RandomForestClassifier if problem.n_classes else RandomForestRegressor
    fitted = forest(200, random_state=seed, n_jobs=1).fit(X[:, best], y)
    # One bad row of test inputs can make R² as negative as it likes, which is worth nothing: a floor.
    return max(constant, network), max(constant, float(fitted.score(X_test[:, best], y_test)))


def _judge(problem: Problem, seed: int) -> Judge:
    """:func:`score_best` for one problem, which measures equal sets of features, however ordered, once."""
    known: dict[tuple[int, ...], tuple[float, float]] = {}

    def judge(best: np.ndarray) -> tuple[float, float]:
        key = tuple(sorted(map(int, best)))
        if key not in known:
            known[key] = score_best(problem, best, seed)
        return known[key]

    return judge


def rank_and_score(
    problem: Problem, rank: Ranking | None, ks: tuple[int, ...], seed: int
) -> tuple[np.ndarray, float, list[float]]:
    """Rank the features of a problem, and test a network on the best of them.

    Parameters
    ----------
    problem : Problem
        Its rows for training are ranked on.
    rank : callable or None
        ``rank(X, y, seed, k)`` gives scores, where the best k will be used, or at most the largest of `ks`;
        None keeps the order of the columns.
    ks, seed : tuple of int, int
        Numbers of features; the seed draws whatever is random.

    Returns
    -------
    tuple of (ndarray of int, float, list of float)
        The features, best first; the CPU time of ranking them; for each k accuracy or R² on the test rows.
    """
    columns = problem.n_features
    order, seconds, failed = _order(problem, rank or (lambda *_: -np.arange(columns)), seed, max(ks))
    if failed:
        raise RuntimeError(f"the ranking of {problem.name} failed: {failed}")
    return order, seconds, [score_best(problem, order[:k], seed)[0] for k in ks]


def _order(problem: Problem, rank: Ranking, seed: int, wanted: int) -> tuple[np.ndarray, float, str | None]:
    """The features, best first, the seconds, and what went wrong: a ranking that fails is one by lot."""
    X, y = problem.splits["train"]
    started, failed = time.process_time(), None
    try:
        scores = np.asarray(rank(X, y, seed, wanted), dtype=float)
        if np.isnan(scores).any():
            failed = "scores are not numbers"
    except (ArithmeticError, AssertionError, RuntimeError, ValueError) as error:  # LassoNet asserts
        failed = f"{type(error).__name__}: {error}"[:200]
    if failed:
        scores = _chance(X, y, seed, wanted)
    return np.argsort(-scores, kind="stable"), time.process_time() - started, failed


def _own_number(problem: Problem, order: np.ndarray, seed: int) -> int:
    """The number of best features at which a network does best on the validation rows."""
    sizes = candidate_sizes(min(MOST, len(order)))
    ranks = np.argsort(order)

    class Ranked(TopInputs):
        @staticmethod
        def score(X: np.ndarray, y: np.ndarray, seed: int) -> np.ndarray:
            return -ranks

    method = NetworkMethod("own", "own", "inputs kept", Ranked, lambda *_: np.array(sizes, dtype=float))
    budget = replace(JUDGE, n_trials=len(sizes))
    task = Task(problem.name, problem.name, lambda _: replace(problem, support=None))
    try:
        return round(measure(task, method, [seed], budget)[0]["strength"])
    except ValueError:  # all networks diverged
        return 0


def _rows(problem: Problem, rank: Ranking, seed: int, asked: bool, judge: Judge) -> list[dict[str, Any]]:
    """Rank not told how many features are true, and, if a method can use it, told."""
    blind, seconds, failed = told = _order(problem, rank, seed, NOT_TOLD)
    if asked:
        told = _order(problem, rank, seed, int(problem.support.sum()))
    own = blind[: _own_number(problem, blind, seed)]
    row = _row(problem, told[0], blind, own, told[1], judge)
    return [row | {"seconds_not_told": round(seconds, 3), "failed": failed or told[2]}]


def _default_rows(problem: Problem, seed: int, judge: Judge) -> list[dict[str, Any]]:
    """The selector as it is: it ranks and chooses the number on training and validation rows together."""
    X, y = (np.concatenate([problem.splits[part][i] for part in ("train", "valid")]) for i in (0, 1))
    started, failed = time.process_time(), None
    try:
        selector = _selector(X, y, seed, None)
        scores, own = selector.scores_, selector.get_support(indices=True)
    except ValueError as error:  # it diverged: a ranking by lot, and nothing is selected
        scores, own, failed = _chance(X, y, seed, NOT_TOLD), [], str(error)[:200]
    seconds = time.process_time() - started
    order = np.argsort(-scores, kind="stable")
    return [_row(problem, order, order, own, seconds, judge) | {"seconds_not_told": None, "failed": failed}]


def _row(
    problem: Problem, order: np.ndarray, blind: np.ndarray, own: np.ndarray, seconds: float, judge: Judge
) -> dict[str, Any]:
    """What is measured; `own` are the features that were chosen, perhaps none."""
    k, columns = int(problem.support.sum()), np.arange(problem.n_features)

    def f1(chosen: np.ndarray) -> float:
        return support_scores(np.isin(columns, chosen), problem.support).f1 if len(chosen) else 0.0

    row = {"k": k, "n_own": len(own), "f1_at_truth": f1(order[:k]), "f1_not_told": f1(blind[:k])}
    row |= {"f1_own": f1(own), "seconds": round(seconds, 3)}
    row["score_at_k"], row["forest_at_k"] = judge(blind[:k])
    row["score_own"], row["forest_own"] = judge(own)
    return row


def _ladder_rows(k: int, p: int, n: int, rank: Ranking, seed: int) -> list[dict[str, Any]]:
    problem = parity(seed, n, p, k)
    order, seconds, failed = _order(problem, rank, seed, k)
    found = np.isin(np.arange(p), order[:k])
    f1 = support_scores(found, problem.support).f1
    return [{"f1_at_truth": f1, "seconds": round(seconds, 3), "failed": failed}]


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
    rng = np.random.default_rng(WIDE_SEED)
    X = rng.standard_normal((n, p))
    y = X[:, :10] @ rng.choice([-1.0, 1.0], 10) + rng.standard_normal(n)
    selector = L2GateSelector(10, device="cpu", random_state=WIDE_SEED)
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
        Six problems with a seed that the methods were developed on, without LassoNet;
        or the study itself, 20 seeds that were never used before (many hours on one core, in as many
        pieces as you like).
    folder : str or Path
        Where to.

    Returns
    -------
    dict
        What was written.

    Raises
    ------
    ValueError
        If there is no such profile, or the whole study lacks LassoNet.
    """
    seeds = list(SEEDS[one_of("profile", profile, SEEDS)])
    if profile == "full" and "LassoNet" not in rankings():
        raise ValueError("the study needs LassoNet: pip install lassonet")
    runtime.setup()
    competitors = {name: rank for name, rank in rankings().items() if name not in SLOW[profile]}
    record = Record(Path(folder) / f"selection-{profile}.json", code_hash("contests", "selection"))
    # A run that goes on with other versions measures anew.
    versions = {name: version(name) for name in PACKAGES if importlib.util.find_spec(MODULES.get(name, name))}
    rows, ladder, wide = [], [], []
    for seed in seeds:
        for problem in PROBLEMS if profile == "full" else QUICK:
            drawn = PROBLEMS[problem](seed)
            judge = _judge(drawn, seed)
            runs = {
                name: partial(_rows, drawn, rank, seed, name in ASKED, judge)
                for name, rank in competitors.items()
            }
            for method, run in (runs | {DEFAULT: partial(_default_rows, drawn, seed, judge)}).items():
                settings = {"problem": problem, "seed": seed, "method": method}
                found = record.rows({**settings, "versions": versions}, drawn.content_hash, run)
                rows += [{**settings, **row} for row in found]
    for k, (ps, ns) in LADDER.items():
        for seed, p, n, method in product(LADDER_SEEDS[profile], ps, ns, ON_LADDER):
            settings = {"k": k, "p": p, "n": n, "seed": seed, "method": method}
            run = partial(_ladder_rows, k, p, n, competitors[method], seed)
            found = record.rows({**settings, "versions": versions}, "drawn by the code", run)
            ladder += [{**settings, **row} for row in found]
    for threads in (1, 2):
        wide += record.rows({"threads": threads}, "drawn by the code", partial(_run_wide, threads))
    content = {
        "what": "feature selection: L2 gates against rivals",
        "profile": profile,
        "clock": "process CPU time on one thread; other programs may have been running",
        "seeds": seeds,
        "wide": wide,
        "ladder": ladder,
        "rows": rows,
    }
    return record.finish(content)
