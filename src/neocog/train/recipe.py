"""`Recipe`: everything that decides what a training run does, as one frozen value.

A recipe is data. The loop, the task and the data path read it; none of them has settings of its own. "auto" stands
in a recipe for what depends on the machine or the data; `neocog.jobs` resolves it once and the run's directory keeps
the resolved value, so that a resumed run on another machine does what the first did.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from neocog.data.augment import Augmentation
from neocog.errors import UnknownNameError, UsageError

Share = Annotated[float, Field(ge=0, lt=1)]


class Setting(BaseModel):
    """Base of every group of settings: frozen, and unknown names are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)


class Loss(Setting):
    """What is minimised.

    Attributes:
        name: cross entropy over classes, binary cross entropy with one decision a class, or for the same decisions the
            squared hinge loss of an L2-SVM (Tang 2013, arXiv:1306.0239).
        label_smoothing: share of the target spread evenly over all classes (Szegedy et al. 2015, section 7).
        balance: weigh each class by the inverse of its frequency, to a mean weight of 1.
        rubbish: penalty of a constant "rubbish" class that only the partition function knows (LeCun et al.
            1998, equation 9); None leaves it out. For cross entropy without smoothing.
        auxiliary_weight: of the loss of each auxiliary head, which is added to the network's own; the network is built
            with them exactly if it is above 0. 0.3 in GoogLeNet (Szegedy et al. 2014, section 5).
        auxiliary_threshold: where a head's loss is below this γ it is left alone (Lee et al. 2014, equation 3).
        auxiliary_decay: let `auxiliary_weight` fall linearly, epoch by epoch, to 0 after the last (Lee et al. 2014).
    """

    name: Literal["cross_entropy", "binary_cross_entropy", "squared_hinge"] = "cross_entropy"
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    balance: bool = False
    rubbish: float | None = None
    auxiliary_weight: float = Field(0.0, ge=0)
    auxiliary_threshold: float = Field(0.0, ge=0)
    auxiliary_decay: bool = False


class Optimizer(Setting):
    """How parameters move.

    Attributes:
        name: "sgd" with momentum, or "adamw" with decoupled weight decay.
        lr: peak learning rate at the recipe's batch size.
        momentum: of SGD.
        nesterov: Nesterov's momentum.
        betas: of AdamW.
        weight_decay: applied to weights of two or more dimensions only, unless `decay_all`.
        decay_all: also decay biases and normalisation parameters, as papers before 2017 did.
        head_lr_scale: factor on the rate of the network's last layer, for fine-tuning.
    """

    name: Literal["sgd", "adamw"] = "sgd"
    lr: float = Field(0.1, gt=0)
    momentum: float = Field(0.9, ge=0, lt=1)
    nesterov: bool = False
    betas: tuple[Share, Share] = (0.9, 0.999)
    weight_decay: float = Field(1e-4, ge=0)
    decay_all: bool = False
    head_lr_scale: float = Field(1.0, gt=0)


class Schedule(Setting):
    """How the learning rate changes: linear warm-up, then a decay.

    Attributes:
        name: shape of the decay after the warm-up; "exponential" goes geometrically to `final`, which may be
            above 1: a learning-rate range test.
        warmup_epochs: length of the linear warm-up, in epochs (fractions allowed).
        warmup_start: first rate of the warm-up, as a share of the peak.
        milestones: for "step": epochs at which the rate is multiplied by `gamma`.
        gamma: for "step".
        final: for "cosine", "linear" and "exponential": last rate as a share of the peak.
    """

    name: Literal["constant", "step", "cosine", "linear", "exponential"] = "cosine"
    warmup_epochs: float = Field(0.0, ge=0)
    warmup_start: float = Field(0.0, ge=0, le=1)
    milestones: tuple[float, ...] = ()
    gamma: float = Field(0.1, gt=0)
    final: float = Field(0.0, ge=0)


