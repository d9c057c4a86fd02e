"""Wrong answers to assignment 5: name -> (answer cell, code, grade_ids of the tests that must fail)."""

LAYER = """
class L2Layer(nn.Module):
    def __init__(self, module, lam):
        super().__init__()
        self.module, self.lam = module, lam

    def forward(self, x):
        return {output}

    def get_l2_regularizer(self):
        return {half} * self.lam * sum(p.square().sum() for p in {weights})

    def fit_and_backward(self, x, y, criterion):
        {first}
        loss, penalty = criterion(self(x), y), self.get_l2_regularizer(){detach}
        (loss + penalty).backward()
        return {returned}
"""

WORKS = """
def works(Layer):
    {frame}:
        net, (x, y) = small_network(7), small_batch(7)
        layer = Layer(net, 0.3)
        weights = [net[0].weight, net[3].weight]
        right = 0.15 * sum(w.square().sum() for w in weights)
        checks = [torch.equal(layer(x), net(x)), torch.isclose(layer.get_l2_regularizer(), right)]
        loss, penalty = layer.fit_and_backward(x, y, nn.CrossEntropyLoss())
        found = [p.grad.clone() for p in net.parameters()]
        net.zero_grad()
        (nn.CrossEntropyLoss()(net(x), y) + 0.15 * sum(w.square().sum() for w in weights)).backward()
        checks += [torch.allclose(g, p.grad) for g, p in zip(found, net.parameters(), strict=True)]
        layer.fit_and_backward(x, y, nn.CrossEntropyLoss())
        checks.append(torch.allclose(net[0].weight.grad, 2 * found[0]))
        one, two = nn.Linear(4, 4), nn.Linear(4, 4)
        two.weight = one.weight
        shared = Layer(nn.Sequential(one, two), 0.3).get_l2_regularizer()
        checks.append(torch.isclose(shared, 0.15 * one.weight.square().sum()))
        return {verdict}
    {otherwise}
"""

SWEEP = """
def sweep(X, y, lams, lr, steps):
    W = torch.zeros(len(lams), X.shape[1], dtype=X.dtype)
    b = torch.zeros(len(lams), dtype=X.dtype)
    for _ in range(steps):
        error = torch.sigmoid(W @ X.T + b[:, None]) - y
        W, b = W - lr * (error @ X / {mean} + {decay}), b - lr * ({slope})
    return W, b
"""


def layer(**changes: str) -> str:
    """Return a right answer to question 1, but for these changes."""
    parts = {
        "output": "self.module(x)",
        "half": "0.5",
        "weights": "self.module.parameters() if p.ndim > 1",
        "first": "pass",
        "detach": "",
        "returned": "loss.detach(), penalty.detach()",
    }
    return LAYER.format(**{**parts, **changes})


def tester(**changes: str) -> str:
    """Return a right answer to question 2, but for these changes."""
    parts = {
        "frame": "try",
        "verdict": "all(bool(check) for check in checks)",
        "otherwise": "except Exception:\n        return False",
    }
    return WORKS.format(**{**parts, **changes})


def sweeper(**changes: str) -> str:
    """Return a right answer to question 4, but for these changes."""
    parts = {"mean": "len(X)", "decay": "lams[:, None] * W", "slope": "error.mean(dim=1)"}
    return SWEEP.format(**{**parts, **changes})


def groups(weights: str, others: str, decay: str = "lam") -> str:
    """Return an answer to question 3 with these conditions on a parameter p."""
    return f"""
def param_groups(module, lam):
    weights = [p for p in module.parameters() if {weights}]
    others = [p for p in module.parameters() if {others}]
    return [{{"params": weights, "weight_decay": {decay}}}, {{"params": others, "weight_decay": 0.0}}]
"""


def rule(error: str, chosen: str = "lams[mean <= mean[k] + error].max()", best: str = "lams[k]") -> str:
    """Return an answer to question 5 with this standard error and this choice."""
    return f"""
def one_standard_error(losses, lams):
    mean = losses.mean(axis=1)
    k = int(np.argmin(mean))
    error = {error}
    return {best}, {chosen}
"""


PENALTY, TRAINING = "q1-hidden-penalty", "q1-hidden-training"
VALUE, BEHAVIOUR = "q2-hidden-value", "q2-hidden-behaviour"
STANDARD_ERROR = "losses[k].std(ddof=1) / np.sqrt(losses.shape[1])"

