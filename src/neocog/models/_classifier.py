"""What every network of neocog is: a `Classifier`, built from a frozen config."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from math import isfinite
from typing import TYPE_CHECKING, ClassVar, cast

from torch import Tensor, nn

from neocog.errors import UsageError

if TYPE_CHECKING:
    from neocog.models._weights import LoadReport


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """What every family's config begins with; a family adds its own fields in its paper's terms.

    Attributes:
        num_classes: logits of the head; 0 leaves the head out, so that `forward` returns pooled features.
        in_chans: channels of the input images.
    """

    num_classes: int = 1000
    in_chans: int = 3

    def __post_init__(self) -> None:
        """Refuse what no network can be; a family that checks its own fields calls this first."""
        if self.num_classes < 0:
            raise UsageError(f"num_classes is the number of logits, or 0 for none; not {self.num_classes}")
        if self.in_chans < 1:
            raise UsageError(f"in_chans is the number of image channels, at least 1; not {self.in_chans}")
        for field in fields(self):
            # Here for all: a comparison with NaN is false, so that a family's own limits let it through.
            value = getattr(self, field.name)
            if any(not isfinite(number) for number in _floats(value)):
                raise UsageError(f"{field.name} is {value}, must be finite")


def _floats(value: object) -> Iterator[float]:
    """Yield the floating-point numbers in a config's value."""
    if isinstance(value, float):
        yield value
    elif isinstance(value, tuple):
        for each in value:
            yield from _floats(each)


class AuxiliaryHead(nn.Module):
    """A small classifier of what one stage returns, `(N, C, H, W)` to `(N, num_classes)`, for training alone.

    Attributes:
        num_features: width of the vector that its last layer classifies.
        head_name: name of that layer within it.
    """

    head_name: ClassVar[str] = "fc"
    num_features: int

    def init_head(self, head: nn.Linear) -> None:
        """Initialise a last layer as the network's `init_weights` does; torch's own where nothing else is said."""


class Classifier(nn.Module):
    """An image classifier: images `(N, C, H, W)` to logits `(N, num_classes)`.

    A subclass takes its config and nothing else, sets `num_features` and `stage_names`, names its last linear layer in
    `head_name`, and implements `forward_features`, `forward_head` and `init_weights`. No network writes in place into
    a module's output, so that `tap` reads what the module returned.

    Attributes:
        config: the frozen config that the network was built from.
        name: the catalog's name of the variant; empty for a network that `create_model` did not make.
        loaded: what was loaded and what was made anew, where `create_model` was given weights.
        num_features: width of the vector that the head classifies.
        stage_names: names of the modules after which resolution or width changes, in order.
        head_name: name of the linear layer that gives the logits.
        stem_name: name of the first convolution, the one that `in_chans` changes.
        auxiliary_names: {name of a module: name of the auxiliary head that its output is for}; most have none.
        gate_names: last names of layers that decide what passes, and are not to pass on what they are given themselves.
        min_size: the least (height, width) of an input.
    """

    gate_names: ClassVar[tuple[str, ...]] = ()
    head_name: ClassVar[str] = "fc"
    stem_name: str = "conv1"
    auxiliary_names: ClassVar[Mapping[str, str]] = {}

    config: ModelConfig
    name: str = ""
    loaded: LoadReport | None = None
    num_features: int
    stage_names: tuple[str, ...]
    min_size: tuple[int, int] = (1, 1)

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config

    @property
    def num_classes(self) -> int:
        """Logits that `forward` returns; 0 where the head is left out."""
        return self.config.num_classes

    @property
    def auxiliary_heads(self) -> Mapping[str, AuxiliaryHead]:
        """{name of a module: the head that classifies what it returns}; empty unless the config asks for them.

        `forward` does not run them. A task that wants their losses taps the modules and applies the heads.
        """
        built = {stage: name for stage, name in self.auxiliary_names.items() if hasattr(self, name)}
        return {stage: cast(AuxiliaryHead, self.get_submodule(name)) for stage, name in built.items()}

    def forward_features(self, x: Tensor) -> Tensor:
        """Return what the head is given: `(N, C, H, W)` for a convolutional network."""
        raise NotImplementedError

    def forward_head(self, features: Tensor, *, pre_logits: bool = False) -> Tensor:
        """Return logits `(N, num_classes)`, or with `pre_logits` the `(N, num_features)` that give them."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Return logits `(N, num_classes)` of images `(N, C, H, W)`; `UsageError` for what `check_input` refuses."""
        self.check_input(x)
        return self.forward_head(self.forward_features(x))

    def init_weights(self) -> None:
        """Initialise every parameter as the paper or its authors' code does; for networks that load no weights."""
        raise NotImplementedError

    def init_head(self, head: nn.Linear) -> None:
        """Initialise a head as `init_weights` does; torch's own initialisation where a family says nothing else."""

    def layers_from(self, smaller: Classifier) -> Mapping[str, str]:
        """Return {a layer here: the layer of the trained, shallower network `smaller` that it begins as}, for `grow`.

        Raises:
            UsageError: `smaller` does not grow into this network; most families know no such way.
        """
        raise UsageError(f"a {type(smaller).__name__} does not grow into a {type(self).__name__}")

    def reset_classifier(self, num_classes: int) -> None:
        """Replace the head by a fresh one with `num_classes` logits, as in each auxiliary head; 0 removes it.

        The new head is on the device and of the type of the rest, and everything else stays as it is.
        """
        self.config = replace(self.config, num_classes=num_classes)
        classifiers: list[Classifier | AuxiliaryHead] = [self, *self.auxiliary_heads.values()]
        for classifier in classifiers:
            head = linear_head(classifier.num_features, num_classes)
            if isinstance(head, nn.Linear):
                classifier.init_head(head)
                weight = next(self.parameters())
                head.to(weight.device, weight.dtype)
            classifier.set_submodule(classifier.head_name, head)

    def check_input(self, x: Tensor) -> None:
        """Raise `UsageError` for an input that this network cannot take, naming the numbers."""
        if x.ndim != 4 or x.shape[1] != self.config.in_chans:
            raise UsageError(
                f"{type(self).__name__} takes images (N, {self.config.in_chans}, H, W), not {tuple(x.shape)}"
            )
        height, width = x.shape[-2:]
        if height < self.min_size[0] or width < self.min_size[1]:
            raise UsageError(
                f"an image of {height}x{width} is smaller than {type(self).__name__}'s least size of "
                f"{self.min_size[0]}x{self.min_size[1]}; enlarge the images or choose another network"
            )


def linear_head(num_features: int, num_classes: int) -> nn.Linear | nn.Identity:
    """Return the layer that gives `num_classes` logits; for 0 of them, the identity."""
    return nn.Linear(num_features, num_classes) if num_classes else nn.Identity()
