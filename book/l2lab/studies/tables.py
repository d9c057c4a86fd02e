"""Feature selection on four well-known tables, split as usual and split without a leak.

Rows of these tables come in families: fifteen measurements of one mouse, pictures of one object five degrees
apart, two utterances of one speaker. The usual random split puts members of a family on both sides, so that
the test rows are half known. This study runs the same methods on the same number of test rows twice, at
random and with whole families held out, and compares.

The data are not part of the book, because they have terms of their own. ``--data-dir`` names a folder with

- ``mice_protein.csv.gz``: a header, 1080 rows with MouseID, 77 protein levels, genotype, treatment,
  behaviour and class. Mouse 309 was measured as 309_1, 309_2, …
- ``coil20.npz``: X (1440, 1024) and y (1440,), 72 poses of one object after the other, in order
- ``isolet1.npz``: X (1560, 617) and y (1560,), the first of five parts: 60 rows of each letter, two by each
  of 30 speakers, who have the same order in all letters
- ``madelon.npz``: X (2600, 500) and y (2600,)

The first, the third and the fourth are on OpenML: ``sklearn.datasets.fetch_openml`` with the names
``MiceProtein``, ``isolet`` (all five parts, speaker by speaker) and ``madelon``.

That the rows of ISOLET are in the order of the speakers was checked: averages over the letters 1 to 13 and
over the letters 14 to 26, both without the mean of each letter, belong together as the order says for all
30 speakers.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import importlib.util
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .. import runtime
from .contests import Contest, split_contest
from .record import RESULTS, provenance, write
from .selection import FIRST_SEED, evaluate, fit

__all__ = ["TABLES", "Table", "held_out_rows", "load", "main", "run_split", "summary"]

MISSING = ("", "?", "NA", "NaN")
ALL = "no selection"
METHODS = ("L2 gates", "STG", "group lasso (prox)", "random forest", "ANOVA")
# profile -> number of seeds, steps
PROFILES: dict[str, tuple[int, int]] = {"quick": (3, 1000), "full": (10, 1000)}


@dataclass(frozen=True)
class Table:
    """A table of the study.

    Parameters
    ----------
    file : str
        Its name in the folder of the data.
    shape : tuple of int
        Rows and features.
    ks : tuple of int
        Numbers of features at which methods are compared: 50 as in the article on LassoNet, and fewer where
        50 are most of them.
    leak_free : str, optional
        Name of the split that keeps families together.
    lassonet : bool, default False
        Whether a path of LassoNet is affordable (on one core, minutes and not hours).
    """

    file: str
    shape: tuple[int, int]
    ks: tuple[int, ...] = (50,)
    leak_free: str | None = None
    lassonet: bool = False


TABLES: dict[str, Table] = {
    "mice protein": Table("mice_protein.csv.gz", (1080, 77), (10, 50), "by mouse", True),
    "COIL-20": Table("coil20.npz", (1440, 1024), leak_free="by pose"),
    "ISOLET": Table("isolet1.npz", (1560, 617), leak_free="by speaker"),
    "MADELON": Table("madelon.npz", (2600, 500)),
}
POSES, HELD_OUT_POSES = 72, 18  # 90 degrees
PER_SPEAKER, HELD_OUT_SHARE = 2, 0.23
HELD_OUT_MICE = 2  # of each class


def load(name: str, folder: str | Path) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, str]:
    """Read a table.

    Parameters
    ----------
    name : str
        A key of `TABLES`.
    folder : str or Path
        Where the files are.

    Returns
    -------
    X : ndarray, shape (n, p)
        Inputs as in the file; NaN where a value is missing.
    y : ndarray of int, shape (n,)
        Classes 0, 1, ….
    families : ndarray of int, shape (n,), or None
        Mouse, pose or speaker of each row.
    sha256 : str
        Of the file.

    Raises
    ------
    ValueError
        If the file is missing or does not have the shape and the order that it should have.
    """
    table = TABLES[name]
    path = Path(folder) / table.file
    if not path.is_file():
        raise ValueError(
            f"{table.file} is not in {folder}; help(l2lab.studies.tables) says what it must hold"
        )
    families = None
    if path.suffix == ".npz":
        with np.load(path) as stored:
            if not {"X", "y"} <= set(stored):
                raise ValueError(f"{table.file} must hold the arrays X and y, got {sorted(stored)}")
            X, labels = stored["X"].astype(np.float64), stored["y"]
    else:
        with gzip.open(path, "rt", encoding="utf-8", newline="") as lines:
            rows = list(csv.reader(lines))[1:]
        labels = np.array([row[-1] for row in rows])
        X = np.array([[np.nan if v in MISSING else float(v) for v in row[1:-4]] for row in rows])
        families = np.unique([row[0].rsplit("_", 1)[0] for row in rows], return_inverse=True)[1]
    if X.shape != table.shape or labels.shape != X.shape[:1]:
        raise ValueError(
            f"{table.file} must have {table.shape} rows and features, got {X.shape}; is it the right file?"
        )
    y = np.unique(labels, return_inverse=True)[1]
    if table.leak_free in ("by pose", "by speaker"):
        # Rows are known by their place, which is worth nothing in another order.
        each = len(y) // (y.max() + 1)
        if not np.array_equal(y, np.repeat(np.arange(y.max() + 1), each)):
            raise ValueError(f"the rows of {table.file} must be sorted by class, with as many in each")
        place = np.tile(np.arange(each), y.max() + 1)
        families = place if table.leak_free == "by pose" else place // PER_SPEAKER
    return X, y, families, hashlib.sha256(path.read_bytes()).hexdigest()


def held_out_rows(name: str, y: np.ndarray, families: np.ndarray | None, seed: int) -> dict[str, np.ndarray]:
    """Draw the test rows.

    Parameters
    ----------
    name : str
        A key of `TABLES`.
    y : ndarray of int, shape (n,)
        Classes.
    families : ndarray of int, shape (n,), or None
        From :func:`load`.
    seed : int
        The draw.

    Returns
    -------
    dict of str to ndarray of bool, shape (n,)
        Split -> test rows. The leak-free split holds out two mice of each class, 18 poses in a row (90
        degrees) or 23 % of the speakers; the random one holds out as many rows of each class. Without
        families, there is only a random one with a quarter of each class.
    """
    rng = np.random.default_rng([seed, 2])
    classes = np.arange(y.max() + 1)
    if families is None:
        return {"random": _random(y, [np.sum(y == c) // 4 for c in classes], rng)}
    split = TABLES[name].leak_free
    members = np.unique(families)
    if split == "by mouse":
        held = np.concatenate(
            [rng.choice(np.unique(families[y == c]), HELD_OUT_MICE, replace=False) for c in classes]
        )
    elif split == "by pose":
        held = (rng.integers(POSES) + np.arange(HELD_OUT_POSES)) % POSES
    else:
        held = rng.choice(members, round(HELD_OUT_SHARE * len(members)), replace=False)
    leak_free = np.isin(families, held)
    return {"random": _random(y, [np.sum(leak_free[y == c]) for c in classes], rng), str(split): leak_free}


def _random(y: np.ndarray, counts: list[int], rng: np.random.Generator) -> np.ndarray:
    """Draw so many rows of each class."""
    chosen = [rng.choice(np.flatnonzero(y == c), count, replace=False) for c, count in enumerate(counts)]
    return np.isin(np.arange(len(y)), np.concatenate(chosen))


def run_split(
    X: np.ndarray,
    y: np.ndarray,
    test: np.ndarray,
    ks: tuple[int, ...],
    methods: tuple[str, ...],
    seed: int,
    steps: int = 1000,
) -> list[dict[str, Any]]:
    """Select features on the training rows and score them on the test rows.

    Parameters
    ----------
    X : ndarray, shape (n, p)
        Inputs; NaN becomes the median of the training rows.
    y : ndarray of int, shape (n,)
        Classes.
    test : ndarray of bool, shape (n,)
        Test rows.
    ks : tuple of int
        Numbers of features.
    methods : tuple of str
        Keys of `l2lab.studies.selection.METHODS`.
    seed : int
        Draws folds, weights and batches.
    steps : int, default 1000
        Updates of each network.

    Returns
    -------
    list of dict
        A row per method and k, and one with all features: ``accuracy`` of the networks that
        :func:`l2lab.studies.selection.evaluate` trains anew, and ``path_seconds``.
    """
    X = np.where(np.isnan(X), np.nanmedian(X[~test], axis=0), X)
    contest = split_contest(
        X, y, np.zeros(X.shape[1], dtype=bool), np.flatnonzero(~test), np.flatnonzero(test), max(ks)
    )
    rows = [
        {"method": ALL, "k": X.shape[1], "accuracy": _accuracy(contest, np.arange(X.shape[1]), seed, steps)}
    ]
    for method in methods:
        selector, seconds = fit(method, contest, seed, steps, max(ks))
        order = np.argsort(-selector.scores_, kind="stable")
        rows += [
            {
                "method": method,
                "k": k,
                "accuracy": _accuracy(contest, order[:k], seed, steps),
                "path_seconds": round(seconds, 2),
            }
            for k in ks
        ]
    return rows


def _accuracy(contest: Contest, columns: np.ndarray, seed: int, steps: int) -> float:
    narrow = replace(
        contest, X=contest.X[:, columns], X_test=contest.X_test[:, columns], truth=contest.truth[columns]
    )
    with torch.inference_mode():
        return round(float(evaluate(narrow, np.ones((1, len(columns)), dtype=bool), seed, steps)[0]), 4)


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Average over the seeds.

    Parameters
    ----------
    rows : list of dict
        Of the result file.

    Returns
    -------
    list of dict
        For each table, split, method and k: mean and standard deviation of the accuracy, and for splits
        without a leak ``leak``, by how much the random split is better on average.
    """
    grouped: dict[tuple[Any, ...], list[float]] = {}
    for row in rows:
        key = tuple(row[name] for name in ("table", "split", "method", "k"))
        grouped.setdefault(key, []).append(row["accuracy"])
    lines = []
    for (table, split, method, k), values in grouped.items():
        line = {"table": table, "split": split, "method": method, "k": k, "seeds": len(values)}
        line["accuracy"] = round(float(np.mean(values)), 4)
        line["accuracy_sd"] = round(float(np.std(values, ddof=1)), 4) if len(values) > 1 else None
        if split != "random":
            line["leak"] = round(float(np.mean(grouped[table, "random", method, k]) - np.mean(values)), 4)
        lines.append(line)
    return lines


