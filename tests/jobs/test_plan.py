from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from neocog import jobs
from neocog.data import load_data
from neocog.errors import TrainingError, UsageError, WeightsError
from neocog.inference.model_file import read_card
from neocog.jobs import _checks, _resolve
from neocog.jobs._device import choose_device
from neocog.jobs._plan import fingerprint, plan_training
from neocog.jobs.training import Interrupted
from neocog.models import create_model
from neocog.recipes import Facts, Recipe, build_recipe, resnet_2015_cifar
from neocog.train.recipe import Loss
from neocog.train.supervised import SupervisedTask

TINY = {"epochs": 1, "threads": 1, "workers": 0, "image_size": 16, "batch_size": 8}


@pytest.fixture(scope="module")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("squares")
    for number, name in enumerate(("dark", "light")):
        (folder / name).mkdir()
        for i in range(12):
            Image.new("RGB", (16, 16), (100 * number + i, 90, 5 * i)).save(folder / name / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def trained(squares: Path, tmp_path_factory: pytest.TempPathFactory) -> jobs.TrainResult:
    return jobs.train(squares, model="resnet20", overrides=TINY, out=tmp_path_factory.mktemp("first") / "run")


@pytest.mark.parametrize("device", ["foo", "mps", "meta"])
def test_an_unknown_device_is_a_usage_error_in_every_job(device: str, tmp_path: Path) -> None:
    for job in (
        lambda: jobs.predict(tmp_path / "m.safetensors", ["x.png"], device=device),
        lambda: jobs.evaluate(tmp_path / "m.safetensors", "digits", device=device),
        lambda: choose_device(device),
    ):
        with pytest.raises(UsageError, match=device):
            job()


def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


def test_a_gpu_that_is_not_there_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    two_gpus(monkeypatch)
    assert choose_device("cuda:1") == "cuda:1"
    with pytest.raises(UsageError, match=r"there is no device 'cuda:99': PyTorch sees 2, counted from cuda:0"):
        choose_device("cuda:99")


def test_each_process_takes_its_own_gpu_while_there_are_some(monkeypatch: pytest.MonkeyPatch) -> None:
    two_gpus(monkeypatch)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert choose_device(None) == choose_device("cuda") == "cuda:1"
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(UsageError, match="start at most 2 processes"):
        choose_device(None)


def plan(source: Path, recipe: str | Recipe = "quick", heard: jobs.Listener | None = None, **overrides: object):
    return plan_training(
        source, data_dir=None, model=None, recipe=recipe, weights=None, overrides=overrides, device="cpu",
        listener=heard or jobs.Listener(),
    )  # fmt: skip


def test_as_many_images_are_held_out_as_the_named_recipe_says(squares: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def recipe(facts: Facts) -> Recipe:
        asked.append(facts.images)
        share, seed = (0.5, 3) if facts.images == 24 else (0.25, 4)
        return Recipe(model="resnet20", epochs=facts.images, validation=share, seed=seed)

    monkeypatch.setattr(resnet_2015_cifar, "recipe", recipe)
    splits, made = plan(squares, "resnet_2015_cifar")
    assert splits.validation is not None
    assert (len(splits.train), len(splits.validation), made.recipe.epochs) == (12, 12, 12)
    # What resuming holds out by is what was held out by, though the recipe would now say otherwise.
    assert (made.recipe.validation, made.recipe.seed, asked) == (0.5, 3, [24, 12])
    again = load_data(squares, validation=made.recipe.validation, seed=made.recipe.seed)
    assert fingerprint(again.train) == made.fingerprint
    assert len(plan(squares, "resnet_2015_cifar", validation=0.25)[0].train) == 18


def test_images_in_memory_need_no_workers(squares: Path) -> None:
    for workers in ("auto", 3):
        made = plan(squares, "resnet_2015_cifar", workers=workers)[1]
        assert (made.in_memory, made.recipe.workers) == (True, 0)


def save_photographs(folder: Path, least: int, most: int) -> Path:
    generator = np.random.default_rng(0)
    for name in ("dark", "light"):
        (folder / name).mkdir(parents=True)
        for i in range(10):
            width, height = generator.integers(least, most, 2)
            Image.new("RGB", (width, height), (20 * i, 90, 100 * (name == "light"))).save(folder / name / f"{i}.png")
    return folder


class Heard(jobs.Listener):
    def __init__(self) -> None:
        self.notices: list[str] = []

    def notice(self, text: str) -> None:
        self.notices.append(text)


def test_small_images_of_differing_sizes_are_not_enlarged_without_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_resolve, "weights_at_hand", lambda name: False)
    splits, made = plan(save_photographs(tmp_path, 40, 60))
    assert not splits.train.one_size
    assert (made.recipe.model, made.preprocessing.size, made.in_memory) == ("resnet20", (32, 32), False)
    assert plan(tmp_path, model="resnet18")[1].recipe.edits == {"stem": "small"}


def test_a_stem_of_another_kind_is_not_taken_for_one_that_can_be_small(tmp_path: Path) -> None:
    assert not _resolve.model_has_small_stem("inception_resnet_v2")
    with pytest.raises(UsageError, match="32x32 is smaller than InceptionResNet's least size of 75x75"):
        plan(save_photographs(tmp_path, 32, 33), model="inception_resnet_v2")


def test_auxiliary_heads_that_nothing_trains_are_left_out_and_it_is_said(squares: Path) -> None:
    heard = Heard()
    made = plan(squares, Recipe(model="googlenet"), heard, edits={"auxiliary": True})[1]
    assert "auxiliary" not in made.recipe.edits
    assert any("loss.auxiliary_weight=0.3" in notice for notice in heard.notices)


@pytest.mark.parametrize(
    ("at_hand", "recipe", "said"),
    [
        (False, Recipe(model="resnet20"), "no weights of it are published"),
        (False, Recipe(model="resnet18"), "its published weights are not on this machine"),
        (True, Recipe(model="resnet18", name="mine"), "the recipe mine does; --weights default"),
    ],
)
def test_why_a_network_is_trained_from_scratch_is_said_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_hand: bool, recipe: Recipe, said: str
) -> None:
    for module in (_checks, _resolve):
        monkeypatch.setattr(module, "weights_at_hand", lambda name: at_hand)
    heard = Heard()
    plan(save_photographs(tmp_path, 80, 100), recipe, heard)
    assert len(heard.notices) == 1
    assert said in heard.notices[0]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"threads": 0}, "threads must be at least 1"),
        ({"workers": -1}, "workers must be at least 0"),
        ({"accumulate": 3}, "multiple of 3"),
        ({"batch_size": 48, "repeats": 30}, "batches of 22, which cannot hold an image 30 times"),
        ({"batch_size": 4, "repeats": 5}, "set repeats to at most 4"),
        ({"unfreeze": 1}, "only the head would ever move"),
        ({"train": "head", "optimizer.name": "muon"}, "muon leaves to SGD"),
        ({"accumulate": 1000, "batch_size": 1000}, "cannot fill 1000 micro-batches"),
    ],
)
def test_counts_that_cannot_be_are_refused_before_a_run_is_made(
    overrides: dict[str, object], said: str, squares: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=said):
        jobs.train(squares, model="resnet20", overrides={**TINY, **overrides}, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_training_starts_from_a_model_file_with_its_own_preprocessing(
    squares: Path, trained: jobs.TrainResult, tmp_path: Path
) -> None:
    unmoved = {**TINY, "optimizer.lr": 1e-12, "optimizer.weight_decay": 0.0, "average.decay": 0.0}
    again = jobs.train(squares, model="resnet20", weights=str(trained.model), overrides=unmoved, out=tmp_path / "run")
    assert read_card(again.model).preprocessing == read_card(trained.model).preprocessing
    first, second = load_file(trained.model), load_file(again.model)
    assert all(first[name].allclose(second[name], atol=1e-6) for name in first if name.endswith("weight"))


def test_a_weights_file_that_is_not_there_is_named(squares: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"nowhere\.safetensors"):
        jobs.train(squares, model="resnet20", weights="nowhere.safetensors", overrides=TINY, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_model_named_among_the_fields_is_the_recipe_s_model(squares: Path, tmp_path: Path) -> None:
    result = jobs.train(squares, overrides={**TINY, "model": "resnet20"}, out=tmp_path / "run")
    assert json.loads((result.run / "recipe.json").read_text())["model"] == "resnet20"


def test_a_run_without_its_plan_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"format": 1}')
    with pytest.raises(TrainingError, match="damaged"):
        jobs.resume(tmp_path)


def test_the_command_that_resumes_can_be_pasted() -> None:
    assert str(Interrupted(Path("my runs/one"), 2)).endswith("neocog train --resume 'my runs/one'")


@pytest.mark.parametrize(
    ("epochs", "said"),
    [
        (2, "2 of the 5 parts of the network never move: unfreeze=0.9 would take 3.6 epochs to release all, and the "
            "run has 2; --set unfreeze=0.25 does so in half of them"),
        (3, "1 of the 5 parts of the network never moves: "),
        (4, None),
    ],
)  # fmt: skip
def test_it_is_said_how_many_parts_a_run_is_too_short_to_release(epochs: int, said: str | None, squares: Path) -> None:
    heard = Heard()
    made = plan(squares, Recipe(model="resnet20", epochs=epochs, unfreeze=0.9, batch_size=2), heard)[1]
    assert [notice.startswith(said or "?") for notice in heard.notices] == ([True] if said else [])
    # What the notice says is what the task does at the run's last step.
    with torch.device("meta"):
        task = SupervisedTask(create_model("resnet20"), unfreeze=0.9)
    task.begin(epochs - 1 / (22 // 2))
    assert task.frozen == (int(said[0]) if said else 0)
    shorter = made.recipe.override({"unfreeze": epochs / 2 / 4})
    assert _checks.parts_never_moved(shorter, task.network, 22) == 0


def test_finetune_in_fewer_epochs_says_what_never_moves(squares: Path) -> None:
    heard = Heard()
    plan(squares, build_recipe("finetune", Facts(images=22)).override({"weights": None}), heard, epochs=2)
    assert any("parts of the network never move: unfreeze=0.6" in notice for notice in heard.notices)


@pytest.mark.parametrize(
    "fields", [{"train": "head"}, {"organise": 8, "model": "neocognitron_1980"}, {"loss.auxiliary_weight": 0.3}]
)
def test_it_is_said_where_compiling_has_no_effect(fields: dict[str, object]) -> None:
    heard, recipe = Heard(), Recipe(model="googlenet", image_size=64).override({"compile": True, **fields})
    network = create_model("resnet20")
    _checks.say_choices(recipe, network, Facts(small=True), heard)
    assert [notice.startswith("compile=true has no effect with") for notice in heard.notices] == [True]


def test_several_labels_keep_what_their_loss_can_do_and_say_what_it_cannot() -> None:
    heard, facts = Heard(), Facts(multi_label=True)
    vary = {"loss.label_smoothing": ((0, 0.1), (2, 0.2))}
    smooth = _resolve.for_labels(Recipe(loss=Loss(label_smoothing=0.1), vary=vary), facts, heard)
    assert smooth.loss == Loss(name="binary_cross_entropy", label_smoothing=0.1)
    assert smooth.at(2).loss.label_smoothing == 0.2
    assert heard.notices == []
    hard = _resolve.for_labels(Recipe(loss=Loss(rubbish=1.5)), facts, heard)
    assert hard.loss == Loss(name="binary_cross_entropy")
    (notice,) = heard.notices
    assert "loss.rubbish=1.5 is left out" in notice
    assert hard.override({}) == hard


def test_several_labels_go_from_a_list_to_a_report(tmp_path: Path) -> None:
    lines = ["file_name,labels"]
    for i in range(40):
        names = [name for name, bit in (("red", 1), ("green", 2), ("blue", 4)) if i & bit]
        colour = tuple(200 * (name in names) + i for name in ("red", "green", "blue"))
        Image.new("RGB", (16, 16), colour).save(tmp_path / f"{i}.png")
        lines.append(f"{i}.png,{'|'.join(names)}")
    (tmp_path / "metadata.csv").write_text("\n".join(lines))
    chosen = {
        name: plan(tmp_path, **{"loss.name": name})[1].recipe.loss.name for name in ("cross_entropy", "squared_hinge")
    }
    assert chosen == {"cross_entropy": "binary_cross_entropy", "squared_hinge": "squared_hinge"}
    result = jobs.train(tmp_path, model="resnet20", overrides=TINY, out=tmp_path / "run")
    assert "mean average precision" in result.report.read_text()
    report = jobs.evaluate(result.model, tmp_path, split="all").report
    assert report.top1 is None
    assert report.mean_average_precision is not None
    (answer,) = jobs.predict(result.model, [tmp_path / "7.png"])
    assert set(answer.classes) == {"red", "green", "blue"}
