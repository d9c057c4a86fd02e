"""The article's L2 layer, made sound, and gates that turn plain weight decay into a feature selector.

:class:`L2RegularizationLayer` wraps a module and knows its penalty (λ/2)·‖w‖²; :func:`param_groups` gives the
same to an optimizer. :func:`gate` writes a weight as a product of factors. L2 on the factors is then no
longer L2 on the weight: with one gate per input it is the group lasso, which selects.
"""

from __future__ import annotations

import functools
import inspect
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.optim.optimizer import Optimizer, register_optimizer_step_pre_hook
from torch.utils.weak import TensorWeakRef, WeakTensorKeyDictionary

from . import checks

__all__ = [
    "BackwardResult", "L2RegularizationLayer", "gate", "gate_strength", "l2_penalty", "param_groups",
    "penalized_parameters",
]  # fmt: skip

# Layers whose parameters are not penalized: scales and shifts behind a normalization, and the slope of a
# PReLU, which is a part of the activation. They are vectors like a gate, so the shape of a parameter cannot
# tell them apart; the layer that owns it can.
LEFT_OUT = (
    nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm, nn.InstanceNorm1d, nn.InstanceNorm2d,
    nn.InstanceNorm3d, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.PReLU,
)  # fmt: skip
# What an owner of parameters may say of them: ``rule(module, name)``.
Choice = Callable[[nn.Module, str], bool]


# ---- which parameters, and with which λ --------------------------------------------------------------------


class _Rule(NamedTuple):
    """λ and choice of parameters below a module."""

    lam: float
    penalize: str | Choice

    @classmethod
    def check(cls, lam: float, penalize: str | Choice) -> _Rule:
        if not callable(penalize):
            checks.one_of("penalize", penalize, ("weights", "all"))
        return cls(checks.number("lam", lam, 0, math.inf), penalize)

    def picks(self, module: nn.Module, name: str) -> bool:
        """Say whether the parameter of this name that a module owns is penalized."""
        if callable(self.penalize):
            return bool(self.penalize(module, name))
        # biases by torch's names: bias, bias_ih_l0, in_proj_bias, …
        is_bias = name == "bias" or name.startswith("bias_") or name.endswith("_bias")
        return self.penalize == "all" or not (isinstance(module, LEFT_OUT) or is_bias)


class _Entry(NamedTuple):
    """A parameter, its name from the root, and its λ (None: the rule leaves it out)."""

    name: str
    tensor: Tensor
    lam: float | None

    @property
    def is_penalized(self) -> bool:
        # Frozen parameters are constants, and so would be their penalty.
        return bool(self.lam) and self.tensor.requires_grad


def _visit(module: nn.Module, prefix: str, rule: _Rule | None) -> Iterator[_Entry]:
    """Walk a tree and yield every parameter that lies under a rule, a shared one once per way to it."""
    if isinstance(module, L2RegularizationLayer):
        rule = module.rule
    if rule is not None:
        for name, tensor in module._parameters.items():
            if tensor is not None:
                yield _Entry(prefix + name, tensor, rule.lam if rule.picks(module, name) else None)
    for name, child in module.named_children():
        yield from _visit(child, f"{prefix}{name}.", rule)


def _entries(module: nn.Module, rule: _Rule | None, may_be_none: bool = False) -> list[_Entry]:
    """List every parameter once, with the λ of the innermost rule.

    The tensors are looked up at every call, so that the penalty is right whatever stands in the modules at
    that time: loaded, moved or replaced parameters.
    """
    found: dict[int, _Entry] = {}
    for entry in _visit(module, "", rule):
        first = found.setdefault(id(entry.tensor), entry)
        if (first.lam or 0.0) != (entry.lam or 0.0):
            raise ValueError(
                f"{first.name} and {entry.name} are one shared tensor, but λ is {first.lam or 0.0:g} "
                f"for the first and {entry.lam or 0.0:g} for the second; give both the same λ and the same "
                "penalize, or do not share the tensor"
            )
    if not may_be_none and all(entry.lam is None for entry in found.values()):
        raise ValueError(
            f"there is nothing to penalize among the parameters {[entry.name for entry in found.values()]}; "
            "wrap what is to be penalized in an L2RegularizationLayer, or choose penalize='all'"
        )
    return list(found.values())


