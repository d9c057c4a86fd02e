"""Which features? :class:`l2lab.select.L2GateSelector` against its rivals on problems with a known answer.

Everybody plays by the same rules. Every method ranks the features on each of five folds; its support is the
number of best features that a network trained on them alone likes best, by the same cross-validation with the
rule of one standard error; and its score at k is that of the same networks, trained anew on its k best
features. Methods with a λ get the same pilot run, the same number of λ values, networks of the same size, as
many steps, and the same rule that makes a ranking of their paths. LassoNet follows its own path with its own
defaults, and is ranked on all rows at once because five paths would take too long, which is to its advantage.
It is also scored as it stands, without the refit. Equal scores are ordered by column, and the true columns
come first; only LassoNet, which drops several columns at once, was seen to gain from it.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import math
import os
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import ttest_rel
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.feature_selection import f_classif, f_regression, mutual_info_classif, mutual_info_regression
from torch import Tensor

from .. import runtime
from ..engine import on_weights, ramp
from ..engine.descend import Leaves
from ..engine.gated import MOMENTUM, RAMP, GatedNetworks, GatedRecipe, Rows, groups_of
from ..measures import support_scores
from ..select import HALVINGS, REFIT_DECAYS, L2GateSelector, fold_weights, folds_of
from .contests import PROBLEMS, Contest
from .record import RESULTS, provenance, write

__all__ = ["METHODS", "evaluate", "main", "run_memory", "run_one", "run_wide", "summary"]

REFIT_SEEDS = 3
# The settings of the selector were chosen while looking at seeds below this one.
FIRST_SEED = 100


# ---- rivals ------------------------------------------------------------------------------------------------


class _StochasticGates(GatedNetworks):
    """STG: x ⊙ clip(μ + ½ε, 0, 1) with penalty λ Σ Φ(μ/½), the probability that a gate is open.

    Yamada, Lindenbaum, Negahban and Kluger, "Feature selection using stochastic gates", ICML 2020.
    """

    sigma = 0.5
    ramped = ()

    def add_gates(self) -> None:
        W = self.params["0.weight"]
        self.params["gate"] = torch.full_like(W[:, 0], 0.5)  # μ
        self.noise = torch.Generator(W.device).manual_seed(self.recipe.seed)

    def decay(self) -> Leaves:
        return on_weights(self.params, self.outer_decay)

    def product(self) -> Tensor:
        return self.params["gate"].clamp(0, 1)

    def strength(self) -> Tensor:
        return self.product()

    def forget(self, lost: float) -> None:
        """Do nothing: a closed gate can open again."""

    def factor(self) -> Tensor:
        mu = self.params["gate"]
        self.raw = mu + self.sigma * torch.randn(mu.shape, generator=self.noise, device=mu.device)
        return self.raw.clamp(0, 1)

    def gate_gradient(self, by_factor: Tensor) -> Tensor:
        mu = self.params["gate"]
        density = torch.exp(-0.5 * (mu / self.sigma) ** 2) / (math.sqrt(2 * math.pi) * self.sigma)
        return by_factor * ((self.raw > 0) & (self.raw < 1)) + self.lams[:, None] * density


class _ProximalGroups(GatedNetworks):
    """Group lasso on the columns of the first layer by proximal gradient steps, with exact zeros.

    Scardapane, Comminiello, Hussain and Uncini, "Group sparse regularization for deep neural networks",
    Neurocomputing 241, 2017.
    """

    def add_gates(self) -> None:
        self.mask = torch.ones_like(self.params["0.weight"][:, 0])
        self.grow = ramp(0, RAMP * self.recipe.steps)

    def decay(self) -> Leaves:
        later = {name: value for name, value in self.params.items() if name != "0.weight"}
        return on_weights(later, self.outer_decay)

    def forget(self, lost: float) -> None:
        """Do nothing: a column at zero can come back."""

    def factor(self) -> Tensor:
        return self.mask

    def after(self, params: Leaves, t: int) -> None:
        W = params["0.weight"]
        # Momentum makes every gradient count 1 / (1 − μ) times; so must the penalty.
        lr = self.recipe.lr * self.descent.rate(t)
        shrink = lr / (1 - MOMENTUM) * self.grow(t) * self.lams[:, None, None]
        W.mul_((1 - shrink / W.norm(dim=1, keepdim=True).clamp_min(1e-12)).clamp_min(0))


class _STG(L2GateSelector):
    _kind = _StochasticGates


class _GroupLasso(L2GateSelector):
    _kind = _ProximalGroups


class _Scored(L2GateSelector):
    """Has a score from outside instead of a path: what is above the threshold comes first."""

    def _score(self, strength: np.ndarray, early: np.ndarray) -> np.ndarray:
        return (strength[0] > self.threshold) + 0.999 * strength[0] / len(strength[0])


class _Ranking(_Scored):
    """Ranks each fold."""

    def rank(self, X: np.ndarray, y: np.ndarray, seed: int, classes: bool) -> np.ndarray:
        raise AssertionError("subclasses say how")

    def _sweep(
        self, data: Rows, recipe: GatedRecipe, seeds: list[int], weights: Tensor
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        X, y = data.X.double().cpu().numpy(), _plain_targets(data)
        folds = [
            self.rank(X[rows], y[rows], seed % 2**31, data.classes)
            for seed, rows in zip(seeds, (weights > 0).cpu().numpy(), strict=True)
        ]
        scores = np.nan_to_num(np.stack(folds))
        strength = (scores / scores.max(1, keepdims=True).clip(1e-300))[None]
        return np.zeros(1), strength, strength


def _plain_targets(data: Rows) -> np.ndarray:
    """Class numbers, or targets."""
    return (data.targets.argmax(0) if data.classes else data.targets[0].double()).cpu().numpy()


class _Forest(_Ranking):
    def rank(self, X: np.ndarray, y: np.ndarray, seed: int, classes: bool) -> np.ndarray:
        model = RandomForestClassifier if classes else RandomForestRegressor
        return (
            model(300, random_state=seed, max_features="sqrt" if classes else 1 / 3)
            .fit(X, y)
            .feature_importances_
        )


class _Anova(_Ranking):
    def rank(self, X: np.ndarray, y: np.ndarray, seed: int, classes: bool) -> np.ndarray:
        return (f_classif if classes else f_regression)(X, y)[0]


class _MutualInformation(_Ranking):
    def rank(self, X: np.ndarray, y: np.ndarray, seed: int, classes: bool) -> np.ndarray:
        return (mutual_info_classif if classes else mutual_info_regression)(X, y, random_state=seed)


class _LassoNet(_Scored):
    """LassoNet along its default path: the authors' package, one path on all rows.

    Lemhadri, Ruan, Abraham and Tibshirani, "LassoNet: A neural network with feature sparsity", Journal of
    Machine Learning Research 22(127), 2021.
    """

    def _sweep(
        self, data: Rows, recipe: GatedRecipe, seeds: list[int], weights: Tensor
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        import lassonet

        kind = lassonet.LassoNetClassifier if data.classes else lassonet.LassoNetRegressor
        self.model_ = kind(random_state=seeds[0] % 2**31, torch_seed=seeds[0], device="cpu", verbose=0)
        with torch.inference_mode(False), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            X = data.X.cpu().numpy().copy()
            self.history_ = self.model_.path(X, _plain_targets(data), return_state_dicts=True)
        lasts = self.model_.feature_importances_.double().numpy()
        lasts = np.where(np.isfinite(lasts), lasts, 2 * lasts[np.isfinite(lasts)].max(initial=1.0))
        strength = np.tile(lasts / lasts.max(), (1, len(seeds), 1))
        return np.zeros(1), strength, strength

    def score_without_refit(self, contest: Contest) -> float:
        """Test score of the first network on the path with at most k features."""
        state = next(item for item in self.history_ if int(item.selected.sum()) <= contest.k)
        self.model_.load(state.state_dict)
        varied = contest.X.min(0) < contest.X.max(0)  # the network has not got the constant columns
        predicted = self.model_.predict(contest.X_test[:, varied].astype(np.float32)).ravel()
        if contest.classes:
            return float((predicted == contest.y_test).mean())
        return float(1 - ((predicted - contest.y_test) ** 2).mean() / contest.y_test.var())


METHODS: dict[str, type[L2GateSelector]] = {
    "L2 gates": L2GateSelector,
    "STG": _STG,
    "group lasso (prox)": _GroupLasso,
    "LassoNet": _LassoNet,
    "random forest": _Forest,
    "ANOVA": _Anova,
    "mutual information": _MutualInformation,
}

# profile -> number of seeds of each problem
PROFILES = {"quick": 5, "full": 10}


# ---- judging -----------------------------------------------------------------------------------------------


def evaluate(contest: Contest, masks: np.ndarray, seed: int, steps: int = 1000) -> np.ndarray:
    """Train networks anew on subsets of the features and score them on the test rows.

    Parameters
    ----------
    contest : Contest
        The problem.
    masks : ndarray of bool, shape (M, p)
        Subsets.
    seed : int
        Draws folds, weights and batches.
    steps : int, default 1000
        Updates of each network.

    Returns
    -------
    ndarray, shape (M,)
        Accuracy, or R². The weight decay of the networks is chosen by 5-fold cross-validation on the training
        rows for each subset, and the predictions of three networks are averaged. Where training diverges, it
        is repeated with half the learning rate, for that subset alone.

    Raises
    ------
    ValueError
        If training diverges with a sixteenth of the learning rate, too.
    """
    targets = np.eye(int(contest.y.max()) + 1)[:, contest.y] if contest.classes else contest.y[None]
    data = Rows(
        torch.as_tensor(contest.X, dtype=torch.float32),
        torch.as_tensor(np.ascontiguousarray(targets), dtype=torch.float32),
        torch.ones(len(contest.X)),
        contest.classes,
    )
    X_test = torch.as_tensor(contest.X_test, dtype=torch.float32)
    recipe = GatedRecipe((32,), 1, steps, 100, 0.1, 1.0, seed)
    folds = folds_of(contest.y, 5, contest.classes, np.random.RandomState(seed))
    held_out = torch.as_tensor(folds == np.arange(5)[:, None])
    outputs = np.empty((len(masks), len(data.targets), len(X_test)))
    left = np.arange(len(masks))
    for _ in range(HALVINGS + 1):
        outputs[left] = _refit_outputs(data, X_test, masks[left], held_out, recipe)
        left = left[~np.isfinite(outputs[left]).all((1, 2))]
        if not len(left):
            break
        recipe = recipe._replace(lr=recipe.lr / 2)
    else:
        raise ValueError(
            f"networks on features {np.flatnonzero(masks[left[0]]).tolist()} diverge even at the learning "
            f"rate {2 * recipe.lr:g}; look at the scale of the test rows and at the targets"
        )
    if contest.classes:
        return (outputs.argmax(1) == contest.y_test).mean(1)
    return 1 - ((outputs[:, 0] - contest.y_test) ** 2).mean(1) / contest.y_test.var()


def _refit_outputs(
    data: Rows, X_test: Tensor, masks: np.ndarray, held_out: Tensor, recipe: GatedRecipe
) -> np.ndarray:
    """Mean prediction of the networks on each subset, (M, outputs, test rows); NaN if one has diverged."""
    weights = torch.cat([fold_weights(data, held_out), data.weight.expand(REFIT_SEEDS, -1)])
    jobs = [
        (m, d, s) for m in range(len(masks)) for d in range(len(REFIT_DECAYS)) for s in range(5 + REFIT_SEEDS)
    ]
    losses = np.zeros((len(masks), len(REFIT_DECAYS)))
    outputs = np.zeros((len(masks), len(REFIT_DECAYS), len(data.targets), len(X_test)))
    for group in groups_of(len(jobs), data.X.shape[1], recipe, data):
        chosen = [jobs[g] for g in group]
        gates = GatedNetworks(
            data,
            recipe,
            torch.zeros(len(chosen)),
            [recipe.seed + s for *_, s in chosen],
            weights[[s for *_, s in chosen]],
            mask=torch.as_tensor(masks[[m for m, *_ in chosen]]).float(),
            outer_decay=torch.tensor([REFIT_DECAYS[d] for _, d, _ in chosen]),
        )
        gates.run()
        loss = gates.losses(data.X, data.targets)
        out = gates.outputs(X_test)
        out = torch.softmax(out, 1) if data.classes else out
        for (m, d, s), row_losses, own in zip(chosen, loss, out, strict=True):
            if s < 5:
                losses[m, d] += float(row_losses[held_out[s]].sum())
            else:
                outputs[m, d] += own.numpy() / REFIT_SEEDS
    best = outputs[np.arange(len(masks)), losses.argmin(1)]
    best[~np.isfinite(losses).all(1)] = np.nan
    return best


def run_one(name: str, seed: int, methods: tuple[str, ...], steps: int = 1000) -> list[dict[str, Any]]:
    """Run all methods on one draw of a problem.

    Parameters
    ----------
    name : str
        A key of `PROBLEMS`.
    seed : int
        The draw.
    methods : tuple of str
        Keys of `METHODS`.
    steps : int, default 1000
        Updates of each network.

    Returns
    -------
    list of dict
        One row per method: ``path_seconds`` (CPU time of ranking the features), ``score_at_k`` and
        ``score_auto`` (test score after the refit), ``f1_at_truth`` (F1 of as many features as are true),
        ``precision_auto``, ``recall_auto``, ``f1_auto`` and ``n_auto``; for LassoNet also
        ``score_without_refit``.
    """
    contest = PROBLEMS[name](seed)
    rows, masks = [], []
    for method in methods:
        selector, seconds = fit(method, contest, seed, steps)
        order = np.argsort(-selector.scores_, kind="stable")
        best = np.arange(len(order)).argsort()[order.argsort()]  # rank of each feature
        true_size = support_scores(best < contest.truth.sum(), contest.truth)
        auto = support_scores(selector.support_, contest.truth)
        row = {
            "problem": name,
            "seed": seed,
            "method": method,
            "k": contest.k,
            "path_seconds": round(seconds, 3),
            "f1_at_truth": round(true_size.f1, 4),
            "precision_auto": round(auto.precision, 4),
            "recall_auto": round(auto.recall, 4),
            "f1_auto": round(auto.f1, 4),
            "n_auto": auto.n_selected,
        }
        if isinstance(selector, _LassoNet):
            row["score_without_refit"] = round(selector.score_without_refit(contest), 4)
        rows.append(row)
        masks += [best < contest.k, selector.support_]
    with torch.inference_mode():
        values = evaluate(contest, np.array(masks), seed, steps)
    for row, at_k, auto_score in zip(rows, values[::2], values[1::2], strict=True):
        row["score_at_k"], row["score_auto"] = round(float(at_k), 4), round(float(auto_score), 4)
    return rows


# ---- time and memory ---------------------------------------------------------------------------------------


class _Clock:
    """Measures the CPU time of a function."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.seconds = math.nan

    def __call__(self, *arguments: Any) -> Any:
        started = time.process_time()
        result = self.function(*arguments)
        self.seconds = time.process_time() - started
        return result


