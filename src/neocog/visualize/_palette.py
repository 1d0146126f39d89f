"""What each kind of node looks like in drawings of networks."""

from __future__ import annotations

from neocog.analysis._roles import Kind
from neocog.visualize import style

PURPLE, ORANGE = "#CC79A7", "#E69F00"  # the rest of Okabe and Ito's palette that is told apart on white
WHITE = "#ffffff"
GREY = "#9aa1a9"

_COLOURS: dict[Kind, str] = {
    "convolution": style.BLUE,
    "depthwise": style.SKY,
    "linear": style.GREEN,
    "attention": PURPLE,
    "product": PURPLE,
    "pool": style.VERMILION,
    "move": ORANGE,
    "split": ORANGE,
}
_WORDS: dict[Kind, str] = {
    "convolution": "convolution",
    "depthwise": "depthwise convolution",
    "linear": "linear",
    "attention": "attention",
    "product": "attention",
    "pool": "pooling",
    "move": "rearrangement",
    "split": "rearrangement",
}


def colour(kind: Kind) -> str:
    """Return the colour of a kind of node."""
    return _COLOURS.get(kind, GREY)


def legend(kinds: set[Kind]) -> list[tuple[str, str]]:
    """Return colours with words for the kinds that occur, in the palette's order."""
    found = {_COLOURS[kind]: _WORDS[kind] for kind in _COLOURS if kind in kinds}
    if kinds - set(_COLOURS) - {"input", "output", "add", "multiply", "concat", "block"}:
        found[GREY] = "normalisation, activation, other"
    return list(found.items())
