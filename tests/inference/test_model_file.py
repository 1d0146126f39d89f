"""A model file gives back the same network and card, and says in one line why it cannot."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from neocog.data.preprocess import preprocess
from neocog.errors import StorageError, UsageError, WeightsError
from neocog.inference.model_file import Card, load_model, read_card, save_model
from neocog.models import Classifier, create_model


def rewrite(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the description inside a model file."""
    described = read_card(path).model_dump(mode="json")
    change(described)
    save_file(load_file(path), path, {"neocog": json.dumps(described)})


def test_network_and_card_come_back_bit_for_bit(model_path: Path, network: Classifier, card: Card) -> None:
    loaded = load_model(model_path)
    assert loaded.card == card
    assert loaded.path == model_path
    assert loaded.network.config == network.config
    assert not loaded.network.training
    state = loaded.network.state_dict()
    assert list(state) == list(network.state_dict())
    for name, tensor in network.state_dict().items():
        assert state[name].dtype == tensor.dtype
        assert torch.equal(state[name], tensor), name
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(loaded.network(images), network.eval()(images))


def test_the_tensors_are_readable_by_name_without_neocog(model_path: Path, network: Classifier) -> None:
    read = load_file(model_path)
    assert torch.equal(read["conv_stem.weight"], network.state_dict()["conv_stem.weight"])


def test_a_loaded_network_can_be_trained_further_without_changing_the_file(model_path: Path) -> None:
    before = model_path.read_bytes()
    network = load_model(model_path).network.train()
    network(torch.randn(4, 3, 32, 32)).square().sum().backward()
    torch.optim.SGD(network.parameters(), lr=0.1).step()
    assert model_path.read_bytes() == before


def test_a_loaded_model_preprocesses_and_classifies_by_its_own_card(model_path: Path, card: Card) -> None:
    loaded = load_model(model_path)
    image = Image.effect_noise((50, 40), 60).convert("RGB")
    assert torch.equal(loaded.preprocess(image), preprocess(image, card.preprocessing))
    scores = loaded.classify(loaded.preprocess(image)[None])
    assert scores.shape == (1, 3)
    assert scores.sum().item() == pytest.approx(1)
    assert scores.argmax() == loaded.network(loaded.preprocess(image)[None]).argmax()


def test_several_labels_are_scored_one_by_one(tmp_path: Path, network: Classifier, card: Card) -> None:
    save_model(tmp_path / "a.safetensors", network, card.model_copy(update={"multi_label": True}))
    loaded = load_model(tmp_path / "a.safetensors")
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(loaded.classify(images), loaded.network(images).sigmoid())


def test_a_model_file_can_be_written_over_while_it_is_in_use(model_path: Path) -> None:
    loaded = load_model(model_path)
    before = {name: tensor.clone() for name, tensor in loaded.network.state_dict().items()}
    save_model(model_path, loaded.network, loaded.card.model_copy(update={"metrics": {"top1": 0.5}}))
    assert load_model(model_path).card.metrics == {"top1": 0.5}
    for name, tensor in loaded.network.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_a_full_disk_leaves_the_older_file(
    model_path: Path, network: Classifier, card: Card, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    before = model_path.read_bytes()
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(StorageError, match="no space left on device"):
        save_model(model_path, network, card.model_copy(update={"data": "other"}))
    assert model_path.read_bytes() == before
    assert os.listdir(model_path.parent) == [model_path.name]


def test_a_card_of_another_network_is_refused_when_saving(tmp_path: Path, network: Classifier, card: Card) -> None:
    with pytest.raises(UsageError, match="the card describes"):
        save_model(tmp_path / "a.safetensors", network, card.model_copy(update={"edits": {}}))
    assert not (tmp_path / "a.safetensors").exists()


def test_a_card_that_contradicts_itself_is_refused(card: Card) -> None:
    plain = card.model_dump()
    with pytest.raises(ValidationError, match="2 class names for 3 classes"):
        Card.model_validate(plain | {"classes": ("a", "b")})
    with pytest.raises(ValidationError, match="3 channels and not 1"):
        Card.model_validate(plain | {"in_chans": 1})


def test_weights_without_a_description_are_pointed_to_training(tmp_path: Path, network: Classifier) -> None:
    path = tmp_path / "resnet.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, path)
    with pytest.raises(WeightsError, match=r"without neocog's description.*--weights .*resnet\.safetensors"):
        load_model(path)


def test_a_truncated_file_is_refused(model_path: Path) -> None:
    model_path.write_bytes(model_path.read_bytes()[:-1000])
    with pytest.raises(WeightsError, match="is damaged or cut short"):
        load_model(model_path)


def test_a_newer_format_is_refused_even_where_its_fields_are_unknown(model_path: Path) -> None:
    rewrite(model_path, lambda card: card.update(format=2, neocog="9.1", shape="round"))
    with pytest.raises(WeightsError, match=r"written by neocog 9\.1 in format 2.*install a newer neocog"):
        load_model(model_path)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda card: card.update(model="mobilenetv2_036"), "unknown model .*did you mean mobilenetv2_035"),
        (lambda card: card.update(edits={"paddign": "same"}), "unknown edit .*did you mean padding"),
        (lambda card: card.update(edits={"padding": "round"}), "padding"),
        (lambda card: card.update(classes=["ant", "bee"]), "description is damaged .*2 class names"),
        (lambda card: card.pop("preprocessing"), "description is damaged .preprocessing: field required"),
        (lambda card: card.pop("format"), "description is damaged"),
        (lambda card: card.update(format="one"), "description is damaged"),
        (
            lambda card: card.update(model="mobilenetv2_050"),
            r"does not fit the mobilenetv2_050 .*and \d+ more",
        ),
    ],
)
def test_a_description_that_cannot_be_followed_is_one_line(
    model_path: Path, change: Callable[[dict[str, Any]], object], problem: str
) -> None:
    rewrite(model_path, change)
    with pytest.raises(WeightsError, match=problem) as caught:
        load_model(model_path)
    assert str(model_path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["{", "[1]", "null", "7"])
