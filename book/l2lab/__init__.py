"""l2lab: the small package behind the book on L2 regularization.

Three nouns: *problem* (:mod:`l2lab.data`), *sweep* (:mod:`l2lab.engine`) and *panel* (:mod:`l2lab.explore`).

The objective is always mean loss + (λ/2)·‖w‖², which is ``weight_decay=λ`` of ``torch.optim.SGD``; biases are
not penalized. Modules are imported one by one (``from l2lab import data``), so that not all wait for torch.
"""

__version__ = "1.0.0"
