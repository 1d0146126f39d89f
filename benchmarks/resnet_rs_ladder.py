"""The ladder of ResNet-RS on CIFAR-10, with a network and runs that two cores can bear.

    python benchmarks/resnet_rs_ladder.py ../shared/data/cifar10 --seeds 0 1 2    # goes on where it was broken off
    python benchmarks/resnet_rs_ladder.py --table

Each step is the recipe `resnet_rs_NN_...` as it stands, carried over by one rule: `resnetrs_cifar` with a block a stage
in place of the 200 layers, the first --images of the training images at 32 pixels, shifted by up to 4 and mirrored,
batches of 128 with the rate in proportion (0.05), and the --shrink-th part of the epochs (90 become 3, 350 become 10;
warm-up and milestones likewise; the average forgets over the same share of the run). Measured on all 10,000 test
images, once, at the end. A run takes a minute or two of one core; rows are appended to --out as they are known.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from statistics import mean, stdev

import torch
from pairs import machine

from neocog import create_model
from neocog.data.loading import evaluation_batches, measure_mean_std, training_batches
from neocog.data.preprocess import Preprocessing
from neocog.data.sources import load_split
from neocog.data.table import Split
from neocog.recipes import Facts, build_recipe, list_recipes
from neocog.train.fit import fit
from neocog.train.recipe import Recipe
from neocog.train.state import State
from neocog.train.supervised import SupervisedTask

OUT = Path(__file__).parent / "resnet_rs_ladder.jsonl"
BATCH, IMAGENET = 128, 1_281_167
STEPS = [name for name in list_recipes() if name.startswith("resnet_rs_")]


def carried_over(name: str, images: int, shrink: int, seed: int) -> Recipe:
    """Return the recipe with what depends on ImageNet's size replaced."""
    recipe = build_recipe(name, Facts(images=IMAGENET))
    schedule, average = recipe.schedule, recipe.average
    epochs = max(1, round(recipe.epochs / shrink))
    changes: dict[str, object] = {
        "model": "resnetrs_cifar",
        "edits": {**recipe.edits, "depths": (1, 1, 1)},
        "image_size": 32,
        "epochs": epochs,
        "batch_size": BATCH,
        "seed": seed,
        "augment.crop": "pad",
        "optimizer.lr": recipe.optimizer.lr * BATCH / recipe.batch_size,
        "schedule.warmup_epochs": schedule.warmup_epochs * epochs / recipe.epochs,
    }
    if schedule.milestones:
        changes["schedule.milestones"] = tuple(each * epochs / recipe.epochs for each in schedule.milestones)
    if average.active:
        theirs = recipe.epochs * (IMAGENET // recipe.batch_size)
        changes["average.decay"] = 1 - (1 - average.decay) * theirs / (epochs * (images // BATCH))
    return recipe.override(changes)


def train_and_measure(recipe: Recipe, train: Split, test: Split, look: Preprocessing) -> tuple[float, float]:
    """Return the per cent of test images that a run of `recipe` ends with, and its seconds of processor time."""
    began = time.process_time()
    torch.manual_seed(recipe.seed)
    network = create_model(recipe.model, num_classes=10, **recipe.edits).to(memory_format=torch.channels_last)
    task = SupervisedTask(network, recipe.loss)
    batches = training_batches(
        train, look, recipe.augment, batch_size=BATCH, seed=recipe.seed, channels_last=True, mixing=recipe.mix
    )
    state = State.start(task, recipe, batches.steps_per_epoch)
    for _ in fit(task, batches, recipe, state):
        pass
    seconds = time.process_time() - began
    task.eval()
    with state.average.in_place(), torch.inference_mode():
        measured = evaluation_batches(test, look, batch_size=500, channels_last=True)
        right = sum(int((network(batch.images).argmax(1) == batch.targets).sum()) for batch in measured)
    return 100 * right / len(test), seconds


def print_table(out: Path) -> None:
    """Print the mean and spread of each step, and what it gained."""
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    before: dict[int, float] | None = None
    print("| step | top-1 on CIFAR-10, mean ± deviation | gain, mean ± deviation over seeds | seconds a run |")
    print("|---|---:|---:|---:|")
    for name in STEPS:
        found = {row["seed"]: row["top1"] for row in rows if row["recipe"] == name}
        if not found:
            continue
        seconds = mean(row["seconds"] for row in rows if row["recipe"] == name)
        gains = [found[seed] - before[seed] for seed in found if before and seed in before]
        gain = f"{mean(gains):+.2f} ± {stdev(gains):.2f}" if len(gains) > 1 else ""
        spread = f" ± {stdev(found.values()):.2f}" if len(found) > 1 else ""
        print(f"| `{name}` | {mean(found.values()):.2f}{spread} | {gain} | {seconds:.0f} |")
        before = found


def main() -> None:
    """Run what is not known yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--shrink", type=int, default=35)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    if options.table:
        return print_table(options.out)
    torch.set_num_threads(1)
    print(machine(), flush=True)
    train = load_split("cifar10", data_dir=options.folder, split="train").select(range(options.images))
    test = load_split("cifar10", data_dir=options.folder, split="test")
    plain = Preprocessing(size=(32, 32), fit="squash", mean=(0.0,) * 3, std=(1.0,) * 3)
    mean_, std = measure_mean_std(train, plain)
    look = plain.model_copy(update={"mean": mean_, "std": std})
    for seed in options.seeds:
        for name in STEPS:
            known = options.out.read_text().splitlines() if options.out.exists() else []
            if any(json.loads(line)["recipe"] == name and json.loads(line)["seed"] == seed for line in known):
                continue
            recipe = carried_over(name, options.images, options.shrink, seed)
            top1, seconds = train_and_measure(recipe, train, test, look)
            row = {"recipe": name, "seed": seed, "top1": top1, "seconds": seconds, "epochs": recipe.epochs}
            with options.out.open("a") as file:
                file.write(json.dumps({**row, "images": options.images}) + "\n")
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
