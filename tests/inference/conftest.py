"""A small network, its card and its model file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from neocog.data.preprocess import Preprocessing
from neocog.inference.model_file import Card, save_model
from neocog.models import Classifier, create_model


@pytest.fixture
def card() -> Card:
    return Card(
        model="mobilenetv2_035",
        edits={"padding": "same"},
        num_classes=3,
        classes=("ant", "bee", "été"),
        preprocessing=Preprocessing(size=(32, 32), fit="squash", mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.3)),
        recipe={"name": "quick", "optimizer": {"lr": 0.1}},
        metrics={"test_top1": 0.1 + 0.2},
        data="insects",
    )


@pytest.fixture
def network(card: Card) -> Classifier:
    """A network whose weights, statistics and memory layout are those of one that was trained a little."""
    torch.manual_seed(0)
    network = create_model(card.model, num_classes=3, padding="same").to(memory_format=torch.channels_last)
    network(torch.randn(8, 3, 32, 32))
    return network


@pytest.fixture
def model_path(tmp_path: Path, network: Classifier, card: Card) -> Path:
    save_model(tmp_path / "model.safetensors", network, card)
    return tmp_path / "model.safetensors"
