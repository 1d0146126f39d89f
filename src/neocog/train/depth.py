"""The parts of a network in the order of their depth, for rates and freezing that go by it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from torch import nn

from neocog.models._classifier import Classifier


@dataclass(frozen=True)
class Part:
    """A stage of a network with what belongs to it.

    Attributes:
        modules: what it is made of, in the network's order.
        parameters: all of theirs, by their names in the network.
    """

    modules: list[nn.Module] = field(default_factory=list)
    parameters: dict[str, nn.Parameter] = field(default_factory=dict)


def parts_by_depth(network: Classifier) -> tuple[Part, ...]:
    """Return a network's parts: the stem, the stages in their order, hidden layers after them, and the head last.

    Stages are those of `network.stage_names`. What stands between two of them belongs to the later one, as a
    transition does to what it leads to; but norms, which have no weights of two dimensions, belong to what comes before
    them. What comes before the first stage is the stem, unless that stage is a mere pooling; parameters that the
    network itself holds, such as a class token, are among it. Auxiliary heads belong to the head. Every part has
    parameters, and every parameter a part.
    """
    present = dict(network.named_modules())
    heads = {network.head_name} | {name for name in network.auxiliary_names.values() if name in present}
    stages = [name for name in network.stage_names if name not in heads]
    units = [_Unit(name, module, parameters) for name, module, parameters in _units(network, "", {*stages, *heads})]
    last = len(stages)
    parts = [Part() for _ in range(last + 3)]  # the stem, the stages, what is hidden behind them, the head
    place, heavy = 0, False  # where the next unit belongs, and whether weights came since the last stage
    for unit in units:
        if unit.name in heads:
            unit.join(parts[-1])
        elif unit.name in stages:
            place, heavy = stages.index(unit.name) + 1, False
            if place == 1 and not unit.weighs:
                parts[1], parts[0] = parts[0], parts[1]  # a pooling ends the first stage and does not begin it
            unit.join(parts[place])
        else:
            heavy = heavy or unit.weighs or (place > 0 and not unit.parameters)
            unit.join(parts[place + 1 if heavy and place else place])
    if not any(unit.weighs for unit in units if unit.module in parts[-2].modules):
        _merge(parts.pop(-2), parts[-1])  # a dropout before the head
    while not parts[-1].parameters and len(parts) > 1:
        _merge(parts.pop(-2), parts[-1])  # a head that is fixed, as LeNet-5's of 1998
    for number in reversed(range(len(parts) - 1)):
        if not parts[number].parameters:
            _merge(parts.pop(number), parts[number])
    return tuple(parts)


@dataclass(frozen=True)
class _Unit:
    """A module that lies in one part as a whole, or a parameter of a module that does not."""

    name: str
    module: nn.Module | None
    parameters: dict[str, nn.Parameter]

    @property
    def weighs(self) -> bool:
        """Whether it has weights, and not only scales and shifts."""
        return any(parameter.ndim > 1 for parameter in self.parameters.values())

    def join(self, part: Part) -> None:
        """Become a piece of `part`."""
        if self.module is not None:
            part.modules.append(self.module)
        part.parameters.update(self.parameters)


def _merge(part: Part, later: Part) -> None:
    """Put what `part` has at the beginning of `later`."""
    later.modules[:0] = part.modules
    merged = {**part.parameters, **later.parameters}
    later.parameters.clear()
    later.parameters.update(merged)


def _units(
    module: nn.Module, prefix: str, named: Collection[str]
) -> Iterator[tuple[str, nn.Module | None, dict[str, nn.Parameter]]]:
    """Go through a module's children in order, into those alone that hold some of the modules `named`."""
    for name, parameter in module.named_parameters(prefix, recurse=False):
        yield name, None, {name: parameter}
    for child_name, child in module.named_children():
        name = f"{prefix}.{child_name}" if prefix else child_name
        if name not in named and any(other.startswith(f"{name}.") for other in named):
            yield from _units(child, name, named)
        else:
            yield name, child, dict(child.named_parameters(name))
