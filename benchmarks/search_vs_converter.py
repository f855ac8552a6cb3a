"""The same search for a representative image, three ways, and how long each takes.

(a) as anyone would with TensorFlow's public API (see ``converter_search.py``), once with the
    interpreter's default number of threads and once, (a2), with a thread for each core;
(b) ``qsr search-repdata --no-refine --exact``;
(c) ``qsr search-repdata --no-refine``.

All are given the same candidates, validation images and cores, and choose on all validation images;
qsr gets a few images more, on which it confirms its choice. (c) is run in full. (a) is extrapolated
from a few full candidates: what it does once, and the mean candidate for each of them. (b) is
extrapolated along the line through two runs, over a few candidates and over more. The pieces
alternate in time; the time of each is shown, and how much of the cores others took. Every search of
qsr starts in a new folder, as a command that a user types; the memory of its processes is looked at
five times a second.

Regret is what racing loses: (b) and (c) search over the same candidates, and the two integer models
that they choose are scored anew on all validation images by TensorFlow's interpreter. qsr gives
input and output their true grid, which (a) does not know of, so the winner of (a) may be worse.

Images are made once, from photographs of about 2040 pixels' width (see ``crops.py``), which is not
timed::

    python benchmarks/search_vs_converter.py prepare --photos PHOTOS --work WORK
    python benchmarks/search_vs_converter.py run --work WORK

``nox -s bench -- prepare ...`` and ``nox -s bench -- run ...`` do the same in an environment made
for it. Each run leaves ``record.json`` and ``tables.md`` in a folder below ``WORK/runs``.
"""

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import mean
from typing import Any

from comparison import (
    Comparison,
    Part,
    Regret,
    Winner,
    converter_total,
    converter_winner,
    line_total,
    markdown,
    measured_total,
    unit_costs,
)
from converter_search import ConverterSearch, read_pairs, score
from crops import SMALLEST_PHOTO, CropFolder, CropSet, prepare_crops, prepared_crops
from observed import Observed, observe

from qsr.atomic import replacing
from qsr.errors import QsrError, UsageError
from qsr.images import image_size
from qsr.jobs.records import plain
from qsr.models.zoo import load, pretrained_path
from qsr.quiet import captured_stderr, import_tensorflow

CONVERTER = "(a) and (a2)"
DEFAULT_THREADS = "(a) converter and interpreter, default threads"
THREADED = "(a2) converter and interpreter, a thread for each core"
EXACT = "(b) qsr --exact"
RACING = "(c) qsr"

_FEWEST_CONVERTED = 2
_FEWEST_EXACT = 3
_FEW_OF_EXACT = 10
_VERSIONS = ("qsr", "tensorflow", "ai-edge-litert", "numpy")


@dataclass(frozen=True)
class Found:
    """A search of qsr that has ended.

    Attributes:
        part: what it took.
        images: the representative data that it chose.
        model: the integer model.
    """

    part: Part
    images: tuple[str, ...]
    model: Path


