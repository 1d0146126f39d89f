"""Train: a folder of images in, a run directory with a measured model file out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from neocog.data.named import DATASETS
from neocog.data.sources import load_data
from neocog.errors import TrainingError
from neocog.jobs._device import choose_device
from neocog.jobs._finish import TrainResult
from neocog.jobs._loop import Interrupted, run_plan
from neocog.jobs._plan import Plan, agree, fingerprint, plan_stages
from neocog.jobs.listener import Listener
from neocog.jobs.staged import begin_run, begin_stages, plans_of, run_stages
from neocog.recipes import Recipe
from neocog.train.distributed import join_processes, leave_processes, under_torchrun
from neocog.train.run import Run

__all__ = ["Interrupted", "TrainResult", "resume", "train"]


def train(
    source: str | Path,
    *,
    model: str | None = None,
    recipe: str | Recipe | Sequence[Recipe] = "quick",
    weights: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    data_dir: str | Path | None = None,
    device: str | None = None,
    command: str | None = None,
    listener: Listener | None = None,
) -> TrainResult:
    """Train a classifier on `source` and write everything into a run directory.

    Args:
        source: a folder, table, shards or the name of a data set; see `neocog.data.sources.load_data`.
        model: a network of the catalog; None takes the recipe's.
        recipe: a recipe's name, a `Recipe`, or several that are trained one after the other, each from the weights of
            the one before.
        weights: "default", a tag of the catalog or a file to start from; None leaves it to the recipe.
        overrides: fields of the recipe by dotted name, such as `{"optimizer.lr": 0.05}`; of several, of each.
        out: the run directory; None makes one below `runs/`.
        data_dir: where local copies of a named data set lie.
        device: "cpu", "cuda" or "cuda:N"; None takes a GPU where there is one.
        command: what the person typed, kept in run.json.
        listener: who hears the progress.

    Raises:
        NeocogError: of the kind that fits: data, weights, usage, training, storage, or `Interrupted`.
    """
    listener = listener or Listener()
    splits, plans = plan_stages(
        source,
        data_dir=data_dir,
        model=model,
        recipe=recipe,
        weights=weights,
        overrides=overrides or {},
        device=device,
        listener=listener,
    )
    facts = {"directory": str(Path.cwd()), "command": command, "warnings": list(splits.warnings)}
    join_processes(plans[0].device)
    try:
        plans = agree(plans)
        name = f"{splits.name}-{plans[-1].recipe.model}"
        if len(plans) > 1:
            return run_stages(begin_stages(out, name, plans, facts), plans, splits, listener)
        with begin_run(out, name, plans[0], facts) as run:
            return run_plan(run, plans[0], splits, listener, fresh=True)
    finally:
        leave_processes()


def resume(run: str | Path, *, workers: int | None = None, listener: Listener | None = None) -> TrainResult:
    """Go on with the run in directory `run`; it ends in the weights that the unbroken run would have had.

    Args:
        run: the run's directory; of a run in stages the whole's.
        workers: processes that decode photographs, the one choice that may change; None keeps the run's.
        listener: who hears the progress.

    Raises:
        TrainingError: the directory holds no run, or its data changed since.
    """
    listener = listener or Listener()
    opened = Run.open(run)
    plans = [_here(plan, workers) for plan in plans_of(opened)]
    plan = plans[0]
    begun_in = str(opened.facts.get("directory", ""))
    splits = load_data(
        located(plan.source, begun_in),
        data_dir=None if plan.data_dir is None else Path(located(plan.data_dir, begun_in)),
        validation=plan.recipe.validation,
        seed=plan.recipe.seed,
    )
    if fingerprint(splits.train) != plan.fingerprint:
        raise TrainingError(
            f"the training images of {plan.source} are not those that the run in {run} was started with; "
            "put them back, or start a new run"
        )
    join_processes(plan.device)
    try:
        if len(plans) > 1:
            return run_stages(opened, plans, splits, listener)
        with opened:
            return run_plan(opened, plan, splits, listener, fresh=False)
    finally:
        leave_processes()


def _here(plan: Plan, workers: int | None) -> Plan:
    """Return `plan` for this process and so many workers."""
    if under_torchrun() and plan.device.startswith("cuda"):
        plan = plan.model_copy(update={"device": choose_device("cuda")})  # the plan names the main process's GPU
    if workers is not None:
        plan = plan.model_copy(update={"recipe": plan.recipe.override({"workers": workers})})
    return plan


def located(name: str, directory: str) -> str:
    """Return the path `name` as it was meant in `directory`; a data set's name stays what it is."""
    there = Path(directory, name)
    return str(there) if name not in DATASETS and there.exists() else name