def fit(
    method: str, contest: Contest, seed: int, steps: int, n_features: int | None = None
) -> tuple[L2GateSelector, float]:
    """Fit a method on the training rows.

    Parameters
    ----------
    method : str
        A key of `METHODS`.
    contest : Contest
        The problem.
    seed : int
        Draws folds, weights and batches.
    steps : int
        Updates of each network.
    n_features : int, optional
        How many to select; by default the method chooses.

    Returns
    -------
    tuple of (L2GateSelector, float)
        The selector, and the CPU seconds of ranking the features.
    """
    task = "classification" if contest.classes else "regression"
    selector = METHODS[method](n_features, task=task, steps=steps, device="cpu", random_state=seed)
    clock = _Clock(selector._sweep)
    selector._sweep = clock  # type: ignore[method-assign]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # constant pixels
        selector.fit(contest.X, contest.y)
    return selector, clock.seconds


def _alone(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a process of its own, where memory that others gave back cannot hide its needs."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def _peak_mb() -> float:
    """Largest resident memory since the last reset; NaN where the system does not tell (Linux does)."""
    path = Path("/proc/self/status")
    lines = path.read_text().splitlines() if path.exists() else []
    peaks = [int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")]
    return peaks[0] if peaks else math.nan


def _growth_mb(function: Callable[..., Any], *arguments: Any) -> tuple[Any, float | None]:
    """Result of a function, and the peak of memory meanwhile over what was in use before."""
    reset = Path("/proc/self/clear_refs")
    if reset.exists():
        reset.write_text("5")
    before = _peak_mb()
    result = function(*arguments)
    growth = _peak_mb() - before
    return result, None if math.isnan(growth) else round(growth, 1)


def _memory(method: str, seed: int, steps: int) -> float | None:
    torch.set_num_threads(1)
    contest = PROBLEMS["digits"](seed)
    if method == "LassoNet":
        importlib.import_module("lassonet")  # not to be counted
    return _growth_mb(fit, method, contest, seed, steps, contest.k)[1]


def run_memory(
    methods: tuple[str, ...], seed: int = FIRST_SEED, steps: int = 1000
) -> dict[str, float | None]:
    """Memory that methods need to rank the features of "digits", each in a fresh process.

    Parameters
    ----------
    methods : tuple of str
        Keys of `METHODS`.
    seed : int
        The draw.
    steps : int, default 1000
        Updates of each network.

    Returns
    -------
    dict of str to float
        Peak of the resident memory in MB over that with imports and data; None where the system does not
        tell.
    """
    return {method: _alone(_memory, method, seed, steps) for method in methods}


def _wide(n: int, p: int, seed: int, threads: int, steps: int) -> dict[str, Any]:
    torch.set_num_threads(threads)
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p))
    y = X[:, :10] @ rng.choice([-1.0, 1.0], 10) + rng.standard_normal(n)
    selector = L2GateSelector(10, steps=steps, device="cpu", random_state=seed)
    started, cpu = time.perf_counter(), time.process_time()
    _, memory = _growth_mb(selector.fit, X, y)
    return {
        "n": n,
        "p": p,
        "threads": threads,
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "wait_policy": os.environ.get("OMP_WAIT_POLICY", "default"),
        "wall_seconds": round(time.perf_counter() - started, 1),
        "cpu_seconds": round(time.process_time() - cpu, 1),
        "memory_mb": memory,
        "found": int(selector.support_[:10].sum()),
    }


