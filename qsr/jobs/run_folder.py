"""The folder that a search leaves behind, and how to find its models again."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qsr.atomic import locked, replacing, sweep
from qsr.calibration.provenance import model_hash
from qsr.errors import StudyError
from qsr.jobs.records import plain

RUNS = Path("runs")
"""Where run folders lie unless the user says otherwise, below the current folder."""


@dataclass(frozen=True)
class RunFolder:
    """The files of one search.

    Attributes:
        path: the folder.
    """

    path: Path

    @property
    def float_model(self) -> Path:
        """The float model that was searched for."""
        return self.path / "model_fp32.tflite"

    def integer_model(self, io: str) -> Path:
        """Return the best integer model, with ``uint8`` or ``int8`` input and output."""
        return self.path / f"model_{io}.tflite"

    @property
    def ranges(self) -> Path:
        """The ranges of every candidate."""
        return self.path / "ranges.npz"

    @property
    def equalization(self) -> Path:
        """Whether the float model was equalized, and what it was before."""
        return self.path / "equalization.json"

    @property
    def splitting(self) -> Path:
        """Whether channels of the float model were split, and what it was before."""
        return self.path / "splitting.json"

    @property
    def unsplit_model(self) -> Path:
        """The float model before its channels were split."""
        return self.path / "model_unsplit_fp32.tflite"

    def float_model_of(self, hash_: Any) -> bytes | None:
        """Return the float model of a hash, if the folder has it: as it is, or before splitting."""
        for path in (self.float_model, self.unsplit_model):
            with suppress(OSError):
                content = path.read_bytes()
                if model_hash(content) == hash_:
                    return content
        return None

    @property
    def intensities(self) -> Path:
        """What was done to the candidates of a network without its clip."""
        return self.path / "intensities.json"

    @property
    def journal(self) -> Path:
        """Every trial."""
        return self.path / "study.jsonl"

    @property
    def summary(self) -> Path:
        """The report."""
        return self.path / "summary.json"

    @property
    def photographs(self) -> Path:
        """The images of the built-in example."""
        return self.path / "photographs"

    @property
    def decoded(self) -> Path:
        """Decoded validation images, while the search runs."""
        return self.path / ".decoded"

    @property
    def decoded_confirmation(self) -> Path:
        """Decoded confirmation images, if they come from a folder of their own."""
        return self.path / ".decoded-confirmation"

    @property
    def screen(self) -> Path:
        """The tiles that candidates are screened on; a hash of what they are for is added."""
        return self.path / "screen.npz"

    @property
    def refinement(self) -> Path:
        """The folder of what the steps after the search made and measured."""
        return self.path / "refinement"

    @property
    def chosen_ranges(self) -> Path:
        """The ranges of the best integer model, as LiteRT's quantizer reads them."""
        return self.path / "ranges_chosen.json"

    @property
    def lock(self) -> Path:
        """Marks the folder as a run, and is locked while a search works in it."""
        return self.path / ".qsr-lock"

    @property
    def is_run(self) -> bool:
        """Whether a search has worked in it; a copy without its hidden files counts."""
        return self.lock.exists() or self.journal.exists()

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Hold the folder for one search; a folder that nothing was put into is gone again.

        Raises:
            StudyError: it holds other things, another search works in it, or it cannot be made.
        """
        with ExitStack() as held:
            try:
                new = not self.path.exists()
                self.path.mkdir(parents=True, exist_ok=True)
                self._refuse_foreign()
                held.enter_context(locked(self.lock))
            except BlockingIOError as error:
                raise StudyError(
                    f"{self.path}: another search is working in it; wait for it, or give another "
                    "folder with --out"
                ) from error
            except OSError as error:
                raise StudyError(
                    f"{self.path}: cannot be a run folder ({error.strerror}); give another with "
                    "--out"
                ) from error
            sweep(self.path)
            sweep(self.refinement)
            try:
                yield
            finally:
                self._leave(new=new)

    def _refuse_foreign(self) -> None:
        """Raise StudyError if the folder holds anything but a run."""
        if any(self.path.iterdir()) and not self.is_run:
            raise StudyError(
                f"{self.path}: not empty, and no run of qsr; give an empty or a new folder with "
                "--out"
            )

    def _leave(self, *, new: bool) -> None:
        """Take the mark away if the search put nothing beside it, and the folder if it made it."""
        with suppress(OSError):
            if [*self.path.iterdir()] == [self.lock]:
                self.lock.unlink()
                if new:
                    self.path.rmdir()

    def read_summary(self) -> dict[str, Any]:
        """Return the report as plain data.

        Raises:
            StudyError: the run is not finished, or its summary is damaged.
        """
        try:
            summary = json.loads(self.summary.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError) as error:
            raise StudyError(
                f"{self.path}: no finished run of qsr (no {self.summary.name}); finish it with "
                "qsr search-repdata, or give another folder"
            ) from error
        except (OSError, ValueError) as error:
            raise StudyError(f"{self.summary}: not readable: {error}") from error
        if not isinstance(summary, dict) or not summary.keys() >= {"integer_model", "validation"}:
            raise StudyError(f"{self.summary}: no report of a search; give another folder")
        return summary

    def write_summary(self, report: Any) -> None:
        """Write the report, atomically.

        Args:
            report: a record.

        Raises:
            StudyError: it cannot be written.
        """
        text = json.dumps(plain(report), indent=2, allow_nan=False)
        write_in_run(self.summary, text)


def write_in_run(path: Path, content: str | bytes, *, remedy: str = "make room") -> None:
    """Write a file of a run folder, whole or not at all.

    Args:
        path: the file, in the run folder or in a folder there, which is made.
        content: what it is to hold.
        remedy: what helps if it cannot be written, for the error.

    Raises:
        StudyError: it cannot be written.
    """
    try:
        path.parent.mkdir(exist_ok=True)
        with replacing(path) as unfinished:
            if isinstance(content, str):
                unfinished.write_text(content, encoding="utf-8")
            else:
                unfinished.write_bytes(content)
    except OSError as error:
        raise StudyError(
            f"{path}: cannot be written ({error.strerror}); {remedy} and run the same command again"
        ) from error


def notes_in_run(path: Path) -> dict[str, Any]:
    """Return what was written down in a file of a run folder; nothing if it is gone or damaged."""
    try:
        entry = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return entry if isinstance(entry, dict) else {}


def newest_run(root: Path = RUNS) -> RunFolder | None:
    """Return the finished run whose summary is the latest, or None; other folders do not count."""
    folders = (RunFolder(summary.parent) for summary in root.glob("*/summary.json"))
    runs = (folder for folder in folders if folder.is_run)
    return max(runs, key=lambda run: run.summary.stat().st_mtime, default=None)
