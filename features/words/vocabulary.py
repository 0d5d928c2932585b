"""Visual words: codebooks of local descriptors, learned with k-means or as a Gaussian mixture."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unfeature.io.files import load_arrays, save_arrays
from unfeature.io.memory import bytes_of

from ..base import Representation
from .sampling import (
    PATCH,
    Images,
    Progress,
    Sample,
    descriptor_dimension,
    local_descriptors,
    sample_descriptors,
)

KINDS = ("kmeans", "gmm")
SAMPLES_PER_WORD = 400
FEWEST_SAMPLES = 100_000
LOWEST_VARIANCE = 0.1


@dataclass(frozen=True, eq=False)
class Vocabulary:
    r"""K visual words: centres in the space of a local descriptor.

    Parameters
    ----------
    phi : Representation
        The local descriptor; each position of its code (D, h, w) is one descriptor, of PHOW one a size.
    words : ndarray (K, D)
        The centres, kept as float32.
    counts : ndarray (K,), optional
        Descriptors of the training sample that fell to each word.
    patches : ndarray (K, 16, 16), optional
        Mean grey patch of those descriptors, in [0, 1]: what each word looks like.
    root : bool
        Descriptors are mapped to sign(d) √(|d| / ‖d‖₁) before they meet the words (root-SIFT, Arandjelović and
        Zisserman 2012). The map belongs to the vocabulary, since words learned with it mean nothing without it.

    Raises
    ------
    ValueError
        If the words are not a matrix of finite numbers, or are of another dimension than the descriptors of phi.
    """

    phi: Representation
    words: NDArray[np.float32]
    counts: NDArray[np.int64] | None = None
    patches: NDArray[np.float32] | None = None
    root: bool = False

    def __post_init__(self) -> None:
        words = np.ascontiguousarray(self.words, dtype=np.float32)
        if words.ndim != 2 or words.size == 0 or not np.isfinite(words).all():
            raise ValueError(f"words are a (K, D) array of finite numbers, got shape {words.shape}")
        dimension = descriptor_dimension(self.phi)
        if words.shape[1] != dimension:
            raise ValueError(
                f"the words have {words.shape[1]} dimensions, but the descriptors of {self.phi!r} have {dimension}: "
                "use the descriptor that the codebook was learned with, or learn another codebook"
            )
        object.__setattr__(self, "words", words)

    @classmethod
    def learn(
        cls,
        images: Images,
        phi: Representation,
        words: int = 1000,
        kind: str = "kmeans",
        root: bool = False,
        samples: int | None = None,
        keep_flat: bool = False,
        seed: int = 0,
        memory: int | str = "2GB",
        progress: Progress | None = None,
    ) -> Vocabulary:
        """Learn visual words from images, in one pass and under a memory bound.

        Parameters
        ----------
        images : folder, list of paths, or iterable of arrays
        phi : Representation
            A descriptor with positions.
        words : int
            K, the number of words.
        kind : {"kmeans", "gmm"}
            Mini-batch k-means, or a Gaussian mixture with diagonal covariances that starts from it, as Fisher
            vectors need. A tenth of the descriptors' mean variance is added to all variances: without it the few
            narrowest components outweigh all others in a Fisher vector.
        root : bool
            Cluster the root-SIFT map of the descriptors; see the class.
        samples : int, optional
            Descriptors to cluster, a uniform sample: 400 a word, at least 100 000, fewer where memory bounds them.
        keep_flat : bool
            Also sample descriptors that are zero throughout.
        seed : int
            The same images and seed give the same words.
        memory : int or str
            Bytes, or text such as ``"2GB"``, that learning may take beside the one image at hand.
        progress : callable, optional
            Called with the images done, and their number or None, after each image.

        Returns
        -------
        Vocabulary
            A `Mixture` for ``kind="gmm"``.

        Raises
        ------
        ValueError
            If there are fewer descriptors than words, the memory does not hold a sample, or an image is unusable.

        Warns
        -----
        UserWarning
            If words are left empty, as they are when descriptors repeat.
        """
        if kind not in KINDS:
            raise ValueError(f"unknown kind of vocabulary {kind!r}: one of {', '.join(KINDS)}")
        if words < 1:
            raise ValueError(f"a vocabulary has at least one word, got {words}")
        room = _room(bytes_of(memory), descriptor_dimension(phi), words, kind)
        capacity = min(room, samples if samples is not None else max(FEWEST_SAMPLES, SAMPLES_PER_WORD * words))
        if capacity < words:
            raise ValueError(
                f"{words} words need at least as many sampled descriptors, and memory={memory!r}, samples={samples} "
                f"leave room for {capacity}: raise the bound or ask for fewer words"
            )
        sample = sample_descriptors(images, phi, capacity, seed, keep_flat, progress)
        found = len(sample.descriptors)
        if found < words:
            raise ValueError(f"{words} words cannot be learned from {found} descriptors: give more or larger images, "
                             "a smaller step, or ask for fewer words")
        if root:
            sample = dataclasses.replace(sample, descriptors=_root(torch.from_numpy(sample.descriptors)).numpy())
        return _cluster(phi, sample, words, kind, root, seed)

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
        path : str or Path
        phi : Representation, optional
            The descriptor to use; it must be the one that the words were learned with. Without it, that one is
            rebuilt from the file.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If it is not a vocabulary, or its words were learned with another descriptor than phi.
        """
        meta, arrays = load_arrays(path, "vocabulary")
        if phi is None:
            phi = Representation.from_config(meta["phi"])
        else:
            _check_same(path, phi.to_config(), meta["phi"])
        return (Mixture if meta["kind"] == "gmm" else Vocabulary)(phi=phi, root=meta["root"], **arrays)

    @property
    def kind(self) -> str:
        """How the words were learned: "kmeans" or "gmm"."""
        return "kmeans"

    @property
    def empty(self) -> NDArray[np.intp]:
        """Numbers of the words to which no descriptor of the training sample fell."""
        return np.flatnonzero(self.counts == 0) if self.counts is not None else np.empty(0, np.intp)

    @cached_property
    def spacing(self) -> float:
        """Median Euclidean distance of a word to the nearest other; the unit of softness. The norm of a lone word."""
        if len(self.words) == 1:
            return float(np.linalg.norm(self.words)) or 1.0
        w = torch.from_numpy(self.words)
        nearest = torch.cdist(w, w).fill_diagonal_(torch.inf).amin(dim=1)
        return float(nearest.median()) or 1.0

    def descriptors(self, code: Tensor) -> Tensor:
        """The local descriptors in a code of phi, (N, D, h, w) → (N, h·w, D), row by row, in the words' space.

        Of PHOW with S sizes, (N, S·D, h, w) → (N, S·h·w, D): all positions of the first size, of the second …
        """
        local = local_descriptors(code, self.phi.descriptors_per_position)
        return _root(local) if self.root else local

    def with_phi(self, phi: Representation) -> Vocabulary:
        """The same words for another descriptor of the same dimension, such as a surrogate of phi."""
        return dataclasses.replace(self, phi=phi)

    def to_config(self) -> dict[str, Any]:
        """A JSON-able description: the words are told apart by a digest, so they are passed along to rebuild them."""
        return {"kind": self.kind, "shape": list(self.words.shape), "digest": self._digest, "root": self.root,
                "phi": self.phi.to_config()}

    @cached_property
    def _digest(self) -> str:
        return hashlib.sha256(self.words.tobytes()).hexdigest()[:16]

    def __repr__(self) -> str:
        rooted = ", root=True" if self.root else ""
        return f"<{type(self).__name__}: {len(self.words)} words of {self.phi!r}{rooted}>"


