"""Images that integer models are compared with their float model on."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from tempfile import TemporaryDirectory

from qsr.benchmark import host_name
from qsr.calibration.provenance import image_hash
from qsr.data.decoded import DecodedPairs, decode
from qsr.data.pairs import find_pairs
from qsr.errors import UsageError
from qsr.evaluation import PsnrScore, evaluate
from qsr.jobs.evaluate import EvaluationReport, ScoresOnSet, costs_of, least_lr_to_score
from qsr.jobs.held_out import LEAST_CONFIRMING
from qsr.jobs.images import usable
from qsr.jobs.progress import Progress
from qsr.jobs.steps import Judges
from qsr.tflite.runtime import inspect_model


@dataclass(frozen=True)
class ValidationSet:
    """Validation images of one folder.

    Attributes:
        data: the folder.
        pairs: its images, but for representative ones.
        skipped: one line on each image that was left out.
    """

    data: str
    pairs: DecodedPairs
    skipped: tuple[str, ...]


@dataclass(frozen=True)
class Validation:
    """Images that took no part in making the models, but for those that choose what is done.

    Attributes:
        sets: what models are compared on, at least one; none of their images chooses, unless there
            are too few images to divide.
        choosing: what steps are chosen on; none if there are no steps to choose.
        divided: whether the images that choose are others than those that models are compared on.
    """

    sets: tuple[ValidationSet, ...]
    choosing: tuple[ValidationSet, ...] = ()
    divided: bool = False

    @property
    def judges(self) -> Judges | None:
        """What steps are chosen with, and confirmed; None if there are none to choose."""
        if not self.choosing:
            return None
        return Judges(
            choosing=partial(self._scores, self.choosing),
            confirming=partial(self._scores, self.sets) if self.divided else None,
        )

    @property
    def choosing_images(self) -> int:
        """How many images choose."""
        return sum(len(one.pairs) for one in self.choosing)

    @cached_property
    def _known(self) -> dict[tuple[bytes, tuple[ValidationSet, ...]], tuple[float, ...]]:
        return {}

    def _scores(self, sets: tuple[ValidationSet, ...], model: bytes) -> tuple[float, ...]:
        """Return a model's PSNR in RGB on every image of some sets, measured once."""
        if (model, sets) not in self._known:
            scores = [float(score) for one in sets for score in PsnrScore(one.pairs)(model)]
            self._known[model, sets] = tuple(scores)
        return self._known[model, sets]


def divided(sets: Sequence[ValidationSet]) -> Validation:
    """Divide validation images into those that choose and those that models are compared on.

    Each set is divided by the hashes of its pixels: neither names nor order make a difference. An
    image of several sets does not choose if it is in the other half of one.

    Args:
        sets: all validation images.

    Returns:
        The images in two parts; all of them for both if a set has too few, or none would choose.
    """
    hashes = [[image_hash(lr) for lr, _ in one.pairs] for one in sets]
    confirming: set[str] = set()
    for found in hashes:
        ranked = sorted(set(found))
        confirming.update(ranked[: max(len(ranked) // 2, LEAST_CONFIRMING)])
    halves = [
        tuple(
            replace(one, pairs=one.pairs.at(places))
            for one, found in zip(sets, hashes, strict=True)
            if (places := [at for at, digest in enumerate(found) if (digest in confirming) == part])
        )
        for part in (True, False)
    ]
    confirmed, choosing = halves
    if not choosing or any(len(one.pairs) < LEAST_CONFIRMING for one in confirmed):
        return Validation(tuple(sets), tuple(sets))
    return Validation(confirmed, choosing, divided=True)


@contextmanager
def validation_images(
    data: Sequence[Path],
    model: bytes,
    representative: Collection[str],
    *,
    steps: bool,
    skip_bad: bool,
    source: str,
    on_progress: Progress,
) -> Iterator[Validation | None]:
    """Decode folders of validation images, for as long as the block runs; None if there are none.

    Args:
        data: folders of photographs or of LR/HR images.
        model: content of the float ``.tflite`` file.
        representative: hashes of the pixels of representative LR images, which are left out.
        steps: whether there are steps to choose; a part of the images is then for that.
        skip_bad: leave unusable images out instead of stopping.
        source: named in errors.
        on_progress: called while working.

    Raises:
        ImageError: a folder or an image is unusable.
        UsageError: a folder holds representative images alone.
    """
    if not data:
        yield None
        return
    facts = inspect_model(model, source=source)
    with TemporaryDirectory(prefix="qsr-") as scratch:
        sets = []
        for number, folder in enumerate(data):
            pairs, skipped = usable(
                find_pairs(folder, facts.scale, "valid"),
                least_lr=least_lr_to_score([facts], facts.scale),
                skip_bad=skip_bad,
                stage=f"check {folder.name}",
                on_progress=on_progress,
            )
            decoded = decode(pairs, Path(scratch) / str(number))
            sets.append(_without(representative, str(folder), decoded, skipped))
        yield divided(sets) if steps else Validation(tuple(sets))


def compared(
    models: Mapping[str, bytes],
    timed: Mapping[str, bytes],
    validation: Validation | None,
    lr_size: tuple[int, int],
    *,
    on_progress: Progress,
) -> EvaluationReport:
    """Score models, and find out what they cost, as ``qsr evaluate`` does.

    Args:
        models: content of each to score; the first is what the others are compared with.
        timed: the same models as they are written, of which size and time are taken.
        validation: images; None leaves scores out.
        lr_size: height and width of the picture that times are for, in pixels.
        on_progress: called while working.

    Raises:
        ModelError: a model cannot be run.
    """
    results = []
    for one in validation.sets if validation else ():
        evaluations = tuple(
            evaluate(
                model,
                one.pairs,
                name=name,
                names=one.pairs.names,
                on_progress=partial(on_progress, f"{name} on {Path(one.data).name}"),
            )
            for name, model in models.items()
        )
        results.append(ScoresOnSet(one.data, one.skipped, evaluations))
    return EvaluationReport(
        sets=tuple(results),
        costs=costs_of(list(timed), timed, lr_size, on_progress=on_progress),
        lr_size=lr_size,
        threads=1,
        host=host_name(),
    )


def _without(
    representative: Collection[str], data: str, pairs: DecodedPairs, skipped: tuple[str, ...]
) -> ValidationSet:
    """Leave representative images out."""
    apart = [index for index, (lr, _) in enumerate(pairs) if image_hash(lr) not in representative]
    if not apart:
        raise UsageError(
            f"{data}: every image of it is representative too; give others with --data"
        )
    known = {pairs.names[index] for index in apart}
    shared = [f"{name}: a representative image too" for name in pairs.names if name not in known]
    return ValidationSet(data, pairs.at(apart), (*skipped, *shared))
