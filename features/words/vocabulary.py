"""Visual words: codebooks of local descriptors, learned with k-means or as a Gaussian mixture."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import warnings
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unfeature.io.files import load_arrays, save_arrays
from unfeature.io.memory import bytes_of
from unfeature.io.schema import Field, Value, check_fields

from ..base import Representation, described, differences
from ..checks import check_choice
from .sampling import (
    PATCH,
    Images,
    Progress,
    Sample,
    descriptor_dimension,
    local_descriptors,
    sample_descriptors,
)

Kind = Literal["kmeans", "gmm"]
SAMPLES_PER_WORD = 400
FEWEST_SAMPLES = 100_000
LOWEST_VARIANCE = 0.1
META = {"kind": Value(str, choices=get_args(Kind)), "phi": Value(dict), "root": Value(bool)}
WORDS = {"words": Field("float32", ("words", "dimension")), "counts": Field("int64", ("words",), low=0, optional=True),
         "patches": Field("float32", ("words", PATCH, PATCH), 0, 1, optional=True)}
COMPONENTS = {"variances": Field("float32", ("words", "dimension"), low=1e-45),
              "priors": Field("float32", ("words",), 1e-45, 1)}


@dataclass(frozen=True, eq=False)
class Vocabulary:
    r"""K visual words: cluster centres in the space of a local descriptor.

    Parameters
    ----------
    phi : Representation
        The local descriptor. Each position of its code (D, h, w) is one descriptor; PHOW has one for each size.
    words : ndarray (K, D)
        The centres, stored as float32.
    counts : ndarray (K,), optional
        Descriptors of the training sample nearest to each word.
    patches : ndarray (K, 16, 16), optional
        Mean grey patch of those descriptors, in [0, 1].
    root : bool
        Map descriptors to sign(d) √(|d| / ‖d‖₁) before comparing them to words (root-SIFT, Arandjelović and Zisserman
        2012), as when the words were learned.

    Raises
    ------
    ValueError
        If the words are not a matrix of finite numbers, or their dimension is not that of phi's descriptors.
    """

    phi: Representation
    words: NDArray[np.float32]
    counts: NDArray[np.int64] | None = None
    patches: NDArray[np.float32] | None = None
    root: bool = False

    kind: ClassVar[Kind] = "kmeans"
    _learned: ClassVar[tuple[str, ...]] = ("words",)

    def __post_init__(self) -> None:
        words = np.ascontiguousarray(self.words, dtype=np.float32)
        if words.ndim != 2 or words.size == 0 or not np.isfinite(words).all():
            raise ValueError(f"words are a (K, D) array of finite numbers, got shape {words.shape}")
        dimension = descriptor_dimension(self.phi)
        if words.shape[1] != dimension:
            raise ValueError(f"the words have {words.shape[1]} dimensions, but the descriptors of {self.phi!r} have "
                             f"{dimension}: use the descriptor that the words were learned with, or learn other words")
        object.__setattr__(self, "words", words)

    @classmethod
    def learn(cls, images: Images, phi: Representation, words: int = 1000, kind: Kind = "kmeans", root: bool = False,
              samples: int | None = None, keep_flat: bool = False, seed: int = 0, memory: int | str = "2GB",
              progress: Progress | None = None) -> Vocabulary:
        """Learn visual words from images, in one pass and within a memory budget.

        Parameters
        ----------
        images : folder, list of paths, or iterable of arrays
        phi : Representation
            A descriptor with positions.
        words : int
            K, the number of words.
        kind : {"kmeans", "gmm"}
            Mini-batch k-means, or a Gaussian mixture with diagonal covariances initialised by it, for Fisher vectors.
            A tenth of the descriptors' mean variance is added to all variances; otherwise the few narrowest
            components dominate a Fisher vector.
        root : bool
            Cluster root-SIFT descriptors; see the class.
        samples : int, optional
            Size of the uniform sample of descriptors to cluster: by default 400 per word and at least 100 000, within
            the memory budget.
        keep_flat : bool
            Also sample descriptors that are all zero.
        seed : int
            The same images and seed give the same words.
        memory : int or str
            Memory budget in bytes, or as text such as ``"2GB"``; the current image is not counted.
        progress : callable, optional
            Called after each image with the number of images done and their total, or None if it is unknown.

        Returns
        -------
        Vocabulary
            A `Mixture` for ``kind="gmm"``.

        Raises
        ------
        ValueError
            If there are fewer descriptors than words, the budget is too small for a sample, or no file can be used.
            Files left out and empty words, as repeated descriptors leave them, are a UserWarning.
        """
        check_choice("kind of vocabulary", kind, get_args(Kind))
        if words < 1:
            raise ValueError(f"a vocabulary has at least one word, got {words}")
        room = _capacity(bytes_of(memory), descriptor_dimension(phi), words, kind)
        capacity = min(room, samples if samples is not None else max(FEWEST_SAMPLES, SAMPLES_PER_WORD * words))
        if capacity < words:
            raise ValueError(f"{words} words need at least as many sampled descriptors, and memory={memory!r}, "
                             f"samples={samples} allow {capacity}: raise the bound or ask for fewer words")
        sample = sample_descriptors(images, phi, capacity, seed, keep_flat, progress)
        found = len(sample.descriptors)
        if found < words:
            raise ValueError(f"{words} words cannot be learned from {found} descriptors: give more or larger images, "
                             "a smaller step, or ask for fewer words")
        if root:
            sample = dataclasses.replace(sample, descriptors=_root(torch.from_numpy(sample.descriptors)).numpy())
        fields = _cluster(sample, words, kind, seed)
        if (empty := int((fields["counts"] == 0).sum())):
            warnings.warn(f"{empty} of {words} words are empty: the images hold too few different descriptors; "
                          "ask for fewer words or give more images", stacklevel=2)
        return (Mixture if kind == "gmm" else Vocabulary)(phi=phi, root=root, **fields)

    def save(self, path: str | Path) -> None:
        """Write the vocabulary, with the description of its descriptor, as one .npz file without pickle."""
        named = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name not in ("phi", "root")}
        arrays = {name: array for name, array in named.items() if array is not None}
        meta = {"kind": self.kind, "phi": self.phi.to_config(), "root": self.root}
        save_arrays(path, "vocabulary", meta, **arrays)

    @classmethod
    def load(cls, path: str | Path, phi: Representation | None = None) -> Vocabulary:
        """Read what `save` wrote.

        Parameters
        ----------
        path : path
        phi : Representation, optional
            The descriptor that the words were learned with; by default it is rebuilt from the file. Another one is a
            ValueError, as is a file that holds no vocabulary.
        """
        meta, arrays = load_arrays(path, "vocabulary", meta=META)
        check_fields(path, arrays, WORDS if meta["kind"] == "kmeans" else WORDS | COMPONENTS)
        if phi is None:
            phi = described(path, meta["phi"])
        else:
            _check_same(path, phi.to_config(), meta["phi"])
        return (Mixture if meta["kind"] == "gmm" else Vocabulary)(phi=phi, root=meta["root"], **arrays)

    @property
    def empty(self) -> NDArray[np.intp]:
        """Indices of the words without descriptors of the training sample."""
        return np.flatnonzero(self.counts == 0) if self.counts is not None else np.empty(0, np.intp)

    @cached_property
    def spacing(self) -> float:
        """Unit of softness: the median Euclidean distance of a word to the nearest other; the norm of a single word."""
        if len(self.words) == 1:
            return float(np.linalg.norm(self.words)) or 1.0
        w = torch.from_numpy(self.words)
        nearest = torch.cdist(w, w).fill_diagonal_(torch.inf).amin(dim=1)
        return float(nearest.median()) or 1.0

    def descriptors(self, code: Tensor) -> Tensor:
        """Local descriptors (N, S·h·w, D), root-mapped if set, of a code (N, S·D, h, w) of phi with S descriptors each.

        S is the number of sizes of PHOW, otherwise 1; all positions of the first size come first, row by row.
        """
        local = local_descriptors(code, self.phi.descriptors_per_position)
        return _root(local) if self.root else local

    def with_phi(self, phi: Representation) -> Vocabulary:
        """The same words for another descriptor of the same dimension, such as a surrogate of phi."""
        return dataclasses.replace(self, phi=phi)

    def to_config(self) -> dict[str, Any]:
        """A JSON-able description with a digest of the words; to rebuild a code, pass the words as a resource."""
        return {"kind": self.kind, "shape": list(self.words.shape), "digest": self._digest, "root": self.root,
                "phi": self.phi.to_config()}

    @cached_property
    def _digest(self) -> str:
        return hashlib.sha256(b"".join(getattr(self, name).tobytes() for name in self._learned)).hexdigest()[:16]

    def __repr__(self) -> str:
        root = ", root=True" if self.root else ""
        return f"<{type(self).__name__}: {len(self.words)} words of {self.phi!r}{root}>"


@dataclass(frozen=True, eq=False, repr=False)
class Mixture(Vocabulary):
    """A vocabulary whose words are the components of a Gaussian mixture with diagonal covariances.

    Parameters
    ----------
    phi, words, counts, patches, root
        As for `Vocabulary`; the words are the means.
    variances : ndarray (K, D)
        Positive; otherwise, and for another shape, a ValueError.
    priors : ndarray (K,)
        Weights of the components, positive, with sum 1.
    """

    variances: NDArray[np.float32] = field(kw_only=True)
    priors: NDArray[np.float32] = field(kw_only=True)

    kind: ClassVar[Kind] = "gmm"
    _learned: ClassVar[tuple[str, ...]] = ("words", "variances", "priors")

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, shape in (("variances", self.words.shape), ("priors", self.words.shape[:1])):
            a = np.ascontiguousarray(getattr(self, name), dtype=np.float32)
            if a.shape != shape or not (np.isfinite(a).all() and (a > 0).all()):
                raise ValueError(f"the {name} of {len(self.words)} components are positive numbers of shape {shape}, "
                                 f"got shape {a.shape}")
            object.__setattr__(self, name, a)


def _check_same(path: str | Path, given: dict[str, Any], stored: dict[str, Any]) -> None:
    """Raise a ValueError unless both configurations describe one descriptor; arguments of only one must be defaults."""
    if given != stored:
        with contextlib.suppress(ValueError, TypeError):
            stored = Representation.from_config(stored).to_config()
    if found := differences(stored, given):
        raise ValueError(f"the words of {path} were learned with another descriptor ({found})")


def _root(local: Tensor) -> Tensor:
    """Map descriptors (..., D) to sign(d) √(|d| / ‖d‖₁)."""
    return signed_root(local / local.abs().sum(-1, keepdim=True).clamp_min(1e-12))


def signed_root(v: Tensor, softening: float = 0.0) -> Tensor:
    """The signed square root v / √(|v| + s · mean |v|), with the mean along the last axis; s = 0 is exact to 1e-12."""
    size = v.abs()
    return v / (size + softening * size.mean(-1, keepdim=True) + 1e-12).sqrt()


def _capacity(memory: int, dimension: int, words: int, kind: str) -> int:
    """Number of descriptors that can be clustered within a memory budget in bytes."""
    sample = 4 * dimension + PATCH * PATCH
    working = 4 * (3 * words + 2 * dimension) if kind == "gmm" else 4 * dimension
    return max(0, memory - 16 * words * dimension) // (sample + working)


def _cluster(sample: Sample, words: int, kind: str, seed: int) -> dict[str, Any]:
    """Words, counts, patches and, for a mixture, variances and priors."""
    from sklearn.cluster import MiniBatchKMeans
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    x = sample.descriptors
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        means = MiniBatchKMeans(words, batch_size=max(4096, 4 * words), n_init=1, random_state=seed).fit(x)
        labels, fields = means.labels_, {"words": means.cluster_centers_}
        if kind == "gmm":
            # scikit-learn would run k-means again: 16.5 s instead of 6.4 s for 25 000 × 128 and 64 components
            variances, priors = _initial_mixture(x, means.cluster_centers_, labels)
            floor = LOWEST_VARIANCE * float(x.var(axis=0).mean()) + 1e-12
            mixture = GaussianMixture(words, covariance_type="diag", reg_covar=floor, random_state=seed,
                                      means_init=means.cluster_centers_, weights_init=priors,
                                      precisions_init=1 / variances)  # fmt: skip
            labels = mixture.fit_predict(x)
            fields = {"words": mixture.means_, "variances": mixture.covariances_, "priors": mixture.weights_}
    patches = np.full((words, *sample.patches.shape[1:]), 0.5, np.float32)
    for word in np.unique(labels):
        patches[word] = sample.patches[labels == word].mean(axis=0, dtype=np.float32) / 255
    return {**fields, "counts": np.bincount(labels, minlength=words), "patches": patches}


def _initial_mixture(x: NDArray[np.float32], means: NDArray[np.float32],
                     labels: NDArray[np.int32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Variances (K, D) about the words, shrunk a little to the common variance, and priors (K,)."""
    counts = np.bincount(labels, minlength=len(means)).astype(np.float32)
    total = np.zeros_like(means)
    for word in np.unique(labels):
        total[word] = np.square(x[labels == word] - means[word]).sum(axis=0)
    common = total.sum(axis=0) / len(x)
    variances = (total + 10 * common) / (counts[:, None] + 10) + 1e-6
    priors = (counts + 1) / (counts + 1).sum()
    return variances.astype(x.dtype), priors.astype(x.dtype)
