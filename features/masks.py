"""Parts of a code: masks for channel groups and neighbourhoods, one-hot codes of channels and neurons."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

Shape = tuple[int, ...]


def channel_mask(code_shape: Shape, channels: Iterable[int]) -> Tensor:
    """Ones on some channels of a code and zeros elsewhere, (1, D, h, w) or (1, D).

    Parameters
    ----------
    code_shape : tuple of int
        (D, h, w) or (D,), see `Representation.output_shape`.
    channels : iterable of int
        Negative indices count from the end. ValueError for a channel that does not exist.

    Examples
    --------
    >>> import unfeature as uf
    >>> phi = uf.HOG()
    >>> uf.channel_mask(phi.output_shape(64, 64), range(18)).sum().item()
    1152.0
    """
    mask = torch.zeros(1, *code_shape)
    for channel in channels:
        mask[0, _index(channel, code_shape[0], "channel")] = 1
    return mask


def group_mask(code_shape: Shape, group: int, groups: int = 2) -> Tensor:
    """Ones on one of several equal groups of neighbouring channels: 0 the first half, 1 the second.

    AlexNet's two groups of filters are its two halves (IJCV 2016, the experiment on which part of a code matters).
    ValueError for a group that does not exist, or channels that do not divide into the groups.
    """
    channels = code_shape[0]
    if groups < 1 or channels % groups:
        raise ValueError(f"{channels} channels do not divide into {groups} equal groups")
    size, first = channels // groups, _index(group, groups, "group")
    return channel_mask(code_shape, range(first * size, (first + 1) * size))


def centre_mask(code_shape: Shape, side: int = 5) -> Tensor:
    """Ones on the central side × side positions of a code, all channels; on all positions of a smaller map.

    Where the middle lies between two positions, the left or upper one counts as central. ValueError for a code
    without positions, or a side below 1.
    """
    if len(code_shape) != 3 or side < 1:
        raise ValueError(f"a neighbourhood of side {side} needs a code of shape (D, h, w), got {tuple(code_shape)}")
    mask = torch.zeros(1, *code_shape)
    first_row, first_column = (max((n - side) // 2, 0) for n in code_shape[1:])
    mask[..., first_row : first_row + side, first_column : first_column + side] = 1
    return mask


def neuron(code_shape: Shape, channel: int, row: int | None = None, column: int | None = None) -> Tensor:
    """The one-hot code (1, D, h, w) or (1, D) of a neuron, by default in the middle; ValueError if there is none."""
    if len(code_shape) == 1 and (row, column) != (None, None):
        raise ValueError(f"a code of shape {tuple(code_shape)} has no rows and columns: name the channel alone")
    target = torch.zeros(1, *code_shape)
    places = [n // 2 if i is None else _index(i, n, axis)
              for i, n, axis in zip((row, column), code_shape[1:], ("row", "column"), strict=False)]
    target[(0, _index(channel, code_shape[0], "channel"), *places)] = 1
    return target


def _index(i: int, count: int, what: str) -> int:
    if not -count <= i < count:
        raise ValueError(f"there is no {what} {i}: the code has {count}, counted from 0")
    return i % count
