"""Whose run is which: one at a time for each browser session, and archives that only their session knows of."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from .run import Run
from .setting import Setting
from .source import Source

SESSIONS = 16


@dataclass
class Place:
    """What a session has: its last run, the token of that run's archive, and the settings kept for comparison."""

    run: Run | None = None
    token: str = ""
    kept: dict[str, Setting] = field(default_factory=dict)


class Desk:
    """The sessions of one server. Searches take turns, whichever session they are of: the cores are the same."""

    def __init__(self) -> None:
        self._places: OrderedDict[str, Place] = OrderedDict()
        self._guard, self._turn = threading.Lock(), threading.Lock()

    def place(self, session: str) -> Place:
        """What a session has. The sessions that were quiet for longest are forgotten."""
        with self._guard:
            self._places.setdefault(session, Place())
            self._places.move_to_end(session)
            while len(self._places) > SESSIONS:
                self._leave(self._places.popitem(last=False)[1])
            return self._places[session]

    def begin(self, session: str, source: Source, settings: Sequence[Setting]) -> Run:
        """Start a run; ValueError if one of this session is under way."""
        place = self.place(session)
        with self._guard:
            if place.run is not None and not place.run.finished:
                raise ValueError("a run is under way: stop it first, or wait for its end")
            place.run, place.token = Run(source, settings, self._turn), secrets.token_urlsafe(24)
            place.run.start()
            return place.run

    def stop(self, session: str) -> None:
        """Stop the run of a session."""
        if (run := self.place(session).run) is not None:
            run.stop()

    def forget(self, session: str) -> None:
        """A session is over: its run ends."""
        with self._guard:
            self._leave(self._places.pop(session, Place()))

    def close(self) -> None:
        """End all runs, and wait for them."""
        with self._guard:
            runs = [place.run for place in self._places.values() if place.run is not None]
            self._places.clear()
        for run in runs:
            run.stop()
        for run in runs:
            run.join(10)

    def archive(self, token: str) -> bytes | None:
        """The zip file of the run with this token; None if there is none, or nothing in it yet."""
        with self._guard:
            run = next((place.run for place in self._places.values()
                        if place.token and secrets.compare_digest(place.token, token)), None)
        return run.archive() if run is not None and run.finished and run.has_results else None

    @staticmethod
    def _leave(place: Place) -> None:
        if place.run is not None:
            place.run.stop()
