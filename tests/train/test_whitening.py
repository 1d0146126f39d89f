"""Filters made from images, layers that begin as the identity, and a stem that moves for some epochs."""

from __future__ import annotations

import copy
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import Staged, TensorBatches, TinyNetwork, Whitenable, make_network
from torch import Tensor, nn

from neocog import jobs
from neocog.data.augment import Augmentation
from neocog.data.loading import training_batches
from neocog.data.preprocess import Preprocessing
from neocog.errors import UsageError
from neocog.inference.model_file import load_model
from neocog.jobs._resolve import check_combination
from neocog.models import create_model
from neocog.train.fit import fit
from neocog.train.optimizers import build_optimizer, set_learning_rate
from neocog.train.recipe import Average, Optimizer, Recipe, Schedule
from neocog.train.schedules import learning_rate
from neocog.train.state import State
from neocog.train.supervised import SupervisedTask, begin_as_identities
from neocog.train.whitening import first_images, principal_patches, whiten

RECIPE = Recipe(epochs=3, batch_size=8, optimizer=Optimizer(lr=0.05, nesterov=True), precision="fp32")


def photographs(count: int = 64, channels: int = 3, side: int = 12) -> Tensor:
    """Return images whose neighbouring pixels and channels are alike, as those of photographs are."""
    noise = torch.randn(count, channels, side + 4, side + 4, generator=torch.Generator().manual_seed(0))
    smooth = nn.functional.avg_pool2d(noise, 5, 1)
    return 4 * (smooth + 0.7 * smooth.mean(1, keepdim=True))


@pytest.mark.parametrize(("kernel", "channels"), [(2, 3), (3, 3), ((2, 3), 1)])
@torch.no_grad()
def test_what_whitened_filters_return_is_uncorrelated_and_of_one_size(kernel: Any, channels: int):
    conv = nn.Conv2d(channels, 60, kernel, bias=False)
    images = photographs(channels=channels)
    whiten(conv, images, eps=0.0)
    half = channels * int(np.prod(conv.kernel_size))
    found = conv(images).double().transpose(0, 1).flatten(1)
    moments = found @ found.T / found.shape[1]
    torch.testing.assert_close(moments[:half, :half], torch.eye(half).double(), rtol=0, atol=1e-3)
    torch.testing.assert_close(found[half : 2 * half], -found[:half])


@torch.no_grad()
def test_filters_are_those_of_numpys_patches_and_eigenvectors():
    conv, images = nn.Conv2d(3, 24, 2), photographs(16)
    whiten(conv, images)
    pixels = images.double().numpy()
    patches = [pixels[:, :, y : y + 2, x : x + 2].reshape(16, -1) for y in range(11) for x in range(11)]
    _, sizes, rows = np.linalg.svd(np.concatenate(patches), full_matrices=False)  # another way than eigh's
    variances = sizes**2 / (16 * 121)
    expected = torch.from_numpy(rows / np.sqrt(variances + 5e-4)[:, None])
    filters = conv.weight.flatten(1).double()
    signs = (filters[:12] * expected).sum(1, keepdim=True).sign()
    torch.testing.assert_close(filters[:12], expected * signs, rtol=1e-4, atol=1e-4)
    assert torch.equal(conv.weight[12:], -conv.weight[:12])


@torch.no_grad()
def test_filters_beyond_and_the_bias_stay_and_batches_make_no_difference():
    one = nn.Conv2d(3, 30, 2)
    other, before = copy.deepcopy(one), copy.deepcopy(one)
    whiten(one, photographs())
    whiten(other, iter(photographs().split(10)))
    torch.testing.assert_close(one.weight, other.weight)
    assert torch.equal(one.weight[24:], before.weight[24:])
    assert torch.equal(one.bias, before.bias)
    assert not torch.isclose(one.weight[:24], before.weight[:24]).any(1).all()


def test_the_sign_of_an_eigenvector_does_not_hang_on_the_solver(monkeypatch: pytest.MonkeyPatch):
    conv = nn.Conv2d(3, 24, 2)
    directions, variances = principal_patches([photographs()], conv)
    assert (variances[1:] <= variances[:-1]).all()
    solve = torch.linalg.eigh

    def turned(matrix: Tensor) -> tuple[Tensor, Tensor]:
        values, vectors = solve(matrix)
        return values, vectors * torch.tensor([-1.0, 1.0] * 6, dtype=torch.float64)

    monkeypatch.setattr(torch.linalg, "eigh", turned)
    assert torch.equal(principal_patches([photographs()], conv)[0], directions)


