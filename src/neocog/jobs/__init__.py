"""Whole jobs, from names to results: what the command line runs and a Python user calls.

from neocog import jobs
result = jobs.train("photos", model="resnet18")
jobs.evaluate(result.model, "holiday").report.top1
jobs.predict(result.model, ["unsorted"])
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neocog.jobs.benchmarking import Benchmark as Benchmark
    from neocog.jobs.benchmarking import benchmark as benchmark
    from neocog.jobs.comparison import Comparison as Comparison
    from neocog.jobs.comparison import compare as compare
    from neocog.jobs.demonstration import DemoResult as DemoResult
    from neocog.jobs.demonstration import demo as demo
    from neocog.jobs.description import Description as Description
    from neocog.jobs.description import describe as describe
    from neocog.jobs.drawing import Drawing as Drawing
    from neocog.jobs.drawing import draw as draw
    from neocog.jobs.evaluation import Evaluation as Evaluation
    from neocog.jobs.evaluation import evaluate as evaluate
    from neocog.jobs.filtering import Filtered as Filtered
    from neocog.jobs.filtering import filter_image as filter_image
    from neocog.jobs.growing import Grown as Grown
    from neocog.jobs.growing import grow as grow
    from neocog.jobs.listener import Listener as Listener
    from neocog.jobs.prediction import predict as predict
    from neocog.jobs.range_test import RangeTest as RangeTest
    from neocog.jobs.range_test import lr_find as lr_find
    from neocog.jobs.seeing import Seeing as Seeing
    from neocog.jobs.seeing import receptive_field as receptive_field
    from neocog.jobs.templating import Templates as Templates
    from neocog.jobs.templating import templates as templates
    from neocog.jobs.training import Interrupted as Interrupted
    from neocog.jobs.training import TrainResult as TrainResult
    from neocog.jobs.training import resume as resume
    from neocog.jobs.training import train as train

# Each job imports torch and more; a name is looked up in its module only when it is asked for.
_MODULES = {
    "benchmark": "benchmarking", "Benchmark": "benchmarking",
    "compare": "comparison", "Comparison": "comparison",
    "demo": "demonstration", "DemoResult": "demonstration",
    "describe": "description", "Description": "description",
    "draw": "drawing", "Drawing": "drawing",
    "evaluate": "evaluation", "Evaluation": "evaluation",
    "filter_image": "filtering", "Filtered": "filtering",
    "grow": "growing", "Grown": "growing",
    "Listener": "listener",
    "predict": "prediction",
    "lr_find": "range_test", "RangeTest": "range_test",
    "receptive_field": "seeing", "Seeing": "seeing",
    "templates": "templating", "Templates": "templating",
    "train": "training", "resume": "training", "Interrupted": "training", "TrainResult": "training",
}  # fmt: skip
__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
