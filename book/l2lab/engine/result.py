"""What a sweep gives back: metrics and parameters along λ, seed and learning rate."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from .networks import CNN, MLP

__all__ = ["Best", "SweepResult"]


class Best(NamedTuple):
    """The best setting of a sweep: positions on the axes λ and learning rate, their values, mean metric."""

    l: int  # noqa: E741 - the same letter as everywhere in this module
    r: int
    lam: float
    lr: float
    value: float


@dataclass(frozen=True)
class SweepResult:
    """What :func:`sweep` returns: arrays along λ (L), seed (S) and learning rate (R).

    Attributes
    ----------
    network : MLP or CNN
        What was trained.
    lams, seeds, lrs : ndarray, shapes (L,), (S,), (R,)
        The grid.
    metrics : dict of str to ndarray, shape (L, S, R)
        After the last step: ``"train_loss"``, ``"train_accuracy"`` and the same for every other split.
        Losses are without the penalty; accuracies are there for the cross-entropy only. NaN marks models
        that diverged.
    params : dict of str to Tensor, shape (L, S, R, ...)
        Final parameters on the CPU.
    loss : {"cross_entropy", "squared"}
        The loss.
    steps : int
        Steps that were done.
    interrupted : bool
        True if Ctrl-C ended training early; everything else then describes the state at that time.
    seconds : float
        Wall-clock time of training and evaluation.
    device : torch.device
        Where it was trained.
    """

    network: MLP | CNN
    lams: np.ndarray
    seeds: np.ndarray
    lrs: np.ndarray
    metrics: dict[str, np.ndarray]
    params: dict[str, Tensor] = field(repr=False)
    loss: str
    steps: int
    interrupted: bool
    seconds: float
    device: torch.device

    @property
    def shape(self) -> tuple[int, int, int]:
        """(L, S, R)."""
        return len(self.lams), len(self.seeds), len(self.lrs)

    def __repr__(self) -> str:
        n_lams, n_seeds, n_lrs = self.shape
        stopped = " (interrupted)" if self.interrupted else ""
        return (
            f"SweepResult({self.network}, {n_lams} λ × {n_seeds} seeds × {n_lrs} learning rates, "
            f"{self.steps} steps{stopped}, on {self.device}, {self.seconds:.1f} s)"
        )

    def weights(self, layer: int | None = None) -> np.ndarray:
        """Return the entries of the weight matrices, without biases.

        Parameters
        ----------
        layer : int, optional
            One layer by position (negative numbers count from the end); default all.

        Returns
        -------
        ndarray, shape (L, S, R, n)
            The n entries, layer after layer.
        """
        names = [name for name in self.params if name.endswith("weight")]
        chosen = names if layer is None else [names[layer]]
        return torch.cat([self.params[name].flatten(3) for name in chosen], dim=3).numpy()

    def norms(self) -> np.ndarray:
        """Return the Euclidean norm ‖w‖ of :meth:`weights`, float64 of shape (L, S, R)."""
        return np.linalg.norm(self.weights().astype(np.float64), axis=-1)

    def module(self, l: int = 0, s: int = 0, r: int = 0) -> nn.Module:  # noqa: E741
        """Return one trained model as an ordinary module.

        Parameters
        ----------
        l, s, r : int
            Position on the axes λ, seed and learning rate.

        Returns
        -------
        torch.nn.Module
            On the CPU, with its own copy of the parameters.
        """
        module = self.network.module()
        state = {name: value[l, s, r] for name, value in self.params.items()}
        module.to(next(iter(state.values())).dtype).load_state_dict(state)
        return module

    def best(self, metric: str = "valid_loss", one_standard_error: bool = False) -> Best:
        """Return the setting whose metric is best on average over the seeds.

        Parameters
        ----------
        metric : str, default "valid_loss"
            A key of ``metrics``. Losses are minimized, accuracies maximized.
        one_standard_error : bool, default False
            True takes, at the learning rate of the best setting, the largest λ whose mean is not worse than
            the best mean by more than its standard error over the seeds: the simplest model that cannot be
            told from the best one (Hastie, Tibshirani and Friedman 2009, section 7.10).

        Returns
        -------
        Best
            Positions on the λ and learning-rate axes, their values and the mean metric. Settings with a
            diverged seed are passed over; a tie goes to the larger λ.

        Raises
        ------
        ValueError
            If there is no such metric, all settings diverged, or there is no standard error of one seed.
        """
        if metric not in self.metrics:
            raise ValueError(f"metric={metric!r} was not measured; there are {sorted(self.metrics)}")
        values = self.metrics[metric]
        n_seeds = values.shape[1]
        if one_standard_error and n_seeds < 2:
            raise ValueError("one_standard_error=True needs at least 2 seeds: sweep with seeds=range(5)")
        mean = values.mean(axis=1)
        if np.isnan(mean).all():
            raise ValueError(f"every setting diverged, so none is best by {metric!r}; use smaller lrs")
        sign = -1 if metric.endswith("accuracy") else 1
        candidates = [
            (sign * mean[i, j], -self.lams[i], j, i)
            for i, j in np.ndindex(*mean.shape)
            if not np.isnan(mean[i, j])
        ]
        *_, r, i = min(candidates)
        if one_standard_error:
            limit = sign * mean[i, r] + values[i, :, r].std(ddof=1) / math.sqrt(n_seeds)
            # the second entry of a candidate is −λ, so the smallest has the largest λ
            *_, i = min((less, score, k) for score, less, j, k in candidates if j == r and score <= limit)
        return Best(i, r, float(self.lams[i]), float(self.lrs[r]), float(mean[i, r]))