def penalized_parameters(module: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters that an L2 penalty on a module acts on, by name.

    Parameters
    ----------
    module : torch.nn.Module
        Any module. Parameters inside a :class:`L2RegularizationLayer` follow the rule of that layer, and are
        left out if its λ is 0.

    Returns
    -------
    dict of str to torch.nn.Parameter
        No biases, no normalization layers, no slope of a PReLU; a shared parameter once, frozen ones not at
        all. May be empty.

    Examples
    --------
    >>> list(penalized_parameters(nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3), nn.Linear(3, 2))))
    ['0.weight', '2.weight']
    """
    entries = _entries(module, _Rule(1.0, "weights"), may_be_none=True)
    return {entry.name: entry.tensor for entry in entries if entry.is_penalized}


def param_groups(module: nn.Module, lam: float, penalize: str | Choice = "weights") -> list[dict[str, Any]]:
    """Split the parameters of a module into groups for an optimizer, so that only some of them decay.

    Parameters
    ----------
    module : torch.nn.Module
        Any module.
    lam : float
        λ ≥ 0, the ``weight_decay`` of the penalized group. For ``torch.optim.SGD`` and ``Adam`` that is the
        gradient of (λ/2)·‖w‖²; ``AdamW`` makes something else of it.
    penalize : {"weights", "all"} or callable, default "weights"
        As in :class:`L2RegularizationLayer`.

    Returns
    -------
    list of dict
        Two groups with ``"params"`` and ``"weight_decay"``: the penalized parameters, then the others with
        ``weight_decay=0.0``, which may be none. Together they hold each parameter once, frozen ones too. For
        what lies inside a :class:`L2RegularizationLayer`, its λ and rule hold: one group per λ. Where nothing
        is penalized, the group of the others is the only one.
    """
    decayed: dict[float, list[Tensor]] = {}
    rest: list[Tensor] = []
    for entry in _entries(module, _Rule.check(lam, penalize), may_be_none=True):
        if entry.lam is None:
            rest.append(entry.tensor)
        else:
            decayed.setdefault(entry.lam, []).append(entry.tensor)
    groups = [{"params": tensors, "weight_decay": value} for value, tensors in decayed.items()]
    return [*groups, {"params": rest, "weight_decay": 0.0}]


# ---- the penalty -------------------------------------------------------------------------------------------


def _squared_norm(tensor: Tensor) -> Tensor:
    """Sum |w|² in at least 32 bits: the square of 256 is too large for float16."""
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor)
    if torch.finfo(tensor.dtype).bits < 32:
        tensor = tensor.float()
    return tensor.square().sum()


def _detached(value: Any) -> Any:
    """Detach all tensors in nested tuples, lists and mappings."""
    if isinstance(value, Tensor):
        return value.detach()
    if isinstance(value, Mapping):
        return {key: _detached(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        items = [_detached(item) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return value


def _penalty(entries: list[_Entry]) -> Tensor:
    squares: dict[float, list[Tensor]] = {}
    for entry in entries:
        if entry.is_penalized:
            squares.setdefault(entry.lam, []).append(_squared_norm(entry.tensor))
    total = torch.zeros((), device=entries[0].tensor.device)
    for lam, norms in squares.items():
        # For a deep network, one sum is faster than a chain of additions.
        total = total + 0.5 * lam * torch.stack(norms).sum()
    return total


def l2_penalty(module: nn.Module) -> Tensor:
    """Sum the penalties of all :class:`L2RegularizationLayer` inside a model.

    Parameters
    ----------
    module : torch.nn.Module
        The model; may be such a layer itself. Parameters outside of all layers are not penalized.

    Returns
    -------
    Tensor, shape ()
        ½·Σ λ‖w‖², each parameter counted once with the λ of the innermost layer around it.

    Raises
    ------
    ValueError
        If there is no such layer inside, or two layers give a shared parameter different λ.
    """
    return _penalty(_entries(module, None))


class BackwardResult(NamedTuple):
    """What :meth:`L2RegularizationLayer.fit_and_backward` returns; no tensor in it carries a gradient.

    The objective is the sum of `loss`, the criterion alone, and `penalty`; `output` is what the module
    returned, also if that is a tuple, list or mapping of tensors.
    """

    loss: Tensor
    penalty: Tensor
    output: Any


class L2RegularizationLayer(nn.Module):
    """A module together with the penalty (λ/2)·‖w‖² on its weights.

    Parameters
    ----------
    module : torch.nn.Module
        What is regularized. It is wrapped, not copied.
    lam : float
        Strength λ ≥ 0. May be changed later: ``layer.lam = 1e-2``.
    penalize : {"weights", "all"} or callable, default "weights"
        ``"weights"``: all parameters except biases (by name: ``bias``, ``bias_…``, ``…_bias``), those of
        torch's normalization layers, and the slope of ``PReLU``. ``"all"``: every parameter. Or a rule of
        your own, for instance for a normalization layer that torch does not know: ``penalize(module, name)``
        says whether the parameter of this name, which this module owns, is penalized.

    Raises
    ------
    ValueError
        If `lam` or `penalize` is not valid, there is nothing to penalize, or a shared parameter would get two
        different λ.

    Notes
    -----
    *Layers in layers.* A parameter is counted once, with λ and rule of the innermost layer around it. An
    inner layer with ``lam=0`` exempts its part. A parameter shared between modules is counted once, too; if
    it lies under different λ, that is an error. Frozen parameters are not penalized.

    The names in ``state_dict`` get the prefix ``module.``; λ is a setting and not part of it.

    *Differences from* ``weight_decay``: a parameter that the loss does not reach has no gradient, and an
    optimizer does not let it decay, but the penalty does. With AdamW the two are not the same at all.

    Examples
    --------
    >>> layer = L2RegularizationLayer(nn.Linear(4, 2), lam=1e-3)
    >>> optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)  # no weight_decay: the layer does it
    >>> x, y = torch.randn(8, 4), torch.randint(0, 2, (8,))
    >>> optimizer.zero_grad()
    >>> loss, penalty, output = layer.fit_and_backward(x, y, nn.CrossEntropyLoss())
    >>> optimizer.step()
    """

    def __init__(self, module: nn.Module, lam: float, *, penalize: str = "weights") -> None:
        super().__init__()
        self.module = module
        self.rule = _Rule.check(lam, penalize)
        _entries(self, None)

    @property
    def lam(self) -> float:
        """Strength λ of the penalty, a finite number ≥ 0."""
        return self.rule.lam

    @lam.setter
    def lam(self, value: float) -> None:
        self.rule = _Rule.check(value, self.rule.penalize)

    def extra_repr(self) -> str:
        """Show λ and the rule where the model is printed."""
        how = self.rule.penalize
        return f"lam={self.rule.lam:g}, penalize={getattr(how, '__name__', repr(how))}"

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the module. The penalty does not change the output.

        Parameters
        ----------
        *args, **kwargs : Any
            Passed on.

        Returns
        -------
        Any
            What the module returns.
        """
        return self.module(*args, **kwargs)

    def get_l2_regularizer(self) -> Tensor:
        """Compute the penalty ½·Σ λ‖w‖² of all parameters inside, with the λ of the innermost layer each.

        Add it to the loss to train. It has shape (); half precision is summed in float32. Unlike
        :meth:`fit_and_backward`, this cannot know whether the optimizer penalizes the same parameters again.
        """
        return l2_penalty(self)

    def param_groups(self) -> list[dict[str, Any]]:
        """Return the same penalty as ``weight_decay`` of parameter groups, see :func:`param_groups`.

        Use either these groups or :meth:`fit_and_backward`, never both.
        """
        return param_groups(self, *self.rule)

    def fit_and_backward(
        self, inputs: Any, target: Any, criterion: Callable[[Any, Any], Tensor]
    ) -> BackwardResult:
        """Run one batch forward and backward: the gradient of loss + penalty is added to every ``.grad``.

        Like ``loss.backward()`` it neither clears gradients first nor changes parameters; that is up to
        ``optimizer.zero_grad()`` and ``optimizer.step()``. When gradients of several batches are accumulated,
        the penalty counts once per call: divide the criterion *and* λ by the number of calls.

        Parameters
        ----------
        inputs : Tensor, tuple, mapping or Any
            What the module is called with: a tuple as ``module(*inputs)``, a mapping as
            ``module(**inputs)``, all else as ``module(inputs)``.
        target : Any
            For the criterion.
        criterion : callable
            ``criterion(output, target)`` gives the loss, a tensor of shape (), as ``nn.CrossEntropyLoss()``
            does.

        Returns
        -------
        BackwardResult
            ``(loss, penalty, output)``, detached.

        Raises
        ------
        ValueError
            If `criterion` is a class instead of an instance.

        Warns
        -----
        UserWarning
            At the next ``step`` of an optimizer that has ``weight_decay`` > 0 for a parameter whose gradient
            contains the penalty already.
        """
        if inspect.isclass(criterion):
            name = criterion.__name__
            raise ValueError(f"criterion is the class {name}; it takes an instance: write {name}()")
        if isinstance(inputs, tuple):
            output = self(*inputs)
        elif isinstance(inputs, Mapping):
            output = self(**inputs)
        else:
            output = self(inputs)
        loss = criterion(output, target)
        entries = _entries(self, None)
        penalty = _penalty(entries)
        (loss + penalty).backward()
        _remember(entries)
        return BackwardResult(loss.detach(), penalty.detach(), _detached(output))


