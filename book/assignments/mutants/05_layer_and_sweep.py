"""Wrong answers to assignment 5 (for the format: book/for_instructors.md)."""

LARGE, SMALL = "p for p in module.parameters() if p.ndim > 1", "p for p in module.parameters() if p.ndim <= 1"
LARGEST = "lams[mean <= limit].max()"

MUTANTS = {
    # A wrong layer is also rejected by right tests, hence q2-visible.
    "no half": ("q1", {"0.5": "1.0"}, "visible hidden-penalty hidden-training q2-visible"),
    "a shared weight counts twice": (
        "q1",
        {"self.parameters() if p.ndim > 1": "[m.weight for m in self.modules() if isinstance(m, nn.Linear)]"},
        "hidden-penalty q2-visible",
    ),
    "everything works": ("q2", "def works(Layer):\n    return True", "visible hidden-behaviour hidden-value"),
    "the tests raise": ("q2", {"try:": "if True:", "except Exception:": "else:"}, "visible"),
    "only the value is tested": (
        "q2",
        {"all(bool(check) for check in checks)": "bool(checks[1])"},
        "hidden-behaviour",
    ),
    "all parameters decay": ("q3", {"> 1": ">= 0", "<= 1": "< 0"}, "visible hidden"),
    "biases by name, scales decay": (
        "q3",
        {
            LARGE: 'p for name, p in module.named_parameters() if "bias" not in name',
            SMALL: 'p for name, p in module.named_parameters() if "bias" in name',
        },
        "hidden",
    ),
    "one λ for all": ("q4", {"lams[:, None]": "lams.mean()"}, "hidden"),
    "the mean over models": ("q4", {"len(X)": "len(lams) / len(X)"}, "visible hidden"),
    "the standard deviation": ("q5", {" / np.sqrt(losses.shape[1])": ""}, "visible hidden own-hidden"),
    "positions and not λ": (
        "q5",
        {"lams[k]": "k", LARGEST: "np.flatnonzero(mean <= limit).max()"},
        "visible hidden own-hidden",
    ),
    "the last of the list, not the largest": ("q5", {LARGEST: "lams[mean <= limit][-1]"}, "hidden"),
    "only one value": ("q5-own", "my_choice = my_lams[3]", "hidden"),
}
