"""Wrong answers to assignment 4: name -> (answer cell, code, grade_ids of the tests that must fail)."""

DESCENT = """
def train_product(X, y, lam, lr=0.1, steps=3000, seed=0):
    n, p = X.shape
    u = {start_u}
    v = np.full(p, {start_v})
    for _ in range(steps):
        slope = X.T @ (X @ (u * v) - y) / {mean}
        u, v = u - lr * (slope * v + {decay_u}), v - lr * (slope * u + {decay_v})
    return u, v
"""

LAYER = """
class GatedLinear(nn.Module):
    def __init__(self, n_in, n_out):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n_out, n_in) * (2 / n_in) ** 0.5)
        self.bias = nn.Parameter(torch.zeros(n_out))
        self.gates = nn.Parameter(torch.ones(2, n_in))

    def forward(self, x):
        return x @ (self.weight * {gate}).T + self.bias

    def strength(self):
        return {strength}
"""

SELECT = """
def select(X, y, lams):
    best, selected = {worst}, []
    for lam in {lams}:
        layer = train_network(GatedLinear(X.shape[1], 24), X, y, lam)
        strength = layer.strength().numpy()
        strength = strength / strength.max()
        threshold, width = widest_gap(strength)
        if width {better} best:
            best, selected = width, {answer}
    return selected
"""


def descent(**changes: str) -> str:
    """Return a right answer to question 2, but for these changes."""
    parts = {
        "start_u": "0.3 * np.random.default_rng(seed).normal(size=p)",
        "start_v": "0.3",
        "mean": "n",
        "decay_u": "lam * u",
        "decay_v": "lam * v",
    }
    return DESCENT.format(**{**parts, **changes})


def layer(**changes: str) -> str:
    """Return a right answer to question 4, but for these changes."""
    parts = {
        "gate": "self.gates.prod(dim=0)",
        "strength": "(self.weight * self.gates.prod(dim=0)).norm(dim=0).detach()",
    }
    return LAYER.format(**{**parts, **changes})


def selector(**changes: str) -> str:
    """Return a right answer to question 5, but for these changes."""
    parts = {
        "lams": "lams",
        "worst": "-1.0",
        "better": ">",
        "answer": "np.flatnonzero(strength > threshold).tolist()",
    }
    return SELECT.format(**{**parts, **changes})


MUTANTS = {
    "one and the other": (
        "q1",
        "def factors(w):\n    return w, np.ones_like(w)",
        {"q1-visible", "q1-hidden"},
    ),
    "the sign is lost": (
        "q1",
        "def factors(w):\n    return np.sqrt(np.abs(w)), np.sqrt(np.abs(w))",
        {"q1-hidden"},
    ),
    "the root of a negative number": (
        "q1",
        "def factors(w):\n    u = np.sqrt(w)\n    return u, w / u",
        {"q1-hidden"},
    ),
    "both factors start alike": (
        "q2",
        descent(start_u="np.full(p, 0.3)"),
        {"q2-hidden"},
    ),
    "both factors start at zero": (
        "q2",
        descent(start_u="np.zeros(p)", start_v="0.0"),
        {"q2-visible", "q2-hidden"},
    ),
    "decay on one factor": ("q2", descent(decay_v="0.0"), {"q2-visible", "q2-hidden"}),
    "twice the decay": (
        "q2",
        descent(decay_u="2 * lam * u", decay_v="2 * lam * v"),
        {"q2-visible", "q2-hidden"},
    ),
    "the square of the product": (
        "q2",
        descent(decay_u="lam * u * v * v", decay_v="lam * u * u * v"),
        {"q2-visible", "q2-hidden"},
    ),
    "negative weights cannot be": (
        "q2",
        descent(start_u="np.abs(0.3 * np.random.default_rng(seed).normal(size=p))").replace(
            "return u, v", "return np.abs(u), np.abs(v)"
        ),
        {"q2-hidden"},
    ),
    "the widest gap on a linear scale": (
        "q3",
        """
def widest_gap(strengths):
    values = np.sort(np.maximum(strengths, 1e-12))
    k = int(np.argmax(np.diff(values)))
    return np.sqrt(values[k] * values[k + 1]), np.log10(values[k + 1] / values[k])
""",
        {"q3-visible", "q3-hidden"},
    ),
    "the arithmetic mean": (
        "q3",
        """
def widest_gap(strengths):
    logs = np.sort(np.log10(np.maximum(strengths, 1e-12)))
    k = int(np.argmax(np.diff(logs)))
    return (10 ** logs[k] + 10 ** logs[k + 1]) / 2, logs[k + 1] - logs[k]
""",
        {"q3-visible", "q3-hidden"},
    ),
    "zeros are not lifted": (
        "q3",
        """
def widest_gap(strengths):
    logs = np.sort(np.log10(np.maximum(strengths, 1e-300)))
    k = int(np.argmax(np.diff(logs)))
    return 10 ** ((logs[k] + logs[k + 1]) / 2), logs[k + 1] - logs[k]
""",
        {"q3-hidden"},
    ),
    "the array is sorted in place": (
        "q3",
        """
def widest_gap(strengths):
    strengths.sort()
    logs = np.log10(np.maximum(strengths, 1e-12))
    k = int(np.argmax(np.diff(logs)))
    return 10 ** ((logs[k] + logs[k + 1]) / 2), logs[k + 1] - logs[k]
""",
        {"q3-hidden", "q5-hidden"},
    ),
    "one gate only": (
        "q4",
        layer(gate="self.gates[0]", strength="(self.weight * self.gates[0]).norm(dim=0).detach()"),
        {"q4-hidden", "q5-hidden"},
    ),
    "gates without gradient": (
        "q4",
        layer(gate="self.gates.prod(dim=0).detach()"),
        {"q4-hidden"},
    ),
    "the gates are added": (
        "q4",
        layer(gate="self.gates.sum(dim=0)"),
        {"q4-visible", "q4-hidden"},
    ),
    "the strength has a sign": (
        "q4",
        layer(strength="(self.weight.norm(dim=0) * self.gates.prod(dim=0)).detach()"),
        {"q4-hidden"},
    ),
    "the first λ": ("q5", selector(lams="lams[:1]"), {"q5-hidden"}),
    "the last λ": ("q5", selector(lams="lams[-1:]"), {"q5-hidden"}),
    "the narrowest gap": ("q5", selector(worst="99.0", better="<"), {"q5-hidden"}),
    "no threshold": (
        "q5",
        selector(answer="np.flatnonzero(strength > 0).tolist()"),
        {"q5-visible", "q5-hidden"},
    ),
    "an array for a list": (
        "q5",
        selector(answer="np.flatnonzero(strength > threshold)"),
        {"q5-visible"},
    ),
}
