"""The commands on many photographs: a folder or a store, processes, a kill, a second run."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time

import numba
import numpy as np
import pytest
from PIL import Image

import unfeature as uf
from unfeature.cli.bench import announced
from unfeature.cli.common import compilation_said
from unfeature.features.code import load_code
from unfeature.io.files import read_json
from unfeature.io.images import bundled, named_images, resize_longer, write_png

HOG = ("--feature", "hog", "--cell-size", "5")
EARLY = """
import sys
from unfeature.cli import main
from unfeature.cli.bench import announced
from unfeature.cli.common import compilation_said
try:
    main(sys.argv[1:])
except SystemExit as stop:
    print(stop.code, sorted({"torch", "numba", "scipy", "skimage"} & set(sys.modules)))
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Five photographs of two sizes in a tree, and a file that is none."""
    folder = tmp_path_factory.mktemp("photographs")
    for i, name in enumerate(("astronaut", "camera", "coffee")):
        write_png(folder / f"{name}.png", resize_longer(bundled(name), 40 + 8 * (i % 2)))
    (folder / "more").mkdir()
    write_png(folder / "more" / "camera.png", resize_longer(bundled("camera"), 44))
    write_png(folder / "more" / "rocket.jpg", resize_longer(bundled("rocket"), 40))
    return folder


def contents(folder):
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.rglob("*")) if path.is_file()}


def expected(tree):
    phi = uf.HOG(cell_size=5)
    return {name: phi(uf.read_image(path, grey=True)) for name, path in named_images(tree)}


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_tree_becomes_a_folder_of_codes(call, tree, tmp_path, jobs):
    out = tmp_path / "codes"
    status, printed, said = call("features", tree, *HOG, "--jobs", jobs, "-o", out)
    assert (status, printed) == (0, f"{out}\n") and "5 photographs, 0 done before" in said
    wanted = expected(tree)
    assert sorted(wanted) == ["astronaut", "camera", "coffee", "more/camera", "more/rocket"]
    for name, code in wanted.items():
        stored = load_code(out / f"{name}.npy", uf.HOG(cell_size=5))
        np.testing.assert_array_equal(stored, code)
        assert stored.image_size == code.image_size
    assert read_json(out / "run.json")["descriptor"] == uf.HOG(cell_size=5).to_config()


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_tree_becomes_one_store(call, tree, tmp_path, jobs):
    zarr = pytest.importorskip("zarr")
    out = tmp_path / "codes.zarr"
    assert call("features", tree, *HOG, "--jobs", jobs, "-o", out)[0] == 0
    store = zarr.open_group(out, mode="r")
    assert store.attrs["descriptor"] == uf.HOG(cell_size=5).to_config()
    for name, code in expected(tree).items():
        np.testing.assert_array_equal(store[name][:], code)
        assert tuple(store[name].attrs["image_size"]) == code.image_size


def test_a_second_run_does_only_what_is_missing(call, tree, tmp_path):
    out = tmp_path / "codes"
    call("features", tree, *HOG, "--jobs", 1, "-o", out)
    before = contents(out)
    (out / "coffee.npy").unlink()
    kept = (out / "camera.npy").stat().st_mtime_ns
    status, _, said = call("features", tree, *HOG, "--jobs", 1, "-o", out)
    assert status == 0 and "5 photographs, 4 done before" in said
    assert contents(out) == before and (out / "camera.npy").stat().st_mtime_ns == kept


@pytest.mark.parametrize("name", ["codes", "codes.zarr"])
def test_codes_of_other_settings_are_not_mixed(call, tree, tmp_path, name):
    call("features", tree, *HOG, "--jobs", 1, "-o", tmp_path / name)
    status, _, said = call("features", tree, *HOG, "--size", 32, "--jobs", 1, "-o", tmp_path / name)
    assert status == 2 and "was begun with another size (256): give the same options to go on" in said


def test_a_store_that_a_killed_run_has_only_opened_is_taken(call, tree, tmp_path):
    zarr = pytest.importorskip("zarr")
    zarr.open_group(tmp_path / "codes.zarr", mode="a")
    assert call("features", tree, *HOG, "--jobs", 1, "-o", tmp_path / "codes.zarr")[0] == 0
    zarr.open_group(tmp_path / "theirs.zarr", mode="a").create_group("others")
    status, _, said = call("features", tree, *HOG, "--jobs", 1, "-o", tmp_path / "theirs.zarr")
    assert status == 2 and "was begun with another descriptor" in said


def test_the_own_size_is_called_so_and_several_codes_need_a_folder(call, tree, tmp_path):
    call("features", tree, *HOG, "--size", "own", "--jobs", 1, "-o", tmp_path / "codes")
    status, _, said = call("features", tree, *HOG, "--jobs", 1, "-o", tmp_path / "codes")
    assert status == 2 and "was begun with another size (own)" in said
    status, _, said = call("features", tree, *HOG, "-o", tmp_path / "codes.npy")
    assert status == 2 and "go into a folder, or a .zarr store" in said and not (tmp_path / "codes.npy").exists()


def test_a_bad_photograph_does_not_end_the_others(call, tree, tmp_path):
    (tmp_path / "bad.png").write_text("no image")
    out = tmp_path / "codes"
    status, _, said = call("features", tree / "camera.png", tmp_path / "bad.png", *HOG, "-o", out, "--quiet")
    assert status == 2 and "bad.png cannot be read as an image" in said and "1 of 2 photographs failed" in said
    assert len(list(out.rglob("*.npy"))) == 1


@pytest.mark.parametrize("name", ["codes", "codes.zarr"])
def test_a_killed_run_goes_on_to_the_same_store(call, tmp_path, name):
    place = tmp_path / "photographs"
    place.mkdir()
    image = resize_longer(bundled("coffee"), 160)
    for i in range(60):
        write_png(place / f"{i:03d}.png", np.roll(image, i, axis=1))
    arguments, out = ["features", str(place), *HOG, "--jobs", "1", "-o"], tmp_path / name
    assert call(*arguments, tmp_path / f"whole-{name}")[0] == 0
    process = subprocess.Popen([sys.executable, "-m", "unfeature", *arguments, str(out)], stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(list(out.glob("0*"))) < 6:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(list(out.glob("0*.npy" if name == "codes" else "0*"))) < 60
    time.sleep(1)  # a younger file that is not locked yet may be that of another process
    assert call(*arguments, out)[0] == 0
    assert contents(out) == contents(tmp_path / f"whole-{name}")


def test_many_are_inverted_each_into_its_folder(call, tree, tmp_path):
    settings = (*HOG, "--preset", "fast", "--steps", 4, "-o", tmp_path / "out")
    status, printed, said = call("invert", tree, *settings, "--jobs", 2)
    assert (status, printed) == (0, f"{tmp_path / 'out'}\n") and "0 done before" in said
    code = expected(tree)["more/camera"]
    result = uf.Result.load(tmp_path / "out" / "more" / "camera", uf.HOG(cell_size=5))
    np.testing.assert_array_equal(result.images, uf.invert(uf.HOG(cell_size=5), code, preset="fast", steps=4).images)
    assert all((tmp_path / "out" / name / "report.html").is_file() for name in expected(tree))
    (tmp_path / "out" / "coffee" / "result.json").unlink()
    for path in (tmp_path / "out" / "coffee").iterdir():
        path.unlink()
    status, _, said = call("invert", tree, *settings, "--jobs", 1)
    assert status == 0 and "5 photographs, 4 done before" in said
    status, _, said = call("invert", tree, *settings[:-4], "--steps", 5, *settings[-2:])
    assert status == 2 and "was begun with another settings" in said


def test_photographs_of_equal_size_are_inverted_together(call, tmp_path):
    (tmp_path / "in").mkdir()
    images = [uf.resize_longer(uf.to_grey(uf.bundled(name)), 40) for name in ("camera", "astronaut", "coffee")]
    for i, image in enumerate([*images, images[0].T]):
        write_png(tmp_path / "in" / f"{i}.png", image)
    settings = (*HOG, "--preset", "fast", "--steps", 4, "-o")
    assert call("invert", tmp_path / "in", "--jobs", 1, *settings, tmp_path / "out")[0] == 0
    found = [uf.Result.load(tmp_path / "out" / str(i)) for i in range(4)]
    for i, result in enumerate(found):
        call("invert", tmp_path / "in" / f"{i}.png", *settings, tmp_path / "alone" / str(i))
        alone = uf.Result.load(tmp_path / "alone" / str(i))
        np.testing.assert_array_equal(result.images, alone.images)
        np.testing.assert_equal(result.history, alone.history)
    assert found[0].provenance["seconds"] == found[1].provenance["seconds"]


@pytest.mark.parametrize(("arguments", "message"), [
    ("invert missing.jpg --feature hog", "there is no image missing.jpg"),
    ("invert . missing.npy --feature hog", "there is no file missing.npy"),
    ("features missing.png --feature hog -o a.npy", "there is no image missing.png"),
    ("invert . --feature hog --preset bset", "did you mean 'best'?"),
    ("invert . --feature hog --method rigde", "did you mean 'ridge'?"),
])
def test_missing_files_and_unknown_names_are_noticed_before_anything_is_imported(tmp_path, arguments, message):
    done = subprocess.run([sys.executable, "-c", EARLY, *arguments.split()], cwd=tmp_path, capture_output=True,
                          text=True, timeout=60, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    assert done.stdout == "2 []\n" and message in done.stderr


def test_features_and_invert_take_the_same_photograph_by_default(call, tmp_path):
    for side, shown in ((300, 256), (40, 40)):
        write_png(tmp_path / "a.png", resize_longer(bundled("camera"), side))
        assert call("features", tmp_path / "a.png", *HOG, "-o", tmp_path / "a.npy")[0] == 0
        assert call("invert", tmp_path / "a.png", *HOG, "--steps", 1, "-o", tmp_path / "out")[0] == 0
        assert uf.Result.load(tmp_path / "out").image.shape == (shown, shown)
        np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), np.load(tmp_path / "out" / "code.npy")[0])
    write_png(tmp_path / "b.png", resize_longer(bundled("camera"), 300))
    call("features", tmp_path / "b.png", *HOG, "--size", "own", "-o", tmp_path / "b.npy")
    assert np.load(tmp_path / "b.npy").shape[:2] == (60, 60)


def test_a_photograph_that_is_too_narrow_asks_for_a_size(call, tmp_path):
    write_png(tmp_path / "panorama.png", np.zeros((12, 900)))
    status, _, said = call("invert", tmp_path / "panorama.png", "--feature", "hog", "-o", tmp_path / "out")
    assert status == 2 and "has 3 × 256 pixels here; give a larger --size, its own longer side is 900" in said


def test_a_heic_file_gets_a_sentence(call, tmp_path):
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic")
    status, _, said = call("invert", tmp_path / "a.heic", "--feature", "hog")
    assert status == 2 and "is a HEIC image, which Pillow cannot read: convert it to JPEG or PNG" in said


def test_transparency_is_said_once(call, tree, tmp_path):
    for i in range(2):
        picture = Image.open(tree / "camera.png")
        picture.putalpha(100 + i)
        picture.save(tmp_path / f"{i}.png")
    status, _, said = call("features", tmp_path, *HOG, "--jobs", 1, "-o", tmp_path / "codes")
    assert status == 0 and said.count("unfeature: an image is transparent in places: it is laid on white\n") == 1


def test_a_command_says_once_that_it_compiles(capsys, monkeypatch):
    for terminal, lines in ((True, 1), (False, 0)):
        monkeypatch.setattr(sys.stderr, "isatty", lambda terminal=terminal: terminal)
        with compilation_said():
            for _ in range(2):
                numba.njit(lambda x: x + 1)(1)
        assert capsys.readouterr().err.count("compiling, once") == lines


def test_tables_announce_how_many_tasks_there_are(capsys):
    told = []
    tell = announced(lambda *state: told.append(state), quiet=False)
    for state in ((2, 7, 0), (3, 7, 0), (0, 4, 0)):
        tell(*state)
    assert told == [(2, 7, 0), (3, 7, 0), (0, 4, 0)]
    assert capsys.readouterr().err == "7 tasks, 2 done before\n4 tasks, 0 done before\n"
