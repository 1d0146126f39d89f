"""Views are those of the papers and of torchvision, and their mean is a mean of posteriors."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms import v2

from neocog.data.loading import EvaluationBatches, evaluation_batches
from neocog.data.preprocess import Preprocessing, preprocess, to_uint8
from neocog.data.sources import load_split
from neocog.data.table import Split
from neocog.errors import UsageError
from neocog.inference.evaluation import evaluate_network, evaluate_views
from neocog.inference.metrics import calibration_error
from neocog.inference.model_file import Card, LoadedModel
from neocog.inference.prediction import predict_images
from neocog.inference.views import VIEWS, View, mean_of_posteriors, showings
from neocog.models import create_model

SMALL = Preprocessing(size=(48, 48), mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.2))


class Pooled(nn.Module):
    """A network for any size, whose logits depend on where things are and which way they look."""

    def __init__(self, classes: int = 2) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 5, 2)
        self.fc = nn.Linear(8, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(torch.relu(self.conv(x)).mean(dim=(2, 3)))


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return Pooled()


@pytest.fixture
def split(photographs: Path) -> Split:
    return load_split(photographs)


def photograph(height: int, width: int) -> Image.Image:
    pixels = np.random.default_rng(height * width).integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)


@pytest.mark.parametrize("size", [(224, 224), (192, 160)])
@pytest.mark.parametrize("crop_pct", [0.875, 0.9, 0.95])
@pytest.mark.parametrize("shape", [(300, 400), (500, 375), (256, 256)])
def test_ten_crops_are_torchvisions_of_the_same_resized_image(
    size: tuple[int, int], crop_pct: float, shape: tuple[int, int]
) -> None:
    preprocessing = Preprocessing(size=size, crop_pct=crop_pct, mean=(0.0,) * 3, std=(1.0,) * 3)
    (way,) = showings(preprocessing, "ten_crop")
    resized = to_uint8(photograph(*shape), way.preprocessing)
    ours = [torch.cat(list(parts)) for parts in way.cut(resized[None], preprocessing.size)]
    theirs = v2.TenCrop(size)(resized)
    assert len(ours) == len(theirs) == 10
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(one[0], other)


def test_ten_crops_are_of_alexnets_sizes() -> None:
    # Krizhevsky et al. 2012: patches of 224 x 224 of the central 256 x 256 of an image whose shorter side is 256.
    (way,) = showings(Preprocessing(size=(224, 224), mean=(0.0,) * 3, std=(1.0,) * 3), "ten_crop")
    image = photograph(330, 512)
    theirs = v2.CenterCrop(256)(v2.functional.pil_to_tensor(v2.Resize(256)(image)))
    assert torch.equal(to_uint8(image, way.preprocessing), theirs)
    assert way.size == (224, 224)


def test_the_middle_one_of_ten_crops_is_the_centre_crop() -> None:
    image = photograph(300, 400)
    preprocessing = Preprocessing(size=(224, 224), mean=(0.0,) * 3, std=(1.0,) * 3)
    (way,) = showings(preprocessing, "ten_crop")
    prepared = preprocess(image, way.preprocessing)[None]
    crops = [torch.cat(list(parts)) for parts in way.cut(prepared, preprocessing.size)]
    assert torch.equal(crops[4][0], preprocess(image, preprocessing))


def test_scales_are_those_that_vgg_was_tested_at() -> None:
    # Simonyan and Zisserman 2014, section 4.2: Q = 256, 384, 512 for a network that sees 224 of 256 pixels.
    ways = showings(Preprocessing(size=(224, 224), crop_pct=0.875, mean=(0.0,) * 3, std=(1.0,) * 3), "multi_scale")
    assert [way.size for way in ways] == [(256, 256), (384, 384), (512, 512)]
    assert all(way.mirrored and way.corners is None for way in ways)
    image = photograph(300, 400)
    for way in ways:
        side = way.size[0]
        theirs = v2.CenterCrop(side)(v2.functional.pil_to_tensor(v2.Resize(side)(image)))
        assert torch.equal(to_uint8(image, way.preprocessing), theirs)


def test_a_vgg_scores_larger_images_densely() -> None:
    # The mean of what it says at each position is what it says of each 224 x 224 window that a position sees; zeros
    # around the image stand for what a window in the middle would see, so only a network without padding is equal.
    torch.manual_seed(0)
    network = create_model("vgg11", num_classes=3).eval()
    for module in network.features:
        if isinstance(module, nn.Conv2d):
            module.padding = (0, 0)
    images = torch.randn(1, 3, 512, 416)
    with torch.inference_mode():
        features = network.forward_features(images)
        rows, columns = (side - 6 for side in features.shape[-2:])
        assert rows * columns > 1
        windows = [
            network.forward_head(features[..., top : top + 7, left : left + 7])
            for top in range(rows)
            for left in range(columns)
        ]
        torch.testing.assert_close(network(images), torch.stack(windows).mean(0))


def six_views(images: Tensor) -> list[tuple[Tensor, float]]:
    """Return the views of `flip_shift` `(N, C, H, W)` and their weights, from NumPy's padding."""
    height, width = images.shape[-2:]
    padded = np.pad(images.numpy(), ((0, 0), (0, 0), (1, 1), (1, 1)), mode="reflect")
    found = []
    for turn in (1, -1):
        for weight, top, left in ((1 / 4, 1, 1), (1 / 8, 0, 0), (1 / 8, 2, 2)):
            seen = padded[..., top : top + height, left : left + width][..., ::turn]
            found.append((torch.from_numpy(seen.copy()), weight))
    return found


