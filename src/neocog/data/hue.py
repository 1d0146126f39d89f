"""Hue: the colours of an image turned round the circle from red over green and blue to red."""

from __future__ import annotations

import torch
from torch import Tensor

from neocog.data.color import in_cache


def turn_hue(images: Tensor, turns: Tensor) -> Tensor:
    """Turn the hue of each image, and leave the greatest and the least of each pixel's three values as they are.

    The hexagon of hues, saturation and value of Smith (1978), "Color gamut transform pairs", as in torchvision's
    `adjust_hue`, without the way there and back: a channel is the greatest value less the distance to the least,
    times how near the hue lies to the colour that lacks this channel.

    Args:
        images: uint8 `(N, C, H, W)`; grey ones, of one channel, have no hue and come back as they are.
        turns: `(N,)` parts of the circle, from -0.5 to 0.5; 1/3 makes red green.

    Returns:
        uint8 `(N, C, H, W)`, on the device of `images`.
    """
    if images.shape[1] == 1:
        return images
    sixths = (6 * turns).to(images.device, torch.float32).view(-1, 1, 1)
    result = torch.empty_like(images)
    for first in range(0, len(images), size := in_cache(images)):
        place = slice(first, first + size)
        red, green, blue = images[place].to(torch.float32).unbind(1)
        most = torch.maximum(red, green).maximum(blue)
        span = most - torch.minimum(red, green).minimum(blue)
        divisor = span.clamp(min=1)  # values are whole: only where a pixel is grey is the span less
        # Sixths of the circle from red: green is at 2, blue at 4.
        hue = torch.where(
            most == red,
            (green - blue).div_(divisor),
            torch.where(most == green, (blue - red).div_(divisor).add_(2), (red - green).div_(divisor).add_(4)),
        )
        hue.add_(sixths[place])
        hue.sub_((hue / 6).floor_().mul_(6))
        # How near to cyan at 3, magenta at 5 and yellow at 1: 1 within a sixth, 0 from two sixths on.
        lacks = (
            (hue - 3).abs_().neg_().add_(2),
            (hue - 5).abs_().sub_(3).abs_().sub_(1),
            (hue - 1).abs_().sub_(3).abs_().sub_(1),
        )
        for channel, share in enumerate(lacks):
            result[place, channel] = torch.addcmul(most, share.clamp_(0, 1), span, value=-1).round_()
    return result
