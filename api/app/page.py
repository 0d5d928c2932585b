"""The page, made with Gradio: forms from the catalogues, and a run that is drawn while it goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import click
import gradio as gr

from unfeature.io.images import BUNDLED, bundled, bundled_path, resize_longer
from unfeature.parameters.kinds import COUNT, LONGER_SIDE, SEED, SIZE, Number
from unfeature.parameters.mistakes import sentence_about

from .desk import Desk
from .drawing import drawn, sentence
from .fields import Field, features, fields_of, methods
from .run import MOST, data_uri
from .setting import Setting
from .source import CODES, Source

TEMPLATES = Path(__file__).parent / "templates"
PHOTOGRAPHS = ["image", *CODES]
Values = dict[Any, Any]


class Page:
    """The components, and what happens when one is used."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        with gr.Blocks(title="unfeature", analytics_enabled=False, delete_cache=(3600, 24 * 3600)) as self.blocks:
            gr.HTML(HEAD, elem_id="head")
            with gr.Row(equal_height=False, elem_id="halves"):
                with gr.Column(scale=0, min_width=350, elem_id="form"):
                    self._ask_source()
                    self._ask_feature_and_method()
                    self._ask_run()
                    self._ask_more()
                with gr.Column(scale=1, min_width=320):
                    self.shown = gr.HTML(sentence("Choose a photograph or a code, then press Invert", alarm=False),
                                         elem_id="shown", js_on_load=(TEMPLATES / "page.js").read_text("utf-8"))
            self._listen()

    def _ask_source(self) -> None:
        self.file = gr.File(label="Photograph or code (.npy, .npz)", file_types=PHOTOGRAPHS, height=120,
                            elem_id="source")
        self.example = gr.Radio([*BUNDLED], value=BUNDLED[0], label="or one of these", elem_id="example")

    def _ask_feature_and_method(self) -> None:
        with gr.Row(elem_classes="pair"):
            self.feature = gr.Dropdown([*features()], value="hog", label="Feature", elem_id="feature", min_width=120)
            self.method = gr.Dropdown([*methods()], value="best", label="Method", elem_id="method", min_width=120)
        self.about = gr.HTML(_about("hog", "best"), elem_id="about")
        self.groups: dict[str, gr.Column] = {}
        self.fields: dict[tuple[str, str], Any] = {}
        for name in features():
            own = sorted(fields_of(name), key=lambda one: not one.option.needed)
            with gr.Column(visible=name == "hog", elem_id=f"options-{name}") as self.groups[name]:
                first = max(2, sum(one.option.needed for one in own))
                with gr.Row(elem_classes="pair"):
                    self._ask_each(name, own[:first])
                with gr.Accordion(f"All options of {name}", open=False):
                    self._ask_each(name, own[first:])
        self.model = gr.File(label="Its model, from `unfeature learn`", height=110, visible=False, elem_id="model")

    def _ask_each(self, feature: str, fields: Sequence[Field]) -> None:
        for one in fields:
            self.fields[feature, one.name] = _component(one, f"{feature}-{one.name}")

    def _ask_more(self) -> None:
        with gr.Accordion("Size and search", open=False, elem_id="more"):
            self.side = gr.Slider(64, 512, LONGER_SIDE, step=32, label="longer side of a photograph", elem_id="side")
            self.colour = gr.Checkbox(label="in colour, if the feature takes it", elem_id="colour")
            self.size = gr.Textbox(label="size of a code’s image", placeholder="height×width, as 192x256",
                                   elem_id="size")
            self.steps = gr.Textbox(label="gradient evaluations", placeholder="those of the preset", elem_id="steps")
            self.weight = gr.Textbox(label="data weight C", placeholder="that of the feature", elem_id="weight")
            self.start = gr.Radio(["auto", "noise"], value="auto", label="start", elem_id="start")
            self.starts = gr.Slider(1, 8, 1, step=1, label="starts", elem_id="starts")
            self.seed = gr.Textbox("0", label="seed", elem_id="seed")

    def _ask_run(self) -> None:
        with gr.Row(elem_id="buttons"):
            self.run = gr.Button("Invert", variant="primary", min_width=100, elem_id="run")
            self.stop = gr.Button("Stop", min_width=70, interactive=False, elem_id="stop")
            self.keep = gr.Button("Keep to compare", min_width=150, elem_id="keep")
        self.beside = gr.CheckboxGroup([], label="Beside it", visible=False, elem_id="beside")

    def _listen(self) -> None:
        quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        asked = {self.file, self.example, self.side, self.colour, self.feature, self.method, self.model, self.steps,
                 self.weight, self.start, self.starts, self.seed, self.size, self.beside, *self.fields.values()}
        self.feature.change(lambda name: [gr.update(visible=name == one) for one in self.groups], self.feature,
                            [*self.groups.values()], queue=False, **quiet)
        self.method.change(lambda name: gr.update(visible=methods()[name].needs_model), self.method, self.model,
                           queue=False, **quiet)
        gr.on([self.feature.change, self.method.change], _about, [self.feature, self.method], self.about, queue=False,
              **quiet)
        self.example.input(lambda: None, None, self.file, queue=False, **quiet)
        self.run.click(self._invert, asked, [self.shown, self.run, self.stop], concurrency_limit=8,
                       js=SCROLL, **quiet)
        self.stop.click(self._stop, None, None, queue=False, **quiet)
        self.keep.click(self._keep, asked, [self.beside, self.shown], queue=False, **quiet)
        self.blocks.unload(self._forget)

    def _invert(self, values: Values, request: gr.Request) -> Iterator[list[Any]]:
        """Begin a run, and draw it until it ends."""
        session = str(request.session_hash)
        try:
            run = self.desk.begin(session, self._source(values), self._settings(values, session))
        except Exception as error:
            yield [_sorry(error), gr.skip(), gr.skip()]
            return
        busy = [gr.update(interactive=False), gr.update(interactive=True)]
        try:
            for _ in run.changes(0.1):
                yield [drawn(run, self.desk.place(session).token), *busy]
                busy = [gr.skip(), gr.skip()]
        finally:
            if not run.finished:
                run.stop()
        yield [gr.skip(), gr.update(interactive=True), gr.update(interactive=False)]

    def _stop(self, request: gr.Request) -> None:
        self.desk.stop(str(request.session_hash))

    def _forget(self, request: gr.Request) -> None:
        self.desk.forget(str(request.session_hash))

    def _keep(self, values: Values, request: gr.Request) -> list[Any]:
        """Keep a setting, so that later ones are seen beside it."""
        kept = self.desk.place(str(request.session_hash)).kept
        try:
            setting = self._setting(values)
        except Exception as error:
            return [gr.skip(), _sorry(error)]
        kept[setting.label] = setting
        chosen = [*dict.fromkeys([*values[self.beside], setting.label])][-(MOST - 1):]
        return [gr.update(choices=list(kept), value=chosen, visible=True), gr.skip()]

    def _source(self, values: Values) -> Source:
        size = str(values[self.size] or "").strip()
        given = SIZE.convert(size, None, None) if size else None
        if isinstance(given, int):
            raise ValueError("the size of a code’s image is its height and width, as 192x256")
        path = values[self.file]
        return Source(Path(path) if path else bundled_path(values[self.example]), int(values[self.side]),
                      bool(values[self.colour]), given)

    def _setting(self, values: Values) -> Setting:
        feature, model = values[self.feature], values[self.model]
        given = {one.name: values[self.fields[feature, one.name]] for one in fields_of(feature)}
        search = {"steps": self._number(values, self.steps, COUNT), "start": values[self.start],
                  "data_weight": self._number(values, self.weight, Number())}
        return Setting(feature, given, values[self.method], search, int(values[self.starts]),
                       self._number(values, self.seed, SEED) or 0, Path(model) if model else None)

    @staticmethod
    def _number(values: Values, component: Any, kind: click.ParamType) -> Any:  # type: ignore[type-arg]
        """The number that a text holds, None for none."""
        try:
            return kind.convert(text, None, None) if (text := str(values[component] or "").strip()) else None
        except click.UsageError as error:
            raise ValueError(f"{component.label}: {error.message}") from error

    def _settings(self, values: Values, session: str) -> list[Setting]:
        """The setting that the form shows, and those to be seen beside it."""
        kept, own = self.desk.place(session).kept, self._setting(values)
        beside = [kept[label] for label in values[self.beside] if label in kept and label != own.label]
        return [own, *beside]


