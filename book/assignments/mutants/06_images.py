"""Wrong answers to assignment 6: name -> (answer cell, code, grade_ids of the tests that must fail)."""

PAD = """
def pad_batch(pictures):
    {empty}
    H, W = np.max([picture.shape for picture in pictures], axis=0)
    x, mask = torch.zeros(2, len(pictures), 1, H, W)
    for k, picture in enumerate(pictures):
        h, w = picture.shape
        top, left = {place}
        x[k, 0, top : top + h, left : left + w] = torch.as_tensor(picture)
        mask[k, 0, top : top + h, left : left + w] = {inside}
    return x, mask
"""

REPORT = """
def choose_and_report(train_model, accuracy, lams, splits):
    models = {{lam: train_model(splits["train"], lam) for lam in lams}}
    valid = {{lam: accuracy(model, splits["{judge}"]) for lam, model in models.items()}}
    best = max(lams, key=lambda lam: {key})
    {again}
    return {{"lam": best, "valid": valid[best], "test": accuracy(models[best], splits["test"])}}
"""

PRUNE = """
def prune(conv1, conv2, keep):
    {check}
    n = int(keep.sum())
    options = [{{"kernel_size": c.kernel_size, {same}}} for c in (conv1, conv2)]
    first = nn.Conv2d(conv1.in_channels, n, **options[0])
    second = nn.Conv2d(n, conv2.out_channels, **options[1])
    with torch.no_grad():
        first.weight.copy_(conv1.weight[{kept}])
        {bias}
        second.weight.copy_(conv2.weight[:, {read}])
        second.bias.copy_(conv2.bias)
    return first, second
"""


def padder(**changes: str) -> str:
    """Return a right answer to question 1, but for these changes."""
    parts = {
        "empty": "if not len(pictures):\n        raise ValueError('empty')",
        "place": "(H - h) // 2, (W - w) // 2",
        "inside": "1.0",
    }
    return PAD.format(**{**parts, **changes})


def reporter(**changes: str) -> str:
    """Return a right answer to question 4, but for these changes."""
    parts = {"judge": "valid", "key": "(valid[lam], lam)", "again": "pass"}
    return REPORT.format(**{**parts, **changes})


def pruner(**changes: str) -> str:
    """Return a right answer to question 5, but for these changes."""
    parts = {
        "check": "if not keep.any():\n        raise ValueError('nothing is kept')",
        "same": '"stride": c.stride, "padding": c.padding',
        "kept": "keep",
        "read": "keep",
        "bias": "first.bias.copy_(conv1.bias[keep])",
    }
    return PRUNE.format(**{**parts, **changes})


OUTPUT, COPIES = "q5-hidden-output", "q5-hidden-copies"

