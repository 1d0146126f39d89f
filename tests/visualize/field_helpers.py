"""What the tests of pictures of receptive fields share."""

from __future__ import annotations

import pytest
from torch import nn

from neocog.visualize import style


class Gated(nn.Module):
    """A convolution, a gate that sees everything, another convolution, and a pooled head."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.gate, self.second = nn.Conv2d(3, 4, 3, 2, 1), nn.Linear(4, 4), nn.Conv2d(4, 4, 5, 2, 2)
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        x = self.first(x)
        x = x * self.gate(x.mean((2, 3))).sigmoid()[:, :, None, None]
        return self.head(self.second(x).mean((2, 3)))


def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that fills with the texts of the figures that are saved."""
    texts: list[str] = []
    save = style.save

    def noting(figure, path):
        from matplotlib.text import Text

        texts.extend(" ".join(text.get_text().split()) for text in figure.findobj(Text))
        return save(figure, path)

    monkeypatch.setattr(style, "save", noting)
    return texts
