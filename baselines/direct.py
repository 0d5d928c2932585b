"""Direct descent on the coefficients of a natural-image basis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import fold

from unfeature.features.base import Representation, code_to_tensor
from unfeature.io.schema import Field, Schema, Value

from .base import Baseline
from .stream import Floats, Moments, Size, Stream

STEPS = 200
RATE = 0.1
SOFTNESS = 0.5
PER_IMAGE = 400


@dataclass(eq=False, repr=False)
class Direct(Baseline):
    r"""The principal components of patches, for direct descent.

    Patches of natural images have the mean m and the principal components U with variances s². The image is a sum of
    patches m + U (s ∘ z) that overlap by half under a Hann window, and z = argmin ‖Φ(x(z)) − Φ₀‖² / ‖Φ₀‖² + w ‖z‖²/n,
    by 200 steps of Adam from small noise, with the descriptor's own gradient (its surrogate's, where it has one, for
    the first half). `basis` (K, side · side · C) is U times s, a component a row, and `mean` (side · side · C) is m.

    Notes
    -----
    The paper has no w, and one basis for a window of fixed size; overlapping patches make it one for any size.

    References
    ----------
    C. Vondrick et al., "HOGgles", ICCV 2013, section 3.3.
    """

    several: ClassVar[bool] = True
    grid: ClassVar[bool] = False
    inverted: ClassVar[str] = "codes with a gradient"

    schema: ClassVar[Schema] = {
        "basis": Field("float32", ("components", "pixels")), "mean": Field("float32", ("pixels",)),
        "side": Value(int, 2, 10_000), "weight": Value(float, 0, 1e9)}

    basis: Floats
    mean: Floats
    side: int
    weight: float

    @classmethod
    def learn_from(cls, stream: Stream, phi: Representation, *, components: int = 200, cells: int = 4,
                   weight: float = 0.01) -> Direct:
        """Learn the principal components of patches; only the stride and channels of `phi` matter for them.

        Parameters
        ----------
        components : int
            Principal components K, at most the values of a patch.
        cells : int
            Side of a patch in strides, made even in pixels.
        weight : float
            Weight w of the coefficients' mean square.
        """
        pixels = max(2, 2 * (cells * phi.stride // 2), 8)
        length = pixels * pixels * phi.in_channels[0]
        if components > length:
            raise ValueError(f"a patch of {pixels}×{pixels} pixels has at most {length} components, got {components}")
        stream.rows_in_memory(8 * 4 * length**2, 12 * length, PER_IMAGE)
        learner = _PatchLearner(pixels, length)
        stream.run(learner, pixels)
        mean, covariance = learner.finish()
        values, vectors = np.linalg.eigh(covariance)
        scales = np.sqrt(np.maximum(values[::-1][:components], 0))
        basis = (vectors[:, ::-1][:, :components] * scales).T
        return cls(phi.to_config(), basis.astype(np.float32), mean.astype(np.float32), pixels, weight)

    def dimensions(self, phi: Any) -> dict[str, int]:
        """Values of a patch."""
        return {"pixels": self.side**2 * phi.in_channels[0]}

    def reconstruct(self, phi: Representation, code: Floats, size: Size, count: int, seed: int) -> Floats:
        """The images (count, H, W, C) in [0, 1] of a code (h, w, D), from different starts."""
        generator = torch.Generator().manual_seed(seed)
        grid = [-(-n // (self.side // 2)) + 1 for n in size]
        z = 0.1 * torch.randn((count, len(self.basis), grid[0] * grid[1]), generator=generator)
        z.requires_grad_()
        target = code_to_tensor(code).float()
        optimiser = torch.optim.Adam([z], lr=RATE)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
        for step in range(STEPS):
            model = phi.surrogate(SOFTNESS) if step < STEPS // 2 else phi
            optimiser.zero_grad()
            residual = model(self.render(z, grid, size)) - target
            data = residual.flatten(1).pow(2).sum(1) / target.pow(2).sum().clamp_min(1e-12)
            (data + self.weight * z.pow(2).flatten(1).mean(1)).sum().backward()
            optimiser.step()
            schedule.step()
        with torch.no_grad():
            images = self.render(z, grid, size).clamp(0, 1)
        return np.ascontiguousarray(images.permute(0, 2, 3, 1).numpy())

    def render(self, z: Tensor, grid: list[int], size: tuple[int, int]) -> Tensor:
        """Images (N, C, H, W) of coefficients (N, K, patches)."""
        side, half = self.side, self.side // 2
        ramp = torch.hann_window(side, periodic=True)
        hann = (ramp[:, None] * ramp).reshape(-1, 1)
        channels = len(self.mean) // side**2
        basis = torch.from_numpy(self.basis).to(z)
        patches = torch.einsum("nkp,kd->ndp", z, basis) + torch.from_numpy(self.mean).to(z)[:, None]
        patches = patches.unflatten(1, (side * side, channels)).movedim(2, 1) * hann
        extent = half * (grid[0] + 1), half * (grid[1] + 1)
        whole = fold(patches.flatten(1, 2), extent, side, stride=half)
        return whole[..., half : half + size[0], half : half + size[1]]


class _PatchLearner(Moments):
    """Mean and covariance of random patches."""

    encodes: ClassVar[bool] = False

    def __init__(self, side: int, length: int) -> None:
        super().__init__(length)
        self.side = side

    def see(self, image: Floats, code: Floats, rng: np.random.Generator) -> None:
        corners = [rng.integers(n - self.side + 1, size=PER_IMAGE) for n in image.shape[:2]]
        cut = [image[y : y + self.side, x : x + self.side].ravel() for y, x in zip(*corners, strict=True)]
        self.add(np.array(cut))
