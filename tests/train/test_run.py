"""A run's directory explains itself, belongs to one process at a time, and says clearly what cannot be done."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from neocog.errors import StorageError, TrainingError, UsageError
from neocog.train.run import Run

RECIPE = {"name": "quick", "optimizer": {"lr": 0.1}}
FACTS = {"source": "photos", "command": "neocog train photos"}


def start(out: Path) -> Run:
    return Run.create(out, name="photos-resnet18", recipe=RECIPE, facts=FACTS)


def test_a_new_run_says_what_it_is(tmp_path: Path) -> None:
    run = start(tmp_path / "deep" / "run")
    assert json.loads((run.path / "recipe.json").read_text()) == RECIPE
    facts = json.loads((run.path / "run.json").read_text())
    assert facts.items() >= FACTS.items()
    assert facts["status"] == "created"
    assert json.loads((run.path / "environment.json").read_text())["python"]
    assert run.writes


def test_without_a_place_runs_are_numbered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    runs = [Run.create(None, name="my photos/../x-resnet18", recipe=RECIPE, facts={}).path.as_posix() for _ in range(3)]
    assert runs == [f"runs/my-photos-..-x-resnet18-{number}" for number in (1, 2, 3)]


def test_a_directory_with_other_things_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("words")
    with pytest.raises(UsageError, match=r"is not empty .it holds thesis\.txt.; choose another --out"):
        start(tmp_path)
    assert os.listdir(tmp_path) == ["thesis.txt"]
    with pytest.raises(UsageError, match="is a file"):
        start(tmp_path / "thesis.txt")


def test_a_directory_with_a_run_says_how_to_resume(tmp_path: Path) -> None:
    run = start(tmp_path / "my run")
    run.append_metrics({"epoch": 1, "step": 1, "loss": 0.5})
    with pytest.raises(UsageError, match=r"already holds a run; go on with `neocog train --resume '.*my run'`"):
        start(tmp_path / "my run")
    assert Run.resume_command_of(run.path) == f"neocog train --resume '{tmp_path / 'my run'}'"


def test_what_a_kill_left_while_a_run_was_created_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / "recipe.json").write_text("{}")
    (tmp_path / ".neocog-0123456789abcdef.tmp").write_text("half")
    with start(tmp_path):
        assert not (tmp_path / ".neocog-0123456789abcdef.tmp").exists()
    assert json.loads((tmp_path / "recipe.json").read_text()) == RECIPE


def fail_early(out: Path) -> None:
    with pytest.raises(TrainingError), start(out) as run:  # noqa: PT012
        run.log("about to begin")
        run.checkpoints.directory.mkdir()
        raise TrainingError("out of memory")


def test_a_run_that_ended_with_nothing_to_keep_gives_its_place_to_the_next(tmp_path: Path) -> None:
    fail_early(tmp_path / "run")
    again = Run.create(tmp_path / "run", name="x", recipe={"name": "another"}, facts={"command": "neocog train x"})
    assert json.loads((again.path / "recipe.json").read_text()) == {"name": "another"}
    facts = json.loads((again.path / "run.json").read_text())
    assert (facts["status"], facts["command"], "reason" in facts) == ("created", "neocog train x", False)
    assert "about to begin" in (again.path / "log.txt").read_text()


def test_a_run_with_a_checkpoint_keeps_its_place(tmp_path: Path) -> None:
    fail_early(tmp_path / "run")
    with Run.open(tmp_path / "run") as run:
        run.checkpoints.save(1, {"w": torch.zeros(1)}, {})
    with pytest.raises(UsageError, match="already holds a run"):
        start(tmp_path / "run")


def test_what_a_person_put_into_a_run_that_ended_early_keeps_its_place(tmp_path: Path) -> None:
    fail_early(tmp_path)
    (tmp_path / "notes.txt").write_text("words")
    before = (tmp_path / "run.json").read_text()
    with pytest.raises(UsageError, match="already holds a run"):
        start(tmp_path)
    assert (tmp_path / "run.json").read_text() == before


def test_a_run_json_that_is_not_neocog_s_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"mine": true}')
    with pytest.raises(UsageError, match="already holds a run"):
        start(tmp_path)
    assert os.listdir(tmp_path) == ["run.json"]


def test_a_place_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="not a directory") as caught:
        start(tmp_path / "file" / "run")
    assert "\n" not in str(caught.value)


def test_opening_gives_the_same_run(tmp_path: Path) -> None:
    created = start(tmp_path / "run")
    opened = Run.open(tmp_path / "run")
    assert opened.facts == created.facts
    assert opened.path == created.path


@pytest.mark.parametrize(
    ("content", "kind", "problem"),
    [
        (None, UsageError, r"is not the directory of a run: it holds no run\.json"),
        ("", TrainingError, "is damaged"),
        ("[]", TrainingError, "is damaged"),
        ('{"status": "running"}', TrainingError, "is damaged"),
        ('{"format": 99, "neocog": "9.1"}', TrainingError, r"neocog 9\.1, which is newer"),
    ],
)
def test_what_is_not_a_run_is_refused(tmp_path: Path, content: str | None, kind: type[Exception], problem: str) -> None:
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    with pytest.raises(kind, match=problem):
        Run.open(tmp_path)


def test_a_missing_directory_is_not_a_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no run at"):
        Run.open(tmp_path / "none")


def status(run: Run) -> dict[str, Any]:
    return json.loads((run.path / "run.json").read_text())


def test_the_status_follows_the_run(tmp_path: Path) -> None:
    run = start(tmp_path / "run")
    with pytest.raises(TrainingError), run:  # noqa: PT012
        assert status(run)["status"] == "running"
        raise TrainingError("the loss is not finite")
    assert (status(run)["status"], status(run)["reason"]) == ("stopped", "the loss is not finite")
    with Run.open(run.path) as again:
        again.finish({"test_top1": 0.9})
    assert status(run)["status"] == "finished"
    assert status(run)["metrics"] == {"test_top1": 0.9}
    assert "reason" not in status(run)


def test_on_a_full_disk_the_first_error_is_the_one_that_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = start(tmp_path / "run")

    def refuse(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(StorageError, match="step-0000000001"), run:  # noqa: PT012
        monkeypatch.setattr(os, "fsync", refuse)
        run.checkpoints.save(1, {"w": torch.zeros(3)}, {})
    monkeypatch.undo()
    with Run.open(run.path):
        pass


HOLD = """
import os, sys, time
from neocog.train.run import Run
with Run.open(sys.argv[1]):
    if os.fork() == 0:  # a data worker that outlives a killed parent for a while
        time.sleep(30)
        os._exit(0)
    print("ready", flush=True)
    time.sleep(30)
