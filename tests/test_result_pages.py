"""What the pages about results say, and how they look in a browser."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

import unfeature as uf
from tests.browsing import probe
from tests.tiny_networks import tiny
from unfeature.cli import main
from unfeature.io.files import read_json
from unfeature.io.images import bundled_path, write_png

HEIGHTS = ('return [...page.querySelectorAll(".pictures figure")].map(f => f.querySelector("img"))'
           ".map(i => [i.getBoundingClientRect().top, i.getBoundingClientRect().height]);")


def words(folder):
    text = uf.write_report(folder).read_text(encoding="utf-8")
    text = re.sub(r"(?s)<style>.*?</style>|<script>.*?</script>", "", text)
    return " ".join(re.sub(r"<[^>]+>", " ", text).split())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What the command writes of a wide photograph, with a decoder's image and a film."""
    folder = tmp_path_factory.mktemp("page") / "out"
    with pytest.raises(SystemExit) as stop:
        main(["invert", str(bundled_path("coffee")), "--feature", "hog", "--size", "96", "--steps", "20",
              "--snapshots", "4", "--animate", "-o", str(folder)])
    assert stop.value.code == 0
    return folder


def test_a_run_leaves_its_film(folder):
    assert uf.Result.load(folder).snapshot_steps == (1, 7, 14, 20)
    assert (folder / "run.gif").read_bytes().startswith(b"GIF8")
    assert {"run.gif", "snapshots.npy"} <= set(read_json(folder / "result.json")["files"])


def test_the_page_begins_with_what_was_inverted_and_by_which_command(folder):
    said = words(folder)
    title, command, error, settings = (said.index(part) for part in (
        "HOG of coffee.png, inverted", f"unfeature invert {bundled_path('coffee')} --feature hog",
        "relative error", "How it was made"))
    assert title < command < error < settings
    assert re.search(r"\d+ \w+ 20\d\d, \d\d:\d\d UTC", said)
    assert "dots lie above the line" in said
    assert said.lower().count("step limit reached") == 1 and said.lower().index("step limit reached") > settings


def test_raw_settings_are_behind_a_fold(folder):
    text = (folder / "report.html").read_text(encoding="utf-8")
    before, _, after = text.partition("<details>")
    assert "Stage(" in after and "Stage(" not in before and "TotalVariation(" not in before


@pytest.mark.parametrize("width", [375, 1280])
def test_pictures_of_a_row_are_equally_high(folder, tmp_path, width):
    places = probe(folder / "report.html", tmp_path, HEIGHTS, width)
    assert len(places) == 5
    rows = {}
    for top, height in places:
        rows.setdefault(round(top), []).append(height)
    assert len(rows) == (1 if width == 1280 else 3)
    assert all(max(heights) - min(heights) < 1.5 for heights in rows.values())


@pytest.mark.parametrize("width", [375, 1280])
def test_nothing_is_wider_than_the_page(folder, tmp_path, width):
    visible, needed = probe(folder / "report.html", tmp_path,
                            'page.querySelector("details").open = true; const d = page.documentElement;'
                            "return [d.clientWidth, d.scrollWidth];", width)
    assert visible == needed


def test_the_slider_shows_each_image_of_the_way(folder, tmp_path):
    shown = probe(folder / "report.html", tmp_path, """
        const film = page.querySelector(".film"), input = film.querySelector("input");
        const state = () => [[...film.querySelectorAll("img")].map(i => i.getBoundingClientRect().height > 0),
                             film.querySelector("output").textContent];
        return [null, 0, 2].map(value => {
          if (value !== null) { input.value = value; input.dispatchEvent(new Event("input")); }
          return state();
        });""")
    assert shown == [[[False, False, False, True], "after 20 gradient evaluations"],
                     [[True, False, False, False], "after 1 gradient evaluations"],
                     [[False, False, True, False], "after 14 gradient evaluations"]]


def test_only_an_unusual_end_is_a_headline(tmp_path):
    phi = uf.HOG()
    result = uf.invert(phi, phi(np.eye(32, dtype=np.float32)), steps=2)
    for status, alarmed in ((result.status, False), ("stopped by the user after 2 of 9 evaluations", True)):
        replace(result, status=status).save(tmp_path)
        assert ('class="alarm"' in uf.write_report(tmp_path).read_text()) is alarmed


def test_a_response_has_a_page_of_its_own(tmp_path):
    phi = uf.CNN(tiny(), "fire3")
    uf.maximize(phi, channel=[2, 0], steps=6, size=(48, 48)).save(tmp_path)
    said = words(tmp_path)
    assert "What layer fire3 responds to: channels 2, 0" in said and "inverted" not in said
    responses = uf.Result.load(tmp_path).provenance["responses"]
    assert f"channel 2, response {responses[0]:.4g}" in said and f"channel 0, response {responses[1]:.4g}" in said
    text = (tmp_path / "report.html").read_text()
    curves = re.findall(r'<polyline class="c." points="([^"]*)"', text)
    assert [len(points.split()) for points in curves] == [6] * len(curves) and len(curves) >= 2


def test_a_caricature_stands_beside_its_original(tmp_path):
    phi, image = uf.CNN(tiny(), "fire3"), uf.resize_longer(uf.bundled("coffee"), 64)
    result = uf.caricature(phi, image, steps=3)
    replace(result, provenance={**result.provenance, "photograph": {"name": "coffee.png"}}).save(tmp_path)
    write_png(tmp_path / "original.png", image)
    said = words(tmp_path)
    assert "Caricature of coffee.png by layer fire3" in said and "inverted" not in said
    assert said.index("the photograph") < said.index("the caricature")
    assert "response; that of the photograph is 1" in said
