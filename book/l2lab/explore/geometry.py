"""Ridge, lasso and the box of AdamW with two weights, solved exactly: what `geometry_panel` draws."""

from __future__ import annotations

import numpy as np

__all__ = ["box_2d", "lasso_2d", "ridge_2d"]


def ridge_2d(hessian: np.ndarray, w_star: np.ndarray, lam: float) -> np.ndarray:
    """Return the minimum of ½ (w − w*)ᵀ H (w − w*) + ½ λ ‖w‖₂².

    Parameters
    ----------
    hessian, w_star : ndarray of shape (2, 2), ndarray of shape (2,)
        Symmetric positive definite matrix H, and the minimum without penalty.
    lam : float
        λ, at least 0.

    Returns
    -------
    ndarray of shape (2,)
    """
    return np.linalg.solve(hessian + lam * np.eye(2), hessian @ w_star)


def lasso_2d(hessian: np.ndarray, w_star: np.ndarray, lam: float) -> np.ndarray:
    """Return the minimum of ½ (w − w*)ᵀ H (w − w*) + λ ‖w‖₁, exactly.

    Compares the stationary points of all sign patterns: none zero (four), one zero (two), both zero.

    Parameters
    ----------
    hessian, w_star, lam : ndarray of shape (2, 2), ndarray of shape (2,), float
        As for `ridge_2d`.

    Returns
    -------
    ndarray of shape (2,)
        The solution; its zeros are exact.
    """
    g = hessian @ w_star
    found = [np.zeros(2)]
    for j in (0, 1):
        w = np.zeros(2)
        w[j] = np.sign(g[j]) * max(abs(g[j]) - lam, 0.0) / hessian[j, j]
        found.append(w)
    for s in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
        w = np.linalg.solve(hessian, g - lam * np.array(s))
        if np.all(w * s > 0):
            found.append(w)
    loss = [0.5 * (w - w_star) @ hessian @ (w - w_star) + lam * np.abs(w).sum() for w in found]
    return found[int(np.argmin(loss))]


def box_2d(hessian: np.ndarray, w_star: np.ndarray, lam: float) -> np.ndarray:
    """Return the minimum of ½ (w − w*)ᵀ H (w − w*) with ``|w₁|, |w₂| ≤ 1/λ``.

    This is where AdamW on full batches comes to rest (Xie and Li, ICML 2024). A minimum outside the box lies
    on a wall: one weight is fixed there, and the other, at its best given the first, is clipped.

    Parameters
    ----------
    hessian, w_star, lam : ndarray of shape (2, 2), ndarray of shape (2,), float
        As for `ridge_2d`; at λ = 0 there is no box.

    Returns
    -------
    ndarray of shape (2,)
        The solution; a weight at its wall is exactly ±1/λ.
    """
    half = np.inf if lam == 0 else 1 / lam
    if np.abs(w_star).max() <= half:
        return np.array(w_star, dtype=float)
    found = []
    for j in (0, 1):
        for wall in (-half, half):
            w = np.full(2, wall)
            pull = hessian[0, 1] * (wall - w_star[j]) / hessian[1 - j, 1 - j]
            w[1 - j] = np.clip(w_star[1 - j] - pull, -half, half)
            found.append(w)
    loss = [(w - w_star) @ hessian @ (w - w_star) for w in found]
    return found[int(np.argmin(loss))]
