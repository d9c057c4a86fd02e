"""The article's L2 layer, made sound, and gates that turn plain weight decay into a feature selector.

:class:`L2RegularizationLayer` wraps a module and knows its penalty (λ/2)·‖w‖². The output is that of the
module: a penalty has no output of its own. With SGD, training through it and ``weight_decay=λ`` on the same
parameters (:func:`param_groups`) are the same thing.

:func:`gate` writes a weight as a product of factors. L2 on the factors is then no longer L2 on the weight:
with one gate per input it is the group lasso, which selects.
"""

from __future__ import annotations

import functools
import inspect
import math
import numbers
import warnings
import weakref
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.optim.optimizer import Optimizer, register_optimizer_step_pre_hook
from torch.utils.weak import WeakTensorKeyDictionary

__all__ = [
    "BackwardResult",
    "L2RegularizationLayer",
    "gate",
    "gate_strength",
    "gate_values",
    "l2_penalty",
    "param_groups",
    "penalized_parameters",
    "ungate",
]

Penalize = str | Callable[[str, nn.Parameter], bool]

# Layers whose scale and shift are not penalized. Their parameters are vectors like a gate, so the shape of a
# parameter cannot tell them apart; the layer that owns it can.
NORM_LAYERS = (
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.SyncBatchNorm,
    nn.InstanceNorm1d,
    nn.InstanceNorm2d,
    nn.InstanceNorm3d,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
)


# ---- which parameters, and with which λ --------------------------------------------------------------------


class _Rule(NamedTuple):
    """λ and choice of parameters below a module; the choice sees names without `prefix`."""

    lam: float
    penalize: Penalize
    prefix: str


class _Entry(NamedTuple):
    """A parameter, its name from the root, and its λ (None: the rule leaves it out)."""

    name: str
    tensor: Tensor
    lam: float | None


def _check_module(module: Any) -> None:
    if not isinstance(module, nn.Module):
        raise TypeError(f"module must be a torch.nn.Module, got {type(module).__name__}")


def _check_lam(lam: Any) -> float:
    if isinstance(lam, bool) or not isinstance(lam, numbers.Real) or not math.isfinite(lam) or lam < 0:
        raise ValueError(f"lam must be a finite number of at least 0, for example 1e-3, got {lam!r}")
    return float(lam)


def _check_penalize(penalize: Any) -> Penalize:
    if penalize not in ("weights", "all") and not callable(penalize):
        raise ValueError(
            f"penalize={penalize!r} is not known; use 'weights', 'all' or a function of name and parameter"
        )
    return penalize


def _is_bias(name: str) -> bool:
    """Say whether a parameter is a bias by torch's names: bias, bias_ih_l0, in_proj_bias, ….

    A parametrized tensor is stored as ``….parametrizations.NAME.original``; NAME is what counts.
    """
    _, found, rest = f".{name}".rpartition(".parametrizations.")
    own = rest.partition(".")[0] if found else name.rpartition(".")[2]
    return own == "bias" or own.startswith("bias_") or own.endswith("_bias")


def _is_picked(rule: _Rule, name: str, tensor: Tensor, in_norm: bool, gated: bool) -> bool:
    if rule.penalize == "all":
        return True
    if rule.penalize == "weights":
        # Who gates a bias or a scale wants it penalized. And all factors or none: a factor without a penalty
        # would grow while the others shrink, and nothing would be selected.
        return gated or not (in_norm or _is_bias(name))
    return bool(rule.penalize(name.removeprefix(rule.prefix), tensor))


