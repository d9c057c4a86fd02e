"""The studies: what a record remembers, the problems, the rivals."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
from scipy import stats

from l2lab import data
from l2lab.compare import METHODS, Budget, ComparisonResult, Task, methods, recipe
from l2lab.engine import gated
from l2lab.select import L2GateSelector
from l2lab.studies import comparison, contests, gpu, record, rivals, selection, verdict
from l2lab.studies.__main__ import main as studies_main
from l2lab.studies.record import Record, code_hash


class Lab:
    """A study of three measurements; counts them, and can be killed in the middle."""

    def __init__(self, tmp_path):
        self.path, self.measured = tmp_path / "folder" / "tiny-quick.json", []

    def run(self, code="c", data="d", steps=1, killed_at=None):
        store, rows = Record(self.path, code), []
        for seed in range(3):

            def measure(seed=seed):
                if seed == killed_at:
                    raise KeyboardInterrupt
                self.measured.append(seed)
                return [{"seed": seed, "part": part, "value": len(self.measured)} for part in "ab"]

            rows += store.rows({"seed": seed, "steps": steps}, data, measure)
        return store.finish({"what": "tiny", "rows": rows})["rows"]


def test_a_second_run_uses_what_is_stored_and_a_change_measures_again(tmp_path):
    lab = Lab(tmp_path)
    first = lab.run()
    before = lab.path.read_text("utf-8")
    assert lab.run() == first
    assert lab.measured == [0, 1, 2]
    assert lab.path.read_text("utf-8") == before  # neither date nor machine are stamped anew
    stored = json.loads(before)
    assert stored["rows"] == first
    for row, seed in zip(first, (0, 0, 1, 1, 2, 2), strict=True):
        assert (row["code"], row["data"], row["settings"]) == ("c", "d", {"seed": seed, "steps": 1})
        assert (stored["date"], stored["machine"]) == (row["when"][:10], row["machine"])
    for times, change in enumerate(({"code": "other"}, {"data": "other"}, {"steps": 2}), start=2):
        rows = lab.run(**change)
        assert lab.measured == [0, 1, 2] * times
        assert len(rows) == 6
        assert min(row["value"] for row in rows) > 3 * (times - 1)


def test_a_killed_run_goes_on_where_it_stopped(tmp_path):
    lab = Lab(tmp_path)
    lab.run()
    whole = lab.path.read_text("utf-8")
    with pytest.raises(KeyboardInterrupt):
        lab.run(code="new", killed_at=2)
    assert lab.path.read_text("utf-8") == whole  # the old result stays until the new one is complete
    with Record(lab.path, "new").partial.open("a") as file:
        file.write('[{"seed": 2, "pa')  # what a kill while writing leaves
    rows = lab.run(code="new")
    assert lab.measured == [0, 1, 2, 0, 1, 2]
    assert {row["code"] for row in rows} == {"new"}
    assert [path.name for path in lab.path.parent.iterdir()] == [lab.path.name]


def test_the_hash_of_the_code_is_that_of_what_measures(tmp_path, monkeypatch):
    package = tmp_path / "l2lab"
    for name in ("select.py", "plots.py", "compare/judge.py", "studies/mine.py", "studies/other.py"):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text("x = 1\n")
    monkeypatch.setattr(record, "__file__", str(package / "studies" / "record.py"))
    seen = [code_hash("mine")]
    for name in ("plots.py", "studies/other.py", "studies/mine.py", "compare/judge.py"):
        (package / name).write_text("x = 2\n")
        seen.append(code_hash("mine"))
    assert seen[0] == seen[1] == seen[2]
    assert len(set(seen)) == 3


def test_the_comparison_survives_its_file_and_is_not_repeated(tmp_path, monkeypatch):
    tiny = Task("tiny", "tiny", lambda seed: data.xor(60, 6, seed, n_test=200))
    monkeypatch.setattr(comparison, "TASKS", {"tiny": tiny})
    monkeypatch.setattr(comparison, "METHODS", {key: METHODS[key] for key in ("none", "stg", "augmentation")})
    monkeypatch.setattr(comparison, "PROFILES", {"quick": (2, Budget(3, 20, hidden=5))})
    first = comparison.main("quick", tmp_path)
    back = ComparisonResult.load(tmp_path / "comparison-quick.json")
    assert (back.records, back.labels, back.methods) == (first.records, first.labels, ["none", "stg"])
    assert back.hashes["tiny"]["401"] == tiny.problem(401).content_hash
    assert {"date", "machine", "torch", "seeds", "budget", "thresholds"} <= set(back.info)
    monkeypatch.setattr(comparison, "measure", lambda task, method, *_: [])
    assert comparison.main("quick", tmp_path).records == first.records
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(ValueError, match="run the study again"):
        ComparisonResult.load(tmp_path / "other.json")


@pytest.mark.parametrize("name", contests.PROBLEMS)
def test_problems_are_standardized_and_reproducible(name):
    one, again, other = (contests.PROBLEMS[name](seed) for seed in (0, 0, 1))
    X = np.concatenate([one.X_train, one.X_valid])
    varied = np.ptp(X, axis=0) > 0
    np.testing.assert_allclose(X.mean(0), 0, atol=1e-10)
    np.testing.assert_allclose(X[:, varied].std(0), 1)
    assert 0 < one.support.sum() < one.n_features
    assert len(one.y_test) > 50
    assert np.abs(one.X_test).max() < 1000  # a column that is constant for learning is not blown up
    assert one.content_hash == again.content_hash != other.content_hash


def test_the_study_of_selection_runs(tmp_path, monkeypatch):
    whole = data.xor(300, seed=0)
    splits = {key: (X[:90, :6], y[:90]) for key, (X, y) in whole.splits.items()}
    tiny = replace(whole, splits=splits, feature_names=whole.feature_names[:6], support=np.arange(6) > 3)
    monkeypatch.setattr(selection, "PROBLEMS", {"xor": lambda seed: tiny})

    blind = SimpleNamespace(scores_=np.arange(6), get_support=lambda indices: np.array([], dtype=int))
    chosen = {"ANOVA": selection.RANKINGS["ANOVA"], "right": lambda *_: tiny.support.astype(float)}
    chosen |= {"broken": Mock(side_effect=ValueError("it diverged")), "chance": selection.RANKINGS["chance"]}
    small = {
        "SEEDS": {"quick": [100]}, "QUICK": ["xor"], "LADDER_SEEDS": {"quick": [100]}, "RANKINGS": chosen,
        "JUDGE": Budget(n_trials=5, steps=20), "LADDER": {2: ((4,), (60,))}, "ON_LADDER": ("ANOVA",),
        "_selector": lambda *_: blind, "LARGE": {"quick": ("ANOVA",)}, "TABLE": (300, 20),
    }  # fmt: skip
    for name, value in small.items():
        monkeypatch.setattr(selection, name, value)
    studies_main(["selection", "--folder", str(tmp_path)])
    found = json.loads((tmp_path / "selection-quick.json").read_text("utf-8"))
    names = [*chosen, selection.DEFAULT]
    assert [(row["method"], row["seed"], row["k"]) for row in found["rows"]] == [(n, 100, 2) for n in names]
    _, right, failed, chance, blind = found["rows"]
    assert (right["f1_at_truth"], right["failed"]) == (1, None)
    assert 1 <= right["n_own"] <= 6
    assert failed["failed"] == "ValueError: it diverged"
    assert [failed[k] for k in verdict.MEASURES] == [chance[k] for k in verdict.MEASURES]
    assert (blind["n_own"], blind["f1_own"], blind["f1_at_truth"]) == (0, 0, 1)
    # where nothing was selected, the most frequent class is what is predicted
    share = np.bincount(tiny.y_test)[np.bincount(tiny.y_train).argmax()] / len(tiny.y_test)
    assert blind["score_own"] == blind["forest_own"] == pytest.approx(share)
    assert [(row["k"], row["p"], row["n"], row["method"]) for row in found["ladder"]] == [(2, 4, 60, "ANOVA")]
    assert [(row["method"], row["found"]) for row in found["large"]] == [("ANOVA", 10)]


@pytest.mark.parametrize("name", list(selection.RANKINGS)[1:3] + list(selection.RANKINGS)[4:7])
def test_rivals_rank_the_inputs(monkeypatch, name):
    monkeypatch.setattr(rivals, "BUDGET", Budget(n_trials=6, steps=300, batch_size=100))
    X = np.random.default_rng(0).standard_normal((203, 12))
    y = X[:, 4] - X[:, 9]
    y = (y > 0).astype(int) if name in ("STG", "random forest") else y / y.std()
    scores = selection.RANKINGS[name](X, y, 0, 1)
    assert set(np.argsort(-scores)[:2]) == {4, 9}


def test_a_ranking_that_diverges_is_repeated_with_a_smaller_learning_rate(monkeypatch):
    monkeypatch.setattr(rivals, "BUDGET", Budget(n_trials=3, steps=60, batch_size=100, lr=3.0))
    X = np.random.default_rng(0).standard_normal((100, 6))
    X = np.hstack([X, X + 0.1, X])
    assert np.isfinite(rivals.by_survival(methods.GroupLassoInputs, X, X[:, 0], 0, 1)).all()
    with pytest.raises(ValueError, match="diverges even at"):
        rivals.by_survival(methods.GroupLassoInputs, 1e6 * X, X[:, 0], 0, 1)


def test_rivals_rank_with_the_settings_of_the_selector():
    ours, budget = L2GateSelector().get_params(), rivals.BUDGET
    theirs = {key: getattr(budget, key) for key in ("steps", "batch_size", "hidden", "lr")}
    theirs |= {"n_lams": budget.n_trials, "n_folds": rivals.FOLDS, "rounds": rivals.ROUNDS}
    theirs["threshold"] = rivals.ALIVE
    assert theirs == {name: ours[name] for name in theirs}
    ramped = rivals.RAMP, recipe.EARLY, recipe.EARLY_LOOKS
    assert ramped == (gated.RAMP, gated.EARLY, gated.EARLY_LOOKS)


def test_what_was_registered_stays():
    assert (selection.SEEDS["full"], selection.LADDER_SEEDS["full"]) == (range(3000, 3020), range(3000, 3005))
    assert (len(contests.KINDS), len(contests.PROBLEMS), len(contests.RESPLIT)) == (15, 20, 7)
    assert (len(selection.RANKINGS), selection.SLOW["full"]) == (8, ())
    assert list(verdict.MEASURES.values()) == [0.05, 0.05, 0.01, 0.01, 0.01]
    assert (comparison.FIRST_SEED, comparison.PROFILES["quick"]) == (400, (10, Budget(n_trials=12)))
    for key in METHODS.keys() - {"none", "univariate", "forest"}:
        tried = METHODS[key].grid(Budget(n_trials=12), None)
        assert np.ptp(np.log10(tried / (1 - tried * (key == "dropout")))) == pytest.approx(3)


@pytest.fixture
def verdict_rows(monkeypatch):
    """STG is worse on "linear", ANOVA better on "linear, correlated" and hardly different on "wide"."""
    monkeypatch.setattr(verdict, "RESAMPLES", 9_999)
    noise = np.random.default_rng(0).standard_normal((20, 2))
    gains_of = {"linear": (1.0, 0.0), "linear, correlated": (0.05, -1.0), "wide": (0.0, 0.0)}
    rows = []
    for problem, gains in gains_of.items():
        for seed, (one, two) in enumerate(noise if problem != "wide" else 0 * noise):
            scores = {verdict.GATES: 0.5, verdict.DEFAULT: 0.4, verdict.CHANCE: 0.1}
            scores |= {"STG": 0.5 - gains[0] + 0.2 * one, "ANOVA": 0.5 - gains[1] + 0.2 * two}
            for method, score in scores.items():
                measures = dict.fromkeys(verdict.MEASURES, score)
                rows.append({"problem": problem, "seed": seed, "method": method, "failed": None, **measures})
    return rows, noise


def test_means_and_duels_by_hand(verdict_rows):
    rows, noise = verdict_rows
    table = [{**row, "problem": "diabetes + random"} for row in rows if row["problem"] == "wide"]
    kinds = verdict.by_kind(rows + table, "f1_own")
    assert list(kinds.index) == ["linear", "wide", "mean", "table + random"]
    stg = 0.5 - np.mean([1.0, 0.05]) + 0.2 * noise[:, 0].mean()
    assert kinds["STG"]["linear"] == pytest.approx(stg)
    assert kinds["STG"]["mean"] == pytest.approx((stg + 0.5) / 2)  # a kind counts once
    assert kinds.columns[0] == "ANOVA"
    tests = verdict.duels(rows)
    assert len(tests) == len(verdict.MEASURES) * 2 * 3
    first = tests[tests["measure"] == "f1_own"].set_index(["rival", "problem"])
    verdicts = first["verdict"].to_dict()
    assert verdicts.pop(("STG", "linear")) == "better"
    assert verdicts.pop(("ANOVA", "linear, correlated")) == "worse"
    assert list(verdicts.values()) == ["="] * 4
    assert (first.loc[(slice(None), "wide"), "p"] == 1).all()  # no spread, no difference, no test
    gap = 0.05 - 0.2 * noise[:, 0]
    draws = {"n_resamples": 20_000, "rng": np.random.default_rng(1)}
    independent = stats.permutation_test((gap,), np.mean, permutation_type="samples", **draws)
    pair = first.loc[("STG", "linear, correlated")]
    assert pair["p"] == pytest.approx(independent.pvalue, abs=0.02)
    student = stats.ttest_1samp(gap, 0).confidence_interval()
    assert (pair["low"], pair["high"]) == pytest.approx(tuple(student))
    # Holm by its definition, on the p of all tests
    p = np.sort(tests["p"])
    holm = [min(1, max((len(p) - j) * p[j] for j in range(k + 1))) for k in range(len(p))]
    np.testing.assert_allclose(np.sort(tests["holm"]), holm)


def test_the_verdict_over_all_kinds(verdict_rows):
    rows, noise = verdict_rows
    rows += [{**row, "problem": "diabetes + random"} for row in rows if row["problem"] == "linear"]
    found = verdict.overall(rows).set_index(["measure", "rival"])
    # two linear problems are one kind, wide is another one, and a table that is only split anew counts not
    gap = ((1.0 - 0.2 * noise[:, 0]) / 2 + (0.05 - 0.2 * noise[:, 0]) / 2) / 2
    assert found["difference"]["f1_own", "STG"] == pytest.approx(gap.mean())
    assert found["verdict"]["f1_own", "STG"] == "better"
    assert found["verdict"]["f1_own", "ANOVA"] == "worse"
    even = [row | {"score_own": 0.5 + 1e-3 * (row["seed"] % 2)} for row in rows]
    assert (verdict.overall(even).set_index("measure")["verdict"]["score_own"] == "as good").all()
    wild = [row | {"score_own": (row["method"] == "STG") * (-1) ** row["seed"]} for row in rows]
    assert verdict.overall(wild).set_index(["measure", "rival"])["verdict"]["score_own", "STG"] == "undecided"
    # on average as good, but one kind hides a loss of more than four margins
    for size, expected in ((0.03, "as good"), (0.06, "undecided")):
        by = {"linear": size, "linear, correlated": size, "wide": -size, "diabetes + random": 0.0}
        scores = [(by[r["problem"]] + 1e-3 * (-1) ** r["seed"]) * (r["method"] == "STG") for r in rows]
        uneven = [row | {"score_own": score} for row, score in zip(rows, scores, strict=True)]
        found = verdict.overall(uneven).set_index(["measure", "rival"]).loc[("score_own", "STG")]
        assert (found["worst_kind"], found["verdict"]) == ("linear", expected)
        assert found["difference"] == pytest.approx(0, abs=1e-12)
    failing = [r | {"failed": "diverged"} if (r["method"], r["seed"]) == ("STG", 1) else r for r in rows]
    assert verdict.overall(failing).groupby("rival")["failed"].max().to_dict() == {"STG": 3, "ANOVA": 0}
    with pytest.raises(ValueError, match=r"not complete: \['STG'\] lack rows"):
        verdict.overall([row for row in rows if (row["method"], row["seed"]) != ("STG", 3)])


def test_the_check_of_a_gpu_runs_dry_on_a_cpu_and_says_what_differs(tmp_path, monkeypatch):
    monkeypatch.setenv("L2LAB_DEVICE", "cpu")
    with pytest.raises(SystemExit, match="no GPU that can be used"):
        studies_main(["gpu"])
    monkeypatch.setattr(gpu, "CHECKS", [gpu.CHECKS[k] for k in (0, 4, 6, 7)])  # each of the four kinds
    with monkeypatch.context() as patch:
        patch.setattr(gpu, "_timed", lambda run, *args: (run(*args), 0.0))  # once is enough here
        studies_main(["gpu", "--folder", str(tmp_path)])
    (file,) = tmp_path.iterdir()
    found = json.loads(file.read_text("utf-8"))
    assert file.name.startswith("gpu-")
    assert {"what", "date", "machine", "torch"} <= found.keys()  # what the status page shows
    assert len(found["rows"]) == len(gpu.CHECKS)
    assert all(row["difference"] <= row["limit"] for row in found["rows"])
    other = iter([0.0, 0.0, 0.0, 0.2])
    monkeypatch.setattr(gpu, "CHECKS", [("off", lambda *_: np.array([next(other)]), "float32", 0.1)])
    with pytest.raises(SystemExit, match="1 of 1 results are not those of the CPU"):
        studies_main(["gpu", "--folder", str(tmp_path)])
