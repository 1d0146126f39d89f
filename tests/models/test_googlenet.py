from __future__ import annotations

import warnings
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from parity import (
    assert_equal_training_steps,
    assert_every_parameter_is_trained,
    differs_from_reading_by,
    logits_differ_by,
    multiply_adds,
    randomise,
    relative_difference,
    shapes,
    steps_to_learn_digits,
)
from safetensors.torch import save_file
from torch import Tensor, nn

from neocog.errors import UsageError
from neocog.models import create_model, tap
from neocog.models.googlenet import CONFIGS, TABLE_1, GoogLeNet, Inception, NaiveInception

GAIN = 2.0  # of random weights, so that images still differ after 22 layers


def build(name: str, **edits: object) -> GoogLeNet:
    return GoogLeNet(replace(CONFIGS[name], **edits))


def torchvisions(*, auxiliary: bool = False) -> nn.Module:
    from torchvision.models import googlenet

    with warnings.catch_warnings(action="ignore"):
        return googlenet(init_weights=False, aux_logits=auxiliary)


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("auxiliary", [False, True])
def test_names_and_shapes_are_torchvisions(auxiliary):
    with torch.device("meta"):
        assert shapes(build("googlenet", auxiliary=auxiliary)) == shapes(torchvisions(auxiliary=auxiliary))


def test_logits_are_torchvisions():
    assert logits_differ_by(build("googlenet"), torchvisions(), 3, 75, 64, gain=GAIN) < 1e-5


@pytest.mark.slow
def test_a_training_step_is_torchvisions_in_float64():
    theirs = torchvisions()
    theirs.dropout.p = 0.0
    assert_equal_training_steps(build("googlenet", dropout=0.0), theirs, 3, 48, 48, gain=GAIN)


def test_auxiliary_logits_are_torchvisions():
    theirs, ours = torchvisions(auxiliary=True), build("googlenet", auxiliary=True)
    randomise(theirs, gain=GAIN)
    ours.load_state_dict(theirs.state_dict())
    images = torch.randn(2, 3, 224, 224)[:1]
    heads = {name: theirs.get_submodule(name) for name in ("aux1", "aux2")}
    seen: dict[str, Tensor] = {}
    for name, head in heads.items():
        head.register_forward_hook(lambda module, inputs, output, name=name: seen.update({name: output}))
    theirs.eval()
    for module in (theirs, *heads.values()):
        module.training = True  # they are run in training mode alone, which batch norms shall not be in
    theirs.dropout.eval()
    with torch.no_grad():
        for head in heads.values():
            head.dropout.eval()
        theirs(images)
        with tap(ours.eval(), list(ours.auxiliary_heads)) as fed:
            ours(images)
        for (stage, head), expected in zip(ours.auxiliary_heads.items(), seen.values(), strict=True):
            assert relative_difference(head(fed[stage]), expected) < 1e-5


def test_parameters_are_the_published_ones():
    with torch.device("meta"):
        assert parameters(build("googlenet_2014")) == 6_998_552
        assert parameters(build("googlenet")) == 6_624_904


def test_operations_of_the_modules_of_the_deck():
    """28x28x256 in: "Total: 854M ops" is right; "Total: 358M ops" counts the 3x3 twice, and 271 M is right."""
    one, three, five = 28 * 28 * 128 * 256, 28 * 28 * 192 * 9, 28 * 28 * 96 * 25
    bottleneck = 28 * 28 * 64 * 256
    with torch.device("meta"):
        naive = NaiveInception(256, (128, 192, 96))
        reduced = Inception(256, (128, 64, 192, 64, 96, 64))
        assert naive(torch.empty(1, 256, 28, 28)).shape[1] == 128 + 192 + 96 + 256  # the deck's 672
        assert reduced(torch.empty(1, 256, 28, 28)).shape[1] == 480
    assert multiply_adds(naive, 256, 28, 28) == one + three * 256 + five * 256 == 854_196_224
    assert multiply_adds(reduced, 256, 28, 28) == 3 * bottleneck + one + three * 64 + five * 64 == 271_351_808
    assert 358_000_000 < 271_351_808 + three * 64 < 359_000_000


@pytest.mark.parametrize(
    ("layers", "thousands", "millions"),
    [
        (("conv2", "conv3"), 112, 360),
        (("inception3a",), 159, 128),
        (("inception3b",), 380, 304),
        (("inception4a",), 364, 73),
        (("inception4b",), 437, 88),
        (("inception4c",), 463, 100),
        (("inception4d",), 580, 119),
        (("inception4e",), 840, 170),
        (("inception5a",), 1018, 51),  # the table prints 1072 and 54, which its own filters do not give
        (("inception5b",), 1388, 71),
        (("fc",), 1000, 1),
    ],
)
def test_parameters_and_operations_of_table_1(layers, thousands, millions):
    """Without biases, K being 1024 and M a million. Parameters differ by up to 7 % from what the table's filters give.

    Its first row, 2.7 K and 34 M, is of another convolution than 7x7 with 64 filters on 3 channels (9.2 K and 118 M).
    """
    with torch.device("meta"):
        network = build("googlenet_2014")
    modules = [network.get_submodule(name) for name in layers]
    weights = [weight for module in modules for weight in module.parameters() if weight.ndim > 1]
    counted = sum(weight.numel() for weight in weights)
    side = {"c": 56, "3": 28, "4": 14, "5": 7, "f": 1}[layers[0].removeprefix("inception")[0]]
    assert counted / 1024 == pytest.approx(thousands, rel=0.075)
    assert abs(counted * side**2 / 1e6 - millions) < 1


