"""The trainer: its numbers against torch, the experiments of the playground, and the widget in a browser."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from conftest import run_axe
from explorer_page import LOADER, cell, document, numbers, page, said, settle, state_of
from l2lab.explore import Trainer, compact_state
from l2lab.explore.frame import source
from l2lab.explore.replay import digits_as_bytes, replay

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

__all__ = ["page", "said"]  # fixtures

BOOK = Path(__file__).resolve().parents[1] / "book"
ALT = "Weights of twenty inputs while they are trained, for a test"
CORE = source("js/train/problems.js", "js/train/models.js", "js/train/descent.js")
SETTINGS = {"lam": 0.02, "data": "sparse", "model": "w", "opt": "sgd", "lr": 0.02, "noise": 0.2, "rows": 60}
SETTINGS |= {"seed": 1, "steps": 500}
PROBLEM = {"w": "sparse", "uv": "curve", "uvz": "digits", "mlp": "xor", "gates": "xor"}


# ---- numbers -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def core(browser: Browser) -> Iterator[Callable[..., Any]]:
    """Give a function that evaluates JavaScript with the trainer's core and the bytes of the digits."""
    context = browser.new_context()
    empty = context.new_page()
    empty.evaluate("bytes => { window.digits = Uint8Array.from(bytes) }", list(digits_as_bytes()))
    names = "makeRun, makeSweep, slice, generator, weightsOf"
    empty.evaluate(f"() => {{ window.core = new Function({json.dumps(CORE)} + 'return {{{names}}}')() }}")
    yield lambda script, arg=None: empty.evaluate(f"(arg) => {{ const {{{names}}} = core; {script} }}", arg)
    context.close()


def torch_output(theta: torch.Tensor, X: torch.Tensor, model: str) -> torch.Tensor:
    """The output of a model whose numbers lie one behind another as in ``models.js``."""
    p = X.shape[1]
    if model in ("w", "uv", "uvz"):
        return X @ theta[:-1].reshape(-1, p).prod(0) + theta[-1]
    first = p if model == "gates" else 0
    gates, rest = (theta[:p] if first else torch.ones(p).double()), theta[first:]
    V, a, c, b = rest[: 16 * p].reshape(16, p), *rest[16 * p : 16 * p + 32].reshape(2, 16), rest[-1]
    return F.relu((X * gates) @ V.T + c) @ a + b


