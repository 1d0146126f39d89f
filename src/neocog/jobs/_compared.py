"""What a comparison compares: networks of the catalog, model files and users' own, each with its accuracy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from neocog.catalog import Entry, describe, list_models
from neocog.errors import UnknownNameError, UsageError
from neocog.inference.model_file import read_card
from neocog.jobs._accuracy import (
    Accuracy,
    best_accuracy,
    measured_accuracy,
    papers_accuracies,
    weights_accuracies,
)
from neocog.jobs.subject import Subject, find_subject, is_file
from neocog.models import create_model
from neocog.models._family import Family

XAxis = Literal["macs", "parameters", "throughput", "year"]
YAxis = Literal["top1", "top5"]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One network with one accuracy.

    Attributes:
        name: the network.
        label: `name`, with the weights' tag where all weights are compared, or as it was asked for where it is a file.
        family: of the catalog; empty for a network of the user's own.
        year: of the paper; None for a network of the user's own.
        paper: its title.
        accuracy: per cent; None where none is known.
        source: where the accuracy stands, or what it was measured on.
        passes: such as "10 crops" where each image went through the network several times for it; then it cost so
            many times `macs`.
        image: `(C, H, W)` that `macs` and `images_per_second` are of: those that the accuracy is of.
        usual: the image that the catalog counts it for; empty for a network of the user's own.
        parameters: numbers that are learned.
        macs: multiply-adds of one pass of one image, counted.
        images_per_second: measured on this machine; None where it was not asked for.
        images_per_second_interval: the 95 % interval of that median.
        uncounted: operations without a rule, by name with how often each ran.
        basis: the images that the accuracy was measured on.
        not_drawn: why it has no bubble; empty where it has one.
        on_front: whether no other that is drawn is better at one of the axes and no worse at the other.
    """

    name: str
    label: str
    image: tuple[int, ...]
    parameters: int = 0
    macs: int = 0
    usual: tuple[int, ...] = ()
    family: str = ""
    year: int | None = None
    paper: str = ""
    accuracy: float | None = None
    source: str = ""
    passes: str = ""
    basis: str = ""
    images_per_second: float | None = None
    images_per_second_interval: tuple[float, float] | None = None
    uncounted: Mapping[str, int] = field(default_factory=dict)
    not_drawn: str = ""
    on_front: bool = False

    @property
    def origin(self) -> str:
        """Where the accuracy is from, at which image where that is not the usual one, and why it is not drawn."""
        source, sides = self.source, "x".join(map(str, self.image[-2:]))
        if source and self.usual and self.image != self.usual and not self.not_drawn and sides not in source:
            source += f", at {sides}"
        reason = f"not drawn: {self.not_drawn}" if self.not_drawn else ""
        return "; ".join(part for part in (source, reason) if part)

    def at(self, axis: XAxis) -> float | None:
        """Return where it stands on an axis."""
        return self.images_per_second if axis == "throughput" else getattr(self, axis)


@dataclass(frozen=True)
class Candidate:
    """A row whose costs are not known yet, and the network that has them.

    Attributes:
        row: all but the costs.
        key: equal to that of another candidate where their costs are equal.
        build: gives the network: with real numbers in its parameters, or on the meta device.
        catalogued: parameters and multiply-adds where the catalog has counted them at this size; None elsewhere.
    """

    row: Row
    key: Any
    build: Callable[[bool], Subject]
    catalogued: tuple[int, int] | None = None


@dataclass(frozen=True)
class Claims:
    """Which accuracies of the catalog count.

    Attributes:
        quantity: "top1" or "top5".
        trained: only those of trained weights.
        tags: only of weights whose tag matches one of these; of all where there are none.
        each: each of a network's weights, and not only its best.
        printed: only what papers print, unless weights were asked for.
        size: height and width of the images; accuracies at others are told, and not drawn.
    """

    quantity: YAxis = "top1"
    trained: bool = False
    tags: tuple[str, ...] = ()
    each: bool = False
    printed: bool = False
    size: int | None = None

    def of_weights(self, entry: Entry) -> list[Accuracy]:
        """Return the accuracies of an entry's trained weights."""
        if self.printed and not (self.trained or self.each):
            return []
        return weights_accuracies(entry, self.quantity, self.tags or ("*",))

    def of_papers(self, entry: Entry) -> list[Accuracy]:
        """Return those that papers print."""
        return [] if self.trained else papers_accuracies(entry, self.quantity)


def is_pattern(spec: str) -> bool:
    """Say whether `spec` means names of the catalog, and neither a model file nor a network of the user's own."""
    return not is_file(spec) and ":" not in spec


