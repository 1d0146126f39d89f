"""Names of networks in; receptive fields, heat and pictures out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from neocog.errors import DataError, UnknownNameError, UsageError
from neocog.jobs import seeing
from neocog.jobs.seeing import receptive_field


@pytest.fixture
def photograph(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)).save(path)
    return path


def test_all_layers_are_there_in_the_order_in_which_they_are_done():
    found = receptive_field("resnet18")
    names = [row.name for row in found.fields.rows]
    assert names.index("layer1.0.conv2") < names.index("layer1.0") < names.index("layer1.1") < names.index("layer1")
    assert found.fields.of("layer3.0").size == (147, 147)
    assert found.figure is found.field is found.effective is None
    assert len(receptive_field("resnet18", level="stage").fields.rows) < 10


def test_the_picture_of_growth_is_drawn_of_blocks(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(seeing, "growth", lambda fields, path, **options: drawn.append(fields) or Path(path))
    found = receptive_field("resnet20", out=tmp_path / "growth.png")
    assert found.figure == tmp_path / "growth.png"
    assert [row.name for row in drawn[0].rows][:3] == ["conv1", "layer1.0", "layer1.1"]
    assert found.level == "layer"
    receptive_field("resnet20", out=tmp_path / "growth.png", level="layer")
    assert "layer1.0.conv1" in [row.name for row in drawn[1].rows]


def test_a_layer_listens_to_less_than_it_sees(photograph, tmp_path):
    out = tmp_path / "field.png"
    found = receptive_field("mobilenetv2_035", layer="blocks.2", on=photograph, size=64, out=out, samples=8)
    assert found.field.size == (59, 59)
    assert found.effective.side95 < 59
    assert found.effective.heat.shape == (64, 64)
    assert found.effective.images == 8
    with Image.open(out) as image:
        assert image.width > image.height > 300


def test_fresh_weights_are_the_same_each_time_and_leave_the_generator_alone():
    import torch

    torch.manual_seed(7)
    first = receptive_field("lenet5", layer="c3", samples=4)
    after = torch.rand(1)
    torch.manual_seed(7)
    assert torch.equal(after, torch.rand(1))
    second = receptive_field("lenet5", layer="c3", samples=4)
    assert np.array_equal(first.effective.heat, second.effective.heat)
    assert first.effective.position == (0, 0, 5, 5)


def test_networks_of_ones_own_and_tokens_can_be_looked_at():
    found = receptive_field("timm.models.vision_transformer:vit_tiny_patch16_224", layer="blocks.0", samples=4)
    assert found.field.is_global
    assert found.effective.position == (0, 1 + 7 * 14 + 7, 0)
    assert found.effective.centre == (7 * 16 + 7.5, 7 * 16 + 7.5)


def test_all_of_it_can_be_written_down():
    document = json.loads(json.dumps(receptive_field("resnet20", layer="layer2", samples=4).to_dict()))
    assert document["network"] == "resnet20"
    assert document["rows"][0]["size"] == [3, 3]
    assert document["rows"][-1]["global"]
    assert document["rows"][-1]["size"] == [None, None]
    layer = document["layer"]
    side = layer["last_pixel"][0] - layer["first_pixel"][0] + 1
    assert layer["size"] == [side, side]
    assert layer["heat_side50"] <= layer["heat_side95"] <= side


def test_trained_weights_see_a_photograph_as_they_were_trained_to(shared_data, monkeypatch):
    monkeypatch.setenv("NEOCOG_WEIGHTS", str(shared_data / "weights"))
    photo = next((shared_data / "photos").iterdir())
    shown = []
    monkeypatch.setattr(seeing, "effective_field", _noting(shown, seeing.effective_field))
    found = receptive_field("mobilenetv2_100", weights="default", layer="blocks.3", on=photo, samples=4)
    assert found.subject.network.config.padding == "same"
    assert found.field.size == (171, 171)
    assert 60 < found.effective.side95 < 171
    assert shown[0].min() >= -1  # mean and standard deviation of these weights are one half
    assert shown[0].max() <= 1
    assert shown[0].std() > 0.1


def _noting(shown, measure):
    def noting(network, layer, images, **options):
        shown.append(images)
        return measure(network, layer, images, **options)

    return noting


def test_shifted_copies_hold_the_same_pixels(photograph):
    images = seeing._variants(
        seeing.open_image(photograph), seeing.Preprocessing(size=(16, 16), mean=(0.5,) * 3, std=(1,) * 3), 4
    )
    assert images.shape == (4, 3, 16, 16)
    for other in images[1:]:
        assert not other.equal(images[0])
        assert other.flatten(1).sort(1).values.equal(images[0].flatten(1).sort(1).values)


def test_an_unknown_layer_is_answered_with_near_ones():
    with pytest.raises(UnknownNameError, match=r"unknown layer 'layer3\.0\.con'; did you mean layer3\.0\.conv"):
        receptive_field("resnet18", layer="layer3.0.con")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"spec": "resnet19"}, UsageError, "unknown model 'resnet19'; did you mean resnet"),
        ({"level": "layers"}, UnknownNameError, "did you mean layer"),
        ({"on": "photo.png"}, UsageError, "name it with --layer"),
        ({"layer": "layer1", "on": "nowhere.png"}, DataError, "no such file"),
        ({"layer": "layer1", "samples": 3}, UsageError, "at least 4 images"),
    ],
)
def test_what_cannot_be_meant_is_refused(options, error, message):
    with pytest.raises(error, match=message):
        receptive_field(**{"spec": "resnet20", **options})


def test_a_photograph_cannot_be_shown_to_a_network_of_five_channels(tmp_path, monkeypatch, photograph):
    (tmp_path / "odd_nets.py").write_text(
        "from torch import nn\ndef net():\n    return nn.Sequential(nn.Conv2d(5, 2, 3))\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert receptive_field("odd_nets:net", layer="0", image=(5, 16, 16), samples=4).effective.side95 == 3
    with pytest.raises(UsageError, match="takes images of 5 channels"):
        receptive_field("odd_nets:net", layer="0", image=(5, 16, 16), on=photograph)
