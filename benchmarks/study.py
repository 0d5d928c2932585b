"""What all tables share: their options, a task for each photograph, and a page."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from unfeature.catalogue import command_name, suggestion
from unfeature.inversion import PRESETS
from unfeature.inversion.measures import Normaliser
from unfeature.io.images import named_images

from .page import (
    INTERVAL,
    Metrics,
    Page,
    Published,
    Sheet,
    Table,
    caption,
    every_image,
    groups,
    summary,
    widened,
    with_values,
)
from .protocol import SEED, SIDE, descriptor, descriptor_names, image_for
from .tasks import Inputs, Outcome, Plan, Row, Settings, Task, digest


class Option(NamedTuple):
    """What the command line says of an option, and the bounds of a whole number."""

    help: str
    least: int | None = None
    most: int | None = None


Names = tuple[str, ...]
Methods = Annotated[Names, Option("Presets.")]
Features = Annotated[Names, Option("Descriptors.")]
DataWeights = Annotated[tuple[float, ...], Option("Values of C, the weight of the code against the priors.")]
Side = Annotated[int, Option("Longer side of the images, in pixels; 0 keeps their own size.", 0, 2**13)]
Steps = Annotated[int | None, Option("Gradient evaluations [the presets' own].", 1)]
Network = Annotated[str | None, Option("A network, such as squeezenet1_0.")]
Weights = Annotated[Path | None, Option("File of its weights.")]
Layers = Annotated[Names | None, Option("Layers of the network [those with weights].")]

LAYERS: dict[str, Names] = {
    "squeezenet1_0": ("conv1", "fire2", "fire3", "fire4", "fire5", "fire6", "fire7", "fire8", "fire9", "conv_final"),
}
PUBLISHED_LAYERS = ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8")


class Photograph(NamedTuple):
    """A test photograph: its name on the page, its file, and the digest of the file."""

    name: str
    file: str
    digest: str


@dataclass(frozen=True, kw_only=True)
class Study:
    """A table. Its fields are its options, on the command line too; the docstring's first line is its summary.

    A subclass implements `plan` and `work`, and sets the title, first paragraph (`lead`) and heading of its page, the
    settings that make a line of the summary, with their headings (`by`), the one of them whose values are columns
    instead (`wide`), the columns of numbers (`metrics`), the settings in a picture's caption (`across`), those that
    make a sheet of pictures (`sheet_by`) and a line of it (`line_by`), what stands after ± (`margin`), the published
    figures, and whether its tasks must not run beside each other (`alone`). It may override the parts of its page:
    `tables`, `charts` and `sheets`.
    """

    title: ClassVar[str]
    lead: ClassVar[str]
    heading: ClassVar[str]
    by: ClassVar[dict[str, str]]
    metrics: ClassVar[Metrics]
    across: ClassVar[Names] = ("method",)
    wide: ClassVar[str] = ""
    sheet_by: ClassVar[str] = "feature"
    line_by: ClassVar[Names] = ("image",)
    margin: ClassVar[str] = INTERVAL
    published: ClassVar[Published | None] = None
    alone: ClassVar[bool] = False

    images: Annotated[Path, Option("Folder of the test photographs; of templates, their .npz files.")]
    out: Annotated[Path, Option("Folder of the run.")]
    every: Annotated[int, Option("Only every so many photographs, by name.", 1)] = 1
    count: Annotated[int | None, Option("Only the first so many of them.", 1)] = None
    seed: Annotated[int, Option("Of the starting noise and of everything learned.", 0, 2**32 - 1)] = SEED
    device: Annotated[Literal["cpu", "cuda"], Option("Where presets run.")] = "cpu"

    def plan(self) -> Plan:
        """The tasks; ValueError or FileNotFoundError for options that do not fit, before anything runs."""
        raise NotImplementedError

    @staticmethod
    def work(task: Task) -> Outcome:
        """Do one task."""
        raise NotImplementedError

    def page(self, rows: list[Row], prepared: list[Row]) -> Page:
        """The page of the finished rows."""
        rows = normalised(rows, prepared)
        originals = [row for row in prepared if "image" in row.pictures]
        return Page(self.title, self.lead, tuple(rows), self.tables(rows), self.charts(rows),
                    self.sheets(rows, originals))

    def tables(self, rows: list[Row]) -> tuple[Table, ...]:
        """The summary, and a line for each row."""
        means = summary("summary", self.heading, rows, self.by, self.metrics, self.margin, self.published)
        means = widened(means, self.by[self.wide], len(self.by) + 1) if self.wide else means
        return means, every_image(rows, {**self.by, "image": "photograph"}, self.metrics)

    def charts(self, rows: list[Row]) -> tuple[str, ...]:
        """Curves; none for most tables."""
        return ()

    def sheets(self, rows: list[Row], originals: list[Row]) -> tuple[Sheet, ...]:
        """Photographs, each beside the images found from its code: a sheet for each descriptor, or as `sheet_by` says.
        """
        photographs = {row["image"]: row for row in originals}
        found = []
        for (shared,), members in groups([row for row in rows if row.pictures], (self.sheet_by,)).items():
            lines = []
            for line in groups(members, self.line_by).values():
                image = line[0]["image"]
                first = [(photographs[image], "image", str(image))] if image in photographs else []
                named = [(row, name, caption(row, self.across, self.by, name)) for row in line for name in row.pictures]
                lines.append((*first, *named))
            found.append(Sheet(f"sheet-{shared}", str(shared), tuple(lines)))
        return tuple(found)

    @property
    def files(self) -> list[Path]:
        """The files that the options name."""
        named = [getattr(self, name, None) for name in ("models", "weights")]
        return [path for path in named if path is not None and path.is_file()]

    @cached_property
    def photographs(self) -> tuple[Photograph, ...]:
        """The test photographs, by name."""
        return tuple(Photograph(name, str(path.resolve()), digest(path))
                     for name, path in named_images(self.images)[:: self.every][: self.count])

    @property
    def inverted(self) -> tuple[Photograph, ...]:
        """Those photographs that have a task of their own."""
        return self.photographs

    @property
    def kind(self) -> str:
        """The name of the table."""
        return command_name(type(self).__name__)

    def task(self, settings: Settings, inputs: Inputs, threads: int = 1) -> Task:
        """A row of this table."""
        return Task(self.kind, type(self).work, settings, inputs, None, self.device, threads)

    def tasks(self, settings: Settings, inputs: Inputs, side: int, steps: int | None = None) -> list[Task]:
        """A row for each photograph."""
        last = {} if steps is None else {"steps": steps}
        return [self.task({**settings, **self.image_settings(one, side), **last}, {"image": one.file, **inputs})
                for one in self.inverted]

    def pictures(self, side: int, **settings: Any) -> list[Task]:
        """A task for each photograph, whose picture the page shows; with `net`, square and in colour."""
        return [Task("photograph", picture, {**self.image_settings(one, side), **settings}, {"image": one.file})
                for one in self.inverted]

    def normaliser(self, settings: Settings, inputs: Inputs, side: int) -> list[Task]:
        """The task that finds how far apart the photographs' codes are; none for a single photograph."""
        images = [[one.name, one.digest] for one in self.photographs]
        inputs = {**inputs, "images": "\n".join(one.file for one in self.photographs)}
        settings = {**settings, "side": side, "images": images}
        return [Task("normaliser", normalise, settings, inputs)] if len(images) > 1 else []

    def image_settings(self, photograph: Photograph, side: int) -> Settings:
        """Settings of a task on a photograph."""
        return {"image": photograph.name, "image_digest": photograph.digest, "side": side, "seed": self.seed}


