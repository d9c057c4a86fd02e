"""Feature selection on four well-known tables, split as usual and split without a leak.

Rows of these tables come in families: fifteen measurements of one mouse, pictures of one object five degrees
apart, two utterances of one speaker. A random split puts members of a family on both sides; so the same
methods run twice, on random test rows and on whole families. :func:`load` says where the data come from.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .. import runtime
from ..checks import one_of
from .contests import split_table
from .record import FOLDER, Record, code_hash
from .selection import Ranking, rank_and_score, rankings

__all__ = ["TABLES", "Table", "load", "main"]

MISSING = ("", "?", "NA", "NaN")
ALL = "no selection"
# profile -> seeds of the splits, which overlap
SEEDS = {"quick": range(100, 103), "full": range(2000, 2020)}


@dataclass(frozen=True)
class Table:
    """A table of the study.

    Parameters
    ----------
    file, shape : str, tuple of int
        Its name in the folder of the data; rows and features.
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

    The data are not part of the book, because they have terms of their own. The folder must hold

    - ``mice_protein.csv.gz``: a header, 1080 rows with MouseID, 77 protein levels, genotype, treatment,
      behaviour and class. Mouse 309 was measured as 309_1, 309_2, …
    - ``coil20.npz``: X (1440, 1024) and y (1440,), 72 poses of one object after the other, in order
    - ``isolet1.npz``: X (1560, 617) and y (1560,), the first of five parts: 60 rows of each letter, two by
      each of 30 speakers, who have the same order in all letters (which their averages over two halves of
      the letters confirm)
    - ``madelon.npz``: X (2600, 500) and y (2600,)

    The first, the third and the fourth are on OpenML: ``sklearn.datasets.fetch_openml`` with the names
    ``MiceProtein``, ``isolet`` (all five parts, speaker by speaker) and ``madelon``.

    Parameters
    ----------
    name, folder : str, str or Path
        A key of `TABLES`, and where the files are.

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
            f"{table.file} is not in {folder}; help(l2lab.studies.tables.load) says what it must hold"
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


def _held_out_rows(name: str, y: np.ndarray, families: np.ndarray | None, seed: int) -> dict[str, np.ndarray]:
    """Draw the test rows of each split, a mask.

    The leak-free split holds out two mice of each class, 18 poses in a row (90 degrees) or 23 % of the
    speakers; the random one as many rows of each class, or a quarter if there are no families.
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


def _run_split(
    X: np.ndarray, y: np.ndarray, test: np.ndarray, ks: tuple[int, ...], rank: Ranking | None, seed: int
) -> list[dict[str, Any]]:
    """Select features without the test rows, and test a network on them; without `rank` all features stay.

    NaN becomes the median of the rows for learning.
    """
    X = np.where(np.isnan(X), np.nanmedian(X[~test], axis=0), X)
    ks = ks if rank else (X.shape[1],)
    learn = np.random.default_rng([seed, 1]).permutation(np.flatnonzero(~test))
    problem = split_table("table", X, y, None, learn, np.flatnonzero(test))
    _, seconds, accuracies = rank_and_score(problem, rank, ks, seed)
    return [
        {"k": k, "accuracy": round(accuracy, 4), "path_seconds": round(seconds, 2)}
        for k, accuracy in zip(ks, accuracies, strict=True)
    ]


def main(
    profile: str = "quick", folder: str | Path = FOLDER, data_dir: str | Path | None = None
) -> dict[str, Any]:
    """Run the study and write ``tables-<profile>.json``.

    Parameters
    ----------
    profile : {"quick", "full"}
        3 splits (25 minutes on one core), or 20 other ones.
    folder, data_dir : str or Path
        Where to, and where the data are; see :func:`load`.

    Returns
    -------
    dict
        What was written.

    Raises
    ------
    ValueError
        If there is no such profile, or `data_dir` does not hold the data.
    """
    seeds = list(SEEDS[one_of("profile", profile, SEEDS)])
    if data_dir is None:
        raise ValueError("say where the tables are: --data-dir DIR; l2lab.studies.tables.load describes them")
    loaded = {name: load(name, data_dir) for name in TABLES}
    runtime.setup()
    record = Record(Path(folder) / f"tables-{profile}.json", code_hash("contests", "selection", "tables"))
    competitors = {ALL: None, **rankings()}
    rows = []
    for seed in seeds:
        for name, (X, y, families, sha256) in loaded.items():
            ks = TABLES[name].ks
            for split, test in _held_out_rows(name, y, families, seed).items():
                for method, rank in competitors.items():
                    if method == "LassoNet" and not TABLES[name].lassonet:
                        continue
                    key = {"table": name, "split": split, "seed": seed, "method": method}
                    run = partial(_run_split, X, y, test, ks, rank, seed)
                    rows += [{**key, **row} for row in record.rows({**key, "ks": ks}, sha256, run)]
    content = {
        "what": "feature selection on known tables, with random and with leak-free splits",
        "profile": profile,
        "seeds": seeds,
        "protocol": "selectors and refits see no test rows, and do not know the families; "
        "LassoNet only on mice protein, elsewhere its path would take too long for this study",
        "sha256": {TABLES[name].file: sha256 for name, (*_, sha256) in loaded.items()},
        "rows": rows,
    }
    return record.finish(content)
