"""What a layer returns, as a code (N, D, h, w) or (N, D): which of several tensors, and which axis is the channels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args

from torch import Tensor, nn

from ..checks import check_choice

Layout = Literal["channels_first", "channels_last", "tokens", "class_token"]
Size = tuple[int, int]
Grid = tuple[int, int, int]  # tokens before those of the patches, rows and columns of patches

CHANNELS_FIRST = (nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d, nn.InstanceNorm2d, nn.GroupNorm, nn.LocalResponseNorm,
                  nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)
MOST_PREFIX_TOKENS = 16  # class and register tokens before those of the patches
MOST_HALVINGS = 6  # of the grid of patches, in a hierarchy of tokens


class NoCode(ValueError):
    """A layer whose output is not a code, for any image."""


def check_layout(layout: Layout) -> Layout:
    """The layout, or a ValueError if it is unknown."""
    check_choice("layout", layout, get_args(Layout))
    return layout


def pick(found: Any, key: str | int | None, layer: str) -> Tensor:
    """The tensor that a layer returns, or the one with this key or index among those that it returns.

    Names of a nested output are joined by dots.
    """
    if isinstance(found, Tensor):
        if key not in (None, 0, "0"):
            raise NoCode(f"layer {layer!r} gives one tensor: leave out output={key!r}")
        return found
    tensors = dict(_tensors(found))
    if not tensors:
        raise NoCode(f"layer {layer!r} gives a {type(found).__name__} without tensors, but a code has shape "
                     "(N, D, h, w) or (N, D): choose a layer inside it")
    name = None if key is None else str(_name_of(found, key))
    chosen = [path for path in tensors if name is None or path == name or path.startswith(f"{name}.")]
    if len(chosen) == 1:
        return tensors[chosen[0]]
    listed = ", ".join(f"{path!r} {tuple(tensors[path].shape)}" for path in chosen or tensors)
    if not chosen:
        raise NoCode(f"layer {layer!r} has no output {key!r}: one of {listed}")
    raise NoCode(f"layer {layer!r} gives {len(chosen)} outputs: {listed}. Give output=, one of their names, "
                 f"such as output={chosen[0]!r}")


def _tensors(found: Any, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """The tensors in tuples, lists and mappings, with their names or indices on the way, joined by dots."""
    if not isinstance(found, (Mapping, tuple, list)):
        return
    for name, value in found.items() if isinstance(found, Mapping) else enumerate(found):
        if isinstance(value, Tensor):
            yield f"{prefix}{name}", value
        else:
            yield from _tensors(value, f"{prefix}{name}.")


def _name_of(found: Any, key: str | int) -> str | int:
    """The name of an output by its name or its place, which counts from the end if it is negative."""
    names = list(found) if isinstance(found, Mapping) else range(len(found))
    is_place = isinstance(key, int) and key not in names and -len(names) <= key < len(names)
    return names[key] if is_place else key  # type: ignore[index]


class Arrangement:
    """How the channels of a network's layers are found.

    Parameters
    ----------
    network : Module
    channels : int
        Of its images.
    layout : str, optional
        That of every layer with positions; recognised by default.
    """

    def __init__(self, network: nn.Module, channels: int, layout: Layout | None = None) -> None:
        self.layout = None if layout is None else check_layout(layout)
        self.embedding = next((m for m in network.modules() if isinstance(m, nn.Conv2d) and m.in_channels == channels
                               and not isinstance(m.padding, str)), None)
        self.prefixes = {0, 1, _stated_prefix(network)}

    def recognise(self, part: nn.Module, shape: tuple[int, ...], size: Size) -> Layout | None:
        """The layout of a layer's output for an image of this size; None if it could be more than one."""
        if self.layout is not None:
            return self.layout
        if len(shape) == 3:
            return "tokens" if self._are_tokens(part, shape, size) else None
        if len(shape) != 4:
            return None
        if isinstance(part, CHANNELS_FIRST):
            return "channels_first"
        if isinstance(part, nn.Linear) or type(part) is nn.LayerNorm:
            return "channels_last"
        first, last = _is_grid(shape[2:], size), _is_grid(shape[1:3], size)
        if first == last:
            widths = _widths(part)
            first, last = shape[1] in widths, shape[3] in widths
        return None if first == last else "channels_first" if first else "channels_last"

    def code(self, found: Tensor, layout: Layout | None, layer: str, size: Size) -> Tensor:
        """The code (N, D, h, w) or (N, D) in a layer's output for images of this size."""
        if found.ndim == 2:
            return found
        if found.ndim == 4 and layout in ("channels_first", "channels_last"):
            return found.permute(0, 3, 1, 2) if layout == "channels_last" else found
        if found.ndim == 3 and layout in ("tokens", "class_token"):
            return self._of_tokens(found, layout, layer, size)
        why = "whose channels are not recognised" if layout is None else f"which layout={layout!r} does not describe"
        raise NoCode(f"layer {layer!r} gives shape {tuple(found.shape)}, {why}: {_advice(found.ndim)}")

    def _of_tokens(self, found: Tensor, layout: Layout, layer: str, size: Size) -> Tensor:
        """The class token (N, D), or the grid of patches (N, D, h, w), in tokens (N, T, D)."""
        tokens = found.shape[1]
        grid = self._stated_grid(tokens, size) or self._long_prefix(tokens, size)
        if grid is None:
            raise NoCode(f"layer {layer!r} gives {tokens} tokens for a {size[0]}×{size[1]} image, which are no grid of "
                         "patches, alone or after a class token: choose a layer of patches")
        prefix, rows, columns = grid
        if layout == "class_token" and not prefix:
            raise NoCode(f"layer {layer!r} gives {tokens} tokens, which are all of patches: it has no class token; "
                         "give layout='tokens'")
        return found[:, 0] if layout == "class_token" else found[:, prefix:].mT.unflatten(2, (rows, columns))

    def _are_tokens(self, part: nn.Module, shape: tuple[int, ...], size: Size) -> bool:
        """Whether (N, T, D) are tokens by the modules inside the layer, or by the network's patches."""
        if self._stated_grid(shape[1], size) is None:
            return False
        if widths := _widths(part):
            return shape[2] in widths and (shape[1] not in widths or isinstance(part, (nn.Linear, nn.LayerNorm)))
        return self.embedding is not None and self._stated_grid(shape[2], size) is None

    def _stated_grid(self, tokens: int, size: Size) -> Grid | None:
        """The grid of so many tokens after none, one or the stated number of others, if there is one."""
        grids = ((tokens - rows * columns, rows, columns) for rows, columns in self._patches(size))
        return next((grid for grid in grids if grid[0] in self.prefixes and tokens - grid[0] > 1), None)

    def _long_prefix(self, tokens: int, size: Size) -> Grid | None:
        """The grid of the network's patches after a few other tokens."""
        if self.embedding is None:
            return None
        rows, columns = _after(self.embedding, size)
        prefix = tokens - rows * columns
        return (prefix, rows, columns) if 0 <= prefix <= MOST_PREFIX_TOKENS else None

    def _patches(self, size: Size) -> Iterator[Size]:
        """Rows and columns: of the network's first convolution, halved several times, and of patches of any side."""
        if self.embedding is not None:
            rows, columns = _after(self.embedding, size)
            for _ in range(MOST_HALVINGS):
                yield rows, columns
                rows, columns = -(-rows // 2), -(-columns // 2)
        yield from ((size[0] // side, size[1] // side) for side in range(1, min(size) + 1))


def unchanged_axis(shape: tuple[int, ...], larger: tuple[int, ...]) -> Layout | None:
    """The layout of a layer whose codes have these shapes for an image and for a higher and wider one."""
    if len(shape) != len(larger):
        return None
    same = [axis for axis, (a, b) in enumerate(zip(shape, larger, strict=True)) if a == b]
    layouts: dict[tuple[int, int], Layout] = {(3, 0): "channels_first", (3, 2): "channels_last", (2, 1): "tokens"}
    return layouts.get((len(shape), same[0])) if len(same) == 1 else None


def _advice(ndim: int) -> str:
    if ndim == 3:
        return ("give layout='tokens' for the patches of (N, T, D), layout='class_token' for the first token, "
                "or choose another layer")
    if ndim == 4:
        return "give layout='channels_last' for (N, h, w, D), layout='channels_first' for (N, D, h, w)"
    return "a code has shape (N, D, h, w) or (N, D): choose another layer"


def _widths(part: nn.Module) -> set[int]:
    """The numbers of channels that the modules of a layer put out."""
    names = "out_channels", "num_features", "num_channels", "out_features"
    found = {getattr(m, name, None) for m in part.modules() for name in names}
    norms = {m.normalized_shape[-1] for m in part.modules() if isinstance(m, nn.LayerNorm)}
    return {value for value in found | norms if isinstance(value, int)}


def _is_grid(sides: tuple[int, ...], size: Size) -> bool:
    """Whether the rows and columns of a map have the shape of the image, up to rounding."""
    return abs(sides[0] * size[1] - sides[1] * size[0]) < max(size)


def _after(conv: nn.Conv2d, size: Size) -> Size:
    """The size of a convolution's map."""
    pads = (0, 0) if isinstance(conv.padding, str) else conv.padding
    rows, columns = ((n + 2 * pad - dilation * (kernel - 1) - 1) // stride + 1 for n, pad, dilation, kernel, stride
                     in zip(size, pads, conv.dilation, conv.kernel_size, conv.stride, strict=True))
    return rows, columns


def _stated_prefix(network: nn.Module) -> int:
    """The tokens before those of the patches that a network of timm or Hugging Face states; 1 for others."""
    registers = getattr(getattr(network, "config", None), "num_register_tokens", 0)
    stated = getattr(network, "num_prefix_tokens", 1 + (registers if isinstance(registers, int) else 0))
    return stated if isinstance(stated, int) else 1
