"""`trace_forward`: run a network once on the meta device and write down what ran.

Operations are recorded where torch dispatches them, below modules, functions and operators alike, so that a
functional call in a user's module counts like a layer. On the meta device tensors have shapes and no numbers: no
memory is taken and nothing is computed. A network that looks at its numbers (`if x.sum() > 0`) cannot run there; it
is run on the CPU instead, and the trace says so.
"""

from __future__ import annotations

import inspect
import random
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from neocog.analysis._recorder import Recorder
from neocog.analysis.record import Trace
from neocog.errors import UsageError
from neocog.models._tap import is_compiled, unwrap


class NoNumbersError(UsageError):
    """A pass that failed on the meta device, of a network whose parameters are there: it may run with real ones."""


def trace_forward(
    network: nn.Module,
    image: Sequence[int] = (3, 224, 224),
    *,
    batch: int = 1,
    dtype: torch.dtype = torch.float32,
    training: bool = False,
    name: str = "",
) -> Trace:
    """Record one forward pass of `network` over `batch` images of shape `image`.

        >>> record = trace_forward(create_model("resnet18"))
        >>> sum(operation.name == "convolution" for operation in record.operations)
        20

    The network is left as it was: its own parameters are neither copied nor read, unless it cannot run on the meta
    device.

    Args:
        network: any module that takes one tensor `(N, *image)`; its parameters may be on the meta device.
        image: the shape of one input, `(C, H, W)` for images.
        batch: N.
        dtype: of the images, and of the parameters and buffers that are floating-point numbers.
        training: record a pass in training mode, and what autograd keeps of it for the backward pass; otherwise the
            pass is one of evaluation.
        name: what to call the network; by default its catalog name, or its class's.

    Raises:
        UsageError: the network's forward takes other arguments, the input is too small for it, or the pass failed for
            another reason; the message names the module in which it did, and the line.
    """
    network = unwrap(network)
    name = name or getattr(network, "name", "") or type(network).__name__
    shape = (batch, *image)
    lazy = (UninitializedBuffer, UninitializedParameter)
    if any(isinstance(each, lazy) for each in (*network.parameters(), *network.buffers())):
        raise UsageError(f"{name} has lazy layers, whose shapes are not known; run it once on an image of yours first")
    with _as_it_was(network):
        network.train(training)
        try:
            return _record(network, shape, dtype, training, name, device="meta")
        except _PassError as error:
            reason = _where(error.cause)
            if _is_misfit(network):
                raise _refusal(error, name, shape) from error.cause
            if any(tensor.is_meta for tensor in (*network.parameters(), *network.buffers())):
                raise NoNumbersError(str(_refusal(error, name, shape))) from error.cause
        try:
            return _record(network, shape, dtype, training, name, device="cpu", fallback=reason)
        except _PassError as error:
            raise _refusal(error, name, shape) from error.cause


class _PassError(Exception):
    """A forward pass that failed, with what raised and what it was doing then."""

    def __init__(self, cause: Exception, doing: str) -> None:
        super().__init__(doing)
        self.cause, self.doing = cause, doing


@contextmanager
def _as_it_was(network: nn.Module) -> Iterator[None]:
    """Leave every module as it is on entry, and the random numbers: a forward pass may keep things on its modules."""
    attributes = {module: (dict(vars(module)), module.training) for module in network.modules()}
    randomness = random.getstate()
    with torch.random.fork_rng(devices=[]):
        try:
            yield
        finally:
            random.setstate(randomness)
            for module, (kept, training) in attributes.items():
                vars(module).clear()
                vars(module).update(kept)
                if module.training is not training:
                    module.training = training  # which a scripted module keeps elsewhere


def _is_misfit(network: nn.Module) -> bool:
    """Say whether the network's forward takes other arguments than one tensor."""
    try:
        inspect.signature(network.forward).bind(torch.empty(0))
    except TypeError:
        return True
    except ValueError:
        return False  # it has no signature, as functions written in C have none
    return False


def _record(
    network: nn.Module,
    shape: tuple[int, ...],
    dtype: torch.dtype,
    training: bool,
    name: str,
    *,
    device: str,
    fallback: str = "",
) -> Trace:
    """Run the pass on `device` and return its trace."""
    tensors = _stand_ins(network, dtype, device)
    images = torch.zeros(shape, dtype=dtype, device=device)
    recorder = Recorder(network, tensors, images)
    fast_path = torch.backends.mha.get_fastpath_enabled()
    # The fast path fuses a whole encoder block into one operation, in evaluation only: it would hide what is counted.
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with ExitStack() as stack:
            stack.enter_context(torch.set_grad_enabled(training))
            if any(is_compiled(module) for module in network.modules()):
                stack.enter_context(torch.compiler.set_stance("force_eager"))  # imports the compiler: 1 s, if unneeded
                stack.enter_context(warnings.catch_warnings())
                warnings.filterwarnings("ignore", message="Using `torch.compile")  # of hooks on all modules
            stack.enter_context(recorder)
            outputs = torch.func.functional_call(network, tensors, (images,))
    except Exception as error:  # noqa: BLE001 - whatever a user's forward raises is theirs to read, in one line
        raise _PassError(error, recorder.describe_failure()) from None
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
    if emptied := recorder.emptied(outputs):
        raise _PassError(ValueError("the input is too small"), emptied)
    return recorder.trace(outputs, name, training=training, device=device, fallback=fallback)


def _stand_ins(network: nn.Module, dtype: torch.dtype, device: str) -> dict[str, Tensor]:
    """Return tensors to run with in place of the network's own: on meta they hold no numbers."""
    tensors: dict[str, Tensor] = {}
    for name, parameter in network.named_parameters():
        tensors[name] = _stand_in(parameter, dtype, device).requires_grad_(parameter.requires_grad)
    for name, buffer in network.named_buffers():
        tensors[name] = _stand_in(buffer, dtype, device)
    return tensors


def _stand_in(tensor: Tensor, dtype: torch.dtype, device: str) -> Tensor:
    wanted = dtype if tensor.is_floating_point() else tensor.dtype
    if device == "meta":
        return torch.empty_strided(tensor.shape, tensor.stride(), dtype=wanted, device="meta")
    # A copy, since a pass in training mode writes to buffers: batch norm's running statistics must stay as they are.
    return tensor.detach().to(wanted, copy=True)


def _where(error: BaseException) -> str:
    """Say in one line where a pass failed, and how."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_theirs(frame.filename)]
    place = f"{Path(frames[-1].filename).name}, line {frames[-1].lineno}: " if frames else ""
    said = str(error).strip().splitlines()
    plain = isinstance(error, RuntimeError | ValueError | TypeError | AssertionError) and said
    return place + (said[0] if plain else ": ".join([type(error).__name__, *said[:1]]))


def _is_theirs(filename: str) -> bool:
    """Say whether a line is the network's own and not torch's or this room's."""
    path = Path(filename)
    return not (path.is_relative_to(Path(torch.__file__).parent) or path.is_relative_to(Path(__file__).parent))


def _refusal(failure: _PassError, name: str, shape: tuple[int, ...]) -> UsageError:
    """Return the error that a person reads, with what a pass was doing when it failed."""
    size = "x".join(map(str, shape))
    if isinstance(failure.cause, TypeError) and not failure.doing and "forward()" in str(failure.cause):
        return UsageError(f"{name}: its forward takes other arguments than one tensor of {size}: {failure.cause}")
    doing = f"{failure.doing}; " if failure.doing else ""
    return UsageError(f"{name} cannot run on an input of {size}: {doing}{_where(failure.cause)}")
