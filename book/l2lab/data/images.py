"""Pictures of different sizes: sets of them, and ways to make tensors of them.

:func:`load_pictograms20` reads the drawings that ship with the package, :func:`load_folder` your own files.
Pictures stay PIL pictures, each of its own size, until :func:`letterbox` (all made square) or
:func:`pad_batch` (none resized) turns them into a tensor.
"""

from __future__ import annotations

import csv
import hashlib
import io
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from PIL import Image, ImageColor, ImageOps

from .problem import at_least

if TYPE_CHECKING:
    import torch

# The names and the order of Pascal VOC.
VOC_CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train"),
    "tvmonitor",
)
PICTOGRAMS_SHA256 = "9fdf1fd59f700ce30b7589d0fa54b6451fc1b6db3956f7a6fbf937a4faaa3826"


@dataclass(frozen=True, eq=False, repr=False)
class PictureSplit:
    """Some labelled pictures: the training, validation or test part of a :class:`PictureSet`.

    Parameters
    ----------
    pictures : tuple of PIL.Image.Image, length n
        Each of its own size and mode.
    labels : ndarray of int64, shape (n,)
        Class numbers.
    groups : ndarray of str, shape (n,)
        What belongs together and must not be split: the family of an icon, the photograph of a crop.
    sources : tuple of str, length n
        File (and box) that a picture comes from; errors and captions name it.

    Raises
    ------
    ValueError
        If the lengths differ or the labels are not integers.
    """

    pictures: tuple[Image.Image, ...]
    labels: np.ndarray
    groups: np.ndarray
    sources: tuple[str, ...]

    def __post_init__(self) -> None:
        n = len(self.pictures)
        if self.labels.shape != (n,) or self.groups.shape != (n,) or len(self.sources) != n:
            raise ValueError(
                f"{n} pictures need {n} labels, groups and sources, got {self.labels.shape}, "
                f"{self.groups.shape} and {len(self.sources)}"
            )
        if self.labels.dtype.kind not in "iu":
            raise ValueError(f"labels must be integers (class numbers), got {self.labels.dtype}")

    def __len__(self) -> int:
        return len(self.pictures)

    def take(self, rows: np.ndarray) -> PictureSplit:
        """Choose some of the pictures.

        Parameters
        ----------
        rows : ndarray of int or bool
            Which ones, as in NumPy.

        Returns
        -------
        PictureSplit
            They alone, in the order of `rows`.
        """
        index = np.arange(len(self))[rows]
        return PictureSplit(
            tuple(self.pictures[i] for i in index),
            self.labels[index],
            self.groups[index],
            tuple(self.sources[i] for i in index),
        )


@dataclass(frozen=True, eq=False, repr=False)
class PictureSet:
    """Labelled pictures of different sizes, in splits that share no group.

    ``data["train"].pictures``, ``.labels``, ``.groups`` and ``.sources`` give what a split holds.

    Parameters
    ----------
    name : str
        Short name, also used in result files.
    classes : tuple of str
        Names of the classes, in the order of their numbers.
    splits : dict of str to PictureSplit
        Usually ``"train"``, ``"valid"`` and ``"test"``.
    source : str, default ""
        Where the pictures come from, and their licence.

    Raises
    ------
    ValueError
        If there is no training split, a split is empty or has unknown labels, or a group is in two splits.
    """

    name: str
    classes: tuple[str, ...]
    splits: Mapping[str, PictureSplit]
    source: str = ""

    def __post_init__(self) -> None:
        if "train" not in self.splits:
            raise ValueError(f"a PictureSet needs a split 'train', got {tuple(self.splits)}")
        seen: dict[str, str] = {}
        for key, split in self.splits.items():
            if not len(split):
                raise ValueError(f"split {key!r} is empty; every split needs at least one picture")
            if split.labels.min() < 0 or split.labels.max() >= len(self.classes):
                raise ValueError(f"split {key!r}: labels must be integers from 0 to {len(self.classes) - 1}")
            for group in np.unique(split.groups).tolist():
                if group in seen:
                    raise ValueError(f"group {group!r} is in the splits {seen[group]!r} and {key!r}")
                seen[group] = key

    def __getitem__(self, split: str) -> PictureSplit:
        if split not in self.splits:
            raise ValueError(f"{self.name} has no split {split!r}; there are {tuple(self.splits)}")
        return self.splits[split]

    def sizes(self, split: str) -> np.ndarray:
        """Sizes of the pictures of a split.

        Parameters
        ----------
        split : str
            Its name.

        Returns
        -------
        ndarray of int64, shape (n, 2)
            Width and height in pixels.
        """
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


