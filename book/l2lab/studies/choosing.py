"""The study of the chapter "Choosing λ": what moves the best λ, when decay acts, a recipe, and grokking.

**Protocol, fixed before the stored run.** Settings were tried on seeds below 100; the stored ones start at
`FIRST_SEED`. λ is chosen on the validation rows; test rows are looked at once, for the numbers reported.

1. *What moves the best λ*. A network with one hidden layer learns digits, 20 % of them with wrong labels
   or none. One number (`AXES`) is varied at a time around `BASE`. The best λ of a repetition (`best_lam`) has
   the smallest validation loss; the slope of its logarithm against that of the number is fitted over the
   values at which a penalty `helps`: the best λ lowers the mean validation loss by at least `HELPS`.
   Predicted slopes (n, batch, rate): ridge −1, 0, 0; a timescale that is constant in epochs −1, +1, −1; the
   noise in the gradients of AdamW, (2.9) of the book, −1, +½, 0.
2. *When decay acts* (`WINDOWS`): λ counts in all steps, in one half of them, or in none; constant rate.
3. *The recipe*: on four tasks a full grid is trained, and `follow` reads out of it what each of `CHOICES`
   picks, and how many runs it had to train. Reported: accuracy on the test rows, or for regression the loss.
4. *Grokking*: addition modulo `MODULUS`, full batch, AdamW. A network has memorized when 99 % of the training
   pairs are right, and generalized when half of the others are.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .. import data, runtime
from ..checks import one_of
from ..compare import TASKS as BOOK_TASKS
from ..data import Problem
from ..engine import MLP, Descent, minibatches, sweep
from ..engine.descend import on_weights
from .record import FOLDER, Record, code_hash, hash_of

__all__ = [
    "AXES", "BASE", "CHOICES", "GRID_LAMS", "GRID_LRS", "HELPS", "LAMS", "LRS", "MODULUS", "TASKS", "WINDOWS",
    "best_lam", "follow", "helps", "main", "noisy_digits", "slopes",
]  # fmt: skip

FIRST_SEED = 100
# profile -> repetitions; each has its own rows, wrong labels, first weights and batches
REPETITIONS = {"quick": 6, "full": 20}

BASE = {"n": 200, "batch": 20, "epochs": 60, "rate": 1.0, "width": 32}
AXES: dict[str, tuple[float, ...]] = {
    "n": (100, 200, 400, 800),
    "batch": (5, 10, 20, 40, 80),
    "epochs": (6, 20, 60, 180),
    "rate": (1 / 9, 1 / 3, 1.0, 3.0),
    "width": (16, 32, 64, 128, 256),
}
LRS = {"adamw": 0.012, "sgd": 0.1}  # at rate 1
LAMS = {"adamw": np.logspace(-2, 2, 17), "sgd": np.logspace(-4, 0, 17)}
HELPS = 0.2

# share of the steps, from … to, in which λ counts
WINDOWS = {"always": (0.0, 1.0), "first half": (0.0, 0.5), "second half": (0.5, 1.0), "never": (0.0, 0.0)}

GRID_LRS = {"adamw": (0.001, 0.003, 0.01, 0.03), "sgd": (0.01, 0.03, 0.1, 0.3)}
GRID_LAMS = {"adamw": np.r_[0.0, np.logspace(-2, 2, 9)], "sgd": np.r_[0.0, np.logspace(-4, 0, 9)]}
DEFAULT = {"adamw": 1, "sgd": 0}  # position of the library's weight_decay: 0.01 and 0
CHOICES = ("default", "rate by validation", "recipe", "with step 6", "full grid")

MODULUS, HIDDEN, SHARE, GROK_LR = 47, 128, 0.6, 0.01
GROK_LAMS = (3.0, 1.5, 0.75, 0.4, 0.2, 0.1, 0.0)
GROK_LRS = (0.005, 0.02)  # also tried, at λ = 0.75


def noisy_digits(seed: int, n: int, label_noise: float = 0.2) -> Problem:
    """Digits with wrong labels for training and validation, and n training rows (at most 898)."""
    noise = {"label_noise": label_noise, "noisy_valid": True} if label_noise else {}
    return data.digits(n, seed=seed, fractions=(0.5, 0.25, 0.25), **noise)


# ---- what moves the best λ ---------------------------------------------------------------------------------


def _scale(optimizer: str, label_noise: float, setting: dict[str, float], seeds: list[int]) -> list[dict]:
    """Train all λ for every repetition of one setting."""
    n, batch, width = (int(setting[key]) for key in ("n", "batch", "width"))
    runs = [
        _quiet_sweep(
            MLP((64, width, 10)), noisy_digits(seed, n, label_noise), LAMS[optimizer], seeds=seed,
            lrs=LRS[optimizer] * setting["rate"], optimizer=optimizer, batch_size=batch, batch_seed=seed,
            steps=round(setting["epochs"] * n / batch), schedule="cosine", progress=False,
        )
        for seed in seeds
    ]  # fmt: skip
    keys = ("train_loss", "valid_loss", "test_loss", "test_accuracy")
    return [{key: _rounded([run.metrics[key][:, 0, 0] for run in runs]) for key in keys}]


def _quiet_sweep(*args: Any, **options: Any) -> Any:
    """Sweep without a warning: models that diverge are NaN, and are never chosen."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return sweep(*args, **options)


