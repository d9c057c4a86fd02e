"""Ways to feed pictures of different sizes to one network, part of the study of images."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..data import PictureSet, letterbox, pad_batch, size_buckets
from ..layers import param_groups

__all__ = ["epoch_of", "feeders", "run_sizes"]

BATCH = 32
Batch = tuple[Tensor, Tensor | None]


class _Feeder(NamedTuple):
    """One way to make batches."""

    # The rows of each batch, from n and the epoch.
    order: Callable[[int, int], list[np.ndarray]]
    # From rows and split: pieces to run through the network one after the other, images and mask.
    batch: Callable[[np.ndarray, str], list[Batch]]


def _shuffled(n: int, epoch: int) -> list[np.ndarray]:
    rows = np.random.default_rng(epoch).permutation(n)
    return [rows[i : i + BATCH] for i in range(0, n, BATCH)]


def feeders(pictures: PictureSet, image_size: int) -> dict[str, _Feeder]:
    """Make batches in five ways; the last three show the pictures in their own resolution."""

    def stretch(split: str) -> Tensor:
        alone = (pad_batch([picture])[0] for picture in pictures[split].pictures)
        side = (image_size, image_size)
        return torch.cat([F.interpolate(x, side, mode="bilinear", antialias=True) for x in alone])

    boxed = {split: letterbox(pictures[split].pictures, image_size) for split in pictures.splits}
    stretched = {split: stretch(split) for split in pictures.splits}
    mean, sd = float(boxed["train"].mean()), float(boxed["train"].std())
    sizes = pictures.sizes("train")

    def ink(x: Tensor) -> Tensor:
        return (mean - x) / sd

    def squares(source: dict[str, Tensor], rows: np.ndarray, split: str) -> list[Batch]:
        return [(ink(source[split][torch.as_tensor(rows)]), None)]

    def padded(rows: np.ndarray, split: str) -> list[Batch]:
        x, mask = pad_batch([pictures[split].pictures[i] for i in rows])
        return [(ink(x) * mask, mask)]

    def singles(rows: np.ndarray, split: str) -> list[Batch]:
        return [(ink(pad_batch([pictures[split].pictures[i]])[0]), None) for i in rows]

    return {
        "stretched": _Feeder(_shuffled, partial(squares, stretched)),
        "letterboxed": _Feeder(_shuffled, partial(squares, boxed)),
        "padded": _Feeder(_shuffled, padded),
        "padded, buckets": _Feeder(lambda n, epoch: size_buckets(sizes[:n], BATCH, epoch), padded),
        "one by one": _Feeder(_shuffled, singles),
    }


def epoch_of(
    model: nn.Module, feeder: _Feeder, labels: np.ndarray, epoch: int, update: Callable[[Tensor], None]
) -> None:
    """Go once through the training pictures, or the first n; `update` gets the mean loss of a batch."""
    for rows in feeder.order(len(labels), epoch):
        logits = torch.cat([model(x, mask) for x, mask in feeder.batch(rows, "train")])
        update(F.cross_entropy(logits, torch.as_tensor(labels[rows])))


def run_sizes(
    pictures: PictureSet, start: Callable[[], nn.Module], image_size: int, epochs: int, seed: int, lam: float
) -> list[dict[str, Any]]:
    """Train the network of `start` on pictures that are fed in different ways; a row for each way."""
    rows = []
    for name, feeder in feeders(pictures, image_size).items():
        model = start()
        optimizer = torch.optim.SGD(param_groups(model, lam), lr=0.03, momentum=0.9)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, 0.03, epochs * math.ceil(len(pictures["train"]) / BATCH), cycle_momentum=False
        )

        def update(loss: Tensor, optimizer=optimizer, schedule=schedule) -> None:
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()

        for epoch in range(epochs):
            epoch_of(model, feeder, pictures["train"].labels, epoch, update)
        row = {"method": name, "seed": seed}
        for split in ("valid", "test"):
            chunks = np.array_split(np.arange(len(pictures[split])), 20)
            with torch.no_grad():
                pieces = [piece for chunk in chunks for piece in feeder.batch(chunk, split)]
                logits = torch.cat([model(x, mask) for x, mask in pieces])
            right = logits.argmax(1).numpy() == pictures[split].labels
            row[f"{split}_accuracy"] = round(float(right.mean()), 4)
        rows.append(row)
    return rows
