"""Count what the catalog says about each network of a family, and write it into the family's TOML file.

    python tools/catalog_figures.py mobilenetv2            # print parameters and multiply-adds
    python tools/catalog_figures.py mobilenetv2 --write    # and put them into the file's [models.*] tables
    python tools/catalog_figures.py mobilenetv2 --weights  # print the weights that timm and torchvision name

The figures are those of `neocog describe`: networks are built without numbers, so that the largest takes no memory, and
a multiply-add is one of a convolution, a matrix product or attention, without biases.
"""

from __future__ import annotations

import argparse
import re
import tomllib
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import neocog.catalog
from neocog.analysis.blank import without_numbers
from neocog.analysis.cost import count_cost
from neocog.analysis.trace import trace_forward
from neocog.catalog import Weights

CATALOG = Path(neocog.catalog.__file__).parent
TORCHVISION_TAGS = {"IMAGENET1K_V1": "tv_in1k", "IMAGENET1K_V2": "tv2_in1k"}
"""What timm calls those of torchvision's weights that it has too."""


def count(module: ModuleType, name: str, image: tuple[int, int, int]) -> tuple[int, int]:
    """Return the parameters and the multiply-adds of one network at an image of (C, H, W)."""
    with without_numbers():
        network = module.NETWORK(module.CONFIGS[name])
    cost = count_cost(trace_forward(network, image))
    if cost.uncounted:
        raise SystemExit(f"{name} runs operations that have no rule in neocog.analysis: {', '.join(cost.uncounted)}")
    return cost.parameters, cost.macs


def write(path: Path, name: str, parameters: int, macs: int) -> None:
    """Put the two figures into the table of `name`, whether or not it has them."""
    text = path.read_text(encoding="utf-8")
    header = f"[models.{name}]\n"
    before, _, rest = text.partition(header)
    table, bracket, after = re.match(r"(.*?)(^\[|\Z)(.*)", rest, re.DOTALL | re.MULTILINE).groups()
    for key, value in (("macs", macs), ("parameters", parameters)):
        line = f"{key} = {value}\n"
        table, replaced = re.subn(rf"^{key} = .*\n", line, table, flags=re.MULTILINE)
        table = table if replaced else line + table
    path.write_text(before + header + table + bracket + after, encoding="utf-8")


def timm_weights(name: str) -> list[str]:
    """Return a TOML line for each set of weights that timm has of `name`, its default first."""
    import timm

    tags = [full.partition(".")[2] for full in timm.list_models(f"{name}.*", pretrained=True)]
    try:
        default = timm.get_pretrained_cfg(name).tag
    except (RuntimeError, AttributeError):
        return []
    lines = []
    for tag in sorted(tags, key=lambda tag: (tag != default, tag)):
        known = timm.get_pretrained_cfg(f"{name}.{tag}")
        given = {
            "tag": tag,
            "hub": known.hf_hub_id,
            "num_classes": known.num_classes,
            "size": known.input_size[-1],
            "crop_pct": known.crop_pct,
            "test_size": known.test_input_size[-1] if known.test_input_size else None,
            "test_crop_pct": known.test_crop_pct,
            "interpolation": known.interpolation,
            "mean": tuple(known.mean),
            "std": tuple(known.std),
            "licence": known.license or "unknown",
        }
        lines.append(weights_line(given))
    return lines


def torchvision_weights(name: str) -> list[str]:
    """Return a TOML line for each set of weights that torchvision has of `name`, its default first.

    Where timm's `tv_in1k` is the same set on the hub, that one belongs into the catalog. Left out are weights without
    classes, which are no classifier's.
    """
    from torchvision.models import get_model_weights

    try:
        known = get_model_weights(name)
    except ValueError:
        return []
    lines = []
    for entry in sorted(known, key=lambda entry: entry is not known.DEFAULT):
        preset = entry.transforms()
        classes = entry.meta["categories"]
        if not classes:
            lines.append(f"  # {entry.name} classifies nothing: {entry.url}")
            continue
        given = {
            "tag": TORCHVISION_TAGS.get(entry.name, f"tv_{entry.name.lower()}"),
            "url": entry.url,
            "num_classes": len(classes),
            "size": preset.crop_size[0],
            "crop_pct": round(preset.crop_size[0] / preset.resize_size[0], 3),
            "interpolation": preset.interpolation.value,
            "mean": tuple(preset.mean),
            "std": tuple(preset.std),
            "licence": "bsd-3-clause",
            "source": "torchvision",
            "top1": entry.meta["_metrics"]["ImageNet-1K"]["acc@1"],
        }
        lines.append(weights_line(given))
    return lines


def weights_line(given: dict[str, Any]) -> str:
    """Return one line of a catalog's list of weights, without what `Weights` takes for granted."""
    usual = {field.name: field.default for field in fields(Weights)}
    given = {key: value for key, value in given.items() if value is not None and value != usual.get(key)}
    return "  { " + ", ".join(f"{key} = {toml(value)}" for key, value in given.items()) + " },"


def toml(value: object) -> str:
    """Return a value as TOML has it."""
    if isinstance(value, str):
        return f'"{value}"'
    return str(list(value)) if isinstance(value, tuple) else str(value)


def main() -> None:
    """Run the command that the module's docstring describes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("family", help="name of a TOML file in the catalog")
    parser.add_argument("--write", action="store_true", help="put the counted figures into the file")
    parser.add_argument("--weights", action="store_true", help="print what timm and torchvision name")
    arguments = parser.parse_args()

    path = CATALOG / f"{arguments.family}.toml"
    family = tomllib.loads(path.read_text(encoding="utf-8"))
    module = import_module(family["module"])
    for name, table in family["models"].items():
        image = tuple(table.get("input", family["input"]))
        parameters, macs = count(module, name, image)
        print(f"{name:32} {parameters:12,} parameters {macs:16,} multiply-adds at {image}")
        if arguments.write:
            write(path, name, parameters, macs)
        if arguments.weights:
            print("\n".join(["weights = [", *timm_weights(name), *torchvision_weights(name), "]"]))
    for name in sorted(set(module.CONFIGS) - set(family["models"])):
        print(f"{name} is built by {family['module']} and missing from {path.name}")


if __name__ == "__main__":
    main()
