"""Single operations and random chains of them, compared at every position with the support of the gradient."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from field_checks import Function, check_every_position, fields_of
from torch import Tensor, nn

Layer = Callable[[Tensor], Tensor]


def ones(*shape: int) -> Tensor:
    return torch.ones(*shape)


def conv(kernel: int | tuple[int, int], stride: int = 1, padding: int = 0, dilation: int = 1, groups: int = 1) -> Layer:
    size = (kernel, kernel) if isinstance(kernel, int) else kernel

    def layer(x: Tensor) -> Tensor:
        return F.conv2d(x, ones(4, x.shape[1] // groups, *size), None, stride, padding, dilation, groups)

    return layer


def space_to_depth(x: Tensor) -> Tensor:
    n, c, h, w = x.shape
    h, w = h // 2, w // 2
    return x[:, :, : 2 * h, : 2 * w].reshape(n, c, h, 2, w, 2).permute(0, 3, 5, 1, 2, 4).reshape(n, 4 * c, h, w)


def depth_to_space(x: Tensor) -> Tensor:
    n, c, h, w = x.shape
    x = torch.cat([x] * 4, 1)
    return x.reshape(n, 2, 2, c, h, w).permute(0, 3, 4, 1, 5, 2).reshape(n, c, 2 * h, 2 * w)


def through_tokens(x: Tensor) -> Tensor:
    """To tokens, with a class token in front, and back to a map."""
    n, c, h, w = x.shape
    tokens = torch.cat([ones(n, 1, c), x.flatten(2).transpose(1, 2)], 1)
    return tokens[:, 1:].transpose(1, 2).reshape(n, c, h, w)


def windows_of_three(x: Tensor) -> Tensor:
    """Tokens of 3x3 windows, each with its window's mean."""
    n, c, h, w = x.shape
    x = F.pad(x, [0, -w % 3, 0, -h % 3])
    rows, columns = x.shape[2] // 3, x.shape[3] // 3
    x = x.view(n, c, rows, 3, columns, 3).permute(0, 2, 4, 3, 5, 1).reshape(-1, 9, c)
    x = x + x.mean(1, keepdim=True)
    x = x.reshape(n, rows, columns, 3, 3, c).permute(0, 5, 1, 3, 2, 4).reshape(n, c, 3 * rows, 3 * columns)
    return x[:, :, :h, :w]


def fold(x: Tensor, stride: int = 1) -> Tensor:
    return F.fold(F.unfold(x, 3, 1, 1, stride), x.shape[2:], 3, 1, 1, stride)


def windows_by_unfold(x: Tensor) -> Tensor:
    u = F.pad(x, [1] * 4).unfold(2, 3, 2).unfold(3, 3, 1)
    return u.permute(0, 1, 4, 5, 2, 3).reshape(x.shape[0], x.shape[1] * 9, *u.shape[2:4])


def two_branches(x: Tensor) -> Tensor:
    return torch.cat([conv(5, 1, 2)(x), conv(1)(x)], 1)


def second_branch_only(x: Tensor) -> Tensor:
    return two_branches(x).chunk(2, 1)[1]


def branches_stay_apart(x: Tensor) -> Tensor:
    """A grouped convolution does not mix the branches that a later layer tells apart."""
    return conv(3, 1, 1, groups=2)(two_branches(x))[:, 2:]


def shuffled_half(x: Tensor) -> Tensor:
    return F.channel_shuffle(two_branches(x), 2)[:, :4]


def write_rows(x: Tensor) -> Tensor:
    y = x.clone()
    y[:, :, ::2] = F.avg_pool2d(x, 3, 1, 1)[:, :, ::2]
    return y


def write_into_views(x: Tensor) -> Tensor:
    """Two views of one tensor, of which the first is written to after the second."""
    y = x.clone()
    first, rest = y[:, :, :1], y[:, :, 1:]
    rest.mul_(2)
    first.copy_(F.avg_pool2d(x, 3, 1, 1)[:, :, :1])
    first.add_(F.avg_pool2d(x, 5, 1, 2)[:, :, :1])
    return y


