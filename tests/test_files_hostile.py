"""Hostile files: one sentence each, and nothing allocated that a file does not hold."""

from __future__ import annotations

import errno
import os

import numpy as np
import pytest

from unfeature.io import files
from unfeature.io.schema import Field, Value, check_fields

SCHEMA = {"words": Field("float32", ("words", "dimension")), "priors": Field("float32", ("words",), low=0, high=1),
          "counts": Field("int64", ("words",), optional=True), "side": Value(int, low=1)}
GOOD = {"words": np.ones((3, 2), np.float32), "priors": np.ones(3, np.float32), "side": 4}


def npy(header, body=b"", version=b"\x01\x00"):
    return b"\x93NUMPY" + version + len(header).to_bytes(2, "little") + header + body


@pytest.mark.parametrize("data", [
    npy(b"{'descr': '<f4', 'fortran_order': False, 'shape': (2, "),
    npy(b"{'descr': '<f4', 'fortran_order': False, 'shape': (9999999999999999999999,), }"),
    npy(b"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999,), }", bytes(8)),
    npy(b"{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", bytes(8)),
    npy(b"{'descr': '<f4', 'fortran_order': False, 'shape': (-2,), }", bytes(8)),
    npy(b"{'descr': '<c8', 'fortran_order': False, 'shape': (1,), }", bytes(8)),
    npy(b"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", bytes(4)),
    npy(b"(" * 5000), npy(b"'''"), npy(b"\xff\xfe"), npy(b"{}", version=b"\x09\x09"),
])
def test_headers(tmp_path, data):
    (tmp_path / "bad.npy").write_bytes(data)
    with pytest.raises(ValueError, match=r"bad\.npy is not a whole \.npy file"):
        files.load_array(tmp_path / "bad.npy")


@pytest.mark.parametrize("array", [
    np.asfortranarray(np.arange(6.0).reshape(2, 3)), np.arange(4, dtype=">i2"), np.zeros((0, 3)),
    np.array(2, np.float32), np.array([True, False]),
])
def test_layouts_and_byte_orders_are_read_as_numpy_reads_them(tmp_path, array):
    np.save(tmp_path / "a.npy", array)
    found = files.load_array(tmp_path / "a.npy")
    np.testing.assert_array_equal(found, array)
    assert found.dtype == array.dtype.newbyteorder("=") and found.flags.writeable


def test_compressed_bombs(tmp_path):
    np.savez_compressed(tmp_path / "bomb.npz", a=np.zeros(10**6))
    with pytest.raises(ValueError, match="compressed"):
        files.load_arrays(tmp_path / "bomb.npz", "vocabulary")


@pytest.mark.parametrize("data", [b"[" * 100_000, b"9" * 10_000, b'{"a": NaN}', b"", b"\xff"])
def test_json(tmp_path, data):
    (tmp_path / "bad.json").write_bytes(data)
    with pytest.raises(ValueError, match=r"bad\.json is not a JSON file") as error:
        files.read_json(tmp_path / "bad.json")
    assert len(str(error.value)) < 600


def test_pipes_are_refused_instead_of_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for load in (files.load_array, files.read_json, lambda p: files.load_arrays(p, "vocabulary")):
        with pytest.raises(ValueError, match="pipe"):
            load(tmp_path / "pipe")


def test_a_schema_accepts_what_fits_and_names_the_dimensions():
    assert check_fields("f", GOOD, SCHEMA) == {"words": 3, "dimension": 2}
    check_fields("f", {**GOOD, "counts": np.arange(3)}, SCHEMA)


@pytest.mark.parametrize(("change", "said"), [
    ({"words": np.ones((3, 2))}, "dtype float64 instead of float32"),
    ({"words": np.ones(3, np.float32)}, "shape"),
    ({"priors": np.ones(4, np.float32)}, r"shape \(4,\) instead of \(words = 3\)"),
    ({"priors": np.full(3, 2, np.float32)}, "spans 2 to 2 instead of 0 to 1"),
    ({"words": np.full((3, 2), np.nan, np.float32)}, "6 values that are not finite"),
    ({"side": 0}, "number from 1"), ({"side": True}, "instead of a value of type int"), ({"side": 4.0}, "type int"),
    ({"side": -(10**5000)}, "a huge number"), ({"other": 1}, "unknown fields: other"),
    ({"words": [1]}, "instead of an array"),
])
def test_a_schema_refuses_the_rest(change, said):
    with pytest.raises(ValueError, match=f"^f is damaged.*{said}"):
        check_fields("f", {**GOOD, **change}, SCHEMA)


def test_missing_fields_are_named():
    with pytest.raises(ValueError, match="lacks words, priors"):
        check_fields("f", {"side": 1}, SCHEMA)
    with pytest.raises(ValueError, match="instead of fields"):
        check_fields("f", [1], SCHEMA)


def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    files.save_array(tmp_path / "a.npy", np.ones(3))

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("numpy.save", full)
    with pytest.raises(ValueError, match=r"cannot write .*a\.npy: No space left on device"):
        files.save_array(tmp_path / "a.npy", np.zeros(3))
    np.testing.assert_array_equal(files.load_array(tmp_path / "a.npy"), np.ones(3))
    assert [p.name for p in tmp_path.iterdir()] == ["a.npy"]


def test_names_that_are_not_utf8(tmp_path):
    name = os.fsdecode(b"caf\xe9.json")
    files.write_json(tmp_path / name, {"name": name})
    assert files.read_json(tmp_path / name) == {"name": name}
    assert [p.name for p in tmp_path.iterdir()] == [name]