HEAD = ("<h1>unfeature</h1><p>Turn image features back into images. What the image shows, the feature has kept; "
        "what it does not show, it has lost.</p>")
SCROLL = """(...values) => {
  const shown = document.querySelector("#shown");
  if (shown.getBoundingClientRect().top > innerHeight / 2) shown.scrollIntoView({behavior: "smooth"});
  return values;
}"""


def _component(one: Field, name: str) -> Any:
    """What asks for a parameter."""
    about: dict[str, Any] = {"label": one.label, "info": one.option.sentence, "elem_id": name}
    make: Mapping[str, Callable[[], Any]] = {
        "flag": lambda: gr.Checkbox(value=bool(one.option.usual), **about),
        "choice": lambda: gr.Dropdown([*([] if one.option.usual else [("by default", "")]), *one.choices],
                                      value=one.option.usual or "", filterable=False, **about),
        "file": lambda: gr.File(label=f"{one.label}: {one.option.sentence}", height=110, elem_id=name),
        "text": lambda: gr.Textbox(one.option.written, placeholder="by default", **about),
    }
    return make.get(one.kind, make["text"])()


def _sorry(error: Exception) -> str:
    said = sentence_about(error)
    if said is None:
        raise error
    return sentence(said)


def _about(feature: str, method: str) -> str:
    """A sentence about a feature, and one about a method."""
    return "".join(f"<p><b>{escape(name)}</b> {escape(said)}</p>"
                   for name, said in ((feature, features()[feature]), (method, methods()[method].sentence)))


def thumbnails() -> str:
    """The style of the photographs to choose from."""
    return "".join(f'#example label[data-testid="{name}-radio-label"] '
                   f"{{ background-image: url({data_uri(resize_longer(bundled(name), 96))}) }}" for name in BUNDLED)
