"""Fields of a network compared with the gradient's support, at several positions of several layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gradient_support import Box, supports
from torch import nn

from neocog.analysis import Fields, ReceptiveField, receptive_fields, trace_forward


class Function(nn.Module):
    """A function as a layer, to have a name."""

    def __init__(self, function: Callable[..., object]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def fields_of(network: nn.Module, image: Sequence[int] = (3, 224, 224), **options) -> Fields:
    """Return the fields of a network, every operation of which must be known."""
    fields = receptive_fields(trace_forward(network.eval(), image, **options))
    assert fields.unknown == ()
    return fields


def clipped(field: ReceptiveField, position: Sequence[int], *, local: bool = False) -> Box:
    """Return what a position sees, as if the image went on, within the image."""
    ends = [
        (max(low, 0), min(high, size - 1))
        for (low, high), size in zip(field.at(*position, local=local), field.image, strict=True)
    ]
    return None if any(low > high for low, high in ends) else tuple((int(low), int(high)) for low, high in ends)


def check_against_gradient(
    network: nn.Module,
    image: Sequence[int],
    *,
    layers: int = 4,
    names: Sequence[str] = (),
    channels: int = 1,
    whole: bool = True,
    windows: bool = False,
) -> None:
    """Compare layers spread over a network's depth with the gradient, at the middle, two corners and an odd position.

    What is really seen must be the support. So must be what would be seen if the image went on, cut off at its borders.
    Where a layer is global, its local part is compared too, with gates and attention taken out of the oracle.

    Args:
        network: what is checked; every operation in it must be known.
        image: the shape of an input.
        layers: how many layers are compared, the first and the last map among them.
        names: which, instead.
        channels: the dimension that holds channels.
        whole: whether strides leave nothing over at the borders, so that a field cut off there is the support.
        windows: whether the attention is over windows, and therefore local.
    """
    fields = fields_of(network, image)
    axes = len(image) - 1
    grid = tuple(range(2, axes + 2)) if channels == 1 else tuple(range(1, axes + 1))
    maps = {field.name: field for field in fields.rows if field.grid == grid and len(field.shape) == axes + 2}
    if not names:
        known = list(maps)
        names = sorted({known[round(at * (len(known) - 1) / max(1, layers - 1))] for at in range(layers)})
    chosen = {name: maps[name] for name in names}
    positions = {name: [tuple(place(n) for n in _sizes(field)) for place in _PLACES] for name, field in chosen.items()}
    for number, places in enumerate(positions.values()):
        sizes = _sizes(list(chosen.values())[number])
        places[3] = (*places[3][:-1], 2 * sizes[-1] // 3)
    found = supports(network, image, positions, channels=channels)
    for name, field in chosen.items():
        for position, box in zip(positions[name], found[name], strict=True):
            assert field.seen(*position) == box, f"{name} at {position} of {field.shape}"
            if whole:
                assert clipped(field, position) == box, f"{name} at {position} of {field.shape}, as if it went on"
    partly = {name: field for name, field in chosen.items() if field.size != field.local}
    if partly and whole and not windows:
        found = supports(network, image, {name: positions[name] for name in partly}, local=True, channels=channels)
        for name, field in partly.items():
            for position, box in zip(positions[name], found[name], strict=True):
                assert clipped(field, position, local=True) == box, f"{name} at {position}, its local part"


_PLACES: list[Callable[[int], int]] = [lambda n: n // 2, lambda n: 0, lambda n: n - 1, lambda n: n // 3]


def _sizes(field: ReceptiveField) -> list[int]:
    return [field.shape[dim] for dim in field.grid]


def check_every_position(network: nn.Module, image: Sequence[int], name: str) -> None:
    """Compare every position of one layer's map with the gradient."""
    field = fields_of(network, image).of(name)
    places: list[tuple[int, ...]] = [()]
    for size in field.shape[2:]:
        places = [(*place, n) for place in places for n in range(size)]
    for position, box in zip(places, supports(network, image, {name: places})[name], strict=True):
        assert field.seen(0, 0, *position) == box, f"{position} of {field.shape}"
