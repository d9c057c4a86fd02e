"""λ against no λ in a classifier of pictures, each with a learning rate of its own, on sealed families.

The rules were written before any score on the sealed pictures was seen: ``book/protocol.md``, in its
section "λ in a classifier of pictures".
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

__all__ = ["GRID", "choose", "main"]

SEEDS = (200, 201, 202)
# (epochs, augmentation): pairs of learning rate and λ.
GRID = {
    (40, True): [(0.003, 0.0), *product((0.01, 0.03), (0.0, 0.003, 0.01, 0.02))],
    (160, True): [(0.003, 0.0), (0.01, 0.0), (0.01, 0.01), *product((0.03,), (0.0, 0.003, 0.01))],
    (40, False): [(0.003, 0.0), *product((0.01, 0.03), (0.0, 0.003, 0.01, 0.02))],
    (160, False): [*product((0.01, 0.03), (0.0, 0.01))],
}
KEYS = ("epochs", "augment", "lr", "lam", "seed")
SIZE = 24


def choose(rows: list[dict[str, Any]], key: str, decayed: bool, stage: tuple | None = None) -> tuple:
    """Choose epochs, augmentation, learning rate and λ by the mean validation loss or accuracy.

    Among the rows with λ > 0 or among those without, and in one stage of `GRID` or in all.
    """
    values: dict[tuple, list[float]] = {}
    for row in rows:
        if (row["lam"] > 0) == decayed and stage in (None, _of(row)[:2]):
            values.setdefault(_of(row), []).append(row[key] if key.endswith("loss") else -row[key])
    return min(values, key=lambda setting: np.mean(values[setting]))


def _of(row: dict[str, Any]) -> tuple:
    """Find the setting of a row, without its seed."""
    return tuple(row[name] for name in KEYS[:-1])


def _file(folder: Path, row: dict[str, Any]) -> Path:
    return folder / "sealed-networks" / f"{'-'.join(f'{row[name]:g}' for name in KEYS)}.pt"


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
    stages = (None, *dict.fromkeys(_of(row)[:2] for row in rows))
    sides = product(("valid_loss", "valid_accuracy"), (False, True), stages)
    chosen, looks = {choose(rows, *side) for side in sides}, []
    for row, split in product([row for row in rows if _of(row) in chosen], ("sealed", "test")):
        net = ImageClassifier()
        net.load_state_dict(torch.load(_file(folder, row)))
        logits = predict(net, X[split])
        families, which = np.unique(pictures[split].groups, return_inverse=True)
        losses = F.cross_entropy(logits, y[split], reduction="none")
        per_picture = {"hits": logits.argmax(1) == y[split], "losses": losses}
        sums = {k: np.bincount(which, v.numpy()).round(3).tolist() for k, v in per_picture.items()}
        about = {key: row[key] for key in KEYS} | {"split": split, "families": families.tolist()}
        looks.append(about | sums)
    what = "λ against no λ, each with its own learning rate; hits and losses are sums over families"
    return record.finish({"what": what, "data_hash": pictures.content_hash, "looks": looks, "rows": rows})
