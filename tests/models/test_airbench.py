"""airbench's networks: their counts by hand, and their functions once more in plain torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from parity import (
    assert_images_are_told_apart,
    multiply_adds,
    overwritten_outputs,
    randomise,
    relative_difference,
    stage_shapes,
    steps_to_learn_digits,
    training_step,
)
from torch import Tensor, nn
from torch.nn import functional as F

from neocog.errors import UsageError
from neocog.models import create_model
from neocog.models.airbench import CONFIGS, Airbench


def build(name: str = "airbench94", **edits: object) -> Airbench:
    return Airbench(replace(CONFIGS[name], **edits))


def tiny(name: str = "airbench94", **edits: object) -> Airbench:
    """Return one of a few filters, initialised."""
    torch.manual_seed(0)
    network = build(name, **{"widths": (26, 30, 34), **edits})
    network.init_weights()
    return network


def test_parameters_and_multiply_adds_of_airbench94_by_hand():
    filters = [24 * 64, 64 * 64, 64 * 256, 256 * 256, 256 * 256, 256 * 256]
    places = [31 * 31, 15 * 15, 15 * 15, 7 * 7, 7 * 7, 3 * 3]  # the first of each group comes before its pool
    with torch.device("meta"):
        network = build()
        assert multiply_adds(network, 3, 32, 32) == (
            24 * 12 * 31 * 31 + sum(9 * pairs * at for pairs, at in zip(filters, places, strict=True)) + 2560
        )
    stem, shifts, head = 24 * 12 + 24, 2 * 64 + 4 * 256, 10 * 256
    moved = stem + 9 * sum(filters) + shifts + head
    assert sum(each.numel() for each in network.parameters()) == moved + shifts  # as many scales, which stay 1
    assert sum(each.numel() for each in network.parameters() if each.requires_grad) == moved == 1_971_640


def test_nine_point_nine_epochs_of_it_cost_what_the_paper_says():
    """3.6 * 10^14 operations, forward and twice that backward (section 1)."""
    with torch.device("meta"):
        macs = multiply_adds(build(), 3, 32, 32)
    assert 9.9 * 50_000 * 3 * 2 * macs == pytest.approx(3.6e14, rel=0.03)


def test_thirty_one_epochs_of_airbench96_cost_about_what_its_authors_say():
    """4.9 * 10^15 operations, says their table; ours are counted without norms and activations, which it may have."""
    with torch.device("meta"):
        macs = multiply_adds(build("airbench96"), 3, 32, 32)
    assert 31 * 50_000 * 3 * 2 * macs == pytest.approx(4.9e15, rel=0.2)


def test_names_are_those_of_the_authors():
    state = build().state_dict()
    names = {name.rpartition(".")[0] for name in state}
    inner = {f"layers.{group}.{kind}{number}" for group in (1, 2, 3) for kind in ("conv", "norm") for number in (1, 2)}
    assert names == {"whiten", "head"} | inner
    assert "head.bias" not in state
    assert {f"layers.{group}.conv3" for group in (1, 2, 3)} <= dict(build("airbench96").named_modules()).keys()


def test_maps_are_halved_three_times():
    assert stage_shapes(build(), 3, 32, 32) == [(64, 15, 15), (256, 7, 7), (256, 3, 3)]


def reading(state: Mapping[str, Tensor], x: Tensor, depth: int, divisor: float, training: bool = False) -> Tensor:
    """Compute what the authors' scripts compute of images, by their names."""

    def norm(x: Tensor, name: str) -> Tensor:
        if training:
            mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
        else:
            mean, variance = state[f"{name}.running_mean"], state[f"{name}.running_var"]
        x = (x - mean[:, None, None]) / (variance[:, None, None] + 1e-12).sqrt()
        return x * state[f"{name}.weight"][:, None, None] + state[f"{name}.bias"][:, None, None]

    def gelu(x: Tensor) -> Tensor:
        return x * (1 + torch.erf(x / 2**0.5)) / 2

    x = gelu(F.conv2d(x, state["whiten.weight"], state["whiten.bias"]))
    for group in ("layers.1", "layers.2", "layers.3"):
        x = F.max_pool2d(F.conv2d(x, state[f"{group}.conv1.weight"], padding=1), 2)
        x = kept = gelu(norm(x, f"{group}.norm1"))
        x = norm(F.conv2d(x, state[f"{group}.conv2.weight"], padding=1), f"{group}.norm2")
        if depth == 3:
            x = norm(F.conv2d(gelu(x), state[f"{group}.conv3.weight"], padding=1), f"{group}.norm3") + kept
        x = gelu(x)
    return x.amax((2, 3)) @ state["head.weight"].T / divisor


