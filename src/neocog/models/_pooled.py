"""What most networks since Network in Network end with: the mean over positions, and one linear layer."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from neocog.models._classifier import Classifier


class PooledClassifier(Classifier):
    """A classifier whose head is the mean of each map over all positions, dropout, and a linear layer.

    The mean has no parameters that could overfit, and takes maps of any size (Lin, Chen and Yan 2013, "Network in
    network", arXiv:1312.4400, section 3.2). A subclass makes the linear layer, under the name in `head_name`.

    Attributes:
        head_dropout: share of the means that training drops; 0 unless a subclass sets it.
    """

    head_dropout: float = 0.0

    def forward_head(self, features: Tensor, *, pre_logits: bool = False) -> Tensor:
        """Return logits `(N, num_classes)`, or with `pre_logits` the means over positions `(N, num_features)`."""
        pooled = features.mean(dim=(2, 3))
        if pre_logits:
            return pooled
        head = self.get_submodule(self.head_name)
        logits: Tensor = head(F.dropout(pooled, self.head_dropout, self.training))
        return logits