def run_wide(
    n: int = 500, p: int = 10_000, seed: int = FIRST_SEED, threads: int = 1, steps: int = 1000
) -> dict[str, Any]:
    """Time and memory of the whole path for many features, in a fresh process.

    Parameters
    ----------
    n, p : int
        Rows and features, of which 10 matter.
    seed : int
        Draws the data.
    threads : int, default 1
        How many torch may use.
    steps : int, default 1000
        Updates of each network.

    Returns
    -------
    dict
        Wall-clock and CPU seconds of the whole fit, load of the machine at its start, ``OMP_WAIT_POLICY`` (on
        a busy machine several threads need ``PASSIVE``), peak of the resident memory in MB over that with
        imports and data, and how many of the 10 were found.
    """
    return _alone(_wide, n, p, seed, threads, steps)


# ---- the study ---------------------------------------------------------------------------------------------


def summary(rows: list[dict[str, Any]], ours: str = "L2 gates") -> list[dict[str, Any]]:
    """Average over seeds, and compare with our method seed by seed.

    Parameters
    ----------
    rows : list of dict
        From :func:`run_one`.
    ours : str
        The method that the others are compared with.

    Returns
    -------
    list of dict
        For each problem and method: means and standard deviations, the mean advantage of `ours`, and the p
        value of a paired t test (1 if there is no difference on any seed, None with fewer than 2 seeds).
    """
    table = []
    for problem in dict.fromkeys(row["problem"] for row in rows):
        here = [row for row in rows if row["problem"] == problem]
        base = {row["seed"]: row for row in here if row["method"] == ours}
        for method in dict.fromkeys(row["method"] for row in here):
            own = [row for row in here if row["method"] == method]
            line: dict[str, Any] = {"problem": problem, "method": method, "seeds": len(own)}
            for key in ("score_at_k", "f1_at_truth", "f1_auto", "n_auto", "score_auto", "path_seconds"):
                values = np.array([row[key] for row in own], dtype=float)
                line[key] = round(float(values.mean()), 4)
                line[f"{key}_sd"] = round(float(values.std(ddof=1)), 4) if len(values) > 1 else None
                pairs = [(base[row["seed"]][key], row[key]) for row in own if row["seed"] in base]
                if key in ("n_auto", "path_seconds") or method == ours or len(pairs) < 2:
                    continue
                left, right = np.array(pairs, dtype=float).T
                line[f"{key}_advantage"] = round(float((left - right).mean()), 4)
                same = np.ptp(left - right) == 0
                p_value = float(left.mean() == right.mean()) if same else float(ttest_rel(left, right).pvalue)
                line[f"{key}_p"] = round(p_value, 4)
            if all("score_without_refit" in row for row in own):
                line["score_without_refit"] = round(
                    float(np.mean([r["score_without_refit"] for r in own])), 4
                )
            table.append(line)
    return table


