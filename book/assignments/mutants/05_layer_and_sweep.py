"""Wrong answers to assignment 5: name -> (answer cell, right -> wrong in its solution, tests that fail).

A text in place of right -> wrong is the whole answer.
"""

PENALTY, TRAINING = "q1-hidden-penalty", "q1-hidden-training"
VALUE, BEHAVIOUR = "q2-hidden-value", "q2-hidden-behaviour"
LARGE, SMALL = "p for p in module.parameters() if p.ndim > 1", "p for p in module.parameters() if p.ndim <= 1"
LARGEST = "lams[mean <= limit].max()"

MUTANTS = {
    # A wrong layer is also rejected by right tests, hence q2-visible.
    "no half": ("q1", {"0.5": "1.0"}, {"q1-visible", PENALTY, TRAINING, "q2-visible"}),
    "biases are penalized": ("q1", {" if p.ndim > 1": ""}, {"q1-visible", PENALTY, TRAINING, "q2-visible"}),
    "the output is shrunk": (
        "q1",
        {"return self.module(x)": "return (1 - self.lam) * self.module(x)"},
        {"q1-visible", TRAINING, "q2-visible"},
    ),
    "the penalty is detached": (
        "q1",
        {"self.get_l2_regularizer()": "self.get_l2_regularizer().detach()"},
        {TRAINING, "q2-visible"},
    ),
    "gradients are cleared": (
        "q1",
        {"(loss +": "self.zero_grad()\n        (loss +"},
        {TRAINING, "q2-visible"},
    ),
    "the sum is returned as the loss": (
        "q1",
        {"return loss": "return (loss + penalty)"},
        {TRAINING, "q2-visible"},
    ),
    "a shared weight counts twice": (
        "q1",
        {"self.parameters() if p.ndim > 1": "[m.weight for m in self.modules() if isinstance(m, nn.Linear)]"},
        {PENALTY, "q2-visible"},
    ),
    "the module is not registered": (
        "q1",
        {
            "= module, lam": "= [module], lam",
            "self.module(x)": "self.module[0](x)",
            "self.parameters()": "self.module[0].parameters()",
        },
        {PENALTY},
    ),
    "everything works": ("q2", "def works(Layer):\n    return True", {"q2-visible", VALUE, BEHAVIOUR}),
    "nothing works": ("q2", "def works(Layer):\n    return False", {"q2-visible", VALUE, BEHAVIOUR}),
    "the tests raise": ("q2", {"try:": "if True:", "except Exception:": "else:"}, {"q2-visible"}),
    "only the value is tested": (
        "q2",
        {"all(bool(check) for check in checks)": "bool(checks[1])"},
        {BEHAVIOUR},
    ),
    "only the behaviour is tested": (
        "q2",
        {
            "right = 0.15 * sum(w.square().sum() for w in weights)": "right = layer.get_l2_regularizer()",
            "penalty.isclose(right)]\n        loss": "right.requires_grad]\n        loss",
            ".isclose(0.15 * one.weight.square().sum())": " < 1.5 * Layer(one, 0.3).get_l2_regularizer()",
        },
        {VALUE},
    ),
    "no decay in the first group": ("q3", {'"weight_decay": lam': '"weight_decay": 0.0'}, {"q3-visible"}),
    "all parameters decay": ("q3", {"> 1": ">= 0", "<= 1": "< 0"}, {"q3-visible", "q3-hidden"}),
    "kernels are forgotten": ("q3", {"> 1": "== 2", "<= 1": "== 1"}, {"q3-hidden"}),
    "biases by name, scales decay": (
        "q3",
        {
            LARGE: 'p for name, p in module.named_parameters() if "bias" not in name',
            SMALL: 'p for name, p in module.named_parameters() if "bias" in name',
        },
        {"q3-hidden"},
    ),
    "the mean over models": (
        "q4",
        {"len(X)": "len(lams) / len(X)", "error.mean(dim=1)": "error.mean(dim=1) / len(lams)"},
        {"q4-visible", "q4-hidden"},
    ),
    "one λ for all": ("q4", {"lams[:, None]": "lams.mean()"}, {"q4-hidden"}),
    "twice the decay": ("q4", {"lams[:, None]": "2 * lams[:, None]"}, {"q4-hidden"}),
    "the bias decays": ("q4", {"error.mean(dim=1)": "(error.mean(dim=1) + lams * b)"}, {"q4-hidden"}),
    "the standard deviation": (
        "q5",
        {" / np.sqrt(losses.shape[1])": ""},
        {"q5-visible", "q5-hidden", "q5-own-hidden"},
    ),
    "divisor R": ("q5", {"ddof=1": "ddof=0"}, {"q5-hidden"}),
    "positions and not λ": (
        "q5",
        {"lams[k]": "k", LARGEST: "np.flatnonzero(mean <= limit).max()"},
        {"q5-visible", "q5-hidden", "q5-own-hidden"},
    ),
    "the last of the list, not the largest": ("q5", {LARGEST: "lams[mean <= limit][-1]"}, {"q5-hidden"}),
    "the best λ twice": ("q5", {LARGEST: "lams[k]"}, {"q5-visible", "q5-hidden", "q5-own-hidden"}),
    "only one value": ("q5-own", "my_choice = my_lams[3]", {"q5-own-hidden"}),
}
