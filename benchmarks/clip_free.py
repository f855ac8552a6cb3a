"""Two ways to be rid of the clip, side by side in dB and ms.

The clip of an integer super-resolution network is a pass over the enlarged picture. qsr removes its
operators where they are proved to copy bytes; the clip-free method of Kalay, Bilecen and Ayazoglu
(BMVC 2023) leaves the clip out of the network and augments the representative images. Both are
searched for on the same images, with the ends' grids pinned to black and white and with those that
the images give, and every model's time is taken in turns with the others'. Scores are of raw bytes,
as a phone feeds and shows them: augmenting brings the output to black and white, and so takes the
input away from them, which pinning the ends makes good::

    python benchmarks/clip_free.py --candidates DIR --validation DIR --work WORK

``nox -s bench-clip-free -- ...`` does the same in an environment made for it. Each run leaves
``record.json``, ``table.md`` and the run folders of its searches in a folder below ``WORK``.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from qsr.atomic import replacing
from qsr.benchmark import CHALLENGE_LR_SIZE, Latency, host_name, latency
from qsr.errors import QsrError, UsageError
from qsr.jobs.records import plain
from qsr.jobs.refinement import Refining
from qsr.jobs.repdata_report import RepdataReport
from qsr.jobs.search_repdata import search_repdata

_VERSIONS = ("qsr", "tensorflow", "ai-edge-litert", "numpy")


@dataclass(frozen=True)
class Way:
    """A way to make the integer model.

    Attributes:
        name: what the table calls it.
        pin_io: whether input and output get their true grid, not that of the images.
        clip_free: whether the network's clip is left out and the candidates are augmented.
        keep_clip: whether the operators of the clip stay in the integer model.
    """

    name: str
    pin_io: bool
    clip_free: bool
    keep_clip: bool

    @property
    def run(self) -> str:
        """What its run folder is called; what stays of the clip changes no score."""
        network = "clip-free" if self.clip_free else "clip"
        return f"{network}-{'pinned' if self.pin_io else 'from-images'}"


WAYS = (
    Way("clip, grids from the images", pin_io=False, clip_free=False, keep_clip=True),
    Way("clip, ends pinned", pin_io=True, clip_free=False, keep_clip=True),
    Way("clip folded, ends pinned", pin_io=True, clip_free=False, keep_clip=False),
    Way("clip-free, grids from the images", pin_io=False, clip_free=True, keep_clip=False),
    Way("clip-free, ends pinned", pin_io=True, clip_free=True, keep_clip=False),
)
"""The first is what the others are compared with: the usual practice."""


@dataclass(frozen=True)
class Made:
    """What one way gave; drops are from the float model, on the images that confirm.

    Attributes:
        way: how it was made.
        drop_db: of the model that was chosen among the single images.
        worst_drop_db: of the image that loses most with it.
        together_drop_db: of the model of all candidates together.
        median_psnr_db: PSNR of the median single image's model, on the images that chose.
        worst_psnr_db: the same of the worst single image's.
        latency: of the model that was chosen.
    """

    way: Way
    drop_db: float
    worst_drop_db: float
    together_drop_db: float
    median_psnr_db: float
    worst_psnr_db: float
    latency: Latency


@dataclass(frozen=True)
class ClipComparison:
    """All ways, on the same network and images.

    Attributes:
        model: the network.
        candidates: number of candidate images.
        confirmation_images: number of images that chose nothing.
        lr_size: height and width of the picture that times were taken on.
        host: the processor.
        made: in the order of :data:`WAYS`.
        versions: of the packages.
    """

    model: str
    candidates: int
    confirmation_images: int
    lr_size: tuple[int, int]
    host: str
    made: tuple[Made, ...]
    versions: Mapping[str, str]


def made(way: Way, report: RepdataReport, taken: Latency) -> Made:
    """Return what a search and the times say of a way.

    Raises:
        UsageError: fewer than two candidates, which have no median.
    """
    chosen, together, singles = report.chosen, report.baseline, report.singles
    if singles is None:
        raise UsageError("--candidates must hold at least 2 usable images")
    assert chosen.drop_db is not None  # noqa: S101 (winner and baseline are confirmed)
    assert chosen.worst_drop_db is not None  # noqa: S101
    assert together.drop_db is not None  # noqa: S101
    return Made(
        way=way,
        drop_db=chosen.drop_db,
        worst_drop_db=chosen.worst_drop_db,
        together_drop_db=together.drop_db,
        median_psnr_db=singles.median.objective_db,
        worst_psnr_db=singles.worst.objective_db,
        latency=taken,
    )


def markdown(comparison: ClipComparison) -> str:
    """Draw the result in Markdown."""
    height, width = comparison.lr_size
    usual, *_ = comparison.made
    headline = (
        f"{comparison.model}: drop from the float model on {comparison.confirmation_images} images "
        f"that chose nothing, best of {comparison.candidates} single candidates; ms per "
        f"{width}x{height} input, one thread, {comparison.host}"
    )
    columns = [
        *("integer model", "drop (dB)", "worst image", "all together (dB)"),
        *("median single (dB PSNR)", "worst single (dB PSNR)", "ms", "speed"),
    ]
    lines = [headline, "", f"| {' | '.join(columns)} |"]
    lines.append(f"| --- |{' ---: |' * (len(columns) - 1)}")
    lines += [
        f"| {one.way.name} | {one.drop_db:.4f} | {one.worst_drop_db:.3f} | "
        f"{one.together_drop_db:.4f} | {one.median_psnr_db:.3f} | {one.worst_psnr_db:.3f} | "
        f"{one.latency.median_ms:.1f} | "
        f"{usual.latency.median_ms / one.latency.median_ms:.2f}x |"
        for one in comparison.made
    ]
    return "\n".join(lines) + "\n"


def compare(arguments: argparse.Namespace, folder: Path) -> ClipComparison:
    """Search in every way, then take the times of all models in turns.

    Args:
        arguments: of the command line.
        folder: for the run folders.

    Raises:
        QsrError: the model or an image is unusable.
    """
    reports: dict[Way, RepdataReport] = {}
    models: dict[str, bytes] = {}
    for way in WAYS:
        sys.stderr.write(f"{way.name}\n")
        reports[way] = report = search_repdata(
            arguments.model,
            candidates=arguments.candidates,
            validation=arguments.validation,
            confirmation=arguments.confirmation,
            out=folder / way.run,
            exact=arguments.exact,
            refining=Refining(),
            pin_io=way.pin_io,
            clip_free=way.clip_free,
            keep_clip=way.keep_clip,
            workers=arguments.workers,
            skip_bad_images=True,
        )
        models[way.name] = Path(report.integer_model).read_bytes()
    lr_size = (arguments.height, arguments.width)
    taken = latency(models, lr_size=lr_size, rounds=arguments.rounds)
    usual = reports[WAYS[0]]
    return ClipComparison(
        model=arguments.model,
        candidates=usual.candidates,
        confirmation_images=usual.confirmation_images,
        lr_size=lr_size,
        host=host_name(),
        made=tuple(made(way, reports[way], taken[way.name]) for way in WAYS),
        versions={name: version(name) for name in _VERSIONS},
    )


def run(arguments: argparse.Namespace) -> None:
    """Measure, write the record, print the table."""
    arguments.work.mkdir(parents=True, exist_ok=True)
    folder = Path(
        tempfile.mkdtemp(prefix=f"{datetime.now(UTC):%Y%m%d-%H%M%S}-", dir=arguments.work)
    )
    comparison = compare(arguments, folder)
    with replacing(folder / "record.json") as unfinished:
        record: Any = plain(comparison)
        unfinished.write_text(json.dumps(record, indent=1), encoding="utf-8")
    table = markdown(comparison)
    (folder / "table.md").write_text(table, encoding="utf-8")
    sys.stdout.write(table)


def main(words: list[str] | None = None) -> int:
    """Do what the arguments say; return the exit code."""
    height, width = CHALLENGE_LR_SIZE
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="xcat", help="a network of the zoo, or a float model")
    parser.add_argument("--candidates", type=Path, required=True, help="representative images")
    parser.add_argument("--validation", type=Path, required=True, help="images to choose on")
    parser.add_argument("--confirmation", type=Path, help="images to confirm on")
    parser.add_argument("--work", type=Path, required=True, help="folder for records and runs")
    parser.add_argument("--exact", action="store_true", help="measure each on every image")
    parser.add_argument("--workers", type=int, help="processes")
    parser.add_argument("--rounds", type=int, default=20, help="runs of each model")
    parser.add_argument("--height", type=int, default=height, help="of the input, in pixels")
    parser.add_argument("--width", type=int, default=width, help="of the input, in pixels")
    try:
        run(parser.parse_args(words))
    except QsrError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