@torch.no_grad()
def test_images_that_never_differ_in_a_direction_are_not_blown_up():
    conv = nn.Conv2d(3, 24, 2)
    whiten(conv, torch.full((4, 3, 5, 5), 2.0))
    assert conv.weight.isfinite().all()
    assert conv.weight.abs().max() <= 5e-4**-0.5


def test_what_cannot_be_whitened_is_refused_with_the_numbers():
    with pytest.raises(UsageError, match=r"2 x 3 channels x 49 pixels = 294 filters of 7x7, .* has 64"):
        whiten(nn.Conv2d(3, 64, 7), photographs())
    with pytest.raises(UsageError, match="in 3 groups"):
        whiten(nn.Conv2d(3, 24, 2, groups=3), photographs())
    with pytest.raises(UsageError, match=r"1 channels and 2x2 pixels .*\(64, 3, 12, 12\)"):
        whiten(nn.Conv2d(1, 24, 2), photographs())
    with pytest.raises(UsageError, match="no image"):
        whiten(nn.Conv2d(3, 24, 2), iter(()))
    with pytest.raises(UsageError, match=r"the stem of resnet18, conv1, cannot be whitened: .*294.*whiten=0"):
        SupervisedTask(create_model("resnet18"), whiten=10)
    with pytest.raises(UsageError, match="not of Templates"):
        SupervisedTask(create_model("mlp_mnist"), whiten=10)


def test_training_images_are_seen_as_prediction_sees_them_in_the_first_epochs_order():
    split, look = digits(), Preprocessing(size=(8, 8), channels=1, mean=(0.5,), std=(0.5,))
    varied = Augmentation(crop="pad", pad=2, flip=0.5)
    batches = training_batches(split, look, varied, batch_size=100, seed=3)
    plain = training_batches(split, look, Augmentation(crop="none", flip=0), batch_size=100, seed=3)
    found = torch.cat(list(first_images(batches, 500)))
    expected = torch.cat([batch.images for step in plain.steps(0) for batch in step])
    assert torch.equal(found, expected[:500])
    assert sum(map(len, first_images(batches, 10_000))) == len(split)
    half = training_batches(split, look, varied, batch_size=100, seed=3, rank=1, world_size=2)
    assert torch.equal(torch.cat(list(first_images(half, 500))), found)


def digits() -> Any:
    from neocog.data.sources import read_source

    return read_source("digits").training


def test_other_batches_give_what_they_have():
    batches = TensorBatches(accumulate=2)
    whole = torch.cat([batch.images for step in batches.steps(0) for batch in step])
    assert torch.equal(torch.cat(list(first_images(batches, 10))), whole[:10])
    assert sum(map(len, first_images(batches, 1000))) == 24


# The task


def whitened(**settings: Any) -> SupervisedTask:
    torch.manual_seed(0)
    return SupervisedTask(Whitenable(), **{"whiten": 16, **settings})


def test_the_stems_filters_are_made_before_the_first_step_and_stay_while_its_bias_moves():
    task, batches = whitened(), TensorBatches()
    expected, bias = copy.deepcopy(task.network.conv1), task.network.conv1.bias.clone()
    whiten(expected, torch.cat(list(first_images(batches, 16))))
    states = fit(task, batches, RECIPE)
    next(states)
    torch.testing.assert_close(task.network.conv1.weight, expected.weight, rtol=0, atol=0)
    *_, _ = states
    torch.testing.assert_close(task.network.conv1.weight, expected.weight, rtol=0, atol=0)
    assert not torch.equal(task.network.conv1.bias, bias)