_array = partial(np.array, dtype=np.float64)  # of nested lists, with None for NaN


def _rounded(values: Any) -> Any:
    """Nested lists of five digits; None where a model diverged."""
    if np.ndim(values):
        return [_rounded(value) for value in values]
    return float(f"{values:.5g}") if np.isfinite(values) else None


def best_lam(lams: Sequence[float], losses: Sequence[float]) -> float:
    """Find the λ of the smallest loss: a parabola over log λ through it and its neighbours.

    `lams` are evenly spaced on a logarithmic axis. At an end of the grid, or beside a model that diverged
    (NaN), it is the λ of the grid.
    """
    x, y = np.log(lams), np.asarray(losses, dtype=np.float64)
    i = int(np.nanargmin(y))
    if i in (0, len(y) - 1) or not np.isfinite(y[i - 1 : i + 2]).all():
        return float(lams[i])
    below, here, above = y[i - 1 : i + 2]
    bend = below - 2 * here + above
    return float(np.exp(x[i] + (0.5 * (below - above) / bend if bend > 0 else 0.0) * (x[1] - x[0])))


def helps(valid_losses: Any) -> float:
    """By which share the best λ lowers the mean validation loss of the smallest λ; losses (repetition, λ)."""
    mean = np.asarray(valid_losses, dtype=np.float64).mean(axis=0)
    return float(1 - np.nanmin(mean) / mean[0])


def slopes(rows: list[dict], axis: str, lams: Sequence[float]) -> np.ndarray:
    """Fit the slope of log best λ against the log of the varied number, for each repetition.

    `rows` are of one optimizer and one kind of labels, `axis` is a key of `AXES`. The slope is fitted over
    the values at which a penalty helps (`HELPS`), and NaN if these are fewer than two.
    """
    used = [row for row in rows if row["axis"] == axis and helps(_array(row["valid_loss"])) >= HELPS]
    if len(used) < 2:
        return np.full(len(rows[0]["valid_loss"]), np.nan)
    best = [[best_lam(lams, losses) for losses in _array(row["valid_loss"])] for row in used]
    return np.polyfit(np.log([row["value"] for row in used]), np.log(best), 1)[0]


# ---- when decay acts ---------------------------------------------------------------------------------------


def _when(optimizer: str, window: tuple[float, float], seeds: list[int]) -> list[dict]:
    """Train all λ for every repetition, with λ counting in a part of the steps."""
    n, batch, steps = BASE["n"], BASE["batch"], BASE["epochs"] * BASE["n"] // BASE["batch"]
    lams, found = LAMS[optimizer], {"valid_loss": [], "test_loss": [], "test_accuracy": []}
    network = MLP((64, BASE["width"], 10))
    start, stop = (share * steps for share in window)
    for seed in seeds:
        problem = noisy_digits(seed, n)
        X, y = (torch.tensor(part) for part in problem.splits["train"])
        X, batches = X.float(), minibatches(n, batch, steps, seed)

        def loss(params: dict[str, Tensor], t: int, X=X, y=y, batches=batches) -> Tensor:
            return _cross_entropy(network.forward(params, X[batches[t]]), y[batches[t]])

        params = network.init([seed] * len(lams))
        lam = on_weights(params, torch.tensor(lams, dtype=torch.float32))
        Descent(
            params, loss, lr=LRS[optimizer] / 3, lam=lam, optimizer=optimizer,
            share=lambda t: float(start <= t < stop),
        ).run(steps)  # fmt: skip
        for split in ("valid", "test"):
            X, y = (torch.tensor(part) for part in problem.splits[split])
            outputs = network.forward(params, X.float())
            found[f"{split}_loss"].append(_cross_entropy(outputs, y).numpy())
        found["test_accuracy"].append((outputs.argmax(2) == y).float().mean(1).numpy())
    return [{key: _rounded(value) for key, value in found.items()}]


