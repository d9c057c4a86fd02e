"""Wrong answers to assignment 3 (for the format: book/for_instructors.md)."""

SMALLEST = 'np.argmin([mse(problem["valid"], w) for w in ws])'

MUTANTS = {
    "rows are counted": ("q1", {"set(mine": "len(mine", "set(other": "len(other"}, "hidden"),
    "seeds are counted out": ("q1", {"set(records) != set(runs[reference])": "False"}, "hidden"),
    "training rows may choose": ("q1", {'!= "valid"': '== "test"'}, "hidden"),
    "the first record decides": ("q1", {"in records.values()": "in [*records.values()][:1]"}, "q2-hidden"),
    "methods without flaws are listed": (
        "q1",
        {"if found:": "if True:"},
        "visible hidden q2-hidden q2-visible",
    ),
    "one flaw overlooked": ("q2", 'my_flaws = {"lasso": {"rows"}}', "hidden"),
    "chosen on the test rows": ("q3", {'problem["valid"]': 'problem["test"]'}, "hidden-choice q5-hidden"),
    "the validation error is reported": (
        "q3",
        {'problem["test"]': 'problem["valid"]'},
        "visible hidden-choice q5-hidden",
    ),
    "a new sample for each method": (
        "q3",
        {"methods.items():": "methods.items():\n            problem = make_problem(seed)"},
        "hidden-rows",
    ),
    "not paired": (
        "q4",
        {"d.std(ddof=1)": "np.sqrt(np.var(a, ddof=1) + np.var(b, ddof=1))"},
        "visible hidden q5-hidden",
    ),
    "1.96": ("q4", {"stats.t.ppf(0.975, n - 1)": "1.96"}, "hidden q5-hidden"),
    "a verdict against the interval": (
        "q5",
        {"my_interval[1] < 0": "my_interval[0] < 0 < my_interval[1]", "my_interval[0] > 0": "False"},
        "visible hidden",
    ),
}
