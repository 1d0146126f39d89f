"""Comparing a network with an independent one of the same parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping

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
def randomise(network: nn.Module, seed: int = 0, gain: float = 1.0) -> None:
    """Draw every parameter and running statistic so that an error in any of them changes the outputs.

    A freshly initialised network hides mistakes: its norms are the identity, or zero. In one that is deep and has no
    shortcuts images grow alike from layer to layer; a `gain` of about 2 on the weights makes up for that.
    """
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.uniform_(0.5, 1.0, generator=generator)
            module.bias.normal_(0, 0.2, generator=generator)
            module.running_mean.normal_(0, 0.2, generator=generator)
            module.running_var.uniform_(0.5, 2.0, generator=generator)
        elif isinstance(module, nn.Conv2d | nn.Linear):
            module.weight.normal_(0, gain * module.weight[0].numel() ** -0.5, generator=generator)
            if module.bias is not None:
                module.bias.normal_(0, 0.2, generator=generator)


def relative_difference(ours: Tensor, theirs: Tensor) -> float:
    """The greatest difference over the greatest magnitude."""
    return float((ours - theirs).abs().max() / theirs.abs().max())


def draw_as_he(network: nn.Module) -> None:
    """Draw weights with variance 2 / fan-in and set biases to zero: what small networks of rectified units begin with.

    The fixed variances of papers before 2015 suit their hundreds of filters, not the dozen of a test.
    """
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


@torch.no_grad()
def logits_differ_by(ours: nn.Module, theirs: nn.Module, *image: int, gain: float = 1.0) -> float:
    """Copy random parameters of `theirs` into `ours`, and compare the logits of both for two images."""
    randomise(theirs, gain=gain)
    ours.load_state_dict(theirs.state_dict())
    images = torch.randn(2, *image, generator=torch.Generator().manual_seed(1))
    expected = theirs.eval()(images)
    assert_images_are_told_apart(expected)
    return relative_difference(ours.eval()(images), expected)


def assert_images_are_told_apart(expected: Tensor) -> None:
    """See that a reference gives two images logits that differ, and are no overflow: else it is none."""
    apart = (expected[0] - expected[1]).abs().max()
    assert 0.01 < apart < 1e4, "the reference has to tell the two images apart, and not to overflow"


@torch.no_grad()
def differs_from_reading_by(
    network: nn.Module,
    reading: Callable[[dict[str, Tensor], Tensor], Tensor],
    *image: int,
    gain: float = 1.0,
    contrast: float = 1.0,
) -> float:
    """Draw a network's parameters, and compare its logits for two images with what `reading` makes of both.

    A reading is the paper or its authors' code written down once more: a function of the state and the images alone.
    """
    randomise(network, gain=gain)
    images = contrast * torch.randn(2, *image, generator=torch.Generator().manual_seed(1))
    expected = reading(network.state_dict(), images)
    assert_images_are_told_apart(expected)
    return relative_difference(network.eval()(images), expected)


def training_step(network: nn.Module, images: Tensor) -> Mapping[str, Tensor]:
    """Return the gradient of every parameter and every running statistic after one forward and backward pass."""
    network.train()
    logits = network(images)
    F.cross_entropy(logits, torch.arange(len(images))).backward()
    gradients = {name: parameter.grad for name, parameter in network.named_parameters()}
    return {**gradients, **dict(network.named_buffers())}


def assert_equal_training_steps(
    ours: nn.Module, theirs: nn.Module, *image: int, gain: float = 1.0, floor: float = 1e-12
) -> None:
    """Compare gradients and running statistics after a step in float64, from the same random parameters.

    `floor` is what numbers may differ by that are sums of much larger ones.
    """
    ours, theirs = ours.double(), theirs.double()
    randomise(theirs, gain=gain)
    ours.load_state_dict(theirs.state_dict())
    images = torch.randn(4, *image, dtype=torch.float64)
    expected = training_step(theirs, images)
    for name, tensor in training_step(ours, images).items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-9, atol=floor, msg=name)


def assert_every_parameter_is_trained(network: Classifier, images: Tensor) -> None:
    """See that a fresh network has a finite gradient everywhere, and one that is not zero.

    Always from the same seed: where half of a few units are dropped, all of them are now and then.
    """
    torch.manual_seed(0)
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
    assert len(versions) > min(10, len(modules) // 2)
    return [name for name, (output, version) in versions.items() if output._version != version]


def steps_to_learn_digits(
    network: Classifier, size: int = 8, limit: int = 100, rate: float = 0.05, *, adam: bool = False
) -> int:
    """Train a fresh network on 64 scanned digits until it errs on none of them in evaluation; return the steps taken.

    One that errs after `limit` steps has taken `limit + 1`.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = torch.tensor(digits.images[:64], dtype=torch.float32)[:, None] / 8 - 1
    images = F.interpolate(images, (size, size), mode="nearest").repeat(1, network.config.in_chans, 1, 1)
    labels = torch.tensor(digits.target[:64])
    network.init_weights()
    optimizer: torch.optim.Optimizer = torch.optim.SGD(network.parameters(), lr=rate, momentum=0.9)
    if adam:  # for deep networks without norms
        optimizer = torch.optim.Adam(network.parameters(), lr=rate)
    for step in range(1, limit + 1):
        network.train()
        F.cross_entropy(network(images), labels).backward()
        optimizer.step()
        optimizer.zero_grad()
        with torch.no_grad():
            if torch.equal(network.eval()(images).argmax(1), labels):
                return step
    return limit + 1
