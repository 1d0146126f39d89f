"""An ensemble is the mean of what its members say; a soup is the mean of what they weigh."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from neocog.errors import UsageError
from neocog.inference.ensemble import average_model_files, combine
from neocog.inference.model_file import Card, load_model, save_model
from neocog.models import Classifier, create_model


@pytest.fixture
def logits() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(5, 3, generator=generator) * 4 for _ in range(3)]


def test_the_mean_of_logits_is_the_geometric_mean_of_posteriors(logits: list[torch.Tensor]) -> None:
    together = combine(logits).softmax(1)
    product = torch.stack([each.softmax(1) for each in logits]).log().mean(0).exp()
    torch.testing.assert_close(together, product / product.sum(1, keepdim=True))
    torch.testing.assert_close(combine(logits), torch.stack(logits).mean(0))


@pytest.mark.parametrize("multi_label", [False, True])
def test_the_mean_of_probabilities_is_one(logits: list[torch.Tensor], multi_label: bool) -> None:
    def posterior(each: torch.Tensor) -> torch.Tensor:
        return each.sigmoid() if multi_label else each.softmax(1)

    together = posterior(combine(logits, "probabilities", multi_label))
    torch.testing.assert_close(together, torch.stack([posterior(each) for each in logits]).mean(0))


def test_members_of_other_classes_make_no_ensemble() -> None:
    with pytest.raises(UsageError, match="one shape"):
        combine([torch.zeros(2, 3), torch.zeros(2, 4)])
    with pytest.raises(UsageError):
        combine([])


@pytest.fixture
def files(tmp_path: Path, card: Card) -> list[Path]:
    paths = []
    for seed in range(3):
        torch.manual_seed(seed)
        network = create_model(card.model, num_classes=3, padding="same")
        network(torch.randn(8, 3, 32, 32))
        save_model(tmp_path / f"{seed}.safetensors", network, card)
        paths.append(tmp_path / f"{seed}.safetensors")
    return paths


def test_a_soup_holds_the_mean_of_every_weight_and_statistic(files: list[Path], tmp_path: Path, card: Card) -> None:
    written = average_model_files(files, tmp_path / "soup.safetensors")
    soup = load_model(tmp_path / "soup.safetensors")
    states = [load_model(path).network.state_dict() for path in files]
    for name, tensor in soup.network.state_dict().items():
        given = torch.stack([state[name] for state in states])
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor, given.double().mean(0).to(tensor.dtype), msg=name)
        else:
            assert torch.equal(tensor, given[0])
    assert soup.card == written
    assert (written.classes, written.preprocessing) == (card.classes, card.preprocessing)
    assert (written.metrics, written.recipe) == ({}, None)  # nobody has measured it or trained it so


def test_a_soup_of_copies_is_the_file_itself(files: list[Path], tmp_path: Path) -> None:
    average_model_files([files[0]] * 3, tmp_path / "soup.safetensors")
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(
        load_model(tmp_path / "soup.safetensors").classify(images), load_model(files[0]).classify(images)
    )


def test_files_of_another_kind_are_no_ingredient(
    files: list[Path], tmp_path: Path, card: Card, network: Classifier
) -> None:
    other = tmp_path / "other.safetensors"
    save_model(other, network, card.model_copy(update={"classes": ("bee", "ant", "été")}))
    with pytest.raises(UsageError, match=r"other.*its classes"):
        average_model_files([files[0], other], tmp_path / "soup.safetensors")
    with pytest.raises(UsageError, match="two model files"):
        average_model_files(files[:1], tmp_path / "soup.safetensors")
    assert not (tmp_path / "soup.safetensors").exists()
