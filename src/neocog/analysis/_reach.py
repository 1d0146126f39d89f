"""How each operation carries receptive fields from what it reads to what it returns.

A `Field` is a tensor's extents, one for each axis of the image. A rule takes an operation and a function that gives
the field of a value (None for a value that the image does not reach, such as a weight) and returns those of the
outputs. Here are the rules of products, sums and choices, and the table of all rules; those of windows are in
`_reach_windows`, those of views and copies in `_reach_moves`.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch

from neocog.analysis import _extents as ex
from neocog.analysis import _moves
from neocog.analysis._extents import Extent
from neocog.analysis._reach_moves import MOVES, VIEWS
from neocog.analysis._reach_types import Field, Lookup, Rule, each, moving
from neocog.analysis._reach_windows import WINDOWS
from neocog.analysis._recorder import ATTENTION
from neocog.analysis.record import Operation, Value

__all__ = ["RULES", "VIEWS", "Field", "Rule", "each", "join"]


def join(fields: Iterable[Field | None]) -> Field | None:
    """Return the field of what several tensors reach; None where the image reaches none of them."""
    found = [field for field in fields if field is not None]
    if len(found) < 2:
        return found[0] if found else None
    return tuple(ex.join(axes) for axes in zip(*found, strict=True))


def _pointwise(operation: Operation, of: Lookup) -> list[Field | None]:
    return [join(of(value) for value in operation.inputs)] * len(operation.outputs)


def _first(operation: Operation, of: Lookup) -> list[Field | None]:
    """Norms and dropout: the field of the tensor itself, without the statistics of others of its numbers."""
    return [of(operation.inputs[0])] + [None] * (len(operation.outputs) - 1)


def _nothing(operation: Operation, of: Lookup) -> list[Field | None]:
    """What takes no more than a shape."""
    return [None] * len(operation.outputs)


def _filled(operation: Operation, of: Lookup) -> list[Field | None]:
    """What overwrites its first argument by the second."""
    value = operation.args[1] if len(operation.args) > 1 else None
    field = of(value) if isinstance(value, Value) else None
    ndim = len(operation.outputs[0].shape)
    return [None if field is None else each(field, lambda extent: ex.aligned(extent, ndim))]


def _restrided(operation: Operation, of: Lookup) -> list[Field | None]:
    """Torch's own, on meta: the same numbers in another layout."""
    same = operation.args[0].shape == operation.outputs[0].shape
    return [of(operation.args[0])] if same else _chosen(operation, of)


# Products


def _matrix_product(first: int) -> Rule:
    def rule(operation: Operation, of: Lookup) -> list[Field | None]:
        left, right = of(operation.args[first]), of(operation.args[first + 1])
        vector = len(operation.args[first + 1].shape) == 1
        if left is not None:
            left = each(left, lambda extent: ex.reduce(extent, [-1]))
            if vector:
                left = each(left, lambda extent: _moves.without(extent, [-1]))
        if right is not None:
            right = each(right, lambda extent: ex.reduce(extent, [-1 if vector else -2]))
        added = of(operation.args[0]) if first else None
        return [join([left, right, added])]

    return rule


def _solution(operation: Operation, of: Lookup) -> list[Field | None]:
    """A system of equations with columns for its right side: each number depends on all of its column."""
    field = of(operation.args[1])
    return [None if field is None else each(field, lambda extent: ex.reduce(extent, [-2]))]


def _linear(operation: Operation, of: Lookup) -> list[Field | None]:
    field = of(operation.args[0])
    return [None if field is None else each(field, lambda extent: ex.reduce(extent, [-1]))]