def test_an_average_of_weights_begins_with_the_filters_that_were_made():
    task = whitened()
    recipe = RECIPE.model_copy(update={"average": Average(decay=0.9, warmup=False)})
    *_, state = fit(task, TensorBatches(), recipe)
    averaged = state.average.tensors["network.conv1.weight"]
    torch.testing.assert_close(averaged, task.network.conv1.weight.detach(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["sgd", "muon", "adamw"])
@pytest.mark.parametrize("stopped", [1, 4, 5])
def test_a_resumed_run_is_not_whitened_again_and_ends_the_same(name: str, stopped: int):
    optimizer = Optimizer(name=name, lr=0.01)
    recipe = RECIPE.model_copy(update={"optimizer": optimizer, "average": Average(decay=0.9)})
    settings: dict[str, Any] = {"identity": True, "stem_epochs": 4 / 3}
    whole, begun = whitened(**settings), whitened(**settings)
    *_, end = fit(whole, TensorBatches(), recipe)
    states = fit(begun, TensorBatches(), recipe)
    kept = [next(states) for _ in range(stopped)][-1]
    tensors, meta = {key: tensor.clone() for key, tensor in kept.tensors().items()}, kept.meta()
    torch.manual_seed(9)
    resumed = SupervisedTask(Whitenable(), whiten=16, **settings)
    state = State.start(resumed, recipe, 3)
    state.restore(tensors, meta)
    *_, last = fit(resumed, TensorBatches(), recipe, state)
    assert last.step == end.step == 9
    for key, tensor in end.tensors().items():
        assert torch.equal(tensor, last.tensors()[key]), key


def test_loaded_weights_are_neither_whitened_nor_made_the_identity(tmp_path: Path):
    from safetensors.torch import save_file

    edits: dict[str, Any] = {"widths": (16, 16, 16)}
    network = create_model("airbench94", **edits)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):  # as if it had been trained
            nn.init.normal_(module.running_mean)
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    loaded = create_model("airbench94", weights=tmp_path / "weights.safetensors", **edits)
    before = {name: tensor.clone() for name, tensor in loaded.state_dict().items()}
    SupervisedTask(loaded, whiten=8, identity=True).prepare(TensorBatches())
    for name, tensor in loaded.state_dict().items():
        if "whiten" in name or "conv" in name:
            assert torch.equal(tensor, before[name]), name


def test_every_convolution_but_the_stem_begins_as_the_identity_where_it_can():
    network = create_model("resnet20")
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    SupervisedTask(network, identity=True).prepare(TensorBatches())
    changed = {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])}
    plain = {
        f"{name}.weight" for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d) and module.stride == (1, 1) and module.kernel_size == (3, 3)
    }  # fmt: skip
    assert changed == plain - {"conv1.weight"}
    x = torch.randn(1, 16, 8, 8)
    assert torch.equal(network.get_submodule("layer1.0.conv1")(x), x)


def test_heads_do_not_begin_as_the_identity():
    network = TinyNetwork()
    network.fc = nn.Conv2d(8, 3, 3)
    before = network.fc.weight.clone()
    begin_as_identities(network)
    assert torch.equal(network.fc.weight, before)


# A stem that moves for some epochs


def test_the_rate_of_what_moves_until_some_epoch_falls_in_a_line_to_zero():
    recipe = Recipe(epochs=8, schedule=Schedule(name="cosine", warmup_epochs=2), optimizer=Optimizer(lr=0.4))
    found = [learning_rate(recipe, epoch, until=2.5) for epoch in (0, 0.5, 1.25, 2.5, 3, 8)]
    assert found == pytest.approx([0.4, 0.32, 0.2, 0, 0, 0])
    assert learning_rate(recipe, 1, until=None) == learning_rate(recipe, 1) == pytest.approx(0.2)


@pytest.mark.parametrize("layer_decay", [1.0, 0.5])
def test_the_stem_is_a_group_of_its_own_with_its_share_of_the_rate(layer_decay: float):
    torch.manual_seed(0)
    network = Staged()
    settings = Optimizer(lr=0.4, layer_decay=layer_decay)
    usual = SupervisedTask(network).param_groups(settings)
    groups = SupervisedTask(network, stem_epochs=2.0).param_groups(settings)
    assert sum(len(group["params"]) for group in groups) == sum(len(group["params"]) for group in usual)
    (stem,) = [group for group in groups if group.get("until") is not None]
    assert [parameter is network.conv1.weight for parameter in stem["params"]] == [True]
    optimizer = build_optimizer(groups, settings)
    set_learning_rate(optimizer, lambda until: 0.4 if until is None else 0.1)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert rates[id(network.conv1.weight)] == pytest.approx(0.1 * layer_decay**3)
    assert rates[id(network.fc.weight)] == 0.4


