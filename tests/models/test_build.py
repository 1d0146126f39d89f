"""`create_model` builds what its arguments say, or says in one line why it cannot."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

from neocog.errors import UnknownNameError, UsageError, WeightsError
from neocog.models import Classifier, create_model, model_edits
from neocog.models._family import Family


def test_published_counts_are_kept_where_nothing_else_is_said() -> None:
    network = create_model("lenet5")
    assert isinstance(network, Classifier)
    assert (network.num_classes, network.config.in_chans, network.name) == (10, 1, "lenet5")
    assert network.training
    assert network.loaded is None


def test_classes_and_channels_change_head_and_stem() -> None:
    network = create_model("mobilenetv2_035", num_classes=7, in_chans=4).eval()
    assert network(torch.zeros(2, 4, 64, 64)).shape == (2, 7)
    assert network.config.in_chans == 4


@pytest.mark.parametrize("name", ["mobilenetv2_035", "lenet5", "lenet5_1998"])
def test_no_classes_leave_pooled_features(name: str) -> None:
    network = create_model(name, num_classes=0).eval()
    images = torch.zeros(2, network.config.in_chans, 32, 32)
    assert network(images).shape == (2, network.num_features)


def test_an_edit_changes_a_field_of_the_config() -> None:
    network = create_model("mobilenetv2_100", padding="same", dropout="0.5")
    assert (network.config.padding, network.config.dropout) == ("same", 0.5)  # type: ignore[attr-defined]
    assert model_edits(network) == {"padding": "same", "dropout": 0.5}
    again = create_model(network.name, **model_edits(network))
    assert again.config == network.config


def test_counts_are_no_edits() -> None:
    assert model_edits(create_model("lenet5", num_classes=3, in_chans=3)) == {}


def test_an_unknown_name_is_answered_with_the_near_ones() -> None:
    with pytest.raises(UnknownNameError, match="lenet5"):
        create_model("lenet_5")


def test_an_unknown_edit_is_answered_with_the_near_ones() -> None:
    with pytest.raises(UnknownNameError, match="did you mean padding"):
        create_model("mobilenetv2_100", paddings="same")


@pytest.mark.parametrize(
    ("edits", "said"),
    [
        ({"padding": "reflect"}, "padding='reflect'.*'symmetric' or 'same'"),
        ({"width": "wide"}, "width='wide'"),
        ({"width": 0}, "above 0"),
        ({"dropout": 1.0}, "below 1"),
        ({"num_classes": -1}, "num_classes"),
        ({"num_classes": 2.5}, "num_classes=2.5"),
        ({"in_chans": 0}, "in_chans"),
    ],
)
def test_a_value_that_cannot_be_is_one_clear_line(edits: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said) as raised:
        create_model("mobilenetv2_100", **edits)  # type: ignore[arg-type]
    assert "\n" not in str(raised.value)


def test_an_input_of_the_wrong_shape_is_one_clear_line() -> None:
    with pytest.raises(UsageError, match=r"takes images \(N, 3, H, W\), not \(1, 1, 32, 32\)"):
        create_model("mobilenetv2_035")(torch.zeros(1, 1, 32, 32))
    with pytest.raises(UsageError, match="smaller than LeNet5's least size of 32x32"):
        create_model("lenet5")(torch.zeros(1, 1, 28, 28))


def test_the_head_can_be_replaced_and_removed() -> None:
    network = create_model("mobilenetv2_035").to(torch.float64).eval()
    before = network.get_parameter("conv_stem.weight").clone()
    network.reset_classifier(5)
    assert network(torch.zeros(1, 3, 32, 32, dtype=torch.float64)).shape == (1, 5)
    assert network.num_classes == 5
    assert torch.equal(network.get_parameter("conv_stem.weight"), before)
    network.reset_classifier(0)
    assert network(torch.zeros(1, 3, 32, 32, dtype=torch.float64)).shape == (1, network.num_features)


def test_equal_seeds_build_equal_networks() -> None:
    torch.manual_seed(5)
    one = create_model("mobilenetv2_035").state_dict()
    torch.manual_seed(5)
    other = create_model("mobilenetv2_035").state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("name", ["mobilenetv2_035", "lenet5_1998"])
def test_networks_can_be_copied_and_pickled(name: str) -> None:
    network = create_model(name).eval()
    images = torch.rand(1, network.config.in_chans, 32, 32)
    for twin in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert torch.equal(twin(images), network(images))


def test_building_without_initialisation_writes_no_parameter(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    for function in ("uniform_", "normal_"):
        original = getattr(torch.Tensor, function)
        monkeypatch.setattr(
            torch.Tensor,
            function,
            lambda self, *args, original=original, **kwargs: written.append("") or original(self, *args, **kwargs),
        )
    family = Family.of("mobilenetv2_035")
    family.build_uninitialised(family.config)
    assert not written
    nn.init.uniform_(torch.empty(3))
    assert written


def test_fixed_tensors_are_right_in_a_network_that_was_not_initialised() -> None:
    family = Family.of("lenet5_1998")
    fresh = create_model("lenet5_1998")
    for name, buffer in family.build_uninitialised(family.config).named_buffers():
        assert torch.equal(buffer, fresh.get_buffer(name))


def test_weights_of_an_unknown_tag_are_answered_with_the_near_ones() -> None:
    with pytest.raises(UnknownNameError, match="ra_in1k"):
        create_model("mobilenetv2_100", weights="ra_in1")


def test_a_network_without_published_weights_says_so() -> None:
    with pytest.raises(WeightsError, match="no trained weights of lenet5 are known"):
        create_model("lenet5", weights="default")


def test_catalog_weights_bring_the_edits_that_they_need(monkeypatch: pytest.MonkeyPatch, shared_data: Path) -> None:
    monkeypatch.setenv("NEOCOG_WEIGHTS", str(shared_data / "weights"))
    network = create_model("mobilenetv2_100", weights="same_in1k", dropout=0.0)
    assert model_edits(network) == {"padding": "same", "dropout": 0.0}
    assert network.loaded is not None
    assert network.loaded.weights is not None
    assert network.loaded.weights.tag == "same_in1k"