@pytest.mark.parametrize("opt", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("model", PROBLEM)
def test_five_hundred_steps_are_those_of_torch(core, model: str, opt: str) -> None:
    """λ moves in the middle, and the gradients are those of autograd, or the runs would part."""
    state = SETTINGS | {"data": PROBLEM[model], "model": model, "opt": opt}
    run = core(
        """const run = makeRun({...arg}, digits), a = (v) => Array.from(v), rows = [];
        const start = a(run.model.theta), before = run.measure();
        for (let k = 0; k < 500; k++) { if (k === 250) run.state.lam = 0.1;
            run.step(); rows.push(a(run.batch)); }
        const { X, y, Xt, yt, p, classes } = run.data;
        return { start, rows, end: a(run.model.theta), weights: run.model.weights, p, classes, before,
                 X: a(X), y: a(y), Xt: a(Xt), yt: a(yt), strength: (run.measure(), a(run.model.strength)) };""",
        state,
    )
    tensor = {k: torch.tensor(run[k], dtype=torch.float64) for k in ("start", "end", "X", "y", "Xt", "yt")}
    X, Xt = tensor["X"].reshape(-1, run["p"]), tensor["Xt"].reshape(-1, run["p"])

    def mean_loss(theta, X, y):
        f = torch_output(theta, X, model)
        return F.binary_cross_entropy_with_logits(f, y) if run["classes"] else 0.5 * ((f - y) ** 2).mean()

    weights = tensor["start"][: run["weights"]].clone().requires_grad_()
    biases = tensor["start"][run["weights"] :].clone().requires_grad_()
    groups = [{"params": [weights], "weight_decay": state["lam"]}, {"params": [biases], "weight_decay": 0.0}]
    make = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[opt]
    optimizer = make(groups, lr=state["lr"], **({"momentum": 0.9} if opt == "sgd" else {}))
    for own, (data, y) in {"train": (X, tensor["y"]), "test": (Xt, tensor["yt"])}.items():
        loss = mean_loss(torch.cat([weights, biases]), data, y).item()
        assert run["before"][own] == pytest.approx(loss, abs=1e-12)
    for k, rows in enumerate(run["rows"]):
        groups[0]["weight_decay"] = 0.1 if k >= 250 else state["lam"]
        optimizer.param_groups[0]["weight_decay"] = groups[0]["weight_decay"]
        optimizer.zero_grad()
        mean_loss(torch.cat([weights, biases]), X[rows], tensor["y"][rows]).backward()
        optimizer.step()
    assert len({tuple(rows) for rows in run["rows"]}) == (1 if PROBLEM[model] in ("sparse", "curve") else 500)
    end = torch.cat([weights, biases]).detach()
    assert (end - tensor["start"]).abs().max() > 0.05, "nothing was trained"
    np.testing.assert_allclose(tensor["end"], end, rtol=0, atol=1e-9)
    if model in ("mlp", "gates"):
        p = run["p"]
        first = end[:p] * end[p : 17 * p].reshape(16, p) if model == "gates" else end[: 16 * p].reshape(16, p)
        np.testing.assert_allclose(run["strength"], first.norm(dim=0), atol=1e-9)


def test_the_picture_repeats_the_run_of_the_browser(core) -> None:
    for model, opt in (("w", "adamw"), ("uv", "sgd"), ("uvz", "adam")):
        state = SETTINGS | {"model": model, "opt": opt}
        run = "const run = makeRun(arg); for (let k = 0; k < 500; k++) run.step(); run.measure();"
        found = core(run + "return Array.from(run.model.strength)", state)
        np.testing.assert_allclose(replay(state)[-1], found, rtol=0, atol=1e-9)
    with pytest.raises(ValueError, match="only linear models on the sparse problem, not mlp"):
        replay(SETTINGS | {"model": "mlp"})


@pytest.mark.parametrize("opt", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("model", PROBLEM)
def test_extreme_settings_are_handled(core, model: str, opt: str) -> None:
    go = """const run = makeRun(arg, digits), start = Array.from(run.model.theta);
        for (let k = 0; k < 60 && run.step(); k++); run.remember();
        return [run.t, run.diverged, start, Array.from(run.model.theta), run.history.length,
                run.history.at(-1).test, run.data.y.length]"""
    state = SETTINGS | {"data": PROBLEM[model], "model": model, "opt": opt}
    for change in ({"lam": 0.0}, {"lr": 0.0}, {"rows": 1}, {"rows": 1, "lam": 0.0, "data": "xor"}):
        t, diverged, start, end, moments, test, rows = core(go, state | change)
        assert (t, diverged, moments, rows) == (60, False, 61, change.get("rows", 60))
        assert np.isfinite([test, *end]).all()
        assert (start == end) == ("lr" in change), "a learning rate of 0 changes nothing"
    t, diverged, _, end, *_ = core(go, state | {"lr": 1.0, "lam": 10.0, "data": "sparse"})
    if opt != "adam":  # which divides by the size of the gradient, and only swings
        assert diverged
        assert t < 60


def test_numbers_of_the_generator_are_spread_as_they_should(core) -> None:
    draw = "const g = generator(arg); return Array.from({ length: 20000 }, g.%s)"
    uniform, normal = (np.array(core(draw % kind, 5)) for kind in ("uniform", "normal"))
    assert 0 <= uniform.min() < 0.001 < 0.999 < uniform.max() < 1
    assert abs(uniform.mean() - 0.5) < 0.01
    assert abs(normal.mean()) < 0.03
    assert abs(normal.std() - 1) < 0.02
    assert core(draw % "uniform", 5) == list(uniform)
    assert core(draw % "uniform", 6) != list(uniform)


def test_a_slice_ends_by_the_clock_and_a_sweep_trains_every_lam(core) -> None:
    steps = """let now = 0; const run = makeRun(arg.state);
        return [slice(run, arg.enough, 12, () => (now += arg.tick)), run.t, run.history.length]"""
    slow = core(steps, {"state": SETTINGS, "enough": 10**6, "tick": 3})
    assert slow[0] == slow[1] <= 4, "on a slow machine a slice has fewer steps"
    fast = core(steps, {"state": SETTINGS, "enough": 10**6, "tick": 0.01})
    assert fast[0] > 1000
    assert fast[2] <= 160, "the memory of a run does not grow"
    assert core(steps, {"state": SETTINGS, "enough": 7, "tick": 0.01})[0] == 7
    lams = [0, 0.01, 1]
    done, turns, ends, single = core(
        """let now = 0, turns = 0, done = 0; const clock = () => (now += 1);
        const sweep = makeSweep(arg.state, arg.lams, 40, digits, clock);
        while (done < 1) { done = sweep.next(12); turns += 1; }
        const run = makeRun({...arg.state, lam: 1}); for (let k = 0; k < 40; k++) run.step();
        return [done, turns, sweep.runs.map((r) => [r.state.lam, r.t]), String(run.model.theta)
                === String(sweep.runs[2].model.theta)]""",
        {"state": SETTINGS, "lams": lams},
    )
    assert done == 1
    assert turns >= 3 * 40 / 12, "in slices"
    assert ends == [[lam, 40] for lam in lams]
    assert single


# ---- the experiments ---------------------------------------------------------------------------------------


def playground() -> str:
    cells = nbformat.read(BOOK / "playground.ipynb", 4).cells
    return "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def experiments() -> list[list[dict[str, Any]]]:
    """The settings of both sides, from the links of the page."""
    links = re.findall(r"\]\(#playground:([^;)]+);playground-b:([^)]+)\)", playground())
    sides = [[dict(pair.split("=") for pair in side.split(",")) for side in link] for link in links]
    return [[{k: v if k in ("data", "model", "opt") else float(v) for k, v in s.items()} for s in e] for e in sides]


@pytest.fixture(scope="module")
def results(core) -> Callable[..., np.ndarray]:
    """Give a function that runs a side for several seeds: strengths of the inputs, test loss."""

    def run(side: dict[str, Any], seeds: int = 10, then: tuple[dict, ...] = ()) -> tuple[np.ndarray, np.ndarray]:
        made = core(
            """return Array.from({ length: arg.seeds }, (_, seed) => {
                const run = makeRun({ ...arg.side, seed }, digits);
                for (const part of [{}, ...arg.then]) {
                    Object.assign(run.state, part);
                    for (let k = 0; k < (part.steps || arg.side.steps) && run.step(); k++);
                }
                const { test } = run.measure();
                return [...run.model.strength.map(Math.abs), test]; })""",
            {"side": side, "seeds": seeds, "then": list(then)},
        )
        return np.array(made)[:, :-1], np.array(made)[:, -1]

    return run


def alive(found: tuple[np.ndarray, np.ndarray], true: int = 3) -> tuple[np.ndarray, np.ndarray]:
    kept = found[0] > 1e-3
    return kept[:, :true].sum(1), kept[:, true:].sum(1)


def test_what_the_page_says_of_its_experiments_happens(results) -> None:
    one, two, three, four, five, six = experiments()
    assert len(experiments()) == 6 == playground().count("\n### ")
    assert all(set(side) == set(SETTINGS) for pair in experiments() for side in pair), "the whole state"

    true, noise = alive(plain := results(one[0]))
    assert (true + noise == 20).all()
    true, noise = alive(product := results(one[1]))
    assert (true == 3).all()
    assert (noise <= 1).all()

    assert two[0] == one[1]
    assert (np.sum(alive(results(two[1])), axis=0) >= 17).all()
    true, noise = alive(results(two[1] | {"opt": "adam"}))
    assert (true == 3).all()
    assert (noise <= 1).all()

    sgd, adamw = results(three[0])[0], results(three[1])[0]
    assert (adamw.max(1) < 1.03).all()
    assert (adamw[:, :2] > 0.85).all()
    assert (adamw[:, 2] > sgd[:, 2] + 0.1).all()
    wider, narrower = (results(three[1], then=({"lam": lam},))[0] for lam in (0.5, 2))
    assert (narrower[:, :3].max(1) < 0.53).all()
    assert (narrower[:, :3] > 0.4).all()
    print("sgd", sgd[:, :3].round(2), "wider", wider[:, :3].round(2), sep="\n")

    assert four == one
    back, refitted = (results(side, then=({"lam": 0},)) for side in four)
    assert (np.sum(alive(back), axis=0) == 20).all()
    assert (alive(refitted)[0] == 3).all()
    assert (alive(refitted)[1] <= 4).all()
    assert (refitted[0][:, :3] > product[0][:, :3]).all()
    assert (refitted[1] < back[1]).all()
    assert (back[1] < plain[1]).all()

    true, noise = alive(results(five[0], 5), 2)
    assert (true + noise == 10).all()
    true, noise = alive(results(five[1], 5), 2)
    assert (true == 2).all()
    assert (noise <= 2).all()
    dead = results(five[1], 9)[0][7:]
    assert (dead < 1e-3).all(), "with seeds 7 and 8 everything dies"
    saved = results(five[1] | {"lam": 0, "steps": 1000}, 9, ({"lam": 0.05, "steps": 5000},))[0][7:]
    assert (saved[:, :2] > 1e-3).all()

    short, long = (alive(results(side, 5), 64)[0] for side in six)
    assert (short >= 63).all()
    print("pixels", short, long)
