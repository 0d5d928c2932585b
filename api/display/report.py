"""One self-contained HTML page about a result."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unfeature.io.files import read_json, write_text

from .curves import Series, line_chart

DESCRIPTOR_NAMES = {"BoVW": "Bag of visual words", "Fisher": "Fisher vector", "CNN": "Network layer"}


def write_report(folder: str | Path) -> Path:
    """Write report.html into a folder that holds a result.

    The page needs no network and no other file. It shows preimage.png (or preimage-00.png …), original.png and
    glyph.png if they are there; any other PNG follows with its name as caption.

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
        If its result.json is damaged.
    """
    folder = Path(folder)
    if not (folder / "result.json").is_file():
        raise FileNotFoundError(f"no result.json in {folder}: name a folder that `unfeature invert -o` wrote")
    facts = read_json(folder / "result.json")
    try:
        page = render("inversion.html", **_contents(folder, facts))
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        raise ValueError(f"{folder / 'result.json'} is not a whole result: run the inversion again") from error
    write_text(folder / "report.html", page)
    return folder / "report.html"


def render(template: str, **contents: Any) -> str:
    """Fill one of the package's page templates; text is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("unfeature.display")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    return environment.get_template(template).render(**contents)


def picture(path: Path, caption: str) -> dict[str, str]:
    """A PNG file, inlined, with its caption."""
    return {"data": base64.b64encode(path.read_bytes()).decode("ascii"), "caption": caption}


def _contents(folder: Path, facts: dict[str, Any]) -> dict[str, Any]:
    provenance = facts["provenance"]
    errors = np.array(facts["errors"], dtype=float)
    descriptor = str(provenance.get("descriptor", {}).get("type", "code"))
    best = int(np.argmin(np.nan_to_num(errors, nan=np.inf)))
    photograph = provenance.get("photograph") or {}
    source = f" of {photograph['name']}" if photograph else ""
    kind = DESCRIPTOR_NAMES.get(descriptor, descriptor)
    return {
        "title": f"{kind}{source}, inverted",
        "status": str(facts["status"])[:1].upper() + str(facts["status"])[1:].rstrip("."),
        "pictures": _pictures(folder, errors, descriptor),
        "numbers": _numbers(facts, best),
        "charts": _charts(facts["history"], provenance.get("recipe"), best),
        "tables": _tables(provenance),
        "version": provenance.get("versions", {}).get("unfeature", ""),
    }


def _pictures(folder: Path, errors: NDArray[Any], descriptor: str) -> list[dict[str, str]]:
    captions = {"original": "the photograph", "glyph": f"its {descriptor}", "decoder": "what a decoder predicts",
                "preimage": "the image found from it"}
    for i, error in enumerate(errors if len(errors) > 1 else ()):
        captions[f"preimage-{i:02d}"] = f"start {i + 1}" + (f", error {error:.3f}" if np.isfinite(error) else "")
    captions["words"] = "the most frequent words of its code, as their mean patches"
    others = sorted(path.stem for path in folder.glob("*.png") if not path.stem.startswith("preimage-"))
    captions |= {name: name.replace("-", " ") for name in others if name not in captions}
    paths = {name: folder / f"{name}.png" for name in captions}
    return [picture(path, captions[name]) for name, path in paths.items() if path.is_file()]


def _numbers(facts: dict[str, Any], best: int) -> list[tuple[str, str]]:
    provenance = facts["provenance"]
    correlation = (provenance.get("photograph") or {}).get("correlation")
    rows = [
        ("relative error", facts["errors"][best], "{:.4f}"),
        ("centred error", facts["errors_centred"][best], "{:.4f}"),
        ("correlation with the photograph", correlation, "{:.3f}"),
        ("gradient evaluations", provenance.get("evaluations"), "{:d}"),
        ("seconds", provenance.get("seconds"), "{:.1f}"),
    ]
    return [(name, form.format(value)) for name, value, form in rows if value is not None]


def _charts(history: dict[str, Any], recipe: dict[str, Any] | None, best: int) -> list[str]:
    curves = {name: np.array(values, dtype=float)[:, best] for name, values in history.items() if len(values)}
    if "objective" not in curves:
        return []
    steps = np.arange(1, len(curves["objective"]) + 1)
    charts = []
    measured = curves.pop("error", np.full(len(steps), np.nan))
    kept = _kept(curves["objective"])
    curves = {name: np.where(kept, values, np.nan) for name, values in curves.items()}
    if recipe and recipe["data_weight"] and "data" in curves and np.isfinite(measured).any():
        optimised = np.sqrt(np.maximum(curves["data"], 0) / recipe["data_weight"])
        series = [Series("in the objective", steps, optimised), Series("measured", steps, measured, dots=True)]
        charts.append(line_chart(series, "gradient evaluations", "relative error", log=True))
    series = [Series(name.replace("_", " "), steps, values) for name, values in curves.items()]
    return [*charts, line_chart(series, "gradient evaluations", "objective and its terms", log=True)]


def _kept(objective: NDArray[Any]) -> NDArray[np.bool_]:
    """Evaluations to draw: all but those far above the rest, which a line search tried and rejected."""
    finite = objective[np.isfinite(objective)]
    bound = 10 * max(finite[0], np.quantile(finite, 0.95)) if finite.size else np.inf
    return np.asarray(np.isfinite(objective) & ((objective <= bound) | (objective <= 0)))


def _tables(provenance: dict[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    simple = {k: v for k, v in provenance.items() if not isinstance(v, dict) and k not in ("evaluations", "seconds")}
    tables = {"settings": simple, **{k: v for k, v in provenance.items() if isinstance(v, dict) and v}}
    return [(heading.capitalize(), [(name.replace("_", " "), _plain(value)) for name, value in rows.items()])
            for heading, rows in tables.items()]


def _plain(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, dict):
        return ", ".join(_plain(v) if k == "name" else f"{k} {_plain(v)}" for k, v in value.items())
    if isinstance(value, list):
        return " · ".join(_plain(v) for v in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
