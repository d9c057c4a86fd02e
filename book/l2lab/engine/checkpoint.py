"""What a run of :func:`l2lab.engine.fit` needs to go on where it was killed: generators and a file."""

from __future__ import annotations

import os
import pickle
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import torch

from ..layers import L2RegularizationLayer

__all__ = ["Checkpoint", "kept_generators", "uncompiled"]


def _generator_states(device: torch.device) -> dict[str, Any]:
    """States of all global generators, as tensors and numbers that any checkpoint can hold."""
    kind, keys, *rest = np.random.get_state()  # noqa: NPY002 - the global one is meant
    states = {
        "torch": torch.get_rng_state(),
        "numpy": (kind, torch.from_numpy(keys.astype(np.int64)), *rest),
        "python": random.getstate(),
    }
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    if device.type == "mps":
        states["mps"] = torch.mps.get_rng_state()
    return states


def _set_generator_states(states: Mapping[str, Any], device: torch.device) -> None:
    torch.set_rng_state(states["torch"])
    kind, keys, *rest = states["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002
    random.setstate(states["python"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)
    if device.type == "mps" and "mps" in states:
        torch.mps.set_rng_state(states["mps"])


@contextmanager
def kept_generators(device: torch.device) -> Iterator[None]:
    """Put the global generators of the CPU and of a device back afterwards."""
    before = _generator_states(device)
    try:
        yield
    finally:
        _set_generator_states(before, device)


def _plain(value: Any) -> Any:
    """Turn NumPy's numbers into Python's: a checkpoint holds nothing else, so that it can run no code."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return type(value)(map(_plain, value)) if type(value) in (list, tuple) else value


def uncompiled(model: torch.nn.Module) -> torch.nn.Module:
    """Look behind torch.compile, whose name would stand in every key."""
    return getattr(model, "_orig_mod", model)


def _fingerprint(loop: Any, arguments: Mapping[str, Any]) -> dict[str, str]:
    """Describe what must be the same for a run to go on, by the names of the arguments of `fit`."""
    model = uncompiled(loop.model)
    groups = [
        {key: _plain(value) for key, value in group.items() if key not in ("params", "initial_lr")}
        for group in loop.optimizer.param_groups
    ]
    # λ of a layer is a part of the structure; former checkpoints do not have it among the values
    lams = {
        f"{name}.strength".lstrip(".")
        for name, part in model.named_modules()
        if isinstance(part, L2RegularizationLayer)
    }
    weights = [value.cpu().numpy() for name, value in model.state_dict().items() if name not in lams]
    schedule = None if loop.scheduler is None else _plain(loop.scheduler.state_dict())
    criterion = getattr(loop.criterion, "__qualname__", type(loop.criterion).__qualname__)
    return {
        "model (structure)": repr(model),
        "model (initial weights)": joblib.hash(weights),
        "train": loop.train.fingerprint(),
        "valid": "None" if loop.valid is None else loop.valid.fingerprint(),
        "criterion": criterion,
        "optimizer": f"{type(loop.optimizer).__name__} {groups}",
        "scheduler": f"{type(loop.scheduler).__name__} {schedule}",
        "amp": str(loop.precision),
        **{name: str(value) for name, value in arguments.items()},
    }


class Checkpoint:
    """The file from which a killed run goes on: `loop` is the state of `fit`, with other arguments."""

    def __init__(self, path: Path, loop: Any, arguments: Mapping[str, Any]) -> None:
        self.path, self.loop = path, loop
        self.fingerprint = _fingerprint(loop, arguments)
        path.parent.mkdir(parents=True, exist_ok=True)

    def save(self) -> None:
        """Write a temporary file and rename it: at no time is there half a checkpoint."""
        loop = self.loop
        state = {
            "fingerprint": self.fingerprint,
            "history": loop.history,
            "best_epoch": loop.best_epoch,
            "best": loop.best,
            "model": uncompiled(loop.model).state_dict(),
            "optimizer": _plain(loop.optimizer.state_dict()),
            "scheduler": None if loop.scheduler is None else _plain(loop.scheduler.state_dict()),
            "scaler": loop.scaler.state_dict(),
            "generators": _generator_states(loop.device),
        }
        part = self.path.with_name(f".{self.path.name}.part")
        with part.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(self.path)

    def load(self) -> None:
        """Restore everything, if the file exists.

        A file that is damaged or belongs to a call with other arguments is left alone, with a ValueError.
        """
        if not self.path.exists():
            return
        try:
            # only tensors and plain numbers: a checkpoint from elsewhere cannot run code
            state = torch.load(self.path, map_location="cpu", weights_only=True)
            written = state["fingerprint"]
        except (OSError, EOFError, RuntimeError, KeyError, pickle.UnpicklingError) as error:
            reason = str(error).partition("\n")[0]
            raise ValueError(
                f"{self.path} is damaged or no checkpoint of fit ({reason}); delete it or name another file"
            ) from None
        other = [name for name in self.fingerprint if written.get(name) != self.fingerprint[name]]
        if other:
            raise ValueError(
                f"checkpoint {self.path} was written by a call with other arguments: {', '.join(other)}. To "
                "go on, call fit as then, with model, optimizer and scheduler made anew in the same way; to "
                "start again, delete the file or name another one"
            )
        loop = self.loop
        uncompiled(loop.model).load_state_dict(state["model"])
        loop.optimizer.load_state_dict(state["optimizer"])
        if loop.scheduler is not None:
            loop.scheduler.load_state_dict(state["scheduler"])
        loop.scaler.load_state_dict(state["scaler"])
        loop.history, loop.best_epoch, loop.best = state["history"], state["best_epoch"], state["best"]
        _set_generator_states(state["generators"], loop.device)
