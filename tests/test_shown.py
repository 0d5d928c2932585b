"""Results on the way and at the end: progress, snapshots, films, notebooks, figures."""

from __future__ import annotations

import base64
import re
import subprocess
import sys
import time
from io import BytesIO, StringIO

import numpy as np
import pytest
from PIL import Image
from tqdm import tqdm

import unfeature as uf
from unfeature.features import jit
from unfeature.features.compilation import compilation
from unfeature.inversion.engine import Progress
from unfeature.inversion.progress import noted


@pytest.fixture(scope="module")
def phi():
    return uf.HOG(cell_size=6)


@pytest.fixture(scope="module")
def codes(phi):
    return [phi(np.random.default_rng(seed).random((30, 36), dtype=np.float32)) for seed in (0, 1)]


@pytest.fixture(scope="module")
def result(phi, codes):
    return uf.invert(phi, codes, preset="fast", steps=20, snapshots=5, seed=3)


def test_progress_has_the_images_so_far(phi, codes):
    seen = {}

    def look(progress):
        assert isinstance(progress, uf.Progress)
        if progress.step in (1, 12, 20):
            seen[progress.step] = progress.images
            np.testing.assert_array_equal(progress.image, progress.images[0])

    found = uf.invert(phi, codes, preset="fast", steps=20, seed=3, progress=look)
    assert all(images.shape == (2, 30, 36) and images.dtype == np.float32 for images in seen.values())
    np.testing.assert_array_equal(seen[20], found.images)
    assert not np.array_equal(seen[1], seen[12]) and not np.array_equal(seen[12], seen[20])


def test_images_are_rendered_on_demand_only():
    calls = []
    progress = Progress(1, 2, 0.5, 0.25, lambda: calls.append(1) or 1 / 0)
    assert progress.error == 0.5 and "look" not in repr(progress) and calls == []
    with pytest.raises(ZeroDivisionError):
        _ = progress.image


def test_snapshots_are_evenly_spaced_and_change_nothing(phi, codes, result):
    assert result.snapshot_steps == (1, 6, 10, 15, 20) and result.snapshots.shape == (5, 2, 30, 36)
    np.testing.assert_array_equal(result.snapshots[-1], result.images)
    plain = uf.invert(phi, codes, preset="fast", steps=20, seed=3)
    np.testing.assert_array_equal(plain.images, result.images)
    assert plain.snapshots is None and plain.snapshot_steps == ()
    errors = [np.linalg.norm(phi(np.clip(image, 0, 1)) - codes[0]) for image in result.snapshots[:, 0]]
    assert errors[-1] < 0.5 * errors[0]


def test_snapshots_of_chunks_are_those_of_the_whole(phi, codes, result):
    chunks = uf.invert(phi, codes, preset="fast", steps=20, snapshots=5, seed=3, memory=one_image(phi, codes))
    assert chunks.snapshot_steps == result.snapshot_steps
    np.testing.assert_array_equal(chunks.snapshots, result.snapshots)


def one_image(phi, codes):
    """A memory budget that holds one image but not two."""
    import torch

    from unfeature.inversion.recipes import fast
    from unfeature.inversion.search import bytes_per_image

    return int(1.5 * bytes_per_image(phi, fast(phi), (30, 36), torch.zeros(1)))


def test_an_interrupted_run_keeps_its_snapshots(phi, codes):
    def stop(progress):
        if progress.step == 11:
            raise KeyboardInterrupt

    result = uf.invert(phi, codes, preset="fast", steps=20, snapshots=5, progress=stop)
    assert result.snapshot_steps == (1, 6, 10, 11)
    np.testing.assert_array_equal(result.snapshots[-1], result.images)


def test_responses_and_caricatures_have_snapshots(phi, codes):
    response = uf.maximize(phi, direction=np.asarray(codes[0]), steps=6, snapshots=3)
    assert response.snapshot_steps == (1, 4, 6)
    exaggerated = uf.caricature(phi, np.eye(48, dtype=np.float32), steps=4, octaves=2, snapshots=2)
    assert exaggerated.snapshot_steps == (1, 4)
    np.testing.assert_array_equal(exaggerated.snapshots[-1], exaggerated.images)


def test_a_stored_result_has_its_snapshots(result, phi, tmp_path):
    result.save(tmp_path)
    loaded = uf.Result.load(tmp_path, phi)
    assert loaded == result and loaded.snapshot_steps == result.snapshot_steps
    assert result[1].snapshots.shape == (5, 1, 30, 36)
    np.save(tmp_path / "snapshots.npy", result.snapshots[1:])
    with pytest.raises(ValueError, match=r"snapshots\.npy belongs to another result"):
        uf.Result.load(tmp_path)


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_a_film_ends_with_the_image_found(result, tmp_path, suffix):
    path = result[0].animate(tmp_path / f"run.{suffix}", seconds=2.0)
    with Image.open(path) as film:
        assert film.n_frames == 5 and film.size == (36, 30)
        film.seek(4)
        last = np.asarray(film.convert("L")) / 255
    np.testing.assert_allclose(last, np.clip(result.images[0], 0, 1), atol=0.1 if suffix == "webp" else 0.002)


