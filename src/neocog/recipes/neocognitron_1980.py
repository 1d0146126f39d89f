"""The Neocognitron on handwritten digits: it organises itself without labels, then a linear read-out learns them.

neocog train mnist --recipe neocognitron_1980
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
