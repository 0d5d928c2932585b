"""Safetensors files of networks: tensors, and a JSON header that says what they are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .files import atomic, existing_file

if TYPE_CHECKING:
    from torch import Tensor

NAME = "unfeature"


def save_tensors(path: str | Path, header: dict[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Write tensors and their header to one file, atomically; equal ones give equal bytes."""
    from safetensors.torch import save

    contiguous = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    with atomic(path) as temporary:
        temporary.write_bytes(save(contiguous, {NAME: json.dumps(header, sort_keys=True)}))


def stored_header(path: str | Path, kind: str) -> dict[str, Any]:
    """The header of what `save_tensors` wrote; FileNotFoundError, or ValueError if the file is not one of a kind."""
    from safetensors import SafetensorError, safe_open

    path = existing_file(path)
    try:
        with safe_open(str(path), "numpy") as opened:
            header = json.loads((opened.metadata() or {})[NAME])
        if not isinstance(header, dict):
            raise ValueError("its header is no JSON object")
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise ValueError(f"{path} is not a whole {kind} file of unfeature: {error}") from error
    return header
