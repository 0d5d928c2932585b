"""The app in a browser: what a visitor does, and what one who means harm does not get."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import urllib.request
import zipfile
from contextlib import closing
from io import BytesIO
from urllib.parse import urlsplit

import numpy as np
import pytest

import unfeature as uf
from tests.driving import SECONDS, addresses, chromium, wait
from unfeature.features.code import save_code
from unfeature.io.images import write_png

pytest.importorskip("gradio")
ENDED = "document.querySelector('#shown [data-finished=true]')"
COLUMNS = "document.querySelectorAll('#shown .column')"
WORDS = "document.querySelector('#shown').innerText"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The command, as a user starts it, and Ctrl-C in the end."""
    place = tmp_path_factory.mktemp("server")
    command = [sys.executable, "-m", "unfeature", "app", "--port", "0"]
    with subprocess.Popen(command, text=True, cwd=place, env={**os.environ, "TMPDIR": str(place)},
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        address = process.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:"), process.stderr.read()
        yield address
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == 0
        assert process.stderr.read() == ""
    assert list(place.iterdir()) == []


@pytest.fixture(scope="module")
def files(tmp_path_factory, photograph):
    folder = tmp_path_factory.mktemp("files")
    write_png(folder / "cup.png", photograph("coffee", 64, False))
    save_code(folder / "code.npz", uf.HOG()(photograph("camera", 64)))
    (folder / "letter.png").write_text("Dear Sir or Madam", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def browser(server, tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("profile") / "profile") as driver:
        driver.get(server)
        wait(driver, "document.querySelector('#source input[type=file]')")
        yield driver


@pytest.fixture
def page(browser):
    """The page, in which no error is logged; nobody but the server is asked for anything."""
    browser.get_log("browser")
    yield browser
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
    assert {address for address in addresses(browser) if address.startswith(("http", "ws"))} <= {
        browser.current_url.rstrip("/")}


def find(page, selector):
    return page.find_element("css selector", selector)


def upload(page, path):
    if page.execute_script("return !document.querySelector('#source input[type=file]')"):
        find(page, "#source button[aria-label*=Clear], #source button[aria-label*=clear]").click()
        wait(page, "document.querySelector('#source input[type=file]')")
    find(page, "#source input[type=file]").send_keys(str(path))
    wait(page, f"document.querySelector('#source').innerText.includes({json.dumps(path.stem)})")


def fill(page, name, text):
    if page.execute_script("return !document.querySelector('#more #steps')?.offsetParent"):
        find(page, "#more button").click()
        wait(page, "document.querySelector('#steps textarea')?.offsetParent")
    field = find(page, f"#{name} textarea")
    field.send_keys("\ue009a\ue000", text, "\ue004")


def choose(page, name, option):
    find(page, f"#{name} input").send_keys("\ue009a\ue000", option)
    wait(page, f"[...document.querySelectorAll('[role=option]')].some(o => o.innerText.trim().endsWith('{option}'))")
    find(page, f"#{name} input").send_keys("\ue007")
    wait(page, f"document.querySelector('#{name} input').value === '{option}'")


def press(page, name):
    wait(page, f"!document.querySelector('#{name}').disabled")
    find(page, f"#{name}").click()


def invert(page):
    page.execute_script("document.querySelector('#shown .uf').removeAttribute('data-finished')")
    press(page, "run")


def test_a_photograph_is_inverted_and_downloaded(page, server, files, tmp_path):
    upload(page, files / "cup.png")
    fill(page, "steps", "12")
    invert(page)
    wait(page, ENDED)
    said = page.execute_script(f"return {WORDS}")
    assert "cup.png" in said and "12 of 12" in said and "relative error" in said
    assert page.execute_script("return document.querySelectorAll('#shown .maps img').length") == 3
    assert page.execute_script("return document.querySelectorAll('#shown .chart polyline').length") == 1
    link = page.execute_script("return document.querySelector('#shown .download').href")
    with urllib.request.urlopen(link) as answer, zipfile.ZipFile(BytesIO(answer.read())) as packed:
        packed.extractall(tmp_path)
    result = uf.Result.load(tmp_path / "1-hog-best")
    assert result.provenance["command"] == "unfeature invert cup.png --feature hog --steps 12"
    assert f"{result.error:.3f}" in said and (tmp_path / "1-hog-best" / "report.html").is_file()


def test_the_way_is_scrubbed_through(page):
    seen = page.execute_script("""
        const slider = document.querySelector('#shown .scrub input'), column = document.querySelector('#shown .column');
        return [0, 500, 1000].map(value => {
          slider.value = value; slider.dispatchEvent(new Event('input', {bubbles: true}));
          const shown = [...column.querySelectorAll('.frames img')].filter(i => i.getBoundingClientRect().height > 0);
          return [shown.length, column.querySelector('output').textContent];
        });""")
    assert seen[0] == [1, "1"] and seen[2] == [1, "12"] and 1 < int(seen[1][1]) < 12


def test_settings_are_seen_side_by_side(page):
    press(page, "keep")
    wait(page, "document.querySelector('#beside input:checked')")
    choose(page, "feature", "lbp")
    wait(page, "document.querySelector('#options-lbp')")
    invert(page)
    wait(page, f"{ENDED} && {COLUMNS}.length === 2")
    said = page.execute_script(f"return [...{COLUMNS}].map(c => c.innerText)")
    assert "lbp" in said[0] and "hog" in said[1] and all("relative error" in part for part in said)
    widths = page.execute_script("return [...document.querySelectorAll('#shown .cards img')].map(i => i.offsetTop)")
    assert len(set(widths[:2])) == 1
    find(page, "#beside input:checked").click()
    choose(page, "feature", "hog")


def test_a_stored_code_is_inverted(page, files):
    upload(page, files / "code.npz")
    invert(page)
    wait(page, f"{ENDED} && {COLUMNS}.length === 1")
    said = page.execute_script(f"return {WORDS}")
    assert "relative error" in said and "The photograph" not in said


def test_a_run_stops_when_told_and_shows_what_there_is(page, files):
    fill(page, "steps", "100000")
    invert(page)
    wait(page, "document.querySelector('#shown .column img')")
    press(page, "stop")
    wait(page, ENDED)
    assert "Stopped by the user after" in page.execute_script(f"return {WORDS}")
    assert page.execute_script("return document.querySelector('#shown .download') !== null")
    wait(page, "!document.querySelector('#run').disabled && document.querySelector('#stop').disabled")


def test_a_wrong_file_is_told_in_a_sentence(page, files):
    upload(page, files / "letter.png")
    invert(page)
    wait(page, ENDED)
    said = page.execute_script("return document.querySelector('#shown [role=alert]').innerText")
    assert said.startswith("letter.png cannot be read as an image") and "Traceback" not in said and "/" not in said


@pytest.mark.parametrize("width", [375, 1280])
def test_nothing_is_wider_than_the_page(page, width):
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                         {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False})
    needed, visible = page.execute_script(
        "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert needed <= visible


def ask(server, method, path, body=None, **headers):
    """Status and content of a request as it is written, without a client's tidying."""
    host = urlsplit(server).netloc
    with closing(http.client.HTTPConnection(host, timeout=SECONDS)) as connection:
        connection.putrequest(method, path, skip_host=True)
        for name, value in {"Host": host, **{k.replace("_", "-"): v for k, v in headers.items()}}.items():
            connection.putheader(name, value)
        connection.putheader("Content-Length", str(len(body or b"")))
        connection.endheaders(body)
        with connection.getresponse() as answer:
            return answer.status, answer.read()


@pytest.mark.parametrize("path", [
    "/gradio_api/file=/etc/passwd", "/file=/etc/passwd", "/gradio_api/file/etc/passwd",
    "/gradio_api/file=../../../etc/passwd", "/gradio_api/file=%2Fetc%2Fpasswd",
    "/gradio_api/file=http://127.0.0.1:1/", "/gradio_api/proxy=http://127.0.0.1:1/", "/assets/../../../../etc/passwd",
    "/assets/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd", "/static/..%2f..%2f..%2fetc%2fpasswd", "/static//etc/passwd",
    "/runs/../../etc/passwd", "/runs/.zip", "/runs/guess.zip", "/gradio_api/info", "/gradio_api/runs", "/docs",
    "/openapi.json"])
def test_no_file_of_the_server_is_reached(server, path):
    status, content = ask(server, "GET", path)
    assert status in (403, 404) and b"root:" not in content


def test_no_path_of_the_server_is_taken_for_an_upload(server, files):
    """A request in which an uploaded file is said to be one of the server's."""
    config = json.loads(ask(server, "GET", "/config")[1])
    source = next(c["id"] for c in config["components"] if c["props"].get("elem_id") == "source")
    run = next(d for d in config["dependencies"] if len(d["outputs"]) == 3 and source in d["inputs"])
    secret = {"path": str(files / "cup.png"), "meta": {"_type": "gradio.FileData"}}
    values = {c["id"]: c["props"].get("value") for c in config["components"]}
    data = [secret if one == source else values[one] for one in run["inputs"]]
    body = json.dumps({"data": data, "fn_index": run["id"], "session_hash": "harm"}).encode()
    for path in ("/gradio_api/queue/join", "/gradio_api/run/predict"):
        assert ask(server, "POST", path, body, Content_Type="application/json")[0] == 403


def test_pages_of_others_are_not_let_in(server):
    assert ask(server, "GET", "/", Host="evil.example")[0] == 403
    assert ask(server, "POST", "/gradio_api/upload", b"", Origin="http://evil.example")[0] == 403
    assert ask(server, "GET", "/")[0] == 200


def test_the_photographs_to_choose_from_are_there(page):
    shown = page.execute_script("""return [...document.querySelectorAll('#example label')].map(
        label => getComputedStyle(label).backgroundImage.startsWith('url("data:image/webp'))""")
    assert np.all(shown) and len(shown) == 5
