"""λ against no λ in a classifier of pictures, on families that nobody had seen: rules, runs, and a look.

The rules were written before any network was scored on the sealed pictures of Pictograms-20 (321 pictures
by 31 families, :func:`l2lab.data.load_pictograms20`); the pictures had been looked at only for wrong labels.

1. Networks, data and optimizer are those of :mod:`l2lab.studies.images`: 40 or 160 epochs, with augmentation
   or without, and the settings of `GRID`: learning rate × λ, so that λ = 0 has a learning rate of its own.
2. Seeds 200, 201 and 202, one after the other, each through all stages of `GRID`; a seed counts in a stage
   that it is through with. The run may be stopped for want of time, never for a result.
3. In each stage there are two sides, λ = 0 and λ > 0. Each is represented by its setting with the smallest
   mean validation loss over the seeds, and *all in all* by the smallest of all stages. The same is done with
   the validation accuracy; that is the second reading.
4. ``--final`` scores these networks, and no others, on the sealed pictures, once. Hits and losses of the
   seeds are averaged picture by picture, the two sides subtracted, and 10,000 times as many families drawn as
   there are, with replacement: the 95 % interval is between the 2.5 and 97.5 % quantiles of the mean.
5. λ is *better* (or *worse*) where the interval of the accuracy leaves out zero. The claim of the chapter is
   the line *all in all*, chosen by loss; the other lines are for information, as is the old test part, which
   had been seen.
"""

from __future__ import annotations

from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from .. import checks, runtime
from ..data import letterbox, load_pictograms20, standardize
from ..engine.convnets import ImageClassifier, predict, random_shift, train_all
from .images import scores
from .record import FOLDER, Record, code_hash

__all__ = ["GRID", "by_family", "choose", "main"]

SEEDS = (200, 201, 202)
# (epochs, augmentation): pairs of learning rate and λ.
GRID = {
    (40, True): [(0.003, 0.0), *product((0.01, 0.03), (0.0, 0.003, 0.01, 0.02))],
    (160, True): [(0.003, 0.0), (0.01, 0.0), (0.01, 0.01), *product((0.03,), (0.0, 0.003, 0.01))],
    (40, False): [(0.003, 0.0), *product((0.01, 0.03), (0.0, 0.003, 0.01, 0.02))],
    (160, False): [*product((0.01, 0.03), (0.0, 0.01))],
}
KEYS = ("epochs", "augment", "lr", "lam", "seed")
SIZE, DRAWS = 24, 10_000


def by_family(values: np.ndarray, groups: np.ndarray, draws: int = DRAWS) -> tuple[float, float, float]:
    """Mean of a value per picture, and the ends of its 95 % interval if whole families are drawn anew."""
    _, which, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    sums = np.bincount(which, values)
    drawn = np.random.default_rng(0).integers(len(sizes), size=(draws, len(sizes)))
    low, high = np.quantile(sums[drawn].sum(1) / sizes[drawn].sum(1), (0.025, 0.975))
    return float(np.mean(values)), float(low), float(high)


def choose(rows: list[dict[str, Any]], key: str, decayed: bool, stage: tuple | None = None) -> tuple:
    """Choose epochs, augmentation, learning rate and λ by the mean validation loss or accuracy."""
    sign = 1 if key.endswith("loss") else -1
    values: dict[tuple, list[float]] = {}
    for row in rows:
        if (row["lam"] > 0) == decayed and stage in (None, _of(row)[:2]):
            values.setdefault(_of(row), []).append(sign * row[key])
    return min(values, key=lambda setting: np.mean(values[setting]))


def _of(row: dict[str, Any]) -> tuple:
    """Find the setting of a row, without its seed."""
    return tuple(row[name] for name in KEYS[:-1])


