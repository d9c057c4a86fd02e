"""What a run of :func:`l2lab.engine.fit` needs to go on where it was killed: generators and a file."""

from __future__ import annotations

import hashlib
import os
import pickle
import random
import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .. import runtime

__all__ = ["Checkpoint", "fingerprint", "own_generators", "tensor_hash"]

# Of what is written into a checkpoint; a file of another format is not read.
FORMAT = 1


def _generator_states(device: torch.device) -> dict[str, Any]:
    """States of all global generators, as tensors and numbers that any checkpoint can hold."""
    kind, keys, position, has_gauss, gauss = np.random.get_state()  # noqa: NPY002 - the global one is meant
    states = {
        "torch": torch.get_rng_state(),
        "numpy": (kind, torch.from_numpy(keys.astype(np.int64)), position, has_gauss, gauss),
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
def own_generators(seed: int, device: torch.device) -> Iterator[None]:
    """Seed the global generators, and put them back afterwards.

    Parameters
    ----------
    seed : int
        Seed.
    device : torch.device
        Whose generators, besides those of the CPU.

    Yields
    ------
    None
        While they are seeded.
    """
    before = _generator_states(device)
    runtime.seed_everything(seed)
    try:
        yield
    finally:
        _set_generator_states(before, device)


def tensor_hash(*tensors: Tensor) -> str:
    """Compute a short hash of types, shapes and bits.

    Parameters
    ----------
    *tensors : Tensor
        Any.

    Returns
    -------
    str
        16 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for tensor in tensors:
        tensor = tensor.detach().cpu().contiguous()
        digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


def _describe(thing: Any) -> str:
    """Name a function, or a module such as ``CrossEntropyLoss`` with its settings."""
    if not isinstance(thing, nn.Module):
        thing = getattr(thing, "func", thing)  # of a functools.partial
        return (
            f"{getattr(thing, '__module__', '')}.{getattr(thing, '__qualname__', type(thing).__qualname__)}"
        )
    settings = {
        key: value for key, value in sorted(vars(thing).items()) if isinstance(value, int | float | str)
    }
    return f"{thing!r} {settings} {tensor_hash(*thing.state_dict().values())}"


def fingerprint(
    loop: Any, criterion: Any, batch_size: int, patience: int | None, seed: int
) -> dict[str, str]:
    """Describe what must be the same for a run to go on.

    Parameters
    ----------
    loop : Any
        The state of :func:`l2lab.engine.fit`.
    criterion : Any
        Loss.
    batch_size : int
        Rows of a batch.
    patience : int or None
        When to stop.
    seed : int
        Of rows and model.

    Returns
    -------
    dict of str to str
        By the names of the arguments of `fit`.
    """
    groups = [
        {key: value for key, value in group.items() if key not in ("params", "initial_lr")}
        for group in loop.optimizer.param_groups
    ]
    state = loop.model.state_dict()
    tensors = [value for value in state.values() if isinstance(value, Tensor)]
    scheduler = None if loop.scheduler is None else loop.scheduler.state_dict()
    parts = {
        "model (structure)": f"{loop.model!r} {list(state)}",
        "model (initial weights)": tensor_hash(*tensors),
        "train": loop.train.fingerprint(),
        "valid": "None" if loop.valid is None else loop.valid.fingerprint(),
        "criterion": _describe(criterion),
        "optimizer": f"{type(loop.optimizer).__name__} {groups}",
        "scheduler": f"{type(loop.scheduler).__name__} {scheduler}",
        "batch_size": str(batch_size),
        "patience": str(patience),
        "amp": str(loop.precision),
        "seed": str(seed),
        "metrics": str(list(loop.metrics)),
    }
    # the address of an object is another one in every process
    return {name: re.sub(r" at 0x[0-9a-fA-F]+", "", text) for name, text in parts.items()}


class Checkpoint:
    """The file from which a killed run goes on.

    Parameters
    ----------
    path : Path
        The file.
    fingerprint : dict of str to str
        From :func:`fingerprint`.
    """

    def __init__(self, path: Path, fingerprint: dict[str, str]) -> None:
        self.path, self.fingerprint = path, fingerprint
        self.is_proven = False
        path.parent.mkdir(parents=True, exist_ok=True)

    def save(self, loop: Any) -> None:
        """Write a temporary file and rename it: at no time is there half a checkpoint.

        Parameters
        ----------
        loop : Any
            The state to store.
        """
        state = {
            "format": FORMAT,
            "fingerprint": self.fingerprint,
            "history": loop.history,
            "best_epoch": loop.best_epoch,
            "best": loop.best,
            "model": loop.model.state_dict(),
            "optimizer": loop.optimizer.state_dict(),
            "scheduler": None if loop.scheduler is None else loop.scheduler.state_dict(),
            "scaler": loop.scaler.state_dict(),
            "generators": _generator_states(loop.device),
        }
        part = self.path.with_name(f".{self.path.name}.part")
        with part.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        if not self.is_proven:  # better to learn now than after the crash that it cannot be read
            self._read(part)
            self.is_proven = True
        part.replace(self.path)

    def load_into(self, loop: Any, epochs: int) -> None:
        """Restore everything, if the file exists.

        Parameters
        ----------
        loop : Any
            Gets the state.
        epochs : int
            How many are asked for; fewer than stored are an error.

        Raises
        ------
        ValueError
            If the file is damaged or belongs to a call with other arguments.
        """
        if not self.path.exists():
            return
        state = self._read(self.path)
        written = state["fingerprint"]
        other = [name for name in self.fingerprint if written.get(name) != self.fingerprint[name]]
        if other:
            raise ValueError(
                f"checkpoint {self.path} was written by a call with other arguments: {', '.join(other)}. To "
                "go on, call fit as then, with model, optimizer and scheduler made anew in the same way; to "
                "start again, delete the file or name another one"
            )
        done = len(state["history"]["train_loss"])
        if done > epochs:
            raise ValueError(
                f"checkpoint {self.path} holds {done} epochs, and epochs={epochs} are asked for; use at "
                f"least {done}, or name another file"
            )
        loop.model.load_state_dict(state["model"])
        loop.optimizer.load_state_dict(state["optimizer"])
        if loop.scheduler is not None:
            loop.scheduler.load_state_dict(state["scheduler"])
        loop.scaler.load_state_dict(state["scaler"])
        loop.history, loop.best_epoch = state["history"], state["best_epoch"]
        loop.best = state["best"]
        _set_generator_states(state["generators"], loop.device)
        self.is_proven = True

    def _read(self, path: Path) -> dict[str, Any]:
        try:
            with zipfile.ZipFile(path) as archive:
                damaged = archive.testzip()  # torch does not look at the checksums
            if damaged is None:
                # only tensors and plain numbers: a checkpoint from elsewhere cannot run code
                state = torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            raise ValueError(
                f"checkpoint {self.path} holds more than tensors, numbers, texts and lists of these, so "
                f"that it cannot be read again: {str(error).splitlines()[0]}. Use a scheduler and a model "
                "that keep no other objects in their state_dict"
            ) from None
        except (OSError, EOFError, RuntimeError, ValueError, zipfile.BadZipFile) as error:
            damaged = str(error).partition("\n")[0]
        if damaged is not None:
            raise ValueError(f"checkpoint {self.path} is damaged ({damaged}); delete it or name another file")
        if not isinstance(state, dict) or state.get("format") != FORMAT:
            raise ValueError(f"{self.path} is no checkpoint of fit; name another file")
        return state
