"""Summaries of a run: means, published figures, values as columns, and searches that diverged."""

from __future__ import annotations

from dataclasses import replace

from unfeature.benchmarks import report
from unfeature.benchmarks.page import DEVIATION, ERROR, EUCLIDEAN, caption, summary, widened
from unfeature.benchmarks.tables.cvpr2015 import Descriptors2015
from unfeature.benchmarks.tasks import Row
from unfeature.inversion.result import DIVERGED


def test_published_figures_stand_beside_ours():
    rows = [Row("k", {"feature": "hog", "method": "cvpr2015"}, {"euclidean": value}, {}, {}) for value in (0.2, 0.3)]
    table = summary("t", "T", rows, Descriptors2015.by, (EUCLIDEAN,), DEVIATION, Descriptors2015.published)
    assert table.columns[3:] == ("published: euclidean error, %", "euclidean error, %")
    assert [cell.text for cell in table.rows[0]] == ["hog", "cvpr2015", "2", "28.10 ± 7.9", "25.00 ± 7.07"]
    assert "standard deviation" in table.note and "Mahendran & Vedaldi 2015" in table.note


def test_tables_are_csv_with_margins_apart():
    rows = [Row("k", {}, {"error": error}, {}, {}) for error in (1.0, 2.0)]
    table = summary("t", "T", rows, {"feature": "descriptor"}, (ERROR,))
    assert report.table_csv(table) == "descriptor,images,relative error,relative error ±\n–,2,1.5,0.9800\n"


def test_searches_that_diverged_are_left_out_of_the_means():
    lost = {"error": 1e9, "status": f"{DIVERGED} at evaluation 4: the last finite image is returned"}
    rows = [Row(f"{f}{i}", {"feature": f, "method": "best"}, values, {}, {})
            for i, (f, values) in enumerate([("hog", {"error": 1.0}), ("hog", lost), ("dsift", lost)])]
    table = summary("t", "T", rows, {"feature": "descriptor"}, (ERROR,))
    assert [[cell.text for cell in line] for line in table.rows] == [["hog", "2", "1.0000"], ["dsift", "1", "diverged"]]
    assert table.note.endswith("Left out, as the search diverged: 2 of 3.")
    assert caption(rows[1], ("method",), {}, "image") == "best · diverged"
    assert caption(replace(rows[1], values={**lost, "error start-01": 0.5}), (), {}, "start-01") == "start 01 · 0.500"
    assert caption(replace(rows[0], values={"error": 0.9, "error_part": 0.2}), (), {}, "image") == "0.200"


def test_the_values_of_a_setting_may_be_columns():
    rows = [Row(f"{f} {m}", {"feature": f, "method": m, "image": "a"}, {"error": e}, {}, {})
            for f, m, e in (("hog", "best", 1), ("hog", "fast", 2), ("dsift", "fast", 3))]
    table = widened(summary("t", "T", rows, {"feature": "descriptor", "method": "method"}, (ERROR,)), "method", 3)
    assert table.columns == ("descriptor", "images", "relative error (method best)", "relative error (method fast)")
    assert [[cell.text for cell in line] for line in table.rows] == [
        ["hog", "1", "1.0000", "2.0000"], ["dsift", "1", "–", "3.0000"]]
