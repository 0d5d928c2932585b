"""The reader of MATLAB files, against SciPy's on whole files, and against damage."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from scipy.io import loadmat, savemat
from scipy.sparse import eye

from unfeature.features.networks.matfile import read_mat

CELL = np.empty((1, 3), dtype=object)
CELL[0] = [np.arange(6.0).reshape(2, 3), "text", np.zeros((0, 2))]
VARIABLES = {
    "numbers": np.arange(24, dtype=np.float32).reshape(2, 3, 4), "small": np.array([[7]], np.int16), "scalar": 2.5,
    "flags": np.array([[True, False]]), "text": "héllo", "rows": np.array(["abc", "def"]), "empty": np.zeros((0, 3)),
    "cell": CELL, "struct": {"a": 1.0, "inner": {"b": "x", "c": CELL}}, "int64": np.array([[2**40, -1]]),
    "structs": np.array([[(1.0, "p"), (2.0, "q")]], dtype=[("weight", object), ("name", object)]),
}


def same(a, b):
    assert a.shape == b.shape and a.dtype.names == b.dtype.names
    if a.dtype.names:
        for x, y in zip(a.reshape(-1), b.reshape(-1), strict=True):
            for name in a.dtype.names:
                same(x[name], y[name])
    elif a.dtype == object:
        for x, y in zip(a.reshape(-1), b.reshape(-1), strict=True):
            same(x, y)
    else:
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("compressed", [False, True])
def test_whole_files_are_read_as_scipy_reads_them(tmp_path, compressed):
    savemat(tmp_path / "a.mat", VARIABLES, do_compression=compressed)
    expected = {name: value for name, value in loadmat(tmp_path / "a.mat").items() if not name.startswith("__")}
    found = read_mat(tmp_path / "a.mat")
    assert list(found) == list(expected)
    for name, value in expected.items():
        same(found[name], value)


def test_what_no_network_holds_is_left_out(tmp_path):
    savemat(tmp_path / "a.mat", {"sparse": eye(3, format="csc"), "number": 1.0})
    assert read_mat(tmp_path / "a.mat")["number"] == 1


def nested(depth):
    head = struct.pack("<IIII", 6, 8, 1, 0) + struct.pack("<IIii", 5, 8, 1, 1) + struct.pack("<II", 1, 0)
    body = b""
    for _ in range(depth):
        body = struct.pack("<II", 14, len(head) + len(body)) + head + body
    return body


HEADER = b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\1IM"
SHAPE = struct.pack("<IIII", 6, 8, 6, 0) + struct.pack("<IIii", 5, 8, 2**30, 2**30) + struct.pack("<II", 1, 0)


@pytest.mark.parametrize("body", [
    nested(500), b"\x0e\0\0\0\xff\xff\xff\xff", b"\x0e\0\0\0", struct.pack("<II", 14, len(SHAPE)) + SHAPE,
    struct.pack("<II", 15, 4) + b"abcd", struct.pack("<II", 99, 0), struct.pack("<II", 14, 8) + b"\xff" * 8,
    *(struct.pack("<II", 15, len(z)) + z for z in [zlib.compress(bytes(2**27))]),
])
def test_damage_is_found(tmp_path, body):
    (tmp_path / "a.mat").write_bytes(HEADER + body)
    with pytest.raises((ValueError, zlib.error, struct.error)):
        read_mat(tmp_path / "a.mat")
