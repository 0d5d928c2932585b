"""Runs functions that Dynamo cannot trace. Importing this file imports Dynamo: do so only under torch.compile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


@torch.compiler.disable
def untraced(function: Callable[..., Any], *arguments: Any) -> Any:
    """function(*arguments), hidden from Dynamo."""
    return function(*arguments)
