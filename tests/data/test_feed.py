"""What happens between a store and a network: repeats, settings that vary by epoch, lighting, erasing, blending."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from test_loading import PHOTO, SMALL, assert_equal, encode, flat, picture, table
from torch import Tensor

from neocog.data.augment import Augmentation, augment, draw, finish
from neocog.data.keys import Stream, epoch_order, hash_key
from neocog.data.loading import Batch, times_before, training_batches
from neocog.data.memory import MemoryImages, decode
from neocog.data.mixing import Mixing, mix
from neocog.data.preprocess import normalise, to_uint8
from neocog.data.resampling import resize
from neocog.data.streaming import Look, Request
from neocog.data.table import Split
from neocog.errors import UsageError

EVERYTHING = Augmentation(crop="pad", policy="randaugment", brightness=0.3, lighting=0.1, erase=0.5)
BOTH = Mixing(mixup=0.8, cutmix=1.0)


@pytest.fixture(scope="module")
def small() -> Split:
    return table([encode(picture(number, 16, 16)) for number in range(40)])


def steps(split: Split, augmentation: Augmentation = EVERYTHING, epoch: int = 1, **settings) -> list[list[Batch]]:
    return list(training_batches(split, SMALL, augmentation, seed=5, **settings).steps(epoch))


def indices(batches: list[Batch]) -> list[int]:
    return torch.cat([batch.indices for batch in batches]).tolist()


@pytest.mark.parametrize("repeats", [1, 2, 3])
def test_repeats_show_each_image_of_an_epochs_first_ones_several_times_in_a_row(small: Split, repeats: int) -> None:
    shown = indices(flat(steps(small, batch_size=8, repeats=repeats)))
    order = epoch_order(5, 1, 40).tolist()
    assert shown == [index for index in order[: -(-40 // repeats)] for _ in range(repeats)][:40]


@pytest.mark.parametrize(("count", "world_size"), [(1024, 1), (1000, 2), (2000, 4)])
def test_an_epoch_with_repeats_is_timms(count: int, world_size: int) -> None:
    sampler = pytest.importorskip("timm.data.distributed_sampler")
    theirs: Counter[int] = Counter()
    for rank in range(world_size):
        repeated = sampler.RepeatAugSampler(range(count), world_size, rank, num_repeats=3)
        theirs.update(repeated)
    split = table([encode(picture(0, 4, 4))] * count)
    ours: Counter[int] = Counter()
    for rank in range(world_size):
        made = training_batches(
            split, SMALL, Augmentation(crop="none"), batch_size=256, repeats=3, rank=rank, world_size=world_size
        )
        ours.update(indices(flat(made.steps(0))))
        assert made.steps_per_epoch == count // 256
    assert sorted(ours.values()) == sorted(theirs.values())


def test_each_repetition_is_varied_by_its_own_key(small: Split) -> None:
    augmentation = Augmentation(crop="pad")
    ((batch,), *_) = steps(small, augmentation, batch_size=12, repeats=3)
    copies = torch.tensor([0, 1, 2] * 4)
    pixels = torch.stack([to_uint8(small.image(index), SMALL) for index in batch.indices.tolist()])
    columns = draw(hash_key(5, 1, batch.indices, copies), augmentation)
    assert torch.equal(batch.images, normalise(augment(pixels, columns, augmentation, "bilinear"), SMALL))
    assert len({tuple(image.flatten().tolist()) for image in batch.images}) > 8


@pytest.mark.parametrize("in_memory", [True, False])
def test_processes_together_see_what_one_sees_that_accumulates(small: Split, in_memory: bool) -> None:
    settings = {"batch_size": 12, "repeats": 3, "mixing": BOTH, "in_memory": in_memory}
    alone = steps(small, accumulate=4, **settings)
    ranks = [steps(small, accumulate=2, world_size=2, rank=rank, **settings) for rank in range(2)]
    for number, micro_batches in enumerate(alone):
        assert_equal(micro_batches, ranks[0][number] + ranks[1][number])


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize("crop", ["pad", "random_resized"])
def test_processes_divide_repetitions_of_one_image_among_them(small: Split, crop: str, in_memory: bool) -> None:
    augmentation = EVERYTHING.model_copy(update={"crop": crop})
    settings = {"batch_size": 8, "repeats": 3, "in_memory": in_memory}
    alone = flat(steps(small, augmentation, **settings))
    ranks = [flat(steps(small, augmentation, world_size=2, rank=rank, **settings)) for rank in range(2)]
    assert set(ranks[0][0].indices.tolist()) & set(ranks[1][0].indices.tolist())  # four and four of three each
    for number, batch in enumerate(alone):
        shares = [rank[number] for rank in ranks]
        assert torch.equal(batch.indices, torch.cat([share.indices for share in shares]))
        assert torch.equal(batch.targets, torch.cat([share.targets for share in shares]))
        assert torch.equal(batch.images, torch.cat([share.images for share in shares]))
    assert len(ranks[0]) == len(ranks[1]) == len(alone) == 5


def test_images_in_memory_and_streamed_ones_are_treated_alike(small: Split) -> None:
    kept, streamed = (
        flat(steps(small, batch_size=8, repeats=2, mixing=BOTH, in_memory=in_memory)) for in_memory in (True, False)
    )
    assert_equal(kept, streamed)


def test_an_epoch_begun_at_a_later_step_goes_on_as_the_whole_one(small: Split) -> None:
    made = training_batches(small, SMALL, EVERYTHING, batch_size=8, repeats=3, mixing=BOTH)
    whole = list(made.steps(2))
    assert_equal(flat(whole[3:]), flat(made.steps(2, start=3)))


def test_a_batch_is_normalised_then_lit_and_erased_then_blended(small: Split) -> None:
    batches = flat(steps(small, batch_size=8, accumulate=2, mixing=BOTH))
    for number, batch in enumerate(batches):
        keys = hash_key(5, 1, batch.indices)
        pixels = torch.stack([to_uint8(small.image(index), SMALL) for index in batch.indices.tolist()])
        images = normalise(augment(pixels, draw(keys, EVERYTHING), EVERYTHING, "bilinear"), SMALL)
        images = finish(images, keys, EVERYTHING, SMALL)
        key = hash_key(5, 1, number, stream=Stream.MIX)
        images, targets = mix(images, batch.indices % 3, BOTH, key, 3)
        assert torch.equal(batch.images, images)
        assert torch.equal(batch.targets, targets)
        assert batch.targets.dtype == torch.float32
        assert batch.targets.sum(1).tolist() == pytest.approx([1.0] * 4)


def test_blending_is_another_for_each_micro_batch_and_epoch(small: Split) -> None:
    shares = [
        tuple(batch.targets.amax(1).tolist())
        for epoch in range(4)
        for batch in flat(steps(small, epoch=epoch, batch_size=8, accumulate=2, mixing=Mixing(mixup=1.0)))
    ]
    assert len(set(shares)) > 30


def test_evaluation_and_measuring_are_not_varied(small: Split) -> None:
    from neocog.data.loading import evaluation_batches

    for batch in evaluation_batches(small, SMALL, batch_size=16):
        assert batch.targets.dtype == torch.int64


@pytest.mark.parametrize(("in_memory", "workers"), [(True, 0), (True, 2), (False, 0), (False, 2)])
@pytest.mark.parametrize("crop", ["none", "random_resized"])
def test_mirroring_in_turn_shows_each_side_of_each_image_in_every_other_epoch(
    small: Split, in_memory: bool, workers: int, crop: str
) -> None:
    # Of the crop all is taken, so that what is seen is the image or its mirror image.
    augmentation = Augmentation(crop=crop, scale=(1, 1), ratio=(1, 1), alternate=True)
    made = training_batches(small, SMALL, augmentation, batch_size=8, seed=5, in_memory=in_memory, workers=workers)
    plain = torch.stack([normalise(to_uint8(small.image(index), SMALL)[None], SMALL)[0] for index in range(40)])
    mirrored = torch.full((6, 40), -1)
    for epoch in range(6):
        batches = list(made.steps(epoch))
        if epoch == 3:  # begun at a later step, as by a run that is resumed
            batches = batches[:2] + list(made.steps(epoch, start=2))
        for batch in flat(batches):
            for index, image in zip(batch.indices.tolist(), batch.images, strict=True):
                turned = torch.equal(image, plain[index].flip(-1))
                assert turned or torch.equal(image, plain[index])
                mirrored[epoch, index] = turned
    made.close()
    assert 8 < mirrored[0].sum() < 32
    assert torch.equal(mirrored[1:] + mirrored[:-1], torch.ones(5, 40, dtype=torch.int64))
    first = draw(hash_key(5, 0, torch.arange(40)), augmentation)[:, 0]
    assert torch.equal(mirrored[0].bool(), first < 0.5)


@pytest.mark.parametrize("in_memory", [True, False])
def test_each_repetition_of_an_image_takes_its_own_turns(small: Split, in_memory: bool) -> None:
    augmentation = Augmentation(crop="none", alternate=True)
    seen: dict[tuple[int, int], set[bool]] = {}
    for epoch in (2, 3, 4, 5):
        for batch in flat(steps(small, augmentation, epoch, batch_size=8, repeats=2, in_memory=in_memory)):
            for place, index in enumerate(batch.indices.tolist()):
                plain = normalise(to_uint8(small.image(index), SMALL)[None], SMALL)[0]
                turned = not torch.equal(batch.images[place], plain)
                seen.setdefault((index, place % 2), set()).add(turned ^ bool(epoch % 2))
    assert all(len(turns) == 1 for turns in seen.values())
    assert len({seen[index, 0] == seen[index, 1] for index in {index for index, _ in seen}}) == 2


def test_images_too_small_for_a_reflected_border_are_refused_where_batches_are_decided(small: Split) -> None:
    for pad, workers in ((16, 0), (20, 1)):
        augmentation = Augmentation(crop="pad", pad=pad, border="reflect")
        made = training_batches(small, SMALL, augmentation, batch_size=8, workers=workers, in_memory=False)
        with pytest.raises(UsageError, match=f"{pad} pixels cannot be reflected from an image of 16x16"):
            next(made.steps(0))
        made.close()


@pytest.mark.parametrize("in_memory", [True, False])
def test_settings_may_vary_by_epoch(small: Split, in_memory: bool) -> None:
    first, later = Augmentation(crop="none", flip=0), Augmentation(crop="pad", flip=1.0)
    asked = []

    def looks(epoch: int) -> tuple[Look, Mixing]:
        asked.append(epoch)
        return (Look(SMALL, first), Mixing()) if epoch < 2 else (Look(SMALL, later), BOTH)

    made = training_batches(small, SMALL, EVERYTHING, batch_size=8, looks=looks, in_memory=in_memory)
    for epoch, augmentation, mixing in ((1, first, Mixing()), (2, later, BOTH)):
        expected = training_batches(small, SMALL, augmentation, batch_size=8, mixing=mixing, in_memory=in_memory)
        assert_equal(flat(made.steps(epoch)), flat(expected.steps(epoch)))
    assert asked == [1, 2]


@pytest.mark.parametrize("crop", ["none", "pad", "random_resized", "scale"])
def test_images_in_memory_are_resized_to_what_the_epoch_asks_for(small: Split, crop: str) -> None:
    augmentation = Augmentation(crop=crop, pad=2)
    less = SMALL.model_copy(update={"size": (12, 12)})
    made = training_batches(
        small,
        SMALL,
        augmentation,
        batch_size=8,
        looks=lambda epoch: (Look(less if epoch == 0 else SMALL, augmentation), Mixing()),
    )
    assert {batch.images.shape for batch in flat(made.steps(0))} == {(8, 3, 12, 12)}
    assert_equal(flat(made.steps(1)), flat(training_batches(small, SMALL, augmentation, batch_size=8).steps(1)))
    if crop in ("none", "pad"):
        # Pictures of 16 x 16 that are kept at 16 x 16 and resized are what would be decoded to 12 x 12.
        expected = training_batches(small, less, augmentation, batch_size=8)
        for one, other in zip(flat(made.steps(0)), flat(expected.steps(0)), strict=True):
            assert (one.images - other.images).abs().max() <= 1.01 / 255 / 0.2


def test_batches_varied_together_are_those_varied_alone(small: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    together = flat(steps(small, batch_size=8))
    for size in (1, 20):
        monkeypatch.setattr("neocog.data.memory._TOGETHER", size)
        assert_equal(together, flat(steps(small, batch_size=8)))


def test_requests_of_different_kinds_are_not_varied_together(small: Split) -> None:
    pixels = decode(small, SMALL)
    look, other = Look(SMALL, Augmentation(crop="pad")), Look(SMALL, Augmentation(crop="none", flip=1.0))
    requests = [
        Request([3, 4], (0, 0)),
        Request([5], (0, 1)),
        Request(range(2), None),
        Request([7, 8], (0, 1), None, other),
        Request([7, 8], (0, 1), [1, 2]),
    ]
    store = MemoryImages(pixels, look)
    together = list(store.fetch(requests))
    alone = [next(iter(store.fetch([request]))) for request in requests]
    assert [len(batch) for batch in together] == [2, 1, 2, 2, 2]
    for one, by_itself in zip(together, alone, strict=True):
        assert torch.equal(one, by_itself)
    assert torch.equal(together[2], pixels[:2])
    assert torch.equal(together[3], pixels[7:9].flip(-1))
    assert list(store.fetch([])) == []


def test_what_lies_in_memory_is_not_written_to(small: Split) -> None:
    pixels = decode(small, SMALL)
    before = pixels.clone()
    for crop in ("none", "pad"):
        flat(steps(small, EVERYTHING.model_copy(update={"crop": crop}), batch_size=8, mixing=BOTH))
    assert torch.equal(pixels, before)


@pytest.mark.parametrize("channels_last", [False, True])
def test_the_layout_is_the_one_asked_for(small: Split, channels_last: bool) -> None:
    layout = torch.channels_last if channels_last else torch.contiguous_format
    for batch in flat(steps(small, batch_size=8, mixing=BOTH, channels_last=channels_last)):
        assert batch.images.is_contiguous(memory_format=layout)


def test_photographs_take_all_of_it_too(small: Split) -> None:
    def run(workers: int) -> list[Batch]:
        augmentation = EVERYTHING.model_copy(update={"crop": "random_resized"})
        made = training_batches(
            small, PHOTO, augmentation, batch_size=8, repeats=2, mixing=BOTH, workers=workers, in_memory=False
        )
        batches = flat(made.steps(0))
        made.close()
        return batches

    assert_equal(run(0), run(1))


def test_images_are_repeated_at_least_once(small: Split) -> None:
    with pytest.raises(UsageError, match="repeats must be 1 or more, not 0"):
        training_batches(small, SMALL, Augmentation(), batch_size=4, repeats=0)


def test_resizing_keeps_the_networks_random_numbers_alone(small: Split) -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    flat(steps(small, batch_size=8, mixing=BOTH))
    resize(torch.zeros(1, 3, 8, 8, dtype=torch.uint8), (4, 4), "bilinear")
    got: Tensor = torch.rand(3)
    assert torch.equal(got, expected)


@pytest.mark.parametrize("in_memory", [True, False])
def test_an_order_that_is_handed_in_decides_what_an_epoch_shows(small: Split, in_memory: bool) -> None:
    """An image that comes again is varied by the key of its next copy."""
    asked = []

    def order(epoch: int) -> Tensor:
        asked.append(epoch)
        return torch.cat([torch.arange(24), torch.arange(16).flip(0)])

    augmentation = Augmentation(crop="pad", brightness=0.3)
    made = training_batches(small, SMALL, augmentation, batch_size=10, seed=5, order=order, in_memory=in_memory)
    assert asked == []
    batches = flat(made.steps(3))
    assert asked == [3]
    assert indices(batches) == order(3).tolist()
    later = flat(made.steps(3, start=2))
    assert_equal(later, batches[2:])
    copies = torch.tensor([0] * 4 + [1] * 6)
    pixels = torch.stack([to_uint8(small.image(index), SMALL) for index in later[0].indices.tolist()])
    columns = draw(hash_key(5, 3, later[0].indices, copies), augmentation)
    assert torch.equal(later[0].images, normalise(augment(pixels, columns, augmentation, "bilinear"), SMALL))


def test_repeats_of_an_image_that_comes_again_are_numbered_on(small: Split) -> None:
    again = torch.arange(40) % 20
    made = training_batches(
        small, SMALL, Augmentation(), batch_size=40, repeats=2, order=lambda epoch: again, in_memory=True
    )
    ((batch,),) = made.steps(0)
    assert batch.indices.tolist() == [index for index in range(20) for _ in range(2)]
    values = torch.tensor([3, 1, 3, 3, 2, 1])
    assert times_before(values).tolist() == [0, 0, 1, 2, 0, 1]
    assert times_before(torch.arange(3)).tolist() == [0, 0, 0]
