"""Integer models of a table's rows: with searched representative images, and the naive way."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

from qsr.calibration import Scheme, collect, quantize
from qsr.calibration.executor import local_processes
from qsr.calibration.objective import Objective
from qsr.calibration.provenance import model_hash, versions
from qsr.calibration.ranges import Reader
from qsr.data.pairs import Pair, content_hash, find_pairs
from qsr.jobs.progress import Progress
from qsr.jobs.refinement import Refining
from qsr.jobs.run_folder import RunFolder
from qsr.jobs.search_repdata import search_repdata
from qsr.tflite.files import read_model, write_model

_METHOD = 2
"""Raise it when a search with the same :class:`Method` makes another integer model than before.

That is: when ranges, trials, the choice among them or quantization change in qsr without a change
of its version. Models that were kept under another number are not taken again.
"""


@dataclass(frozen=True, kw_only=True)
class Method:
    """How a row's integer model is searched for, as the arguments of ``search_repdata``.

    Attributes:
        refined: refine what the search finds: all that ``search_repdata`` does by default.
    """

    scheme: str = "uint8"
    strategy: str = "linear"
    objective: Objective = "mean"
    exact: bool = False
    equalized: bool = True
    pin_io: bool = True
    reader: Reader = "exact"
    refined: bool = False


@dataclass(frozen=True)
class Searching:
    """How representative images are searched for.

    Attributes:
        candidates: folder of the images that may become representative.
        choosing: folder of the images that choose.
        content: hash of all these images.
        scale: of the networks.
        folder: where float models, run folders and ranges are kept, to go on with.
        workers: number of processes.
        skip_bad_images: leave unusable images out instead of stopping.
        on_progress: called while working.
        method: the settings of the search.
    """

    candidates: Path
    choosing: Path
    content: str
    scale: int
    folder: Path
    workers: int
    skip_bad_images: bool
    on_progress: Progress
    method: Method = Method()


@dataclass(frozen=True)
class Quantized:
    """An integer model, and the representative images it is made with."""

    model: bytes
    images: tuple[str, ...]


def searched(model: bytes, name: str, how: Searching) -> Quantized:
    """Make the UINT8 model of the best single representative image, or of all of them.

    What an earlier call found for the same model, images, settings and versions is taken again.

    Args:
        model: content of a float ``.tflite`` file.
        name: what files are called.
        how: with what.

    Raises:
        ImageError: an image is unusable.
        ModelError: the model cannot be quantized.
        StudyError: the run folder is damaged or in use.
    """
    kept = _kept(model, name, how)
    run = RunFolder(kept)
    if run.summary.exists():
        chosen = run.read_summary()["chosen"]["images"]
        return Quantized(read_model(run.integer_model(how.method.scheme))[0], tuple(chosen))
    how.folder.mkdir(parents=True, exist_ok=True)
    write_model(kept.with_suffix(".tflite"), model)
    report = search_repdata(
        str(kept.with_suffix(".tflite")),
        candidates=how.candidates,
        validation=how.choosing,
        out=kept,
        scheme=how.method.scheme,
        strategy=how.method.strategy,
        objective=how.method.objective,
        exact=how.method.exact,
        equalized=how.method.equalized,
        pin_io=how.method.pin_io,
        reader=how.method.reader,
        refining=None if how.method.refined else Refining(),
        workers=how.workers,
        skip_bad_images=how.skip_bad_images,
        on_progress=how.on_progress,
    )
    return Quantized(read_model(report.integer_model)[0], report.chosen.images)


def naive(model: bytes, name: str, candidates: tuple[Pair, ...], how: Searching) -> bytes:
    """Make the UINT8 model that ``TFLiteConverter`` makes of all candidates together.

    Ranges are what the converter records, and input and output get their grids from the images.

    Args:
        model: content of a float ``.tflite`` file.
        name: what files are called.
        candidates: the images, checked.
        how: with what.

    Raises:
        ModelError: the model cannot be quantized.
        StudyError: what an earlier run measured is damaged.
    """
    with local_processes(how.workers) as executor:
        table = collect(
            model,
            ((pair.name, pair.load_lr) for pair in candidates),
            reader="converter",
            executor=executor,
            store=_kept(model, name, how).with_suffix(".converter.npz"),
            on_image=lambda done: how.on_progress(
                "measure ranges as the converter", done, len(candidates)
            ),
            source=name,
        )
    return quantize(model, table.merged(), Scheme(io="uint8", pin_io=False), source=name)


def content_of(folders: Sequence[Path], scale: int) -> str:
    """Return a hash of all images in folders, and of their names.

    Raises:
        ImageError: a folder or an image cannot be read.
    """
    found = sha256()
    for folder in folders:
        for pair in find_pairs(folder, scale):
            files = [path for path in (pair.hr_path, pair.lr_path) if path is not None]
            found.update("\n".join([pair.name, *map(content_hash, files)]).encode())
        found.update(b"\n\n")
    return found.hexdigest()


def _kept(model: bytes, name: str, how: Searching) -> Path:
    """Name what is kept after all that it follows from, so that nothing else is taken for it."""
    described = json.dumps(
        [_METHOD, model_hash(model), how.content, how.scale, asdict(how.method), versions()],
        sort_keys=True,
    )
    return how.folder / f"{name}-{sha256(described.encode()).hexdigest()[:8]}"
