"""Arrays in NumPy's formats, read without trust: nothing is allocated that the file does not hold."""

from __future__ import annotations

import math
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAGIC = b"\x93NUMPY"
LONGEST_HEADER = 10_000
HEADER = re.compile(rb"\{(?=.*'descr': *'([^']*)')(?=.*'fortran_order': *(True|False))"
                    rb"(?=.*'shape': *\(((?:\d{1,18}, *)*(?:\d{1,18})?)\))[^\0]*\}\s*")
NUMBERS = re.compile(rb"[<>|=](?:b1|[iu][1248]|f[248]|U[1-9]\d{0,3})")


def parse_npy(data: bytes) -> NDArray[Any]:
    """The array of the bytes of a .npy file; ValueError unless they are exactly one array of numbers or strings."""
    if data[:6] != MAGIC:
        if data[:1] == b"\x80":
            raise ValueError("it may be a pickle, and pickles are never loaded")
        raise ValueError("it does not begin as a .npy file does" if data else "it is empty")
    width = 2 if data[6:7] == b"\x01" else 4
    length = int.from_bytes(data[8 : 8 + width], "little")
    begin = 8 + width + length
    if data[6:8] not in (b"\x01\x00", b"\x02\x00", b"\x03\x00") or length > LONGEST_HEADER or len(data) < begin:
        raise ValueError("its header is damaged")
    found = HEADER.fullmatch(data[8 + width : begin])
    if found is None:
        raise ValueError("its header is damaged, or describes no array of numbers")
    if b"O" in found[1]:
        raise ValueError("it holds Python objects as a pickle, and pickles are never loaded")
    if NUMBERS.fullmatch(found[1]) is None:
        raise ValueError(f"its dtype is {found[1][:20].decode('latin-1')!r}, expected real numbers")
    dtype, shape = np.dtype(found[1].decode()), tuple(int(n) for n in found[3].replace(b" ", b"").split(b",") if n)
    if len(shape) > 32 or math.prod(shape) * dtype.itemsize != len(data) - begin:
        raise ValueError(f"it is truncated, or its header is damaged: the shape {shape[:32]} of {dtype} does not fit "
                         f"{len(data) - begin} bytes")
    array: NDArray[Any] = np.ndarray(shape, dtype, data, begin, order="F" if found[2] == b"True" else "C")
    return array.astype(dtype.newbyteorder("="))


def read_npz(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a .npz file that is not compressed; an exception of any type if it is damaged."""
    with path.open("rb") as stream:
        if stream.read(6) == MAGIC:
            raise ValueError("it is one array, .npy")
        stream.seek(0)
        if stream.read(1) == b"\x80":
            raise ValueError("it may be a pickle, and pickles are never loaded")
        with zipfile.ZipFile(stream) as archive:
            members = archive.infolist()
            if len({m.filename for m in members}) != len(members):
                raise ValueError("it names an array twice")
            if any(m.compress_type != zipfile.ZIP_STORED or m.file_size != m.compress_size for m in members):
                raise ValueError("its arrays are compressed, which unfeature's never are")
            if sum(m.file_size for m in members) > path.stat().st_size:
                raise ValueError("its arrays are larger than the file")
            return {m.filename.removesuffix(".npy"): parse_npy(archive.read(m)) for m in members}
