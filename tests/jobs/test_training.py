from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from neocog import jobs
from neocog.data import sources
from neocog.errors import TrainingError, UnknownNameError, UsageError
from neocog.inference.model_file import load_model
from neocog.jobs import _loop, _plan
from neocog.train.checkpoint import Checkpoints
from neocog.train.distributed import Alone
from neocog.train.run import Run

SHORT = {"epochs": 2, "threads": 1}
TINY = {**SHORT, "image_size": 32, "batch_size": 8, "workers": 0}


class Heard(jobs.Listener):
    """Keeps what a job said."""

    def __init__(self) -> None:
        self.notices: list[str] = []
        self.rows: list[dict[str, float]] = []

    def notice(self, text: str) -> None:
        self.notices.append(text)

    def epoch(self, row: dict[str, float]) -> None:
        self.rows.append(row)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> jobs.TrainResult:
    out = tmp_path_factory.mktemp("digits") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_loop, "CHECKPOINT_SECONDS", 0.0)
        return jobs.train("digits", overrides={**SHORT, "epochs": 4}, out=out, command="neocog train digits")


def test_a_run_leaves_all_that_explains_it(digits: jobs.TrainResult) -> None:
    names = {str(path.relative_to(digits.run)) for path in digits.run.rglob("*") if path.is_file()}
    assert {"recipe.json", "run.json", "environment.json", "metrics.csv", "model.safetensors"} <= names
    assert {"report.html", "test.json", "validation.json"} <= names
    figures = {f"figures/{name}.png" for name in ("curves", "confusion", "calibration", "mistakes")}
    assert figures <= names
    assert json.loads((digits.run / "run.json").read_text())["status"] == "finished"
    assert "neocog train digits" in (digits.run / "report.html").read_text()


def test_the_resolved_recipe_leaves_nothing_to_choose(digits: jobs.TrainResult) -> None:
    assert '"auto"' not in (digits.run / "recipe.json").read_text()


def test_the_file_alone_measures_what_the_run_measured(digits: jobs.TrainResult) -> None:
    again = jobs.evaluate(digits.model, "digits")
    assert digits.test is not None
    assert again.report.top1 == digits.test.top1
    assert again.report.loss == pytest.approx(digits.test.loss, rel=1e-6)
    assert load_model(digits.model).card.metrics["test_top1"] == digits.test.top1


def test_prediction_of_a_test_image_agrees_with_evaluation(digits: jobs.TrainResult, tmp_path: Path) -> None:
    again = jobs.evaluate(digits.model, "digits")
    for index in range(10):
        again.split.image(index).save(tmp_path / f"{index:02d}.png")
    found = jobs.predict(digits.model, [tmp_path])
    wanted = again.outputs.logits[:10].softmax(1).max(1)
    assert [p.classes[0] for p in found] == [again.split.classes[i] for i in wanted.indices.tolist()]
    assert [p.scores[0] for p in found] == pytest.approx(wanted.values.tolist(), rel=1e-4)


def test_the_test_split_chooses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = jobs.train("digits", overrides=SHORT, out=tmp_path / "plain")
    divide = sources.divide

    def with_spoilt_test(*args: object, **kwargs: object) -> object:
        splits = divide(*args, **kwargs)  # type: ignore[arg-type]
        assert splits.test is not None
        rows = splits.test.rows
        labels = [9 - label for label in rows["label"]]
        spoilt = replace(splits.test, rows=rows.remove_columns("label").add_column("label", labels))
        return replace(splits, test=spoilt)

    monkeypatch.setattr(_plan, "divide", with_spoilt_test)
    spoilt = jobs.train("digits", overrides=SHORT, out=tmp_path / "spoilt")
    assert spoilt.test is not None
    assert spoilt.test.top1 < 0.5
    for name, tensor in load_file(plain.model).items():
        assert torch.equal(load_file(spoilt.model)[name], tensor)


def test_photographs_are_learnt_from_scratch_and_it_says_so(photographs: Path, tmp_path: Path) -> None:
    heard = Heard()
    result = jobs.train(
        photographs,
        model="resnet20",
        overrides={**TINY, "epochs": 6},
        out=tmp_path / "run",
        listener=heard,
    )
    assert any("from scratch" in line and "no weights of it are published" in line for line in heard.notices)
    assert result.measured.top1 is not None
    assert [row["epoch"] for row in heard.rows] == [1, 2, 3, 4, 5, 6]
    losses = [row["train_loss"] for row in heard.rows]
    assert losses[-1] < losses[0]


def test_resuming_a_finished_run_measures_it_again_and_changes_nothing(digits: jobs.TrainResult) -> None:
    before = load_file(digits.model)
    again = jobs.resume(digits.run)
    assert again.test is not None
    assert digits.test is not None
    assert again.test.top1 == digits.test.top1
    assert all(torch.equal(tensor, before[name]) for name, tensor in load_file(again.model).items())
    assert [row["epoch"] for row in Run.open(digits.run).read_metrics()] == [1, 2, 3, 4]


