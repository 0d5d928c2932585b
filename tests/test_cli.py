"""The command line, end to end: a photograph in, a picture and a page out; one clear line for a mistake."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time

import numpy as np
import pytest

from unfeature import HOG, Result, invert, read_image
from unfeature.io.images import bundled, bundled_path, resize_longer, to_grey, write_png

UNFEATURE = [sys.executable, "-m", "unfeature"]
FILES = {"code.npy", "glyph.png", "image.npy", "preimage.png", "report.html", "result.json"}
INTERRUPTIBLE = "import signal as s; s.signal(s.SIGINT, s.default_int_handler); from unfeature.cli import main; main()"


def run(*arguments):
    return subprocess.run([*UNFEATURE, *map(str, arguments)], capture_output=True, text=True, timeout=120)


def test_a_photograph_becomes_a_picture_and_a_page(tmp_path):
    out = tmp_path / "new" / "out"
    done = run("invert", bundled_path("astronaut"), "--feature", "hog", "--size", 64, "--steps", 40,
               "--start", "noise", "-o", out)
    assert done.returncode == 0, done.stderr
    assert {p.name for p in out.iterdir()} == FILES | {"original.png"}
    summary, page = done.stdout.splitlines()
    assert page == str(out / "report.html")
    result = Result.load(out, HOG())
    assert summary.startswith(f"relative error {result.error:.4f}, correlation ")
    assert result.error < 0.5
    original = resize_longer(to_grey(bundled("astronaut")), 64)
    np.testing.assert_allclose(read_image(out / "original.png"), original, atol=0.5 / 255 + 1e-6)
    correlation = np.corrcoef(original.ravel(), result.image.ravel())[0, 1]
    assert correlation > 0.5
    assert result.provenance["photograph"]["correlation"] == pytest.approx(correlation)
    assert result.provenance["evaluations"] == 40


def test_a_stored_code_is_inverted_without_its_image(call, tmp_path):
    code = tmp_path / "code.npy"
    status, text, _ = call("features", bundled_path("coffee"), "--feature", "hog", "--variant", "dpm", "--size", 80,
                           "--colour", "-o", code)
    assert status == 0 and "32" in text
    phi = HOG(variant="dpm")
    np.testing.assert_array_equal(np.load(code), phi(resize_longer(bundled("coffee"), 80)))
    settings = ("--feature", "hog", "--variant", "dpm", "--steps", 10)
    status, text, _ = call("invert", code, *settings, "-o", tmp_path / "out")
    assert status == 0 and "correlation" not in text
    assert {p.name for p in (tmp_path / "out").iterdir()} == FILES | {"decoder.png"}
    result = Result.load(tmp_path / "out", phi)
    assert result.image.shape == (56, 80)
    assert call("invert", tmp_path / "out" / "code.npy", *settings, "-o", tmp_path / "again")[0] == 0
    np.testing.assert_array_equal(Result.load(tmp_path / "again").images, result.images)


def test_the_command_calls_the_library(call, tmp_path):
    call("invert", bundled_path("camera"), "--feature", "hog", "--size", 40, "--cell-size", 5, "--orientations", 6,
         "--bilinear", "--no-texture", "--preset", "fast", "--seed", 3, "--starts", 2, "--C", 50, "-o", tmp_path)
    phi = HOG(cell_size=5, orientations=6, bilinear=True, texture=False)
    image = resize_longer(bundled("camera"), 40)
    expected = invert(phi, phi(image), preset="fast", size=(40, 40), seed=3, starts=2, data_weight=50)
    np.testing.assert_array_equal(Result.load(tmp_path, phi).images, expected.images)
    assert {p.name for p in tmp_path.glob("preimage*")} == {"preimage-00.png", "preimage-01.png"}


def test_a_photograph_of_one_colour_has_no_correlation(call, tmp_path):
    write_png(tmp_path / "grey.png", np.full((32, 32), 0.5))
    status, summary, _ = call("invert", tmp_path / "grey.png", "--feature", "lbp", "--steps", 2, "-o", tmp_path / "out")
    assert status == 0 and "correlation" not in summary
    assert "correlation" not in Result.load(tmp_path / "out").provenance["photograph"]


def test_outputs_destroy_neither_inputs_nor_files_of_others(call, tmp_path):
    photograph, other = tmp_path / "original.png", tmp_path / "preimage-07.png"
    for path in (photograph, other):
        write_png(path, to_grey(bundled("camera"))[::8, ::8])
    before = photograph.read_bytes()
    hog = ("--feature", "hog", "--cell-size", 5)
    status, _, line = call("invert", photograph, *hog, "--steps", 2, "-o", tmp_path)
    assert status == 2 and "original.png is an input, and would be overwritten" in line
    status, _, line = call("features", photograph, *hog, "-o", photograph)
    assert status == 2 and "is an input" in line
    status, _, line = call("features", photograph, *hog, "-o", other)
    assert status == 2 and "is not a file that unfeature wrote" in line
    (tmp_path / "preimage.png").write_text("mine")
    status, _, line = call("invert", bundled_path("camera"), *hog, "--size", 40, "--steps", 2, "-o", tmp_path)
    assert status == 2 and "would be overwritten, but belongs to no result" in line
    (tmp_path / "preimage.png").unlink()
    photograph.rename(tmp_path / "mine.png")
    assert call("invert", tmp_path / "mine.png", *hog, "--steps", 2, "-o", tmp_path)[0] == 0
    assert (tmp_path / "mine.png").read_bytes() == other.read_bytes() == before


def test_a_second_run_leaves_no_pictures_of_the_first(call, tmp_path):
    arguments = ("invert", bundled_path("camera"), "--feature", "hog", "--cell-size", 5, "--size", 40, "--steps", 2,
                 "-o", tmp_path)
    call(*arguments, "--starts", 2)
    call(*arguments)
    assert {p.name for p in tmp_path.iterdir()} == FILES | {"original.png"}


def test_steps_are_shared_between_the_stages(call, tmp_path):
    for steps in (1, 3, 7):
        call("invert", bundled_path("camera"), "--feature", "hog", "--size", 24, "--steps", steps, "-o", tmp_path)
        assert Result.load(tmp_path).provenance["evaluations"] == steps


def test_report_is_written_again(call, tmp_path):
    call("invert", bundled_path("camera"), "--feature", "hog", "--size", 40, "--steps", 2, "-o", tmp_path)
    page = tmp_path / "report.html"
    before = page.read_bytes()
    page.unlink()
    assert call("report", tmp_path) == (0, f"{page}\n", "")
    assert page.read_bytes() == before


@pytest.mark.parametrize(("command", "shown"), [("invert", "--feature"), ("bench", "Time"), ("learn", "words")])
def test_help_is_quick_and_imports_nothing_heavy(command, shown):
    code = (f"import sys; from unfeature.cli import main\ntry: main(['{command}', '--help'])\n"
            "except SystemExit: print(sorted({'torch', 'numba', 'scipy', 'skimage', 'cv2'} & set(sys.modules)))")
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "Examples:" in done.stdout and shown in done.stdout
    assert time.perf_counter() - started < 3
    assert "Examples:" in run().stdout


def test_interrupt_saves_what_there_is(tmp_path):
    terminal, end = pty.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    command = [sys.executable, "-c", INTERRUPTIBLE, "invert", str(bundled_path("camera")), "--feature", "hog",
               "--size", "64", "--steps", "1000000", "-o", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=end, text=True)
    os.close(end)
    shown = b""
    while b"error 0." not in shown:
        assert select.select([terminal], [], [], 60)[0], "no progress within a minute"
        shown += os.read(terminal, 4096)
    process.send_signal(signal.SIGINT)
    text, _ = process.communicate(timeout=60)
    os.close(terminal)
    assert process.returncode == 130
    assert "stopped by the user" in text
    assert b"/1000000" in shown and b"<" in shown
    result = Result.load(tmp_path, HOG())
    assert result.status.startswith("stopped by the user after") and np.isfinite(result.image).all()
    assert "stopped by the user" in (tmp_path / "report.html").read_text().lower()


@pytest.fixture
def place(tmp_path):
    (tmp_path / "text.jpg").write_text("hello")
    data = bundled_path("chelsea").read_bytes()
    (tmp_path / "half.png").write_bytes(data[: len(data) // 2])
    np.save(tmp_path / "flat.npy", np.zeros((4, 4)))
    np.save(tmp_path / "deep.npy", np.ones((4, 4, 30), dtype=np.float32))
    np.save(tmp_path / "nan.npy", np.full((4, 4, 31), np.nan, dtype=np.float32))
    np.save(tmp_path / "pickle.npy", np.array([{}], dtype=object), allow_pickle=True)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("invert missing.jpg --feature hog", "there is no image missing.jpg"),
        ("invert missing.npy --feature hog", "there is no file missing.npy"),
        ("invert text.jpg --feature hog", "text.jpg cannot be read as an image"),
        ("invert half.png --feature hog", "half.png cannot be read as an image, or it is truncated"),
        ("invert . --feature hog --quiet", "not one of 2 photographs can be used; "),
        ("invert flat.npy --feature hog", "a code has shape (h, w, D) or (D,), got (4, 4)"),
        ("invert deep.npy --feature hog", "D = 31"),
        ("invert nan.npy --feature hog", "non-finite"),
        ("invert pickle.npy --feature hog", "pickles are never loaded"),
        ("invert deep.npy --feature hog --size 64", "give HEIGHTxWIDTH"),
        ("invert PHOTO --feature hgo", "did you mean 'hog'?"),
        ("invert PHOTO --feature hog --preset bset", "did you mean 'best'?"),
        ("invert PHOTO --feature hog --variant dmp", "did you mean 'dpm'?"),
        ("invert PHOTO --feature hog --size 0", "give the longer side, as 256, or height and width"),
        ("invert PHOTO --feature hog --size 64x64", "for a photograph give its longer side"),
        ("invert PHOTO --feature hog --size 8", "at least"),
        ("invert PHOTO --feature hog --cell-size 0", "--cell-size"),
        ("invert PHOTO --feature hog --sede 3", "--seed"),
        (f"invert PHOTO --feature hog --seed {2**32}", "--seed"),
        (f"invert PHOTO --feature hog -o {'n' * 300}", "nnn: File name too long"),
        (f"invert {'n' * 300} --feature hog", "nnn: File name too long"),
        ("invert PHOTO --feature hog -o text.jpg", "text.jpg: a file of that name is in the way"),
        ("invert PHOTO --feature hog -o text.jpg/out", "cannot make the folder text.jpg/out"),
        ("invert PHOTO --feature hog --feature lbp --cell-size 4 --points 99", "points on the circle"),
        ("caricature -o --feature hog", "or the value of another option"),
        ("invert PHOTO --feature hog --size 99999", "up to 8192 pixels"),
        (f"invert PHOTO --feature hog --steps {10**30}", "is not in the range 1<=x<=1000000"),
        (f"features PHOTO --feature hog --cell-size {10**30} -o a.npy", "it is not between -1000000 and 1000000"),
        ("features PHOTO --feature hog --orientations 1000 -o a.npy", "--orientations is a whole number of at most"),
        ("features PHOTO --feature dsift --scale 1e300 -o a.npy", "'1e300' is not a finite number"),
        ("features PHOTO --feature dsift --scale nan -o a.npy", "'nan' is not a finite number"),
        ("features PHOTO --feature hog -o EMPTY", "'--output': the name is empty"),
        ("invert PHOTO --feature hog --preset EMPTY", "unknown name ''"),
        ("invert EMPTY --feature hog", "the name is empty"),
        ("bench descriptors --images . --out b --methods ,", "',' is not a list of names"),
        ("bench descriptors --images . --out b --features EMPTY", "'' is not a list of names"),
        ("learn upconv . --device tpu -o a.npz", "torch cannot compute on 'tpu' here"),
        ("invert PHOTO", "Missing option '--feature'"),
        ("features PHOTO --feature hog -o .", "it is a folder"),
        ("report .", "no result.json"),
        ("inverse PHOTO", "did you mean 'invert'?"),
    ],
)
def test_mistakes_get_one_clear_line(call, place, monkeypatch, arguments, message):
    monkeypatch.chdir(place)
    before = sorted(p.name for p in place.rglob("*"))
    words = {"PHOTO": str(bundled_path("camera")), "EMPTY": ""}
    status, text, line = call(*(words.get(a, a) for a in arguments.split()))
    assert status == 2
    assert text == ""
    assert message in line
    assert line.startswith("unfeature: ") and line.count("\n") == 1
    assert sorted(p.name for p in place.rglob("*")) == before


def test_an_interrupt_before_there_is_anything_says_so(call, monkeypatch, tmp_path):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("unfeature.io.images.read_image", stop)
    write_png(tmp_path / "a.png", np.zeros((8, 8)))
    stopped = call("invert", tmp_path / "a.png", "--feature", "hog", "-o", tmp_path / "out")
    assert stopped == (130, "", "\nunfeature: stopped\n")


@pytest.mark.parametrize(("error", "message"), [
    (MemoryError(), "not enough memory"),
    (RuntimeError("can't allocate memory: you tried to allocate 4757372928 bytes"), "not enough memory"),
    (OSError(28, "No space left on device", "out/image.npy"), "out/image.npy: No space left on device"),
])
def test_a_machine_at_its_end_gets_one_clear_line(call, monkeypatch, tmp_path, error, message):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr("unfeature.io.images.read_image", fail)
    write_png(tmp_path / "a.png", np.zeros((8, 8)))
    status, _, line = call("features", tmp_path / "a.png", "--feature", "hog", "-o", tmp_path / "a.npy")
    assert status == 2 and message in line and line.count("\n") == 1


def test_a_mistake_has_no_traceback_in_a_shell(tmp_path):
    done = run("invert", tmp_path / "missing.jpg", "--feature", "hog")
    assert done.returncode == 2
    assert done.stderr == f"unfeature: there is no image {tmp_path / 'missing.jpg'}\n"
    version = run("--version")
    assert version.returncode == 0 and version.stdout.strip()