def write_transposed(x: Tensor) -> Tensor:
    y = torch.zeros_like(x)
    y.permute(0, 1, 3, 2)[:, :, 1] = F.avg_pool2d(x, 3, 1, 1)[:, :, :, 1]
    y.flatten(2)[:, :, :2] = x.flatten(2)[:, :, -2:]
    return y


def zero_a_column(x: Tensor) -> Tensor:
    y = conv(3, 1, 1)(x)
    y[:, :, :, 0].zero_()
    return y


def residual_in_place(x: Tensor) -> Tensor:
    y = conv(3, 1, 1)(x)
    y += conv(1)(x)
    return F.relu_(y)


def written_before_it_is_read(x: Tensor) -> Tensor:
    y = F.avg_pool2d(x, 3, 1, 1).contiguous()
    view = y.view(x.shape[0], -1)
    y.add_(F.avg_pool2d(x, 5, 1, 2))
    return view.view_as(x)


OPERATIONS: dict[str, Layer] = {
    "convolution": conv((3, 5)),
    "strided": conv(3, 2, 1),
    "stride beyond the kernel": conv(2, 3),
    "padding beyond the kernel": conv((3, 3), 1, 2),
    "dilated": conv(3, 1, 2, 2),
    "grouped": conv(3, 1, 1, groups=2),
    "same padding, uneven": lambda x: F.conv2d(F.pad(x, (0, 1, 0, 1)), ones(4, 2, 3, 3), stride=2),
    "same padding by name": lambda x: F.conv2d(x, ones(4, 2, 4, 4), padding="same"),
    "transposed": lambda x: F.conv_transpose2d(x, ones(2, 4, 3, 3), None, 2, 1, 1),
    "transposed, dilated": lambda x: F.conv_transpose2d(x, ones(2, 4, 3, 3), None, 2, 2, 1, 1, 2),
    "transposed, with holes": lambda x: F.conv_transpose2d(x, ones(2, 4, 2, 2), None, 3),
    "max pooling, ceil mode": lambda x: F.max_pool2d(x, 3, 2, ceil_mode=True),
    "max pooling, ceil mode and padding": lambda x: F.max_pool2d(x, 3, 2, 1, ceil_mode=True),
    "max pooling, dilated": lambda x: F.max_pool2d(x, 3, 2, 1, 2),
    "average pooling": lambda x: F.avg_pool2d(x, (2, 3), (2, 1), (1, 0)),
    "adaptive pooling": lambda x: F.adaptive_avg_pool2d(x, (4, 5)),
    "adaptive pooling, larger": lambda x: F.adaptive_avg_pool2d(x, (13, 20)),
    "adaptive max pooling": lambda x: F.adaptive_max_pool2d(x, 3),
    "nearest": lambda x: F.interpolate(x, scale_factor=2),
    "nearest, to a size": lambda x: F.interpolate(x, size=(7, 21)),
    "nearest, by a factor that does not fit": lambda x: F.interpolate(x, scale_factor=1.5),
    "nearest exact": lambda x: F.interpolate(x, size=(7, 15), mode="nearest-exact"),
    "bilinear": lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"),
    "bilinear, corners aligned": lambda x: F.interpolate(x, size=(17, 23), mode="bilinear", align_corners=True),
    "bilinear, smaller": lambda x: F.interpolate(x, scale_factor=0.5, mode="bilinear"),
    "bilinear, antialiased": lambda x: F.interpolate(x, size=(4, 4), mode="bilinear", antialias=True),
    "bicubic": lambda x: F.interpolate(x, scale_factor=2, mode="bicubic"),
    "pixel shuffle": lambda x: F.pixel_shuffle(torch.cat([x, x], 1), 2),
    "pixel unshuffle": lambda x: F.pixel_unshuffle(x[:, :, :8, :12], 2),
    "space to depth": space_to_depth,
    "space to depth, then padding": lambda x: conv(3, 1, 1)(space_to_depth(x)),
    "depth to space, then padding": lambda x: conv(3, 1, 1)(depth_to_space(x)),
    "focus": lambda x: torch.cat([x[:, :, :-1:2, :-1:2], x[:, :, 1::2, :-1:2]], 1),
    "flip": lambda x: conv((3, 1), 2, 1)(x.flip(3)),
    "reflected padding": lambda x: conv((3, 2))(F.pad(x, (3, 1, 0, 2), "reflect")),
    "replicated padding": lambda x: conv((2, 3))(F.pad(x, (3, 1, 0, 2), "replicate")),
    "circular padding": lambda x: conv(3)(F.pad(x, (1, 1, 1, 1), "circular")),
    "negative padding": lambda x: conv(3, 1, 1)(F.pad(x, (-1, 1, -2, 1))),
    "crop, then padding": lambda x: conv(5, 1, 2)(x[:, :, 2:, 3:-1]),
    "tokens and back": through_tokens,
    "tokens and back, then padding": lambda x: conv(3, 2, 1)(through_tokens(x)),
    "windows": windows_of_three,
    "unfold and fold": fold,
    "unfold and fold, strided": lambda x: fold(x, 2),
    "unfold of tensors": windows_by_unfold,
    "branches": two_branches,
    "one of two branches": second_branch_only,
    "branches in groups": branches_stay_apart,
    "channel shuffle": shuffled_half,
    "rows put together": lambda x: torch.cat([x[:, :, 4:], conv(3, 1, 1)(x)[:, :2, :2]], 2),
    "stack": lambda x: torch.stack([x, F.avg_pool2d(x, 3, 1, 1)], 1).amax(1),
    "einsum over channels": lambda x: torch.einsum("nchw,dc->ndhw", x, ones(3, x.shape[1])),
    "chosen channels": lambda x: two_branches(x)[:, torch.tensor([0, 1])],
    "rows written in place": write_rows,
    "views written in place": write_into_views,
    "transposed views written in place": write_transposed,
    "a column set to zero": zero_a_column,
    "a sum in place": residual_in_place,
    "a view that sees what is written later": written_before_it_is_read,
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_reaches_what_the_gradient_says(name):
    check_every_position(nn.Sequential(Function(OPERATIONS[name])), (2, 9, 13), "0")


def test_every_axis_of_a_sequence_and_of_a_volume_is_followed():
    layers = nn.Conv1d(2, 3, 4, stride=2, padding=1), nn.MaxPool1d(3, 2), nn.Conv1d(3, 2, 2, dilation=2)
    sequence = nn.Sequential(*layers)
    check_every_position(sequence, (2, 40), "2")
    assert fields_of(sequence, (2, 40)).of("2").size == (4 + 2 * 2 + 2 * 4,)
    volume = nn.Sequential(nn.Conv3d(1, 2, (1, 2, 3), stride=(1, 1, 2)), nn.AvgPool3d(2), nn.Upsample(scale_factor=2))
    check_every_position(volume, (1, 5, 6, 11), "2")
    assert fields_of(volume, (1, 5, 6, 11)).of("1").size == (2.0, 3.0, 5.0)
    assert fields_of(volume, (1, 5, 6, 11)).of("2").stride == (1.0, 1.0, 2.0)


class Deformed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.offsets = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 18, 3, padding=1)

    def forward(self, x):
        from torchvision.ops import deform_conv2d

        x = self.stem(x)
        return deform_conv2d(x, self.offsets(x), torch.ones(4, 4, 3, 3), padding=2, dilation=2)