@dataclass
class Bench:
    """A run of the benchmark under way.

    Attributes:
        crops: the images.
        folder: of this run alone.
        cores: that all processes are limited to.
        qsr: the command to measure.
        parts: what was measured so far.
    """

    crops: CropSet
    folder: Path
    cores: int
    qsr: Path
    parts: list[Part] = field(default_factory=list)

    def convert(self, first: int, stop: int) -> ConverterSearch:
        """Search with the public API over candidates ``first`` to ``stop - 1``."""
        folder = self.crops.validation_folder
        observed = self._observe(
            CONVERTER,
            stop - first,
            *(sys.executable, Path(__file__).with_name("converter_search.py")),
            *(_saved_model(self.crops.work), "--threads", self.cores),
            *("--lr", folder.lr(0).parent, "--hr", folder.hr(0).parent, "--candidates"),
            *(self.crops.candidate_folder.lr(index) for index in range(first, stop)),
        )
        self._keep(CONVERTER, stop - first, observed, {})
        return ConverterSearch.from_plain(json.loads(observed.output))

    def search(self, candidates: int, *, exact: bool) -> Found:
        """Search with qsr over the first candidates."""
        out = self.folder / f"{len(self.parts):02d}-{'exact' if exact else 'racing'}-{candidates}"
        what = EXACT if exact else RACING
        observed = self._observe(
            what,
            candidates,
            *(self.qsr, "search-repdata", "xcat", "--no-refine"),
            *("--candidates", self._first(candidates)),
            *("--validation", self.crops.validation_folder.path),
            *("--confirmation", self.crops.confirmation_folder.path),
            *("--out", out, "--json"),
            *["--exact"] * exact,
        )
        report = json.loads(observed.output)
        part = self._keep(what, candidates, observed, report)
        return Found(part, tuple(report["chosen"]["images"]), Path(report["integer_model"]))

    def winners(self, searches: Sequence[Found]) -> list[Winner]:
        """Score the integer models of searches on all validation images."""
        folder, images = self.crops.validation_folder, range(self.crops.validation)
        pairs = read_pairs([folder.lr(i) for i in images], [folder.hr(i) for i in images])
        winners = []
        for found in searches:
            with captured_stderr():  # TensorFlow greets, and warns of its interpreter
                scores = score(found.model.read_bytes(), pairs, threads=self.cores).psnr_db
            winners.append(
                Winner(found.part.what, found.part.candidates, found.images, mean(scores), scores)
            )
        return winners

    def _observe(self, what: str, candidates: int, *command: object) -> Observed:
        _say(f"{what}, {candidates} candidates")
        observed = observe(
            [str(word) for word in command], self.folder / f"{len(self.parts):02d}.log"
        )
        _say(f"  {observed.seconds:.1f} s")
        return observed

    def _keep(
        self, what: str, candidates: int, observed: Observed, report: Mapping[str, Any]
    ) -> Part:
        """Note down what a command took."""
        part = Part(
            what, candidates, observed.seconds, observed.foreign_share, observed.memory, report
        )
        self.parts.append(part)
        write_json(self.folder / "parts.json", self.parts)
        return part

    def _first(self, candidates: int) -> Path:
        """Return a folder of the first candidates: links, unless it is all of them."""
        whole = self.crops.candidate_folder
        if candidates == self.crops.candidates:
            return whole.path
        part = CropFolder(self.folder / f"first-{candidates}", whole.hr_suffix)
        for index in range(candidates):
            for link, target in (
                (part.hr(index), whole.hr(index)),
                (part.lr(index), whole.lr(index)),
            ):
                link.parent.mkdir(parents=True, exist_ok=True)
                if not link.is_symlink():
                    link.symlink_to(target.resolve())
        return part.path


def prepare(arguments: argparse.Namespace) -> None:
    """Make the images and the SavedModel that the converter reads."""
    crops = CropSet(
        arguments.work, arguments.candidates, arguments.validation, arguments.confirmation
    )
    if min(crops.candidates, crops.validation, crops.confirmation) < 1:
        raise UsageError("--candidates, --validation and --confirmation must be at least 1")
    limit_cores(arguments.cores)
    prepare_crops(
        arguments.photos,
        crops,
        seed=arguments.seed,
        threads=arguments.cores,
        on_progress=_show_progress,
    )
    write_saved_model(_saved_model(arguments.work))
    _say(
        f"{arguments.work}: {crops.candidates} candidates, {crops.validation} validation images, "
        f"{crops.confirmation} confirmation images"
    )


