"""Photographs that are fetched, Pascal VOC, on a small folder of the same form."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torchvision
from PIL import Image

from fake_voc import fake_devkit
from l2lab.data import images, load_voc2007


@pytest.mark.parametrize("margin", [0.0, 0.2])
def test_voc_cuts_the_annotated_boxes_out_of_the_photographs(tmp_path, monkeypatch, margin):
    monkeypatch.setattr(images, "MIN_SIDE", 8)
    monkeypatch.setattr(images, "MARGIN", margin)
    objects = [o for o in fake_devkit(tmp_path) if not o.difficult]
    data = load_voc2007(tmp_path)
    trained = []
    for part in (data["train"], data["valid"]):
        trained += zip(part.groups.tolist(), [data.classes[label] for label in part.labels], strict=True)
    assert sorted(trained) == sorted((o.photograph, o.name) for o in objects if o.image_set == "trainval")
    assert 0.1 < len(data["valid"]) / len(trained) < 0.4
    wanted = [o for o in objects if o.image_set == "test"]
    for o, crop, label in zip(wanted, data["test"].pictures, data["test"].labels, strict=True):
        photograph = Image.open(tmp_path / f"VOCdevkit/VOC2007/JPEGImages/{o.photograph}.jpg")
        assert data.classes[label] == o.name
        xmin, ymin, xmax, ymax = o.box
        if not margin:
            assert np.array_equal(crop, np.asarray(photograph)[ymin - 1 : ymax, xmin - 1 : xmax])
        for axis in (0, 1):  # a fifth on both sides, as far as the photograph goes
            low, high = o.box[axis] - 1, o.box[axis + 2]
            by = margin * (high - low)
            side = min(photograph.size[axis], high + by) - max(0, low - by)
            assert crop.size[axis] == pytest.approx(side, abs=1)


def test_voc_is_fetched_and_small_objects_and_too_many_of_a_class_are_left_out(tmp_path, monkeypatch):
    fetched: list = []  # the fake archive holds both image sets: nothing is fetched twice

    def fetch(url: str, root: Path, **options: str) -> None:
        fetched.append(fake_devkit(Path(root)))

    monkeypatch.setattr(torchvision.datasets.voc, "download_and_extract_archive", fetch)
    monkeypatch.setattr(images, "MIN_SIDE", 40)
    monkeypatch.setattr(images, "SIZE_CAP", 30)
    large = load_voc2007(tmp_path)
    assert max(large.sizes(key).max() for key in large.splits) == 30
    (objects,) = fetched
    sides = [min(o.box[2] - o.box[0], o.box[3] - o.box[1]) + 1 for o in objects if not o.difficult]
    assert 0 < large.counts().sum() == sum(side >= 40 for side in sides) < len(sides)
    monkeypatch.setattr(images, "MIN_SIDE", 8)
    monkeypatch.setattr(images, "MAX_PER_CLASS", 2)
    capped = load_voc2007(tmp_path).counts()
    assert (capped[:, 0] + capped[:, 1]).max() == capped[:, 2].max() == 2
    assert len(fetched) == 1
