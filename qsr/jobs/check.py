"""Is a model ready for 8 bits? What stands in its way, with numbers and what to do about it."""

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from qsr.checks.findings import RULES, Finding
from qsr.checks.lint import lint
from qsr.checks.subject import Picture, Subject, TrainableKernel
from qsr.checks.trainable import trainable_copies
from qsr.data.pairs import Pair, find_pairs
from qsr.errors import UsageError
from qsr.jobs.images import check_there, usable
from qsr.jobs.models import KERAS_SUFFIXES, load_any
from qsr.jobs.progress import Progress, silent
from qsr.models.zoo import ZOO, load, pretrained_path
from qsr.targets.tables import Target, target_named
from qsr.tflite.convert import convert_keras
from qsr.tflite.runtime import inspect_model

MOST_PICTURES = 20
LARGEST_SIDE = 192
"""Of a picture in LR pixels; the middle of a larger one is measured."""


@dataclass(frozen=True)
class CheckReport:
    """What was found.

    Attributes:
        model: what the user called the model.
        quantized: whether it is an integer model.
        target: name of the hardware it is to run on, or None.
        images: names of the images that were measured on; none if nothing was measured.
        findings: the worst first.
        ignored: how many findings were left out as the user asked.
        unmatched: one line on each code to ignore that no finding has.
        skipped: one line on each image that was left out as unusable.
    """

    model: str
    quantized: bool
    target: str | None
    images: tuple[str, ...]
    findings: tuple[Finding, ...]
    ignored: int
    unmatched: tuple[str, ...]
    skipped: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether there is no finding of severity error."""
        return not any(finding.severity == "error" for finding in self.findings)


def check_model(
    model: str,
    *,
    images: Path | None = None,
    target: str | None = None,
    ignore: Sequence[str] = (),
    limit: int = MOST_PICTURES,
    skip_bad_images: bool = False,
    on_progress: Progress = silent,
) -> CheckReport:
    """Check a float or integer model.

    Args:
        model: a name from the zoo, or a path that :func:`qsr.jobs.models.load_any` takes.
        images: photographs, or a folder of LR/HR images, to measure costs on; None measures none,
            takes less than a second on a ``.tflite`` file, and finds less.
        target: name of the hardware that it is to run on; None for any.
        ignore: what to leave out: codes such as ``QSR701``, or ``QSR701:layer`` for one layer.
        limit: at most so many images, evenly spread.
        skip_bad_images: leave unusable images out instead of stopping.
        on_progress: called while working.

    Returns:
        The findings that are left.

    Raises:
        ImageError: the images are unusable.
        ModelError: the model cannot be read, converted or run.
        UsageError: no such target or code, or ``limit`` below 1.
    """
    if limit < 1:
        raise UsageError(f"--limit must be 1 or more, not {limit}")
    _check_codes(ignore)
    chosen = None if target is None else target_named(target)
    check_there([images])
    content, trainable = _load(model)
    subject, skipped = _subject(
        content,
        model,
        trainable,
        chosen,
        images,
        limit=limit,
        skip_bad=skip_bad_images,
        on_progress=on_progress,
    )
    findings = lint(subject, lambda name, done, total: on_progress("check", done, total, note=name))
    left = tuple(finding for finding in findings if not _is_ignored(finding, ignore))
    return CheckReport(
        model=model,
        quantized=subject.quantized,
        target=target,
        images=tuple(picture.name for picture in subject.pictures),
        findings=left,
        ignored=len(findings) - len(left),
        unmatched=tuple(line for one in ignore for line in _unmatched(one, findings)),
        skipped=skipped,
    )


def _load(model: str) -> tuple[bytes, tuple[TrainableKernel, ...]]:
    """Return a ``.tflite`` model, and what training may change of it if Keras says."""
    path = Path(model)
    if model not in ZOO and (path.suffix.lower() not in KERAS_SUFFIXES or not path.is_file()):
        return load_any(model), ()
    keras_model = load(pretrained_path(model) if model in ZOO else path)
    return convert_keras(keras_model, source=model), trainable_copies(keras_model)


def _subject(
    content: bytes,
    source: str,
    trainable: tuple[TrainableKernel, ...],
    target: Target | None,
    images: Path | None,
    *,
    limit: int,
    skip_bad: bool,
    on_progress: Progress,
) -> tuple[Subject, tuple[str, ...]]:
    """Return what is checked, with its images, and a line on each image that was left out."""
    if images is None:
        return Subject(content, source, (), target, trainable), ()
    facts = inspect_model(content, source=source)
    pairs = find_pairs(images, facts.scale)
    step = max(1, len(pairs) // limit)
    chosen, skipped = usable(
        pairs[::step][:limit],
        least_lr=max(facts.smallest_side, 3),
        skip_bad=skip_bad,
        stage="check images",
        on_progress=on_progress,
    )
    least = max(LARGEST_SIDE, facts.smallest_side)
    pictures = tuple(_picture(pair, facts.fixed_size, least) for pair in chosen)
    return Subject(content, source, pictures, target, trainable), skipped


def _picture(pair: Pair, fixed_size: tuple[int, int] | None, largest: int) -> Picture:
    """Load a pair, its middle alone if it is large."""
    lr, hr = pair.load()
    height, width = (largest, largest) if fixed_size is None else fixed_size
    top, left = max(0, lr.shape[0] - height) // 2, max(0, lr.shape[1] - width) // 2
    bottom, right = min(top + height, lr.shape[0]), min(left + width, lr.shape[1])
    scale = pair.scale
    return Picture(
        pair.name,
        lr[top:bottom, left:right].copy(),
        hr[top * scale : bottom * scale, left * scale : right * scale].copy(),
    )


def _check_codes(ignore: Sequence[str]) -> None:
    """Raise UsageError for what is no code: a mistyped one would ignore nothing."""
    for one in ignore:
        code = one.partition(":")[0]
        if code not in RULES:
            near = difflib.get_close_matches(code.upper(), RULES, n=3)
            hint = f"did you mean {' or '.join(near)}?" if near else f"codes are {', '.join(RULES)}"
            raise UsageError(f"--ignore {one}: no code {code}; {hint}")


def _unmatched(ignored: str, findings: Sequence[Finding]) -> Iterator[str]:
    """Yield a line if no finding is ignored by a code: where those of the code are, if any."""
    if any(_is_ignored(finding, [ignored]) for finding in findings):
        return
    code = ignored.partition(":")[0]
    places = dict.fromkeys(finding.where for finding in findings if finding.code == code)
    where = f"is found at {', '.join(places)} alone" if places else "is not found"
    yield f"--ignore {ignored}: {code} {where}"


def _is_ignored(finding: Finding, ignore: Sequence[str]) -> bool:
    return finding.code in ignore or f"{finding.code}:{finding.where}" in ignore