def run(arguments: argparse.Namespace) -> None:
    """Measure, write the record, print the tables."""
    crops = prepared_crops(arguments.work)
    converted, exact = arguments.converter_candidates, arguments.exact_candidates
    more = arguments.regret_candidates or exact
    check_sizes(crops.candidates, converted=converted, exact=exact, regret=more)
    limit_cores(arguments.cores)
    warm(crops)
    runs = arguments.work / "runs"
    runs.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{datetime.now(UTC):%Y%m%d-%H%M%S}-", dir=runs))
    bench = Bench(crops, folder.resolve(), arguments.cores, arguments.qsr)

    first_half = bench.convert(0, converted // 2)
    exact_few = bench.search(max(2, exact // _FEW_OF_EXACT), exact=True)
    racing = bench.search(crops.candidates, exact=False)
    exact_many = bench.search(exact, exact=True)
    second_half = bench.convert(converted // 2, converted)
    rivals = [(exact_many, bench.search(exact, exact=False))]
    if more > exact:
        rivals.append((bench.search(more, exact=True), bench.search(more, exact=False)))

    searches = (first_half, second_half)
    times = (*first_half.candidates, *second_half.candidates)
    flat = [racing, *(found for rival in rivals for found in rival)]
    racing_winner, *others = bench.winners(flat)
    regrets = tuple(Regret(*pair) for pair in zip(others[::2], others[1::2], strict=True))
    comparison = Comparison(
        cores=arguments.cores,
        candidates=crops.candidates,
        validation_images=crops.validation,
        mean_lr_pixels=mean_lr_pixels(crops),
        versions={name: version(name) for name in _VERSIONS},
        processor=processor_name(),
        parts=tuple(bench.parts),
        totals=(
            converter_total(DEFAULT_THREADS, searches, crops.candidates, threaded=False),
            converter_total(THREADED, searches, crops.candidates, threaded=True),
            line_total(EXACT, exact_few.part, exact_many.part, crops.candidates),
            measured_total(racing.part),
        ),
        winners=(
            converter_winner(DEFAULT_THREADS, times),
            converter_winner(THREADED, times),
            regrets[0].exact,
            racing_winner,
        ),
        unit_costs=unit_costs(times),
        regrets=regrets,
        converter_candidates=times,
    )
    write_json(folder / "record.json", comparison)
    tables = markdown(comparison)
    (folder / "tables.md").write_text(tables, encoding="utf-8")
    sys.stdout.write(tables)
    _say(f"record: {folder / 'record.json'}")


def check_sizes(candidates: int, *, converted: int, exact: int, regret: int) -> None:
    """Check that every search has enough candidates to extrapolate from, and no more than exist.

    Raises:
        UsageError: one has not.
    """
    for option, value, least in (
        ("--converter-candidates", converted, _FEWEST_CONVERTED),
        ("--exact-candidates", exact, _FEWEST_EXACT),
        ("--regret-candidates", regret, exact),
    ):
        if not least <= value <= candidates:
            raise UsageError(f"{option} must be {least} to {candidates}, not {value}")


def limit_cores(cores: int) -> None:
    """Keep this process and all that it starts on the first cores that it may use.

    Raises:
        UsageError: there are not so many, or this system cannot do that.
    """
    if not hasattr(os, "sched_setaffinity"):
        raise UsageError("this system cannot keep processes on some cores; run it on Linux")
    usable = sorted(os.sched_getaffinity(0))
    if not 1 <= cores <= len(usable):
        raise UsageError(f"--cores must be 1 to {len(usable)}, not {cores}")
    os.sched_setaffinity(0, usable[:cores])


def warm(crops: CropSet) -> None:
    """Read every file once, so that nobody pays for the disk in place of those who come later."""
    for path in crops.files():
        path.read_bytes()


def mean_lr_pixels(crops: CropSet) -> float:
    """Return the mean number of pixels of a validation LR image."""
    sizes = [image_size(crops.validation_folder.lr(index)) for index in range(crops.validation)]
    return mean(width * height for width, height in sizes)


def processor_name() -> str:
    """Return what the system calls its processor."""
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def write_saved_model(folder: Path) -> None:
    """Write XCAT with its shipped weights as a SavedModel, unless it is there."""
    if folder.exists():
        return
    tf = import_tensorflow()
    network = load(pretrained_path("xcat"))
    unfinished = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=folder.parent))
    try:
        with captured_stderr():
            tf.saved_model.save(network, str(unfinished))
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def write_json(path: Path, record: Any) -> None:
    """Write a record, atomically."""
    with replacing(path) as unfinished:
        unfinished.write_text(json.dumps(plain(record), indent=1), encoding="utf-8")


def main() -> int:
    """Do what the arguments say; return the exit code."""
    arguments = _parser().parse_args()
    try:
        arguments.job(arguments)
    except QsrError as error:
        _say(f"error: {error}")
        return error.exit_code
    return 0


def _parser() -> argparse.ArgumentParser:
    width, height = SMALLEST_PHOTO
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    jobs = parser.add_subparsers(required=True)
    preparing = jobs.add_parser("prepare", help="make the images; goes on where it was stopped")
    preparing.set_defaults(job=prepare)
    preparing.add_argument(
        "--photos",
        type=Path,
        required=True,
        help=f"folder; only photographs of at least {width}x{height} pixels are taken",
    )
    preparing.add_argument("--candidates", type=int, default=800)
    preparing.add_argument("--validation", type=int, default=100)
    preparing.add_argument(
        "--confirmation", type=int, default=20, help="images on which qsr confirms what it chose"
    )
    preparing.add_argument("--seed", type=int, default=0)
    running = jobs.add_parser("run", help="measure, on the images that were made")
    running.set_defaults(job=run)
    running.add_argument("--converter-candidates", type=int, default=10, help="of (a)")
    running.add_argument("--exact-candidates", type=int, default=40, help="of (b)")
    running.add_argument(
        "--regret-candidates", type=int, help="search these as well with (b) and (c), for regret"
    )
    running.add_argument(
        "--qsr",
        type=Path,
        default=Path(sys.executable).with_name("qsr"),
        help="the command to measure; by default that of this Python",
    )
    for job in (preparing, running):
        job.add_argument("--work", type=Path, required=True, help="folder for all that is made")
        job.add_argument("--cores", type=int, default=2)
    return parser


def _saved_model(work: Path) -> Path:
    return work / "xcat_saved_model"


def _show_progress(done: int, total: int) -> None:
    if done % 10 == 0 or done == total:
        _say(f"crops: {done}/{total}")


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