"""


def test_two_processes_cannot_train_into_one_run_and_a_kill_frees_it(tmp_path: Path) -> None:
    run = start(tmp_path / "run")
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(run.path)],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "ready\n"
        with pytest.raises(TrainingError, match=f"process {holder.pid} is training into"), Run.open(run.path):
            pass
        with pytest.raises(TrainingError, match=f"process {holder.pid} is training into"):
            start(run.path)  # it holds nothing yet, but soon will
        assert status(run)["status"] == "running"
        holder.kill()
        holder.wait()
        with Run.open(run.path):
            assert status(run)["process"] == os.getpid()
    finally:
        os.killpg(holder.pid, signal.SIGKILL)


def locked_elsewhere(run: Run) -> bool:
    """Ask in another process, since a process never stands in its own way."""
    child = os.fork()
    if child == 0:
        with (run.path / ".lock").open("a") as file:
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1


def test_the_lock_is_given_back_at_the_end_and_after_an_error(tmp_path: Path) -> None:
    run = start(tmp_path / "run")
    with run:
        assert locked_elsewhere(run)
    assert not locked_elsewhere(run)
    with pytest.raises(KeyboardInterrupt), run:
        raise KeyboardInterrupt
    assert not locked_elsewhere(run)


def scalars(folder: Path, name: str) -> dict[int, float]:
    """Read a curve as TensorBoard shows it."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return {event.step: event.value for event in events.Scalars(name)}


def test_metrics_reach_the_table_and_tensorboard_and_do_not_double_back(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    with start(tmp_path / "run") as run:
        for step in (10, 20, 30):
            run.append_metrics({"epoch": step // 10, "step": step, "loss": 1 / step})
    with Run.open(run.path) as resumed:
        resumed.drop_metrics_after(20)
        resumed.append_metrics({"epoch": 3, "step": 30, "loss": 5.0, "top1": 0.5})
    assert [(row["step"], row["loss"]) for row in resumed.read_metrics()] == [
        (10, 0.1),
        (20, 0.05),
        (30, 5.0),
    ]
    assert scalars(run.path / "events", "loss") == pytest.approx({10: 0.1, 20: 0.05, 30: 5.0})
    assert scalars(run.path / "events", "top1") == {30: 0.5}


def test_without_tensorboard_the_table_is_written_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neocog.train.run.find_spec", lambda name: None)
    with start(tmp_path / "run") as run:
        run.append_metrics({"step": 1, "loss": 0.5})
        run.drop_metrics_after(1)
    assert run.read_metrics() == [{"step": 1, "loss": 0.5}]
    assert not (run.path / "events").exists()


def test_log_lines_have_a_time(tmp_path: Path) -> None:
    run = start(tmp_path / "run")
    run.log("the classes are unbalanced: été")
    run.log("done")
    lines = (run.path / "log.txt").read_text().splitlines()
    assert [line.split("  ", 1)[1] for line in lines] == ["the classes are unbalanced: été", "done"]


def process(rank: int, folder: str, port: int) -> None:
    """One of two processes: only the first writes, both know the place and hear of its errors."""
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    os.chdir(folder)
    with Run.create(None, name="two", recipe=RECIPE, facts=FACTS) as run:
        assert run.path == Path("runs/two-1")
        assert run.writes == (rank == 0)
        run.append_metrics({"step": 1, "loss": float(rank)})
        run.checkpoints.save(1, {"rank": torch.tensor(rank)}, {})
        run.log(f"rank {rank}")
        run.finish({})
        dist.barrier()
        found = run.checkpoints.latest()
        assert found is not None
        assert found.tensors["rank"] == 0
        assert run.read_metrics() == [{"step": 1, "loss": 0.0}]
    with pytest.raises(UsageError, match="already holds a run"):
        Run.create("runs/two-1", name="two", recipe=RECIPE, facts=FACTS)
    dist.destroy_process_group()


def test_of_several_processes_one_writes(tmp_path: Path) -> None:
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(process, (str(tmp_path), port), nprocs=2)
    assert os.listdir(tmp_path / "runs") == ["two-1"]
    lines = (tmp_path / "runs" / "two-1" / "log.txt").read_text().splitlines()
    assert [line.split("  ")[1] for line in lines] == ["rank 0"]
