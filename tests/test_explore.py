"""The λ explorer seen from Python: what is sent, what is refused, what is computed, what stands in."""

from __future__ import annotations

import base64
import copy
import inspect
import io
import json
import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ipywidgets import Widget
from ipywidgets.embed import dependency_state
from PIL import Image
from scipy.optimize import minimize
from sklearn.linear_model import Lasso
from traitlets import TraitError

from l2lab import explore
from l2lab.explore import (
    PALETTE,
    Control,
    LambdaExplorer,
    bars_panel,
    budget_panel,
    compact_state,
    curves_panel,
    field_panel,
    fit_panel,
    geometry_panel,
    heatmap_panel,
    hist_panel,
    lasso_2d,
    paths_panel,
    ridge_2d,
)

VIEW = "application/vnd.jupyter.widget-view+json"
ALT = "A figure for tests, with one curve over lambda."
L = 7
LAMS = np.logspace(-4, 2, L)
rng = np.random.default_rng(0)


def curve(n: int = L) -> explore.Panel:
    return curves_panel({"train": np.linspace(0.1, 1, n)})


def explorer(lams=LAMS, panels=None, **options) -> LambdaExplorer:
    return LambdaExplorer(
        lams, [curve(len(lams))] if panels is None else panels, **{"name": "t", "alt": ALT, **options}
    )


def every_panel() -> list[explore.Panel]:
    x = np.linspace(-1, 1, 21)
    return [
        hist_panel(np.linspace(-1, 1, 11), rng.integers(0, 300, (L, 10)), rng.integers(0, 9, L)),
        curves_panel({"train": rng.random((L, 3)), "validation": rng.random(L)}, best="validation"),
        paths_panel(rng.normal(size=(L, 5)), groups=[True, False, True, False, False]),
        bars_panel(rng.normal(size=(L, 5)), labels=list("abcde"), truth=np.ones(5)),
        fit_panel(x, x * np.ones((L, 1)), np.c_[x, x], np.sin(x)),
        field_panel(rng.random((L, 6, 8)), (-1, 1, -2, 2), [[0, 0, 1], [0.5, 1, 0]]),
        geometry_panel([[2, 0.5], [0.5, 1]], [1, 0.5]),
        heatmap_panel(heat(), [0.01, 0.1, 1], title="Accuracy", marks={"article": (2, 1)}),
        budget_panel(),
    ]


def heat() -> np.ndarray:
    """A map whose best cell is (4, 1), with runs that diverged at the largest learning rate."""
    z = 0.9 - 0.02 * (np.arange(L)[:, None] - 4) ** 2 - 0.1 * (np.arange(3) - 1) ** 2
    z[3:, 2] = np.nan
    return z


def decoded(e: LambdaExplorer, k: int, key: str) -> np.ndarray:
    """Read an array back from the buffer as the browser does."""
    a = e.panels[k]["arrays"][key]
    return np.frombuffer(e.blob, a["dtype"], int(np.prod(a["shape"])), a["offset"]).reshape(a["shape"])