def main(profile: str = "quick", data_dir: str | Path | None = None) -> dict[str, Any]:
    """Run the study and write ``book/results/tables-<profile>.json``.

    Parameters
    ----------
    profile : {"quick", "full"}
        3 seeds (25 minutes on one core), or 10.
    data_dir : str or Path
        Folder with the data; see above.

    Returns
    -------
    dict
        What was written.

    Raises
    ------
    ValueError
        If there is no such profile, or `data_dir` does not hold the data.
    """
    if profile not in PROFILES:
        raise ValueError(f"profile must be one of {list(PROFILES)}, got {profile!r}")
    if data_dir is None:
        raise ValueError("say where the tables are: --data-dir DIR; l2lab.studies.tables describes the files")
    n_seeds, steps = PROFILES[profile]
    loaded = {name: load(name, data_dir) for name in TABLES}
    runtime.setup()
    torch.set_num_threads(1)
    have_lassonet = importlib.util.find_spec("lassonet") is not None
    rows: list[dict[str, Any]] = []
    result: dict[str, Any] = {}
    for seed in range(FIRST_SEED, FIRST_SEED + n_seeds):
        for name, (X, y, families, _) in loaded.items():
            table = TABLES[name]
            methods = METHODS + (("LassoNet",) if table.lassonet and have_lassonet else ())
            for split, test in held_out_rows(name, y, families, seed).items():
                new = run_split(X, y, test, table.ks, methods, seed, steps)
                rows += [{"table": name, "split": split, "seed": seed, **row} for row in new]
                for row in new:
                    head = f"{name:13s}{split:11s}{seed:4d}"
                    print(f"{head} {row['method']:19s}{row['k']:5d} {row['accuracy']:.3f}", flush=True)
        result = {
            "what": "feature selection on known tables, with random and with leak-free splits",
            "profile": profile,
            **provenance(),
            "seeds": sorted({row["seed"] for row in rows}),
            "steps": steps,
            "protocol": "selectors and refits see the training rows only, and do not know the families; "
            "LassoNet only on mice protein, elsewhere its path would take too long for this study",
            "sha256": {TABLES[name].file: sha256 for name, (*_, sha256) in loaded.items()},
            "summary": summary(rows),
            "rows": rows,
        }
        write(RESULTS / f"tables-{profile}.json", result)
    print(f"wrote tables-{profile}.json")
    return result
