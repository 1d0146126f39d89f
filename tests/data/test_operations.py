"""Each operation of the policies on a batch, against torchvision's on one image after the other: equal to the bit.

That holds with the versions of constraints.txt on a CPU. Other builds may add products in another order, which in
truncated sums of floats (brightness, color, contrast, sharpness) is off by one, and in coordinates just between two
pixels takes the other one.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torchvision.transforms import v2

from neocog.data.operations import Operation, Round, operate

THEIR_NAMES = {
    Operation.IDENTITY: "Identity",
    Operation.SHEAR_X: "ShearX",
    Operation.SHEAR_Y: "ShearY",
    Operation.TRANSLATE_X: "TranslateX",
    Operation.TRANSLATE_Y: "TranslateY",
    Operation.ROTATE: "Rotate",
    Operation.BRIGHTNESS: "Brightness",
    Operation.COLOR: "Color",
    Operation.CONTRAST: "Contrast",
    Operation.SHARPNESS: "Sharpness",
    Operation.POSTERIZE: "Posterize",
    Operation.SOLARIZE: "Solarize",
    Operation.AUTOCONTRAST: "AutoContrast",
    Operation.EQUALIZE: "Equalize",
    Operation.INVERT: "Invert",
}
SHEARS = [-0.99, -0.3, -0.07, 0.0, 0.033, 0.15, 0.99]
SHIFTS = [-31.9, -4.0, -0.9, 0.0, 0.6, 1.0, 13.2]
FACTORS = [-0.99, -0.9, -0.27, 0.0, 0.01, 0.27, 0.9]
STRENGTHS = {
    Operation.SHEAR_X: SHEARS,
    Operation.SHEAR_Y: SHEARS,
    Operation.TRANSLATE_X: SHIFTS,
    Operation.TRANSLATE_Y: SHIFTS,
    Operation.ROTATE: [-135.0, -90.0, -30.0, -4.5, 0.0, 9.0, 90.0],
    Operation.BRIGHTNESS: FACTORS,
    Operation.COLOR: FACTORS,
    Operation.CONTRAST: FACTORS,
    Operation.SHARPNESS: FACTORS,
    Operation.POSTERIZE: [8.0, 7.0, 6.0, 4.0, 2.0, 1.0, 0.0],
    Operation.SOLARIZE: [0.0, 0.2, 1 / 3, 0.6666666865348816, 0.7, 0.999, 1.0],
}
SIZES = [(3, 32, 32), (1, 28, 28), (3, 21, 37), (1, 2, 5)]


def images(count: int, channels: int, height: int, width: int) -> Tensor:
    """Noise, of which every third image has few levels and one a single one, as equalising and stretching need."""
    generator = torch.Generator().manual_seed(count)
    batch = torch.randint(0, 256, (count, channels, height, width), dtype=torch.uint8, generator=generator)
    batch[1::3] = batch[1::3] // 5 + 40
    batch[-1] = 77
    return batch


def theirs(batch: Tensor, operations: list[Operation], strengths: list[float]) -> Tensor:
    policy = v2.RandAugment()
    done = [
        policy._apply_image_or_video_transform(
            image, THEIR_NAMES[operation], strength, v2.InterpolationMode.NEAREST, {Tensor: None}
        )
        for image, operation, strength in zip(batch, operations, strengths, strict=True)
    ]
    return torch.stack(done)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("operation", Operation)
def test_an_operation_is_torchvisions(operation: Operation, size: tuple[int, int, int]) -> None:
    strengths = STRENGTHS.get(operation, [0.0] * 7)
    batch = images(len(strengths), *size)
    round_ = Round(torch.full((len(batch),), int(operation)), torch.tensor(strengths, dtype=torch.float64))
    assert torch.equal(operate(batch, [round_]), theirs(batch, [operation] * len(batch), strengths))


@pytest.mark.parametrize("channels", [1, 3])
def test_mixed_operations_reach_their_own_images_in_their_order(channels: int) -> None:
    count = 120
    generator = torch.Generator().manual_seed(0)
    batch = images(count, channels, 16, 20)
    rounds, expected = [], batch
    for _ in range(3):
        operations = torch.randint(0, len(Operation), (count,), generator=generator)
        places = torch.randint(0, 7, (count,), generator=generator).tolist()
        kinds = [Operation(kind) for kind in operations.tolist()]
        strengths = [STRENGTHS.get(kind, [0.0] * 7)[place] for kind, place in zip(kinds, places, strict=True)]
        rounds.append(Round(operations, torch.tensor(strengths, dtype=torch.float64)))
        expected = theirs(expected, kinds, strengths)
    before = batch.clone()
    assert torch.equal(operate(batch, rounds), expected)
    assert torch.equal(batch, before)  # what lies in memory for all epochs is not written to


def test_pieces_that_fit_the_cache_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = images(20, 3, 9, 9)
    rounds = [
        Round(torch.full((20,), int(kind)), torch.linspace(0.1, 0.9, 20, dtype=torch.float64)) for kind in Operation
    ]
    whole = [operate(batch, [each]) for each in rounds]
    monkeypatch.setattr("neocog.data.operations.in_cache", lambda images: 3)
    for each, expected in zip(rounds, whole, strict=True):
        assert torch.equal(operate(batch, [each]), expected)


def test_no_images_need_no_operation() -> None:
    nothing = torch.empty(0, 3, 8, 8, dtype=torch.uint8)
    assert operate(nothing, [Round(torch.empty(0, dtype=torch.int64), torch.empty(0).double())]).shape == nothing.shape


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("operation", Operation)
def test_a_gpu_gives_the_same_images(operation: Operation) -> None:
    strengths = STRENGTHS.get(operation, [0.0] * 7)
    batch = images(7, 3, 32, 32)
    rounds = [Round(torch.full((7,), int(operation)), torch.tensor(strengths, dtype=torch.float64))]
    there, here = operate(batch.cuda(), rounds).cpu(), operate(batch, rounds)
    if operation in (Operation.SHEAR_X, Operation.SHEAR_Y, Operation.ROTATE):
        assert (there != here).float().mean() < 0.01  # just between two pixels, another sum takes the other one
    else:
        assert (there.int() - here.int()).abs().max() <= 1