class TestBuffer:
    def test_all_panels_travel_in_one_aligned_buffer(self) -> None:
        panels = every_panel()
        e = explorer(panels=panels)
        json.dumps(e.panels)  # the rest is JSON
        for k, p in enumerate(panels):
            assert set(e.panels[k]["arrays"]) == set(p.arrays)
            for key, a in p.arrays.items():
                assert e.panels[k]["arrays"][key]["offset"] % 8 == 0  # typed arrays need it
                np.testing.assert_array_equal(decoded(e, k, key), a)

    def test_a_histogram_says_what_it_counts(self) -> None:
        assert hist_panel([0, 1], [[1], [2]]).spec["noun"] == "weights"
        assert hist_panel([0, 1], [[1], [2]], noun="logits").spec["noun"] == "logits"

    def test_counts_take_the_smallest_integers_that_hold_them(self) -> None:
        kinds = [
            hist_panel([0, 1], np.full((2, 1), n)).arrays["counts"].dtype for n in (255, 256, 65535, 65536)
        ]
        assert kinds == [np.uint8, np.uint16, np.uint16, np.uint32]

    @given(st.floats(-1e3, 1e3))
    @settings(max_examples=200, deadline=None)
    def test_only_exact_zeros_become_zeros(self, v: float) -> None:
        for panel in (paths_panel([[v], [1.0]]), bars_panel([[v], [1.0]])):
            sent = panel.arrays["y"][0, 0]
            assert (sent == 0) == (v == 0)
            assert sent == pytest.approx(v, rel=1e-6, abs=1e-37)

    def test_fitted_function_keeps_its_pixels(self) -> None:
        x = np.linspace(-1, 1, 50)
        y = np.sin(5 * x) * np.array([[1.0], [40.0]])
        p = fit_panel(x, y, truth=np.sin(5 * x))
        back = p.spec["offset"] + p.spec["step"] * p.arrays["y"].astype(float)
        low, high = p.spec["ylim"]
        inside = (y > low) & (y < high)
        assert np.abs(back - y)[inside].max() < (high - low) / 2000
        assert np.all(back[~inside & (y > 0)] >= high)  # what leaves the frame stays outside
        assert p.spec["rms"] == pytest.approx([0, np.sqrt(np.mean((39 * np.sin(5 * x)) ** 2))], rel=1e-2)

    @given(st.lists(st.floats(0, 1), min_size=4, max_size=4))
    @settings(max_examples=200, deadline=None)
    def test_field_keeps_sides_and_is_finest_at_the_boundary(self, values: list[float]) -> None:
        f = np.array(values).reshape(1, 2, 2)
        t = field_panel(f, (0, 1, 0, 1)).arrays["code"] / 127.5 - 1.0
        margin = t * np.abs(t)
        assert np.array_equal(margin > 0, 2 * f - 1 > 0)
        assert np.abs(margin - (2 * f - 1)).max() < 0.009
        near = np.abs(2 * f - 1) < 0.01
        assert np.all(np.abs(margin - (2 * f - 1))[near] < 0.001)

    def test_curves_carry_mean_and_spread(self) -> None:
        v = rng.random((L, 5)) + 1
        y = curves_panel({"a": v}).arrays["y"][0]
        np.testing.assert_allclose(y, [v.mean(1), v.min(1), v.max(1)], rtol=1e-6)
        sd = v.std(1, ddof=1)
        y = curves_panel({"a": v}, spread="sd").arrays["y"][0]
        np.testing.assert_allclose(y, [v.mean(1), v.mean(1) - sd, v.mean(1) + sd], rtol=1e-6)

    def test_best_is_where_the_mean_is_best(self) -> None:
        series = {"train": np.arange(L) + 1.0, "validation": (np.arange(L) - 4.0) ** 2 + 1}
        assert curves_panel(series, best="validation").spec["best"]["at"] == 4
        assert curves_panel(series, best="validation", best_is="max").spec["best"]["at"] == 0

    def test_band_on_a_log_axis_stays_positive(self) -> None:
        v = np.array([[1e-3, 1.0], [1.0, 2.0]])  # mean - sd < 0
        assert curves_panel({"a": v}, spread="sd", logy=True).arrays["y"].min() > 0

    def test_known_names_have_known_colours(self) -> None:
        names = list(PALETTE)
        spec = curves_panel({"test": LAMS, "train": LAMS, "other": LAMS}).spec
        assert [names[k - 1] for k in spec["colors"][:2]] == ["vermillion", "blue"]
        assert len(set(spec["colors"])) == 3
        assert curves_panel({"a": LAMS}, colors={"a": "gold"}).spec["colors"] == [names.index("gold") + 1]

    def test_map_keeps_what_diverged_and_finds_the_best(self) -> None:
        p = heatmap_panel(heat(), [0.01, 0.1, 1], title="Accuracy")
        e = explorer(panels=[p])
        np.testing.assert_allclose(decoded(e, 0, "z"), heat(), rtol=1e-6)  # NaN where NaN was
        assert "NaN" not in json.dumps(e.panels)  # JSON has none
        assert p.spec["at"] == [4, 1]
        assert heatmap_panel(heat(), [0.01, 0.1, 1], title="t", best="min").spec["at"] == [0, 0]
        assert heatmap_panel(heat(), [0.01, 0.1, 1], title="t", best=None).spec["at"] is None
        assert p.spec["zlim"] == pytest.approx([np.nanmin(heat()), np.nanmax(heat())])

    def test_map_of_one_value_has_a_scale(self) -> None:
        for value in (0.0, 0.7, -3.0):
            low, high = heatmap_panel(np.full((2, 2), value), [1, 2], title="t").spec["zlim"]
            assert low < value < high

    def test_budget_sends_a_run_and_no_numbers(self) -> None:
        p = budget_panel(lr=0.01, steps=np.int64(50), schedule="linear", optimizer="adamw")
        assert p.n_lams is None
        assert not p.arrays
        assert (p.spec["lr"], p.spec["steps"], p.spec["schedule"]) == (0.01, 50, "linear")

    def test_true_features_come_first(self) -> None:
        spec = paths_panel(np.ones((2, 3)), groups=np.array([False, True, False])).spec
        assert spec["names"] == ["true", "noise"]
        assert spec["group"] == [1, 0, 1]


