"""What each operation costs: multiply-adds in products, and floating-point operations in all else.

A rule takes an `Operation` and returns its `Work`. The conventions, which the docs repeat:

- A MAC is one multiplication and one addition in a product: convolution, matrix product, attention. Adding a bias is
  part of it and not counted again, as fvcore and torch's counter have it.
- A FLOP is one floating-point operation. A MAC is two; a comparison, an exponential, a square root are one each.
- Moving, reshaping, padding and choosing numbers is none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

from neocog.analysis.record import Operation, Value


@dataclass(frozen=True, slots=True)
class Work:
    """What one operation computes.

    Attributes:
        macs: multiply-adds of products.
        other: floating-point operations outside of products.
    """

    macs: int = 0
    other: int = 0

    @property
    def flops(self) -> int:
        """Floating-point operations in all."""
        return 2 * self.macs + self.other


Rule = Callable[[Operation], Work]


def _out(operation: Operation) -> Value:
    return operation.outputs[0]


def _convolution(operation: Operation) -> Work:
    image, weight = operation.args[0], operation.args[1]
    transposed = bool(operation.argument(6, "transposed", False))
    # Each number of the output (of the input, where transposed) meets every weight of its filter once.
    positions = prod((image if transposed else _out(operation)).shape[2:])
    return Work(macs=image.shape[0] * positions * weight.numel)


def _deformable(operation: Operation) -> Work:
    weight, output = operation.args[1], _out(operation)
    taps = prod(weight.shape[1:])
    sampled = output.shape[0] * prod(output.shape[2:]) * prod(weight.shape[2:]) * operation.args[0].shape[1]
    return Work(macs=output.numel * taps, other=8 * sampled)  # bilinear: four products and their sum, a tap each


def _product(left: int) -> Rule:
    """Return the rule of a matrix product (..., n, k) by (..., k, m), whose first factor is the argument `left`."""
    return lambda operation: Work(macs=_out(operation).numel * operation.args[left].shape[-1])


def _attention(operation: Operation) -> Work:
    query, key, value = operation.inputs[:3]
    pairs = prod(_out(operation).shape[:-1]) * key.shape[-2]
    return Work(macs=pairs * (query.shape[-1] + value.shape[-1]), other=6 * pairs)  # scaled, then a softmax


def _each_output(count: int) -> Rule:
    """Return the rule of operations that spend `count` on each number they return."""
    return lambda operation: Work(other=count * _out(operation).numel)


def _each_input(count: int) -> Rule:
    """Return the rule of operations that spend `count` on each number they are given."""
    return lambda operation: Work(other=count * operation.inputs[0].numel)


def _window(operation: Operation) -> Work:
    kernel = operation.args[1]
    size = prod(kernel) if len(kernel) > 1 else kernel[0] ** (len(_out(operation).shape) - 2)
    return Work(other=size * _out(operation).numel)


def _batch_norm(operation: Operation) -> Work:
    # With fixed statistics a scale and a shift, else mean, variance and scale too.
    statistics = operation.name.endswith("no_training") or operation.argument(5, "training") is False
    return Work(other=(2 if statistics else 7) * _out(operation).numel)


def _fractional_window(operation: Operation) -> Work:
    return Work(other=prod(operation.args[1]) * _out(operation).numel)


def _decomposition(operation: Operation) -> Work:
    """An LU decomposition, whose diagonal gives the determinant: (n³ − n) / 3 products and their differences."""
    matrices = operation.inputs[0]
    n = matrices.shape[-1]
    pairs, quotients = n * (n - 1) * (2 * n - 1) // 6, n * (n - 1) // 2
    return Work(other=matrices.numel // n**2 * (2 * pairs + quotients + 2 * n))  # and n logarithms and their sum


def _inverse(operation: Operation) -> Work:
    return Work(other=2 * operation.inputs[0].shape[-1] * operation.inputs[0].numel)


def _triangular_solution(operation: Operation) -> Work:
    # Each number is divided by the diagonal, and takes away the n (n - 1) / 2 products of its column.
    n = operation.inputs[0].shape[-1]
    divided = 0 if operation.kwargs.get("unitriangular", False) else 1
    return Work(other=_out(operation).numel * (n - 1 + divided))


def _nothing(operation: Operation) -> Work:
    return Work()


_ONE = """
    abs add sub rsub mul div neg reciprocal sqrt rsqrt exp exp2 expm1 log log1p log2 sin cos atan atan2 tanh erf erfc
    relu threshold clamp clamp_min clamp_max hardtanh hardshrink softshrink maximum minimum fmod remainder floor_divide
    pow square leaky_relu sign sgn floor ceil round trunc eq ne lt le gt ge logical_and logical_or logical_not isnan
