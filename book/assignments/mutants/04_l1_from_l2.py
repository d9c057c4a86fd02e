"""Wrong answers to assignment 4: name -> (answer cell, right -> wrong in its solution, tests that fail)."""

GATE = "self.gates.prod(dim=0)"
START = "np.random.default_rng(seed).normal(size=p)"

MUTANTS = {
    "one and the other": (
        "q1",
        {"np.sign(w) * root, root": "w, np.ones_like(w)"},
        {"q1-visible", "q1-hidden"},
    ),
    "the sign is lost": ("q1", {"np.sign(w) * root": "root"}, {"q1-hidden"}),
    "the root of a negative number": (
        "q1",
        {"np.abs(w)": "w", "np.sign(w) * root, root": "root, w / root"},
        {"q1-hidden"},
    ),
    "both factors start alike": ("q2", {f"0.3 * {START}": "np.full(p, 0.3)"}, {"q2-hidden"}),
    "both factors start at zero": (
        "q2",
        {f"0.3 * {START}": "np.zeros(p)", "np.full(p, 0.3)": "np.zeros(p)"},
        {"q2-visible", "q2-hidden"},
    ),
    "decay on one factor": ("q2", {"lam * v": "0.0"}, {"q2-visible", "q2-hidden"}),
    "twice the decay": ("q2", {"lam *": "2 * lam *"}, {"q2-visible", "q2-hidden"}),
    "the square of the product": (
        "q2",
        {"lam * u": "lam * u * v * v", "lam * v": "lam * u * u * v"},
        {"q2-visible", "q2-hidden"},
    ),
    "negative weights cannot be": (
        "q2",
        {START: f"np.abs({START})", "return u, v": "return np.abs(u), np.abs(v)"},
        {"q2-hidden"},
    ),
    "the widest gap on a linear scale": ("q3", {"diff(logs)": "diff(10**logs)"}, {"q3-visible", "q3-hidden"}),
    "the arithmetic mean": (
        "q3",
        {"10 ** ((logs[k] + logs[k + 1]) / 2)": "(10 ** logs[k] + 10 ** logs[k + 1]) / 2"},
        {"q3-visible", "q3-hidden"},
    ),
    "zeros are not lifted": ("q3", {"1e-12": "1e-300"}, {"q3-hidden"}),
    "the array is sorted in place": (
        "q3",
        {"logs = ": "strengths.sort()\n    logs = "},
        {"q3-hidden", "q5-hidden"},
    ),
    "one gate only": ("q4", {GATE: "self.gates[0]"}, {"q4-hidden", "q5-hidden"}),
    "gates without gradient": ("q4", {f"{GATE}).T": f"{GATE}.detach()).T"}, {"q4-hidden"}),
    "the gates are added": ("q4", {f"{GATE}).T": "self.gates.sum(dim=0)).T"}, {"q4-visible", "q4-hidden"}),
    "the strength has a sign": (
        "q4",
        {f"(self.weight * {GATE}).norm(dim=0)": f"({GATE} * self.weight.norm(dim=0))"},
        {"q4-hidden"},
    ),
    "the first λ": ("q5", {"in lams": "in lams[:1]"}, {"q5-hidden"}),
    "the last λ": ("q5", {"in lams": "in lams[-1:]"}, {"q5-hidden"}),
    "the narrowest gap": ("q5", {"= -1.0": "= 99.0", "> widest": "< widest"}, {"q5-hidden"}),
    "no threshold": ("q5", {"> threshold": "> 0"}, {"q5-visible", "q5-hidden"}),
    "an array for a list": ("q5", {".tolist()": ""}, {"q5-visible"}),
}
