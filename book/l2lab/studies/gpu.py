"""Does a GPU compute what the CPU computes, and how fast: ``make gpu-check``.

Training code of the chapters, shortened so that rounding has not grown yet, runs on the CPU and on the
device, and the results are compared: a λ sweep (chapters 1, 2, 5), the selector (4), the training loop with
the L2 layer (5), many image networks at once (6). Mixed precision is compared with float32 on the CPU.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from .. import data, runtime
from ..engine import MLP, convnets, fit, sweep
from ..layers import L2RegularizationLayer
from ..select import L2GateSelector
from .record import RESULTS, provenance, write

__all__ = ["main"]


def _sweep(device: torch.device, dtype: torch.dtype) -> np.ndarray:
    options: dict[str, Any] = {"steps": 60, "batch_size": 50, "schedule": "cosine", "progress": False}
    lams = np.logspace(-4, -1, 8)
    network, splits = MLP((64, 32, 10)), data.digits(seed=0).splits
    return sweep(network, splits, lams, seeds=range(4), dtype=dtype, device=device, **options).weights()


def _fit(device: torch.device, dtype: torch.dtype, amp: bool = False) -> np.ndarray:
    splits = data.digits(seed=0).splits
    torch.manual_seed(0)
    model = L2RegularizationLayer(MLP((64, 64, 10)).module().to(device, dtype), 0.03)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    result = fit(
        model, splits["train"], splits["valid"], criterion=nn.CrossEntropyLoss(), optimizer=optimizer,
        epochs=3, batch_size=50, amp=amp, device=device, progress=False,
    )  # fmt: skip
    return np.stack([result.history[name] for name in ("train_loss", "valid_loss", "penalty")])


def _pictures(device: torch.device, dtype: torch.dtype) -> np.ndarray:
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(128, 1, 24, 24, generator=generator).to(dtype)
    y = torch.randint(20, (128,), generator=generator)
    models = []
    for seed in range(4):
        torch.manual_seed(seed)
        models.append(convnets.gate_parts(convnets.ImageClassifier().to(dtype)))
    options = {"epochs": 2, "ramp": (0.3, 0.5), "gate_lr": 3.0, "augment": convnets.random_shift}
    done = convnets.train_all(models, X, y, [0.0, 1e-3, 3e-3, 1e-2], **options, device=device, progress=False)
    return np.concatenate([p.detach().cpu().numpy().ravel() for m in done for p in m.parameters()])


def _selector(device: torch.device, dtype: torch.dtype) -> np.ndarray:
    """Which inputs are kept; it always computes in float32."""
    p = data.sparse_regression(n=200, p=30, n_true=5, snr=5, seed=0)
    selector = L2GateSelector(5, n_folds=2, rounds=1, steps=300, device=device, random_state=0)
    return selector.fit(p.X_train, p.y_train).support_


# What runs, in which precision, and how far the device may be from the CPU.
CHECKS = (
    ("λ sweep, 32 networks", _sweep, "float64", 1e-8),
    ("λ sweep, 32 networks", _sweep, "float32", 1e-3),
    ("training loop with the layer", _fit, "float64", 1e-8),
    ("training loop with the layer", _fit, "float32", 1e-3),
    ("training loop with the layer", _fit, "mixed", 0.05),
    ("4 gated image networks", _pictures, "float64", 1e-7),
    ("4 gated image networks", _pictures, "float32", 1e-2),
    ("selector, kept inputs", _selector, "float32", 0.0),
)


def _timed(run: Callable[..., np.ndarray], *args: Any) -> tuple[np.ndarray, float]:
    """Run twice, since libraries prepare themselves in a first run; the result is on the CPU when it ends."""
    run(*args)
    started = time.perf_counter()
    return run(*args), time.perf_counter() - started


def main(profile: str, folder: str | Path | None = None) -> None:
    """Compare, print a table and write ``gpu-<name of the device>.json``; fail if a result differs.

    The profile has no meaning here. Without a GPU there has to be a folder: the CPU is compared with itself.
    """
    device, cpu = runtime.pick_device(), torch.device("cpu")
    if device.type == "cpu" and folder is None:
        raise SystemExit("there is no GPU that can be used; for a dry run on the CPU name a --folder")
    name, rows = runtime.processor_name(device), []
    for what, run, precision, limit in CHECKS:
        if device.type == "mps" and precision == "float64":  # which it does not have
            continue
        dtype = torch.float64 if precision == "float64" else torch.float32
        expected, on_cpu = _timed(run, cpu, dtype)
        found, seconds = _timed(run, device, dtype, *[True] * (precision == "mixed"))
        gap = float(np.abs(found.astype(float) - expected.astype(float)).max())
        row = {"check": what, "precision": precision, "difference": gap, "limit": limit}
        rows.append(row | {"seconds": round(seconds, 3), "seconds_cpu": round(on_cpu, 3)})
        print(f"{what:30s}{precision:9s}{gap:9.1e}, limit {limit:7.0e}"
              f"{seconds:9.2f} s, CPU {on_cpu:.2f} s", flush=True)  # fmt: skip
    what = "training code of the chapters on a GPU, compared with the CPU"
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    path = Path(folder or RESULTS) / f"gpu-{slug}.json"
    write(path, {"what": what, **provenance(), "machine": name, "device": device.type, "rows": rows})
    print(f"wrote {path.name}")
    if wrong := [row for row in rows if not row["difference"] <= row["limit"]]:
        raise SystemExit(f"{len(wrong)} of {len(rows)} results are not those of the CPU")
