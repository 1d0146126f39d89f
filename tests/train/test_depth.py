"""Parts of a network by depth: what belongs to each, the rates that fall with it, and their release one by one."""

from __future__ import annotations

import pytest
import torch
from helpers import Staged, TensorBatches
from torch import nn

from neocog.models import Classifier, create_model
from neocog.models._classifier import AuxiliaryHead, ModelConfig
from neocog.train.depth import parts_by_depth
from neocog.train.fit import fit
from neocog.train.recipe import Loss, Optimizer, Recipe
from neocog.train.state import State
from neocog.train.supervised import SupervisedTask


def build(name: str, **edits: object) -> Classifier:
    with torch.device("meta"):
        return create_model(name, **edits)  # type: ignore[arg-type]


def heads_of(network: Classifier) -> list[list[str]]:
    """The first two words of the names in each part, without repetition."""
    return [list(dict.fromkeys(".".join(n.split(".")[:2]) for n in p.parameters)) for p in parts_by_depth(network)]


def test_parts_are_stem_stages_and_head_in_their_order() -> None:
    stem, *stages, head = heads_of(build("resnet18"))
    assert stem == ["conv1.weight", "bn1.weight", "bn1.bias"]
    assert stages == [[f"layer{n}.0", f"layer{n}.1"] for n in (1, 2, 3, 4)]
    assert head == ["fc.weight", "fc.bias"]


def test_a_norm_belongs_to_what_it_follows_and_a_transition_to_what_it_leads_to() -> None:
    parts = heads_of(build("mobilenetv2_100"))
    assert parts[0] == ["conv_stem.weight", "bn1.weight", "bn1.bias"]
    assert parts[-2] == ["conv_head.weight", "bn2.weight", "bn2.bias"]
    assert len(parts) == 10
    dense = heads_of(build("densenet40_12"))
    assert dense[1:-1] == [
        ["features.denseblock1"],
        ["features.transition1", "features.denseblock2"],
        ["features.transition2", "features.denseblock3", "features.norm5"],
    ]


def test_stages_that_end_in_a_pooling_hold_the_layers_before_it_and_hidden_layers_are_a_part() -> None:
    parts = heads_of(build("vgg11"))
    assert parts[0] == ["features.0"]
    assert parts[2] == ["features.6", "features.8"]
    assert parts[-2:] == [["pre_logits.fc1", "pre_logits.fc2"], ["head.fc"]]


def test_auxiliary_heads_belong_to_the_head() -> None:
    *_, last, head = heads_of(build("googlenet", auxiliary=True))
    assert last[0].startswith("inception5a")
    assert head[-1] == "fc.bias"
    assert len({name.partition(".")[0] for name in head}) == 3


@pytest.mark.parametrize("name", ["lenet5_1998", "linear_cifar10", "xception", "inception_v4", "wide_resnet16_8"])
def test_every_parameter_has_one_part_and_every_part_a_parameter(name: str) -> None:
    network = build(name)
    parts = parts_by_depth(network)
    found = [parameter for part in parts for parameter in part.parameters]
    assert sorted(found) == sorted(name for name, _ in network.named_parameters())
    assert all(part.parameters for part in parts)
    modules = [module for part in parts for module in part.modules]
    assert len(modules) == len(set(modules))


class Tokens(Classifier):
    """A network that holds parameters itself, as vision transformers do."""

    head_name, stem_name = "head", "patch"

    def __init__(self) -> None:
        super().__init__(ModelConfig())
        self.blocks_seen = 0
        self.token = nn.Parameter(torch.zeros(1, 1, 4))
        self.patch = nn.Conv2d(3, 4, 2)
        self.blocks = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
        self.norm, self.drop, self.head = nn.LayerNorm(4), nn.Dropout(), nn.Linear(4, 2)
        self.stage_names = ("blocks.0", "blocks.1")


def test_tokens_are_of_the_stem_and_a_last_norm_of_the_last_block() -> None:
    network = Tokens()
    parts = parts_by_depth(network)
    assert [list(part.parameters) for part in parts] == [
        ["token", "patch.weight", "patch.bias"],
        ["blocks.0.weight", "blocks.0.bias"],
        ["blocks.1.weight", "blocks.1.bias", "norm.weight", "norm.bias"],
        ["head.weight", "head.bias"],
    ]
    assert parts[-1].modules == [network.drop, network.head]


