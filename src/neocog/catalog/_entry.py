"""What one catalog entry holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

IMAGENET_MEAN: tuple[float, ...] = (0.485, 0.456, 0.406)
"""Of the (red, green, blue) of ImageNet's training photographs, on the scale of [0, 1], as fb.resnet.torch used it."""

IMAGENET_STD: tuple[float, ...] = (0.229, 0.224, 0.225)
"""Their standard deviation."""


@dataclass(frozen=True, kw_only=True)
class Published:
    """A figure that somebody printed.

    Attributes:
        quantity: "parameters", "macs", "top1", "top5" (per cent, ImageNet validation) or "error" (per cent, of the
            paper's own test set).
        value: as printed, with "M" and "G" multiplied out.
        source: where it stands: the paper's table, or another's.
        note: why the counted figure differs beyond the printed one's rounding, where it does.
        size: height and width of the square images that an accuracy is of; None where they are the network's `input`.
        passes: how often each image went through for an accuracy, such as "10 crops"; empty where one pass gave it.
    """

    quantity: str
    value: float
    source: str
    note: str = ""
    size: int | None = None
    passes: str = ""


@dataclass(frozen=True, kw_only=True)
class Weights:
    """One set of trained weights, and the preprocessing that it was trained for.

    Attributes:
        model: the network that it is of.
        tag: the name of this set among those of its network.
        file: name of the file, in the hub's repository, at the end of `url`, or in the folder `NEOCOG_WEIGHTS`.
        hub: the repository on the Hugging Face hub; None for weights that are published on no hub.
        url: where the file lies, for weights that are on no hub, such as torchvision's; its name carries the first
            digits of its SHA-256.
        sha256: digest of the file, by which one of the right name, local or downloaded, is known to be the right one.
        num_classes: logits that it was trained for.
        size: height and width of the square input, pixels.
        crop_pct: share of the resized image's shorter side that the centre crop of `size` keeps.
        test_size: the larger input at which its trainers measured it best, where they did.
        test_crop_pct: `crop_pct` at `test_size`.
        interpolation: "bilinear", "bicubic", ...
        mean: subtracted from each channel, whose values lie in [0, 1].
        std: what each channel is then divided by.
        licence: identifier, as its publisher states it.
        source: who published it.
        top1: per cent on ImageNet's validation images, where its publisher's figure is at hand.
        edits: fields of the network's config that these weights need to differ from the published variant's.
        default: whether it is the one that "default" means.
    """

    model: str
    tag: str
    file: str = "model.safetensors"
    hub: str | None = None
    url: str | None = None
    sha256: str | None = None
    num_classes: int = 1000
    size: int = 224
    crop_pct: float = 0.875
    test_size: int | None = None
    test_crop_pct: float | None = None
    interpolation: str = "bicubic"
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    licence: str = "unknown"
    source: str = "timm"
    top1: float | None = None
    edits: Mapping[str, object] = field(default_factory=dict)
    default: bool = False


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One published variant of a network.

    Attributes:
        name: what `create_model` takes.
        family: name of the TOML file that lists it.
        module: the Python module that builds it.
        paper: title of the paper that published this variant.
        year: of that paper.
        url: where to read it.
        description: one line.
        input: (C, H, W) of the images that `macs` is counted for.
        num_classes: logits of the published head.
        parameters: counted from the network as built here; 0 until `tools/catalog_figures.py` has done so.
        macs: multiply-adds of its convolutions and linear layers for one image, counted likewise; biases,
            normalisation, activations and pooling are not counted.
        published: what others printed.
        weights: trained weights, the default first.
    """

    name: str
    family: str
    module: str
    paper: str
    year: int
    url: str
    description: str
    input: tuple[int, int, int]
    num_classes: int
    parameters: int = 0
    macs: int = 0
    published: tuple[Published, ...] = ()
    weights: tuple[Weights, ...] = ()

    @property
    def top1(self) -> float | None:
        """The best published ImageNet top-1, per cent; None where none is recorded."""
        figures = [figure.value for figure in self.published if figure.quantity == "top1"]
        figures += [weights.top1 for weights in self.weights if weights.top1 is not None]
        return max(figures, default=None)
