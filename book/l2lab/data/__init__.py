"""Problems and pictures: data with its splits and, where it is known, its truth.

The functions of the first table return a :class:`Problem`, read nothing from the network and depend on their
arguments alone.

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

Those of the second table return a :class:`PictureSet`: pictures of different sizes.

========================== ==================================================== ======================
function                   what it is                                           where it comes from
========================== ==================================================== ======================
:func:`load_pictograms20`  1,625 icons with the class names of Pascal VOC       ships with the package
:func:`load_voc2007`       objects cut from the photographs of Pascal VOC 2007  is fetched, 0.9 GB
:func:`load_caltech101`    the 20 largest classes of Caltech-101                is fetched, 0.14 GB
========================== ==================================================== ======================
"""

from .images import (
    VOC_CLASSES,
    PictureSet,
    PictureSplit,
    flatten,
    hold_out_groups,
    letterbox,
    load_caltech101,
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
    "VOC_CLASSES", "PictureSet", "PictureSplit", "Problem", "breast_cancer", "diabetes", "digits", "flatten",
    "flip_labels", "friedman", "hold_out_groups", "legendre", "letterbox", "load_caltech101",
    "load_pictograms20", "load_voc2007", "ng_classification", "open_picture", "pad_batch", "size_buckets",
    "sparse_regression", "standardize", "xor",
]  # fmt: skip
