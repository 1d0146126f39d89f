"""Write a page of the docs for each family of networks, from the catalog and the family's own docstrings.

    python tools/family_pages.py                  # docs/models/*.md and its index
    python tools/family_pages.py vgg densenet     # the pages of some families, and the index
    python tools/family_pages.py --draw           # first draw the network that stands for each family
    python tools/family_pages.py --check          # write nothing; fail where a page is not what would be written

Nothing is said on a page that is not in the catalog (`src/neocog/catalog/<family>.toml`) or in the docstrings of the
module that it names. Mend them there.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
import tomllib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from _markdown import Notes, cell, one_line, table

import neocog.catalog
from neocog.catalog import Entry, Published, describe, list_models

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "docs" / "models"
PICTURES = ROOT / "docs" / "pictures"
CATALOG = Path(neocog.catalog.__file__).parent
PICTURED = {
    "alexnet": "alexnet_2012", "densenet": "densenet121", "fitnets": "fitnet4", "googlenet": "googlenet",
    "highway": "highway_a", "inception_resnet": "inception_resnet_v2", "lenet": "lenet5", "nin": "nin_imagenet",
    "mobilenetv2": "mobilenetv2_100", "perceptron": "mlp_mnist", "preact_resnet": "resnetv2_50", "resnet": "resnet50",
    "resnet_d": "resnet50d",
    "resnext": "resnext50_32x4d", "senet": "seresnet50", "vgg": "vgg16", "wide_resnet": "wide_resnet28_10",
}  # fmt: skip
"""The network that stands for a family on its page; of any other family, the first in the catalog's file."""
NOTICE = "<!-- Written by tools/family_pages.py from the catalog and the module's docstrings: mend it there. -->"


@dataclass(frozen=True)
class Source:
    """What the text of a family's module says.

    Attributes:
        title: what the docstring begins with, before its first bracket or comma.
        about: the docstring.
        edits: (name, default, meaning) of each field of the config, in its order.
    """

    title: str
    about: str
    edits: tuple[tuple[str, str, str], ...]

    @classmethod
    def of(cls, module: str) -> Source:
        """Read a module without importing it."""
        spec = find_spec(module)
        assert spec is not None
        assert spec.origin is not None
        tree = ast.parse(Path(spec.origin).read_text("utf-8"))
        about = ast.get_docstring(tree) or ""
        title = re.split(r"[(,:;.]| by ", about, maxsplit=1)[0].strip()
        configs = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name.endswith("Config")]
        return cls(title, about, tuple(edit for config in configs for edit in _edits(config)))


def _edits(config: ast.ClassDef) -> list[tuple[str, str, str]]:
    """Return the fields of a config that its docstring explains."""
    text = (ast.get_docstring(config) or "").partition("Attributes:\n")[2]
    meanings = dict(re.findall(r"^ {4}(\w+): ((?:.*\n?)(?:^ {8}.*\n?)*)", text, re.MULTILINE))
    found = []
    for node in config.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id in meanings:
            default = "" if node.value is None else ast.unparse(node.value).replace("'", '"')
            found.append((node.target.id, default, one_line(meanings[node.target.id])))
    return found


def printed(value: float) -> str:
    """Return a figure with its unit, and no digit more than was printed."""
    if value != int(value) or value < 1e4:
        return f"{value:g}"
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size and len(short := f"{value / size:.10f}".rstrip("0").rstrip(".")) <= 6:
            return f"{short} {unit}"
    return f"{value:,.0f}"


def published(entry: Entry, quantities: dict[str, str], notes: Notes) -> str:
    """Return what others printed of an entry's quantities, each with the mark of its source."""
    found = []
    for figure in entry.published:
        if figure.quantity in quantities:
            said = quantities[figure.quantity].format(printed(figure.value))
            found.append(f"{said}{notes.mark(source_of(figure))}")
    return ", ".join(found)


def source_of(figure: Published) -> str:
    """Return where a figure stands, how it was measured, and why the counted one differs."""
    words = [figure.source]
    if figure.size is not None:
        words.append(f"at {figure.size} pixels")
    if figure.passes:
        words.append(figure.passes)
    return ", ".join(words) + (f": {figure.note}" if figure.note else "")


