"""Comparing a network with an independent one of the same parameters."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from neocog.models import Classifier, tap


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
    F.cross_entropy(logits, torch.arange(len(images))).backward()
    gradients = {name: parameter.grad for name, parameter in network.named_parameters()}
    return {**gradients, **dict(network.named_buffers())}


def assert_equal_training_steps(ours: nn.Module, theirs: nn.Module, *image: int) -> None:
    """Compare gradients and running statistics after a step in float64, from the same random parameters."""
    ours, theirs = ours.double(), theirs.double()
    randomise(theirs)
    ours.load_state_dict(theirs.state_dict())
    images = torch.randn(4, *image, dtype=torch.float64)
    expected = training_step(theirs, images)
    for name, tensor in training_step(ours, images).items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-9, atol=1e-12, msg=name)


def assert_every_parameter_is_trained(network: Classifier, images: Tensor) -> None:
    """See that a fresh network has a finite gradient everywhere, and one that is not zero."""
    network.init_weights()
    for name, gradient in training_step(network, images).items():
        assert gradient.isfinite().all(), name
        assert "running" in name or gradient.count_nonzero() > 0, name


@torch.no_grad()
def stage_shapes(network: Classifier, *image: int) -> list[tuple[int, ...]]:
    """Return the shape of each stage's output for one image."""
    network.eval()
    with tap(network, network.stage_names) as seen:
        network.forward_features(torch.randn(1, *image))
    return [tuple(seen[stage].shape[1:]) for stage in network.stage_names]


def batch_norm(x: Tensor, state: Mapping[str, Tensor], name: str) -> Tensor:
    """Apply the batch norm that `state` calls `name`, with its running statistics."""
    mean, variance, weight, bias = (
        state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
    )
    return F.batch_norm(x, mean, variance, weight, bias)


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
