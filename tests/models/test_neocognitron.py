"""The Neocognitron has the sizes and cells of the 1980 paper, organises itself by its rule, and bears shifts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from parity import assert_every_parameter_is_trained, stage_shapes
from torch import Tensor

from neocog.errors import UsageError
from neocog.models import create_model
from neocog.models.neocognitron import CLayer, Neocognitron, NeocognitronConfig, SLayer

DIGITS = """
..####.. ...#.... .#####.. .#####.. .....#..
.#....#. ..##.... #.....#. #.....#. ....##..
#......# .#.#.... ......#. ......#. ...#.#..
#......# ...#.... .....#.. ...###.. ..#..#..
#......# ...#.... ...##... ......#. .#...#..
#......# ...#.... ..#..... ......#. ########
.#....#. ...#.... .#...... #.....#. .....#..
..####.. .#####.. #######. .#####.. .....#..
"""


def drawn(digit: int, row: int, column: int) -> Tensor:
    """Return a digit of 8x8 somewhere on the paper's 16x16 receptors."""
    lines = [line.split()[digit] for line in DIGITS.strip().split("\n")]
    picture = torch.tensor([[float(pixel == "#") for pixel in line] for line in lines])
    return F.pad(picture, (column, 8 - column, row, 8 - row))[None]


def network(name: str = "neocognitron_1980", **edits: object) -> Neocognitron:
    made = create_model(name, **edits).eval()  # type: ignore[arg-type]
    assert isinstance(made, Neocognitron)
    return made


@pytest.fixture(scope="module")
def taught() -> Neocognitron:
    """As in section 4: five digits, each shown 20 times, every time in another place."""
    generator = torch.Generator().manual_seed(0)
    places = torch.randint(1, 8, (100, 2), generator=generator).tolist()
    made = network()
    made.self_organise(torch.stack([drawn(number % 5, *place) for number, place in enumerate(places)]))
    return made


# Structure, against section 4


def test_layers_have_the_planes_and_sizes_of_the_paper() -> None:
    assert stage_shapes(network(), 1, 16, 16) == [
        (24, 16, 16),
        (24, 10, 10),
        (24, 8, 8),
        (24, 6, 6),
        (24, 2, 2),
        (24, 1, 1),
    ]


def test_cells_see_what_the_paper_says_and_nothing_else_is_learned() -> None:
    shapes = {name: tuple(parameter.shape) for name, parameter in network().named_parameters()}
    assert shapes == {
        "us1.weight": (24, 1, 5, 5),
        "us1.inhibition": (24,),
        "us2.weight": (24, 24, 5, 5),
        "us2.inhibition": (24,),
        "us3.weight": (24, 24, 5, 5),
        "us3.inhibition": (24,),
    }
    assert network().uc3.d.shape == (1, 1, 2, 2)
    config = NeocognitronConfig()
    assert (config.r, config.q, config.alpha) == ((4.0, 1.5, 1.5), (1.0, 16.0, 16.0), 0.5)


def test_efficacies_c_sum_to_one_and_fall_off_from_the_centre() -> None:
    for layer, _ in network().modules_of_figure_2:
        c = layer.c[0, 0]
        assert c.sum().item() * layer.weight.shape[1] == pytest.approx(1)
        assert c[2, 2] > c[2, 1] == c[1, 2] > c[1, 1] > c[0, 0] == c[4, 4]


def test_at_first_synapses_are_weak_differ_by_plane_and_inhibit_nothing() -> None:
    made = network()
    for layer, _ in made.modules_of_figure_2:
        assert (layer.weight > 0).all()
        assert layer.weight.max() < 1e-2 * layer.q * layer.c.max()
        assert len(layer.weight.flatten(1).unique(dim=0)) == 24
        assert (layer.inhibition == 0).all()
    assert torch.equal(made.us2.weight, network().us2.weight), "no randomness"
    bars = torch.zeros(2, 1, 5, 5)
    bars[0, 0, 2, :] = bars[1, 0, :, 2] = 1
    answers = made.us1(bars)[:, :, 2, 2]
    assert answers[0].argmax() != answers[1].argmax(), "planes prefer orientations"