def test_a_description_that_is_no_table_is_damaged(model_path: Path, content: str) -> None:
    save_file(load_file(model_path), model_path, {"neocog": content})
    with pytest.raises(WeightsError, match="description is damaged"):
        load_model(model_path)


def test_missing_and_foreign_tensors_are_named(model_path: Path, network: Classifier, card: Card) -> None:
    state = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    state["extra.weight"] = state.pop("conv_stem.weight")
    metadata = {"neocog": json.dumps(card.model_dump(mode="json"))}
    save_file(state, model_path, metadata)
    with pytest.raises(WeightsError, match=r"conv_stem\.weight is missing; extra\.weight is of another network"):
        load_model(model_path)


def test_reading_the_card_alone_gives_the_same_card(model_path: Path, card: Card) -> None:
    assert read_card(model_path) == card


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="only Linux tells a process's own peak")
def test_loading_peaks_at_no_more_than_1_2_times_the_file(tmp_path: Path) -> None:
    """Measured in a process of its own, with every weight read."""
    network = create_model("mobilenetv2_140", num_classes=20_000)
    preprocessing = {"size": (32, 32), "mean": (0.5,) * 3, "std": (0.5,) * 3}
    card = Card(
        model="mobilenetv2_140",
        num_classes=20_000,
        classes=tuple(map(str, range(20_000))),
        preprocessing=preprocessing,  # type: ignore[arg-type]
    )
    path = tmp_path / "model.safetensors"
    save_model(path, network, card)
    size = path.stat().st_size
    assert size > 150e6
    script = (
        "import sys, torch\n"
        # Not resource.getrusage, whose peak a process inherits from the one that started it.
        "peak = lambda: 1024 * int(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])\n"
        "from neocog.inference.model_file import load_model\n"
        "load_model(sys.argv[1])\n"
        "before = peak()\n"
        "loaded = load_model(sys.argv[2])\n"
        "for p in loaded.network.parameters(): p.detach().max()\n"
        "print(peak() - before)\n"
    )
    small = tmp_path / "small.safetensors"
    save_model(
        small,
        create_model("mobilenetv2_035", num_classes=1),
        card.model_copy(update={"model": "mobilenetv2_035", "num_classes": 1, "classes": ("a",)}),
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(small), str(path)], capture_output=True, text=True, check=True
    )
    assert 0.9 * size < int(done.stdout) < 1.2 * size


def test_loading_imports_neither_torchvision_nor_datasets_nor_scikit_learn(model_path: Path) -> None:
    script = (
        "import sys\n"
        "from neocog.inference.model_file import load_model\n"
        "import neocog.inference.prediction, neocog.inference.metrics\n"
        "load_model(sys.argv[1])\n"
        "heavy = {'torchvision', 'datasets', 'sklearn', 'matplotlib', 'timm', 'pandas', 'pyarrow', 'scipy'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(model_path)], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
