"""What a comparison has measured, and how it is shown: differences, tables, the verdict."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from ..measures import Stability, stability

FORMAT = 1

MEASURES: dict[str, str] = {
    "metric": "test accuracy or R²",
    "valid_loss": "validation loss at the chosen strength",
    "zeros": "share of first-layer weights that are exactly 0",
    "noise_ratio": "mean norm of noise inputs / mean norm of true inputs",
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
    """Difference of a measure between two methods on the same seeds.

    Parameters
    ----------
    mean, low, high : float
        Mean of the differences, and the interval that holds the true mean with the asked confidence, if
        differences are normal.
    n : int
        Number of seeds.
    """

    mean: float
    low: float
    high: float
    n: int


def paired_difference(first: Any, second: Any, confidence: float = 0.95) -> Paired:
    """Compare two methods seed by seed: mean of first − second and its t-interval.

    What a seed does to both methods, such as drawing a hard sample, cancels. The interval is for this one
    comparison: among twenty of them, one that leaves out 0 is no surprise. If every seed splits the same
    table anew, the samples overlap and the interval is too narrow.

    Parameters
    ----------
    first, second : array_like, shape (S,)
        A measure of the two methods, seed by seed in the same order.
    confidence : float, default 0.95
        Of the interval, between 0 and 1.

    Returns
    -------
    Paired
        ``(mean, low, high, n)``.

    Raises
    ------
    ValueError
        If there are fewer than 2 pairs, or lengths or the confidence do not fit.
    """
    first, second = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if first.shape != second.shape or first.ndim != 1 or len(first) < 2:
        raise ValueError(f"give two arrays of at least 2 seeds each, got {first.shape} and {second.shape}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence!r}")
    differences = first - second
    n = len(differences)
    half = stats.t.ppf((1 + confidence) / 2, n - 1) * differences.std(ddof=1) / np.sqrt(n)
    mean = float(differences.mean())
    return Paired(mean, mean - float(half), mean + float(half), n)


class Table:
    """Rows of text with a header: prints aligned, and as a table in a notebook.

    Parameters
    ----------
    header, rows : sequence of str, sequence of sequence of str
        Column names, and cells.
    """

    def __init__(self, header: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
        self.header = tuple(header)
        self.rows = [tuple(row) for row in rows]

    def __repr__(self) -> str:
        lines = [self.header, *self.rows]
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.header))]
        return "\n".join(
            "  ".join(
                cell.ljust(w) if i == 0 else cell.rjust(w)
                for i, (cell, w) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        )

    def _repr_html_(self) -> str:
        head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in self.header)
        body = "".join(
            f'<tr><th scope="row">{escape(row[0])}</th>'
            + "".join(f"<td>{escape(cell)}</td>" for cell in row[1:])
            + "</tr>"
            for row in self.rows
        )
        # a class that notebooks and the book's theme know as an output's table, also in dark mode
        return f'<table class="dataframe"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


class Question(NamedTuple):
    """One of the three questions of the verdict, as an inequality for the mean of a measure over the seeds.

    Parameters
    ----------
    key, text : str
        Short name, and the question.
    measure : str
        Key of :data:`MEASURES`.
    threshold : float
        With what the mean is compared.
    at_least : bool
        True: the answer is yes from the threshold on; False: up to it.
    """

    key: str
    text: str
    measure: str
    threshold: float
    at_least: bool


QUESTIONS = (
    Question("zeros", "exact zeros?", "zeros", 0.01, True),
    Question("inputs", "irrelevant inputs suppressed?", "noise_ratio", 0.1, False),
    Question("units", "neurons removed?", "dead", 0.1, True),
)


@dataclass(frozen=True)
class ComparisonResult:
    """What :func:`compare` has measured: one record per task, method and seed.

    Its methods get the keys of a `task`, of a `method`, of the `reference` that is subtracted from it, and of
    a `measure` of :data:`MEASURES`.

    Parameters
    ----------
    records : list of dict
        Keys ``"task"``, ``"method"``, ``"seed"``, ``"strength"``, ``"trial"``, ``"at_edge"`` (whether the
        chosen strength is the smallest or the largest that was tried), ``"selected"`` (numbers of the inputs)
        and those of :data:`MEASURES`, None where a measure has no meaning.
    labels : dict of str to str
        Names of tasks and methods in tables, in the order in which tables show them.
    n_features : dict of str to int
        Number of inputs of every task.
    hashes : dict of str to dict
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
            raise ValueError(
                f"{task!r} and {method!r} were not compared; there are the tasks {self.tasks} "
                f"and the methods {self.methods}"
            )
        return sorted(rows, key=lambda r: r["seed"])

    def values(self, task: str, method: str, measure: str = "metric") -> np.ndarray:
        """Return a measure, ``"strength"`` or ``"at_edge"`` for each seed in order, shape (S,).

        NaN where the measure has no meaning; empty if the method does not apply to the task.

        Raises
        ------
        ValueError
            If there is no such task, method or measure.
        """
        if measure not in MEASURES and measure not in ("strength", "at_edge"):
            raise ValueError(f"measure={measure!r} is not known; use one of {list(MEASURES)}")
        return np.array([np.nan if r[measure] is None else r[measure] for r in self._of(task, method)], float)

    def stability(self, task: str, method: str) -> Stability:
        """Measure how much the selected sets agree over the seeds, see :func:`l2lab.measures.stability`."""
        inputs = np.arange(self.n_features[task])
        return stability([np.isin(inputs, record["selected"]) for record in self._of(task, method)])

    def difference(self, task: str, method: str, reference: str = "none", measure: str = "metric") -> Paired:
        """Compare a method with another one, method minus reference, see :func:`paired_difference`."""
        return paired_difference(*(self.values(task, key, measure) for key in (method, reference)))

    def table(self, task: str, reference: str | None = "none", columns: Iterable[str] | None = None) -> Table:
        """Show one task: a row per method, means over the seeds.

        Parameters
        ----------
        task : str
            Its key.
        reference : str or None, default "none"
            Method to whose metric the others are compared; None leaves the column out.
        columns : iterable of str, optional
            Headers of the columns to show after these, for a table that fits a narrow page; all by default.

        Returns
        -------
        Table
            Metric ± standard deviation; paired difference with its interval; measures; stability.

        Raises
        ------
        ValueError
            If there is no such task or column.
        """
        columns = list(COLUMNS if columns is None else columns)
        if unknown := set(columns) - set(COLUMNS):
            raise ValueError(f"there are no columns {sorted(unknown)}; use {list(COLUMNS)}")
        rows = []
        for method in self.methods:
            metric = self.values(task, method)
            if not len(metric):
                continue
            deviation = metric.std(ddof=min(1, len(metric) - 1))
            row = [self.labels[method], f"{metric.mean():.3f} ± {deviation:.3f}"]
            if reference is not None:
                text = "–"
                if method != reference and len(metric) > 1:
                    d = self.difference(task, method, reference)
                    text = f"{d.mean:+.3f} [{d.low:+.3f}, {d.high:+.3f}]"
                row.append(text)
            for measure, form in map(COLUMNS.get, columns):
                if measure == "stability":
                    value = self.stability(task, method).nogueira if len(metric) > 1 else np.nan
                else:
                    value = self.values(task, method, measure).mean()
                row.append("–" if np.isnan(value) else form.format(value))
            rows.append(row)
        compared = [] if reference is None else [f"minus {self.labels.get(reference, reference)}"]
        return Table(["method", "test metric", *compared, *columns], rows)

    def verdict(self, method: str) -> dict[str, tuple[list[str], list[str]]]:
        """Answer the three questions for one method.

        Returns
        -------
        dict of str to (list of str, list of str)
            For each question of :data:`QUESTIONS` the tasks where the inequality holds for the mean over the
            seeds, and those where it does not. Tasks on which the question has no meaning are in neither.
        """
        answers = {}
        for question in QUESTIONS:
            means = {task: self.values(task, method, question.measure) for task in self.tasks}
            means = {t: v.mean() for t, v in means.items() if len(v) and not np.isnan(v).any()}
            sign = 1 if question.at_least else -1
            yes = [task for task, value in means.items() if sign * value >= sign * question.threshold]
            answers[question.key] = (yes, [task for task in means if task not in yes])
        return answers

    def verdict_table(self) -> Table:
        """Show for all methods on how many of the tasks each inequality of :data:`QUESTIONS` holds."""
        rows = []
        for method in self.methods:
            row = [self.labels[method]]
            for yes, no in self.verdict(method).values():
                total = len(yes) + len(no)
                if yes and no:
                    row.append(f"{len(yes)} of {total}")
                else:
                    row.append(f"{'yes' if yes else 'no'} ({total})" if total else "–")
            rows.append(row)
        return Table(["method", *(question.text for question in QUESTIONS)], rows)

    def content(self) -> dict[str, Any]:
        """All but the records, as :meth:`load` wants to find it in a file."""
        parts = {"labels": self.labels, "n_features": self.n_features, "hashes": self.hashes}
        return {"format": FORMAT, **self.info, **parts}

    @classmethod
    def load(cls, path: str | Path) -> ComparisonResult:
        """Read a file that the study of the comparison has written.

        Parameters
        ----------
        path : str or Path
            The file.

        Returns
        -------
        ComparisonResult
            As it was measured.

        Raises
        ------
        ValueError
            If the file has another format.
        """
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        if content.pop("format", None) != FORMAT:
            raise ValueError(f"{Path(path).name} is not a comparison of format {FORMAT}; run the study again")
        parts = {key: content.pop(key) for key in ("records", "labels", "n_features", "hashes")}
        return cls(**parts, info=content)