@pytest.mark.parametrize("name", ["sgd", "adamw", "muon", "lamb"])
def test_the_stem_stops_at_its_epoch_and_the_rest_goes_on(name: str):
    torch.manual_seed(0)
    network = Staged()
    task = SupervisedTask(network, stem_epochs=4 / 3)  # four steps of three an epoch
    seen: list[tuple[Tensor, Tensor]] = []
    for state in fit(task, TensorBatches(), RECIPE.override({"optimizer.name": name, "optimizer.lr": 0.05})):
        seen.append((network.conv1.weight.detach().clone(), network.fc.weight.detach().clone()))
        assert network.conv1.weight.requires_grad == (state.step <= 4)
    stem, head = ([not torch.equal(*pair) for pair in pairwise(each)] for each in zip(*seen, strict=True))
    assert stem == [True] * 3 + [False] * 5
    assert head == [True] * 8


def test_a_stem_that_stands_still_costs_no_backward_pass():
    task = whitened(stem_epochs=1.0)
    batch = next(TensorBatches().steps(0))[0]
    asked = []
    task.network.conv1.register_forward_hook(lambda module, inputs, output: asked.append(output.requires_grad))
    for epoch in (0.0, 2 / 3, 1 - 1e-12, 1.0, 2.5):
        task.begin(epoch)
        task(batch).total.backward()
    assert asked == [True, True, False, False, False]  # what is reached to within rounding is reached
    assert whitened().network.conv1.weight.requires_grad is False


def test_a_stem_of_which_nothing_moves_is_refused():
    network = Whitenable()
    network.conv1.bias = None
    with pytest.raises(UsageError, match="nothing moves in the stem of Whitenable, conv1"):
        SupervisedTask(network, whiten=16, stem_epochs=1.0)
    with pytest.raises(UsageError, match="nothing moves"):
        SupervisedTask(create_model("linear_cifar10"), stem_epochs=1.0)


def test_a_run_without_any_of_it_is_what_it_was():
    assert all("until" not in group for group in SupervisedTask(make_network()).param_groups(Optimizer()))
    assert not SupervisedTask(make_network()).skips_parameters
    assert whitened(stem_epochs=1.0).skips_parameters


# Recipes


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"whiten": 100, "weights": "default"}, "whiten is how a fresh network begins.*set whiten to 0"),
        ({"identity": True, "weights": "a.safetensors"}, "weights a.safetensors: set identity to false"),
        ({"whiten": 100, "organise": 10}, "organises itself"),
        ({"identity": True, "organise": 10}, "organises itself"),
        ({"stem_epochs": 2, "train": "head"}, "trains the head alone"),
        ({"stem_epochs": 2, "organise": 10}, "trains the head alone"),
        ({"stem_epochs": 2, "unfreeze": 1}, "choose one"),
    ],
)
def test_what_contradicts_is_refused(changes: dict[str, Any], said: str):
    with pytest.raises(UsageError, match=said):
        check_combination(Recipe().override(changes))


@pytest.mark.parametrize(("field", "value"), [("whiten", -1), ("stem_epochs", 0), ("stem_epochs", -2.0)])
def test_numbers_that_mean_nothing_are_refused(field: str, value: float):
    with pytest.raises(UsageError, match=field):
        Recipe().override({field: value})


def test_a_stem_that_does_not_suit_is_refused_before_anything_is_written(tmp_path: Path):
    for model, changes, said in (
        ("lenet5", {"whiten": 10}, "50 filters of 5x5"),
        ("linear_mnist", {"stem_epochs": 1}, "nothing moves in the stem of linear_mnist"),
    ):
        with pytest.raises(UsageError, match=said):
            jobs.train("digits", model=model, overrides=changes, out=tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_the_model_file_of_a_run_has_the_filters_that_were_made(tmp_path: Path):
    changes = {
        "edits.widths": [16, 16, 16], "image_size": 12, "epochs": 1, "whiten": 500, "stem_epochs": 0.5,
        "optimizer.lr": 0.05, "batch_size": 128, "precision": "fp32", "augment.policy": "none",
    }  # fmt: skip
    result = jobs.train("digits", model="airbench94", overrides=changes, out=tmp_path / "run")
    weight = load_model(result.model).network.get_parameter("whiten.weight")
    assert torch.equal(weight[4:8], -weight[:4])
    assert not torch.equal(weight[12:16], -weight[8:12])
