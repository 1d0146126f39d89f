"""VGG is timm's and torchvision's, has the counts of paper and lecture, and grows as section 3.1 says."""

from __future__ import annotations

from dataclasses import replace

import pytest
import timm
import torch
import torchvision
from parity import (
    assert_equal_training_steps,
    assert_every_parameter_is_trained,
    logits_differ_by,
    multiply_adds,
    randomise,
    shapes,
    steps_to_learn_digits,
)
from torch import Tensor, nn

from neocog.errors import UsageError, WeightsError
from neocog.models import convert_state_dict, create_model, grow, tap
from neocog.models.vgg import CONFIGS, VGG

PLAIN = ["vgg11", "vgg13", "vgg16", "vgg19"]
PUBLISHED = [*PLAIN, *(f"{name}_bn" for name in PLAIN)]
CIFAR = [f"{name}_cifar" for name in PLAIN]
FEW = {"widths": (8, 16, 32, 64, 64), "hidden": 24, "num_classes": 7, "dropout": 0.0}
"""Edits with an eighth of the filters, and few units."""


def build(name: str, **edits: object) -> VGG:
    return VGG(replace(CONFIGS[name], **edits))


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def table(name: str) -> list[int | str]:
    """Return timm's list of a network's layers, with an eighth of the filters."""
    layers = timm.models.vgg.cfgs[name.removesuffix("_bn")]
    return [layer if layer == "M" else layer // 8 for layer in layers]


def timms(name: str) -> nn.Module:
    """Return timm's network with as few units as `FEW` asks for."""
    norm = nn.BatchNorm2d if name.endswith("_bn") else None
    with torch.device("meta"):
        network = timm.models.vgg.VGG(table(name), num_classes=7, norm_layer=norm)
        network.pre_logits = timm.models.vgg.ConvMlp(64, 24, 7, drop_rate=0.0)
        network.head.fc = nn.Linear(24, 7)
    return network.to_empty(device="cpu")


def torchvisions(name: str, units: int = 24) -> nn.Module:
    """Return torchvision's, likewise."""
    vgg = torchvision.models.vgg
    with torch.device("meta"):
        network = vgg.VGG(vgg.make_layers(table(name), name.endswith("_bn")), num_classes=7, dropout=0.0)
        network.classifier[0] = nn.Linear(64 * 49, units)
        network.classifier[3] = nn.Linear(units, units)
        network.classifier[6] = nn.Linear(units, 7)
    return network.to_empty(device="cpu")


@pytest.mark.parametrize("name", PUBLISHED)
def test_names_and_shapes_are_timms(name):
    with torch.device("meta"):
        assert shapes(build(name)) == shapes(timm.create_model(name))


@pytest.mark.parametrize("name", PUBLISHED)
def test_states_become_torchvisions_and_come_back(name):
    with torch.device("meta"):
        ours, theirs = build(name).state_dict(), torchvision.models.get_model(name).state_dict()
    converted = convert_state_dict(theirs, name, "torchvision")
    assert {key: value.shape for key, value in converted.items()} == {key: value.shape for key, value in ours.items()}
    back = convert_state_dict(ours, name, "neocog", target="torchvision")
    assert {key: value.shape for key, value in back.items()} == {key: value.shape for key, value in theirs.items()}
    assert back.keys() == theirs.keys()


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("image", [(64, 64), (40, 96)])
def test_logits_are_timms(name, image):
    assert logits_differ_by(build(name, **FEW), timms(name), 3, *image, gain=2) < 1e-5


@pytest.mark.parametrize("name", ["vgg11", "vgg11_bn"])
def test_logits_are_timms_on_images_larger_than_the_published_size(name):
    assert logits_differ_by(build(name, **FEW), timms(name), 3, 240, 288, gain=2) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_logits_of_the_whole_network_are_timms_at_224(name):
    assert logits_differ_by(build(name), timm.create_model(name), 3, 224, 224, gain=2) < 1e-5


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("name", ["vgg11", "vgg16_bn"])
@torch.no_grad()
def test_logits_are_torchvisions_after_conversion_in_either_layout(name, layout):
    theirs = torchvisions(name)
    randomise(theirs, gain=2)
    ours = build(name, **FEW)
    ours.load_state_dict(convert_state_dict(theirs.state_dict(), name, "torchvision", **FEW))
    images = torch.randn(2, 3, 64, 48)
    expected = theirs.eval()(images)
    found = ours.eval().to(memory_format=layout)(images.to(memory_format=layout))
    assert (expected[0] - expected[1]).abs().max() > 0.01
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_converted_weights_are_the_same_numbers_in_the_same_memory():
    network = torchvisions("vgg11")
    randomise(network)  # memory that nothing was written to may hold NaN, which equals nothing
    theirs = network.state_dict()
    ours = convert_state_dict(theirs, "vgg11", "torchvision", **FEW)
    assert ours["pre_logits.fc1.weight"].shape == (24, 64, 7, 7)
    assert ours["pre_logits.fc2.weight"].shape == (24, 24, 1, 1)
    assert ours["pre_logits.fc1.weight"].data_ptr() == theirs["classifier.0.weight"].data_ptr()
    back = convert_state_dict(ours, "vgg11", "neocog", target="torchvision", **FEW)
    assert back.keys() == theirs.keys()
    assert all(torch.equal(back[key], theirs[key]) for key in theirs)
    assert convert_state_dict(ours, "vgg11", "timm", **FEW).keys() == ours.keys()


def test_a_file_of_torchvisions_is_recognised_and_fits(tmp_path):
    theirs = torchvisions("vgg11")
    randomise(theirs)
    torch.save(theirs.state_dict(), tmp_path / "vgg11.pth")
    ours = create_model("vgg11", weights=tmp_path / "vgg11.pth", hidden=24, widths=FEW["widths"])
    assert ours.loaded.library == "torchvision"
    assert ours.num_classes == 7
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(ours.eval()(images), theirs.eval()(images), rtol=1e-4, atol=1e-5)


def test_a_file_with_matrices_of_another_size_is_refused_by_name(tmp_path):
    torch.save(torchvisions("vgg11", units=16).state_dict(), tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=r"pre_logits\.fc1\.weight \(16, 64, 7, 7\) instead of \(24, 64, 7, 7\)"):
        create_model("vgg11", weights=tmp_path / "other.pth", hidden=24, widths=FEW["widths"])


@pytest.mark.parametrize("name", ["vgg11", "vgg16_bn"])
def test_a_training_step_is_timms_in_float64(name):
    assert_equal_training_steps(build(name, **FEW), timms(name), 3, 64, 64, gain=2)


@pytest.mark.slow
def test_a_training_step_of_the_whole_network_is_timms_in_float64():
    ours, theirs = build("vgg16", dropout=0.0), timm.create_model("vgg16", drop_rate=0.0)
    theirs.pre_logits.drop.p = 0.0
    assert_equal_training_steps(ours, theirs, 3, 64, 64, gain=2)


@pytest.mark.parametrize(
    ("name", "millions", "exact"),
    [
        ("vgg11", 133, 132_863_336),
        ("vgg13", 133, 133_047_848),
        ("vgg16", 138, 138_357_544),
        ("vgg19", 144, 143_667_240),
    ],
)
def test_parameters_are_those_of_table_2(name, millions, exact):
    with torch.device("meta"):
        network = build(name)
    assert parameters(network) == exact
    assert round(exact / 1e6) == millions


def test_the_network_for_cifar_has_the_parameters_of_liu_2017():
    with torch.device("meta"):
        network = build("vgg19_cifar")
    assert f"{parameters(network) / 1e6:.2f}" == "20.04"


@pytest.mark.parametrize("name", CONFIGS)
def test_the_number_in_the_name_counts_layers_with_weights(name):
    with torch.device("meta"):
        network = build(name)
    layers = sum(isinstance(module, nn.Conv2d | nn.Linear) for module in network.modules())
    assert layers == int(name.partition("_")[0].removeprefix("vgg")) - (2 if name.endswith("cifar") else 0)


DECK = """\
INPUT     224x224x3    150K  0
CONV3-64  224x224x64   3.2M  1,728
CONV3-64  224x224x64   3.2M  36,864
POOL2     112x112x64   800K  0
CONV3-128 112x112x128  1.6M  73,728
CONV3-128 112x112x128  1.6M  147,456
POOL2     56x56x128    400K  0
CONV3-256 56x56x256    800K  294,912
CONV3-256 56x56x256    800K  589,824
CONV3-256 56x56x256    800K  589,824
POOL2     28x28x256    200K  0
CONV3-512 28x28x512    400K  1,179,648
CONV3-512 28x28x512    400K  2,359,296
CONV3-512 28x28x512    400K  2,359,296
POOL2     14x14x512    100K  0
CONV3-512 14x14x512    100K  2,359,296
CONV3-512 14x14x512    100K  2,359,296
CONV3-512 14x14x512    100K  2,359,296
POOL2     7x7x512      25K   0
FC        1x1x4096     4096  102,760,448
FC        1x1x4096     4096  16,777,216
FC        1x1x1000     1000  4,096,000
"""
"""The lecture's table of VGG-16, line by line: what a layer returns, how many values that are, and its weights."""


def lines_of_vgg16() -> list[tuple[str, tuple[int, ...], int]]:
    """Return the kind, the (H, W, C) and the weights without biases of each layer, as it runs."""
    with torch.device("meta"):
        network = build("vgg16").eval()
        kinds = {nn.MaxPool2d: "POOL2", nn.Conv2d: "CONV3", nn.Linear: "FC"}
        layers = {name: module for name, module in network.named_modules() if type(module) in kinds}
        layers |= {f"pre_logits.{name}": network.get_submodule(f"pre_logits.{name}") for name in ("fc1", "fc2")}
        with torch.no_grad(), tap(network, list(layers)) as seen:
            network(torch.empty(1, 3, 224, 224))
    lines: list[tuple[str, tuple[int, ...], int]] = [("INPUT", (224, 224, 3), 0)]
    for name, output in seen.items():
        module = layers[name]
        channels, height, width = (*output.shape[1:], 1, 1)[:3]
        kind = kinds.get(type(module), "FC")
        weights = 0 if kind == "POOL2" else module.weight.numel()
        lines.append((f"CONV3-{channels}" if kind == "CONV3" else kind, (height, width, channels), weights))
    return lines


def as_number(text: str) -> float:
    return float(text.rstrip("KM").replace(",", "")) * {"K": 1e3, "M": 1e6}.get(text[-1], 1)


def test_the_lectures_table_of_vgg16_line_by_line():
    lines = lines_of_vgg16()
    quoted = [line.split() for line in DECK.splitlines()]
    assert len(lines) == len(quoted)
    for (kind, shape, weights), (name, size, memory, count) in zip(lines, quoted, strict=True):
        assert (kind, "x".join(map(str, shape))) == (name, size)
        assert weights == as_number(count)
        values = shape[0] * shape[1] * shape[2]
        assert abs(values - as_number(memory)) <= 0.004 * values, "printed rounded"


def test_the_lectures_totals_of_vgg16_with_the_memory_put_right():
    lines = lines_of_vgg16()
    assert sum(weights for _, _, weights in lines) == 138_344_128  # "138M parameters", without biases
    values = sum(height * width * channels for _, (height, width, channels), _ in lines)
    # "TOTAL memory: 24M * 4 bytes ~ = 96MB": its own lines add up to 15.2M values, 61 MB.
    assert values == 15_237_608
    assert round(values * 4 / 1e6, 2) == 60.95


def test_other_figures_of_the_lectures():
    with torch.device("meta"):
        vgg16, vgg19 = build("vgg16"), build("vgg19")
    last_stage = [vgg16.get_submodule(f"features.{index}").weight.numel() for index in (24, 26, 28)]
    assert sum(last_stage) == 3 * (3**2 * 512**2) < 7**2 * 512**2  # three 3x3 against one 7x7, for C = 512
    assert int(parameters(vgg16) / 1e4) / 100 == 138.35  # "138.35M", cut off
    assert round(parameters(vgg19) / 1e6, 1) == 143.7
    assert round(multiply_adds(vgg16, 3, 224, 224) / 1e9, 2) == 15.47
    # "Won ILSVRC 2014", says one lecture, whose own table has VGG second and GoogLeNet first.


def test_weights_begin_as_glorot_and_bengio_say_and_biases_at_zero():
    network = build("vgg16", hidden=8)
    network.init_weights()
    weight = network.get_submodule("features.24").weight
    bound = (6 / (9 * (512 + 512))) ** 0.5
    assert weight.abs().max().item() == pytest.approx(bound, rel=1e-3)
    assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.01)
    assert all(not parameter.any() for name, parameter in network.named_parameters() if name.endswith("bias"))


