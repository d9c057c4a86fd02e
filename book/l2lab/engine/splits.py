"""The rows of a sweep: brought to the device, checked against the network, cut into minibatches."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .. import checks
from .networks import CNN, MLP

__all__ = ["Split", "check_data", "minibatches"]


def minibatches(n: int, batch_size: int, steps: int, seed: int = 0) -> list[Tensor]:
    """Draw the rows of each minibatch: shuffled epochs without replacement.

    Every row is used once per epoch. If `batch_size` does not divide `n`, the last batch of each epoch is
    smaller.

    Parameters
    ----------
    n : int
        Number of training rows.
    batch_size : int
        Rows per batch, from 1 to `n`.
    steps : int
        Number of batches.
    seed : int, default 0
        Seed of the shuffling; the global generator is not used.

    Returns
    -------
    list of Tensor of int64
        `steps` index tensors.
    """
    checks.whole("batch_size", batch_size, 1)
    checks.whole("steps", steps, 1)
    if batch_size > n:
        raise ValueError(
            f"batch_size={batch_size} is larger than the {n} training rows; use batch_size=None for all"
        )
    generator = torch.Generator().manual_seed(seed)
    batches: list[Tensor] = []
    while len(batches) < steps:
        batches += torch.randperm(n, generator=generator).split(batch_size)
    return batches[:steps]


class Split(NamedTuple):
    """One split on the device."""

    X: Tensor  # inputs, (n, ...)
    labels: Tensor | None  # classes, for the cross-entropy, (n,)
    targets: Tensor  # targets, or one-hot classes, (n_outputs, n)


def _tensor(values: Any) -> Tensor:
    if isinstance(values, Tensor):
        return values.detach()
    return torch.from_numpy(np.array(values))  # a copy: torch cannot use read-only memory


def check_data(
    data: Any, network: MLP | CNN, dtype: torch.dtype, device: torch.device
) -> tuple[dict[str, Split], str]:
    """Bring all splits of a Problem or dict, "train" among them, to the device, and tell the loss.

    Integers in `y` mean ``"cross_entropy"``, floats ``"squared"``. Raises a ValueError if the data do not fit
    the network, or a value is not finite.
    """
    raw = getattr(data, "splits", data)
    if not isinstance(raw, Mapping) or "train" not in raw:
        raise ValueError("data must be a Problem or a dict {'train': (X, y), ...} with the key 'train'")
    splits = {key: _split(key, *pair, network, dtype, device) for key, pair in raw.items()}
    return splits, "squared" if splits["train"].labels is None else "cross_entropy"


def _split(key: str, X: Any, y: Any, network: MLP | CNN, dtype: torch.dtype, device: torch.device) -> Split:
    X, y = _tensor(X).to(device=device, dtype=dtype), _tensor(y).to(device)
    if X.ndim < 2 or math.prod(X.shape[1:]) != network.n_inputs or len(X) == 0 or len(X) != len(y):
        raise ValueError(
            f"split {key!r}: X has shape {tuple(X.shape)} and y {tuple(y.shape)}, but {network} needs "
            f"(n, {', '.join(map(str, network.input_shape))}) with n ≥ 1, and as many rows of y"
        )
    X = X.reshape(len(X), *network.input_shape).contiguous()  # images may be flat rows
    labels = None
    if y.is_floating_point():
        targets = y.to(dtype).reshape(len(y), -1)
    elif y.ndim != 1 or int(y.min()) < 0 or int(y.max()) >= network.n_outputs:
        raise ValueError(
            f"split {key!r}: classes must be integers of shape (n,) from 0 to {network.n_outputs - 1}, "
            f"one for each output of {network}"
        )
    else:
        labels = y.long()
        targets = F.one_hot(labels, network.n_outputs).to(dtype)
    if targets.shape[1] != network.n_outputs:
        raise ValueError(
            f"split {key!r}: y has {targets.shape[1]} targets per row, but {network} has {network.n_outputs} "
            "outputs; they must agree"
        )
    if not (torch.isfinite(X).all() and torch.isfinite(targets).all()):
        raise ValueError(f"split {key!r} holds NaN or infinite values; drop or impute these rows first")
    return Split(X, labels, targets.T.contiguous())
