"""The λ explorer seen from Python: what is sent, what is refused, what is computed, what stands in."""

from __future__ import annotations

import base64
import copy
import inspect
import io
import json
import re
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ipywidgets import IntSlider
from ipywidgets.embed import dependency_state
from PIL import Image
from scipy.optimize import lsq_linear
from sklearn.linear_model import Lasso
from traitlets import TraitError

from l2lab import explore
from l2lab.explore import Control, LambdaExplorer, Trainer, box_2d, compact_state, lasso_2d, ridge_2d

VIEW = "application/vnd.jupyter.widget-view+json"
ALT = "A figure for tests, with one curve over lambda."
L = 7
LAMS = np.logspace(-4, 2, L)
rng = np.random.default_rng(0)
# a map whose best cell is (4, 1)
HEAT = 0.9 - 0.02 * (np.arange(L)[:, None] - 4) ** 2 - 0.1 * (np.arange(3) - 1) ** 2


def curve(n: int = L) -> explore.Panel:
    return explore.curves_panel({"train": np.linspace(0.1, 1, n)})


def explorer(lams=LAMS, panels=None, **options) -> LambdaExplorer:
    panels = [curve(len(lams))] if panels is None else panels
    return LambdaExplorer(lams, panels, **{"name": "t", "alt": ALT, **options})


def every_panel() -> list[explore.Panel]:
    x = np.linspace(-1, 1, 21)
    return [
        explore.hist_panel(np.linspace(-1, 1, 11), rng.integers(0, 300, (L, 10)), rng.integers(0, 9, L)),
        explore.curves_panel({"train": rng.random((L, 3)), "validation": rng.random(L)}, best="validation"),
        explore.paths_panel(rng.normal(size=(L, 5)), groups=[True, False, True, False, False]),
        explore.bars_panel(rng.normal(size=(L, 5)), labels=list("abcde"), ylim=(-3, 3)),
        explore.fit_panel(x, x * np.ones((L, 1)), np.c_[x, x], np.sin(x), ylim=(-2, 2)),
        explore.field_panel(rng.random((L, 6, 8)), (-1, 1, -2, 2)),
        explore.pixels_panel(
            rng.random((L, 2, 3)), [[True, False, False], [False, False, True]], title="Pixels"
        ),
        explore.geometry_panel([[2, 0.5], [0.5, 1]], [1, 0.5], norms=["l2", "l1", "linf"]),
        explore.heatmap_panel(HEAT, [0.01, 0.1, 1], title="Accuracy", zlim=(0.5, 1)),
        explore.calculator_panel(),
    ]


class TestBuffer:
    def test_counts_take_the_smallest_integers_that_hold_them(self) -> None:
        sizes = (255, 256, 65535, 65536)
        kinds = [explore.hist_panel([0, 1], np.full((2, 1), n)).arrays["counts"].dtype for n in sizes]
        assert kinds == [np.uint8, np.uint16, np.uint16, np.uint32]

    @given(st.floats(-1e3, 1e3))
    @settings(max_examples=50, deadline=None)
    def test_only_exact_zeros_become_zeros(self, v: float) -> None:
        for panel in (explore.paths_panel([[v], [1.0]]), explore.bars_panel([[v], [1.0]], ylim=(0, 1))):
            sent = panel.arrays["y"][0, 0]
            assert (sent == 0) == (v == 0)
            assert sent == pytest.approx(v, rel=1e-6, abs=1e-37)

    @given(st.lists(st.floats(0, 1), min_size=4, max_size=4))
    @settings(max_examples=50, deadline=None)
    def test_field_keeps_sides_and_is_finest_at_the_boundary(self, values: list[float]) -> None:
        f = np.array(values).reshape(1, 2, 2)
        t = explore.field_panel(f, (0, 1, 0, 1)).arrays["code"] / 127.5 - 1.0
        margin = t * np.abs(t)
        assert np.array_equal(margin > 0, 2 * f - 1 > 0)
        assert np.abs(margin - (2 * f - 1)).max() < 0.009
        assert np.all(np.abs(margin - (2 * f - 1))[np.abs(2 * f - 1) < 0.01] < 0.001)

    def test_curves_carry_mean_and_extremes(self) -> None:
        v = rng.random((L, 5))
        sent = explore.curves_panel({"a": v}).arrays["y"][0]
        np.testing.assert_allclose(sent, [v.mean(1), v.min(1), v.max(1)], rtol=1e-6)


