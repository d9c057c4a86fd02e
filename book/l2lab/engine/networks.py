"""Networks with a leading K axis: K copies that share the batch, each with its own weights.

:class:`MLP` and :class:`CNN` are *specifications*. Parameters are dictionaries from the names of the module's
``state_dict`` to tensors (K, ...).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import checks

__all__ = ["CNN", "MLP", "MLPGradient"]

Parameters = Mapping[str, Tensor]


class _Network:
    """What MLP and CNN have in common."""

    @property
    def n_inputs(self) -> int:
        """Numbers in one input."""
        return prod(self.input_shape)

    @property
    def flops_per_sample(self) -> int:
        """Floating point operations in products, per copy and sample, forward and backward."""
        from torch.utils.flop_counter import FlopCounterMode  # half a second

        with torch.device("meta"), FlopCounterMode(display=False) as counter:
            self.module()(torch.empty(1, *self.input_shape)).sum().backward()
        return counter.get_total_flops()

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every parameter of one copy, in the order of ``module().parameters()``."""
        with torch.device("meta"):
            return {name: tuple(p.shape) for name, p in self.module().named_parameters()}

    def init(
        self, seeds: Iterable[int], dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
    ) -> dict[str, Tensor]:
        """Draw initial parameters (K, ...): those of :meth:`module` after ``torch.manual_seed`` of each."""
        seeds = list(seeds)
        drawn: dict[int, dict[str, Tensor]] = {}
        with torch.random.fork_rng(devices=[]):
            for seed in set(seeds):
                torch.default_generator.manual_seed(seed)
                drawn[seed] = {name: p.detach() for name, p in self.module().named_parameters()}
        return {
            name: torch.stack([drawn[seed][name] for seed in seeds]).to(dtype=dtype, device=device)
            for name in self.shapes
        }


@dataclass(frozen=True)
class MLP(_Network):
    """Fully connected network with ReLU between the layers.

    Its outputs on a batch `x` are differentiable with respect to `params`, a dict as from :meth:`init`.

    Parameters
    ----------
    sizes : tuple of int
        Inputs, hidden units of each layer, outputs. Two numbers give a linear model.
    """

    sizes: tuple[int, ...] = (64, 32, 10)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sizes", tuple(self.sizes))
        if len(self.sizes) < 2:
            raise ValueError(f"sizes needs inputs and outputs, for example (64, 10), got {self.sizes}")
        for size in self.sizes:
            checks.whole("sizes", size, 1)

    @property
    def n_outputs(self) -> int:
        """Number of outputs."""
        return self.sizes[-1]

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        return (self.sizes[0],)

    @property
    def activations_per_sample(self) -> int:
        """Numbers per copy and sample that a step works on at a time; decides what fits into a cache."""
        return 2 * sum(self.sizes[1:])

    def module(self) -> nn.Sequential:
        """Build one copy as an ordinary module: ``Linear``, ``ReLU``, …, ``Linear``; takes (B, n_inputs)."""
        layers: list[nn.Module] = []
        for n_in, n_out in pairwise(self.sizes):
            layers += [nn.Linear(n_in, n_out), nn.ReLU()]
        return nn.Sequential(*layers[:-1])

    def forward(self, params: Parameters, x: Tensor) -> Tensor:
        """Compute the outputs (K, B, n_outputs) of all copies on a shared batch `x`, (B, n_inputs)."""
        *hidden, last = _layers(params)
        h = x.T  # features first: (inputs, B), later (K, units, B)
        for weight, bias in hidden:
            h = _linear(weight, bias, h).relu()
        return _linear(*last, h).transpose(1, 2)


def _layers(params: Parameters) -> list[tuple[Tensor, Tensor]]:
    """Pair weights and biases, first layer first."""
    values = list(params.values())
    return list(zip(values[::2], values[1::2], strict=True))


def _linear(weight: Tensor, bias: Tensor, h: Tensor) -> Tensor:
    """K linear maps of features-first activations: (K, o, i) times (i, B) or (K, i, B) -> (K, o, B)."""
    if h.ndim == 2:  # the shared input: one wide product instead of K small ones
        return (weight.flatten(0, 1) @ h).view(*weight.shape[:2], -1) + bias[:, :, None]
    return torch.baddbmm(bias[:, :, None], weight, h)


