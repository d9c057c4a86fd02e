"""Photographs that are fetched: Pascal VOC and Caltech-101, on small folders of the same form."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torchvision
from PIL import Image

from fake_voc import CALTECH_SIZES, VOC_NAMES, fake_caltech, fake_devkit
from l2lab.data import VOC_CLASSES, images, load_caltech101, load_voc2007


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A small VOCdevkit and what is in it."""
    root = tmp_path_factory.mktemp("devkit")
    return root, fake_devkit(root)


@pytest.fixture
def devkit(made, monkeypatch):
    """All of its objects are large enough."""
    monkeypatch.setattr(images, "MIN_SIDE", 8)
    return made


def test_voc_gives_the_objects_that_are_annotated(devkit):
    root, objects = devkit
    data = load_voc2007(root)
    wanted = [o for o in objects if not o.difficult]
    assert 0 < len(wanted) < len(objects)
    for image_set, keys in {"trainval": ("train", "valid"), "test": ("test",)}.items():
        ours = sorted(
            (group, VOC_CLASSES[label])
            for key in keys
            for group, label in zip(data[key].groups.tolist(), data[key].labels, strict=True)
        )
        assert ours == sorted((o.photograph, o.name) for o in wanted if o.image_set == image_set)
    assert (data.counts()[[VOC_CLASSES.index(name) for name in VOC_NAMES]] > 0).all()
    assert 0.1 < len(data["valid"]) / (len(data["valid"]) + len(data["train"])) < 0.4


@pytest.mark.parametrize("margin", [0.0, 0.2])
def test_voc_cuts_the_box_out_of_the_photograph(devkit, monkeypatch, margin):
    monkeypatch.setattr(images, "MARGIN", margin)
    root, objects = devkit
    tests = [o for o in objects if o.image_set == "test" and not o.difficult]
    for o, crop in zip(tests, load_voc2007(root)["test"].pictures, strict=True):
        photograph = Image.open(root / f"VOCdevkit/VOC2007/JPEGImages/{o.photograph}.jpg")
        xmin, ymin, xmax, ymax = o.box
        if not margin:
            assert np.array_equal(crop, np.asarray(photograph)[ymin - 1 : ymax, xmin - 1 : xmax])
        for axis in (0, 1):  # a fifth on both sides, as far as the photograph goes
            low, high = o.box[axis] - 1, o.box[axis + 2]
            by = margin * (high - low)
            side = min(photograph.size[axis], high + by) - max(0, low - by)
            assert crop.size[axis] == pytest.approx(side, abs=1)


def test_voc_leaves_out_small_objects_and_too_many_of_a_class(devkit, monkeypatch):
    root, objects = devkit
    monkeypatch.setattr(images, "MIN_SIDE", 60)
    monkeypatch.setattr(images, "SIZE_CAP", 30)
    large = load_voc2007(root)
    assert max(large.sizes(key).max() for key in large.splits) == 30
    sides = [min(o.box[2] - o.box[0], o.box[3] - o.box[1]) + 1 for o in objects if not o.difficult]
    assert 0 < large.counts().sum() == sum(side >= 60 for side in sides) < len(sides)
    monkeypatch.setattr(images, "MIN_SIDE", 8)
    monkeypatch.setattr(images, "MAX_PER_CLASS", 2)
    capped = load_voc2007(root).counts()
    assert (capped[:, 0] + capped[:, 1]).max() == capped[:, 2].max() == 2


def test_voc_is_fetched_if_it_is_not_there(tmp_path, monkeypatch):
    fetched = []

    def fetch(url: str, root: Path, **options: str) -> None:
        fetched.append(url)
        fake_devkit(Path(root))

    monkeypatch.setattr(torchvision.datasets.voc, "download_and_extract_archive", fetch)
    first, again = load_voc2007(tmp_path), load_voc2007(tmp_path)
    assert len(fetched) == 1  # the fake archive holds both image sets
    assert again.content_hash == first.content_hash


def test_caltech_takes_the_largest_classes(tmp_path, monkeypatch):
    monkeypatch.setattr(
        torchvision.datasets.Caltech101, "download", lambda self: fake_caltech(Path(self.root).parent)
    )
    data = load_caltech101(tmp_path, n_classes=3)
    assert data.classes == ("Faces", "airplanes", "bonsai")
    assert data.counts().sum(axis=1).tolist() == [CALTECH_SIZES[name] for name in data.classes]
    assert data.counts().sum(axis=0).tolist() == [13, 5, 5]
    assert (data.counts() > 0).all()
    for part in data.splits.values():
        for picture, label, source in zip(part.pictures, part.labels, part.sources, strict=True):
            assert source.startswith(data.classes[label] + "/")
            with Image.open(tmp_path / "caltech101" / "101_ObjectCategories" / source) as stored:
                assert np.array_equal(picture, stored.convert("RGB"))
