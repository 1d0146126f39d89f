"""Numbers about a network: what runs in it, what it costs, what it sees.

    from neocog.analysis import count_cost, receptive_fields, trace_forward
    record = trace_forward(network, (3, 224, 224))
    count_cost(record).macs
    receptive_fields(record).of("layer4.1.conv2").size

One pass on the meta device is recorded (`trace_forward`), and everything else reads the record.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neocog.analysis.cost import Cost as Cost
    from neocog.analysis.cost import Row as Row
    from neocog.analysis.cost import count_cost as count_cost
    from neocog.analysis.receptive_field import Fields as Fields
    from neocog.analysis.receptive_field import ReceptiveField as ReceptiveField
    from neocog.analysis.receptive_field import receptive_fields as receptive_fields
    from neocog.analysis.record import Trace as Trace
    from neocog.analysis.trace import trace_forward as trace_forward
    from neocog.analysis.units import Unit as Unit
    from neocog.analysis.units import cut as cut

_HOMES = {
    "Cost": "cost", "Row": "cost", "count_cost": "cost",
    "Fields": "receptive_field", "ReceptiveField": "receptive_field", "receptive_fields": "receptive_field",
    "Trace": "record",
    "trace_forward": "trace",
    "Unit": "units", "cut": "units",
}  # fmt: skip
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
