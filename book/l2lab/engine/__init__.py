"""Where everything is trained: many copies at once (`Descent`, `sweep`), or one module (`fit`)."""

from .descend import Descent, on_weights, ramp, schedule
from .fit import FitResult, fit
from .networks import CNN, MLP
from .result import Best, SweepResult
from .splits import minibatches
from .sweep import sweep

__all__ = [
    "CNN", "MLP", "Best", "Descent", "FitResult", "SweepResult", "fit", "minibatches", "on_weights",
    "ramp", "schedule", "sweep",
]  # fmt: skip
