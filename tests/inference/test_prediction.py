"""Prediction names classes for good files in order, and goes on past bad ones."""

from __future__ import annotations

import csv
import json
import threading
from itertools import chain, count
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from neocog import jobs
from neocog.data.preprocess import Preprocessing, open_image
from neocog.inference.model_file import Card, LoadedModel, load_model, save_model
from neocog.inference.prediction import (
    Prediction,
    predict_images,
    predictions_to_dicts,
    table,
    write_predictions_csv,
)
from neocog.models import Classifier


@pytest.fixture
def model(model_path: Path) -> LoadedModel:
    return load_model(model_path)


@pytest.fixture
def photographs(tmp_path: Path) -> list[Path]:
    """Five small photographs that a network can tell apart."""
    generator = np.random.default_rng(0)
    paths = [tmp_path / f"photo {number} é.png" for number in range(5)]
    for number, path in enumerate(paths):
        pixels = generator.integers(0, 50 * (number + 1), (40, 50, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    return paths


def expected_scores(model: LoadedModel, path: Path) -> torch.Tensor:
    return model.classify(model.preprocess(open_image(path))[None])[0]


@pytest.mark.parametrize("batch_size", [1, 2, 5, 32])
def test_names_and_scores_are_the_networks_whatever_the_batch(
    model: LoadedModel, photographs: list[Path], batch_size: int
) -> None:
    found = list(predict_images(model, photographs, top=2, batch_size=batch_size))
    assert [prediction.path for prediction in found] == [str(path) for path in photographs]
    for prediction, path in zip(found, photographs, strict=True):
        best = expected_scores(model, path).topk(2)
        assert prediction.classes == tuple(model.card.classes[k] for k in best.indices.tolist())
        assert prediction.scores == pytest.approx(best.values.tolist(), abs=1e-5)
        assert prediction.error is None


def test_more_names_than_classes_gives_all_of_them(model: LoadedModel, photographs: list[Path]) -> None:
    (prediction,) = predict_images(model, photographs[:1], top=50)
    assert sorted(prediction.classes) == sorted(model.card.classes)
    assert sum(prediction.scores) == pytest.approx(1)


def test_several_labels_have_independent_scores(
    tmp_path: Path, network: Classifier, card: Card, photographs: list[Path]
) -> None:
    save_model(tmp_path / "several.safetensors", network, card.model_copy(update={"multi_label": True}))
    model = load_model(tmp_path / "several.safetensors")
    (prediction,) = predict_images(model, photographs[:1])
    assert sorted(prediction.scores) == pytest.approx(sorted(expected_scores(model, photographs[0]).tolist()))
    assert sum(prediction.scores) != pytest.approx(1)


def test_a_bad_file_is_reported_and_the_others_go_on(
    model: LoadedModel, photographs: list[Path], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(photographs[0].read_bytes()[:200])
    empty = tmp_path / "empty.jpg"
    empty.write_bytes(b"")
    missing = tmp_path / "missing.jpg"
    paths = [broken, photographs[0], empty, missing, photographs[1]]
    found = list(predict_images(model, paths, batch_size=3))
    assert [prediction.error is None for prediction in found] == [False, True, False, False, True]
    for prediction, path in zip(found, paths, strict=True):
        assert prediction.path == str(path)
        if prediction.error:
            assert path.name in prediction.error
            assert (prediction.classes, prediction.scores) == ((), ())
    assert found[1] == next(predict_images(model, [photographs[0]]))


def test_only_bad_files_and_no_files_at_all(model: LoadedModel, tmp_path: Path) -> None:
    (only,) = predict_images(model, [tmp_path / "none.jpg"])
    assert only.error is not None
    assert list(predict_images(model, [])) == []


def test_an_endless_list_is_read_only_a_little_ahead(model: LoadedModel, photographs: list[Path]) -> None:
    asked: list[int] = []

    def endless() -> chain[Path]:
        return chain.from_iterable([asked.append(n) or photographs[n % 5]] for n in count())

    predictions = predict_images(model, endless(), batch_size=4)
    next(predictions)
    predictions.close()
    assert len(asked) == 8
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("decode")]


@pytest.mark.parametrize("fit", ["crop", "squash", "pad"])
@pytest.mark.parametrize("mode", ["RGB", "L", "1", "RGBA", "P"])
def test_an_image_of_one_pixel_is_classified_as_a_plain_one_of_its_colour(
    tmp_path: Path, network: Classifier, card: Card, fit: str, mode: str
) -> None:
    look = Preprocessing.model_validate({**card.preprocessing.model_dump(), "fit": fit})
    save_model(tmp_path / "model.safetensors", network, card.model_copy(update={"preprocessing": look}))
    Image.new("RGB", (1, 1), "white").convert(mode).save(tmp_path / "dot.png")
    (found,) = jobs.predict(tmp_path / "model.safetensors", [tmp_path / "dot.png"])
    assert found.error is None
    assert sum(found.scores) == pytest.approx(1, abs=1e-5)
    if fit == "pad":
        plain = Image.new("RGB", (32, 32))
        plain.putpixel((15, 15), (255, 255, 255))
    else:
        plain = Image.new("RGB", (32, 32), "white")
    model = load_model(tmp_path / "model.safetensors")
    expected = model.classify(model.preprocess(plain)[None])[0]
    assert sorted(found.scores, reverse=True) == pytest.approx(sorted(expected.tolist(), reverse=True), abs=1e-5)


def test_reduced_precision_names_the_same_class(model: LoadedModel, photographs: list[Path]) -> None:
    exact = next(predict_images(model, photographs))
    reduced = next(predict_images(model, photographs, precision="bf16"))
    assert reduced.scores != exact.scores
    assert dict(zip(reduced.classes, reduced.scores, strict=True)) == pytest.approx(
        dict(zip(exact.classes, exact.scores, strict=True)), abs=0.05
    )


PREDICTIONS = [
    Prediction("a, b.jpg", ("ant", "bee"), (0.75, 0.25)),
    Prediction("broken.jpg", error="broken.jpg: the image is damaged"),
]


def test_csv_has_a_row_for_each_image(tmp_path: Path) -> None:
    write_predictions_csv(PREDICTIONS, tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [
        ["path", "class_1", "score_1", "class_2", "score_2", "error"],
        ["a, b.jpg", "ant", "0.750000", "bee", "0.250000", ""],
        ["broken.jpg", "", "", "", "", "broken.jpg: the image is damaged"],
    ]
    assert rows == table(PREDICTIONS)


def test_json_holds_the_same() -> None:
    read = json.loads(json.dumps(predictions_to_dicts(PREDICTIONS)))
    assert read[0]["predictions"][0] == {"class": "ant", "score": 0.75}
    assert read[1] == {"path": "broken.jpg", "predictions": [], "error": "broken.jpg: the image is damaged"}


def test_no_predictions_make_a_table_of_a_header(tmp_path: Path) -> None:
    assert table([]) == [["path", "error"]]
