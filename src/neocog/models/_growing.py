"""Beginning a deep network with layers of a shallow one that is trained already."""

from __future__ import annotations

import torch

from neocog.errors import UsageError
from neocog.models._classifier import Classifier


@torch.no_grad()
def grow(network: Classifier, into: Classifier) -> tuple[str, ...]:
    """Copy layers of a trained network into a deeper one of its family, whose other layers stay as they are.

    Which layers is for the paper of the family to say: `Classifier.layers_from`. For VGG (Simonyan and Zisserman 2014,
    section 3.1) they are the first four convolutions and the fully-connected layers.

        >>> deep = create_model("vgg16", num_classes=10)
        >>> grow(create_model("vgg11", weights="runs/vgg11/model.safetensors"), deep)
        ('features.0', 'features.5', 'features.10', 'features.12', 'pre_logits.fc1', 'pre_logits.fc2', 'head.fc')

    Args:
        network: the shallow one; it stays as it is.
        into: the deep one, freshly initialised.

    Returns:
        The names in `into` of the layers that were copied, with all their parameters and running statistics.

    Raises:
        UsageError: the one does not grow into the other; then nothing was copied.
    """
    layers = into.layers_from(network)
    own, old = into.state_dict(), network.state_dict()
    copies = {
        own_name: old[f"{source}{own_name.removeprefix(layer)}"]
        for layer, source in layers.items()
        for own_name in own
        if own_name.startswith(f"{layer}.")
    }
    for name, tensor in copies.items():
        if tensor.shape != own[name].shape:
            raise UsageError(f"{name} is {tuple(own[name].shape)}, and would be copied from {tuple(tensor.shape)}")
    for name, tensor in copies.items():
        own[name].copy_(tensor)
    return tuple(layers)
