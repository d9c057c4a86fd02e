"""What a comparison has measured, and how it is shown: differences, tables, the verdict."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from .. import checks
from ..measures import Stability, stability

FORMAT = 2

MEASURES: dict[str, str] = {
    "metric": "test accuracy or R²",
    "valid_loss": "validation loss at the chosen strength",
    "zeros": "share of first-layer weights that are exactly 0",
    "noise_ratio": "mean norm of noise inputs / mean norm of true inputs",
    "suppressed": "share of noise inputs with a norm below a tenth of the mean norm of true inputs",
    "n_selected": "inputs above 1 % of the largest norm",
    "n_selected_strict": "inputs above 10 % of the largest norm",
    "n_selected_loose": "inputs above 0.1 % of the largest norm",
    "precision": "selected inputs that are true",
    "recall": "true inputs that are selected",
    "f1": "harmonic mean of precision and recall",
    "auc": "probability that a true input has a larger norm than a noise input",
    "dead": "share of hidden units that do not move the output",
    "metric_small_removed": "test metric when all but the largest inputs are set to 0, without retraining",
    "seconds": "process CPU time of all trials, mean over the seeds",
}
# column of a table -> measure, format
COLUMNS = {
    "exact zeros": ("zeros", "{:.0%}"),
    "noise/signal": ("noise_ratio", "{:.3f}"),
    "suppressed": ("suppressed", "{:.0%}"),
    "selected": ("n_selected", "{:.1f}"),
    "precision": ("precision", "{:.2f}"),
    "recall": ("recall", "{:.2f}"),
    "AUC": ("auc", "{:.3f}"),
    "dead units": ("dead", "{:.0%}"),
    "small removed": ("metric_small_removed", "{:.3f}"),
    "CPU s": ("seconds", "{:.1f}"),
    "stability": ("stability", "{:.2f}"),
}


class Paired(NamedTuple):
    """Mean of n differences, and the interval of its true value if they are normal."""

    mean: float
    low: float
    high: float
    n: int


def paired_difference(first: Any, second: Any) -> Paired:
    """Compare two methods seed by seed: mean of first − second and its 95 % t-interval.

    What a seed does to both methods, such as drawing a hard sample, cancels. The interval is for this one
    comparison: among twenty of them, one that leaves out 0 is no surprise. If every seed splits the same
    table anew, the samples overlap and the interval is too narrow.

    Parameters
    ----------
    first, second : array_like, shape (S,)
        A measure of the two methods, at least two seeds in the same order.

    Returns
    -------
    Paired
        ``(mean, low, high, n)``.
    """
    first, second = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if first.shape != second.shape or first.ndim != 1 or len(first) < 2:
        raise ValueError(f"give two arrays of at least 2 seeds each, got {first.shape} and {second.shape}")
    differences = first - second
    n = len(differences)
    half = stats.t.ppf(0.975, n - 1) * differences.std(ddof=1) / np.sqrt(n)
    mean = float(differences.mean())
    return Paired(mean, mean - float(half), mean + float(half), n)


class Question(NamedTuple):
    """A question of the verdict: whether the mean of a measure is at least the threshold."""

    key: str
    text: str
    measure: str
    threshold: float


QUESTIONS = (
    Question("zeros", "exact zeros?", "zeros", 0.01),
    Question("inputs", "irrelevant inputs suppressed?", "suppressed", 0.9),
    Question("units", "neurons removed?", "dead", 0.1),
)


@dataclass(frozen=True)
class ComparisonResult:
    """What :func:`compare` has measured: one record per task, method and seed.

    Its methods get the keys of a `task`, of a `method`, of the `reference` that is subtracted from it, and of
    a `measure` of `MEASURES`; `path` is a file.

    Parameters
    ----------
    records : list of dict
        Keys ``"task"``, ``"method"``, ``"seed"``, ``"strength"``, ``"trial"``, ``"at_edge"`` (whether the
        chosen strength is the smallest or the largest that was tried), ``"selected"`` (numbers of the inputs)
        and those of `MEASURES`, None where a measure has no meaning.
    labels, n_features, hashes : dict
        Names of tasks and methods, in the order in which tables show them; number of inputs of every task;
        ``content_hash`` of the problem, by task and seed (as a string).
    info : dict
        Budget, thresholds, versions, machine, date.
    """

    records: list[dict[str, Any]]
    labels: dict[str, str]
    n_features: dict[str, int]
    hashes: dict[str, dict[str, str]]
    info: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        seeds = len({record["seed"] for record in self.records})
        return f"ComparisonResult({len(self.tasks)} tasks × {len(self.methods)} methods × {seeds} seeds)"

    @property
    def tasks(self) -> list[str]:
        """Keys of the tasks, in order."""
        present = {record["task"] for record in self.records}
        return [key for key in self.labels if key in present]

    @property
    def methods(self) -> list[str]:
        """Keys of the methods, in order."""
        present = {record["method"] for record in self.records}
        return [key for key in self.labels if key in present]

    def _of(self, task: str, method: str) -> list[dict[str, Any]]:
        rows = [r for r in self.records if r["task"] == task and r["method"] == method]
        if not rows and (task not in self.tasks or method not in self.methods):
            raise ValueError(f"{task!r} and {method!r} were not compared: {self.tasks}, {self.methods}")
        return sorted(rows, key=lambda r: r["seed"])

    def values(self, task: str, method: str, measure: str = "metric") -> np.ndarray:
        """Return a measure, ``"strength"`` or ``"at_edge"`` for each seed in order, shape (S,).

        NaN where the measure has no meaning; empty if the method does not apply to the task.
        """
        checks.one_of("measure", measure, [*MEASURES, "strength", "at_edge"])
        return np.array([np.nan if r[measure] is None else r[measure] for r in self._of(task, method)], float)

    def stability(self, task: str, method: str) -> Stability:
        """Measure how much the selected sets agree over the seeds, see :func:`l2lab.measures.stability`."""
        inputs = np.arange(self.n_features[task])
        return stability([np.isin(inputs, record["selected"]) for record in self._of(task, method)])

    def difference(self, task: str, method: str, reference: str = "none", measure: str = "metric") -> Paired:
        """Compare a method with another one, method minus reference, see :func:`paired_difference`."""
        return paired_difference(*(self.values(task, key, measure) for key in (method, reference)))

    def table(
        self, task: str, reference: str | None = "none", columns: Iterable[str] = tuple(COLUMNS)
    ) -> pd.DataFrame:
        """Show one task: a row per method, means over the seeds.

        Parameters
        ----------
        task, reference : str
            Keys; to the metric of the reference the others are compared, and None leaves the column out.
        columns : iterable of str, optional
            Headers of the columns to show after these, for a table that fits a narrow page; all by default.

        Returns
        -------
        DataFrame
            Metric ± standard deviation; paired difference with its interval; measures; stability.
        """
        shown = {}
        for method in self.methods:
            metric = self.values(task, method)
            if not len(metric):
                continue
            deviation = metric.std(ddof=min(1, len(metric) - 1))
            row = {"test metric": f"{metric.mean():.3f} ± {deviation:.3f}"}
            if reference is not None:
                text = "–"
                if method != reference and len(metric) > 1:
                    d = self.difference(task, method, reference)
                    text = f"{d.mean:+.3f} [{d.low:+.3f}, {d.high:+.3f}]"
                row[f"minus {self.labels.get(reference, reference)}"] = text
            for column in columns:
                measure, form = COLUMNS[checks.one_of("column", column, COLUMNS)]
                if measure == "stability":
                    value = self.stability(task, method).nogueira if len(metric) > 1 else np.nan
                else:
                    value = self.values(task, method, measure).mean()
                row[column] = "–" if np.isnan(value) else form.format(value)
            shown[self.labels[method]] = row
        return pd.DataFrame.from_dict(shown, "index").rename_axis(columns="method")

    def verdict(self, method: str) -> dict[str, tuple[list[str], list[str]]]:
        """Answer the three questions for one method.

        For each question of :data:`QUESTIONS` there are the tasks where the inequality holds for the mean
        over the seeds, and those where it does not. Where the question has no meaning, a task is in neither.
        """
        answers = {}
        for question in QUESTIONS:
            means = {task: self.values(task, method, question.measure) for task in self.tasks}
            means = {t: v.mean() for t, v in means.items() if len(v) and not np.isnan(v).any()}
            yes = [task for task, value in means.items() if value >= question.threshold]
            answers[question.key] = (yes, [task for task in means if task not in yes])
        return answers

    def verdict_table(self) -> pd.DataFrame:
        """Show for all methods on how many of the tasks each inequality of :data:`QUESTIONS` holds."""

        def said(yes: list[str], no: list[str]) -> str:
            total = len(yes) + len(no)
            if yes and no:
                return f"{len(yes)} of {total}"
            return f"{'yes' if yes else 'no'} ({total})" if total else "–"

        rows = [[said(*answer) for answer in self.verdict(method).values()] for method in self.methods]
        names = [self.labels[method] for method in self.methods]
        table = pd.DataFrame(rows, names, [question.text for question in QUESTIONS])
        return table.rename_axis(columns="method")

    def content(self) -> dict[str, Any]:
        """All but the records, as :meth:`load` wants to find it in a file."""
        parts = {"labels": self.labels, "n_features": self.n_features, "hashes": self.hashes}
        return {"format": FORMAT, **self.info, **parts}

    @classmethod
    def load(cls, path: str | Path) -> ComparisonResult:
        """Read a file (`path`) that the study of the comparison has written."""
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        if content.pop("format", None) != FORMAT:
            raise ValueError(f"{Path(path).name} is not a comparison of format {FORMAT}; run the study again")
        parts = {key: content.pop(key) for key in ("records", "labels", "n_features", "hashes")}
        return cls(**parts, info=content)
