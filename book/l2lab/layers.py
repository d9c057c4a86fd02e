"""The article's L2 layer, made sound, and gates that turn plain weight decay into a feature selector."""

from __future__ import annotations

import functools
import inspect
import itertools
import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.optim.optimizer import Optimizer, register_optimizer_step_pre_hook

from . import checks

__all__ = [
    "BackwardResult", "L2RegularizationLayer", "gate", "gate_strength", "l2_penalty", "param_groups",
]  # fmt: skip

# Layers whose parameters are not penalized: scales and shifts behind a normalization, and the slope of a
# PReLU, which is a part of the activation. They are vectors like a gate, so the shape of a parameter cannot
# tell them apart; the layer that owns it can.
LEFT_OUT = (
    nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm, nn.InstanceNorm1d, nn.InstanceNorm2d,
    nn.InstanceNorm3d, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.PReLU,
)  # fmt: skip
# A mark on a gradient that contains a penalty: the name of its parameter. It goes when the gradient goes, as
# in zero_grad, and nothing is attached to the parameter, which would be saved and copied.
MARK = "_l2_penalty_of"
# What an owner of parameters may say of them: ``rule(module, name)``.
Choice = Callable[[nn.Module, str], bool]


# ---- which parameters, and with which λ --------------------------------------------------------------------


class _Rule(NamedTuple):
    """λ and choice of parameters below a module."""

    lam: float
    penalize: str | Choice
    exempts: bool

    @classmethod
    def check(cls, lam: float, penalize: str | Choice) -> _Rule:
        if not callable(penalize):
            checks.one_of("penalize", penalize, ("weights", "all"))
        lam = checks.number("lam", lam, 0, math.inf)
        # apart from λ, so that compiled code may ask for it and yet serve every λ
        return cls(lam, penalize, lam == 0)

    def picks(self, module: nn.Module, name: str) -> bool:
        """Say whether the parameter of this name that a module owns is penalized."""
        if callable(self.penalize):
            return bool(self.penalize(module, name))
        # biases by torch's names: bias, bias_ih_l0, in_proj_bias, …
        is_bias = name == "bias" or name.startswith("bias_") or name.endswith("_bias")
        return self.penalize == "all" or not (isinstance(module, LEFT_OUT) or is_bias)


class _Entry(NamedTuple):
    """A parameter, its name from the root, its rule (None: it is left out) and the layer that has set it."""

    name: str
    tensor: Tensor
    rule: _Rule | None
    layer: L2RegularizationLayer | None

    @property
    def lam(self) -> float:
        return self.rule.lam if self.rule else 0.0

    @property
    def is_penalized(self) -> bool:
        # Frozen parameters are constants, and so would be their penalty.
        return self.rule is not None and not self.rule.exempts and self.tensor.requires_grad


def _visit(
    module: nn.Module,
    prefix: str,
    rule: _Rule | None,
    layer: L2RegularizationLayer | None,
    found: dict[int, _Entry],
) -> None:
    """Walk a tree and note every parameter that lies under a rule, with the innermost one."""
    if isinstance(module, L2RegularizationLayer):
        rule, layer = module.rule, module
    if rule is not None:
        for name, tensor in module._parameters.items():
            if tensor is None:
                continue
            entry = _Entry(prefix + name, tensor, rule if rule.picks(module, name) else None, layer)
            first = found.setdefault(id(tensor), entry)
            if first.rule is not entry.rule and first.lam != entry.lam:
                raise ValueError(
                    f"{first.name} and {entry.name} are one shared tensor, but λ is {first.lam:g} "
                    f"for the first and {entry.lam:g} for the second; give both the same λ and the same "
                    "penalize, or do not share the tensor"
                )
    for name, child in module._modules.items():
        if child is not None:
            _visit(child, f"{prefix}{name}.", rule, layer, found)


def _entries(module: nn.Module, rule: _Rule | None, may_be_none: bool = False) -> list[_Entry]:
    """List every parameter once as it stands in the modules now, with the λ of the innermost rule."""
    found: dict[int, _Entry] = {}
    _visit(module, "", rule, None, found)
    if not may_be_none and all(entry.rule is None for entry in found.values()):
        raise ValueError(
            f"there is nothing to penalize among the parameters {[entry.name for entry in found.values()]}; "
            "wrap what is to be penalized in an L2RegularizationLayer, or choose penalize='all'"
        )
    return list(found.values())


