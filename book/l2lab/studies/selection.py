"""Which features? :class:`l2lab.select.L2GateSelector` against its rivals on problems with a known answer.

Methods rank the features on the training rows. Scored are the overlap of the best features with the true
ones, a network with L2 and a forest on the best k of them, and the number of features that validation rows
choose. The page "How the selectors are compared" is the protocol, and says what was committed when.
"""

from __future__ import annotations

import importlib.util
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import cache, partial
from importlib.metadata import version
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

from .. import runtime
from ..checks import one_of
from ..compare import Budget, NetworkMethod, Task
from ..compare.judge import measure
from ..compare.methods import L2, GroupLassoInputs, StochasticGates, TopForestInputs, TopInputs
from ..data import Problem
from ..measures import support_scores
from ..select import L2GateSelector
from ..survival import candidate_sizes
from .contests import PROBLEMS, parity
from .record import FOLDER, RESULTS, Record, code_hash
from .rivals import by_chance, by_lassonet, by_mutual_information, by_survival

__all__ = ["RANKINGS", "RESULTS", "main"]

# profile -> seeds of the problems: a look on seeds that the methods were developed on, or the study itself
SEEDS = {"quick": range(1), "full": range(3000, 3020)}
# What the look is taken at.
QUICK = ("linear", "XOR, 200 features", "even effects", "discrete", "dense", "diabetes + random")
# profile -> what is left out, because it takes most of the time
SLOW = {"quick": ("LassoNet",), "full": ()}
JUDGE = Budget(n_trials=5, lr=0.05)  # of the networks that judge
JUDGING = NetworkMethod("judge", "L2", "λ on all weights", L2, lambda *_: np.geomspace(1e-4, 1, 5))
# Largest number of features that validation rows choose.
MOST = 64
PACKAGES = {"torch": "torch", "numpy": "numpy", "scikit-learn": "sklearn", "lassonet": "lassonet"}
DEFAULT = "L2 gates, default"
# Order k of a parity -> features and training rows of its ladder: how many rows are needed among how many
# features? LassoNet takes too long for it, and methods that look at single features have no chance.
LADDER = {2: ((20, 50, 100, 200), (100, 200, 400, 800)), 3: ((10, 20, 40), (500, 1000, 2000))}
ON_LADDER = ("L2 gates", "STG", "group lasso (prox)", "random forest")
# Rows and features of a table on which time and memory are measured, and of which methods.
TABLE = (500, 10_000)
LARGE = {"quick": (), "full": (*ON_LADDER, "ANOVA", "mutual information")}
LADDER_SEEDS = {"quick": range(0), "full": range(3000, 3005)}

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


# name in the result files -> rank(X, y, seed, wanted) -> scores
RANKINGS: dict[str, Ranking] = {
    "L2 gates": _gates,
    "STG": partial(by_survival, StochasticGates),
    "group lasso (prox)": partial(by_survival, GroupLassoInputs),
    "LassoNet": by_lassonet,
    "random forest": lambda X, y, seed, wanted: TopForestInputs.score(X, y, seed),
    "ANOVA": lambda X, y, seed, wanted: TopInputs.score(X, y, seed),
    "mutual information": by_mutual_information,
    "chance": by_chance,
}


def _score_best(problem: Problem, best: np.ndarray, seed: int) -> tuple[float, float]:
    """Test a network with L2 and a forest on features in order, perhaps none: accuracy or R².

    The validation rows choose λ. No score is below that of a constant.
    """
    (X, y), (X_test, y_test) = problem.splits["train"], problem.splits["test"]
    constant = float(np.mean(y_test == np.bincount(y).argmax())) if problem.n_classes else 0.0
    if not len(best):
        return constant, constant
    splits = {key: (X[:, best], y) for key, (X, y) in problem.splits.items()}
    names = tuple(problem.feature_names[j] for j in best)
    narrow = replace(problem, splits=splits, feature_names=names, support=None)
    task = Task(problem.name, problem.name, lambda _: narrow)
    try:
        network = measure(task, JUDGING, [seed], JUDGE)[0]["metric"]
    except ValueError:  # all of its networks diverged
        network = constant
    forest = RandomForestClassifier if problem.n_classes else RandomForestRegressor
    fitted = forest(100, random_state=seed, n_jobs=1).fit(X[:, best], y)
    # One bad row of test inputs can make R² as negative as it likes, which is worth nothing: a floor.
    return max(constant, network), max(constant, float(fitted.score(X_test[:, best], y_test)))


def _judge(problem: Problem, seed: int) -> Judge:
    """:func:`_score_best` for one problem, which measures equal sets of features, however ordered, once."""
    known = cache(lambda best: _score_best(problem, np.array(best, dtype=int), seed))
    return lambda best: known(tuple(sorted(map(int, best))))


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
        scores = by_chance(X, y, seed, wanted)
    return np.argsort(-scores, kind="stable"), time.process_time() - started, failed


def _own_number(problem: Problem, order: np.ndarray, seed: int) -> int:
    """The number of best features at which a network does best on the validation rows."""
    sizes = candidate_sizes(min(MOST, len(order)))

    class Ranked(TopInputs):
        @staticmethod
        def score(X: np.ndarray, y: np.ndarray, seed: int) -> np.ndarray:
            return -np.argsort(order)

    method = NetworkMethod("own", "own", "inputs kept", Ranked, lambda *_: np.array(sizes, dtype=float))
    budget = replace(JUDGE, n_trials=len(sizes))
    task = Task(problem.name, problem.name, lambda _: replace(problem, support=None))
    try:
        return round(measure(task, method, [seed], budget)[0]["strength"])
    except ValueError:  # all networks diverged
        return 0


