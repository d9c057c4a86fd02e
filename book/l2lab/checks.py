"""Argument checks, said once: each returns the value, or says what is wrong and what would be right."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

__all__ = ["axis", "number", "one_of", "whole"]


def whole(name: str, value: Any, least: int) -> int:
    """Check an integer that must be at least `least`; `name` is what the message calls it."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}")
    return int(value)


def number(name: str, value: float, low: float, high: float, *, open_low: bool = False) -> float:
    """Check that a number lies in [low, high), or in (low, high)."""
    if not (low <= value < high) or (open_low and value == low):
        raise ValueError(f"{name} must be in {'(' if open_low else '['}{low:g}, {high:g}), got {value!r}")
    return float(value)


def one_of(name: str, value: str, known: Iterable[str]) -> str:
    """Check that a word is known."""
    known = tuple(known)
    if value not in known:
        raise ValueError(f"{name}={value!r} is not known; use one of {', '.join(map(repr, known))}")
    return value


def axis(name: str, values: Any, example: str) -> np.ndarray:
    """Turn a number or a sequence into a 1-D array of at least one finite float64."""
    try:
        array = np.atleast_1d(np.asarray(values, dtype=np.float64))
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be a number or a sequence of numbers, got {values!r}") from None
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"{name} must be a number or a non-empty 1-D sequence, for example {example}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, got {array[~np.isfinite(array)][0]}")
    return array