def _visit(
    module: nn.Module,
    name: str,
    rule: _Rule | None,
    in_norm: bool,
    gated: bool,
    seen: set[tuple[int, str | None, bool, bool]],
) -> Iterator[_Entry]:
    """Walk a tree and yield every parameter that lies under a rule, a shared one once per way to it."""
    if isinstance(module, L2RegularizationLayer):
        rule = _Rule(module.lam, module.penalize, f"{name}module.")
    in_norm = in_norm or isinstance(module, NORM_LAYERS)
    if isinstance(module, parametrize.ParametrizationList):
        gated = gated or _find_gates(module) is not None
    state = (id(module), rule and rule.prefix, in_norm, gated)
    if state in seen:
        return
    seen.add(state)
    if rule is not None:
        # The replicas of nn.DataParallel keep their tensors, which are no parameters, under the other name.
        tensors = {**module.__dict__.get("_former_parameters", {}), **module._parameters}
        for own, tensor in tensors.items():
            if tensor is None:
                continue
            if isinstance(tensor, nn.UninitializedParameter):
                raise ValueError(
                    f"{name}{own} has no shape yet: pass one batch through the lazy module, then use it here"
                )
            picked = _is_picked(rule, name + own, tensor, in_norm, gated)
            yield _Entry(name + own, tensor, rule.lam if picked else None)
    for own, child in module._modules.items():
        if child is not None:
            yield from _visit(child, f"{name}{own}.", rule, in_norm, gated, seen)


def _entries(module: nn.Module, rule: _Rule | None) -> list[_Entry]:
    """List every parameter once, with the λ of the innermost rule.

    The tensors are looked up at every call. So the penalty is right whatever stands in the modules at that
    time: loaded, moved or replaced parameters, or the tensors of ``torch.func.functional_call``.
    """
    found: dict[int, _Entry] = {}
    for entry in _visit(module, "", rule, False, False, set()):
        first = found.setdefault(id(entry.tensor), entry)
        if (first.lam or 0.0) != (entry.lam or 0.0):
            raise ValueError(
                f"{first.name} and {entry.name} are one shared tensor, but λ is {first.lam or 0.0:g} "
                f"for the first and {entry.lam or 0.0:g} for the second; give both the same λ and the same "
                "penalize, or do not share the tensor"
            )
    return list(found.values())


def _require_some(entries: list[_Entry]) -> None:
    if not entries:
        raise ValueError("module has no parameters, so there is nothing to penalize")
    if all(entry.lam is None for entry in entries):
        names = ", ".join(entry.name for entry in entries)
        raise ValueError(
            f"penalize leaves out every parameter ({names}), so there is nothing to penalize; "
            "choose another rule, for example penalize='all'"
        )


def _is_frozen(tensor: Tensor) -> bool:
    # Only a parameter can be frozen. A plain tensor without gradient is in place for a while, for instance to
    # evaluate the objective at other weights, and its penalty is wanted.
    return isinstance(tensor, nn.Parameter) and not tensor.requires_grad


def _acts_on(entry: _Entry) -> bool:
    return bool(entry.lam) and not _is_frozen(entry.tensor)


def penalized_parameters(module: nn.Module, penalize: Penalize = "weights") -> dict[str, nn.Parameter]:
    """Return the parameters that an L2 penalty on a module acts on.

    Parameters
    ----------
    module : torch.nn.Module
        Any module.
    penalize : {"weights", "all"} or callable, default "weights"
        As in :class:`L2RegularizationLayer`. Parameters inside such a layer follow the rule of that layer
        instead, and are left out if its λ is 0.

    Returns
    -------
    dict of str to torch.nn.Parameter
        By name, as in ``module.named_parameters()``; a shared parameter once, frozen ones not at all.

    Raises
    ------
    TypeError
        If `module` is no module.
    ValueError
        If `penalize` is not known, a lazy module has not seen data yet, or a shared parameter is penalized
        under one of its names and not, or differently, under another.

    Examples
    --------
    >>> list(penalized_parameters(nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3), nn.Linear(3, 2))))
    ['0.weight', '2.weight']
    """
    _check_module(module)
    entries = _entries(module, _Rule(1.0, _check_penalize(penalize), ""))
    return {entry.name: entry.tensor for entry in entries if _acts_on(entry)}


