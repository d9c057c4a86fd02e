"""Wrong answers to assignment 3: name -> (answer cell, right -> wrong in its solution, tests that fail).

A text in place of right -> wrong is the whole answer.
"""

CHOICE, ROWS = "q3-hidden-choice", "q3-hidden-rows"
SMALLEST = 'np.argmin([mse(problem["valid"], w) for w in ws])'

MUTANTS = {
    "rows are counted": ("q1", {"set(mine": "len(mine", "set(other": "len(other"}, {"q1-hidden"}),
    "rows are compared in their order": (
        "q1",
        {"set(mine": "list(mine", "set(other": "list(other"},
        {"q1-visible", "q1-hidden"},
    ),
    "strengths are compared by value": (
        "q1",
        {"len(mine": "list(mine", "len(other": "list(other"},
        {"q1-hidden", "q2-hidden"},
    ),
    "seeds are counted out": ("q1", {"set(records) != set(runs[reference])": "False"}, {"q1-hidden"}),
    "training rows may choose": ("q1", {'!= "valid"': '== "test"'}, {"q1-hidden"}),
    "the first record decides": ("q1", {"in records.values()": "in [*records.values()][:1]"}, {"q2-hidden"}),
    "methods without flaws are listed": (
        "q1",
        {"if found:": "if True:"},
        {"q1-visible", "q1-hidden", "q2-visible", "q2-hidden"},
    ),
    "one flaw overlooked": ("q2", 'my_flaws = {"lasso": {"rows"}}', {"q2-hidden"}),
    "flaws with names of one's own": (
        "q2",
        'my_flaws = {"lasso": {"too few rows"}}',
        {"q2-visible", "q2-hidden"},
    ),
    "chosen on the test rows": ("q3", {'problem["valid"]': 'problem["test"]'}, {CHOICE, "q5-hidden"}),
    "chosen on the training rows": ("q3", {'problem["valid"]': 'problem["train"]'}, {CHOICE, "q5-hidden"}),
    "the last of equals": (
        "q3",
        {"np.argmin": "len(ws) - 1 - np.argmin", "in ws]": "in ws[::-1]]"},
        {CHOICE},
    ),
    "the validation error is reported": (
        "q3",
        {'problem["test"]': 'problem["valid"]'},
        {"q3-visible", CHOICE, "q5-hidden"},
    ),
    "a new sample for each method": (
        "q3",
        {"methods.items():": "methods.items():\n            problem = make_problem(seed)"},
        {ROWS},
    ),
    "fitted on the validation rows as well": (
        "q3",
        {'*problem["train"]': '*map(np.concatenate, zip(problem["train"], problem["valid"]))'},
        {ROWS, "q5-hidden"},
    ),
    "the first strength only": ("q3", {SMALLEST: "0"}, {CHOICE, "q5-hidden"}),
    "not paired": (
        "q4",
        {"d.std(ddof=1)": "np.sqrt(np.var(a, ddof=1) + np.var(b, ddof=1))"},
        {"q4-visible", "q4-hidden", "q5-hidden"},
    ),
    "1.96": ("q4", {"stats.t.ppf(0.975, n - 1)": "1.96"}, {"q4-hidden", "q5-hidden"}),
    "divisor n": ("q4", {"ddof=1": "ddof=0"}, {"q4-hidden", "q5-hidden"}),
    "b minus a": ("q4", {"y(a)": "y(b)", "y(b)": "y(a)"}, {"q4-visible", "q4-hidden", "q5-hidden"}),
    "a verdict against the interval": (
        "q5",
        {"my_interval[1] < 0": "my_interval[0] < 0 < my_interval[1]", "my_interval[0] > 0": "False"},
        {"q5-visible", "q5-hidden"},
    ),
    "larger errors are taken for better": (
        "q5",
        {'"ridge"\n': '"lasso"\n', '"lasso"\n': '"ridge"\n'},
        {"q5-hidden"},
    ),
}
