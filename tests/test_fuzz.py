"""Hostile files and command lines: one sentence each; `make fuzz` tries more of them, for longer."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from tests.commands import calls
from tests.hostile import damaged, every_kind, finite, photographs, time_limit
from unfeature.cli import main

CALLS, FILES = int(os.environ.get("FUZZ_CALLS", 150)), int(os.environ.get("FUZZ_FILES", 300))
SEED, SECONDS = int(os.environ.get("FUZZ_SEED", 0)), float(os.environ.get("FUZZ_SECONDS", 600))
PATIENCE = 120.0
BEGIN = time.monotonic()
KINDS = (
    "code", "code with its facts", "facts of a code", "keypoints", "words", "mixture", "statistics", "checkpoint",
    "result.json of a result", "image.npy of a result", "code.npy of a result", "row", "results of a table",
    "png picture", "jpg picture", "webp picture", "tif picture", "bmp picture", "ppm picture", "16-bit picture",
    "network", "network, compressed", "torch weights", "safe weights", "decoder to start from",
    *(f"model of {name}" for name in ("paired-dictionary", "ridge", "elda", "direct", "collage", "upconv", "decoder",
                                      "jigsaw", "keypoints")))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    (folder / "photographs").mkdir()
    photographs(folder / "photographs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("unfeature.baselines.jigsaw.PROPOSALS", 20)
        yield folder, every_kind(folder)


def test_every_kind_of_file_is_damaged(corpus):
    assert set(corpus[1]) == set(KINDS)


@pytest.mark.parametrize("name", KINDS)
def test_a_damaged_file_gets_a_sentence(name, corpus, tmp_path):
    kind = corpus[1][name]
    for number in range(max(FILES // len(KINDS), 1)):
        if time.monotonic() - BEGIN > SECONDS:
            break
        data = damaged(kind.file, np.random.default_rng([SEED, number, *name.encode()]))
        place = tmp_path / str(number)
        place.mkdir()
        path = place / f"damaged{''.join(kind.file.suffixes[-1:])}"
        path.write_bytes(data)
        if name == "facts of a code":
            (tmp_path / "code.npy").write_bytes((kind.file.parent / "code.npy").read_bytes())
        with time_limit(PATIENCE), warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                assert finite(kind.use(path)), number
            except (ValueError, FileNotFoundError) as error:
                assert 0 < len(str(error)) < 2000, number


@seed(SEED)
@settings(max_examples=CALLS, database=None, deadline=None, derandomize="FUZZ_CALLS" not in os.environ,
          suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_command_line_is_answered(data, corpus, tmp_path_factory):
    whole = sorted(path for path in corpus[0].rglob("*") if path.is_file())
    arguments = data.draw(calls(tuple(str(path.relative_to(corpus[0])) for path in whole)))
    if time.monotonic() - BEGIN > SECONDS:  # after the draw, which Hypothesis repeats
        return
    place, before = tmp_path_factory.mktemp("call") / "place", [path.read_bytes() for path in whole]
    shutil.copytree(corpus[0], place, copy_function=os.link)  # nothing is written into a file that there is
    status, out, error = answer(arguments, place)
    lines = error.splitlines()
    assert status in (0, 2) and "Traceback" not in error and "mistake in unfeature" not in error, (status, error)
    many = arguments[:1] == ["bench"] or re.match(r"\d+ photographs, ", error)  # which say what failed, line by line
    assert many or all(line.startswith(("unfeature: ", "step ")) for line in lines), error
    assert status == 0 or lines[-1].startswith("unfeature: "), error
    assert not re.search(r"(error|response|correlation) (\S+, )*nan\b", out), out
    assert [path.read_bytes() for path in whole] == before
    assert all((place / path.relative_to(corpus[0])).samefile(path) for path in whole if path.suffix == ".png"), error
    if status == 0:
        assert all(finite(np.load(path)) for path in place.rglob("*.npy"))
    shutil.rmtree(place)


def answer(arguments: list[str], place: Path) -> tuple[int, str, str]:
    """Status, standard output and error of a command line, called in a folder of its own."""
    out, error = io.StringIO(), io.StringIO()
    with time_limit(PATIENCE), contextlib.chdir(place), contextlib.redirect_stdout(out), \
            contextlib.redirect_stderr(error), warnings.catch_warnings():
        warnings.simplefilter("default")
        with pytest.raises(SystemExit) as stop:
            main(arguments)
    return stop.value.code, out.getvalue(), error.getvalue()
