"""torch.compile, export, fake tensors, torch.func and second derivatives, each the first thing that a process does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("under_a_tracer.py")


@pytest.mark.parametrize("names", [["compiled"], ["fake", "exported"], ["vmap", "derivatives"],
                                   ["second_derivatives"]], ids="-".join)
def test_codes_under_tracers_and_after_them_are_those_of_plain_torch(names):
    done = subprocess.run([sys.executable, str(PROGRAM), *names], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