# Cells, against the equations cell by cell


def random_layer(planes: int = 6, inputs: int = 3, padding: int = 1) -> SLayer:
    config = NeocognitronConfig(planes=(planes, planes, planes), r=(2.5, 2.5, 2.5), q=(3.0, 3.0, 3.0))
    layer = SLayer(config, 0, inputs=inputs, area=5, padding=padding).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        layer.weight.copy_(torch.rand(layer.weight.shape, generator=generator))
        layer.inhibition.copy_(22 * layer.weight.flatten(1).mean(1) / layer.weight.mean())
    return layer


def s_cells(layer: SLayer, u: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the outputs of S-cells and of the V-cells that inhibit them, one cell at a time."""
    a, b, c, r = layer.weight.detach().numpy(), layer.inhibition.detach().numpy(), layer.c[0, 0].numpy(), layer.r
    u = np.pad(u, ((0, 0), (layer.padding,) * 2, (layer.padding,) * 2))
    height, width = u.shape[1] - 4, u.shape[2] - 4
    s, v = np.zeros((len(a), height, width)), np.zeros((height, width))
    for row in range(height):
        for column in range(width):
            seen = u[:, row : row + 5, column : column + 5]
            v[row, column] = np.sqrt(sum((c * plane**2).sum() for plane in seen))
            for plane in range(len(a)):
                excited = 1 + (a[plane] * seen).sum()
                inhibited = 1 + 2 * r / (1 + r) * b[plane] * v[row, column]
                s[plane, row, column] = r * max(excited / inhibited - 1, 0)
    return s, v


def test_s_cells_and_their_v_cells_follow_the_equations() -> None:
    layer, u = random_layer(), torch.rand(1, 3, 7, 8, dtype=torch.float64)
    s, v = s_cells(layer, u[0].numpy())
    np.testing.assert_allclose(layer(u)[0].detach(), s, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(layer.inhibitory(u)[0, 0], v, rtol=1e-10)
    assert 0 < (s > 0).mean() < 1
    assert layer.inhibitory(torch.zeros_like(u)).max() < 1e-5


def test_a_cell_that_learned_one_shape_answers_by_its_cosine() -> None:
    layer = random_layer(padding=0)
    shape, other = torch.rand(2, 3, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    strong = 1e6  # so that the two ones of the quotient do not count
    with torch.no_grad():
        layer.weight[0] = strong * layer.c * shape
        layer.inhibition[0] = strong / 2 * (layer.c * shape.square()).sum().sqrt()
    cosine = (layer.c * shape * other).sum() / ((layer.c * shape**2).sum() * (layer.c * other**2).sum()).sqrt()
    assert layer(other[None])[0, 0].item() == pytest.approx(max((1 + layer.r) * cosine.item() - layer.r, 0), rel=1e-4)
    assert layer(shape[None])[0, 0].item() == pytest.approx(1, rel=1e-4)


@pytest.mark.parametrize("whole", [None, 6])
def test_c_cells_follow_the_equations(whole: int | None) -> None:
    layer = CLayer(NeocognitronConfig(alpha=0.4, d_decay=0.7), whole).double()
    u = torch.rand(1, 4, 6, 6, dtype=torch.float64) * (torch.rand(1, 4, 6, 6) > 0.6)
    around = np.pad(u[0].numpy(), ((0, 0), *[(0, 0) if whole else (3, 4)] * 2))
    area, step, side = (6, 1, 1) if whole else (5, 2, 5)
    along = np.arange(area) - (area - 1) / 2
    d = 0.7 ** np.hypot(along[:, None], along[None, :])
    expected = np.zeros((4, side, side))
    for row in range(side):
        for column in range(side):
            seen = around[:, step * row : step * row + area, step * column : step * column + area]
            excited = [(d * plane).sum() for plane in seen]
            for plane in range(4):
                x = (1 + excited[plane]) / (1 + np.mean(excited)) - 1
                expected[plane, row, column] = x / (0.4 + x) if x > 0 else 0
    np.testing.assert_allclose(layer(u)[0], expected, rtol=1e-5, atol=1e-7)


# Self-organisation, against section 3 one cell at a time


def reinforced(
    layer: SLayer, u: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], set[tuple[int, ...]]]:
    """Return a, b and the representatives after one pattern, found by walking over every S-column."""
    s, v = s_cells(layer, u)
    planes, height, width = s.shape
    candidates = set()
    for row in range(height - 4):
        for column in range(width - 4):
            cells = [(k, row + y, column + x) for k in range(planes) for y in range(5) for x in range(5)]
            best = max(cells, key=lambda cell: s[cell])
            if s[best] > 0:
                candidates.add(best)
    a, b = layer.weight.detach().numpy().copy(), layer.inhibition.detach().numpy().copy()
    padded = np.pad(u, ((0, 0), (layer.padding,) * 2, (layer.padding,) * 2))
    representatives = set()
    for plane in range(planes):
        own = [cell for cell in candidates if cell[0] == plane]
        if not own:
            continue
        _, row, column = chosen = max(own, key=lambda cell: s[cell])
        representatives.add(chosen)
        for source in range(len(u)):
            a[plane, source] += layer.q * layer.c[0, 0].numpy() * padded[source, row : row + 5, column : column + 5]
        b[plane] += layer.q / 2 * v[row, column]
    return a, b, representatives


def test_representatives_are_chosen_and_reinforced_as_the_paper_says() -> None:
    generator = torch.Generator().manual_seed(1)
    layer = random_layer(padding=2)
    shared = 0
    for _ in range(3):
        u = torch.rand(1, 3, 11, 12, generator=generator, dtype=torch.float64)
        a, b, representatives = reinforced(layer, u[0].numpy())
        found = layer.reinforce(u)
        assert set(found) == representatives
        assert len({plane for plane, _, _ in found}) == len(found), "at most one in a plane"
        np.testing.assert_allclose(layer.weight.detach(), a, rtol=1e-12)
        np.testing.assert_allclose(layer.inhibition.detach(), b, rtol=1e-12)
        shared += len(found)
    assert 3 < shared < 18, "columns differ in their winners"


def test_a_pattern_to_which_no_cell_answers_teaches_nothing() -> None:
    layer = random_layer()
    before = layer.weight.clone()
    assert layer.reinforce(torch.zeros(1, 3, 9, 9, dtype=torch.float64)) == []
    assert torch.equal(layer.weight, before)


def test_learning_at_a_higher_threshold_uses_more_planes() -> None:
    generator = torch.Generator().manual_seed(3)
    shapes = F.avg_pool2d(torch.rand(40, 1, 17, 17, generator=generator), 2, 1)
    used = []
    for r_learning in (1.0, 40.0):
        made = network(r_learning=(r_learning, 1.5, 1.5))
        made.self_organise(shapes)
        used.append(int((made.us1.inhibition > 0).sum()))
    assert used[0] < used[1]


# The paper's experiment


def test_five_digits_are_learned_without_labels_each_by_one_cell(taught: Neocognitron) -> None:
    assert int((taught.us3.inhibition > 0).sum()) == 5, "as many planes in use as there are shapes"
    planes = []
    for digit in range(5):
        images = torch.stack([drawn(digit, row, column) for row in range(1, 8) for column in range(1, 8)])
        cells = taught.forward_features(images).flatten(1)
        winners = cells.argmax(1)
        planes.append(int(winners.mode().values))
        assert (winners == planes[-1]).float().mean() >= 0.95
    assert len(set(planes)) == 5


def test_planes_get_the_names_of_what_they_answer_to(taught: Neocognitron) -> None:
    images = torch.stack([drawn(digit, 4, 4) for digit in range(5)])
    classes = taught.assign_classes(images, torch.arange(5))
    assert sorted(classes.tolist()) == [-1] * 19 + [0, 1, 2, 3, 4]
    moved = torch.stack([drawn(digit, row, column) for digit in range(5) for row in (2, 6) for column in (2, 5)])
    assert taught(moved).argmax(1).tolist() == [digit for digit in range(5) for _ in range(4)]
    assert taught(moved).shape == (20, 10)


def test_a_nearest_picture_does_not_bear_the_shifts_that_the_network_does(taught: Neocognitron) -> None:
    centred = torch.stack([drawn(digit, 4, 4) for digit in range(5)])
    moved = torch.stack([drawn(digit, 1, 6) for digit in range(5)])
    taught.assign_classes(centred, torch.arange(5))
    by_pixels = F.normalize(moved.flatten(1)) @ F.normalize(centred.flatten(1)).T
    assert taught(moved).argmax(1).tolist() == [0, 1, 2, 3, 4]
    assert by_pixels.argmax(1).tolist() != [0, 1, 2, 3, 4]


# As a classifier


@pytest.mark.parametrize("readout", ["planes", "last", "all"])
def test_every_readout_is_a_classifier_whose_head_can_be_replaced(readout: str) -> None:
    made = network(readout=readout, num_classes=3)
    images = torch.rand(2, 1, 16, 16)
    assert made(images).shape == (2, 3)
    made.reset_classifier(0)
    assert made(images).shape == (2, made.num_features)
    made.reset_classifier(5)
    assert made(images).shape == (2, 5)
    assert made.num_features == (24 * (100 + 36 + 1) if readout == "all" else 24)


@pytest.mark.parametrize("readout", ["planes", "all"])
def test_gradients_reach_every_synapse(readout: str) -> None:
    generator = torch.Generator().manual_seed(0)
    images = (torch.rand(24, 1, 16, 16, generator=generator) > 0.7).float()
    made = network(readout=readout, num_classes=24)
    assert_every_parameter_is_trained(made, images)


def scanned(count: int) -> tuple[Tensor, Tensor]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = torch.tensor(digits.images[:count, None], dtype=torch.float32) / 16
    images = F.interpolate(images, (12, 12), mode="bilinear")
    return F.pad(images, (2, 2, 2, 2)), torch.tensor(digits.target[:count])


def test_64_scanned_digits_are_read_without_an_error_from_cells_that_no_label_taught() -> None:
    images, targets = scanned(64)
    made = network(readout="all")
    made.self_organise(images)
    cells = made.forward_features(images)
    optimizer = torch.optim.AdamW(made.head.parameters(), lr=0.03)
    for _ in range(40):
        optimizer.zero_grad()
        F.cross_entropy(made.head(cells.detach()), targets).backward()
        optimizer.step()
    assert torch.equal(made(images).argmax(1), targets)


def test_negative_input_is_no_light() -> None:
    made = network()
    images = torch.rand(1, 1, 16, 16)
    assert torch.equal(made.forward_features(images), made.forward_features(torch.where(images > 0, images, -1)))
    assert made.forward_features(-images).count_nonzero() == 0


def test_what_cannot_be_built_or_named_is_refused() -> None:
    with pytest.raises(UsageError, match="5x5 of UC2's 4x4 cells in an image of 11x11"):
        NeocognitronConfig(image_size=11)
    with pytest.raises(UsageError, match="r_learning is above 0"):
        NeocognitronConfig(r_learning=(1.0, 0.0, 1.0))
    with pytest.raises(UsageError, match='reads out "last"'):
        network(readout="last").assign_classes(torch.rand(2, 1, 16, 16), torch.tensor([0, 1]))
    with pytest.raises(UsageError, match="takes images of 28x28, not 32x40"):
        network("neocognitron_mnist")(torch.rand(1, 1, 32, 40))