ONE = np.full((1, 2, 2), 0.5)
REFUSED = [
    ("one entry more", lambda: explore.hist_panel([0, 1, 2], [[1], [2]])),
    ("whole numbers", lambda: explore.hist_panel([0, 1], [[0.5]])),
    ("same length", lambda: explore.curves_panel({"a": [1, 2], "b": [1]})),
    ("diverged", lambda: explore.curves_panel({"a": [1, np.nan]})),
    ("best must name", lambda: explore.curves_panel({"a": [1, 2]}, best="b")),
    ("ylim", lambda: explore.curves_panel({"a": [1, 2]}, ylim=(1, 0))),
    ("2 axes", lambda: explore.paths_panel([1, 2])),
    ("array of numbers", lambda: explore.paths_panel([["a"]])),
    ("groups", lambda: explore.paths_panel(np.ones((2, 3)), groups=[True])),
    ("labels", lambda: explore.bars_panel(np.ones((2, 3)), labels=["a"], ylim=(0, 1))),
    ("one column per entry", lambda: explore.fit_panel([0, 1], np.ones((2, 3)), ylim=(0, 1))),
    (r"\[0, 1\]", lambda: explore.field_panel(3 * ONE, (0, 1, 0, 1))),
    ("extent", lambda: explore.field_panel(ONE, (1, 0, 0, 1))),
    ("shape", lambda: explore.pixels_panel(ONE, [True], title="t")),
    ("not none", lambda: explore.pixels_panel(ONE, np.zeros((2, 2)), title="t")),
    ("positive definite", lambda: explore.geometry_panel([[1, 2], [2, 1]], [1, 1])),
    ("norms", lambda: explore.geometry_panel(np.eye(2), [1, 1], norms=["l3"])),
    ("at most 1,000,000", lambda: explore.calculator_panel(epochs=10**6)),
    *(("lams must", lambda grid=grid: LambdaExplorer(grid, [curve(2)], name="t", alt=ALT))
      for grid in ([1], [0.1, np.inf], [-0.1, 1], [0.1, 0.1], [[0.1, 1]])),
    *(("name must be", lambda name=name: explorer(name=name)) for name in ("", "A", "a b", "é", "a_b")),
    ("alt must say", lambda: explorer(alt=" " * 30)),
    ("'Loss along λ' has 6 entries along λ, the grid 7", lambda: explorer(panels=[curve(6)])),
    ("at least one", lambda: explorer(panels=[])),
    ("share w_star",
     lambda: explorer(panels=[explore.geometry_panel(np.eye(2), w) for w in ([1, 0], [1, 1])])),
    ("index", lambda: explorer(index=L)),
    ("together", lambda: explorer(controls={"a": [1, 2]})),
    ("not among", lambda: Control([1, 2], 3)),
]  # fmt: skip


@pytest.mark.parametrize(("message", "make"), REFUSED)
def test_what_does_not_fit_is_refused_with_its_reason(message: str, make) -> None:
    with pytest.raises(ValueError, match=message):
        make()