def _attention(operation: Operation, of: Lookup) -> list[Field | None]:
    query, keys, values = (of(value) for value in operation.args[:3])
    mask = operation.argument(3, "attn_mask")
    bias = of(mask) if isinstance(mask, Value) else None
    own = [None if field is None else each(field, lambda extent: ex.reduce(extent, [-1])) for field in (query, bias)]
    # Each query reads every key and value of its row of tokens; a mask may forbid some, which shapes do not tell.
    others = join([keys, values])
    seen = None if others is None else each(others, lambda extent: ex.reduce(ex.reduce(extent, [-1]), [-2]))
    return [join([*own, seen])]


# Reductions


def _reduce(extent: Extent, dims: object, ndim: int) -> Extent:
    """Return that of a reduction over `dims`, all if there are none, to a tensor of `ndim` dimensions."""
    if dims is None or dims == ():
        dims = range(extent.ndim)
    chosen = [dim % extent.ndim for dim in ([dims] if isinstance(dims, int) else dims)]  # type: ignore[attr-defined]
    extent = ex.reduce(extent, chosen)
    return extent if ndim == extent.ndim else _moves.without(extent, chosen)


def _over(position: int) -> Rule:
    """Return the rule of a reduction whose dimensions are an argument at `position`."""

    def rule(operation: Operation, of: Lookup) -> list[Field | None]:
        field = of(operation.args[0])
        if field is None:
            return [None] * len(operation.outputs)
        dims, ndim = operation.argument(position, "dim"), len(operation.outputs[0].shape)
        return [each(field, lambda extent: _reduce(extent, dims, ndim))] * len(operation.outputs)

    return rule


def _along(operation: Operation, of: Lookup) -> list[Field | None]:
    """What reads all positions along a dimension for each of them: softmax, sorting, transforms."""
    field = of(operation.args[0])
    if field is None:
        return [None] * len(operation.outputs)
    given = operation.kwargs.get("dim")
    dims = given if given is not None else _dims_of(operation)
    return [each(field, lambda extent: ex.reduce(extent, dims))] * len(operation.outputs)


def _dims_of(operation: Operation) -> list[int]:
    place = {"topk": 2, "kthvalue": 2}.get(operation.name, 1)
    dims = operation.args[place] if len(operation.args) > place else -1
    return [dims] if isinstance(dims, int) else list(dims)


# Choices by an index that shapes do not tell: anything that could have been chosen


def _chosen(operation: Operation, of: Lookup) -> list[Field | None]:
    field = join(_loose(of(value)) for value in operation.inputs)

    def fitted(ndim: int) -> Field | None:
        if field is None:
            return None
        return each(field, lambda extent: Extent(extent.ends.reshape(ex.ROWS, 2, *[1] * ndim), (None,) * ndim))

    return [fitted(len(value.shape)) for value in operation.outputs]


def _loose(field: Field | None) -> Field | None:
    """Return the field of all positions together, without dimensions."""
    if field is None:
        return None
    return each(field, lambda extent: Extent(ex.reduce(extent, range(extent.ndim)).ends.reshape(ex.ROWS, 2), ()))


def _index_select(operation: Operation, of: Lookup) -> list[Field | None]:
    field, chosen = of(operation.args[0]), of(operation.args[2])
    if chosen is not None:
        return _chosen(operation, of)
    return [None if field is None else each(field, lambda extent: ex.reduce(extent, [operation.args[1]]))]


def _index(operation: Operation, of: Lookup) -> list[Field | None]:
    """`x[i, j]` with tensors: the dimensions that are indexed are merged, others stay."""
    field, indices = of(operation.args[0]), operation.args[1]
    given = [dim for dim, value in enumerate(indices) if value is not None]
    masks = any(indices[dim].dtype in (torch.bool, torch.uint8) for dim in given)
    if field is None or masks or any(of(indices[dim]) is not None for dim in given):
        return _chosen(operation, of)
    count = max(len(indices[dim].shape) for dim in given)
    together = given == list(range(given[0], given[-1] + 1))
    place = given[0] if together else 0

    def change(extent: Extent) -> Extent:
        extent = ex.reduce(extent, given)
        if not any(step is not None for step in extent.steps):
            ndim = len(operation.outputs[0].shape)
            return Extent(extent.ends.reshape(ex.ROWS, 2, *[1] * ndim), (None,) * ndim)
        extent = _moves.without(extent, given)
        shape = extent.ends.shape
        ends = extent.ends.reshape(*shape[: place + 2], *[1] * count, *shape[place + 2 :])
        return Extent(ends, (*extent.steps[:place], *[None] * count, *extent.steps[place:]))

    return [each(field, change)]