""".split()
MOVES = frozenset(
    """
    view _unsafe_view _reshape_alias reshape permute transpose transpose_ t expand clone contiguous copy copy_
    _to_copy to detach detach_ alias lift_fresh slice select split split_with_sizes unsafe_split chunk unbind cat
    stack unsqueeze unsqueeze_ squeeze squeeze_ flatten roll flip constant_pad_nd reflection_pad2d replication_pad2d
    pad gather index index_select index_put index_put_ scatter as_strided repeat narrow unfold im2col col2im movedim
    swapaxes pixel_shuffle pixel_unshuffle channel_shuffle native_channel_shuffle diagonal tril triu new_zeros
    new_ones new_empty new_empty_strided new_full zeros_like ones_like empty_like full_like rand_like zeros ones
    empty full arange scalar_tensor empty_strided linspace eye fill fill_ zero_ bernoulli bernoulli_ rand randn
    randperm uniform_ normal_ meshgrid slice_scatter select_scatter constant embedding argmax argmin sort topk
    _local_scalar_dense is_same_size as_strided_ view_as_real view_as_complex real imag max_unpool2d masked_scatter
    repeat_interleave argsort masked_fill where upsample_nearest1d upsample_nearest2d upsample_nearest3d
    _upsample_nearest_exact2d dropout masked_select nonzero bitwise_and bitwise_or bitwise_not bitwise_xor __and__
    __or__ _assert_async _assert_scalar sym_size diag_embed
    """.split()
)
"""Operations that compute no floating-point number: they make, move, reshape and choose."""

RULES: dict[str, Rule] = {
    "convolution": _convolution,
    "_convolution": _convolution,
    "deform_conv2d": _deformable,
    "mm": _product(0),
    "bmm": _product(0),
    "mv": _product(0),
    "dot": lambda operation: Work(macs=operation.args[0].numel),
    "vdot": lambda operation: Work(macs=operation.args[0].numel),
    "addmm": _product(1),
    "addmv": _product(1),
    "baddbmm": _product(1),
    "linear": _product(0),
    "scaled_dot_product_attention": _attention,
    "native_batch_norm": _batch_norm,
    "_native_batch_norm_legit": _batch_norm,
    "_native_batch_norm_legit_no_training": _batch_norm,
    "_batch_norm_with_update": lambda operation: Work(other=7 * _out(operation).numel),
    "_batch_norm_no_update": lambda operation: Work(other=2 * _out(operation).numel),
    "cudnn_batch_norm": _batch_norm,
    "native_layer_norm": _each_output(7),
    "native_group_norm": _each_output(7),
    "_fused_rms_norm": _each_output(4),
    "_softmax": _each_output(5),  # maximum, difference, exponential, sum, quotient
    "_log_softmax": _each_output(5),
    "native_dropout": _each_output(1),
    "sigmoid": _each_output(3),
    "silu": _each_output(4),
    "mish": _each_output(4),
    "gelu": _each_output(5),
    "hardsigmoid": _each_output(4),
    "hardswish": _each_output(5),
    "elu": _each_output(3),
    "softplus": _each_output(3),
    "_prelu_kernel": _each_output(2),
    "log_sigmoid_forward": _each_output(4),
    "glu": _each_output(4),
    "addcmul": _each_output(3),
    "addcdiv": _each_output(3),
    "lerp": _each_output(3),
    "index_add": lambda operation: Work(other=operation.inputs[-1].numel),
    "scatter_add": lambda operation: Work(other=operation.inputs[-1].numel),
    "mean": _each_input(1),
    "sum": _each_input(1),
    "amax": _each_input(1),
    "amin": _each_input(1),
    "max": _each_input(1),
    "min": _each_input(1),
    "cumsum": _each_input(1),
    "prod": _each_input(1),
    "var": _each_input(4),
    "var_mean": _each_input(4),
    "std": _each_input(4),
    "std_mean": _each_input(4),
    "linalg_vector_norm": _each_input(2),
    "_weight_norm_interface": _each_output(4),  # squares and their sum, a quotient, a product
    "logsumexp": _each_input(4),
    "norm": _each_input(2),
    "avg_pool1d": _window,
    "avg_pool2d": _window,
    "avg_pool3d": _window,
    "max_pool2d_with_indices": _window,
    "max_pool3d_with_indices": _window,
    "_adaptive_avg_pool2d": _each_input(1),
    "_adaptive_avg_pool3d": _each_input(1),
    "adaptive_max_pool2d": _each_input(1),
    "adaptive_max_pool3d": _each_input(1),
    "fractional_max_pool2d": _fractional_window,
    "fractional_max_pool3d": _fractional_window,
    "_linalg_slogdet": _decomposition,
    "linalg_inv_ex": _inverse,
    "linalg_solve_triangular": _triangular_solution,
    "upsample_linear1d": _each_output(3),
    "upsample_trilinear3d": _each_output(15),
    "upsample_bilinear2d": _each_output(7),
    "_upsample_bilinear2d_aa": _each_output(7),
    "upsample_bicubic2d": _each_output(35),
    "_upsample_bicubic2d_aa": _each_output(35),
    "grid_sampler_2d": _each_output(7),
    **dict.fromkeys(_ONE, _each_output(1)),
    **dict.fromkeys(MOVES, _nothing),
}
"""The rule of each operation, by torch's name of it."""


def work(operation: Operation) -> Work | None:
    """Return what an operation computes; None where there is no rule for it."""
    values = (*operation.inputs, *operation.outputs)
    if not any(value.dtype.is_floating_point or value.dtype.is_complex for value in values):
        return Work()  # counters and indices are no floating-point numbers
    rule = RULES.get(operation.name) or RULES.get(operation.name.removesuffix("_"))  # one in place costs the same
    if rule is None:
        return None
    if rule is _nothing or not operation.outputs:
        return Work()
    # The rules are for real numbers: an operation on complex ones costs several of them.
    return None if any(value.dtype.is_complex for value in values) else rule(operation)
