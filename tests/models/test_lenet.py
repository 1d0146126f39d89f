"""LeNet-5 has the layers, counts, connections and criterion of the 1998 paper; as taught, those that are taught."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from neocog.errors import UsageError
from neocog.models import create_model, tap
from neocog.models.lenet import TABLE_I, LeNet5, class_codes


def published(**edits: object) -> LeNet5:
    network = create_model("lenet5_1998", **edits)  # type: ignore[arg-type]
    assert isinstance(network, LeNet5)
    return network


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_each_layer_has_the_parameters_that_the_paper_counts() -> None:
    network = published()
    counts = {name: parameters(layer) for name, layer in network.named_children()}
    assert counts == {"c1": 156, "s2": 12, "c3": 1516, "s4": 32, "c5": 48120, "f6": 10164, "output": 0}
    assert parameters(network) == 60_000


def test_each_layer_as_taught_has_the_parameters_that_are_taught() -> None:
    counts = {name: parameters(layer) for name, layer in create_model("lenet5").named_children()}
    assert counts == {"c1": 156, "s2": 0, "c3": 2416, "s4": 0, "c5": 48120, "f6": 10164, "output": 850}
    assert sum(counts.values()) == 61_706


def test_maps_have_the_sizes_of_figure_2() -> None:
    network = published()
    with tap(network, ["c1", "s2", "c3", "s4", "c5"]) as seen:
        features = network.forward_features(torch.zeros(1, 1, 32, 32))
    shapes = [tuple(tensor.shape[1:]) for tensor in seen.values()]
    assert shapes == [(6, 28, 28), (6, 14, 14), (16, 10, 10), (16, 5, 5), (120, 1, 1)]
    assert network.forward_head(features, pre_logits=True).shape == (1, 84)


def test_the_network_has_the_340908_connections_of_the_paper() -> None:
    connections = {
        "c1": 28 * 28 * 6 * (25 + 1),
        "s2": 14 * 14 * 6 * (4 + 1),
        "c3": 10 * 10 * sum(25 * len(maps) + 1 for maps in TABLE_I),
        "s4": 5 * 5 * 16 * (4 + 1),
        "c5": 48120,
        "f6": 10164,
        "output": 84 * 10,
    }
    assert connections["c3"] == 151_600
    assert sum(connections.values()) == 340_908


def test_table_i_treats_every_map_of_s2_alike() -> None:
    assert [len(maps) for maps in TABLE_I] == [3] * 6 + [4] * 9 + [6]
    assert len({frozenset(maps) for maps in TABLE_I}) == 16
    assert [sum(source in maps for maps in TABLE_I) for source in range(6)] == [10] * 6


def test_each_map_of_c3_sees_exactly_the_maps_that_table_i_lists() -> None:
    c3 = published().c3
    for source in range(6):
        x = torch.zeros(1, 6, 14, 14)
        x[:, source] = 1
        changed = (c3(x) != c3(torch.zeros_like(x))).flatten(2).any(2)[0]
        assert changed.tolist() == [source in maps for maps in TABLE_I]


def test_c3_equals_a_full_convolution_whose_other_weights_are_zero() -> None:
    network = published().double()
    kernels = iter(network.c3.get_parameter("weight").detach())
    filters = torch.zeros(16, 6, 5, 5, dtype=torch.float64)
    for to, maps in enumerate(TABLE_I):
        for source in maps:
            filters[to, source] = next(kernels)
    bias = network.c3.get_parameter("bias").detach()
    x = torch.rand(2, 6, 14, 14, dtype=torch.float64)
    torch.testing.assert_close(network.c3(x), F.conv2d(x, filters, bias))


def test_subsampling_squashes_a_scaled_and_shifted_sum_of_four() -> None:
    s2 = published().s2
    with torch.no_grad():
        s2.weight.copy_(torch.arange(1.0, 7).view(6, 1, 1) / 10)
        s2.bias.fill_(-0.5)
    x = torch.rand(1, 6, 4, 4)
    total = x[0, 3, 2:4, 0:2].sum()
    expected = 1.7159 * torch.tanh(2 / 3 * (0.4 * total - 0.5))
    torch.testing.assert_close(s2(x)[0, 3, 1, 0], expected)


def test_outputs_are_minus_the_squared_distances_to_the_codes() -> None:
    network = published()
    units = torch.randn(5, 84)
    expected = -torch.cdist(units.double(), class_codes(10).double()).square()
    torch.testing.assert_close(network.output(units).double(), expected, rtol=1e-4, atol=1e-3)
    assert network.output(class_codes(10)).argmax(1).tolist() == list(range(10))


def test_cross_entropy_of_the_outputs_is_the_papers_criterion() -> None:
    penalties = -published()(torch.rand(3, 1, 32, 32)).double()
    targets = torch.tensor([3, 1, 4])
    wanted = penalties[range(3), targets]
    equation_9 = (wanted + torch.logsumexp(-penalties, 1)).mean()  # with j infinite: no rubbish class
    torch.testing.assert_close(F.cross_entropy(-penalties, targets), equation_9)


def test_the_codes_of_digits_are_84_pixels_of_plus_and_minus_one_that_differ() -> None:
    codes = class_codes(10)
    assert codes.shape == (10, 84)
    assert set(codes.unique().tolist()) == {-1.0, 1.0}
    assert min((one != other).sum() for one, other in combinations(codes, 2)) >= 5
    seven = codes[7].view(12, 7)
    assert (seven[0] == 1).all()
    assert seven[-1].tolist() == [-1, 1, 1, -1, -1, -1, -1]


def test_the_codes_of_other_classes_are_the_same_every_time() -> None:
    assert torch.equal(class_codes(26), class_codes(26))
    assert min((one != other).sum() for one, other in combinations(class_codes(26), 2)) > 20


def test_codes_are_not_trained_but_saved() -> None:
    network = published()
    assert "output.codes" in network.state_dict()
    assert "output.codes" not in dict(network.named_parameters())


def test_parameters_are_drawn_within_2_4_over_the_inputs_of_a_unit() -> None:
    network = published()
    inputs = {"c1": 25, "s2": 4, "s4": 4, "c5": 400, "f6": 120}
    for name, count in inputs.items():
        for parameter in network.get_submodule(name).parameters():
            assert parameter.abs().max() <= 2.4 / count
    kernels = network.c3.get_parameter("weight").split([len(maps) for maps in TABLE_I])
    for maps, kernel in zip(TABLE_I, kernels, strict=True):
        assert 0.8 * 2.4 / (25 * len(maps)) < kernel.abs().max() <= 2.4 / (25 * len(maps))
    assert network.f6.weight.std().item() == pytest.approx(2.4 / 120 / 3**0.5, rel=0.03)


@pytest.mark.parametrize("name", ["lenet5", "lenet5_1998"])
def test_the_output_can_be_replaced_and_removed(name: str) -> None:
    network = create_model(name).double().eval()
    images = torch.rand(2, 1, 32, 32, dtype=torch.float64)
    network.reset_classifier(26)
    assert network(images).shape == (2, 26)
    assert network(images).dtype == torch.float64
    network.reset_classifier(0)
    assert network(images).shape == (2, 84)
    network.reset_classifier(10)
    assert (network(images).shape, network.num_classes) == ((2, 10), 10)


def test_each_difference_between_the_two_is_an_edit() -> None:
    edits = {"activation": "tanh", "connections": "full", "subsampling": "average", "output": "linear"}
    assert published(**edits).config == create_model("lenet5").config
    assert published(connections="full").c3.weight.shape == (16, 6, 5, 5)
    assert published(output="linear", num_classes=3)(torch.zeros(1, 1, 32, 32)).shape == (1, 3)


def test_only_images_of_32_pixels_are_taken() -> None:
    with pytest.raises(UsageError, match="takes images of 32x32, not 40x32"):
        published()(torch.zeros(1, 1, 40, 32))


@pytest.mark.parametrize(("name", "rate"), [("lenet5", 0.02), ("lenet5_1998", 0.0005)])
def test_it_learns_the_digits(name: str, rate: float) -> None:
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = F.interpolate(torch.tensor(digits.images, dtype=torch.float32)[:200, None], (32, 32))
    images = (images - images.mean()) / images.std()
    targets = torch.tensor(digits.target)[:200]
    torch.manual_seed(0)
    network = create_model(name)
    optimizer = torch.optim.SGD(network.parameters(), rate, momentum=0.9)
    for _ in range(10):
        for batch, wanted in zip(images.split(10), targets.split(10), strict=True):
            optimizer.zero_grad()
            F.cross_entropy(network(batch), wanted).backward()
            optimizer.step()
    assert (network(images).argmax(1) == targets).float().mean() >= 0.9