ACCURACY = {"top1": "top-1 {} %", "top5": "top-5 {} %", "error": "error {} %"}


def page(family: str) -> str:
    """Return a family's page."""
    entries = entries_of(family)
    source, notes = Source.of(entries[0].module), Notes()
    path = Path(*entries[0].module.split(".")).with_suffix(".py")
    parts = [f"# {source.title}", NOTICE, papers(entries), source.about]
    if (picture := picture_of(entries)) is not None:
        name, place = picture
        parts.append(f"![{name}, drawn from the network]({place})\n\n`neocog draw {name}` makes this picture.")
    rows = [
        (
            f"`{entry.name}`", cell(entry.description), "x".join(map(str, entry.input)),
            f"{entry.parameters:,}", published(entry, {"parameters": "{}"}, notes),
            f"{entry.macs:,}", published(entry, {"macs": "{}"}, notes),
            published(entry, ACCURACY, notes),
        )
        for entry in entries
    ]  # fmt: skip
    heading = ("name", "network", "input", "parameters:", "published", "multiply-adds:", "published", "accuracy")
    parts.append(f"## Variants\n\n{table(heading, rows)}")
    parts.append(
        "Parameters and multiply-adds are counted from the network as built here, for one image of that input; "
        "[cost](../cost.md) has the rules. Beside them stands what was published. Accuracy is per cent, of ImageNet's "
        "validation images unless a note says otherwise; an error is of the paper's own test set."
    )
    parts.append("\n".join(f"{number}. {cell(text)}" for number, text in enumerate(notes.texts, 1)))
    parts.append(building(entries, source, path))
    if any(entry.weights for entry in entries):
        parts.append(weights(entries))
    return "\n\n".join(part for part in parts if part) + "\n"


def papers(entries: list[Entry]) -> str:
    """Return the papers of a family, the oldest first."""
    found = sorted({(entry.year, entry.paper, entry.url) for entry in entries})
    return "  \n".join(f"*{paper}*, {year}: <{url}>" for year, paper, url in found)


def picture_of(entries: list[Entry]) -> tuple[str, str] | None:
    """Return the name of the network that was drawn, and where its picture is seen from a page."""
    for entry in sorted(entries, key=lambda entry: entry.name != PICTURED.get(entry.family, entries[0].name)):
        for place in (f"models/{entry.name}.svg", f"{entry.name}.svg"):
            if (PICTURES / place).exists():
                return entry.name, f"../pictures/{place}"
    return None


def building(entries: list[Entry], source: Source, path: Path) -> str:
    """Return how to build a network, and what can be changed in it."""
    stands = [entry for entry in entries if entry.name == PICTURED.get(entry.family)]
    first = next((entry for entry in (*stands, *entries) if entry.weights), (*stands, *entries)[0])
    given = f'"{first.name}", num_classes=5' + (', weights="default"' if first.weights else "")
    said = (
        f"## Building one\n\n```python\nimport neocog\n\nnetwork = neocog.create_model({given})\n```\n\n"
        f"```console\n$ neocog describe {first.name} --level stage\n"
        f"$ neocog train {source_for(first)} --model {first.name}\n```\n\n"
        f"The network is written in [`{path}`](../../src/{path}), to be read beside the paper."
    )
    if not source.edits:
        return said
    edits = "\n".join(
        f"- `{name}`{f' (`{default}`)' if default else ''}: {meaning}" for name, default, meaning in source.edits
    )
    return f"{said} `create_model` changes any of its fields by name:\n\n{edits}"


def source_for(entry: Entry) -> str:
    """Return data of the kind that a network is for."""
    channels, side, _ = entry.input
    return "mnist" if channels == 1 else "cifar10" if side <= 32 else "./photos"