class TestBadInput:
    @pytest.mark.parametrize(
        ("lams", "message"),
        [
            ([], "at least two"),
            ([0.1], "at least two"),
            ([0.1, np.nan], "NaN"),
            ([0.1, np.inf], "infinite"),
            ([-0.1, 1], "negative"),
            ([1, 0.1], "increase"),
            ([0.1, 0.1], "increase"),
            ([[0.1, 1]], "one-dimensional"),
            (["a", "b"], "numbers"),
            (None, "missing"),
        ],
    )
    def test_grid(self, lams: object, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            LambdaExplorer(lams, [curve(2)], name="t", alt=ALT)

    @pytest.mark.parametrize("name", ["", "A", "1a", "a b", "a:b", "a;b", "é", None, "-a", "a_b"])
    def test_name(self, name: object) -> None:
        with pytest.raises(ValueError, match="name must be"):
            explorer(name=name)

    @pytest.mark.parametrize("alt", ["", "   ", "too short", " " * 30, None])
    def test_alt(self, alt: object) -> None:
        with pytest.raises(ValueError, match="alt must say"):
            explorer(alt=alt)

    def test_panel_of_another_length(self) -> None:
        with pytest.raises(
            ValueError, match=r"'Loss along λ' \(curves\) has 6 entries along λ, but the grid has 7"
        ):
            explorer(panels=[curve(6)])

    def test_panels(self) -> None:
        with pytest.raises(ValueError, match="at least one"):
            explorer(panels=[])
        with pytest.raises(ValueError, match="list"):
            explorer(panels=curve())
        with pytest.raises(ValueError, match="hist_panel"):
            explorer(panels=[{"kind": "hist"}])
        with pytest.raises(ValueError, match="share w_star"):
            explorer(panels=[geometry_panel(np.eye(2), [1, 0]), geometry_panel(np.eye(2), [1, 1])])

    @pytest.mark.parametrize("index", [-1, L])
    def test_index(self, index: int) -> None:
        with pytest.raises(ValueError, match="index"):
            explorer(index=index)
        e = explorer()
        with pytest.raises(TraitError, match="index"):
            e.index = index

    @pytest.mark.parametrize("fallback", ["none", 3, b"GIF89a"])
    def test_fallback(self, fallback: object) -> None:
        with pytest.raises(ValueError, match="fallback"):
            explorer(fallback=fallback)

    def test_controls_without_compute(self) -> None:
        with pytest.raises(ValueError, match="together"):
            explorer(controls={"a": [1, 2]})
        with pytest.raises(ValueError, match="compute"):
            LambdaExplorer(LAMS, None, name="t", alt=ALT)

    @pytest.mark.parametrize(
        ("control", "message"),
        [
            ({"options": [1]}, "two options"),
            ({"options": [1, None]}, "number, string or bool"),
            ({"options": [1, 2], "value": 3}, "not among"),
            ({"options": [1, 2], "kind": "knob"}, "kind"),
        ],
    )
    def test_control(self, control: dict, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            Control(**control)

    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda: hist_panel([0, 1, 2], [[1], [2]]), "one entry more"),
            (lambda: hist_panel([0, 2, 1], [[1, 2]]), "increase"),
            (lambda: hist_panel([0, 1], [[-1]]), "whole numbers"),
            (lambda: hist_panel([0, 1], [[0.5]]), "whole numbers"),
            (lambda: hist_panel([0, 1], [[1], [2]], [1]), "zeros"),
            (lambda: hist_panel([0, 1], [[1]], notes=["a", "b"]), "notes"),
            (lambda: hist_panel([0, 1], [[1]], notes="a"), "notes"),
            (lambda: curves_panel({}), "at least one"),
            (lambda: curves_panel({"a": [1, 2], "b": [1]}), "same length"),
            (lambda: curves_panel({"a": [1, np.nan]}), "diverged"),
            (lambda: curves_panel({"a": [0, 1]}, logy=True), "positive"),
            (lambda: curves_panel({"a": [1, 2]}, best="b"), "best must name"),
            (lambda: curves_panel({"a": [1, 2]}, best="a", best_is="least"), "best_is"),
            (lambda: curves_panel({"a": [[1, 2]]}, spread="iqr"), "spread"),
            (lambda: curves_panel({"a": [1, 2]}, colors={"b": "blue"}), "colors names"),
            (lambda: curves_panel({"a": [1, 2]}, colors={"a": "pink"}), "unknown colour"),
            (lambda: curves_panel({"a": [1, 2]}, ylim=(1, 0)), "ylim"),
            (lambda: curves_panel({"a": [1, 2]}, title=" "), "title"),
            (lambda: paths_panel([1, 2]), "2 axes"),
            (lambda: paths_panel(np.empty((2, 0))), "empty"),
            (lambda: paths_panel([["a"]]), "array of numbers"),
            (lambda: paths_panel(np.ones((2, 3)), groups=["a"]), "groups"),
            (lambda: paths_panel(np.ones((2, 7)), groups=list("abcdefg")), "at most 6"),
            (lambda: bars_panel(np.ones((2, 3)), labels=["a"]), "labels"),
            (lambda: bars_panel(np.ones((2, 3)), truth=[1]), "truth"),
            (lambda: fit_panel([0, 1], np.ones((2, 3))), "one column per entry"),
            (lambda: fit_panel([1, 0], np.ones((2, 2))), "increase"),
            (lambda: fit_panel([0, 1], np.ones((2, 2)), np.ones((3, 3))), "two columns"),
            (lambda: fit_panel([0, 1], np.ones((2, 2)), truth=[1]), "truth"),
            (lambda: field_panel(np.full((1, 2, 2), 1.5), (0, 1, 0, 1)), r"\[0, 1\]"),
            (lambda: field_panel(np.full((1, 1, 2), 0.5), (0, 1, 0, 1)), "2 × 2"),
            (lambda: field_panel(np.full((1, 2, 2), 0.5), (1, 0, 0, 1)), "extent"),
            (lambda: field_panel(np.full((1, 2, 2), 0.5), (0, 1, 0, 1), [[0, 0, 2]]), "class"),
            (lambda: field_panel(np.full((1, 2, 2), 0.5), (0, 1, 0, 1), classes=("a",)), "two names"),
            (lambda: geometry_panel([[1, 2], [2, 1]], [1, 1]), "positive definite"),
            (lambda: geometry_panel([[1, 0.5], [0, 1]], [1, 1]), "symmetric"),
            (lambda: geometry_panel(np.eye(2), [1]), "two entries"),
            (lambda: geometry_panel(np.eye(2), [1, 1], norms=["l3"]), "norms"),
            (lambda: geometry_panel(np.eye(2), [1, 1], norms=[]), "norms"),
            (lambda: geometry_panel(np.eye(2), [1, 1], extent=0.5), "extent"),
            (lambda: heatmap_panel([1, 2], [1, 2], title="t"), "2 axes"),
            (lambda: heatmap_panel([[1, 2]], [1, 2, 3], title="t"), "one column per entry"),
            (lambda: heatmap_panel([[1, 2]], [0, 1], title="t"), "positive"),
            (lambda: heatmap_panel([[1, 2]], [2, 1], title="t"), "increase"),
            (lambda: heatmap_panel([[1, 2]], [1, np.nan], title="t"), "NaN"),
            (lambda: heatmap_panel([[1, np.inf]], [1, 2], title="t"), "not infinity"),
            (lambda: heatmap_panel([[1, 1e300]], [1, 2], title="t"), "not infinity"),
            (lambda: heatmap_panel([[np.nan, np.nan]], [1, 2], title="t"), "finite"),
            (lambda: heatmap_panel([[1, 2]], [1, 2], title="t", digits=0), "digits"),
            (lambda: heatmap_panel([[1, 2]], [1, 2], title="t", digits=True), "digits"),
            (lambda: heatmap_panel([[1, 2]], [1, 2], title="t", best="most"), "best must"),
            (lambda: heatmap_panel([[1, 2]], [1, 2], title="t", zlim=(1, 1)), "zlim"),
            (lambda: heatmap_panel([[1, 2]], [1, 2], title=""), "title"),
            (lambda: heatmap_panel([[1, 2]], [1, 2], title="t", marks={"a": (1, 0)}), "mark 'a'"),
            (lambda: heatmap_panel([[1, 2]], [1, 2], title="t", marks={"a": (0.0, 1.0)}), "mark 'a'"),
            (lambda: heatmap_panel([[1, 2]], [1, 2], title="t", marks={"a": (0,)}), "mark 'a'"),
            (
                lambda: heatmap_panel([[1, 2]], [1, 2], title="t", marks=dict.fromkeys("abcde", (0, 0))),
                "at most 4",
            ),
            (lambda: heatmap_panel([[1, 2]], [1, 2], title="t", notes=["a", "b"]), "notes"),
            (lambda: budget_panel(lr=0), "lr must"),
            (lambda: budget_panel(steps=0), "steps must"),
            (lambda: budget_panel(steps=10**7), "at most 1,000,000"),
            (lambda: budget_panel(momentum=1), "momentum must"),
            (lambda: budget_panel(schedule="step"), "schedule must"),
            (lambda: budget_panel(optimizer="adam"), "optimizer must"),
            (lambda: budget_panel(title=""), "title"),
        ],
    )
    def test_panel(self, make, message: str) -> None:
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
        assert e.lam == 0.0

    def test_late_message_is_cut_to_the_grid(self) -> None:
        e = explorer()
        e.set_state({"index": 99})
        assert e.index == L - 1

    def test_lam_is_read_only(self) -> None:
        with pytest.raises(TraitError, match="read-only"):
            explorer().lam = 3.0

    @staticmethod
    def live(compute) -> LambdaExplorer:
        controls = {
            "noise": [0.0, 0.5],
            "width": Control([8, 16], value=16, kind="slider", label="hidden units"),
        }
        return explorer(controls=controls, compute=compute, panels=[curve()], index=3)

    def test_choice_retrains_and_keeps_lambda(self) -> None:
        asked, busy, lam, sent = [], [], [], []

        def compute(noise: float, width: int):
            asked.append((noise, width, e.busy))
            grid = np.logspace(-3, 1, 5)
            return grid, [curves_panel({"test": np.full(5, noise)})]

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
        assert e.index == 2
        assert lam in ([], [e.lam])  # no value in between
        np.testing.assert_allclose(decoded(e, 0, "y")[0, 0], 0.5)
        assert e.fallback_png() != before
        together = [keys for keys in sent if isinstance(keys, set) and "blob" in keys]
        assert together
        assert {"lams", "panels", "blob", "index"} <= together[0], (
            "one message, or the browser draws a mixture"
        )

    def test_options_reach_compute_as_they_were_given(self) -> None:
        asked = []

        def compute(noise, width):
            asked.append((noise, width))
            return [curve()]

        e = self.live(compute)
        e.set_state({"choice": json.loads('{"noise": 0.5, "width": 8}')})
        e.set_state({"choice": json.loads('{"noise": 0, "width": 8}')})  # JavaScript writes 0.0 as 0
        assert [type(n) for n, _ in asked] == [float, float]
        assert e.controls[1] == {
            "name": "width",
            "label": "hidden units",
            "kind": "slider",
            "options": [8, 16],
        }

    @pytest.mark.parametrize("answer", [[curve(3)], None, [], ([1, 0.1], [curve(2)])])
    def test_wrong_answers_are_shown(self, answer) -> None:
        e = self.live(lambda noise, width: answer)
        old = (e.lams, e.panels, e.blob)
        e.set_state({"choice": {"noise": 0.5, "width": 8}})
        assert e.error.startswith("ValueError: ")
        assert not e.busy
        assert (e.lams, e.panels, e.blob) == old

    def test_exceptions_are_shown_and_forgotten_after_success(self) -> None:
        def compute(noise, width):
            if noise:
                raise RuntimeError("loss is not finite")
            return [curve()]

        e = self.live(compute)
        e.set_state({"choice": {"noise": 0.5, "width": 16}})
        assert e.error == "RuntimeError: loss is not finite"
        assert not e.busy
        e.set_state({"choice": {"noise": 0.0, "width": 16}})
        assert e.error == ""

    def test_unknown_choice_is_refused(self) -> None:
        e = self.live(lambda noise, width: [curve()])
        for choice in ({"noise": 0.7, "width": 8}, {"noise": 0.5}, {"noise": 0.5, "width": 8, "depth": 2}):
            with pytest.raises(TraitError):
                e.choice = choice

    def test_first_panels_can_come_from_compute(self) -> None:
        e = LambdaExplorer(
            None, None, name="t", alt=ALT, controls={"n": [3, 4]}, compute=lambda n: (LAMS[:n], [curve(n)])
        )
        assert len(e.lams) == 3
        e.choice = {"n": 4}
        assert len(e.lams) == 4


