"""The study of the image chapter on a few pictures, and the chapter itself on photographs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from fake_voc import fake_devkit
from l2lab.data import PictureSet, load_pictograms20
from l2lab.studies import images, picture_sizes, prices, sealed

ROOT = Path(__file__).resolve().parents[1]
TINY = images._Scale(2, epochs=1, gate_epochs=2, size_epochs=1, size_seeds=1, image_size=16)
LAMS = (0.0, 0.01)


@pytest.fixture(scope="module")
def few():
    """Four pictures of each class in each split, or as many as there are."""
    whole = load_pictograms20()
    splits = {}
    for key, split in whole.splits.items():
        rows = [np.flatnonzero(split.labels == c)[: 2 if key == "train" else 1] for c in range(20)]
        splits[key] = split.take(np.concatenate(rows))
    splits["sealed"] = replace(splits["test"], groups=np.char.add("other ", splits["test"].groups))
    return PictureSet("few", whole.classes, splits)


@pytest.fixture(scope="module")
def written(few, tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    with pytest.MonkeyPatch.context() as patch:
        small = {
            "load_pictograms20": lambda sealed=False: few, "RESULTS": folder, "LAMS": LAMS, "GATE_LAMS": LAMS,
            "LONGER_LAMS": LAMS[1:], "PROFILES": {"quick": TINY},
        }  # fmt: skip
        for name, value in small.items():
            patch.setattr(images, name, value)
        # the real one flushes denormal numbers, in all tests that follow
        patch.setattr(images.runtime, "setup", lambda: SimpleNamespace(device=torch.device("cpu")))
        images.main("quick")
    return json.loads((folder / "images-quick.json").read_text("utf-8"))


def test_every_setting_has_its_row(written, few):
    assert (written["data_hash"], written["seeds"]) == (few.content_hash, [100, 101])
    keys = [(r["wrong"], r["augment"], r["seed"], r["lam"]) for r in written["sweep"]]
    assert len(set(keys)) == len(keys) == 4 * 2 * 2
    assert [r["lam"] for r in written["longer"]] == [0.01]
    assert {r["lam"] for r in written["gates"]} == set(LAMS)
    assert [r["method"] for r in written["sizes"]][1:4] == ["letterboxed", "padded", "padded, buckets"]
    assert all(sum(n for n, *_ in row["bins"]) == 20 for row in written["sweep"])
    weights = np.array(written["along_lam"]["histograms"]["fc1"]).sum(axis=1)
    assert (weights == 288 * 64).all()


def test_taking_out_what_gates_switched_off_keeps_the_outputs(written):
    assert max(r["difference"] for r in written["gates"]) < 1e-3


def test_smaller_networks_have_equal_size_and_hits_by_family(few, tmp_path, monkeypatch):
    small = {"SEEDS": [0], "LAMS": LAMS[1:], "EPOCHS": 1, "SIZE": 16, "FINE_TUNING": {"epochs": 1}}
    for name, value in {**small, "load_pictograms20": lambda sealed: few}.items():
        monkeypatch.setattr(prices, name, value)
    monkeypatch.setattr(prices.runtime, "setup", lambda: None)
    found = prices.main(folder=tmp_path)
    rows = {row["method"]: row for row in found["rows"]}
    assert list(rows) == ["plain", "gates", "magnitude", "random"]
    assert sum(found["sizes"]) == len(few["sealed"])
    for row in rows.values():
        assert all(h <= n for h, n in zip(row["tuned"], found["sizes"], strict=True))
    # a channel of conv4 goes with its last feature, and which features go differs between the methods
    assert abs(rows["magnitude"]["parameters"] - rows["gates"]["parameters"]) < 7000


def test_lam_is_chosen_by_the_mean_over_seeds():
    losses = {0: (3, 1), 0.1: (1, 2), 0.2: (9, 9)}
    rows = [{"lam": lam, "valid_loss": v} for lam, pair in losses.items() for v in pair]
    assert images.choose_lam(rows) == 0.1
    assert images.choose_lam(rows, tolerance=8) == 0.2
    accuracies = {0: 0.6, 0.1: 0.62, 0.2: 0.615, 0.3: 0.5}
    better = [{"lam": lam, "valid_accuracy": a} for lam, a in accuracies.items()]
    assert images.choose_lam(better, "valid_accuracy") == 0.1
    assert images.choose_lam(better, "valid_accuracy", tolerance=0.01) == 0.2


def test_each_side_is_chosen_by_the_mean_over_seeds_in_its_stage(few, tmp_path, monkeypatch):
    monkeypatch.setattr(sealed, "load_pictograms20", lambda sealed=False: few)
    grid = {(1, True): [(0.01, 0.0), (0.01, 0.1)], (2, False): [(0.01, 0.0), (0.03, 0.1)]}
    monkeypatch.setattr(sealed, "GRID", grid)
    monkeypatch.setattr(sealed.runtime, "setup", lambda: None)
    rows = sealed.main(folder=tmp_path)["rows"]
    assert len(rows) == 3 * 4
    assert sealed.choose(rows, "valid_loss", True, (1, True)) == (1, True, 0.01, 0.1)
    next((tmp_path / "sealed-networks").glob("2-0-*-202.pt")).unlink()  # a seed that is not through
    assert len(sealed.main(folder=tmp_path, final=True)["rows"]) == 10


def test_wrong_labels_are_for_training_and_validation_only(few, monkeypatch):
    seen = []
    monkeypatch.setattr(images, "_train", lambda models, X, y, lams, **options: seen.append(y) or models)
    data = images._tensors(few, 16)
    images._run_sweep(data, TINY, 0, 0.4, False, lams=[0.0])
    assert int((seen[0] != data.y["train"]).sum()) == round(0.4 * len(seen[0]))


def test_all_ways_of_feeding_show_the_same_pictures(few):
    ways = picture_sizes.feeders(few, 16)
    n = len(few["train"])
    for name, way in ways.items():
        batches = way.order(n, 0)
        assert sorted(np.concatenate(batches).tolist()) == list(range(n)), name
        assert sum(len(x) for x, _ in way.batch(np.arange(5), "train")) == 5
    x, mask = ways["padded"].batch(np.arange(5), "train")[0]
    for (own, _), padded, m in zip(ways["one by one"].batch(np.arange(5), "train"), x, mask, strict=True):
        h, w = own.shape[2:]
        assert torch.equal(own[0], padded[:, :h, :w])
        assert int(m.sum()) == h * w
        assert not padded[0][m[0] == 0].any()


def test_resnet_is_trained_without_the_network_on_what_its_weights_expect(few, monkeypatch):
    seen, fit = [], images.fit
    monkeypatch.setattr(images, "fit", lambda net, rows, **how: seen.append(rows[0]) or fit(net, rows, **how))
    rows = images.run_resnet(few, 0, lams=(0.0, 0.1), epochs=1, pretrained=False, image_size=32)
    assert [r["lam"] for r in rows] == [0.0, 0.1]
    assert rows[1]["conv_norm"] < rows[0]["conv_norm"]
    white = (1 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])  # of ImageNet
    torch.testing.assert_close(seen[0].amax((0, 2, 3)), white)
    assert 0 <= rows[0]["test_accuracy"] <= 1


SHORTER = {
    'DATA = "pictograms"': 'DATA = "voc"',
    "quick=[0.0, 0.003, 0.01, 0.03]": "quick=[0.0, 0.01]",
    "quick=20": "quick=1",
    "quick=50": "quick=1",
    'study.RESULTS / "images-quick.json"': 'Path("absent.json")',  # as on Colab
}


def test_the_chapter_runs_on_voc(tmp_path):
    """Every code cell, on a devkit and without the stored study; training is cut short, nothing is drawn."""
    fake_devkit(tmp_path / "data" / "voc2007", n_trainval=18, n_test=8)
    notebook = json.loads((ROOT / "book" / "06_images.ipynb").read_text("utf-8"))
    cells = ["".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "code"]
    code = "\n\n".join(cell for cell in cells if "google.colab" not in cell)
    for old, new in SHORTER.items():
        assert code.count(old) >= 1, old
        code = code.replace(old, new)
    script = tmp_path / "chapter.py"
    begin = "from IPython.display import display\nimport matplotlib\nmatplotlib.use('agg')\n"
    begin += "from l2lab import plots\nplots.pictures = lambda fig: ('', '')\n"
    script.write_text(begin + code, "utf-8")
    env = os.environ | {"PYTHONPATH": str(ROOT / "book"), "CI": "1"}
    command = [sys.executable, "-W", "ignore", script.name]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "PictureSet(voc2007: 20 classes" in done.stdout