MUTANTS = {
    "in the corner": ("q1", padder(place="0, 0"), {"q1-visible", "q1-hidden"}),
    "one pixel further down": (
        "q1",
        padder(place="(H - h + 1) // 2, (W - w + 1) // 2"),
        {"q1-visible", "q1-hidden"},
    ),
    "zeros count as padding": (
        "q1",
        padder(inside="torch.as_tensor(picture != 0).float()"),
        {"q1-hidden"},
    ),
    "nothing is no error": (
        "q1",
        padder(empty="if not len(pictures):\n        return torch.zeros(0), torch.zeros(0)"),
        {"q1-hidden"},
    ),
    "padding counts": (
        "q2",
        "def masked_mean(features, mask):\n    return (features * mask).mean(dim=(2, 3))",
        {"q2-visible", "q2-hidden"},
    ),
    "no mask at all": (
        "q2",
        "def masked_mean(features, mask):\n    return features.mean(dim=(2, 3))",
        {"q2-visible", "q2-hidden"},
    ),
    "nan times zero": (
        "q2",
        """
def masked_mean(features, mask):
    return (features * mask).sum(dim=(2, 3)) / mask.sum(dim=(2, 3))
""",
        {"q2-hidden"},
    ),
    "one size for all pictures": (
        "q2",
        """
def masked_mean(features, mask):
    inside = torch.where(mask > 0, features, torch.zeros_like(features))
    return inside.sum(dim=(2, 3)) / mask[0].sum()
""",
        {"q2-hidden"},
    ),
    "pictures are split": (
        "q3",
        """
def split_by_group(groups, fractions, seed):
    order = np.random.default_rng(seed).permutation(len(groups))
    cuts = np.round(len(groups) * np.cumsum(fractions)[:-1]).astype(int)
    return [np.sort(part) for part in np.split(order, cuts)]
""",
        {"q3-hidden"},
    ),
    "numbers of the groups are returned": (
        "q3",
        """
def split_by_group(groups, fractions, seed):
    distinct = np.random.default_rng(seed).permutation(np.unique(groups))
    cuts = np.round(len(distinct) * np.cumsum(fractions)[:-1]).astype(int)
    return [np.sort(part) for part in np.split(distinct, cuts)]
""",
        {"q3-visible", "q3-hidden"},
    ),
    "the seed is ignored": (
        "q3",
        """
def split_by_group(groups, fractions, seed):
    distinct = np.random.default_rng(0).permutation(np.unique(groups))
    cuts = np.round(len(distinct) * np.cumsum(fractions)[:-1]).astype(int)
    return [np.flatnonzero(np.isin(groups, part)) for part in np.split(distinct, cuts)]
""",
        {"q3-hidden"},
    ),
    "another split at each call": (
        "q3",
        """
def split_by_group(groups, fractions, seed):
    distinct = np.random.default_rng().permutation(np.unique(groups))
    cuts = np.round(len(distinct) * np.cumsum(fractions)[:-1]).astype(int)
    return [np.flatnonzero(np.isin(groups, part)) for part in np.split(distinct, cuts)]
""",
        {"q3-hidden"},
    ),
    "chosen on the test pictures": (
        "q4",
        reporter(judge="test"),
        {"q4-visible", "q4-hidden", "q4-own-hidden"},
    ),
    "the smallest λ of equals": ("q4", reporter(key="(valid[lam], -lam)"), {"q4-hidden"}),
    "the largest λ": (
        "q4",
        reporter(key="lam"),
        {"q4-hidden", "q4-own-hidden"},
    ),
    "a second look": (
        "q4",
        reporter(key='(valid[lam], accuracy(models[lam], splits["test"]))'),
        {"q4-hidden"},
    ),
    "trained again": (
        "q4",
        reporter(again='models[best] = train_model(splits["train"], best)'),
        {"q4-hidden"},
    ),
    "a report from memory": (
        "q4-own",
        'my_report = {"lam": 0.1, "valid": 0.9, "test": 0.9}',
        {"q4-own-hidden"},
    ),
    "the second layer keeps all its inputs": (
        "q5",
        """
import copy


def prune(conv1, conv2, keep):
    if not keep.any():
        raise ValueError("nothing is kept")
    first = copy.deepcopy(conv1)
    first.weight, first.bias = nn.Parameter(conv1.weight[keep]), nn.Parameter(conv1.bias[keep])
    return first, copy.deepcopy(conv2)
""",
        {"q5-visible", OUTPUT},
    ),
    "the first channels stay": (
        "q5",
        pruner(read=":n"),
        {OUTPUT},
    ),
    "the bias is forgotten": ("q5", pruner(bias="pass"), {OUTPUT}),
    "padding is forgotten": ("q5", pruner(same='"stride": c.stride'), {OUTPUT}),
    "set to zero and not removed": (
        "q5",
        """
import copy


def prune(conv1, conv2, keep):
    if not keep.any():
        raise ValueError("nothing is kept")
    first, second = copy.deepcopy(conv1), copy.deepcopy(conv2)
    with torch.no_grad():
        first.weight[~keep] = 0.0
        first.bias[~keep] = 0.0
    return first, second
""",
        {"q5-visible", OUTPUT},
    ),
    "the given layers if all stay": (
        "q5",
        pruner(check="if keep.all():\n        return conv1, conv2"),
        {COPIES},
    ),
    "nothing is kept": ("q5", pruner(check="pass"), {COPIES}),
}
