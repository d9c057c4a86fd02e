"""Problems: data with its splits and, where it is known, its truth.

Every function returns a :class:`Problem`, reads nothing from the network and depends on its arguments alone.

========================= =========================================== ========================
function                  what it is                                  what is known
========================= =========================================== ========================
:func:`digits`            handwritten digits of 8 by 8 pixels         which labels are wrong
:func:`breast_cancer`     30 correlated measurements, 2 classes       which columns are noise
:func:`diabetes`          10 measurements, a progression score        which columns are noise
:func:`sparse_regression` linear model, few (or all) inputs matter    support, coefficients
:func:`ng_classification` one relevant input among irrelevant ones    support, coefficients
:func:`xor`               two inputs that matter only together        support
:func:`friedman`          curved function of five inputs              support
:func:`legendre`          sin 3x in Legendre polynomials              the true function
========================= =========================================== ========================
"""

from .problem import Problem, add_noise_features, flip_labels
from .synthetic import (
    friedman,
    legendre,
    legendre_features,
    legendre_truth,
    ng_classification,
    sparse_regression,
    xor,
)
from .tables import breast_cancer, diabetes, digits

__all__ = [
    "Problem",
    "add_noise_features",
    "breast_cancer",
    "diabetes",
    "digits",
    "flip_labels",
    "friedman",
    "legendre",
    "legendre_features",
    "legendre_truth",
    "ng_classification",
    "sparse_regression",
    "xor",
]
