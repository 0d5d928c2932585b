"""What the pages of both papers share: parts, each a table, on descriptors at native size and on a network's layers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from ..page import Page
from ..study import PUBLISHED_LAYERS, CodeStudy, Layers, Names, Network, Option, Photograph, Steps, Study, Weights
from ..tasks import Plan, Row

NETWORK_LAYERS: dict[str, Names] = {
    "squeezenet1_0": ("conv1", "fire3", "fire5", "fire7", "fire9", "conv_final"),
    **dict.fromkeys(("caffenet", "alexnet"), ("conv1", "relu2", "conv3", "relu4", "conv5", "fc6", "fc8")),
}
"""Layers of the papers' tables: of CaffeNet two or three for each λ_TV, and like ones of SqueezeNet."""
THEIR_NETWORKS = ("caffenet", "alexnet", "vgg-m", "vgg-vd-16")
Few = Annotated[int, Option("For how many of the photographs a network's layers are inverted.", 1)]


@dataclass(frozen=True, kw_only=True)
class NetworkPart(CodeStudy):
    """A table of layers, for the first few photographs; those of the measures of 2015 are compared with all."""

    network_count: Few = 1

    @property
    def inverted(self) -> tuple[Photograph, ...]:
        """The first few photographs."""
        return self.photographs[: self.network_count]


@dataclass(frozen=True, kw_only=True)
class Paper(Study):
    """The tables and figures of a paper on one page. A subclass names its `parts`.

    Parts on a network are left out where its weights are not given.
    """

    heading = ""
    by = {}  # noqa: RUF012
    metrics = ()

    train: Annotated[tuple[Path, ...], Option("Folder that HOGgles learns from; may be given again [it ships].")] = ()
    models: Annotated[Path | None, Option("Folder with paired-dictionary-dpm.npz, learned before.")] = None
    net: Network = "squeezenet1_0"
    weights: Weights = None
    layers: Layers = None
    network_count: Few = 1
    steps: Steps = None

    @cached_property
    def parts(self) -> tuple[Study, ...]:
        """The tables of the page."""
        raise NotImplementedError

    def plan(self) -> Plan:
        """The tasks of all parts."""
        plans = [part.plan() for part in self.parts]
        return Plan(tuple(task for plan in plans for task in plan.tasks),
                    tuple(task for plan in plans for task in plan.preparations))

    def page(self, rows: list[Row], prepared: list[Row]) -> Page:
        """The pages of the parts, one after the other."""
        measured: list[Row] = []
        charts: list[str] = []
        tables, sheets = [], []
        for part in self.parts:
            plan = part.plan()
            keys, before = ({task.key for task in tasks} for tasks in (plan.tasks, plan.preparations))
            page = part.page([row for row in rows if row.key in keys], [row for row in prepared if row.key in before])
            tables += [replace(table, name=f"{part.kind}-{table.name}", note=f"{part.lead} {table.note}")
                       for table in page.tables if table.name != "every-image"]
            measured += page.rows
            charts += page.charts
            sheets += [replace(sheet, name=f"{part.kind}-{sheet.name}", title=f"{part.heading}: {sheet.title}")
                       for sheet in page.sheets]
        lead = f"{self.lead} {self._network()}"
        return Page(self.title, lead, tuple(measured), tuple(tables), tuple(charts), tuple(sheets))

    def _network(self) -> str:
        if self.weights is None:
            return "Its experiments on networks are left out: no weights were given."
        few = (f"its layers are inverted for {min(self.network_count, len(self.photographs))} of the photographs; "
               "“diverged” says that the published steps left the finite numbers: the picture is the last finite image")
        if self.net in THEIR_NETWORKS:
            return f"The network is {self.net}, one of the paper’s; {few}."
        return (f"The network is {self.net}; {few}. The paper’s own are AlexNet (caffenet) and VGG, whose weights are "
                "given as MatConvNet files.")

    @property
    def _shared(self) -> dict[str, Any]:
        """Options of all parts."""
        return {name: getattr(self, name) for name in ("images", "out", "every", "count", "seed", "device", "steps")}

    def _few(self, *layers: int, **more: Any) -> dict[str, Any]:
        """The same of a part that inverts the first few photographs."""
        return {**self._on_network(*layers), "network_count": self.network_count, **more}

    def _on_network(self, *layers: int) -> dict[str, Any]:
        """Options of a part on the network, for all layers or those at some places."""
        known = self.layers or NETWORK_LAYERS.get(str(self.net), PUBLISHED_LAYERS)
        some = tuple(known[place] for place in layers if -len(known) <= place < len(known)) or known
        return {**self._shared, "net": self.net, "weights": self.weights, "layers": tuple(dict.fromkeys(some))}
