"""Inception v2, v3, v4 and the two Inception-ResNets: the networks after GoogLeNet, compared with what others count."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from parity import (
    assert_equal_training_steps,
    assert_every_parameter_is_trained,
    differs_from_reading_by,
    logits_differ_by,
    randomise,
    relative_difference,
    shapes,
    steps_to_learn_digits,
)
from safetensors.torch import save_file
from torch import Tensor, nn

from neocog.errors import UsageError
from neocog.models import Classifier, convert_state_dict, create_model, tap
from neocog.models._family import Family
from neocog.models.inception_v2 import FIGURE_5

GAIN = 2.2  # of random weights, so that images still differ after 40 layers
IN_TIMM = ["inception_v3", "inception_v4", "inception_resnet_v2"]


def build(name: str, **edits: Any) -> Classifier:
    family = Family.of(name)
    return family.build(replace(family.config, **edits))


class Renamed(nn.Module):
    """One of our networks that takes and gives a state with timm's names."""

    def __init__(self, network: Classifier) -> None:
        super().__init__()
        self.network = network

    def load_state_dict(self, state: dict[str, Tensor], **_: Any) -> None:
        classes = {"num_classes": self.network.num_classes}
        self.network.load_state_dict(convert_state_dict(state, self.network.name, "timm", **classes))

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images)

    def named_parameters(self, *_: Any, **__: Any) -> Any:
        return self._named(dict(self.network.named_parameters()))

    def named_buffers(self, *_: Any, **__: Any) -> Any:
        return self._named(dict(self.network.named_buffers()))

    def _named(self, tensors: dict[str, Tensor]) -> Any:
        classes = {"num_classes": self.network.num_classes}
        return convert_state_dict(tensors, self.network.name, "neocog", target="timm", **classes).items()


def timms(name: str, **settings: Any) -> nn.Module:
    import timm

    return timm.create_model(name, **settings)


@pytest.mark.parametrize("name", IN_TIMM)
def test_names_and_shapes_are_timms_by_the_mapping_and_back(name):
    with torch.device("meta"):
        ours, theirs = build(name), timms(name)
    as_timm = convert_state_dict(ours.state_dict(), name, "neocog", target="timm")
    assert {key: tuple(tensor.shape) for key, tensor in as_timm.items()} == shapes(theirs)
    back = convert_state_dict(as_timm, name, "timm")
    assert list(back) == list(ours.state_dict())


def test_names_and_shapes_of_v3_are_torchvisions_and_timms_with_the_auxiliary_head():
    from torchvision.models import inception_v3

    with torch.device("meta"), warnings.catch_warnings(action="ignore"):
        ours = shapes(build("inception_v3", auxiliary=True))
        assert ours == shapes(inception_v3(init_weights=False))
        assert ours == shapes(timms("inception_v3", aux_logits=True))


@pytest.mark.parametrize(
    "name", ["inception_v3", *(pytest.param(name, marks=pytest.mark.slow) for name in IN_TIMM[1:])]
)
def test_logits_are_timms(name):
    assert logits_differ_by(Renamed(build(name)), timms(name), 3, 80, 96, gain=GAIN) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("name", ["inception_v3", "inception_resnet_v2"])
def test_a_training_step_is_timms_in_float64(name):
    ours = Renamed(build(name, num_classes=7, dropout=0.0))
    # 40 residual blocks, whose sums timm rounds once more: gradients of up to 0.5 differ by some 1e-12.
    assert_equal_training_steps(ours, timms(name, num_classes=7), 3, 80, 80, floor=1e-10)


def test_the_auxiliary_logits_of_v3_are_timms():
    theirs, ours = (
        timms("inception_v3", aux_logits=True, num_classes=5),
        build("inception_v3", auxiliary=True, num_classes=5),
    )
    randomise(theirs, gain=GAIN)
    ours.load_state_dict(theirs.state_dict())
    maps = torch.randn(2, 768, 17, 17)
    head = ours.eval().auxiliary_heads["Mixed_6e"]
    with torch.no_grad():
        assert relative_difference(head(maps), theirs.eval().get_submodule("AuxLogits")(maps)) < 1e-5
        with pytest.raises(UsageError, match=r"17x17, not 16x20; give it images of at least 299x299"):
            head(torch.randn(1, 768, 16, 20))
    ours.reset_classifier(3)
    assert head(maps).shape == (2, 3)


def test_a_file_of_timms_with_an_auxiliary_head_loads(tmp_path):
    theirs = timms("inception_v3", aux_logits=True)
    save_file(theirs.state_dict(), tmp_path / "weights.safetensors")
    ours = create_model("inception_v3", weights=tmp_path / "weights.safetensors")
    assert ours.loaded is not None
    assert ours.loaded.remade == ("the file's auxiliary heads (AuxLogits) were left out",)
    weight = "Mixed_7c.branch_pool.conv.weight"
    assert torch.equal(ours.state_dict()[weight], theirs.state_dict()[weight])


