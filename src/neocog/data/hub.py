"""Parquet files and data sets of the Hugging Face hub, read by `datasets`.

The image column is the one of the image type, whatever it is called, and the label column the one of the
class type; where a table does not say its types, they are found by what the columns hold and by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neocog._hub import hub_refusal
from neocog.data.rows import group_by_split, label_indices, listed, relabelled, sort_classes, split_of
from neocog.data.table import Split, Tables
from neocog.errors import DataError

if TYPE_CHECKING:
    from datasets import Dataset

_LABELS = ("label", "labels", "fine_label", "class", "target", "category")
_IMAGES = ("image", "img")


def read_parquet(paths: Sequence[Path], name: str) -> Tables:
    """Read parquet files; the words of their names tell the splits.

    Raises:
        DataError: a file is damaged, or the images or labels cannot be found in it.
    """
    from datasets import load_dataset
    from datasets.exceptions import DatasetsError

    groups = {split: [str(path) for path in files] for split, files in group_by_split(paths).items()}
    undivided = list(groups) == ["all"]  # a name that `datasets` keeps for itself
    try:
        with _quiet():
            tables = load_dataset("parquet", data_files={"train": groups["all"]} if undivided else groups)
    except (OSError, ValueError, DatasetsError) as error:
        cause = " ".join(str(error.__cause__ or error).split())
        raise DataError(f"{name}: the parquet files cannot be read ({cause}); copy them again") from error
    return _read({"all": tables["train"]} if undivided else tables, name)


def read_hub(name: str, hub_name: str | None = None) -> Tables:
    """Read a data set of the Hugging Face hub, from the local cache where it is there.

    Args:
        name: how the source is called.
        hub_name: "owner/name", or "owner/name:configuration"; `name` if None.

    Raises:
        DataError: it cannot be reached, or has no images or labels.
    """
    from datasets import load_dataset
    from datasets.exceptions import DatasetsError

    hub_id, _, configuration = (hub_name or name).partition(":")
    refusal = hub_refusal()
    try:
        with nullcontext() if refusal is None else _cache_alone():
            tables = load_dataset(hub_id, configuration or None)
    except (OSError, ValueError, DatasetsError) as error:
        said = " ".join(str(error).split()).rstrip(".")
        cause = refusal if refusal and isinstance(error, ConnectionError) else said
        raise DataError(
            f"{name}: {hub_id} cannot be fetched from the Hugging Face hub ({cause}); check its name "
            "and the network, or give the folder of a local copy (--data-dir)"
        ) from error
    return _read(tables, name)


def _read(tables: Mapping[Any, Dataset], name: str) -> Tables:
    """Bring the tables of a data set into the form of `Split`."""
    found = Tables(name, {})
    parts: dict[str, Dataset] = {}
    for key, rows in tables.items():
        split = "all" if str(key) == "all" else split_of(str(key))
        if split is None and len(tables) == 1:
            split = "all"
        if split is None or split in parts:
            found.warnings.append(f"{name}: its split {key} is not used")
        else:
            parts[split] = _standard(rows, f"{name}/{key}", found.warnings)
    if not parts:
        raise DataError(f"{name}: none of its splits ({listed([str(key) for key in tables])}) is called train or test")
    parts = {split: rows for split, rows in parts.items() if len(rows)}
    if not parts:
        raise DataError(f"{name}: it holds no labelled images")
    multi_label, classes, parts = _label_indices(parts)
    for split, rows in parts.items():
        found.splits[split] = Split(rows, classes, name if split == "all" else f"{name}/{split}", multi_label)
    return found


def _standard(rows: Dataset, name: str, warnings: list[str]) -> Dataset:
    """Return a table of the columns "image", not decoded, and "label", without rows that have no label."""
    import pyarrow as pa
    import pyarrow.compute as pc
    from datasets import Image

    image, label = _image_column(rows, name), _label_column(rows, name)
    rows = rows.select_columns([image, label])
    if image != "image":
        rows = rows.rename_column(image, "image")
    if label != "label":
        rows = rows.rename_column(label, "label")
    rows = rows.cast_column("image", Image(decode=False))
    labels = rows.with_format("arrow")["label"][:]
    labelled = labels.is_valid().to_numpy()
    if pa.types.is_integer(labels.type):
        labelled &= pc.fill_null(pc.not_equal(labels, -1), False).to_numpy()
    if not labelled.all():
        warnings.append(f"{name}: {(~labelled).sum()} of {len(rows)} images have no label; not used")
        rows = rows.select(np.flatnonzero(labelled))
    return rows


def _image_column(rows: Dataset, name: str) -> str:
    from datasets import Image, Value

    def is_encoded(feature: Any) -> bool:
        if isinstance(feature, Mapping):
            return set(feature) == {"bytes", "path"}
        return isinstance(feature, Value) and feature.dtype in ("binary", "large_binary")

    typed = [column for column, feature in rows.features.items() if isinstance(feature, Image)]
    typed = typed or [column for column, feature in rows.features.items() if is_encoded(feature)]
    if not typed:
        raise DataError(
            f"{name}: there is no image column among {listed(rows.column_names)}; store encoded "
            "images (JPEG, PNG) as bytes"
        )
    return next((column for column in _IMAGES if column in typed), typed[0])


def _label_column(rows: Dataset, name: str) -> str:
    from datasets import ClassLabel, Value

    def is_class(feature: Any) -> bool:
        return isinstance(getattr(feature, "feature", feature), ClassLabel)

    typed = [column for column, feature in rows.features.items() if is_class(feature)]
    if not typed:
        typed = [
            column
            for column, feature in rows.features.items()
            if column in _LABELS and isinstance(getattr(feature, "feature", feature), Value)
        ]
    preferred = [column for column in _LABELS if column in typed] or typed
    if not preferred or (preferred is typed and len(typed) > 1):
        raise DataError(
            f"{name}: no column of labels can be told among {listed(rows.column_names)}; call the right one label"
        )
    return preferred[0]


def _label_indices(parts: dict[str, Dataset]) -> tuple[bool, tuple[str, ...], dict[str, Dataset]]:
    """Return whether images have several labels, the classes, and the tables with indices for labels."""
    from datasets import ClassLabel

    feature = next(iter(parts.values())).features["label"]
    multi_label = hasattr(feature, "feature")
    inner = feature.feature if multi_label else feature
    if isinstance(inner, ClassLabel) and all(rows.features["label"] == feature for rows in parts.values()):
        return multi_label, tuple(inner.names), parts
    named = {split: _label_names(rows) for split, rows in parts.items()}
    classes = sort_classes(name for rows in named.values() for names in rows for name in names)
    for split, names in named.items():
        labels = label_indices(names, classes, multi_label)
        parts[split] = relabelled(parts[split], labels, classes, multi_label)
    return multi_label, classes, parts


def _label_names(rows: Dataset) -> list[list[str]]:
    """Return the class names of every row, from indices, numbers or names."""
    feature = rows.features["label"]
    multi_label = hasattr(feature, "feature")
    inner = feature.feature if multi_label else feature
    names = getattr(inner, "names", None)
    several = rows["label"] if multi_label else ([value] for value in rows["label"])
    return [[names[value] if names else str(value) for value in values] for values in several]


@contextmanager
def _cache_alone() -> Iterator[None]:
    """Keep `datasets` from asking a hub out of reach for half a minute before it looks into its cache."""
    from datasets import config

    before = config.HF_HUB_OFFLINE
    config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        config.HF_HUB_OFFLINE = before


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep `datasets` from drawing progress bars for what takes a second."""
    from datasets import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    if are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()
