"""Wrong answers to assignment 1 (for the format: book/for_instructors.md)."""

MUTANTS = {
    "the factor n is forgotten": ("q1", {"n * lam": "lam"}, "visible hidden"),
    "the number of columns for that of rows": ("q1", {"n * lam": "p * lam"}, "hidden"),
    "X is changed in place": (
        "q1",
        {"return np": "w = np", "X.T @ y)": "X.T @ y)\n    X -= X.mean(axis=0)\n    return w"},
        "hidden",
    ),
    "the bias is penalized": (
        "q2",
        {"n, p = X.shape": "w = ridge(np.c_[X, np.ones(len(X))], y, lam)\n    return w[:-1], w[-1]"},
        "visible hidden",
    ),
    "the shares without the square": ("q3", {"s**2": "s"}, "visible hidden q5-own-hidden"),
    "the weakest direction first": ("q3", {"return f": "return f[::-1]"}, "visible hidden"),
    "weights of the standardized columns": (
        "q4",
        {"w = np.where(varies, w / scale, 0.0)": "return w, b"},
        "visible hidden",
    ),
    "a constant column is divided by zero": (
        "q4",
        {"np.where(varies, scale, 1.0)": "scale", "np.where(varies, w / scale, 0.0)": "w / scale"},
        "hidden",
    ),
    "the smallest training error": ("q5", {"X, y = valid": "X, y = train"}, "visible hidden own-hidden"),
    "the first of equal errors": ("q5", {"<=": "<"}, "hidden"),
    "the index and not the λ": (
        "q5",
        {"return best_lam": "return list(lams).index(best_lam)"},
        "visible hidden own-hidden own-visible",
    ),
    "the columns of one's own data are not centred": (
        "q5-own",
        {" - my_train[0].mean(axis=0)": ""},
        "hidden",
    ),
}
