"""Predict: a model file and images in, names and scores out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from neocog.catalog import describe, find_weights, imagenet_classes, list_models
from neocog.data.files import list_images
from neocog.errors import UnknownNameError
from neocog.inference.model_file import Card, LoadedModel, load_model
from neocog.inference.prediction import Prediction, predict_images
from neocog.inference.views import View
from neocog.jobs._device import choose_device
from neocog.jobs._published import published_preprocessing
from neocog.jobs.listener import Listener
from neocog.models import create_model


def predict(
    model: str | Path,
    inputs: Sequence[str | Path],
    *,
    top: int = 5,
    views: View = "centre",
    batch_size: int = 32,
    device: str | None = None,
    listener: Listener | None = None,
) -> list[Prediction]:
    """Classify images, prepared as the model file says.

    Args:
        model: a model file, or the name of a network whose published weights are at hand.
        inputs: files, folders, globs, or "-" for names on standard input.
        top: names an image.
        views: of each image, averaged: "centre", "flip", "flip_shift", "ten_crop" or "multi_scale".
        batch_size: images at a time.
        device: "cpu", "cuda" or "cuda:N"; None takes a GPU where there is one.
        listener: who hears the progress.

    Returns:
        A prediction for each image, in order; one that could not be read carries its error instead of names.
    """
    listener = listener or Listener()
    place = choose_device(device)
    paths = list_images(inputs)
    loaded = open_model(model, place)
    listener.begin("predicting", len(paths))
    found: list[Prediction] = []
    for prediction in predict_images(loaded, paths, top=top, batch_size=batch_size, views=views):
        found.append(prediction)
        listener.advance(len(found))
    listener.end()
    return found


def open_model(model: str | Path, device: str = "cpu") -> LoadedModel:
    """Return the model of a file, or a network of the catalog with its published weights.

    Raises:
        WeightsError: the file is not a model file, is damaged, or is from a newer neocog.
        UnknownNameError: neither a file nor a network's name.
    """
    if Path(model).suffix or Path(model).exists():
        return load_model(model, device=device)
    name = str(model)
    if name not in list_models():
        raise UnknownNameError("model file or network", name, list_models(), where="neocog models")
    entry, weights = describe(name), find_weights(name, "default")
    network = create_model(name, weights="default").to(device).eval()
    card = Card(
        model=name,
        edits=weights.edits,
        num_classes=weights.num_classes,
        in_chans=entry.input[0],
        classes=tuple(name for _, name in imagenet_classes()),
        multi_label=False,
        preprocessing=published_preprocessing(weights),
        recipe=None,
        metrics={},
        data="ImageNet",
    )
    return LoadedModel(network, card, Path(name))