# ---- reading -----------------------------------------------------------------------------------------------


def open_picture(path: str | Path | BinaryIO, size_cap: int | None = None) -> Image.Image:
    """Read one picture completely, upright as its camera meant it.

    Parameters
    ----------
    path : str, Path or binary file
        What to read: any format that Pillow knows. Of an animation the first frame is taken.
    size_cap : int, optional
        Longest side in pixels; larger pictures are reduced to it.

    Returns
    -------
    PIL.Image.Image
        In the mode that the file has.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is no picture, is cut off or damaged, or has so many pixels that Pillow takes it for an
        attack ("decompression bomb"). The message names the file.
    """
    name = path if isinstance(path, str | Path) else getattr(path, "name", "the picture")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as file:
                if size_cap is not None:
                    file.draft(None, (size_cap, size_cap))
                file.load()
                picture = ImageOps.exif_transpose(file)
        return picture if size_cap is None else shrink(picture, size_cap)
    except FileNotFoundError:
        raise FileNotFoundError(f"{name}: there is no such file") from None
    # Damaged files make the decoders of Pillow raise nearly anything.
    except Exception as error:
        raise ValueError(f"{name} cannot be read as a picture: {error}") from error


def shrink(picture: Image.Image, size_cap: int) -> Image.Image:
    """Reduce a picture whose longest side is too long; its aspect stays.

    Parameters
    ----------
    picture : PIL.Image.Image
        Of any mode that :func:`flatten` takes.
    size_cap : int
        Longest side in pixels, at least 1.

    Returns
    -------
    PIL.Image.Image
        The picture itself if it is small enough; else one of 8 bits.

    Raises
    ------
    ValueError
        If the cap is below 1 or the mode cannot be converted.
    """
    at_least(1, size_cap=size_cap)
    longest = max(picture.size)
    if longest <= size_cap:
        return picture
    if picture.mode not in ("L", "LA", "RGB", "RGBA", "CMYK"):
        grey = picture.mode == "1" or picture.mode.startswith("I")
        picture = picture.convert("RGBA") if _has_alpha(picture) else flatten(picture, 1 if grey else 3)
    size = tuple(max(1, round(side * size_cap / longest)) for side in picture.size)
    return picture.resize(size, Image.Resampling.BOX)


def _has_alpha(picture: Image.Image) -> bool:
    return "transparency" in picture.info or picture.mode in ("RGBA", "LA", "PA", "RGBa", "La")


def flatten(picture: Image.Image, channels: int = 1, background: str | tuple = "white") -> Image.Image:
    """Give a picture of any mode as plain grey or colour of 8 bits, upright.

    Parameters
    ----------
    picture : PIL.Image.Image
        Grey, colour, palette, CMYK, black and white, with 16 bits (65535 is white) or with transparency.
    channels : {1, 3}
        Grey or RGB.
    background : str or tuple, default "white"
        Colour behind transparent pixels, as :mod:`PIL.ImageColor` names it.

    Returns
    -------
    PIL.Image.Image
        Of mode "L" or "RGB".

    Raises
    ------
    ValueError
        If there are other than 1 or 3 channels, the colour is unknown or the mode cannot be converted.
    """
    if channels not in (1, 3):
        raise ValueError(f"channels must be 1 (grey) or 3 (RGB), got {channels!r}")
    if not isinstance(picture, Image.Image):
        raise ValueError(f"a PIL picture is needed, got {type(picture).__name__}")
    mode = "L" if channels == 1 else "RGB"
    picture = ImageOps.exif_transpose(picture)
    if picture.mode == "I" or picture.mode.startswith("I;16"):
        grey = np.clip(np.asarray(picture).astype(np.float64), 0, 65535) / 257
        return Image.fromarray(np.rint(grey).astype(np.uint8)).convert(mode)
    if _has_alpha(picture):
        colour = ImageColor.getrgb(background) if isinstance(background, str) else tuple(background)
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, (*colour[:3], 255)), picture)
    if picture.mode in ("F", "LAB"):
        raise ValueError(f"a picture of mode {picture.mode!r} has no fixed white; convert it to 'RGB' first")
    return picture.convert(mode)


