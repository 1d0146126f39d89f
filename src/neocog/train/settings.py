"""The groups of settings that a `Recipe` is made of: loss, optimiser, schedule, focus, average. All data."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from neocog.data._fields import ABOVE_ZERO, Readers, refuse_unread
from neocog.errors import UsageError

Share = Annotated[float, Field(ge=0, lt=1)]


class Setting(BaseModel):
    """Base of every group of settings: frozen, and unknown names are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)

    READERS: ClassVar[Readers] = {}

    def _refuse_unread(self, group: str) -> None:
        """Raise a UsageError where a field has been set that the rest of the group, so called, does not read."""
        refuse_unread(group, self, self.READERS)


class Loss(Setting):
    """What is minimised.

    Attributes:
        name: cross entropy over classes, binary cross entropy with one decision a class, or for the same decisions the
            squared hinge loss of an L2-SVM (Tang 2013, arXiv:1306.0239), or the margin loss of capsules, whose outputs
            are lengths in [0, 1) (Sabour et al. 2017, "Dynamic routing between capsules", equation 4).
        label_smoothing: share of the target spread evenly over all classes (Szegedy et al. 2015, section 7): of K, each
            gets 1/K of it, for every loss.
        balance: weigh each class by the inverse of its frequency, to a mean weight of 1.
        rubbish: penalty of a constant "rubbish" class that only the partition function knows (LeCun et al.
            1998, equation 9); None leaves it out. For cross entropy without smoothing.
        threshold: for binary cross entropy on mixed images: a share of a class above it counts as the class (Wightman
            et al. 2021, "ResNet strikes back", section 3), shares being smoothed before it; None keeps the shares.
        auxiliary_weight: of the loss of each auxiliary head, which is added to the network's own; the network is built
            with them exactly if it is above 0. 0.3 in GoogLeNet (Szegedy et al. 2014, section 5).
        auxiliary_threshold: where a head's loss is below this γ it is left alone (Lee et al. 2014, equation 3).
        auxiliary_decay: let `auxiliary_weight` fall linearly, epoch by epoch, to 0 after the last (Lee et al. 2014).
    """

    READERS: ClassVar[Readers] = {
        "rubbish": ({"name": ("cross_entropy",)},),
        "threshold": ({"name": ("binary_cross_entropy",)},),
    }

    name: Literal["cross_entropy", "binary_cross_entropy", "squared_hinge", "margin"] = "cross_entropy"
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    balance: bool = False
    rubbish: float | None = None
    threshold: float | None = Field(None, ge=0, lt=1)
    auxiliary_weight: float = Field(0.0, ge=0)
    auxiliary_threshold: float = Field(0.0, ge=0)
    auxiliary_decay: bool = False

    @model_validator(mode="after")
    def _all_is_read(self) -> Self:
        self._refuse_unread("loss")
        if self.rubbish is not None and self.label_smoothing:
            raise UsageError("loss.rubbish goes with hard targets: set loss.label_smoothing to 0, or rubbish to None")
        return self


class Optimizer(Setting):
    """How parameters move.

    Attributes:
        name: "sgd" with momentum; "adamw" with decoupled weight decay (Loshchilov and Hutter 2017); "lamb" (You et al.
            2019); "adadelta" (Zeiler 2012); "muon", which orthogonalises the updates of the filters (Jordan et al.
            2024) and moves all else by SGD.
        lr: peak learning rate at the recipe's batch size.
        momentum: of SGD and Muon.
        rest_momentum: of Muon: momentum of what SGD moves; None for the same as of the filters.
        nesterov: Nesterov's momentum, of both; it needs a momentum.
        newton_schulz: of Muon: steps of the iteration that brings an update's singular values near 1.
        unit_filters: of Muon: before each step, bring each filter tensor to the Frobenius norm sqrt(outputs), which a
            matrix with orthonormal rows has. This takes the place of the filters' weight decay, and of the factor
            sqrt(max(1, rows / columns)) on their updates (Jordan, "airbench94_muon", 2024).
        betas: of AdamW and LAMB.
        rho: of Adadelta: share of the old averages that a step keeps.
        eps: added to denominators; None takes the optimiser's own: 1e-8 for AdamW, 1e-6 for LAMB and Adadelta.
        weight_decay: applied to weights of two or more dimensions only, unless `decay_all`.
        decay_all: also decay biases and normalisation parameters, as papers before 2017 did.
        decoupled: of SGD, also of the part that Muon leaves to it: shrink the weights by rate times decay, apart from
            the gradient and its momentum (Loshchilov and Hutter 2017, algorithm 1). AdamW and Muon's filters always
            decay so.
        even_decay: let every group shrink by `lr` times `weight_decay` a step, whatever its own factor on the rate;
            else a part that moves faster shrinks faster, too.
        head_lr_scale: factor on the rate of the network's last layer, for fine-tuning.
        rest_lr_scale: of Muon: factor on the rate of what SGD moves: biases, norms and the head.
        layer_decay: factor on the rate from each stage to the one before it, from the head down to the stem (Howard and
            Ruder 2018, section 3.2); 1 gives all the same.
    """

    READERS: ClassVar[Readers] = {
        "momentum": ({"name": ("sgd", "muon")},),
        "rest_momentum": ({"name": ("muon",)},),
        "nesterov": ({"name": ("sgd", "muon"), "momentum": ABOVE_ZERO},),
        "newton_schulz": ({"name": ("muon",)},),
        "unit_filters": ({"name": ("muon",)},),
        "decoupled": ({"name": ("sgd", "muon")},),
        "even_decay": ({"name": ("sgd", "adamw", "muon"), "weight_decay": ABOVE_ZERO},),
        "rest_lr_scale": ({"name": ("muon",)},),
        "betas": ({"name": ("adamw", "lamb")},),
        "rho": ({"name": ("adadelta",)},),
        "eps": ({"name": ("adamw", "lamb", "adadelta")},),
    }

    name: Literal["sgd", "adamw", "lamb", "adadelta", "muon"] = "sgd"
    lr: float = Field(0.1, gt=0)
    momentum: float = Field(0.9, ge=0, lt=1)
    rest_momentum: float | None = Field(None, ge=0, lt=1)
    nesterov: bool = False
    newton_schulz: int = Field(5, ge=1)
    unit_filters: bool = False
    betas: tuple[Share, Share] = (0.9, 0.999)
    rho: Share = 0.95
    eps: float | None = Field(None, gt=0)
    weight_decay: float = Field(1e-4, ge=0)
    decay_all: bool = False
    decoupled: bool = False
    even_decay: bool = False
    head_lr_scale: float = Field(1.0, gt=0)
    rest_lr_scale: float = Field(1.0, gt=0)
    layer_decay: float = Field(1.0, gt=0, le=1)

    @model_validator(mode="after")
    def _all_is_read(self) -> Self:
        self._refuse_unread("optimizer")
        return self


