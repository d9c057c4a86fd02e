"""The study of the chapter "Comparison": all methods on all tasks, LassoNet on two of them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from .. import runtime
from ..checks import one_of
from ..compare import METHODS, TASKS, Budget, ComparisonResult, Method, Task, compare
from ..compare.judge import measure
from ..compare.methods import LassoNetMethod
from .record import FOLDER, RESULTS, Record, code_hash, hash_of

__all__ = ["PROFILES", "RESULTS", "main"]

# A path of LassoNet at its authors' settings takes minutes: these two tasks have few inputs.
LASSONET_TASKS = ("xor", "breast_cancer")
# Strengths, learning rates and tasks were settled on seeds 0-4 and 100-109, see the page of the protocol.
FIRST_SEED = 400
# profile -> number of seeds, budget
PROFILES = {"quick": (10, Budget(n_trials=12, steps=1000)), "full": (20, Budget(n_trials=24, steps=3000))}


def main(profile: str = "quick", folder: str | Path = FOLDER) -> ComparisonResult:
    """Run the study, print its tables and write ``comparison-<profile>.json``.

    ``"quick"`` is half an hour on one core, ``"full"`` hours; seeds and budget stand in `PROFILES`.
    """
    n_seeds, common = PROFILES[one_of("profile", profile, PROFILES)]
    seeds = list(range(FIRST_SEED, FIRST_SEED + n_seeds))
    methods: list[Method] = list(METHODS.values())
    if importlib.util.find_spec("lassonet") is None:
        print("lassonet is not installed: its rows are left out (pip install lassonet)")
    else:
        methods.append(LassoNetMethod())
    runtime.setup()
    record = Record(Path(folder) / f"comparison-{profile}.json", code_hash("comparison"))
    hashes = {
        task.key: hash_of(*(task.problem(seed).content_hash for seed in seeds)) for task in TASKS.values()
    }

    def run(task: Task, method: Method, seeds: list[int], budget: Budget) -> list[dict[str, Any]]:
        if method.key == "lassonet" and task.key not in LASSONET_TASKS:
            return []
        settings = {"task": task.key, "method": method.key, "about": method.about, "seeds": seeds}
        settings["budget"] = task.budget(budget).as_dict()
        return record.rows(settings, hashes[task.key], lambda: measure(task, method, seeds, budget))

    result = compare(TASKS.values(), methods, seeds, common, run)
    for task in result.tasks:
        print(f"\n{result.labels[task]}\n{result.table(task).to_string()}")
    print(f"\n{result.verdict_table().to_string()}")
    record.finish({**result.content(), "records": result.records})
    return result
