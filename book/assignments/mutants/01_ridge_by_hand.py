"""Wrong answers to assignment 1: name -> (answer cell, code, grade_ids of the tests that must fail)."""

MUTANTS = {
    "the factor n is forgotten": (
        "q1",
        """
def ridge(X, y, lam):
    return np.linalg.solve(X.T @ X + lam * np.eye(X.shape[1]), X.T @ y)
""",
        {"q1-visible", "q1-hidden"},
    ),
    "no half in the penalty": (
        "q1",
        """
def ridge(X, y, lam):
    return np.linalg.solve(X.T @ X + 2 * len(X) * lam * np.eye(X.shape[1]), X.T @ y)
""",
        {"q1-visible", "q1-hidden"},
    ),
    "the number of columns for that of rows": (
        "q1",
        """
def ridge(X, y, lam):
    p = X.shape[1]
    return np.linalg.solve(X.T @ X + p * lam * np.eye(p), X.T @ y)
""",
        {"q1-hidden"},
    ),
    "X is changed in place": (
        "q1",
        """
def ridge(X, y, lam):
    w = np.linalg.solve(X.T @ X + len(X) * lam * np.eye(X.shape[1]), X.T @ y)
    X -= X.mean(axis=0)
    return w
""",
        {"q1-hidden"},
    ),
    "the bias is penalized": (
        "q2",
        """
def ridge_with_bias(X, y, lam):
    X1 = np.c_[X, np.ones(len(X))]
    w = np.linalg.solve(X1.T @ X1 + len(X) * lam * np.eye(X1.shape[1]), X1.T @ y)
    return w[:-1], w[-1]
""",
        {"q2-visible", "q2-hidden"},
    ),
    "the bias is the mean of y": (
        "q2",
        """
def ridge_with_bias(X, y, lam):
    n, p = X.shape
    C = X - X.mean(axis=0)
    return np.linalg.solve(C.T @ C + n * lam * np.eye(p), C.T @ (y - y.mean())), y.mean()
""",
        {"q2-hidden", "q5-own-hidden"},
    ),
    "the shares without the square": (
        "q3",
        """
def shrinkage(X, lam):
    s = np.linalg.svd(X, compute_uv=False)
    f = s / (s + len(X) * lam)
    return f, f.sum()
""",
        {"q3-visible", "q3-hidden", "q5-own-hidden"},
    ),
    "the shares without n": (
        "q3",
        """
def shrinkage(X, lam):
    s = np.linalg.svd(X, compute_uv=False)
    f = s**2 / (s**2 + 2 * lam)
    return f, f.sum()
""",
        {"q3-hidden", "q5-own-hidden"},
    ),
    "the weakest direction first": (
        "q3",
        """
def shrinkage(X, lam):
    e = np.linalg.eigvalsh(X.T @ X / len(X))
    f = e / (e + lam)
    return f, f.sum()
""",
        {"q3-visible", "q3-hidden"},
    ),
    "weights of the standardized columns": (
        "q4",
        """
def fit_standardized(fit, X, y, lam):
    scale = np.where(X.std(axis=0) > 0, X.std(axis=0), 1.0)
    return fit((X - X.mean(axis=0)) / scale, y, lam)
""",
        {"q4-visible", "q4-hidden"},
    ),
    "a constant column is divided by zero": (
        "q4",
        """
def fit_standardized(fit, X, y, lam):
    mean, scale = X.mean(axis=0), X.std(axis=0)
    w, b = fit((X - mean) / scale, y, lam)
    return w / scale, b - mean @ (w / scale)
""",
        {"q4-hidden"},
    ),
    "the sample standard deviation": (
        "q4",
        """
def fit_standardized(fit, X, y, lam):
    mean, scale = X.mean(axis=0), X.std(axis=0, ddof=1)
    scale = np.where(scale > 0, scale, 1.0)
    w, b = fit((X - mean) / scale, y, lam)
    w = np.where(X.std(axis=0) > 0, w / scale, 0.0)
    return w, b - mean @ w
""",
        {"q4-hidden"},
    ),
    "the smallest training error": (
        "q5",
        """
def choose_lambda(fit, train, valid, lams):
    X, y = train
    errors = []
    for lam in lams:
        w, b = fit(X, y, lam)
        errors.append(np.mean((X @ w + b - y) ** 2))
    return lams[int(np.argmin(errors))]
""",
        {"q5-visible", "q5-hidden", "q5-own-hidden"},
    ),
    "fitted on the validation rows": (
        "q5",
        """
def choose_lambda(fit, train, valid, lams):
    X, y = valid
    errors = []
    for lam in lams:
        w, b = fit(X, y, lam)
        errors.append(np.mean((X @ w + b - y) ** 2))
    return lams[int(np.argmin(errors))]
""",
        {"q5-hidden", "q5-own-hidden"},
    ),
    "the first of equal errors": (
        "q5",
        """
def choose_lambda(fit, train, valid, lams):
    X, y = valid
    errors = []
    for lam in lams:
        w, b = fit(*train, lam)
        errors.append(np.mean((X @ w + b - y) ** 2))
    return lams[int(np.argmin(errors))]
""",
        {"q5-hidden"},
    ),
    "the index and not the λ": (
        "q5",
        """
def choose_lambda(fit, train, valid, lams):
    X, y = valid
    errors = []
    for lam in lams:
        w, b = fit(*train, lam)
        errors.append(np.mean((X @ w + b - y) ** 2))
    return int(np.argmin(errors))
""",
        {"q5-visible", "q5-hidden", "q5-own-visible", "q5-own-hidden"},
    ),
    "the columns of one's own data are not centred": (
        "q5-own",
        """
my_lam = choose_lambda(ridge_with_bias, my_train, my_valid, my_lams)
my_df = shrinkage(my_train[0], my_lam)[1]
""",
        {"q5-own-hidden"},
    ),
}