def _run(folder: Path, X: dict, y: dict, setting: dict[str, Any]) -> list[dict[str, float]]:
    """Train one network and keep it in a file; its scores on training and validation pictures."""
    epochs, augment, lr, lam, seed = setting.values()
    torch.manual_seed(seed)
    options = {"epochs": epochs, "lr": lr, "augment": random_shift if augment else None, "seed": seed}
    (net,) = train_all([ImageClassifier()], X["train"], y["train"], [lam], **options, progress=False)
    _file(folder, setting).parent.mkdir(parents=True, exist_ok=True)
    torch.save(net.state_dict(), _file(folder, setting))
    found = {split: scores(net, X[split], y[split]) for split in ("train", "valid")}
    return [{f"{split}_{key}": v for split, of in found.items() for key, v in of.items()}]


def _file(folder: Path, setting: dict[str, Any]) -> Path:
    return folder / "sealed-networks" / f"{'-'.join(f'{value:g}' for value in setting.values())}.pt"


def _look(X: torch.Tensor, y: torch.Tensor, files: list[Path]) -> np.ndarray:
    """Hits and losses of networks per picture, mean over the networks: shape (2, n)."""
    found = []
    for file in files:
        net = ImageClassifier()
        net.load_state_dict(torch.load(file))
        logits = predict(net, X)
        hits = (logits.argmax(1) == y).float()
        found.append(torch.stack([hits, F.cross_entropy(logits, y, reduction="none")]))
    return torch.stack(found).mean(0).double().numpy()


def _compare(folder: Path, rows: list[dict[str, Any]], key: str, stage: tuple | None, X, y, groups) -> dict:
    """Score the two sides of a stage, or of all, on the sealed and on the old test pictures."""
    chosen = [choose(rows, key, decayed, stage) for decayed in (False, True)]
    line: dict[str, Any] = {"chosen_by": key, "stage": stage, "plain": chosen[0], "decay": chosen[1]}
    settings = [[{name: row[name] for name in KEYS} for row in rows if _of(row) == c] for c in chosen]
    line["train_accuracy"] = [
        float(np.mean([row["train_accuracy"] for row in rows if _of(row) == c])) for c in chosen
    ]
    for split in ("sealed", "test"):
        files = [[_file(folder, setting) for setting in side] for side in settings]
        plain, decay = (_look(X[split], y[split], side) for side in files)
        for k, what in enumerate(("accuracy", "loss")):
            line[f"{split}_{what}"] = [float(plain[k].mean()), float(decay[k].mean())]
            line[f"{split}_{what}_gain"] = by_family(decay[k] - plain[k], groups[split])
    return line


def main(profile: str = "quick", folder: str | Path = FOLDER, final: bool = False) -> dict[str, Any]:
    """Train all networks and keep them in `folder`; with `final` look at the sealed pictures, and write."""
    checks.one_of("profile", profile, ("quick",))
    runtime.setup()
    folder, data = Path(folder), load_pictograms20().content_hash
    pictures = load_pictograms20(sealed=final)
    boxed = {split: letterbox(pictures[split].pictures, SIZE) for split in pictures.splits}
    X = dict(zip(boxed, standardize(*boxed.values(), invert=True), strict=True))
    y = {split: torch.as_tensor(pictures[split].labels) for split in X}
    record, rows = Record(folder / f"sealed-{profile}.json", code_hash("sealed")), []
    for seed, stage in product(SEEDS, GRID):
        settings = [dict(zip(KEYS, (*stage, *pair, seed), strict=True)) for pair in GRID[stage]]
        if final and not all(_file(folder, setting).exists() for setting in settings):
            continue
        for setting in settings:
            found = record.rows(setting, data, partial(_run, folder, X, y, setting))
            rows += [{**setting, **row} for row in found]
    if not final:
        return {"rows": rows}
    groups = {split: pictures[split].groups for split in X}
    stages = (None, *dict.fromkeys(_of(row)[:2] for row in rows))
    keys = ("valid_loss", "valid_accuracy")
    content = {
        "what": "λ against no λ on sealed pictures, each with its own learning rate",
        "data_hash": pictures.content_hash,
        "compared": [_compare(folder, rows, k, stage, X, y, groups) for k, stage in product(keys, stages)],
        "rows": rows,
    }
    return record.finish(content)