class TestLiveKernel:
    def test_slider_message_moves_lam_and_calls_observers(self) -> None:
        e, seen = explorer(np.r_[0, LAMS]), []
        assert e.lam == LAMS[3]
        e.observe(lambda change: seen.append(change["new"]), names="lam")
        e.set_state({"index": 2})  # what the front end sends
        e.set_state({"index": 0})
        assert seen == [LAMS[1], 0.0]
        e.set_state({"index": 99})  # sent before a shorter grid came: cut to the grid
        assert e.index == L
        with pytest.raises(TraitError):
            e.lam = 3.0

    @staticmethod
    def live(compute) -> LambdaExplorer:
        controls = {"noise": [0.0, 0.5], "width": Control([8, 16], value=16, label="hidden units")}
        return explorer(controls=controls, compute=compute, index=3)

    def test_choice_retrains_and_keeps_lambda(self) -> None:
        asked, busy, lam, sent = [], [], [], []

        def compute(noise: float, width: int):
            asked.append((noise, width, e.busy))
            grid = np.logspace(-3, 1, 5)
            return grid, [explore.curves_panel({"test": np.full(5, noise)})]

        e = self.live(compute)
        before = e.fallback_png()
        e.observe(lambda c: busy.append(c["new"]), names="busy")
        e.observe(lambda c: lam.append(c["new"]), names="lam")
        e.send_state = lambda key=None: sent.append(key if isinstance(key, str) else set(key or ()))
        e.set_state({"choice": {"noise": 0.5, "width": 16}})
        assert asked == [(0.5, 16, True)]
        assert busy == [True, False]
        assert e.lams == pytest.approx(np.logspace(-3, 1, 5))
        assert e.lam == pytest.approx(0.1)  # was 0.1 at index 3 of the old grid
        assert lam in ([], [e.lam])  # no value in between
        y = e.panels[0]["arrays"]["y"]
        np.testing.assert_allclose(np.frombuffer(e.blob, y["dtype"], 5, y["offset"]), 0.5)
        assert e.fallback_png() != before
        together = [keys for keys in sent if isinstance(keys, set) and "blob" in keys]
        message = "one message, or the browser draws a mixture"
        assert {"lams", "panels", "blob", "index"} <= together[0], message

    def test_options_reach_compute_as_they_were_given(self) -> None:
        asked = []
        e = self.live(lambda noise, width: asked.append(noise) or [curve()])
        e.set_state({"choice": json.loads('{"noise": 0.5, "width": 8}')})
        e.set_state({"choice": json.loads('{"noise": 0, "width": 8}')})  # JavaScript writes 0.0 as 0
        assert [type(n) for n in asked] == [float, float]
        assert e.controls[1] == {"name": "width", "label": "hidden units", "options": [8, 16]}
        for choice in ({"noise": 0.7, "width": 8}, {"noise": 0.5}):
            with pytest.raises(ValueError, match=r"keys|not in list"):
                e.choice = choice

    @pytest.mark.parametrize("answer", [[curve(3)], None, ([1, 0.1], [curve(2)])])
    def test_wrong_answers_are_shown_and_forgotten_after_success(self, answer) -> None:
        e = self.live(lambda noise, width: answer if noise else [curve()])
        old = (e.lams, e.panels, e.blob)
        e.set_state({"choice": {"noise": 0.5, "width": 8}})
        assert e.error.startswith("ValueError: ")
        assert not e.busy
        assert (e.lams, e.panels, e.blob) == old
        e.set_state({"choice": {"noise": 0.0, "width": 8}})
        assert e.error == ""


class TestBundle:
    def test_view_picture_and_stable_text(self) -> None:
        # by IPython, as ipywidgets 7 brings _ipython_display_, which it prefers and which has no picture
        from IPython.core.interactiveshell import InteractiveShell

        data, meta = InteractiveShell.instance().display_formatter.format(explorer())
        assert data[VIEW]["model_id"]
        assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG")
        assert data["text/plain"] == f"LambdaExplorer('t', 7 values of λ from 0.0001 to 100: {ALT})"
        assert meta["l2lab"] == {"alt": ALT, "role": "explorer", "name": "t"}
        assert meta["image/png"] == {"alt": ALT}
        # Jupyter's Shift+Tab asks for the signature, which traitlets hides
        assert list(inspect.signature(LambdaExplorer).parameters)[:4] == ["lams", "panels", "name", "alt"]

    def test_colab_metadata_is_kept(self, monkeypatch) -> None:
        import anywidget

        own = ({VIEW: {"model_id": "x"}}, {VIEW: {"colab": {"custom_widget_manager": {"url": "u"}}}})
        monkeypatch.setattr(anywidget.AnyWidget, "_repr_mimebundle_", lambda self, **kwargs: own)
        _, meta = explorer()._repr_mimebundle_()
        assert meta[VIEW] == own[1][VIEW]
        assert "l2lab" in meta


