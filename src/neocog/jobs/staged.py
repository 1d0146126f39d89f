"""Runs in stages: each stage an ordinary run that begins with the weights of the one before.

<run>/stage-1, stage-2, ...     a run each, with its own metrics, report and checkpoints
<run>/stage-2-start.safetensors the network that stage 2 begins with, where it had to be grown from stage 1's
<run>/model.safetensors         the last stage's
<run>/report.html               likewise

VGG was trained so (Simonyan and Zisserman 2014, section 3.1): a deep network begins with layers of a shallow one.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from neocog._files import atomic_file
from neocog.data.table import Splits
from neocog.errors import TrainingError
from neocog.jobs._finish import TrainResult
from neocog.jobs._loop import Interrupted, run_plan
from neocog.jobs._plan import Plan
from neocog.jobs.growing import grow
from neocog.jobs.listener import Listener
from neocog.train.distributed import once
from neocog.train.run import Run


def begin_run(out: str | Path | None, name: str, plan: Plan, facts: Mapping[str, Any]) -> Run:
    """Make the directory of a run in one stage; arguments as those of `Run.create`."""
    return Run.create(
        out,
        name=name,
        recipe=plan.recipe.model_dump(mode="json"),
        facts={"plan": plan.model_dump(mode="json"), **facts},
    )


def begin_stages(out: str | Path | None, name: str, plans: Sequence[Plan], facts: Mapping[str, Any]) -> Run:
    """Make the directory of a run in stages, which keeps the plans of all."""
    return Run.create(
        out,
        name=name,
        recipe={"stages": [plan.recipe.model_dump(mode="json") for plan in plans]},
        facts={"stages": [plan.model_dump(mode="json") for plan in plans], **facts},
    )


def plans_of(run: Run) -> list[Plan]:
    """Return the plans of a run's stages; of most runs one.

    Raises:
        TrainingError: it keeps none that can be read.
    """
    try:
        return [Plan.model_validate(plan) for plan in run.facts.get("stages") or [run.facts.get("plan")]]
    except (ValidationError, TypeError) as error:
        raise TrainingError(f"{run.path / 'run.json'} is damaged; start a new run with another --out") from error


def run_stages(run: Run, plans: Sequence[Plan], splits: Splits, listener: Listener) -> TrainResult:
    """Train the stages one after the other, from wherever they stand, to the last one's measured model file.

    Args:
        run: the directory of the whole, which this process has not taken yet.
        plans: of the stages.
        splits: the images of all.
        listener: who hears the progress.

    Raises:
        Interrupted: a signal came; it names the whole, by which to go on.
    """
    facts = {name: run.facts.get(name) for name in ("directory", "command", "warnings")}
    with run:
        for number, plan in enumerate(plans, start=1):
            path = stage_directory(run, number)
            if number < len(plans) and _finished(path):
                continue
            listener.notice(f"stage {number} of {len(plans)}: {plan.recipe.model}")
            try:
                result = _run_stage(run, number, plan, splits, facts, listener)
            except Interrupted as error:
                raise Interrupted(run.path, error.signal) from error
            figure = f"{plan.score.replace('_', ' ')} {result.measured.score:.4f} of {result.measured.images:,} images"
            for say in (listener.notice, run.log):
                say(f"stage {number} of {len(plans)} is done: {figure}")
        return once(lambda: _conclude(run, len(plans), result))


def stage_directory(run: Run, number: int) -> Path:
    """Return the directory of a stage's run, counted from 1."""
    return run.path / f"stage-{number}"


def _run_stage(
    run: Run, number: int, plan: Plan, splits: Splits, facts: Mapping[str, Any], listener: Listener
) -> TrainResult:
    path = stage_directory(run, number)
    if once(lambda: (path / "run.json").exists()):
        stage = Run.open(path)
        kept = plans_of(stage)[0]
        here = {"device": plan.device, "recipe": kept.recipe.override({"workers": plan.recipe.workers})}
        with stage:
            return run_plan(stage, kept.model_copy(update=here), splits, listener, fresh=False)
    if number > 1:
        start = once(lambda: _start(run, number, plan))
        plan = plan.model_copy(update={"recipe": plan.recipe.override({"weights": str(start)})})
    with begin_run(path, path.name, plan, facts) as stage:
        return run_plan(stage, plan, splits, listener, fresh=True)


def _start(run: Run, number: int, plan: Plan) -> Path:
    """Return the file that stage `number` begins with: the one before's own, or what grew from it."""
    before = stage_directory(run, number - 1)
    model = Run.open(before).model.resolve()
    (known,) = plans_of(Run.open(before))
    if known.recipe.model == plan.recipe.model:
        return model
    path = run.path.resolve() / f"stage-{number}-start.safetensors"
    return grow(model, plan.recipe.model, out=path, seed=plan.recipe.seed, edits=plan.recipe.edits).model


def _finished(path: Path) -> bool:
    return once(lambda: (path / "run.json").exists() and Run.open(path).facts.get("status") == "finished")


def _conclude(run: Run, stages: int, result: TrainResult) -> TrainResult:
    """Put the last stage's model and report at the top, and note what each stage measured and took."""
    paths = tuple(stage_directory(run, number) for number in range(1, stages + 1))
    opened = [Run.open(path) for path in paths]
    for source, place in ((result.model, run.model), (result.report, run.report)):
        with source.open("rb") as file, atomic_file(place) as copy:
            shutil.copyfileobj(file, copy)
    run.update(measured={stage.path.name: stage.facts.get("metrics", {}) for stage in opened})
    run.finish(opened[-1].facts.get("metrics", {}))
    curves = [stage.read_metrics() for stage in opened]
    seconds = sum(rows[-1]["seconds"] for rows in curves)
    return replace(
        result,
        run=run.path,
        model=run.model,
        report=run.report,
        epochs=sum(len(rows) for rows in curves),
        seconds=seconds,
        waiting=sum(map(_waited, curves)) / max(seconds, 1e-9),
        stages=paths,
    )


def _waited(rows: Sequence[Mapping[str, float]]) -> float:
    """Return the seconds that a run's network waited for data, from the rows of its epochs."""
    ends = [0.0, *(row["seconds"] for row in rows)]
    return sum(row["waiting"] * (end - start) for row, start, end in zip(rows, ends, ends[1:], strict=False))
