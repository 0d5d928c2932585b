"""Learning how far a decoder's predictions are from photographs; `unfeature.inversion.uncertainty` predicts it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from unfeature.features.base import Representation
from unfeature.inversion.decoder import DecoderModel, nearest_pretrained
from unfeature.inversion.uncertainty import Uncertainty, UncertaintyNetwork

from .decoder import PhotographLearner
from .decoder_training import MOMENTS, Augmentation, Photographs, held_out_photographs, residual_of, size_of, targets
from .stream import Images, Progress, Stream

RATE, WARM_UP = 2e-3, 50
EVERY = 50


def learn_uncertainty(
    images: Images, phi: Representation, *, decoder: DecoderModel | None = None, crop: int = 192, smallest: int = 240,
    largest: int = 400, whole: float = 0.0, held_out: int = 40, steps: int = 1000, batch: int = 8, seed: int = 0,
    memory: str | int = "2GB", output: str | Path | None = None, progress: Progress | None = None,
    report: Callable[[str], None] | None = None,
) -> Uncertainty:
    """Learn the standard deviation of photographs about a decoder's predictions.

    Adam on random crops. In the end one factor for all σ is set so that (y − g)² / σ² has mean 1 on photographs that
    were held out, which the decoder was not trained on if images, seed and `held_out` are those of its training. As in
    `Decoder.learn`, the same call goes on after a kill.

    Parameters
    ----------
    images : path, or iterable of paths and arrays
    phi : Representation
        The decoder's descriptor.
    decoder : DecoderModel, optional
        By default the one that ships for phi.
    crop, smallest, largest, whole, held_out, batch, seed, memory, output, progress, report
        As for the decoder.
    steps : int
        Steps of Adam, whose rate falls to zero along half a cosine.

    Raises
    ------
    ValueError
        If there is no decoder for phi, it was learned for another descriptor, or `whole` is no share.
    """
    decoder = nearest_pretrained(phi) if decoder is None else decoder
    decoder.which(phi)
    augmentation = Augmentation(crop, smallest, largest, whole)
    settings = {"method": "uncertainty", "decoder": decoder.digest, "crop": crop, "smallest": smallest,
                "largest": largest, "whole": whole, "held_out": held_out, "steps": steps, "batch": batch}
    stream = Stream(images, phi, settings, seed, None, memory, output, progress)
    stream.steps = steps
    learner = PhotographLearner(largest, stream.rows_in_memory(0, phi.in_channels[0] * largest**2, 2))
    stream.run(learner, smallest=min(crop, 32))
    photographs = Photographs.split(learner.photographs, held_out)
    network = _untrained(decoder, seed)
    found = Uncertainty(network, decoder.digest)
    optimiser = torch.optim.Adam(network.parameters(), lr=RATE, betas=(0.9, 0.99))
    phis = [Representation.from_config(config) for config in decoder.descriptors]
    losses: list[float] = []
    for step in range(_resume(learner, network, optimiser, losses), steps):
        rng = np.random.default_rng([seed, len(stream) + step])
        x = torch.from_numpy(augmentation.batch(photographs, batch, rng))
        loss = _loss(found, decoder, phis, x, rng)
        optimiser.param_groups[0]["lr"] = RATE * min((step + 1) / WARM_UP, 0.5 + 0.5 * np.cos(np.pi * step / steps))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
        stream.report(len(stream) + step + 1)
        if stream.checkpoint_due:
            _store(learner, network, optimiser, losses)
            stream.checkpoint(learner, len(stream), len(stream))
        if report is not None and (step + 1) % EVERY == 0:
            report(f"step {step + 1}: loss {np.mean(losses[-EVERY:]):.4f}")
    _calibrate(found, decoder, phi, held_out_photographs(phi, photographs.held_out))
    found.facts = {"seed": seed, "steps": steps, "photographs": len(photographs.training),
                   "held_out": len(photographs.held_out), "loss": float(np.mean(losses[-EVERY:]))} | found.facts
    if output is not None:
        found.save(output)
        cast(Path, stream.checkpoint_file).unlink(missing_ok=True)
    return found


def _untrained(decoder: DecoderModel, seed: int) -> UncertaintyNetwork:
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        return UncertaintyNetwork(decoder.network.last.in_channels, decoder.network.cell)


def _store(learner: PhotographLearner, network: UncertaintyNetwork, optimiser: torch.optim.Adam, losses: list[float]
           ) -> None:
    """Write the state of training into the learner's arrays; its steps are as many as the losses."""
    own = list(network.parameters())
    kept = {"weights": own, **{name: [optimiser.state[one][name] for one in own] for name in MOMENTS}}
    learner.arrays |= {name: parameters_to_vector(parts).detach().numpy().copy() for name, parts in kept.items()}
    learner.arrays["losses"] = np.array(losses)


def _resume(learner: PhotographLearner, network: UncertaintyNetwork, optimiser: torch.optim.Adam, losses: list[float]
            ) -> int:
    """Restore the state kept in the arrays, if any; the number of steps done."""
    if "losses" not in learner.arrays:
        return 0
    losses += learner.arrays["losses"].tolist()
    own = list(network.parameters())
    vector_to_parameters(torch.from_numpy(learner.arrays["weights"]), own)
    for one in own:
        optimiser.state[one] = {"step": torch.tensor(float(len(losses))),
                                **{name: torch.zeros_like(one) for name in MOMENTS}}
    for name in MOMENTS:
        vector_to_parameters(torch.from_numpy(learner.arrays[name]), [optimiser.state[one][name] for one in own])
    return len(losses)


def _loss(found: Uncertainty, decoder: DecoderModel, phis: list[Representation], x: Tensor,
          rng: np.random.Generator) -> Tensor:
    """Half the mean of (y − g)² / σ² + log σ² over a batch of crops, each with a random one of the descriptors."""
    kinds = np.sort(rng.integers(len(phis), size=len(x)))
    codes = []
    with torch.no_grad():
        for kind in np.unique(kinds):
            codes.append((int(kind), decoder.standardised(phis[kind](x[kinds == kind]), int(kind))))
        features = decoder.network.features(codes, size_of(x))
        images = decoder.network.pixels(decoder.network.last(features), codes, size_of(x))
        images = images - images.mean((1, 2, 3), keepdim=True) if decoder.centred else images
        squares = (targets(x, phis[0]) - images).square().mean(1, keepdim=True)
    logs = decoder.network.pixels(found.network(features), codes, size_of(x))
    return 0.5 * (squares * (-logs).exp() + logs).mean()


def _calibrate(found: Uncertainty, decoder: DecoderModel, phi: Representation, test: list[tuple[Tensor, Tensor]]
               ) -> None:
    """Scale σ to the residual of held-out photographs, and note the share of their pixels within ± 2 σ."""
    ratios = torch.cat([ratio_of(found, decoder, phi, x, code).flatten() for x, code in test])
    factor = ratios.square().mean().sqrt()
    with torch.no_grad():
        found.network.second.bias.add_(2 * factor.log())  # type: ignore[union-attr]
    found.network.half().float().eval()
    found.facts = {"factor": float(factor), "within two": float((ratios.abs() <= 2 * factor).float().mean())}


def ratio_of(found: Uncertainty, decoder: DecoderModel, phi: Representation, x: Tensor, code: Tensor) -> Tensor:
    """(y − g) / σ at each pixel of photographs (N, C, H, W)."""
    return residual_of(decoder, phi, x, code) / found.std(decoder, phi, code, size_of(x))
