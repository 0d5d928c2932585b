"""The wheel holds what the rooms hold, and no more."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOMS = {"api": "unfeature", **{r: f"unfeature/{r}" for r in ("features", "inversion", "baselines", "benchmarks")}}
LARGEST = 40 * 2**20
FILES = ("setup.py", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def wheel(root, tmp_path_factory):
    """The wheel named by WHEEL, or one built of a copy of the tree."""
    if "WHEEL" in os.environ:
        return Path(os.environ["WHEEL"]).resolve()
    copy = tmp_path_factory.mktemp("tree")
    for name in (*ROOMS, *FILES):
        if (root / name).is_dir():
            shutil.copytree(root / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(root / name, copy / name)
    command = [sys.executable, "-c", "from setuptools import build_meta; build_meta.build_wheel('dist')"]
    subprocess.run(command, cwd=copy, check=True, capture_output=True)
    (built,) = (copy / "dist").glob("*.whl")
    return built


def test_wheel_holds_the_files_of_the_rooms(wheel, root):
    expected = {
        f"{package}/{path.relative_to(root / room).as_posix()}"
        for room, package in ROOMS.items()
        for path in (root / room).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with zipfile.ZipFile(wheel) as archive:
        found = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert found == expected
    assert "unfeature/cli/__init__.py" in found and "unfeature/display/templates/page.html" in found


def test_models_work_from_the_wheel(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "installed")}
    script = ("import unfeature, sys; print(unfeature.__file__); from unfeature.cli import main; "
              "from unfeature.io.images import bundled_path; "
              "main(['invert', str(bundled_path('camera')), *sys.argv[1:]])")
    options = ("--method", "paired-dictionary", "--size", "96", "-o", tmp_path / "out")
    done = subprocess.run([sys.executable, "-c", script, *options], cwd=tmp_path, env=environment, capture_output=True,
                          text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(tmp_path / "installed")) and "relative error" in done.stdout
    assert (tmp_path / "out" / "preimage.png").exists()


def test_wheel_is_not_too_large(wheel):
    assert wheel.stat().st_size <= LARGEST


def test_wheel_has_its_licence_and_its_command(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name.split(".dist-info/")[1]: name for name in archive.namelist() if ".dist-info/" in name}
        assert "unfeature = unfeature.cli:main" in archive.read(names["entry_points.txt"]).decode()
        assert any(name.endswith("LICENSE") for name in names)
        metadata = archive.read(names["METADATA"]).decode()
    assert "Requires-Dist: torch" in metadata and "Requires-Python: >=3.10" in metadata
