"""The trainer: its numbers against torch, the experiments of the playground, and the widget in a browser."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from conftest import faults
from explorer_page import HOST, numbers, open_page, page, readout, said, settle, slider, write_pages
from l2lab.explore import Trainer
from l2lab.explore.trainer_picture import digits_as_bytes, replay
from l2lab.explore.widget import source

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

__all__ = ["page", "said"]  # fixtures

BOOK = Path(__file__).resolve().parents[1] / "book"
ALT = "Weights of twenty inputs while they are trained, for a test"
CORE = source("js/train/problems.js", "js/train/models.js", "js/train/descent.js")
SETTINGS = {"lam": 0.02, "data": "sparse", "model": "w", "opt": "sgd", "lr": 0.02, "noise": 0.2, "rows": 60}
SETTINGS |= {"seed": 1, "steps": 500}
PROBLEM = {"w": "sparse", "uv": "curve", "uvz": "digits", "mlp": "xor", "gates": "xor"}


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
                 X: a(X), y: a(y), Xt: a(Xt), yt: a(yt),
                 strength: (run.measure(), a(run.model.strength)) };""",
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
        optimizer.param_groups[0]["weight_decay"] = 0.1 if k >= 250 else state["lam"]
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


def test_a_slice_ends_by_the_clock_and_a_sweep_trains_every_lam(core) -> None:
    steps = """let now = 0; const run = makeRun(arg[0]);
        return [slice(run, arg[1], 12, () => (now += arg[2])), run.history.length]"""
    assert core(steps, [SETTINGS, 10**6, 3])[0] <= 4, "on a slow machine a slice has fewer steps"
    done, remembered = core(steps, [SETTINGS, 10**6, 0.01])
    assert done > 1000
    assert remembered <= 160, "the memory of a run does not grow"
    assert core(steps, [SETTINGS, 7, 0.01])[0] == 7
    turns, ends, theta, single = core(
        """let now = 0, turns = 1; const clock = () => (now += 1);
        const sweep = makeSweep(arg, [0, 0.01, 1], 40, digits, clock);
        for (; sweep.next(12) < 1; turns++);
        const run = makeRun({...arg, lam: 1}); for (let k = 0; k < 40; k++) run.step();
        const ends = sweep.runs.map((r) => [r.state.lam, r.t]);
        return [turns, ends, Array.from(sweep.runs[2].model.theta), Array.from(run.model.theta)]""",
        SETTINGS,
    )
    assert turns >= 3 * 40 / 12, "in slices"
    assert ends == [[lam, 40] for lam in (0, 0.01, 1)]
    assert theta == single


def playground() -> str:
    cells = nbformat.read(BOOK / "playground.ipynb", 4).cells
    return "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def experiments() -> list[list[dict[str, Any]]]:
    """The settings of both sides, from the links of the page."""
    links = re.findall(r'href="#playground:([^;"]+);playground-b:([^"]+)"', playground())

    def read(side: str) -> dict[str, Any]:
        pairs = [pair.split("=") for pair in side.split(",")]
        return {key: value if key in ("data", "model", "opt") else float(value) for key, value in pairs}

    return [[read(side) for side in link] for link in links]