@dataclass(frozen=True, eq=False, repr=False)
class Mixture(Vocabulary):
    """A vocabulary whose words are the components of a Gaussian mixture with diagonal covariances.

    Parameters
    ----------
    phi, words, counts, patches, root
        As for `Vocabulary`; the words are the means.
    variances : ndarray (K, D)
        Positive.
    priors : ndarray (K,)
        Weights of the components, which sum to 1.

    Raises
    ------
    ValueError
        As for `Vocabulary`, and if variances or priors are not positive, or do not fit the words.
    """

    variances: NDArray[np.float32] = field(kw_only=True)
    priors: NDArray[np.float32] = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, shape in (("variances", self.words.shape), ("priors", self.words.shape[:1])):
            a = np.ascontiguousarray(getattr(self, name), dtype=np.float32)
            if a.shape != shape or not (np.isfinite(a).all() and (a > 0).all()):
                raise ValueError(f"the {name} of {len(self.words)} components are positive numbers of shape {shape}, "
                                 f"got shape {a.shape}")
            object.__setattr__(self, name, a)

    @property
    def kind(self) -> str:
        """How the words were learned: "gmm"."""
        return "gmm"

    @cached_property
    def _digest(self) -> str:
        return hashlib.sha256(b"".join(a.tobytes() for a in (self.words, self.variances, self.priors))).hexdigest()[:16]