def slim_variables(network: nn.Module) -> int:
    """Count as TF-Slim's tests do: weights, and of each batch norm a shift and two statistics, but no scale."""
    convolutions = sum(each.weight.numel() for each in network.modules() if isinstance(each, nn.Conv2d))
    return convolutions + 3 * sum(each.num_features for each in network.modules() if isinstance(each, nn.BatchNorm2d))


def test_v2_has_the_parameters_of_its_authors_code():
    """TF-Slim's inception_v2_test.py says 10,173,112, its first convolution having two steps, and a bias for a norm."""
    with torch.device("meta"):
        network = build("inception_v2")
    whole, in_two_steps = 7 * 7 * 3 * 64, 7 * 7 * 3 * 8 + 3 * 8 * 64
    assert slim_variables(network) - whole + in_two_steps - 3 * 64 + 64 == 10_173_112


@torch.no_grad()
def test_v2_has_the_maps_of_figure_5():
    with torch.device("meta"):
        network = build("inception_v2")
        with tap(network, [*FIGURE_5]) as seen:
            network(torch.empty(1, 3, 224, 224))
    channels = [256, 320, 576, 576, 576, 576, 576, 1024, 1024, 1024]
    sides = [28, 28, 14, 14, 14, 14, 14, 7, 7, 7]
    assert [tuple(seen[name].shape[1:]) for name in FIGURE_5] == [
        (width, side, side) for width, side in zip(channels, sides, strict=True)
    ]