def scales_of(network: Classifier, settings: Optimizer) -> dict[str, float]:
    names = {parameter: name for name, parameter in network.named_parameters()}
    groups = SupervisedTask(network).param_groups(settings)
    found = [(names[p], group["lr_scale"]) for group in groups for p in group["params"]]
    assert len(found) == len(names), "each parameter once"
    return dict(found)


@pytest.mark.parametrize(("name", "depth"), [("resnet18", 6), ("mobilenetv2_100", 10), ("vgg11_bn", 7)])
def test_the_rate_falls_by_a_factor_a_stage_from_the_head_to_the_stem(name: str, depth: int) -> None:
    network = build(name)
    scales = scales_of(network, Optimizer(layer_decay=0.7, head_lr_scale=10.0))
    parts = parts_by_depth(network)
    assert len(parts) == depth
    for distance, part in enumerate(reversed(parts)):
        expected = 10.0 if distance == 0 else 0.7**distance
        for parameter in part.parameters:
            assert scales[parameter] == pytest.approx(expected), parameter


@pytest.mark.parametrize("decay", [1.0, 0.7])
def test_every_layer_that_gives_logits_is_marked_as_a_head(decay: float) -> None:
    network = build("googlenet", auxiliary=True)
    names = {parameter: name for name, parameter in network.named_parameters()}
    groups = SupervisedTask(network).param_groups(Optimizer(layer_decay=decay, head_lr_scale=10.0))
    marked = {names[p]: group["lr_scale"] for group in groups if group["head"] for p in group["params"]}
    own = {name: scale for name, scale in marked.items() if name.startswith("fc.")}
    assert own == {"fc.weight": 10.0, "fc.bias": 10.0}
    assert len(marked) == 6
    assert {scale for name, scale in marked.items() if name not in own} == {1.0}
    assert sum(len(group["params"]) for group in groups) == len(names)


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_rates_are_timm_s_where_its_layers_are_stages(name: str) -> None:
    import timm
    from timm.optim import param_groups_layer_decay

    theirs = timm.create_model(name)
    matcher = theirs.group_matcher
    theirs.group_matcher = lambda coarse: matcher(coarse=True)  # its own layers are blocks
    names = {parameter: name for name, parameter in theirs.named_parameters()}
    groups = param_groups_layer_decay(theirs, weight_decay=0.05, layer_decay=0.65)
    expected = {names[p]: (group["lr_scale"], group["weight_decay"]) for group in groups for p in group["params"]}
    network = build(name)
    own_names = {parameter: name for name, parameter in network.named_parameters()}
    ours = {
        own_names[p]: (group["lr_scale"], group["weight_decay"])
        for group in SupervisedTask(network).param_groups(Optimizer(layer_decay=0.65, weight_decay=0.05))
        for p in group["params"]
    }
    assert ours == {name: (pytest.approx(scale), decay) for name, (scale, decay) in expected.items()}


RECIPE = Recipe(epochs=4, batch_size=8, unfreeze=1, optimizer=Optimizer(lr=0.05))


def staged_task(unfreeze: float = 1.0) -> SupervisedTask:
    torch.manual_seed(0)
    return SupervisedTask(Staged(), unfreeze=unfreeze)


def test_parts_are_released_from_the_head_to_the_stem() -> None:
    task = staged_task()
    order = ["fc", "layer2", "layer1", "conv1"]
    before = {name: tensor.clone() for name, tensor in task.network.state_dict().items()}
    for state in fit(task, TensorBatches(), RECIPE):
        if state.step_in_epoch:
            continue
        moving = order[: state.epoch]
        moved = {name for name, tensor in task.network.state_dict().items() if not torch.equal(tensor, before[name])}
        expected = {name for name in before if any(name.startswith(part) for part in moving)}
        if "conv1" in moving:
            expected |= {name for name in before if name.startswith("bn1")}
        assert moved == expected, state.epoch  # statistics of norms included
        assert task.network.layer1[1].training == ("layer1" in moving)
        assert task.network.layer1[2].training == ("layer1" in moving)
        assert task.network.bn1.training == ("conv1" in moving)