def test_the_picture_shows_every_panel_and_is_the_same_each_time() -> None:
    panels = every_panel()
    with plt.rc_context({"font.size": 20, "axes.facecolor": "black"}):  # a reader's style must not matter
        one = explorer(panels=panels).fallback_png()
    pngs = one, explorer(panels=panels).fallback_png()
    image, again = (Image.open(io.BytesIO(png)).convert("RGB") for png in pngs)
    assert np.abs(np.asarray(image, float) - again).mean() < 1  # of 255: the layout may move a little
    assert image.width == pytest.approx(7.6 * 144, abs=1)
    assert len(one) < 150_000
    assert image.getpixel((3, 3)) == (255, 255, 255)
    for lams in ([0.5, 0.6], np.r_[0, np.logspace(-12, 5, 40)]):
        n = len(lams)
        panels = [
            curve(n),
            explore.geometry_panel(np.eye(2), [1, 1]),
            explore.bars_panel(np.zeros((n, 2)), ylim=(0, 1)),
        ]
        panels += [
            explore.heatmap_panel(np.ones((n, 1)), [0.1], title="t", zlim=(0, 2)),
            explore.calculator_panel(lr=50.0),
        ]
        with warnings.catch_warnings(action="error"):  # such as: this layout was not applied
            assert explorer(lams, panels).fallback_png()


@pytest.mark.parametrize("seed", range(8))
def test_solutions_in_two_weights_agree_with_scipy_and_scikit_learn(seed) -> None:
    draw = np.random.default_rng(seed)
    for lam in np.exp(draw.uniform(-2, 1, size=12)):
        root, w_star = draw.normal(size=(2, 2)) + 0.5 * np.eye(2), 2 * draw.normal(size=2)
        H, y = root.T @ root, root @ w_star
        stacked = np.r_[root, np.sqrt(lam) * np.eye(2)], np.r_[y, 0, 0]
        np.testing.assert_allclose(ridge_2d(H, w_star, lam), np.linalg.lstsq(*stacked, rcond=None)[0])

        # with XᵀX / n = H scikit-learn's lasso is the same problem
        model = Lasso(alpha=lam, fit_intercept=False, tol=1e-14, max_iter=100_000)
        reference = model.fit(root * np.sqrt(2), y * np.sqrt(2)).coef_
        w = lasso_2d(H, w_star, lam)
        np.testing.assert_allclose(w, reference, atol=1e-5)
        assert np.array_equal(w == 0, np.abs(reference) < 1e-9)

        w = box_2d(H, w_star, lam)
        reference = lsq_linear(root, y, (-1 / lam, 1 / lam), method="bvls").x
        loss = [np.sum((root @ (v - w_star)) ** 2) for v in (w, reference)]
        assert loss[0] <= loss[1] + 1e-10
        assert np.abs(w).max() <= 1 / lam
    for solve in (ridge_2d, lasso_2d, box_2d):
        np.testing.assert_allclose(solve(H, w_star, 0.0), w_star)


def test_the_page_gets_the_current_source_once_with_what_it_shows() -> None:
    explorers = [
        explorer(name="a"),
        explorer(name="b", panels=[explore.bars_panel(np.ones((L, 2)), ylim=(0, 1))]),
    ]
    slider = IntSlider()
    state = {"state": dependency_state([*explorers, slider], drop_defaults=False)}
    first, second = (state["state"][e.model_id]["state"] for e in explorers)
    first["_esm"] = "export default {}"  # an older version, stored earlier
    untouched = copy.deepcopy(state)
    small = compact_state(state)
    assert state == untouched
    traits = small["state"][explorers[0].model_id]["state"]
    assert (traits["_esm"], traits["_css"]) == (LambdaExplorer._esm, LambdaExplorer._css)
    without = {k: v for k, v in second.items() if k not in ("_esm", "_css")}
    assert small["state"][explorers[1].model_id]["state"] == without
    assert small["state"][slider.model_id] == state["state"][slider.model_id]
    assert compact_state(small) == small


def test_sources_are_small_and_ask_no_host() -> None:
    assert {p.kind for p in every_panel()} == set(re.findall(r"PANELS\.(\w+) = ", LambdaExplorer._esm))
    assert max(len(sent.encode()) for sent in (LambdaExplorer._esm, Trainer._esm)) < 65_000
    for source in (LambdaExplorer._esm, LambdaExplorer._css, Trainer._esm):
        assert set(re.findall(r"https?://[^\s\"']+", source)) <= {"http://www.w3.org/2000/svg"}
        assert not re.search(r"\beval\(|new Function|^import |\bfetch\(|@import|url\(http", source, re.M)