@pytest.mark.parametrize("name", ["vgg16", "vgg16_cifar", "vgg13_bn"])
def test_every_parameter_is_trained(name):
    edits = {"widths": (8, 8, 8, 8, 8), "num_classes": 3, "hidden": 64}
    if name.endswith("cifar"):
        del edits["hidden"]
    assert_every_parameter_is_trained(build(name, **edits), torch.randn(3, 3, 64, 64))


def test_the_network_for_cifar_learns_digits_without_error():
    network = build("vgg11_cifar", in_chans=1, widths=(8, 8, 16, 16, 16))
    assert steps_to_learn_digits(network, size=32, limit=100) <= 100


@torch.no_grad()
def test_larger_images_are_evaluated_densely():
    """Section 3.2: the mean of the class scores at each position of the fully-connected layers, as convolutions."""
    network = build("vgg11", widths=(4, 4, 4, 4, 4), hidden=8, num_classes=3).eval()
    randomise(network)
    images = torch.randn(1, 3, 256, 288)
    features = network.forward_features(images)
    assert features.shape[2:] == (8, 9)
    windows = [features[:, :, row : row + 7, column : column + 7] for row in range(2) for column in range(3)]
    scores = torch.stack([network.forward_head(window) for window in windows]).mean(0)
    torch.testing.assert_close(network(images), scores)


