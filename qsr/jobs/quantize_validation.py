"""Images that integer models are compared with their float model on."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from qsr.benchmark import host_name
from qsr.calibration.provenance import image_hash
from qsr.data.decoded import DecodedPairs, decode
from qsr.data.pairs import find_pairs
from qsr.errors import UsageError
from qsr.evaluation import PsnrScore, evaluate
from qsr.jobs.evaluate import EvaluationReport, ScoresOnSet, costs_of, least_lr_to_score
from qsr.jobs.images import usable
from qsr.jobs.progress import Progress
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
    """Images that took no part in making the models.

    Attributes:
        sets: at least one.
    """

    sets: tuple[ValidationSet, ...]

    @cached_property
    def _known(self) -> dict[bytes, float]:
        return {}

    def mean_psnr_db(self, model: bytes) -> float:
        """Return a model's mean PSNR in RGB over all images; measured once for each model."""
        if model not in self._known:
            scores = [score for one in self.sets for score in PsnrScore(one.pairs)(model)]
            self._known[model] = float(np.mean(scores))
        return self._known[model]


@contextmanager
def validation_images(
    data: Sequence[Path],
    model: bytes,
    representative: Collection[str],
    *,
    skip_bad: bool,
    source: str,
    on_progress: Progress,
) -> Iterator[Validation | None]:
    """Decode folders of validation images, for as long as the block runs; None if there are none.

    Args:
        data: folders of photographs or of LR/HR images.
        model: content of the float ``.tflite`` file.
        representative: hashes of the pixels of representative LR images, which are left out.
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
        yield Validation(tuple(sets))


def compared(
    models: Mapping[str, bytes],
    validation: Validation | None,
    lr_size: tuple[int, int],
    *,
    on_progress: Progress,
) -> EvaluationReport:
    """Score models, and find out what they cost, as ``qsr evaluate`` does.

    Args:
        models: content of each; the first is what the others are compared with.
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
        costs=costs_of(list(models), models, lr_size, on_progress=on_progress),
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
            f"{data}: every image of it is representative too; models must be compared on others"
        )
    known = {pairs.names[index] for index in apart}
    shared = [f"{name}: a representative image too" for name in pairs.names if name not in known]
    return ValidationSet(data, pairs.at(apart), (*skipped, *shared))
