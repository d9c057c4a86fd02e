"""Where and how the book computes: device, seeds, threads and the size of the experiments.

Two environment variables overrule it: ``L2LAB_DEVICE`` (``cpu``, ``mps``, ``cuda``, ``cuda:1``), and
``L2LAB_PROFILE``: ``quick`` (the default: a chapter runs in minutes on two CPU cores) or ``full``.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import random
import re
import warnings
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from . import checks

__all__ = ["Runtime", "choose", "pick_device", "setup", "versions"]

# What a report of an error should name, in this order.
NAMED = ("l2lab", "torch", "numpy", "matplotlib", "ipywidgets", "anywidget")
T = TypeVar("T")


class Runtime(NamedTuple):
    """What :func:`setup` has chosen."""

    device: torch.device
    profile: str
    seed: int
    threads: int


def profile() -> str:
    """Return the profile named by ``L2LAB_PROFILE``: ``"quick"`` (also when it is not set) or ``"full"``."""
    name = os.environ.get("L2LAB_PROFILE", "").strip().lower() or "quick"
    return checks.one_of("L2LAB_PROFILE", name, ("quick", "full"))


def choose(*, quick: T, full: T) -> T:
    """Return one of two values, by profile.

    Parameters
    ----------
    quick, full : object
        The value for each profile.

    Returns
    -------
    object
        One of them.
    """
    return {"quick": quick, "full": full}[profile()]


def processor_name(device: str | torch.device = "cpu") -> str:
    """Name the processor of a device, and not the computer, for a result file."""
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    named = re.search(r"(?m)^model name\s*:\s*(.+?)\s*$", cpuinfo.read_text() if cpuinfo.exists() else "")
    return named[1] if named else platform.processor() or platform.machine()


def seed_everything(seed: int) -> None:
    """Seed the global generators of Python, NumPy and torch (all devices) with a number below 2³²."""
    seed = checks.whole("seed", seed, 0)
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - libraries that use the legacy generator must be seeded, too
    torch.manual_seed(seed)


def _why_unusable(device: torch.device) -> str | None:
    """Try a tiny computation on `device`; return None if it works, else the reason in one line."""
    try:
        (torch.ones(2, device=device) * 2).sum().item()
    except (RuntimeError, AssertionError) as error:  # torch without CUDA raises AssertionError
        return (str(error).strip().splitlines() or [type(error).__name__])[0]
    return None


def _choose_device(prefer: str | torch.device | None = None) -> tuple[torch.device, str | None]:
    """Do what :func:`pick_device` says; return the device and, in one line, why it is not the wanted one."""
    wanted = prefer or os.environ.get("L2LAB_DEVICE", "").strip()
    if not wanted:
        present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
        wanted = next(name for name, there in present.items() if there)
    try:
        device = torch.device(wanted)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda", "mps"):
        source = "prefer" if prefer is not None else "L2LAB_DEVICE"
        raise ValueError(f"{source}={wanted!r} is not a device; use 'cpu', 'cuda', 'cuda:0' or 'mps'")
    if device.type != "cpu" and (reason := _why_unusable(device)) is not None:
        return torch.device("cpu"), f"{device} cannot be used, so the CPU is: {reason}"
    return device, None


def pick_device(prefer: str | torch.device | None = None) -> torch.device:
    """Choose the device: CUDA, else MPS (Apple), else CPU.

    Parameters
    ----------
    prefer : str or torch.device, optional
        Take this device instead; by default that of ``L2LAB_DEVICE``, if it is set.

    Returns
    -------
    torch.device
        Tried with a tiny tensor: if that fails (no free memory, driver too old) it is the CPU, with a warning
        that says why.
    """
    device, why_not = _choose_device(prefer)
    if why_not:
        warnings.warn(why_not, RuntimeWarning, stacklevel=2)
    return device


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return f"{device} ({platform.machine()})"


def versions() -> str:
    """Say in one line what runs here: versions and device, as a report of an error should begin."""
    device, why_not = _choose_device()
    parts = [f"Python {platform.python_version()}"]
    for name in NAMED:
        # not there: l2lab as a folder of the search path, or a kernel without widgets
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            parts.append(f"{name} {importlib.metadata.version(name)}")
    parts.append(f"device {_device_name(device)}")
    return ", ".join(parts) + (f"; {why_not}" if why_not else "")


def setup(seed: int = 0, threads: int = 1) -> Runtime:
    """Prepare torch for the book and print in one line what was chosen, and why a GPU cannot be used.

    Algorithms are deterministic where there are such, and denormal numbers are flushed to zero: dying weights
    pass through them, and arithmetic on them is slow.

    Parameters
    ----------
    seed, threads : int
        Seed of the global generators of Python, NumPy and torch; threads for torch, NumPy and scikit-learn
        on the CPU. On the small networks of this book, two that wait for each other are slower than one.

    Returns
    -------
    Runtime
        Device, profile, seed and threads.
    """
    checks.whole("threads", threads, 1)
    # cuBLAS reads this when it starts; without it, it may choose another algorithm in every run
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # a warning would add two lines; the reason stands at the end of the line that is printed anyway
    device, why_not = _choose_device()
    chosen = Runtime(device, profile(), seed, threads)
    torch.set_num_threads(threads)
    threadpool_limits(threads)  # the BLAS of NumPy and SciPy, OpenMP of scikit-learn
    torch.set_flush_denormal(True)
    # the same switch as use_deterministic_algorithms, which imports torch's compiler first: three seconds
    torch.set_deterministic_debug_mode("warn")
    torch.backends.cudnn.benchmark = False
    seed_everything(seed)
    print(
        f"device {_device_name(chosen.device)}, torch {torch.__version__}, "
        f"{threads} thread{'s' * (threads > 1)}, profile {chosen.profile}, seed {seed}"
        + (f"; {why_not}" if why_not else "")
    )
    return chosen
