"""Policies: their tables against torchvision's own, and how often and how strongly operations come."""

from __future__ import annotations

import pytest
import torch
from scipy import stats
from test_operations import THEIR_NAMES
from torch import Tensor
from torchvision.transforms import v2

from neocog.data.augment import Augmentation, augment, draw
from neocog.data.keys import hash_key, uniform
from neocog.data.operations import Operation
from neocog.data.policies import AUTOAUGMENT, BINS, DRAWS, auto_rounds, random_rounds, strengths, trivial_rounds

COUNT = 30_000
SIGNED = [name for name, (_, signed) in v2.RandAugment._AUGMENTATION_SPACE.items() if signed]


def draws(rounds: int) -> Tensor:
    return uniform(hash_key(5, 1, torch.arange(COUNT)), rounds * DRAWS)


@pytest.mark.parametrize(
    ("theirs", "bins", "space"),
    [(v2.RandAugment, 31, "usual"), (v2.TrivialAugmentWide, 31, "wide"), (v2.AutoAugment, 10, "usual")],
)
def test_strengths_are_torchvisions(theirs, bins, space) -> None:
    ours = strengths(bins, 48, 64, space)
    for operation, name in THEIR_NAMES.items():
        make = theirs._AUGMENTATION_SPACE.get(name, (lambda *sizes: None, False))[0]
        expected = make(bins, 48, 64)
        if expected is None:
            assert ours[operation] is None or name not in theirs._AUGMENTATION_SPACE
        else:
            assert torch.equal(ours[operation], expected.double())


def test_autoaugments_table_is_torchvisions() -> None:
    expected = v2.AutoAugment()._get_policies(v2.AutoAugmentPolicy.IMAGENET)
    ours = [tuple((THEIR_NAMES[name], likely, level) for name, likely, level in pair) for pair in AUTOAUGMENT]
    assert ours == [tuple((name, likely, level or 0) for name, likely, level in pair) for pair in expected]


@pytest.mark.parametrize("magnitude", [0.0, 9.0, 30.0])
def test_randaugment_draws_each_operation_equally_often_with_torchvisions_strength(magnitude: float) -> None:
    rounds = random_rounds(draws(3), 32, 32, 3, magnitude)
    assert len(rounds) == 3
    space = v2.RandAugment._AUGMENTATION_SPACE
    for operations, amounts in rounds:
        counts = torch.bincount(operations, minlength=len(Operation))
        assert counts[Operation.INVERT] == 0
        assert stats.chisquare(counts[:-1].numpy()).pvalue > 1e-4
        for operation in tuple(Operation)[:-1]:
            got = amounts[operations == operation]
            bins = space[THEIR_NAMES[operation]][0](31, 32, 32)
            if bins is None:
                continue
            most = float(bins[int(magnitude)])
            if THEIR_NAMES[operation] in SIGNED:
                assert got.abs().unique().tolist() == [abs(most)]
                assert most == 0 or stats.binomtest(int((got < 0).sum()), len(got)).pvalue > 1e-4
            else:
                assert got.unique().tolist() == [most]
    pairs = torch.stack([rounds[0].operations, rounds[1].operations]).double()
    assert abs(torch.corrcoef(pairs)[0, 1]) < 0.03


def test_a_magnitude_between_two_steps_lies_between_their_strengths() -> None:
    (below,), (between,), (above,) = (random_rounds(draws(1), 32, 32, 1, at) for at in (9, 9.5, 10))
    turned = between.operations == Operation.ROTATE
    middle = (below.strengths + above.strengths)[turned] / 2
    assert between.strengths[turned].tolist() == pytest.approx(middle.tolist())
    assert (between.strengths[between.operations == Operation.POSTERIZE] % 1 == 0).all()


def test_trivialaugment_draws_one_operation_of_any_strength() -> None:
    ((operations, amounts),) = trivial_rounds(draws(1), 32, 32)
    counts = torch.bincount(operations, minlength=len(Operation))
    assert counts[Operation.INVERT] == 0
    assert stats.chisquare(counts[:-1].numpy()).pvalue > 1e-4
    for operation in (Operation.SHEAR_X, Operation.SOLARIZE, Operation.TRANSLATE_Y, Operation.SHARPNESS):
        steps = strengths(BINS, 32, 32, "wide")[operation]
        got = amounts[operations == operation].abs()
        counts = (got[:, None] == steps).sum(0)
        assert counts.sum() == len(got)
        assert stats.chisquare(counts.numpy()).pvalue > 1e-4


def test_autoaugment_draws_a_pair_and_then_each_half_as_often_as_it_says() -> None:
    columns = draws(2)
    rounds = auto_rounds(columns, 32, 32)
    pair = (columns[:, 0] * 25).long()
    assert stats.chisquare(torch.bincount(pair).numpy()).pvalue > 1e-4
    steps = strengths(10, 32, 32)
    for number, entry in enumerate(AUTOAUGMENT):
        for (operation, likely, level), (operations, amounts) in zip(entry, rounds, strict=True):
            mine = operations[pair == number]
            done = mine == operation
            assert (mine[~done] == Operation.IDENTITY).all()
            assert stats.binomtest(int(done.sum()), len(mine), likely).pvalue > 1e-5
            if steps[operation] is not None:
                got = amounts[pair == number][done].abs().unique().tolist()
                assert got == [] or got == [steps[operation][level].abs().item()]


@pytest.mark.parametrize("policy", ["randaugment", "trivialaugment", "autoaugment"])
def test_an_images_policy_depends_on_its_key_alone(policy: str) -> None:
    augmentation = Augmentation(crop="pad", policy=policy, policy_ops=3)
    batch = torch.randint(0, 256, (24, 3, 16, 16), dtype=torch.uint8)
    columns = draw(hash_key(3, 5, torch.arange(24)), augmentation)
    together = augment(batch, columns, augmentation, "bilinear")
    for place in range(24):
        alone = augment(batch[place : place + 1], columns[place : place + 1], augmentation, "bilinear")
        assert torch.equal(alone[0], together[place])


def test_a_policy_leaves_crops_and_flips_as_they_are() -> None:
    keys = hash_key(0, 0, torch.arange(64))
    plain = Augmentation(crop="random_resized")
    columns = draw(keys, plain)
    assert torch.equal(draw(keys, plain.model_copy(update={"policy": "randaugment"}))[:, : columns.shape[1]], columns)
