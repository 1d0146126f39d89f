"""Every command that looks at networks, on every network of the catalog and on twenty of others'.

What the figures must be is tested room by room; here each network goes the whole way, so that one whose operations no
rule knows, or whose picture cannot be drawn, is found on the day that it is added. The fast tests take the smallest
network of each family and the others' twenty, the slow ones leave none out.
"""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from neocog import jobs
from neocog.analysis.cost import count_cost
from neocog.analysis.receptive_field import receptive_fields
from neocog.catalog import describe, list_models
from neocog.jobs.subject import trace_subject
from neocog.visualize import drawing

OTHERS = (
    "torchvision.models:vgg16",
    "torchvision.models:googlenet",
    "torchvision.models:squeezenet1_1",
    "torchvision.models:shufflenet_v2_x1_0",
    "torchvision.models:swin_t",
    "timm.models.densenet:densenet121",
    "timm.models.efficientnet:mobilenetv2_100",
    "timm.models.efficientnet:efficientnet_b0",
    "timm.models.mobilenetv3:mobilenetv3_large_100",
    "timm.models.vision_transformer:vit_small_patch16_224",
    "timm.models.swin_transformer:swin_tiny_patch4_window7_224",
    "timm.models.convnext:convnext_tiny",
    "timm.models.maxxvit:coatnet_0_rw_224",
    "timm.models.mlp_mixer:mixer_s16_224",
    "timm.models.convmixer:convmixer_768_32",
    "timm.models.resnet:seresnet50",
    "timm.models.resnet:resnext50_32x4d",
    "timm.models.regnet:regnety_032",
    "timm.models.inception_v3:inception_v3",
    "timm.models.nfnet:dm_nfnet_f0",
)


def smallest(family: str) -> str:
    """Return the variant of a family that takes the least to run."""
    names = [name for name in list_models() if describe(name).family == family]
    return min(names, key=lambda name: describe(name).macs)


FAMILIES = sorted({describe(name).family for name in list_models()})
QUICK = {smallest(family) for family in FAMILIES}
NAMES = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in list_models()]


@pytest.mark.parametrize("name", [*NAMES, *OTHERS])
def test_a_network_is_described_seen_through_and_drawn(name, tmp_path):
    subject, trace = trace_subject(name)
    for level in ("layer", "block", "stage"):
        cost = count_cost(trace, level)
        assert not cost.uncounted
        assert sum(row.parameters for row in cost.rows) + cost.idle_parameters == cost.parameters
    if subject.entry is not None:
        assert (cost.parameters, cost.macs) == (subject.entry.parameters, subject.entry.macs)
    fields = receptive_fields(trace)
    assert not fields.unknown
    for (first, last), side in zip(fields.rows[-1].at(), subject.image[1:], strict=True):
        assert first <= 0  # logits depend on every pixel
        assert last >= side - 1
    picture = tmp_path / "network.svg"
    drawing.draw(trace, picture)
    assert ElementTree.parse(picture).getroot().tag == "{http://www.w3.org/2000/svg}svg"


def test_the_whole_catalog_is_compared():
    found = jobs.compare(["*"])
    assert {row.label for row in found.rows} == set(list_models())
    assert all(row.macs for row in found.rows)


@pytest.mark.parametrize("name", sorted(name for name in QUICK if describe(name).macs < 3e8))
def test_small_networks_of_the_families_are_measured(name):
    (row,) = jobs.benchmark([name], seconds=0.05).rows
    assert row.images_per_second > 0
    assert row.macs == describe(name).macs


@pytest.mark.slow
@pytest.mark.parametrize("name", list_models())
def test_every_network_is_measured(name):
    (row,) = jobs.benchmark([name], seconds=0.05).rows
    assert row.images_per_second > 0
