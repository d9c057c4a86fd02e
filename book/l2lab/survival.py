"""Where features die along a path of λ: what the selector and the methods that rank like it share."""

from __future__ import annotations

import math

import numpy as np

__all__ = [
    "HALVINGS", "LONGEST", "PILOT_LAMS", "SETTLED", "candidate_sizes", "enough_alive", "lam_range",
    "smallest_good", "sparse_part", "survival_scores",
]  # fmt: skip

# Survival counts where at most this share of the features is alive, or so many. While most of them live, it
# is luck who does.
SPARSE, SPARSE_LEAST = 0.2, 5
# λ of the pilot run that finds the interesting range.
PILOT_LAMS = np.logspace(-4, 0.5, 10)
# A feature that survives more of the sparse part of a path than this is settled: the next round does without.
SETTLED = 0.2
# Better than nothing is what is better by so many standard errors, since it is the best of a dozen or more.
SIGNAL = 2.0
# Where no sparse network of a path is, the path is repeated with more steps, up to so many times as many.
LONGEST = 2
# So often the learning rate is halved if training diverges, before the user is asked for a smaller one.
HALVINGS = 4


def enough_alive(n_features: int, n_rows: int) -> float:
    """Number of features alive where a path begins: nearly all, or too many for the rows."""
    return min(0.9 * n_features, max(64.0, n_rows / 2))


def lam_range(alive: np.ndarray, n_rows: int) -> tuple[float, float]:
    """Find the range of `PILOT_LAMS` in which features die, from those `alive` at each λ, (L, p)."""
    counts = alive.sum(1)
    enough = enough_alive(alive.shape[1], n_rows)
    nothing, much = np.flatnonzero(counts == 0), np.flatnonzero(counts >= enough)
    high = PILOT_LAMS[nothing[0]] if len(nothing) else PILOT_LAMS[-1]
    low = PILOT_LAMS[0]
    if len(much) and (last := much[-1]) + 1 < len(counts):
        # Wide data go from all to few within one step of the pilot: where `enough` are left is interpolated.
        pair = slice(last, last + 2)
        at = np.interp(-math.log(enough), -np.log(np.maximum(counts[pair], 1)), np.log(PILOT_LAMS[pair]))
        low = float(np.exp(at))
    return (low, high) if low < high else (high / 30, high)


def candidate_sizes(most: int) -> list[int]:
    """Return the numbers of features that are tried, up to `most`: 1, 2, … and then steps of a fifth."""
    sizes = [1]
    while sizes[-1] < most:
        sizes.append(min(most, max(sizes[-1] + 1, int(1.2 * sizes[-1]))))
    return sizes


def sparse_part(alive: np.ndarray) -> np.ndarray:
    """At which λ (L,) few features live (L, S, p): at most a fifth, or five, or as few as there ever are."""
    counts = alive.sum(2).mean(1)
    return counts <= max(SPARSE * alive.shape[2], SPARSE_LEAST, counts.min())


def survival_scores(strength: np.ndarray, early: np.ndarray, threshold: float) -> np.ndarray:
    """Score features (S, p) by how long they survive along a path of L values of λ, in S folds.

    `strength` and `early` (L, S, p) are shares of the largest, at the end and before λ was in force. Counted
    is the share of the λ at which few features live. Ties are broken by the two strengths, which add less
    than one step of the path in one fold.
    """
    alive = strength > threshold
    sparse = sparse_part(alive)
    first = early.mean(0)
    # Both strengths lie in [0, 1]; scaled like this they can only order features that survive equally
    # often. The first of them is close to 0 where a feature has not survived at all.
    order = 0.9 * strength[sparse].mean(0) + 0.099 * first / first.max(1, keepdims=True).clip(1e-300)
    return alive[sparse].mean(0) + order / (sparse.sum() * len(first))


def smallest_good(
    losses: np.ndarray, null: np.ndarray, share: np.ndarray, n_observed: float
) -> tuple[int, bool, np.ndarray]:
    """Judge M models, the simplest first, by their losses (M, n) on rows that they have not seen.

    `null` (n,) are the losses of the best constant, `share` (n,) sums to 1, and `n_observed` counts
    observations for the standard error. Returned are the first model within one standard error of the best,
    whether the best is better than the constant by twice the standard error of the difference, and the means.
    """
    mean = losses @ share
    if not np.isfinite(mean).any():
        return 0, False, mean
    best = int(np.nanargmin(mean))

    def error(values: np.ndarray) -> float:
        return math.sqrt((values - values @ share) ** 2 @ share / n_observed)

    gain = null - losses[best]
    first = int(np.flatnonzero(mean <= mean[best] + error(losses[best]))[0])
    return first, bool(gain @ share > SIGNAL * error(gain)), mean
