"""What a forward pass leaves behind: the operations that ran, the tensors between them, the modules around them.

A `Trace` is written once, by `neocog.analysis.trace`, and everything else in this room reads it: cost, memory,
receptive fields, drawings. Nothing here runs a network.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import Any, Literal

import torch

from neocog.errors import UnknownNameError

Origin = Literal["input", "parameter", "buffer", "constant", "operation"]


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """A tensor that an operation read or made; a view and an in-place result are values of their own.

    Attributes:
        index: its number in the trace, in the order in which values appeared.
        shape: its shape.
        dtype: its type.
        storage: the number of the memory that it lies in, which views share; an index of `Trace.storages`.
        origin: where it came from; a constant is a tensor that no operation of this pass made.
        name: of a parameter or buffer, as `named_parameters` has it; empty for others.
    """

    index: int
    shape: tuple[int, ...]
    dtype: torch.dtype
    storage: int
    origin: Origin
    name: str = ""

    @property
    def numel(self) -> int:
        """How many numbers it holds."""
        return prod(self.shape)


@dataclass(slots=True)
class Storage:
    """Memory that one or several values lie in.

    Attributes:
        size: bytes.
        origin: of the value that it was allocated for.
        maker: index of the operation that allocated it; -1 for what was there before.
        last_use: index of the last operation that read or wrote it; -1 for none.
        saved_by: path of the module in which autograd first kept it for the backward pass; None where it did not.
        is_output: whether the network returned it.
    """

    size: int
    origin: Origin
    maker: int
    last_use: int = -1
    saved_by: str | None = None
    is_output: bool = False

    @property
    def is_kept(self) -> bool:
        """Whether it stays until the backward pass."""
        return self.origin == "operation" and (self.saved_by is not None or self.is_output)


@dataclass(frozen=True, slots=True, eq=False)
class Operation:
    """One operation of the pass.

    Attributes:
        index: its number, in the order of execution.
        name: torch's name without namespace and overload, such as "convolution" or "native_layer_norm".
        overload: torch's whole name, such as "aten.add.Tensor".
        path: of the innermost module that ran it, such as "layer1.0.conv1"; empty for the network itself.
        call: index of that module's call in `Trace.calls`.
        args: what it was given, each tensor as its `Value`.
        kwargs: likewise.
        inputs: the values among `args` and `kwargs`, in order.
        outputs: the values that it returned.
        touched: values whose memory it wrote to under another view, before it and as they are after it.
        learned: of each of `inputs`, whether the backward pass computes a gradient for it.
    """

    index: int
    name: str
    overload: str
    path: str
    call: int
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    touched: tuple[tuple[Value, Value], ...] = ()
    learned: tuple[bool, ...] = ()

    def argument(self, position: int, name: str, default: Any = None) -> Any:
        """Return an argument given by position or by name."""
        if position < len(self.args):
            return self.args[position]
        return self.kwargs.get(name, default)


@dataclass(slots=True)
class Call:
    """One call of a module.

    Attributes:
        index: its number, in the order in which the calls began.
        path: the module's name in the network; empty for the network itself.
        kind: its class's name.
        parent: index of the call that it was made from; -1 for the network's.
        first: index of the first operation within it.
        end: index after its last operation.
        inputs: the tensors that it was given.
        outputs: the tensors that it returned.
    """

    index: int
    path: str
    kind: str
    parent: int
    first: int
    end: int = -1
    inputs: tuple[Value, ...] = ()
    outputs: tuple[Value, ...] = ()


@dataclass(frozen=True)
class Trace:
    """One forward pass of a network.

    Attributes:
        network: what the network is called.
        operations: what ran, in order.
        calls: of modules, in the order in which they began; the first is the network's own.
        storages: the memory of all values.
        inputs: the tensors that the network was given.
        outputs: the tensors that it returned.
        parameters: the names of the network's parameters, with their values.
        buffers: the names of its buffers, with theirs.
        aliases: other names of a parameter that is used under several, with the first.
        trainable: the names of the parameters that a backward pass gives gradients to.
        training: whether the pass was one of training, with autograd keeping what the backward pass needs.
        device: "meta" where nothing was computed; "cpu" where the network can only be run with real numbers.
        fallback: why the pass could not be one on the meta device; empty where it was.
    """

    network: str
    operations: tuple[Operation, ...]
    calls: tuple[Call, ...]
    storages: tuple[Storage, ...]
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    parameters: dict[str, Value]
    buffers: dict[str, Value]
    aliases: dict[str, str] = field(default_factory=dict)
    trainable: frozenset[str] = frozenset()
    training: bool = False
    device: str = "meta"
    fallback: str = ""

    @cached_property
    def makers(self) -> dict[Value, Operation]:
        """The operation that made each value."""
        return {value: operation for operation in self.operations for value in operation.outputs}

    @cached_property
    def paths(self) -> dict[str, list[Call]]:
        """The calls of each module that ran, by its name."""
        calls: dict[str, list[Call]] = {}
        for call in self.calls:
            calls.setdefault(call.path, []).append(call)
        return calls

    @cached_property
    def borrowing(self) -> frozenset[int]:
        """The calls of modules that call others and none of their own, such as one that is given a block's function."""
        called: dict[int, list[str]] = {}
        for call in self.calls:
            called.setdefault(call.parent, []).append(call.path)
        return frozenset(
            index
            for index, paths in called.items()
            if index > 0 and not any(path.startswith(f"{self.calls[index].path}.") for path in paths)
        )

    def call(self, path: str) -> Call:
        """Return the last call of the module `path`; `UnknownNameError`, with the near names, where none ran."""
        if path not in self.paths or (not path and len(self.calls) > 1):
            known = (name for name in self.paths if name)
            raise UnknownNameError("layer", path, known, f"neocog describe {self.network}")
        return self.paths[path][-1]

    def within(self, call: Call) -> Sequence[Operation]:
        """Return the operations of a call, those of the modules that it called included."""
        return self.operations[call.first : call.end]

    def leaves(self) -> Iterator[Call]:
        """Yield the calls that called no other module."""
        parents = {call.parent for call in self.calls}
        return (call for call in self.calls if call.index not in parents)

    def numel_of(self, names: Iterable[str]) -> int:
        """Return how many numbers the parameters of these names hold."""
        return sum(self.parameters[name].numel for name in names)