def load_pictograms20(valid_fraction: float = 0.2, seed: int = 0) -> PictureSet:
    """Pictograms-20: 1,625 icons of 20 classes and 853 sizes, drawn by 87 families of free icon sets.

    The classes have the names and the order of Pascal VOC, but these are drawings and not Pascal VOC. The
    test pictures are those of 29 families that drew none of the others; the validation pictures are cut off
    by family, too: what is asked is whether a network knows a cow in a hand that it has never seen.

    Parameters
    ----------
    valid_fraction : float, default 0.2
        Share of the training pictures that the validation families shall have, in every class as nearly as
        whole families allow.
    seed : int, default 0
        Draws the validation families.

    Returns
    -------
    PictureSet
        With the splits "train", "valid" and "test"; `groups` are the families.

    Raises
    ------
    FileNotFoundError
        If the file is missing in the package.
    ValueError
        If the file is damaged, or `valid_fraction` is not between 0 and 1.
    """
    folder = resources.files(__package__).joinpath("pictograms20")
    remedy = "install the package anew, or fetch the file again with git checkout"
    try:
        content = (folder / "pictograms20.zip").read_bytes()
        table = (folder / "ATTRIBUTION.csv").read_text("utf-8")
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error.filename} is missing; {remedy}") from error
    if hashlib.sha256(content).hexdigest() != PICTOGRAMS_SHA256:
        raise ValueError(f"{folder / 'pictograms20.zip'} is damaged (wrong SHA-256); {remedy}")
    families = {row["set"]: row["family"] for row in csv.DictReader(io.StringIO(table))}
    parts: dict[str, list] = {"train": [], "test": []}
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for name in archive.namelist():
            part, label, file = name.split("/")
            picture = open_picture(io.BytesIO(archive.read(name)))
            picture = picture.convert("RGB") if picture.mode == "P" else picture
            family = families[file.partition("__")[0]]
            parts[part].append((picture, VOC_CLASSES.index(label), family, name))
    train, test = (split_of(rows) for rows in parts.values())
    held_out = hold_out_groups(train.labels, train.groups, valid_fraction, seed=seed)
    return PictureSet(
        "pictograms20",
        VOC_CLASSES,
        {"train": train.take(~held_out), "valid": train.take(held_out), "test": test},
        source="127 free icon sets (MIT, Apache-2.0, ISC, CC BY, CC0), listed in "
        "l2lab/data/pictograms20/ATTRIBUTION.csv; rasterised, cropped and resized",
    )


