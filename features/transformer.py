"""A descriptor as a step of a scikit-learn pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin

from unfeature.io.images import AnyImage, as_floats, image_of, to_grey

from .base import Representation

Floats = NDArray[Any]
CHUNKS = 4  # a worker, so that one that is slow does not keep the others waiting


class Transformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    r"""Images → one row of a table each, as scikit-learn's pipelines, clones and searches take them.

    X_i = vec(Φ(x_i)), or with `pool` the mean, or the maximum, of Φ(x_i) over its positions. There is nothing to learn:
    `fit` only notes the number of columns.

    Parameters
    ----------
    phi : Representation
        Φ.
    size : tuple of int, optional
        Height and width to which each image is resized, linearly and anti-aliased; by default images keep their sizes.
    pool : {None, "mean", "max"}
        Over the positions of a code, so that images of all sizes have rows of one length, D.
    n_jobs : int, optional
        Processes, as joblib counts them: None is 1 outside `joblib.parallel_config`, -1 as many as cores. The rows are
        the same for any number.

    Examples
    --------
    >>> import unfeature as uf
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.svm import LinearSVC
    >>> images = [uf.bundled("astronaut"), uf.bundled("coffee")]
    >>> model = make_pipeline(uf.Transformer(uf.HOG(), size=(64, 64)), LinearSVC())
    >>> model.fit(images, ["person", "cup"]).predict(images).tolist()
    ['person', 'cup']
    """

    def __init__(self, phi: Representation, *, size: tuple[int, int] | None = None,
                 pool: Literal["mean", "max"] | None = None, n_jobs: int | None = None) -> None:
        self.phi = phi
        self.size = size
        self.pool = pool
        self.n_jobs = n_jobs

    def fit(self, X: Sequence[AnyImage] | Floats, y: Any = None) -> Transformer:
        """Note the number of columns, which is that of the first image's row.

        Parameters
        ----------
        X : sequence of images, or ndarray (N, H, W) or (N, H, W, C)
            Each image (H, W) or (H, W, C) is an array with values in [0, 1] or of uint8, a Pillow image or a path.
        y : object
            Not used.

        Returns
        -------
        Transformer
            Itself.

        Raises
        ------
        ValueError
            For parameters out of range, no images, or an image that Φ cannot encode.
        """
        self._check()
        self._n_features_out = len(self._row(_images(X)[0]))
        return self

    def transform(self, X: Sequence[AnyImage] | Floats) -> Floats:
        """Encode images.

        Parameters
        ----------
        X : sequence of images, or ndarray (N, H, W) or (N, H, W, C)
            As for `fit`.

        Returns
        -------
        ndarray (N, h · w · D), or (N, D) with `pool`
            In the order of a code (h, w, D), channels last. float32; float64 for images of float64.

        Raises
        ------
        ValueError
            As `fit`; if rows have different lengths, because images have different sizes.
        """
        self._check()
        images = _images(X)
        chunk = max(1, -(-len(images) // (CHUNKS * _workers(self.n_jobs))))
        parts = [images[begin : begin + chunk] for begin in range(0, len(images), chunk)]
        rows = [row for part in Parallel(n_jobs=self.n_jobs)(delayed(self._rows)(part) for part in parts)
                for row in part]
        lengths = sorted({len(row) for row in rows})
        if len(lengths) > 1:
            raise ValueError(f"the images have different sizes, so that their codes have {lengths[0]} to {lengths[-1]} "
                             'entries: give size=(height, width), or pool="mean"')
        return np.stack(rows)

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.requires_fit, tags.no_validation = False, True
        tags.input_tags.two_d_array, tags.input_tags.three_d_array = False, True
        return tags

    def _check(self) -> None:
        if not isinstance(self.phi, Representation):
            raise ValueError(f"phi is a descriptor, such as unfeature.HOG(), got {type(self.phi).__name__}")
        if self.pool not in (None, "mean", "max"):
            raise ValueError(f'pool is None, "mean" or "max", got {self.pool!r}')
        size = self.size
        if size is not None and (len(size) != 2 or not all(isinstance(n, (int, np.integer)) and n > 0 for n in size)):
            raise ValueError(f"size is (height, width) in pixels, got {size!r}")

    def _rows(self, images: Sequence[AnyImage]) -> list[Floats]:
        return [self._row(image) for image in images]

    def _row(self, image: AnyImage) -> Floats:
        from skimage.transform import resize

        pixels = image_of(image)
        if self.size is not None:
            pixels = resize(as_floats(pixels), self.size, order=1, anti_aliasing=True)
        if 3 not in self.phi.in_channels and pixels.ndim == 3 and pixels.shape[2] == 3:
            pixels = to_grey(pixels)
        code = np.asarray(self.phi(pixels))
        if self.pool is not None and code.ndim == 3:
            code = code.mean((0, 1)) if self.pool == "mean" else code.max((0, 1))
        return code.ravel()


def _images(X: Sequence[AnyImage] | Floats) -> list[AnyImage]:
    """The images of a sequence or stack; ValueError if it holds none, or is one image or a table."""
    if isinstance(X, (str, bytes)) or not hasattr(X, "__len__") or not hasattr(X, "__getitem__"):
        raise ValueError(f"X is a sequence of images, or an array (N, H, W) or (N, H, W, C), got {type(X).__name__}")
    if isinstance(X, np.ndarray) and X.ndim not in (3, 4) and X.dtype != object:
        raise ValueError(f"X is a sequence of images, or an array (N, H, W) or (N, H, W, C), got shape {X.shape}: "
                         "give a single image as [image]")
    if len(X) == 0:
        raise ValueError("X holds no image: give at least one")
    return [X[i] for i in range(len(X))]


def _workers(n_jobs: int | None) -> int:
    from joblib import effective_n_jobs

    return int(effective_n_jobs(n_jobs))
