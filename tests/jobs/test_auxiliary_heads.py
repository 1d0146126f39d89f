"""Training with the losses of auxiliary heads, from the recipe's field to the model file."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from neocog import jobs
from neocog.errors import UsageError
from neocog.inference.model_file import load_model
from neocog.jobs import _loop, _resolve
from neocog.models import read_state
from neocog.recipes import Recipe
from neocog.train.recipe import Loss

TINY = {"epochs": 2, "threads": 1, "image_size": 32, "batch_size": 8, "workers": 0, "loss.auxiliary_weight": 0.3}


def test_a_run_trains_the_heads_and_logs_their_losses(photographs: Path, tmp_path: Path) -> None:
    done = jobs.train(photographs, model="googlenet", overrides=TINY, out=tmp_path / "run")
    rows = list(csv.DictReader((done.run / "metrics.csv").open()))
    assert len(rows) == 2
    for row in rows:
        parts = [float(row[f"train_{name}"]) for name in ("loss", "inception4a_loss", "inception4d_loss")]
        own, *heads = parts
        assert float(row["train_total_loss"]) == pytest.approx(own + 0.3 * sum(heads), rel=1e-4)
    model = load_model(done.model)
    assert model.card.edits == {"auxiliary": True}
    assert list(model.network.auxiliary_heads) == ["inception4a", "inception4d"]


@pytest.mark.slow
def test_a_broken_run_goes_on_to_the_same_weights(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = {**TINY, "loss.auxiliary_decay": True}
    whole = jobs.train(photographs, model="googlenet", overrides=overrides, out=tmp_path / "whole")

    class Broken(Exception):
        pass

    class Breaker(jobs.Listener):
        def epoch(self, row: dict[str, float]) -> None:
            raise Broken

    monkeypatch.setattr(_loop, "CHECKPOINT_SECONDS", 0.0)
    with pytest.raises(Broken):  # before the first epoch's last checkpoint
        jobs.train(photographs, model="googlenet", overrides=overrides, out=tmp_path / "broken", listener=Breaker())
    again = jobs.resume(tmp_path / "broken")
    expected, found = read_state(whole.model), read_state(again.model)
    assert all(found[name].equal(expected[name]) for name in expected)


@pytest.mark.parametrize(
    ("model", "changes", "message"),
    [
        ("resnet20", {}, "resnet20 has no auxiliary heads, whose losses loss.auxiliary_weight=0.3 is for"),
        ("googlenet", {"train": "head"}, "trains hidden layers, which train=head freezes"),
        ("inception_v3", {"image_size": 96}, "at least 17x17, not 4x4; give it images of at least 299x299"),
        ("dsn", {"image_size": 28}, "maps of 32x32 was given one of 28x28; set image_size"),
    ],
)
def test_what_cannot_be_trained_so_is_said_before_a_run_is_begun(
    photographs: Path, tmp_path: Path, model: str, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        jobs.train(photographs, model=model, overrides={**TINY, **changes}, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_network_has_heads_exactly_if_their_losses_have_a_weight() -> None:
    recipe = Recipe(model="googlenet", loss=Loss(auxiliary_weight=0.3), edits={"dropout": 0.1})
    with_heads = _resolve.with_auxiliary_heads(recipe)
    assert with_heads.edits == {"dropout": 0.1, "auxiliary": True}
    plain = with_heads.override({"loss.auxiliary_weight": 0.0})  # as when a network with heads is fine-tuned
    assert _resolve.with_auxiliary_heads(plain).edits == {"dropout": 0.1}


@pytest.mark.slow
def test_digits_are_learnt_with_deep_supervision(tmp_path: Path) -> None:
    overrides = {**TINY, "batch_size": 32, "epochs": 3, "optimizer.lr": 0.001}
    result = jobs.train("digits", model="googlenet", overrides=overrides, out=tmp_path / "run")
    assert result.measured.top1 is not None
    assert result.measured.top1 > 0.9
