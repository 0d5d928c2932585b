"""One self-contained HTML page about a result."""

from __future__ import annotations

import base64
import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unfeature.io.files import load_array, read_json
from unfeature.io.images import encode_webp
from unfeature.io.output import write_beside_result

from .curves import Series, line_chart

DESCRIPTOR_NAMES = {"BoVW": "bag of visual words", "Fisher": "Fisher vector", "CNN": "network layer"}
NORMAL_ENDS = ("step limit reached", "converged", "finished")
FILM_SIDE = 384
TERMS = {"data": "data term", "BoundedRange": "bounded range", "TotalVariation": "total variation",
         "HyperLaplacian": "hyper-Laplacian", "Near": "distance from the decoder’s image",
         "SmallNorm": "small norms", "SmallContribution": "small contributions"}
SURROGATE_NOTE = (
    "The line is what the run minimises: the error of a smooth surrogate of the descriptor, which comes nearer to the "
    "descriptor from stage to stage. The dots are the error of the descriptor itself, measured at the end of each "
    "stage. A smooth surrogate is matched more easily than hard bins, so the later dots lie above the line. The "
    "relative error at the top of the page is measured as the dots are.")
PLAIN_NOTE = (
    "The line is the error in the objective at each gradient evaluation, trial steps of the line search and random "
    "views included. The dots are the error of the image itself, measured at the end of each stage; they lie above the "
    "line where the objective saw a smoothed descriptor.")

Facts = dict[str, Any]


def write_report(folder: str | Path) -> Path:
    """Write report.html into a folder that holds a result.

    The page needs no network and no other file. It shows preimage.png (or preimage-00.png …), original.png, glyph.png
    and decoder.png if they are there, and the snapshots of the way; any other PNG follows with its name as caption.

    Parameters
    ----------
    folder : str or Path
        What `Result.save` or ``unfeature invert -o`` wrote.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    FileNotFoundError
        If the folder holds no result.
    ValueError
        If its result.json is damaged, or the folder holds a report.html that is not of the result.
    """
    folder = Path(folder)
    if not (folder / "result.json").is_file():
        raise FileNotFoundError(f"no result.json in {folder}: name a folder that `unfeature invert -o` wrote")
    facts = read_json(folder / "result.json")
    try:
        page = render("result.html", **_contents(folder, facts))
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        raise ValueError(f"{folder / 'result.json'} is not a whole result: run the inversion again") from error
    return write_beside_result(folder, "report.html", page)


