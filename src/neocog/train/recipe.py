"""`Recipe`: everything that decides what a training run does, as one frozen value.

A recipe is data. The loop, the task and the data path read it; none of them has settings of its own. "auto" stands
in a recipe for what depends on the machine or the data; `neocog.jobs` resolves it once and the run's directory keeps
the resolved value, so that a resumed run on another machine does what the first did.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self, cast, get_args

from pydantic import BaseModel, Field, ValidationError, ValidationInfo, field_validator, model_validator

from neocog.data._fields import refuse_unread, unread
from neocog.data.augment import Augmentation
from neocog.data.mixing import Mixing
from neocog.errors import UnknownNameError, UsageError
from neocog.train.settings import Average, Focus, Loss, Optimizer, Schedule, Setting
from neocog.train.varying import Side, Vary, check_varying, field_names, first_fault, values_at, varying_in

__all__ = ["Average", "Focus", "Loss", "Optimizer", "Recipe", "Schedule", "field_names"]


class Recipe(Setting):
    """One training run, whole.

    Attributes:
        name: the recipe's file in `neocog.recipes`.
        model: default network; edits are fields of its config.
        weights: None for a fresh network, "default" for the catalog's first, a tag of the catalog, or a path.
        train: which parameters move: all, or only the head ("linear probe").
        organise: images shown, before the first step, to a network that organises itself without labels
            (Neocognitron); the steps then train its head alone. 0 for any other training.
        whiten: images of whose patches, as prediction would see them, the filters of the network's stem are made before
            the first step (Page 2018, "How to train your ResNet"; see `neocog.train.whitening`), at best some thousand.
            They stay so; the stem's bias, if it has one, trains. 0 leaves the stem as any other layer. For fresh
            networks whose stem has twice as many filters as its patches have numbers.
        identity: let every convolution but the stem, of odd side above 1 and without stride or groups, begin as the
            identity on its first channels (Jordan 2024, arXiv:2404.00498, section 3.3). For fresh networks.
        stem_epochs: epochs after which the stem, the network's first convolution, moves no more, and needs no backward
            pass; until then its rate falls linearly to 0, whatever `schedule` says. None: it moves as everything else.
        freeze_norms: keep batch norm's statistics as the weights brought them and normalise by those. For
            fine-tuning on small batches, and for weights whose statistics were folded into other layers.
        image_size: side of the square that the network sees, in training as far as `vary` says nothing else, and when
            it is measured and used, at most 4096; None takes the last that `vary` trains at, else the weights' or the
            network's own.
        batch_size: images per optimiser step over all processes and micro-batches.
        accumulate: micro-batches per step and process.
        repeats: times that each image of a batch is in it, varied differently each time (Hoffer et al. 2019, "Augment
            your batch"; Berman et al. 2019, arXiv:1902.05509), at most `batch_size`; an epoch shows that many times
            fewer images. Where `batch_size` is no multiple of it, the last image of a batch has the rest of its copies
            in the next.
        focus: leaving out of an epoch the images that are easiest by then; not with `mix`, under which no loss is one
            image's.
        mix: blending the images of a batch.
        vary: fields that change as training goes on: by dotted name, pairs of an epoch, counted from 0, and the value
            from then on, such as `{"image_size": ((0, 128), (6, 160))}`; before the first epoch named, the field
            itself counts. See `at` for those that may.
        unfreeze: epochs between the release of one stage of the network and of the one before it, from the head, which
            alone moves at first, down to the stem (Howard and Ruder 2018, section 3.3); 0 moves all from the start.
            What would be released after the last epoch never moves.
        views: of each image when the run is measured at its end, averaged: "centre" is the one crop, "flip" adds its
            mirror image, "flip_shift" also both moved by a pixel (Jordan 2024, arXiv:2404.00498, section 3.5),
            "ten_crop" takes corners and centre and their mirror images (Krizhevsky et al. 2012, section 4.1),
            "multi_scale" takes three sizes (Simonyan and Zisserman 2014, section 4.2) and their mirror images.
        cache: keep decoded photographs on disk; "auto" does so where they take less than a tenth of what is free.
        clip_norm: largest norm of the gradient; None for no clipping.
        clip_adaptive: largest norm of the gradient of a unit's weights as a share of the norm of those weights (Brock
            et al. 2021, section 4.1); None for no such clipping.
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
    whiten: int = Field(0, ge=0)
    identity: bool = False
    stem_epochs: float | None = Field(None, gt=0)
    freeze_norms: bool = False
    image_size: Side | None = None
    epochs: int = Field(30, ge=1)
    batch_size: int = Field(32, ge=1)
    accumulate: int = Field(1, ge=1)
    loss: Loss = Loss()
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    augment: Augmentation = Augmentation()
    mix: Mixing = Mixing()
    focus: Focus = Focus()
    repeats: int = Field(1, ge=1)
    vary: Vary = {}
    unfreeze: float = Field(0.0, ge=0)
    views: Literal["centre", "flip", "flip_shift", "ten_crop", "multi_scale"] = "centre"
    cache: bool | Literal["auto"] = "auto"
    average: Average = Average()
    clip_norm: float | None = Field(None, gt=0)
    clip_adaptive: float | None = Field(None, gt=0)
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    channels_last: bool | Literal["auto"] = "auto"
    compile: bool = False
    patience: int | None = Field(None, ge=1)
    validation: float = Field(0.1, ge=0, lt=1)
    seed: int = Field(0, ge=0, lt=2**63)
    workers: int | Literal["auto"] = "auto"
    threads: int | Literal["auto"] = "auto"
    keep_memory: bool = False

    @field_validator("vary")
    @classmethod
    def _check_vary(cls, vary: Vary, info: ValidationInfo) -> Vary:
        """Refuse names that may not vary, epochs out of order, and values that the field could not have."""
        augment, mix, loss = (info.data.get(name) for name in ("augment", "mix", "loss"))
        if augment is None or mix is None or loss is None:
            return vary  # what is wrong with the group is said of it
        return check_varying(vary, augment, mix, loss)

    @model_validator(mode="after")
    def _all_is_read(self) -> Self:
        """Refuse a field of `augment` or `mix` that no epoch reads: `vary` decides, so that neither can do it alone."""
        for group, settings in (("augment", self.augment), ("mix", self.mix)):
            refuse_unread(group, settings, settings.READERS, varying_in(self.vary, group))
        if self.repeats > self.batch_size:
            raise UsageError(
                f"a batch of {self.batch_size} cannot hold an image {self.repeats} times: set repeats to at most "
                f"{self.batch_size}, or batch_size to at least {self.repeats}"
            )
        if self.focus.share and (self.mix.changes or varying_in(self.vary, "mix")):
            raise UsageError(
                f"focus.share={self.focus.share:g} goes by the loss of each image, and mix blends images: set "
                "mix.mixup and mix.cutmix to 0, or focus.share"
            )
        return self

    def at(self, epoch: int) -> Recipe:
        """Return the recipe of one epoch, counted from 0: each field of `vary` has the value that it has by then.

        Those that may vary are what is asked for anew in each epoch: `image_size`, `loss.label_smoothing` and
        all of `augment` and `mix`. (The learning rate has its own `schedule`.)
        """
        values = values_at(self.vary, epoch)
        return self.override(values) if values else self

    @property
    def forward_precision(self) -> Literal["fp32", "bf16", "fp16"]:
        """The precision of the forward pass; an "auto" that nobody resolved is float32."""
        return "fp32" if self.precision == "auto" else self.precision

    def override(self, changes: Mapping[str, Any]) -> Recipe:
        """Return a copy with dotted names set, such as `{"optimizer.lr": 0.05}`.

        Fields of the network's config are named below `edits`, such as "edits.stem", and what varies below `vary`: on
        the command line `--set 'vary.image_size=[[0, 128], [6, 160]]'`, or all at once
        `--set 'vary={"image_size": [[0, 128], [6, 160]]}'`.

        What a choice made here does not read goes back to its default, unless it is set here as well: the padding where
        `augment.crop` becomes "none", Nesterov's momentum where `optimizer.name` becomes "adamw".

        Raises:
            UnknownNameError: a name that no field has; the message names the near ones.
            UsageError: a value that the field cannot take, or one that nothing would read.
        """
        known = field_names(self)
        tree = self.model_dump()
        for name, value in changes.items():
            *groups, leaf = name.split(".", 1) if name.startswith("vary.") else name.split(".")
            if name not in known and groups not in (["edits"], ["vary"]):
                raise UnknownNameError("recipe field", name, known, where="neocog recipes show " + self.name)
            place, settings = tree, cast(Any, self)
            for group in groups:
                place, settings = place[group], getattr(settings, group)
            place[leaf] = "none" if value is None and _has_none(settings, leaf) else value
        self._forget_unread(tree, changes)
        try:
            return Recipe.model_validate(tree)
        except ValidationError as error:
            raise UsageError(first_fault(error)) from error

    def _forget_unread(self, tree: dict[str, Any], changes: Mapping[str, Any]) -> None:
        """Set back, in the groups of `tree` that `changes` are in, what nothing reads and nobody has just set."""
        groups = {name.split(".")[0] for name in changes}
        for group in groups | ({"augment", "mix"} if "vary" in groups else set()):
            settings = getattr(self, group)
            if not isinstance(settings, (Augmentation, Mixing, Setting)):
                continue
            for name in unread(tree[group], settings.READERS, varying_in(tree["vary"], group)):
                if f"{group}.{name}" not in changes:
                    tree[group][name] = type(settings).model_fields[name].default


def _has_none(settings: object, name: str) -> bool:
    """Return whether "none" is a word that field `name` takes; a command line may have read it as no value at all."""
    field = type(settings).model_fields.get(name) if isinstance(settings, BaseModel) else None
    return field is not None and "none" in get_args(field.annotation)
