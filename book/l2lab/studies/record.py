"""What every stored result says about itself, and where it is stored."""

from __future__ import annotations

import json
import platform
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
import torch

from .. import runtime

__all__ = ["RESULTS", "provenance", "write"]

RESULTS = Path(__file__).resolve().parents[2] / "results"


def provenance() -> dict[str, Any]:
    """When, where and with what a study ran.

    Returns
    -------
    dict
        Date, machine and versions.
    """
    return {
        "date": date.today().isoformat(),
        "machine": runtime.processor_name(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "scikit-learn": sklearn.__version__,
    }


def write(path: Path, result: dict[str, Any]) -> None:
    """Write a result file.

    Parameters
    ----------
    path : Path
        Where; the folder is made if need be.
    result : dict
        What.
    """
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