@pytest.mark.parametrize("size", [(32, 32), (2, 2), (3, 2), (7, 12), (40, 31)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_shifted_views_are_numpys_of_a_reflected_border(size: tuple[int, int], layout: torch.memory_format) -> None:
    (way,) = showings(Preprocessing(size=size, mean=(0.0,) * 3, std=(1.0,) * 3), "flip_shift")
    images = torch.randn(5, 3, *size).contiguous(memory_format=layout)
    views = list(way.cut(images, size))
    expected = six_views(images)
    assert len(views) == len(expected) == len(way.weights)
    for parts, (view, weight), given in zip(views, expected, way.weights, strict=True):
        (part,) = parts
        assert torch.equal(part, view)
        assert part.is_contiguous(memory_format=layout)
        assert part.untyped_storage().nbytes() == images.nbytes
        assert given / sum(way.weights) == weight


def test_shifted_views_are_made_in_parts_where_the_network_is_used_to_less() -> None:
    images = torch.randn(5, 3, 20, 20)
    (way,) = showings(Preprocessing(size=(20, 20), mean=(0.0,) * 3, std=(1.0,) * 3), "flip_shift")
    for parts, (view, _) in zip(way.cut(images, (14, 14)), six_views(images), strict=True):
        divided = list(parts)
        assert [len(part) for part in divided] == [2, 2, 1]
        assert torch.equal(torch.cat(divided), view)


def test_the_mean_weighs_posteriors_in_proportion() -> None:
    logits = [torch.randn(6, 4, generator=torch.Generator().manual_seed(seed)) * 9 for seed in range(3)]
    for weights in ((2.0, 1.0, 1.0), (0.5, 0.25, 0.25)):
        mean = mean_of_posteriors(logits, weights=weights)
        one, two, three = (each.softmax(1) for each in logits)
        torch.testing.assert_close(mean.exp(), one / 2 + two / 4 + three / 4)
        several = mean_of_posteriors(logits, multi_label=True, weights=weights)
        one, two, three = (each.sigmoid() for each in logits)
        torch.testing.assert_close(several.sigmoid(), one / 2 + two / 4 + three / 4)
    assert torch.equal(mean_of_posteriors(logits, weights=(1.0, 1.0, 1.0)), mean_of_posteriors(logits))
    assert mean_of_posteriors(logits[:1], weights=(3.0,)) is logits[0]
    with pytest.raises(ValueError, match="shorter"):
        mean_of_posteriors(logits, weights=(1.0, 1.0))


def test_the_mean_is_of_posteriors() -> None:
    logits = [torch.randn(6, 4, generator=torch.Generator().manual_seed(seed)) * 9 for seed in range(5)]
    mean = mean_of_posteriors(logits)
    torch.testing.assert_close(mean.exp(), torch.stack([each.softmax(1) for each in logits]).mean(0))
    torch.testing.assert_close(mean.softmax(1), mean.exp())
    several = mean_of_posteriors(logits, multi_label=True)
    torch.testing.assert_close(several.sigmoid(), torch.stack([each.sigmoid() for each in logits]).mean(0))


def test_the_mean_of_sure_views_stays_finite() -> None:
    sure = [torch.tensor([[800.0, -800.0]]), torch.tensor([[700.0, -700.0]])]
    assert mean_of_posteriors(sure).isfinite().all()
    assert mean_of_posteriors(sure, multi_label=True).isfinite().all()


def test_a_view_alone_is_left_as_it_is() -> None:
    logits = torch.randn(3, 4)
    assert mean_of_posteriors([logits]) is logits


@pytest.mark.parametrize("views", VIEWS)
@pytest.mark.parametrize("multi_label", [False, True])
def test_measuring_averages_the_posteriors_of_all_views(
    network: nn.Module, split: Split, views: View, multi_label: bool
) -> None:
    def open_batches(preprocessing: Preprocessing) -> EvaluationBatches:
        return evaluation_batches(split, preprocessing, batch_size=16)

    targets = torch.nn.functional.one_hot(split.targets(), 2).float()
    opened = open_batches
    if multi_label:
        from dataclasses import replace

        class Several:
            def __init__(self, inner: EvaluationBatches) -> None:
                self.inner = inner

            def __len__(self) -> int:
                return len(self.inner)

            def __iter__(self):
                return (replace(batch, targets=targets[batch.indices]) for batch in self.inner)

        def opened(preprocessing: Preprocessing) -> Several:
            return Several(open_batches(preprocessing))

    heard: list[tuple[int, int]] = []
    report, outputs = evaluate_views(
        network,
        opened,
        SMALL,
        views,
        classes=split.classes,
        multi_label=multi_label,
        progress=lambda done, of: heard.append((done, of)),
    )
    crops = []
    network.eval()
    for index in range(len(split)):
        image = split.image(index)
        if views == "centre":
            views_of_it = [preprocess(image, SMALL)[None]]
        elif views == "flip":
            views_of_it = [preprocess(image, SMALL)[None], preprocess(image, SMALL)[None].flip(-1)]
        elif views == "flip_shift":
            views_of_it = [view for view, _ in six_views(preprocess(image, SMALL)[None])]
            weights = [weight for _, weight in six_views(preprocess(image, SMALL)[None])]
        elif views == "ten_crop":
            large = preprocess(image, SMALL.model_copy(update={"size": (54, 54), "crop_pct": 1.0}))
            views_of_it = [crop[None] for crop in v2.TenCrop(48)(large)]
        else:
            views_of_it = []
            for side in (54, 82, 109):
                large = preprocess(image, SMALL.model_copy(update={"size": (side, side), "crop_pct": 1.0}))[None]
                views_of_it += [large, large.flip(-1)]
        with torch.inference_mode():
            logits = torch.stack([network(view) for view in views_of_it])
        posteriors = logits.sigmoid() if multi_label else logits.softmax(-1)
        shares = torch.tensor(weights) if views == "flip_shift" else torch.full((len(posteriors),), 1 / len(posteriors))
        crops.append((posteriors * shares.view(-1, 1, 1)).sum(0))
    expected = torch.cat(crops)
    posteriors = outputs.logits.sigmoid() if multi_label else outputs.logits.softmax(1)
    torch.testing.assert_close(posteriors, expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(outputs.indices, torch.arange(len(split)))
    batches = 3 * 3 if views == "multi_scale" else 3
    assert heard == [(done, batches) for done in range(1, batches + 1)]
    if not multi_label:
        right = expected.argmax(1) == split.targets()
        assert report.top1 == pytest.approx(right.double().mean().item())
        assert report.calibration_error == pytest.approx(calibration_error(expected.amax(1), right), abs=1e-4)


def test_the_centre_is_what_measuring_gives_anyway(network: nn.Module, split: Split) -> None:
    batches = evaluation_batches(split, SMALL, batch_size=16)
    _, plain = evaluate_network(network, batches, classes=split.classes)
    _, centre = evaluate_views(network, lambda _: batches, SMALL, "centre", classes=split.classes)
    assert torch.equal(plain.logits, centre.logits)


def test_larger_views_go_through_the_network_in_smaller_batches(network: nn.Module, split: Split) -> None:
    seen: list[tuple[int, ...]] = []
    network.register_forward_hook(lambda module, inputs, output: seen.append(tuple(inputs[0].shape)))
    evaluate_views(
        network,
        lambda preprocessing: evaluation_batches(split, preprocessing, batch_size=16),
        SMALL,
        "multi_scale",
        classes=split.classes,
    )
    most = 16 * 48 * 48
    assert max(count * height * width for count, _, height, width in seen) <= most


def test_a_network_of_one_size_says_so(split: Split) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 48 * 48, 2))
    with pytest.raises(UsageError, match="images of 54x54, and it takes 48x48 alone"):
        evaluate_views(
            network,
            lambda preprocessing: evaluation_batches(split, preprocessing, batch_size=16),
            SMALL,
            "multi_scale",
            classes=split.classes,
        )


@pytest.mark.parametrize(
    ("change", "views", "words"),
    [
        ({"crop_pct": 1.0}, "ten_crop", "margin"),
        ({"fit": "squash"}, "ten_crop", "squash"),
        ({"fit": "pad"}, "multi_scale", "pad"),
        ({"size": (1, 48)}, "flip_shift", "moves images by a pixel, and 1x48 leaves none"),
        ({}, "twelve_crop", "centre, flip, flip_shift, ten_crop, multi_scale"),
    ],
)
def test_views_that_cannot_be_are_refused(change: dict[str, object], views: View, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        showings(SMALL.model_copy(update=change), views)


@pytest.mark.parametrize("views", VIEWS)
def test_prediction_gives_what_measuring_does(photographs: Path, split: Split, views: View) -> None:
    torch.manual_seed(0)
    network = create_model("mobilenetv2_035", num_classes=2)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # so that one batch decides the statistics, and outputs tell images apart
    network(torch.randn(16, 3, 48, 48))
    network.eval()
    card = Card(model="mobilenetv2_035", num_classes=2, classes=split.classes, preprocessing=SMALL)
    model = LoadedModel(network, card, photographs)
    paths = [split.source(index) for index in range(6)]
    _, outputs = evaluate_views(
        network,
        lambda preprocessing: evaluation_batches(split, preprocessing, batch_size=16),
        SMALL,
        views,
        classes=split.classes,
    )
    assert outputs.logits.std(0).min() > 1e-3
    found = list(predict_images(model, paths, top=2, batch_size=4, views=views))
    for prediction, expected in zip(found, outputs.logits[:6].softmax(1), strict=True):
        scores = dict(zip(prediction.classes, prediction.scores, strict=True))
        assert [scores[name] for name in split.classes] == pytest.approx(expected.tolist(), abs=1e-4)


def floats_alive(but: set[int]) -> dict[int, int]:
    """Return the bytes of each piece of memory that holds images in floating point, by its address."""
    return {
        storage.data_ptr(): storage.nbytes()
        for item in gc.get_objects()
        if type(item) is Tensor and item.dim() == 4 and item.is_floating_point()
        for storage in [item.untyped_storage()]
        if storage.data_ptr() not in but
    }


class Inputs(nn.Module):
    """Counts, in place of what a network would compute, the images in memory each time that it is called."""

    def __init__(self) -> None:
        super().__init__()
        self.before = set(floats_alive(set()))
        self.shapes: list[tuple[int, ...]] = []
        self.alive: list[list[int]] = []

    def forward(self, x: Tensor) -> Tensor:
        self.shapes.append(tuple(x.shape))
        self.alive.append(sorted(floats_alive(self.before).values(), reverse=True))
        return x.mean((2, 3))


@pytest.mark.parametrize(
    ("views", "calls"), [("centre", 3), ("flip", 6), ("flip_shift", 18), ("ten_crop", 30), ("multi_scale", None)]
)
def test_beside_a_prepared_batch_lies_one_view_at_most(split: Split, views: View, calls: int | None) -> None:
    watched = Inputs()
    evaluate_views(
        watched,
        lambda preprocessing: evaluation_batches(split, preprocessing, batch_size=16),
        SMALL,
        views,
        classes=("a", "b", "c"),
    )
    usual = 16 * 3 * 48 * 48 * 4
    largest = {"centre": 48, "flip": 48, "flip_shift": 48, "ten_crop": 54, "multi_scale": 109}[views]
    for count, _, height, width in watched.shapes:
        assert count * height * width * 3 * 4 <= usual
    for prepared, *others in watched.alive:
        assert prepared <= 16 * 3 * largest**2 * 4
        assert sum(others) <= usual
    # A first batch of 16 images: as many bytes whether it is shown once or ten times.
    assert max(alive[0] for alive in watched.alive) == 16 * 3 * largest**2 * 4
    if calls is not None:
        assert len(watched.alive) == calls


def test_a_batch_is_gone_before_the_next_is_made(network: nn.Module, split: Split) -> None:
    made: list[weakref.ref[Tensor]] = []

    class Watching:
        def __init__(self, inner: EvaluationBatches) -> None:
            self.inner = inner

        def __len__(self) -> int:
            return len(self.inner)

        def __iter__(self):
            def watch(request: object, pixels: Tensor):
                assert [each for each in made if each() is not None] == []
                batch = finish(request, pixels)
                made.append(weakref.ref(batch.images))
                return batch

            finish = self.inner._feed._finish
            self.inner._feed._finish = watch
            return iter(self.inner)

    evaluate_views(
        network, lambda preprocessing: Watching(evaluation_batches(split, preprocessing, batch_size=8)), SMALL,
        "multi_scale", classes=split.classes,
    )  # fmt: skip
    assert len(made) == 3 * 5


def test_the_parts_of_views_may_be_asked_for_in_any_order() -> None:
    images = torch.randn(5, 3, 20, 20)
    (way,) = showings(Preprocessing(size=(16, 16), crop_pct=0.8, mean=(0.0,) * 3, std=(1.0,) * 3), "ten_crop")
    one_by_one = [torch.cat(list(parts)) for parts in way.cut(images, (8, 8))]
    later = [torch.cat(list(parts)) for parts in list(way.cut(images, (8, 8)))]
    assert all(map(torch.equal, one_by_one, later))
    assert [len(part) for part in next(way.cut(images, (8, 8)))] == [1] * 5
    assert [len(part) for part in next(way.cut(images, (12, 12)))] == [2, 2, 1]
