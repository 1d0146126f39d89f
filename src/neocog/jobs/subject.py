"""`find_subject`: the network that a person means by a catalog name, a model file, or `module:callable`.

What looks at networks (describe, receptive-field, draw, compare, benchmark) takes all three alike.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import nn

from neocog.analysis.blank import without_numbers
from neocog.analysis.record import Trace
from neocog.analysis.trace import NoNumbersError, trace_forward
from neocog.catalog import Entry, describe, list_models
from neocog.data.preprocess import Preprocessing
from neocog.errors import NeocogError, UnknownNameError, UsageError
from neocog.inference.model_file import load_model, read_card
from neocog.models import Classifier, create_model
from neocog.models._family import Family

IMAGE = (3, 224, 224)
"""What a user's own network is given where nobody says otherwise."""


@dataclass(frozen=True)
class Subject:
    """A network to look at.

    Attributes:
        name: how to call it.
        network: it, in evaluation mode; on the meta device unless real weights were asked for.
        image: the shape of one input, `(C, H, W)`.
        entry: what the catalog says about it; None for a user's own.
        preprocessing: of the images, where its weights say which; None otherwise.
    """

    name: str
    network: nn.Module
    image: tuple[int, ...]
    entry: Entry | None = None
    preprocessing: Preprocessing | None = None


def find_subject(
    spec: str,
    *,
    image: Sequence[int] | None = None,
    size: int | None = None,
    real: bool = False,
    weights: str | None = None,
) -> Subject:
    """Return the network that `spec` names.

    Args:
        spec: a name of the catalog, the path of a model file, or `package.module:callable` for something that returns
            a module when it is called without arguments; the current directory is searched too.
        image: the shape of an input; by default the one that the network was made for.
        size: only the height and width of it.
        real: with numbers in its parameters, on the CPU: those of `weights` or of the file, else fresh ones.
        weights: of a catalog network, a tag or a file, as `create_model` takes them; brings `real` along.

    Raises:
        UnknownNameError: no such network; the message names the near ones.
        UsageError: a callable that cannot be found or called, or that returns no module.
        WeightsError: a model file that is damaged or of a newer version.
    """
    if weights is not None and (":" in spec or is_file(spec)):
        raise UsageError(f"--weights goes with a network of the catalog; {spec} brings its own")
    if is_file(spec):
        subject = _from_file(Path(spec), real)
    elif ":" in spec:
        subject = Subject(spec.partition(":")[2], _called(spec, real).eval(), IMAGE)
    else:
        subject = _from_catalog(spec, real or weights is not None, weights)
    shape = tuple(image) if image is not None else subject.image
    if size is not None:
        shape = (shape[0], *[size] * (len(shape) - 1))
    return Subject(subject.name, subject.network, shape, subject.entry, subject.preprocessing)


def trace_subject(
    spec: str,
    *,
    image: Sequence[int] | None = None,
    size: int | None = None,
    batch: int = 1,
    dtype: torch.dtype = torch.float32,
    training: bool = False,
) -> tuple[Subject, Trace]:
    """Find the network that `spec` names and record a forward pass of it; see `find_subject` and `trace_forward`."""
    subject = find_subject(spec, image=image, size=size)
    try:
        return subject, _traced(subject, batch, dtype, training)
    except NoNumbersError:
        if subject.entry is not None:
            raise  # a network of ours needs no numbers to run: the input does not fit it
    subject = find_subject(spec, image=image, size=size, real=True)
    return subject, _traced(subject, batch, dtype, training)


def _traced(subject: Subject, batch: int, dtype: torch.dtype, training: bool) -> Trace:
    return trace_forward(subject.network, subject.image, batch=batch, dtype=dtype, training=training, name=subject.name)


def is_file(spec: str) -> bool:
    """Return whether `spec` is meant as a model file's path."""
    return spec.endswith(".safetensors") or (Path(spec).is_file() and spec not in list_models())


def _from_catalog(name: str, real: bool, weights: str | None) -> Subject:
    known = list_models()
    if name not in known:
        error = UnknownNameError("model", name, known, "neocog models")
        raise UsageError(f"{error}; a model file ends in .safetensors, a network of yours is written module:callable")
    entry = describe(name)
    if real:
        network = create_model(name, weights=weights)
    else:
        family = Family.of(name)
        with without_numbers():
            network = family.build(family.config)
    return Subject(name, network.eval(), entry.input, entry)


def _from_file(path: Path, real: bool) -> Subject:
    card = read_card(path)
    network: Classifier
    if real:
        network = load_model(path).network
    else:
        family = Family.of(card.model)
        config = family.edited({**card.edits, "num_classes": card.num_classes, "in_chans": card.in_chans})
        with without_numbers():
            network = family.build(config)
    entry = describe(card.model)
    image = (card.in_chans, *card.preprocessing.size)
    return Subject(f"{card.model} ({path.name})", network.eval(), image, entry, card.preprocessing)


def _called(spec: str, real: bool) -> nn.Module:
    """Return what `module:callable` returns; on the meta device where it can be made there."""
    make = _find_callable(spec)
    if not real:
        try:
            with without_numbers():
                return _module(spec, make())
        except NeocogError:
            raise
        except Exception:  # noqa: BLE001
            pass  # A constructor may read the numbers that it computes, which are not there on meta: build it truly.
    try:
        return _module(spec, make())
    except NeocogError:
        raise
    except Exception as error:
        # Whatever a user's code raises is the user's to read; it must not look like an error of this program.
        raise UsageError(f"{spec} failed when it was called: {type(error).__name__}: {error}") from error


def _find_callable(spec: str) -> Callable[[], Any]:
    module_name, _, attribute = spec.partition(":")
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as error:
        raise UsageError(
            f"{spec}: there is no module {error.name!r}; it is looked for as Python does, and here"
        ) from None
    except Exception as error:
        raise UsageError(f"{spec}: importing {module_name} failed: {type(error).__name__}: {error}") from error
    found: Any = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise UnknownNameError(
                f"name in {module_name}", attribute, [n for n in dir(module) if not n.startswith("_")]
            )
        found = getattr(found, part)
    if isinstance(found, nn.Module):
        return lambda: found
    if not callable(found):
        raise UsageError(
            f"{spec} is a {type(found).__name__}; name something that returns a torch.nn.Module when called"
        )
    return found  # type: ignore[no-any-return]


def _module(spec: str, made: object) -> nn.Module:
    if not isinstance(made, nn.Module):
        raise UsageError(f"{spec} returned a {type(made).__name__}, not a torch.nn.Module")
    return made
