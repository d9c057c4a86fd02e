"""The comparison itself: who gets what, and who may look at what."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterable
from dataclasses import asdict
from datetime import date
from typing import Any

import numpy as np
import scipy
import sklearn
import torch
from sklearn.metrics import roc_auc_score

from .. import runtime
from ..data import Problem
from ..measures import exact_zeros, support_scores
from .methods import METHODS, Method
from .recipe import Fit
from .result import QUESTIONS, ComparisonResult
from .tasks import TASKS, Budget, LearningData, Task, losses, score

# An input counts as selected if the norm of its weights is above this share of the largest norm.
SELECTED = 0.01
# A unit counts as dead if it moves the output by less than this share of what the most effective unit does.
DEAD = 1e-3
# Without a known truth, the network is also tested on this share of its inputs.
KEPT = 0.2


class TestRows:
    """The test rows, kept until the strength is chosen and given out once per method.

    Parameters
    ----------
    problem : Problem
        Whose test rows.
    """

    __test__ = False  # not a test, whatever pytest may think of the name

    def __init__(self, problem: Problem) -> None:
        self._rows = problem.splits["test"]
        self._given: set[str] = set()

    def open(self, method: str) -> tuple[np.ndarray, np.ndarray]:
        """Hand out the test rows.

        Parameters
        ----------
        method : str
            For whom.

        Returns
        -------
        X, y : ndarray
            The rows.

        Raises
        ------
        RuntimeError
            If they were given to this method before.
        """
        if method in self._given:
            raise RuntimeError(f"the test rows were already given to {method!r}; they may be used once only")
        self._given.add(method)
        return self._rows


def compare(
    tasks: Iterable[str | Task],
    methods: Iterable[str | Method],
    seeds: int | Iterable[int] = 5,
    budget: Budget | None = None,
    *,
    progress: bool = False,
) -> ComparisonResult:
    """Compare methods on tasks under equal conditions.

    For every seed a problem is drawn. Each method gets the same training and validation rows (asserted by
    their hash, before and after), the same network, initial weights and minibatches, and trains the same
    number of models. The strength with the smallest validation loss is taken. Only then the test rows are
    opened, once per method and seed.

    Parameters
    ----------
    tasks : iterable of str or Task
        Keys of :data:`~l2lab.compare.TASKS`, or own ones.
    methods : iterable of str or Method
        Keys of :data:`~l2lab.compare.METHODS`, or own ones. One that does not apply to a task is left out
        there.
    seeds : int or iterable of int, default 5
        Seeds, or how many; at least 5 for anything that is printed.
    budget : Budget, optional
        What every method may spend.
    progress : bool, default False
        Print a line per task and method.

    Returns
    -------
    ComparisonResult
        One record per task, method and seed.

    Raises
    ------
    ValueError
        If a name is unknown or given twice, or a method breaks the rules: it trains another number of models
        than the budget says, or all of its models diverge.
    """
    budget = budget or Budget()
    tasks = _named(tasks, TASKS, "task")
    methods = _named(methods, METHODS, "method")
    seeds = list(range(seeds)) if isinstance(seeds, int) else list(seeds)
    if not seeds or len(set(seeds)) != len(seeds):
        raise ValueError(f"seeds must be at least one number, each given once, got {seeds}")
    records: list[dict[str, Any]] = []
    hashes: dict[str, dict[str, str]] = {}
    n_features = {}
    for task in tasks:
        problems = [task.problem(seed) for seed in seeds]
        before = [problem.content_hash for problem in problems]
        hashes[task.key] = {str(seed): value for seed, value in zip(seeds, before, strict=True)}
        n_features[task.key] = problems[0].n_features
        vaults = [TestRows(problem) for problem in problems]
        task_budget = task.budget(budget)
        for method in methods:
            # Fresh copies each time: whatever a method does to them, the next one starts from the problems.
            data = [
                LearningData(problem, task.augment(problem) if task.augment else None) for problem in problems
            ]
            if not method.applies(data[0], task_budget):
                continue
            start = time.process_time()
            fits = method.fit_all(data, task_budget, seeds)
            seconds = (time.process_time() - start) / len(seeds)
            found = []
            for seed, fit, one, problem, vault in zip(seeds, fits, data, problems, vaults, strict=True):
                found.append(_record(task, method, fit, one, task_budget, problem, vault))
                found[-1] |= {"seed": seed, "seconds": _rounded(seconds)}
            if [problem.content_hash for problem in problems] != before:
                raise ValueError(f"the method {method.key!r} has changed the data of {task.key!r}")
            records += found
            if progress:
                metric = np.mean([record["metric"] for record in found])
                edges = sum(record["at_edge"] for record in found)
                print(
                    f"{task.key:14s} {method.key:13s} metric {metric:.3f}, "
                    f"strengths {' '.join(format(record['strength'], '.3g') for record in found)}, "
                    f"{edges} at the edge, {seconds:.1f} s per seed",
                    flush=True,
                )
    labels = {item.key: item.label for item in (*tasks, *methods)}
    return ComparisonResult(records, labels, n_features, hashes, _info(tasks, methods, seeds, budget))


def _named(items: Iterable[Any], known: dict[str, Any], what: str) -> list[Any]:
    items = [items] if isinstance(items, str) else list(items)
    found = []
    for item in items:
        if isinstance(item, str):
            if item not in known:
                raise ValueError(f"{what} {item!r} is not known; use one of {list(known)}")
            item = known[item]
        found.append(item)
    keys = [item.key for item in found]
    if not keys or len(set(keys)) != len(keys):
        raise ValueError(f"give at least one {what}, each with a name of its own, got {keys}")
    return found


def _record(
    task: Task,
    method: Method,
    fit: Fit,
    data: LearningData,
    budget: Budget,
    problem: Problem,
    vault: TestRows,
) -> dict[str, Any]:
    if len(fit.strengths) != budget.n_trials or len(fit.first_layer) != budget.n_trials:
        raise ValueError(
            f"the method {method.key!r} trained {len(fit.strengths)} models; "
            f"everyone trains {budget.n_trials}"
        )
    # The harness computes the validation loss itself: a method cannot report a better one.
    trials = list(range(budget.n_trials))
    with np.errstate(over="ignore", invalid="ignore"):
        valid = losses(fit.outputs(data.X_valid, trials), data.y_valid, data.task)
    if not np.isfinite(valid).any():
        raise ValueError(f"all models of {method.key!r} on {task.key!r} diverged; lower the learning rate")
    trial = int(np.argmin(np.where(np.isfinite(valid), valid, np.inf)))
    record = {
        "task": task.key,
        "method": method.key,
        "strength": float(fit.strengths[trial]),
        "trial": trial,
        "at_edge": method.has_strength and trial in (0, budget.n_trials - 1),
        "valid_loss": float(valid[trial]),
        **_measure(fit, trial, data, problem, vault, method.key),
        **fit.notes,
    }
    return {key: _rounded(value) for key, value in record.items()}


def _measure(
    fit: Fit, trial: int, data: LearningData, problem: Problem, vault: TestRows, method: str
) -> dict[str, Any]:
    weight = fit.first_layer[trial]
    norms = np.linalg.norm(weight.astype(np.float64), axis=0)
    largest = norms.max()
    truth = problem.support if problem.support is not None and not problem.support.all() else None
    selected = norms > SELECTED * largest
    found: dict[str, Any] = {
        "zeros": exact_zeros(weight) / weight.size,
        "n_selected": int(selected.sum()),
        "n_selected_strict": int((norms > 0.1 * largest).sum()),
        "n_selected_loose": int((norms > 0.001 * largest).sum()),
        "selected": np.flatnonzero(selected).tolist(),
        **dict.fromkeys(("noise_ratio", "precision", "recall", "f1", "auc", "dead")),
    }
    if truth is not None:
        signal = norms[truth].mean()
        # where all weights are 0, nothing was told apart
        found["noise_ratio"] = float(norms[~truth].mean() / signal) if signal else 1.0
        scores = support_scores(selected, truth)
        found |= {"precision": scores.precision, "recall": scores.recall, "f1": scores.f1}
        found["auc"] = float(roc_auc_score(truth, norms))
    if fit.unit_effects is not None:
        effects = fit.unit_effects(data.X_train, trial)
        found["dead"] = float(np.mean(effects <= DEAD * effects.max()))
    keep = int(truth.sum()) if truth is not None else max(1, round(KEPT * len(norms)))
    largest_inputs = np.zeros(len(norms), bool)
    largest_inputs[np.argsort(-norms, kind="stable")[:keep]] = True
    X, y = vault.open(method)
    outputs = fit.outputs(np.concatenate([X, X * largest_inputs]), [trial])[0]
    found["metric"] = score(outputs[: len(y)], y, data.task)
    found["metric_small_removed"] = score(outputs[len(y) :], y, data.task)
    return found


def _rounded(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _info(tasks: list[Task], methods: list[Method], seeds: list[int], budget: Budget) -> dict[str, Any]:
    return {
        "what": "methods of regularization and selection compared under equal conditions",
        "date": date.today().isoformat(),
        "device": "cpu",
        "machine": runtime.processor_name(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "scikit-learn": sklearn.__version__,
        "seeds": seeds,
        "budget": {**asdict(budget), "dtype": str(budget.dtype)},
        "task_settings": {task.key: task.settings for task in tasks},
        "methods": {method.key: method.about for method in methods},
        "thresholds": {"selected": SELECTED, "dead": DEAD, "kept_if_truth_is_unknown": KEPT},
        "questions": [question._asdict() for question in QUESTIONS],
    }
