"""Write the page of the docs about recipes, from their docstrings and from what they build.

    python tools/recipe_page.py           # docs/recipes.md
    python tools/recipe_page.py --check   # write nothing; fail where the page is not what would be written

Nothing is said there that is not in the recipes' files (`src/neocog/recipes`). Mend it there. What the page takes from
a docstring are its first line and the paragraphs that begin with "Paper:", "Published:" and "Measured:".
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from _markdown import cell, table

from neocog.recipes import Facts, build_stages, differences, explain_recipe, list_recipes, stages_in_words
from neocog.recipes._fields import plain

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "recipes.md"
NOTICE = "<!-- Written by tools/recipe_page.py from the recipes' files: mend it there. -->"
LADDER = "resnet_rs_"
FACTS = Facts(weights_at_hand=lambda model: True)
LABELS = ("Paper", "Published", "Measured")


def labelled(name: str, label: str) -> str:
    """Return the paragraph of a recipe's docstring that begins with a label, without it; "" where there is none."""
    for paragraph in explain_recipe(name).split("\n\n"):
        if paragraph.startswith(f"{label}: "):
            return " ".join(paragraph.split()).removeprefix(f"{label}: ")
    return ""


def linked(text: str) -> str:
    """Return `text` with its papers on arXiv as links."""
    return re.sub(r"arXiv:(\d{4}\.\d{4,5})", r"[arXiv:\1](https://arxiv.org/abs/\1)", text)


def overview() -> str:
    """Return the table of all recipes but the ladder's steps."""
    rows = []
    for name in list_recipes():
        if not name.startswith(LADDER):
            stages = build_stages(name, FACTS)
            networks = ", ".join(f"`{stage.model}`" for stage in stages)
            epochs = " + ".join(str(stage.epochs) for stage in stages)
            paper = re.match(r".*?\b\d{4}", labelled(name, "Paper").removeprefix("none; "))
            results = labelled(name, "Published"), labelled(name, "Measured")
            rows.append((link(name), paper[0] if paper else "", networks, epochs, *map(cell, results)))
    return table(("recipe", "paper", "network", "epochs:", "published", "measured here"), rows)


def ladder() -> str:
    """Return the table of ResNet-RS' additive study."""
    names = [name for name in list_recipes() if name.startswith(LADDER)]
    rows = []
    for before, name in zip([None, *names], names, strict=False):
        if before is None:
            change = "where it begins"
        else:
            found = differences(build_stages(before, FACTS), build_stages(name, FACTS))
            change = ", ".join(f"`{field}` {plain(old)} → {plain(new)}" for _, field, (old, new) in found)
        printed = re.match(r"([\d.]+) % top-1.*?(?:, ([+-][\d.]+))? \(table 1\)", labelled(name, "Published"))
        assert printed is not None, name
        here = re.match(
            r"([\d.]+ ± [\d.]+) % top-1 of CIFAR-10(?:, ([+-][\d.]+ ± [\d.]+))?", labelled(name, "Measured")
        )
        assert here is not None, name
        rows.append((link(name), cell(change), printed[1], printed[2] or "", here[1], here[2] or ""))
    return table(("step", "what changes", "published:", "gain:", "measured here:", "gain here:"), rows)


def link(name: str) -> str:
    """Return a link to a recipe's section."""
    return f"[`{name}`](#{name})"


def section(name: str, *, words: bool = True) -> str:
    """Return what the page says of a recipe: its docstring, and what it does in words."""
    parts = [f"### {name}"]
    for paragraph in explain_recipe(name).split("\n\n"):
        if paragraph.startswith("    "):
            commands = "\n".join(f"$ {line.strip()}" for line in paragraph.splitlines())
            parts.append(f"```console\n{commands}\n```")
        else:
            parts.append(paragraph)
    stages = build_stages(name, FACTS)
    for number, lines in enumerate(stages_in_words(stages) if words else (), 1):
        if len(stages) > 1:
            parts.append(f"Stage {number}:")
        parts.append("\n".join(f"- *{about}*: {words}" for about, words in lines if about != "machine"))
    return "\n\n".join(parts)


def page() -> str:
    """Return the page."""
    steps = [name for name in list_recipes() if name.startswith(LADDER)]
    others = [name for name in list_recipes() if name not in steps]
    parts = [
        f"# Recipes\n\n{NOTICE}",
        "A recipe is all that decides how a network is trained, as one value: `neocog train SOURCE --recipe NAME` "
        "takes it, `--set` changes any of its fields, `neocog recipes show NAME` prints it in words, as a chart and "
        "field by field, and `neocog recipes diff NAME OTHER` says where two differ. Each is one file in "
        "`src/neocog/recipes`, whose docstring stands here. Recipes that suit themselves to the data are shown as they "
        "are for 1,000 colour photographs on a CPU, with published weights at hand.",
        overview(),
        "## The ladder of ResNet-RS",
        "Bello et al. (2021, arXiv:2103.07579, table 1) changed one thing after another in the training of ResNet-200 "
        "on ImageNet. Each step here is a recipe that overrides fields of the one before.",
        ladder(),
        "Published is top-1 on ImageNet. Measured here is top-1 on CIFAR-10's 10,000 test images, mean and deviation "
        "over three seeds, by `python benchmarks/resnet_rs_ladder.py ../shared/data/cifar10 --seeds 0 1 2`, which "
        "says how each step is carried over: three blocks, 5,000 training images, the 35th part of the epochs, a "
        "minute and a half of one core a run; gains are over the step before, seed by seed. So short a training is "
        "far from fitting its images, and what the ladder adds against overfitting costs it accuracy: RandAugment at "
        "full strength nearly seven points. Only more epochs, the cosine and ResNet-D's stem gain more than their "
        "spread.",
        "## Each recipe",
        *(section(name) for name in others),
        *(section(name, words=name == steps[0]) for name in steps),
    ]
    return linked("\n\n".join(parts)) + "\n"


def fault() -> str:
    """Return why the page is not what would be written; "" where it is."""
    if not PAGE.exists():
        return "docs/recipes.md is missing"
    return "" if PAGE.read_text("utf-8") == page() else "docs/recipes.md is not what would be written"


def main() -> None:
    """Run the command that the module's docstring describes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail where the page would change")
    if parser.parse_args().check:
        if found := fault():
            sys.exit(f"{found}; run python tools/recipe_page.py")
        return
    PAGE.write_text(page(), "utf-8")
    print(f"{len(list_recipes())} recipes in {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