class TestBundle:
    def test_view_picture_and_stable_text(self) -> None:
        data, meta = explorer()._repr_mimebundle_()
        assert data[VIEW]["model_id"]
        assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG")
        assert data["text/plain"] == f"LambdaExplorer('t', 7 values of λ from 0.0001 to 100: {ALT})"
        assert meta["l2lab"] == {"alt": ALT, "role": "explorer", "name": "t"}
        assert meta["image/png"] == {"alt": ALT}

    def test_ipython_makes_the_same_bundle(self) -> None:
        # ipywidgets 7 brings _ipython_display_, which IPython prefers and which has no picture
        from IPython.core.interactiveshell import InteractiveShell

        data, meta = InteractiveShell.instance().display_formatter.format(explorer())
        assert {VIEW, "image/png", "text/plain"} <= set(data)
        assert meta["l2lab"]["role"] == "explorer"

    def test_colab_metadata_is_kept(self, monkeypatch) -> None:
        import anywidget

        own = ({VIEW: {"model_id": "x"}}, {VIEW: {"colab": {"custom_widget_manager": {"url": "u"}}}})
        monkeypatch.setattr(anywidget.AnyWidget, "_repr_mimebundle_", lambda self, **kwargs: own)
        _, meta = explorer()._repr_mimebundle_()
        assert meta[VIEW] == own[1][VIEW]
        assert "l2lab" in meta

    def test_no_picture(self) -> None:
        data, meta = explorer(fallback=None)._repr_mimebundle_()
        assert "image/png" not in data
        assert "image/png" not in meta

    def test_given_pictures(self) -> None:
        fig, ax = plt.subplots()
        ax.plot([0, 1])
        png = explorer(fallback=fig).fallback_png()
        plt.close(fig)
        assert png.startswith(b"\x89PNG")
        assert explorer(fallback=png).fallback_png() == png


