"""Where everything is trained: many copies at once (`Descent`, `sweep`), or one module (`fit`)."""

from .descend import Descent, minibatches, ramp, schedule
from .fit import FitResult, fit
from .networks import CNN, MLP
from .sweep import Best, SweepResult, sweep

__all__ = [
    "CNN", "MLP", "Best", "Descent", "FitResult", "SweepResult", "fit", "minibatches", "ramp", "schedule",
    "sweep",
]  # fmt: skip
