"""From a plan to the objects that do the work."""

from __future__ import annotations

import torch

from neocog.data.loading import EvaluationBatches, Order, TrainingBatches, evaluation_batches, training_batches
from neocog.data.memory import is_small
from neocog.data.preprocess import Preprocessing
from neocog.data.table import Split, Splits
from neocog.jobs._cache import open_photographs
from neocog.jobs._plan import Plan
from neocog.jobs._preprocessing import look_of, sizes_seen
from neocog.jobs.listener import Listener
from neocog.models import Classifier, create_model
from neocog.train.deep_supervision import DeepSupervisionTask
from neocog.train.focus import FocusedOrder
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
    loss_at = (lambda epoch: recipe.at(epoch).loss) if "loss.label_smoothing" in recipe.vary else None
    task: SupervisedTask
    if recipe.loss.auxiliary_weight > 0:
        task = DeepSupervisionTask(
            network,
            recipe.loss,
            epochs=recipe.epochs,
            class_weights=weights,
            freeze_norms=recipe.freeze_norms,
            unfreeze=recipe.unfreeze,
            loss_at=loss_at,
            whiten=recipe.whiten,
            identity=recipe.identity,
            stem_epochs=recipe.stem_epochs,
        )
    elif recipe.organise:
        task = SelfOrganisingTask(network, recipe.loss, images=recipe.organise, class_weights=weights, loss_at=loss_at)
    else:
        task = SupervisedTask(
            network,
            recipe.loss,
            class_weights=weights,
            only_head=recipe.train == "head",
            freeze_norms=recipe.freeze_norms,
            unfreeze=recipe.unfreeze,
            loss_at=loss_at,
            whiten=recipe.whiten,
            identity=recipe.identity,
            stem_epochs=recipe.stem_epochs,
        )
    if (focus := recipe.focus).share:
        task.focus = FocusedOrder(len(splits.train), seed=recipe.seed, share=focus.share, start=focus.start)
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


def build_batches(
    plan: Plan,
    split: Split,
    *,
    rank: int = 0,
    world_size: int = 1,
    listener: Listener | None = None,
    task: SupervisedTask | None = None,
) -> TrainingBatches:
    """Return the training batches of one process, in the order that `task` wants, if it wants one."""
    order: Order | None = None if task is None or task.focus is None else task.focus.order
    recipe, usual = plan.recipe, plan.preprocessing
    workers = int(recipe.workers)
    cache = open_photographs(
        split, plan.cache, channels=plan.in_chans, workers=workers, listener=listener or Listener()
    )
    return training_batches(
        split,
        usual.model_copy(update={"size": max(sizes_seen(recipe, usual))}),  # other sizes are made from this one
        recipe.augment,
        batch_size=recipe.batch_size,
        accumulate=recipe.accumulate,
        seed=recipe.seed,
        rank=rank,
        world_size=world_size,
        workers=workers,
        device=plan.device,
        channels_last=bool(recipe.channels_last),
        in_memory=plan.in_memory,
        repeats=recipe.repeats,
        mixing=recipe.mix,
        looks=(lambda epoch: look_of(recipe, usual, epoch)) if recipe.vary else None,
        order=order,
        cache=cache,
    )


def measuring_batches(plan: Plan, split: Split, preprocessing: Preprocessing | None = None) -> EvaluationBatches:
    """Return the batches of `split` as prediction would see its images, or prepared otherwise for other views."""
    way = preprocessing or plan.preprocessing
    return evaluation_batches(
        split,
        way,
        batch_size=max(plan.recipe.batch_size, 64),
        workers=int(plan.recipe.workers),
        device=plan.device,
        channels_last=bool(plan.recipe.channels_last),
        in_memory=plan.in_memory and is_small(way.size),
    )
