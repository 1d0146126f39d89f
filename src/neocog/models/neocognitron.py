"""The Neocognitron (Fukushima 1980, Biological Cybernetics 36).

"Neocognitron: a self-organizing neural network model for a mechanism of pattern recognition unaffected by shift in
position": the first convolutional network. S-cells find a feature wherever it lies, with the same synapses all over a
plane; C-cells blur where it was; and the cascade of both recognises shapes, which it learns without labels.

Section 2 gives the cells, section 3 how they organise themselves (`SLayer.reinforce`), section 4 sizes and parameters.
Taken from the paper: the equations, sizes, r, q and alpha, S-columns, a b that begins at zero and an a with weak
orientations. Chosen here, and not taken from it: how fast c and d fall off, the form of the first a, and that layers
organise one after the other. The paper looks at which cell answers; to be a classifier, the last planes get names, or a
linear layer reads C-cells. Everything is differentiable, so that gradients can train it too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neocog.errors import UsageError
from neocog.models._classifier import Classifier, ModelConfig, linear_head

AREA = 5  # sides of what a cell sees of the layer before, and of an S-column, but for the last module's
WEAK = 1e-3  # size of the first synapses a, against those that one reinforcement adds
BLOCK = 256  # images that go through the lower layers at once


@dataclass(frozen=True, kw_only=True)
class NeocognitronConfig(ModelConfig):
    """The parameters of section 4; the defaults are its values where it states them.

    Attributes:
        image_size: sides of U0.
        planes: cell planes of each module's S-layer, and so of its C-layer.
        last_area: sides of what a cell of US3 sees of UC2.
        r: efficacy of the inhibition of S-cells: a cell answers where the cosine between what it sees and what it
            learned is above r / (1 + r).
        r_learning: the same while they organise themselves; None for `r`. A higher one than `r` learns finer shapes,
            each of which then stands for more (Fukushima 2003, Neurocomputing 51: dual thresholds).
        q: speed of reinforcement.
        alpha: degree of saturation of C-cells.
        c_decay: c falls off from a cell's centre as c_decay ^ distance. Chosen here.
        d_decay: so does d. Chosen here.
        readout: "planes" with names that `assign_classes` gives them, or a linear layer of the "last" C-cells or "all".
    """

    num_classes: int = 10
    in_chans: int = 1
    image_size: int = 16
    planes: tuple[int, int, int] = (24, 24, 24)
    last_area: int = AREA
    r: tuple[float, float, float] = (4.0, 1.5, 1.5)
    r_learning: tuple[float, float, float] | None = None
    q: tuple[float, float, float] = (1.0, 16.0, 16.0)
    alpha: float = 0.5
    c_decay: float = 0.9
    d_decay: float = 0.8
    readout: Literal["planes", "last", "all"] = "planes"

    def __post_init__(self) -> None:
        """Refuse what no layer can have."""
        super().__post_init__()
        (_, (_, c2), (s3, _)), size, area = self.sizes, self.image_size, self.last_area
        if size < 1 or area < 1 or s3 < 1:
            raise UsageError(f"US3 cannot see {area}x{area} of UC2's {c2}x{c2} cells in an image of {size}x{size}")
        for name in ("planes", "r", "r_learning", "q", "alpha", "c_decay", "d_decay"):
            value = getattr(self, name)
            if value is not None and min(value if isinstance(value, tuple) else (value,)) <= 0:
                raise UsageError(f"{name} is above 0, not {value}")

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """Sides of each module's S- and C-planes: 16, 10; 8, 6; 2, 1 in the paper."""
        s1, s2 = self.image_size, self.image_size // 2
        c1, c2 = s1 // 2 + 2, s2 // 2 + 2  # half as dense, and over the edge as far as cells see any of the S-layer
        return (s1, c1), (s2, c2), (c2 - self.last_area + 1, 1)


