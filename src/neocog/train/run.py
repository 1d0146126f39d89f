"""`Run`: a directory that explains itself.

recipe.json         the resolved recipe
run.json            what was asked for, and how it stands
environment.json    versions and machine
metrics.csv         a row for each epoch
events/             the same for TensorBoard, where it is installed
log.txt             what was said
checkpoints/        where the run can be taken up again
figures/            plots
model.safetensors   the trained network, with all that its use needs
report.html         the whole on one page
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from datetime import datetime
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch.distributed as dist

from neocog._files import append_text, is_temporary, remove_temporaries, storing, write_json
from neocog._version import __version__
from neocog.errors import NeocogError, StorageError, TrainingError, UsageError
from neocog.train._lock import DirectoryLock
from neocog.train.checkpoint import Checkpoints
from neocog.train.distributed import once
from neocog.train.environment import describe_environment
from neocog.train.metrics_file import MetricsFile

FORMAT = 1
RUNS = Path("runs")
_FACTS = "run.json"
# What a run that was killed while it was created may have left; run.json comes last.
_WRITTEN_FIRST = {"recipe.json", "environment.json"}
# What it holds until its first checkpoint or row of metrics.
_WRITTEN_EARLY = {*_WRITTEN_FIRST, _FACTS, "log.txt", ".lock", "checkpoints"}


class Run:
    """The directory of one training run; `with run:` keeps other processes out of it while it trains.

    Under `torchrun` every process has one, and only the main process's writes.

    Attributes:
        path: the directory.
        facts: what run.json holds.
        writes: whether this process writes.
        checkpoints: where the run can be taken up again.
    """

    def __init__(self, path: Path, facts: Mapping[str, Any]) -> None:
        self.path, self.facts = path, dict(facts)
        self.writes = not dist.is_initialized() or dist.get_rank() == 0
        self.checkpoints = Checkpoints(path / "checkpoints", writes=self.writes)
        self._metrics = MetricsFile(path / "metrics.csv")
        self._lock = DirectoryLock(path)
        self._events: Any = None
        self._purge_from: int | None = None

    @classmethod
    def create(cls, out: str | Path | None, *, name: str, recipe: Mapping[str, Any], facts: Mapping[str, Any]) -> Self:
        """Make the directory of a new run.

        Args:
            out: the directory, new or empty, or of a run that ended before it had anything to keep: its place is taken,
                and its log goes on. None makes `runs/<name>-<n>` with the first free n.
            name: what the run is of, such as "photos-resnet18".
            recipe: the resolved recipe, in plain types.
            facts: what else run.json shall say, in plain types.

        Raises:
            UsageError: the directory already holds a run or something else.
            TrainingError: another process is training into it.
            StorageError: the directory cannot be made or written.
        """
        made = once(lambda: _make_directory(out, name))
        run = cls(made, {**_first_facts(), **facts})
        once(lambda: run._write_first(recipe))
        return run

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Return the run in directory `path`, to resume or to read it.

        Raises:
            UsageError: there is no run.
            TrainingError: its run.json is damaged or of a newer neocog.
        """
        path = Path(path)
        if not path.exists():
            raise UsageError(f"there is no run at {path}; `neocog train DATA --out {path}` starts one")
        if not (path / _FACTS).is_file():
            raise UsageError(f"{path} is not the directory of a run: it holds no {_FACTS}")
        try:
            facts = json.loads((path / _FACTS).read_text(encoding="utf-8", errors="surrogateescape"))
            written = int(facts["format"])
        except (ValueError, KeyError, TypeError) as error:
            raise TrainingError(f"{path / _FACTS} is damaged; start a new run with another --out") from error
        except OSError as error:
            raise TrainingError(f"cannot read {path / _FACTS}: {error.strerror}") from error
        if written > FORMAT:
            raise TrainingError(
                f"the run in {path} was started by neocog {facts.get('neocog', '?')}, which is newer than "
                f"{__version__}; install it to resume"
            )
        return cls(path, facts)

    @property
    def figures(self) -> Path:
        """The folder of plots."""
        return self.path / "figures"

    @property
    def model(self) -> Path:
        """The model file."""
        return self.path / "model.safetensors"

    @property
    def report(self) -> Path:
        """The report."""
        return self.path / "report.html"

    @staticmethod
    def resume_command_of(path: Path) -> str:
        """Return what to type to go on with the run in directory `path`."""
        return f"neocog train --resume {shlex.quote(str(path))}"

    def __enter__(self) -> Self:
        """Take the directory for this process.

        Raises:
            TrainingError: another process trains into it.
            StorageError: the directory cannot be written.
        """
        if self.writes:
            self._lock.acquire()
            for folder in (self.path, self.figures, self.checkpoints.directory):
                if folder.is_dir():
                    remove_temporaries(folder)
            self.update(status="running", process=os.getpid())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Note why the run ended, where it did not finish, and let others have the directory."""
        if not self.writes:
            return
        try:
            # On a full disk neither can be written, and it is the first error that the person must see.
            with suppress(StorageError) if error else nullcontext():
                if error is not None:
                    said = str(error) if isinstance(error, NeocogError) else type(error).__name__
                    self.update(status="stopped", reason=said)
                if self._events is not None:
                    with storing(self.path / "events"):
                        self._events.close()
        finally:
            self._events = None
            self._lock.release()

    def update(self, **facts: Any) -> None:
        """Set entries of run.json; raises `StorageError`."""
        self.facts |= facts | {"updated": _now()}
        if self.writes:
            write_json(self.path / _FACTS, self.facts)

    def finish(self, metrics: Mapping[str, float]) -> None:
        """Note that the run is done and what it measured."""
        self.facts.pop("reason", None)
        self.update(status="finished", metrics=dict(metrics))

    def append_metrics(self, row: Mapping[str, float]) -> None:
        """Add a row to metrics.csv and to TensorBoard's events.

        The row has a "step", and a new name makes a new column. Append a step's row before its checkpoint is
        saved: resuming keeps the rows up to the checkpoint's step.
        """
        if not self.writes:
            return
        self._metrics.append(row)
        if self._events is None and find_spec("tensorboard") is not None:
            from torch.utils.tensorboard import SummaryWriter

            with storing(self.path / "events"):
                self._events = SummaryWriter(str(self.path / "events"), purge_step=self._purge_from)
        if self._events is not None:
            with storing(self.path / "events"):
                for name, value in row.items():
                    if name not in ("step", "epoch"):
                        self._events.add_scalar(name, value, int(row["step"]))
                self._events.flush()

    def drop_metrics_after(self, step: int) -> None:
        """Drop what was measured beyond `step`, before training goes on, so that no curve doubles back."""
        if self.writes:
            self._metrics.drop_after(step)
            # TensorBoard hides what other files of the folder hold from this step on.
            self._purge_from = step + 1 if (self.path / "events").exists() else None

    def read_metrics(self) -> list[dict[str, float]]:
        """Return the rows of metrics.csv; a name without a value in a row is left out of it."""
        return self._metrics.read()

    def log(self, text: str) -> None:
        """Add a line with the time to log.txt."""
        if self.writes:
            append_text(self.path / "log.txt", f"{_now()}  {text}\n")

    def _write_first(self, recipe: Mapping[str, Any]) -> None:
        write_json(self.path / "recipe.json", dict(recipe))
        write_json(self.path / "environment.json", describe_environment())
        write_json(self.path / _FACTS, self.facts)


def _make_directory(out: str | Path | None, name: str) -> Path:
    if out is None:
        return _make_numbered(name)
    path = Path(out)
    with storing(path):
        if path.exists() and not path.is_dir():
            raise UsageError(f"{path} is a file; choose another --out")
        path.mkdir(parents=True, exist_ok=True)
        held = {entry.name for entry in path.iterdir() if not is_temporary(entry)}
    if _FACTS not in held:
        if foreign := sorted(held - _WRITTEN_FIRST):
            raise UsageError(f"{path} is not empty (it holds {foreign[0]}); choose another --out")
    elif _ended_early(path, held):
        lock = DirectoryLock(path)  # or has it only just begun, elsewhere?
        lock.acquire()
        lock.release()
    else:
        raise UsageError(
            f"{path} already holds a run; go on with `neocog train --resume {shlex.quote(str(path))}` "
            "or choose another --out"
        )
    return path


def _ended_early(path: Path, held: set[str]) -> bool:
    """Return whether the directory `path`, which holds these names, is of a run that has nothing to go on from."""
    try:
        Run.open(path)
    except NeocogError:  # a run.json that is not neocog's, or not this one's
        return False
    return held <= _WRITTEN_EARLY and not any((path / "checkpoints").glob("*"))


def _make_numbered(name: str) -> Path:
    """Make `runs/<name>-<n>`; of two processes that do so at once each gets its own."""
    plain = re.sub(r"[^\w.-]+", "-", name).strip("-.")[:60] or "run"
    for number in count(1):
        path = RUNS / f"{plain}-{number}"
        with storing(path), suppress(FileExistsError):
            path.mkdir(parents=True)
            return path
    raise AssertionError("count() ends")


def _first_facts() -> dict[str, Any]:
    return {"format": FORMAT, "neocog": __version__, "created": _now(), "status": "created"}


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")
