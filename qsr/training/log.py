"""The log of a training: a line of JSON per checkpoint, and the same for TensorBoard."""

import json
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from qsr.atomic import replacing
from qsr.training.run_folder import written


class TrainingLog:
    """``log.jsonl`` and ``tensorboard/`` of a run folder.

    What an earlier run logged after its last checkpoint, or wrote in part, is dropped from
    ``log.jsonl``; TensorBoard shows the later of two values for one step.

    Attributes:
        lines: one per checkpoint, oldest first: ``step``, ``stage``, ``loss`` (mean since the line
            before), ``learning_rate``, ``revived_channels`` (before the first line of a stage;
            otherwise 0), ``validation_psnr_db`` and ``seconds`` (since the line before, or the
            start of the run).
    """

    def __init__(self, out: Path, step: int) -> None:
        """Open the log of ``out`` after ``step``."""
        import tensorflow as tf

        self._path = out / "log.jsonl"
        self.lines: list[dict[str, Any]] = _cut(self._path, step)
        self._board = tf.summary.create_file_writer(str(out / "tensorboard"))
        self._last_added = perf_counter()

    def add(self, *, step: int, validation_psnr_db: float, **values: float) -> None:
        """Append a line.

        Raises:
            StudyError: it cannot be written.
        """
        import tensorflow as tf

        now = perf_counter()
        line = {
            "step": step,
            **values,
            "validation_psnr_db": validation_psnr_db,
            "seconds": now - self._last_added,
        }
        with written(f"{self._path}:"), self._path.open("a") as log:
            log.write(json.dumps(line) + "\n")
        with written(f"{self._path.parent / 'tensorboard'}:"), self._board.as_default(step=step):
            for name, value in line.items():
                if name != "step":
                    tf.summary.scalar(name, value)
            self._board.flush()
        self.lines.append(line)
        self._last_added = now

    @property
    def last(self) -> dict[str, Any]:
        """The newest line; there must be one."""
        return self.lines[-1]

    @property
    def best(self) -> dict[str, Any]:
        """The line with the highest validation PSNR, of equal ones the first; there must be one."""
        return max(self.lines, key=lambda line: float(line["validation_psnr_db"]))

    @property
    def seconds(self) -> float:
        """Time of all runs, up to their last checkpoints."""
        return sum(float(line["seconds"]) for line in self.lines)


def read_log(out: Path) -> list[dict[str, Any]]:
    """Return the lines of a training's log, oldest first; none if there is no log.

    Args:
        out: its run folder.
    """
    path = out / "log.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line) for line in lines if np.isfinite(_logged_step(line))]


def _cut(path: Path, step: int) -> list[dict[str, Any]]:
    """Drop torn lines and those after ``step``; return the rest."""
    if not path.exists():
        return []
    kept = [line for line in path.read_text().splitlines() if _logged_step(line) <= step]
    with written(f"{path}:"), replacing(path) as unfinished:
        unfinished.write_text("".join(f"{line}\n" for line in kept))
    return [json.loads(line) for line in kept]


def _logged_step(line: str) -> float:
    """Return the step of a line of the log; infinity for a torn one."""
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return np.inf
