"""The search for representative images as anyone would do it with TensorFlow's public API.

For each candidate image: a fresh ``tf.lite.TFLiteConverter`` with that image as its representative
data set, full integer, ``uint8`` in and out; then ``tf.lite.Interpreter`` over the validation set,
and the mean PSNR. Nothing of qsr is used.

It is an able opponent. The SavedModel is what the converter reads fastest (1.5 s an image; 1.9 s
from the Keras model or a concrete function in memory). Validation images are decoded once, kept in
memory and sorted by size, so that the interpreter plans its memory anew only when the size changes.
PSNR is computed in ``float32``, a third of the time of scikit-image's.

Bytes go in and come out as they are, as on a phone, whatever the model's scales say: the drop of a
candidate that holds no black or no white includes what its wrong input and output grids cost.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Picture = NDArray[np.uint8]

SHAVE = 1
"""Pixels left out along every border, as in the Mobile AI challenges."""


@dataclass(frozen=True)
class Pass:
    """One run over the validation set.

    Attributes:
        psnr_db: RGB PSNR of each image, in the order of their names.
        interpreter_seconds: time to make the interpreter and to run it, on all images.
        psnr_seconds: time to compare, of all images.
    """

    psnr_db: tuple[float, ...]
    interpreter_seconds: float
    psnr_seconds: float

    @property
    def seconds(self) -> float:
        """Time of the whole pass."""
        return self.interpreter_seconds + self.psnr_seconds


@dataclass(frozen=True)
class CandidateTimes:
    """What one candidate took.

    Attributes:
        image: name of its file.
        convert_seconds: time to read the image and to convert.
        default: the pass of an interpreter that is told nothing of threads.
        threaded: the pass of one that has a thread for each core.
    """

    image: str
    convert_seconds: float
    default: Pass
    threaded: Pass


@dataclass(frozen=True)
class ConverterSearch:
    """A search over some candidates.

    Attributes:
        start_seconds: what is done once: importing TensorFlow, decoding the validation images, and
            a first conversion, which takes longer than the next and is thrown away.
        candidates: what each candidate took.
    """

    start_seconds: float
    candidates: tuple[CandidateTimes, ...]

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """Return the record that this program printed as JSON."""
        candidates = tuple(
            CandidateTimes(
                one["image"],
                one["convert_seconds"],
                default=_pass(one["default"]),
                threaded=_pass(one["threaded"]),
            )
            for one in plain["candidates"]
        )
        return cls(plain["start_seconds"], candidates)


def read_picture(path: Path) -> Picture:
    """Decode an image file to ``(H, W, 3)`` ``uint8`` RGB."""
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def read_pairs(lr_paths: Sequence[Path], hr_paths: Sequence[Path]) -> list[tuple[Picture, Picture]]:
    """Decode LR and HR images."""
    return [(read_picture(lr), read_picture(hr)) for lr, hr in zip(lr_paths, hr_paths, strict=True)]


def convert(saved_model: Path, lr: Picture) -> bytes:
    """Return the integer model with one representative image, as TensorFlow documents it."""
    import tensorflow as tf

    def representative_dataset() -> Iterator[list[NDArray[np.float32]]]:
        yield [lr[None].astype(np.float32) / np.float32(255)]

    converter = tf.lite.TFLiteConverter.from_saved_model(str(saved_model))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = representative_dataset
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.uint8
    converter.inference_output_type = tf.uint8
    return bytes(converter.convert())


def score(
    model: bytes, pairs: Sequence[tuple[Picture, Picture]], *, threads: int | None = None
) -> Pass:
    """Run a ``uint8`` model on every pair and compare with HR.

    Args:
        model: content of a ``.tflite`` file.
        pairs: LR ``(h, w, 3)`` and HR images.
        threads: of the interpreter; None leaves it its default.
    """
    import tensorflow as tf

    started = perf_counter()
    interpreter = tf.lite.Interpreter(model_content=model, num_threads=threads)
    interpreter_seconds = perf_counter() - started
    source = interpreter.get_input_details()[0]["index"]
    result = interpreter.get_output_details()[0]["index"]
    psnr_db = [0.0] * len(pairs)
    psnr_seconds = 0.0
    size: tuple[int, ...] | None = None
    for index in sorted(range(len(pairs)), key=lambda index: pairs[index][0].shape):
        lr, hr = pairs[index]
        started = perf_counter()
        if lr.shape != size:
            size = lr.shape
            interpreter.resize_tensor_input(source, (1, *size))
            interpreter.allocate_tensors()
        interpreter.set_tensor(source, lr[None])
        interpreter.invoke()
        sr = interpreter.get_tensor(result)[0]
        finished = perf_counter()
        psnr_db[index] = _psnr_db(sr, hr)
        interpreter_seconds += finished - started
        psnr_seconds += perf_counter() - finished
    return Pass(tuple(psnr_db), interpreter_seconds, psnr_seconds)


def search(
    saved_model: Path,
    candidates: Sequence[Path],
    validation: tuple[Sequence[Path], Sequence[Path]],
    *,
    threads: int,
    started: float,
) -> ConverterSearch:
    """Convert with each candidate and score, with the interpreter's default threads and with more.

    Args:
        saved_model: the float network.
        candidates: LR files.
        validation: LR files and HR files.
        threads: of the second pass.
        started: what the clock said when the process began its work.
    """
    import tensorflow as tf  # noqa: F401 (takes seconds, which are no candidate's)

    pairs = read_pairs(*validation)
    convert(saved_model, read_picture(candidates[0]))
    start_seconds = perf_counter() - started
    times = []
    for path in candidates:
        began = perf_counter()
        model = convert(saved_model, read_picture(path))
        convert_seconds = perf_counter() - began
        default = score(model, pairs)
        times.append(
            CandidateTimes(
                path.name, convert_seconds, default, score(model, pairs, threads=threads)
            )
        )
    return ConverterSearch(start_seconds, tuple(times))


def _pass(plain: Mapping[str, Any]) -> Pass:
    return Pass(tuple(plain["psnr_db"]), plain["interpreter_seconds"], plain["psnr_seconds"])


def _psnr_db(sr: Picture, hr: Picture) -> float:
    inner = (slice(SHAVE, -SHAVE), slice(SHAVE, -SHAVE))
    difference = sr[inner].astype(np.float32) - hr[inner].astype(np.float32)
    return float(10 * np.log10(255.0**2 / np.mean(np.square(difference), dtype=np.float64)))


def main() -> None:
    """Do the search that the arguments describe, and print its times as JSON."""
    started = perf_counter()
    parser = argparse.ArgumentParser(description="Search for a representative image.")
    parser.add_argument("saved_model", type=Path)
    parser.add_argument("--candidates", type=Path, nargs="+", required=True, help="LR files")
    parser.add_argument("--lr", type=Path, required=True, help="folder of the validation LR")
    parser.add_argument("--hr", type=Path, required=True, help="folder of the validation HR")
    parser.add_argument("--threads", type=int, required=True)
    arguments = parser.parse_args()
    result = search(
        arguments.saved_model,
        arguments.candidates,
        (sorted(arguments.lr.iterdir()), sorted(arguments.hr.iterdir())),
        threads=arguments.threads,
        started=started,
    )
    json.dump(asdict(result), sys.stdout)


if __name__ == "__main__":
    main()
