"""A training in stages: a small network, a deeper one grown from its file, and training that goes on from there."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from neocog import jobs
from neocog.data.preprocess import Preprocessing
from neocog.errors import UsageError, WeightsError
from neocog.inference.model_file import Card, load_model, save_model
from neocog.models import create_model

FEW = {"widths": (4, 4, 8, 8, 8)}
CLASSES = tuple("0123456789")


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """A model file of the 11-layer network, as training would leave it."""
    network = create_model("vgg11_cifar", in_chans=1, **FEW)
    card = Card(
        model="vgg11_cifar",
        edits=FEW,
        num_classes=10,
        in_chans=1,
        classes=CLASSES,
        preprocessing=Preprocessing(size=(32, 32), mean=(0.2,), std=(0.3,), channels=1),
        metrics={"test_top1": 0.9},
        data="digits",
    )
    save_model(tmp_path / "small.safetensors", network, card)
    return tmp_path / "small.safetensors"


def test_a_grown_file_has_the_layers_classes_and_preprocessing_of_the_trained_one(trained: Path) -> None:
    grown = jobs.grow(trained, "vgg13_cifar")
    assert grown.model == trained.with_name("vgg13_cifar-grown.safetensors")
    small, large = load_model(trained), load_model(grown.model)
    assert large.card.model == large.network.name == "vgg13_cifar"
    assert (large.card.classes, large.card.preprocessing) == (small.card.classes, small.card.preprocessing)
    assert large.card.metrics == {}, "nothing was measured of it"
    assert torch.equal(large.network.state_dict()["head.fc.weight"], small.network.state_dict()["head.fc.weight"])
    assert "head.fc" in grown.layers


def test_layers_that_are_not_copied_follow_the_seed(trained: Path, tmp_path: Path) -> None:
    states = [
        load_model(jobs.grow(trained, "vgg13_cifar", out=tmp_path / f"{n}.safetensors", seed=seed).model)
        for n, seed in enumerate((1, 1, 2))
    ]
    weights = [model.network.state_dict()["features.3.weight"] for model in states]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@pytest.mark.slow
def test_training_goes_on_from_a_grown_file(trained: Path, tmp_path: Path) -> None:
    grown = jobs.grow(trained, "vgg13_cifar")
    result = jobs.train(
        "digits",
        model="vgg13_cifar",
        weights=str(grown.model),
        overrides={"epochs": 1, "image_size": 32, "threads": 1},
        out=tmp_path / "run",
    )
    card = load_model(result.model).card
    assert card.model == "vgg13_cifar"
    assert card.edits["widths"] == [4, 4, 8, 8, 8]
    assert card.preprocessing.mean == (0.2,)


def test_what_cannot_be_grown_is_said_and_nothing_is_written(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="do not grow into"):
        jobs.grow(trained, "vgg11_cifar")
    with pytest.raises(UsageError, match="vgg11_cifar does not grow into a resnet18, which is of another family"):
        jobs.grow(trained, "resnet18")
    (tmp_path / "bad.safetensors").write_bytes(b"no model")
    with pytest.raises(WeightsError):
        jobs.grow(tmp_path / "bad.safetensors", "vgg13_cifar")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.safetensors", "small.safetensors"]