def _check_same(path: str | Path, given: dict[str, Any], stored: dict[str, Any]) -> None:
    """Raise a ValueError unless both configurations are of one descriptor; what only one names must be the default."""
    if given != stored:
        with contextlib.suppress(ValueError, TypeError):
            stored = Representation.from_config(stored).to_config()
    differing = sorted(k for k in {*given, *stored} if given.get(k) != stored.get(k))
    if differing:
        found, expected = ({k: config.get(k) for k in differing} for config in (given, stored))
        raise ValueError(f"the words of {path} were learned with another descriptor: it has {expected}, "
                         f"but {found} was given")


def _root(local: Tensor) -> Tensor:
    """Map descriptors (..., D) to sign(d) √(|d| / ‖d‖₁)."""
    return signed_root(local / local.abs().sum(-1, keepdim=True).clamp_min(1e-12))


def signed_root(v: Tensor, softening: float = 0.0) -> Tensor:
    """The signed square root v / √(|v| + s · mean |v|), with the mean along the last axis; s = 0 is exact to 1e-12."""
    size = v.abs()
    return v / (size + softening * size.mean(-1, keepdim=True) + 1e-12).sqrt()


def _room(memory: int, dimension: int, words: int, kind: str) -> int:
    """Descriptors that a memory of so many bytes holds while they are clustered."""
    sample = 4 * dimension + PATCH * PATCH
    working = 4 * (3 * words + 2 * dimension) if kind == "gmm" else 4 * dimension
    return max(0, memory - 16 * words * dimension) // (sample + working)


def _cluster(phi: Representation, sample: Sample, words: int, kind: str, root: bool, seed: int) -> Vocabulary:
    from sklearn.cluster import MiniBatchKMeans
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    x = sample.descriptors
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        means = MiniBatchKMeans(words, batch_size=max(4096, 4 * words), n_init=1, random_state=seed).fit(x)
        labels = means.labels_
        fields: dict[str, Any] = {"words": means.cluster_centers_}
        if kind == "gmm":
            variances, priors = _spread(x, means.cluster_centers_, labels)
            floor = LOWEST_VARIANCE * float(x.var(axis=0).mean()) + 1e-12
            mixture = GaussianMixture(words, covariance_type="diag", reg_covar=floor, random_state=seed,
                                      means_init=means.cluster_centers_, weights_init=priors,
                                      precisions_init=1 / variances)  # fmt: skip
            labels = mixture.fit_predict(x)
            fields = {"words": mixture.means_, "variances": mixture.covariances_, "priors": mixture.weights_}
    counts = np.bincount(labels, minlength=words)
    if (empty := int((counts == 0).sum())):
        warnings.warn(f"{empty} of {words} words are empty: the images hold too few different descriptors; "
                      "ask for fewer words or give more images", stacklevel=3)
    made = Mixture if kind == "gmm" else Vocabulary
    return made(phi=phi, counts=counts, patches=_mean_patches(sample.patches, labels, counts), root=root, **fields)


def _spread(
    x: NDArray[np.float32], means: NDArray[np.float32], labels: NDArray[np.int32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Variances (K, D) of the descriptors about their words, drawn a little to the common one, and shares (K,)."""
    counts = np.bincount(labels, minlength=len(means)).astype(np.float32)
    total = np.zeros_like(means)
    for word, members in _groups(labels):
        total[word] = np.square(x[members] - means[word]).sum(axis=0)
    common = total.sum(axis=0) / len(x)
    variances = (total + 10 * common) / (counts[:, None] + 10) + 1e-6
    priors = (counts + 1) / (counts + 1).sum()
    return variances.astype(x.dtype), priors.astype(x.dtype)


def _mean_patches(
    patches: NDArray[np.uint8], labels: NDArray[np.int32], counts: NDArray[np.intp]
) -> NDArray[np.float32]:
    """Mean patch of each word (K, 16, 16) in [0, 1]; middle grey for empty words."""
    means = np.full((len(counts), *patches.shape[1:]), 0.5, np.float32)
    for word, members in _groups(labels):
        means[word] = patches[members].mean(axis=0, dtype=np.float32) / 255
    return means


def _groups(labels: NDArray[np.int32]) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """The words that occur, each with the places of its members."""
    order = np.argsort(labels, kind="stable")
    present, starts = np.unique(labels[order], return_index=True)
    return zip(present.tolist(), np.split(order, starts[1:]), strict=True)
