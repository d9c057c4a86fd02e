"""Pictures of different sizes: pictograms, tensors, and their maker."""

from __future__ import annotations

import collections
import csv
import itertools
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

import make_pictograms
from l2lab.data import (
    VOC_CLASSES,
    PictureSet,
    PictureSplit,
    flatten,
    hold_out_groups,
    images,
    letterbox,
    load_pictograms20,
    open_picture,
    pad_batch,
    size_buckets,
    standardize,
)

PICTOGRAMS = Path(images.__file__).with_name("pictograms20")


@pytest.fixture(scope="module")
def pictograms():
    return load_pictograms20()


@pytest.fixture(scope="module")
def credited():
    """The lines of the file that names the makers, by their set."""
    with (PICTOGRAMS / "ATTRIBUTION.csv").open() as file:
        return {row["set"]: row for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def stored():
    """Part, class, set and name of every picture, in the order of the zip."""
    with zipfile.ZipFile(PICTOGRAMS / "pictograms20.zip") as archive:
        return [re.fullmatch(r"(.+)/(.+)/(.+?)__(.+)\.png", name).groups() for name in archive.namelist()]


def noise(height, width, channels=3, seed=0):
    shape = (height, width, channels) if channels > 1 else (height, width)
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


def split(*pictures, labels=None, groups=None):
    n = len(pictures)
    return PictureSplit(
        pictures,
        np.zeros(n, np.int64) if labels is None else np.array(labels),
        np.array([f"group {id(pictures)} {i}" for i in range(n)] if groups is None else groups),
        tuple(f"file {i}" for i in range(n)),
    )


# ---- the pictograms ----------------------------------------------------------------------------------------


def test_every_picture_is_under_its_own_label(pictograms):
    """The file names its class; the zip is read a second time, without our code."""
    with zipfile.ZipFile(PICTOGRAMS / "pictograms20.zip") as archive:
        for part in pictograms.splits.values():
            for row in (0, len(part) // 2, len(part) - 1):
                assert part.sources[row].split("/")[1] == VOC_CLASSES[part.labels[row]]
                with archive.open(part.sources[row]) as file, Image.open(file) as picture:
                    assert np.array_equal(picture.convert("RGB"), part.pictures[row].convert("RGB"))


def test_no_family_is_in_two_splits_and_shares_are_as_asked(pictograms, credited):
    families = [set(part.groups.tolist()) for part in pictograms.splits.values()]
    assert not any(a & b for a, b in itertools.combinations(families, 2))
    assert len(families[2]) == 29
    assert len(families[0]) + len(families[1]) == 58
    for key, part in pictograms.splits.items():
        for group, source in zip(part.groups, part.sources, strict=True):
            row = credited[re.search(r"([^/]+)__", source)[1]]
            assert row["family"] == group
            assert (row["split"] == "test") == (key == "test")
    counts = pictograms.counts()
    assert (counts > 0).all()
    assert np.abs(counts[:, 1] / counts[:, :2].sum(axis=1) - 0.2).max() < 0.08


def test_the_pictograms_are_those_of_the_stored_results(pictograms):
    # Written down: a change here changes every stored result of the chapter.
    assert pictograms.content_hash == "977be1336065162b"
    sizes = "10–128 × 12–128 pixels; train 901, valid 212, test 512"
    assert repr(pictograms) == f"PictureSet(pictograms20: 20 classes, {sizes}; hash 977be1336065162b)"


def test_every_set_is_credited_and_every_licence_has_its_text(credited, stored):
    drawn = collections.Counter(icon_set for _, _, icon_set, _ in stored)
    assert {icon_set: int(row["images"]) for icon_set, row in credited.items()} == drawn
    for row in credited.values():
        assert row["author"]
        assert row["license_url"].startswith("http")
        assert (PICTOGRAMS / f"LICENSE-{row['license']}.txt").exists(), row["license"]
    lines = {"CC-BY-4.0": "Section 8 – Interpretation.", "CC-BY-3.0": "Attribution 3.0 Unported"}
    for name, line in lines.items():
        assert line in (PICTOGRAMS / f"LICENSE-{name}.txt").read_text("utf-8")


# ---- sets of pictures --------------------------------------------------------------------------------------


def test_a_picture_set_refuses_a_group_in_two_splits():
    with pytest.raises(ValueError, match=r"group 'me' is in the splits 'train' and 'test'"):
        PictureSet("x", ("a",), {key: split(noise(3, 3), groups=["me"]) for key in ("train", "test")})


def test_the_hash_sees_pixels_sizes_labels_groups_and_splits():
    def hashed(picture, label=0, group="g", key="test"):
        first = split(noise(2, 2), groups=["first"])
        other = split(picture, labels=[label], groups=[group])
        return PictureSet("x", ("a", "b"), {"train": first, key: other}).content_hash

    base, changed = noise(4, 6), noise(4, 6)
    changed.putpixel((5, 3), (0, 0, 0))
    same_bytes = Image.frombytes("RGB", (4, 6), base.tobytes())
    seen = [
        *(hashed(base), hashed(changed), hashed(same_bytes)),
        *(hashed(base, 1), hashed(base, group="h"), hashed(base, key="valid")),
    ]
    assert len(set(seen)) == len(seen)
    assert hashed(base.copy()) == seen[0]


# ---- held out ----------------------------------------------------------------------------------------------


def distance(labels, held, fraction):
    return max(abs(held[labels == c].mean() - fraction) for c in np.unique(labels))


@pytest.mark.parametrize("n_groups", [None, 3])
def test_hold_out_groups_finds_what_trying_all_choices_finds(n_groups):
    rng = np.random.default_rng(1)
    labels, groups = rng.integers(0, 3, 60), rng.integers(0, 7, 60)
    best = min(
        distance(labels, np.isin(groups, chosen), 0.3)
        for size in (range(1, 7) if n_groups is None else [n_groups])
        for chosen in itertools.combinations(range(7), size)
    )
    held = hold_out_groups(labels, groups, 0.3, tries=2000, n_groups=n_groups)
    assert distance(labels, held, 0.3) == pytest.approx(best)
    assert not set(groups[held]) & set(groups[~held])
    assert n_groups in (None, len(set(groups[held])))
    again = hold_out_groups(labels, groups.astype(str), 0.3, tries=2000, n_groups=n_groups)
    assert np.array_equal(held, again)


def test_hold_out_groups_never_empties_a_class():
    # 0.05 of two groups would be none at all.
    labels, groups = np.array([0, 0, 1, 1]), np.array(["a", "b", "a", "b"])
    assert hold_out_groups(labels, groups, 0.05).sum() == 2
    with pytest.raises(ValueError, match="every class on both sides; give every class pictures of at least"):
        hold_out_groups(np.array([0, 0, 1]), np.array(["a", "b", "c"]), 0.5)


# ---- reading -----------------------------------------------------------------------------------------------


def test_open_picture_names_the_file_that_cannot_be_read(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=rf"{tmp_path}/none\.png: there is no such file"):
        open_picture(tmp_path / "none.png")
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(ValueError, match=rf"{tmp_path}/text\.png cannot be read as a picture"):
        open_picture(tmp_path / "text.png")
    for kind in ("png", "jpg", "gif", "bmp"):
        noise(40, 50).save(tmp_path / f"whole.{kind}")
        content = (tmp_path / f"whole.{kind}").read_bytes()
        (tmp_path / f"cut.{kind}").write_bytes(content[: len(content) // 2])
        with pytest.raises(ValueError, match=rf"cut\.{kind} cannot be read as a picture"):
            open_picture(tmp_path / f"cut.{kind}")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1500)  # half of what the picture has: a warning, no error
    with pytest.raises(ValueError, match=r"whole\.png cannot be read as a picture: .*decompression bomb"):
        open_picture(tmp_path / "whole.png")


def test_open_picture_turns_what_the_camera_has_turned(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # hold the camera upright: turn by 90 degrees to the right
    picture = Image.new("RGB", (40, 20), "black")
    picture.paste((255, 255, 255), (0, 0, 20, 20))  # the left half: on top after turning
    picture.save(tmp_path / "turned.jpg", exif=exif)
    opened = open_picture(tmp_path / "turned.jpg")
    assert opened.size == (20, 40)
    grey = np.asarray(opened.convert("L"))
    assert grey[:18].min() > 200
    assert grey[22:].max() < 50


# ---- tensors -----------------------------------------------------------------------------------------------


def test_notes_of_a_camera_that_cannot_be_read_turn_nothing(tmp_path):
    """A PNG whose eXIf chunk is no Exif was refused as a whole."""
    picture = noise(3, 5)
    picture.save(tmp_path / "odd.png", exif=b"not what a camera writes")
    assert open_picture(tmp_path / "odd.png").tobytes() == picture.tobytes()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [8, 24, 100])
def test_letterbox_is_pillow_s_contain_in_the_middle(pictograms, channels, size):
    some = pictograms["test"].pictures[::40]
    x = letterbox(some, size, channels)
    assert x.shape == (len(some), channels, size, size)
    assert x.dtype == torch.float32
    for picture, got in zip(some, x, strict=True):
        plain = picture.convert("L" if channels == 1 else "RGB")
        method = Image.Resampling.BOX if max(picture.size) >= size else Image.Resampling.BICUBIC
        inner = np.asarray(ImageOps.contain(plain, (size, size), method))
        w, h = ImageOps.contain(plain, (size, size)).size
        left, top = (size - w) // 2, (size - h) // 2
        found = (got[:, top : top + h, left : left + w] * 255).round().permute(1, 2, 0).numpy()
        assert np.array_equal(found, inner.reshape(found.shape))
        rest = got.clone()
        rest[:, top : top + h, left : left + w] = 1
        assert (rest == 1).all()


def test_letterbox_averages_blocks_and_keeps_the_aspect():
    picture = noise(20, 40, channels=1)
    x = letterbox([picture], 10)[0, 0] * 255
    blocks = np.asarray(picture, float).reshape(5, 4, 10, 4).mean(axis=(1, 3))
    assert np.abs(x[2:7].numpy() - blocks).max() < 1  # Pillow rounds twice, by rows and by columns
    assert x[:2].min() == x[7:].min() == 255


MODES = {
    # mode, pixels -> wanted grey between 0 and 1, on a white background
    "L": (np.array([[0, 255]], np.uint8), [0, 1]),
    "I;16": (np.array([[0, 65535]], np.uint16), [0, 1]),
    "I": (np.array([[-5, 32896]], np.int32), [0, 128 / 255]),
    "LA": (np.array([[[0, 255], [0, 0]]], np.uint8), [0, 1]),
    "RGBA": (np.array([[[255, 255, 255, 255], [0, 0, 0, 102]]], np.uint8), [1, 0.6]),
    "CMYK": (np.array([[[0, 0, 0, 0], [0, 0, 0, 255]]], np.uint8), [1, 0]),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("channels", [1, 3])
def test_all_modes_become_plain_pixels(mode, channels):
    pixels, wanted = MODES[mode]
    picture = Image.fromarray(pixels) if mode != "CMYK" else Image.frombytes("CMYK", (2, 1), pixels.tobytes())
    assert picture.mode == mode
    x, _ = pad_batch([picture], channels)
    assert torch.allclose(x, torch.tensor(wanted, dtype=torch.float32).expand(1, channels, 1, 2), atol=2e-3)
    before = picture.copy()
    flatten(picture, channels)
    assert before == picture


def test_a_transparent_grey_of_16_bits_is_white(tmp_path):
    """PNG names the one value that is transparent."""
    picture = Image.fromarray(np.array([[0, 300, 65535]], np.uint16))
    picture.save(tmp_path / "deep.png", transparency=300)
    opened = open_picture(tmp_path / "deep.png")
    assert opened.mode.startswith("I")
    assert np.asarray(flatten(opened)).tolist() == [[0, 255, 255]]


def test_palettes_black_and_white_and_transparency():
    palette = Image.new("P", (2, 1))
    palette.putpalette([255, 0, 0, 0, 0, 255])
    palette.putpixel((1, 0), 1)
    assert pad_batch([palette], 3)[0].flatten().tolist() == [1, 0, 0, 0, 0, 1]  # red, blue by channel
    assert pad_batch([Image.new("1", (1, 1), 1)])[0].item() == 1
    palette.info["transparency"] = 1
    assert pad_batch([palette], 3)[0].flatten().tolist() == [1, 1, 0, 1, 0, 1]  # white behind the blue
    assert letterbox([Image.new("RGBA", (3, 3), (0, 0, 0, 0))], 5, 3).min() == 1


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (2, 999)])
def test_tiny_and_extreme_shapes(shape):
    picture = Image.new("L", shape, 0)
    x = letterbox([picture], 8)
    assert x.min() == 0  # the ink is still there
    longest = max(shape)
    inner = [max(1, round(side * 8 / longest)) for side in shape]
    assert (x == 0).sum() == inner[0] * inner[1]


def test_tensors_refuse_what_they_cannot_do():
    grey = noise(4, 4, 1)
    for make in (lambda p, channels: letterbox(p, 8, channels), pad_batch):
        with pytest.raises(ValueError, match="channels must be 1"):
            make([grey], channels=2)
    with pytest.raises(ValueError, match="at least one picture"):
        pad_batch([])
    with pytest.raises(ValueError, match="size must be"):
        letterbox([grey], 0)


@pytest.mark.parametrize("channels", [1, 3])
def test_pad_batch_keeps_every_pixel_and_adds_zeros(channels):
    shapes = [(5, 3), (2, 7), (1, 1)]
    pictures = [noise(h, w, channels, seed=h) for h, w in shapes]
    x, mask = pad_batch(pictures, channels)
    assert x.shape == (3, channels, 5, 7)
    assert mask.shape == (3, 1, 5, 7)
    assert x.dtype == mask.dtype == torch.float32
    for row, (h, w) in enumerate(shapes):
        pixels = torch.from_numpy(np.array(pictures[row])).reshape(h, w, channels).permute(2, 0, 1)
        assert torch.equal(x[row, :, :h, :w] * 255, pixels.float())
        assert mask[row].sum() == mask[row, 0, :h, :w].sum() == h * w
    assert (x * (1 - mask)).abs().max() == 0


def test_standardize_uses_the_training_pictures_alone():
    train, test = torch.rand(6, 3, 5, 5, generator=torch.Generator().manual_seed(0)), torch.ones(2, 3, 5, 5)
    z, other = standardize(train, test)
    assert torch.allclose(z.mean(dim=(0, 2, 3)), torch.zeros(3), atol=1e-6)
    assert torch.allclose(z.std(dim=(0, 2, 3), correction=0), torch.ones(3), atol=1e-5)
    expected = (1 - train.mean(dim=(0, 2, 3))) / train.std(dim=(0, 2, 3), correction=0)
    torch.testing.assert_close(other[0, :, 0, 0], expected)
    inverted, white = standardize(train, test, invert=True)
    assert torch.allclose(inverted, -z, atol=1e-5)
    assert (white < inverted.amin(dim=(0, 2, 3), keepdim=True) + 1e-6).all()  # paper is the smallest value
    with pytest.raises(ValueError, match="nothing to scale with"):
        standardize(torch.full((3, 1, 4, 4), 0.3), train)


def test_size_buckets_use_every_row_once_and_save_padding(pictograms):
    sizes = pictograms.sizes("train")

    def padded(batches):
        return sum(sizes[rows].max(axis=0).prod() * len(rows) for rows in batches) / sizes.prod(axis=1).sum()

    batches = size_buckets(sizes, 32, seed=0)
    assert np.array_equal(np.sort(np.concatenate(batches)), np.arange(len(sizes)))
    assert sorted(map(len, batches), reverse=True)[:-1] == [32] * (len(sizes) // 32)
    order = np.random.default_rng(0).permutation(len(sizes))
    assert padded(batches) < 1.5 < 3 < padded(np.array_split(order, len(batches)))
    again, other = size_buckets(sizes, 32, seed=0), size_buckets(sizes, 32, seed=1)
    assert all(np.array_equal(a, b) for a, b in zip(batches, again, strict=True))
    assert {frozenset(b.tolist()) for b in batches} != {frozenset(b.tolist()) for b in other}
    # The batches are not in the order of their sizes.
    longest = [sizes[rows].max() for rows in batches]
    assert longest != sorted(longest)


# ---- the maker of the pictograms ---------------------------------------------------------------------------


def icon(icon_set, name, label, base, family):
    return make_pictograms.Icon(icon_set, name, label, base, family, (0, 0, 24, 24), "", False)


def test_the_families_and_classes_of_the_committed_pictures_follow_from_the_rules(credited, stored):
    for name, row in credited.items():
        assert make_pictograms.family_of(name) == row["family"], name
        assert row["license"] in make_pictograms.LICENCES
    assert list(make_pictograms.RULES["names"]) == list(VOC_CLASSES)
    for _, label, icon_set, name in stored:
        base = make_pictograms.base_name(name)
        assert make_pictograms.class_by_name()[base] == label
        family = make_pictograms.family_of(icon_set)
        assert make_pictograms.is_wanted(icon(icon_set, name, label, base, family)), (icon_set, name)


def test_the_split_of_the_committed_pictures_is_the_one_that_is_found(credited, stored):
    """Family, class and part of every picture, in the order of the zip, from the files alone."""
    icons = [icon(icon_set, "", label, "", credited[icon_set]["family"]) for _, label, icon_set, _ in stored]
    held_out = make_pictograms.split_families(icons)
    assert held_out.tolist() == [part == "test" for part, *_ in stored]