def test_learned_offsets_may_lead_anywhere_and_start_from_a_plain_convolution():
    found = fields_of(nn.Sequential(Deformed()), (3, 20, 20)).of("0")
    assert found.is_global
    assert found.local == (7.0, 7.0)  # that of the dilated kernel, which here is also what the offsets see
    assert found.smallest == (5.0, 5.0)  # the path through the offsets
    assert found.at(4, 4, local=True) == ((1.0, 7.0), (1.0, 7.0))


def test_numbers_of_a_transform_depend_on_the_whole_axis():
    """Filters in the frequency domain (GFNet)."""

    def filtered(x: Tensor) -> Tensor:
        y = torch.view_as_real(torch.fft.rfft2(x)) * torch.ones(2)
        return torch.fft.irfft2(torch.view_as_complex(y), s=x.shape[2:])

    rows_only = Function(lambda x: torch.fft.fft(x, dim=2).real)
    assert fields_of(nn.Sequential(Function(filtered)), (3, 8, 8)).of("0").is_global
    assert fields_of(nn.Sequential(rows_only), (3, 8, 8)).of("0").size == (float("inf"), 1.0)


# Chains


def _random_operation(draw: random.Random) -> tuple[str, Layer]:
    name = draw.choice([*OPERATIONS, *["convolution"] * 20])
    if name != "convolution":
        return name, OPERATIONS[name]
    kernel = (draw.randint(1, 5), draw.randint(1, 4))
    stride, dilation, groups = draw.randint(1, 3), draw.randint(1, 2), draw.choice([1, 1, 2])
    padding = draw.randint(0, min(*kernel, 3) - 1)  # a window in nothing but padding is a case of its own
    return f"{kernel} {stride} {padding} {dilation} {groups}", conv(kernel, stride, padding, dilation, groups)


