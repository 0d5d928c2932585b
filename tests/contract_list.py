"""One line a descriptor: the contract tests run on every entry."""

from __future__ import annotations

from collections.abc import Callable

from unfeature.features.base import Representation

REPRESENTATIONS: dict[str, Callable[[], Representation]] = {}
