"""The notebooks run from their text form, each in a kernel of its own, on small images and with few evaluations."""

from __future__ import annotations

import ast

import jupytext
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell

QUICK = {
    "plot_1_first_steps": ("side, steps = 48, 3", 6),
    "plot_2_what_hog_forgets": ("side, steps = 48, 3", 6),
    "plot_3_a_layer_of_a_network": ("patches, side, steps = 32, 48, 2", 3),
}
"""The parameters with which a notebook is quick, and how many pictures it shows at least."""


def test_every_notebook_is_run(root):
    assert {path.stem for path in (root / "docs" / "notebooks").glob("*.py")} == {*QUICK}


@pytest.mark.parametrize("name", QUICK)
def test_a_notebook_runs(root, tmp_path, name):
    notebook = jupytext.read(root / "docs" / "notebooks" / f"{name}.py", fmt="py:percent")
    parameters, least = QUICK[name]
    at = next(i for i, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", ()))
    assert names_set(notebook.cells[at].source) == names_set(parameters)
    notebook.cells.insert(at + 1, new_code_cell(parameters))
    where = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=900, kernel_name="python3", resources=where).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert sum("image/png" in output.get("data", ()) for output in outputs) >= least
    assert not [output.text for output in outputs if output.get("name") == "stderr" and "Warning" in output.text]


def names_set(source: str) -> set[str]:
    return {node.id for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)}