class TestPicture:
    def test_every_panel_is_drawn_small_and_the_same_each_time(self) -> None:
        panels = every_panel()
        with plt.rc_context({"font.size": 20, "axes.facecolor": "black"}):  # a reader's style must not matter
            one = explorer(panels=panels).fallback_png()
        assert one == explorer(panels=panels).fallback_png()
        assert len(one) < 140_000
        image = Image.open(io.BytesIO(one))
        assert image.width == pytest.approx(7.6 * 144, abs=1)
        assert image.convert("RGB").getpixel((3, 3)) == (255, 255, 255)

    def test_picture_follows_the_data(self) -> None:
        assert explorer(panels=[curves_panel({"a": LAMS})]).fallback_png() != explorer().fallback_png()

    @pytest.mark.parametrize(
        "lams", [[0, 1], [0, 1e-3, 1e-2], [0.5, 0.6, 0.7], np.r_[0, np.logspace(-12, 5, 40)]]
    )
    def test_unusual_grids(self, lams) -> None:
        n = len(lams)
        panels = [curve(n), geometry_panel(np.eye(2), [1, 1]), bars_panel(np.zeros((n, 2)))]
        panels += [heatmap_panel(np.ones((n, 1)), [0.1], title="t"), budget_panel(lr=50.0)]
        assert explorer(lams, panels).fallback_png()

    def test_map_frames_the_column_of_the_start(self) -> None:
        panels = [heatmap_panel(heat(), [0.01, 0.1, 1], title="t")]
        assert (
            explorer(panels=panels, index=1).fallback_png() != explorer(panels=panels, index=5).fallback_png()
        )

    def test_budget_follows_the_run(self) -> None:
        runs = [{}, {"steps": 500}, {"momentum": 0.0}, {"schedule": "linear"}, {"optimizer": "adamw"}]
        pictures = [explorer(panels=[budget_panel(**run)]).fallback_png() for run in runs]
        assert pictures[2] == pictures[4]  # AdamW decays like SGD without momentum
        assert len(set(pictures)) == 4