def picture(task: Task) -> Outcome:
    """A photograph as the table uses it."""
    return Outcome({}, {"image": image_for(task.settings, task.inputs)})


def normalise(task: Task) -> Outcome:
    """The divisors of the measures of 2015 over the photographs of a task."""
    phi = descriptor(task.settings, task.inputs)
    paths = task.inputs["images"].splitlines()
    return Outcome(vars(Normaliser.of(phi(image_for(task.settings, {"image": path})) for path in paths)))


def normalised(rows: list[Row], prepared: list[Row]) -> list[Row]:
    """Rows with the measures of 2015, where their divisors are known."""
    known = {row["feature"]: Normaliser(row["euclidean"], row["squared"]) for row in prepared if row["euclidean"]}
    return [with_values(row, **known[row["feature"]].errors(row["distance"]))
            if row["distance"] is not None and row["feature"] in known else row for row in rows]


def chosen(names: Names, known: Iterable[str], what: str) -> Names:
    """The names, each once; ValueError for an unknown one."""
    known = list(known)
    for name in names:
        if name not in known:
            raise ValueError(f"unknown {what} {name!r}: one of {', '.join(known)}{suggestion(name, known)}")
    return tuple(dict.fromkeys(names))


@dataclass(frozen=True, kw_only=True)
class CodeStudy(Study):
    """A table of methods and other variants of the inversion, of descriptors, or of a network's layers with --net.

    A subclass implements `work`, and `variants` if it varies more than the methods. It says whether its errors are
    also divided by distances between photographs (`divided`), and whether it needs a network (`network_only`).
    """

    divided: ClassVar[bool] = False
    network_only: ClassVar[bool] = False

    features: Features = ("hog",)
    net: Network = None
    weights: Weights = None
    layers: Layers = None
    side: Side = SIDE
    steps: Steps = None
    methods: Methods = ("best",)

    def variants(self) -> list[Settings]:
        """The settings of each variant, beside its method."""
        return [{}]

    def methods_and_variants(self) -> list[Settings]:
        """Each variant with each method."""
        return [{"method": method, **variant} for method in chosen(self.methods, PRESETS, "method")
                for variant in self.variants()]

    def codes(self) -> list[tuple[Settings, Inputs]]:
        """Settings and inputs of each descriptor or layer."""
        if self.net is None and self.network_only:
            raise ValueError("name a network with --net and its weights with --weights, such as --net squeezenet1_0 "
                             "--weights squeezenet1_0.safetensors")
        if self.net is None:
            return [({"feature": name}, {}) for name in chosen(self.features, descriptor_names(), "descriptor")]
        if self.weights is None:
            raise ValueError(f"name the weights of {self.net} with --weights, such as {self.net}.safetensors")
        if not self.weights.is_file():
            raise FileNotFoundError(f"there is no file {self.weights}")
        network = {"net": self.net, "weights_digest": digest(self.weights)}
        inputs = {"weights": str(self.weights.resolve())}
        layers = self.layers or LAYERS.get(self.net, PUBLISHED_LAYERS)
        return [({**network, "feature": layer}, inputs) for layer in layers]

    def plan(self) -> Plan:
        """A row for each code, variant and photograph."""
        prepared, rows = self.pictures(self.side, **({} if self.net is None else {"net": self.net})), []
        for settings, inputs in self.codes():
            descriptor(settings, inputs)
            prepared += self.normaliser(settings, inputs, self.side) if self.divided else []
            for variant in self.methods_and_variants():
                rows += self.tasks({**settings, **variant}, inputs, self.side, self.steps)
        return Plan(tuple(rows), tuple(prepared))