def render(template: str, package: str = "unfeature.display", **contents: Any) -> str:
    """Fill a template of a package; text is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader(package)
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters["words"] = words
    return environment.get_template(template).render(**contents)


def words(text: str) -> str:
    """HTML of a text, such as a command, whose lines break between its words alone."""
    from markupsafe import Markup

    return Markup(" ").join(Markup("<span>{}</span>").format(word) for word in text.split(" "))


def picture(path: Path, caption: str) -> Facts:
    """A PNG file, inlined, with its caption and its ratio of width to height."""
    data = path.read_bytes()
    width, height = (int.from_bytes(data[begin : begin + 4], "big") for begin in (16, 20))
    return {"data": base64.b64encode(data).decode("ascii"), "caption": caption, "ratio": round(width / height, 4)}


def _contents(folder: Path, facts: Facts) -> Facts:
    provenance = facts["provenance"]
    best = _best(facts)
    status = str(facts["status"])
    said = status[:1].upper() + status[1:].rstrip(".")
    main, others = _pictures(folder, facts, best)
    return {
        **_headline(provenance, len(facts["errors"])),
        "alarm": "" if status.startswith(NORMAL_ENDS) else said,
        "command": str(provenance.get("command") or ""),
        "date": _date(provenance.get("date")),
        "pictures": main, "others": others,
        "numbers": _numbers(facts, best),
        "film": _film(folder, facts, best),
        "charts": _charts(facts["history"], provenance, best),
        "note": "" if "responses" in provenance else _note(provenance.get("recipe") or {}),
        "tables": _tables({"end": said, **provenance}),
        "version": provenance.get("versions", {}).get("unfeature", ""),
    }


def _best(facts: Facts) -> int:
    """The image of the least error, else of the largest response."""
    errors = np.array(facts["errors"], dtype=float)
    if np.isnan(errors).all() and (responses := facts["provenance"].get("responses")):
        return int(np.argmax(responses))
    return int(np.argmin(np.nan_to_num(errors, nan=np.inf)))


def _headline(provenance: Facts, count: int) -> Facts:
    """Title and first sentence of the page."""
    descriptor = provenance.get("descriptor", {})
    kind = str(descriptor.get("type", "code"))
    name = DESCRIPTOR_NAMES.get(kind, kind)
    name = f"layer {descriptor['layer']}" if isinstance(descriptor.get("layer"), str) else name
    capital = name[:1].upper() + name[1:]
    photograph = (provenance.get("photograph") or {}).get("name", "")
    if "target" in provenance:
        images = "image" if count == 1 else "images"
        return {"title": f"What {name} responds to: {_target(provenance['target'])}",
                "lead": f"The {images} to which this part of the code responds most strongly, found by activation "
                        "maximisation."}
    if "octaves" in provenance:
        return {"title": f"Caricature of {photograph or 'a photograph'} by {name}",
                "lead": "The photograph, changed so that what the code already detects in it grows stronger."}
    if "likeness" in provenance:
        return {"title": f"Metamer of {photograph or 'a photograph'} under {name}",
                "lead": f"An image with the {name} of one photograph that looks like another."}
    if "saliency" in provenance:
        return {"title": f"What the response of {name} to {photograph or 'an image'} depends on",
                "lead": "The gradient of the response by the pixels, about grey: it depends on bright and dark ones, "
                        f"with opposite signs. Method: {provenance['saliency']['method']}."}
    if "noise" in provenance:
        return {"title": f"Noise, taken for label {provenance['label']['target']} by {name}",
                "lead": "Noise with the change found that gives it a label with near certainty."}
    if "change" in provenance:
        return {"title": f"{photograph or 'A photograph'}, changed for {name}",
                "lead": "The photograph with the smallest change found that gives it another label or code."}
    if "distances" in provenance:
        return {"title": f"Texture by {name}", "lead": "An image whose layers have the statistics of those given."}
    source = (f"The pre-image was found from the {name} of the photograph alone; the photograph is shown to compare."
              if photograph else f"The pre-image was found from a stored {name} alone.")
    return {"title": f"{capital} of {photograph}, inverted" if photograph else f"{capital}, inverted", "lead": source}


def _target(target: Facts) -> str:
    """The request of an activation maximisation, in words."""
    what, value = next(iter(target.items()))
    if what == "direction":
        return "a template"
    parts = value if isinstance(value, list) else [value]
    noun = {"class_": "class", "mosaic": "channel"}.get(what, what)
    plural = {"class": "classes"}.get(noun, f"{noun}s") if len(parts) > 1 and what != "neuron" else noun
    return f"{plural} {', '.join(map(_plain, parts))}"


def _pictures(folder: Path, facts: Facts, best: int) -> tuple[list[Facts], list[Facts]]:
    """The pictures to compare, in one row, and the others."""
    provenance, count = facts["provenance"], len(facts["errors"])
    kind = str(provenance.get("descriptor", {}).get("type", "code"))
    found = {f"preimage-{i:02d}": _caption(facts, i) for i in range(count)} if count > 1 else {}
    glyph = "the template" if "target" in provenance else f"its {kind}"
    alone = "the caricature" if "octaves" in provenance else _caption(facts, 0) if "target" in provenance else (
        "the pre-image")
    captions = {"original": "the photograph", "like": "what the image is to look like", "glyph": glyph,
                "decoder": "what a decoder predicts", "preimage": alone, "change": "the change, enlarged, about grey",
                "uncertainty": "standard deviation of each pixel; white is 0.2 or more"}
    compared = facts["starts"] == count and "target" not in provenance
    if count > 1 and compared:
        captions[f"preimage-{best:02d}"] = f"the best of {count}: {found.pop(f'preimage-{best:02d}')}"
    words = {"words": "the most frequent words of its code, as their mean patches"}
    stems = sorted(path.stem for path in folder.glob("*.png") if not path.stem.startswith("preimage-"))
    known = {**captions, **found, **words}
    rest = {**found, **words, **{stem: stem.replace("-", " ") for stem in stems if stem not in known}}
    main, others = ([picture(path, said) for stem, said in group.items() if (path := folder / f"{stem}.png").is_file()]
                    for group in (captions, rest))
    return (main, others) if compared else (main + others, [])


def _caption(facts: Facts, i: int) -> str:
    provenance, error = facts["provenance"], facts["errors"][i]
    name = f"start {i + 1}" if facts["starts"] > 1 else f"image {i + 1}"
    if responses := provenance.get("responses"):
        what, value = next(iter(provenance.get("target", {"": None}).items()))
        requests = len(responses) // facts["starts"]
        if isinstance(value, list) and len(value) == requests and what in ("channel", "class_"):
            name = f"{what.rstrip('_')} {_plain(value[i // facts['starts']])}"
        return f"{name}, response {responses[i]:.4g}"
    return name if error is None else f"{name}, error {error:.3f}"


def _numbers(facts: Facts, best: int) -> list[tuple[str, str]]:
    provenance = facts["provenance"]
    correlation = (provenance.get("photograph") or {}).get("correlation")
    response = (provenance.get("responses") or [None] * (best + 1))[best]
    rows = [
        ("relative error", facts["errors"][best], "{:.4f}"),
        ("centred error", facts["errors_centred"][best], "{:.4f}"),
        ("response; that of the photograph is 1" if "octaves" in provenance else "response", response, "{:.4g}"),
        ("correlation with the photograph", correlation, "{:.3f}"),
        ("gradient evaluations", provenance.get("evaluations"), "{:d}"),
        ("seconds", provenance.get("seconds"), "{:.1f}"),
    ]
    return [(name, form.format(value)) for name, value, form in rows if value is not None]


def _film(folder: Path, facts: Facts, best: int) -> list[tuple[int, str]]:
    """The snapshots of the best image: the evaluations, and the images as WebP in base64."""
    steps, path = facts.get("snapshot_steps") or [], folder / "snapshots.npy"
    if not steps or not path.is_file():
        return []
    images = load_array(path)[:, best]
    return [(step, base64.b64encode(encode_webp(image, FILM_SIDE)).decode("ascii"))
            for step, image in zip(steps, images, strict=True)]


def _charts(history: Facts, provenance: Facts, best: int) -> list[str]:
    curves = {name: np.array(values, dtype=float)[:, best] for name, values in history.items() if len(values)}
    if "objective" not in curves:
        return []
    steps = np.arange(1, len(curves["objective"]) + 1)
    charts = []
    measured = curves.pop("error", np.full(len(steps), np.nan))
    kept = _kept(curves["objective"])
    curves = {name: np.where(kept, values, np.nan) for name, values in curves.items()}
    weight = (provenance.get("recipe") or {}).get("data_weight")
    if weight and "data" in curves and np.isfinite(measured).any():
        optimised = np.sqrt(np.maximum(curves["data"], 0) / weight)
        series = [Series("in the objective", steps, optimised), Series("measured", steps, measured, dots=True)]
        charts.append(line_chart(series, "gradient evaluations", "relative error", log=True))
    if "responses" in provenance and "data" in curves:
        response = Series("of the image", steps, -curves.pop("data") / (weight or 1))
        charts.append(line_chart([response], "gradient evaluations", "response over its scale"))
    series = [Series(TERMS.get(name, name), steps, values) for name, values in curves.items()]
    positive = all((values > 0)[np.isfinite(values)].all() for values in curves.values())
    return [*charts, line_chart(series, "gradient evaluations", "objective and its terms", log=bool(positive))]


def _kept(objective: NDArray[Any]) -> NDArray[np.bool_]:
    """Evaluations to draw: all but those far above the rest, which a line search tried and rejected."""
    finite = objective[np.isfinite(objective)]
    bound = 10 * max(finite[0], np.quantile(finite, 0.95)) if finite.size else np.inf
    return np.asarray(np.isfinite(objective) & ((objective <= bound) | (objective <= 0)))


def _note(recipe: Facts) -> str:
    softened = any("softness=0." in str(stage) for stage in recipe.get("stages") or ())
    return SURROGATE_NOTE if softened else PLAIN_NOTE


def _tables(provenance: Facts) -> list[tuple[str, list[tuple[str, str]]]]:
    shown = ("command", "date", "evaluations", "seconds")
    simple = {k: v for k, v in provenance.items() if not isinstance(v, dict) and k not in shown}
    tables = {"settings": simple, **{k: v for k, v in provenance.items() if isinstance(v, dict) and v}}
    return [(heading.capitalize(), [(name.replace("_", " "), _plain(value)) for name, value in rows.items()])
            for heading, rows in tables.items()]


def _date(text: Any) -> str:
    """A date of ISO 8601 as people write it; nothing for anything else."""
    try:
        moment = datetime.datetime.fromisoformat(str(text))
    except ValueError:
        return ""
    return f"{moment.day} {moment:%B %Y, %H:%M} {moment.tzname() or ''}".strip()


def _plain(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, dict):
        return ", ".join(_plain(v) if k == "name" else f"{k} {_plain(v)}" for k, v in value.items())
    if isinstance(value, list):
        return " · ".join(_plain(v) for v in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
