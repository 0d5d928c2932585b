"""Command lines drawn from the commands' own catalogue: options as they are declared, values sensible and not."""

from __future__ import annotations

from typing import Any

import click
from hypothesis import strategies as st

from unfeature.cli.commands import cli
from unfeature.cli.feature_command import FeatureCommand
from unfeature.cli.options import SHARED
from unfeature.features import DESCRIPTORS
from unfeature.parameters.kinds import File, Name, Parsed
from unfeature.parameters.signatures import options_of

LEFT_OUT = {"scheduler", "help"}  # a scheduler that does not answer is waited for
NONSENSE = ["", "x", "-1", "1.5", "nan", "inf", "1e300", "-1e300", "9" * 30, "9" * 5000, "1000001", "0x10", "é", ",",
            " "]
SMALL = ["1", "2", "3", "5", "8", "20"]
FLOATS = ["0", "1", "0.5", "-0.5", "1e-30", "1e-9", "1e9", "1e20", "1e30"]
LISTS = ["0", "0,1", "1,2", "0,0", "4,4,8", "1x2", "3x1,1", ",", "1,,2", "a", "hog", "best,fast", "0,1,2"]
OWN = {"size": ["24", "32", "48", "24x24", "40x48", "0", "x24", "9000", "24x"], "side": ["32", "48", "0", "9000"],
       "jobs": ["1", "0"], "steps": ["1", "2", "0"], "memory": ["1KB", "100MB", "2GB", "1e9GB", "lots", "0", "-1"],
       "start": ["auto", "noise"], "preset": ["best", "fast", "ijcv2016", "cvpr2015", "bset"], "starts": ["1", "2"],
       "network": ["squeezenet1_0", "vgg-f", "net"], "layer": ["conv1", "fire2", "conv99"],
       "device": ["cpu", "cuda", "d"]}
FEATURES = {**{name: ["--words", "words.npz"] for name in ("bovw", "vlad", "super-vector")},
            "fisher": ["--words", "mixture.npz"], "cnn": ["--net", "squeezenet1_0", "--weights", "net.safetensors"],
            "layers": ["--net", "squeezenet1_0", "--weights", "net.safetensors", "--layers", "conv1"]}
QUICK = {"upconv": ["--crop", "32", "--crops", "1", "--width", "16", "--steps", "1", "--batch", "1"],
         "decoder": ["--crop", "32", "--smallest", "40", "--largest", "48", "--width", "16", "--steps", "1",
                     "--batch", "1"],
         "words": ["--count", "3", "--samples", "200"], "dictionary": ["--atoms", "3", "--windows", "30"],
         "ridge": ["--windows", "50", "--cells", "2"], "basis": ["--components", "3"], "elda": ["--cells", "2"]}


@st.composite
def calls(draw: Any, names: tuple[str, ...]) -> list[str]:
    """The arguments of a command, most of them sensible, in a folder of files of these names."""
    files = [*names, "", ".", "missing.png", "n" * 300, "caf\udce9.png"]
    path, command = draw(st.sampled_from(_commands()))
    arguments, params = [*path, *_sensible(path)], command.params
    if isinstance(command, FeatureCommand):
        feature = draw(st.sampled_from([*DESCRIPTORS, "hog", "hog"]))
        arguments += ["--feature", feature, *FEATURES.get(feature, [])]
        taken = {*SHARED, *(p.name for p in params)}
        entry = DESCRIPTORS[feature]
        params = [*params, *options_of(entry.__init__, entry.__mro__, taken)]
    options = [p for p in params if isinstance(p, click.Option) and p.name not in LEFT_OUT]
    for option in draw(st.lists(st.sampled_from(options), max_size=4)) if options else ():
        arguments += _given(draw, option, files)
    if draw(st.integers(0, 9)) == 0:
        arguments.pop(draw(st.integers(0, len(arguments) - 1)))
    if draw(st.integers(0, 9)) == 0:
        arguments.insert(draw(st.integers(0, len(arguments))), draw(st.sampled_from([*NONSENSE, "--nonsense", *files])))
    return arguments


def _commands() -> list[tuple[tuple[str, ...], click.Command]]:
    """All commands but the app, which serves until it is told to end."""
    context = click.Context(cli)
    found: list[tuple[tuple[str, ...], click.Command]] = []
    for name in sorted({*cli.list_commands(context)} - {"app"}):
        command = cli.get_command(context, name)
        if isinstance(command, click.Group):
            found += [((name, inner), command.get_command(context, inner)) for inner in command.list_commands(context)]
        else:
            found.append(((name,), command))
    return found


def _sensible(path: tuple[str, ...]) -> list[str]:
    """Arguments with which a command does its work in a moment."""
    picture, out = "photographs/camera.png", "new"
    if path[0] == "learn":
        return ["photographs", "-o", f"{out}.npz", *QUICK.get(path[1], [])]
    if path == ("bench", "tables"):
        return [".", "-o", f"{out}.md"]
    if path[0] == "bench":
        quick = ["--steps", "1", "--side", "32"] if path[1] not in ("speed", "templates") else []
        return ["--images", "photographs", "--out", out, "--count", "1", "--jobs", "1", *quick]
    return {"features": [picture, "--size", "24", "-o", f"{out}.npy"], "report": ["out"],
            "keypoints": [picture, "--model", "keypoints.npz", "-o", out, "--size", "48"],
            "maximize": ["--channel", "0", "--size", "32", "--steps", "1", "-o", out],
            "caricature": [picture, "--size", "32", "--steps", "1", "-o", out],
            "metamer": [picture, "--like", "photographs/coffee.png", "--size", "32", "--steps", "1", "-o", out],
            "adversarial": [picture, "--feature", "hog", "--size", "32", "--target", "photographs/coffee.png",
                            "--bound", "0.1", "--steps", "1", "-o", out],
            "fooling": ["--feature", "hog", "--label", "1", "--size", "32", "--bound", "0.1", "--steps", "1",
                        "-o", out],
            "saliency": [picture, "--feature", "hog", "--size", "32", "-o", out],
            "invert": [picture, "--size", "32", "--steps", "1", "-o", out]}[path[0]]


def _given(draw: Any, option: click.Option, files: list[str]) -> list[str]:
    """An option with a value."""
    if option.is_flag:
        return [draw(st.sampled_from([*option.opts, *option.secondary_opts]))]
    kind = option.type
    if option.name in OWN:
        usual = OWN[option.name]
    elif isinstance(kind, Name):
        usual = list(kind.known)
    elif isinstance(kind, (File, click.Path)) or (isinstance(kind, Parsed) and kind.name == "file"):
        usual = files
    elif isinstance(kind, Parsed):
        usual = LISTS
    elif isinstance(kind, (click.FloatRange, click.types.FloatParamType)):
        usual = FLOATS
    elif isinstance(kind, (click.IntRange, click.types.IntParamType)):
        usual = SMALL
    else:
        usual = [*SMALL, *LISTS]
    values = st.sampled_from(usual) if draw(st.integers(0, 2)) else st.sampled_from(NONSENSE)
    return [draw(st.sampled_from(option.opts)), draw(values)]
