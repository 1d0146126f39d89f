"""Fields of a recipe that change from epoch to epoch: which may, and whether their values are such as they can have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from neocog.errors import UsageError, near_names

Vary = dict[str, tuple[tuple[Annotated[int, Field(ge=0)], Any], ...]]
"""{a dotted name: pairs of an epoch, counted from 0, and the value from then on}."""

Side = Annotated[int, Field(ge=1, le=4096)]
"""The side of an image, in pixels."""

_SIDE: TypeAdapter[int] = TypeAdapter(Side)


def field_names(settings: BaseModel, prefix: str = "") -> list[str]:
    """Return the dotted names of all fields below `settings`, such as "optimizer.lr"."""
    names = []
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        names += field_names(value, f"{prefix}{name}.") if isinstance(value, BaseModel) else [prefix + name]
    return names


def check_varying(vary: Vary, augment: BaseModel, mix: BaseModel, loss: BaseModel) -> Vary:
    """Return `vary` with every value as its field reads it: a list becomes a tuple where the field has one.

    Args:
        vary: what varies.
        augment: all of whose fields may vary, and what they are before they do.
        mix: likewise.
        loss: of which only `label_smoothing` may.

    Raises:
        UsageError: a name that may not vary, epochs that do not ascend, or a value that the field cannot have.
    """
    groups = {"augment": augment, "mix": mix, "loss": loss}
    known = ["image_size", "loss.label_smoothing", *field_names(augment, "augment."), *field_names(mix, "mix.")]
    for name, pairs in vary.items():
        if name not in known:
            near = near_names(name, known)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            raise UsageError(
                f"{name} cannot vary over epochs; image_size, loss.label_smoothing, augment.* and mix.* can{hint}"
            )
        epochs = [epoch for epoch, _ in pairs]
        if not epochs or sorted(set(epochs)) != epochs:
            raise UsageError(f"{name} takes pairs of an epoch and a value, epochs ascending, not {_listed(pairs)}")
    checked: dict[str, list[tuple[int, Any]]] = {name: [] for name in vary}
    for epoch in sorted({epoch for pairs in vary.values() for epoch, _ in pairs}):
        values = values_at(vary, epoch)
        read = {group: _changed(group, settings, values, epoch) for group, settings in groups.items()}
        for name, pairs in vary.items():
            for start, value in pairs:
                if start == epoch:
                    checked[name].append((epoch, _side(value) if name == "image_size" else _field(read, name)))
    return {name: tuple(pairs) for name, pairs in checked.items()}


def values_at(vary: Vary, epoch: int) -> dict[str, Any]:
    """Return the value in `epoch` of each field that varies, where it has begun to."""
    return {name: value for name, pairs in vary.items() for start, value in pairs if start <= epoch}


def varying_in(vary: object, group: str) -> set[str]:
    """Return the fields directly in `group`, such as "augment", that `vary`, checked or not, has values for."""
    names = [str(name).split(".") for name in vary] if isinstance(vary, Mapping) else []
    return {name[1] for name in names if len(name) == 2 and name[0] == group}


def _changed(group: str, settings: BaseModel, values: Mapping[str, Any], epoch: int) -> BaseModel:
    """Return `settings` with those of `values` that lie in `group`."""
    tree = settings.model_dump()
    for name, value in values.items():
        first, *between, leaf = name.split(".") if "." in name else ("", name)
        if first != group:
            continue
        place = tree
        for part in between:
            place = place[part]
        place[leaf] = value
    try:
        return type(settings).model_validate(tree)
    except ValidationError as error:
        raise UsageError(f"from epoch {epoch} on, {first_fault(error, group)}") from error


def _field(groups: Mapping[str, BaseModel], name: str) -> Any:
    value: Any = groups
    group, *parts = name.split(".")
    value = groups[group]
    for part in parts:
        value = getattr(value, part)
    return value


def _side(value: Any) -> int:
    try:
        return _SIDE.validate_python(value)
    except ValidationError as error:
        raise UsageError(first_fault(error, "image_size")) from error


def _listed(pairs: tuple[tuple[int, Any], ...]) -> str:
    return str([list(pair) for pair in pairs])


def first_fault(error: ValidationError, prefix: str = "") -> str:
    """Return in one line which field was wrong first, and why; a validator of ours has said all of it."""
    first = error.errors()[0]
    if first["type"] == "value_error":
        return str(first["ctx"]["error"])
    where = ".".join(str(part) for part in (prefix, *first["loc"]) if part != "")
    return f"recipe field {where}: {first['msg'].lower()}, not {first['input']!r}"
