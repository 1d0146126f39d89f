"""Which operations of a pass the images reach, and what each of them takes from which."""

from __future__ import annotations

from typing import Literal

from neocog.analysis.record import Operation, Trace, Value

Order = Literal["first", "last"]
"""Where a tensor has its channels: before the grid, or after it."""

INPUT = -1
"""Stands for the network's input where others are numbers of operations."""

# They take a tensor's shape and none of its numbers.
_SHAPE_ONLY = {
    "zeros_like", "ones_like", "empty_like", "full_like", "rand_like", "randn_like",
    "new_zeros", "new_ones", "new_empty", "new_full", "new_empty_strided", "sym_size", "is_same_size",
}  # fmt: skip
_CHANNELS_FIRST = {
    "convolution", "_convolution", "deform_conv2d", "max_pool2d_with_indices", "avg_pool2d", "_adaptive_avg_pool2d",
    "native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training", "native_group_norm",
}  # fmt: skip
_CHANNELS_LAST = {"native_layer_norm", "addmm", "mm", "linear"}


class Flow:
    """How the images flow through the operations of a trace.

    Attributes:
        trace: what it was read from.
        batch: images in it.
        maker: the operation that made each value, `INPUT` for the images; parameters and constants have none.
        takes: for each operation the values among its inputs that depend on the images.
        order: for each operation where its output has its channels.
        users: for each operation those that take from it.
    """

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.batch = trace.inputs[0].shape[0]
        self.maker: dict[Value, int] = dict.fromkeys(trace.inputs, INPUT)
        self.takes: list[tuple[Value, ...]] = []
        self.order: list[Order] = []
        for operation in trace.operations:
            takes = () if operation.name in _SHAPE_ONLY else operation.inputs
            takes = tuple(value for value in takes if value in self.maker)
            self.takes.append(takes)
            self.order.append(self._order(operation, takes))
            if takes:
                written = (after for _, after in operation.touched)
                self.maker.update(dict.fromkeys((*operation.outputs, *written), operation.index))
        self.users: list[list[int]] = [[] for _ in trace.operations]
        for index in range(len(self.takes)):
            for source in self.sources(index):
                if source != INPUT:
                    self.users[source].append(index)

    def sources(self, index: int) -> tuple[int, ...]:
        """Return the operations that an operation takes images' values from, each once."""
        return tuple(dict.fromkeys(self.maker[value] for value in self.takes[index]))

    def order_of(self, value: Value) -> Order:
        """Return where a value has its channels."""
        maker = self.maker.get(value, INPUT)
        return "first" if maker == INPUT else self.order[maker]

    def _order(self, operation: Operation, takes: tuple[Value, ...]) -> Order:
        before = self.order_of(takes[0]) if takes else "first"
        if operation.name in _CHANNELS_FIRST:
            return "first" if not takes or len(takes[0].shape) > 2 else before
        if operation.name in _CHANNELS_LAST:
            return "last"
        if operation.name == "permute":
            given = operation.args[1]
            dims = tuple(dim % len(given) for dim in given)
            return {(0, 2, 3, 1): "last", (0, 3, 1, 2): "first", (0, 2, 1): _other(before)}.get(dims, before)  # type: ignore[return-value]
        if operation.name == "transpose" and takes and len(takes[0].shape) == 3:
            dims = tuple(sorted(dim % 3 for dim in operation.args[1:3]))
            return _other(before) if dims == (1, 2) else before
        return before


def _other(order: Order) -> Order:
    return "last" if order == "first" else "first"
