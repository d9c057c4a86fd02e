"""Photographs that are fetched: Pascal VOC and Caltech-101, on small folders of the same form."""

from __future__ import annotations

import hashlib
import shutil

import numpy as np
import pytest
from PIL import Image

from fake_voc import (
    CALTECH_SIZES,
    VOC_NAMES,
    fake_caltech,
    fake_caltech_zip,
    fake_devkit,
    fake_tars,
)
from l2lab.data import (
    VOC_CLASSES,
    fetch_voc2007,
    load_caltech101,
    load_voc2007,
    voc,
)

# ---- Pascal VOC --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def devkit(tmp_path_factory):
    """A small VOCdevkit and what is in it."""
    root = tmp_path_factory.mktemp("devkit")
    return root, fake_devkit(root)


@pytest.fixture
def own_devkit(devkit, tmp_path):
    """A copy of it that a test may spoil."""
    shutil.copytree(devkit[0], tmp_path / "voc2007")
    return tmp_path / "voc2007", devkit[1]


SMALL = {"min_side": 8, "download": False}


def test_voc_gives_the_objects_that_are_annotated(own_devkit):
    root, objects = own_devkit
    data = load_voc2007(root, **SMALL)
    assert data.classes == VOC_CLASSES
    wanted = [o for o in objects if not o.difficult]
    assert 0 < len(wanted) < len(objects)
    for image_set, keys in {"trainval": ("train", "valid"), "test": ("test",)}.items():
        ours = sorted(
            (group, VOC_CLASSES[label])
            for key in keys
            for group, label in zip(data[key].groups.tolist(), data[key].labels, strict=True)
        )
        assert ours == sorted((o.photograph, o.name) for o in wanted if o.image_set == image_set)
    counts = data.counts()
    rows = [VOC_CLASSES.index(name) for name in VOC_NAMES]
    assert (counts[rows] > 0).all()
    assert counts.sum() == counts[rows].sum()
    assert not set(data["train"].groups) & set(data["valid"].groups)
    assert 0.1 < len(data["valid"]) / (len(data["valid"]) + len(data["train"])) < 0.4


def test_voc_cuts_the_box_out_of_the_photograph(own_devkit):
    root, objects = own_devkit
    data = load_voc2007(root, pad=0.0, size_cap=1000, **SMALL)
    tests = iter(o for o in objects if o.image_set == "test" and not o.difficult)
    for o, crop in zip(tests, data["test"].pictures, strict=True):
        photograph = np.asarray(Image.open(root / f"VOCdevkit/VOC2007/JPEGImages/{o.photograph}.jpg"))
        xmin, ymin, xmax, ymax = o.box
        assert np.array_equal(crop, photograph[ymin - 1 : ymax, xmin - 1 : xmax])
    wide = load_voc2007(root, pad=0.2, size_cap=1000, **SMALL)
    for o, picture, crop in zip(
        (o for o in objects if o.image_set == "test" and not o.difficult),
        wide["test"].pictures,
        data["test"].pictures,
        strict=True,
    ):
        photograph = Image.open(root / f"VOCdevkit/VOC2007/JPEGImages/{o.photograph}.jpg")
        for axis in (0, 1):  # a fifth on both sides, as far as the photograph goes
            low, high = o.box[axis] - 1, o.box[axis + 2]
            margin = 0.2 * (high - low)
            side = min(photograph.size[axis], high + margin) - max(0, low - margin)
            assert picture.size[axis] == pytest.approx(side, abs=1)
            assert picture.size[axis] >= crop.size[axis]


def test_voc_options(own_devkit):
    root, objects = own_devkit
    everything = load_voc2007(root, **SMALL)
    small = load_voc2007(root, size_cap=30, **SMALL)
    sides = np.concatenate([small.sizes(key) for key in small.splits])
    assert sides.max() == 30
    assert len(sides) == everything.counts().sum()
    large = load_voc2007(root, min_side=60, download=False)
    wanted = sum(not o.difficult and min(o.box[2] - o.box[0], o.box[3] - o.box[1]) + 1 >= 60 for o in objects)
    assert 0 < large.counts().sum() == wanted < everything.counts().sum()
    capped = load_voc2007(root, max_per_class=2, **SMALL).counts()
    assert (capped[:, 0] + capped[:, 1]).max() == capped[:, 2].max() == 2
    other = load_voc2007(root, max_per_class=2, seed=1, **SMALL)
    assert other.counts().sum() == capped.sum()
    with pytest.raises(ValueError, match=r"no crop of trainval is left: .* min_side=500"):
        load_voc2007(root, min_side=500, download=False)
    for bad in ({"size_cap": 0}, {"min_side": 0}, {"pad": -1}, {"max_per_class": 0}, {"valid_fraction": 1}):
        with pytest.raises(ValueError, match=next(iter(bad)) if "valid_fraction" not in bad else "share"):
            load_voc2007(root, **SMALL | bad)


