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
from l2lab import data
from l2lab.data import images

PICTOGRAMS = Path(images.__file__).with_name("pictograms20")


@pytest.fixture(scope="module")
def pictograms():
    return data.load_pictograms20()


@pytest.fixture(scope="module")
def credited():
    """The lines of the file that names the makers, by their set."""
    with (PICTOGRAMS / "ATTRIBUTION.csv").open() as file:
        return {row["set"]: row for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def stored():
    """Part, class, set and name of every picture, in the order of the zips."""
    zips = (zipfile.ZipFile(PICTOGRAMS / f"{name}.zip") for name in ("pictograms20", "sealed"))
    names = itertools.chain.from_iterable(archive.namelist() for archive in zips)
    return [re.fullmatch(r"(.+)/(.+)/(.+?)__(.+)\.png", name).groups() for name in names]


def noise(height, width, channels=3, seed=0):
    shape = (height, width, channels) if channels > 1 else (height, width)
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


def test_the_pictograms_are_those_of_the_stored_results_each_under_its_own_label(pictograms):
    # Written down: a change here changes every stored result of the chapter.
    sizes = "10–128 × 12–128 pixels; train 901, valid 212, test 512"
    assert repr(pictograms) == f"PictureSet(pictograms20: 20 classes, {sizes}; hash 977be1336065162b)"
    with zipfile.ZipFile(PICTOGRAMS / "pictograms20.zip") as archive:  # without our code
        for part in pictograms.splits.values():
            for row in (0, len(part) // 2, len(part) - 1):
                assert part.sources[row].split("/")[1] == pictograms.classes[part.labels[row]]
                with archive.open(part.sources[row]) as file, Image.open(file) as picture:
                    assert np.array_equal(picture.convert("RGB"), part.pictures[row].convert("RGB"))


def test_no_family_is_in_two_splits_shares_are_as_asked_and_all_are_credited(pictograms, credited, stored):
    families = [set(part.groups.tolist()) for part in pictograms.splits.values()]
    assert not any(a & b for a, b in itertools.combinations(families, 2))
    assert (len(families[0] | families[1]), len(families[2])) == (58, 29)
    for key, part in pictograms.splits.items():
        for group, source in zip(part.groups, part.sources, strict=True):
            row = credited[re.search(r"([^/]+)__", source)[1]]
            assert (row["family"], row["split"] == "test") == (group, key == "test")
    counts = pictograms.counts()
    assert (counts > 0).all()
    assert np.abs(counts[:, 1] / counts[:, :2].sum(axis=1) - 0.2).max() < 0.08
    drawn = collections.Counter(icon_set for _, _, icon_set, _ in stored)
    assert {icon_set: int(row["images"]) for icon_set, row in credited.items()} == drawn
    for row in credited.values():
        assert row["author"]
        assert row["license_url"].startswith("http")
        assert (PICTOGRAMS / f"LICENSE-{row['license']}.txt").exists(), row["license"]


def test_classes_families_and_split_of_the_committed_pictures_follow_from_the_rules(credited, stored):
    for name, row in credited.items():
        assert make_pictograms.family_of(name) == row["family"], name
        assert row["license"] in make_pictograms.LICENCES | set(make_pictograms.RULES["sealed"]["licences"])
    icons = []
    for _, label, icon_set, name in stored:
        base = make_pictograms.base_name(name)
        assert make_pictograms.CLASS[base] == label
        family = credited[icon_set]["family"]
        icons.append(make_pictograms.Icon(icon_set, name, label, base, family, (0, 0, 24, 24), "", False))
        assert make_pictograms.is_wanted(icons[-1]), (icon_set, name)
    first = [icon for icon, (part, *_) in zip(icons, stored, strict=True) if part != "sealed"]
    assert make_pictograms.split_families(first).tolist() == [part == "test" for part, *_ in stored[:1625]]


def test_the_sealed_pictures_are_by_other_families_and_no_near_duplicates(pictograms):
    more = data.load_pictograms20(sealed=True)
    assert [len(part) for part in more.splits.values()] == [901, 212, 512, 321]
    assert len(set(more["sealed"].groups)) == 31  # PictureSet refuses a family in two splits
    known = (p for part in pictograms.splits.values() for p in part.pictures)
    first = np.stack([make_pictograms.signature(picture.convert("RGB")) for picture in known])
    for picture in more["sealed"].pictures[::8]:
        new = make_pictograms.signature(picture.convert("RGB"))
        assert np.abs(first - new).mean(axis=(1, 2)).min() > 0.03  # they were compared before resizing


def test_hold_out_groups_finds_what_trying_all_choices_finds():
    rng = np.random.default_rng(1)
    labels, groups = rng.integers(0, 3, 60), rng.integers(0, 7, 60)

    def distance(held):
        return max(abs(held[labels == c].mean() - 0.3) for c in range(3))

    chosen = (c for size in range(1, 7) for c in itertools.combinations(range(7), size))
    held = images.hold_out_groups(labels, groups, 0.3, tries=2000)
    assert distance(held) == pytest.approx(min(distance(np.isin(groups, c)) for c in chosen))
    assert not set(groups[held]) & set(groups[~held])


def test_open_picture_names_the_file_that_cannot_be_read(tmp_path):
    with pytest.raises(FileNotFoundError, match=rf"{tmp_path}/none\.png: there is no such file"):
        data.open_picture(tmp_path / "none.png")
    (tmp_path / "cut.txt").write_text("no picture")
    for kind in ("png", "jpg", "gif", "bmp"):
        noise(40, 50).save(tmp_path / f"whole.{kind}")
        content = (tmp_path / f"whole.{kind}").read_bytes()
        (tmp_path / f"cut.{kind}").write_bytes(content[: len(content) // 2])
    for path in tmp_path.glob("cut.*"):
        with pytest.raises(ValueError, match=rf"{path} cannot be read as a picture"):
            data.open_picture(path)


def test_open_picture_turns_what_the_camera_has_turned(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # hold the camera upright: turn by 90 degrees to the right
    picture = Image.new("L", (40, 20), 0)
    picture.paste(255, (0, 0, 20, 20))  # the left half: on top after turning
    picture.save(tmp_path / "turned.jpg", exif=exif)
    grey = np.asarray(data.open_picture(tmp_path / "turned.jpg"))
    assert grey.shape == (40, 20)
    assert grey[:18].min() > 200 > 50 > grey[22:].max()
    picture.save(tmp_path / "odd.png", exif=b"not what a camera writes")  # was refused as a whole
    assert data.open_picture(tmp_path / "odd.png").tobytes() == picture.tobytes()


@pytest.mark.parametrize(("size", "channels"), [(8, 3), (24, 1), (100, 1)])
def test_letterbox_is_pillow_s_contain_in_the_middle(pictograms, channels, size):
    some = pictograms["test"].pictures[::40]
    x = data.letterbox(some, size, channels)
    assert (x.shape, x.dtype) == ((len(some), channels, size, size), torch.float32)
    assert (data.letterbox([Image.new("L", (1, 300), 0)], 8) == 0).sum() == 8  # a line stays
    for picture, got in zip(some, x, strict=True):
        plain = picture.convert("L" if channels == 1 else "RGB")
        method = Image.Resampling.BOX if max(picture.size) >= size else Image.Resampling.BICUBIC
        inner = ImageOps.contain(plain, (size, size), method)
        whole = Image.new(plain.mode, (size, size), "white")
        whole.paste(inner, ((size - inner.width) // 2, (size - inner.height) // 2))
        found = (got * 255).round().permute(1, 2, 0).numpy()
        assert np.array_equal(found, np.asarray(whole).reshape(found.shape))


MODES = {
    # mode -> pixels of a row, wanted grey between 0 and 1, on a white background
    "L": (np.array([[0, 255]], np.uint8), [0, 1]),
    "I;16": (np.array([[0, 65535]], np.uint16), [0, 1]),
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
    x, _ = data.pad_batch([picture], channels)
    assert torch.allclose(x, torch.tensor(wanted, dtype=torch.float32).expand(1, channels, 1, 2), atol=2e-3)


SPLIT = images.PictureSplit((noise(3, 3),), np.array([0]), np.array(["g"]), ("file",))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: data.letterbox([noise(4, 4)], 8, channels=2), "channels must be 1"),
        (lambda: data.letterbox([noise(4, 4)], 0), "size must be"),
        (lambda: data.pad_batch([]), "at least one picture"),
        (lambda: data.standardize(torch.full((3, 1, 4, 4), 0.3)), "nothing to scale with"),
        (lambda: data.PictureSet("x", ("a",), dict.fromkeys("ab", SPLIT)), "'g' is in two splits"),
        (lambda: images.hold_out_groups(np.zeros(2), np.zeros(2), 0.5, tries=9), "class on both sides"),
    ],
)
def test_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("channels", [1, 3])
def test_pad_batch_keeps_every_pixel_and_adds_zeros(channels):
    shapes = [(5, 3), (2, 7), (1, 1)]
    pictures = [noise(h, w, channels, seed=h) for h, w in shapes]
    x, mask = data.pad_batch(pictures, channels)
    assert (x.shape, mask.shape) == ((3, channels, 5, 7), (3, 1, 5, 7))
    assert x.dtype == mask.dtype == torch.float32
    for row, (h, w) in enumerate(shapes):
        pixels = torch.from_numpy(np.array(pictures[row])).reshape(h, w, channels).permute(2, 0, 1)
        assert torch.equal(x[row, :, :h, :w] * 255, pixels.float())
        assert mask[row].sum() == mask[row, 0, :h, :w].sum() == h * w
    assert (x * (1 - mask)).abs().max() == 0


def test_standardize_uses_the_training_pictures_alone():
    train, test = torch.rand(6, 3, 5, 5, generator=torch.Generator().manual_seed(0)), torch.ones(2, 3, 5, 5)
    mean, std = train.mean(dim=(0, 2, 3)), train.std(dim=(0, 2, 3), correction=0)
    z, other = data.standardize(train, test)
    torch.testing.assert_close(z, (train - mean[:, None, None]) / std[:, None, None])
    torch.testing.assert_close(other[0, :, 0, 0], (1 - mean) / std)
    torch.testing.assert_close(data.standardize(train, test, invert=True), (-z, -other))


def test_size_buckets_use_every_row_once_and_save_padding(pictograms):
    sizes = pictograms.sizes("train")

    def padded(batches):
        return sum(sizes[rows].max(axis=0).prod() * len(rows) for rows in batches) / sizes.prod(axis=1).sum()

    batches, other = (data.size_buckets(sizes, 32, seed=seed) for seed in (0, 1))
    assert np.array_equal(np.sort(np.concatenate(batches)), np.arange(len(sizes)))
    assert sorted(map(len, batches), reverse=True)[:-1] == [32] * (len(sizes) // 32)
    order = np.random.default_rng(0).permutation(len(sizes))
    assert padded(batches) < 1.5 < 3 < padded(np.array_split(order, len(batches)))
    assert {frozenset(b.tolist()) for b in batches} != {frozenset(b.tolist()) for b in other}