class Reader:
    """Computes with the parameters of a state alone."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        self.state = state

    def convolve(self, x: Tensor, name: str, stride: int = 1, *, valid: bool = False) -> Tensor:
        weight = self.state[f"{name}.conv.weight"]
        padding = (0, 0) if valid else (weight.shape[2] // 2, weight.shape[3] // 2)
        x = F.conv2d(x, weight, None, stride, padding)
        mean, variance = self.state[f"{name}.bn.running_mean"], self.state[f"{name}.bn.running_var"]
        return F.batch_norm(
            x, mean, variance, self.state[f"{name}.bn.weight"], self.state[f"{name}.bn.bias"], eps=1e-3
        ).relu()

    def chain(self, x: Tensor, *names: str) -> Tensor:
        for name in names:
            x = self.convolve(x, name)
        return x

    def add(self, x: Tensor, at: str, branches: list[Tensor], scale: float) -> Tensor:
        residual = F.conv2d(torch.cat(branches, 1), self.state[f"{at}.conv2d.weight"], self.state[f"{at}.conv2d.bias"])
        return (x + scale * residual).relu()


def v2_logits(state: dict[str, Tensor], x: Tensor) -> Tensor:
    """Figure 5 of the batch-norm paper read once more."""
    read = Reader(state)
    x = F.max_pool2d(read.convolve(x, "conv1", 2), 3, 2, 1)
    x = F.max_pool2d(read.chain(x, "conv2", "conv3"), 3, 2, 1)
    for name in ("3a", "3b", "3c", "4a", "4b", "4c", "4d", "4e", "5a", "5b"):
        at, stride = f"inception{name}.branch", 2 if name in ("3c", "4e") else 1
        three = read.convolve(read.convolve(x, f"{at}2.0"), f"{at}2.1", stride)
        double = read.convolve(read.chain(x, f"{at}3.0", f"{at}3.1"), f"{at}3.2", stride)
        if stride == 2:
            x = torch.cat([three, double, F.max_pool2d(x, 3, 2, 1)], 1)
            continue
        ones = torch.ones_like(x[:1, :1])  # how many pixels a window has at the border
        window = torch.ones(1, 1, 3, 3)
        count = F.conv2d(ones, window, padding=1)
        mean = F.conv2d(x.flatten(0, 1)[:, None], window, padding=1).view_as(x) / count
        pooled = F.max_pool2d(x, 3, 1, 1) if name == "5b" else mean
        x = torch.cat([read.convolve(x, f"{at}1"), three, double, read.convolve(pooled, f"{at}4.1")], 1)
    return F.linear(x.mean((2, 3)), read.state["fc.weight"], read.state["fc.bias"])


def resnet_v1_logits(state: dict[str, Tensor], x: Tensor) -> Tensor:
    """Figures 10 to 15 of the Inception-ResNet paper read once more."""
    read = Reader(state)
    x = read.convolve(x, "stem.0", 2, valid=True)
    x = read.convolve(read.convolve(x, "stem.1", valid=True), "stem.2")
    x = read.convolve(F.max_pool2d(x, 3, 2), "stem.4")
    x = read.convolve(read.convolve(x, "stem.5", valid=True), "stem.6", 2, valid=True)
    for block in range(5):
        at = f"inception_a.{block}"
        branches = [read.convolve(x, f"{at}.branch0")]
        branches.append(read.chain(x, f"{at}.branch1.0", f"{at}.branch1.1"))
        branches.append(read.chain(x, f"{at}.branch2.0", f"{at}.branch2.1", f"{at}.branch2.2"))
        x = read.add(x, at, branches, 0.17)
    long = read.convolve(
        read.chain(x, "reduction_a.branch1.0", "reduction_a.branch1.1"), "reduction_a.branch1.2", 2, valid=True
    )
    x = torch.cat([read.convolve(x, "reduction_a.branch0", 2, valid=True), long, F.max_pool2d(x, 3, 2)], 1)
    for kind, blocks, scale in (("b", 10, 0.1), ("c", 5, 0.2)):
        for block in range(blocks):
            at = f"inception_{kind}.{block}"
            branches = [read.convolve(x, f"{at}.branch0")]
            branches.append(read.chain(x, *(f"{at}.branch1.{step}" for step in range(3))))
            x = read.add(x, at, branches, scale)
        if kind == "b":
            at = "reduction_b.branch"
            one = read.convolve(read.convolve(x, f"{at}0.0"), f"{at}0.1", 2, valid=True)
            two = read.convolve(read.convolve(x, f"{at}1.0"), f"{at}1.1", 2, valid=True)
            three = read.convolve(read.chain(x, f"{at}2.0", f"{at}2.1"), f"{at}2.2", 2, valid=True)
            x = torch.cat([one, two, three, F.max_pool2d(x, 3, 2)], 1)
    return F.linear(x.mean((2, 3)), read.state["fc.weight"], read.state["fc.bias"])


@pytest.mark.parametrize(
    ("name", "reference", "size"), [("inception_v2", v2_logits, 60), ("inception_resnet_v1", resnet_v1_logits, 90)]
)
def test_networks_without_a_reference_are_their_figures(name, reference, size):
    assert differs_from_reading_by(build(name), reference, 3, size, size, gain=GAIN) < 1e-5


def test_residual_v1_has_the_filters_of_figures_10_to_13():
    state = shapes(build("inception_resnet_v1"))
    figures = {
        "inception_a.4.branch2.2": (32, 32, 3, 3),
        "inception_a.4": (256, 96, 1, 1),
        "inception_b.9.branch1.1": (128, 128, 1, 7),
        "inception_b.9.branch1.2": (128, 128, 7, 1),
        "inception_b.9": (896, 256, 1, 1),
        "inception_c.4.branch1.1": (192, 192, 1, 3),
        "inception_c.4.branch1.2": (192, 192, 3, 1),
        "inception_c.4": (1792, 384, 1, 1),
    }
    for name, shape in figures.items():
        assert state[f"{name}.conv.weight" if "branch" in name else f"{name}.conv2d.weight"] == shape
    assert not any(name.startswith(("inception_a.5", "inception_b.10", "inception_c.5")) for name in state)


@pytest.mark.parametrize(("name", "size"), [("inception_v2", 32), ("inception_resnet_v1", 80)])
def test_every_parameter_is_trained(name, size):
    assert_every_parameter_is_trained(build(name, num_classes=3, dropout=0.0), torch.randn(3, 3, size, size))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size", "edits"), [("inception_v2", 32, {}), ("inception_resnet_v1", 75, {"depths": (1, 1, 1)})]
)
def test_digits_are_learnt(name, size, edits):
    torch.manual_seed(0)
    network = build(name, num_classes=10, dropout=0.0, **edits)
    assert 1 < steps_to_learn_digits(network, size, limit=60, rate=5e-4, adam=True) <= 60


@pytest.mark.parametrize(
    ("name", "edits"),
    [
        ("inception_v4", {"depths": (4, 7, 0)}),
        ("inception_resnet_v1", {"scales": (0.17, 0.1, 0.0)}),
        ("inception_resnet_v1", {"inception_a": ((32,), (32, 32))}),
        ("inception_resnet_v2", {"last_width": 0}),
        ("inception_v3", {"dropout": 1.0}),
    ],
)
def test_what_cannot_be_is_refused_with_the_numbers(name, edits):
    with pytest.raises(UsageError, match="not"):
        build(name, **edits)


def test_batch_norm_adds_a_thousandth_to_the_variance_everywhere():
    for name in ("googlenet", "inception_v2", *IN_TIMM, "inception_resnet_v1"):
        with torch.device("meta"):
            norms = [each for each in build(name).modules() if isinstance(each, nn.BatchNorm2d)]
        assert {norm.eps for norm in norms} == {1e-3}
        assert len(norms) > 50