@pytest.mark.parametrize(("name", "depth"), [("airbench94", 2), ("airbench96", 3)])
@pytest.mark.parametrize("side", [9, 32, 41])
@torch.no_grad()
def test_the_network_is_its_formulas(name: str, depth: int, side: int):
    network = tiny(name).double()
    randomise(network, gain=2.0)
    images = torch.randn(4, 3, side, side, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    divisor = 34 if depth == 2 else 9
    assert network.num_features == 34
    state = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    expected = reading(state, images, depth, divisor)
    assert_images_are_told_apart(expected * divisor)
    assert relative_difference(network.eval()(images), expected) < 1e-6
    expected = reading(state, images, depth, divisor, training=True)
    assert relative_difference(network.train()(images), expected) < 1e-6


def test_running_statistics_take_four_tenths_of_a_batch():
    network = tiny()
    images = torch.randn(8, 3, 16, 16)
    with torch.no_grad():
        mean = network.layers[0].pool(network.layers[0].conv1(F.gelu(network.whiten(images)))).mean((0, 2, 3))
        network.train()(images)
    torch.testing.assert_close(network.layers[0].norm1.running_mean, 0.4 * mean)


def test_convolutions_begin_as_the_identity_on_their_first_channels():
    network = tiny()
    x = torch.randn(2, 24, 9, 9)
    torch.testing.assert_close(network.layers[0].conv1(x)[:, :24], x)
    assert network.layers[0].conv1.weight[24:].std() > 0.03  # the rest as torch draws them
    plain = tiny(identity=False).layers[0].conv1
    assert relative_difference(plain(x)[:, :24], x) > 0.5
    assert plain.weight[24:].std().item() == pytest.approx(network.layers[0].conv1.weight[24:].std().item(), rel=0.2)


def test_the_head_begins_and_begins_anew_with_a_deviation_of_one():
    network = tiny()
    assert network.head.weight.std().item() == pytest.approx(1)
    network.reset_classifier(7)
    assert network.head.weight.std().item() == pytest.approx(1)
    assert network.head.bias is None
    assert network(torch.randn(2, 3, 32, 32)).shape == (2, 7)
    usual = tiny("airbench96")
    assert usual.head.weight.abs().max() <= 34**-0.5
    assert not usual.whiten.bias.any()
    assert network.whiten.bias.any()


@pytest.mark.parametrize("name", CONFIGS)
def test_gradients_are_finite_and_reach_all_but_the_scales_of_norms(name: str):
    found = training_step(tiny(name), torch.randn(10, 3, 32, 32))
    still = {path for path, gradient in found.items() if gradient is None}
    assert still == {path for path in found if "norm" in path and path.endswith(".weight")}
    for path in found.keys() - still:
        assert found[path].isfinite().all(), path
        assert "running" in path or found[path].any(), path
    assert overwritten_outputs(tiny(name), torch.randn(2, 3, 32, 32)) == []


def test_scales_that_do_not_move_come_back_from_a_file_as_such(tmp_path):
    from safetensors.torch import save_file

    path = tmp_path / "weights.safetensors"
    save_file(tiny(widths=(64, 256, 256)).state_dict(), path)
    network = create_model("airbench94", weights=path)
    assert not any(module.weight.requires_grad for module in network.modules() if isinstance(module, nn.BatchNorm2d))


@pytest.mark.parametrize("name", CONFIGS)
def test_64_digits_are_learned(name: str):
    torch.manual_seed(0)
    assert 1 < steps_to_learn_digits(build(name, in_chans=1, widths=(26, 32, 40)), 24, rate=0.5) <= 100


@pytest.mark.parametrize(
    ("edits", "said"),
    [
        ({"widths": ()}, "at least 1 in each"),
        ({"widths": (64, 0)}, "at least 1 in each"),
        ({"depth": 0}, "depth is 0"),
        ({"stem_width": 0}, "stem_width is 0"),
        ({"whiten_kernel": 0}, "whiten_kernel is 0"),
        ({"norm_momentum": 0.0}, "share above 0"),
        ({"logit_divisor": 0.0}, "positive logit_divisor"),
    ],
)
def test_what_no_network_can_be_is_refused(edits: dict[str, object], said: str):
    with pytest.raises(UsageError, match=said):
        build(**edits)


def test_an_image_that_pools_would_use_up_is_refused():
    assert build()(torch.randn(2, 3, 9, 9)).shape == (2, 10)
    with pytest.raises(UsageError, match=r"8x9.*9x9"):
        build()(torch.randn(2, 3, 8, 9))
