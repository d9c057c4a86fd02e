"""Wrong answers to assignment 2: name -> (answer cell, right -> wrong in its solution, tests that fail)."""

COUPLED, DECOUPLED = "q2-hidden-coupled", "q2-hidden-decoupled"

MUTANTS = {
    "no half": ("q1", {"0.5 * lam": "lam"}, {"q1-visible", "q1-hidden"}),
    "the norm is not squared": ("q1", {".sum()\n": ".sum().sqrt()\n"}, {"q1-visible", "q1-hidden"}),
    "biases too": ("q1", {" if p.ndim >= 2": ""}, {"q1-hidden"}),
    "no gradient flows": ("q1", {"p.square()": "p.detach().square()"}, {"q1-hidden"}),
    "no tensor without weights": ("q1", {"torch.tensor(0.0)": "0.0"}, {"q1-hidden"}),
    "the loss without half": ("q2", {"0.5 * (X": "(X"}, {"q2-visible", COUPLED, DECOUPLED}),
    "λ acts twice": ("q2", {'way == "optimizer"': 'way in ("optimizer", "loss")'}, {COUPLED}),
    "twice λw by hand": ("q2", {"+= lam * w": "+= 2 * lam * w"}, {COUPLED}),
    "decoupled is coupled": (
        "q2",
        {'way == "optimizer"': 'way in ("optimizer", "decoupled")', "1 - lr * lam": "1.0"},
        {DECOUPLED},
    ),
    "decay without the learning rate": ("q2", {"1 - lr * lam": "1 - lam"}, {DECOUPLED}),
    "an unknown way is the first one": (
        "q2",
        {'raise ValueError(f"unknown way: {way!r}")': 'way = "loss"'},
        {COUPLED},
    ),
    "sum for mean": ("q3", {"return value / n": "return value"}, {"q3-visible", "q3-hidden"}),
    "MSELoss has a half": ("q3", {"value / 2": "value"}, {"q3-hidden"}),
    "C is not inverted": ("q3", {"1 / (value * n)": "value / n"}, {"q3-hidden"}),
    "no momentum in the budget": (
        "q4",
        {" / (1 - momentum)": "", " * (1 - momentum)": ""},
        {"q4-hidden", "q4-own-hidden"},
    ),
    "a decimal logarithm": ("q4", {"math.log": "math.log10"}, {"q4-visible", "q4-hidden"}),
    "one step too few": ("q4", {"math.ceil": "int"}, {"q4-visible", "q4-hidden"}),
    "the first learning rate only": (
        "q4",
        {"float(np.sum(lrs))": "len(lrs) * lrs[0]"},
        {"q4-hidden", "q4-own-hidden"},
    ),
    "a tenth for a thousandth": ("q4-own", {"1000": "10"}, {"q4-own-hidden"}),
}