def decayed(size: int, decay: float) -> Tensor:
    """Return decay ^ (distance from the centre) over `(size, size)` cells."""
    along = torch.arange(size) - (size - 1) / 2
    return decay ** torch.hypot(along[:, None], along[None, :])


class SLayer(nn.Module):
    """US: cells that each answer to one feature, the same one all over a plane (equations 1 to 3).

    u = r phi[(1 + sum a u_C) / (1 + 2r/(1+r) b v) - 1], with v = sqrt(sum c u_C^2) the V-cell's that sees the same
    area, and phi[x] = max(x, 0). Where a and b are large only their ratio counts: it compares shapes, not intensities.

    Shapes: `(N, inputs, H, W)` to `(N, planes, H + 2 padding - area + 1, W + 2 padding - area + 1)`.
    It is of module `number`, counted from 0. Its cells see `area` cells a side of each of `inputs` planes, of which
    `padding` may lie beyond the edge.
    """

    c: Tensor

    def __init__(self, config: NeocognitronConfig, number: int, inputs: int, area: int, padding: int) -> None:
        super().__init__()
        planes = config.planes[number]
        self.padding, self.r, self.q = padding, config.r[number], config.q[number]
        self.r_learning = (config.r_learning or config.r)[number]
        self.weight = nn.Parameter(torch.zeros(planes, inputs, area, area))  # a
        self.inhibition = nn.Parameter(torch.zeros(planes))  # b
        c = decayed(area, config.c_decay)
        self.register_buffer("c", (c / (inputs * c.sum()))[None, None], persistent=False)  # sums to 1 over all planes

    def inhibitory(self, u: Tensor) -> Tensor:
        """Return the V-cells' v: the weighted root mean square of what each S-cell sees, `(N, 1, H', W')`."""
        power = F.conv2d(u.square().sum(1, keepdim=True), self.c, padding=self.padding)
        return power.clamp_min(1e-12).sqrt()  # at 0 the root has no gradient

    def forward(self, u: Tensor, *, r: float | None = None) -> Tensor:
        """Return the S-cells' output; under inhibition of another efficacy where `r` is given."""
        r = self.r if r is None else r
        excited = F.conv2d(u, self.weight, padding=self.padding)
        shunted = 2 * r / (1 + r) * self.inhibition.view(-1, 1, 1) * self.inhibitory(u)
        # Gradients could drive b below zero, where the quotient has a pole; reinforcement only adds to it.
        return r * F.relu((excited - shunted) / (1 + shunted).clamp_min(0.5))

    def init_weights(self) -> None:
        """Let each plane prefer another orientation, and planes of a like number, weakly; b is 0.

        The paper: a function of the place, k/K and |k'/K' - k/K| without any randomness. Which one, is chosen here.
        """
        planes, inputs, area, _ = self.weight.shape
        along = torch.arange(area) - (area - 1) / 2
        number = torch.arange(planes).view(-1, 1, 1, 1) / planes
        off_line = along[:, None] * (torch.pi * number).cos() - along[None, :] * (torch.pi * number).sin()
        unlike = (torch.arange(inputs).view(1, -1, 1, 1) / inputs - number).abs()
        with torch.no_grad():
            self.weight.copy_(WEAK * self.c * torch.exp(-off_line.square()) * (1 - unlike))
            self.inhibition.zero_()

    @torch.no_grad()
    def reinforce(self, u: Tensor) -> list[tuple[int, int, int]]:
        """Show the layer one pattern `(1, inputs, H, W)`; return (plane, row, column) of each representative.

        Section 3: of each S-column, the cells of all planes within 5x5 positions, the strongest is a candidate. In each
        plane the strongest candidate represents it, and all its cells get the same synapses:
        delta a = q c(v) u_C(n + v), delta b = q/2 v(n), with n the representative's place.
        """
        strongest, planes = self(u, r=self.r_learning)[0].max(0)
        height, width = strongest.shape
        column = min(AREA, height), min(AREA, width)
        cells: Tensor = F.max_pool2d(strongest[None], column, stride=1, return_indices=True)[1].unique()  # type: ignore[no-untyped-call]
        strongest, planes = strongest.flatten(), planes.flatten()
        cells = cells[strongest[cells] > 0]
        cells = cells[strongest[cells].argsort(stable=True)]
        chosen = dict(zip(planes[cells].tolist(), cells.tolist(), strict=True))  # the last of a plane is its strongest
        which, cells = (torch.tensor(list(each)).to(u.device, torch.int64) for each in (chosen, chosen.values()))
        seen = F.unfold(u, self.weight.shape[2:], padding=self.padding)[0, :, cells].T.view(-1, *self.weight.shape[1:])
        self.weight.index_add_(0, which, self.q * self.c * seen)
        self.inhibition.index_add_(0, which, self.q / 2 * self.inhibitory(u).flatten()[cells])
        return [(plane, cell // width, cell % width) for plane, cell in chosen.items()]


class CLayer(nn.Module):
    """UC: cells that answer wherever in their area a cell of their S-plane does (equations 4 and 5).

    u = psi[(1 + sum d u_S) / (1 + v) - 1], with v the mean over all planes of sum d u_S, an inhibition that lets the
    planes stand out that answer more than others, and psi[x] = x / (alpha + x) for x > 0, else 0.

    Shapes: `(N, K, H, W)` to `(N, K, H // 2 + 2, W // 2 + 2)`, or `(N, K, 1, 1)` for the last, which sees all of planes
    whose sides are `whole`.
    """

    d: Tensor

    def __init__(self, config: NeocognitronConfig, whole: int | None = None) -> None:
        super().__init__()
        self.alpha, self.stride = config.alpha, 2 if whole is None else 1
        self.padding = (3, 4, 3, 4) if whole is None else (0, 0, 0, 0)  # centred, but for half a cell of the grid
        self.register_buffer("d", decayed(whole or AREA, config.d_decay)[None, None], persistent=False)

    def forward(self, u: Tensor) -> Tensor:
        """Return the C-cells' output."""
        d = self.d.expand(u.shape[1], -1, -1, -1)
        excited = F.conv2d(F.pad(u, self.padding), d, stride=self.stride, groups=u.shape[1])
        inhibited = excited.mean(1, keepdim=True)
        x = F.relu((excited - inhibited) / (1 + inhibited))
        return x / (self.alpha + x)


class NamedPlanes(nn.Module):
    """The strongest output of the planes that speak for a class, `(N, classes)`; at first they are dealt in turn."""

    speaks: Tensor

    def __init__(self, planes: int, num_classes: int) -> None:
        super().__init__()
        dealt = torch.arange(planes) % num_classes == torch.arange(num_classes)[:, None]
        self.register_buffer("speaks", dealt.to(torch.get_default_dtype()))

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores."""
        return (x[:, None] * self.speaks).amax(2)


class Neocognitron(Classifier):
    """Figure 2: U0, then three modules of an S-layer and a C-layer."""

    head_name = "head"
    stem_name = "us1"
    stage_names = ("us1", "uc1", "us2", "uc2", "us3", "uc3")
    config: NeocognitronConfig

    def __init__(self, config: NeocognitronConfig) -> None:
        super().__init__(config)
        k0, k1, k2, k3 = config.in_chans, *config.planes
        (_, c1), (_, c2), (s3, _) = config.sizes
        self.us1 = SLayer(config, 0, inputs=k0, area=AREA, padding=2)
        self.uc1 = CLayer(config)
        self.us2 = SLayer(config, 1, inputs=k1, area=AREA, padding=1)
        self.uc2 = CLayer(config)
        self.us3 = SLayer(config, 2, inputs=k2, area=config.last_area, padding=0)
        self.uc3 = CLayer(config, whole=s3)
        self.num_features = k1 * c1 * c1 + k2 * c2 * c2 + k3 if config.readout == "all" else k3
        self.min_size = (config.image_size, config.image_size)
        self.head = self._head(config.num_classes)

    @property
    def modules_of_figure_2(self) -> tuple[tuple[SLayer, CLayer], ...]:
        """The three pairs of an S-layer and a C-layer."""
        return (self.us1, self.uc1), (self.us2, self.uc2), (self.us3, self.uc3)

    def forward_features(self, x: Tensor) -> Tensor:
        """Return UC3's cells `(N, planes, 1, 1)`; where `readout` is "all", all C-cells `(N, cells)`."""
        u = F.relu(x)  # receptors answer to light and not to the lack of it
        layers = []
        for s, c in self.modules_of_figure_2:
            u = c(s(u))
            layers.append(u)
        return torch.cat([each.flatten(1) for each in layers], 1) if self.config.readout == "all" else u

    def forward_head(self, features: Tensor, *, pre_logits: bool = False) -> Tensor:
        """Return scores of the classes, `(N, num_classes)`, or with `pre_logits` the cells' output."""
        return features.flatten(1) if pre_logits else self.head(features.flatten(1))

    def init_weights(self) -> None:
        """Give the S-layers the paper's weak preferences; a linear read-out is drawn as torch draws it."""
        for s, _ in self.modules_of_figure_2:
            s.init_weights()
        if isinstance(self.head, nn.Linear):
            self.head.reset_parameters()

    @torch.no_grad()
    def self_organise(self, images: Tensor) -> None:
        """Show images `(N, C, H, W)`, one by one, to one layer after another; the paper shows 100, of five digits."""
        self.check_input(images)
        for number, (layer, _) in enumerate(self.modules_of_figure_2):
            for block in torch.split(images, BLOCK):
                u = F.relu(block)
                for s, c in self.modules_of_figure_2[:number]:
                    u = c(s(u))
                for pattern in torch.split(u, 1):
                    layer.reinforce(pattern)

    @torch.no_grad()
    def assign_classes(self, images: Tensor, targets: Tensor) -> Tensor:
        """Name each plane after the class of most images that it answers to most; return their classes, -1 for none."""
        if not isinstance(self.head, NamedPlanes):
            raise UsageError(f'{self.name} reads out "{self.config.readout}"; planes get names with readout="planes"')
        cells = torch.cat([self.forward_features(block).flatten(1) for block in torch.split(images, BLOCK)])
        answers, winners = cells.max(1)
        won = cells.new_zeros(cells.shape[1], self.num_classes)
        won.index_put_((winners, targets), (answers > 0).to(cells), accumulate=True)
        most, classes = won.max(1)
        classes[most == 0] = -1
        self.head.speaks.copy_(classes == torch.arange(self.num_classes, device=classes.device)[:, None])
        return classes

    def reset_classifier(self, num_classes: int) -> None:
        """Replace the read-out by a fresh one: a linear layer, or planes without names of their own."""
        self.config = replace(self.config, num_classes=num_classes)
        self.head = self._head(num_classes).to(self.us1.weight)

    def check_input(self, x: Tensor) -> None:
        """Raise `UsageError` for anything but images of the size that the planes were made for."""
        super().check_input(x)
        size, (height, width) = self.config.image_size, x.shape[-2:]
        if (height, width) != self.min_size:
            raise UsageError(f"this Neocognitron takes images of {size}x{size}, not {height}x{width}; resize them")

    def _head(self, num_classes: int) -> nn.Module:
        if num_classes and self.config.readout == "planes":
            return NamedPlanes(self.config.planes[-1], num_classes)
        return linear_head(self.num_features, num_classes)


NETWORK = Neocognitron
CONFIGS = {
    "neocognitron_1980": NeocognitronConfig(),
    "neocognitron_mnist": NeocognitronConfig(
        image_size=28, planes=(24, 64, 1000), last_area=7, r=(2.0, 1.5, 3.0), r_learning=(2.0, 1.5, 7.0)
    ),
}
