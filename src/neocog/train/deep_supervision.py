"""Deep supervision: losses of auxiliary heads on hidden layers, added to the network's own while it trains."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from neocog.data.loading import Batch
from neocog.errors import UsageError
from neocog.models._classifier import Classifier
from neocog.models._tap import tap
from neocog.train.losses import classification_loss
from neocog.train.recipe import Loss
from neocog.train.schedules import auxiliary_weight
from neocog.train.supervised import SupervisedTask
from neocog.train.task import TaskLoss


class DeepSupervisionTask(SupervisedTask):
    """Trains a `Classifier` by its own loss and those of its auxiliary heads.

    The total is L + w Σ max(0, L_m - γ) over the heads m, with weight w and threshold γ of `loss`. With γ = 0 and
    w = 0.3 it is GoogLeNet's (Szegedy et al. 2014, "Going deeper with convolutions", section 5). With γ above 0 a
    head that does well enough is left alone, and with `auxiliary_decay` w falls to 0 towards the last epoch (Lee et al.
    2014, "Deeply-supervised nets", equation 3 and below). Deviation: that equation has the norms of the heads' weights
    within the threshold too; here weight decay sees to them, as in the authors' code.

    What heads classify is read where the network computes it, so that its `forward` stays what it is. A compiled
    network therefore runs uncompiled in this task.

    Args:
        network: a classifier that was built with auxiliary heads.
        loss: what is minimised, here and at each head, and the heads' weight.
        epochs: of the whole run, by which the weight decays.
        class_weights: `(K,)` weights of the classes, or None for equal ones.
        freeze_norms: keep batch norms in evaluation mode, those of the heads too.
        unfreeze: as `SupervisedTask` has it; the auxiliary heads move from the start.
        loss_at: the loss of an epoch, where it is not the same in all.
        whiten: as `SupervisedTask` has it, and so have `identity` and `stem_epochs`.
        identity: see there; auxiliary heads begin as they do.
        stem_epochs: see there.

    Raises:
        UsageError: a network without auxiliary heads.
    """

    def __init__(
        self,
        network: Classifier,
        loss: Loss,
        *,
        epochs: int = 1,
        class_weights: Tensor | None = None,
        freeze_norms: bool = False,
        unfreeze: float = 0.0,
        loss_at: Callable[[int], Loss] | None = None,
        whiten: int = 0,
        identity: bool = False,
        stem_epochs: float | None = None,
    ) -> None:
        super().__init__(
            network,
            loss,
            class_weights=class_weights,
            freeze_norms=freeze_norms,
            unfreeze=unfreeze,
            loss_at=loss_at,
            whiten=whiten,
            identity=identity,
            stem_epochs=stem_epochs,
        )
        if not network.auxiliary_heads:
            raise UsageError(f"{network.name or type(network).__name__} has no auxiliary heads to train")
        self.epochs = epochs

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Load a checkpoint; older ones count steps here, which the loop does."""
        kept = {name: value for name, value in state_dict.items() if name not in ("step", "steps_per_epoch")}
        return super().load_state_dict(kept, strict, assign)

    @property
    def auxiliary_weight(self) -> float:
        """The weight of each head's loss in this epoch."""
        return auxiliary_weight(self.loss, max(self.epoch, 0), self.epochs)

    def forward(self, batch: Batch) -> TaskLoss:
        """Return the total loss of `batch`; its parts are the network's own, each head's by stage, and the total."""
        heads = self.network.auxiliary_heads
        with tap(self.network, list(heads)) as seen:
            own = super().forward(batch)
        total, parts = own.total, own.parts
        for name, head in heads.items():
            logits = head(seen[name]).float()
            loss = classification_loss(logits, batch.targets, self.loss, self.class_weights)
            total = total + self.auxiliary_weight * (loss - self.loss.auxiliary_threshold).relu()
            parts[f"{name}_loss"] = loss.detach()
        return TaskLoss(total, parts | {"total_loss": total.detach()})
