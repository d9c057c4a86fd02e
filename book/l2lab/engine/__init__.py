"""Where everything is trained: many copies at once (`descend`, `sweep`), or one module (`fit`)."""

from .descend import Descent, descend, on_weights, ramp, schedule

__all__ = ["Descent", "descend", "on_weights", "ramp", "schedule"]