def test_films_refuse_what_they_cannot_show(result, phi, codes, tmp_path):
    with pytest.raises(ValueError, match=r"a \.gif, \.webp or \.png file, got run\.mp4"):
        result[0].animate(tmp_path / "run.mp4")
    with pytest.raises(ValueError, match="seconds of a film are positive"):
        result[0].animate(tmp_path / "run.gif", seconds=0)
    with pytest.raises(ValueError, match="no snapshots: give invert snapshots=24"):
        uf.invert(phi, codes[0], steps=2).animate(tmp_path / "run.gif")
    with pytest.raises(ValueError, match="0 for none, got -1"):
        uf.invert(phi, codes[0], steps=2, snapshots=-1)
    assert list(tmp_path.iterdir()) == []


def test_notebooks_show_images_errors_and_status(result):
    page = result._repr_html_()
    pictures = re.findall(r"data:image/png;base64,([^\"]+)", page)
    assert len(pictures) == 2 and f"{result.errors[1]:.4f}" in page and "Step limit reached" in page
    with Image.open(BytesIO(base64.b64decode(pictures[1]))) as picture:
        np.testing.assert_array_equal(np.asarray(picture), np.rint(np.clip(result.images[1], 0, 1) * 255))
    with Image.open(BytesIO(result._repr_png_())) as both:
        assert both.size == (2 * 36 + 4, 30)


def test_show_takes_results_arrays_and_files(result):
    shown = uf.show(result, np.zeros((30, 36, 3)), columns=3, side=64)
    assert shown.mode == "RGB" and shown.width == 3 * 64 + 4 * 4
    np.testing.assert_array_equal(np.asarray(uf.show(np.eye(8), labels=["a"], side=64)),
                                  uf.sheet([np.eye(8)], ["a"], 1, 64))
    with pytest.raises(ValueError, match="0 images"):
        uf.show()
    with pytest.raises(ValueError, match="one label for each image"):
        uf.show(np.eye(8), labels=["a", "b"])


def test_a_figure_has_the_image_and_the_curves(result):
    code = ("import matplotlib; matplotlib.use('agg')\nimport numpy as np, unfeature as uf\n"
            "phi = uf.HOG(cell_size=6); result = uf.invert(phi, phi(np.eye(30, dtype=np.float32)), steps=8)\n"
            "figure = result.plot(); figure.canvas.draw()\n"
            "picture, curves = figure.axes\n"
            "shown = np.asarray(picture.images[0].get_array())\n"
            "print(np.array_equal(shown, np.clip(result.image, 0, 1)), picture.get_title(), curves.get_xlabel(), "
            "sorted(line.get_label() for line in curves.lines) == sorted(result.history))")
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"True relative error \d\.\d{4} gradient evaluations True\n", done.stdout)


def test_a_figure_needs_matplotlib(result, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ValueError, match=r"install unfeature\[plot\]"):
        result.plot()


def test_progress_can_be_a_bar(phi, codes, capsys):
    uf.invert(phi, codes[0], steps=4, progress=True)
    assert "4/4" in capsys.readouterr().err
    uf.invert(phi, codes[0], steps=4, progress=False)
    assert capsys.readouterr().err == ""


def compile_something():
    """Compile a function that was never compiled before; the seconds that it took."""
    begin = time.perf_counter()
    jit.njit(lambda x: x + 1)(1)
    return time.perf_counter() - begin


def test_compilation_is_left_out_of_the_seconds(phi, codes):
    spent = []

    def late(progress):
        if progress.step in (2, 3):
            spent.append(compile_something())

    uf.invert(phi, codes[0], steps=1)
    begin = time.perf_counter()
    result = uf.invert(phi, codes[0], steps=4, progress=late)
    assert result.provenance["seconds"] < time.perf_counter() - begin - 0.8 * sum(spent)


def test_a_bar_says_that_code_is_compiled_and_does_not_count_it():
    stream = StringIO()
    with tqdm(total=4, file=stream) as bar, noted(bar):
        before = bar.start_t
        assert "compiling" not in stream.getvalue()
        seconds = compile_something()
        assert 0.5 * seconds < bar.start_t - before < seconds
        assert "compiling, once" in stream.getvalue() and bar.desc == ""
    with tqdm(total=4, disable=True) as bar, noted(bar):
        compile_something()


def test_compilation_inside_compilation_counts_once():
    told = []
    with compilation(lambda: told.append("begin"), told.append) as found:
        found.started()
        found.started()
        found.ended()
        found.ended()
        found.ended()
    assert told == ["begin", found.seconds] and found.seconds > 0
