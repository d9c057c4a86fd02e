"""The rows of a sweep: brought to the device, checked against the network, cut into minibatches."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .. import checks
from .networks import CNN, MLP

__all__ = ["LOSSES", "Split", "check_data", "check_inputs", "minibatches", "outputs_in_parts"]

LOSSES = ("cross_entropy", "squared")
# Numbers that an evaluation on a CPU works on at a time; bounds its memory, and is small enough for a cache.
EVALUATION_NUMBERS = 2**19


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

    Raises
    ------
    ValueError
        If `batch_size` or `steps` is out of range.
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
    """One split on the device.

    Parameters
    ----------
    X : Tensor, shape (n, ...)
        Inputs.
    labels : Tensor of int64, shape (n,), or None
        Classes, for the cross-entropy.
    targets : Tensor, shape (n_outputs, n)
        Targets, or one-hot classes.
    """

    X: Tensor
    labels: Tensor | None
    targets: Tensor


def _tensor(values: Any) -> Tensor:
    if isinstance(values, Tensor):
        return values.detach()
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"data must be numbers, got an array of type {array.dtype}")
    return torch.from_numpy(np.array(array))  # a copy: torch cannot use read-only memory


def check_inputs(name: str, X: Any, network: MLP | CNN, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Bring inputs into the form that a network takes.

    Parameters
    ----------
    name : str
        What a message calls them.
    X : array_like or Tensor, shape (n, ...)
        Inputs; images may be flat rows.
    network : MLP or CNN
        What they are for.
    dtype : torch.dtype
        Type of the result.
    device : torch.device
        Where it lives.

    Returns
    -------
    Tensor, shape (n, *input_shape)
        Contiguous.

    Raises
    ------
    ValueError
        If the shape does not fit, or a value is not finite.
    """
    X = _tensor(X)
    if (
        X.ndim < 2
        or math.prod(X.shape[1:]) != network.n_inputs
        or (X.ndim > 2 and X.shape[1:] != network.input_shape)
    ):
        raise ValueError(
            f"{name} has shape {tuple(X.shape)}, but {network} needs "
            f"(n, {', '.join(map(str, network.input_shape))}); change the network or the features"
        )
    if len(X) == 0:
        raise ValueError(f"{name} has no rows")
    X = X.to(device=device, dtype=dtype).reshape(len(X), *network.input_shape)
    if not torch.isfinite(X).all():
        raise ValueError(f"{name} holds NaN or infinite values; drop or impute these rows first")
    return X.contiguous()


def check_data(
    data: Any, network: MLP | CNN, loss: str | None, dtype: torch.dtype, device: torch.device
) -> tuple[dict[str, Split], str]:
    """Bring all splits to the device.

    Parameters
    ----------
    data : Problem or dict of str to (X, y)
        With the split "train".
    network : MLP or CNN
        What they are for.
    loss : {"cross_entropy", "squared"} or None
        None lets the type of `y` decide.
    dtype : torch.dtype
        Type of inputs and targets.
    device : torch.device
        Where they live.

    Returns
    -------
    splits : dict of str to Split
        All of them.
    loss : {"cross_entropy", "squared"}
        The loss.

    Raises
    ------
    ValueError
        If the data do not fit the network, or a value is not finite.
    """
    n_classes = getattr(data, "n_classes", None)
    raw = getattr(data, "splits", data)
    if not isinstance(raw, Mapping) or "train" not in raw:
        raise ValueError(
            "data must be a Problem or a dict {'train': (X, y), ...} with at least the key 'train'"
        )
    splits: dict[str, Split] = {}
    for key, pair in raw.items():
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise ValueError(f"split {key!r} must be a pair (X, y)")
        X = check_inputs(f"X of split {key!r}", pair[0], network, dtype, device)
        y = _tensor(pair[1]).to(device)
        if len(y.shape) == 0 or len(y) != len(X):
            raise ValueError(
                f"split {key!r}: X has {len(X)} rows and y has shape {tuple(y.shape)}; they must agree"
            )
        if loss is None:  # "train" need not be first in the dict, but all splits have the same kind of y
            loss = "squared" if y.is_floating_point() else "cross_entropy"
        checks.one_of("loss", loss, LOSSES)
        if loss == "cross_entropy":
            labels = _labels(key, y, network.n_outputs, n_classes)
            splits[key] = Split(X, labels, F.one_hot(labels, network.n_outputs).T.to(dtype).contiguous())
        else:
            targets = y.to(dtype).reshape(len(y), -1)
            if targets.shape[1] != network.n_outputs:
                raise ValueError(
                    f"split {key!r}: y has {targets.shape[1]} targets per row, but {network} has "
                    f"{network.n_outputs} outputs; they must agree"
                )
            if not torch.isfinite(targets).all():
                raise ValueError(f"y of split {key!r} holds NaN or infinite values; drop these rows first")
            splits[key] = Split(X, None, targets.T.contiguous())
    return splits, loss


def _labels(key: str, y: Tensor, n_outputs: int, n_classes: int | None) -> Tensor:
    if y.ndim != 1 or y.is_floating_point():
        raise ValueError(
            f"split {key!r}: the cross-entropy needs integer class numbers of shape (n,), got {y.dtype} of "
            f"shape {tuple(y.shape)}; convert y, or use loss='squared'"
        )
    y = y.long()
    top = int(y.max())
    if int(y.min()) < 0:
        raise ValueError(f"split {key!r}: class numbers must be 0, 1, …, got {int(y.min())}")
    if top >= n_outputs or (n_classes is not None and n_classes != n_outputs):
        raise ValueError(
            f"the network has {n_outputs} outputs, but the data have {n_classes or top + 1} classes; "
            "the last size of the network must be the number of classes"
        )
    return y


def outputs_in_parts(network: MLP | CNN, params: dict[str, Tensor], X: Tensor) -> Iterator[Tensor]:
    """Compute outputs for consecutive rows, so few at a time that memory stays bounded.

    Parameters
    ----------
    network : MLP or CNN
        The specification.
    params : dict of str to Tensor, shape (K, ...)
        Parameters of K copies.
    X : Tensor, shape (n, ...)
        Inputs.

    Yields
    ------
    Tensor, shape (K, rows, n_outputs)
        Part by part.
    """
    n_models = len(next(iter(params.values())))
    numbers = EVALUATION_NUMBERS if X.device.type == "cpu" else 128 * EVALUATION_NUMBERS
    for part in X.split(max(16, int(numbers / (n_models * network.activations_per_sample)))):
        yield network.forward(params, part)