@torch.no_grad()
def test_maps_have_the_sizes_of_table_1():
    for name in CONFIGS:
        with torch.device("meta"):
            network = build(name)
            with tap(network, network.stage_names) as seen:
                network(torch.empty(1, 3, 224, 224))
        shapes_seen = [tuple(seen[stage].shape[1:]) for stage in network.stage_names]
        assert shapes_seen == [(64, 112, 112), (192, 56, 56), (480, 28, 28), (832, 14, 14), (1024, 7, 7)]


def reference_logits(state: dict[str, Tensor], x: Tensor) -> Tensor:
    """Figure 3 read once more, from the parameters alone."""

    def convolve(x: Tensor, name: str, stride: int = 1) -> Tensor:
        weight = state[f"{name}.conv.weight"]
        return F.conv2d(x, weight, state[f"{name}.conv.bias"], stride, weight.shape[-1] // 2).relu()

    def respond(x: Tensor) -> Tensor:
        return F.local_response_norm(x, 5, alpha=5e-4, beta=0.75, k=2.0)

    def pool(x: Tensor) -> Tensor:
        return F.max_pool2d(x, 3, 2, ceil_mode=True)

    x = respond(pool(convolve(x, "conv1", 2)))
    x = pool(respond(convolve(convolve(x, "conv2"), "conv3")))
    for name in ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b"):
        at = f"inception{name}.branch"
        if name in ("4a", "5a"):
            x = pool(x)
        pooled = F.max_pool2d(F.pad(x, (1, 1, 1, 1), value=-torch.inf), 3, 1)
        three, five = convolve(convolve(x, f"{at}2.0"), f"{at}2.1"), convolve(convolve(x, f"{at}3.0"), f"{at}3.1")
        x = torch.cat([convolve(x, f"{at}1"), three, five, convolve(pooled, f"{at}4.1")], 1)
    return F.linear(x.mean((2, 3)), state["fc.weight"], state["fc.bias"])


def test_the_published_network_is_figure_3():
    network = build("googlenet_2014")
    assert differs_from_reading_by(network, reference_logits, 3, 64, 75, gain=1.4) < 1e-5
    assert network.get_submodule("inception3a.branch3.1.conv").weight.shape == (32, 16, 5, 5)


def test_every_parameter_is_trained():
    assert_every_parameter_is_trained(build("googlenet_2014", num_classes=4, dropout=0.0), torch.randn(4, 3, 64, 64))


@pytest.mark.slow
def test_digits_are_learnt():
    torch.manual_seed(0)
    network = build("googlenet_2014", num_classes=10, in_chans=1, dropout=0.0)
    assert 1 < steps_to_learn_digits(network, 32, limit=100, rate=5e-4, adam=True) <= 100


def test_auxiliary_heads_follow_the_classifier():
    network = build("googlenet_2014", auxiliary=True, num_classes=5)
    assert list(network.auxiliary_heads) == ["inception4a", "inception4d"]
    assert build("googlenet_2014").auxiliary_heads == {}
    maps = {"inception4a": torch.randn(2, 512, 14, 14), "inception4d": torch.randn(2, 528, 14, 14)}
    for classes, width in ((5, 5), (3, 3), (0, 1024), (7, 7)):
        network.reset_classifier(classes)
        for stage, head in network.auxiliary_heads.items():
            assert head(maps[stage]).shape == (2, width)


def test_the_auxiliary_pool_is_the_papers():
    network = build("googlenet_2014", auxiliary=True).eval()
    head, maps = network.auxiliary_heads["inception4a"], torch.randn(1, 512, 14, 14)
    x = head.conv(F.avg_pool2d(maps, 5, 3))
    assert x.shape == (1, 128, 4, 4)  # "resulting in a 4x4x512 output for the (4a) stage"
    assert torch.equal(head(maps), head.fc2(head.fc1(x.flatten(1)).relu()))


def test_torchvisions_file_loads_with_and_without_its_auxiliary_heads(tmp_path):
    theirs = torchvisions(auxiliary=True)
    randomise(theirs, gain=GAIN)
    save_file(theirs.state_dict(), tmp_path / "weights.safetensors")
    without = create_model("googlenet", weights=tmp_path / "weights.safetensors")
    assert without.loaded is not None
    assert without.loaded.remade == ("the file's auxiliary heads (aux1, aux2) were left out",)
    assert without.loaded.tensors == len(without.state_dict())
    with_heads = create_model("googlenet", weights=tmp_path / "weights.safetensors", num_classes=3, auxiliary=True)
    assert torch.equal(with_heads.state_dict()["aux1.fc1.weight"], theirs.state_dict()["aux1.fc1.weight"])
    assert with_heads.auxiliary_heads["inception4d"].get_submodule("fc2").weight.shape == (3, 1024)

    save_file(without.state_dict(), tmp_path / "without.safetensors")
    again = create_model("googlenet", weights=tmp_path / "without.safetensors", auxiliary=True)
    assert again.loaded is not None
    assert again.loaded.remade == ("the auxiliary heads (aux1, aux2), which the file lacks, were made anew",)
    assert again.loaded.tensors == len(without.state_dict())
    drawn = again.auxiliary_heads["inception4a"].get_submodule("fc1").weight.std().item()
    assert drawn == pytest.approx(0.01, rel=0.05)


@pytest.mark.parametrize("edits", [{"largest_kernel": 4}, {"last_pool": 5}, {"dropout": 1.0}])
def test_what_would_not_fit_is_refused(edits):
    with pytest.raises(UsageError, match="not"):
        build("googlenet_2014", **edits)


def test_the_table_is_as_wide_as_the_modules():
    with torch.device("meta"):
        network = build("googlenet_2014")
    widths = {name: network.get_submodule(name).out_channels for name in TABLE_1}
    assert list(widths.values()) == [256, 480, 512, 512, 512, 528, 832, 832, 1024]
