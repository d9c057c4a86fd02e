"""What follows from the rows of the study of selection: means by kind of problem, and tests."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from .contests import KINDS, RESPLIT
from .selection import DEFAULT

__all__ = ["by_kind", "duels", "overall"]

GATES, CHANCE = "L2 gates", "chance"
KIND_OF = {problem: kind for kind, problems in KINDS.items() for problem in problems}
# measure -> how much less still counts as good
MEASURES = {
    "f1_at_truth": 0.05, "f1_own": 0.05, "score_at_k": 0.01, "forest_at_k": 0.01, "score_own": 0.01,
}  # fmt: skip
LEVEL = 0.05
# "As good" must not hide a kind on which the gates are behind by this many margins.
WORST = 4
# So many that Holm's correction over some 400 tests leaves a p that can be below the level.
RESAMPLES = 99_999


def by_kind(rows: list[dict[str, Any]], measure: str) -> pd.DataFrame:
    """Average a measure over seeds, and over the problems of each kind.

    A row per kind that is drawn anew for each seed, their mean, and the other kinds; a column per method, the
    best mean first.
    """
    table = _scores(rows, measure).groupby(level="problem", sort=False).mean()
    means = table.groupby(table.index.map(KIND_OF), sort=False).mean()
    means = means.reindex([kind for kind in KINDS if kind in means.index])
    drawn = ~means.index.isin([KIND_OF[problem] for problem in RESPLIT])
    means = pd.concat([means[drawn], means[drawn].mean().to_frame("mean").T, means[~drawn]])
    return means.sort_values("mean", axis=1, ascending=False).rename_axis(index="kind", columns=None)


def overall(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Compare the gates with every rival over all kinds of problems that are drawn anew for each seed.

    For every seed the differences are averaged over the problems of each kind and then over the kinds. What
    is tested is the mean of these numbers over the seeds.

    The columns: gates minus rival with its 95 % interval by Student's t; the kind with the smallest mean
    difference, and that; how many rankings failed; `p` of the paired test by random signs and `p_good` of
    Student's test that the difference is above minus the margin, and both by Holm over all rows. The verdict
    is ``"better"`` or ``"worse"`` if the first is below 0.05 after correction; else ``"as good"`` (not worse
    by the margin or more) if the second is and no kind is worse by `WORST` margins; else ``"undecided"``.
    """
    rows = [row for row in rows if row["problem"] not in RESPLIT]
    found, failed = [], pd.DataFrame(rows).groupby("method")["failed"].count()
    for measure, margin in MEASURES.items():
        scores = _scores(rows, measure)
        kind = scores.index.get_level_values("problem").map(KIND_OF)
        seed = scores.index.get_level_values("seed")
        for rival in _rivals(scores):
            by_kinds = (scores[GATES] - scores[rival]).groupby([seed, kind]).mean().unstack()
            gap, worst = by_kinds.mean(axis=1).to_numpy(), by_kinds.mean()
            row = {"measure": measure, "rival": rival} | _compared(gap)
            row |= {"worst_kind": worst.idxmin(), "worst": worst.min(), "failed": failed[rival]}
            row["failed_gates"] = failed[GATES]
            above = stats.ttest_1samp(gap, -margin, alternative="greater").pvalue if np.ptp(gap) else 0.0
            row["p_good"] = above if gap.mean() > -margin else 1.0
            found.append(row | {"hidden": worst.min() < -WORST * margin})
    table = _corrected(pd.DataFrame(found))
    table["holm_good"] = _holm(table["p_good"])
    good = np.where((table["holm_good"] < LEVEL) & ~table.pop("hidden"), "as good", "undecided")
    return table.assign(verdict=np.where(table["verdict"] == "=", good, table["verdict"]))


def duels(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Compare the gates with every rival on every problem that is drawn anew for each seed.

    Columns as of :func:`overall`; the verdict ``"="`` says that the difference is not significant after
    Holm's correction over all rows.
    """
    found = []
    for measure in MEASURES:
        scores = _scores([row for row in rows if row["problem"] not in RESPLIT], measure)
        for rival in _rivals(scores):
            for problem, pair in scores.groupby(level="problem", sort=False):
                gap = (pair[GATES] - pair[rival]).to_numpy()
                found.append({"measure": measure, "rival": rival, "problem": problem} | _compared(gap))
    return _corrected(pd.DataFrame(found))


def _rivals(scores: pd.DataFrame) -> list[str]:
    return [name for name in scores.columns if name not in (GATES, DEFAULT, CHANCE)]


def _scores(rows: list[dict[str, Any]], measure: str) -> pd.DataFrame:
    """A measure by problem and seed, a column per method; nothing may be missing."""
    frame = pd.DataFrame(rows)
    scores = frame.pivot(index=["problem", "seed"], columns="method", values=measure)
    scores = scores[list(dict.fromkeys(frame["method"]))]
    if (gap := scores.isna().any()).any():
        raise ValueError(f"the study is not complete: {list(scores.columns[gap])} lack rows; run it again")
    return scores


def _compared(gap: np.ndarray) -> dict[str, float]:
    half = stats.t.ppf(0.975, len(gap) - 1) * gap.std(ddof=1) / np.sqrt(len(gap))
    low, high = gap.mean() - half, gap.mean() + half
    return {"difference": gap.mean(), "low": low, "high": high, "p": _sign_test(gap)}


def _sign_test(gap: np.ndarray) -> float:
    """Two-sided p of the paired test of the mean by random signs, the signs as they are among them."""
    # The last bits of a sum must not decide whether it is as large as another one.
    as_large = np.abs(_signs(RESAMPLES, len(gap)) @ gap) >= abs(gap.sum()) - 1e-9 * len(gap)
    return float((as_large.sum() + 1) / (RESAMPLES + 1))


@cache
def _signs(n: int, n_seeds: int) -> np.ndarray:
    return np.random.default_rng(0).choice([-1.0, 1.0], (n, n_seeds))


def _corrected(table: pd.DataFrame) -> pd.DataFrame:
    """Add Holm's p over all rows, and who is ahead by it."""
    holm = _holm(table["p"])
    word = np.where(table["difference"] > 0, "better", "worse")
    return table.assign(holm=holm, verdict=np.where(holm < LEVEL, word, "="))


def _holm(p: pd.Series) -> np.ndarray:
    """Holm's correction."""
    order = np.argsort(p, kind="stable")
    holm = np.empty(len(p))
    steps = p.to_numpy()[order] * np.arange(len(p), 0, -1)
    holm[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return holm
