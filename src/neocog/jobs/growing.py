"""`grow`: a deeper network that begins with the layers of a trained one, as VGG's were trained in stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from neocog.catalog import describe
from neocog.errors import UsageError
from neocog.inference.model_file import Card, load_model, save_model
from neocog.models import create_model
from neocog.models import grow as grow_network


@dataclass(frozen=True)
class Grown:
    """A network that was grown.

    Attributes:
        model: the model file, to train from.
        layers: names of the layers that began as the trained network's.
    """

    model: Path
    layers: tuple[str, ...]


def grow(
    model: str | Path,
    name: str,
    *,
    out: str | Path | None = None,
    seed: int = 0,
    edits: Mapping[str, Any] | None = None,
) -> Grown:
    """Begin the network `name` with layers of the trained one in a model file, and write it as a model file itself.

    It has the same classes and preprocessing, and no measured accuracy. `train(data, model=name, weights=grown.model)`
    is then the next stage of a training in stages.

    Args:
        model: the file of the smaller network.
        name: the catalog's name of the deeper one.
        out: file to write; by default `<name>-grown.safetensors` beside `model`.
        seed: of the layers that are not copied, which begin as those of any new network.
        edits: fields of the deeper one's config; None takes those of the smaller network.

    Raises:
        UnknownNameError: no such network.
        UsageError: the one does not grow into the other.
        WeightsError: `model` is no model file.
        StorageError: the place cannot be written.
    """
    loaded = load_model(model)
    card = loaded.card
    if describe(name).family != describe(card.model).family:  # before its edits, which another has not, are taken
        raise UsageError(f"a {card.model} does not grow into a {name}, which is of another family")
    torch.manual_seed(seed)
    chosen = dict(card.edits if edits is None else edits)
    network = create_model(name, num_classes=card.num_classes, in_chans=card.in_chans, **chosen)
    layers = grow_network(loaded.network, network)
    path = Path(out) if out is not None else Path(model).with_name(f"{name}-grown.safetensors")
    save_model(
        path,
        network,
        Card(
            model=name,
            edits=chosen,
            num_classes=card.num_classes,
            in_chans=card.in_chans,
            classes=card.classes,
            multi_label=card.multi_label,
            preprocessing=card.preprocessing,
            data=card.data,
        ),
    )
    return Grown(path, layers)