def test_voc_is_read_from_the_cache_the_second_time(own_devkit):
    root, _ = own_devkit
    first = load_voc2007(root, **SMALL)
    shutil.rmtree(root / "VOCdevkit")  # nothing else is needed any more
    again = load_voc2007(root, **SMALL)
    assert again.content_hash == first.content_hash
    assert [s.sources for s in again.splits.values()] == [s.sources for s in first.splits.values()]
    with pytest.raises(FileNotFoundError, match=r"is missing: Pascal VOC 2007 is not .* download=True"):
        load_voc2007(root, seed=5, **SMALL)  # other crops, another file


@pytest.mark.parametrize("damage", ["flip", "cut", "text"])
def test_a_damaged_cache_is_made_anew(own_devkit, damage):
    root, _ = own_devkit
    first = load_voc2007(root, **SMALL)
    (cache,) = root.glob("*.npz")
    content = bytearray(cache.read_bytes())
    content[len(content) // 2] ^= 255
    new = {"flip": content, "cut": content[: len(content) // 2], "text": b"no arrays"}[damage]
    cache.write_bytes(new)
    with pytest.warns(UserWarning, match=rf"{cache.name} is damaged and is made anew"):
        again = load_voc2007(root, **SMALL)
    assert again.content_hash == first.content_hash
    assert load_voc2007(root, **SMALL).content_hash == first.content_hash  # and no warning


def test_a_cache_that_cannot_be_written_costs_only_time(own_devkit, monkeypatch):
    def full(*arguments, **arrays):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.warns(UserWarning, match=r"npz cannot be written.*No space left"):
        data = load_voc2007(own_devkit[0], **SMALL)
    assert data.counts().sum() > 0
    assert not list(own_devkit[0].glob("*.tmp"))


def test_photographs_and_boxes_that_cannot_be_read_are_left_out(own_devkit):
    root, objects = own_devkit
    base = root / "VOCdevkit" / "VOC2007"
    content = (base / "JPEGImages" / "000003.jpg").read_bytes()
    (base / "JPEGImages" / "000003.jpg").write_bytes(content[:400])
    (base / "JPEGImages" / "000005.jpg").unlink()
    (base / "Annotations" / "000014.xml").write_text("<annotation>")
    with pytest.warns(
        UserWarning, match=r"3 files left out: .*000003\.jpg.*000005\.jpg.*000014\.xml"
    ) as caught:
        data = load_voc2007(root, **SMALL)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    gone = {"000003", "000005", "000014"}
    assert data.counts().sum() == sum(not o.difficult and o.photograph not in gone for o in objects)


# ---- fetching ----------------------------------------------------------------------------------------------


@pytest.fixture
def mirror(devkit, tmp_path, monkeypatch):
    """A folder with the tars of the fake devkit, and its address."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    tars = {"trainval": "trainval.tar", "test": "test.tar"}
    fake_tars(devkit[0], folder, tars)
    sums = {key: (name, hashlib.md5((folder / name).read_bytes()).hexdigest()) for key, name in tars.items()}
    monkeypatch.setattr(voc, "VOC_TARS", sums)
    return folder


@pytest.fixture
def address(serve):
    return lambda folder: serve(folder) + "/"


def complete(root):
    base = root / "VOCdevkit" / "VOC2007"
    return len(list((base / "JPEGImages").glob("*.jpg"))) == len(list((base / "Annotations").glob("*"))) == 16


def test_fetch_brings_and_unpacks_both_tars_once(mirror, address, tmp_path):
    root = tmp_path / "new" / "voc"
    assert fetch_voc2007(str(root), (address(tmp_path / "gone"), address(mirror))) == root
    assert complete(root)
    shutil.rmtree(mirror)
    fetch_voc2007(root, ())  # neither fetched nor unpacked again
    assert load_voc2007(root, min_side=8).counts().sum() > 0


def test_without_network_it_says_what_can_be_done(mirror, address, tmp_path):
    (mirror / "trainval.tar").write_bytes(b"a page of a firewall")
    with pytest.raises(ConnectionError) as caught:
        fetch_voc2007(tmp_path, (address(tmp_path / "gone"), address(mirror)))
    text = str(caught.value)
    assert text.startswith("Pascal VOC 2007 could not be fetched")
    assert text.count("trainval.tar: ") == 2
    assert "corrupted" in text
    assert f"fetch trainval.tar with a browser and put it into {tmp_path}" in text


def test_tars_placed_by_hand_are_used_and_interrupted_unpacking_is_repeated(mirror, tmp_path):
    for name in ("trainval.tar", "test.tar"):
        shutil.copy(mirror / name, tmp_path / name)
    fetch_voc2007(tmp_path, mirrors=())
    assert complete(tmp_path)
    next((tmp_path / "VOCdevkit" / "VOC2007" / "JPEGImages").iterdir()).unlink()
    fetch_voc2007(tmp_path, mirrors=())
    assert complete(tmp_path)


# ---- Caltech-101 -------------------------------------------------------------------------------------------


def test_caltech_takes_the_largest_classes(tmp_path):
    fake_caltech(tmp_path)
    data = load_caltech101(tmp_path, n_classes=3, download=False)
    assert data.classes == ("Faces", "airplanes", "bonsai")
    assert data.counts().sum(axis=1).tolist() == [CALTECH_SIZES[name] for name in data.classes]
    assert data.counts().tolist() == [[4, 2, 2], [6, 2, 2], [3, 1, 1]]
    for part in data.splits.values():
        for picture, label, source in zip(part.pictures, part.labels, part.sources, strict=True):
            assert source.startswith(data.classes[label] + "/")
            with Image.open(tmp_path / "caltech101" / "101_ObjectCategories" / source) as stored:
                assert np.array_equal(picture, stored.convert("RGB"))
    shutil.rmtree(tmp_path / "caltech101")
    again = load_caltech101(tmp_path, n_classes=3, download=False)
    assert (again.content_hash, again.classes) == (data.content_hash, data.classes)
    with pytest.raises(FileNotFoundError, match=r"download=True, or put caltech-101\.zip into"):
        load_caltech101(tmp_path, n_classes=3, download=False, seed=1)


def test_caltech_refuses_more_classes_than_there_are(tmp_path):
    fake_caltech(tmp_path)
    with pytest.raises(ValueError, match=r"n_classes=5, but .* holds only 4 classes"):
        load_caltech101(tmp_path, n_classes=5, download=False)


def test_caltech_leaves_out_what_cannot_be_read(tmp_path):
    fake_caltech(tmp_path)
    (tmp_path / "caltech101" / "101_ObjectCategories" / "Faces" / "image_0002.jpg").write_text("no")
    with pytest.warns(UserWarning, match=r"1 file left out: .*image_0002\.jpg"):
        data = load_caltech101(tmp_path, n_classes=3, download=False)
    assert data.counts().sum(axis=1).tolist() == [7, 10, 5]


def test_caltech_is_fetched_and_unpacked(mirror, address, tmp_path, monkeypatch):
    fake_caltech(tmp_path / "source")
    path = mirror / "caltech-101.zip"
    fake_caltech_zip(tmp_path / "source", path)
    monkeypatch.setattr(voc, "CALTECH_ZIP", (path.name, hashlib.md5(path.read_bytes()).hexdigest()))
    monkeypatch.setattr(voc, "CALTECH_MIRRORS", (address(tmp_path / "gone"),))
    with pytest.raises(ConnectionError, match=r"Caltech-101 could not be fetched(.|\n)*caltech101"):
        load_caltech101(tmp_path / "caltech", n_classes=3)
    monkeypatch.setattr(voc, "CALTECH_MIRRORS", (address(mirror),))
    data = load_caltech101(tmp_path / "caltech", n_classes=3)
    assert data.counts().sum(axis=1).tolist() == [8, 10, 5]
    assert not (tmp_path / "caltech" / "caltech101" / "unpacking").exists()
    path.unlink()
    load_caltech101(tmp_path / "caltech", n_classes=2)  # unpacked already