@pytest.fixture(scope="module")
def results(core) -> Callable[..., np.ndarray]:
    """Give a function that runs a side for several seeds: strengths of the inputs, test loss."""

    def run(side: dict[str, Any], seeds=range(10), then: tuple[dict, ...] = ()) -> tuple[np.ndarray, ...]:
        made = core(
            """return arg.seeds.map((seed) => {
                const run = makeRun({ ...arg.side, seed }, digits);
                for (const part of [{}, ...arg.then]) {
                    Object.assign(run.state, part);
                    for (let k = 0; k < (part.steps || arg.side.steps) && run.step(); k++);
                }
                const { test } = run.measure();
                return [...run.model.strength.map(Math.abs), test]; })""",
            {"side": side, "seeds": list(seeds), "then": list(then)},
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
    assert (true + noise >= 19).all()
    true, noise = alive(product := results(one[1]))
    assert ((true == 3) & (noise <= 3)).all()
    assert (noise == 0).sum() == 8

    for lam in (0, 0.01, 1, 10):
        assert (np.sum(alive(results(one[0] | {"lam": lam})), axis=0) >= 18).all()
    ends = [np.sum(alive(results(one[1] | {"lam": lam})), axis=0) for lam in (0, 10)]
    assert ends[0].min() >= 17
    assert ends[1].max() == 0

    assert two[0] == one[1]
    assert (np.sum(alive(results(two[1])), axis=0) >= 18).all()
    assert np.array_equal(alive(results(two[1] | {"opt": "adam"})), (true, noise))

    sgd, adamw = results(three[0])[0], results(three[1])[0]
    share = sgd[:, :3] / [2, 1.5, 0.8]
    assert ((share > 0.25) & (share < 0.75)).all()
    assert (adamw.max(1) < 1.03).all()
    assert (adamw[:, :2] > 0.9).all()
    assert (adamw[:, 2] > sgd[:, 2] + 0.1).all()
    narrower = results(three[1], then=({"lam": 2},))[0][:, :3]
    assert ((narrower < 0.6) & (narrower > 0.35)).all()

    assert four == one
    back, refitted = (results(side, then=({"lam": 0},)) for side in four)
    assert (np.sum(alive(back), axis=0) >= 19).all()
    assert ((alive(refitted)[0] == 3) & (alive(refitted)[1] <= 4)).all()
    assert (refitted[0][:, :3] > product[0][:, :3]).all()
    assert ((refitted[1] < back[1]) & (back[1] < plain[1])).all()

    true, noise = alive(results(five[0]), 2)
    assert (true + noise == 10).all()
    true, noise = alive(results(five[1]), 2)
    dies = np.isin(range(10), (2, 3))
    assert ((true == 2 - 2 * dies) & (noise <= 1 - dies)).all()
    gently = ({"lam": 0.05, "steps": 5000},)
    assert (alive(results(five[1] | {"lam": 0, "steps": 1000}, [2, 3], gently), 2)[0] == 2).all()

    short, long = (alive(results(side, range(5)), 64)[0] for side in six)
    assert (short >= 63).all()
    assert ((long >= 51) & (long <= 53)).all()


@pytest.mark.parametrize(
    ("message", "make"),
    [
        ("unknown setting 'lamda'", lambda: Trainer({"lamda": 1}, name="t", alt=ALT)),
        ("lam must be one of .* got 0.3", lambda: Trainer({"lam": 0.3}, name="t", alt=ALT)),
        ("model must be one of", lambda: Trainer({"model": "cnn"}, name="t", alt=ALT)),
        ("one side or two", lambda: Trainer({}, {}, {}, name="t", alt=ALT)),
        ("controls must be a list of data", lambda: Trainer(name="t", alt=ALT, controls=["lam"])),
        ("views must be a list of inputs", lambda: Trainer(name="t", alt=ALT, views="track")),
        ("speed must be one of slow", lambda: Trainer(name="t", alt=ALT, speed="warp")),
        ("name must be", lambda: Trainer(name="T", alt=ALT)),
        ("alt must say", lambda: Trainer(name="t", alt="short")),
    ],
)
def test_what_does_not_fit_is_refused(message: str, make: Callable[[], Trainer]) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_bundle_state_and_source() -> None:
    one, two = Trainer({"model": "uv"}, name="t", alt=ALT), Trainer({}, {"data": "xor"}, name="u", alt=ALT)
    data, meta = one._repr_mimebundle_()
    assert data["text/plain"] == f"Trainer('t', sparse uv sgd: {ALT})"
    assert meta["l2lab"] == {"alt": ALT, "role": "explorer", "name": "t"}
    assert one.fallback_png() == Trainer({"model": "uv"}, name="t", alt=ALT).fallback_png()
    assert two.fallback_png().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="rows must be one of"):
        one.state = [{"rows": 7}]
    one.state = [{"rows": 30}]
    assert (one.state[0]["rows"], one.state[0]["lam"]) == (30, 0.1), "what is left out has its default"
    assert not Trainer(name="t", alt=ALT, controls=["model"]).digits


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory, serve: Callable[[Path], str]) -> str:
    """Address of pages with a trainer of one side and of two, and one for a host with a kernel."""
    folder = tmp_path_factory.mktemp("trainer")
    made = {"one": [SETTINGS | {"model": "uv", "lam": 0.1}], "two": [SETTINGS, SETTINGS | {"model": "uv"}]}
    trainers = {key: [Trainer(*sides, name="play", alt=ALT)] for key, sides in made.items()}
    write_pages(folder, **trainers)
    return serve(folder)


