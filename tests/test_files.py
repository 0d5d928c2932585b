"""Files: whole or not there, never a pickle."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from unfeature.io import files
from unfeature.io.output import result_folder


def test_atomic_replaces_only_when_the_block_ends(tmp_path):
    path = tmp_path / "new" / "text.txt"
    files.write_text(path, "before")
    with pytest.raises(RuntimeError), files.atomic(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "before"
    assert [p.name for p in path.parent.iterdir()] == ["text.txt"]
    with files.atomic(path) as temporary:
        assert temporary.suffix == ".txt"
        temporary.write_text("after")
        assert path.read_text() == "before"
    assert path.read_text() == "after"


def test_a_failed_first_write_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), files.atomic(tmp_path / "a.bin") as temporary:
        temporary.write_bytes(b"half")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["file/a.txt", "file/b/a.txt", "folder"])
def test_unwritable_places_are_named(tmp_path, place):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(ValueError, match=str(tmp_path / "f")):
        files.write_text(tmp_path / place, "x")


def test_permission_trouble_is_a_value_error(tmp_path, monkeypatch):
    def refuse(self, *args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.touch", refuse)
    with pytest.raises(ValueError, match=r"cannot write .*a\.txt: Permission denied"):
        files.write_text(tmp_path / "a.txt", "x")


def test_arrays_come_back_exactly_and_files_are_reproducible(tmp_path):
    numbers = np.arange(6, dtype=np.float32).reshape(2, 3)
    arrays = {"numbers": numbers, "names": np.array(["x", "yz"]), "none": np.zeros((0, 4))}
    meta = {"descriptor": {"type": "HOG"}, "words": 3}
    for name in ("one.npz", "two"):
        files.save_arrays(tmp_path / name, "vocabulary", meta, **arrays)
    found_meta, found = files.load_arrays(tmp_path / "one.npz", "vocabulary")
    assert found_meta == meta
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two").read_bytes()


def test_objects_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match="Python objects"):
        files.save_arrays(tmp_path / "a.npz", "vocabulary", {}, a=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="must be JSON"):
        files.save_arrays(tmp_path / "a.npz", "vocabulary", {"a": np.zeros(2)})
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def whole(tmp_path):
    path = tmp_path / "whole.npz"
    files.save_arrays(path, "vocabulary", {}, words=np.arange(100.0))
    return path


def damaged(whole, how):
    data = whole.read_bytes()
    return {
        "empty": b"",
        "text": b"hello world",
        "pickle": pickle.dumps({"a": 1}),
        "truncated": data[:-40],
        "flipped": data[:600] + bytes([data[600] ^ 255]) + data[601:],
    }[how]


@pytest.mark.parametrize("how", ["empty", "text", "pickle", "truncated", "flipped"])
@pytest.mark.parametrize("load", [lambda p: files.load_arrays(p, "vocabulary"), files.load_array, files.read_json])
def test_damaged_files_are_value_errors_that_name_the_file(whole, how, load):
    bad = whole.with_name("bad.npz")
    bad.write_bytes(damaged(whole, how))
    with pytest.raises(ValueError, match=r"bad\.npz"):
        load(bad)


def test_foreign_kinds_and_foreign_files_are_refused(whole, tmp_path):
    with pytest.raises(ValueError, match="of kind 'vocabulary': give one of kind 'dictionary'"):
        files.load_arrays(whole, "dictionary")
    np.savez(tmp_path / "foreign.npz", a=np.eye(2))
    np.save(tmp_path / "foreign.npy", np.eye(2))
    for name in ("foreign.npz", "foreign.npy"):
        with pytest.raises(ValueError, match="foreign"):
            files.load_arrays(tmp_path / name, "vocabulary")


def test_pickled_arrays_are_never_loaded(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("a pickle was loaded",))

    np.save(tmp_path / "bomb.npy", np.array([Bomb()], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "bomb.npz", a=np.array([Bomb()], dtype=object))
    with pytest.raises(ValueError, match="never loaded"):
        files.load_array(tmp_path / "bomb.npy")
    with pytest.raises(ValueError, match="never loaded"):
        files.load_arrays(tmp_path / "bomb.npz", "vocabulary")


def test_missing_files_and_folders(tmp_path):
    for load in (files.load_array, files.read_json, lambda p: files.load_arrays(p, "vocabulary")):
        with pytest.raises(FileNotFoundError, match="nothing"):
            load(tmp_path / "nothing")
        with pytest.raises(ValueError, match="is a folder"):
            load(tmp_path)


def test_one_array_round_trip(tmp_path):
    array = np.arange(12.0).reshape(2, 3, 2)
    files.save_array(tmp_path / "a.npy", array)
    np.testing.assert_array_equal(files.load_array(tmp_path / "a.npy"), array)


def test_json_holds_numpy_and_makes_nan_null(tmp_path):
    values = {"a": np.array([1.0, np.nan]), "b": np.float32(2), "c": (np.int64(3), np.inf)}
    files.write_json(tmp_path / "a.json", values)
    assert files.read_json(tmp_path / "a.json") == {"a": [1.0, None], "b": 2.0, "c": [3, None]}


def test_folders_of_failed_work_go_again(tmp_path):
    with pytest.raises(ValueError, match="work"), result_folder(tmp_path / "a" / "b"):
        raise ValueError("work")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="work"), result_folder(tmp_path / "a" / "b"):
        files.write_text(tmp_path / "a" / "kept.txt", "x")
        raise ValueError("work")
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["kept.txt"]
    with result_folder(tmp_path / "a" / "c"):
        pass
    assert (tmp_path / "a" / "c").is_dir()