def _cross_entropy(outputs: Tensor, y: Tensor) -> Tensor:
    """Compute the mean loss of every copy from its outputs (K, rows, classes)."""
    return F.cross_entropy(outputs.transpose(1, 2), y.expand(len(outputs), -1), reduction="none").mean(1)


# ---- the recipe --------------------------------------------------------------------------------------------

# name -> problem of a seed, hidden units (0: a linear model)
TASKS: dict[str, tuple[Callable[[int], Problem], int]] = {
    "digits, wrong labels": (partial(noisy_digits, n=200), 32),
    "breast cancer, 30 + 30 noise": (BOOK_TASKS["breast_cancer"].problem, 32),
    "Friedman, 5 of 100 inputs": (BOOK_TASKS["friedman"].problem, 32),
    "linear, all 100 inputs": (BOOK_TASKS["linear_dense"].problem, 0),
}


def _grid(task: str, optimizer: str, seeds: list[int]) -> list[dict]:
    """Train the full grid for every repetition."""
    make, hidden = TASKS[task]
    rows = []
    for seed in seeds:
        problem = make(seed)
        sizes = [problem.n_features, hidden, problem.n_classes or 1]
        run = _quiet_sweep(
            MLP(tuple(size for size in sizes if size)), problem, GRID_LAMS[optimizer], seeds=seed,
            lrs=GRID_LRS[optimizer], optimizer=optimizer, batch_size=20, batch_seed=seed, steps=600,
            schedule="cosine", progress=False,
        )  # fmt: skip
        kept = {key: value[:, 0] for key, value in run.metrics.items() if key != "train_accuracy"}
        rows.append({"seed": seed, **{key: _rounded(value) for key, value in kept.items()}})
    return rows


def follow(choice: str, optimizer: str, train_loss: Any, valid_loss: Any) -> tuple[int, int, int]:
    """Follow one of `CHOICES`: position of λ, position of the learning rate, number of runs trained.

    The losses (λ, learning rate) are those of the full grid: λ = 0, then a factor √10 between neighbours; NaN
    or None where a model diverged. The choices, with all but one comparison by validation loss, are

    - ``"default"``: the library's λ, and the best learning rate for it;
    - ``"recipe"``: the learning rate with the smallest *training* loss at λ = 0; for it λ in steps of 10, and
      the neighbours of the best at √10;
    - ``"with step 6"``: this, and then the best of all learning rates at its λ;
    - ``"rate by validation"``: the same, but the smallest validation loss decides on the learning rate too;
    - ``"full grid"``: the best of all.
    """
    one_of("choice", choice, CHOICES)
    train, valid = _array(train_loss), _array(valid_loss)
    if choice == "full grid":
        i, r = np.unravel_index(np.nanargmin(valid), valid.shape)
        return int(i), int(r), valid.size
    if choice == "default":
        i = DEFAULT[optimizer]
        return i, int(np.nanargmin(valid[i])), valid.shape[1]
    r = int(np.nanargmin((valid if choice == "rate by validation" else train)[0]))
    seen = [0, *range(1, len(valid), 2)]
    coarse = seen[int(np.nanargmin(valid[seen, r]))]
    seen += [i for i in (coarse - 1, coarse + 1) if coarse and 0 < i < len(valid)]
    i, runs = seen[int(np.nanargmin(valid[seen, r]))], valid.shape[1] + len(seen) - 1
    if choice != "with step 6" or i == 0:
        return i, r, runs
    return i, int(np.nanargmin(valid[i])), runs + valid.shape[1] - 1


# ---- grokking ----------------------------------------------------------------------------------------------


