"""Training more on what is still hard: an order of images that leaves out those whose loss was least."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from neocog.data.keys import Stream, epoch_order, hash_key
from neocog.train.distributed import gathered

UNSEEN = 0x7F800000  # the bits of infinity: what nobody has seen yet counts as hardest


class FocusedOrder(nn.Module):
    """The order in which epochs show a split's images, and the losses that decide it.

    From epoch `start` on, the share of images whose latest known loss is least is left out of an epoch (latest known
    losses rank images in Loshchilov and Hutter 2015, "Online batch selection for faster training of neural networks",
    arXiv:1511.06343). The epoch is as long as any other: those that are left come in one permutation after another,
    until it is full. An image that was left out keeps the loss that it had when it was last seen, and comes back when
    that is no longer among the least.

    The object stands between a task and its batches: the task notes losses, the batches ask for an order. What an
    epoch's order follows from is copied when it is first asked for, and kept with the other losses in buffers of the
    task, so that every checkpoint has it: asked again for the same epoch, also after a resume from the middle of it,
    the order is the same. It is the same in all processes, too, since `after_step` tells each what all have noted.

    Losses are kept as the bits of their float32, which sort as the numbers do where none is negative, in whole numbers:
    no average of the weights takes them for weights.

    Args:
        images: of the split.
        seed: of the run, as the batches have it.
        share: of the images left out, below 1.
        start: the first epoch that leaves any out, counted from 0.
    """

    latest: Tensor
    frozen: Tensor
    epoch: Tensor

    def __init__(self, images: int, *, seed: int, share: float, start: int = 1) -> None:
        super().__init__()
        self.seed, self.start, self.left_out = seed, start, min(images - 1, int(share * images + 1e-9))
        self.register_buffer("latest", torch.full((images,), UNSEEN, dtype=torch.int32))
        self.register_buffer("frozen", torch.full((images,), UNSEEN, dtype=torch.int32))
        self.register_buffer("epoch", torch.tensor(-1))
        self._noted: list[Tensor] = []

    def order(self, epoch: int) -> Tensor:
        """Return the images that `epoch` shows, in order: int64 `(images,)` on the CPU; some may come again."""
        if int(self.epoch) != epoch:
            self.frozen.copy_(self.latest)
            self.epoch.fill_(epoch)
        usual = epoch_order(self.seed, epoch, len(self.frozen))
        if epoch < self.start:
            return usual
        # Images of one loss are left out by the epoch's permutation, and not the first of the table.
        kept = usual[self.frozen.cpu()[usual].argsort(stable=True)[self.left_out :]]
        kept = kept.sort().values
        rounds = range(-(-len(usual) // len(kept)))
        permutations = [hash_key(self.seed, epoch, kept, turn, Stream.ORDER).argsort(stable=True) for turn in rounds]
        return torch.cat([kept[permutation] for permutation in permutations])[: len(usual)]

    def begin(self) -> None:
        """Forget what was noted in a step that was then skipped."""
        self._noted.clear()

    def note(self, images: Tensor, losses: Tensor) -> None:
        """Note the losses `(N,)`, none negative, of the images int64 `(N,)` of a micro-batch, on any device."""
        bits = losses.detach().float().view(torch.int32)
        self._noted.append(torch.stack([images.to(bits.device, non_blocking=True), bits.long()]))

    def after_step(self) -> None:
        """Take up what all processes have noted since `begin`; of an image that came twice, the greater loss."""
        images, bits = gathered(torch.cat(self._noted, 1)).unbind()
        self.latest.scatter_reduce_(0, images, bits.int(), "amax", include_self=False)
        self._noted.clear()
