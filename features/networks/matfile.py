"""Reader of MATLAB files, version 5 to 7, that checks every length before it follows it.

SciPy's reader trusts a file: a damaged one can crash the process or keep it busy. Read are numbers, text, cells and
structs, as `scipy.io.loadmat` gives them; other variables, such as sparse matrices and function handles, are None.
"""

from __future__ import annotations

import math
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

MATRIX, COMPRESSED = 14, 15
CELL, STRUCT, OBJECT, TEXT = 1, 2, 3, 4
STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
ENCODINGS = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
DEEPEST, LONGEST_NAME = 20, 64
MOST_EXPANSION, ALWAYS_ALLOWED = 100, 2**26


def read_mat(path: Path) -> dict[str, Any]:
    """The variables of a MATLAB file by name; ValueError, zlib.error or struct.error if it is damaged."""
    data = memoryview(path.read_bytes())
    if bytes(data[:10]) == b"MATLAB 7.3":
        raise NotImplementedError
    order = {b"IM": "<", b"MI": ">"}.get(bytes(data[126:128]))
    if order is None or bytes(data[124:126]) not in (b"\0\1", b"\1\0"):
        raise ValueError("its header is not that of a MATLAB file of version 5 to 7")
    room = max(ALWAYS_ALLOWED, MOST_EXPANSION * len(data))
    variables: dict[str, Any] = {}
    at = 128
    while at < len(data):
        reader = _Elements(data, order, at)
        kind, body = reader.next()
        at = reader.at
        if kind == COMPRESSED:
            inflated = _inflated(body, room)
            room -= len(inflated)
            kind, body = _Elements(inflated, order).next()
        if kind != MATRIX:
            raise ValueError(f"it holds an element of type {kind} where a variable is expected")
        name, value = _matrix(body, order)
        variables[name] = value
    return variables


class _Elements:
    """The elements of some bytes, one after the other: their type and their bytes."""

    def __init__(self, data: memoryview, order: str, at: int = 0) -> None:
        self.data, self.order, self.at = data, order, at

    def next(self) -> tuple[int, memoryview]:
        kind, size = struct.unpack_from(f"{self.order}II", self.data, self.at)
        begin = self.at + 8
        if kind >> 16:  # up to four bytes, stored in the tag
            kind, size, begin = kind & 0xFFFF, kind >> 16, self.at + 4
            if size > 4:
                raise ValueError("the size of an element is damaged")
        end = begin + size
        if end > len(self.data):
            raise ValueError("it is truncated, or the size of an element is damaged")
        self.at += 8 if begin == self.at + 4 else 8 + (size if kind == COMPRESSED else -(-size // 8) * 8)
        return kind, self.data[begin:end]

    def numbers(self) -> NDArray[Any]:
        kind, body = self.next()
        if kind not in STORED:
            raise ValueError(f"it holds an element of type {kind} where numbers are expected")
        return np.frombuffer(body, f"{self.order}{STORED[kind]}")

    def text(self) -> str:
        kind, body = self.next()
        encoding = ENCODINGS.get(kind)
        if encoding is None:
            raise ValueError(f"it holds an element of type {kind} where text is expected")
        ending = {"<": "-le", ">": "-be"}[self.order] if encoding in ("utf-16", "utf-32") else ""
        return bytes(body).decode(encoding + ending)


def _inflated(body: memoryview, room: int) -> memoryview:
    stream = zlib.decompressobj()
    data = stream.decompress(body, room)
    if not stream.eof:
        raise ValueError("a compressed variable is truncated, or expands beyond measure")
    return memoryview(data)


def _matrix(body: memoryview, order: str, depth: int = 0) -> tuple[str, Any]:
    """Name and value of a variable."""
    if len(body) == 0:
        return "", np.zeros((0, 0))
    if depth > DEEPEST:
        raise ValueError(f"it nests cells and structs more than {DEEPEST} deep")
    elements = _Elements(body, order)
    flags, = elements.numbers()[:1].tolist() or [0]
    kind = int(flags) & 0xFF
    if kind not in (CELL, STRUCT, OBJECT, TEXT, *CLASSES):
        return "", None
    shape, name = tuple(int(n) for n in elements.numbers()), elements.text()
    if not 2 <= len(shape) <= 32 or min(shape) < 0 or math.prod(shape) > len(body) * 8:
        raise ValueError(f"variable {name[:40]!r} has a damaged shape, {shape[:8]}")
    if kind in CLASSES:
        if int(flags) & 0x800:
            raise ValueError(f"variable {name[:40]!r} is complex")
        with np.errstate(invalid="ignore", over="ignore"):
            return name, elements.numbers().astype(CLASSES[kind]).reshape(shape, order="F")
    if kind == TEXT:
        text = elements.text() if math.prod(shape) else ""
        letters = np.array(list(text), dtype="U1").reshape((shape[0], -1) if text else (0, 1), order="F")
        return name, np.array(["".join(row) for row in letters], dtype=str)
    if kind == CELL:
        return name, _objects([_child(elements, depth) for _ in range(math.prod(shape))], shape)
    return name, _structs(elements, shape, kind == OBJECT, depth)


def _child(elements: _Elements, depth: int) -> Any:
    kind, body = elements.next()
    if kind != MATRIX:
        raise ValueError(f"it holds an element of type {kind} where a variable is expected")
    return _matrix(body, elements.order, depth + 1)[1]


def _structs(elements: _Elements, shape: tuple[int, ...], named: bool, depth: int) -> NDArray[Any]:
    """An array of structs, with one field of Python objects for each of theirs."""
    if named:
        elements.text()
    length, = elements.numbers()[:1].tolist() or [0]
    if not 1 <= length <= LONGEST_NAME:
        raise ValueError("the names of a struct's fields are damaged")
    text = elements.text()
    fields = [text[i : i + int(length)].split("\0")[0] for i in range(0, len(text), int(length))]
    count = math.prod(shape)
    rows = [[_child(elements, depth) for _ in fields] for _ in range(count if fields else 0)]
    array = np.empty(len(rows), dtype=[(field, object) for field in fields])
    for i, row in enumerate(rows):
        array[i] = tuple(row)
    return array.reshape(shape if fields else (0,), order="F")


def _objects(values: list[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    array = np.empty(len(values), dtype=object)
    for i, value in enumerate(values):
        array[i] = value
    return array.reshape(shape, order="F")
