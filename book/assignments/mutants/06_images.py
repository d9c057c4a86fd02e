"""Wrong answers to assignment 6: name -> (answer cell, right -> wrong in its solution, tests that fail).

A text in place of right -> wrong is the whole answer.
"""

OUTPUT, COPIES = "q5-hidden-output", "q5-hidden-copies"
MEAN = "inside.sum(dim=(2, 3)) / mask.sum(dim=(2, 3))"

MUTANTS = {
    "in the corner": ("q1", {"(H - h) // 2, (W - w) // 2": "0, 0"}, {"q1-visible", "q1-hidden"}),
    "one pixel further down": (
        "q1",
        {"(H - h)": "(H - h + 1)", "(W - w)": "(W - w + 1)"},
        {"q1-visible", "q1-hidden"},
    ),
    "zeros count as padding": ("q1", {"= 1.0": "= torch.as_tensor(picture != 0).float()"}, {"q1-hidden"}),
    "nothing is no error": (
        "q1",
        {'raise ValueError("no pictures: give a list of at least one")': "return torch.zeros(2, 0)"},
        {"q1-hidden"},
    ),
    "padding counts": ("q2", {MEAN: "inside.mean(dim=(2, 3))"}, {"q2-visible", "q2-hidden"}),
    "no mask at all": ("q2", {MEAN: "features.mean(dim=(2, 3))"}, {"q2-visible", "q2-hidden"}),
    "nan times zero": (
        "q2",
        {"torch.where(mask > 0, features, torch.zeros_like(features))": "features * mask"},
        {"q2-hidden"},
    ),
    "one size for all pictures": ("q2", {"mask.sum(dim=(2, 3))": "mask[0].sum()"}, {"q2-hidden"}),
    "pictures are split": (
        "q3",
        {"np.unique(groups)": "len(groups)", "np.flatnonzero(np.isin(groups, part))": "np.sort(part)"},
        {"q3-hidden"},
    ),
    "numbers of the groups are returned": (
        "q3",
        {"np.flatnonzero(np.isin(groups, part))": "np.sort(part)"},
        {"q3-visible", "q3-hidden"},
    ),
    "the seed is ignored": ("q3", {"rng(seed)": "rng(0)"}, {"q3-hidden"}),
    "another split at each call": ("q3", {"rng(seed)": "rng()"}, {"q3-hidden"}),
    "chosen on the test pictures": (
        "q4",
        {'splits["valid"]': 'splits["test"]'},
        {"q4-visible", "q4-hidden", "q4-own-hidden"},
    ),
    "the smallest λ of equals": ("q4", {"(valid[lam], lam)": "(valid[lam], -lam)"}, {"q4-hidden"}),
    "the largest λ": ("q4", {"(valid[lam], lam)": "lam"}, {"q4-hidden", "q4-own-hidden"}),
    "a second look": (
        "q4",
        {"(valid[lam], lam)": '(valid[lam], accuracy(models[lam], splits["test"]))'},
        {"q4-hidden"},
    ),
    "trained again": (
        "q4",
        {"return {": 'models[best] = train_model(splits["train"], best)\n    return {'},
        {"q4-hidden"},
    ),
    "a report from memory": (
        "q4-own",
        'my_report = {"lam": 0.1, "valid": 0.9, "test": 0.9}',
        {"q4-own-hidden"},
    ),
    "the second layer keeps all its inputs": (
        "q5",
        {"Conv2d(n,": "Conv2d(conv2.in_channels,", "conv2.weight[:, keep]": "conv2.weight"},
        {"q5-visible", OUTPUT},
    ),
    "the first channels stay": ("q5", {"[:, keep]": "[:, :n]"}, {OUTPUT}),
    "the bias is forgotten": ("q5", {"first.bias.copy_(conv1.bias[keep])": "pass"}, {OUTPUT}),
    "padding is forgotten": ("q5", {'"padding": c.padding,': ""}, {OUTPUT}),
    "set to zero and not removed": (
        "q5",
        {
            "int(keep.sum())": "len(keep)",
            "weight[keep]": "weight * keep.view(-1, 1, 1, 1)",
            "bias[keep]": "bias * keep",
            "[:, keep]": "",
        },
        {"q5-visible", OUTPUT},
    ),
    "the given layers if all stay": (
        "q5",
        {"n = int": "if keep.all():\n        return conv1, conv2\n    n = int"},
        {COPIES},
    ),
    "nothing is kept": ("q5", {"if not keep.any():": "if False:"}, {COPIES}),
}
