"""MobileNetV2 is table 2 of its paper, and computes what timm's and torchvision's compute."""

from __future__ import annotations

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

from neocog.models import convert_state_dict, create_model
from neocog.models.mobilenetv2 import CONFIGS, MobileNetV2, MobileNetV2Config, scaled

IN_TIMM = [name for name in CONFIGS if name != "mobilenetv2_130"]
IN_TORCHVISION = [name for name, config in CONFIGS.items() if not config.fixed_ends]


def shapes(network: nn.Module) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in network.state_dict().items()}


def randomised(network: nn.Module) -> nn.Module:
    """Give every tensor values that matter, the batch statistics included, and switch to evaluation."""
    generator = torch.Generator().manual_seed(0)
    for name, tensor in network.state_dict().items():
        if tensor.ndim >= 2:
            tensor.normal_(0, tensor[0].numel() ** -0.5, generator=generator)
        elif name.endswith(("weight", "running_var")):
            tensor.uniform_(0.5, 2.0, generator=generator)
        elif tensor.is_floating_point():
            tensor.normal_(0, 0.5, generator=generator)
    return network.eval()


def images(size: int = 64) -> Tensor:
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))


def assert_equal_logits(ours: Tensor, theirs: Tensor) -> None:
    assert theirs.std() > 0.1, "logits that hardly differ prove nothing"
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5 * theirs.abs().max().item())


@pytest.mark.parametrize("name", IN_TIMM)
def test_names_shapes_and_logits_are_timms(name: str) -> None:
    theirs = randomised(timm.create_model(name))
    ours = create_model(name).eval()
    assert shapes(ours) == shapes(theirs)
    ours.load_state_dict(theirs.state_dict())
    assert_equal_logits(ours(images()), theirs(images()))


@pytest.mark.parametrize("name", IN_TORCHVISION)
def test_logits_are_torchvisions(name: str) -> None:
    theirs = randomised(torchvision.models.mobilenet_v2(width_mult=CONFIGS[name].width))
    ours = create_model(name).eval()
    ours.load_state_dict(convert_state_dict(theirs.state_dict(), name, "torchvision"))
    assert_equal_logits(ours(images()), theirs(images()))


def test_same_padding_is_timms_tensorflow_padding() -> None:
    theirs = randomised(timm.create_model("mobilenetv2_035", pad_type="same"))
    ours = create_model("mobilenetv2_035", padding="same").eval()
    ours.load_state_dict(theirs.state_dict())
    for size in (64, 75, 97):
        assert_equal_logits(ours(images(size)), theirs(images(size)))
    symmetric = create_model("mobilenetv2_035").eval()
    symmetric.load_state_dict(theirs.state_dict())
    assert not torch.allclose(symmetric(images()), ours(images()), rtol=1e-2)


def test_gradients_and_statistics_of_a_training_step_are_timms() -> None:
    theirs = randomised(timm.create_model("mobilenetv2_035")).double().train()
    ours = create_model("mobilenetv2_035", dropout=0.0).double()
    ours.load_state_dict(theirs.state_dict())
    x = images().double()
    for network in (ours, theirs):
        network(x).square().mean().backward()
    for (name, parameter), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, other.grad, rtol=1e-9, atol=1e-12, msg=name)
    for name, buffer in ours.named_buffers():
        torch.testing.assert_close(buffer, theirs.get_buffer(name), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "without_norms", "in_all"),
    [
        ("mobilenetv2_035", 1_663_048, 1_677_128),
        ("mobilenetv2_100", 3_470_760, 3_504_872),
        ("mobilenetv2_140", 6_060_840, 6_108_776),
    ],
)
def test_parameters_are_those_of_the_authors_table_once_norms_are_left_out(
    name: str, without_norms: int, in_all: int
) -> None:
    with torch.device("meta"):
        network = MobileNetV2(CONFIGS[name])
    norms = sum(
        parameter.numel()
        for module in network.modules()
        if isinstance(module, nn.BatchNorm2d)
        for parameter in module.parameters()
    )
    total = sum(parameter.numel() for parameter in network.parameters())
    assert (total - norms, total) == (without_norms, in_all)


def test_channels_and_resolutions_are_those_of_table_2() -> None:
    network = create_model("mobilenetv2_100").eval()
    from neocog.models import tap

    with tap(network, network.stage_names) as seen, torch.no_grad():
        network(torch.zeros(1, 3, 224, 224))
    assert [(tensor.shape[1], tensor.shape[2]) for tensor in seen.values()] == [
        (32, 112), (16, 112), (24, 56), (32, 28), (64, 14), (96, 14), (160, 7), (320, 7), (1280, 7),
    ]  # fmt: skip
    assert [len(row) for row in network.blocks] == [1, 2, 3, 4, 3, 3, 1]


def test_only_blocks_that_keep_their_shape_have_a_shortcut() -> None:
    network = create_model("mobilenetv2_100")
    shortcuts = [[block.has_shortcut for block in row] for row in network.blocks]
    assert shortcuts == [[position > 0 for position in range(len(row))] for row in network.blocks]


@pytest.mark.parametrize(
    ("channels", "width", "expected"),
    [(32, 0.35, 16), (16, 0.35, 8), (24, 0.35, 8), (96, 0.35, 32), (1280, 1.4, 1792), (24, 1.1, 24), (64, 1.0, 64)],
)
def test_channels_are_rounded_as_in_the_authors_code(channels: int, width: float, expected: int) -> None:
    assert scaled(channels, width) == expected


def test_dropout_is_applied_in_training_alone() -> None:
    network = create_model("mobilenetv2_035", dropout=0.9)
    features = torch.ones(1, network.num_features, 1, 1)
    network.eval()
    assert torch.equal(network.forward_head(features), network.forward_head(features))
    network.train()
    assert not torch.equal(network.forward_head(features), network.forward_head(features))
    assert torch.equal(network.forward_head(features, pre_logits=True), torch.ones(1, network.num_features))


def test_initialisation_is_that_of_the_authors_code() -> None:
    network = create_model("mobilenetv2_100")
    assert network.get_parameter("conv_head.weight").abs().max() <= 0.18
    assert network.get_parameter("conv_head.weight").std().item() == pytest.approx(0.09 * 0.88, rel=0.02)
    assert network.get_parameter("bn2.weight").eq(1).all()
    assert network.get_parameter("classifier.bias").eq(0).all()


def test_any_image_size_is_taken() -> None:
    network = create_model("mobilenetv2_035").eval()
    for size in ((1, 1), (33, 47), (224, 96)):
        assert network(torch.zeros(1, 3, *size)).shape == (1, 1000)


def test_a_narrower_config_of_ones_own_can_be_built() -> None:
    network = MobileNetV2(MobileNetV2Config(width=0.1, num_classes=2))
    network.init_weights()
    assert network.eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 2)