def _rows(problem: Problem, rank: Ranking, seed: int, judge: Judge) -> list[dict[str, Any]]:
    order, seconds, failed = _order(problem, rank, seed, NOT_TOLD)
    own = order[: _own_number(problem, order, seed)]
    return [_row(problem, order, own, seconds, judge) | {"failed": failed}]


def _default_rows(problem: Problem, seed: int, judge: Judge) -> list[dict[str, Any]]:
    """The selector as it is: it ranks and chooses the number on training and validation rows together."""
    X, y = (np.concatenate([problem.splits[part][i] for part in ("train", "valid")]) for i in (0, 1))
    started, failed = time.process_time(), None
    try:
        selector = _selector(X, y, seed, None)
        scores, own = selector.scores_, selector.get_support(indices=True)
    except ValueError as error:  # it diverged: a ranking by lot, and nothing is selected
        scores, own, failed = by_chance(X, y, seed, NOT_TOLD), [], str(error)[:200]
    seconds = time.process_time() - started
    order = np.argsort(-scores, kind="stable")
    return [_row(problem, order, own, seconds, judge) | {"failed": failed}]


def _row(
    problem: Problem, order: np.ndarray, own: np.ndarray, seconds: float, judge: Judge
) -> dict[str, Any]:
    """What is measured; `own` are the features that were chosen, perhaps none."""
    k, columns = int(problem.support.sum()), np.arange(problem.n_features)

    def f1(chosen: np.ndarray) -> float:
        return support_scores(np.isin(columns, chosen), problem.support).f1 if len(chosen) else 0.0

    row = {"k": k, "n_own": len(own), "seconds": round(seconds, 3)}
    row |= {"f1_at_truth": f1(order[:k]), "f1_own": f1(own)}
    row["score_at_k"], row["forest_at_k"] = judge(order[:k])
    row["score_own"], row["forest_own"] = judge(own)
    return row


def _ladder_rows(k: int, p: int, n: int, rank: Ranking, seed: int) -> list[dict[str, Any]]:
    problem = parity(seed, n, p, k)
    order, seconds, failed = _order(problem, rank, seed, k)
    f1 = support_scores(np.isin(np.arange(p), order[:k]), problem.support).f1
    return [{"f1_at_truth": f1, "seconds": round(seconds, 3), "failed": failed}]


def _alone(method: str) -> list[dict[str, Any]]:
    """Run :func:`_large` in a process of its own, where no memory that others gave back hides its needs."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return [pool.submit(_large, method, *TABLE).result()]


def _large(method: str, n: int, p: int) -> dict[str, Any]:
    """Seconds and memory (MB, over that of imports and data) of a ranking of p features, ten of them true."""
    runtime.setup()
    rng = np.random.default_rng(3000)
    X = rng.standard_normal((n, p))
    y = X[:, :10] @ rng.choice([-1.0, 1.0], 10) + rng.standard_normal(n)
    before, started = _peak(), time.process_time()
    best = np.argsort(-RANKINGS[method](X, y / y.std(), 3000, 10), kind="stable")[:10]
    seconds, found = round(time.process_time() - started, 1), int((best < 10).sum())
    more = round(_peak() - before) if before else None
    return {"method": method, "found": found, "seconds": seconds, "memory_mb": more}


def _peak() -> float:
    """Largest memory of this process so far, in MB (`resource` counts its parents); 0 outside Linux."""
    status = Path("/proc/self/status")
    return int(status.read_text().split("VmHWM:")[1].split()[0]) / 1024 if status.exists() else 0.0


def main(profile: str = "quick", folder: str | Path = FOLDER) -> dict[str, Any]:
    """Run the study and write ``selection-<profile>.json``.

    ``"quick"`` are six problems with a seed that the methods were developed on, without LassoNet; ``"full"``
    is the study itself, with other seeds: about seven hours on one core, in as many pieces as you like.
    """
    seeds = list(SEEDS[one_of("profile", profile, SEEDS)])
    if profile == "full" and importlib.util.find_spec("lassonet") is None:
        raise ValueError("the study needs LassoNet: pip install lassonet")
    runtime.setup()
    competitors = {name: rank for name, rank in RANKINGS.items() if name not in SLOW[profile]}
    record = Record(Path(folder) / f"selection-{profile}.json", code_hash("contests", "rivals", "selection"))
    # A run that goes on with other versions measures anew.
    versions = {name: version(name) for name, module in PACKAGES.items() if importlib.util.find_spec(module)}
    names, rows, ladder, large = PROBLEMS if profile == "full" else QUICK, [], [], []
    for seed, problem in product(seeds, names):
        drawn = PROBLEMS[problem](seed)
        judge = _judge(drawn, seed)
        runs = {name: partial(_rows, drawn, rank, seed, judge) for name, rank in competitors.items()}
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
    for method in LARGE[profile]:
        settings, run = {"method": method, "large": TABLE}, partial(_alone, method)
        large += record.rows({**settings, "versions": versions}, "drawn by the code", run)
    content = {
        "what": "feature selection: L2 gates against rivals",
        "profile": profile,
        "clock": "process CPU time on one thread; other programs may have been running",
        "seeds": seeds,
        "large": large,
        "ladder": ladder,
        "rows": rows,
    }
    return record.finish(content)
