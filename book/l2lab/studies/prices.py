"""What a smaller network costs: gates, magnitude and lot at equal size, after equal fine-tuning.

The rules were written before any of these networks was trained: ``book/protocol.md``, in its section "The
price of a smaller network".
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import checks, runtime
from ..data import letterbox, load_pictograms20, standardize
from ..engine.convnets import ImageClassifier, gate_parts, predict, random_shift, train_all
from ..prune import alive, choose_parts, prune
from .images import GATE_LR, RAMP, TRUNK
from .record import FOLDER, Record, code_hash

__all__ = ["LAMS", "main"]

SEEDS = range(200, 205)
LAMS = (0.003, 0.004, 0.005, 0.006, 0.008)
EPOCHS, PLAIN_LAM, SIZE = 80, 0.01, 24
FINE_TUNING = {"epochs": 10, "lr": 0.01}


def _start(seed: int) -> ImageClassifier:
    torch.manual_seed(seed)
    return ImageClassifier()


def _run(X: dict[str, Tensor], y: dict[str, Tensor], groups: np.ndarray, seed: int) -> list[dict[str, Any]]:
    """Train, prune and fine-tune all networks of a seed; hits on the sealed pictures, summed by family."""
    which = np.unique(groups, return_inverse=True)[1]

    def train(networks: list, lams: list[float], **options: Any) -> list:
        options |= {"augment": random_shift, "seed": seed, "progress": False}
        return train_all(networks, X["train"], y["train"], lams, **options)

    def hits(network: ImageClassifier) -> list[int]:
        right = predict(network, X["sealed"]).argmax(1) == y["sealed"]
        return np.bincount(which, right.numpy()).astype(int).tolist()

    (plain,) = train([_start(seed)], [PLAIN_LAM], epochs=EPOCHS)
    how = {"gate_lr": GATE_LR, "ramp": RAMP, "fixed": TRUNK, "epochs": EPOCHS}
    gated = train([gate_parts(_start(seed)) for _ in LAMS], list(LAMS), **how)
    networks = {("plain", 0.0): plain}
    for lam, network in zip(LAMS, gated, strict=True):
        sizes = {part: int(mask.sum()) for part, mask in alive(network).items()}
        networks["gates", lam] = prune(network)
        networks["magnitude", lam] = prune(plain, choose_parts(plain, sizes))
        networks["random", lam] = prune(plain, choose_parts(plain, sizes, seed))
    rows = []
    for (method, lam), network in networks.items():
        row = {"seed": seed, "method": method, "lam": lam}
        row |= {"parameters": sum(p.numel() for p in network.parameters()), "pruned": hits(network)}
        train([network], [PLAIN_LAM], **FINE_TUNING)
        rows.append(row | {"tuned": hits(network)})
    return rows


def main(profile: str = "quick", folder: str | Path = FOLDER) -> dict[str, Any]:
    """Run the study and write ``prices-quick.json``: some ten minutes on one core."""
    checks.one_of("profile", profile, ("quick",))
    runtime.setup()
    pictures = load_pictograms20(sealed=True)
    boxed = {split: letterbox(pictures[split].pictures, SIZE) for split in pictures.splits}
    X = dict(zip(boxed, standardize(*boxed.values(), invert=True), strict=True))
    y = {split: torch.as_tensor(pictures[split].labels) for split in X}
    groups = pictures["sealed"].groups
    record, rows = Record(Path(folder) / f"prices-{profile}.json", code_hash("images", "prices")), []
    for seed in SEEDS:
        rows += record.rows({"seed": seed}, pictures.content_hash, partial(_run, X, y, groups, seed))
    families, sizes = np.unique(groups, return_counts=True)
    about = {"families": families.tolist(), "sizes": sizes.tolist(), "seeds": list(SEEDS)}
    return record.finish({"what": "price of a smaller network, by size", **about, "rows": rows})
