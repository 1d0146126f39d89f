"""From a plan to the objects that do the work."""

from __future__ import annotations

import torch

from neocog.data.loading import EvaluationBatches, TrainingBatches, evaluation_batches, training_batches
from neocog.data.table import Split, Splits
from neocog.jobs._plan import Plan
from neocog.models import Classifier, create_model
from neocog.train.deep_supervision import DeepSupervisionTask
from neocog.train.self_organising import SelfOrganisingTask
from neocog.train.supervised import SupervisedTask


def build_task(plan: Plan, splits: Splits, *, fresh: bool = True) -> SupervisedTask:
    """Return the plan's task on its device.

    `fresh` loads the published weights that the recipe starts from; a state that is restored replaces them anyway.
    """
    recipe = plan.recipe
    network = build_network(plan, fresh=fresh).to(plan.device)
    if recipe.channels_last:
        network = network.to(memory_format=torch.channels_last)
    if recipe.compile:
        network.compile()
    weights = class_weights(splits) if recipe.loss.balance else None
    task: SupervisedTask
    if recipe.loss.auxiliary_weight > 0:
        task = DeepSupervisionTask(
            network,
            recipe.loss,
            epochs=recipe.epochs,
            class_weights=weights,
            freeze_norms=recipe.freeze_norms,
        )
    elif recipe.organise:
        task = SelfOrganisingTask(network, recipe.loss, images=recipe.organise, class_weights=weights)
    else:
        task = SupervisedTask(
            network,
            recipe.loss,
            class_weights=weights,
            only_head=recipe.train == "head",
            freeze_norms=recipe.freeze_norms,
        )
    return task.to(plan.device)


def build_network(plan: Plan, *, fresh: bool) -> Classifier:
    """Return the plan's network with as many logits as there are classes."""
    recipe = plan.recipe
    torch.manual_seed(recipe.seed)
    return create_model(
        recipe.model,
        num_classes=len(plan.classes),
        in_chans=plan.in_chans,
        weights=recipe.weights if fresh else None,
        **recipe.edits,
    )


def class_weights(splits: Splits) -> torch.Tensor:
    """Return weights `(K,)` inverse to the classes' frequencies, of mean 1 over the training images."""
    counts = torch.tensor(splits.class_counts, dtype=torch.float32).clamp(min=1)
    return counts.sum() / (len(counts) * counts)


def build_batches(plan: Plan, split: Split, *, rank: int = 0, world_size: int = 1) -> TrainingBatches:
    """Return the training batches of one process."""
    recipe = plan.recipe
    return training_batches(
        split,
        plan.preprocessing,
        recipe.augment,
        batch_size=recipe.batch_size,
        accumulate=recipe.accumulate,
        seed=recipe.seed,
        rank=rank,
        world_size=world_size,
        workers=int(recipe.workers),
        device=plan.device,
        channels_last=bool(recipe.channels_last),
        in_memory=plan.in_memory,
    )


def measuring_batches(plan: Plan, split: Split) -> EvaluationBatches:
    """Return the batches of `split` as prediction would see its images."""
    return evaluation_batches(
        split,
        plan.preprocessing,
        batch_size=max(plan.recipe.batch_size, 64),
        workers=int(plan.recipe.workers),
        device=plan.device,
        channels_last=bool(plan.recipe.channels_last),
        in_memory=plan.in_memory,
    )
