"""Take parts out of a network for good: what is dead leaves the memory, and the outputs stay.

A part is a channel of ``conv1`` to ``conv3``, a pooled feature, or a unit of ``fc1``. Its strength is the
norm of the weights with which the next layer reads it; if that is zero, nobody reads it and it can go.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from . import checks
from .engine.convnets import ImageClassifier

__all__ = ["PARTS", "alive", "cost", "part_strength", "prune"]

# Kind of part -> the layer that reads it.
PARTS = {"conv1": "conv2", "conv2": "conv3", "conv3": "conv4", "pooled": "fc1", "fc1": "fc2"}
# A part is alive if its strength is above this share of the strongest part of its kind.
ALIVE = 1e-3


def part_strength(model: ImageClassifier) -> dict[str, Tensor]:
    """Return with which norm each part is read by the layer after it, gates multiplied in.

    Parameters
    ----------
    model : ImageClassifier
        With gates or without.

    Returns
    -------
    dict of str to Tensor, shape (number of parts,)
        For "conv1", "conv2", "conv3", "pooled" and "fc1".
    """
    return {
        part: getattr(model, reader).weight.detach().movedim(1, 0).flatten(1).norm(dim=1)
        for part, reader in PARTS.items()
    }


def alive(model: ImageClassifier) -> dict[str, Tensor]:
    """Tell which parts are read: those above a thousandth of the strongest part of their kind.

    Parameters
    ----------
    model : ImageClassifier
        With gates or without.

    Returns
    -------
    dict of str to Tensor of bool
        As :func:`part_strength`. At least one part of each kind is alive.
    """
    kept = {}
    for part, s in part_strength(model).items():
        kept[part] = s >= max(ALIVE * float(s.max()), 1e-30)
        if not kept[part].any():
            kept[part][0] = True
    return kept


def choose_parts(
    model: ImageClassifier, sizes: Mapping[str, int], seed: int | None = None
) -> dict[str, Tensor]:
    """Choose `sizes` parts to keep: the strongest, which is magnitude pruning, or some by lot with a seed."""
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    kept, strength = {}, part_strength(model)
    for part, n in sizes.items():
        s = strength[part]
        order = s.argsort(descending=True) if seed is None else torch.randperm(len(s), generator=generator)
        kept[part] = torch.zeros_like(s, dtype=torch.bool)
        kept[part][order[:n].to(s.device)] = True
    return kept


@torch.no_grad()
def prune(model: ImageClassifier, keep: Mapping[str, Tensor] | None = None) -> ImageClassifier:
    """Build the smaller network that is left when parts are taken out.

    Gates are multiplied into the weights. A channel of ``conv4`` goes if none of its pooled features stays.
    If all that goes has strength 0, the outputs are the same up to rounding.

    Parameters
    ----------
    model, keep : ImageClassifier, mapping of str to Tensor of bool
        The parent, which is not changed; True for parts to keep, by the names of :func:`part_strength`, where
        what is not named stays. Default: :func:`alive`.

    Returns
    -------
    ImageClassifier
        A new network without gates, on the same device, in the same mode.
    """
    kept = alive(model) if keep is None else keep
    sizes = {part: len(s) for part, s in part_strength(model).items()}
    for part, mask in kept.items():
        checks.one_of("part", part, sizes)
        if mask.dtype != torch.bool or mask.shape != (sizes[part],) or not mask.any():
            raise ValueError(f"keep[{part!r}] must be a mask of {sizes[part]} bool, and keep at least one")
    where = model.fc2.weight.device
    index = {
        part: kept[part].to(where).nonzero()[:, 0] if part in kept else torch.arange(n, device=where)
        for part, n in sizes.items()
    }
    fields = model.grid**2
    n_channels = model.conv4.weight.shape[0]
    seen = torch.arange(n_channels * fields, device=where) if model.features is None else model.features
    used = seen[index["pooled"]]  # numbers of the pooled features that stay, in the parent's maps
    index["conv4"] = (used // fields).unique()
    place = torch.full((n_channels,), -1, device=where)
    place[index["conv4"]] = torch.arange(len(index["conv4"]), device=where)
    features = place[used // fields] * fields + used % fields
    channels = tuple(len(index[f"conv{k}"]) for k in (1, 2, 3, 4))
    features = None if len(features) == channels[3] * fields else features
    n_in, n_out = model.conv1.weight.shape[1], model.fc2.weight.shape[0]
    child = ImageClassifier(n_in, n_out, channels, model.grid, len(index["fc1"]), features)
    child = child.to(model.fc2.weight)
    inputs = {reader: index[part] for part, reader in PARTS.items()}
    for name in ("conv1", "conv2", "conv3", "conv4", "fc1", "fc2"):
        old, new = getattr(model, name), getattr(child, name)
        rows, columns = (chosen.get(name, slice(None)) for chosen in (index, inputs))
        new.weight.copy_(old.weight[rows][:, columns])
        new.bias.copy_(old.bias[rows])
    return child.train(model.training)


class Cost(NamedTuple):
    """What a network costs: parameters, operations for one image, median time for a batch."""

    parameters: int
    flops: int
    milliseconds: float


def cost(model: nn.Module, image: Tensor, batch_size: int = 64, repeats: int = 15) -> Cost:
    """Measure size, work and time of a network.

    Parameters
    ----------
    model, image : torch.nn.Module, Tensor of shape (C, H, W)
        Any classifier of images, and what it gets.
    batch_size, repeats : int, default 64 and 15
        Images in the batch that is timed, and how often.

    Returns
    -------
    Cost
        A multiplication and an addition count as two operations; the device is that of the model.
    """
    parameter = next(model.parameters())
    batch = image.to(parameter).expand(batch_size, *image.shape).contiguous()
    counter = FlopCounterMode(display=False)
    times = []
    with torch.inference_mode():
        with counter:
            model(batch[:1])
        for _ in range(repeats + 1):
            started = time.perf_counter()
            model(batch)
            if parameter.device.type == "cuda":
                torch.cuda.synchronize(parameter.device)
            times.append(time.perf_counter() - started)
    size = sum(p.numel() for p in model.parameters())
    return Cost(size, counter.get_total_flops(), 1e3 * statistics.median(times[1:]))