class Schedule(Setting):
    """How the learning rate changes: linear warm-up, then a decay.

    Attributes:
        name: shape of the decay after the warm-up; "exponential" goes geometrically to `final`, which may be
            above 1: a learning-rate range test.
        warmup_epochs: length of the linear warm-up, in epochs (fractions allowed).
        warmup_start: first rate of the warm-up, as a share of the peak.
        milestones: for "step": epochs at which the rate is multiplied by `gamma`.
        gamma: for "step".
        final: for "cosine", "linear" and "exponential": last rate as a share of the peak; above 0 for "exponential".
    """

    READERS: ClassVar[Readers] = {
        "warmup_start": ({"warmup_epochs": ABOVE_ZERO},),
        "milestones": ({"name": ("step",)},),
        "gamma": ({"name": ("step",)},),
        "final": ({"name": ("cosine", "linear", "exponential")},),
    }

    name: Literal["constant", "step", "cosine", "linear", "exponential"] = "cosine"
    warmup_epochs: float = Field(0.0, ge=0)
    warmup_start: float = Field(0.0, ge=0, le=1)
    milestones: tuple[float, ...] = ()
    gamma: float = Field(0.1, gt=0)
    final: float = Field(0.0, ge=0)

    @model_validator(mode="after")
    def _all_is_read(self) -> Self:
        self._refuse_unread("schedule")
        if self.name == "exponential" and not self.final:
            raise UsageError("schedule.exponential goes geometrically to schedule.final: set that above 0")
        return self


class Focus(Setting):
    """Training more on what is still hard; see `neocog.train.focus`.

    Attributes:
        share: of the images, left out of an epoch because their losses were least when last seen; the epoch shows the
            others that much more often. 0 shows all.
        start: the first epoch, counted from 0, that leaves any out; before it all are seen.
    """

    READERS: ClassVar[Readers] = {"start": ({"share": ABOVE_ZERO},)}

    share: float = Field(0.0, ge=0, lt=1)
    start: int = Field(1, ge=1)

    @model_validator(mode="after")
    def _all_is_read(self) -> Self:
        self._refuse_unread("focus")
        return self


class Average(Setting):
    """An average of the weights over steps: what is evaluated and shipped where there is one.

    Attributes:
        name: "exponential" is a moving average (Polyak and Juditsky 1992; Tan and Le 2019), on where `decay` is above
            0; "uniform" is the mean of the weights after every step from `start` on (Izmailov et al. 2018, with a
            sample a step); "lookahead" pulls the weights back: after every `interval` steps the average, there called
            slow weights, moves towards the weights, and training goes on from it (Zhang et al. 2019, arXiv:1907.08610,
            algorithm 1).
        decay: of "exponential": share of the old average kept at each step; 0 turns averaging off. Of "lookahead":
            share of the slow weights kept each time, which is 1 - α in the paper's words; above 0.
        power: of "lookahead": let the share that is kept grow from 0 as `decay` times this power of the share of the
            run that is done; 0, the paper's, keeps it the same. airbench94 has a decay of 0.95^5 and a power of 3
            (Jordan 2024, arXiv:2404.00498).
        interval: of "lookahead": steps from one pull to the next, k in the paper; those after the last do not count.
        warmup: of "exponential": let the decay grow as min(decay, (1 + step) / (10 + step)), so that the start is
            forgotten.
        start: share of the run after which averaging begins; before, the average is the weights themselves. The step
            of `warmup` is counted from there.
    """

    READERS: ClassVar[Readers] = {
        "decay": ({"name": ("exponential", "lookahead")},),
        "power": ({"name": ("lookahead",)},),
        "interval": ({"name": ("lookahead",)},),
        "warmup": ({"name": ("exponential",), "decay": ABOVE_ZERO},),
        "start": ({"name": ("exponential",), "decay": ABOVE_ZERO}, {"name": ("uniform",)}),
    }

    name: Literal["exponential", "uniform", "lookahead"] = "exponential"
    decay: float = Field(0.0, ge=0, lt=1)
    power: float = Field(0.0, ge=0)
    interval: int = Field(5, ge=1)
    warmup: bool = True
    start: float = Field(0.0, ge=0, lt=1)

    @property
    def active(self) -> bool:
        """Whether anything is averaged."""
        return self.name == "uniform" or self.decay > 0

    @model_validator(mode="after")
    def _all_is_read(self) -> Self:
        self._refuse_unread("average")
        if self.name == "lookahead" and not self.decay:
            raise UsageError("average.lookahead keeps the share average.decay of the slow weights: set that above 0")
        return self