# Growing


def grown_layers(small: str, large: str, **edits: object) -> tuple[VGG, VGG, dict[str, Tensor], tuple[str, ...]]:
    """Grow a random network into another; return both, what the large one was before, and what was copied."""
    few = {"widths": (4, 6, 8, 8, 8), "num_classes": 5, **edits}
    source, network = build(small, **few), build(large, **few)
    randomise(source)
    network.init_weights()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    return source, network, before, grow(source, network)


@pytest.mark.parametrize("large", ["vgg13", "vgg16", "vgg19"])
def test_the_first_four_convolutions_and_all_fully_connected_layers_are_copied(large):
    source, network, before, copied = grown_layers("vgg11", large, hidden=8)
    assert [source.get_submodule(f"features.{index}").out_channels for index in (0, 3, 6, 8)] == [4, 6, 8, 8]
    places = network.convolutions()
    # Of the 11-layer network these are the first of stages 1 and 2 and both of stage 3.
    expected = {places[1, 1]: "features.0", places[2, 1]: "features.3", places[3, 1]: "features.6"}
    expected |= {places[3, 2]: "features.8"}
    expected |= {name: name for name in ("pre_logits.fc1", "pre_logits.fc2", "head.fc")}
    assert copied == tuple(expected)
    own, old = network.state_dict(), source.state_dict()
    for layer, origin in expected.items():
        for part in ("weight", "bias"):
            assert torch.equal(own[f"{layer}.{part}"], old[f"{origin}.{part}"])
    rest = [name for name in own if name.rpartition(".")[0] not in expected]
    assert len(rest) == 2 * (int(large.removeprefix("vgg")) - 7)
    assert all(torch.equal(own[name], before[name]) for name in rest)


