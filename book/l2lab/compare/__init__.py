"""A comparison of methods: equal data, equal networks, equal budgets, and test rows that are used once.

>>> from l2lab.compare import Budget, compare
>>> result = compare(["xor"], ["none", "l2_sgd", "gates3"], seeds=5, budget=Budget(n_trials=8))
>>> result.table("xor")
>>> result.verdict_table()

*Holdout* is no method of its own: every method uses it, and ``"none"`` uses nothing else.
"""

from .judge import TestRows, compare
from .methods import METHODS, Method, NetworkMethod
from .recipe import Fit, Recipe
from .result import QUESTIONS, ComparisonResult, paired_difference
from .tasks import TASKS, Budget, LearningData, Task

__all__ = [
    "METHODS", "QUESTIONS", "TASKS", "Budget", "ComparisonResult", "Fit", "LearningData", "Method",
    "NetworkMethod", "Recipe", "Task", "TestRows", "compare", "paired_difference",
]  # fmt: skip