class TestGeometry:
    H = np.array([[1.6, 0.7], [0.7, 0.5]])

    @pytest.mark.parametrize("lam", [0.0, 0.05, 0.3, 1.0, 5.0])
    @pytest.mark.parametrize("w_star", [(1.2, 0.5), (-0.3, 1.0), (0.0, 0.0), (1.0, -1.0)])
    def test_lasso_agrees_with_scikit_learn(self, w_star, lam) -> None:
        # X with XᵀX / n = H makes scikit-learn's lasso the same problem
        root = np.linalg.cholesky(self.H).T
        X, y = root * np.sqrt(2), root @ w_star * np.sqrt(2)
        reference = (
            Lasso(alpha=max(lam, 1e-12), fit_intercept=False, tol=1e-14, max_iter=100_000).fit(X, y).coef_
        )
        w = lasso_2d(self.H, np.array(w_star), lam)
        np.testing.assert_allclose(w, reference, atol=1e-5)
        if lam > 0:
            assert np.array_equal(w == 0, np.abs(reference) < 1e-9)

    @pytest.mark.parametrize("lam", [0.0, 0.3, 5.0])
    def test_ridge_agrees_with_a_general_optimizer(self, lam) -> None:
        w_star = np.array([1.2, 0.5])

        def loss(w):
            return 0.5 * (w - w_star) @ self.H @ (w - w_star) + 0.5 * lam * w @ w

        np.testing.assert_allclose(
            ridge_2d(self.H, w_star, lam), minimize(loss, [0, 0], tol=1e-12).x, atol=1e-6
        )


