"""What follows from the rows of the study of selection: means by kind of problem, and tests."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from .contests import KINDS
from .selection import DEFAULT

__all__ = ["by_kind", "duels"]

GATES, CHANCE = "L2 gates", "chance"
# measure -> who is compared with the rivals by it
MEASURES = {"f1_at_truth": GATES, "score_at_k": GATES, "f1_own": DEFAULT, "score_own": DEFAULT}
LEVEL = 0.05
# So many that Holm's correction over some 400 tests leaves a p that can be below the level.
RESAMPLES = 99_999


def by_kind(rows: list[dict[str, Any]], measure: str) -> pd.DataFrame:
    """Average a measure over seeds, and over the problems of each kind.

    Parameters
    ----------
    rows, measure : list of dict, str
        Rows of the study, and one of their numbers.

    Returns
    -------
    DataFrame
        A row per kind and, at the end, their mean; a column per method, the best mean first.
    """
    table = pd.DataFrame(rows).pivot_table(measure, "problem", "method")
    kind_of = {problem: kind for kind, problems in KINDS.items() for problem in problems}
    means = table.groupby(table.index.map(kind_of), sort=False).mean()
    means = means.reindex([kind for kind in KINDS if kind in means.index])
    means.loc["mean"] = means.mean()
    return means.sort_values("mean", axis=1, ascending=False).rename_axis(index="kind", columns=None)


def duels(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Compare the gates with every rival on every problem, by pairs with the same seed.

    The test turns the signs of the differences at random; where all of them are 0 its p is 1. Holm's
    correction runs over all tests together.

    Parameters
    ----------
    rows : list of dict
        Rows of the study.

    Returns
    -------
    DataFrame
        Columns ``measure, rival, problem, seeds, difference, low, high, p, holm, verdict``: the mean
        difference, gates minus rival, with its interval of ± 2 standard errors; p as it is and corrected; and
        ``"better"`` or ``"worse"`` if the corrected one is below 0.05, else ``"="``.
    """
    frame = pd.DataFrame(rows)
    found = []
    for measure, gates in MEASURES.items():
        scores = frame.pivot_table(measure, ["problem", "seed"], "method", sort=False)
        for rival in scores.columns.difference([GATES, DEFAULT, CHANCE], sort=False):
            for problem, pair in scores[[gates, rival]].dropna().groupby(level="problem", sort=False):
                gap = (pair[gates] - pair[rival]).to_numpy()
                spread = 2 * gap.std(ddof=1) / np.sqrt(len(gap))
                about = {"measure": measure, "rival": rival, "problem": problem, "seeds": len(gap)}
                about |= {"difference": gap.mean(), "low": gap.mean() - spread, "high": gap.mean() + spread}
                found.append({**about, "p": _sign_test(gap)})
    table = pd.DataFrame(found)
    order = np.argsort(table["p"], kind="stable")
    corrected = np.empty(len(table))
    steps = table["p"].to_numpy()[order] * np.arange(len(table), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1)
    word = np.where(table["difference"] > 0, "better", "worse")
    return table.assign(holm=corrected, verdict=np.where(corrected < LEVEL, word, "="))


def _sign_test(gap: np.ndarray) -> float:
    """Two-sided p of the paired test of the mean by random signs, the signs as they are among them."""
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (RESAMPLES, len(gap)))
    # The last bits of a sum must not decide whether it is as large as another one.
    as_large = np.abs(signs @ gap) >= abs(gap.sum()) * (1 - 1e-9)
    return float((as_large.sum() + 1) / (RESAMPLES + 1))
