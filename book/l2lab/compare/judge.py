"""The comparison itself: who gets what, and who may look at what."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterable
from datetime import date
from typing import Any

import numpy as np
import sklearn
import torch
from sklearn.metrics import roc_auc_score

from .. import runtime
from ..data import Problem
from ..measures import exact_zeros, support_scores
from .methods import METHODS, Method
from .recipe import Fit, row_losses
from .result import QUESTIONS, ComparisonResult
from .tasks import TASKS, Budget, LearningData, Task

# An input counts as selected if the norm of its weights is above this share of the largest norm.
SELECTED = 0.01
# An irrelevant input counts as suppressed if its norm is below this share of the mean norm of relevant ones.
SUPPRESSED = 0.1
# A unit counts as dead if it moves the output by less than this share of what the most effective unit does.
DEAD = 1e-3
# Without a known truth, the network is also tested on this share of its inputs.
KEPT = 0.2

Run = Callable[[Task, Method, list[int], Budget], list[dict[str, Any]]]


class TestRows:
    """The test rows, kept until the strength is chosen and given out once per `method`.

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
        """Hand out X and y; a method that has had them gets a RuntimeError."""
        if method in self._given:
            raise RuntimeError(f"the test rows were already given to {method!r}; they may be used once only")
        self._given.add(method)
        return self._rows


def compare(
    tasks: Iterable[str | Task], methods: Iterable[str | Method], seeds: int | Iterable[int] = 5,
    budget: Budget | None = None, run: Run | None = None,
) -> ComparisonResult:  # fmt: skip
    """Compare methods on tasks under equal conditions.

    For every seed a problem is drawn. Each method gets the same training and validation rows (asserted by
    their hash, before and after), the same network, initial weights and minibatches, and trains the same
    number of models. The strength with the smallest validation loss is taken. Only then the test rows are
    opened, once per method and seed.

    Parameters
    ----------
    tasks, methods : iterable of str, Task or Method
        Keys of `TASKS` and `METHODS`, or own ones. A method that does not apply to a task is left out there.
    seeds : int or iterable of int, default 5
        Seeds, or how many; at least 5 for anything that is printed.
    budget : Budget, optional
        What every method may spend.
    run : callable, optional
        ``run(task, method, seeds, budget)`` instead of `measure`: a study looks up what it has measured.

    Returns
    -------
    ComparisonResult
        One record per task, method and seed. A method that trains another number of models than the budget
        says, or whose models all diverge, gets a ValueError.
    """
    budget, run = budget or Budget(), run or measure
    tasks, methods = _named(tasks, TASKS, "task"), _named(methods, METHODS, "method")
    seeds = list(range(seeds)) if isinstance(seeds, int) else list(seeds)
    if not seeds or len(set(seeds)) != len(seeds):
        raise ValueError(f"seeds must be at least one number, each given once, got {seeds}")
    info = {
        "what": "methods of regularization and selection compared under equal conditions",
        **provenance(),
        "device": "cpu",
        "threads": torch.get_num_threads(),
        "seeds": seeds,
        "budget": budget.as_dict(),
        "task_settings": {task.key: task.settings for task in tasks},
        "methods": {method.key: method.about for method in methods},
        "thresholds": {"selected": SELECTED, "suppressed": SUPPRESSED, "dead": DEAD, "kept_if_unknown": KEPT},
        "questions": [question._asdict() for question in QUESTIONS],
    }
    problems = {task.key: {str(seed): task.problem(seed) for seed in seeds} for task in tasks}
    return ComparisonResult(
        [record for task in tasks for method in methods for record in run(task, method, seeds, budget)],
        {item.key: item.label for item in (*tasks, *methods)},
        {key: drawn[str(seeds[0])].n_features for key, drawn in problems.items()},
        {key: {seed: one.content_hash for seed, one in drawn.items()} for key, drawn in problems.items()},
        info,
    )


