"""Parts of a recipe on their way through a whole run: cache, views, sizes that vary, mixing, freezing."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from breaking import save_each_step, save_pictures
from PIL import Image

from neocog import jobs
from neocog.data.cache import cache_root
from neocog.errors import UsageError
from neocog.inference.model_file import read_card
from neocog.jobs import _cache, _resolve
from neocog.jobs._epochs import EpochLog
from neocog.jobs._plan import Plan, plan_training
from neocog.models import create_model, read_state
from neocog.recipes import Recipe
from neocog.train.distributed import Alone
from neocog.train.run import Run
from neocog.train.supervised import SupervisedTask

TINY = {"epochs": 2, "threads": 1, "workers": 0, "image_size": 32, "batch_size": 8}


class Heard(jobs.Listener):
    def __init__(self) -> None:
        self.notices: list[str] = []

    def notice(self, text: str) -> None:
        self.notices.append(text)


def plan(source: Path, recipe: str | Recipe = "quick", **overrides: Any) -> Plan:
    return plan_training(
        source, data_dir=None, model=None, recipe=recipe, weights=None, overrides=overrides, device="cpu",
        listener=jobs.Listener(),
    )[1]  # fmt: skip


PLAIN = Recipe(model="resnet20", image_size=32)


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NEOCOG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_photographs_are_decoded_once_and_the_place_and_size_are_told(
    photographs: Path, own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_each_step(monkeypatch)
    heard = Heard()
    jobs.train(photographs, model="resnet20", overrides=TINY, out=tmp_path / "run", listener=heard)
    said = [notice for notice in heard.notices if str(own_cache) in notice]
    assert len(said) == 1
    assert "36 photographs decoded at 37 pixels" in said[0]  # 40 less those held out
    assert "to remove it" in said[0]
    assert any(path.stat().st_size > 36 * 37 * 37 * 3 for path in own_cache.rglob("*") if path.is_file())


def test_whether_there_is_a_cache_is_the_plan_s_to_say(
    photographs: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cache_root() == own_cache
    assert plan(photographs, PLAIN, cache=True).cache == 37
    assert plan(photographs, PLAIN, cache=False).cache is None
    assert plan(photographs, PLAIN, image_size=224).cache == 256
    assert plan(photographs, PLAIN, vary={"image_size": [[0, 24], [2, 64]]}).cache == 74, "of the largest input"
    assert plan(save_pictures(own_cache / "pictures"), PLAIN, cache=True).cache is None, "they lie in memory"

    class Large:
        modest = False

    monkeypatch.setattr(_cache, "plan_cache", lambda *arguments, **options: Large())
    assert plan(photographs, PLAIN).cache is None
    assert plan(photographs, PLAIN, cache=True).cache == 37


def test_a_run_goes_on_without_the_cache_that_it_began_without(
    photographs: Path, own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_each_step(monkeypatch)
    jobs.train(photographs, model="resnet20", overrides={**TINY, "cache": False}, out=tmp_path / "run")
    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    facts["plan"]["recipe"]["cache"] = "auto"
    del facts["plan"]["cache"]  # as older runs have it
    (tmp_path / "run" / "run.json").write_text(json.dumps(facts))
    jobs.resume(tmp_path / "run")
    assert not own_cache.exists()


def test_a_model_has_the_size_that_it_is_measured_at_and_not_that_of_training(tmp_path: Path) -> None:
    pictures = save_pictures(tmp_path / "pictures")
    vary = {"image_size": [[0, 24], [1, 28], [9, 64]]}
    assert plan(pictures, PLAIN, epochs=2, vary=vary).preprocessing.size == (32, 32), "the recipe's own"
    last = plan(pictures, PLAIN, epochs=2, image_size=None, vary=vary)
    assert last.preprocessing.size == (28, 28), "the last that it trains at"
    assert last.recipe.image_size == 28
    assert plan(pictures, PLAIN, epochs=20, image_size=None, vary=vary).preprocessing.size == (64, 64)
    assert not plan(photographs_like(tmp_path), PLAIN, vary={"image_size": [[0, 224]]}).in_memory


def photographs_like(folder: Path) -> Path:
    for name in ("a", "b"):
        (folder / "large" / name).mkdir(parents=True)
        for i in range(10):
            Image.new("RGB", (60, 50), (10 * i, 0, 100 * (name == "a"))).save(folder / "large" / name / f"{i}.png")
    return folder / "large"


def test_training_sees_the_sizes_that_vary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_each_step(monkeypatch)
    seen: list[tuple[bool, int]] = []
    forward = SupervisedTask.forward

    def note(task: SupervisedTask, batch: Any) -> Any:
        seen.append(tuple(batch.images.shape[-2:]))
        return forward(task, batch)

    monkeypatch.setattr(SupervisedTask, "forward", note)
    overrides = {**TINY, "epochs": 3, "batch_size": 16, "vary": {"image_size": [[0, 16], [2, 28]]}}
    result = jobs.train(save_pictures(tmp_path / "p"), model="resnet20", overrides=overrides, out=tmp_path / "run")
    assert seen == [(16, 16)] * 6 + [(28, 28)] * 3
    assert read_card(result.model).preprocessing.size == (32, 32)


def test_every_size_that_a_network_sees_is_tried_first(tmp_path: Path) -> None:
    pictures = save_pictures(tmp_path / "pictures")
    with pytest.raises(UsageError, match="16x16 is smaller than LeNet5's least size"):
        plan(pictures, Recipe(model="lenet5", image_size=32), vary={"image_size": [[0, 32], [3, 16]]})


def test_views_that_cannot_be_had_are_refused_first(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="ten_crop needs a margin"):
        plan(save_pictures(tmp_path / "pictures"), PLAIN, views="ten_crop")


def test_a_border_that_some_epoch_cannot_reflect_is_refused_first(tmp_path: Path) -> None:
    pictures = save_pictures(tmp_path / "pictures")
    recipe = PLAIN.override({"augment.crop": "pad", "augment.pad": 8, "augment.border": "reflect"})
    plan(pictures, recipe, vary={"image_size": [[0, 16], [3, 32]]})
    with pytest.raises(UsageError, match=r"20 pixels cannot be reflected from an image of 16x16.* 15 pixels or fewer"):
        plan(pictures, recipe, vary={"image_size": [[0, 16], [3, 32]], "augment.pad": [[2, 20]]})


def test_the_end_of_a_run_measures_the_views_that_the_recipe_asks_for(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_each_step(monkeypatch)
    overrides = {**TINY, "views": "ten_crop", "validation": 0.5}
    result = jobs.train(photographs, model="resnet20", overrides=overrides, out=tmp_path / "run")
    assert result.validation is not None
    plain = Run.open(result.run).read_metrics()
    assert result.validation.loss not in [row["val_loss"] for row in plain], "epochs are measured on the centre"
    assert read_card(result.model).metrics["validation_loss"] == result.validation.loss


@pytest.mark.parametrize("labels", ["one", "several"])
def test_mixed_images_with_class_weights_and_with_several_labels(
    labels: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_each_step(monkeypatch)
    source = save_pictures(tmp_path / "pictures") if labels == "one" else several_labels(tmp_path / "pictures")
    overrides = {
        **TINY,
        "mix.mixup": 0.4,
        "mix.cutmix": 1.0,
        "repeats": 3,
        "loss.balance": True,
        "loss.name": "binary_cross_entropy",
        "unfreeze": 0.5,
    }
    result = jobs.train(source, model="resnet20", overrides=overrides, out=tmp_path / "run")
    rows = Run.open(result.run).read_metrics()
    assert all(0 < row["train_loss"] < 10 for row in rows)
    assert not any("train_top1" in row for row in rows), "mixed images have no one label"


def several_labels(folder: Path) -> Path:
    folder.mkdir()
    lines = ["file_name,labels"]
    for i in range(40):
        names = [name for name, bit in (("red", 1), ("green", 2), ("blue", 4)) if i & bit]
        colour = tuple(200 * (name in names) + i for name in ("red", "green", "blue"))
        Image.new("RGB", (16, 16), colour).save(folder / f"{i}.png")
        lines.append(f"{i}.png,{'|'.join(names)}")
    (folder / "metadata.csv").write_text("\n".join(lines))
    return folder


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"train": "head", "unfreeze": 1}, "train=head trains the head alone, and unfreeze=1 all"),
        ({"train": "head", "clip_adaptive": 0.1}, "which clip_adaptive spares"),
        ({"organise": 10, "unfreeze": 1}, "organise=10 trains the head alone"),
        ({"train": "head", "optimizer.name": "muon"}, "train=head trains the head alone, which muon leaves to SGD"),
        ({"organise": 10, "optimizer.name": "muon"}, "organise=10 trains the head alone, which muon leaves to SGD"),
        ({"train": "head", "optimizer.layer_decay": 0.7}, r"layer_decay=0\.7 is for the layers below it"),
        ({"organise": 10, "optimizer.layer_decay": 0.7}, r"layer_decay=0\.7 is for the layers below it"),
        ({"epochs": 3, "unfreeze": 3}, r"only the head would ever move: lower it, or say so with train=head"),
    ],
)
def test_fields_that_contradict_each_other_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        _resolve.check_combination(Recipe().override(changes))


def test_edits_that_another_network_does_not_know_stay_behind() -> None:
    heard = Heard()
    recipe = Recipe(name="mine", model="resnetv2_18", edits={"stem": "small", "squash": 3})
    kept = _resolve.for_model(recipe, "resnet18", heard)
    assert (kept.model, kept.edits) == ("resnet18", {"stem": "small"})
    assert heard.notices == ["resnet18 has no squash, which the recipe mine sets; it goes without"]
    assert _resolve.for_model(recipe, "resnetv2_18", heard) is recipe


def test_the_share_of_time_that_was_spent_waiting_is_of_the_whole_run(tmp_path: Path) -> None:
    log, task = EpochLog(), SupervisedTask(create_model("linear_cifar10"))
    log.seconds = log.total_seconds = 8.0
    log.waited = log.total_waited = 2.0
    again = EpochLog()
    again.restore(json.loads(json.dumps(log.meta(Alone(task)))), Alone(task))
    again.total_seconds += 2.0
    assert again.waiting == pytest.approx(0.2)
    older = {name: value for name, value in log.meta(Alone(task)).items() if name != "total_waited"}
    again.restore(older, Alone(task))
    assert EpochLog().waiting == 0.0


def test_the_report_and_the_result_say_what_was_spent_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_each_step(monkeypatch)
    result = jobs.train(save_pictures(tmp_path / "p"), model="resnet20", overrides=TINY, out=tmp_path / "run")
    rows = Run.open(result.run).read_metrics()
    ends = [0.0, *(row["seconds"] for row in rows)]
    waited = sum(row["waiting"] * (end - start) for row, start, end in zip(rows, ends, ends[1:], strict=False))
    assert 0 < result.waiting < 1
    assert result.waiting == pytest.approx(waited / result.seconds, rel=1e-3)
    page = re.sub(r"<[^>]*>", " ", result.report.read_text())
    share = re.search(r"waiting for data\s+([\d.]+)", page)
    assert share is not None
    assert float(share[1]) == pytest.approx(100 * result.waiting, abs=0.06)


def test_a_frozen_stage_is_not_moved_by_the_first_epochs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_each_step(monkeypatch)
    overrides = {**TINY, "unfreeze": 1, "average.decay": 0.0, "validation": 0}  # the last epoch ships
    result = jobs.train(save_pictures(tmp_path / "p"), model="resnet20", overrides=overrides, out=tmp_path / "run")
    torch.manual_seed(0)
    fresh = create_model("resnet20", num_classes=3).state_dict()
    found = read_state(result.model)
    moved = {name.partition(".")[0] for name, tensor in found.items() if not torch.equal(tensor, fresh[name])}
    assert moved == {"fc", "layer3"}
