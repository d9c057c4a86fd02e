"""Wrong answers to assignment 2 (for the format: book/for_instructors.md)."""

MUTANTS = {
    "no half": ("q1", {"0.5 * lam": "lam"}, "visible hidden"),
    "biases too": ("q1", {" if p.ndim >= 2": ""}, "hidden"),
    "no gradient flows": ("q1", {"p.square()": "p.detach().square()"}, "hidden"),
    "the loss without half": ("q2", {"0.5 * (X": "(X"}, "visible hidden-coupled hidden-decoupled"),
    "λ acts twice": ("q2", {'way == "optimizer"': 'way in ("optimizer", "loss")'}, "hidden-coupled"),
    "decoupled is coupled": (
        "q2",
        {'way == "optimizer"': 'way in ("optimizer", "decoupled")', "1 - lr * lam": "1.0"},
        "hidden-decoupled",
    ),
    "sum for mean": ("q3", {"return value / n": "return value"}, "visible hidden"),
    "MSELoss has a half": ("q3", {"value / 2": "value"}, "hidden"),
    "no momentum in the budget": (
        "q4",
        {" / (1 - momentum)": "", " * (1 - momentum)": ""},
        "hidden own-hidden",
    ),
    "a decimal logarithm": ("q4", {"math.log": "math.log10"}, "visible hidden"),
    "the first learning rate only": ("q4", {"float(np.sum(lrs))": "len(lrs) * lrs[0]"}, "hidden own-hidden"),
    "a tenth for a thousandth": ("q4-own", {"1000": "10"}, "hidden"),
}
