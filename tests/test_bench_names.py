"""Names of photographs and folders on the pages of benchmarks, and the pictures' files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from unfeature.benchmarks import report
from unfeature.benchmarks.tables.descriptors import Descriptors, collection_digest
from unfeature.benchmarks.tasks import Store
from unfeature.io.images import encode_webp, read_image, write_png


def test_names_are_no_markup(tmp_path):
    assert report.escaped("a|b_c *d* [e](f)\n`<i>` _g_") == r"a\|b_c \*d\* \[e\](f) \`\<i\>\` \_g\_"
    table = {"name": "t", "title": "T", "columns": ["name"], "rows": [[{"text": "x|*y*\nz"}]], "note": ""}
    facts = {"table": "hog", "title": "T", "lead": "", "settings": {"command": "c", "photographs": "a*b*",
             **dict.fromkeys(("date", *report.MACHINE), "1")}, "failures": {"k|": "no *file*"}, "tables": [table],
             "rows": [], "files": []}
    (tmp_path / "results.json").write_text(json.dumps(facts))
    page = report.markdown([tmp_path])
    for text in (r"x\|\*y\* z", r"a\*b\*", r"k\|: no \*file\*"):
        assert text in page
    (tmp_path / "results.json").write_text(json.dumps({**facts, "tables": [{"name": 3}]}))
    with pytest.raises(ValueError, match="damaged"):
        report.markdown([tmp_path])


def test_photographs_of_equal_names_are_told_apart(tmp_path, monkeypatch):
    monkeypatch.setattr("unfeature.io.images.list_images", lambda folder: sorted(folder.rglob("*.*")))
    for i, name in enumerate(("a/one.png", "b/one.png", "b/two.png", "b/two.jpg")):
        write_png(tmp_path / "images" / name, np.full((8, 8 + (i < 2)), 0.5, dtype=np.float32))
    table = Descriptors(images=tmp_path / "images", out=tmp_path, side=64)
    assert [one.name for one in table.photographs] == ["a/one", "b/one", "b/two.jpg", "b/two.png"]
    tasks = table.tasks({"method": "best"}, {}, 64)
    assert len({task.key for task in tasks}) == len({task.inputs["image"] for task in tasks}) == 4
    assert all(Path(Store(tmp_path).place(task)).parent == tmp_path / "tasks" for task in tasks)


def test_training_folders_with_equal_names_differ(tmp_path, monkeypatch):
    monkeypatch.setattr("unfeature.benchmarks.tables.descriptors.list_images",
                        lambda folder: sorted(folder.rglob("*.png")))
    for name in ("one/a/x.png", "two/b/x.png"):
        write_png(tmp_path / name, np.full((8, 8), 0.5, dtype=np.float32))
    assert collection_digest([tmp_path / "one"]) != collection_digest([tmp_path / "two"])


def test_pictures_are_small_web_files(tmp_path):
    (tmp_path / "a.webp").write_bytes(encode_webp(np.linspace(0, 1, 600 * 4).reshape(600, 4)))
    assert read_image(tmp_path / "a.webp").shape[0] == 256
