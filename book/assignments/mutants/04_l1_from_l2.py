"""Wrong answers to assignment 4 (for the format: book/for_instructors.md)."""

GATE = "self.gates.prod(dim=0)"
START = "np.random.default_rng(seed).normal(size=p)"

MUTANTS = {
    "one and the other": ("q1", {"np.sign(w) * root, root": "w, np.ones_like(w)"}, "visible hidden"),
    "the sign is lost": ("q1", {"np.sign(w) * root": "root"}, "hidden"),
    "both factors start alike": ("q2", {f"0.3 * {START}": "np.full(p, 0.3)"}, "hidden"),
    "both factors start at zero": (
        "q2",
        {f"0.3 * {START}": "np.zeros(p)", "np.full(p, 0.3)": "np.zeros(p)"},
        "visible hidden",
    ),
    "decay on one factor": ("q2", {"lam * v": "0.0"}, "visible hidden"),
    "negative weights cannot be": (
        "q2",
        {START: f"np.abs({START})", "return u, v": "return np.abs(u), np.abs(v)"},
        "hidden",
    ),
    "the widest gap on a linear scale": ("q3", {"diff(logs)": "diff(10**logs)"}, "visible hidden"),
    "zeros are not lifted": ("q3", {"1e-12": "1e-300"}, "hidden"),
    "one gate only": ("q4", {GATE: "self.gates[0]"}, "hidden q5-hidden"),
    "the gates are added": ("q4", {f"{GATE}).T": "self.gates.sum(dim=0)).T"}, "visible hidden"),
    "the first λ": ("q5", {"in lams": "in lams[:1]"}, "hidden"),
    "no threshold": ("q5", {"> threshold": "> 0"}, "visible hidden"),
    "an array for a list": ("q5", {".tolist()": ""}, "visible"),
}
