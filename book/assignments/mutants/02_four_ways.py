"""Wrong answers to assignment 2: name -> (answer cell, code, grade_ids of the tests that must fail)."""

TRAIN = """
def train(X, y, lam, way, lr, momentum, steps):
    if way not in ("loss", "gradient", "optimizer", "decoupled"):
        raise ValueError(way)
    w = torch.zeros(X.shape[1], dtype=X.dtype, requires_grad=True)
    optimizer = torch.optim.SGD(
        [w], lr=lr, momentum=momentum, weight_decay=lam if way in {in_optimizer} else 0.0
    )
    for _ in range(steps):
        loss = {loss}
        if way in {in_loss}:
            loss = loss + 0.5 * lam * w.square().sum()
        optimizer.zero_grad()
        loss.backward()
        with torch.no_grad():
            if way == "gradient":
                w.grad += {added}
            if way == "decoupled":
                w *= {factor}
        optimizer.step()
    return w.detach()
"""


def trainer(**changes: str) -> str:
    """Return a right answer to question 2, but for these changes."""
    parts = {
        "in_optimizer": '("optimizer",)',
        "in_loss": '("loss",)',
        "loss": "0.5 * (X @ w - y).square().mean()",
        "added": "lam * w",
        "factor": "1 - lr * lam",
    }
    return TRAIN.format(**{**parts, **changes})


COUPLED, DECOUPLED = "q2-hidden-coupled", "q2-hidden-decoupled"

MUTANTS = {
    "no half": (
        "q1",
        """
def l2_penalty(params, lam):
    return lam * sum((p**2).sum() for p in params if p.ndim >= 2) + torch.tensor(0.0)
""",
        {"q1-visible", "q1-hidden"},
    ),
    "the norm is not squared": (
        "q1",
        """
def l2_penalty(params, lam):
    return 0.5 * lam * torch.cat([p.flatten() for p in params if p.ndim >= 2]).norm()
""",
        {"q1-visible", "q1-hidden"},
    ),
    "biases too": (
        "q1",
        """
def l2_penalty(params, lam):
    return 0.5 * lam * sum((p**2).sum() for p in params)
""",
        {"q1-hidden"},
    ),
    "no gradient flows": (
        "q1",
        """
def l2_penalty(params, lam):
    return torch.tensor(0.5 * lam * sum((p**2).sum().item() for p in params if p.ndim >= 2))
""",
        {"q1-hidden"},
    ),
    "no tensor without weights": (
        "q1",
        """
def l2_penalty(params, lam):
    return 0.5 * lam * sum((p**2).sum() for p in params if p.ndim >= 2)
""",
        {"q1-hidden"},
    ),
    "the loss without half": (
        "q2",
        trainer(loss="(X @ w - y).square().mean()"),
        {"q2-visible", COUPLED, DECOUPLED},
    ),
    "λ acts twice": ("q2", trainer(in_optimizer='("optimizer", "loss")'), {COUPLED}),
    "twice λw by hand": ("q2", trainer(added="2 * lam * w"), {COUPLED}),
    "decoupled is coupled": (
        "q2",
        trainer(in_optimizer='("optimizer", "decoupled")', factor="1.0"),
        {DECOUPLED},
    ),
    "decay without the learning rate": ("q2", trainer(factor="1 - lam"), {DECOUPLED}),
    "an unknown way is the first one": (
        "q2",
        trainer().replace("raise ValueError(way)", 'way = "loss"'),
        {COUPLED},
    ),
    "sum for mean": (
        "q3",
        """
def to_book(value, convention, n):
    return {"ridge": value, "mse": value / 2, "keras": value, "logistic": 1 / (value * n)}[convention]
""",
        {"q3-visible", "q3-hidden"},
    ),
    "MSELoss has a half": (
        "q3",
        """
def to_book(value, convention, n):
    known = {"ridge": value / n, "mse": value, "keras": value, "logistic": 1 / (value * n)}
    if convention not in known:
        raise ValueError(convention)
    return known[convention]
""",
        {"q3-hidden"},
    ),
    "C is not inverted": (
        "q3",
        """
def to_book(value, convention, n):
    known = {"ridge": value / n, "mse": value / 2, "keras": value, "logistic": value / n}
    if convention not in known:
        raise ValueError(convention)
    return known[convention]
""",
        {"q3-hidden"},
    ),
    "no momentum in the budget": (
        "q4",
        """
def budget(lam, lrs, momentum=0.0):
    return lam * np.sum(lrs)


def steps_needed(share, lam, lr, momentum=0.0):
    return math.ceil(-math.log(share) / (lam * lr))
""",
        {"q4-hidden", "q4-own-hidden"},
    ),
    "a decimal logarithm": (
        "q4",
        """
def budget(lam, lrs, momentum=0.0):
    return lam * np.sum(lrs) / (1 - momentum)


def steps_needed(share, lam, lr, momentum=0.0):
    return math.ceil(-math.log10(share) * (1 - momentum) / (lam * lr))
""",
        {"q4-visible", "q4-hidden"},
    ),
    "one step too few": (
        "q4",
        """
def budget(lam, lrs, momentum=0.0):
    return lam * np.sum(lrs) / (1 - momentum)


def steps_needed(share, lam, lr, momentum=0.0):
    return int(-math.log(share) * (1 - momentum) / (lam * lr))
""",
        {"q4-visible", "q4-hidden"},
    ),
    "the first learning rate only": (
        "q4",
        """
def budget(lam, lrs, momentum=0.0):
    return lam * len(lrs) * lrs[0] / (1 - momentum)


def steps_needed(share, lam, lr, momentum=0.0):
    return math.ceil(-math.log(share) * (1 - momentum) / (lam * lr))
""",
        {"q4-hidden", "q4-own-hidden"},
    ),
    "a tenth for a thousandth": (
        "q4-own",
        "my_lam = math.log(10) / budget(1.0, my_lrs, my_momentum)",
        {"q4-own-hidden"},
    ),
}
