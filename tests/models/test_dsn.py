from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from parity import (
    assert_every_parameter_is_trained,
    assert_images_are_told_apart,
    randomise,
    relative_difference,
    shapes,
    steps_to_learn_digits,
)
from torch import Tensor

from neocog.errors import UsageError
from neocog.models import tap
from neocog.models.dsn import CONFIGS, DSN


def build(**edits: object) -> DSN:
    return DSN(replace(CONFIGS["dsn"], **edits))


AUTHORS = {
    # num_output and kernelsize of cifar-10.prototxt, in its order; innerproduct layers see a map of 192 channels
    "conv1": (192, 3, 5, 5),
    "cccp1": (160, 192, 1, 1),
    "cccp2": (96, 160, 1, 1),
    "conv2": (192, 96, 5, 5),
    "cccp3": (192, 192, 1, 1),
    "cccp4": (192, 192, 1, 1),
    "conv3": (192, 192, 3, 3),
    "cccp5": (192, 192, 1, 1),
    "cccp6": (10, 192),
    "companion1.fc": (10, 192 * 32 * 32),
    "companion2.fc": (10, 192 * 16 * 16),
    "companion3.fc": (10, 192 * 8 * 8),
}


def test_filters_are_those_of_the_authors_files():
    with torch.device("meta"):
        found = shapes(build(auxiliary=True))
    assert {name: found[f"{name}.weight"] for name in AUTHORS} == AUTHORS
    assert len(found) == 2 * len(AUTHORS)


def reference_logits(state: dict[str, Tensor], x: Tensor) -> tuple[Tensor, list[Tensor]]:
    """The authors' file read once more: logits, and those of the companions. Caffe's pools round up."""
    companions = []
    for stage, layers in enumerate([("conv1", "cccp1", "cccp2"), ("conv2", "cccp3", "cccp4"), ("conv3", "cccp5")], 1):
        for layer in layers:
            weight = state[f"{layer}.weight"]
            x = F.conv2d(x, weight, state[f"{layer}.bias"], padding=weight.shape[-1] // 2)
            if layer.startswith("conv"):
                head = f"companion{stage}.fc"
                companions.append(F.linear(x.flatten(1), state[f"{head}.weight"], state[f"{head}.bias"]))
            x = x.relu()
        if stage < 3:
            x = F.max_pool2d(F.pad(x, (0, 1, 0, 1), value=-torch.inf), 3, 2)
    x = F.conv2d(x, state["cccp6.weight"][:, :, None, None], state["cccp6.bias"])
    return F.avg_pool2d(x, 8).flatten(1), companions


def test_logits_and_companions_are_those_of_the_authors_files():
    network = build(auxiliary=True).eval()
    randomise(network, gain=1.4)
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        logits, companions = reference_logits(network.state_dict(), images)
        with tap(network, list(network.auxiliary_heads)) as seen:
            assert relative_difference(network(images), logits) < 1e-5
        assert_images_are_told_apart(logits)
        for (stage, head), expected in zip(network.auxiliary_heads.items(), companions, strict=True):
            assert relative_difference(head(seen[stage]), expected) < 1e-5


def test_weights_begin_as_the_authors_do():
    network = build(auxiliary=True)
    network.init_weights()
    assert network.conv2.weight.std().item() == pytest.approx(0.05, rel=0.02)
    weight = network.get_submodule("companion2.fc").weight
    assert weight.std().item() == pytest.approx((192 * 16 * 16) ** -0.5, rel=0.02)
    assert weight.abs().max().item() <= (3 / (192 * 16 * 16)) ** 0.5
    assert all(not bias.any() for name, bias in network.named_parameters() if name.endswith("bias"))


def test_every_parameter_is_trained():
    assert_every_parameter_is_trained(build(dropout=0.0), torch.randn(4, 3, 16, 16))


@pytest.mark.slow
def test_digits_are_learnt():
    torch.manual_seed(0)
    # With the authors' small first weights plain descent stays on a plateau for many epochs.
    assert 1 < steps_to_learn_digits(build(in_chans=1, dropout=0.0), limit=80, rate=3e-4, adam=True) <= 80


def test_companions_fit_the_images_that_they_are_made_for():
    network = build(auxiliary=True, image_size=29)
    with torch.no_grad(), tap(network, list(network.auxiliary_heads)) as seen:
        network(torch.randn(1, 3, 29, 29))
    for stage, head in network.auxiliary_heads.items():
        assert head(seen[stage]).shape == (1, 10)
    with pytest.raises(UsageError, match="maps of 14x14 was given one of 16x16; set image_size"):
        network.auxiliary_heads["conv2"](torch.randn(1, 192, 16, 16))
    with pytest.raises(UsageError, match="at least 4; not 3"):
        build(image_size=3)
