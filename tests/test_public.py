"""The public names: all there, and none imported before it is used."""

from __future__ import annotations

import subprocess
import sys

import pytest

import unfeature


@pytest.mark.parametrize("name", unfeature.__all__)
def test_public_names_exist_and_explain_themselves(name):
    assert name in dir(unfeature)
    assert getattr(unfeature, name).__doc__


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="nonsense"):
        _ = unfeature.nonsense
    assert unfeature.__version__.count(".") >= 1


def test_import_is_light():
    code = "import sys, unfeature; print(sorted({'torch', 'numpy', 'scipy', 'skimage', 'numba'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