def load_folder(
    root: str | Path,
    classes: Sequence[str] | None = None,
    valid_fraction: float = 0.2,
    seed: int = 0,
    size_cap: int | None = 256,
) -> PictureSet:
    """Your own pictures: ``root/train/<class>/<file>`` and ``root/test/<class>/<file>``.

    This is the layout of torchvision's `ImageFolder`. With a folder ``root/valid`` the validation pictures
    are those in it; without one they are drawn from the training pictures, class by class. A file that cannot
    be read is left out; one warning names all of them. Hidden files are passed over.

    Parameters
    ----------
    root : str or Path
        The folder.
    classes : sequence of str, optional
        The classes to read, in the order of their numbers; all folders in ``train``, sorted, if not given.
    valid_fraction : float, default 0.2
        Share of the training pictures that are used for validation.
    seed : int, default 0
        Draws them.
    size_cap : int, optional
        Longest side in pixels: photographs of a camera would fill the memory. None keeps all pixels.

    Returns
    -------
    PictureSet
        Every picture is its own group. Where shots of the same scene must stay together, give a folder
        ``valid``.

    Raises
    ------
    FileNotFoundError
        If there is no such folder, or no ``train``, no ``test`` or no folder of a class in it.
    ValueError
        If a class has no picture that can be read, a folder belongs to no class, or `valid_fraction` is not
        between 0 and 1.
    """
    root = Path(root)
    _folders(root)
    parts = [part for part in ("train", "valid", "test") if part != "valid" or (root / part).is_dir()]
    names = tuple(classes) if classes is not None else tuple(_folders(root / "train"))
    if not names:
        raise ValueError(f"{root / 'train'} holds no folders; give every class one, with its pictures in it")
    splits, skipped = {}, []
    for part in parts:
        unknown = sorted(set(_folders(root / part)) - set(names)) if classes is None else []
        if unknown:
            raise ValueError(f"{root / part} has folders of no training class: {_listed(unknown)}")
        rows = []
        for label, name in enumerate(names):
            if name not in (found := _folders(root / part)):
                raise FileNotFoundError(f"{root / part} has no folder {name!r}; it holds {_listed(found)}")
            files = _files(root / part / name)
            before = len(rows)
            for file in files:
                try:
                    picture = open_picture(file, size_cap)
                except (ValueError, OSError) as error:
                    skipped.append(str(error))
                    continue
                source = file.relative_to(root).as_posix()
                rows.append((picture, label, source, source))
            if len(rows) == before:
                raise ValueError(
                    f"{root / part / name} holds no picture that can be read; it holds "
                    f"{_listed([file.name for file in files])}"
                )
        splits[part] = split_of(rows)
    warn_of_skipped(skipped)
    if "valid" not in splits:
        train = splits["train"]
        held_out = hold_out_rows(train.labels, valid_fraction, seed)
        splits = {"train": train.take(~held_out), "valid": train.take(held_out), "test": splits["test"]}
    return PictureSet(root.name, names, splits, source=f"the folder {root.name}")


def _folders(root: Path) -> list[str]:
    if not root.is_dir():
        parent = root.parent
        found = sorted(p.name for p in parent.iterdir()) if parent.is_dir() else []
        raise FileNotFoundError(f"there is no folder {root}; {parent} holds {_listed(found)}")
    return sorted(p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))


def _files(root: Path) -> list[Path]:
    found = [path for path in root.rglob("*") if path.is_file()]
    return sorted(p for p in found if not any(part.startswith(".") for part in p.relative_to(root).parts))


def _listed(names: Sequence[str], most: int = 10) -> str:
    shown = ", ".join(names[:most]) or "nothing"
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def warn_of_skipped(problems: Sequence[str], stacklevel: int = 3) -> None:
    """Warn once of all files that were left out.

    Parameters
    ----------
    problems : sequence of str
        What was wrong, one text for each file that names it; no warning if there are none.
    stacklevel : int, default 3
        As of :func:`warnings.warn`; 3 points at the caller of the function that calls this.
    """
    if problems:
        warnings.warn(
            f"{len(problems)} file{'s' * (len(problems) > 1)} left out: {_listed(problems)}",
            stacklevel=stacklevel,
        )


def split_of(rows: Sequence[tuple[Image.Image, int, str, str]]) -> PictureSplit:
    """Collect pictures to a split.

    Parameters
    ----------
    rows : sequence of (picture, label, group, source)
        At least one.

    Returns
    -------
    PictureSplit
        In the same order.
    """
    pictures, labels, groups, sources = zip(*rows, strict=True)
    return PictureSplit(pictures, np.array(labels, dtype=np.int64), np.array(groups), sources)