def main(profile: str = "quick") -> dict[str, Any]:
    """Run the study and write ``book/results/selection-<profile>.json`` after every draw of a problem.

    A run that was interrupted goes on where it stopped; delete the file to start anew. LassoNet is left out
    if it is not installed.

    Parameters
    ----------
    profile : {"quick", "full"}
        14 problems with 5 seeds (an hour on one core, half of it for LassoNet), or with 10.

    Returns
    -------
    dict
        What was written.

    Raises
    ------
    ValueError
        If there is no such profile.
    """
    if profile not in PROFILES:
        raise ValueError(f"profile must be one of {list(PROFILES)}, got {profile!r}")
    n_seeds = PROFILES[profile]
    methods = tuple(METHODS)
    if importlib.util.find_spec("lassonet") is None:
        warnings.warn("lassonet is not installed and is left out; pip install lassonet", stacklevel=2)
        methods = tuple(method for method in methods if method != "LassoNet")
    runtime.setup()
    torch.set_num_threads(1)
    path = RESULTS / f"selection-{profile}.json"
    result = json.loads(path.read_text("utf-8")) if path.exists() else {"rows": []}
    rows = result["rows"]
    # "tried" is a record of how the selector was settled, which no run of this study makes anew.
    measured = {key: result[key] for key in ("memory", "wide", "tried") if key in result}
    done = {(row["problem"], row["seed"]) for row in rows}
    for seed in range(FIRST_SEED, FIRST_SEED + n_seeds):
        for name in PROBLEMS:
            if (name, seed) in done:
                continue
            rows += run_one(name, seed, methods)
            _print(rows[-len(methods) :])
            _save(path, profile, rows, measured)
    if "memory" not in measured:
        measured["memory"] = run_memory(methods)
    if "wide" not in measured:
        measured["wide"] = [run_wide(threads=threads) for threads in (1, 2)]
    result = _save(path, profile, rows, measured)
    print(f"wrote {path.name}")
    return result


def _print(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        print(
            f"{row['problem']:28s}{row['seed']:3d}  {row['method']:20s} score {row['score_at_k']:6.3f}"
            f"  F1 {row['f1_at_truth']:5.3f}  F1 auto {row['f1_auto']:5.3f} ({row['n_auto']:3d})"
            f"  {row['path_seconds']:7.1f} s",
            flush=True,
        )


def _save(path: Path, profile: str, rows: list[dict[str, Any]], measured: dict[str, Any]) -> dict[str, Any]:
    result = {
        "what": "feature selection: L2 gates against rivals",
        "profile": profile,
        **provenance(),
        "clock": "process CPU time on one thread; other programs may have been running",
        "seeds": sorted({row["seed"] for row in rows}),
        "summary": summary(rows),
        **measured,
        "rows": rows,
    }
    write(path, result)
    return result
