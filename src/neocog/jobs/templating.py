"""`templates`: from a trained network to a picture of what its first layer compares whole images with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from neocog.errors import UsageError
from neocog.inference.model_file import read_card
from neocog.jobs.subject import Subject, find_subject, is_file
from neocog.models import Classifier
from neocog.visualize import templates as figures


@dataclass(frozen=True)
class Templates:
    """Templates that were drawn.

    Attributes:
        subject: the network.
        layer: the layer that has them.
        names: what each is the template of: a class, or a unit.
        figure: the picture.
    """

    subject: Subject
    layer: str
    names: tuple[str, ...]
    figure: Path


def templates(spec: str, *, out: str | Path = "templates.png", weights: str | None = None) -> Templates:
    """Draw the weights of a network's first layer as images: those of a linear classifier or an MLP.

        >>> templates("runs/cifar10/model.safetensors").names
        ('airplane', 'automobile', ...)

    Args:
        spec: a model file, or a name of the catalog; see `find_subject`.
        out: the picture to write; its suffix names the format.
        weights: of a catalog network: a file. Without any its weights are fresh, and the templates noise.

    Raises:
        UnknownNameError: no such network; the message names the near ones.
        UsageError: a network whose first layer sees less than the whole image, or a format that cannot be written.
        StorageError: a place that cannot be written.
    """
    figures.check(Path(out))
    subject = find_subject(spec, real=True, weights=weights)
    name, layer = first_layer(subject)
    weight = layer.weight.detach()  # type: ignore[operator]
    of_classes = isinstance(subject.network, Classifier) and name == subject.network.head_name
    units = len(weight)
    if of_classes and is_file(spec):
        names = read_card(spec).classes
    else:
        names = tuple(f"{'class' if of_classes else 'unit'} {number}" for number in range(units))
    shown = f" (the first {figures.MOST} of {units:,})" if units > figures.MOST else ""
    what = "class" if of_classes else "hidden unit"
    title = f"{subject.name} compares an image with one template a {what}{shown}"
    figure = figures.draw(weight.float().cpu().numpy(), names, out, title=title)
    return Templates(subject, name, names, figure)


def first_layer(subject: Subject) -> tuple[str, nn.Module]:
    """Return the layer that sees the pixels, with its name.

    Raises:
        UsageError: it sees less than the whole image.
    """
    network, image = subject.network, subject.image
    if not isinstance(network, Classifier):
        raise UsageError(f"{subject.name} is no network of the catalog; templates are drawn for those that are")
    name = network.stem_name
    layer = network.get_submodule(name)
    weight = getattr(layer, "weight", None)
    if not isinstance(weight, Tensor) or tuple(weight.shape[1:]) != tuple(image):
        seen = "x".join(map(str, weight.shape[2:])) if isinstance(weight, Tensor) and weight.ndim == 4 else "not all"
        raise UsageError(
            f"the first layer of {subject.name} sees {seen} pixels at a time, not the whole image; "
            "templates are those of a linear classifier or an MLP, such as linear_cifar10"
        )
    return name, layer
