"""What every network of the catalog promises, whatever its paper.

Shapes are checked on the meta device, where nothing is computed: those of every variant at its own image size, and at
other sizes those of so many variants that each way in which a family's configs differ is among them. What needs numbers
is checked for the smallest of each family. The slow tests leave none out. A part of the contract that a network cannot
honour is listed at the top; the network has to say so in a `UsageError`, and one that can must not be listed.
"""

from __future__ import annotations

import copy
import math
import pickle
import re
from collections.abc import Iterator
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import pytest
import torch
from parity import overwritten_outputs
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from neocog.analysis.blank import without_numbers
from neocog.catalog import describe, list_models
from neocog.errors import UsageError
from neocog.models import Classifier, ModelConfig, create_model, tap
from neocog.models._family import Family

NAMES = list_models()
FAMILIES = sorted({describe(name).family for name in NAMES})

ONE_SIZE = {"lenet", "neocognitron", "perceptron", "fitnet_teacher", "convnetjs"}
ONE_SIZE |= {f"{kind}_mlp_{layers}" for kind in ("highway", "plain") for layers in (10, 20, 50, 100)}
"""Families, or single networks of them, whose layers fit images of one size only."""
NO_CONVOLUTION = {"neocognitron", "perceptron"}
"""Families that begin with something else."""
MAY_BE_ZERO = {("alexnet", "padding"), ("fitnets", "paddings")}
"""(family, field) of whole numbers in a config of which none at all is possible."""
MAY_BE_EMPTY = {("perceptron", "hidden")}
"""(family, field) of tuples in a config that may have nothing in them."""
MAY_BE_NEGATIVE = {("highway", "transform_bias")}
"""(family, field) of numbers in a config for which the sign says something."""

DEEPEST = {"resnet1202", "resnet1202_stochastic_depth", "resnetv2_1001"}
"""They take seconds even without numbers, and differ from others of their families in their depth alone."""
LIGHT = 12e6
"""Parameters up to which the fast tests make copies of the smallest network of a family."""


def of_family(family: str) -> list[str]:
    return [name for name in NAMES if describe(name).family == family]


@cache
def smallest(family: str) -> str:
    """Return the variant with the fewest parameters, which is quickly made with numbers."""
    return min(of_family(family), key=lambda name: describe(name).parameters)


def traits(name: str) -> set[tuple[str, object]]:
    """Return all that tells a variant from others but for the size of its numbers."""
    config = Family.of(name).config
    found: set[tuple[str, object]] = {("input", native(name))}
    for field in fields(config):
        value = getattr(config, field.name)
        if isinstance(value, tuple):
            found.add((field.name, len(value)))
        elif value is None or isinstance(value, bool | str):
            found.add((field.name, value))
    return found


def every() -> list[Any]:
    """Return all names; those of the deepest networks are marked slow."""
    return [pytest.param(name, marks=pytest.mark.slow) if name in DEEPEST else name for name in NAMES]


def differing() -> list[Any]:
    """Return all names; marked slow are those that have no trait which a smaller one of the family has not."""
    quick, seen = set(), set()
    for name in sorted(NAMES, key=lambda name: describe(name).macs):
        of_it = {(describe(name).family, *trait) for trait in traits(name)}
        if not of_it <= seen:
            quick.add(name)
            seen |= of_it
    return [name if name in quick else pytest.param(name, marks=pytest.mark.slow) for name in NAMES]


SAME_SHAPE = {F.batch_norm, F.relu, Tensor.relu, Tensor.relu_, torch.relu, torch.tanh}
SUMS = {Tensor.add, Tensor.__add__, Tensor.__iadd__, Tensor.add_}