class Average(Setting):
    """Exponential moving average of the weights: what is evaluated and shipped where `decay` is above 0.

    Attributes:
        decay: share of the old average kept at each step; 0 turns averaging off.
        warmup: let the decay grow as min(decay, (1 + step) / (10 + step)), so that the start is forgotten.
    """

    decay: float = Field(0.0, ge=0, lt=1)
    warmup: bool = True


class Recipe(Setting):
    """One training run, whole.

    Attributes:
        name: the recipe's file in `neocog.recipes`.
        model: default network; edits are fields of its config.
        weights: None for a fresh network, "default" for the catalog's first, a tag of the catalog, or a path.
        train: which parameters move: all, or only the head ("linear probe").
        organise: images shown, before the first step, to a network that organises itself without labels
            (Neocognitron); the steps then train its head alone. 0 for any other training.
        freeze_norms: keep batch norm's statistics as the weights brought them and normalise by those. For
            fine-tuning on small batches, and for weights whose statistics were folded into other layers.
        image_size: side of the square that the network sees; None takes the weights' or the network's own.
        batch_size: images per optimiser step over all processes and micro-batches.
        accumulate: micro-batches per step and process.
        clip_norm: largest norm of the gradient; None for no clipping.
        precision: "auto" is bf16 where the processor computes in it, float32 elsewhere.
        channels_last: memory layout of images and convolutions.
        patience: epochs without a better validation score before the run stops early; None never stops.
        validation: share of the training images held out where the data has no validation split. With 0 none are, and
            the last epoch's weights ship.
        workers: processes that decode photographs; the result does not depend on it.
        threads: threads of PyTorch in the main process.
        keep_memory: keep what a step frees for the next one: faster on a CPU, for more memory. See
            `neocog.train.allocator`.
    """

    name: str = "custom"
    model: str = "resnet18"
    edits: dict[str, Any] = {}
    weights: str | None = None
    train: Literal["all", "head"] = "all"
    organise: int = Field(0, ge=0)
    freeze_norms: bool = False
    image_size: int | None = Field(None, ge=1)
    epochs: int = Field(30, ge=1)
    batch_size: int = Field(32, ge=1)
    accumulate: int = Field(1, ge=1)
    loss: Loss = Loss()
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    augment: Augmentation = Augmentation()
    average: Average = Average()
    clip_norm: float | None = Field(None, gt=0)
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    channels_last: bool | Literal["auto"] = "auto"
    compile: bool = False
    patience: int | None = Field(None, ge=1)
    validation: float = Field(0.1, ge=0, lt=1)
    seed: int = Field(0, ge=0, lt=2**63)
    workers: int | Literal["auto"] = "auto"
    threads: int | Literal["auto"] = "auto"
    keep_memory: bool = False

    @property
    def forward_precision(self) -> Literal["fp32", "bf16", "fp16"]:
        """The precision of the forward pass; an "auto" that nobody resolved is float32."""
        return "fp32" if self.precision == "auto" else self.precision

    def override(self, changes: Mapping[str, Any]) -> Recipe:
        """Return a copy with dotted names set, such as `{"optimizer.lr": 0.05}`.

        Raises:
            UnknownNameError: a name that no field has; the message names the near ones.
            UsageError: a value that the field cannot take.
        """
        known = field_names(self)
        tree = self.model_dump()
        for name, value in changes.items():
            if name not in known and not (name.startswith("edits.") and name.count(".") == 1):
                raise UnknownNameError("recipe field", name, known, where="neocog recipes show " + self.name)
            *groups, leaf = name.split(".")
            place = tree
            for group in groups:
                place = place[group]
            place[leaf] = value
        try:
            return Recipe.model_validate(tree)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise UsageError(f"recipe field {where}: {first['msg'].lower()}, not {first['input']!r}") from error


def field_names(settings: BaseModel, prefix: str = "") -> list[str]:
    """Return the dotted names of all fields below `settings`, such as "optimizer.lr"."""
    names = []
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        names += field_names(value, f"{prefix}{name}.") if isinstance(value, BaseModel) else [prefix + name]
    return names
