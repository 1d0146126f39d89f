"""The phrases of `_words`: for each part of a recipe what it does, asking only for fields that have an effect there."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from neocog.recipes._fields import Fields, listed, percent, plain
from neocog.recipes._image_phrases import images, mixing

OPTIMIZERS = {"sgd": "SGD", "adamw": "AdamW", "lamb": "LAMB", "adadelta": "Adadelta", "muon": "Muon"}
LOSSES = {
    "cross_entropy": "cross entropy",
    "binary_cross_entropy": "binary cross entropy, a decision a class",
    "squared_hinge": "the squared hinge loss, a decision a class",
    "margin": "the margin loss of capsules",
}
VIEWS = {
    "centre": "on one crop of each image",
    "flip": "on each image and its mirror image, averaged",
    "flip_shift": "on each image, moved by a pixel and not, and the mirror images, averaged",
    "ten_crop": "on ten crops of each image, averaged: corners and centre, and their mirror images",
    "multi_scale": "on three sizes of each image and their mirror images, averaged",
}


def run(r: Fields) -> str:
    """Return how long it trains, and on how many images at once."""
    said = [f"{r['name']}: {plain(r['epochs'])} epochs of batches of {r['batch_size']}"]
    if (parts := r["accumulate"]) > 1:
        said.append(f"in {parts} micro-batches a process")
    if (repeats := r["repeats"]) > 1:
        said.append(f"with each of its images {repeats} times, varied anew; an epoch shows 1/{repeats} of the images")
    if share := r["focus.share"]:
        said.append(
            f"from epoch {r['focus.start']} on without the {percent(share)} of images whose loss was least when last "
            "seen, the others filling their places"
        )
    return ", ".join(said)


def network(r: Fields) -> str:
    """Return the network, where its weights come from, and which of them move when."""
    edits = listed([f"{name} {plain(value)}" for name, value in r.edits.items()])
    weights = r["weights"]
    said = [r["model"] + (f" with {edits}" if edits else "")]
    if weights is None:
        said += [] if r.begun else ["from scratch"]
    else:
        said.append("from its published weights" if weights == "default" else f"from the weights {weights}")
    if images := r["organise"]:
        said.append(f"which first organises itself on {images} images without labels; its head is trained")
    if images := r["whiten"]:
        said.append(f"its first filters made to whiten the patches of {images} images, and not trained")
    if r["identity"]:
        said.append("its other convolutions beginning as the identity on their first channels")
    if r["train"] == "head":
        said.append("of which only the head moves")
    elif unfreeze := r["unfreeze"]:
        said.append(f"of which the head moves at first, and one stage more every {plain(unfreeze)} epochs, downwards")
    if r["freeze_norms"]:
        said.append("its batch norms at the statistics that the weights came with")
    return ", ".join(said)


def changes(r: Fields) -> str:
    """Return which fields change over the epochs."""
    said = []
    for name, pairs in r.vary.items():
        if name == "image_size" and pairs[0][0] == 0:
            sides = [f"at {plain(side)}" + (f" from epoch {plain(epoch)}" if epoch else "") for epoch, side in pairs]
            said.append(f"trained {listed(sides).replace(sides[0], f'{sides[0]} pixels', 1)}")
            continue
        steps = [f"{plain(value)} from epoch {plain(epoch)}" for epoch, value in pairs]
        said.append(f"{name} is {listed(steps)}")
    return "; ".join(said)


def loss(r: Fields) -> str:
    """Return what is minimised."""
    name = r["loss.name"]
    said = [LOSSES[name]]
    if r.ever("loss.label_smoothing"):
        said.append(f"{percent(r['loss.label_smoothing'])} of each target spread over all classes")
    if (threshold := r["loss.threshold"]) is not None:
        said.append(f"a class counting as present above a share of {plain(threshold)}")
    if r["loss.balance"]:
        said.append("classes weighed by the inverse of their frequency")
    if (rubbish := r["loss.rubbish"]) is not None:
        said.append(f"with a class for rubbish whose penalty is {plain(rubbish)}")
    if weight := r["loss.auxiliary_weight"]:
        heads = f"plus {plain(weight)} times that of each auxiliary head"
        if threshold := r["loss.auxiliary_threshold"]:
            heads += f" while it is above {plain(threshold)}"
        if r["loss.auxiliary_decay"]:
            heads += ", a weight that falls to 0 by the end"
        said.append(heads)
    return "; ".join(said)


def optimizer(r: Fields) -> str:
    """Return how parameters move."""
    name = r["optimizer.name"]
    said = [OPTIMIZERS[name]]
    if name in ("sgd", "muon"):
        nesterov = "Nesterov's momentum" if r["optimizer.nesterov"] else "momentum"
        said.append(f"{nesterov} {plain(r['optimizer.momentum'])}")
    if name in ("adamw", "lamb"):
        said.append(f"betas {listed([plain(beta) for beta in r['optimizer.betas']])}")
    if name == "adadelta":
        said.append(f"keeping {plain(r['optimizer.rho'])} of the old averages")
    if name not in ("sgd", "muon") and (eps := r["optimizer.eps"]) is not None:
        said.append(f"eps {plain(eps)}")
    if name == "muon":
        said.append(f"updates made orthogonal in {r['optimizer.newton_schulz']} steps of Newton and Schulz")
        if r["optimizer.unit_filters"]:
            said.append("filters brought to the norm sqrt(outputs) before each, and not decayed")
        rest = f"what it does not orthogonalise by SGD at {plain(r['optimizer.rest_lr_scale'])} times the rate"
        own = r["optimizer.rest_momentum"]
        said.append(rest if own is None else f"{rest}, with momentum {plain(own)}")
    if decay := r["optimizer.weight_decay"]:
        spared = "on all parameters" if r["optimizer.decay_all"] else "which spares biases and norms"
        apart = " apart from the gradient" if name == "sgd" and r["optimizer.decoupled"] else ""
        even = ", by one share at all rates" if name in ("sgd", "adamw", "muon") and r["optimizer.even_decay"] else ""
        said.append(f"weight decay {plain(decay)}{apart}, {spared}{even}")
    else:
        said.append("no weight decay")
    if (norm := r["clip_norm"]) is not None:
        said.append(f"gradients clipped to a norm of {plain(norm)}")
    if (share := r["clip_adaptive"]) is not None:
        said.append(f"each unit's gradient clipped to {plain(share)} of its weights' norm")
    return "; ".join(said)


def rate(r: Fields) -> str:
    """Return how the learning rate goes."""
    name, peak, warmup = r["schedule.name"], plain(r["optimizer.lr"]), r["schedule.warmup_epochs"]
    said = peak
    if warmup:
        start = r["schedule.warmup_start"]
        low = "0" if start == 0 else f"{plain(start)} of it"
        said += f", to which it rises from {low} in {plain(warmup)} epochs"
    if name == "constant":
        said += ", then constant" if warmup else ", constant"
    elif name == "step":
        said += f", {steps(r)}"
    else:
        shape = {"cosine": "along a cosine", "linear": "in a line", "exponential": "geometrically"}[name]
        last = r["schedule.final"]
        said += f"; then {shape} to " + ("0" if last == 0 else f"{plain(last)} of it")
    if (head := r["optimizer.head_lr_scale"]) != 1:
        of_what = "that of what SGD moves" if r["optimizer.name"] == "muon" else "that"
        said += f"; the head's is {plain(head)} times {of_what}"
    if (factor := r["optimizer.layer_decay"]) != 1:
        said += f"; each stage's is {plain(factor)} of the one's above it"
    if (stem := r["stem_epochs"]) is not None:
        said += f"; the stem's goes in a line to 0 within {plain(stem)} epochs, and stays there"
    return said


def steps(r: Fields) -> str:
    """Return at which epochs the rate is multiplied; regular ones in short."""
    epochs, factor = r["schedule.milestones"], plain(r["schedule.gamma"])
    if not epochs:
        r.asked.discard("schedule.gamma")
        return "constant, since no step is set"
    gaps = {round(after - before, 9) for before, after in pairwise(epochs)}
    if len(epochs) > 4 and gaps == {round(epochs[0], 9)}:
        return f"multiplied by {factor} every {plain(epochs[0])} epochs up to {plain(epochs[-1])}"
    return f"multiplied by {factor} after {listed([plain(epoch) for epoch in epochs])} epochs"


def average(r: Fields) -> str:
    """Return which weights are measured and kept."""
    if r["average.name"] == "uniform":
        return f"the mean of those after every step from {percent(r['average.start'])} of the run on"
    if not (decay := r["average.decay"]):
        return ""
    if r["average.name"] == "lookahead":
        power = r["average.power"]
        grows = f", a share that grows from 0 as that of the run that is done to the power of {plain(power)}"
        return (
            f"slow ones, which every {r['average.interval']} steps keep {plain(decay)} of themselves and take the rest "
            f"from the weights, which go on from there (Lookahead){grows if power else ''}"
        )
    said = f"a moving average of those after every step, with decay {plain(decay)}"
    said += " that grows to this from 0.1" if r["average.warmup"] else ""
    start = r["average.start"]
    return said + (f", from {percent(start)} of the run on" if start else "")


def measure(r: Fields) -> str:
    """Return by which images the weights are chosen, when the run stops early, and how it is measured."""
    share, patience = r["validation"], r["patience"]
    if share:
        said = (
            f"the best epoch ships, by a validation split or else by {percent(share)} of the training images, held out"
        )
    else:
        said = "no training images are held out: the last epoch's weights ship, where the data has no validation split"
    if patience is not None:
        said += f"; it stops early after {patience} epochs without a better one"
    return f"{said}; in the end {VIEWS[r['views']]}"


def machine(r: Fields) -> str:
    """Return what changes speed and rounding, and nothing else."""
    precision = r["precision"]
    said = ["bf16 where the processor computes in it" if precision == "auto" else precision]
    if not (last := r["channels_last"]):
        said.append("channels first")
    elif last != "auto":
        said.append("channels last")
    cache = r["cache"]
    said.append(
        {True: "photographs cached", False: "photographs not cached"}.get(
            cache, "photographs cached where there is room"
        )
    )
    for name, what in (("workers", "to decode photographs"), ("threads", "of PyTorch")):
        if (number := r[name]) != "auto":
            said.append(f"{number} {name} {what}")
    if r["compile"]:
        said.append("compiled")
    if r["keep_memory"]:
        said.append("memory kept from step to step")
    said.append(f"seed {r['seed']}")
    return ", ".join(said)


PHRASES: dict[str, Callable[[Fields], str]] = {
    "run": run,
    "network": network,
    "images": images,
    "blended": mixing,
    "changing": changes,
    "loss": loss,
    "optimiser": optimizer,
    "rate": rate,
    "weights kept": average,
    "measured": measure,
    "machine": machine,
}
"""What a recipe does, part by part."""