def test_norms_and_their_statistics_come_with_their_convolutions():
    source, network, _, copied = grown_layers("vgg11_cifar", "vgg16_cifar")
    assert len(copied) == 4 + 4 + 1
    own, old = network.state_dict(), source.state_dict()
    assert torch.equal(own["features.1.running_var"], old["features.1.running_var"])
    assert torch.equal(own["features.15.running_mean"], old["features.9.running_mean"])  # first norms of stage 3
    assert not torch.equal(own["features.4.weight"], old["features.4.weight"])


def test_a_grown_network_is_apart_from_the_one_that_it_came_from():
    source, network, _, _ = grown_layers("vgg11", "vgg13", hidden=8)
    images = torch.randn(2, 3, 32, 32)
    expected = source.eval()(images).detach()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    assert torch.equal(source(images), expected)
    assert all(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize(
    ("small", "large", "edits", "said"),
    [
        ("vgg16", "vgg11", {}, r"\(2, 2, 3, 3, 3\) convolutions do not grow into stages of \(1, 1, 2, 2, 2\)"),
        ("vgg11", "vgg11", {}, "do not grow into"),
        ("vgg11_bn", "vgg16", {}, "not in batch_norm: True cannot become False"),
        ("vgg11", "vgg16", {"num_classes": 3}, "not in num_classes: 1000 cannot become 3"),
        ("vgg11", "vgg16", {"in_chans": 1}, "not in in_chans: 3 cannot become 1"),
        ("vgg11", "vgg16", {"widths": (8, 8, 8, 8, 8)}, "not in widths"),
        ("vgg11_cifar", "vgg16_cifar", {"hidden": 4}, "not in hidden: None cannot become 4"),
    ],
)
def test_networks_that_do_not_grow_into_each_other_say_why(small, large, edits, said):
    with torch.device("meta"), pytest.raises(UsageError, match=said):
        grow(build(small), build(large, **edits))


def test_networks_of_other_families_do_not_grow():
    lenet = create_model("lenet5")
    with torch.device("meta"):
        network = build("vgg16")
    with pytest.raises(UsageError, match="a VGG grows from a VGG, not from a LeNet5"):
        grow(lenet, network)
    with pytest.raises(UsageError, match="a VGG does not grow into a LeNet5"):
        grow(network, lenet)


@pytest.mark.parametrize(
    ("edits", "said"),
    [
        ({"depths": (1, 0, 2, 2, 2)}, "at least 1 in each"),
        ({"depths": ()}, "at least 1 in each"),
        ({"widths": (64, 128)}, "each of the 5 stages"),
        ({"widths": (64, 128, 0, 1, 1)}, "at least 1"),
        ({"hidden": 0}, "at least 1, or None; not 0"),
        ({"dropout": 1.0}, "below 1; not 1.0"),
    ],
)
def test_what_no_network_can_be_is_refused(edits, said):
    with pytest.raises(UsageError, match=said):
        build("vgg11", **edits)
