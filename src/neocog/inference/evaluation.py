"""Running a network over labelled batches and measuring what it gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import torch
from torch import Tensor, nn

from neocog.errors import DataError
from neocog.inference.metrics import ClassificationReport, measure

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
    logits, targets, indices = [], [], []
    with evaluating(network):
        for number, batch in enumerate(batches, start=1):
            with autocast(batch.images.device, precision):
                given = network(batch.images)
            logits.append(given.float().cpu())
            targets.append(batch.targets.cpu())
            indices.append(batch.indices.cpu())
            if progress:
                progress(number, len(batches))
    if not logits:
        raise DataError("there are no images to measure")
    outputs = Outputs(torch.cat(logits), torch.cat(targets), torch.cat(indices))
    return measure(outputs.logits, outputs.targets, classes, multi_label), outputs


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