# ---- a penalty that is counted twice -----------------------------------------------------------------------

# Parameters whose gradient contains a penalty since their optimizer's last step, with their names and that
# gradient: after zero_grad there is another one. It keeps no tensor alive, and nothing is attached to the
# parameters that would be saved.
_penalized_gradients: Any = WeakTensorKeyDictionary()


@functools.cache
def _watch_optimizers() -> None:
    register_optimizer_step_pre_hook(_before_step)


def _remember(entries: list[_Entry]) -> None:
    _watch_optimizers()
    for entry in entries:
        if entry.is_penalized and entry.tensor.grad is not None:  # a hook may have used it up
            _penalized_gradients[entry.tensor] = entry.name, TensorWeakRef(entry.tensor.grad)


def _before_step(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
    """Warn if an optimizer is about to add a weight decay to gradients that contain the penalty."""
    if not _penalized_gradients:
        return
    twice = []
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            # This step uses the gradient up; what is in the next one is for the next backward pass to say.
            name, gradient = _penalized_gradients.pop(parameter, (None, None))
            if name is None or gradient() is not parameter.grad:
                continue
            if group.get("weight_decay", 0) > 0:
                twice.append((name, group["weight_decay"]))
    if twice:
        name, decay = twice[0]
        others = f" and {len(twice) - 1} more" if len(twice) > 1 else ""
        warnings.warn(
            f"{name}{others}: penalized twice, by L2RegularizationLayer and by "
            f"weight_decay={float(decay):g} of {type(optimizer).__name__}. Create the optimizer with "
            "weight_decay=0, or use its weight_decay (see param_groups) and loss.backward() instead of "
            "fit_and_backward",
            UserWarning,
            stacklevel=3,
        )


# ---- gates -------------------------------------------------------------------------------------------------


class _Gates(nn.Module):
    """The parametrization W ↦ W ⊙ g₁ ⊙ … ⊙ g_{depth−1}."""

    def __init__(self, weight: Tensor, dim: int | None, depth: int) -> None:
        super().__init__()
        self.dim = dim
        shape = tuple(weight.shape) if dim is None else (weight.shape[dim],)
        # This shape makes a vector act along its axis.
        self.broadcast = (
            shape if dim is None else tuple(n if d == dim else 1 for d, n in enumerate(weight.shape))
        )
        self.factors = nn.ParameterList(weight.detach().new_ones(shape) for _ in range(depth - 1))

    def forward(self, weight: Tensor) -> Tensor:
        return weight * functools.reduce(torch.mul, self.factors).view(self.broadcast)


def gate(module: nn.Module, *, dim: int | None = 1, depth: int = 2) -> nn.Module:
    """Write the weight as a product W ⊙ g₁ ⊙ … ⊙ g_{depth−1}, so that L2 on the factors selects.

    At a fixed product, (λ/2)·(‖W_j‖² + Σ g_{kj}²) is least when all factors are equally large, and then it is
    (depth·λ/2)·c^{2/depth}, where c is the norm of the effective weight along index j. For ``depth=2`` that
    is λ·c: the group lasso with ``dim``, the lasso with ``dim=None``. A larger depth penalizes like ℓ_q with
    q = 2/depth < 1, which selects more sharply but has local minima.

    Parameters
    ----------
    module : torch.nn.Module
        The module that owns the weight, such as a ``Linear``. It is changed in place; its output stays.
    dim : int or None, default 1
        Axis of the weight that gets one gate per index. For ``Linear`` and ``Conv``, 1 is one gate per
        input (channel) and 0 one per output (channel). None: one gate per single weight.
    depth : int, default 2
        Number of factors, W included.

    Returns
    -------
    torch.nn.Module
        The same module. ``module.weight`` is now the product, W is
        ``module.parametrizations.weight.original`` (the same parameter as before), the gates are
        ``module.parametrizations.weight[0].factors``, of shape (n,) each, or the weight's for ``dim=None``.

    Notes
    -----
    Gate first and create the optimizer then, since the gates are new parameters. All factors need the same λ:
    if one of them is free, it grows while the others shrink. All gates start at 1 and stay alike; W carries
    the sign. Zeros are approached geometrically and not reached, so a threshold on :func:`gate_strength`
    decides.

    References
    ----------
    P. D. Hoff, "Lasso, fractional norm and structured sparse estimation using a Hadamard product
    parametrization", Computational Statistics & Data Analysis 115, 2017.

    L. Ziyin and Z. Wang, "spred: Solving L1 penalty with SGD", ICML 2023.

    C. Kolb, L. Frost, B. Bischl and D. Rügamer, "Differentiable sparsity via D-gating: simple and versatile
    structured penalization", NeurIPS 2025.

    Examples
    --------
    >>> model = nn.Sequential(gate(nn.Linear(64, 32), depth=3), nn.ReLU(), nn.Linear(32, 10))
    >>> optimizer = torch.optim.SGD(param_groups(model, 1e-3), lr=0.1, momentum=0.9)
    >>> gate_strength(model[0]).shape
    torch.Size([64])
    """
    weight = module._parameters.get("weight")
    if weight is None:
        raise ValueError(
            f"{type(module).__name__} has no plain parameter 'weight' of its own: it is gated already, or "
            "another layer owns it, as in gate(model[0])"
        )
    if dim is not None and dim not in range(weight.ndim):
        raise ValueError(f"dim={dim!r} is no axis of a weight of shape {tuple(weight.shape)}")
    checks.whole("depth", depth, 2)
    parametrize.register_parametrization(module, "weight", _Gates(weight, dim, depth))
    return module


def gate_strength(module: nn.Module) -> Tensor:
    """Return how much of the effective weight each gate lets through.

    Parameters
    ----------
    module : torch.nn.Module
        A module with gates, see :func:`gate`.

    Returns
    -------
    Tensor, shape (n,), or that of the weight for ``dim=None``
        ‖W_j‖·∏g_j, the Euclidean norm of the effective weight along index j of the gated
        axis; the magnitude of each weight for ``dim=None``. Detached.
    """
    if not parametrize.is_parametrized(module, "weight"):
        raise ValueError(f"the weight of {type(module).__name__} is not gated; call gate(module) first")
    dim = module.parametrizations.weight[0].dim
    weight = module.weight.detach()
    return weight.abs() if dim is None else weight.movedim(dim, 0).flatten(1).norm(dim=1)