def weights(entries: list[Entry]) -> str:
    """Return the table of trained weights."""
    rows = [
        (
            f"`{entry.name}`", f"`{each.tag}`{' (default)' if each.default else ''}",
            f"{each.top1:g}" if each.top1 is not None else "",
            f"{each.size}" + (f", tested at {each.test_size}" if each.test_size else ""),
            each.licence, each.source,
        )
        for entry in entries
        for each in entry.weights
    ]  # fmt: skip
    note = "Top-1 is what their publisher states, per cent, of ImageNet's validation images, where it is at hand."
    return f"## Weights\n\n{table(('network', 'tag', 'top-1:', 'pixels', 'licence', 'from'), rows)}\n\n{note}"


def index() -> str:
    """Return the page that lists all families by year."""
    rows = []
    for family in sorted(families(), key=lambda name: (min(entry.year for entry in entries_of(name)), name)):
        entries = entries_of(family)
        years = sorted({entry.year for entry in entries})
        counts = sorted(entry.parameters for entry in entries)
        sizes = dict.fromkeys(rounded(count) for count in (counts[0], counts[-1]))
        trained = sum(len(entry.weights) for entry in entries)
        rows.append(
            (
                str(years[0]) + (f" to {years[-1]}" if len(years) > 1 else ""),
                f"[{Source.of(entries[0].module).title}]({family}.md)",
                cell(min(entries, key=lambda entry: entry.year).paper),
                str(len(entries)), " to ".join(sizes), str(trained or ""),
            )
        )  # fmt: skip
    heading = ("year", "family", "paper", "variants:", "parameters", "weights:")
    intro = (
        f"{len(list_models())} networks of {len(rows)} families, each in one file to be read beside its paper. "
        "`neocog models` lists them all, and `neocog models --families` what is below. Figures are counted from the "
        "networks as they are built here; the page of a family has what was published beside them."
    )
    return f"# The networks\n\n{NOTICE}\n\n{intro}\n\n{table(heading, rows)}\n"


def rounded(count: int) -> str:
    """Return a number of parameters with three digits."""
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:.{max(0, 3 - len(str(int(count / size))))}f} {unit}"
    return str(count)


def families() -> list[str]:
    """Return the names of all families."""
    return sorted({describe(name).family for name in list_models()})


def entries_of(family: str) -> list[Entry]:
    """Return a family's variants in the order of its file."""
    text = (CATALOG / f"{family}.toml").read_text("utf-8")
    return [describe(name) for name in tomllib.loads(text)["models"]]


def written() -> dict[Path, str]:
    """Return every page that there should be, with its text."""
    return {PAGES / "index.md": index()} | {PAGES / f"{family}.md": page(family) for family in families()}


def faults() -> list[str]:
    """Return the pages that are not what would be written, are missing, or belong to no family."""
    pages = written()
    wrong = [path.name for path, text in pages.items() if not path.exists() or path.read_text("utf-8") != text]
    return sorted([*wrong, *(path.name for path in PAGES.glob("*.md") if path not in pages)])


def draw(names: list[str]) -> None:
    """Draw the network that stands for each family, unless there is a picture of it already."""
    from neocog import jobs

    (PICTURES / "models").mkdir(parents=True, exist_ok=True)
    for family in names:
        name = PICTURED.get(family, entries_of(family)[0].name)
        if not (PICTURES / f"{name}.svg").exists():
            figure = jobs.draw(name, out=PICTURES / "models" / f"{name}.svg").figure
            print(f"{figure.relative_to(ROOT)} {figure.stat().st_size / 1e3:.0f} kB")


def main() -> None:
    """Run the command that the module's docstring describes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("families", nargs="*", choices=[[], *families()], metavar="FAMILY", help="default: all")
    parser.add_argument("--draw", action="store_true", help="draw a network of each first")
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a page would change")
    options = parser.parse_args()
    if options.check:
        if wrong := faults():
            sys.exit(f"docs/models is not what would be written; run python tools/family_pages.py: {', '.join(wrong)}")
        return
    names = options.families or families()
    if options.draw:
        draw(names)
    PAGES.mkdir(parents=True, exist_ok=True)
    for path, text in written().items():
        if path.stem in (*names, "index"):
            path.write_text(text, "utf-8")
    print(f"{len(names)} pages and the index in {PAGES.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
