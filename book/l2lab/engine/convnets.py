"""The network of the image chapter: any image size, gates on its parts, and training for all λ at once."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from .. import runtime
from ..layers import gate, penalized_parameters
from ..progress import interruptible, progress_bar
from .descend import Descent, minibatches, schedule
from .descend import ramp as make_ramp

__all__ = ["ImageClassifier", "predict", "random_shift", "train_all"]

# Images that an evaluation works on at a time.
EVALUATION_BATCH = 256
# Share of the steps in which the learning rate grows to its value, and of those in which it shrinks to 0.
WARM_UP, COOL_DOWN = 0.05, 0.25


class ImageClassifier(nn.Module):
    """Four convolutions, adaptive pooling and two linear layers: the network of the article, repaired.

    Its methods get images `x`, (B, in_channels, H, W), of any size. For different sizes in one batch there is
    a `mask`, (B, 1, H, W): 1 on the image, which lies in the upper left corner, and 0 on the padding, where x
    is 0 as well. It is applied anew after every convolution, because bias and neighbouring pixels leak into
    the padding.

    Parameters
    ----------
    in_channels, n_classes : int
        1 for grey images, 3 for colour; number of outputs.
    channels : tuple of 4 int, default (8, 16, 32, 32)
        Output channels of ``conv1`` … ``conv4``.
    grid, hidden : int
        The last maps are averaged over grid × grid fields, whatever their size; units of ``fc1``.
    features : sequence of int, optional
        Which of the ``channels[3] * grid**2`` pooled features ``fc1`` sees, in pruned networks.
    """

    def __init__(
        self,
        in_channels: int = 1,
        n_classes: int = 20,
        channels: tuple[int, int, int, int] = (8, 16, 32, 32),
        grid: int = 3,
        hidden: int = 64,
        features: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        widths = (in_channels, *channels)
        self.conv1, self.conv2, self.conv3, self.conv4 = (
            nn.Conv2d(n_in, n_out, 3, padding=1) for n_in, n_out in pairwise(widths)
        )
        self.grid = grid
        n_pooled = channels[-1] * grid**2
        kept = torch.arange(n_pooled) if features is None else torch.as_tensor(features, dtype=torch.long)
        self.register_buffer("features", None if features is None else kept)
        self.fc1 = nn.Linear(len(kept), hidden)
        self.fc2 = nn.Linear(hidden, n_classes)
        for layer in self.children():
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)

    def maps(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Run the convolutions: maps (B, channels[3], ⌈H/8⌉, ⌈W/8⌉), and the mask at their resolution."""
        for k, layer in enumerate((self.conv1, self.conv2, self.conv3, self.conv4)):
            x = F.relu(layer(x))
            if mask is not None:
                x = x * mask
            if k < 3:
                # ceil_mode: an image one pixel wide still has a pixel afterwards
                x = F.max_pool2d(x, 2, ceil_mode=True)
                mask = None if mask is None else F.max_pool2d(mask, 2, ceil_mode=True)
        return x, mask

    def pooled(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Average over the fields of the grid, channel by channel: what ``fc1`` sees, (B, features)."""
        maps, mask = self.maps(x, mask)
        if mask is None:
            pooled = F.adaptive_avg_pool2d(maps, self.grid)
        else:
            heights, widths = mask[:, 0, :, 0].sum(1).int().tolist(), mask[:, 0, 0].sum(1).int().tolist()
            cut = (own[:, :h, :w] for own, h, w in zip(maps, heights, widths, strict=True))
            pooled = torch.stack([F.adaptive_avg_pool2d(own, self.grid) for own in cut])
        pooled = pooled.flatten(1)
        return pooled if self.features is None else pooled[:, self.features]

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Compute the logits, (B, n_classes)."""
        return self.fc2(F.relu(self.fc1(self.pooled(x, mask))))


def gate_parts(model: ImageClassifier) -> ImageClassifier:
    """Put two gates in front of channels, pooled features and units: :func:`l2lab.layers.gate`, in place."""
    for layer in (model.conv2, model.conv3, model.conv4, model.fc1, model.fc2):
        gate(layer, dim=1, depth=3)
    return model


def random_shift(x: Tensor, generator: torch.Generator, most: int = 2) -> Tensor:
    """Augment: move all images of a batch by the same few pixels, and mirror two batches in five.

    Parameters
    ----------
    x, generator, most : Tensor of shape (B, C, H, W), torch.Generator, int
        Images, what draws the shift, and how many pixels it is at most.

    Returns
    -------
    Tensor, shape (B, C, H, W)
        The edge comes in again where an image leaves.
    """
    dy, dx, mirror = torch.randint(0, 2 * most + 1, (3,), generator=generator).tolist()
    padded = F.pad(x, (most, most, most, most), mode="replicate")
    x = padded[:, :, dy : dy + x.shape[2], dx : dx + x.shape[3]]
    return x.flip(3) if mirror % 2 else x


def train_all(
    models: Sequence[nn.Module],
    X: Tensor,
    y: Tensor,
    lams: Sequence[float],
    *,
    epochs: int = 20,
    batch_size: int = 32,
    lr: float = 0.03,
    fixed: Mapping[str, float] | None = None,
    ramp: tuple[float, float] = (0.0, 0.0),
    gate_lr: float = 1.0,
    augment: Callable[[Tensor, torch.Generator], Tensor] | None = None,
    seed: int = 0,
    device: str | torch.device | None = None,
    progress: bool = True,
) -> list[nn.Module]:
    """Train networks of one architecture, each with its own λ, on the same minibatches.

    The objective of each is mean cross-entropy + (λ/2)‖w‖² with w all weights and gates, no biases; the
    optimizer is SGD with momentum 0.9; the learning rate grows from 0 in the first twentieth of the steps and
    shrinks to 0 in the last quarter. On a GPU all networks are one computation (``torch.func.vmap``); on a
    CPU, where that is slower, they take turns.

    Parameters
    ----------
    models : sequence of torch.nn.Module
        K networks with equal shapes; trained in place, and moved to the device.
    X, y : Tensor, shapes (n, C, H, W) and (n,)
        Training images and their classes.
    lams : sequence of float
        K values of λ.
    epochs, batch_size, lr : int, int, float
        Passes through the data, rows of a minibatch, and learning rate.
    fixed : mapping of str to float, optional
        Parameters with a λ of their own, the same for all models and from the start on.
    ramp, gate_lr : tuple of float, float
        λ is 0 until the first share of the steps, and has its full value from the second share on; factor on
        the learning rate of gates.
    augment, seed : callable, int
        ``augment(batch, generator)`` gives the batch that the networks see; of the order of the rows, and of
        the generator of `augment`.
    device, progress : str or torch.device, bool
        As for :func:`l2lab.engine.sweep`.

    Returns
    -------
    list of torch.nn.Module
        The same models, in evaluation mode. After Ctrl-C they are as far as they got; a warning names the λ
        of those that diverged.
    """
    models, lams = list(models), [float(lam) for lam in lams]
    if len(models) != len(lams):
        raise ValueError(f"give one λ for each model, got {len(lams)} for {len(models)} models")
    where = runtime.pick_device(device)
    known = dict(models[0].named_parameters())
    if not set(fixed or {}) <= set(known):
        raise ValueError(f"fixed names {sorted(fixed)}, but the parameters are {list(known)}")
    X, y = X.to(where), y.to(where)
    penalized = set(penalized_parameters(models[0])) - set(fixed or {})
    size = min(batch_size, len(X))
    steps = epochs * math.ceil(len(X) / size)
    options = {
        "lr": {name: lr * (gate_lr if ".factors." in name else 1.0) for name in known},
        "rate": schedule("constant", steps, warm_up=WARM_UP * steps, cool_down=COOL_DOWN * steps),
        # a step counts as done
        "share": dict.fromkeys(penalized, make_ramp(ramp[0] * steps - 1, ramp[1] * steps - 1)),
    }
    together = list(range(len(models)))
    groups = [together] if where.type == "cuda" else [[k] for k in together]
    with (
        interruptible() as interrupted,
        progress_bar(steps * len(groups), progress, "training", "step") as advance,
    ):
        for group in groups:
            chosen = [models[k].to(where).train() for k in group]
            own = torch.tensor([lams[k] for k in group], dtype=torch.float64).to(X)
            params, loss = _copies(chosen, X, y, minibatches(len(X), size, steps, seed), augment, seed)
            descent = Descent(params, loss, lam=dict.fromkeys(penalized, own) | dict(fixed or {}), **options)
            for t in range(steps):
                descent.run(t + 1)
                advance(1)
                if interrupted():
                    break
            with torch.no_grad():
                for k, model in enumerate(chosen):
                    for name, parameter in model.named_parameters():
                        parameter.copy_(params[name][k])
    finite = [all(bool(torch.isfinite(p).all()) for p in model.eval().parameters()) for model in models]
    diverged = [lam for lam, good in zip(lams, finite, strict=True) if not good]
    if diverged:
        warnings.warn(f"training diverged for λ = {diverged}; use a smaller lr", RuntimeWarning, stacklevel=2)
    return models


def _copies(
    models: list[nn.Module],
    X: Tensor,
    y: Tensor,
    batches: list[Tensor],
    augment: Callable[[Tensor, torch.Generator], Tensor] | None,
    seed: int,
) -> tuple[dict[str, Tensor], Callable[[dict[str, Tensor], int], Tensor]]:
    """Stack the parameters of networks of one shape; return them and their loss on the batch of a step."""
    params, buffers = stack_module_state(models)
    buffers = {name: value[0] for name, value in buffers.items()}
    generator = torch.Generator().manual_seed(seed)

    def one(own: dict[str, Tensor], x: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(functional_call(models[0], (own, buffers), (x,)), labels)

    def loss(leaves: dict[str, Tensor], t: int) -> Tensor:
        x, labels = X[batches[t]], y[batches[t]]
        x = x if augment is None else augment(x, generator)
        if len(models) > 1:
            return vmap(one, in_dims=(0, None, None))(leaves, x, labels)
        return one({name: value[0] for name, value in leaves.items()}, x, labels)[None]

    return {name: value.detach() for name, value in params.items()}, loss


@torch.no_grad()
def predict(model: nn.Module, X: Tensor) -> Tensor:
    """Compute the logits of many images, in evaluation mode.

    Parameters
    ----------
    model, X : torch.nn.Module, Tensor of shape (n, C, H, W)
        Any classifier, and images of one size.

    Returns
    -------
    Tensor, shape (n, classes)
        On the CPU.
    """
    where = next(model.parameters()).device
    model.eval()
    return torch.cat([model(x.to(where)).cpu() for x in X.split(EVALUATION_BATCH)])