def test_a_damaged_checkpoint_gives_way_to_the_one_before(digits: jobs.TrainResult, tmp_path: Path) -> None:
    out = tmp_path / "run"
    subprocess.run(["cp", "-r", str(digits.run), str(out)], check=True)
    newest = Checkpoints(out / "checkpoints").paths()[-1]
    newest.write_bytes(newest.read_bytes()[:-100])
    heard = Heard()
    again = jobs.resume(out, listener=heard)
    assert any(newest.name in line for line in heard.notices)
    before = load_file(digits.model)
    assert all(torch.equal(tensor, before[name]) for name, tensor in load_file(again.model).items())


def test_patience_stops_a_run_that_gets_no_better(tmp_path: Path) -> None:
    heard = Heard()
    overrides = {**SHORT, "epochs": 30, "patience": 2, "optimizer.lr": 1e-12, "average.decay": 0.0}
    result = jobs.train("digits", overrides=overrides, out=tmp_path / "run", listener=heard)
    assert result.epochs == 3
    assert any("stopped early" in line for line in heard.notices)


def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    overrides = {**SHORT, "epochs": 50, "optimizer.lr": 1e6, "schedule.name": "exponential", "schedule.final": 1e30}
    with pytest.raises(TrainingError, match="not finite") as caught:
        jobs.train("digits", model="resnet20", overrides=overrides, out=tmp_path / "run")
    assert "optimizer.lr" in str(caught.value)
    found = Checkpoints(tmp_path / "run" / "checkpoints").latest()
    assert found is None or all(torch.isfinite(t).all() for n, t in found.tensors.items() if n.startswith("task."))


def test_changed_data_is_not_resumed_on(photographs: Path, tmp_path: Path) -> None:
    jobs.train(photographs, model="resnet20", overrides=TINY, out=tmp_path / "run")
    next((photographs / "across").iterdir()).unlink()
    with pytest.raises(TrainingError, match="not those"):
        jobs.resume(tmp_path / "run")


def test_a_run_on_a_relative_folder_is_resumed_from_anywhere(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photographs.parent)
    jobs.train(photographs.name, model="resnet20", overrides=TINY, out=tmp_path / "run")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert jobs.resume(tmp_path / "run").epochs == 2


def test_unbalanced_classes_are_pointed_out_and_can_be_weighed(photographs: Path, tmp_path: Path) -> None:
    for path in sorted((photographs / "down").iterdir())[5:]:
        path.unlink()
    heard = Heard()
    jobs.train(photographs, model="resnet20", overrides=TINY, out=tmp_path / "a", listener=heard)
    assert any("unbalanced" in line for line in heard.notices)
    heard = Heard()
    overrides = {**TINY, "loss.balance": True}
    jobs.train(photographs, model="resnet20", overrides=overrides, out=tmp_path / "b", listener=heard)
    assert not any("unbalanced" in line for line in heard.notices)


