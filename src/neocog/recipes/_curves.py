"""What a recipe changes as training goes on, as curves over the epochs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from neocog.train.recipe import Recipe
from neocog.train.schedules import auxiliary_weight, learning_rate

FAR = 20  # times the least value that the greatest is where only a logarithmic axis shows both


@dataclass(frozen=True)
class Curve:
    """A number over a run.

    Attributes:
        name: what it is: "learning rate", or a field's dotted name.
        epochs: where it is given, over all stages, ascending.
        values: what it is there.
        peak: the greatest that it ever is, which may be between two of `epochs`.
        logarithmic: whether it falls by factors, and so is best seen on a logarithmic axis.
    """

    name: str
    epochs: tuple[float, ...]
    values: tuple[float, ...]
    peak: float
    logarithmic: bool = False


def schedule_curves(stages: Sequence[Recipe], points: int = 800) -> list[Curve]:
    """Return the learning rate and every other number that varies, at the middles of `points` equal parts of the run.

    Args:
        stages: of the recipe; their epochs are counted on from one to the next.
        points: how many.
    """
    whole = sum(stage.epochs for stage in stages)
    epochs = tuple((point + 0.5) * whole / points for point in range(points))
    curves = [_curve("learning rate", learning_rate, stages, epochs, peak=max(stage.optimizer.lr for stage in stages))]
    for name in dict.fromkeys(name for stage in stages for name in stage.vary):
        if all(_is_number(_value_at(name)(stage, epoch)) for stage in stages for epoch in range(stage.epochs)):
            curves.append(_curve(name, _value_at(name), stages, epochs))
    if any(stage.loss.auxiliary_decay for stage in stages):
        curves.append(_curve("loss.auxiliary_weight", _auxiliary_weight, stages, epochs))
    return [curves[0], *(curve for curve in curves[1:] if len(set(curve.values)) > 1)]


def _curve(
    name: str,
    value: Callable[[Recipe, float], float],
    stages: Sequence[Recipe],
    epochs: tuple[float, ...],
    peak: float | None = None,
) -> Curve:
    values = []
    for epoch in epochs:
        stage, within = _locate(stages, epoch)
        values.append(float(value(stage, within)))
    by_factors = all(stage.schedule.name in ("step", "exponential") for stage in stages) and min(values) > 0
    logarithmic = by_factors and max(values) > FAR * min(values)
    return Curve(name, epochs, tuple(values), max(values) if peak is None else peak, logarithmic)


def _locate(stages: Sequence[Recipe], epoch: float) -> tuple[Recipe, float]:
    """Return the stage that trains at `epoch` of the whole run, and the epoch within it."""
    for stage in stages:
        if epoch < stage.epochs:
            return stage, epoch
        epoch -= stage.epochs
    return stages[-1], float(stages[-1].epochs)


def _value_at(name: str) -> Callable[[Recipe, float], Any]:
    """Return what gives the field `name` in an epoch."""

    def value(stage: Recipe, epoch: float) -> Any:
        found: Any = stage.at(int(epoch))
        for part in name.split("."):
            found = getattr(found, part)
        return found

    return value


def _auxiliary_weight(stage: Recipe, epoch: float) -> float:
    return auxiliary_weight(stage.loss, int(epoch), stage.epochs)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
