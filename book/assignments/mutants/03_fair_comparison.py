"""Wrong answers to assignment 3: name -> (answer cell, code, grade_ids of the tests that must fail)."""

AUDIT = """
def audit(log, reference):
    runs = {}
    for record in log:
        runs.setdefault(record["method"], {})[record["seed"]] = record
    flaws = {}
    for method, records in runs.items():
        found = set()
        if @seeds:
            found.add("seeds")
        for seed in set(records) & set(runs[reference]):
            mine, other = records[seed], runs[reference][seed]
            if @rows:
                found.add("rows")
            if @tries:
                found.add("tries")
        if @choice:
            found.add("choice")
        if @keep:
            flaws[method] = found
    return flaws
"""

STUDY = """
def fair_study(methods, make_problem, seeds):
    mse = lambda rows, w: np.mean((rows[0] @ w - rows[1]) ** 2)
    scores = {name: [] for name in methods}
    for seed in seeds:
        problem = make_problem(seed)
        for name, (fit, strengths) in methods.items():
            @before
            ws = [fit(*problem["train"], strength) for strength in strengths]
            best = @best
            scores[name].append(mse(problem["@reported"], ws[best]))
    return {name: np.array(values) for name, values in scores.items()}
"""


def auditor(**changes: str) -> str:
    """Return a right answer to question 1, but for these changes."""
    parts = {
        "seeds": "set(records) != set(runs[reference])",
        "rows": 'set(mine["rows"]) != set(other["rows"])',
        "tries": 'len(mine["strengths"]) != len(other["strengths"])',
        "choice": 'any(record["chosen_on"] != "valid" for record in records.values())',
        "keep": "found",
    }
    return _filled(AUDIT, {**parts, **changes})


def study(**changes: str) -> str:
    """Return a right answer to question 3, but for these changes."""
    parts = {
        "before": "pass",
        "best": 'np.argmin([mse(problem["valid"], w) for w in ws])',
        "reported": "test",
    }
    return _filled(STUDY, {**parts, **changes})


def _filled(text: str, parts: dict[str, str]) -> str:
    for name, code in parts.items():
        text = text.replace(f"@{name}", code)
    return text


CHOICE, ROWS = "q3-hidden-choice", "q3-hidden-rows"

MUTANTS = {
    "rows are counted": (
        "q1",
        auditor(rows='len(mine["rows"]) != len(other["rows"])'),
        {"q1-hidden"},
    ),
    "rows are compared in their order": (
        "q1",
        auditor(rows='mine["rows"] != other["rows"]'),
        {"q1-visible", "q1-hidden"},
    ),
    "strengths are compared by value": (
        "q1",
        auditor(tries='mine["strengths"] != other["strengths"]'),
        {"q1-hidden", "q2-hidden"},
    ),
    "seeds are counted out": ("q1", auditor(seeds="False"), {"q1-hidden"}),
    "training rows may choose": (
        "q1",
        auditor(choice='any(record["chosen_on"] == "test" for record in records.values())'),
        {"q1-hidden"},
    ),
    "the first record decides": (
        "q1",
        auditor(choice='next(iter(records.values()))["chosen_on"] != "valid"'),
        {"q2-hidden"},
    ),
    "methods without flaws are listed": (
        "q1",
        auditor(keep="True"),
        {"q1-visible", "q1-hidden", "q2-visible", "q2-hidden"},
    ),
    "one flaw overlooked": ("q2", 'my_flaws = {"lasso": {"rows"}}', {"q2-hidden"}),
    "flaws with names of one's own": (
        "q2",
        'my_flaws = {"lasso": {"too few rows"}}',
        {"q2-visible", "q2-hidden"},
    ),
    "chosen on the test rows": (
        "q3",
        study(best='np.argmin([mse(problem["test"], w) for w in ws])'),
        {"q3-hidden-choice", "q5-hidden"},
    ),
    "chosen on the training rows": (
        "q3",
        study(best='np.argmin([mse(problem["train"], w) for w in ws])'),
        {CHOICE, "q5-hidden"},
    ),
    "the last of equals": (
        "q3",
        study(best='len(ws) - 1 - np.argmin([mse(problem["valid"], w) for w in ws[::-1]])'),
        {CHOICE},
    ),
    "the validation error is reported": (
        "q3",
        study(reported="valid"),
        {"q3-visible", CHOICE, "q5-hidden"},
    ),
    "a new sample for each method": ("q3", study(before="problem = make_problem(seed)"), {ROWS}),
    "fitted on the validation rows as well": (
        "q3",
        study().replace(
            'fit(*problem["train"], strength)',
            'fit(*(np.concatenate(part) for part in zip(problem["train"], problem["valid"])), strength)',
        ),
        {ROWS, "q5-hidden"},
    ),
    "the first strength only": (
        "q3",
        study(best="0"),
        {CHOICE, "q5-hidden"},
    ),
    "not paired": (
        "q4",
        """
def paired_difference(a, b):
    a, b = np.asarray(a), np.asarray(b)
    half = stats.t.ppf(0.975, len(a) - 1) * np.sqrt((a.var(ddof=1) + b.var(ddof=1)) / len(a))
    mean = a.mean() - b.mean()
    return mean, mean - half, mean + half
""",
        {"q4-visible", "q4-hidden", "q5-hidden"},
    ),
    "1.96": (
        "q4",
        """
def paired_difference(a, b):
    d = np.asarray(a) - np.asarray(b)
    half = 1.96 * d.std(ddof=1) / np.sqrt(len(d))
    return d.mean(), d.mean() - half, d.mean() + half
""",
        {"q4-hidden", "q5-hidden"},
    ),
    "divisor n": (
        "q4",
        """
def paired_difference(a, b):
    d = np.asarray(a) - np.asarray(b)
    half = stats.t.ppf(0.975, len(d) - 1) * d.std() / np.sqrt(len(d))
    return d.mean(), d.mean() - half, d.mean() + half
""",
        {"q4-hidden", "q5-hidden"},
    ),
    "b minus a": (
        "q4",
        """
def paired_difference(a, b):
    d = np.asarray(b) - np.asarray(a)
    half = stats.t.ppf(0.975, len(d) - 1) * d.std(ddof=1) / np.sqrt(len(d))
    return d.mean(), d.mean() - half, d.mean() + half
""",
        {"q4-visible", "q4-hidden", "q5-hidden"},
    ),
    "a verdict against the interval": (
        "q5",
        """
my_scores = fair_study(my_methods, my_problem, range(10))
my_interval = paired_difference(my_scores["ridge"], my_scores["lasso"])[1:]
my_verdict = "undecided" if my_interval[0] * my_interval[1] > 0 else "ridge"
""",
        {"q5-visible", "q5-hidden"},
    ),
    "larger errors are taken for better": (
        "q5",
        """
my_scores = fair_study(my_methods, my_problem, range(10))
my_interval = paired_difference(my_scores["ridge"], my_scores["lasso"])[1:]
my_verdict = "lasso" if my_interval[1] < 0 else "ridge" if my_interval[0] > 0 else "undecided"
""",
        {"q5-hidden"},
    ),
}
