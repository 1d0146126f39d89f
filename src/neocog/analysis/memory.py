"""Bytes: what a forward pass holds at once, and what autograd keeps of it for the backward pass.

Memory is that of a trace's storages, so views count once and an operation that writes in place takes nothing.
"""

from __future__ import annotations

from neocog.analysis.record import Trace


def inference_peak(trace: Trace) -> int:
    """Return the most bytes of activations that are alive at once in a pass of evaluation, the images included.

    A tensor lives from the operation that makes it to the last one that uses it, and at least as long as the call of
    every module that it was given to: the call itself holds on to its arguments until it returns. Weights are not
    among them, nor is what a kernel takes for itself while it runs.
    """
    last_use = [storage.last_use for storage in trace.storages]
    for call in trace.calls:
        for value in call.inputs:
            last_use[value.storage] = max(last_use[value.storage], call.end - 1)
    changes = [0] * (len(trace.operations) + 1)
    alive = sum(storage.size for storage in trace.storages if storage.origin == "input")
    for storage, last in zip(trace.storages, last_use, strict=True):
        if storage.origin == "operation":
            changes[storage.maker] += storage.size
            if not storage.is_output:
                changes[last + 1] -= storage.size
    peak = alive
    for change in changes:
        # What an operation reads is alive while it makes its outputs: a release takes effect with the next one.
        alive += change
        peak = max(peak, alive)
    return peak


def kept_for_backward(trace: Trace) -> int:
    """Return the bytes that autograd keeps of a pass in training mode, its output included.

    That is what is alive between the forward and the backward pass beside weights and images: tensors that some
    operation's gradient needs. Those that lie in the same memory count once.

    Raises:
        ValueError: the trace is of a pass in evaluation, in which nothing is kept.
    """
    if not trace.training:
        raise ValueError("a pass in evaluation keeps nothing; trace with training=True")
    return sum(storage.size for storage in trace.storages if storage.is_kept)
