"""Evaluating one model file or several, by views, with classes matched by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from neocog import jobs
from neocog.data.preprocess import Preprocessing
from neocog.errors import UsageError, WeightsError
from neocog.inference.model_file import Card, load_model, save_model
from neocog.models import create_model

CLASSES = ("across", "down")


def write(path: Path, seed: int, classes: tuple[str, ...] = CLASSES, size: int = 32, multi_label: bool = False) -> Path:
    torch.manual_seed(seed)
    network = create_model("mobilenetv2_035", num_classes=len(classes))
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # so that one batch decides the statistics, and outputs tell images apart
    network(torch.randn(16, 3, size, size))
    preprocessing = Preprocessing(size=(size, size), mean=(0.5,) * 3, std=(0.25,) * 3)
    card = Card(
        model="mobilenetv2_035",
        num_classes=len(classes),
        classes=classes,
        multi_label=multi_label,
        preprocessing=preprocessing,
    )
    save_model(path, network.eval(), card)
    return path


def test_an_ensemble_averages_members_that_each_see_images_their_own_way(tmp_path: Path, photographs: Path) -> None:
    paths = [write(tmp_path / "a.safetensors", 0), write(tmp_path / "b.safetensors", 1, CLASSES[::-1], size=48)]
    alone = [jobs.evaluate(path, photographs) for path in paths]
    together = jobs.evaluate(paths[0], photographs, others=paths[1:])
    # The second file's classes stand in the other order.
    expected = (alone[0].outputs.logits + alone[1].outputs.logits[:, [1, 0]]) / 2
    torch.testing.assert_close(together.outputs.logits, expected)
    assert torch.equal(together.outputs.targets, alone[0].outputs.targets)
    assert [member.report.to_dict() for member in together.members] == [each.report.to_dict() for each in alone]
    assert together.report.top1 == (expected.argmax(1) == together.outputs.targets).double().mean()

    averaged = jobs.evaluate(paths[0], photographs, others=paths[1:], mean="probabilities")
    posteriors = [alone[0].outputs.logits.softmax(1), alone[1].outputs.logits.softmax(1)[:, [1, 0]]]
    torch.testing.assert_close(averaged.outputs.logits.softmax(1), (posteriors[0] + posteriors[1]) / 2)


def test_a_model_alone_has_no_members(tmp_path: Path, photographs: Path) -> None:
    found = jobs.evaluate(write(tmp_path / "a.safetensors", 0), photographs)
    assert found.members == ()
    assert found.real is None
    assert found.views == "centre"


def test_members_of_other_classes_are_an_error_with_both_lists(tmp_path: Path, photographs: Path) -> None:
    first = write(tmp_path / "a.safetensors", 0)
    for name, other in (("c", ("across", "round")), ("d", (*CLASSES, "round"))):
        with pytest.raises(WeightsError, match=r"across, down.*across, .*round"):
            jobs.evaluate(first, photographs, others=[write(tmp_path / f"{name}.safetensors", 1, other)])
    with pytest.raises(WeightsError, match="no ensemble"):
        jobs.evaluate(first, photographs, others=[write(tmp_path / "e.safetensors", 1, multi_label=True)])


def test_flips_make_a_network_blind_to_left_and_right(tmp_path: Path, photographs: Path) -> None:
    from PIL import Image

    path, mirrored = write(tmp_path / "a.safetensors", 0), tmp_path / "mirrored"
    for file in photographs.rglob("*.jpg"):
        target = mirrored / file.relative_to(photographs).with_suffix(".png")
        target.parent.mkdir(parents=True, exist_ok=True)
        image = Image.open(file).resize((40, 40))
        image.save(file.with_suffix(".png"))
        image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(target)
        file.unlink()
    one = jobs.evaluate(path, photographs, views="flip").outputs.logits
    other = jobs.evaluate(path, mirrored, views="flip").outputs.logits
    torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)
    assert not torch.allclose(
        jobs.evaluate(path, photographs).outputs.logits, jobs.evaluate(path, mirrored).outputs.logits
    )


def test_views_and_labels_that_cannot_be_are_said_before_any_work(tmp_path: Path, photographs: Path) -> None:
    path = write(tmp_path / "a.safetensors", 0)
    model = load_model(path)
    whole = model.card.model_copy(
        update={"preprocessing": model.card.preprocessing.model_copy(update={"crop_pct": 1.0})}
    )
    save_model(tmp_path / "whole.safetensors", model.network, whole)
    with pytest.raises(UsageError, match="margin"):
        jobs.evaluate(path, photographs, others=[tmp_path / "whole.safetensors"], views="ten_crop")
    (tmp_path / "real.json").write_text(json.dumps([[0]]))
    with pytest.raises(UsageError, match="1,000 classes"):
        jobs.evaluate(path, photographs, labels=tmp_path / "real.json")
