"""Augmentation policies: which operations an image undergoes, and how strongly.

RandAugment (Cubuk et al. 2019, arXiv:1909.13719), TrivialAugment (Müller and Hutter 2021, arXiv:2103.10158, the wide
search space) and the AutoAugment policy that was found for ImageNet (Cubuk et al. 2018, arXiv:1805.09501, appendix),
with the operations, ranges and steps of torchvision.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from neocog.data.operations import Operation, Round

DRAWS = 3
"""Numbers that a round of one image takes: which operation, how strong or whether at all, which direction."""

BINS = 31
"""Steps of strength of RandAugment and TrivialAugment, from none to full."""

_O = Operation
_SIGNED = (
    *(_O.SHEAR_X, _O.SHEAR_Y, _O.TRANSLATE_X, _O.TRANSLATE_Y, _O.ROTATE),
    *(_O.BRIGHTNESS, _O.COLOR, _O.CONTRAST, _O.SHARPNESS),
)
_LIMITS = {_O.SHEAR_X: 0.3, _O.SHEAR_Y: 0.3, _O.ROTATE: 30.0}
_WIDE = {_O.SHEAR_X: 0.99, _O.SHEAR_Y: 0.99, _O.TRANSLATE_X: 32.0, _O.TRANSLATE_Y: 32.0, _O.ROTATE: 135.0}
_TRANSLATION = 150 / 331  # of the image's side, but for the wide space

AUTOAUGMENT: tuple[tuple[tuple[Operation, float, int], tuple[Operation, float, int]], ...] = (
    ((_O.POSTERIZE, 0.4, 8), (_O.ROTATE, 0.6, 9)),
    ((_O.SOLARIZE, 0.6, 5), (_O.AUTOCONTRAST, 0.6, 0)),
    ((_O.EQUALIZE, 0.8, 0), (_O.EQUALIZE, 0.6, 0)),
    ((_O.POSTERIZE, 0.6, 7), (_O.POSTERIZE, 0.6, 6)),
    ((_O.EQUALIZE, 0.4, 0), (_O.SOLARIZE, 0.2, 4)),
    ((_O.EQUALIZE, 0.4, 0), (_O.ROTATE, 0.8, 8)),
    ((_O.SOLARIZE, 0.6, 3), (_O.EQUALIZE, 0.6, 0)),
    ((_O.POSTERIZE, 0.8, 5), (_O.EQUALIZE, 1.0, 0)),
    ((_O.ROTATE, 0.2, 3), (_O.SOLARIZE, 0.6, 8)),
    ((_O.EQUALIZE, 0.6, 0), (_O.POSTERIZE, 0.4, 6)),
    ((_O.ROTATE, 0.8, 8), (_O.COLOR, 0.4, 0)),
    ((_O.ROTATE, 0.4, 9), (_O.EQUALIZE, 0.6, 0)),
    ((_O.EQUALIZE, 0.0, 0), (_O.EQUALIZE, 0.8, 0)),
    ((_O.INVERT, 0.6, 0), (_O.EQUALIZE, 1.0, 0)),
    ((_O.COLOR, 0.6, 4), (_O.CONTRAST, 1.0, 8)),
    ((_O.ROTATE, 0.8, 8), (_O.COLOR, 1.0, 2)),
    ((_O.COLOR, 0.8, 8), (_O.SOLARIZE, 0.8, 7)),
    ((_O.SHARPNESS, 0.4, 7), (_O.INVERT, 0.6, 0)),
    ((_O.SHEAR_X, 0.6, 5), (_O.EQUALIZE, 1.0, 0)),
    ((_O.COLOR, 0.4, 0), (_O.EQUALIZE, 0.6, 0)),
    ((_O.EQUALIZE, 0.4, 0), (_O.SOLARIZE, 0.2, 4)),
    ((_O.SOLARIZE, 0.6, 5), (_O.AUTOCONTRAST, 0.6, 0)),
    ((_O.INVERT, 0.6, 0), (_O.EQUALIZE, 1.0, 0)),
    ((_O.COLOR, 0.6, 4), (_O.CONTRAST, 1.0, 8)),
    ((_O.EQUALIZE, 0.8, 0), (_O.EQUALIZE, 0.6, 0)),
)
"""The 25 sub-policies for ImageNet: two operations, the probability of each, and its strength, of 10 steps."""


def strengths(
    bins: int, height: int, width: int, space: Literal["usual", "wide"] = "usual"
) -> dict[Operation, Tensor | None]:
    """Return the steps of strength `(bins,)` of each operation, float64; None for one that has none.

    Args:
        bins: 31 for RandAugment and TrivialAugment, 10 for AutoAugment.
        height: of the image, pixels.
        width: of the image, pixels.
        space: TrivialAugment's is "wide".
    """
    wide = space == "wide"
    most = _WIDE if wide else {**_LIMITS, _O.TRANSLATE_X: _TRANSLATION * width, _O.TRANSLATE_Y: _TRANSLATION * height}
    table: dict[Operation, Tensor | None] = {}
    for operation in Operation:
        table[operation] = None
        if operation in _SIGNED:
            table[operation] = torch.linspace(0.0, most.get(operation, 0.99 if wide else 0.9), bins).to(torch.float64)
        elif operation == _O.POSTERIZE:
            table[operation] = (8 - torch.arange(bins) / ((bins - 1) / (6 if wide else 4))).round().to(torch.float64)
        elif operation == _O.SOLARIZE:
            table[operation] = torch.linspace(1.0, 0.0, bins).to(torch.float64)
    return table


def random_rounds(draws: Tensor, height: int, width: int, ops: int, magnitude: float) -> list[Round]:
    """Return what RandAugment does: `ops` operations of all but inversion, each equally likely and equally strong.

    Args:
        draws: `(N, ops * DRAWS)` in [0, 1).
        height: of the images, pixels.
        width: of the images, pixels.
        ops: operations an image.
        magnitude: of 30; between two steps the strength is interpolated.
    """
    low = min(int(magnitude), BINS - 2)
    rows = torch.stack([_column(steps, BINS) for steps in strengths(BINS, height, width).values()])
    table = torch.lerp(rows[:, low], rows[:, low + 1], magnitude - low)
    table[_O.POSTERIZE].round_()
    rounds = []
    for number in range(ops):
        which, _, direction = draws[:, number * DRAWS : (number + 1) * DRAWS].unbind(1)
        operations = (which * _O.INVERT).to(torch.int64)
        rounds.append(Round(operations, _directed(operations, table[operations], direction)))
    return rounds


def trivial_rounds(draws: Tensor, height: int, width: int) -> list[Round]:
    """Return what TrivialAugment does: one operation of all but inversion, of any strength.

    Args:
        draws: `(N, DRAWS)` in [0, 1).
        height: of the images, pixels.
        width: of the images, pixels.
    """
    which, strength, direction = draws.unbind(1)
    operations = (which * _O.INVERT).to(torch.int64)
    table = torch.stack([_column(steps, BINS) for steps in strengths(BINS, height, width, "wide").values()])
    amounts = table[operations, (strength * BINS).to(torch.int64)]
    return [Round(operations, _directed(operations, amounts, direction))]


def auto_rounds(draws: Tensor, height: int, width: int) -> list[Round]:
    """Return what AutoAugment does: one of 25 pairs of operations, each of which happens or not.

    Args:
        draws: `(N, 2 * DRAWS)` in [0, 1); the first column chooses the pair.
        height: of the images, pixels.
        width: of the images, pixels.
    """
    steps = strengths(10, height, width)
    pair = (draws[:, 0] * len(AUTOAUGMENT)).to(torch.int64)
    rounds = []
    for half in range(2):
        _, whether, direction = draws[:, half * DRAWS : (half + 1) * DRAWS].unbind(1)
        entries = [sub_policy[half] for sub_policy in AUTOAUGMENT]
        likely = torch.tensor([probability for _, probability, _ in entries], dtype=torch.float64)
        amounts = torch.stack([_column(steps[operation], 10)[level] for operation, _, level in entries])
        operations = torch.tensor([int(operation) for operation, _, _ in entries])[pair]
        operations = torch.where(whether < likely[pair], operations, int(_O.IDENTITY))
        rounds.append(Round(operations, _directed(operations, amounts[pair], direction)))
    return rounds


def _column(steps: Tensor | None, bins: int) -> Tensor:
    return torch.zeros(bins, dtype=torch.float64) if steps is None else steps


def _directed(operations: Tensor, amounts: Tensor, direction: Tensor) -> Tensor:
    """Turn half of the amounts of those operations round that have two directions."""
    signed = torch.tensor([operation in _SIGNED for operation in Operation])
    return torch.where(signed[operations] & (direction < 0.5), -amounts, amounts)
