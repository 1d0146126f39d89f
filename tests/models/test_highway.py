from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from parity import assert_every_parameter_is_trained, randomise, relative_difference, stage_shapes
from sklearn.datasets import load_digits
from torch import Tensor, nn

from neocog.analysis.blank import without_numbers
from neocog.errors import UsageError
from neocog.models import Classifier, create_model
from neocog.models.highway import CONFIGS, HighwayLayer, build


def made(name: str, **edits: object) -> Classifier:
    return build(replace(CONFIGS[name], **edits))


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_fifty_blocks_have_the_parameters_of_seventy_one_units_about_5000_a_layer():
    with without_numbers():
        deep, deeper = made("highway_mlp_50"), made("highway_mlp_100")
        plain, deeper_plain = made("plain_mlp_50"), made("plain_mlp_100")
    assert (parameters(deeper) - parameters(deep)) // 50 == 2 * 50 * 51 == 5100
    assert (parameters(deeper_plain) - parameters(plain)) // 50 == 71 * 72 == 5112


@pytest.mark.parametrize("layers", [10, 20, 50, 100])
@pytest.mark.parametrize("kind", ["highway", "plain"])
def test_depth_in_the_name_counts_layers_before_the_output(kind, layers):
    with without_numbers():
        network = made(f"{kind}_mlp_{layers}")
    gates = sum(path.endswith("transform_gate") for path, _ in network.named_modules())
    maps = sum(path.endswith("transform") for path, _ in network.named_modules())
    assert (maps, gates) == (layers, layers - 1 if kind == "highway" else 0)


@pytest.mark.parametrize(
    ("name", "layers", "weights", "printed"),
    [
        ("highway_a", 11, 235_952, "236K"),
        ("highway_b", 19, 2_275_680, "2.3M"),
        ("highway_19", 19, 2_254_152, "2.3M"),
        ("highway_c", 32, 1_277_280, "1.3M"),  # table 2 has 1.25M: the paper prints no widths, and these come near
    ],
)
def test_convolutional_networks_have_the_layers_and_parameters_of_table_2(name, layers, weights, printed):
    with without_numbers():
        network = made(name)
    modules = [path for path, module in network.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    assert sum(not path.endswith("transform_gate") for path in modules) == layers
    counted = sum(parameter.numel() for path, parameter in network.named_parameters() if path.endswith("weight"))
    assert counted == weights
    unit = {"K": 1e3, "M": 1e6}[printed[-1]]
    assert f"{counted / unit:.{len(printed[:-1].partition('.')[2])}f}{printed[-1]}" == printed


def gated(x: Tensor, state: dict[str, Tensor], at: str) -> Tensor:
    """Equations 1 and 3: y = H T + x C with C = 1 - T, in a loop over each part."""

    def affine(part: str) -> Tensor:
        weight, bias = state[f"{at}.{part}.weight"], state[f"{at}.{part}.bias"]
        if x.ndim == 2:
            return x @ weight.flatten(1).T + bias
        return F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)

    transformed = affine("transform").tanh() if x.ndim == 2 else affine("transform").clamp(min=0)
    if f"{at}.transform_gate.weight" not in state:
        return transformed
    transform = 1 / (1 + torch.exp(-affine("transform_gate")))
    carry = 1 - transform
    return transformed * transform + x * carry


@pytest.mark.parametrize("name", ["highway_mlp_20", "plain_mlp_10"])
@torch.no_grad()
def test_fully_connected_networks_are_equation_3(name):
    network = made(name).eval()
    randomise(network, gain=2)
    state, images = network.state_dict(), torch.randn(3, 1, 28, 28)
    x = gated(images.flatten(1), state, "first")
    for layer in range(network.config.layers - 1):
        x = gated(x, state, f"layers.{layer}")
    expected = x @ state["output.weight"].T + state["output.bias"]
    assert (expected[0] - expected[1]).abs().max() > 0.01
    assert relative_difference(network(images), expected) < 1e-5


@pytest.mark.parametrize("name", ["highway_a", "highway_19"])
@torch.no_grad()
def test_convolutional_networks_are_fitnets_with_gates(name):
    network = made(name).double().eval()
    randomise(network, gain=2)
    state = network.state_dict()
    images = x = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    for stage in (1, 2, 3):
        if stage > 1:
            x = x.unflatten(3, (-1, 2)).amax(4).unflatten(2, (-1, 2)).amax(3)
        for layer in range(sum(key.startswith(f"stage{stage}.") and key.endswith("transform.bias") for key in state)):
            x = gated(x, state, f"stage{stage}.{layer}")
    hidden = state["hidden.weight"].flatten(1), state["hidden.bias"]
    if name == "highway_19":
        x = F.linear(x.movedim(1, 3), *hidden).clamp(min=0).mean((1, 2))
    else:
        x = F.linear(x.amax((2, 3)), *hidden).clamp(min=0)
    expected = F.linear(x, state["output.weight"], state["output.bias"])
    assert (expected[0] - expected[1]).abs().max() > 0.01
    assert relative_difference(network(images), expected) < 1e-9


