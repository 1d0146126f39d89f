"""The networks, one file per paper family, and what builds them from a name."""

from neocog.models._build import create_model, model_edits
from neocog.models._classifier import Classifier, ModelConfig
from neocog.models._convert import convert_state_dict
from neocog.models._family import Family
from neocog.models._growing import grow
from neocog.models._tap import tap, unwrap
from neocog.models._weights import LoadReport, read_state

__all__ = [
    "Classifier",
    "Family",
    "LoadReport",
    "ModelConfig",
    "convert_state_dict",
    "create_model",
    "grow",
    "model_edits",
    "read_state",
    "tap",
    "unwrap",
]
