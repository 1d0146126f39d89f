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
    from neocog.jobs.demo import demo as demo
    from neocog.jobs.evaluate import evaluate as evaluate
    from neocog.jobs.listener import Listener as Listener
    from neocog.jobs.lr_find import lr_find as lr_find
    from neocog.jobs.predict import predict as predict
    from neocog.jobs.train import resume as resume
    from neocog.jobs.train import train as train
