"""A run: one source under several settings, one after the other, in a thread that others watch and stop."""

from __future__ import annotations

import base64
import logging
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from unfeature.display.folder import with_photograph, write_inversion
from unfeature.display.pictures import glyph
from unfeature.features.compilation import compilation
from unfeature.inversion.result import WHITE
from unfeature.io.images import encode_webp
from unfeature.io.interrupts import Interruptible
from unfeature.parameters.mistakes import sentence_about

from .setting import Setting
from .source import Source

if TYPE_CHECKING:
    from unfeature.features.base import Representation
    from unfeature.inversion.engine import Progress
    from unfeature.inversion.result import Result

MOST = 4
EVERY = 0.2  # seconds between two images of a search
SIDE = 512  # pixels of the pictures shown
AWAY = 120.0  # seconds without anyone who watches, after which a run ends

Inputs = tuple["Representation", NDArray[Any], NDArray[Any] | None]


@dataclass(frozen=True)
class Column:
    """What there is of one setting.

    Attributes
    ----------
    setting : Setting
    picture : str
        The image so far, or in the end, as a data URI.
    frames : tuple of (int, str)
        The images of the way, with the gradient evaluations after which they were taken.
    maps : tuple of (str, str)
        Pictures of the code and of what it does not know, with captions.
    curve : tuple of float
        Relative errors in the objective, one for each gradient evaluation.
    step, steps : int
        Gradient evaluations done, and those of the recipe.
    state : str
        What is happening, in words; empty when nothing is.
    problem : str
        Why there is no result, as a sentence.
    """

    setting: Setting
    picture: str = ""
    frames: tuple[tuple[int, str], ...] = ()
    maps: tuple[tuple[str, str], ...] = ()
    curve: tuple[float, ...] = ()
    step: int = 0
    steps: int = 0
    state: str = "waiting"
    problem: str = ""
    result: Result | None = None


