"""A search's memory: what was measured, in an append-only file from which it resumes."""

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from io import FileIO
from math import inf, isfinite
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any, Self

from qsr.atomic import locked
from qsr.calibration.proposal import Proposal, from_json
from qsr.errors import StudyError

_FORMAT = 2
_SYNC_EVERY_SECONDS = 1.0


class Journal:
    """What is known of a study's models, kept in an append-only file of JSON lines.

    The first line says whose study it is. A line lists a proposal's images unless an earlier one
    did: then it gives the number of that list, from 0, as hundreds of proposals may share a long
    one. Each line is handed to the system before it counts, so a killed run loses at most what was
    under way; a machine that fails loses a second more. A last line torn by either is cut off. The
    file is locked while open (see :func:`qsr.atomic.locked`).

    Args:
        path: the file; created if missing. None keeps everything in memory alone.
        identity: what makes the study: anything JSON can hold. A journal of another identity is
            refused.

    Attributes:
        models: SHA-256 of the integer model that each proposal gives, as far as known.
        scores: what was measured on a model: by its SHA-256 and the name of the items.

    Raises:
        StudyError: the journal is of another study, damaged, in use, or cannot be written.
    """

    def __init__(self, path: Path | None, identity: Mapping[str, Any]) -> None:
        self.path = path
        self.models: dict[Proposal, str] = {}
        self.scores: dict[tuple[str, str], tuple[float, ...]] = {}
        self._lists: list[tuple[str, ...]] = []
        self._places: dict[tuple[str, ...], int] = {}
        self._file: FileIO | None = None
        self._synced_at = -inf
        self._opened = ExitStack()
        if path is None:
            return
        with ExitStack() as opened:
            try:
                opened.enter_context(locked(path))
                self._file = opened.enter_context(FileIO(path, "a+"))
            except BlockingIOError as error:
                raise StudyError(
                    f"{path}: another process is running this search; wait for it, or give another "
                    "folder"
                ) from error
            except OSError as error:
                raise StudyError(f"{path}: cannot be written: {error.strerror}") from error
            self._replay(path, self._file, {"format": _FORMAT, **json.loads(json.dumps(identity))})
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
        if self._file is not None and not self._file.closed:
            with suppress(OSError):
                os.fsync(self._file.fileno())
        self._opened.close()

    def add_model(self, proposal: Proposal, model_hash: str) -> None:
        """Note which model a proposal gives.

        Raises:
            StudyError: it cannot be written; what was written before stays.
        """
        self.models[proposal] = model_hash
        place = self._places.get(proposal.images)
        self._list(proposal.images)
        shown = {
            "images": proposal.images if place is None else place,
            "statistic": proposal.statistic,
            "factors": proposal.factors,
        }
        self._append({"proposal": shown, "model": model_hash})

    def add_scores(self, model_hash: str, items: str, start: int, scores: Sequence[float]) -> None:
        """Add the scores of a model on some items.

        Args:
            model_hash: SHA-256 of the model.
            items: names what was measured on.
            start: number of the first item; those before it have been added.
            scores: one per item.

        Raises:
            StudyError: it cannot be written; what was written before stays.
        """
        self._keep(model_hash, items, start, scores)
        kept = [score if isfinite(score) else str(score) for score in scores]  # JSON has no NaN
        self._append({"model": model_hash, "items": items, "start": start, "scores": kept})

    def _keep(self, model_hash: str, items: str, start: int, scores: Sequence[float]) -> None:
        """Put scores behind those that are known."""
        known = self.scores.get((model_hash, items), ())
        if not 0 <= start <= len(known):
            raise ValueError(f"scores from item {start} on, but {len(known)} are known")
        self.scores[model_hash, items] = known[:start] + tuple(float(score) for score in scores)

    def _list(self, images: tuple[str, ...]) -> None:
        """Number a list of images, unless it has a number."""
        if images not in self._places:
            self._places[images] = len(self._lists)
            self._lists.append(images)

    def _append(self, line: Mapping[str, Any]) -> None:
        if self._file is None:
            return
        try:
            left = _line(line)
            while left:
                left = left[self._file.write(left) :]
            if monotonic() - self._synced_at > _SYNC_EVERY_SECONDS:
                os.fsync(self._file.fileno())
                self._synced_at = monotonic()
        except OSError as error:
            raise StudyError(
                f"{self.path}: cannot be written ({error.strerror}); finished trials are kept: "
                "make room and run the same command again"
            ) from error

    def _replay(self, path: Path, file: FileIO, identity: Mapping[str, Any]) -> None:
        """Read what an earlier run left, or begin."""
        file.seek(0)
        content = file.read()
        if _line(identity).startswith(content):  # nothing there, or torn in the first line
            file.truncate(0)
            self._append(identity)
            return
        whole = content.rfind(b"\n") + 1
        lines = content[:whole].splitlines()
        number = 1
        try:
            found = json.loads(lines[0])
        except (ValueError, IndexError) as error:
            raise _damaged(path, number, error) from error
        _compare(path, found, identity)
        try:
            for number, line in enumerate(lines[1:], start=2):  # noqa: B007 (told of damage)
                self._take(json.loads(line))
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise _damaged(path, number, error) from error
        file.truncate(whole)

    def _take(self, entry: Any) -> None:
        """Read one line but the first; damage raises whatever it leads to."""
        if "proposal" not in entry:
            scores = [float(score) for score in entry["scores"]]
            self._keep(str(entry["model"]), str(entry["items"]), entry["start"], scores)
            return
        shown = entry["proposal"]
        if isinstance(shown["images"], int):
            shown["images"] = self._lists[shown["images"]]
        proposal = from_json(shown)
        self._list(proposal.images)
        self.models[proposal] = str(entry["model"])


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
    wanted = {"format": _FORMAT, **json.loads(json.dumps(identity))}
    if isinstance(found, dict):
        found = {key: found.get(key) for key in wanted}
    _compare(path, found, wanted)


def _damaged(path: Path, line: int, error: Exception) -> StudyError:
    """Return the error of a journal that cannot be read from some line on."""
    return StudyError(
        f"{path}: damaged journal, line {line} ({error}); give another folder, or delete the file "
        "from that line on"
    )


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
