"""Argument checks, said once: each returns the value, or says what is wrong and what would be right."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

__all__ = ["axis", "number", "one_of", "whole"]


def whole(name: str, value: Any, least: int) -> int:
    """Check an integer.

    Parameters
    ----------
    name : str
        What the message calls it.
    value : Any
        What was given.
    least : int
        Smallest value that is allowed.

    Returns
    -------
    int
        The value.

    Raises
    ------
    ValueError
        If it is no integer (True is none), or too small.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}")
    return int(value)


def number(name: str, value: float, low: float, high: float, *, open_low: bool = False) -> float:
    """Check that a number lies in [low, high).

    Parameters
    ----------
    name : str
        What the message calls it.
    value : float
        What was given.
    low, high : float
        Bounds.
    open_low : bool, default False
        Whether `low` itself is not allowed.

    Returns
    -------
    float
        The value.

    Raises
    ------
    ValueError
        If it lies outside.
    """
    if not (low <= value < high) or (open_low and value == low):
        raise ValueError(f"{name} must be in {'(' if open_low else '['}{low:g}, {high:g}), got {value!r}")
    return float(value)


def one_of(name: str, value: str, known: Iterable[str]) -> str:
    """Check that a word is known.

    Parameters
    ----------
    name : str
        What the message calls it.
    value : str
        What was given.
    known : iterable of str
        All that may be given.

    Returns
    -------
    str
        The value.

    Raises
    ------
    ValueError
        If it is none of them.
    """
    known = tuple(known)
    if value not in known:
        raise ValueError(f"{name}={value!r} is not known; use one of {', '.join(map(repr, known))}")
    return value


def axis(name: str, values: Any, example: str) -> np.ndarray:
    """Turn a number or a sequence into a 1-D array of finite numbers.

    Parameters
    ----------
    name : str
        What the message calls it.
    values : float, or array_like or iterable of float
        What was given; tensors too.
    example : str
        What the message shows as right.

    Returns
    -------
    ndarray of float64, shape (n,)
        At least one number.

    Raises
    ------
    ValueError
        If it is anything else.
    """
    if hasattr(values, "detach"):
        values = values.detach().cpu().numpy()
    elif not isinstance(values, np.ndarray) and isinstance(values, Iterable):
        values = list(values)
    try:
        array = np.atleast_1d(np.asarray(values, dtype=np.float64))
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be a number or a sequence of numbers, got {values!r}") from None
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"{name} must be a number or a non-empty 1-D sequence, for example {example}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, got {array[~np.isfinite(array)][0]}")
    return array
