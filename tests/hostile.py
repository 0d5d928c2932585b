"""Hostile input: whole files of every kind, ways to damage them, and command lines that nobody means."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from safetensors.torch import save_file
from scipy.io import savemat

from tests.test_baselines import OPTIONS, descriptor
from tests.test_weights import layers_of, variables
from unfeature import baselines
from unfeature.baselines.base import Baseline
from unfeature.baselines.keypoints import KeypointSet, SIFTKeypoints
from unfeature.baselines.ridge import Ridge
from unfeature.benchmarks.report import MACHINE, markdown
from unfeature.benchmarks.study import picture
from unfeature.benchmarks.tasks import Record, Store, Task
from unfeature.features.base import code_to_tensor
from unfeature.features.channel_statistics import Statistics, statistics
from unfeature.features.code import load_code, save_code
from unfeature.features.gradients.hog import HOG
from unfeature.features.networks.matconvnet import read_matconvnet
from unfeature.features.networks.weights import read_tensors
from unfeature.features.patterns.lbp import LBP
from unfeature.features.words.bovw import BoVW
from unfeature.features.words.fisher import Fisher
from unfeature.features.words.vocabulary import Vocabulary
from unfeature.inversion.decoder import DecoderModel
from unfeature.inversion.invert import invert
from unfeature.inversion.result import Result
from unfeature.io.files import load_array
from unfeature.io.images import bundled, read_image, resize_longer, to_bytes, write_png

QUICK = {"upconv": {"steps": 2, "crop": 32, "crops": 2}, "paired-dictionary": {"atoms": 5, "windows": 60},
         "ridge": {"windows": 60}, "direct": {"components": 8},
         "decoder": {"steps": 2, "crop": 32, "smallest": 40, "largest": 60, "batch": 2}}
SIDE = 48
ODD = (None, True, -1, 0, 1e300, 10**400, "", "x", [], {}, [[1], [2, 3]], 2**63, float("nan"), "é\ud800", [None] * 9)


@dataclass(frozen=True)
class Kind:
    """A whole file, and what uses it: the arrays that it leads to, which must be finite, or a ValueError."""

    file: Path
    use: Callable[[Path], Any]


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """TimeoutError in the block after so long."""

    def end(*_: Any) -> None:
        raise TimeoutError(f"more than {seconds} s")

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def photograph(name: str = "camera") -> Any:
    return resize_longer(bundled(name), SIDE)[: SIDE - 8]


def every_kind(folder: Path) -> dict[str, Kind]:
    """A file of every kind that is read."""
    images = [photograph(name) if name == "camera" else photograph(name).mean(2) for name in ("camera", "coffee",
                                                                                              "rocket")]
    return {**_arrays(folder), **_models(folder, images), **_results(folder), **_pictures(folder), **_networks(folder),
            **_learned(folder, images)}


def _arrays(folder: Path) -> dict[str, Kind]:
    phi = HOG(cell_size=6)
    code = phi(photograph())
    np.save(folder / "plain.npy", np.asarray(code))
    save_code(folder / "code.npy", code)
    save_code(folder / "code.npz", code)
    points = SIFTKeypoints()
    points(photograph()).save(folder / "points.npz")
    return {"code": Kind(folder / "plain.npy", lambda path: code_to_tensor(load_array(path)).numpy()),
            "code with its facts": Kind(folder / "code.npz", lambda path: np.asarray(load_code(path, phi))),
            "facts of a code": Kind(folder / "code.npy.json", lambda path: _beside(path, "code.npy", lambda p:
                                    np.asarray(load_code(p, phi)))),
            "keypoints": Kind(folder / "points.npz", lambda path: _fields(KeypointSet.load(path)))}


def _beside(path: Path, name: str, use: Callable[[Path], Any]) -> Any:
    """Use a file that stands beside the damaged one, as it does beside the whole one."""
    (path.parent / name).write_bytes((path.parents[1] / name).read_bytes())
    path = path.replace(path.parent / f"{name}{'.json' if name.endswith('.npy') else ''}")
    return use(path.parent / name)


def _fields(value: Any) -> list[Any]:
    return [array for array in vars(value).values() if isinstance(array, np.ndarray)]


def _models(folder: Path, images: list[Any]) -> dict[str, Kind]:
    found = {}
    for name, small in OPTIONS.items():
        if name != "toy":
            phi, kind = descriptor(name), baselines.find(name)
            path = folder / f"{name}.{'safetensors' if name == 'decoder' else 'npz'}"
            kind.learn(images, phi, output=path, **{**small, **QUICK.get(name, {})})
            found[f"model of {name}"] = Kind(path, _inverting(kind, phi))
    found["decoder to start from"] = Kind(folder / "decoder.safetensors", _started)
    return found


def _inverting(kind: type[Baseline], phi: Any) -> Callable[[Path], Any]:
    return lambda path: kind.load(path, phi).invert(phi, phi(photograph()), size=photograph().shape).images


def _started(path: Path) -> Any:
    phi = descriptor("decoder")
    return invert(phi, phi(photograph()), start=DecoderModel.load(path), steps=1).images


def _learned(folder: Path, images: list[Any]) -> dict[str, Kind]:
    vocabulary, phi = descriptor("jigsaw").words, LBP()
    vocabulary.save(folder / "words.npz")
    Vocabulary.learn(images, vocabulary.phi, words=4, kind="gmm", samples=200).save(folder / "mixture.npz")
    statistics(phi, images).save(folder / "statistics.npz")
    Ridge.learn(images, HOG(), windows=60, cells=2, output=folder / "whole.npz")
    with _always_storing():
        _until(2, lambda progress: Ridge.learn(images, HOG(), windows=60, cells=2, output=folder / "m.npz",
                                               progress=progress))

    def resumed(path: Path) -> Any:
        path = path.replace(path.parent / "m.npz.partial")
        found = Ridge.learn(images, HOG(), windows=60, cells=2, output=path.parent / "m.npz")
        assert (path.parent / "m.npz").read_bytes() == (folder / "whole.npz").read_bytes()
        return _fields(found)

    return {"words": Kind(folder / "words.npz", lambda path: BoVW(Vocabulary.load(path), levels=(1,))(photograph())),
            "mixture": Kind(folder / "mixture.npz", lambda path: Fisher(Vocabulary.load(path))(photograph())),
            "statistics": Kind(folder / "statistics.npz", lambda path: _fields(Statistics.load(path, phi))),
            "checkpoint": Kind(folder / "m.npz.partial", resumed)}


@contextlib.contextmanager
def _always_storing() -> Iterator[None]:
    from unfeature.baselines.stream import Stream

    before, Stream.interval = Stream.interval, -1.0
    try:
        yield
    finally:
        Stream.interval = before


def _until(number: int, work: Callable[[Callable[[int, int], None]], Any]) -> None:
    """Do some work until its progress reaches a number."""

    def stop(done: int, total: int) -> None:
        if done == number:
            raise StopIteration

    with contextlib.suppress(StopIteration):
        work(stop)


def _results(folder: Path) -> dict[str, Kind]:
    phi = HOG(cell_size=6)
    invert(phi, phi(photograph()), preset="fast", steps=2).save(folder / "out")
    store, task = Store(folder / "run"), Task("photograph", picture, {"name": "a"})
    store.save(Record(task, {"error": 0.5}, {"version": "1"}, {"a": b"picture"}))
    table = {"name": "summary", "title": "t", "columns": ["a"], "rows": [[{"text": "b", "value": 1.0}]], "note": "n"}
    (folder / "results.json").write_text(json.dumps({
        "table": "hog", "title": "t", "lead": "l",
        "settings": dict.fromkeys(("command", "photographs", "date", *MACHINE), "1"),
        "failures": {"k": "no"},
        "tables": [table], "rows": [], "files": []}))

    def loaded(name: str) -> Callable[[Path], Any]:
        def use(path: Path) -> Any:
            for other in (folder / "out").iterdir():
                if other.name != name:
                    (path.parent / other.name).write_bytes(other.read_bytes())
            path.replace(path.parent / name)
            return Result.load(path.parent).images

        return use

    def row(path: Path) -> Any:
        damaged = Store(path.parent)
        (damaged.place(task)).mkdir(parents=True)
        (damaged.place(task) / "a.webp").write_bytes(b"picture")
        path.replace(damaged.place(task) / "row.json")
        found = damaged.load(task)
        assert found is None or found.values == {"error": 0.5}
        return []

    return {**{f"{name} of a result": Kind(folder / "out" / name, loaded(name))
               for name in ("result.json", "image.npy", "code.npy")},
            "row": Kind(store.place(task) / "row.json", row),
            "results of a table": Kind(folder / "results.json", _as_markdown)}


def _as_markdown(path: Path) -> list[Any]:
    path.replace(path.parent / "results.json")
    assert markdown([path.parent]).startswith("# Tables")
    return []


def _pictures(folder: Path) -> dict[str, Kind]:
    found = {}
    colour = to_bytes(photograph("coffee"))
    for suffix, options in (("png", {}), ("jpg", {}), ("webp", {}), ("tif", {"compression": "tiff_lzw"}), ("bmp", {}),
                            ("ppm", {})):
        path = folder / f"picture.{suffix}"
        Image.fromarray(colour).save(path, **options)
        found[f"{suffix} picture"] = Kind(path, read_image)
    Image.fromarray((photograph() * 65535).astype(np.uint16)).save(folder / "deep.png")
    return {**found, "16-bit picture": Kind(folder / "deep.png", read_image)}


def _networks(folder: Path) -> dict[str, Kind]:
    import torch

    savemat(folder / "net.mat", variables(layers_of(False)), do_compression=True)
    savemat(folder / "old.mat", variables(layers_of(True), legacy=True))
    tensors = {"a.weight": torch.ones(3, 4), "a.bias": torch.zeros(3, dtype=torch.float16)}
    torch.save(tensors, folder / "net.pth")
    save_file(tensors, folder / "net.safetensors")

    def read(path: Path) -> list[Any]:
        for tensor in read_tensors(path).values():
            assert tensor.numel() < 10**6
        return []

    def built(path: Path) -> list[Any]:
        return [value.numpy() for value in read_matconvnet(path).state_dict().values()]

    return {"network, compressed": Kind(folder / "net.mat", built), "network": Kind(folder / "old.mat", built),
            "torch weights": Kind(folder / "net.pth", read), "safe weights": Kind(folder / "net.safetensors", read)}


def damaged(path: Path, rng: np.random.Generator) -> bytes:
    """The bytes of a file with damage to its bytes, or where it has fields to one of them."""
    data = path.read_bytes()
    fields = {".npz": _npz_damage, ".partial": _npz_damage, ".json": _json_damage, ".safetensors": _header_damage,
              ".npy": _npy_damage}
    if path.suffix in fields and rng.random() < 0.6:
        return fields[path.suffix](data, rng)
    return _byte_damage(data, rng)


def _byte_damage(data: bytes, rng: np.random.Generator) -> bytes:
    a = bytearray(data)
    at, length = int(rng.integers(len(a))), int(rng.integers(1, 40))
    way = rng.integers(6)
    if way < 3:
        for place in rng.integers(len(a) if way else min(len(a), 200), size=rng.integers(1, 6)):
            a[place] ^= int(rng.integers(1, 256))
        return bytes(a)
    return bytes((a[:at], a[:at] + bytes(length) + a[at + length:], a + a[at:])[way - 3])


def _npz_damage(data: bytes, rng: np.random.Generator) -> bytes:
    with np.load(BytesIO(data)) as stored:
        arrays = dict(stored)
    name = str(rng.choice([*arrays]))
    a, way = arrays[name], int(rng.integers(9))
    if name == "__unfeature__" and way < 7:
        arrays[name] = np.frombuffer(_json_damage(a.tobytes(), rng), np.uint8)
    elif way == 7:
        del arrays[name]
    elif way == 8:
        arrays["other"] = a
    else:
        arrays[name] = _array_damage(a, way, rng)
    stream = BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def _npy_damage(data: bytes, rng: np.random.Generator) -> bytes:
    stream = BytesIO()
    np.save(stream, _array_damage(np.load(BytesIO(data)), int(rng.integers(7)), rng))
    return stream.getvalue()


def _array_damage(a: Any, way: int, rng: np.random.Generator) -> Any:
    b = a.copy()
    if way < 4 and a.size and a.dtype.kind in "iuf":
        limits = np.finfo(a.dtype) if a.dtype.kind == "f" else np.iinfo(a.dtype)
        odd = [limits.max, limits.min, 1, *([np.nan] if a.dtype.kind == "f" else [0])]
        b.reshape(-1)[int(rng.integers(a.size))] = odd[way]
        return b
    return (a[:-1] if a.ndim and len(a) else a[None], a[None], a.astype(np.complex64) if a.dtype.kind in "iuf" else
            np.zeros(3), a.astype(np.float64) if a.dtype != np.float64 and a.dtype.kind in "iuf" else np.zeros((2, 0)),
            np.array(["x"]), a.reshape(-1)[:0], np.concatenate([a, a]) if a.ndim else a[None])[way]


def _json_damage(data: bytes, rng: np.random.Generator) -> bytes:
    value = json.loads(data)
    place, key = value, None
    while isinstance(place, (dict, list)) and place:
        holder = place
        key = [*place][int(rng.integers(len(place)))] if isinstance(place, dict) else int(rng.integers(len(place)))
        place = place[key]
        if rng.random() < 0.3:
            break
    if key is not None:
        odd = ODD[int(rng.integers(len(ODD)))]
        if rng.random() < 0.15:
            del holder[key]
        else:
            holder[key] = odd
    text = json.dumps(value)
    return (text if rng.random() < 0.95 else "[" * 10**5 + text).encode()


def _header_damage(data: bytes, rng: np.random.Generator) -> bytes:
    length = int.from_bytes(data[:8], "little")
    header = _json_damage(data[8 : 8 + length], rng)
    return len(header).to_bytes(8, "little") + header + data[8 + length :]


def finite(value: Any) -> bool:
    """Whether all numbers are finite."""
    parts = value if isinstance(value, list) else [value]
    return all(np.isfinite(part).all() for part in parts if np.asarray(part).dtype.kind in "fiub")


def photographs(folder: Path) -> Path:
    """A folder of photographs, one of them broken, one with a name that is not UTF-8."""
    for name in ("camera", "coffee"):
        write_png(folder / f"{name}.png", photograph(name))
    (folder / "broken.png").write_bytes(b"\x89PNG")
    (folder / os.fsdecode(b"caf\xe9.png")).write_bytes((folder / "camera.png").read_bytes())
    return folder
