"""Running a network over labelled batches and measuring what it gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Protocol

import torch
from torch import Tensor, nn

from neocog.data.preprocess import Preprocessing
from neocog.errors import DataError, UsageError
from neocog.inference.metrics import ClassificationReport, measure
from neocog.inference.views import Showing, View, mean_of_posteriors, showings

if TYPE_CHECKING:
    from neocog.data.loading import Batch

PrecisionName = Literal["fp32", "bf16", "fp16"]
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class SizedBatches(Protocol):
    """Labelled batches that say how many they are."""

    def __len__(self) -> int:
        """Return the number of batches."""
        ...

    def __iter__(self) -> Iterator[Batch]:
        """Go through the batches from the start."""
        ...


@dataclass(frozen=True)
class Outputs:
    """What a network gave for each image, in the order of the batches, on the host.

    Attributes:
        logits: `(N, K)` in float32.
        targets: `(N,)` classes, or `(N, K)` ones and zeros.
        indices: `(N,)` places in the split.
    """

    logits: Tensor
    targets: Tensor
    indices: Tensor


def evaluate_network(
    network: nn.Module,
    batches: SizedBatches,
    *,
    classes: Sequence[str],
    multi_label: bool = False,
    precision: PrecisionName = "fp32",
    progress: Callable[[int, int], None] | None = None,
) -> tuple[ClassificationReport, Outputs]:
    """Measure `network` on labelled batches in evaluation mode; each module gets its own mode back.

    Args:
        network: images `(N, C, H, W)` to logits `(N, K)`, on the batches' device.
        batches: images with their targets and places.
        classes: names of the K classes.
        multi_label: whether an image may have several classes.
        precision: "bf16" and "fp16" run the forward pass under autocast.
        progress: called after each batch with the batches done and the number of batches.

    Raises:
        DataError: there are no images.
    """
    outputs = _gather(network, batches, None, multi_label, precision, progress)
    return measure(outputs.logits, outputs.targets, classes, multi_label), outputs


def evaluate_views(
    network: nn.Module,
    open_batches: Callable[[Preprocessing], SizedBatches],
    preprocessing: Preprocessing,
    views: View,
    *,
    classes: Sequence[str],
    multi_label: bool = False,
    precision: PrecisionName = "fp32",
    progress: Callable[[int, int], None] | None = None,
) -> tuple[ClassificationReport, Outputs]:
    """Measure `network` on several views of each image, averaged; see `neocog.inference.views.showings`.

    The images are read once for each showing: three times for "multi_scale", else once. Views go through the network
    one after the other, larger ones in smaller batches: beside a batch as it was prepared there are never more of its
    pixels than those of one batch of the usual size, however many views there are.

    Args:
        network: images `(N, C, H, W)` to logits `(N, K)`, on the batches' device.
        open_batches: gives the same labelled images in the same order, prepared as it is told.
        preprocessing: the model's own.
        views: "centre" measures what `evaluate_network` does.
        classes: names of the K classes.
        multi_label: whether an image may have several classes.
        precision: "bf16" and "fp16" run the forward pass under autocast.
        progress: called after each batch with the batches done and the number of batches, over all showings.

    Returns:
        The report, and outputs whose logits have the mean of the views' posteriors.

    Raises:
        DataError: there are no images.
        UsageError: views that this preprocessing or this network does not allow.
    """
    check_views(network, preprocessing, views)
    ways = showings(preprocessing, views)
    found: list[Outputs] = []
    for number, way in enumerate(ways):
        heard = None if progress is None else _part_of(progress, number, len(ways))
        shown = _Shown(way, preprocessing.size)
        found.append(_gather(network, open_batches(way.preprocessing), shown, multi_label, precision, heard))
    logits = mean_of_posteriors((each.logits for each in found), multi_label)
    outputs = Outputs(logits, found[0].targets, found[0].indices)
    return measure(outputs.logits, outputs.targets, classes, multi_label), outputs


def check_views(network: nn.Module, preprocessing: Preprocessing, views: View) -> None:
    """Raise `UsageError` for views that this preprocessing or this network does not allow.

    The network is shown one black image of each size that is not its usual one: how it will end is better known before
    a run than after.
    """
    for way in showings(preprocessing, views):
        if way.size == preprocessing.size:
            continue
        parameter = next(network.parameters(), torch.empty(0))
        image = torch.zeros(1, preprocessing.channels, *way.size, dtype=parameter.dtype, device=parameter.device)
        try:
            with evaluating(network):
                network(image)
        except torch.OutOfMemoryError:
            raise
        except (UsageError, RuntimeError) as error:
            sizes = [f"{height}x{width}" for height, width in (preprocessing.size, way.size)]
            raise UsageError(
                f"{views} shows the network images of {sizes[1]}, and it takes {sizes[0]} alone; "
                f"use the views flip or ten_crop ({' '.join(str(error).split())[:200]})"
            ) from error


@dataclass(frozen=True)
class _Shown:
    """A showing, beside the size that the network is used to."""

    way: Showing
    usual: tuple[int, int]

    def logits(self, network: nn.Module, images: Tensor, multi_label: bool, precision: PrecisionName) -> Tensor:
        """Return the logits of the mean posterior over the views of `images`."""
        forward = partial(_forward, network, precision=precision)
        views = (
            torch.cat(list(map(forward, parts)))  # a comprehension would keep each part until the next is made
            for parts in self.way.cut(images, self.usual)
        )
        return mean_of_posteriors(views, multi_label, self.way.weights)


def _gather(
    network: nn.Module,
    batches: SizedBatches,
    shown: _Shown | None,
    multi_label: bool,
    precision: PrecisionName,
    progress: Callable[[int, int], None] | None,
) -> Outputs:
    """Run the network over all batches; None shows it the images as they come."""
    logits, targets, indices = [], [], []
    with evaluating(network):
        for batch in batches:  # without `enumerate`, which would hold a batch while the next is made
            if shown is None:
                given = _forward(network, batch.images, precision)
            else:
                given = shown.logits(network, batch.images, multi_label, precision)
            logits.append(given.cpu())
            targets.append(batch.targets.cpu())
            indices.append(batch.indices.cpu())
            del batch
            if progress:
                progress(len(logits), len(batches))
    if not logits:
        raise DataError("there are no images to measure")
    return Outputs(torch.cat(logits), torch.cat(targets), torch.cat(indices))


def _forward(network: nn.Module, images: Tensor, precision: PrecisionName) -> Tensor:
    with autocast(images.device, precision):
        given: Tensor = network(images)
    return given.float()


def _part_of(progress: Callable[[int, int], None], number: int, parts: int) -> Callable[[int, int], None]:
    """Return a `progress` for the part `number` of `parts` equal ones."""
    return lambda done, of: progress(number * of + done, parts * of)


def autocast(device: torch.device, precision: PrecisionName) -> AbstractContextManager[Any]:
    """Return the context that runs a forward pass on `device` in `precision`."""
    return torch.autocast(device.type, _DTYPES[precision], enabled=precision != "fp32")


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Hold `network` in evaluation mode without gradients, then give each module back its own mode.

    Not `network.train()` afterwards: a part that is frozen in evaluation mode would start to move.
    """
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for module, training in modes:
            module.training = training
