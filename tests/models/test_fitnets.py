from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from parity import assert_every_parameter_is_trained, differs_from_reading_by, multiply_adds
from sklearn.datasets import load_digits
from torch import Tensor, nn

from neocog.analysis.blank import without_numbers
from neocog.errors import UsageError
from neocog.models import create_model, tap
from neocog.models.fitnets import CONFIGS, FitNet


def build(name: str, **edits: object) -> FitNet:
    return FitNet(replace(CONFIGS[name], **edits))


def weights(network: nn.Module) -> int:
    """Count as the authors' script does: without biases."""
    return sum(parameter.numel() for name, parameter in network.named_parameters() if name.endswith("weight"))


@pytest.mark.parametrize(
    ("name", "layers", "exactly", "printed"),
    [
        ("fitnet_teacher", 5, 9_044_360, "9M"),
        ("fitnet1", 11, 249_576, "250K"),
        ("fitnet2", 11, 861_928, "862K"),
        ("fitnet3", 13, 1_503_304, "1.5M"),  # table 3; table 5 has 1.6M, which table 7's layers do not have
        ("fitnet4", 19, 2_544_712, "2.5M"),
    ],
)
def test_layers_and_weights_are_those_of_table_5(name, layers, exactly, printed):
    with without_numbers():
        network = build(name)
    assert sum(isinstance(module, nn.Conv2d | nn.Linear) for module in network.modules()) == layers
    assert weights(network) == exactly
    unit = {"K": 1e3, "M": 1e6}[printed[-1]]
    decimals = len(printed[:-1].partition(".")[2])
    assert f"{exactly / unit:.{decimals}f}{printed[-1]}" == printed


@pytest.mark.parametrize(
    ("name", "millions"),
    [("fitnet_teacher", 725), ("fitnet1", 30), ("fitnet2", 108), ("fitnet4", 382)],  # fitnet3: 324, and printed is 392
)
def test_multiplications_are_those_of_table_5(name, millions):
    with without_numbers():
        assert round(multiply_adds(build(name), 3, 32, 32) / 1e6) == millions


def test_with_five_pieces_the_last_maxout_layer_is_that_of_the_authors_code():
    with without_numbers():
        network = build("fitnet4", fc_pieces=5)
    assert weights(network) == 2_544_712 - 128 * 500 * 2 + 128 * 500 * 5
    assert network.fc.out_features == 2500


def reference_logits(state: dict[str, Tensor], x: Tensor, *, teacher: bool) -> Tensor:
    """Section A.1 read once more, from the parameters alone."""

    def largest_of_two(x: Tensor) -> Tensor:
        return x.unflatten(1, (-1, 2)).amax(2)

    depth = sum(name.startswith("conv") and name.endswith("weight") for name in state)
    width, stage = 3, 1
    ends = {11: (3, 6, 9), 13: (4, 8, 11), 19: (5, 11, 17), 5: (1, 2, 3)}[depth + 2]
    for layer in range(1, depth + 1):
        kernel = state[f"conv{layer}.weight"]
        assert kernel.shape[1] == width
        padding = {8: 4 if layer == 1 else 3, 5: 3, 3: 1}[kernel.shape[2]]
        x = largest_of_two(F.conv2d(F.pad(x, (padding,) * 4), kernel, state[f"conv{layer}.bias"]))
        width = x.shape[1]
        if layer in ends:
            if not teacher:
                x = F.max_pool2d(x, 2) if stage < 3 else x.flatten(2).amax(2)[..., None, None]
            else:
                window = 4 if stage < 3 else 2
                below = (x.shape[2] - window) % 2  # a last window reaches over the border
                x = F.max_pool2d(F.pad(x, (0, below, 0, below), value=-torch.inf), window, 2)
            stage += 1
    x = largest_of_two(F.linear(x.flatten(1), state["fc.weight"], state["fc.bias"]))
    return F.linear(x, state["output.weight"], state["output.bias"])


@pytest.mark.parametrize("name", ["fitnet_teacher", "fitnet1", "fitnet3"])
def test_networks_are_section_a_1(name):
    reading = partial(reference_logits, teacher=name == "fitnet_teacher")
    assert differs_from_reading_by(build(name), reading, 3, 32, 32) < 1e-5


