"""Between the parameter names of neocog and those of other libraries, and their shapes where these differ too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, TypeVar, cast

from torch import Tensor

from neocog.errors import UnknownNameError, WeightsError
from neocog.models._classifier import ModelConfig
from neocog.models._family import Family, Names, Reshaped

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

    The tensors are the same ones, or share their memory where a library has them in another shape. A part of a state
    may be converted too.

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
    ours = with_our_names(state, family, config, source)
    network = family.build_uninitialised(config)
    known, heads = network.state_dict().keys(), network.auxiliary_names.values()
    strange = [key for key in ours if key not in known]
    if strange and all(key.partition(".")[0] in heads for key in strange):
        raise WeightsError(f"{listed(strange)} are of auxiliary heads, which {name} has with auxiliary=True")
    if strange:
        raise WeightsError(f"{source} has no {listed(strange)} in {name}; is this state of another network?")
    return rename(ours, name_map(family, config, target))


def recognise(keys: Iterable[str], family: Family, config: ModelConfig, known: set[str]) -> Library:
    """Return the library whose names `keys` are: the one under which most of them are `known` here."""
    keys = list(keys)

    def familiar(library: Library) -> int:
        renamed = with_our_names(dict.fromkeys(keys), family, config, library)
        return sum(key in known for key in renamed)

    libraries: list[Library] = ["neocog", "timm", "torchvision"]
    return max(libraries, key=familiar)


def name_map(family: Family, config: ModelConfig, library: Library) -> Names:
    """Return {our module's name: the library's}, empty where they are the same."""
    return family.names[library](config) if library in family.names else {}


def with_our_names(state: Mapping[str, T], family: Family, config: ModelConfig, library: Library) -> dict[str, T]:
    """Return a `state` of `library` with our names, also where it has those of older files."""
    if family.older_names is not None:
        state = rename(state, family.older_names(config), back=True)
    return rename(state, name_map(family, config, library), back=True)


def rename(state: Mapping[str, T], names: Names, *, back: bool = False) -> dict[str, T]:
    """Return `state` with each key's longest leading part that is in `names` replaced; `back` for the other way.

    Weights are reshaped where `names` says so. One that has neither shape is of another network, and stays as it is.
    """
    if back:
        names = dict(_inverted(ours, theirs) for ours, theirs in names.items())
    renamed = {}
    for key, value in state.items():
        name, rest = _known_part(key, names)
        if isinstance(name, Reshaped):
            if rest == ".weight" and isinstance(value, Tensor) and value.shape[1:] == name.ours:
                value = cast(T, value.reshape(-1, *name.theirs))
            name = name.name
        renamed[name + rest] = value
    return renamed


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


def _inverted(ours: str, theirs: str | Reshaped) -> tuple[str, str | Reshaped]:
    if isinstance(theirs, Reshaped):
        return theirs.name, Reshaped(ours, ours=theirs.theirs, theirs=theirs.ours)
    return theirs, ours


def _known_part(key: str, names: Names) -> tuple[str | Reshaped, str]:
    """Return what stands in `names` for the longest leading part of `key`, and the rest of `key`."""
    module, rest = key, ""
    while module:
        if module in names:
            return names[module], rest
        module, dot, leaf = module.rpartition(".")
        rest = f"{dot}{leaf}{rest}"
    return key, ""
