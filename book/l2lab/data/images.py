"""Pictures of different sizes: icons that ship with the package, photographs that torchvision fetches.

They stay PIL pictures, each of its own size, until :func:`letterbox` (all made square) or :func:`pad_batch`
(none resized) turns them into a tensor.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import itertools
import xml.etree.ElementTree as ET
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from PIL import Image, ImageOps

from .. import checks

if TYPE_CHECKING:
    import torch

# The names and the order of Pascal VOC.
VOC_CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train"),
    "tvmonitor",
)
SIZE_CAP = 128  # longest side of a crop of VOC in pixels; larger ones are reduced
MIN_SIDE = 32  # objects of VOC with a shorter side of fewer pixels are left out
MARGIN = 0.05  # on every side of a crop, as a share of the box
# Crops of a class of VOC that are kept, in trainval and again in test; else a third of all were persons.
MAX_PER_CLASS = 600


@dataclass(frozen=True, eq=False, repr=False)
class PictureSplit:
    """The training, validation or test part of a :class:`PictureSet`."""

    pictures: tuple[Image.Image, ...]
    labels: np.ndarray  # class numbers, int64
    groups: np.ndarray  # what must not be split: the family of an icon, the photograph of a crop
    sources: tuple[str, ...]  # file (and box) that a picture comes from

    def __len__(self) -> int:
        return len(self.pictures)

    def take(self, rows: np.ndarray) -> PictureSplit:
        """Choose some of the pictures, by numbers or by a mask, as in NumPy."""
        index = np.arange(len(self))[rows]
        pictures, sources = (tuple(all_of[i] for i in index) for all_of in (self.pictures, self.sources))
        return PictureSplit(pictures, self.labels[index], self.groups[index], sources)


@dataclass(frozen=True, eq=False, repr=False)
class PictureSet:
    """Labelled pictures of different sizes, in splits that share no group: ``data["train"].pictures``.

    Parameters
    ----------
    name : str
        Short name, also used in result files.
    classes : tuple of str
        Names of the classes, in the order of their numbers.
    splits : dict of str
        ``"train"``, ``"valid"`` and ``"test"``, each with `pictures` (a tuple of PIL.Image.Image), `labels`
        (their class numbers), `groups` (what must not be split) and `sources` (file and box). Methods take
        one of these names as `split`.
    """

    name: str
    classes: tuple[str, ...]
    splits: Mapping[str, PictureSplit]

    def __post_init__(self) -> None:
        groups, times = np.unique(
            np.concatenate([np.unique(split.groups) for split in self.splits.values()]), return_counts=True
        )
        if (times > 1).any():
            raise ValueError(f"group {str(groups[times > 1][0])!r} is in two splits")

    def __getitem__(self, split: str) -> PictureSplit:
        return self.splits[split]

    def sizes(self, split: str) -> np.ndarray:
        """Width and height in pixels of the pictures of a split, shape (n, 2)."""
        return np.array([picture.size for picture in self[split].pictures], dtype=np.int64)

    def counts(self) -> np.ndarray:
        """Numbers of pictures, shape (n_classes, n_splits): rows as `classes`, columns as `splits`."""
        columns = [np.bincount(s.labels, minlength=len(self.classes)) for s in self.splits.values()]
        return np.stack(columns, axis=1)

    @property
    def content_hash(self) -> str:
        """First 16 hex digits of a SHA-256 over classes, splits, labels, groups and all pixels.

        Pictures from PNG files give the same hash on every machine; JPEG decoders may differ in last bits.
        """
        digest = hashlib.sha256(repr(self.classes).encode())
        for key, split in self.splits.items():
            digest.update(f"{key} {split.labels.tolist()} {split.groups.tolist()}".encode())
            for picture in split.pictures:
                digest.update(f"{picture.mode} {picture.size} {picture.getpalette()}".encode())
                digest.update(picture.tobytes())
        return digest.hexdigest()[:16]

    def __repr__(self) -> str:
        sizes = ", ".join(f"{key} {len(split)}" for key, split in self.splits.items())
        sides = np.concatenate([self.sizes(key) for key in self.splits])
        (w0, h0), (w1, h1) = sides.min(axis=0), sides.max(axis=0)
        return (
            f"PictureSet({self.name}: {len(self.classes)} classes, {w0}–{w1} × {h0}–{h1} pixels; {sizes}; "
            f"hash {self.content_hash})"
        )


def open_picture(path: str | Path | BinaryIO) -> Image.Image:
    """Read one picture completely, upright as its camera meant it.

    Parameters
    ----------
    path : str, Path or binary file
        What to read: any format that Pillow knows. Of an animation the first frame is taken.

    Returns
    -------
    PIL.Image.Image
        In the mode that the file has. An error (FileNotFoundError, or ValueError if it is no picture, cut off
        or damaged) names the file.
    """
    name = path if isinstance(path, str | Path) else getattr(path, "name", "the picture")
    try:
        with Image.open(path) as file:
            file.load()
            # notes of the camera that nobody can read, wrong in as many ways as there are, turn nothing
            with contextlib.suppress(Exception):
                return ImageOps.exif_transpose(file)
            return file.copy()
    except FileNotFoundError:
        raise FileNotFoundError(f"{name}: there is no such file") from None
    # Damaged files make the decoders of Pillow raise nearly anything.
    except Exception as error:
        raise ValueError(f"{name} cannot be read as a picture: {error}") from error


def _pixels(picture: Image.Image, channels: int, longest: int | None = None) -> np.ndarray:
    """Give a picture of any mode as uint8 (height, width, channels), perhaps scaled to a longest side."""
    if channels not in (1, 3):
        raise ValueError(f"channels must be 1 (grey) or 3 (RGB), got {channels!r}")
    if picture.mode.startswith("I"):
        grey = np.clip(np.asarray(picture).astype(np.float64), 0, 65535) / 257  # of 16 bits 65535 is white
        picture = Image.fromarray(np.rint(grey).astype(np.uint8))
    if "transparency" in picture.info or picture.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    picture = picture.convert("L" if channels == 1 else "RGB")
    if longest is not None:
        picture = _resize(picture, longest)
    return np.asarray(picture).reshape(picture.height, picture.width, channels)


def _resize(picture: Image.Image, longest: int) -> Image.Image:
    side = max(picture.size)
    method = Image.Resampling.BOX if side >= longest else Image.Resampling.BICUBIC
    return picture.resize(tuple(max(1, round(s * longest / side)) for s in picture.size), method)


def load_pictograms20(sealed: bool = False) -> PictureSet:
    """Pictograms-20: 1,625 icons of 20 classes and 853 sizes, drawn by 87 families of free icon sets.

    The classes have the names and the order of Pascal VOC, but these are drawings and not Pascal VOC. The
    test pictures are those of 29 families that drew none of the others; the validation pictures, a fifth of
    the rest, are cut off by family, too: what is asked is whether a network knows a cow in a hand that it has
    never seen. The authors of the icons and their licences (MIT, Apache-2.0, ISC, CC0, CC BY, and of sealed
    ones CC BY-SA and OFL, too) are listed in ``l2lab/data/pictograms20/ATTRIBUTION.csv``.

    Parameters
    ----------
    sealed : bool
        Add 321 pictures of 31 more families, which no setting of this book has seen: ``l2lab.studies.sealed``
        opens them in its last step, and whoever wants to use them so, too, leaves them alone until then.

    Returns
    -------
    PictureSet
        With the splits "train", "valid" and "test", and perhaps "sealed"; `groups` are the families.
    """
    folder = resources.files(__package__).joinpath("pictograms20")
    table = (folder / "ATTRIBUTION.csv").read_text("utf-8")
    families = {row["set"]: row["family"] for row in csv.DictReader(io.StringIO(table))}
    parts: dict[str, list] = {"train": [], "test": []} | ({"sealed": []} if sealed else {})
    for file_name in ("pictograms20.zip", "sealed.zip")[: len(parts) - 1]:
        with zipfile.ZipFile(io.BytesIO((folder / file_name).read_bytes())) as archive:
            for name in archive.namelist():
                part, label, file = name.split("/")
                picture = open_picture(io.BytesIO(archive.read(name)))
                picture = picture.convert("RGB") if picture.mode == "P" else picture
                family = families[file.partition("__")[0]]
                parts[part].append((picture, VOC_CLASSES.index(label), family, name))
    return _set_of("pictograms20", **parts, tries=1000)


def load_voc2007(root: str | Path = "data/voc2007") -> PictureSet:
    """Objects cut from the photographs of Pascal VOC 2007: 20 classes, every crop of its own size.

    Objects that VOC marks as difficult are left out, and small ones. Training and validation crops come from
    the official image set "trainval" and share no photograph, test crops come from the image set "test"
    (Everingham et al., IJCV 88, 2010). The photographs are from Flickr and under its terms: do not pass the
    crops on.

    Parameters
    ----------
    root : str or Path
        Folder that holds ``VOCdevkit``, or shall hold it; the two archives may be put there by hand.

    Returns
    -------
    PictureSet
        With the splits "train", "valid" and "test"; `groups` are the numbers of the photographs.
    """
    parts = {"train": _voc_crops(Path(root), "trainval"), "test": _voc_crops(Path(root), "test")}
    return _set_of("voc2007", **parts, tries=100)


def _voc_crops(root: Path, image_set: str) -> list[tuple[Image.Image, int, str, str]]:
    from torchvision.datasets import VOCDetection

    listed = root / "VOCdevkit" / "VOC2007" / "ImageSets" / "Main" / f"{image_set}.txt"
    photographs = VOCDetection(root, year="2007", image_set=image_set, download=not listed.exists())
    objects = []
    for path, annotation in zip(photographs.images, photographs.annotations, strict=True):
        content = photographs.parse_voc_xml(ET.parse(annotation).getroot())
        for thing in content["annotation"]["object"]:
            x0, y0, x1, y1 = (float(thing["bndbox"][key]) for key in ("xmin", "ymin", "xmax", "ymax"))
            box = (x0 - 1, y0 - 1, x1, y1)  # as Pillow counts: from 0, the end left out
            if thing.get("difficult") != "1" and min(box[2] - box[0], box[3] - box[1]) >= MIN_SIDE:
                objects.append((Path(path), VOC_CLASSES.index(thing["name"]), box))
    labels = np.array([label for _, label, _ in objects])
    order = np.random.default_rng(0).permutation(len(objects))
    kept = sorted(i for c in np.unique(labels) for i in order[labels[order] == c][:MAX_PER_CLASS].tolist())
    rows = []
    for path, found in itertools.groupby((objects[i] for i in kept), key=lambda o: o[0]):
        picture = open_picture(path).convert("RGB")
        for _, label, (x0, y0, x1, y1) in found:
            dx, dy = MARGIN * (x1 - x0), MARGIN * (y1 - y0)
            left, top = max(0, int(x0 - dx)), max(0, int(y0 - dy))
            right, bottom = min(picture.width, round(x1 + dx)), min(picture.height, round(y1 + dy))
            crop = picture.crop((left, top, right, bottom))
            crop = crop if max(crop.size) <= SIZE_CAP else _resize(crop, SIZE_CAP)
            rows.append((crop, label, path.stem, f"{path.name} {left},{top}–{right},{bottom}"))
    return rows


def _set_of(name: str, *, tries: int, **parts: list[tuple[Image.Image, int, str, str]]) -> PictureSet:
    """Collect (picture, label, group, source) of parts; validation groups are cut off the part "train"."""
    columns = {key: tuple(zip(*rows, strict=True)) for key, rows in parts.items()}
    splits = {
        key: PictureSplit(p, np.array(y, dtype=np.int64), np.array(g), s)
        for key, (p, y, g, s) in columns.items()
    }
    rest = splits.pop("train")
    held_out = hold_out_groups(rest.labels, rest.groups, 0.2, tries=tries)
    return PictureSet(
        name, VOC_CLASSES, {"train": rest.take(~held_out), "valid": rest.take(held_out), **splits}
    )


def hold_out_groups(
    labels: np.ndarray, groups: np.ndarray, fraction: float, *, tries: int, n_groups: int | None = None
) -> np.ndarray:
    """Mark rows of whole groups (of exactly `n_groups`) that hold about the same share of every class.

    The groups are put in `tries` random orders; of all beginnings of these orders the one is taken whose
    share of a class is nowhere far from `fraction`.
    """
    names, group_of_row = np.unique(groups, return_inverse=True)
    by_class = (group_of_row[labels == c] for c in np.unique(labels))
    table = np.stack([np.bincount(groups, minlength=len(names)) for groups in by_class], axis=1)
    total = table.sum(axis=0)
    best, chosen = np.inf, None
    for attempt in range(tries):
        order = np.random.default_rng(attempt).permutation(len(names))
        held = table[order].cumsum(axis=0)
        distance = np.abs(held / total - fraction).max(axis=1)
        distance[((held == 0) | (held == total)).any(axis=1)] = np.inf
        if n_groups is not None:
            distance[np.arange(1, len(names) + 1) != n_groups] = np.inf
        length = int(distance.argmin())
        if distance[length] < best:
            best, chosen = distance[length], order[: length + 1]
    if chosen is None:
        raise ValueError(f"no choice among {len(names)} groups leaves pictures of every class on both sides")
    return np.isin(group_of_row, chosen)


def letterbox(pictures: Sequence[Image.Image], size: int, channels: int = 1) -> torch.Tensor:
    """Make all pictures squares of the same size: aspect kept, centred, the rest filled with white.

    Parameters
    ----------
    pictures : sequence of PIL.Image.Image, length n
        Of any sizes and modes; transparency lets white through.
    size : int
        Side of the squares in pixels.
    channels : {1, 3}
        Grey or RGB.

    Returns
    -------
    torch.Tensor of float32, shape (n, channels, size, size)
        Plain pixels between 0 (black) and 1 (white).
    """
    import torch

    checks.whole("size", size, 1)
    canvases = np.full((len(pictures), size, size, channels), 255, dtype=np.uint8)
    for canvas, picture in zip(canvases, pictures, strict=True):
        pixels = _pixels(picture, channels, size)
        top, left = ((size - side) // 2 for side in pixels.shape[:2])
        canvas[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    return torch.from_numpy(canvases.transpose(0, 3, 1, 2).astype(np.float32) / 255)


def pad_batch(pictures: Sequence[Image.Image], channels: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Put pictures into one tensor without resizing any: top left, zeros outside.

    Parameters
    ----------
    pictures, channels : sequence of PIL.Image.Image, int
        As for :func:`letterbox`; at least one picture.

    Returns
    -------
    x : torch.Tensor of float32, shape (n, channels, H, W)
        Pixels between 0 (black) and 1 (white); H and W fit the largest picture.
    mask : torch.Tensor of float32, shape (n, 1, H, W)
        1 inside the picture, 0 outside.
    """
    import torch

    if not len(pictures):
        raise ValueError("give at least one picture")
    W, H = np.max([picture.size for picture in pictures], axis=0)
    x = np.zeros((len(pictures), channels, H, W), dtype=np.float32)
    mask = np.zeros((len(pictures), 1, H, W), dtype=np.float32)
    for row, picture in enumerate(pictures):
        pixels = _pixels(picture, channels)
        h, w = pixels.shape[:2]
        x[row, :, :h, :w] = pixels.transpose(2, 0, 1) / np.float32(255)
        mask[row, :, :h, :w] = 1
    return torch.from_numpy(x), torch.from_numpy(mask)


