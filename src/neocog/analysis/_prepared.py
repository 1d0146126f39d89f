"""A copy of a network, set up to be run again and again: the part of `throughput` that touches networks."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neocog.analysis._clock import peak_growth
from neocog.errors import UsageError
from neocog.models._tap import unwrap


class Prepared:
    """A network with images to run it on, and for a training step labels and an optimiser.

    Args:
        network: copied; it stays as it is.
        shape: of the batch, `(N, C, H, W)`.
        name: for errors.
        training: a run is a training step; otherwise a forward pass.
        dtype: float32 or bfloat16.
        channels_last: lay images and filters out so.
        compiled: run what `torch.compile` makes of the network.
        device: where to run.
    """

    def __init__(
        self,
        network: nn.Module,
        shape: tuple[int, ...],
        name: str,
        *,
        training: bool,
        dtype: torch.dtype,
        channels_last: bool,
        compiled: bool,
        device: str,
    ) -> None:
        self.device, self.name, self.training, self.dtype = torch.device(device), name, training, dtype
        self.compiled = compiled
        network = unwrap(network)
        if any(tensor.is_meta for tensor in (*network.parameters(), *network.buffers())):
            raise UsageError(f"{name} is on the meta device and has no weights to run with; build it on the CPU")
        if channels_last and len(shape) != 4:
            raise UsageError(f"NHWC is a layout of images (C, H, W); {name} takes {shape[1:]}")
        self.network = _copied(network, name).train(training)
        # Evaluation runs on weights that are rounded once; in training their float32 originals are what is updated.
        held = torch.float32 if training else dtype
        self.images = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(self.device, held)
        _place(self.network, self.device, held, channels_last)
        if channels_last:
            self.images = self.images.to(memory_format=torch.channels_last)
        trained = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        if training and not trained:
            raise UsageError(f"{name} has no parameter to train; measure the forward step")
        # At a rate of zero the update costs what it always costs, and no number ever overflows.
        self.optimizer = torch.optim.SGD(trained, lr=0.0, momentum=0.9) if training else None
        self.runner: Any = torch.compile(self.network, dynamic=False) if compiled else self.network

    def run(self) -> None:
        """Run one forward pass or one training step, without waiting for a GPU to finish it."""
        if self.optimizer is None:
            with torch.inference_mode(), self._autocast():
                self.runner(self.images)
            return
        with self._autocast():
            output = self.runner(self.images)
        _loss(output).backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def first_run(self) -> None:
        """Run once; where it is to be compiled, this is when that happens.

        Raises:
            UsageError: it could not be compiled, or cannot run in this setting.
        """
        if not self.compiled:
            try:
                self.run()
            except (RuntimeError, TypeError, ValueError) as error:
                if _is_lack_of_memory(error):
                    raise
                raise UsageError(f"{self.name} cannot run so: {_first_line(error)}") from error
            return
        # Networks of one class are one piece of code to the compiler, which by default gives up, in silence, on the
        # ninth variant of it.
        import torch._dynamo as dynamo

        try:
            with dynamo.config.patch(recompile_limit=1024, accumulated_recompile_limit=4096):
                self.run()
        except Exception as error:
            # The chain from Python's byte code to a C++ compiler raises all kinds of errors, its own and others'.
            if _is_lack_of_memory(error):
                raise
            raise UsageError(
                f"{self.name} cannot be compiled here: {_first_line(error)}; leave compiling out"
            ) from error

    def state_bytes(self) -> int:
        """Return the bytes that are held between runs, memory that tensors share counted once."""
        tensors = [self.images, *self.network.parameters(), *self.network.buffers()]
        if self.optimizer is not None:
            tensors += [value for state in self.optimizer.state.values() for value in _tensors(state)]
        storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}
        return sum(storages.values())

    def step_bytes(self) -> int | None:
        """Return by how much memory grows during a run; see `peak_growth`."""
        return peak_growth(self.run, self.device)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)


def _copied(network: nn.Module, name: str) -> nn.Module:
    try:
        return copy.deepcopy(network)
    except RuntimeError as error:  # a tensor that was computed under autograd and kept as an attribute
        raise UsageError(f"{name} cannot be copied to be measured: {_first_line(error)}") from error


@torch.no_grad()
def _place(network: nn.Module, device: torch.device, dtype: torch.dtype, channels_last: bool) -> None:
    """Move a network to a device, a type and a layout."""
    network.to(device, dtype)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    for tensor in (*network.parameters(), *network.buffers()):
        if tensor.ndim == 4:  # `Module.to` would refuse a network that has a tensor of five dimensions
            tensor.data = tensor.data.contiguous(memory_format=layout)


def _loss(output: object) -> Tensor:
    """Return a loss of whatever a network returns: cross entropy of logits, the mean square of anything else."""
    losses = []
    for tensor in _tensors(output):
        if not tensor.is_floating_point():
            continue
        values = tensor.float()
        if values.ndim == 2 and values.shape[1] > 1:
            labels = torch.arange(len(values), device=values.device) % values.shape[1]
            losses.append(F.cross_entropy(values, labels))
        else:
            losses.append(values.square().mean())
    if not losses:
        raise UsageError(f"a network that returns a {type(output).__name__} without tensors cannot be trained")
    return torch.stack(losses).sum()


def _tensors(output: object) -> Iterator[Tensor]:
    """Yield the tensors in what a module returned."""
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, dict):
        for value in output.values():
            yield from _tensors(value)
    elif isinstance(output, tuple | list):
        for value in output:
            yield from _tensors(value)


def _is_lack_of_memory(error: BaseException) -> bool:
    """Say whether memory ran out, which is no fault of the network; the CPU's allocator raises a bare RuntimeError."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "DefaultCPUAllocator" in str(error)


def _first_line(error: BaseException) -> str:
    """Return what an error says, in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
