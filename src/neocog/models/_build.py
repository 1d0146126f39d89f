"""`create_model`: from a name to a network."""

from __future__ import annotations

from dataclasses import fields
from os import sep
from pathlib import Path

from neocog.catalog import fetch_weights, find_weights
from neocog.models._classifier import Classifier
from neocog.models._family import Family
from neocog.models._weights import SUFFIXES, load_network


def create_model(
    name: str,
    *,
    num_classes: int | None = None,
    in_chans: int | None = None,
    weights: str | Path | None = None,
    **edits: object,
) -> Classifier:
    """Return the network `name`, in training mode, on the CPU.

        >>> network = create_model("mobilenetv2_100", num_classes=2, padding="same")
        >>> network(torch.zeros(1, 3, 224, 224)).shape
        torch.Size([1, 2])

    Args:
        name: as `list_models` lists it.
        num_classes: logits; 0 for pooled features without a head; None for as many as the weights have, or as were
            published.
        in_chans: channels of the images; None likewise.
        weights: None to initialise as the paper did; "default" or a tag of the catalog's, which are fetched from the
            hub unless they are on this machine; or the path of a `.safetensors` or `.pth` file with the names of
            neocog, timm or torchvision. What was loaded and what made anew is in the network's `loaded`.
        edits: fields of the network's config to change, such as `padding="same"`; weights of the catalog bring
            those that they need.

    Raises:
        UnknownNameError: no such network, weights or edit; the message names the near ones.
        UsageError: a value that the network cannot have.
        WeightsError: weights that cannot be had, are damaged, or are of another network.
    """
    family = Family.of(name)
    if weights is None:
        counts = {"num_classes": num_classes, "in_chans": in_chans}
        edits |= {field: count for field, count in counts.items() if count is not None}
        network = family.build(family.edited(edits))
        network.init_weights()
        return network
    if _is_path(weights):
        return load_network(family, Path(weights), edits=edits, num_classes=num_classes, in_chans=in_chans)
    found = find_weights(name, str(weights))
    return load_network(
        family,
        fetch_weights(found),
        edits={**found.edits, **edits},
        num_classes=num_classes,
        in_chans=in_chans,
        weights=found,
    )


def model_edits(network: Classifier) -> dict[str, object]:
    """Return the fields of `network`'s config that differ from the published variant's, but for the two counts.

    With them, `create_model(network.name, num_classes=..., in_chans=..., **edits)` builds the same network again.
    """
    published = Family.of(network.name).config
    return {
        field.name: getattr(network.config, field.name)
        for field in fields(published)
        if field.name not in ("num_classes", "in_chans")
        and getattr(network.config, field.name) != getattr(published, field.name)
    }


def _is_path(weights: str | Path) -> bool:
    return isinstance(weights, Path) or sep in weights or weights.endswith(SUFFIXES)