def find_candidates(specs: Sequence[str], claims: Claims) -> list[Candidate]:
    """Return a candidate for each network that `specs` mean, or for each of its trained weights; see `compare`."""
    names = [spec for spec in specs if is_pattern(spec)]
    entries = [describe(name) for name in list_models(names)] if names else []
    for tag in claims.tags:
        if not any(weights_accuracies(entry, claims.quantity, [tag]) for entry in entries):
            known = sorted({weights.tag for entry in entries for weights in entry.weights})
            raise UnknownNameError("tag of weights", tag, known, "neocog models --weights")
    wanted = [entry for entry in entries if not claims.trained or claims.of_weights(entry)]
    for pattern in names:
        if not any(entry.name in list_models(pattern) for entry in wanted):
            raise UsageError(f"no such trained weights of {pattern} are known; `neocog models --weights` lists all")
    candidates = [candidate for entry in wanted for candidate in _of_entry(entry, claims)]
    for spec in specs:
        if not is_pattern(spec):
            candidates.append(_of_file(spec, claims) if is_file(spec) else _of_own(spec, claims.size))
    return candidates


def _of_entry(entry: Entry, claims: Claims) -> list[Candidate]:
    """Return a network's candidate, with its best accuracy; or one for each of its weights and its papers' best."""
    of_weights, of_papers = claims.of_weights(entry), claims.of_papers(entry)
    if claims.each:
        printed = best_accuracy(of_papers)
        chosen = of_weights + ([printed] if printed else [])
        return [_of_accuracy(entry, accuracy, claims) for accuracy in chosen or [Accuracy(None)]]
    found = of_papers + of_weights
    at_size = [accuracy for accuracy in found if claims.size in (None, accuracy.size or entry.input[-1])]
    return [_of_accuracy(entry, best_accuracy(at_size) or best_accuracy(found) or Accuracy(None), claims)]


def _of_accuracy(entry: Entry, accuracy: Accuracy, claims: Claims) -> Candidate:
    weights = accuracy.weights
    edits: dict[str, Any] = dict(weights.edits) if weights else {}
    side = claims.size or accuracy.size
    image = (entry.input[0], side, side) if side else entry.input
    label = entry.name
    if claims.each and accuracy.source:
        label += f".{weights.tag}" if weights else " (published)"
    row = Row(
        name=entry.name,
        label=label,
        image=image,
        usual=entry.input,
        family=entry.family,
        year=entry.year,
        paper=entry.paper,
        **_claimed(accuracy, _missing(entry, claims), claims.size, entry.input[-1]),
    )

    def build(real: bool) -> Subject:
        if real:
            return Subject(entry.name, create_model(entry.name, **edits).eval(), image, entry)
        family = Family.of(entry.name)
        with torch.device("meta"):
            network = family.build(family.edited(edits))
        return Subject(entry.name, network.eval(), image, entry)

    catalogued = (entry.parameters, entry.macs) if image == entry.input and not edits else None
    return Candidate(row, (entry.name, image, repr(edits)), build, catalogued)


def _of_file(spec: str, claims: Claims) -> Candidate:
    size = claims.size
    subject, card = find_subject(spec, size=size), read_card(spec)
    entry = describe(card.model)
    row = Row(
        name=card.model,
        label=f"{card.model} ({spec})",
        image=subject.image,
        usual=entry.input,
        family=entry.family,
        year=entry.year,
        paper=entry.paper,
        **_claimed(
            measured_accuracy(card, claims.quantity) or Accuracy(None),
            "its file holds no measured accuracy",
            size,
            card.preprocessing.size[-1],
        ),
    )
    return Candidate(row, (spec, subject.image), lambda real: find_subject(spec, size=size, real=real))


def _of_own(spec: str, size: int | None) -> Candidate:
    subject = find_subject(spec, size=size)
    row = Row(name=subject.name, label=spec, image=subject.image, not_drawn="no known accuracy")
    return Candidate(row, (spec, subject.image), lambda real: find_subject(spec, size=size, real=real))


def _claimed(accuracy: Accuracy, missing: str, size: int | None, own: int) -> dict[str, Any]:
    """Return the fields of a row that tell its accuracy; `own` is the size of image where the accuracy names none."""
    if accuracy.value is None:
        return {"not_drawn": missing}
    had_at = accuracy.size or own
    return {
        "accuracy": accuracy.value,
        "source": accuracy.source,
        "passes": accuracy.passes,
        "basis": accuracy.basis,
        "not_drawn": f"its accuracy is that of images of {had_at}x{had_at}" if size not in (None, had_at) else "",
    }


def _missing(entry: Entry, claims: Claims) -> str:
    """Say what is known in place of the accuracy that is not."""
    errors = [f"{figure.value:g} % error ({figure.source})" for figure in entry.published if figure.quantity == "error"]
    where = "no paper prints its accuracy on ImageNet" if claims.printed else "no published accuracy on ImageNet"
    return "; ".join([where, *errors])
