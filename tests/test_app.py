"""Runs of the app, without a page: settings, comparison, stopping, archives, sessions, and who is let in."""

from __future__ import annotations

import json
import time
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

import unfeature as uf
from unfeature.app.desk import Desk
from unfeature.app.drawing import drawn
from unfeature.app.fields import features, fields_of, methods
from unfeature.app.run import Run
from unfeature.app.server import FIXED, Guard
from unfeature.app.setting import Setting
from unfeature.app.source import Source
from unfeature.cli import main
from unfeature.features import DESCRIPTORS
from unfeature.features.code import save_code
from unfeature.io.images import write_png

FEW = {"steps": 6}


@pytest.fixture
def photograph_file(tmp_path, photograph):
    path = tmp_path / "coffee cup.png"
    write_png(path, photograph("coffee", 64, False))
    return path


def finished(run):
    run.start()
    assert run.join(60)
    return run


def test_each_descriptor_has_its_fields(photograph_file):
    assert set(features()) == set(DESCRIPTORS)
    kinds = {one.name: one.kind for one in fields_of("hog")}
    assert kinds["variant"] == "choice" and kinds["cell_size"] == "whole" and kinds["bilinear"] == "flag"
    assert {one.name: one.kind for one in fields_of("bovw")}["words"] == "file"
    assert methods()["collage"].needs_model and not methods()["ridge"].needs_model and "keypoints" not in methods()


@pytest.mark.parametrize(("feature", "given", "said"), [
    ("hog", {"cell_size": "many"}, "cell size: 'many' is not a valid integer"),
    ("hog", {"cell_size": 10**7}, "cell size: it is not between"),
    ("phow", {"sizes": "4,,"}, "sizes: '4,,' is not a list of numbers"),
    ("bovw", {}, "words is missing: Visual words and their local descriptor."),
    ("nothing", {}, "unknown feature 'nothing'"),
])
def test_wrong_values_are_told_by_their_labels(feature, given, said):
    with pytest.raises(ValueError, match="^" + said.replace("(", r"\(")):
        Setting(feature, given)


def test_a_method_without_a_model_is_refused():
    with pytest.raises(ValueError, match="collage needs a model: give the file that `unfeature learn collage` wrote"):
        Setting("hog", method="collage")
    with pytest.raises(ValueError, match="unknown method 'magic'"):
        Setting("hog", method="magic")


def test_a_setting_is_a_command(photograph_file, tmp_path, monkeypatch):
    given = {one.name: one.option.usual if one.kind == "flag" else one.option.written for one in fields_of("hog")}
    given |= {"cell_size": "6", "bilinear": True}
    setting = Setting("hog", given, "fast", {"steps": 4, "data_weight": None, "start": "noise"}, starts=2, seed=3)
    assert setting.label == "hog, cell size 6, bilinear · fast, steps 4, start noise, 2 starts, seed 3"
    command = setting.command(Source(photograph_file, side=48))
    assert command == ("unfeature invert 'coffee cup.png' --feature hog --cell-size 6 --bilinear --preset fast "
                       "--steps 4 --start noise --starts 2 --seed 3 --size 48")
    run = finished(Run(Source(photograph_file, side=48), [setting]))
    monkeypatch.chdir(photograph_file.parent)
    with pytest.raises(SystemExit) as stop:
        main(["invert", photograph_file.name, *command.split("'")[2].split(), "-o", str(tmp_path / "out")])
    assert stop.value.code == 0
    np.testing.assert_array_equal(run.columns[0].result.images, uf.Result.load(tmp_path / "out").images)


def test_settings_are_compared(photograph_file):
    run = Run(Source(photograph_file), [Setting("hog", search=FEW), Setting("hog", {"variant": "dpm"}, "ridge")])
    run.start()
    seen = [(run.columns[0].step, bool(run.columns[0].picture)) for _ in run.changes()]
    assert seen[-1] == (6, True) and any(step < 6 and shown for step, shown in seen)
    first, second = run.columns
    assert not run.problem and not first.problem and not second.problem
    assert len(first.curve) == 6 and [step for step, _ in first.frames] == list(first.result.snapshot_steps)
    assert [kind for kind, _ in first.maps] == ["its code", "what a decoder predicts", "what the code does not know"]
    page = drawn(run, "token")
    assert page.count("<polyline") == 2 and 'href="runs/token.zip"' in page and page.count('class="column') == 2
    assert first.result.provenance["photograph"]["name"] == "coffee cup.png"


