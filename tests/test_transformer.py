"""The scikit-learn transformer: scikit-learn's own checks, on rows of tables as images, and theirs on images."""

from __future__ import annotations

import pickle

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC
from sklearn.utils.estimator_checks import check_estimator

import unfeature as uf
from tests.small_models import Means
from unfeature.io.images import bundled_path

INAPPLICABLE = {
    "check_estimator_sparse_tag": "a sparse table holds no images",
    "check_estimator_sparse_array": "a sparse table holds no images",
    "check_estimator_sparse_matrix": "a sparse table holds no images",
}


class OfTables(uf.Transformer):
    """The transformer for scikit-learn's checks, which give tables: each row becomes an image."""

    def fit(self, X, y=None):
        return super().fit(images_of(X), y)

    def transform(self, X):
        return super().transform(images_of(X))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        return tags


def images_of(table):
    rows = np.asarray(table)
    rows = rows.astype(np.float64 if rows.dtype == np.float64 else np.float32)
    return [np.resize(1 / (1 + np.exp(-row)), (8, 8)) for row in rows]


@pytest.fixture
def images():
    return np.random.default_rng(0).random((7, 24, 20, 3), dtype=np.float32)


@pytest.fixture
def transformer():
    return uf.Transformer(uf.HOG(cell_size=4))


def test_checks_of_scikit_learn():
    found = check_estimator(OfTables(Means(4)), expected_failed_checks=INAPPLICABLE, on_skip=None)
    assert {check["check_name"] for check in found if check["status"] == "xfail"} == {*INAPPLICABLE}
    skipped = {check["check_name"] for check in found if check["status"] == "skipped"}
    assert skipped <= {"check_array_api_input"}, "SCIPY_ARRAY_API is not set"
    assert len(found) > 30


def test_rows_are_the_codes_of_the_images(transformer, images):
    rows = transformer.fit_transform(images)
    phi = transformer.phi
    assert rows.dtype == np.float32 and rows.shape == (7, phi(images[0]).size)
    for row, image in zip(rows, images, strict=True):
        np.testing.assert_array_equal(row, np.asarray(phi(image)).ravel())


def test_it_is_stateless_and_changes_neither_itself_nor_the_images(transformer, images):
    before, given = transformer.get_params(), images.copy()
    unfitted = transformer.transform(images)
    fitted = transformer.fit(images)
    assert fitted is transformer and transformer.get_params() == before
    np.testing.assert_array_equal(transformer.transform(images), unfitted)
    np.testing.assert_array_equal(images, given)
    one_by_one = np.concatenate([transformer.transform(images[i : i + 1]) for i in range(7)])
    np.testing.assert_array_equal(one_by_one, unfitted)
    np.testing.assert_array_equal(transformer.transform(images[::-1]), unfitted[::-1])


def test_clones_and_copies_encode_alike(transformer, images):
    expected = transformer.transform(images)
    for copy in (clone(transformer), pickle.loads(pickle.dumps(transformer.fit(images)))):
        assert copy is not transformer and copy.get_params()["phi"].to_config() == transformer.phi.to_config()
        np.testing.assert_array_equal(copy.transform(images), expected)


@pytest.mark.parametrize("backend", ["threading", "loky"])
def test_any_number_of_jobs_gives_the_same_rows(transformer, images, backend):
    expected = transformer.transform(images)
    with joblib.parallel_config(backend):
        np.testing.assert_array_equal(transformer.set_params(n_jobs=2).transform(images), expected)


def test_images_come_as_files_of_any_size(transformer):
    paths = [bundled_path("coffee"), str(bundled_path("camera"))]
    rows = transformer.set_params(size=(32, 48)).transform(paths)
    assert rows.shape == (2, 8 * 12 * 31)
    pooled = uf.Transformer(transformer.phi, pool="mean").transform([uf.bundled("camera")[:64, :96], np.eye(40)])
    assert pooled.shape == (2, 31)
    np.testing.assert_allclose(pooled[1], transformer.phi(np.eye(40)).mean((0, 1)), rtol=1e-6)
    highest = uf.Transformer(transformer.phi, pool="max").transform([np.eye(40)])
    np.testing.assert_array_equal(highest[0], transformer.phi(np.eye(40)).max((0, 1)))


def test_pipelines_and_searches(images):
    wide = np.zeros((8, 16, 16), np.float32)
    wide[::2, :, ::4], wide[1::2, ::4] = 1, 1
    kinds = np.array(["upright", "level"] * 4)
    model = make_pipeline(uf.Transformer(uf.HOG(cell_size=4)), LinearSVC(random_state=0))
    search = GridSearchCV(model, {"transformer__phi": [uf.HOG(cell_size=4), uf.HOG(cell_size=8)]}, cv=2)
    assert (search.fit(wide, kinds).predict(wide) == kinds).all()
    assert (search.best_estimator_.predict(np.roll(wide, 1, axis=1)) == kinds).all()


def test_columns_have_names(transformer, images):
    pandas = pytest.importorskip("pandas")
    table = uf.Transformer(transformer.phi, pool="mean").set_output(transform="pandas").fit_transform(images)
    assert isinstance(table, pandas.DataFrame)
    assert list(table)[:2] == ["transformer0", "transformer1"] and table.shape == (7, 31)


@pytest.mark.parametrize(("settings", "given", "message"), [
    ({}, [], "holds no image"),
    ({}, np.zeros((4, 4)), r"got shape \(4, 4\): give a single image as \[image\]"),
    ({}, "photo.jpg", "X is a sequence of images"),
    ({}, [np.zeros((16, 16)), np.zeros((16, 24))], r"different sizes.*496 to 744 entries: give size="),
    ({"pool": "sum"}, [np.zeros((16, 16))], 'pool is None, "mean" or "max"'),
    ({"size": (16,)}, [np.zeros((16, 16))], r"size is \(height, width\)"),
    ({"size": (16, 0)}, [np.zeros((16, 16))], r"size is \(height, width\)"),
    ({"phi": "hog"}, [np.zeros((16, 16))], "phi is a descriptor"),
    ({}, [np.full((16, 16), np.nan)], "non-finite"),
])
def test_mistakes_are_named(transformer, settings, given, message):
    with pytest.raises(ValueError, match=message):
        transformer.set_params(**settings).transform(given)
