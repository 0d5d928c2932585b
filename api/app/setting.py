"""How a code is inverted: descriptor, method, and what the search is told."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from unfeature.baselines import METHODS
from unfeature.features import DESCRIPTORS
from unfeature.parameters.kinds import LONGER_SIDE

from .fields import fields_of, methods, read_options
from .source import Size, Source

if TYPE_CHECKING:
    from unfeature.features.base import Representation
    from unfeature.inversion.result import Result

FRAMES = 24
SEARCH = {"steps": None, "data_weight": None, "start": "auto"}


@dataclass(frozen=True)
class Setting:
    """A descriptor, by the name and the values that a form holds, and a method with its settings.

    `search` has any of ``steps``, ``data_weight`` and ``start`` ("auto" or "noise"), of which only presets take notice,
    and `model` is the file of a baseline that was learned.
    """

    feature: str
    given: Mapping[str, Any] = field(default_factory=dict)
    method: str = "best"
    search: Mapping[str, Any] = field(default_factory=dict)
    starts: int = 1
    seed: int = 0
    model: Path | None = None

    def __post_init__(self) -> None:
        known = methods()
        if self.method not in known:
            raise ValueError(f"unknown method {self.method!r}: one of {', '.join(known)}")
        if known[self.method].needs_model and self.model is None:
            raise ValueError(f"{self.method} needs a model: give the file that `unfeature learn {self.method}` wrote")
        read_options(self.feature, self.given)

    @property
    def changed(self) -> dict[str, Any]:
        """The values that are not those of the defaults, by parameter."""
        return {one.name: self.given[one.name] for one in fields_of(self.feature)
                if one.written(self.given.get(one.name))}

    @property
    def watches(self) -> bool:
        """Whether the method reports its progress, and ends when the report raises a KeyboardInterrupt."""
        return methods()[self.method].preset

    @property
    def label(self) -> str:
        """The setting in a few words."""
        words = [self.feature]
        for one in fields_of(self.feature):
            if one.name in self.changed:
                value = self.changed[one.name]
                shown = Path(value).name if one.kind == "file" else value
                words.append(one.written(value)[0].lstrip("-") if one.kind == "flag" else f"{one.label} {shown}")
        method = [self.method, *(f"{name.replace('_', ' ')} {value}" for name, value in self._search().items())]
        method += [f"{self.starts} starts"] * (self.starts > 1) + [f"seed {self.seed}"] * (self.seed > 0)
        return f"{', '.join(words)} · {', '.join(method)}"

    def command(self, source: Source) -> str:
        """The same inversion on the command line."""
        words = ["unfeature", "invert", source.path.name, "--feature", self.feature]
        words += [word for one in fields_of(self.feature) for word in _named(one.written(self.given.get(one.name)))]
        words += [] if self.method == "best" else ["--preset" if self.watches else "--method", self.method]
        words += [] if self.model is None else ["--model", self.model.name]
        for name, value in {**self._search(), "starts": self.starts, "seed": self.seed}.items():
            words += [] if value == {"starts": 1, "seed": 0}.get(name) else [f"--{name.replace('_', '-')}", str(value)]
        if source.is_code:
            words += [] if source.size is None else ["--size", "x".join(map(str, source.size))]
        else:
            words += ([] if source.side == LONGER_SIDE else ["--size", str(source.side)]) + ["--colour"] * source.colour
        return shlex.join(words)

    def descriptor(self) -> Representation:
        """Φ."""
        kind: Callable[..., Representation] = DESCRIPTORS[self.feature]
        return kind(**read_options(self.feature, self.given))

    def invert(self, phi: Representation, code: NDArray[Any], size: Size | None, progress: Callable[[Any], None]
               ) -> Result:
        """The result, with snapshots where there is a way."""
        if self.watches:
            from unfeature.inversion.invert import invert

            return invert(phi, code, preset=self.method, size=size, starts=self.starts, seed=self.seed,
                          progress=progress, snapshots=FRAMES, **self._search())
        kind = METHODS[self.method]
        baseline = kind.of(phi) if self.model is None else kind.load(self.model, phi)
        return baseline.invert(phi, code, size=size, count=self.starts, seed=self.seed)

    def _search(self) -> dict[str, Any]:
        """What the search is told beside the defaults."""
        if not self.watches:
            return {}
        return {name: value for name, value in self.search.items() if value not in (None, SEARCH[name])}


def _named(words: list[str]) -> list[str]:
    """Arguments in which the path of an uploaded file is its name."""
    return [Path(word).name if Path(word).is_absolute() else word for word in words]