def test_layers_begin_by_carrying_and_a_shut_gate_carries_all():
    torch.manual_seed(0)
    network = create_model("highway_mlp_10")
    layer = network.get_submodule("layers.3")
    assert isinstance(layer, HighwayLayer)
    x = torch.rand(64, 50)
    share = torch.sigmoid(layer.transform_gate(x)).mean().item()
    assert share == pytest.approx(torch.sigmoid(torch.tensor(-2.0)).item(), abs=0.05)
    nn.init.constant_(layer.transform_gate.bias, -1e4)
    assert torch.equal(layer(x), x)
    nn.init.constant_(layer.transform_gate.bias, 1e4)
    torch.testing.assert_close(layer(x), layer.transform(x).tanh())


def errors_on_digits(network: Classifier, images: Tensor, labels: Tensor, steps: int) -> int:
    """Return how many labels a network gets wrong that was trained on them."""
    optimiser = torch.optim.Adam(network.parameters(), lr=2e-3)
    for _ in range(steps):
        logits = network(images)
        if logits.argmax(1).equal(labels):
            break
        optimiser.zero_grad()
        F.cross_entropy(logits, labels).backward()
        optimiser.step()
    return int((network(images).argmax(1) != labels).sum())


def digits() -> tuple[Tensor, Tensor]:
    """Return 64 scanned digits of 8x8 pixels."""
    found = load_digits()
    return torch.tensor(found.images[:64], dtype=torch.float32)[:, None] / 8 - 1, torch.tensor(found.target[:64])


@pytest.mark.parametrize("name", ["highway_mlp_20", "highway_a"])
def test_sixty_four_digits_are_learned_without_an_error(name):
    torch.manual_seed(0)
    edits = {"image_size": 8} if name == "highway_mlp_20" else {"in_chans": 1}
    assert errors_on_digits(create_model(name, **edits), *digits(), steps=100) == 0


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_fifty_plain_layers_do_not_learn_what_fifty_highway_layers_do(seed):
    found = []
    for name in ("highway_mlp_50", "plain_mlp_50"):
        torch.manual_seed(seed)
        found.append(errors_on_digits(create_model(name, image_size=8), *digits(), steps=200))
    assert found[0] == 0
    assert found[1] > 32


def test_resolution_is_halved_twice_and_each_stage_has_a_width():
    with without_numbers():
        assert stage_shapes(made("highway_c"), 3, 32, 32) == [(32, 32, 32), (64, 16, 16), (96, 8, 8)]
        kernels = [
            module.kernel_size[0]
            for path, module in made("highway_c").named_modules()
            if isinstance(module, nn.Conv2d) and path.startswith("stage2") and path.endswith("transform")
        ]
    assert kernels == [3, 1] * 5


@pytest.mark.parametrize("name", ["highway_mlp_100", "plain_mlp_10", "highway_a", "highway_c"])
def test_every_parameter_is_trained(name):
    torch.manual_seed(0)
    network = made(name)
    images = torch.randn(8, network.config.in_chans, 28, 28)
    assert_every_parameter_is_trained(network, images)


@pytest.mark.parametrize(
    ("edits", "says"),
    [
        ({"layers": 0}, "not 0, 50 and 28"),
        ({"width": -1}, "at least 1"),
        ({"image_size": 0}, "at least 1"),
        ({"transform_bias": math.nan}, "transform_bias is nan, must be finite"),
    ],
)
def test_a_fully_connected_network_without_layers_units_or_a_bias_is_refused(edits, says):
    with pytest.raises(UsageError, match=says):
        made("highway_mlp_10", **edits)


@pytest.mark.parametrize(
    ("edits", "says"),
    [
        ({"widths": ()}, "as many"),
        ({"depths": (3, 3)}, "as many"),
        ({"kernels": (3, 2)}, "odd"),
        ({"units": 0}, "at least 1"),
        ({"dropout": 1.0}, "below 1"),
    ],
)
def test_a_convolutional_network_without_layers_or_maps_is_refused(edits, says):
    with pytest.raises(UsageError, match=says):
        made("highway_a", **edits)


def test_images_of_another_size_are_refused_with_both():
    with pytest.raises(UsageError, match="28x28, not 32x32"):
        made("highway_mlp_10")(torch.zeros(1, 1, 32, 32))
