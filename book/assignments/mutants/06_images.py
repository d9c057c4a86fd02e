"""Wrong answers to assignment 6 (for the format: book/for_instructors.md)."""

MEAN = "inside.sum(dim=(2, 3)) / mask.sum(dim=(2, 3))"

MUTANTS = {
    "in the corner": ("q1", {"(H - h) // 2, (W - w) // 2": "0, 0"}, "visible hidden"),
    "zeros count as padding": ("q1", {"= 1.0": "= torch.as_tensor(picture != 0).float()"}, "hidden"),
    "padding counts": ("q2", {MEAN: "inside.mean(dim=(2, 3))"}, "visible hidden"),
    "nan times zero": (
        "q2",
        {"torch.where(mask > 0, features, torch.zeros_like(features))": "features * mask"},
        "hidden",
    ),
    "numbers of the groups are returned": (
        "q3",
        {"np.flatnonzero(np.isin(groups, part))": "np.sort(part)"},
        "visible hidden",
    ),
    "the seed is ignored": ("q3", {"rng(seed)": "rng(0)"}, "hidden"),
    "chosen on the test pictures": ("q4", {'splits["valid"]': 'splits["test"]'}, "visible hidden own-hidden"),
    "the smallest λ of equals": ("q4", {"(valid[lam], lam)": "(valid[lam], -lam)"}, "hidden"),
    "a report from memory": ("q4-own", 'my_report = {"lam": 0.1, "valid": 0.9, "test": 0.9}', "hidden"),
    "the second layer keeps all its inputs": (
        "q5",
        {"Conv2d(n,": "Conv2d(conv2.in_channels,", "conv2.weight[:, keep]": "conv2.weight"},
        "visible hidden-output",
    ),
    "the bias is forgotten": ("q5", {"first.bias.copy_(conv1.bias[keep])": "pass"}, "hidden-output"),
    "the given layers if all stay": (
        "q5",
        {"n = int": "if keep.all():\n        return conv1, conv2\n    n = int"},
        "hidden-copies",
    ),
    "nothing is kept": ("q5", {"if not keep.any():": "if False:"}, "hidden-copies"),
}