def measure(task: Task, method: Method, seeds: list[int], budget: Budget) -> list[dict[str, Any]]:
    """Run one method on one task: a record per seed, or none if the method does not apply to the task."""
    budget = task.budget(budget)
    have = {"units": budget.hidden > 0, "augment": task.augment is not None}
    if not all(have[need] for need in method.needs):
        return []
    problems = [task.problem(seed) for seed in seeds]
    before = [problem.content_hash for problem in problems]
    data = [LearningData(problem, task.augment(problem) if task.augment else None) for problem in problems]
    start = time.process_time()
    fits = method.fit_all(data, budget, seeds)
    seconds = (time.process_time() - start) / len(seeds)
    records = []
    for seed, fit, one, problem in zip(seeds, fits, data, problems, strict=True):
        record = {"task": task.key, "method": method.key, **_choose(task, method, fit, one, budget)}
        record |= _measures(fit, record["trial"], one, problem, method.key)
        record |= {"seed": seed, "seconds": seconds}
        records.append({k: float(f"{v:.6g}") if isinstance(v, float) else v for k, v in record.items()})
    if [problem.content_hash for problem in problems] != before:
        raise ValueError(f"the method {method.key!r} has changed the data of {task.key!r}")
    return records


def _named(items: Iterable[Any], known: dict[str, Any], what: str) -> list[Any]:
    """Look up what is given by its key."""
    items = [items] if isinstance(items, str) else list(items)
    if unknown := [item for item in items if isinstance(item, str) and item not in known]:
        raise ValueError(f"{what} {unknown[0]!r} is not known; use one of {list(known)}")
    found = [known[item] if isinstance(item, str) else item for item in items]
    keys = [item.key for item in found]
    if not keys or len(set(keys)) != len(keys):
        raise ValueError(f"give at least one {what}, each with a name of its own, got {keys}")
    return found


def _choose(task: Task, method: Method, fit: Fit, data: LearningData, budget: Budget) -> dict[str, Any]:
    """Choose the strength. The harness computes the loss itself: a method cannot report a better one."""
    n = budget.n_trials
    if len(fit.strengths) != n or len(fit.first_layer) != n:
        trained = len(fit.strengths)
        raise ValueError(f"the method {method.key!r} trained {trained} models; everyone trains {n}")
    with np.errstate(over="ignore", invalid="ignore"):
        valid = row_losses(fit.outputs(data.X_valid, list(range(n))), data.y_valid, data.task).mean(axis=1)
    if not np.isfinite(valid).any():
        raise ValueError(f"all models of {method.key!r} on {task.key!r} diverged; lower the learning rate")
    trial = int(np.argmin(np.where(np.isfinite(valid), valid, np.inf)))
    return {
        "strength": float(fit.strengths[trial]),
        "trial": trial,
        "at_edge": method.has_strength and trial in (0, n - 1),
        "valid_loss": float(valid[trial]),
    }


def _score(outputs: np.ndarray, y: np.ndarray, task: str) -> float:
    """Accuracy or R² of one model, from outputs (n, o)."""
    if task == "classification":
        return float(np.mean(outputs.argmax(axis=1) == y))
    outputs = outputs[:, 0].astype(np.float64)
    return float(1 - np.mean((outputs - y) ** 2) / np.var(y))


def _measures(fit: Fit, trial: int, data: LearningData, problem: Problem, method: str) -> dict[str, Any]:
    """Measure the chosen model, and open the test rows for it."""
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
        **dict.fromkeys(("noise_ratio", "suppressed", "precision", "recall", "f1", "auc", "dead")),
    }
    if truth is not None:
        signal = norms[truth].mean()
        # where all weights are 0, nothing was told apart
        found["noise_ratio"] = float(norms[~truth].mean() / signal) if signal else 1.0
        found["suppressed"] = float(np.mean(norms[~truth] < SUPPRESSED * signal))
        scores = support_scores(selected, truth)
        found |= {"precision": scores.precision, "recall": scores.recall, "f1": scores.f1}
        found["auc"] = float(roc_auc_score(truth, norms))
    if fit.unit_effects is not None:
        effects = fit.unit_effects(data.X_train, trial)
        found["dead"] = float(np.mean(effects <= DEAD * effects.max()))
    keep = int(truth.sum()) if truth is not None else max(1, round(KEPT * len(norms)))
    largest_inputs = np.isin(np.arange(len(norms)), np.argsort(-norms, kind="stable")[:keep])
    X, y = TestRows(problem).open(method)
    outputs = fit.outputs(np.concatenate([X, X * largest_inputs]), [trial])[0]
    found["metric"] = _score(outputs[: len(y)], y, data.task)
    found["metric_small_removed"] = _score(outputs[len(y) :], y, data.task)
    return found


def provenance() -> dict[str, Any]:
    """Say when, where and with what something is measured: date, machine, versions."""
    return {
        "date": date.today().isoformat(),
        "machine": runtime.processor_name(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "scikit-learn": sklearn.__version__,
    }
