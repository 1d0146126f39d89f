"""Random numbers as a function of a key, so that they depend on nothing else.

A sample's key is (seed, epoch, index, copy), where `copy` counts views and repetitions of one image in one epoch.
No generator is carried from sample to sample: which process draws, in which order, with how many others, and
whether the run was interrupted before cannot change what is drawn.

The hash is the finaliser of SplitMix64 (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number
generators", section 3, with the constants of its variant 13), applied once for each part of the key. Python
integers and int64 tensors give the same numbers, on every device.
"""

from __future__ import annotations

import math
from enum import IntEnum
from typing import TypeVar, overload

import torch
from torch import Tensor

_BITS = (1 << 64) - 1
_GAMMA = 0x9E3779B97F4A7C15  # 2^64 divided by the golden ratio, made odd: the distance between states

Integers = TypeVar("Integers", int, Tensor, int | Tensor)


class Stream(IntEnum):
    """What is drawn; each kind has numbers of its own, so that a new kind leaves the others as they are."""

    AUGMENT = 0
    ORDER = 1
    MIX = 2


@overload
def hash_key(seed: int, epoch: int, index: int, copy: int = 0, stream: int = Stream.AUGMENT) -> int:
    """Return the key of one sample."""


@overload
def hash_key(seed: int, epoch: int, index: Tensor, copy: int | Tensor = 0, stream: int = Stream.AUGMENT) -> Tensor:
    """Return the keys of many samples: int64, of the shape of `index`."""


def hash_key(
    seed: int, epoch: int, index: int | Tensor, copy: int | Tensor = 0, stream: int = Stream.AUGMENT
) -> int | Tensor:
    """Return the key of a sample, a number in [-2^63, 2^63).

    Args:
        seed: of the run; any integer, of which 64 bits count.
        epoch: counted from 0.
        index: of the image in its table: an integer, or an int64 tensor.
        copy: which view or repetition of the image: an integer, or an int64 tensor of the same shape.
        stream: what the numbers are for.

    Returns:
        An integer, or an int64 tensor of the shape of `index`, on its device.
    """
    key: int | Tensor = 0
    for part in (seed, epoch, int(stream), copy, index):
        key = _mix(_wrap(_wrap(key + _signed(_GAMMA)) + _wrap(part)))
    return key


@overload
def uniform(key: int, count: int, start: int = 0) -> list[float]:
    """Return `count` numbers for one key."""


@overload
def uniform(key: Tensor, count: int, start: int = 0) -> Tensor:
    """Return float64 `(N, count)` numbers for the keys `(N,)`."""


def uniform(key: int | Tensor, count: int, start: int = 0) -> list[float] | Tensor:
    """Return `count` numbers in [0, 1) for each key; asking for more leaves the first ones as they are.

    Args:
        key: an integer, or int64 `(N,)`.
        count: of the numbers.
        start: how many of the key's numbers are passed over.

    Returns:
        A list for an integer key; for an int64 tensor `(N,)` a float64 tensor `(N, count)` on its device. Both
        hold multiples of 2^-53 and are equal to the last bit.
    """
    steps = [_signed(_GAMMA * (step + 1)) for step in range(start, start + count)]
    if isinstance(key, int):
        return [_shift(_mix(_wrap(key + step)), 11) * 2.0**-53 for step in steps]
    bits = _mix(key.unsqueeze(-1) + torch.tensor(steps, dtype=torch.int64, device=key.device))
    return _shift(bits, 11).to(torch.float64) * 2.0**-53


def normal(keys: Tensor, steps: Tensor) -> Tensor:
    """Return two standard normal numbers for each step of a key (Box and Muller 1958).

    Args:
        keys: int64, of any shape.
        steps: int64 that broadcasts with `keys`: which of a key's pairs.

    Returns:
        float32 of the broadcast shape with a last dimension of 2, on the device of `keys`. They are made of 32 bits
        each, so that none is larger than 6.7. Devices may differ in the last bits.
    """
    bits = _mix(keys + (steps + 1) * _signed(_GAMMA))
    # Centres of 2^32 equal parts of (0, 1]: the logarithm of 0 cannot come up.
    radius = (_shift(bits, 32).to(torch.float32) + 0.5).mul_(2.0**-32).log_().mul_(-2).clamp_(min=0).sqrt_()
    angle = (bits & 0xFFFFFFFF).to(torch.float32).mul_(math.tau * 2.0**-32)
    return torch.stack([radius * angle.cos(), radius * angle.sin()], -1)


def epoch_order(seed: int, epoch: int, length: int) -> Tensor:
    """Return the order in which an epoch visits `length` images: an int64 permutation `(length,)` on the CPU.

    Sorting hashed keys, and not PyTorch's generator, keeps the order the same in every version of PyTorch.
    """
    return hash_key(seed, epoch, torch.arange(length), stream=Stream.ORDER).argsort(stable=True)


def _mix(value: Integers) -> Integers:
    """Scramble 64 bits, one to one."""
    value = _wrap((value ^ _shift(value, 30)) * _signed(0xBF58476D1CE4E5B9))
    value = _wrap((value ^ _shift(value, 27)) * _signed(0x94D049BB133111EB))
    return value ^ _shift(value, 31)


def _shift(value: Integers, bits: int) -> Integers:
    """Shift right and fill with zeros; `>>` alone repeats the sign."""
    return (value >> bits) & ((1 << (64 - bits)) - 1)


def _wrap(value: Integers) -> Integers:
    """Keep 64 bits, as int64 tensors do by themselves."""
    return _signed(value) if isinstance(value, int) else value


def _signed(value: int) -> int:
    value &= _BITS
    return value - (1 << 64) if value >> 63 else value