class TestState:
    @staticmethod
    def state(*explorers: Widget) -> dict:
        return {
            "version_major": 2,
            "version_minor": 0,
            "state": dependency_state(explorers, drop_defaults=False),
        }

    def test_sources_are_kept_once(self) -> None:
        a, b, c = (explorer(name=n) for n in "abc")
        full = self.state(a, b, c)
        untouched = copy.deepcopy(full)
        small = compact_state(full)
        assert full == untouched
        assert set(small["state"]) == set(full["state"])
        assert "_esm" in small["state"][a.model_id]["state"]
        for e in (b, c):
            assert not {"_esm", "_css"} & set(small["state"][e.model_id]["state"])
            assert small["state"][e.model_id]["state"]["name"] == e.name
        assert compact_state(small) == small
        assert len(json.dumps(small)) < 0.45 * len(json.dumps(full))

    def test_another_source_under_the_same_name_stays(self) -> None:
        a, b = explorer(name="a"), explorer(name="b")
        full = self.state(a, b)
        full["state"][b.model_id]["state"]["_esm"] = "export default {}"  # an older version, stored earlier
        small = compact_state(full)
        assert small["state"][b.model_id]["state"]["_esm"] == "export default {}"
        assert "_css" not in small["state"][b.model_id]["state"]

    @pytest.mark.parametrize("state", [None, [], {}, {"state": 3}])
    def test_not_a_state(self, state) -> None:
        with pytest.raises(ValueError, match="widget state"):
            compact_state(state)


