"""neocog: image classification, whole.

    import neocog

    network = neocog.create_model("resnet18", num_classes=2, weights="default")
    neocog.list_models("resnet*", sort="macs")
    model = neocog.load_model("runs/photos/model.safetensors")
    neocog.evaluate("runs/photos/model.safetensors", "holiday").report.top1
    neocog.predict("runs/photos/model.safetensors", ["unsorted"])

`neocog.jobs.train("photos")` is what `neocog train photos` does; `fit` is the loop below it. Importing this
module imports no torch: each name brings its room along when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from neocog._version import __version__

if TYPE_CHECKING:
    from neocog import analysis as analysis
    from neocog import catalog as catalog
    from neocog import data as data
    from neocog import errors as errors
    from neocog import inference as inference
    from neocog import jobs as jobs
    from neocog import layers as layers
    from neocog import models as models
    from neocog import recipes as recipes
    from neocog import train as train
    from neocog import visualize as visualize
    from neocog.catalog import describe as describe
    from neocog.catalog import list_models as list_models
    from neocog.inference.model_file import load_model as load_model
    from neocog.jobs.evaluation import evaluate as evaluate
    from neocog.jobs.prediction import predict as predict
    from neocog.models import Classifier as Classifier
    from neocog.models import convert_state_dict as convert_state_dict
    from neocog.models import create_model as create_model
    from neocog.models import tap as tap
    from neocog.train.fit import fit as fit
    from neocog.train.recipe import Recipe as Recipe

_HOMES = {
    "Classifier": "neocog.models",
    "Recipe": "neocog.train.recipe",
    "convert_state_dict": "neocog.models",
    "create_model": "neocog.models",
    "describe": "neocog.catalog",
    "evaluate": "neocog.jobs.evaluation",
    "fit": "neocog.train.fit",
    "list_models": "neocog.catalog",
    "load_model": "neocog.inference.model_file",
    "predict": "neocog.jobs.prediction",
    "tap": "neocog.models",
}
_ROOMS = (
    "analysis", "catalog", "data", "errors", "inference", "jobs", "layers", "models", "recipes", "train", "visualize",
)  # fmt: skip

__all__ = ["__version__", *_HOMES, *_ROOMS]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name in _ROOMS:
        return import_module(f"neocog.{name}")
    raise AttributeError(f"module 'neocog' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