def standardize(train: torch.Tensor, *others: torch.Tensor, invert: bool = False) -> tuple[torch.Tensor, ...]:
    """Shift and scale pictures with the mean and the standard deviation of the training pictures.

    Parameters
    ----------
    train, *others : torch.Tensor, each of shape (n, c, h, w)
        Training pictures, whose mean and standard deviation per channel are used for all, and others.
    invert : bool, default False
        Take 1 − x first: ink becomes bright on dark, so that the empty paper is the smallest value.

    Returns
    -------
    tuple of torch.Tensor
        As many as were given, in their order.
    """
    import torch

    pictures = [1 - x if invert else x for x in (train, *others)]
    std, mean = torch.std_mean(pictures[0], dim=(0, 2, 3), keepdim=True, correction=0)
    if not bool((std > 1e-6).all()):
        raise ValueError("all training pixels of a channel are alike; there is nothing to scale with")
    return tuple((x - mean) / std for x in pictures)


def size_buckets(sizes: np.ndarray, batch_size: int, seed: int = 0) -> list[np.ndarray]:
    """Batches of pictures of similar sizes, in random order, so that :func:`pad_batch` adds few zeros.

    Parameters
    ----------
    sizes : ndarray of int, shape (n, 2)
        Width and height, as :meth:`PictureSet.sizes` gives them.
    batch_size : int
        Pictures in a batch; one batch may have fewer.
    seed : int, default 0
        Another seed (say, the epoch) gives other batches.

    Returns
    -------
    list of ndarray of int
        Row numbers; every row is in exactly one batch.
    """
    rng = np.random.default_rng(seed)
    order = np.argsort(sizes.max(axis=1) * rng.uniform(0.9, 1.1, len(sizes)))
    batches = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
    return [batches[i] for i in rng.permutation(len(batches))]
