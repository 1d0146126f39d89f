from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
import timm
import timm.models.densenet
import torch
import torch.nn.functional as F
import torchvision
from parity import (
    assert_equal_training_steps,
    assert_every_parameter_is_trained,
    batch_norm,
    differs_from_reading_by,
    logits_differ_by,
    randomise,
    shapes,
    stage_shapes,
    training_step,
)
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from neocog.analysis.blank import without_numbers
from neocog.errors import UsageError
from neocog.models import convert_state_dict, create_model
from neocog.models.densenet import CONFIGS, DenseNet, DenseNetConfig

IN_BOTH = ["densenet121", "densenet161", "densenet169", "densenet201"]
SMALL = DenseNetConfig(num_classes=5, depths=(2, 3, 2), growth_rate=8, stem_width=16)


def build(name: str, **edits: object) -> DenseNet:
    return DenseNet(replace(CONFIGS[name], **edits))


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("name", IN_BOTH)
def test_names_and_shapes_are_timms_and_torchvisions(name):
    with without_numbers():
        ours = shapes(build(name))
        assert ours == shapes(timm.create_model(name))
        assert ours == shapes(torchvision.models.get_model(name))


@pytest.mark.parametrize("name", ["densenet121", *(pytest.param(name, marks=pytest.mark.slow) for name in IN_BOTH[1:])])
def test_logits_are_timms(name):
    assert logits_differ_by(build(name), timm.create_model(name), 3, 64, 47, gain=2) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("name", IN_BOTH)
def test_logits_are_torchvisions(name):
    assert logits_differ_by(build(name), torchvision.models.get_model(name), 3, 64, 64, gain=2) < 1e-5


@pytest.mark.parametrize("memory_efficient", [False, True])
def test_a_training_step_of_a_small_one_is_timms_in_float64(memory_efficient):
    theirs = timm.models.densenet.DenseNet(growth_rate=8, block_config=SMALL.depths, num_classes=5)
    ours = DenseNet(replace(SMALL, memory_efficient=memory_efficient))
    assert_equal_training_steps(ours, theirs, 3, 64, 48)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["densenet121", "densenet161"])
def test_a_training_step_is_timms_in_float64(name):
    assert_equal_training_steps(build(name, num_classes=7), timm.create_model(name, num_classes=7), 3, 64, 64)


def test_files_that_torchvision_published_in_2017_are_loaded(tmp_path):
    network = create_model("densenet121", num_classes=3, depths=(2, 3))
    state = network.state_dict()
    old = {
        re.sub(r"(denselayer\d+\.(?:norm|conv))([12])\.", r"\1.\2.", key): tensor
        for key, tensor in state.items()
        if not key.endswith("num_batches_tracked")  # which came later
    }
    # The names of that time, as torchvision's own loader knows them.
    pattern = r"^(.*denselayer\d+\.(?:norm|relu|conv))\.((?:[12])\.(?:weight|bias|running_mean|running_var))$"
    assert sum(re.match(pattern, key) is not None for key in old) == (2 + 3) * 2 * (4 + 1)
    path = tmp_path / "densenet121-a639ec97.pth"
    torch.save(old, path)
    loaded = create_model("densenet121", weights=path, depths=(2, 3)).state_dict()
    assert [key for key in state if not torch.equal(state[key], loaded[key])] == []
    converted = convert_state_dict(old, "densenet121", "torchvision", num_classes=3, depths=(2, 3))
    assert [key for key, tensor in converted.items() if tensor is not state[key]] == []


def test_names_of_both_libraries_are_ours_in_both_directions():
    state = {key: torch.empty(0) for key in shapes(build("densenet_bc100_12"))}
    for library in ("timm", "torchvision"):
        assert convert_state_dict(state, "densenet_bc100_12", library).keys() == state.keys()
        assert convert_state_dict(state, "densenet_bc100_12", "neocog", target=library).keys() == state.keys()


