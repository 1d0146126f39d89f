"""Where operations are written down: a dispatch mode, hooks on modules, and hooks on what autograd saves."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from operator import attrgetter
from typing import Any
from weakref import ref

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

from neocog.analysis._attention import ATTENTION as ATTENTION
from neocog.analysis._attention import AttentionMode
from neocog.analysis._dispatch import Dispatch, tensors_in
from neocog.analysis.record import Call, Operation, Origin, Storage, Trace, Value

_View = tuple[int, tuple[int, ...], tuple[int, ...]]
"""Offset, shape and strides."""
Given = tuple[tuple[Any, ...], dict[str, Any], tuple[Value, ...], tuple[bool, ...]]
"""Arguments with each tensor as its value; those values, in order; which of them gradients flow to."""


class Recorder:
    """Records everything that runs while it is entered."""

    def __init__(self, network: nn.Module, tensors: dict[str, Tensor], images: Tensor) -> None:
        self.operations: list[Operation] = []
        self.calls: list[Call] = []
        self.storages: list[Storage] = []
        self.on_meta = images.is_meta  # where nothing is computed
        self._values: list[dict[_View, Value]] = []  # of each storage
        self._count = 0
        self._storage_numbers: dict[int, int] = {}  # by address
        self._references: list[Any] = []
        self._kept: list[tuple[ref[_Saved], int, str]] = []
        self._stack: list[Call] = []
        self._failed: Call | None = None  # the innermost call that raised
        self._outer: BaseException | None = None
        self._paths = {module: path for path, module in reversed(list(network.named_modules()))}
        self._exit = ExitStack()
        self._dispatch = Dispatch(self)
        parameters = dict(network.named_parameters())
        self.named: dict[str, Value] = {}
        for name, tensor in tensors.items():
            self.named[name] = self._new_value(tensor, "parameter" if name in parameters else "buffer", name)
        self.parameter_names = frozenset(parameters)
        self.trainable = frozenset(name for name, parameter in parameters.items() if parameter.requires_grad)
        self.aliases = {
            name: self._paths_of(parameters, parameter)
            for name, parameter in network.named_parameters(remove_duplicate=False)
            if name not in parameters
        }
        self.inputs = (self._new_value(images, "input"),)

    @staticmethod
    def _paths_of(parameters: dict[str, nn.Parameter], parameter: nn.Parameter) -> str:
        return next(name for name, known in parameters.items() if known is parameter)

    def __enter__(self) -> Recorder:
        self._outer = sys.exception()
        self._exit.callback(register_module_forward_pre_hook(self._before_module).remove)
        self._exit.callback(register_module_forward_hook(self._after_module, always_call=True).remove)
        self._exit.enter_context(torch.autograd.graph.saved_tensors_hooks(self._saved, attrgetter("tensor")))
        self._exit.enter_context(self._dispatch)
        self._exit.enter_context(AttentionMode(self))
        return self

    def __exit__(self, *error: object) -> None:
        self._exit.close()
        self._paths = {}  # the network's memory is the caller's to keep

    def trace(self, outputs: Any, name: str, *, training: bool, device: str, fallback: str) -> Trace:
        """Return what was recorded, of a pass that returned `outputs`: while they live, so does what autograd keeps."""
        for value in self.calls[0].outputs:
            self.storages[value.storage].is_output = True
        for saved, number, path in self._kept:
            if saved() is not None and self.storages[number].saved_by is None:
                self.storages[number].saved_by = path
        self._forget_gradients(outputs)
        return Trace(
            network=name,
            operations=tuple(self.operations),
            calls=tuple(self.calls),
            storages=tuple(self.storages),
            inputs=self.inputs,
            outputs=self.calls[0].outputs,
            parameters={name: value for name, value in self.named.items() if name in self.parameter_names},
            buffers={name: value for name, value in self.named.items() if name not in self.parameter_names},
            aliases=self.aliases,
            trainable=self.trainable,
            training=training,
            device=device,
            fallback=fallback,
        )

    def _forget_gradients(self, outputs: Any) -> None:
        """Say of operations that no gradient of the outputs comes back to that nothing is learned from them."""
        reached = {self._value(tensor) for tensor in tensors_in(outputs) if tensor.requires_grad}
        for operation in reversed(self.operations):
            changed = [before for before, after in operation.touched if after in reached]
            if changed or not reached.isdisjoint(operation.outputs):
                reached.update(changed)
                reached.update(
                    value for value, learned in zip(operation.inputs, operation.learned, strict=True) if learned
                )
            elif any(operation.learned):
                self.operations[operation.index] = replace(operation, learned=(False,) * len(operation.inputs))

    def describe_failure(self) -> str:
        """Say which module was running, or where a tensor first became empty."""
        if emptied := self._first_empty():
            return emptied
        running = self._failed or (self._stack[-1] if self._stack else None)
        if running is None or not running.path:
            return ""
        given = " and ".join(_size(value.shape) for value in running.inputs)
        return f"in {running.path} ({running.kind}), given {given}"

    def emptied(self, outputs: Any) -> str:
        """Say where a tensor became empty of which the pass took a mean, or that it returned; "" if there is none."""
        means = [
            operation.inputs[0] for operation in self.operations if "mean" in operation.name or "pool" in operation.name
        ]
        returned = [self._value(tensor) for tensor in tensors_in(outputs)]
        return self._first_empty() if any(value.numel == 0 for value in (*means, *returned)) else ""

    def _first_empty(self) -> str:
        for operation in self.operations:
            made, given = operation.outputs[:1], operation.inputs
            if given and made and made[0].numel == 0 and all(value.numel for value in given):
                where = operation.path or "the network"
                return f"the output of {operation.name.strip('_')} in {where} became empty, {_size(made[0].shape)}"
        return ""

    # Modules

    def _before_module(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        path = self._paths.get(module)
        if path is None:
            return  # made during the pass, or another network's
        parent = self._stack[-1].index if self._stack else -1
        call = Call(len(self.calls), path, type(module).__name__, parent, len(self.operations))
        call.inputs = self._values_in(inputs)
        self.calls.append(call)
        self._stack.append(call)

    def _after_module(self, module: nn.Module, inputs: Any, output: Any) -> None:
        if module not in self._paths or not self._stack:
            return
        call = self._stack.pop()
        call.end = len(self.operations)
        call.outputs = self._values_in(output)
        if self._failed is None and sys.exception() is not self._outer:
            self._failed = call

    def _values_in(self, given: Any) -> tuple[Value, ...]:
        with torch._C.DisableTorchFunction():  # to read a tensor's shape is a call of torch, too
            return tuple(self._value(tensor) for tensor in tensors_in(given))

    # Operations

    def unseen(self) -> AbstractContextManager[None]:
        """Within the context, operations are not written down."""
        return self._dispatch.silenced()

    def to_device(self, given: Any) -> Any:
        """Return arguments with real tensors replaced by meta ones, where the pass is on meta."""
        return self._dispatch.to_meta(given) if self.on_meta else given

    def read(self, args: Any, kwargs: Any) -> Given:
        """Return what an operation is given, before it runs: in place, it changes its arguments."""
        inputs: list[Value] = []
        learned: list[bool] = []

        def values(given: Any) -> Any:
            if isinstance(given, Tensor):
                inputs.append(value := self._value(given))
                learned.append(given.requires_grad)
                return value
            if isinstance(given, tuple | list):
                return tuple(values(each) for each in given)
            if isinstance(given, dict):
                return {name: values(each) for name, each in given.items()}
            return given

        args, kwargs = values(args), values(kwargs)
        return args, kwargs, tuple(inputs), tuple(learned)

    def record(self, function: str, overload: str, given: Given, result: Any, *, writes: bool = False) -> None:
        """Write one operation down.

        Args:
            function: torch's name, without namespace and overload.
            overload: torch's whole name.
            given: what it was given; see `read`.
            result: what it returned.
            writes: whether it wrote to memory that was there before.
        """
        args, kwargs, inputs, learned = given
        index = len(self.operations)
        # Autograd detaches what it keeps: later readers of such a tensor read the one that was computed.
        known = function == "detach"
        outputs = tuple(self._new_value(tensor, "operation", maker=index, known=known) for tensor in tensors_in(result))
        touched = self._renew({value.storage for value in outputs}, {id(value) for value in outputs}) if writes else ()
        for value in (*inputs, *outputs):
            self.storages[value.storage].last_use = index
        path, call = (self._stack[-1].path, self._stack[-1].index) if self._stack else ("", 0)
        self.operations.append(
            Operation(index, function, overload, path, call, args, kwargs, inputs, outputs, tuple(touched), learned)
        )

    def own(self, known: int) -> None:
        """Call memory that appeared since there were `known` pieces the last operation's: autograd saw it first."""
        for storage in self.storages[known:]:
            storage.origin, storage.maker = "operation", len(self.operations) - 1

    def _renew(self, storages: set[int], outputs: set[int]) -> list[tuple[Value, Value]]:
        """Give a new value to every other view of memory that was written to."""
        changed = []
        for number in storages:
            views = self._values[number]
            for key, value in views.items():
                if id(value) not in outputs:
                    views[key] = later = self._next(value.shape, value.dtype, number, "operation")
                    changed.append((value, later))
        return changed

    def _next(self, shape: tuple[int, ...], dtype: torch.dtype, storage: int, origin: Origin, name: str = "") -> Value:
        self._count += 1
        return Value(self._count - 1, shape, dtype, storage, origin, name)

    def _new_value(self, tensor: Tensor, origin: Origin, name: str = "", maker: int = -1, known: bool = False) -> Value:
        """Return a value for a tensor that has none yet, or that was written to; a `known` one stays what it was."""
        if self.on_meta and not tensor.is_meta:
            tensor = self._dispatch.to_meta(tensor)
        memory = tensor.untyped_storage()
        number = self._storage_numbers.get(memory._cdata)
        if number is None:
            number = self._storage_numbers[memory._cdata] = len(self.storages)
            self.storages.append(Storage(memory.nbytes(), origin, maker))
            self._values.append({})
            # Its address is its name, and not to be given out again; numbers may be freed, and meta tensors have none.
            self._references.append(memory if self.on_meta else StorageWeakRef(memory))  # type: ignore[no-untyped-call]
        shape = tuple(tensor.shape)
        value = self._next(shape, tensor.dtype, number, origin, name)
        view = (int(tensor.storage_offset()), shape, tensor.stride())
        if not known or view not in self._values[number]:
            self._values[number][view] = value
        return value

    def _value(self, tensor: Tensor) -> Value:
        """Return the value of a tensor; a constant's where no operation of this pass made it."""
        if self.on_meta and not tensor.is_meta:
            tensor = self._dispatch.to_meta(tensor)
        number = self._storage_numbers.get(tensor.untyped_storage()._cdata)
        if number is not None:
            found = self._values[number].get((int(tensor.storage_offset()), tuple(tensor.shape), tensor.stride()))
            if found is not None:
                return found
        return self._new_value(tensor, "constant")

    # Autograd

    def _saved(self, tensor: Tensor) -> _Saved:
        """Note that autograd keeps a tensor."""
        with self.unseen():
            saved = _Saved(tensor.detach())  # an operation's own result would keep the operation alive
        self._kept.append((ref(saved), self._value(tensor).storage, self._stack[-1].path if self._stack else ""))
        return saved


class _Saved:
    """A tensor that autograd keeps; it lives as long as autograd does keep it."""

    __slots__ = ("__weakref__", "tensor")

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


def _size(shape: tuple[int, ...] | torch.Size) -> str:
    return "x".join(map(str, shape))
