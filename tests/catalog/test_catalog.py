"""The catalog is quick to read, agrees with the networks, and invents nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module

import pytest

from neocog.catalog import describe, imagenet_classes, list_models
from neocog.errors import UnknownNameError

NAMES = list_models()


def families() -> Iterator[tuple[str, str]]:
    yield from sorted({(describe(name).family, describe(name).module) for name in NAMES})


def test_numbers_in_names_are_sorted_by_size() -> None:
    widths = list_models("mobilenetv2_*")
    assert widths[0] == "mobilenetv2_035"
    assert widths.index("mobilenetv2_075") < widths.index("mobilenetv2_110d") < widths.index("mobilenetv2_140")
    resnets = [name for name in list_models("resnet*") if name in ("resnet18", "resnet50", "resnet110", "resnet1202")]
    assert resnets == sorted(resnets, key=lambda name: int(name.removeprefix("resnet")))


def test_several_patterns_list_what_matches_any() -> None:
    assert list_models(["lenet*", "mobilenetv2_1[34]0"]) == [
        "lenet5",
        "lenet5_1998",
        "mobilenetv2_130",
        "mobilenetv2_140",
    ]
    assert list_models("nothing*") == []


def test_a_familys_name_lists_all_of_it() -> None:
    assert list_models("resnet") == [name for name in NAMES if describe(name).family == "resnet"]
    assert "plain18" in list_models("resnet")
    assert list_models(["lenet", "resnet18"]) == ["lenet5", "lenet5_1998", "resnet18"]


def test_only_networks_with_weights_can_be_listed() -> None:
    with_weights = list_models("mobilenetv2_*", weights=True)
    assert "mobilenetv2_100" in with_weights
    assert "mobilenetv2_130" not in with_weights


@pytest.mark.parametrize("key", ["year", "parameters", "macs"])
def test_sorting_by_a_figure_starts_with_the_least(key: str) -> None:
    figures = [getattr(describe(name), key) for name in list_models(sort=key)]
    assert figures == sorted(figures)


def test_sorting_by_top1_starts_with_the_best_published() -> None:
    names = list_models("mobilenetv2_*", sort="top1")
    assert names[:3] == ["mobilenetv2_140", "mobilenetv2_130", "mobilenetv2_100"]
    assert describe(names[-1]).top1 is None


def test_an_unknown_sort_key_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="macs"):
        list_models(sort="mac")  # type: ignore[arg-type]


def test_an_unknown_name_is_answered_with_the_near_ones() -> None:
    with pytest.raises(UnknownNameError, match="mobilenetv2_100") as raised:
        describe("mobilenet_v2_100")
    assert "neocog models" in str(raised.value)


def test_listing_and_describing_import_no_torch() -> None:
    script = (
        "import sys; from neocog.catalog import describe, find_weights, list_models;"
        "list_models('mobilenet*', sort='macs'); describe('lenet5'); find_weights('mobilenetv2_100');"
        "print(sorted({'torch', 'pydantic', 'timm', 'numpy'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize(("family", "module"), families())
def test_the_catalog_names_exactly_the_networks_that_the_module_builds(family: str, module: str) -> None:
    listed = {name for name in NAMES if describe(name).module == module}
    assert listed == set(import_module(module).CONFIGS)


@pytest.mark.parametrize("name", list_models(weights=True))
def test_weights_are_those_that_timm_names_with_its_preprocessing(name: str) -> None:
    import timm

    for weights in describe(name).weights:
        if weights.hub is None:
            assert weights.sha256 or weights.url, "weights that are on no hub are known by their digest"
            continue
        known = timm.get_pretrained_cfg(f"{name}.{weights.tag}", allow_unregistered=False)
        assert weights.hub == known.hf_hub_id
        assert weights.file == (known.hf_hub_filename or "model.safetensors")
        assert weights.num_classes == known.num_classes
        assert (3, weights.size, weights.size) == known.input_size
        assert weights.crop_pct == known.crop_pct
        assert weights.test_size == (known.test_input_size[-1] if known.test_input_size else None)
        assert weights.test_crop_pct == known.test_crop_pct
        assert weights.interpolation == known.interpolation
        assert weights.mean == tuple(known.mean)
        assert weights.std == tuple(known.std)
        assert weights.licence == (known.license or "unknown")


@pytest.mark.parametrize("name", list_models(weights=True))
def test_the_default_weights_are_timms_default(name: str) -> None:
    import timm

    default, *others = describe(name).weights
    assert default.default
    assert not any(each.default for each in others)
    if default.url is None:
        assert default.tag == timm.get_pretrained_cfg(name).tag


def test_all_of_timms_mobilenetv2_weights_are_listed() -> None:
    import timm

    listed = {
        f"{name}.{weights.tag}"
        for name in list_models("mobilenetv2_*")
        for weights in describe(name).weights
        if weights.hub
    }
    assert listed == set(timm.list_models("mobilenetv2_*", pretrained=True))


def test_imagenet_classes_are_in_the_order_of_timms() -> None:
    from timm.data import ImageNetInfo

    info = ImageNetInfo("imagenet-1k")
    synsets = [synset for synset, _ in imagenet_classes()]
    assert synsets == info.label_names()
    for (_, name), description in zip(imagenet_classes(), info.label_descriptions(), strict=True):
        known = [each.strip() for each in description.split(",")]
        assert name in known or name.partition(" (")[0] in known


def test_imagenet_class_names_differ_from_one_another() -> None:
    names = {name.lower() for _, name in imagenet_classes()}
    assert len(names) == len(imagenet_classes()) == 1000