def penalized_parameters(module: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters that an L2 penalty on a module acts on, by name; may be empty."""
    entries = _entries(module, _Rule.check(1.0, "weights"), may_be_none=True)
    return {entry.name: entry.tensor for entry in entries if entry.is_penalized}


def param_groups(module: nn.Module, lam: float, penalize: str | Choice = "weights") -> list[dict[str, Any]]:
    """Split the parameters of a module into groups for an optimizer, so that only some of them decay.

    Parameters
    ----------
    module : torch.nn.Module
        Any module. Inside a :class:`L2RegularizationLayer` its λ and its rule hold: one group per λ.
    lam : float
        λ ≥ 0, the ``weight_decay`` of the penalized group.
    penalize : {"weights", "all"} or callable, default "weights"
        As in :class:`L2RegularizationLayer`.

    Returns
    -------
    list of dict
        Groups with ``"params"`` and ``"weight_decay"``: the penalized parameters, if there are any; then the
        others with ``weight_decay=0.0``. Together they hold each parameter once, frozen ones too.
    """
    decayed: dict[float, list[Tensor]] = {}
    rest: list[Tensor] = []
    for entry in _entries(module, _Rule.check(lam, penalize), may_be_none=True):
        if entry.rule is None:
            rest.append(entry.tensor)
        else:
            decayed.setdefault(entry.lam, []).append(entry.tensor)
    groups = [{"params": tensors, "weight_decay": value} for value, tensors in decayed.items()]
    return [*groups, {"params": rest, "weight_decay": 0.0}]


# ---- the penalty -------------------------------------------------------------------------------------------


def _real(tensor: Tensor) -> Tensor:
    """Return a tensor as a vector of reals, in at least 32 bits, which can hold their squares."""
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor)
    if tensor.dtype.itemsize < 4:
        tensor = tensor.float()  # the square of 256 is too large for float16
    return tensor.flatten()


def call(module: nn.Module, inputs: Any) -> Any:
    """Call a module with a tuple as ``module(*inputs)``, a mapping as ``module(**inputs)``, else `inputs`."""
    if isinstance(inputs, tuple):
        return module(*inputs)
    return module(**inputs) if isinstance(inputs, Mapping) else module(inputs)


def map_tensors(function: Callable[[Tensor], Tensor], value: Any) -> Any:
    """Apply a function to all tensors in nested tuples, lists and mappings."""
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, Mapping):
        return {key: map_tensors(function, item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        items = [map_tensors(function, item) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return value


def _by_layer(entries: list[_Entry]) -> dict[L2RegularizationLayer, list[_Entry]]:
    """Sort what is penalized by the layer whose λ it has."""
    groups: dict[L2RegularizationLayer, list[_Entry]] = {}
    for entry in entries:
        if entry.rule is not None and not entry.rule.exempts:
            groups.setdefault(entry.layer, []).append(entry)
    return groups


def _penalty(entries: list[_Entry]) -> Tensor:
    total = torch.zeros((), device=entries[0].tensor.device)
    for layer, group in _by_layer(entries).items():
        squares = [_real(entry.tensor).square().sum() for entry in group if entry.is_penalized]
        if squares:
            # For a deep network, one sum is faster than a chain of additions.
            norm = torch.stack(squares).sum()
            total = total + 0.5 * layer.strength.to(norm) * norm
    return total


def _add_gradient(group: list[_Entry], lam: float) -> Tensor | None:
    """Add λw to the gradients of some weights, mark these, and return the penalty."""
    gradients, weights, squares = [], [], None
    for name, w, *_ in group:
        if not w.requires_grad:
            continue
        gradient = w.grad
        if gradient is None:  # the loss does not reach it
            gradient = w.grad = torch.zeros_like(w)
        elif gradient.layout != torch.strided:  # that of a sparse embedding
            gradient = w.grad = gradient.to_dense()
        vector = _real(w)
        square = vector.dot(vector)
        squares = square if squares is None else squares.add_(square)
        setattr(gradient, MARK, name)
        gradients.append(gradient)
        weights.append(w)
    if squares is None:
        return None
    torch._foreach_add_(gradients, weights, alpha=lam)
    return squares.mul_(0.5 * lam)


def l2_penalty(module: nn.Module) -> Tensor:
    """Sum the penalties of all :class:`L2RegularizationLayer` inside a model.

    Parameters
    ----------
    module : torch.nn.Module
        The model, with at least one such layer; may be one itself.

    Returns
    -------
    Tensor, shape ()
        ½·Σ λ‖w‖², each parameter counted once with the λ of the innermost layer around it.
    """
    return _penalty(_entries(module, None))


class BackwardResult(NamedTuple):
    """What :meth:`L2RegularizationLayer.fit_and_backward` returns; no tensor in it carries a gradient."""

    loss: Tensor  # the criterion alone
    penalty: Tensor
    output: Any  # of the module: a tensor, or a tuple, list or mapping of tensors


def _as_tensor(lam: float, device: torch.device) -> Tensor:
    """λ beside the weights; no weights of the meta device, where it would have no value."""
    device = torch.device("cpu") if device.type == "meta" else device
    return torch.tensor(lam, dtype=torch.float32 if device.type == "mps" else torch.float64, device=device)


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
        torch's normalization layers, and the slope of ``PReLU``. ``"all"``: every parameter. Or a rule:
        ``penalize(module, name)`` says whether the parameter of this name, which this module owns, counts.

    Notes
    -----
    *Layers in layers.* A parameter is counted once, with λ and rule of the innermost layer around it; an
    inner layer with ``lam=0`` exempts its part. A parameter shared between modules is counted once, too; if
    it lies under different λ, that is a ValueError. Frozen parameters are not penalized.

    *State.* In ``state_dict`` λ is there as ``strength``, a float64 that stays one when the module changes
    its type. A new λ does not make ``torch.compile`` begin anew, except between 0 and more.

    *Several processes.* Wrap the outside: ``L2RegularizationLayer(DistributedDataParallel(net), lam)`` adds
    λw to the averaged gradient. Or use ``DistributedDataParallel(layer)`` with ``criterion(ddp(x), y) +
    l2_penalty(ddp)``; the mean of equal λw is λw.

    *Differences from* ``weight_decay``: a parameter that the loss does not reach has no gradient, and an
    optimizer does not let it decay, but the penalty does. With AdamW the two are not the same at all.
    """

    strength: Tensor

    def __init__(self, module: nn.Module, lam: float, *, penalize: str | Choice = "weights") -> None:
        super().__init__()
        self.module = module
        self.rule = _Rule.check(lam, penalize)
        self._walk: Any = None
        self.register_buffer("strength", _as_tensor(self.rule.lam, _entries(self, None)[0].tensor.device))

    def _groups(self) -> dict[L2RegularizationLayer, list[_Entry]]:
        """Sort the parameters; walk the tree only if a parameter, a module or a rule in it is another one."""
        if self._walk is None or self._walk.parts() != self._walk.seen:
            self._walk = _Walk.of(self)
        return self._walk.groups

    @property
    def lam(self) -> float:
        """Strength λ of the penalty, a finite number ≥ 0."""
        return self.rule.lam

    @lam.setter
    def lam(self, value: float) -> None:
        self.rule = _Rule.check(value, self.rule.penalize)
        self.strength.fill_(self.rule.lam)  # in place: compiled code holds this tensor

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> L2RegularizationLayer:
        """Move λ with the parameters, but not to their type: in half precision it would be another λ."""
        self.strength = self.strength.float()  # which every device has
        super()._apply(fn, recurse)
        self.strength = _as_tensor(self.rule.lam, self.strength.device)
        return self

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        state_dict.setdefault(f"{prefix}strength", self.strength)
        super()._load_from_state_dict(state_dict, prefix, *args)
        self.rule = _Rule.check(self.strength.item(), self.rule.penalize)

    def extra_repr(self) -> str:
        """Show λ and the rule where the model is printed."""
        how = self.rule.penalize
        return f"lam={self.rule.lam:g}, penalize={getattr(how, '__name__', repr(how))}"

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the module. The penalty does not change the output."""
        return self.module(*args, **kwargs)

    def get_l2_regularizer(self) -> Tensor:
        """Compute the penalty, see :func:`l2_penalty`; half precision is summed in float32."""
        return l2_penalty(self)

    def param_groups(self) -> list[dict[str, Any]]:
        """Return the same penalty as ``weight_decay`` of groups: for use without :meth:`fit_and_backward`."""
        return param_groups(self, self.lam, self.rule.penalize)

    def fit_and_backward(
        self, inputs: Any, target: Any, criterion: Callable[[Any, Any], Tensor]
    ) -> BackwardResult:
        """Run one batch forward and backward: the gradient of loss + penalty is added to every ``.grad``.

        When gradients of several batches are accumulated, the penalty counts once per call: divide the
        criterion *and* λ by the number of calls. If the optimizer has ``weight_decay`` > 0 for a parameter
        whose gradient contains the penalty already, its next ``step`` warns.

        Parameters
        ----------
        inputs : Tensor, tuple, mapping or Any
            A tuple becomes ``module(*inputs)``, a mapping ``module(**inputs)``, all else ``module(inputs)``.
        target, criterion : Any, callable
            ``criterion(output, target)`` gives the loss, a tensor of shape ().

        Returns
        -------
        BackwardResult
            ``(loss, penalty, output)``, detached.
        """
        if inspect.isclass(criterion):
            name = criterion.__name__
            raise ValueError(f"criterion is the class {name}; it takes an instance: write {name}()")
        output = call(self, inputs)
        loss = criterion(output, target)
        penalty = self._backward(loss)
        _watch_optimizers()
        return BackwardResult(loss.detach(), penalty, map_tensors(Tensor.detach, output))

    def _backward(self, loss: Tensor) -> Tensor:
        """Run loss + penalty backward, and return the penalty."""
        # λw is added to the gradient of the loss, as an optimizer does it for weight_decay: nodes of autograd
        # for every weight cost more than the arithmetic. Where a hook looks at a gradient on its way, it must
        # see all of it, and autograd does the whole.
        groups = self._groups()
        watched = not loss.requires_grad
        for group in groups.values():
            for _, w, *_ in group:
                watched = watched or w._backward_hooks or w._post_accumulate_grad_hooks or not w.is_leaf
        if watched:
            penalty = l2_penalty(self)
            (loss + penalty).backward()
            for group in groups.values():
                for entry in group:
                    if entry.tensor.grad is not None:  # a hook may have used it up
                        setattr(entry.tensor.grad, MARK, entry.name)
            return penalty.detach()
        loss.backward()
        total = None
        with torch.no_grad():
            for layer, group in groups.items():
                penalty = _add_gradient(group, layer.rule.lam)
                if penalty is not None:
                    total = penalty if total is None else total + penalty
        return torch.zeros_like(loss) if total is None else total


class _Walk(NamedTuple):
    """What a walk through the tree of a layer has found, and of what the tree consisted."""

    modules: list[nn.Module]  # kept: if one were deleted, another one could get its number
    held: list[dict[str, Any]]
    layers: list[L2RegularizationLayer]
    seen: list[int]
    groups: dict[L2RegularizationLayer, list[_Entry]]

    @classmethod
    def of(cls, layer: L2RegularizationLayer) -> _Walk:
        modules = list(layer.modules())
        held = [parts for m in modules for parts in (m._parameters, m._modules)]
        layers = [m for m in modules if isinstance(m, L2RegularizationLayer)]
        walk = cls(modules, held, layers, [], _by_layer(_entries(layer, None)))
        return walk._replace(seen=walk.parts())

    def parts(self) -> list[int]:
        """Number all parameters, modules and rules as they are now."""
        parts = itertools.chain.from_iterable(map(dict.values, self.held))
        return [*map(id, parts), *[id(layer.rule) for layer in self.layers]]


# ---- a penalty that is counted twice -----------------------------------------------------------------------


@functools.cache
def _watch_optimizers() -> None:
    register_optimizer_step_pre_hook(_before_step)


def _before_step(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
    """Warn if an optimizer is about to add a weight decay to gradients that contain the penalty."""
    twice = []
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            name = getattr(parameter.grad, MARK, None)
            if name is None:
                continue
            # This step uses the gradient up; what is in the next one is for the next backward pass to say.
            delattr(parameter.grad, MARK)
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
    (depth·λ/2)·c^{2/depth} with c the norm of the effective weight along index j. For ``depth=2`` that is the
    group lasso, or with ``dim=None`` the lasso. A larger depth penalizes like ℓ_q with q = 2/depth < 1.

    Parameters
    ----------
    module : torch.nn.Module
        What owns the weight, such as a ``Linear``. It is changed in place; its output stays.
    dim, depth : int or None, int
        Axis of the weight that gets one gate per index: 1 is one per input (channel), 0 one per output
        (channel), None one per single weight. Number of factors, W included.

    Returns
    -------
    torch.nn.Module
        The same module. ``module.weight`` is now the product, W (the same parameter as before) is
        ``module.parametrizations.weight.original``, the gates ``module.parametrizations.weight[0].factors``.

    Notes
    -----
    Gate first and create the optimizer then, since the gates are new parameters. All factors need the same λ:
    if one of them is free, it grows while the others shrink. Gates start at 1. Zeros are approached
    geometrically and not reached, so a threshold on :func:`gate_strength` decides.

    References
    ----------
    Hoff, Computational Statistics & Data Analysis 115, 2017; Ziyin and Wang, "spred: Solving L1 penalty with
    SGD", ICML 2023; Kolb et al., "Differentiable sparsity via D-gating", NeurIPS 2025.
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
        ‖W_j‖·∏g_j, the norm of the effective weight along index j of the gated axis; detached.
    """
    if not parametrize.is_parametrized(module, "weight"):
        raise ValueError(f"the weight of {type(module).__name__} is not gated; call gate(module) first")
    dim = module.parametrizations.weight[0].dim
    weight = module.weight.detach()
    return weight.abs() if dim is None else weight.movedim(dim, 0).flatten(1).norm(dim=1)