def param_groups(module: nn.Module, lam: float, penalize: Penalize = "weights") -> list[dict[str, Any]]:
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
        ``weight_decay=0.0``, which may be none. Together they hold each parameter once. If the module
        contains instances of :class:`L2RegularizationLayer`, their λ and rules hold for what is inside, and
        there is one group per λ before the last. Frozen parameters are sorted in as well; optimizers leave
        them alone.

    Raises
    ------
    TypeError
        If `module` is no module.
    ValueError
        As for :class:`L2RegularizationLayer`.

    Examples
    --------
    >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> optimizer = torch.optim.SGD(param_groups(model, 1e-3), lr=0.1, momentum=0.9)
    """
    _check_module(module)
    entries = _entries(module, _Rule(_check_lam(lam), _check_penalize(penalize), ""))
    _require_some(entries)
    decayed: dict[float, list[Tensor]] = {}
    for entry in entries:
        if entry.lam is not None:
            decayed.setdefault(entry.lam, []).append(entry.tensor)
    groups = [{"params": tensors, "weight_decay": value} for value, tensors in decayed.items()]
    rest = [entry.tensor for entry in entries if entry.lam is None]
    return [*groups, {"params": rest, "weight_decay": 0.0}]


# ---- the penalty -------------------------------------------------------------------------------------------


def _squared_norm(tensor: Tensor) -> Tensor:
    """Sum |w|² in at least 32 bits: the square of 256 is too large for float16."""
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor.resolve_conj())
    if torch.finfo(tensor.dtype).bits < 32:
        tensor = tensor.float()
    return tensor.square().sum()


def _penalty(entries: list[_Entry]) -> Tensor:
    device = entries[0].tensor.device  # a model may be split over several
    squares: dict[float, list[Tensor]] = {}
    for entry in entries:
        # λ = 0 costs nothing, and leaves a gradient None or sparse as it is.
        if _acts_on(entry):
            squares.setdefault(entry.lam, []).append(_squared_norm(entry.tensor).to(device))
    total = torch.zeros((), device=device)
    for lam, norms in squares.items():
        # For a deep network, one sum is faster than a chain of additions.
        total = total + 0.5 * lam * torch.stack(norms).sum()
    return total


def l2_penalty(module: nn.Module) -> Tensor:
    """Sum the penalties of all :class:`L2RegularizationLayer` inside a model.

    For models in which several parts are wrapped, but not the whole. Parameters outside of all layers are not
    penalized.

    Parameters
    ----------
    module : torch.nn.Module
        The model; may be such a layer itself.

    Returns
    -------
    Tensor, shape ()
        ½·Σ λ‖w‖², each parameter counted once with the λ of the innermost layer around it. As in
        :meth:`L2RegularizationLayer.get_l2_regularizer`.

    Raises
    ------
    TypeError
        If `module` is no module.
    ValueError
        If there is no such layer inside, or two layers give a shared parameter different λ.
    """
    _check_module(module)
    entries = _entries(module, None)
    if not entries:
        raise ValueError("module contains no L2RegularizationLayer; wrap the parts that are to be penalized")
    return _penalty(entries)


class BackwardResult(NamedTuple):
    """What :meth:`L2RegularizationLayer.fit_and_backward` returns; nothing here carries a gradient.

    Parameters
    ----------
    loss : Tensor, shape ()
        The criterion alone.
    penalty : Tensor, shape ()
        ½·Σ λ‖w‖² before the update. The objective is the sum of the two.
    output : Tensor or Any
        What the module returned, detached if it is a tensor.
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
        ``"weights"``: all parameters except biases (by name: ``bias``, ``bias_…``, ``…_bias``) and the
        parameters of torch's normalization layers; all factors of a gated parameter (:func:`gate`) are
        penalized, whatever it is. ``"all"``: every parameter. Or a function of the name, as in
        ``module.named_parameters()``, and the parameter that says whether to penalize it, for instance for
        normalization layers of your own.

    Raises
    ------
    TypeError
        If `module` is no module.
    ValueError
        If `lam` or `penalize` is not valid, there is nothing to penalize, a lazy module has not seen data
        yet, or a shared parameter would get two different λ.

    See Also
    --------
    param_groups : The same penalty as the optimizer's ``weight_decay``.

    Notes
    -----
    *Layers in layers.* A parameter is counted once, with λ and rule of the innermost layer around it. An
    inner layer with ``lam=0`` exempts its part. A parameter shared between modules is counted once, too; if
    it lies under different λ, that is an error.

    *Frozen parameters* (``requires_grad=False``) are not penalized: they are constants, and so would be their
    penalty.

    *Saving.* The names in ``state_dict`` get the prefix ``module.``; ``layer.module.state_dict()`` is that of
    the bare module. λ is a setting and not part of it. Pickling needs a `penalize` that can be pickled (no
    lambda) and no gates, of which torch saves only the ``state_dict``.

    *Other wrappers* belong inside: ``L2RegularizationLayer(nn.DataParallel(net), lam)``. Compile with
    ``layer.compile()``, or compile the module inside: ``torch.compile(layer).fit_and_backward`` runs the
    uncompiled module.

    *Differences from* ``weight_decay``: a parameter that the loss does not reach has no gradient, and an
    optimizer does not let it decay, but the penalty does. The penalty's gradient is dense, also for a sparse
    embedding. With AdamW the two are not the same at all.

    Examples
    --------
    >>> layer = L2RegularizationLayer(nn.Linear(4, 2), lam=1e-3)
    >>> optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)  # no weight_decay: the layer does it
    >>> x, y = torch.randn(8, 4), torch.randint(0, 2, (8,))
    >>> optimizer.zero_grad()
    >>> loss, penalty, output = layer.fit_and_backward(x, y, nn.CrossEntropyLoss())
    >>> optimizer.step()
    """

    def __init__(self, module: nn.Module, lam: float, *, penalize: Penalize = "weights") -> None:
        _check_module(module)
        super().__init__()
        self.module = module
        self.lam = lam
        self.penalize = _check_penalize(penalize)
        _require_some(self._entries())

    @property
    def lam(self) -> float:
        """Strength λ of the penalty, a finite number ≥ 0."""
        return self._lam

    @lam.setter
    def lam(self, value: float) -> None:
        self._lam = _check_lam(value)

    def extra_repr(self) -> str:
        """Show λ and the rule where the model is printed."""
        rule = self.penalize
        return f"lam={self.lam:g}, penalize={getattr(rule, '__name__', repr(rule))}"

    def _entries(self) -> list[_Entry]:
        return _entries(self, None)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the module. The penalty does not change the output.

        Parameters
        ----------
        *args, **kwargs : Any
            Passed on.

        Returns
        -------
        Any
            ``module(*args, **kwargs)``.
        """
        return self.module(*args, **kwargs)

    def get_l2_regularizer(self) -> Tensor:
        """Compute the penalty ½·Σ λ‖w‖² of all parameters inside, with the λ of the innermost layer each.

        Add it to the loss to train; autograd gives its gradient λ·w. Unlike :meth:`fit_and_backward`, this
        cannot know whether the optimizer penalizes the same parameters again.

        Returns
        -------
        Tensor, shape ()
            On the device of the first parameter, in float32 or better: half precision is summed in float32. A
            constant 0 if every λ is 0 or everything is frozen.

        Raises
        ------
        ValueError
            If a shared parameter lies under two different λ by now.
        """
        return _penalty(self._entries())

    def param_groups(self) -> list[dict[str, Any]]:
        """Return the same penalty as ``weight_decay`` of parameter groups.

        Use either these groups or :meth:`fit_and_backward`, never both.

        Returns
        -------
        list of dict
            As from :func:`param_groups`: one group per λ, then the parameters that are not penalized.
        """
        return param_groups(self, self.lam, self.penalize)

    def fit_and_backward(
        self,
        x: Any,
        y: Any,
        criterion: Callable[[Any, Any], Tensor],
        *,
        scaler: torch.amp.GradScaler | None = None,
    ) -> BackwardResult:
        """Run one batch forward and backward: the gradient of loss + penalty is added to every ``.grad``.

        Like ``loss.backward()`` it neither clears gradients first nor changes parameters; that is up to
        ``optimizer.zero_grad()`` and ``optimizer.step()``. The module may be in training or evaluation mode.
        When gradients of several batches are accumulated, the penalty counts once per call: divide the
        criterion *and* λ by the number of calls.

        Parameters
        ----------
        x : Tensor or Any
            Passed to the module.
        y : Tensor or Any
            Targets, passed to the criterion.
        criterion : callable
            ``criterion(output, y)`` must give the loss as a tensor of shape (), such as
            ``nn.CrossEntropyLoss()``.
        scaler : torch.amp.GradScaler, optional
            For mixed precision. Scales loss + penalty once; then call ``scaler.step(optimizer)``.

        Returns
        -------
        BackwardResult
            ``(loss, penalty, output)``, detached.

        Raises
        ------
        ValueError
            If `criterion` is a class instead of an instance, or its result is no scalar that depends on a
            trainable parameter.
        RuntimeError
            If gradients are switched off, as under ``torch.no_grad()``.

        Warns
        -----
        UserWarning
            At the next ``step`` of an optimizer that has ``weight_decay`` > 0 for a parameter whose gradient
            contains the penalty already; once per optimizer. A compiled step is not checked.
        """
        _check_criterion(criterion)
        if not torch.is_grad_enabled():
            raise RuntimeError(
                "gradients are switched off (no_grad or inference_mode); call fit_and_backward outside of it"
            )
        output = self(x)
        loss = criterion(output, y)
        if not isinstance(loss, Tensor) or loss.ndim:
            got = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
            raise ValueError(
                f"criterion must give a tensor of shape (), got {got}; use reduction='mean' or take the mean"
            )
        if not loss.requires_grad:
            raise ValueError(
                "the loss depends on no trainable parameter; unfreeze one, and do not detach output or loss"
            )
        entries = self._entries()
        penalty = _penalty(entries)
        objective = loss + penalty.to(loss.device)
        # Autocast is for the forward pass only; the caller may still be inside of it.
        with torch.autocast(objective.device.type, enabled=False):
            (objective if scaler is None else scaler.scale(objective)).backward()
        _remember(entries)
        detached = output.detach() if isinstance(output, Tensor) else output
        return BackwardResult(loss.detach(), penalty.detach(), detached)


