"""The model file: a trained network that still knows its classes, preprocessing, recipe and accuracy.

It is a safetensors file whose tensors have the network's own parameter names, so that any reader of
safetensors can use them. One entry of its metadata, "neocog", holds a `Card` as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import torch
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from torch import Tensor

from neocog._version import __version__
from neocog.data.preprocess import Preprocessing, preprocess
from neocog.errors import UsageError, WeightsError
from neocog.inference.tensor_file import open_tensors, write_tensors
from neocog.models._classifier import Classifier, ModelConfig
from neocog.models._family import Family

FORMAT = 1  # raised when an older neocog could no longer read the file rightly
_KEY = "neocog"


class Card(BaseModel):
    """What a model file says about its network.

    Attributes:
        format: version of this description.
        neocog: version of neocog that wrote the file.
        model: name of the variant in the catalog.
        edits: fields of the variant's config that differ from it.
        num_classes: logits of the network.
        in_chans: channels of its images.
        classes: a name for each logit, in order.
        multi_label: whether an image may have several classes: sigmoid instead of softmax.
        preprocessing: from an image file to the network's input.
        recipe: the resolved recipe of the training run, where there was one.
        metrics: what was measured, such as `{"test_top1": 0.981}`.
        data: name of the training data.
        created: when the file was written, in ISO 8601 with the time zone.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = FORMAT
    neocog: str = __version__
    model: str
    edits: Mapping[str, Any] = {}
    num_classes: int = Field(ge=1)
    in_chans: int = Field(default=3, ge=1)
    classes: tuple[str, ...]
    multi_label: bool = False
    preprocessing: Preprocessing
    recipe: dict[str, Any] | None = None
    metrics: dict[str, float] = {}
    data: str = ""
    created: str = Field(default_factory=lambda: datetime.now().astimezone().isoformat(timespec="seconds"))

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        if len(self.classes) != self.num_classes:
            raise ValueError(f"{len(self.classes)} class names for {self.num_classes} classes")
        if self.preprocessing.channels != self.in_chans:
            raise ValueError(f"preprocessing gives {self.preprocessing.channels} channels and not {self.in_chans}")
        return self


@dataclass(frozen=True)
class LoadedModel:
    """A network in evaluation mode with the card of its file.

    Attributes:
        network: images `(N, C, H, W)` to logits `(N, num_classes)`.
        card: what the file says about it.
        path: the file.
    """

    network: Classifier
    card: Card
    path: Path

    @property
    def device(self) -> torch.device:
        """Where the network's parameters are."""
        return next(self.network.parameters()).device

    def preprocess(self, image: Image.Image) -> Tensor:
        """Return `image` as the network's input `(C, H, W)`, by the file's own preprocessing."""
        return preprocess(image, self.card.preprocessing)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return scores `(N, num_classes)` in [0, 1]: of one class among all, or of each class by itself."""
        return logits.float().sigmoid() if self.card.multi_label else logits.float().softmax(dim=1)

    @torch.inference_mode()
    def classify(self, images: Tensor) -> Tensor:
        """Return scores `(N, num_classes)` of preprocessed images `(N, C, H, W)`."""
        return self.probabilities(self.network(images.to(self.device)))


def save_model(path: str | Path, network: Classifier, card: Card) -> None:
    """Write `network` and its card to `path`, atomically.

    Raises:
        UsageError: the card describes another network, from which the file could not be loaded again.
        StorageError: the disk is full or the place cannot be written; an older file at `path` is unchanged.
    """
    _, described = _config(card)
    if described != network.config:
        raise UsageError(f"the card describes {described}, the network is {network.config}")
    write_tensors(path, network.state_dict(), {_KEY: json.dumps(card.model_dump(mode="json"))})


def load_model(path: str | Path, *, device: str | torch.device = "cpu") -> LoadedModel:
    """Read a model file that `save_model` wrote, in evaluation mode.

    The tensors are mapped from the file, not copied: on the CPU its pages come into memory when they are
    first used.

    Raises:
        WeightsError: no such file; not a safetensors file; damaged; weights without neocog's description; of
            a newer version; of a network that this version does not know, or that its tensors do not fit.
    """
    path = Path(path)
    with open_tensors(path, device) as file:
        card = _read_card(path, file.metadata())
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    network = _build(path, card)
    _check_fit(path, card, network.state_dict(), state)
    network.load_state_dict(state, assign=True)
    return LoadedModel(network.eval(), card, path)


def read_card(path: str | Path) -> Card:
    """Return the card of a model file without reading its tensors; raises as `load_model` does."""
    path = Path(path)
    with open_tensors(path) as file:
        return _read_card(path, file.metadata())


def _read_card(path: Path, metadata: dict[str, str] | None) -> Card:
    if not metadata or _KEY not in metadata:
        raise WeightsError(
            f"{path} holds weights without neocog's description of them (network, classes, preprocessing); "
            f"train from it with `neocog train DATA --model NAME --weights {path}`"
        )
    again = "fetch or write the file again"
    try:
        described = json.loads(metadata[_KEY])
        written = int(described["format"])
    except (ValueError, TypeError, KeyError) as error:
        raise WeightsError(f"{path}: its description is damaged; {again}") from error
    if written > FORMAT:
        raise WeightsError(
            f"{path} was written by neocog {described.get('neocog', '?')} in format {written}, and "
            f"neocog {__version__} knows only {FORMAT}; install a newer neocog"
        )
    try:
        return Card.model_validate(described)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "card"
        raise WeightsError(f"{path}: its description is damaged ({where}: {first['msg'].lower()}); {again}") from error


def _config(card: Card) -> tuple[Family, ModelConfig]:
    family = Family.of(card.model)
    return family, family.edited({**card.edits, "num_classes": card.num_classes, "in_chans": card.in_chans})


def _build(path: Path, card: Card) -> Classifier:
    """Return the card's network with nothing in its parameters yet, which takes neither time nor memory."""
    try:
        family, config = _config(card)
    except UsageError as error:
        raise WeightsError(f"{path}, written by neocog {card.neocog}: {error}") from error
    return family.build_uninitialised(config)


def _check_fit(path: Path, card: Card, wanted: dict[str, Tensor], found: dict[str, Tensor]) -> None:
    problems = [f"{name} is missing" for name in wanted if name not in found]
    problems += [f"{name} is of another network" for name in found if name not in wanted]
    problems += [
        f"{name} is {tuple(found[name].shape)}, not {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in found and found[name].shape != tensor.shape
    ]
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise WeightsError(
            f"{path} does not fit the {card.model} that it describes: {'; '.join(problems[:3])}{more}; "
            "fetch or write the file again"
        )