def reference_cifar_logits(state: dict[str, Tensor], x: Tensor) -> Tensor:
    """Section 3 read once more, from the parameters alone; every layer is given the list of all maps before it."""

    def composite(x: Tensor, norm: str, conv: str) -> Tensor:
        weight = state[f"{conv}.weight"]
        return F.conv2d(batch_norm(x, state, norm).clamp(min=0), weight, padding=weight.shape[-1] // 2)

    x = F.conv2d(x, state["features.conv0.weight"], padding=1)
    for block in (1, 2, 3):
        maps = [x]
        while f"features.denseblock{block}.denselayer{len(maps)}.conv1.weight" in state:
            at = f"features.denseblock{block}.denselayer{len(maps)}"
            new = composite(torch.cat(maps, dim=1), f"{at}.norm1", f"{at}.conv1")
            if f"{at}.conv2.weight" in state:
                new = composite(new, f"{at}.norm2", f"{at}.conv2")
            maps.append(new)
        x = torch.cat(maps, dim=1)
        if block < 3:
            x = composite(x, f"features.transition{block}.norm", f"features.transition{block}.conv")
            x = (x[..., ::2, ::2] + x[..., 1::2, ::2] + x[..., ::2, 1::2] + x[..., 1::2, 1::2]) / 4
    x = batch_norm(x, state, "features.norm5").clamp(min=0).mean((2, 3))
    return F.linear(x, state["classifier.weight"], state["classifier.bias"])


@pytest.mark.parametrize("name", ["densenet40_12", "densenet_bc100_12"])
def test_cifar_networks_are_section_3(name):
    assert differs_from_reading_by(build(name), reference_cifar_logits, 3, 32, 32, gain=2) < 1e-5


@pytest.mark.parametrize(
    ("name", "millions"), [("densenet40_12", "1.0"), ("densenet_bc100_12", "0.8"), ("densenet_bc190_40", "25.6")]
)
def test_parameters_are_those_of_table_2(name, millions):
    with without_numbers():
        assert f"{parameters(build(name)) / 1e6:.1f}" == millions


def test_depth_in_the_name_counts_convolutions_and_the_linear_layer():
    for name, config in CONFIGS.items():
        with without_numbers():
            modules = DenseNet(config).modules()
        layers = sum(isinstance(module, nn.Conv2d | nn.Linear) for module in modules)
        assert str(layers) in re.findall(r"\d+", name)


def test_blocks_return_the_maps_of_table_1_at_half_the_resolution_each():
    with without_numbers():
        network = build("densenet121")
        assert stage_shapes(network, 3, 224, 224) == [(256, 56, 56), (512, 28, 28), (1024, 14, 14), (1024, 7, 7)]


def test_with_dropout_transitions_drop_before_they_pool():
    network = build("densenet40_12")
    torch.manual_seed(0)
    seen = []
    handle = network.get_submodule("features.transition1.pool").register_forward_hook(
        lambda module, inputs, output: seen.extend(inputs)
    )
    with torch.no_grad():
        network(torch.randn(2, 3, 32, 32))
    handle.remove()
    dropped = [(maps == 0).float().mean().item() for maps in seen]
    assert dropped == pytest.approx([0.2], abs=0.01)


def with_and_without_memory(name: str, **edits: object) -> tuple[DenseNet, DenseNet]:
    """Return twins: one keeps what it concatenates, one computes it again."""
    plain = build(name, **edits).double()
    randomise(plain)
    efficient = build(name, **edits, memory_efficient=True).double()
    efficient.load_state_dict(plain.state_dict())
    return plain, efficient


@pytest.mark.parametrize("name", ["densenet40_12", "densenet_bc100_12", "densenet121"])
def test_computing_again_changes_no_gradient_and_moves_statistics_once(name):
    twins = with_and_without_memory(name, depths=(2, 3))
    images = torch.randn(4, 3, 32, 32, dtype=torch.float64)
    steps = []
    for network in twins:
        torch.manual_seed(5)  # for the dropout of one of them
        steps.append(dict(training_step(network, images)))
    expected, found = steps
    for key, tensor in expected.items():
        torch.testing.assert_close(found[key], tensor, rtol=1e-10, atol=1e-13, msg=key)
    counts = [int(tensor) for key, tensor in found.items() if key.endswith("num_batches_tracked")]
    assert counts == [1] * len(counts)
    assert len(counts) > 5


def test_images_have_the_same_gradient_in_evaluation_where_nothing_is_kept():
    gradients = []
    for network in with_and_without_memory("densenet_bc100_12", depths=(2, 3)):
        images = torch.linspace(-1, 1, 3 * 16 * 16, dtype=torch.float64).view(1, 3, 16, 16).requires_grad_()
        network.eval()(images)[0, 3].backward()
        gradients.append(images.grad)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-10, atol=1e-13)


def peak_bytes(step: Callable[[], object]) -> int:
    """Return the most that the allocator held in a step above what it held before."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        step()
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak


def test_computing_again_holds_a_fraction_of_the_memory():
    peaks = []
    for memory_efficient in (False, True):
        network = build("densenet_bc100_12", depths=(16,), memory_efficient=memory_efficient)
        images = torch.randn(2, 3, 24, 24)
        training_step(network, images)
        peaks.append(peak_bytes(partial(training_step, network, images)))
    assert peaks[1] < 0.55 * peaks[0]


def test_every_parameter_is_trained():
    assert_every_parameter_is_trained(DenseNet(SMALL), torch.randn(5, 3, 32, 32))


def test_convolutions_begin_as_in_the_authors_code():
    network = build("densenet_bc100_12")
    network.init_weights()
    weight = network.get_submodule("features.denseblock3.denselayer7.conv2").weight
    assert weight.std().item() == pytest.approx((2 / (12 * 9)) ** 0.5, rel=0.05)
    assert network.classifier.bias.eq(0).all()


@pytest.mark.parametrize(
    ("edits", "says"),
    [
        ({"depths": ()}, "at least 1"),
        ({"depths": (6, 0)}, "at least 1"),
        ({"growth_rate": 0}, "not 0 and 64"),
        ({"stem_width": -1}, "not 32 and -1"),
        ({"compression": 0.0}, "above 0"),
        ({"compression": 1.5}, "at most 1"),
        ({"compression": 0.001}, "no map"),
        ({"dropout": 1.0}, "below 1"),
    ],
)
def test_what_no_network_can_have_is_refused(edits, says):
    with pytest.raises(UsageError, match=says):
        build("densenet121", **edits)