def test_an_archive_holds_the_folders_of_the_command_line(photograph_file, tmp_path):
    run = finished(Run(Source(photograph_file), [Setting("hog", search=FEW), Setting("hog", method="decoder")]))
    with zipfile.ZipFile(BytesIO(run.archive())) as packed:
        packed.extractall(tmp_path / "unpacked")
    folders = sorted((tmp_path / "unpacked").iterdir())
    assert [folder.name for folder in folders] == ["1-hog-best", "2-hog-decoder"]
    for folder, column in zip(folders, run.columns, strict=True):
        assert uf.Result.load(folder) == column.result
        assert {"report.html", "original.png", "glyph.png"} <= {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("ending", [".npy", ".npz"])
def test_a_stored_code_is_inverted(tmp_path, photograph, ending):
    phi = uf.HOG()
    path = tmp_path / f"code{ending}"
    save_code(path, phi(photograph("coffee", 64)))
    run = finished(Run(Source(path), [Setting("hog", search=FEW), Setting("hog", {"cell_size": 6}, search=FEW)]))
    assert not run.photograph and not run.columns[0].problem
    assert "cell_size 8 instead of 6" in run.columns[1].problem


def test_one_setting_fails_alone(photograph_file):
    run = finished(Run(Source(photograph_file), [Setting("lbp", method="ridge"), Setting("hog", search=FEW)]))
    assert "ridge" in run.columns[0].problem and run.columns[1].result is not None
    assert "Traceback" not in drawn(run)


@pytest.mark.parametrize(("name", "content", "said"), [
    ("letter.png", b"Dear Sir or Madam", "letter.png cannot be read as an image"),
    ("code.npy", b"Dear Sir or Madam", "code.npy"),
    ("code.npz", b"PK\3\4", "code.npz"),
    ("nothing.png", b"", "nothing.png cannot be read as an image"),
])
def test_a_wrong_file_is_told_without_its_folder(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    run = finished(Run(Source(tmp_path / name), [Setting("hog")]))
    assert said in run.problem and str(tmp_path) not in run.problem
    assert 'role="alert"' in drawn(run) and not run.has_results
    with pytest.raises(ValueError, match="no result to download"):
        run.archive()


def test_what_nobody_foresaw_is_a_sentence_too(photograph_file, monkeypatch, caplog):
    monkeypatch.setattr(Setting, "descriptor", lambda self: 1 / 0)
    run = finished(Run(Source(photograph_file), [Setting("hog")]))
    assert run.columns[0].problem.startswith("ZeroDivisionError: division by zero. This is a mistake in unfeature")
    assert "Traceback" in caplog.text and "Traceback" not in drawn(run)


def test_a_stopped_run_keeps_the_image_so_far(photograph_file):
    run = Run(Source(photograph_file), [Setting("hog", search={"steps": 5000}), Setting("hog")])
    run.start()
    next(_ for _ in run.changes() if run.columns[0].picture)
    run.stop()
    assert run.join(30)
    assert run.columns[0].result.interrupted and 0 < run.columns[0].step < 5000
    assert run.columns[1].problem == "stopped before it began"
    assert "Stopped by the user after" in drawn(run)


def test_a_method_that_asks_nobody_stops_too(photograph_file, monkeypatch):
    def for_ever(*arguments):
        while True:
            time.sleep(0.01)

    monkeypatch.setattr("unfeature.baselines.primal_dual.PrimalDual.reconstruct", for_ever)
    run = Run(Source(photograph_file), [Setting("brief", method="primal-dual")])
    run.start()
    next(_ for _ in run.changes() if run.columns[0].state == "inverting")
    time.sleep(0.3)
    run.stop()
    assert run.join(30) and run.columns[0].problem == "stopped"


def test_a_run_that_nobody_watches_ends(photograph_file, monkeypatch):
    monkeypatch.setattr("unfeature.app.run.AWAY", -1.0)
    run = finished(Run(Source(photograph_file), [Setting("hog")]))
    assert run.columns[0].result.interrupted and run.columns[0].step == 1


def test_a_session_has_one_run_at_a_time(photograph_file):
    desk, source = Desk(), Source(photograph_file)
    first = desk.begin("a", source, [Setting("hog", search={"steps": 5000})])
    with pytest.raises(ValueError, match="a run is under way: stop it first"):
        desk.begin("a", source, [Setting("hog")])
    second = desk.begin("b", source, [Setting("hog", search=FEW)])
    token = desk.place("a").token
    assert desk.archive(token) is None and desk.archive("") is None
    next(change for change in first.changes() if first.columns[0].step)
    desk.stop("a")
    assert first.join(30) and second.join(30)
    assert desk.archive(token)[:2] == b"PK" and desk.archive(token[:-1]) is None
    desk.forget("a")
    assert desk.archive(token) is None
    desk.close()


@pytest.mark.parametrize("settings", [0, 5])
def test_at_most_four_settings_are_compared(photograph_file, settings):
    with pytest.raises(ValueError, match="compares one to 4 settings"):
        Run(Source(photograph_file), [Setting("hog")] * settings)


@pytest.mark.parametrize(("path", "host", "origin", "status"), [
    ("/", "127.0.0.1:7860", "", 0),
    ("/", "[::1]:7860", "", 0),
    ("/gradio_api/queue/join", "localhost:1", "http://localhost:1", 0),
    ("/gradio_api/queue/join", "localhost:1", "http://evil.example", 403),
    ("/gradio_api/upload", "localhost:1", "null", 403),
    ("/", "evil.example:7860", "", 403),
    ("/", "", "", 403),
    ("/assets/../../etc/passwd", "localhost", "", 404),
    ("/gradio_api/file=/etc/passwd", "localhost", "", 404),
    ("/file=/etc/passwd", "localhost", "", 404),
    ("/gradio_api/proxy=http://evil.example/", "localhost", "", 404),
    ("/gradio_api/info", "localhost", "", 404),
])
def test_only_the_page_is_let_in(path, host, origin, status):
    headers = [(name, value.encode()) for name, value in ((b"host", host), (b"origin", origin)) if value]
    guard = Guard(lambda *call: None, ("127.0.0.1", "localhost", "::1"), Path("uploads"))
    assert guard.refusal({"type": "http", "path": path, "headers": headers}) == status
    assert "/gradio_api/call" not in FIXED


def test_without_gradio_the_command_says_what_to_install(call, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert call("app") == (2, "", "unfeature: the app needs gradio: install it with pip install 'unfeature[app]'\n")


def test_a_port_that_is_taken_is_told(call):
    import socket

    pytest.importorskip("gradio")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        status, _, said = call("app", "--port", taken.getsockname()[1])
    assert status == 2 and said.startswith("unfeature: cannot serve at 127.0.0.1, port ")


@pytest.mark.parametrize(("path", "url", "let_in"), [
    ("{}/one/cup.png", None, True), ("{}/one/cup.png", "http://localhost/gradio_api/file=x", True),
    ("{}/one/cup.png", "http://evil.example/x", False), ("{}/../cup.png", None, False), ("/etc/passwd", None, False),
    ("http://evil.example/cup.png", None, False), ("cup.png", None, False),
])
def test_only_uploads_are_taken_for_uploads(tmp_path, path, url, let_in):
    guard = Guard(lambda *call: None, None, tmp_path)
    body = json.dumps({"data": [1, [{"path": path.format(tmp_path), "url": url}]]}).encode()
    assert guard.owns_files(body, {"headers": [(b"host", b"localhost")]}) is let_in
    assert not guard.owns_files(b"{", {"headers": []})