def hold_out_rows(labels: np.ndarray, fraction: float, seed: int = 0) -> np.ndarray:
    """Draw the same share of every class, at least one row and never all.

    Parameters
    ----------
    labels : ndarray of int, shape (n,)
        Class numbers.
    fraction : float
        Share wanted, between 0 and 1.
    seed : int, default 0
        Draws the rows.

    Returns
    -------
    ndarray of bool, shape (n,)
        True for the rows that were drawn.

    Raises
    ------
    ValueError
        If `fraction` is not between 0 and 1, or a class has a single row.
    """
    check_fraction(fraction)
    rng = np.random.default_rng(seed)
    held_out = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        if len(rows) < 2:
            raise ValueError(f"class {label} has a single picture; two are needed to split it")
        held_out[rows[: min(max(1, round(fraction * len(rows))), len(rows) - 1)]] = True
    return held_out


def check_fraction(fraction: float) -> None:
    """Check the share of pictures that shall be held out.

    Parameters
    ----------
    fraction : float
        The share.

    Raises
    ------
    ValueError
        If it is not between 0 and 1.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"the share of the held-out pictures must be between 0 and 1, got {fraction!r}")


def hold_out_groups(
    labels: np.ndarray,
    groups: np.ndarray,
    fraction: float,
    *,
    seed: int = 0,
    tries: int = 1000,
    n_groups: int | None = None,
) -> np.ndarray:
    """Choose whole groups that hold about the same share of every class.

    The groups are put in `tries` random orders; of all beginnings of these orders the one is taken whose
    share of a class is nowhere far from `fraction`.

    Parameters
    ----------
    labels : ndarray of int, shape (n,)
        Class numbers.
    groups : ndarray of str or int, shape (n,)
        The group of every row.
    fraction : float
        Share wanted, between 0 and 1.
    seed : int, default 0
        Draws the orders.
    tries : int, default 1000
        Number of orders.
    n_groups : int, optional
        Take exactly so many groups.

    Returns
    -------
    ndarray of bool, shape (n,)
        True for the rows of the chosen groups.

    Raises
    ------
    ValueError
        If `fraction` is not between 0 and 1, or no choice leaves rows of every class on both sides.
    """
    check_fraction(fraction)
    at_least(1, tries=tries)
    names, group_of_row = np.unique(groups, return_inverse=True)
    found, class_of_row = np.unique(labels, return_inverse=True)
    table = np.zeros((len(names), len(found)), dtype=np.int64)
    np.add.at(table, (group_of_row, class_of_row), 1)
    total = table.sum(axis=0)
    best, chosen = np.inf, None
    for attempt in range(tries):
        order = np.random.default_rng(seed * tries + attempt).permutation(len(names))
        held = table[order].cumsum(axis=0)
        distance = np.abs(held / total - fraction).max(axis=1)
        distance[((held == 0) | (held == total)).any(axis=1)] = np.inf
        if n_groups is not None:
            distance[np.arange(1, len(names) + 1) != n_groups] = np.inf
        length = int(distance.argmin())
        if distance[length] < best:
            best, chosen = distance[length], order[: length + 1]
    if chosen is None:
        raise ValueError(
            f"no choice among {len(names)} groups leaves pictures of every class on both sides; give every "
            "class pictures of at least two groups"
        )
    return np.isin(group_of_row, chosen)


# ---- tensors -----------------------------------------------------------------------------------------------


def letterbox(
    pictures: Sequence[Image.Image], size: int, channels: int = 1, background: str | tuple = "white"
) -> torch.Tensor:
    """Make all pictures squares of the same size: aspect kept, centred, the rest filled with a colour.

    Parameters
    ----------
    pictures : sequence of PIL.Image.Image, length n
        Of any sizes and modes, see :func:`flatten`.
    size : int
        Side of the squares in pixels.
    channels : {1, 3}
        Grey or RGB.
    background : str or tuple, default "white"
        Colour of the bars and behind transparent pixels.

    Returns
    -------
    torch.Tensor of float32, shape (n, channels, size, size)
        Plain pixels between 0 (black) and 1 (white).

    Raises
    ------
    ValueError
        If there are no pictures, the size is below 1, or a picture cannot be converted.
    """
    import torch

    at_least(1, size=size)
    canvases = []
    for picture in _flat(pictures, channels, background):
        longest = max(picture.size)
        inner = tuple(max(1, round(side * size / longest)) for side in picture.size)
        method = Image.Resampling.BOX if longest >= size else Image.Resampling.BICUBIC
        canvas = flatten(Image.new("RGB", (size, size), background), channels)
        canvas.paste(picture.resize(inner, method), tuple((size - side) // 2 for side in inner))
        canvases.append(np.asarray(canvas))
    x = np.stack(canvases).reshape(len(canvases), size, size, channels)
    return torch.from_numpy(x.transpose(0, 3, 1, 2).astype(np.float32) / 255)


def pad_batch(
    pictures: Sequence[Image.Image],
    channels: int = 1,
    multiple: int = 1,
    background: str | tuple = "white",
) -> tuple[torch.Tensor, torch.Tensor]:
    """Put pictures into one tensor without resizing any: top left, zeros outside.

    Parameters
    ----------
    pictures : sequence of PIL.Image.Image, length n
        Of any sizes and modes, see :func:`flatten`.
    channels : {1, 3}
        Grey or RGB.
    multiple : int, default 1
        Height and width of the tensor are rounded up to a multiple of this, as pooling layers may need.
    background : str or tuple, default "white"
        Colour behind transparent pixels.

    Returns
    -------
    x : torch.Tensor of float32, shape (n, channels, H, W)
        Pixels between 0 (black) and 1 (white); H and W fit the largest picture.
    mask : torch.Tensor of float32, shape (n, 1, H, W)
        1 inside the picture, 0 outside.

    Raises
    ------
    ValueError
        If there are no pictures, `multiple` is below 1, or a picture cannot be converted.
    """
    import torch

    at_least(1, multiple=multiple)
    flat = _flat(pictures, channels, background)
    W, H = (-(-max(sides) // multiple) * multiple for sides in zip(*(p.size for p in flat), strict=True))
    x = np.zeros((len(flat), channels, H, W), dtype=np.float32)
    mask = np.zeros((len(flat), 1, H, W), dtype=np.float32)
    for row, picture in enumerate(flat):
        w, h = picture.size
        pixels = np.asarray(picture).reshape(h, w, channels)
        x[row, :, :h, :w] = pixels.transpose(2, 0, 1) / np.float32(255)
        mask[row, :, :h, :w] = 1
    return torch.from_numpy(x), torch.from_numpy(mask)


def _flat(pictures: Sequence[Image.Image], channels: int, background: str | tuple) -> list[Image.Image]:
    if isinstance(pictures, Image.Image) or not len(pictures):
        raise ValueError("give a sequence of at least one picture; a single picture goes in a list")
    return [flatten(picture, channels, background) for picture in pictures]


def standardize(train: torch.Tensor, *others: torch.Tensor, invert: bool = False) -> tuple[torch.Tensor, ...]:
    """Shift and scale pictures with the mean and the standard deviation of the training pictures.

    Parameters
    ----------
    train : torch.Tensor, shape (n, c, h, w)
        Training pictures: mean and standard deviation of all their pixels, per channel, are used for all.
    *others : torch.Tensor, shape (m, c, h, w)
        Further pictures.
    invert : bool, default False
        Take 1 − x first: ink becomes bright on dark, so that the empty paper is the smallest value.

    Returns
    -------
    tuple of torch.Tensor
        As many as were given, in their order.

    Raises
    ------
    ValueError
        If all training pixels of a channel are alike.
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

    Raises
    ------
    ValueError
        If `sizes` has another shape or `batch_size` is below 1.
    """
    sizes = np.asarray(sizes)
    if sizes.ndim != 2 or sizes.shape[1] != 2 or not len(sizes):
        raise ValueError(f"sizes must have shape (n, 2) with n > 0: width and height, got {sizes.shape}")
    at_least(1, batch_size=batch_size)
    rng = np.random.default_rng(seed)
    order = np.argsort(sizes.max(axis=1) * rng.uniform(0.9, 1.1, len(sizes)))
    batches = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
    return [batches[i] for i in rng.permutation(len(batches))]
