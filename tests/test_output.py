"""Outputs destroy no input, no file of others, and no result by half."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import numpy as np
import pytest

from unfeature.display.report import write_report
from unfeature.inversion.result import Result
from unfeature.io.files import read_json, save_array, write_json
from unfeature.io.output import check_output, result_folder, write_beside_result


def result(count=1, value=0.5, codes=True):
    return Result(np.full((count, 4, 6), value, np.float32), np.zeros(count), np.zeros(count), "finished",
                  np.full((count, 3), value) if codes else None, {"objective": np.ones((5, count))})


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def full(*args, **kwargs):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_result_replaces_all_of_an_earlier_one_and_nothing_else(tmp_path):
    (tmp_path / "preimage-07.png").write_text("mine")
    (tmp_path / "notes.txt").write_text("mine")
    result(3).save(tmp_path)
    write_beside_result(tmp_path, "report.html", "page")
    result(1, 0.25, codes=False).save(tmp_path)
    assert names(tmp_path) == ["image.npy", "notes.txt", "preimage-07.png", "preimage.png", "result.json"]
    assert (tmp_path / "preimage-07.png").read_text() == "mine"
    loaded = Result.load(tmp_path)
    assert loaded.codes is None and loaded == result(1, 0.25, codes=False)


@pytest.mark.parametrize("name", ["preimage.png", "image.npy", "result.json"])
def test_files_of_others_are_not_overwritten(tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(ValueError, match=f"{name} would be overwritten"):
        result().save(tmp_path)
    assert names(tmp_path) == [name] and (tmp_path / name).read_text() == "mine"
    with pytest.raises(ValueError, match=f"{name} would be overwritten"), result_folder(tmp_path):
        pytest.fail("the work began")


def test_no_page_of_others_is_overwritten(tmp_path):
    result().save(tmp_path)
    (tmp_path / "report.html").write_text("mine")
    with pytest.raises(ValueError, match=r"report\.html would be overwritten"):
        write_beside_result(tmp_path, "report.html", "page")
    with pytest.raises(ValueError, match=r"report\.html would be overwritten"):
        write_report(tmp_path)
    assert (tmp_path / "report.html").read_text() == "mine"


def test_inputs_are_refused_before_the_work_also_through_links(tmp_path):
    with result_folder(tmp_path / "a") as place:
        (place / "original.png").write_text("photograph")
        result().save(place)
    assert "original.png" in read_json(tmp_path / "a" / "result.json")["files"]
    (tmp_path / "link").symlink_to(tmp_path / "a")
    (tmp_path / "photo.png").symlink_to(tmp_path / "a" / "original.png")
    for folder, source in (("a", "a/original.png"), ("link", "a/original.png"), ("a", "photo.png"),
                           ("a", "link/code.npy")):
        with pytest.raises(ValueError, match="is an input"), result_folder(tmp_path / folder, [tmp_path / source]):
            pytest.fail("the work began")
    assert (tmp_path / "photo.png").read_text() == "photograph"


@pytest.mark.parametrize("existing", [False, True])
def test_a_full_disk_leaves_what_there_was(tmp_path, monkeypatch, existing):
    folder = tmp_path / "new" / "out"
    if existing:
        result(2).save(folder)
    with monkeypatch.context() as patch, pytest.raises(ValueError, match="No space left on device") as error:
        patch.setattr("numpy.save", full)
        result(1, 0.25).save(folder)
    assert str(folder) in str(error.value) or "image.npy" in str(error.value)
    assert Result.load(folder) == result(2) if existing else names(tmp_path) == []


def test_a_kill_while_files_move_is_noticed_and_mended(tmp_path, monkeypatch):
    result(2).save(tmp_path)
    move = Path.replace

    def killed(self, target):
        if target == tmp_path / "preimage.png":
            raise KeyboardInterrupt
        return move(self, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("pathlib.Path.replace", killed)
        result(1).save(tmp_path)
    with pytest.raises(ValueError, match="damaged"):
        Result.load(tmp_path)
    result(1, 0.25).save(tmp_path)
    assert names(tmp_path) == ["code.npy", "image.npy", "preimage.png", "result.json"]
    assert Result.load(tmp_path) == result(1, 0.25)


def test_unwritable_folders_are_named_before_the_work(tmp_path, monkeypatch):
    def refuse(self, *args, **kwargs):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.mkdir", refuse)
        with pytest.raises(ValueError, match=f"{tmp_path}.*Permission denied"), result_folder(tmp_path):
            pytest.fail("the work began")
    monkeypatch.setattr("pathlib.Path.touch", refuse)
    with pytest.raises(ValueError, match=r"a\.npy.*Permission denied"):
        check_output(tmp_path / "a.npy")


def test_failed_work_leaves_no_folder(tmp_path):
    with pytest.raises(RuntimeError), result_folder(tmp_path / "a" / "b"):
        raise RuntimeError
    assert names(tmp_path) == []


def test_two_writers_at_the_same_time_leave_one_whole_result(tmp_path):
    made = [result(1 + i % 3, i / 8) for i in range(8)]
    threads = [threading.Thread(target=one.save, args=(tmp_path / "out",)) for one in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Result.load(tmp_path / "out") in made
    assert len(names(tmp_path / "out")) == 3 + len(Result.load(tmp_path / "out"))
    assert names(tmp_path) == ["out"]


def test_a_list_of_files_elsewhere_is_not_believed(tmp_path):
    (tmp_path / "mine.png").write_text("mine")
    result().save(tmp_path / "out")
    facts = read_json(tmp_path / "out" / "result.json")
    write_json(tmp_path / "out" / "result.json", {**facts, "files": [*facts["files"], "../mine.png", "/etc/x.png", 3]})
    result().save(tmp_path / "out")
    assert (tmp_path / "mine.png").exists()


def test_files_of_another_result_are_noticed(tmp_path):
    result(1).save(tmp_path)
    save_array(tmp_path / "code.npy", np.full((1, 3), 0.75))
    with pytest.raises(ValueError, match=r"code\.npy belongs to another result"):
        Result.load(tmp_path)


@pytest.mark.parametrize("change", [
    {"starts": 2}, {"starts": 1.5}, {"errors": [0.0, 1.0]}, {"errors": ["x"]}, {"errors": [-1.0]},
    {"history": {"a": [[1.0]], "b": [[1.0], [2.0]]}}, {"history": []}, {"status": None}, {"provenance": []},
    {"history": {"a": 3}}, {"format": 1}, {"digests": {}}, {"incomplete": True},
    {"errors": [10**400]}, {"digests": {"image.npy": 5}},
])
def test_facts_of_wrong_types_and_lengths_are_refused(tmp_path, change):
    result(1).save(tmp_path)
    write_json(tmp_path / "result.json", {**read_json(tmp_path / "result.json"), **change})
    with pytest.raises(ValueError, match="damaged"):
        Result.load(tmp_path)


def test_single_files_destroy_no_input_and_no_picture(tmp_path):
    photograph, picture = tmp_path / "p.png", tmp_path / "other.png"
    for path in (photograph, picture):
        path.write_bytes(b"\x89PNG")
    (tmp_path / "link.npy").symlink_to(photograph)
    for output, said in ((photograph, "is an input"), (tmp_path / "link.npy", "is an input"),
                         (picture, "not a file that unfeature wrote")):
        with pytest.raises(ValueError, match=said):
            check_output(output, [photograph])
    assert check_output(tmp_path / "new" / "code.npy", [photograph]) == tmp_path / "new" / "code.npy"
    assert names(tmp_path) == ["link.npy", "other.png", "p.png"]
    save_array(tmp_path / "code.npy", np.ones(2))
    check_output(tmp_path / "code.npy", [photograph])


def test_names_that_are_not_utf8(tmp_path):
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    result().save(folder)
    assert Result.load(folder) == result()


def test_orphans_of_killed_writers_go(tmp_path):
    result().save(tmp_path)
    orphan = tmp_path / ".unfeature-0123"
    orphan.mkdir()
    os.utime(orphan, (0, 0))
    result().save(tmp_path)
    assert not orphan.exists()