@torch.no_grad()
def test_layers_that_hint_and_are_guided_have_the_shapes_of_table_7():
    guided = {"fitnet1": "conv6", "fitnet2": "conv6", "fitnet3": "conv8", "fitnet4": "conv11"}
    widths = {"fitnet1": 32, "fitnet2": 80, "fitnet3": 80, "fitnet4": 80}
    for name, layer in guided.items():
        with without_numbers():
            network = build(name)
        with tap(network, [layer]) as seen:
            network(torch.empty(1, 3, 32, 32, device="meta"))
        assert seen[layer].shape == (1, widths[name], 16, 16)
    with without_numbers():
        teacher = build("fitnet_teacher")
    with tap(teacher, ["conv2", "pool3"]) as seen:
        teacher(torch.empty(1, 3, 32, 32, device="meta"))
    assert [tuple(tensor.shape[1:]) for tensor in seen.values()] == [(192, 15, 15), (192, 5, 5)]


def test_weights_begin_as_published_or_with_variances_that_let_labels_through():
    for init, std in (("published", 0.01 / 12**0.5), ("scaled", (16 * 9) ** -0.5)):
        network = create_model("fitnet1", init=init)
        assert network.get_parameter("conv3.weight").std().item() == pytest.approx(std, rel=0.05)
        assert network.get_parameter("conv3.bias").eq(0).all()


@pytest.mark.parametrize("name", ["fitnet1", "fitnet_teacher"])
def test_every_parameter_is_trained(name):
    torch.manual_seed(0)
    network = build(name, units=12, dropouts=(0.0, 0.0), init="scaled")
    assert_every_parameter_is_trained(network, torch.randn(8, 3, 32, 32))


def test_sixty_four_digits_are_learned_without_an_error():
    digits = load_digits()
    images = torch.tensor(digits.images[:64], dtype=torch.float32)[:, None] / 8 - 1
    images = F.interpolate(images, (16, 16))
    labels = torch.tensor(digits.target[:64])
    torch.manual_seed(0)
    network = create_model("fitnet1", in_chans=1, init="scaled")
    optimiser = torch.optim.Adam(network.parameters(), lr=2e-3)
    for _ in range(60):
        logits = network(images)
        if logits.argmax(1).equal(labels):
            break
        optimiser.zero_grad()
        F.cross_entropy(logits, labels).backward()
        optimiser.step()
    assert network(images).argmax(1).equal(labels)


def test_dropout_leaves_out_of_the_image_and_of_later_inputs_what_the_teacher_loses():
    network = build("fitnet_teacher", widths=((8,), (8,), (8,)))
    lost = {}
    for name in ("conv1", "conv2"):
        network.get_submodule(name).register_forward_pre_hook(
            lambda module, inputs, name=name: lost.update({name: (inputs[0] == 0).float().mean().item()})
        )
    torch.manual_seed(0)
    with torch.no_grad():
        network(torch.rand(64, 3, 32, 32) + 1)
    assert lost == pytest.approx({"conv1": 0.2, "conv2": 0.5}, abs=0.02)


@pytest.mark.parametrize(
    ("edits", "says"),
    [
        ({"widths": ()}, "0 stages need"),
        ({"widths": ((16,), (0,), (16,))}, "at least 1"),
        ({"kernels": (3, 3)}, "3 stages need"),
        ({"pools": (2,)}, "3 stages need"),
        ({"fc_pieces": 0}, "at least 1"),
        ({"paddings": (1, -1, 1)}, "numbers of zeros"),
        ({"dropouts": (0.0, 1.0)}, "below 1"),
        ({"kernels": (3, 3, 40)}, "445x445 or more, not 32x32"),
    ],
)
def test_what_no_network_can_have_is_refused(edits, says):
    with pytest.raises(UsageError, match=says):
        build("fitnet1", **edits)


def test_the_least_size_follows_from_the_kernels_and_the_pools():
    network = build("fitnet1", kernels=(5, 3, 3), pools=(3, 1)).eval()
    least = network.config.least_size
    assert network.min_size == (least, least) == (8, 8)
    assert network(torch.zeros(1, 3, least, least)).shape == (1, 10)
    with pytest.raises(RuntimeError):
        network.forward_features(torch.zeros(1, 3, least - 1, least - 1))


def test_the_teacher_refuses_other_sizes_with_both():
    with pytest.raises(UsageError, match="32x32, not 40x33"):
        build("fitnet_teacher")(torch.zeros(1, 3, 40, 33))
