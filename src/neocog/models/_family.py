"""From a catalog name to the class and the config that build it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from importlib import import_module
from typing import Any, get_type_hints

import torch
from torch.overrides import TorchFunctionMode

from neocog.catalog import describe
from neocog.errors import UnknownNameError, UsageError
from neocog.models._classifier import Classifier, ModelConfig


@dataclass(frozen=True)
class Reshaped:
    """Another library's name of a module whose `weight` it has in another shape.

    A linear layer over all positions is a convolution as large as they are:

        >>> Reshaped("classifier.0", ours=(512, 7, 7), theirs=(25088,))

    Attributes:
        name: what the library calls the module.
        ours: the shape here, but for the first dimension, which is the number of outputs.
        theirs: the shape there, likewise.
    """

    name: str
    ours: tuple[int, ...]
    theirs: tuple[int, ...]


Names = Mapping[str, str | Reshaped]
"""{our module's name: the other library's name of it}."""
NameMap = Callable[[Any], Names]
"""From a family's config to the names of that library."""


@dataclass(frozen=True)
class Family:
    """What a family's file says about one of its variants.

    Attributes:
        name: the catalog's name.
        config: the published config.
        network: builds a network from a config.
        names: for each other library whose names differ from ours, how they differ.
        older_names: what files that were published once, and are about still, have in place of our names.
    """

    name: str
    config: ModelConfig
    network: Callable[[Any], Classifier]
    names: Mapping[str, NameMap]
    older_names: NameMap | None = None

    @classmethod
    def of(cls, name: str) -> Family:
        """Return that of a catalog name; `UnknownNameError` where there is none."""
        module = import_module(describe(name).module)
        names, older_names = getattr(module, "NAMES", {}), getattr(module, "OLDER_NAMES", None)
        return cls(name, module.CONFIGS[name], module.NETWORK, names, older_names)

    def edited(self, edits: Mapping[str, object]) -> ModelConfig:
        """Return the published config with some fields changed.

        Values are read as pydantic reads them: "0.2" is a number where the field is one, a list a tuple.

        Raises:
            UnknownNameError: an edit that is no field of this family's config; the message names the near ones.
            UsageError: a value that the field cannot have.
        """
        if not edits:
            return self.config
        from pydantic import TypeAdapter, ValidationError

        known = [field.name for field in fields(self.config)]
        types = get_type_hints(type(self.config))
        values: dict[str, Any] = {}
        for name, value in edits.items():
            if name not in known:
                raise UnknownNameError(f"edit of {self.name}", name, known, f"neocog models {self.name}")
            try:
                values[name] = TypeAdapter(types[name]).validate_python(value)
            except ValidationError as error:
                reason = error.errors()[0]["msg"].replace("Input should be", "it should be")
                raise UsageError(f"{self.name} cannot have {name}={value!r}: {reason}") from None
        return replace(self.config, **values)

    def build(self, config: ModelConfig) -> Classifier:
        """Return a network with torch's own initialisation."""
        network = self.network(config)
        network.name = self.name
        return network

    def build_uninitialised(self, config: ModelConfig) -> Classifier:
        """Return a network whose parameters hold whatever was in memory, which takes no time to write there.

        Fixed tensors that a constructor computes (LeNet's output codes) are right. On the meta device they would not
        be, and memory that nobody writes to costs as little.
        """
        with _WithoutInitialisation():
            return self.build(config)


class _WithoutInitialisation(TorchFunctionMode):
    """Makes the functions of `torch.nn.init` return their tensor untouched, in this thread."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == torch.nn.init.__name__:
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return func(*args, **kwargs)
