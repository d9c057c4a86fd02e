"""Wrong answers to assignment 1: name -> (answer cell, right -> wrong in its solution, tests that fail)."""

MUTANTS = {
    "the factor n is forgotten": ("q1", {"n * lam": "lam"}, {"q1-visible", "q1-hidden"}),
    "no half in the penalty": ("q1", {"n * lam": "2 * n * lam"}, {"q1-visible", "q1-hidden"}),
    "the number of columns for that of rows": ("q1", {"n * lam": "p * lam"}, {"q1-hidden"}),
    "X is changed in place": (
        "q1",
        {"return np": "w = np", "X.T @ y)": "X.T @ y)\n    X -= X.mean(axis=0)\n    return w"},
        {"q1-hidden"},
    ),
    "the bias is penalized": (
        "q2",
        {"n, p = X.shape": "w = ridge(np.c_[X, np.ones(len(X))], y, lam)\n    return w[:-1], w[-1]"},
        {"q2-visible", "q2-hidden"},
    ),
    "the bias is the mean of y": ("q2", {" - mean_X @ w": ""}, {"q2-hidden", "q5-own-hidden"}),
    "the shares without the square": ("q3", {"s**2": "s"}, {"q3-visible", "q3-hidden", "q5-own-hidden"}),
    "the shares without n": ("q3", {"len(X) * lam": "2 * lam"}, {"q3-hidden", "q5-own-hidden"}),
    "the weakest direction first": ("q3", {"return f": "return f[::-1]"}, {"q3-visible", "q3-hidden"}),
    "weights of the standardized columns": (
        "q4",
        {"w = np.where(varies, w / scale, 0.0)": "return w, b"},
        {"q4-visible", "q4-hidden"},
    ),
    "a constant column is divided by zero": (
        "q4",
        {"np.where(varies, scale, 1.0)": "scale", "np.where(varies, w / scale, 0.0)": "w / scale"},
        {"q4-hidden"},
    ),
    "the sample standard deviation": ("q4", {"X.std(axis=0)": "X.std(axis=0, ddof=1)"}, {"q4-hidden"}),
    "the smallest training error": (
        "q5",
        {"X, y = valid": "X, y = train"},
        {"q5-visible", "q5-hidden", "q5-own-hidden"},
    ),
    "fitted on the validation rows": ("q5", {"fit(*train": "fit(*valid"}, {"q5-hidden", "q5-own-hidden"}),
    "the first of equal errors": ("q5", {"<=": "<"}, {"q5-hidden"}),
    "the index and not the λ": (
        "q5",
        {"return best_lam": "return list(lams).index(best_lam)"},
        {"q5-visible", "q5-hidden", "q5-own-visible", "q5-own-hidden"},
    ),
    "the columns of one's own data are not centred": (
        "q5-own",
        {" - my_train[0].mean(axis=0)": ""},
        {"q5-own-hidden"},
    ),
}
