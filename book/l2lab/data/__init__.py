"""Problems and pictures: data with its splits and, where it is known, its truth.

These return a :class:`Problem`, read nothing from the network and depend on their arguments alone:

========================= =========================================== ========================
function                  what it is                                  what is known
========================= =========================================== ========================
:func:`digits`            handwritten digits of 8 by 8 pixels         which labels are wrong
:func:`breast_cancer`     30 correlated measurements, 2 classes       which columns are noise
:func:`diabetes`          10 measurements, a progression score
:func:`sparse_regression` linear model, few (or all) inputs matter    support, coefficients
:func:`ng_classification` one relevant input among irrelevant ones    support, coefficients
:func:`xor`               two inputs that matter only together        support
:func:`friedman`          curved function of five inputs              support
:func:`legendre`          sin 3x in Legendre polynomials              the true function
========================= =========================================== ========================

A :class:`PictureSet` of different sizes comes from :func:`load_pictograms20`, which ships with the package,
and from :func:`load_voc2007`, which fetches 0.9 GB.
"""

from .images import (
    PictureSet,
    letterbox,
    load_pictograms20,
    load_voc2007,
    open_picture,
    pad_batch,
    size_buckets,
    standardize,
)
from .problem import Problem, flip_labels
from .synthetic import friedman, legendre, ng_classification, sparse_regression, xor
from .tables import breast_cancer, diabetes, digits

__all__ = [
    "PictureSet", "Problem", "breast_cancer", "diabetes", "digits", "flip_labels", "friedman", "legendre",
    "letterbox", "load_pictograms20", "load_voc2007", "ng_classification", "open_picture", "pad_batch",
    "size_buckets", "sparse_regression", "standardize", "xor",
]  # fmt: skip
