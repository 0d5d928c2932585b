"""Python on the pages and in docstrings runs as it stands there."""

from __future__ import annotations

import doctest
import importlib
import os
import re
from pathlib import Path

import pytest
from PIL import Image

import unfeature
from unfeature.baselines import METHODS
from unfeature.inversion import PRESETS
from unfeature.io.images import bundled_path

PAGES = ("README.md", "docs/recipes.md")


@pytest.mark.parametrize("page", PAGES)
def test_examples_of_a_page_run_one_after_the_other(root, page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.open(bundled_path("camera")).resize((48, 40)).save("photo.jpg")
    blocks = re.findall(r"```python\n(.*?)```", (root / page).read_text(encoding="utf-8"), re.S)
    assert blocks
    names = {}
    try:
        exec(compile("\n".join(blocks), page, "exec"), names)
    finally:
        PRESETS._loaded.pop("sparse", None)


def _documented():
    finder, package = doctest.DocTestFinder(exclude_empty=True), Path(unfeature.__file__).parent
    files = (Path(folder, name) for folder, _, names in os.walk(package, followlinks=True) for name in names)
    for path in sorted(file for file in files if file.suffix == ".py"):
        if ">>> " in path.read_text(encoding="utf-8"):
            parts = path.relative_to(package).with_suffix("").parts
            name = ".".join(("unfeature", *(part for part in parts if part != "__init__")))
            yield from (test for test in finder.find(importlib.import_module(name)) if test.examples)


@pytest.mark.parametrize("example", list(_documented()), ids=lambda test: test.name)
def test_examples_of_docstrings(example, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    seen = []
    failed = runner.run(example, out=seen.append).failed
    assert failed == 0, "".join(seen)


def test_the_reference_lists_every_public_name(root):
    listed = set(re.findall(r"^   (\w+)$", (root / "docs" / "api.md").read_text(encoding="utf-8"), re.M))
    assert {*dir(unfeature)} - {"__version__", "features", "baselines"} <= listed
    assert {*METHODS.class_names()} <= listed


def test_examples_of_the_gallery_compile(root):
    examples = sorted((root / "docs" / "examples").glob("plot_*.py"))
    assert len(examples) >= 12
    for path in examples:
        compile(path.read_text(encoding="utf-8"), str(path), "exec")
