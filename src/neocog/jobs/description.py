"""`describe`: from a network's name to what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from neocog.analysis.cost import Cost, count_cost
from neocog.analysis.units import Level
from neocog.errors import UnknownNameError
from neocog.jobs.subject import Subject, trace_subject

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16, "fp64": torch.float64}
LEVELS = ("layer", "block", "stage")


@dataclass(frozen=True)
class Description:
    """A network and what it costs.

    Attributes:
        subject: the network.
        cost: of one forward pass; of a training step too, where that was asked for.
        batch: images in it.
        dtype: of images, weights and activations: fp32, bf16, fp16 or fp64.
    """

    subject: Subject
    cost: Cost
    batch: int
    dtype: str

    def to_dict(self) -> dict[str, Any]:
        """Return all of it in plain types; bytes, MACs and FLOPs are of the whole batch."""
        cost = self.cost
        return {
            "network": self.subject.name,
            "input": [self.batch, *self.subject.image],
            "dtype": self.dtype,
            "level": cost.level,
            "training": cost.trace.training,
            "parameters": cost.parameters,
            "parameters_that_did_not_run": cost.idle_parameters,
            "macs": cost.macs,
            "flops": cost.flops,
            "backward_macs": cost.backward_macs,
            "weight_bytes": cost.weight_bytes,
            "input_bytes": cost.input_bytes,
            "activation_bytes": cost.activation_bytes,
            "peak_activation_bytes": cost.peak_bytes,
            "kept_bytes": cost.kept_bytes,
            "not_counted": cost.uncounted,
            "run_on": cost.trace.device,
            "note": cost.trace.fallback,
            "rows": self.rows(),
        }

    def rows(self) -> list[dict[str, Any]]:
        """Return the table's rows in plain types."""
        return [
            {
                "name": row.name,
                "kind": row.kind,
                "output": list(row.shape),
                "parameters": row.parameters,
                "macs": row.macs,
                "flops": row.flops,
                "backward_macs": row.backward_macs,
                "weight_bytes": row.weight_bytes,
                "activation_bytes": row.activation_bytes,
                "kept_bytes": row.kept_bytes,
            }
            for row in self.cost.rows
        ]


def describe(
    spec: str,
    *,
    level: Level = "layer",
    image: Sequence[int] | None = None,
    size: int | None = None,
    batch: int = 1,
    dtype: str = "fp32",
    training: bool = False,
) -> Description:
    """Count what a network costs, without its weights.

        >>> describe("resnet50").cost.macs
        4089184256

    Args:
        spec: a catalog name, a model file, or `module:callable`; see `find_subject`.
        level: of the table's rows: "layer", "block" or "stage".
        image: the shape of an input, `(C, H, W)`; by default the one that the network was made for.
        size: only its height and width.
        batch: images at once.
        dtype: "fp32", "bf16", "fp16" or "fp64".
        training: count a training step: the backward pass, and what autograd keeps for it.

    Raises:
        UnknownNameError: no such network, level or dtype.
        UsageError: the network cannot run on such an input; the message names the layer.
    """
    if dtype not in DTYPES:
        raise UnknownNameError("dtype", dtype, DTYPES)
    if level not in LEVELS:
        raise UnknownNameError("level", level, LEVELS)
    subject, trace = trace_subject(spec, image=image, size=size, batch=batch, dtype=DTYPES[dtype], training=training)
    return Description(subject, count_cost(trace, level), batch, dtype)
