"""Comparing a network with an independent one of the same parameters."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


def shapes(network: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def multiply_adds(network: nn.Module, *image: int) -> int:
    """Count those of a network on the meta device, as torch's own counter does."""
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        network.eval()(torch.empty(1, *image, device="meta"))
    return counter.get_total_flops() // 2


@torch.no_grad()
def randomise(network: nn.Module, seed: int = 0) -> None:
    """Draw every parameter and running statistic so that an error in any of them changes the outputs.

    A freshly initialised network hides mistakes: its norms are the identity, or zero.
    """
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.uniform_(0.5, 1.0, generator=generator)
            module.bias.normal_(0, 0.2, generator=generator)
            module.running_mean.normal_(0, 0.2, generator=generator)
            module.running_var.uniform_(0.5, 2.0, generator=generator)
        elif isinstance(module, nn.Conv2d | nn.Linear):
            module.weight.normal_(0, module.weight[0].numel() ** -0.5, generator=generator)
            if module.bias is not None:
                module.bias.normal_(0, 0.2, generator=generator)


def relative_difference(ours: Tensor, theirs: Tensor) -> float:
    """The greatest difference over the greatest magnitude."""
    return float((ours - theirs).abs().max() / theirs.abs().max())


@torch.no_grad()
def logits_differ_by(ours: nn.Module, theirs: nn.Module, *image: int) -> float:
    """Copy random parameters of `theirs` into `ours`, and compare the logits of both for two images."""
    randomise(theirs)
    ours.load_state_dict(theirs.state_dict())
    images = torch.randn(2, *image, generator=torch.Generator().manual_seed(1))
    expected = theirs.eval()(images)
    apart = (expected[0] - expected[1]).abs().max()
    assert 0.01 < apart < 1e4, "the reference has to tell the two images apart, and not to overflow"
    return relative_difference(ours.eval()(images), expected)


def training_step(network: nn.Module, images: Tensor) -> Mapping[str, Tensor]:
    """Return the gradient of every parameter and every running statistic after one forward and backward pass."""
    network.train()
    logits = network(images)
    nn.functional.cross_entropy(logits, torch.arange(len(images))).backward()
    gradients = {name: parameter.grad for name, parameter in network.named_parameters()}
    return {**gradients, **dict(network.named_buffers())}


def overwritten_outputs(network: nn.Module, images: Tensor) -> list[str]:
    """Return the modules whose output was written to after they had returned it."""
    versions: dict[str, tuple[Tensor, int]] = {}

    def remember(name: str) -> None:
        def hook(module: nn.Module, inputs: object, output: Tensor) -> None:
            versions[name] = (output, output._version)

        modules[name].register_forward_hook(hook)

    modules = dict(network.named_modules())
    for name in modules:
        remember(name)
    network.train()(images)
    assert len(versions) > 10
    return [name for name, (output, version) in versions.items() if output._version != version]