_POINTWISE = """
    add add_ sub sub_ rsub mul mul_ div div_ neg neg_ abs abs_ exp exp_ expm1 log log_ log1p logit sqrt sqrt_ rsqrt
    reciprocal pow pow_ square erf erfinv sin cos tanh tanh_ atan atan2 hypot relu relu_ relu6 threshold threshold_
    clamp clamp_ clamp_min clamp_min_ clamp_max clamp_max_ hardtanh hardtanh_ maximum minimum leaky_relu leaky_relu_
    sigmoid sigmoid_ silu silu_ mish mish_ gelu gelu_ hardsigmoid hardsigmoid_ hardswish hardswish_ elu elu_ celu
    celu_ selu selu_ softplus softplus_ softshrink hardshrink log_sigmoid_forward _prelu_kernel rrelu_with_noise
    addcmul addcmul_ addcdiv addcdiv_ lerp lerp_ where masked_fill masked_fill_ clone contiguous _to_copy to detach
    detach_ alias lift_fresh eq ne lt le gt ge logical_not logical_and logical_or bitwise_not bitwise_and bitwise_or
    sign sgn round floor ceil frac trunc fmod remainder floor_divide isnan isinf nan_to_num complex real imag polar
""".split()

RULES: dict[str, Rule] = {
    **WINDOWS,
    **MOVES,
    "mm": _matrix_product(0),
    "bmm": _matrix_product(0),
    "mv": _matrix_product(0),
    "dot": _matrix_product(0),
    "addmm": _matrix_product(1),
    "baddbmm": _matrix_product(1),
    "addmv": _matrix_product(1),
    "linear": _linear,
    "linalg_solve_triangular": _solution,
    ATTENTION: _attention,
    **dict.fromkeys(["mean", "sum", "amax", "amin", "var", "var_mean", "std", "std_mean", "prod", "max", "min",
                     "median", "logsumexp", "any", "all", "argmax", "argmin", "count_nonzero"], _over(1)),
    **dict.fromkeys(["linalg_vector_norm", "norm"], _over(2)),
    **dict.fromkeys(["_softmax", "_log_softmax", "cumsum", "cumprod", "sort", "argsort", "topk", "kthvalue",
                     "_fft_r2c", "_fft_c2c", "_fft_c2r"], _along),
    **dict.fromkeys(["native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training",
                     "_native_batch_norm_legit_functional", "_batch_norm_with_update", "_batch_norm_no_update",
                     "cudnn_batch_norm", "native_layer_norm", "native_group_norm", "_fused_rms_norm", "native_dropout"],
                    _first),
    **dict.fromkeys(["zeros_like", "ones_like", "empty_like", "full_like", "rand_like", "randn_like", "new_zeros",
                     "new_ones", "new_empty", "new_full", "new_empty_strided", "zero_", "bernoulli_", "uniform_",
                     "normal_", "random_"], _nothing),
    **dict.fromkeys(["copy_", "fill_"], _filled),
    "index": _index,
    "index_select": _index_select,
    **dict.fromkeys(["gather", "index_put", "index_put_", "scatter", "scatter_", "scatter_add", "scatter_add_",
                     "index_add", "index_add_", "masked_select", "grid_sampler_2d", "embedding"], _chosen),
    **dict.fromkeys(_POINTWISE, _pointwise),
    "as_strided_": _restrided,
    "dropout": moving(lambda operation, extent: extent),
}  # fmt: skip
"""The rule of each operation, by torch's name of it."""
