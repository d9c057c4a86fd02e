"""A comparison of methods: equal data, equal networks, equal budgets, and test rows that are used once.

>>> from l2lab.compare import Budget, compare
>>> result = compare(["xor"], ["none", "l2_sgd", "gates3"], seeds=5, budget=Budget(n_trials=8))
>>> result.table("xor")
>>> result.verdict_table()

What is equal for all methods: the rows (a hash is asserted), the network, its initial weights, the
minibatches, the number of updates, and the number of models among which the validation loss chooses. What
differs is one :class:`Recipe` per method. *Holdout* is therefore no method of its own: every method uses it,
and ``"none"`` uses nothing else.
"""

from .judge import TestRows, compare, measure, provenance
from .methods import METHODS, LassoNetMethod, Method, NetworkMethod, TopInputs
from .recipe import Fit, Recipe, train
from .result import MEASURES, QUESTIONS, ComparisonResult, Paired, Question, Table, paired_difference
from .tasks import TASKS, Budget, LearningData, Task

__all__ = [
    "MEASURES", "METHODS", "QUESTIONS", "TASKS", "Budget", "ComparisonResult", "Fit", "LassoNetMethod",
    "LearningData", "Method", "NetworkMethod", "Paired", "Question", "Recipe", "Table", "Task", "TestRows",
    "TopInputs", "compare", "measure", "paired_difference", "provenance", "train",
]  # fmt: skip