def _check_criterion(criterion: Any) -> None:
    if inspect.isclass(criterion):
        raise ValueError(
            f"criterion is the class {criterion.__name__}; it takes an instance: write {criterion.__name__}()"
        )
    if not callable(criterion):
        raise ValueError(
            f"criterion must be a function of output and y, such as nn.CrossEntropyLoss(), got {criterion!r}"
        )


# ---- a penalty that is counted twice -----------------------------------------------------------------------

# Parameters whose gradient contains a penalty since their optimizer's last step, with their names. Both are
# weak: neither parameters nor optimizers are kept alive, and nothing is attached to them that would be saved.
_penalized_gradients: Any = WeakTensorKeyDictionary()
_warned: Any = weakref.WeakSet()


@functools.cache
def _watch_optimizers() -> None:
    register_optimizer_step_pre_hook(_before_step)


def _remember(entries: list[_Entry]) -> None:
    if torch.compiler.is_compiling():
        return
    _watch_optimizers()
    for entry in entries:
        if _acts_on(entry):
            _penalized_gradients[entry.tensor] = entry.name


def _before_step(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
    """Warn if an optimizer is about to add a weight decay to gradients that contain the penalty."""
    if torch.compiler.is_compiling() or not _penalized_gradients:
        return
    twice = []
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            # This step uses the gradient up; what is in the next one is for the next backward pass to say.
            name = _penalized_gradients.pop(parameter, None)
            if name is not None and group.get("weight_decay", 0) > 0:
                twice.append((name, group["weight_decay"]))
    if not twice or optimizer in _warned:
        return
    _warned.add(optimizer)
    (name, decay), more = twice[0], len(twice) - 1
    others = f" and {more} more" if more else ""
    warnings.warn(
        f"{name}{others}: penalized twice, by L2RegularizationLayer and by weight_decay={float(decay):g} of "
        f"{type(optimizer).__name__}. Create the optimizer with weight_decay=0, or use its weight_decay (see "
        "param_groups) and loss.backward() instead of fit_and_backward",
        UserWarning,
        stacklevel=3,
    )


# ---- gates -------------------------------------------------------------------------------------------------


class _Gates(nn.Module):
    """The parametrization W ↦ W ⊙ g₁ ⊙ … ⊙ g_{depth−1}."""

    def __init__(self, weight: Tensor, dim: int | None, depth: int, init: float) -> None:
        super().__init__()
        self.dim = dim
        shape = tuple(weight.shape) if dim is None else (weight.shape[dim],)
        # This shape makes a vector act along its axis.
        self.broadcast = (
            shape if dim is None else tuple(n if d == dim else 1 for d, n in enumerate(weight.shape))
        )
        self.factors = nn.ParameterList(weight.detach().new_full(shape, init) for _ in range(depth - 1))

    def product(self) -> Tensor:
        return functools.reduce(torch.mul, self.factors)

    def forward(self, weight: Tensor) -> Tensor:
        return weight * self.product().view(self.broadcast)

    def extra_repr(self) -> str:
        return f"dim={self.dim}, depth={len(self.factors) + 1}"


def _find_gates(parametrizations: nn.Module) -> _Gates | None:
    return next((child for child in parametrizations.children() if isinstance(child, _Gates)), None)


def _gates_of(module: nn.Module, name: str) -> _Gates:
    _check_module(module)
    gates = _find_gates(module.parametrizations[name]) if parametrize.is_parametrized(module, name) else None
    if gates is None:
        raise ValueError(
            f"{name!r} of {type(module).__name__} is not gated; call gate(module, {name!r}) first"
        )
    return gates


def _own_class(module: nn.Module) -> None:
    """Give a parametrized module a class of its own.

    torch puts the parametrized weight into the class, and a deep copy has the same class: to gate or to
    ungate the copy would break the original.
    """
    if parametrize.is_parametrized(module):
        old = type(module)
        namespace = {key: value for key, value in vars(old).items() if key not in ("__dict__", "__weakref__")}
        module.__class__ = type(old.__name__, old.__bases__, namespace)


def gate(
    module: nn.Module, name: str = "weight", *, dim: int | None = 1, depth: int = 2, init: float = 1.0
) -> nn.Module:
    """Write a weight as a product W ⊙ g₁ ⊙ … ⊙ g_{depth−1}, so that L2 on the factors selects.

    At a fixed product, (λ/2)·(‖W_j‖² + Σ g_{kj}²) is least when all factors are equally large, and then it is
    (depth·λ/2)·c^{2/depth}, where c is the norm of the effective weight along index j. For ``depth=2`` that
    is λ·c: the group lasso with ``dim``, the lasso with ``dim=None`` (Hoff 2017, Ziyin and Wang 2023). A
    larger depth penalizes like ℓ_q with q = 2/depth < 1, which selects more sharply but has local minima
    (Kolb et al. 2025).

    Parameters
    ----------
    module : torch.nn.Module
        The module that owns the parameter, such as a ``Linear``. It is changed in place.
    name : str, default "weight"
        The parameter.
    dim : int or None, default 1
        Axis of the parameter that gets one gate per index. For ``Linear`` and ``Conv``, 1 is one gate per
        input (channel) and 0 one per output (channel); for transposed convolutions it is the other way round.
        None: one gate per single weight.
    depth : int, default 2
        Number of factors, W included.
    init : float, default 1.0
        First value of all gates, not 0. With 1 the output does not change.

    Returns
    -------
    torch.nn.Module
        The same module. ``module.weight`` is now the product, W is
        ``module.parametrizations.weight.original`` (the same parameter as before), the gates are
        ``module.parametrizations.weight[0].factors``, of shape (n,) each, or the weight's for ``dim=None``.

    Raises
    ------
    TypeError
        If `module` is no module.
    ValueError
        If there is no such parameter, it is gated or parametrized already, belongs to a recurrent layer or
        has no shape yet; if `dim`, `depth` or `init` is out of range; or if ``dim=1`` would be shared by the
        groups of a convolution.

    See Also
    --------
    gate_values, gate_strength, ungate : Read the gates, and fold them into the weight.
    L2RegularizationLayer : Its penalty falls on W and on all gates, and not on the product.

    Notes
    -----
    Gate first and create the optimizer then, since the gates are new parameters. All factors need the same λ:
    if one of them is free, it grows while the others shrink. All gates start alike and stay alike; W carries
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
    _check_module(module)
    if parametrize.is_parametrized(module, name):
        done = "gated" if _find_gates(module.parametrizations[name]) else "parametrized"
        raise ValueError(f"{name!r} of {type(module).__name__} is {done} already; remove that first")
    weight = module._parameters.get(name)
    if weight is None:
        own = ", ".join(key for key, value in module._parameters.items() if value is not None)
        raise ValueError(
            f"{type(module).__name__} has no parameter {name!r} of its own (it has: {own or 'none'}); "
            "gate the layer that owns it, for example gate(model[0])"
        )
    if isinstance(weight, nn.UninitializedParameter):
        raise ValueError(f"{name!r} has no shape yet: pass one batch through the lazy module, then gate it")
    if isinstance(module, nn.RNNBase):
        # They keep a second list of their weights, which would not see the gates.
        raise ValueError(f"the weights of {type(module).__name__} cannot be gated; gate a layer before it")
    if dim is not None:
        if isinstance(dim, bool) or not isinstance(dim, int) or not -weight.ndim <= dim < weight.ndim:
            raise ValueError(
                f"dim={dim!r} is no axis of {name!r} with shape {tuple(weight.shape)}; "
                f"use 0 … {weight.ndim - 1}, or None for one gate per weight"
            )
        dim %= weight.ndim
        if dim == 1 and name == "weight" and getattr(module, "groups", 1) > 1:
            raise ValueError(
                f"with groups={module.groups}, dim=1 is one gate for several channels; use dim=0 or None"
            )
    if isinstance(depth, bool) or not isinstance(depth, int) or depth < 2:
        raise ValueError(f"depth must be an integer of at least 2, the weight and one gate, got {depth!r}")
    if (
        isinstance(init, bool)
        or not isinstance(init, numbers.Real)
        or not math.isfinite(init)
        or float(init) == 0
    ):
        raise ValueError(f"init must be a finite number other than 0, for example 1.0, got {init!r}")
    _own_class(module)
    parametrize.register_parametrization(module, name, _Gates(weight, dim, depth, float(init)))
    return module


def gate_values(module: nn.Module, name: str = "weight") -> Tensor:
    """Return the product of the gates.

    Alone it says little about the importance of an input, because W may be large where the gate is small; see
    :func:`gate_strength`.

    Parameters
    ----------
    module : torch.nn.Module
        A module with gates, see :func:`gate`.
    name : str, default "weight"
        The gated parameter.

    Returns
    -------
    Tensor, shape (n,), or that of the weight for ``dim=None``
        g₁ ⊙ … ⊙ g_{depth−1}, detached.

    Raises
    ------
    TypeError
        If `module` is no module.
    ValueError
        If the parameter is not gated.
    """
    with torch.no_grad():
        return _gates_of(module, name).product().clone()


def gate_strength(module: nn.Module, name: str = "weight") -> Tensor:
    """Return how much of the effective weight each gate lets through.

    Parameters
    ----------
    module : torch.nn.Module
        A module with gates, see :func:`gate`.
    name : str, default "weight"
        The gated parameter.

    Returns
    -------
    Tensor, shape (n,), or that of the weight for ``dim=None``
        ‖W_j‖·∏g_j, the Euclidean norm of the effective weight along index j of the gated
        axis; the magnitude of each weight for ``dim=None``. Detached.

    Raises
    ------
    TypeError
        If `module` is no module.
    ValueError
        If the parameter is not gated.
    """
    dim = _gates_of(module, name).dim
    weight = getattr(module, name).detach()
    return weight.abs() if dim is None else weight.movedim(dim, 0).flatten(1).norm(dim=1)


def ungate(module: nn.Module, name: str = "weight") -> nn.Module:
    """Fold the gates into the weight, which is an ordinary parameter again.

    Parameters
    ----------
    module : torch.nn.Module
        A module with gates, see :func:`gate`. It is changed in place.
    name : str, default "weight"
        The gated parameter.

    Returns
    -------
    torch.nn.Module
        The same module, with the same outputs. Create a new optimizer to train it further: the old one still
        holds the gates and a momentum that belongs to W alone.

    Raises
    ------
    TypeError
        If `module` is no module.
    ValueError
        If the parameter is not gated.
    """
    _gates_of(module, name)
    _own_class(module)
    return parametrize.remove_parametrizations(module, name)
