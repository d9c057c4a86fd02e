"""`Trainer`: models that train in the reader's browser, with λ as a slider that also moves while they train.

It belongs to the family of `LambdaExplorer`: the same frame in Jupyter, in Colab and, without kernel or
network, on the book's page. Nothing is computed in Python but the picture for readers without JavaScript.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import traitlets

from . import trainer_picture
from .widget import Widget, source

__all__ = ["Trainer"]

_FILES = (
    "base", "axes", "bars", "curves", "field", "fit", "hist", "pixels", "panel", "address", "theme",
    "controls", "context", "train/problems", "train/models", "train/descent", "train/views", "train/trainer",
)  # fmt: skip


def _steps_of(low: int, high: int) -> list[float]:
    """0, then 1, 2 and 5 in each decade, up to the last power of ten."""
    some = [float(f"{m}e{k}") for k in range(low, high) for m in (1, 2, 5)]
    return [0.0, *some, float(f"1e{high}")]


LAMS = _steps_of(-4, 1)

#: What the reader can choose: a label, the values, and names for a menu (None makes a slider).
CHOICES: dict[str, tuple[str, list[Any], list[str] | None]] = {
    "data": ("Problem", ["sparse", "xor", "digits", "curve"],
             ["sparse, 3 of 20", "XOR, 2 of 10", "digits 3 and 8", "curve"]),
    "model": ("Model", ["w", "uv", "uvz", "mlp", "gates"],
              ["linear, w", "linear, w = u·v", "linear, w = u·v·z", "network", "network, gates"]),
    "opt": ("Optimizer", ["sgd", "adam", "adamw"], ["SGD", "Adam", "AdamW"]),
    "lr": ("learning rate", _steps_of(-4, 0), None),
    "noise": ("noise", [0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1], None),
    "rows": ("training rows", [1, 2, 5, 10, 20, 30, 60, 100, 200], None),
    "seed": ("seed", list(range(21)), None),
    "steps": ("steps", [200, 500, 1000, 2000, 5000, 10000], None),
}  # fmt: skip
VIEWS = ("inputs", "picture", "track", "plane", "fitted", "loss", "weights", "spent")
CONTROLS = (*CHOICES, "speed", "sweep")
SPEEDS = ("slow", "medium", "fast", "full")
_START = {
    "lam": 0.1, "data": "sparse", "model": "w", "opt": "sgd", "lr": 0.02, "noise": 0.5, "rows": 60, "seed": 0,
    "steps": 2000,
}  # fmt: skip


class Trainer(Widget):
    """Train a model in the browser and move λ while it trains.

    Parameters
    ----------
    *sides : mapping
        None, one or two sets of settings to begin with; two stand side by side and train together. Keys that
        are left out have the values of the first line of the notes.
    name : str
        Identifies the trainer in the page and in its address: a lower-case letter, then letters, digits and
        hyphens. Unique within a page.
    alt : str
        What the picture shows, for those who do not see it (at least 20 characters).
    controls : sequence of str, optional
        Which controls are shown besides λ, play, step and reset: keys of the settings, "speed" (steps between
        two pictures) and "sweep" (trains all values of λ). By default all.
    views : sequence of str, optional
        Which pictures may be shown, of "inputs", "picture", "track", "plane", "fitted", "loss", "weights" and
        "spent". By default all; of these the trainer shows those that fit problem and model.
    speed : {"slow", "medium", "fast", "full"}
        How much is trained between two pictures at the start.

    Attributes
    ----------
    state : list of dict
        The settings of each side as they are now. Setting it starts the runs anew.

    Raises
    ------
    ValueError
        If a setting, the name or the text does not fit; the message says how.

    Notes
    -----
    Settings and their defaults: ``lam=0.1, data="sparse", model="w", opt="sgd", lr=0.02, noise=0.5, rows=60,
    seed=0, steps=2000``. ``lam`` and ``lr`` are 0 or 1, 2 or 5 times a power of ten, from 0.0001 to 10 and
    to 1.

    The objective is the mean loss (half the squared error, or the log loss of two classes) plus
    (λ/2)‖·‖² of all weights; biases are not penalized. ``opt`` is SGD with momentum 0.9, Adam with that
    gradient, or AdamW, which multiplies the weights by 1 − lr·λ; the formulas are those of ``torch.optim``.
    ``data``:

    - "sparse": y = 2 x₁ − 1.5 x₂ + 0.8 x₃ + noise, with 20 standard normal inputs; full batches.
    - "xor": ten uniform inputs; the class is whether x₁ and x₂ differ in sign; minibatches of 32 rows.
    - "digits": 8×8 pictures of a 3 or an 8 from scikit-learn; minibatches of 32 rows.
    - "curve": 0.7 φ₁ − 0.5 φ₄ + noise, where φₖ are Legendre polynomials of mean square 1. Linear models see
      φ₁ to φ₁₂, networks see x; full batches.

    ``noise`` is the standard deviation of the noise in y, or with two classes the share of training labels
    that are drawn at random. Networks have 16 hidden ReLU units.

    On the static page a link like ``#name:lam=0.1,model=uv`` sets what it names and resets the rest; the
    second side has the name ``name-b``, and a semicolon separates the two.

    Examples
    --------
    >>> from l2lab.explore import Trainer
    >>> Trainer({"model": "uv", "lam": 0.2}, name="toy", alt="Weights of 20 inputs, three survive.")
    Trainer('toy', sparse uv sgd: Weights of 20 inputs, three survive.)
    """

    _esm = source(*(f"js/{name}.js" for name in _FILES))

    choices = traitlets.List().tag(sync=True)  # key, label, values, names
    controls = traitlets.List(traitlets.Unicode()).tag(sync=True)
    views = traitlets.List(traitlets.Unicode()).tag(sync=True)
    speed = traitlets.Unicode().tag(sync=True)
    state = traitlets.List(traitlets.Dict()).tag(sync=True)
    digits = traitlets.Bytes(b"").tag(sync=True)

    def __init__(
        self,
        *sides: Mapping[str, Any],
        name: str,
        alt: str,
        controls: Sequence[str] = CONTROLS,
        views: Sequence[str] = VIEWS,
        speed: str = "fast",
    ) -> None:
        for told, allowed, what in ((controls, CONTROLS, "controls"), (views, VIEWS, "views")):
            if isinstance(told, str) or not set(told) <= set(allowed):
                raise ValueError(f"{what} must be a list of {', '.join(allowed)}; got {told!r}.")
        if speed not in SPEEDS:
            raise ValueError(f"speed must be one of {', '.join(SPEEDS)}; got {speed!r}.")
        state = [_settings(side) for side in (sides or ({},))]
        needed = "data" in controls or any(side["data"] == "digits" for side in state)
        choices = [[key, *CHOICES[key]] for key in CHOICES if key in controls]
        digits = trainer_picture.digits_as_bytes() if needed else b""
        shown = {"choices": choices, "controls": list(controls), "views": list(views), "speed": speed}
        super().__init__(name=name, alt=alt, lams=LAMS, state=state, digits=digits, **shown)

    def __repr__(self) -> str:
        runs = " | ".join(f"{side['data']} {side['model']} {side['opt']}" for side in self.state)
        return f"Trainer({self.name!r}, {runs}: {self.alt})"

    def draw_picture(self) -> bytes:
        """Draw the runs up to their last step."""
        return trainer_picture.draw(self.state)

    @traitlets.validate("state")
    def _state_is_complete(self, proposal: Any) -> list[dict[str, Any]]:
        if not 1 <= len(proposal["value"]) <= 2:
            raise ValueError("a trainer has one side or two.")
        return [_settings(side) for side in proposal["value"]]


def _settings(side: Mapping[str, Any]) -> dict[str, Any]:
    """Complete the settings of one side, and refuse what the trainer does not have."""
    allowed = {"lam": LAMS} | {key: values for key, (_, values, _) in CHOICES.items()}
    for key, value in side.items():
        if key not in allowed:
            raise ValueError(f"unknown setting {key!r}; known are {', '.join(allowed)}.")
        if value not in allowed[key]:
            raise ValueError(f"{key} must be one of {allowed[key]}, got {value!r}.")
    return {key: side.get(key, default) for key, default in _START.items()}
