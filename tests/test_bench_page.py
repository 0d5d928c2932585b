"""The page of a run in a browser: tables, pictures and sorting, without a word on the console, and small."""

from __future__ import annotations

import html
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.browsing import browse, probe
from unfeature.benchmarks import report
from unfeature.benchmarks.page import ERROR, with_values
from unfeature.benchmarks.tables.cnn import by_layer
from unfeature.benchmarks.tables.descriptors import Descriptors
from unfeature.benchmarks.tasks import Row
from unfeature.io.images import bundled, encode_webp, resize_longer, to_grey

METHODS = ("best", "fast", "ijcv2016", "cvpr2015", "ridge", "elda")
COUNT = 20
PROBE = """<script>
const errors = [];
addEventListener("error", e => errors.push(e.message));
addEventListener("load", () => {
  const table = document.querySelector("table[data-name=every-image]"), report = {};
  const column = [...table.tHead.rows[0].cells].findIndex(c => c.textContent.startsWith("relative error"));
  const read = () => [...table.tBodies[0].rows].map(r => +r.cells[column].dataset.value);
  const button = table.tHead.rows[0].cells[column].querySelector("button");
  report.before = read();
  button.click(); report.rising = read();
  button.click(); report.falling = read();
  table.tHead.rows[0].cells[1].querySelector("button").click();
  report.names = [...table.tBodies[0].rows].map(r => r.cells[1].textContent);
  const images = [...document.images];
  report.pictures = images.filter(i => i.complete && i.naturalWidth > 0).length;
  const links = [...document.querySelectorAll("td a")].map(a => a.getAttribute("href").slice(1));
  report.broken = links.filter(id => !document.getElementById(id)).length;
  report.overflow = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  report.errors = errors;
  const found = document.createElement("pre");
  found.id = "found"; found.textContent = JSON.stringify(report);
  document.body.replaceChildren(found);
});
</script></head>"""


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    """The page of 20 photographs and six methods, with values drawn at random and noisy pictures."""
    folder = tmp_path_factory.mktemp("page")
    image, rng = resize_longer(to_grey(bundled("astronaut")), 256), np.random.default_rng(0)
    facts = {"version": "1", "commit": "abc", "hardware": "2 cores", "threads": 1}

    def row(name, method, **values):
        path = folder / f"{name}-{method}.webp"
        path.write_bytes(encode_webp(np.clip(image + rng.normal(0, 0.05, image.shape), 0, 1)))
        settings = {"feature": "hog", "method": method, "image": name} if method else {"image": name}
        return Row(f"{name}-{method}", settings, values, facts, {"image": path})

    names = [f"photograph{i}" for i in range(COUNT)]
    originals = [row(name, "") for name in names]
    rows = [row(name, method, error=float(rng.random()), squared_error=1.0, positions=4, correlation=0.5)
            for method in METHODS for name in names]
    table = Descriptors(images=folder, out=folder)
    chart = by_layer([with_values(r, data_weight=1.0) for r in rows], ERROR)
    made = replace(table.page(rows, originals), charts=(chart,))
    report.write("descriptors", made, {"a task": "ValueError: <no>"}, table, folder)
    return folder / "report.html"


def test_the_page_works_in_a_browser(page, tmp_path):
    probed = tmp_path / "probed.html"
    probed.write_text(page.read_text().replace("</head>", PROBE, 1).replace('loading="lazy"', ""))
    seen = browse(probed, tmp_path / "profile", "--dump-dom", "--window-size=1100,900")
    match = re.search(r'<pre id="found">(.*?)</pre>', seen.stdout, re.S)
    assert match, seen.stderr[-2000:]
    found = json.loads(html.unescape(match.group(1)))
    assert len(found["before"]) == COUNT * len(METHODS)
    assert found["rising"] == sorted(found["before"]) and found["falling"] == sorted(found["before"])[::-1]
    assert found["before"] != found["rising"]
    assert found["names"] == sorted(found["names"])
    assert found["pictures"] == COUNT * (len(METHODS) + 1)
    assert (found["broken"], found["errors"], found["overflow"]) == (0, [], 0)
    assert "CONSOLE" not in seen.stderr


@pytest.mark.parametrize("width", [375, 1280])
def test_the_page_fits_the_screen(page, tmp_path, width):
    visible, needed, cells, hidden = probe(page, tmp_path, """
        const d = page.documentElement, cells = [...page.querySelectorAll("table.data td")];
        const hidden = cells.filter(
          c => c.getBoundingClientRect().right > d.clientWidth || c.scrollWidth > c.clientWidth);
        return [d.clientWidth, d.scrollWidth, cells.length, hidden.length];""", width)
    assert width - 20 < visible <= width and needed == visible
    assert cells > 12 * len(METHODS) * COUNT and hidden == 0


def test_rows_can_be_sorted_on_a_phone(page, tmp_path):
    before, after = probe(page, tmp_path, """
        const table = page.querySelector("table[data-name=every-image]"), heads = [...table.tHead.rows[0].cells];
        const column = heads.findIndex(c => c.textContent.startsWith("relative error"));
        const read = () => [...table.tBodies[0].rows].map(r => +r.cells[column].dataset.value);
        const before = read(), button = heads[column].querySelector("button");
        if (button.getBoundingClientRect().width === 0) return [before, before];
        button.click();
        return [before, read()];""", 375)
    assert after == sorted(before) != before


def test_the_page_is_one_small_file_and_needs_no_network(page):
    text = page.read_text()
    assert page.stat().st_size < 10_000_000
    addresses = re.findall(r'(?:src|href)="([^"]{0,40})', text)
    assert addresses and all(address.startswith(("data:", "#")) for address in addresses)
    assert "http" not in re.sub(r'"data:[^"]*"', "", text) and "url(" not in text
    assert "ValueError: &lt;no&gt;" in text and "<polygon" in text and "abc" in text
