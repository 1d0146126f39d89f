"""Between the parameter names of neocog and those of other libraries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, TypeVar

from torch import Tensor

from neocog.errors import UnknownNameError, WeightsError
from neocog.models._classifier import ModelConfig
from neocog.models._family import Family

LIBRARIES = ("neocog", "timm", "torchvision")
WRAPPERS = ("module.", "_orig_mod.")
"""What DDP and `torch.compile` put before every name."""

Library = Literal["neocog", "timm", "torchvision"]
T = TypeVar("T")


def convert_state_dict(
    state: Mapping[str, Tensor],
    name: str,
    source: Library,
    *,
    target: Library = "neocog",
    **edits: object,
) -> dict[str, Tensor]:
    """Return `state` of the network `name` with the names of `target` instead of those of `source`.

    The tensors are the same ones. A part of a state may be converted too.

    Args:
        state: as `state_dict()` gives it.
        name: the catalog's name of the network.
        source: whose names `state` has.
        target: whose names are wanted.
        edits: fields of the config in which the network differs from the published variant.

    Raises:
        UnknownNameError: no such network, library or edit.
        WeightsError: names in `state` that `source` does not give to this network.
    """
    for library in (source, target):
        if library not in LIBRARIES:
            raise UnknownNameError("library", library, LIBRARIES)
    family = Family.of(name)
    config = family.edited(edits)
    ours = rename(state, name_map(family, config, source), back=True)
    known = set(family.build_uninitialised(config).state_dict())
    strange = [key for key in ours if key not in known]
    if strange:
        raise WeightsError(f"{source} has no {listed(strange)} in {name}; is this state of another network?")
    return rename(ours, name_map(family, config, target))


def recognise(keys: Iterable[str], family: Family, config: ModelConfig, known: set[str]) -> Library:
    """Return the library whose names `keys` are: the one under which most of them are `known` here."""
    keys = list(keys)

    def familiar(library: Library) -> int:
        renamed = rename(dict.fromkeys(keys), name_map(family, config, library), back=True)
        return sum(key in known for key in renamed)

    libraries: list[Library] = ["neocog", "timm", "torchvision"]
    return max(libraries, key=familiar)


def name_map(family: Family, config: ModelConfig, library: Library) -> Mapping[str, str]:
    """Return {our module's name: the library's}, empty where they are the same."""
    return family.names[library](config) if library in family.names else {}


def rename(state: Mapping[str, T], names: Mapping[str, str], *, back: bool = False) -> dict[str, T]:
    """Return `state` with each key's longest leading part that is in `names` replaced; `back` for the other way."""
    if back:
        names = {theirs: ours for ours, theirs in names.items()}
    return {_renamed(key, names): value for key, value in state.items()}


def unwrapped(state: Mapping[str, T]) -> dict[str, T]:
    """Return `state` without what DDP and `torch.compile` put before every name."""
    for wrapper in WRAPPERS:
        if state and all(key.startswith(wrapper) for key in state):
            state = {key.removeprefix(wrapper): value for key, value in state.items()}
    return dict(state)


def listed(names: Iterable[str], shown: int = 3) -> str:
    """Return the first few names and how many more there are, for a message."""
    names = list(names)
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


def _renamed(key: str, names: Mapping[str, str]) -> str:
    module, rest = key, ""
    while module:
        if module in names:
            return names[module] + rest
        module, dot, leaf = module.rpartition(".")
        rest = f"{dot}{leaf}{rest}"
    return key
