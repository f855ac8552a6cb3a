"""A search's memory: trials in an append-only journal, from which it resumes."""

import json
import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from qsr.atomic import locked
from qsr.errors import StudyError

_FORMAT = 1


@dataclass(frozen=True)
class Trial:
    """One representative data set, quantized and scored.

    Attributes:
        images: names of the images whose ranges were merged.
        score: mean of ``item_scores``; higher is better.
        item_scores: score of each validation item, in the caller's units.
        model_hash: SHA-256 of the integer model.
    """

    images: tuple[str, ...]
    score: float
    item_scores: tuple[float, ...]
    model_hash: str


@dataclass(frozen=True)
class Study:
    """A finished search.

    Attributes:
        trials: every trial, in the order in which the strategy asked for them, whatever the order
            in which they were finished.
        best: the trial of the highest score; of equals, the first.
        model: content of its integer ``.tflite`` model.
        resumed: number of trials that an earlier run had finished.
    """

    trials: tuple[Trial, ...]
    best: Trial
    model: bytes
    resumed: int


class Journal:
    """An append-only file of trials, one JSON line each after a first line that says whose.

    Each line is flushed to disk before the next trial is counted, so a killed run loses at most the
    trials under way. A last line torn by a kill is cut off. The file is locked while open (see
    :func:`qsr.atomic.locked`).

    Args:
        path: the file; created if missing.
        identity: what makes the study: anything JSON can hold. A journal of another identity is
            refused.

    Raises:
        StudyError: the journal is of another study, damaged, in use, or cannot be written.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any]) -> None:
        self.path = path
        self.trials: dict[tuple[str, ...], Trial] = {}
        with ExitStack() as opened:
            try:
                opened.enter_context(locked(path))
                self._file = opened.enter_context(path.open("a+b", buffering=0))
            except BlockingIOError as error:
                raise StudyError(
                    f"{path}: another process is running this search; wait for it, or give another "
                    "folder"
                ) from error
            except OSError as error:
                raise StudyError(f"{path}: cannot be written: {error.strerror}") from error
            self._replay({"format": _FORMAT, **json.loads(json.dumps(identity))})
            self._opened = opened.pop_all()

    def __enter__(self) -> Self:
        """Return the journal itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the file, which gives the lock back."""
        self._opened.close()

    def add(self, trial: Trial) -> None:
        """Append a trial and wait until it is on disk.

        Raises:
            StudyError: it cannot be written; what was written before stays.
        """
        scores = [_as_json(score) for score in trial.item_scores]
        self._append(asdict(trial) | {"score": _as_json(trial.score), "item_scores": scores})
        self.trials[trial.images] = trial

    def _append(self, line: Mapping[str, Any]) -> None:
        try:
            left = _line(line)
            while left:
                left = left[self._file.write(left) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            raise StudyError(
                f"{self.path}: cannot be written ({error.strerror}); finished trials are kept: "
                "make room and run the same command again"
            ) from error

    def _replay(self, identity: Mapping[str, Any]) -> None:
        """Read what an earlier run left, or begin."""
        self._file.seek(0)
        content = self._file.read()
        if _line(identity).startswith(content):  # nothing there, or torn in the first line
            self._file.truncate(0)
            self._append(identity)
            return
        whole = content.rfind(b"\n") + 1
        try:
            found, *trials = (json.loads(line) for line in content[:whole].splitlines())
            for entry in trials:
                trial = Trial(
                    tuple(entry["images"]),
                    float(entry["score"]),
                    tuple(float(score) for score in entry["item_scores"]),
                    entry["model_hash"],
                )
                self.trials[trial.images] = trial
        except (ValueError, KeyError, TypeError) as error:
            raise StudyError(
                f"{self.path}: damaged journal ({error}); give another folder, or delete it to "
                "start over"
            ) from error
        _compare(self.path, found, identity)
        self._file.truncate(whole)


def check_journal(path: Path, identity: Mapping[str, Any]) -> None:
    """Check that a journal, if there is one, can be of the study described.

    Args:
        path: the journal.
        identity: some or all of the parts of the study's identity.

    Raises:
        StudyError: a part differs, or the journal is damaged.
    """
    try:
        with path.open("rb") as file:
            first = file.readline()
    except FileNotFoundError:
        return
    except OSError as error:
        raise StudyError(f"{path}: cannot be read: {error.strerror}") from error
    if not first.endswith(b"\n"):
        return
    try:
        found = json.loads(first)
    except ValueError as error:
        raise StudyError(f"{path}: no journal of qsr; give another folder") from error
    if isinstance(found, dict):
        found = {key: found.get(key) for key in identity}
    _compare(path, found, json.loads(json.dumps(identity)))


def _as_json(score: float) -> float | str:
    """Return a score as JSON can hold it: text where it is infinite or no number."""
    return score if isfinite(score) else str(score)


def _line(entry: Mapping[str, Any]) -> bytes:
    """Return an entry as a line of the journal."""
    return json.dumps(entry, allow_nan=False).encode() + b"\n"


def _compare(path: Path, found: Any, wanted: Mapping[str, Any]) -> None:
    """Raise StudyError that names the parts in which two identities differ."""
    parts = _differences(found, wanted) if isinstance(found, dict) else ["no study at all"]
    if parts:
        raise StudyError(
            f"{path}: belongs to another study ({'; '.join(parts)}); give another folder"
        )


def _differences(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Name the parts in which two identities differ."""
    parts = []
    for key in sorted({*found, *wanted}):
        old, new = found.get(key), wanted.get(key)
        if old != new:
            small = len(f"{old}{new}") < 80  # noqa: PLR2004 (what still reads well in one line)
            parts.append(f"{key}: {old} there, {new} here" if small else f"other {key}")
    return parts