class MLPGradient:
    """Outputs and hand-written gradient of K MLPs on one shared batch of B rows.

    It makes a sweep of small networks about one and a half times as fast. Activations are kept features
    first, (K, units, B): the first layer of all copies together is then one ordinary matrix product, and
    every other product is a batched one on contiguous memory, which is allocated once, `like` parameters.
    """

    def __init__(self, network: MLP, n_models: int, batch_size: int, like: Tensor) -> None:
        def empty(n: int) -> Tensor:
            return like.new_empty(n_models, n, batch_size)

        self.hidden = [empty(n) for n in network.sizes[1:-1]]
        self.hidden_delta = [empty(n) for n in network.sizes[1:-1]]
        self.outputs = empty(network.n_outputs)

    def forward(self, params: Parameters, x: Tensor) -> Tensor:
        """Compute the outputs (K, n_outputs, B), and keep what :meth:`backward` needs until the next call."""
        self.x = x
        layers = _layers(params)
        h = x.T
        for (weight, bias), out in zip(layers, [*self.hidden, self.outputs], strict=True):
            if h.ndim == 2:
                torch.addmm(bias.view(-1, 1), weight.flatten(0, 1), h, out=out.flatten(0, 1))
            else:
                torch.baddbmm(bias[:, :, None], weight, h, out=out)
            h = out if out is self.outputs else out.relu_()
        return self.outputs

    def backward(self, params: Parameters, delta: Tensor, into: Parameters, keep: float = 0.0) -> None:
        """Compute ``into = keep * into + gradient``, where `delta` (K, n_outputs, B) is that by the outputs.

        Matrix products can add to what is there, so that the momentum of SGD costs no pass of its own.
        """
        layers, grads = _layers(params), _layers(into)
        for i in reversed(range(len(layers))):
            grad_weight, grad_bias = grads[i]
            if keep:
                grad_bias.mul_(keep).add_(delta.sum(-1))
            else:
                torch.sum(delta, -1, out=grad_bias)
            if i == 0:
                flat = grad_weight.flatten(0, 1)
                torch.addmm(flat, delta.flatten(0, 1), self.x, beta=keep, out=flat)
            else:
                below, out = self.hidden[i - 1], self.hidden_delta[i - 1]
                torch.baddbmm(grad_weight, delta, below.transpose(1, 2), beta=keep, out=grad_weight)
                torch.bmm(layers[i][0].transpose(1, 2), delta, out=out)
                # 0 where the ReLU was closed
                delta = torch.ops.aten.threshold_backward.grad_input(out, below, 0, grad_input=out)


@dataclass(frozen=True)
class CNN(_Network):
    """Small convolutional network: blocks of 3×3 convolution, ReLU and 2×2 max-pooling, then a linear layer.

    Its outputs on a batch `x` are differentiable with respect to `params`, a dict as from :meth:`init`.

    Parameters
    ----------
    in_channels : int
        Channels of the image: 1 for grey, 3 for colour.
    channels : tuple of int, default (8, 16)
        Output channels of each block.
    n_outputs, image_size : int
        Number of outputs; height and width in pixels, to be halved by each block.
    """

    in_channels: int
    channels: tuple[int, ...] = (8, 16)
    n_outputs: int = 10
    image_size: int = 16

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", tuple(self.channels))
        if self.image_size % 2 ** len(self.channels):
            raise ValueError(f"image_size={self.image_size} is no multiple of {2 ** len(self.channels)}")

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        return (self.in_channels, self.image_size, self.image_size)

    @property
    def activations_per_sample(self) -> int:
        """Numbers per copy and sample that a step works on at a time; decides what fits into a cache."""
        # autograd keeps maps, ReLU and pooled maps of every block
        return sum(3 * n * (self.image_size >> k) ** 2 for k, n in enumerate(self.channels))

    def module(self) -> nn.Sequential:
        """Build one copy as an ordinary module; it takes images (B, in_channels, image_size, image_size)."""
        layers: dict[str, nn.Module] = {}
        for k, (n_in, n_out) in enumerate(pairwise((self.in_channels, *self.channels)), start=1):
            layers[f"conv{k}"] = nn.Conv2d(n_in, n_out, 3, padding=1)
            layers |= {f"relu{k}": nn.ReLU(), f"pool{k}": nn.MaxPool2d(2)}
        n_features = self.channels[-1] * (self.image_size >> len(self.channels)) ** 2
        layers |= {"flatten": nn.Flatten(), "linear": nn.Linear(n_features, self.n_outputs)}
        return nn.Sequential(OrderedDict(layers))

    def forward(self, params: Parameters, x: Tensor) -> Tensor:
        """Compute the outputs (K, B, n_outputs) of all copies on shared images `x`, see :meth:`module`.

        The copies sit side by side in the channels: the first convolution sees the shared image once and has
        K·channels outputs, the later ones are grouped convolutions with K groups.
        """
        *blocks, (weight, bias) = _layers(params)
        n_models = len(weight)
        for k, (w, b) in enumerate(blocks):
            x = F.conv2d(x, w.flatten(0, 1), b.flatten(), padding=1, groups=n_models if k else 1)
            x = F.max_pool2d(x.relu(), 2)
        h = x.reshape(len(x), n_models, -1).permute(1, 2, 0)
        return _linear(weight, bias, h).transpose(1, 2)