class Run:
    """Inverts a source under one to four settings. `start` returns at once; `changes` tells when there is news."""

    def __init__(self, source: Source, settings: Sequence[Setting], turn: threading.Lock | None = None) -> None:
        if not 1 <= len(settings) <= MOST:
            raise ValueError(f"a run compares one to {MOST} settings, got {len(settings)}: leave some out")
        self.source, self.columns = source, [Column(setting) for setting in settings]
        self.photograph, self.problem, self.finished = "", "", False
        self._turn = turn or threading.Lock()
        self._stopped, self._inputs = threading.Event(), dict[int, Inputs]()
        self._deaf = Interruptible()  # a search that does not ask whether it is to stop
        self._news, self._version, self._watched = threading.Condition(), 0, time.monotonic()
        self._thread = threading.Thread(target=self._work, name="unfeature run", daemon=True)

    def start(self) -> None:
        """Begin, when those before have had their turn."""
        self._thread.start()

    def stop(self) -> None:
        """End the search under way with the image so far, and begin no other."""
        self._stopped.set()
        self._deaf.interrupt()

    @property
    def stopped(self) -> bool:
        """Whether it was told to stop."""
        return self._stopped.is_set()

    @property
    def has_results(self) -> bool:
        """Whether there is anything in its archive."""
        return any(column.result is not None for column in self.columns)

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the end; whether it has come."""
        self._thread.join(timeout)
        return self.finished

    def changes(self, least: float = 0.0) -> Iterator[None]:
        """One item for each change that is seen, `least` seconds apart; the last one is the end."""
        seen = -1
        while True:
            with self._news:
                if self._version == seen:
                    self._news.wait(1.0)
                seen, ended, self._watched = self._version, self.finished, time.monotonic()
            yield
            if ended:
                return
            time.sleep(least)

    def archive(self) -> bytes:
        """A zip file with the folder of each result, as ``unfeature invert`` writes it; ValueError if there is none."""
        found = [(i, column.result) for i, column in enumerate(self.columns) if column.result is not None]
        if not found:
            raise ValueError("there is no result to download: invert something first")
        stream = BytesIO()
        with tempfile.TemporaryDirectory() as place, zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as packed:
            for i, result in found:
                setting, (phi, code, photograph) = self.columns[i].setting, self._inputs[i]
                folder = Path(place) / f"{i + 1}-{setting.feature}-{setting.method}"
                folder.mkdir()
                write_inversion(folder, phi, code, result, photograph)
                for path in sorted(folder.iterdir()):
                    packed.write(path, f"{folder.name}/{path.name}")
        return stream.getvalue()

    def _work(self) -> None:
        try:
            with self._turn:
                photograph = None if self.stopped else self.source.photograph()
                self.photograph = "" if photograph is None else data_uri(self.source.resized(photograph))
                for i in range(len(self.columns)):
                    self._invert(i, photograph)
        except Exception as error:
            self.problem = self._said(error)
        finally:
            for i, column in enumerate(self.columns):
                missing = not (column.result or column.problem or self.problem)
                self._change(i, state="", problem="stopped before it began" if missing else column.problem)
            with self._news:
                self.finished, self._version = True, self._version + 1
                self._news.notify_all()

    def _invert(self, i: int, photograph: NDArray[np.float32] | None) -> None:
        """Find one setting's image, or say why there is none."""
        if self.stopped:
            return
        setting = self.columns[i].setting
        try:
            self._change(i, state="reading")
            phi = setting.descriptor()
            own, code, size = self.source.code_of(phi, photograph)
            self._inputs[i] = phi, code, own
            watch = _Watch(self, i)
            self._change(i, state="inverting")
            with (compilation(lambda: self._change(i, state="compiling, once"),
                              lambda seconds: self._change(i, state="inverting")),
                  nullcontext() if setting.watches else self._deaf.here()):
                found = setting.invert(phi, code, size, watch)
            result = with_photograph(found, self.source.path.name, own)
            command = {"command": setting.command(self.source)}
            self._show(i, replace(result, provenance={**result.provenance, **command}), watch)
        except (Exception, KeyboardInterrupt) as error:
            self._change(i, problem="stopped" if isinstance(error, KeyboardInterrupt) else self._said(error), state="")

    def _show(self, i: int, result: Result, watch: _Watch) -> None:
        """Show a result at once, then its code, what it does not know, and the way."""
        self._change(i, result=result, picture=data_uri(result.image), curve=tuple(watch.curve), step=len(watch.curve),
                     state="drawing")
        phi, code, _ = self._inputs[i]
        maps = [("its code", glyph(phi, code))]
        if result.guess is not None:
            maps.append(("what a decoder predicts", result.guess[result.best]))
        if result.uncertainty is not None:
            maps.append(("what the code does not know", result.uncertainty / WHITE))
        frames: Any = [] if result.snapshots is None else result.snapshots[:, result.best]
        self._change(i, state="", maps=tuple((said, data_uri(image)) for said, image in maps),
                     frames=tuple(zip(result.snapshot_steps, map(data_uri, frames), strict=True)))

    def _change(self, i: int, **changes: Any) -> None:
        with self._news:
            self.columns[i] = replace(self.columns[i], **changes)
            self._version += 1
            self._news.notify_all()

    def _left(self) -> bool:
        """Whether nobody has watched for long."""
        return time.monotonic() - self._watched > AWAY

    def _said(self, error: Exception) -> str:
        """A sentence about an error, in which files have no folders; what nobody foresaw goes to the log."""
        said = sentence_about(error)
        if said is None:
            logging.getLogger("unfeature").error("a run failed", exc_info=error)
            said = (f"{type(error).__name__}: {error}. This is a mistake in unfeature: please report it with what the "
                    "terminal shows")
        return " ".join(said.replace(f"{self.source.path.parent}/", "").split())


class _Watch:
    """The progress callback of one column: it notes errors, shows images now and then, and ends the search if told."""

    def __init__(self, run: Run, i: int) -> None:
        self.run, self.i, self.curve, self.shown = run, i, list[float](), 0.0

    def __call__(self, state: Progress) -> None:
        self.curve.append(state.error)
        if state.step < 4 or time.monotonic() - self.shown > EVERY:
            self.run._change(self.i, picture=data_uri(state.image), curve=tuple(self.curve), step=state.step,
                             steps=state.steps, state="inverting")
            self.shown = time.monotonic()
        if self.run.stopped or self.run._left():
            raise KeyboardInterrupt


def data_uri(image: NDArray[Any]) -> str:
    """An image in [0, 1] as the source of an ``img``."""
    return f"data:image/webp;base64,{base64.b64encode(encode_webp(image, SIDE)).decode('ascii')}"