@pytest.fixture
def start(page: Page, url: str, said: list[str]) -> Callable[..., Page]:
    """Give a function that opens a page and waits until its trainer is drawn."""

    def go(name: str, address: str = "") -> Page:
        page.goto("about:blank")  # or a new address would only be a change of the old one
        return open_page(page, f"{url}/{name}.html{address}", 1)

    return go


def press(page: Page, name: str, key: str = "Enter") -> None:
    page.get_by_role("button", name=name, exact=True).first.press(key)


def status(page: Page) -> str:
    settle(page)
    return page.locator(".lx-status").inner_text()


def train(page: Page, until: str) -> str:
    """Press play, wait until all sides have ended and the status says so, and return it."""
    press(page, "Train")
    page.wait_for_function("t => document.querySelector('.lx-status').textContent.includes(t)", arg=until)
    page.get_by_role("button", name="Train", exact=True).first.wait_for()
    return status(page)


def steps(page: Page) -> int:
    return int(numbers(status(page).replace(",", ""))[0])


def test_play_step_reset_and_lam_while_it_trains(start) -> None:
    page = start("one", "#play:lam=0.1,model=uv,opt=sgd,steps=500,data=sparse")
    assert steps(page) == 0
    press(page, "Step")
    assert steps(page) == 1
    assert "3 inputs alive" in train(page, "step 500")
    spoken = "document.querySelector('[aria-live]').textContent"
    page.wait_for_function(f"{spoken}.includes('3 of 20 inputs alive (true 3 of 3)')")
    press(page, "Reset", "Space")
    assert steps(page) == 0
    page.get_by_label("steps:").press("End")
    page.get_by_label("Speed").select_option("slow")
    press(page, "Train")
    page.wait_for_function("!document.querySelector('.lx-status').textContent.startsWith('step 0,')")
    slider(page, "play").press("ArrowRight")
    settle(page)
    assert readout(page, "play") == "λ = 0.2"
    before = steps(page)
    page.wait_for_function(
        "n => +document.querySelector('.lx-status').textContent.match(/[0-9,]+/)[0].replace(',', '') > n + 3",
        arg=before,
    )  # it goes on, from where it was
    press(page, "Pause")
    assert 0 < steps(page) < 10_000


def test_after_the_sweep_the_slider_shows_what_was_trained(start) -> None:
    page = start("two", "#play:lam=0.1,steps=200;play-b:lam=0.1,model=uv,steps=200")
    press(page, "Train all λ")
    page.get_by_text("Loss at the end for each λ").nth(1).wait_for()
    slider, side = page.locator(".lx-slide input").nth(1), page.get_by_role("group", name="B", exact=True)
    found = []
    for _ in range(int(slider.get_attribute("max")) + 1):
        slider.press("ArrowLeft" if found else "End")
        settle(page)
        found.append(int(numbers(side.locator(".lx-note").nth(1).inner_text())[0]))
    assert found[0] == 0, "at λ = 10 nothing lives"
    assert found[-1] >= 18, "and at λ = 0 nearly all"
    assert page.locator("output").nth(1).inner_text() == "λ of B = 0"
    train(page, "B: step 400")  # goes on from the run that is shown
    assert page.get_by_text("Loss at the end for each λ").count() == 0