class ShapesOnly(TorchFunctionMode):
    """Leaves out what torch is slow to think through on the meta device and what changes no shape."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in SAME_SHAPE or (func in SUMS and getattr(args[1], "shape", None) == args[0].shape):
            return args[0].new_empty(args[0].shape)
        return func(*args, **(kwargs or {}))


@pytest.fixture
def _shapes_only() -> Iterator[None]:
    with ShapesOnly():
        yield


def on_meta(name: str, **edits: Any) -> Classifier:
    family = Family.of(name)
    with without_numbers():
        return family.build(replace(family.config, **edits)).eval()


def native(name: str) -> tuple[int, int, int]:
    return describe(name).input


def blank(count: int, *image: int) -> Tensor:
    return torch.empty(count, *image, device="meta")


def pictures(name: str, count: int = 2) -> Tensor:
    """Return random images of the network, as small as need be."""
    channels, *sides = native(name)
    if not ONE_SIZE & {name, describe(name).family}:
        least = on_meta(name).min_size
        sides = [min(side, max(64, low)) for side, low in zip(sides, least, strict=True)]
    return torch.randn(count, channels, *sides, generator=torch.Generator().manual_seed(1))


# Every variant, by its shapes


@pytest.mark.parametrize("name", every())
@pytest.mark.usefixtures("_shapes_only")
@torch.no_grad()
def test_features_pooled_features_logits_and_stages_are_as_stated(name: str):
    network, entry = on_meta(name), describe(name)
    assert isinstance(network, Classifier)
    assert network.num_classes == network.config.num_classes == entry.num_classes
    with tap(network, network.stage_names) as seen:
        features = network.forward_features(blank(2, *entry.input))
    assert tuple(seen) == network.stage_names, "the stages, in the order in which they run"
    shapes = [tuple(seen[stage].shape[1:]) for stage in network.stage_names]
    for stage, before, after in zip(network.stage_names[1:], shapes, shapes[1:], strict=False):
        assert before != after, f"neither resolution nor width changes with {stage}: {after}"
    if features.ndim == 4:
        assert shapes[-1] == features.shape[1:], "the last stage gives the features"

    pooled = network.forward_head(features, pre_logits=True)
    assert pooled.shape == (2, network.num_features)
    assert network.forward_head(features).shape == (2, entry.num_classes)
    network.reset_classifier(7)
    assert network.num_classes == network.config.num_classes == 7
    assert network.forward_head(features).shape == (2, 7)
    network.reset_classifier(0)
    assert network.forward_head(features).shape == pooled.shape
    assert sum(parameter.numel() for parameter in network.get_submodule(network.head_name).parameters()) == 0


@pytest.mark.parametrize("name", differing())
@pytest.mark.usefixtures("_shapes_only")
@torch.no_grad()
def test_other_channels_and_no_classes_are_built(name: str):
    channels, *sides = native(name)
    other = 1 if channels == 3 else 3
    network = on_meta(name, in_chans=other, num_classes=0)
    assert network(blank(2, other, *sides)).shape == (2, network.num_features)
    with pytest.raises(UsageError, match=rf"\(N, {other}, H, W\), not \(2, {channels}, "):
        network(blank(2, channels, *sides))
    stem = network.get_submodule(network.stem_name)
    if isinstance(stem, nn.Conv2d):  # what loading adapts to other channels
        assert stem.weight.shape[1] == other
    else:
        assert describe(name).family in NO_CONVOLUTION


@pytest.mark.parametrize("name", differing())
@pytest.mark.usefixtures("_shapes_only")
@torch.no_grad()
def test_the_least_size_is_enough_and_a_pixel_less_is_not(name: str):
    network, channels = on_meta(name), native(name)[0]
    height, width = network.min_size
    assert network(blank(1, channels, height, width)).shape == (1, network.num_classes)
    for smaller in ((height - 1, width), (height, width - 1)):
        if 0 in smaller:
            continue
        images = blank(1, channels, *smaller)
        with pytest.raises(UsageError, match=f"{smaller[0]}x{smaller[1]}") as said:
            network(images)
        assert f"{height}x{width}" in str(said.value)
        with pytest.raises((RuntimeError, ValueError, UsageError)):  # it could not have been done
            network.forward_head(network.forward_features(images))


@pytest.mark.parametrize("name", differing())
@pytest.mark.usefixtures("_shapes_only")
@torch.no_grad()
def test_images_of_another_size_are_taken_or_refused_with_the_numbers(name: str):
    network, (channels, height, width) = on_meta(name), native(name)
    images = blank(1, channels, height + 33, width + 20)
    if ONE_SIZE & {name, describe(name).family}:
        with pytest.raises(UsageError, match=f"{height}x{width}.*{height + 33}x{width + 20}"):
            network(images)
    else:
        assert network(images).shape == (1, network.num_classes)


class Written(TorchFunctionMode):
    """Remembers the memory that was written to."""

    def __init__(self) -> None:
        super().__init__()
        self.memory: set[int] = set()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, name = kwargs or {}, getattr(func, "__name__", "")
        if name == "__setitem__" or (name.endswith("_") and not name.endswith("__")):
            self.memory.add((args[0] if args else kwargs["tensor"]).untyped_storage()._cdata)
        return func(*args, **kwargs)


@pytest.mark.parametrize("name", differing())
def test_every_parameter_is_initialised(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(nn.init, "_no_grad_trunc_normal_", lambda tensor, *bounds, **more: tensor.detach().zero_())
    network = on_meta(name)
    with without_numbers(), Written() as written:
        network.init_weights()
    left = [path for path, each in network.named_parameters() if each.untyped_storage()._cdata not in written.memory]
    assert left == []


def leaves(value: Any, hint: Any, bad: Any) -> Iterator[Any]:
    """Yield `value` with one number in it replaced by `bad`, for its first and its last number."""
    if isinstance(value, tuple):
        for place in {0, len(value) - 1} if value else ():
            for changed in leaves(value[place], None, bad):
                yield (*value[:place], changed, *value[place + 1 :])
    elif isinstance(value, bool | str | None):
        options = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
        if value is None and type(bad) in options:
            yield bad
    elif isinstance(value, type(bad)):
        yield bad


@pytest.mark.parametrize("family", FAMILIES)
def test_numbers_that_no_network_can_have_are_refused_before_anything_is_made(family: str):
    accepted = []
    for name in of_family(family):
        config = Family.of(name).config
        hints = get_type_hints(type(config))
        for field in fields(config):
            bads: list[Any] = [math.nan, math.inf, -math.inf]
            bads += [] if (family, field.name) in MAY_BE_NEGATIVE else [-1, -1.0]
            if field.name != "num_classes" and (family, field.name) not in MAY_BE_ZERO:
                bads.append(0)
            value = getattr(config, field.name)
            changes = [changed for bad in bads for changed in leaves(value, hints[field.name], bad)]
            if value and get_args(hints[field.name])[-1:] == (...,) and (family, field.name) not in MAY_BE_EMPTY:
                changes.append(())
            for changed in changes:
                try:
                    replace(config, **{field.name: changed})
                except UsageError:
                    continue
                accepted.append((name, field.name, changed))
    assert accepted == []


# The smallest of each family, with numbers; all of them among the slow tests


def representatives(limit: float = math.inf) -> list[Any]:
    """Return the smallest variant of each family, unless it is above a number of parameters; the others marked slow."""
    quick = {name for name in map(smallest, FAMILIES) if describe(name).parameters < limit}
    return [name if name in quick else pytest.param(name, marks=pytest.mark.slow) for name in NAMES]


def initialised(name: str) -> Classifier:
    """Return a network from always the same seed, which was made in memory full of NaN."""
    torch.manual_seed(3)
    torch.use_deterministic_algorithms(True)  # by which torch fills what nobody has written to
    try:
        family = Family.of(name)
        network = family.build_uninitialised(family.config)
        network.init_weights()
        return network.eval()
    finally:
        torch.use_deterministic_algorithms(False)


@torch.no_grad()
def measured(name: str) -> Classifier:
    """Return a fresh network whose batch norms know the statistics of two images.

    Until a norm has seen images it divides by 1, so that in evaluation each residual block adds as much as the blocks
    before it have made: the sum doubles from block to block, and with several hundred of them is no float32 any more.
    """
    network = initialised(name)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    usual = [norm.momentum for norm in norms]
    for norm in norms:  # these alone are in training: no block is dropped, and each is measured
        norm.train().momentum = 1.0
    network(pictures(network.name))
    for norm, momentum in zip(norms, usual, strict=True):
        norm.eval().momentum = momentum
    return network


@pytest.fixture(scope="module", params=representatives())
def network(request: pytest.FixtureRequest) -> Classifier:
    """A network that no test changes."""
    return measured(request.param)


@pytest.fixture(scope="module", params=representatives(LIGHT))
def light(request: pytest.FixtureRequest) -> Classifier:
    """A network that no test changes and that is quickly copied."""
    return measured(request.param)


@torch.no_grad()
def test_forward_is_head_of_features_and_tap_sees_what_modules_return(network: Classifier):
    images, as_returned = pictures(network.name), {}
    names = [path for path, module in network.named_modules() if path and not list(module.children())]
    handles = [
        network.get_submodule(path).register_forward_hook(
            lambda module, inputs, output, path=path: as_returned.update({path: output.clone()})
        )
        for path in names
    ]
    with tap(network, names) as seen:
        logits = network(images)
    for handle in handles:
        handle.remove()
    assert torch.equal(logits, network.forward_head(network.forward_features(images)))
    assert logits.isfinite().all()
    assert seen.keys() == as_returned.keys()
    assert [path for path in seen if not torch.equal(seen[path], as_returned[path])] == []


@torch.no_grad()
def test_a_network_is_its_state(light: Classifier):
    images, state = pictures(light.name, 1), light.state_dict()
    assert len({tensor.data_ptr() for tensor in state.values()}) == len(state), "no tensor under two names"
    family = Family.of(light.name)
    twin = family.build_uninitialised(family.config).eval()
    twin.load_state_dict(state, strict=True)
    assert torch.equal(twin(images), light(images))
    assert torch.equal(pickle.loads(pickle.dumps(light))(images), light(images))


@torch.no_grad()
def test_weights_of_a_file_come_back_also_with_other_channels_and_classes(light: Classifier, tmp_path: Path):
    from safetensors.torch import save_file

    path, images = tmp_path / "weights.safetensors", pictures(light.name, 1)
    save_file(light.state_dict(), path)
    again = create_model(light.name, weights=path).eval()
    assert torch.equal(again(images), light(images))
    other = 1 if images.shape[1] == 3 else 3
    fewer = create_model(light.name, weights=path, num_classes=7, in_chans=other).eval()
    assert fewer(torch.zeros(1, other, *images.shape[2:])).shape == (1, 7)
    assert fewer.loaded is not None
    assert len(fewer.loaded.remade) == 2


def test_initialisation_leaves_nothing_as_it_was_and_follows_the_seed(network: Classifier):
    one, other = network.state_dict(), measured(network.name).state_dict()
    assert [path for path in one if not torch.equal(one[path], other[path])] == []  # NaN is not equal to itself


@torch.no_grad()
def test_a_new_head_is_drawn_as_the_first_one_and_of_its_type(light: Classifier):
    renewed = copy.deepcopy(light).double()
    torch.manual_seed(5)
    renewed.reset_classifier(light.num_classes)
    assert renewed(pictures(light.name, 1).double()).dtype == torch.float64
    first, second = (dict(each.get_submodule(each.head_name).named_parameters()) for each in (light, renewed))
    assert first.keys() == second.keys()
    for path, drawn in first.items():
        spread, sampling = drawn.std().item(), drawn.numel() ** -0.5
        new = second[path].float()
        assert new.std().item() == pytest.approx(spread, rel=4 * sampling, abs=1e-12), path
        assert new.mean().item() == pytest.approx(drawn.mean().item(), abs=6 * sampling * spread + 1e-12), path


def test_no_module_writes_into_what_another_returned(network: Classifier):
    assert overwritten_outputs(copy.deepcopy(network), pictures(network.name)) == []


def test_configs_of_every_family_begin_with_the_same_fields():
    for name in NAMES:
        config = Family.of(name).config
        assert isinstance(config, ModelConfig)
        assert [field.name for field in fields(config)][:2] == ["num_classes", "in_chans"]
        own = [field.name for field in fields(config)][2:]
        assert len(own) <= 10, f"{name} has {len(own)} fields: two networks in one coat"
        with pytest.raises(AttributeError):
            config.num_classes = 3  # type: ignore[misc]
        assert all(re.fullmatch(r"[a-z][a-z0-9_]*", field) for field in own)
