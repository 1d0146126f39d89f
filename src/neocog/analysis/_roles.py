"""What one operation does, in the words that figures use: "3×3 conv, 64, /2", "BN", "max pool", "+"."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from neocog.analysis._attention import ATTENTION
from neocog.analysis._flow import Flow, Order
from neocog.analysis.record import Operation, Value

Kind = Literal[
    "input", "output", "block", "convolution", "depthwise", "linear", "attention", "pool", "norm", "activation",
    "add", "multiply", "concat", "split", "scale", "move", "product", "other",
]  # fmt: skip
"""What a node of a graph is, which decides its shape and its colour."""

Facts = tuple[tuple[str, object], ...]


@dataclass(frozen=True, slots=True)
class Role:
    """What an operation is drawn as.

    Attributes:
        kind: of node.
        does: in words.
        facts: what may differ between two that do the same: ("kernel", (3, 3)), ("channels", 64), ...
    """

    kind: Kind
    does: str
    facts: Facts = ()


NORMS = {
    "native_batch_norm": "BN", "_native_batch_norm_legit": "BN", "_native_batch_norm_legit_no_training": "BN",
    "native_layer_norm": "LN", "native_group_norm": "GN", "_fused_rms_norm": "RMSNorm",
}  # fmt: skip
ACTIVATIONS = {
    "relu": "ReLU", "gelu": "GELU", "silu": "SiLU", "sigmoid": "sigmoid", "tanh": "tanh", "hardswish": "hard-swish",
    "hardsigmoid": "hard-sigmoid", "elu": "ELU", "leaky_relu": "leaky ReLU", "mish": "Mish", "softplus": "softplus",
    "_prelu_kernel": "PReLU", "_softmax": "softmax", "_log_softmax": "log-softmax", "threshold": "threshold",
    "hardtanh": "clip", "clamp": "clip", "clamp_min": "clip", "clamp_max": "clip",
}  # fmt: skip
SCALINGS = {"add": "+", "sub": "−", "mul": "×", "div": "÷"}
JOINS = {**SCALINGS, "maximum": "max", "minimum": "min", "addcmul": "× +", "lerp": "mix"}
SPLITS = {"split", "split_with_sizes", "unsafe_split", "chunk", "unsafe_chunk", "unbind", "tensor_split"}
_OTHERS = {
    "exp": "exp", "log": "log", "neg": "−x", "sqrt": "√x", "rsqrt": "1/√x", "reciprocal": "1/x", "pow": "power",
    "square": "x²", "abs": "|x|", "sin": "sin", "cos": "cos", "erf": "erf", "cumsum": "cumulative sum",
    "linalg_vector_norm": "length", "norm": "length", "var": "variance", "var_mean": "mean and variance",
    "std": "deviation", "std_mean": "mean and deviation", "grid_sampler_2d": "sample at points",
}  # fmt: skip


def role(operation: Operation, flow: Flow) -> Role | None:
    """Return what an operation is drawn as; None for one that merely moves or rescales numbers."""
    name = operation.name.rstrip("_") if operation.name not in NORMS else operation.name
    takes = flow.takes[operation.index]
    if name in _RULES:
        return _RULES[name](operation, flow)
    if name in NORMS:
        return Role("norm", NORMS[name], (("norm", NORMS[name]),))
    if name in ACTIVATIONS:
        does = "ReLU6" if operation.args[1:3] == (0, 6) else ACTIVATIONS[name]
        return Role("activation", does, (("activation", does),))
    if name in JOINS and len(takes) > 1 and len(flow.sources(operation.index)) > 1:
        return Role("multiply" if name in ("mul", "div", "addcmul") else "add", JOINS[name])
    if name in SCALINGS:
        if any(value.origin == "parameter" and value.name.endswith("bias") for value in operation.inputs):
            return None  # of the product before it
        learned = _learned(operation, flow)
        return Role("scale", f"{SCALINGS[name]} {learned}") if learned else None
    if name in SPLITS:
        return Role("split", "split")
    if name in _OTHERS:
        return Role("other", _OTHERS[name])
    return None


def attention(query: Value, batch: int) -> Role:
    """Return the role of attention with such queries, `(..., heads, tokens, width)` or `(batch * heads, ...)`."""
    heads = query.shape[-3] if len(query.shape) > 3 else query.shape[0] // batch
    groups = query.shape[0] // batch if len(query.shape) > 3 else 1
    return Role("attention", f"attention, {heads} head{'s' * (heads > 1)}", (("heads", heads), ("windows", groups)))


def times(sides: Sequence[int]) -> str:
    """Return sizes as "3×3"."""
    return "×".join(map(str, sides))


def _learned(operation: Operation, flow: Flow) -> str:
    """Return the last part of the name of the parameter that an operation uses; empty for none."""
    makers = flow.trace.makers
    pending = [value for value in operation.inputs if value not in flow.maker]
    for _ in range(50):
        if not pending:
            break
        value = pending.pop()
        if value.origin == "parameter":
            return value.name.rpartition(".")[2]
        if value in makers:
            pending.extend(makers[value].inputs)
    return ""


def _sizes(given: Any, count: int = 2) -> tuple[int, ...]:
    """Return a size for each of `count` sides, which torch writes once where they are equal."""
    given = (given,) if isinstance(given, int) else tuple(given)
    return given if len(given) > 1 or count == 1 else tuple(given) * count


def _step(stride: tuple[int, ...]) -> str:
    if set(stride) <= {1}:
        return ""
    return f", /{stride[0]}" if len(set(stride)) == 1 else f", /{times(stride)}"


def _convolution(operation: Operation, flow: Flow) -> Role:
    image, weight = operation.args[0], operation.args[1]
    kernel = weight.shape[2:]
    stride = _sizes(operation.argument(3, "stride", (1,)), len(kernel))
    dilation = _sizes(operation.argument(5, "dilation", (1,)), len(kernel))
    transposed, groups = bool(operation.argument(6, "transposed", False)), operation.argument(8, "groups", 1)
    channels = operation.outputs[0].shape[1]
    depthwise = groups > 1 and groups == image.shape[1]
    verb = "depthwise" if depthwise else "transposed conv" if transposed else "conv"
    does = f"{times(kernel)} {verb}, {channels}" + (", up" if transposed else "") + _step(stride)
    does += f", {groups} groups" if groups > 1 and not depthwise else ""
    does += f", dilation {times(sorted(set(dilation)))}" if set(dilation) > {1} or min(dilation) > 1 else ""
    facts = (("channels", channels), ("kernel", kernel), ("stride", stride), ("dilation", dilation))
    return Role("depthwise" if depthwise else "convolution", does.replace(", up, /", ", ×"), facts)


def _deformable(operation: Operation, flow: Flow) -> Role:
    kernel, channels = operation.args[1].shape[2:], operation.outputs[0].shape[1]
    return Role(
        "convolution", f"{times(kernel)} deformable conv, {channels}", (("channels", channels), ("kernel", kernel))
    )


def _product(first: int) -> Callable[[Operation, Flow], Role]:
    """Return the rule of a matrix product of the arguments at places `first` and after it."""

    def rule(operation: Operation, flow: Flow) -> Role:
        left, right, out = operation.args[first], operation.args[first + 1], operation.outputs[0]
        if left in flow.maker and right in flow.maker:
            return Role("product", "matrix product")
        # A product with the weights at the left gives rows: what it maps is the other's columns.
        size, width = (left.shape[-1], out.shape[-1]) if left in flow.maker else (right.shape[-2], out.shape[-2])
        return Role("linear", f"linear {size} → {width}", (("channels", width),))

    return rule


def _linear(operation: Operation, flow: Flow) -> Role:
    width = operation.outputs[0].shape[-1]
    return Role("linear", f"linear {operation.args[0].shape[-1]} → {width}", (("channels", width),))


def _attention(operation: Operation, flow: Flow) -> Role:
    return attention(operation.inputs[0], flow.batch)


def _window(word: str) -> Callable[[Operation, Flow], Role]:
    def rule(operation: Operation, flow: Flow) -> Role:
        sides = len(operation.outputs[0].shape) - 2
        kernel = _sizes(operation.args[1], sides)
        stride = _sizes(operation.argument(2, "stride", ()) or kernel, sides)
        return Role("pool", f"{times(kernel)} {word} pool{_step(stride)}", (("kernel", kernel), ("stride", stride)))

    return rule


def _adaptive(word: str) -> Callable[[Operation, Flow], Role]:
    def rule(operation: Operation, flow: Flow) -> Role:
        sides = operation.outputs[0].shape[2:]
        return Role("pool", f"global {word} pool" if set(sides) == {1} else f"{word} pool to {times(sides)}")

    return rule


def _fractional(operation: Operation, flow: Flow) -> Role:
    kernel, sides = operation.args[1], operation.outputs[0].shape[2:]
    return Role("pool", f"{times(kernel)} fractional max pool to {times(sides)}", (("kernel", kernel),))


def _reduction(word: str) -> Callable[[Operation, Flow], Role | None]:
    """Return the rule of a mean, sum or maximum over some dimensions."""

    def rule(operation: Operation, flow: Flow) -> Role | None:
        image = operation.inputs[0]
        rank, given = len(image.shape), operation.argument(1, "dim")
        if isinstance(given, Value):
            return Role("add", "max")
        order: Order = flow.order_of(image)
        grid = set(range(2, rank)) if order == "first" else set(range(1, rank - 1))
        dims = {dim % rank for dim in _sizes(given, 1)} if given is not None else grid
        if grid and dims == grid:
            return Role("pool", f"global {'avg' if word == 'mean' else word} pool")
        channels = {1} if order == "first" else {rank - 1}
        return Role("pool", f"{word} over channels" if dims == channels and rank in (3, 4) else word)

    return rule


def _concat(operation: Operation, flow: Flow) -> Role:
    if len(flow.takes[operation.index]) == 1 and (learned := _learned(operation, flow)):
        return Role("scale", f"concat {learned}")
    return Role("concat", "stack" if operation.name == "stack" else "concat")


def _upsample(operation: Operation, flow: Flow) -> Role:
    before, after = operation.inputs[0].shape, operation.outputs[0].shape
    factor = after[-1] // before[-1]
    does = f"upsample ×{factor}" if factor * before[-1] == after[-1] else f"resize to {times(after[2:])}"
    return Role("pool", does)


def _roll(operation: Operation, flow: Flow) -> Role:
    shifts = ", ".join(f"{step:+d}".replace("-", "−") for step in _sizes(operation.args[1], 1))
    return Role("move", f"cyclic shift {shifts}", (("shift", shifts),))


def _pad(operation: Operation, flow: Flow) -> Role | None:
    before, after = operation.inputs[0].shape, operation.outputs[0].shape
    if len(before) == 4 and flow.order_of(operation.inputs[0]) == "first" and before[1] != after[1]:
        return Role("move", f"zero-pad to {after[1]} channels", (("channels", after[1]),))
    return None


def _slice(operation: Operation, flow: Flow) -> Role | None:
    step = operation.argument(4, "step", 1)
    if step < 2:
        return None
    image = operation.inputs[0]
    rank = len(image.shape)
    channels = 1 if rank == 2 or flow.order_of(image) == "first" else rank - 1
    along = "channel" if operation.argument(1, "dim", 0) % rank == channels else "pixel"
    return Role("move", f"every {_ordinal(step)} {along}", (("stride", step),))


def _ordinal(number: int) -> str:
    return f"{number}{ {2: 'nd', 3: 'rd'}.get(number, 'th') }"


def _transpose(operation: Operation, flow: Flow) -> Role | None:
    """Show where tokens and channels change places, and where channels are shuffled; others are bookkeeping."""
    image = operation.inputs[0]
    maker = flow.maker.get(image, -1)
    if maker < 0:
        return None
    made_by = flow.trace.operations[maker]
    swapped = sorted(dim % len(image.shape) for dim in operation.args[1:3]) if operation.name == "transpose" else []
    if len(image.shape) == 5 and swapped == [1, 2] and "view" in made_by.name and len(made_by.inputs[0].shape) == 4:
        return Role("move", f"shuffle channels, {image.shape[1]} groups")
    exchanges = len(image.shape) == 3 and (swapped == [1, 2] or operation.args[1] == (0, 2, 1))
    # A map that is flattened to tokens is transposed too: that is no exchange.
    flattened = "view" in made_by.name and len(made_by.inputs[0].shape) != 2
    return Role("move", "transpose") if exchanges and not flattened else None


_RULES: dict[str, Callable[[Operation, Flow], Role | None]] = {
    "convolution": _convolution,
    "_convolution": _convolution,
    "deform_conv2d": _deformable,
    "addmm": _product(1),
    "baddbmm": _product(1),
    "mm": _product(0),
    "bmm": _product(0),
    "linear": _linear,
    ATTENTION: _attention,
    "max_pool2d_with_indices": _window("max"),
    "max_pool3d_with_indices": _window("max"),
    "avg_pool1d": _window("avg"),
    "avg_pool2d": _window("avg"),
    "avg_pool3d": _window("avg"),
    "_adaptive_avg_pool2d": _adaptive("avg"),
    "_adaptive_avg_pool3d": _adaptive("avg"),
    "adaptive_max_pool2d": _adaptive("max"),
    "fractional_max_pool2d": _fractional,
    "fractional_max_pool3d": _fractional,
    "mean": _reduction("mean"),
    "sum": _reduction("sum"),
    "amax": _reduction("max"),
    "max": _reduction("max"),
    "cat": _concat,
    "stack": _concat,
    "roll": _roll,
    "constant_pad_nd": _pad,
    "slice": _slice,
    "transpose": _transpose,
    "permute": _transpose,
    **{f"upsample_{kind}2d": _upsample for kind in ("nearest", "bilinear", "bicubic")},
    "_upsample_nearest_exact2d": _upsample,
    "_upsample_bilinear2d_aa": _upsample,
    "_upsample_bicubic2d_aa": _upsample,
}