def test_the_address_holds_the_whole_state(start) -> None:
    page = start("two", "#play:lam=0.05,data=xor,model=gates,lr=0.04,rows=9,noise=x,seed=3;play-b:lam=0")
    page.get_by_label("Optimizer").nth(1).select_option("AdamW")
    page.wait_for_function("location.hash.includes('opt=adamw')")
    first, second = page.evaluate("location.hash").split(";")
    assert first == (
        "#play:lam=0.05,data=xor,model=gates,opt=sgd,lr=0.05,noise=0.2,rows=10,seed=3,steps=500"
    ), "the nearest that there is"
    assert second.startswith("play-b:lam=0,data=sparse,model=uv,opt=adamw,")
    told = train(page, "A: step 500")
    page = start("two", f"{first};{second}")
    assert status(page) != told
    assert train(page, "A: step 500") == told, "the same numbers again"


def test_a_run_that_diverges_says_so_and_stops(start) -> None:
    page = start("one", "#play:lam=10,lr=1")
    press(page, "Train")
    alert = page.locator("[role=alert]")
    alert.wait_for()
    assert alert.inner_text().startswith("Diverged at step")
    page.get_by_role("button", name="Train", exact=True).wait_for()
    assert steps(page) < 500
    slider(page, "play").press("Home")
    page.get_by_label("learning rate:").press("Home")
    press(page, "Reset")
    settle(page)
    assert not alert.is_visible()


def test_less_motion_is_one_picture_at_the_end(start, page: Page) -> None:
    page.emulate_media(reduced_motion="reduce")
    page = start("one")
    page.evaluate("""() => { window.pictures = 0; new MutationObserver(() => window.pictures++).observe(
        document.querySelector('.lx-status'), { childList: true }) }""")
    train(page, "step 500")
    assert page.evaluate("pictures") <= 2


def test_every_problem_and_model_fits_a_phone_and_passes_axe(start, page: Page) -> None:
    page.set_viewport_size({"width": 360, "height": 800})
    for theme, model, data in zip(
        ["light", "dark"] * 3, ["w", "uvz", "mlp", "gates", "mlp", "uv"],
        ["sparse", "digits", "xor", "digits", "curve", "curve"], strict=True,
    ):  # fmt: skip
        page = start(
            "two", f"#play:lam=1,data={data},model={model},opt=adamw,steps=200;play-b:lam=0.1,opt=adam"
        )
        page.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
        press(page, "Step")
        settle(page)
        if data == "digits":
            shades = page.locator(".pixel").evaluate_all(
                "all => all.map(e => +e.getAttribute('fill-opacity'))"
            )
            assert max(shades) == 1
            assert len(set(shades)) > 30, "each pixel has the shade of its weight"
        wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert page.evaluate(wide) == 0, (model, data)
        small = page.evaluate("""() => [...document.querySelectorAll('.lx :is(button, input, select)')]
            .filter(e => e.getBoundingClientRect().height < 24).map(e => e.outerHTML)""")
        assert small == []
        assert faults(page) == [], (model, data, theme)


def test_python_hears_of_changes_and_may_make_some(page: Page, url: str, said: list[str]) -> None:
    page.goto(f"{url}/host.html")
    trainer = Trainer(SETTINGS, name="play", alt=ALT, controls=["model", "rows"])
    left_out = ("layout", "digits", "tabbable", "tooltip")
    page.evaluate(HOST, [{k: getattr(trainer, k) for k in trainer.keys if k not in left_out}, ""])
    settle(page)
    page.get_by_label("Model").select_option("linear, w = u·v")
    assert page.evaluate("sent.at(-1).state[0].model") == "uv"
    heard = page.evaluate("sent.length")
    page.evaluate("model.set('state', [{ ...model.get('state')[0], rows: 30, lam: 1 }])")
    settle(page)
    assert page.locator("output").inner_text() == "λ = 1"
    assert page.get_by_label("training rows: 30").count() == 1
    assert page.evaluate("sent.length") <= heard + 1, "no echo without end"
    assert page.evaluate("location.hash + document.querySelectorAll('.lx-copy').length") == "0"
    page.evaluate("cleanup()")
    assert page.evaluate("listeners()") == 0
