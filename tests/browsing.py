"""Pages in headless Chromium."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
         "--disable-sync", "--no-first-run", "--enable-logging=stderr", "--v=0", "--virtual-time-budget=4000")


def browse(page: Path, profile: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    """Open a page, and wait until it is loaded."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("Chromium is not installed")
    return subprocess.run([browser, *FLAGS, f"--user-data-dir={profile}", *flags, page.as_uri()],
                          capture_output=True, text=True, timeout=120)


def probe(page: Path, folder: Path, script: str, width: int = 1280) -> Any:
    """What a function body returns of a page's document, `page`, in a frame of this width; nothing may be logged."""
    (folder / "page.html").write_text(page.read_text(encoding="utf-8"), encoding="utf-8")
    framed = folder / "frame.html"
    framed.write_text(
        f'<!DOCTYPE html><body style="margin:0"><iframe src="page.html" width="{width}" height="900"></iframe><script>'
        'onload = () => { const page = document.querySelector("iframe").contentDocument;'
        f"const found = (() => {{ {script} }})();"
        'const shown = document.createElement("pre"); shown.id = "found"; shown.textContent = JSON.stringify(found);'
        "document.body.replaceChildren(shown); };</script></body>", encoding="utf-8")
    seen = browse(framed, folder / "profile", "--dump-dom", "--allow-file-access-from-files",
                  f"--window-size={width + 20},1000")
    match = re.search(r'<pre id="found">(.*?)</pre>', seen.stdout, re.S)
    assert match, seen.stderr[-2000:]
    assert "CONSOLE" not in seen.stderr
    return json.loads(html.unescape(match.group(1)))
