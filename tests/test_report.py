"""The page about a result: whole, self-contained, and refused where there is none."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from unfeature import HOG, Result, invert, write_report
from unfeature.io.files import read_json, write_json
from unfeature.io.images import write_png

VOID = {"meta", "link", "img", "br", "line", "circle", "input"}


class Page(HTMLParser):
    """Checks that elements are closed in order, and collects tags, addresses and text."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.addresses, self.words = [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href", "xlink:href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, photograph):
    folder = tmp_path_factory.mktemp("result")
    image = photograph("astronaut", 40)
    phi = HOG()
    result = invert(phi, phi(image), preset="fast", size=image.shape)
    result.save(folder)
    write_png(folder / "original.png", image)
    write_png(folder / "glyph.png", image)
    write_report(folder)
    return folder


def test_page_is_self_contained_and_well_formed(folder):
    text = (folder / "report.html").read_text()
    page = Page(text)
    assert page.tags.count("img") == 4
    assert page.tags.count("svg") == 2
    assert all(address.startswith("data:") for address in page.addresses)
    assert "url(" not in text and "<script" not in text and "@import" not in text
    assert "prefers-color-scheme: dark" in text and 'name="viewport"' in text
    assert not {word.strip() for word in page.words} & {"nan", "None", "inf", "NaN"}
    assert not re.search(r"\b(nan|inf)\b", " ".join(page.words))


def test_page_says_what_the_result_says(folder):
    words = " ".join(Page((folder / "report.html").read_text()).words)
    result = Result.load(folder, HOG())
    for expected in (f"{result.error:.4f}", f"{result.error_centred:.4f}", "gradient evaluations", "fast", "uoctti"):
        assert expected in words
    assert result.status.lower() in words.lower()
    assert result.provenance["versions"]["torch"] in words


def test_pictures_are_the_files(folder):
    import base64

    text = (folder / "report.html").read_text()
    for name in ("original", "glyph", "preimage", "uncertainty"):
        assert base64.b64encode((folder / f"{name}.png").read_bytes()).decode() in text


def test_several_starts_and_strange_names(tmp_path, photograph):
    phi = HOG(cell_size=10)
    image = photograph("camera", 40)
    result = invert(phi, phi(image), preset="fast", size=image.shape, starts=2)
    result.provenance["photograph"] = {"name": "<b>&.jpg", "correlation": 0.5}
    result.save(tmp_path)
    write_png(tmp_path / "mean-words.png", image)
    text = write_report(tmp_path).read_text()
    page = Page(text)
    assert page.tags.count("img") == 4
    words = " ".join(page.words)
    assert "start 1, error" in words and "start 2, error" in words and "mean words" in words
    assert "<b>&.jpg" in words and "<b>&" not in text


def test_steps_that_were_taken_back_do_not_hide_the_curves(tmp_path):
    falling = np.geomspace(100, 1, 60)[:, None]
    history = {"objective": falling.copy(), "data": falling / 2, "error": np.full((60, 1), 0.1)}
    history["objective"][[1, 30]] = 1e9
    numbers = np.ones(1)
    facts = {"recipe": {"data_weight": 0.0}, "descriptor": HOG().to_config()}
    Result(np.zeros((1, 8, 8), np.float32), numbers, numbers, "done", history=history, provenance=facts).save(tmp_path)
    lines = re.findall(r'<polyline class="c." points="([^"]*)"', write_report(tmp_path).read_text())
    assert [len(line.split()) for line in lines] == [58, 58]


def test_results_of_other_methods_have_no_curves(tmp_path, photograph):
    phi = HOG()
    image = photograph("camera", 40)
    Result.from_images(phi, phi(image)[None], image[None], method="ridge", seconds=0.2).save(tmp_path)
    page = Page(write_report(tmp_path).read_text())
    assert page.tags.count("svg") == 0 and page.tags.count("img") == 1
    assert "ridge" in " ".join(page.words)


def test_no_result_no_page(tmp_path, folder):
    with pytest.raises(FileNotFoundError, match="no result"):
        write_report(tmp_path)
    facts = read_json(folder / "result.json")
    for damaged in ({}, [], {**facts, "provenance": None}, {**facts, "errors": []}, {**facts, "history": {"data": 3}}):
        write_json(tmp_path / "result.json", damaged)
        with pytest.raises(ValueError, match=r"result\.json is not a whole result"):
            write_report(tmp_path)
    (tmp_path / "result.json").write_bytes((folder / "result.json").read_bytes()[:100])
    with pytest.raises(ValueError, match="truncated"):
        write_report(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_page_of_a_bad_number_is_still_a_page(tmp_path, folder):
    facts = read_json(folder / "result.json")
    facts["errors"] = [None]
    write_json(tmp_path / "result.json", facts)
    words = " ".join(Page(write_report(tmp_path).read_text()).words)
    assert "relative error" in words and np.isfinite(facts["errors_centred"][0])
