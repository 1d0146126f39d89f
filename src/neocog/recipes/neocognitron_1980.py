"""The Neocognitron on handwritten digits: it organises itself without labels, then a linear read-out learns them.

    neocog train mnist --recipe neocognitron_1980

Paper: Fukushima 1980, "Neocognitron: a self-organizing neural network model for a mechanism of pattern recognition
unaffected by shift in position", section 5.

The paper (section 5) shows five digits drawn on 16 x 16 points until each has a plane of its own in the last layer.
Here 1,000 images organise the S-layers, one after the other; then a linear layer learns to read all C-cells, with
labels. The network's own learning alone, each plane named after the images that it wins, is measured by
`benchmarks/neocognitron.py`, which also moves the digits.

Published: no error rate.

Measured: 97.84 % of MNIST's 10,000 test images right (one seed), in 6 min 2 s on one core of a 2.5 GHz Xeon
that had other work to do.
"""

from __future__ import annotations

from neocog.data.augment import Augmentation
from neocog.recipes._facts import Facts
from neocog.train.recipe import Optimizer, Recipe, Schedule


def recipe(facts: Facts) -> Recipe:
    """Return the run; it does not depend on `facts`."""
    return Recipe(
        model="neocognitron_1980",
        edits={"readout": "all"},
        organise=1000,
        epochs=5,
        batch_size=100,
        optimizer=Optimizer(name="adamw", lr=1e-2, weight_decay=1e-2),
        schedule=Schedule(name="cosine"),
        augment=Augmentation(crop="none", flip=0.0),
        precision="fp32",  # a quotient of almost equal numbers
    )