def test_nothing_before_the_first_part_that_moves_is_differentiated() -> None:
    task = staged_task()
    task.train()
    task.begin(1.0)
    seen = {}
    for name in ("layer1", "layer2"):
        task.network.get_submodule(name).register_forward_hook(lambda m, i, o, name=name: seen.update({name: o}))
    (batch,) = next(TensorBatches().steps(0))
    task(batch).total.backward()
    assert not seen["layer1"].requires_grad
    assert seen["layer2"].requires_grad
    assert task.network.conv1.weight.grad is None


def test_the_optimiser_holds_all_parameters_from_the_start() -> None:
    task = staged_task()
    state = State.start(task, RECIPE, 3)
    assert {p for g in state.optimizer.param_groups for p in g["params"]} == set(task.network.parameters())


@pytest.mark.parametrize(
    ("unfreeze", "epoch", "frozen"),
    [(0.1, 0.3, 0), (0.1, 0.1, 2), (0.5, 0.99, 2), (2, 1.9, 3), (1e-320, 0, 0), (1e-320, 7, 0)],
)
def test_a_release_is_due_at_its_share_of_an_epoch(unfreeze: float, epoch: float, frozen: int) -> None:
    task = staged_task(unfreeze)
    task.begin(epoch)
    assert task.frozen == frozen


def test_measuring_in_between_leaves_what_is_frozen_still() -> None:
    from neocog.inference.evaluation import evaluating

    task = staged_task()
    task.train()
    task.begin(0.0)
    with evaluating(task.network):
        pass
    assert not task.network.layer1.training
    assert task.network.fc.training
    task.train()
    assert not task.network.layer1.training


@pytest.mark.parametrize("name", ["sgd", "lamb", "muon", "adadelta"])
def test_a_run_that_is_broken_off_while_parts_are_frozen_ends_in_the_same_bits(name: str) -> None:
    changes = {"optimizer.name": name, "optimizer.layer_decay": 0.5, "average.name": "uniform", "average.start": 0.3}
    if name == "lamb" or name == "adadelta":
        changes |= {"optimizer.lr": 0.01}
    recipe = RECIPE.override({**changes, "vary.loss.label_smoothing": [[1, 0.1]]})

    def task() -> SupervisedTask:
        torch.manual_seed(0)
        return SupervisedTask(Staged(), unfreeze=recipe.unfreeze, loss_at=lambda epoch: recipe.at(epoch).loss)

    *_, whole = fit(task(), TensorBatches(), recipe)
    expected = {name: tensor.clone() for name, tensor in whole.tensors().items()}
    for stop in (1, 3, 5, 8):
        for state in fit(task(), TensorBatches(), recipe):
            if state.step == stop:
                break
        kept, meta = {name: t.clone() for name, t in state.tensors().items()}, state.meta()
        again = task()
        resumed = State.start(again, recipe, TensorBatches().steps_per_epoch)
        resumed.restore(kept, meta)
        *_, last = fit(again, TensorBatches(), recipe, resumed)
        assert last.tensors().keys() == expected.keys()
        for entry, tensor in last.tensors().items():
            assert torch.equal(tensor, expected[entry]), (stop, entry)


def test_the_loss_of_an_epoch_is_what_varies() -> None:
    recipe = Recipe(epochs=3, batch_size=8, vary={"loss.label_smoothing": ((1, 0.2), (2, 0.4))})
    torch.manual_seed(0)
    task = SupervisedTask(Staged(), recipe.loss, loss_at=lambda epoch: recipe.at(epoch).loss)
    seen = [(state.step, task.loss.label_smoothing) for state in fit(task, TensorBatches(), recipe)]
    assert seen == [(step + 1, (0.0, 0.2, 0.4)[step // 3]) for step in range(9)]


def test_auxiliary_heads_learn_from_the_start_while_what_feeds_them_is_frozen() -> None:
    from neocog.train.deep_supervision import DeepSupervisionTask

    class Side(AuxiliaryHead):
        def __init__(self) -> None:
            super().__init__()
            self.num_features, self.fc = 8, nn.Linear(8, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(x.mean((2, 3)))

    class WithSide(Staged):
        auxiliary_names = {"layer1": "side"}

        def __init__(self) -> None:
            super().__init__()
            self.side = Side()

    task = DeepSupervisionTask(WithSide(), Loss(auxiliary_weight=0.3), unfreeze=1)
    task.train()
    task.begin(0.0)
    (batch,) = next(TensorBatches().steps(0))
    task(batch).total.backward()
    assert task.network.side.fc.weight.grad is not None
    assert task.network.layer1[0].weight.grad is None
