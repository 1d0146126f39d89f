"""Which weights of a run ship: those best on validation, or the last where there is nothing to choose by."""

from __future__ import annotations

import torch

from neocog.data.table import Splits
from neocog.inference.evaluation import evaluate_network
from neocog.inference.model_file import Card, save_model
from neocog.jobs._build import measuring_batches
from neocog.jobs._epochs import EpochLog
from neocog.jobs._plan import Plan
from neocog.models import Classifier, model_edits
from neocog.train.distributed import Alone
from neocog.train.run import Run
from neocog.train.state import State


class Shipping:
    """Keeps in a run's model file the weights that would ship if the run ended now.

    The main process alone measures and writes; the others hear what it found.
    """

    def __init__(self, run: Run, plan: Plan, splits: Splits, network: Classifier, sync: Alone) -> None:
        self.run, self.plan, self.network, self.sync = run, plan, network, sync
        self.chooses = splits.validation is not None
        self._batches = None
        if splits.validation is not None and sync.is_main:
            self._batches = measuring_batches(plan, splits.validation)

    def after_epoch(self, state: State, log: EpochLog) -> dict[str, float]:
        """Keep the weights, averaged where the run averages, if they are the best yet; return what validation gave."""
        if not self.chooses:
            log.improves(state.epoch, state.epoch)
            if self.sync.is_main:
                with state.average.in_place():
                    save_model(self.run.model, self.network, model_card(self.plan, self.network, {}))
            return {}
        figures = torch.zeros(3, dtype=torch.float64)
        if self._batches is not None:
            with state.average.in_place():
                report, _ = evaluate_network(
                    self.network,
                    self._batches,
                    classes=self.plan.classes,
                    multi_label=self.plan.multi_label,
                    precision=self.plan.recipe.forward_precision,
                )
                better = log.improves(report.score, state.epoch)
                figures = torch.tensor([report.loss, report.score, better], dtype=torch.float64)
                if better:
                    found = {f"validation_{self.plan.score}": report.score}
                    save_model(self.run.model, self.network, model_card(self.plan, self.network, found))
        # The verdict is sent too, because all must stop early at the same epoch.
        loss, score, better = self.sync.gather(figures)[0].tolist()
        if better > 0.5 and not self.sync.is_main:
            log.best_score, log.best_epoch = score, state.epoch
        return {"val_loss": loss, f"val_{self.plan.score}": score}


def model_card(plan: Plan, network: Classifier, metrics: dict[str, float]) -> Card:
    """Return what the model file says of itself."""
    return Card(
        model=plan.recipe.model,
        edits=model_edits(network),
        num_classes=len(plan.classes),
        in_chans=plan.in_chans,
        classes=plan.classes,
        multi_label=plan.multi_label,
        preprocessing=plan.preprocessing,
        recipe=plan.recipe.model_dump(mode="json"),
        metrics=metrics,
        data=plan.source,
    )
