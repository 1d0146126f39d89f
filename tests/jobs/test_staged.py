"""Runs in stages: each begins with the weights of the one before, and the whole may be broken off anywhere."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
import torch
from breaking import Breaker, Broken, assert_same, save_each_step, save_pictures
from safetensors.torch import load_file

from neocog import jobs
from neocog.data.augment import Augmentation
from neocog.errors import UsageError
from neocog.jobs import staged
from neocog.recipes import Recipe, vgg_2014
from neocog.train.recipe import Optimizer
from neocog.train.run import Run

FIRST = Recipe(
    name="grown",
    model="vgg11_cifar",
    edits={"widths": (4, 4, 8, 8, 8)},
    image_size=32,
    epochs=2,
    batch_size=16,
    threads=1,
    optimizer=Optimizer(lr=0.02),
    augment=Augmentation(crop="pad", pad=2, flip=0),
)
STAGES = (FIRST, FIRST.override({"model": "vgg13_cifar", "optimizer.lr": 0.01}))
STEPS = 3  # of an epoch: 48 images


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_pictures(tmp_path_factory.mktemp("data") / "pictures")


def train(source: Path, out: Path, listener: jobs.Listener | None = None, **options: object) -> jobs.TrainResult:
    return jobs.train(source, recipe=STAGES, out=out, device="cpu", listener=listener, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def whole(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> jobs.TrainResult:
    with pytest.MonkeyPatch.context() as patch:
        save_each_step(patch)
        return train(
            pictures, tmp_path_factory.mktemp("staged") / "run", command="neocog train pictures --recipe grown"
        )


def test_the_last_stage_lies_at_the_top_and_each_is_a_run_of_its_own(whole: jobs.TrainResult) -> None:
    assert whole.stages == (whole.run / "stage-1", whole.run / "stage-2")
    assert whole.epochs == 4
    for name in ("model.safetensors", "report.html"):
        assert (whole.run / name).read_bytes() == (whole.run / "stage-2" / name).read_bytes()
    for stage, network in zip(whole.stages, ("vgg11_cifar", "vgg13_cifar"), strict=True):
        assert [row["epoch"] for row in Run.open(stage).read_metrics()] == [1, 2]
        assert json.loads((stage / "recipe.json").read_text())["model"] == network
    facts = Run.open(whole.run).facts
    assert facts["status"] == "finished"
    measured = {stage.name: Run.open(stage).facts["metrics"] for stage in whole.stages}
    assert facts["measured"] == measured
    assert facts["metrics"] == measured["stage-2"]
    assert "neocog train pictures --recipe grown" in whole.report.read_text()


def test_a_stage_begins_with_the_layers_of_the_one_before(whole: jobs.TrainResult) -> None:
    begun = load_file(whole.run / "stage-2-start.safetensors")
    before = load_file(whole.run / "stage-1" / "model.safetensors")
    assert torch.equal(begun["head.fc.weight"], before["head.fc.weight"])
    assert torch.equal(begun["features.0.weight"], before["features.0.weight"])
    weights = json.loads((whole.run / "stage-2" / "recipe.json").read_text())["weights"]
    assert Path(weights).name == "stage-2-start.safetensors"


@pytest.mark.parametrize("step", [3, 2 * STEPS, 2 * STEPS + 1, 4 * STEPS])
def test_broken_off_at_any_step_and_resumed_it_ends_in_the_same_bits(
    step: int, whole: jobs.TrainResult, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_each_step(monkeypatch)
    with pytest.raises(Broken):
        train(pictures, tmp_path / "run", Breaker(step))
    again = jobs.resume(tmp_path / "run")
    for stage in ("stage-1", "stage-2"):
        assert_same(tmp_path / "run" / stage, whole.run / stage)
    assert again.model.read_bytes() == (tmp_path / "run" / "stage-2" / "model.safetensors").read_bytes()


def test_broken_off_between_two_stages_it_goes_on_with_the_second(
    whole: jobs.TrainResult, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_each_step(monkeypatch)

    def fail(*arguments: object, **options: object) -> None:
        raise Broken

    with monkeypatch.context() as patch:
        patch.setattr(staged, "grow", fail)
        with pytest.raises(Broken):
            train(pictures, tmp_path / "run")
    first = (tmp_path / "run" / "stage-1" / "model.safetensors").stat().st_mtime_ns
    jobs.resume(tmp_path / "run")
    assert (tmp_path / "run" / "stage-1" / "model.safetensors").stat().st_mtime_ns == first, "it was done"
    assert_same(tmp_path / "run" / "stage-2", whole.run / "stage-2")


def test_ctrl_c_names_the_whole_run_to_go_on_with(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_each_step(monkeypatch)
    with pytest.raises(jobs.Interrupted, match="neocog train --resume") as caught:
        train(pictures, tmp_path / "run", Breaker(2, lambda: os.kill(os.getpid(), signal.SIGINT)))
    assert caught.value.run == tmp_path / "run"
    assert str(tmp_path / "run" / "stage-1") not in str(caught.value)
    assert caught.value.exit_code == 130


def test_fields_that_are_set_are_set_for_every_stage(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_each_step(monkeypatch)
    result = train(pictures, tmp_path / "run", overrides={"epochs": 1, "batch_size": 24, "seed": 3})
    recipes = [json.loads((stage / "recipe.json").read_text()) for stage in result.stages]
    assert [(r["epochs"], r["batch_size"], r["seed"]) for r in recipes] == [(1, 24, 3)] * 2
    assert [r["optimizer"]["lr"] for r in recipes] == [0.02, 0.01], "what was not set stays each stage's own"


def test_stages_of_one_network_hand_on_their_weights_at_another_size(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_each_step(monkeypatch)
    first = FIRST.override({"model": "resnet20", "edits": {}, "image_size": 16, "epochs": 1})
    last = first.override({"image_size": 32, "optimizer.lr": 1e-12, "optimizer.weight_decay": 0})
    result = jobs.train(pictures, recipe=(first, last), out=tmp_path / "run", device="cpu")
    before, after = (load_file(stage / "model.safetensors") for stage in result.stages)
    assert torch.allclose(before["layer1.0.conv1.weight"], after["layer1.0.conv1.weight"], atol=1e-9)
    plans = [Run.open(stage).facts["plan"] for stage in result.stages]
    assert [plan["preprocessing"]["size"] for plan in plans] == [[16, 16], [32, 32]]
    assert plans[0]["preprocessing"]["mean"] == plans[1]["preprocessing"]["mean"]
    assert not (result.run / "stage-2-start.safetensors").exists()


@pytest.mark.parametrize(
    ("stages", "options", "said"),
    [
        (STAGES, {"model": "vgg16_cifar"}, "trains its own networks in stages, vgg11_cifar, then vgg13_cifar"),
        (STAGES, {"overrides": {"model": "vgg16_cifar"}}, "leave out --model"),
        ((FIRST, FIRST.override({"model": "resnet20", "edits": {}})), {}, "which is of another family"),
        ((STAGES[1], STAGES[0]), {}, "do not grow into"),
        (
            (FIRST, FIRST.override({"edits.widths": (4, 4, 8, 8, 16)})),
            {},
            r"cannot begin with the vgg11_cifar .* is \(8,\) there and \(16,\) here, and 12 more differ",
        ),
        ((), {}, "at least one"),
    ],
)
def test_stages_that_cannot_follow_each_other_are_refused_before_the_first(
    stages: tuple[Recipe, ...], options: dict[str, object], said: str, pictures: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=said):
        jobs.train(pictures, recipe=stages, out=tmp_path / "run", device="cpu", **options)  # type: ignore[arg-type]
    assert not (tmp_path / "run").exists()


def test_the_recipe_of_vgg_trains_all_its_networks(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_each_step(monkeypatch)
    built = vgg_2014.recipe
    small = {"edits": {"widths": (4, 4, 4, 4, 4), "hidden": 8}, "image_size": 32, "threads": 1, "views": "flip"}
    monkeypatch.setattr(vgg_2014, "recipe", lambda facts: tuple(stage.override(small) for stage in built(facts)))
    result = jobs.train(pictures, recipe="vgg_2014", overrides={"epochs": 1}, out=tmp_path / "run", device="cpu")
    models = [json.loads((stage / "recipe.json").read_text())["model"] for stage in result.stages]
    assert models == ["vgg11", "vgg13", "vgg16", "vgg19"]


def test_a_range_test_takes_no_stages(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="vgg_2014 trains in 4 stages"):
        jobs.lr_find(
            pictures, recipe="vgg_2014", overrides={"image_size": 32, "views": "centre"}, out=tmp_path / "lr.png"
        )