def test_unknown_names_are_refused_before_anything_is_written(photographs: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(UnknownNameError, match="resnet20"):
        jobs.train(photographs, model="resnet2", out=out)
    with pytest.raises(UnknownNameError, match="quick"):
        jobs.train(photographs, recipe="quik", out=out)
    with pytest.raises(UnknownNameError, match="epochs"):
        jobs.train(photographs, model="resnet20", overrides={"epoch": 3}, out=out)
    with pytest.raises(UnknownNameError, match="stem"):
        jobs.train(photographs, model="resnet20", overrides={"edits.stam": "small"}, out=out)
    with pytest.raises(UsageError, match="device"):
        jobs.train(photographs, model="resnet20", device="tpu", out=out)
    assert not out.exists()


def test_an_image_size_below_the_network_s_least_is_refused(photographs: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="smaller"):
        jobs.train(photographs, model="lenet5", overrides={**TINY, "image_size": 8}, out=tmp_path / "run")


def test_batch_norm_never_sees_a_single_image(photographs: Path, tmp_path: Path) -> None:
    # 36 training images in batches of 7 leave one over, which is dropped.
    result = jobs.train(photographs, model="resnet20", overrides={**TINY, "batch_size": 7}, out=tmp_path / "run")
    assert result.epochs == 2


def test_weights_of_the_world_are_fine_tuned(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEOCOG_WEIGHTS", str(shared_data / "weights"))
    result = jobs.train(
        shared_data / "ants_bees",
        recipe="linear_probe",
        overrides={"epochs": 2, "image_size": 160},
        out=tmp_path / "run",
    )
    assert result.measured.images == 153
    assert result.measured.top1 is not None
    assert result.measured.top1 > 0.85
    assert load_model(result.model).card.edits == {"padding": "same"}


TOGETHER = """
import json, os, sys
from neocog import jobs
from neocog.cli import main
from neocog.jobs import _finish
measured, results = [], []
measure, train = _finish.measure, jobs.train
_finish.measure = lambda *arguments: measured.append(arguments[2].name) or measure(*arguments)
jobs.train = lambda *arguments, **options: results.append(train(*arguments, **options)) or results[-1]
code = main(["train", "digits", "--epochs", "2", "--set", "batch_size=32", "--out", sys.argv[1]])
test = results[0].test
with open(f"{sys.argv[1]}/rank{os.environ['RANK']}.json", "w") as file:
    json.dump({"code": code, "measured": measured, "heard": [test.top1, test.to_dict()["confusion"]]}, file)
"""


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run that `neocog train` made in two processes, with what each of them measured and heard."""
    folder = tmp_path_factory.mktemp("together")
    (folder / "together.py").write_text(TOGETHER)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]
    done = subprocess.run(
        [*command, str(folder / "together.py"), str(folder / "run")],
        capture_output=True, text=True, timeout=300, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return folder / "run"


def test_two_processes_train_one_run(together: Path, tmp_path: Path) -> None:
    alone = jobs.train("digits", overrides={**SHORT, "batch_size": 32, "accumulate": 2}, out=tmp_path / "alone")
    weights = load_file(together / "model.safetensors")
    for name, tensor in load_file(alone.model).items():
        torch.testing.assert_close(weights[name], tensor, rtol=1e-3, atol=1e-5)
    for ours, theirs in zip(Run.open(together).read_metrics(), Run.open(alone.run).read_metrics(), strict=True):
        for name in ("train_loss", "train_top1", "val_loss", "val_top1"):  # of both processes' images
            assert ours[name] == pytest.approx(theirs[name], rel=1e-3), name


def test_the_main_process_alone_measures_and_all_hear_of_it(together: Path) -> None:
    first, second = (json.loads((together / f"rank{rank}.json").read_text()) for rank in (0, 1))
    assert (first["code"], second["code"]) == (0, 0)
    assert (first["measured"], second["measured"]) == (["digits/validation", "digits/test"], [])
    assert first["heard"] == second["heard"]


def test_processes_ask_each_other_once_a_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[bool, ...]] = []
    monkeypatch.setattr(Alone, "any", lambda sync, *flags: asked.append(flags) or flags)
    jobs.train("digits", overrides=SHORT, out=tmp_path / "run")
    assert len(asked) == Run.open(tmp_path / "run").read_metrics()[-1]["step"]


def test_without_validation_the_last_epoch_ships_and_the_report_says_so(photographs: Path, tmp_path: Path) -> None:
    heard = Heard()
    overrides = {**TINY, "validation": 0, "patience": 1, "average.decay": 0.0}
    result = jobs.train(photographs, model="resnet20", overrides=overrides, out=tmp_path / "run", listener=heard)
    assert (result.validation, result.test, result.epochs) == (None, None, 2)
    assert result.measured.images == 40
    assert not any(name.startswith("val_") for row in heard.rows for name in row)
    assert any("but those that were trained on" in line for line in heard.notices)
    page = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", result.report.read_text()))
    assert "weights in the model file the weights of the last epoch" in page
    assert "of 40 training images right" in page.replace("\N{NO-BREAK SPACE}", " ")
    assert "but those that were trained on" in page
    assert "the best was epoch" not in page
    assert "best on validation" not in page
    checkpoint = Checkpoints(result.run / "checkpoints").latest()
    assert checkpoint is not None
    for name, tensor in load_file(result.model).items():
        assert torch.equal(tensor, checkpoint.tensors[f"task.network.{name}"])
    assert jobs.resume(result.run).measured.top1 == result.measured.top1


def test_with_validation_the_report_names_the_best_epoch(digits: jobs.TrainResult) -> None:
    assert "the best was epoch" in digits.report.read_text()
    assert "the weights best on validation" in digits.report.read_text()


def test_a_run_that_fails_before_its_first_checkpoint_does_not_block_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise TrainingError("out of memory; lower the batch size")

    with monkeypatch.context() as patch:
        patch.setattr(_loop, "build_task", fail)
        with pytest.raises(TrainingError):
            jobs.train("digits", overrides=SHORT, out=tmp_path / "run")
    again = jobs.train("digits", overrides={**SHORT, "epochs": 1, "batch_size": 64}, out=tmp_path / "run")
    assert again.epochs == 1
    assert json.loads((tmp_path / "run" / "recipe.json").read_text())["batch_size"] == 64


def test_a_range_test_finds_a_rate_that_trains(tmp_path: Path) -> None:
    found = jobs.lr_find("digits", overrides={"threads": 1}, steps=60, out=tmp_path / "lr.png")
    assert Image.open(found.figure).size[0] > 300
    assert 1e-4 < found.suggestion < 1.0
    assert list(found.lrs) == sorted(found.lrs)
