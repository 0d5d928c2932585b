"""Checks that need a process of their own: what went wrong with each travels back as JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path


def outcomes_of(module: str, root: Path, **environment: str) -> dict[str, str]:
    """Run a module that ends in `report`: what went wrong with each of its checks, or nothing."""
    done = subprocess.run([sys.executable, "-m", module], cwd=root, env={**os.environ, **environment},
                          capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout)
    return found


def report(checks: Mapping[str, Callable[[], None]]) -> None:
    """Run the checks, and print how each one ended."""
    print(json.dumps({name: _outcome(check) for name, check in checks.items()}))


def _outcome(check: Callable[[], None]) -> str:
    try:
        check()
    except Exception:
        return traceback.format_exc()
    return ""