class TestSources:
    folder = Path(explore.__file__).parent

    def test_front_end_asks_no_host_and_evaluates_no_text(self) -> None:
        for name in ("explorer.js", "explorer.css"):
            source = (self.folder / name).read_text(encoding="utf-8")
            assert set(re.findall(r"https?://[^\s\"']+", source)) <= {"http://www.w3.org/2000/svg"}
            assert not re.search(r"\beval\(|new Function|^import |\bfetch\(|@import|url\(http", source, re.M)

    def test_no_string_spans_lines(self) -> None:
        # sources are sent without indentation and comment lines: only safe under this condition
        for line in (self.folder / "explorer.js").read_text(encoding="utf-8").splitlines():
            if not line.strip().startswith("//"):
                assert line.count("`") % 2 == 0, line

    @staticmethod
    def luminance(color: str) -> float:
        c = np.array([int(color[k : k + 2], 16) / 255 for k in (1, 3, 5)])
        c = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
        return float(c @ [0.2126, 0.7152, 0.0722])

    def test_text_colours_reach_aa_in_both_themes(self) -> None:
        css = (self.folder / "explorer.css").read_text(encoding="utf-8")
        light, dark = (
            dict(re.findall(r"--lx-(\w+): (#[0-9a-f]{6})", block))
            for block in re.findall(r"^\.lx(?:\.dark)? \{(.*?)^\}", css, re.M | re.S)
        )
        assert [light[str(k)] for k in range(1, 7)] == list(PALETTE.values())
        for theme, papers in ((light, ["#ffffff", "#f3f4f5"]), (dark, ["#121212", "#14181e", "#222832"])):
            for paper in papers:
                for key in (*"123456", "muted"):
                    a, b = sorted((self.luminance(theme[key]), self.luminance(paper)))
                    assert (b + 0.05) / (a + 0.05) >= 4.5, (key, theme[key], paper)


def test_help_shows_the_arguments():
    """Jupyter's Shift+Tab asks for the signature, which traitlets hides."""
    names = list(inspect.signature(LambdaExplorer).parameters)
    assert names[:4] == ["lams", "panels", "name", "alt"]
