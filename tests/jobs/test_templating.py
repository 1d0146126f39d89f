"""From a model file to the templates that its first layer compares images with."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from neocog import create_model, jobs
from neocog.data.preprocess import Preprocessing
from neocog.errors import UsageError
from neocog.inference.model_file import Card, save_model


def saved(path: Path, name: str, classes: tuple[str, ...]) -> Path:
    network = create_model(name, num_classes=len(classes))
    channels, size = network.config.in_chans, (network.config.image_size,) * 2  # type: ignore[attr-defined]
    preprocessing = Preprocessing(size=size, mean=(0.5,) * channels, std=(0.5,) * channels, channels=channels)
    card = Card(model=name, num_classes=len(classes), in_chans=channels, classes=classes, preprocessing=preprocessing)
    save_model(path, network, card)
    return path


def test_a_linear_classifiers_templates_have_the_names_of_its_classes(tmp_path: Path) -> None:
    file = saved(tmp_path / "model.safetensors", "linear_cifar10", ("cat", "dog"))
    drawn = jobs.templates(str(file), out=tmp_path / "t.png")
    assert (drawn.layer, drawn.names) == ("fc", ("cat", "dog"))
    assert drawn.figure.stat().st_size > 1000


def test_what_is_drawn_are_the_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from neocog.visualize import templates as figures

    file, seen = saved(tmp_path / "model.safetensors", "linear_mnist", ("0", "1", "2")), []
    monkeypatch.setattr(figures, "draw", lambda templates, names, path, title: seen.append(templates))
    jobs.templates(str(file), out=tmp_path / "t.png")
    again = create_model("linear_mnist", weights=file)
    assert torch.equal(torch.from_numpy(seen[0]), again.get_parameter("fc.weight").detach())


def test_an_mlps_templates_are_its_hidden_units(tmp_path: Path) -> None:
    drawn = jobs.templates("mlp_mnist", out=tmp_path / "t.png")
    assert (drawn.layer, len(drawn.names), drawn.names[0]) == ("hidden.0", 300, "unit 0")


@pytest.mark.parametrize(("name", "seen"), [("lenet5", "5x5"), ("neocognitron_1980", "5x5")])
def test_a_network_that_sees_less_than_the_image_has_none(name: str, seen: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"the first layer of {name} sees {seen} pixels at a time"):
        jobs.templates(name, out=tmp_path / "t.png")
    assert list(tmp_path.iterdir()) == []