def _grok(lam: float, lr: float, steps: int, seeds: list[int]) -> list[dict]:
    """Train one network per seed together, and find the steps at which each memorizes and generalizes."""
    p, copies = MODULUS, torch.arange(len(seeds))[:, None]
    numbers, orders, networks = torch.arange(p), [], []
    for seed in seeds:
        g = torch.Generator().manual_seed(seed)
        orders.append(torch.randperm(p * p, generator=g))
        networks.append([torch.randn(size, generator=g) for size in ((p, HIDDEN), (p, HIDDEN), (HIDDEN, p))])
    a, b, out = (torch.stack(parts) for parts in zip(*networks, strict=True))
    params = {"a": a / 8**0.5, "b": b / 8**0.5, "out": out / (4 * HIDDEN) ** 0.5}
    sums = (numbers[:, None] + numbers).flatten() % p
    training, others = torch.stack(orders).split([m := round(SHARE * p * p), p * p - m], dim=1)

    def outputs(params: dict[str, Tensor], pairs: Tensor) -> Tensor:
        hidden = params["a"][copies, pairs // p] + params["b"][copies, pairs % p]
        return (hidden.square() @ params["out"]).transpose(1, 2)

    def loss(params: dict[str, Tensor], t: int) -> Tensor:
        return F.cross_entropy(outputs(params, training), sums[training], reduction="none").mean(1)

    descent = Descent(params, loss, lr=lr, lam=dict.fromkeys(params, lam), optimizer="adamw")
    found = [{"seed": seed, "memorized": None, "generalized": None} for seed in seeds]
    for stop in range(every := max(2, steps // 250), steps + 1, every):
        descent.run(stop)
        answers = [(rows, outputs(params, rows).argmax(1)) for rows in (training, others)]
        right = [(answer == sums[rows]).float().mean(1) for rows, answer in answers]
        norms = sum(value.square().sum((1, 2)) for value in params.values()).sqrt()
        for row, train, other, norm in zip(found, *right, norms, strict=True):
            for event, reached in (("memorized", train >= 0.99), ("generalized", other >= 0.5)):
                if row[event] is None and reached:
                    row |= {event: stop, f"norm_{event}": _rounded(norm.item())}
            row["test_accuracy"] = _rounded(other.item())
    return found


# ---- all of it ---------------------------------------------------------------------------------------------


def main(profile: str = "quick", folder: str | Path = FOLDER) -> dict[str, Any]:
    """Run the study and write ``choosing-<profile>.json``, a table for each part of the protocol.

    `profile` is ``"quick"`` (6 repetitions, some ten minutes on one core) or ``"full"`` (20); a ValueError
    says so if it is another.
    """
    count = REPETITIONS[one_of("profile", profile, REPETITIONS)]
    seeds = list(range(FIRST_SEED, FIRST_SEED + count))
    runtime.setup()
    record = Record(Path(folder) / f"choosing-{profile}.json", code_hash("choosing"))

    def rows(part: str, about: dict[str, Any], source: str, run: Callable, seeds: list[int] = seeds) -> list:
        measured = record.rows({"part": part, **about, "seeds": seeds}, source, partial(run, seeds))
        return [{**about, **row} for row in measured]

    digits_hash = hash_of(*(noisy_digits(seed, 800).content_hash for seed in seeds))
    scale, when, grids, grok = [], [], [], []
    for optimizer in LAMS:
        for label_noise, axes in ((0.2, list(AXES)), (0.0, ["n"])):
            for axis in axes:
                for value in AXES[axis]:
                    about = {"optimizer": optimizer, "label_noise": label_noise, "axis": axis, "value": value}
                    run = partial(_scale, optimizer, label_noise, {**BASE, axis: value})
                    scale += rows("scale", about, digits_hash, run)
        for window, limits in WINDOWS.items():
            about = {"optimizer": optimizer, "window": window}
            when += rows("when", about, digits_hash, partial(_when, optimizer, limits))
        for task, (make, _) in TASKS.items():
            source = hash_of(*(make(seed).content_hash for seed in seeds))
            about = {"optimizer": optimizer, "task": task}
            grids += rows("recipe", about, source, partial(_grid, task, optimizer))
    for lam, lr in [*((lam, GROK_LR) for lam in GROK_LAMS), *((0.75, lr) for lr in GROK_LRS)]:
        steps = round(3 / (lr * (lam or GROK_LAMS[-2])) + 200)
        about = {"lam": lam, "lr": lr, "steps": steps}
        run = partial(_grok, lam, lr, steps)
        grok += rows("grokking", about, f"addition modulo {MODULUS}", run, seeds[:5])
    content = {
        "what": "what moves the best λ, when decay acts, a recipe, and grokking",
        "profile": profile,
        "seeds": seeds,
        "base": BASE,
        "lams": {optimizer: _rounded(lams) for optimizer, lams in LAMS.items()},
    }
    return record.finish({**content, "scale": scale, "when": when, "recipe": grids, "grokking": grok})