def _random_chain(seed: int) -> tuple[str, nn.Sequential, tuple[int, ...]] | None:
    """Return a chain of up to four operations and an image that it can run on."""
    draw = random.Random(seed)
    names, layers = zip(*(_random_operation(draw) for _ in range(draw.randint(2, 4))), strict=True)
    if {"bicubic", "bilinear, corners aligned", "bilinear, antialiased", "transposed, with holes"} & {*names}:
        return None  # weights that are zero only up to rounding; positions that see nothing along one axis alone
    chain = nn.Sequential(*map(Function, layers))
    image = (2, draw.randint(8, 14), draw.randint(8, 14))
    x = torch.ones(1, *image)
    try:
        for layer in chain:
            x = layer(x)
            if min(x.shape[2:]) < 2 or x.shape[2:].numel() > 300:
                return None
    except RuntimeError:
        return None  # does not fit
    return f"{image} " + " | ".join(names), chain, image


@pytest.mark.parametrize("start", range(0, 200, 100))
def test_random_chains_reach_what_the_gradient_says(start):
    checked = 0
    for seed in range(start, start + 100):
        made = _random_chain(seed)
        if made is not None:
            name, chain, image = made
            try:
                check_every_position(chain, image, str(len(chain) - 1))
            except AssertionError as error:
                raise AssertionError(f"seed {seed}: {name}") from error
            checked += 1
    assert checked > 20


# Operations that cannot be followed


class Distances(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3)
        self.plain = nn.Conv2d(4, 4, 3)
        self.beyond = nn.Conv2d(4, 4, 3)
        self.gone = nn.Conv2d(4, 4, 3)

    def forward(self, x):
        x = self.stem(x)
        y = self.beyond(x + torch.cdist(x, x))
        return self.plain(x), self.gone(y), self.plain(torch.zeros_like(y) + x[..., 1:-1, 1:-1])


def test_what_depends_on_an_unknown_operation_has_no_row():
    from neocog.analysis import receptive_fields, trace_forward
    from neocog.errors import UsageError

    fields = receptive_fields(trace_forward(Distances(), (3, 16, 16)))
    assert fields.unknown == (("_cdist_forward", ""),)
    assert [row.name for row in fields.rows] == ["stem", "plain", "plain"]  # zeros_like takes a shape and no numbers
    assert fields.lost == ("beyond", "gone")
    with pytest.raises(UsageError, match=r"field of gone is not known: .*_cdist_forward in the network"):
        fields.of("gone")


class Looking(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)

    def forward(self, x):
        x = self.first(x)
        return self.second(x * 2 if x.sum() > 0 else x)


def test_a_network_that_looks_at_its_numbers_is_followed_along_the_way_that_it_took():
    from neocog.analysis import receptive_fields, trace_forward

    trace = trace_forward(Looking(), (3, 16, 16))
    assert trace.device == "cpu"
    fields = receptive_fields(trace)
    assert fields.of("second").size == (5.0, 5.0)
    assert fields.unknown == (("_local_scalar_dense", ""),)  # what it decided depends on the image, too