MUTANTS = {
    # A wrong layer is also rejected by right tests, hence q2-visible.
    "no half": ("q1", layer(half="1.0"), {"q1-visible", PENALTY, TRAINING, "q2-visible"}),
    "biases are penalized": (
        "q1",
        layer(weights="self.module.parameters()"),
        {"q1-visible", PENALTY, TRAINING, "q2-visible"},
    ),
    "the output is shrunk": (
        "q1",
        layer(output="(1 - self.lam) * self.module(x)"),
        {"q1-visible", TRAINING, "q2-visible"},
    ),
    "the penalty is detached": ("q1", layer(detach=".detach()"), {TRAINING, "q2-visible"}),
    "gradients are cleared": ("q1", layer(first="self.zero_grad()"), {TRAINING, "q2-visible"}),
    "the sum is returned as the loss": (
        "q1",
        layer(returned="(loss + penalty).detach(), penalty.detach()"),
        {TRAINING, "q2-visible"},
    ),
    "a shared weight counts twice": (
        "q1",
        layer(weights="[m.weight for m in self.module.modules() if isinstance(m, nn.Linear)]"),
        {PENALTY, "q2-visible"},
    ),
    "the module is not registered": (
        "q1",
        layer(output="self.module[0](x)", weights="self.module[0].parameters() if p.ndim > 1").replace(
            "self.module, self.lam = module, lam", "self.module, self.lam = [module], lam"
        ),
        {PENALTY},
    ),
    "everything works": ("q2", "def works(Layer):\n    return True", {"q2-visible", VALUE, BEHAVIOUR}),
    "nothing works": ("q2", "def works(Layer):\n    return False", {"q2-visible", VALUE, BEHAVIOUR}),
    "the tests raise": (
        "q2",
        tester(frame="if True", otherwise=""),
        {"q2-visible"},
    ),
    "only the value is tested": (
        "q2",
        tester(verdict="bool(checks[1])"),
        {BEHAVIOUR},
    ),
    "only the behaviour is tested": (
        "q2",
        """
def works(Layer):
    try:
        net, (x, y) = small_network(7), small_batch(7)
        layer = Layer(net, 0.3)
        penalty = layer.get_l2_regularizer()
        layer.fit_and_backward(x, y, nn.CrossEntropyLoss())
        found = net[0].weight.grad.clone()
        layer.fit_and_backward(x, y, nn.CrossEntropyLoss())
        twice = torch.allclose(net[0].weight.grad, 2 * found)
        plain = torch.autograd.grad(nn.CrossEntropyLoss()(net(x), y), net[0].weight)[0]
        acts = not torch.allclose(plain, found)
        one, two = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
        two.weight = one.weight
        alone = Layer(one, 0.3).get_l2_regularizer()
        both = Layer(nn.Sequential(one, two), 0.3).get_l2_regularizer()
        shared = both < 1.5 * alone
        return bool(torch.equal(layer(x), net(x)) and penalty > 0 and twice and acts and shared)
    except Exception:
        return False
""",
        {VALUE},
    ),
    "no decay in the first group": (
        "q3",
        groups("p.ndim > 1", "p.ndim <= 1", decay="0.0"),
        {"q3-visible"},
    ),
    "all parameters decay": ("q3", groups("True", "False"), {"q3-visible", "q3-hidden"}),
    "kernels are forgotten": ("q3", groups("p.ndim == 2", "p.ndim == 1"), {"q3-hidden"}),
    "biases by name, scales decay": (
        "q3",
        """
def param_groups(module, lam):
    named = list(module.named_parameters())
    weights = [p for name, p in named if not name.endswith("bias")]
    others = [p for name, p in named if name.endswith("bias")]
    return [{"params": weights, "weight_decay": lam}, {"params": others, "weight_decay": 0.0}]
""",
        {"q3-hidden"},
    ),
    "the mean over models": (
        "q4",
        sweeper(mean="(len(lams) * len(X))", slope="error.mean(dim=1) / len(lams)"),
        {"q4-visible", "q4-hidden"},
    ),
    "one λ for all": ("q4", sweeper(decay="lams.mean() * W"), {"q4-hidden"}),
    "twice the decay": ("q4", sweeper(decay="2 * lams[:, None] * W"), {"q4-hidden"}),
    "the bias decays": (
        "q4",
        sweeper(slope="error.mean(dim=1) + lams * b"),
        {"q4-hidden"},
    ),
    "the standard deviation": (
        "q5",
        rule("losses[k].std(ddof=1)"),
        {"q5-visible", "q5-hidden", "q5-own-hidden"},
    ),
    "divisor R": (
        "q5",
        rule("losses[k].std() / np.sqrt(losses.shape[1])"),
        {"q5-hidden"},
    ),
    "positions and not λ": (
        "q5",
        rule(STANDARD_ERROR, "np.flatnonzero(mean <= mean[k] + error).max()", "k"),
        {"q5-visible", "q5-hidden", "q5-own-hidden"},
    ),
    "the last of the list, not the largest": (
        "q5",
        rule(STANDARD_ERROR, "lams[np.flatnonzero(mean <= mean[k] + error).max()]"),
        {"q5-hidden"},
    ),
    "the best λ twice": (
        "q5",
        rule("0.0"),
        {"q5-visible", "q5-hidden", "q5-own-hidden"},
    ),
    "only one value": ("q5-own", "my_choice = my_lams[3]", {"q5-own-hidden"}),
}
