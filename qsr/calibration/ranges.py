"""What calibration measures: the smallest and largest value of each tensor, per image."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from qsr.atomic import replacing
from qsr.errors import StudyError, UsageError

Reader = Literal["exact", "converter"]

_FORMAT = 1


@dataclass(frozen=True)
class Ranges:
    """One (minimum, maximum) per tensor, in real units.

    Attributes:
        tensors: tensor names.
        minimum: ``(tensors,)`` ``float32``.
        maximum: ``(tensors,)`` ``float32``.
    """

    tensors: tuple[str, ...]
    minimum: NDArray[np.float32]
    maximum: NDArray[np.float32]

    def with_known(self, known: Mapping[str, tuple[float, float]]) -> "Ranges":
        """Return the same ranges, with what is known of some tensors in place of the measured.

        Args:
            known: tensor name to (minimum, maximum); tensors that were not measured are added.
        """
        measured = zip(self.minimum.tolist(), self.maximum.tolist(), strict=True)
        spans = dict(zip(self.tensors, measured, strict=True)) | dict(known)
        ends = np.array(list(spans.values()), np.float32).reshape(-1, 2)
        return Ranges(tuple(spans), ends[:, 0], ends[:, 1])


@dataclass(frozen=True)
class RangeTable:
    """The ranges of every image alone; those of any set of images are a reduction of its rows.

    Merging is the element-wise minimum and maximum: associative, commutative and idempotent, so the
    order of images and the way they are grouped never matter.

    Attributes:
        model_hash: SHA-256 of the float model's bytes.
        reader: how the ranges were read: ``exact`` or ``converter``.
        images: image names, unique.
        image_hashes: SHA-256 of each image's shape and pixels.
        tensors: tensor names.
        minimum: ``(images, tensors)`` ``float32``.
        maximum: ``(images, tensors)`` ``float32``.
        versions: package name to version, of what measured them.
    """

    model_hash: str
    reader: Reader
    images: tuple[str, ...]
    image_hashes: tuple[str, ...]
    tensors: tuple[str, ...]
    minimum: NDArray[np.float32]
    maximum: NDArray[np.float32]
    versions: Mapping[str, str]

    def __post_init__(self) -> None:
        """Check that the parts fit together."""
        shape = (len(self.images), len(self.tensors))
        if self.minimum.shape != shape or self.maximum.shape != shape:
            raise ValueError(
                f"ranges of shape {self.minimum.shape} and {self.maximum.shape} do not fit "
                f"{shape[0]} images and {shape[1]} tensors"
            )
        if len(self.image_hashes) != len(self.images):
            raise ValueError(f"{len(self.image_hashes)} hashes for {len(self.images)} images")
        if len(set(self.images)) != len(self.images):
            raise ValueError("two images of the same name")

    def merged(self, images: Iterable[str] | None = None) -> Ranges:
        """Return the ranges that calibration on these images together gives.

        Args:
            images: names; all of them if None.

        Raises:
            UsageError: no image, or one that is not in the table.
        """
        rows = self._rows(self.images if images is None else images)
        return Ranges(self.tensors, self.minimum[rows].min(axis=0), self.maximum[rows].max(axis=0))

    def subset(self, images: Iterable[str]) -> "RangeTable":
        """Return the table of these images alone, in the order given.

        Raises:
            UsageError: no image, or one that is not in the table.
        """
        rows = self._rows(images)
        return RangeTable(
            self.model_hash,
            self.reader,
            tuple(self.images[row] for row in rows),
            tuple(self.image_hashes[row] for row in rows),
            self.tensors,
            self.minimum[rows],
            self.maximum[rows],
            self.versions,
        )

    def columns(self, tensors: Sequence[str]) -> "RangeTable":
        """Return the table of these tensors alone, in the order given.

        Raises:
            UsageError: one that is not in the table.
        """
        place = {name: column for column, name in enumerate(self.tensors)}
        try:
            columns = [place[name] for name in tensors]
        except KeyError as error:
            raise UsageError(f"no ranges of a tensor named {error}") from error
        return replace(
            self,
            tensors=tuple(tensors),
            minimum=self.minimum[:, columns],
            maximum=self.maximum[:, columns],
        )

    def joined(self, other: "RangeTable") -> "RangeTable":
        """Return a table with the rows of both; an image that both measured is kept once.

        Raises:
            UsageError: the tables are of different models or readers, or give one name to
                different images.
        """
        if (self.model_hash, self.reader, self.tensors) != (
            other.model_hash,
            other.reader,
            other.tensors,
        ):
            raise UsageError("range tables of different models or readers cannot be joined")
        known = dict(zip(self.images, self.image_hashes, strict=True))
        new = []
        for name, digest in zip(other.images, other.image_hashes, strict=True):
            if name not in known:
                new.append(name)
            elif known[name] != digest:
                raise UsageError(f"two different images named {name}; rename one")
        if not new:
            return self
        added = other.subset(new)
        return RangeTable(
            self.model_hash,
            self.reader,
            self.images + added.images,
            self.image_hashes + added.image_hashes,
            self.tensors,
            np.concatenate([self.minimum, added.minimum]),
            np.concatenate([self.maximum, added.maximum]),
            self.versions,
        )

    def save(self, path: Path) -> None:
        """Write the table as ``.npz``, atomically; no pickled objects inside.

        Raises:
            StudyError: the file cannot be written.
        """
        about = {
            "format": _FORMAT,
            "model_hash": self.model_hash,
            "reader": self.reader,
            "versions": dict(self.versions),
        }
        try:
            with replacing(path) as unfinished, unfinished.open("wb") as file:
                np.savez(
                    file,
                    about=np.array(json.dumps(about)),
                    images=np.array(self.images, dtype=np.str_),
                    image_hashes=np.array(self.image_hashes, dtype=np.str_),
                    tensors=np.array(self.tensors, dtype=np.str_),
                    minimum=self.minimum,
                    maximum=self.maximum,
                )
        except OSError as error:
            raise StudyError(f"{path}: cannot be written: {error}") from error

    def _rows(self, images: Iterable[str]) -> list[int]:
        place = _places(self.images)
        try:
            rows = [place[name] for name in images]
        except KeyError as error:
            raise UsageError(f"no ranges of an image named {error}") from error
        if not rows:
            raise UsageError("a representative data set needs at least one image")
        return rows


@lru_cache(maxsize=8)
def _places(names: tuple[str, ...]) -> dict[str, int]:
    """Return the place of each name; a search asks for it thousands of times."""
    return {name: place for place, name in enumerate(names)}


def load_table(path: Path) -> RangeTable:
    """Read a table that :meth:`RangeTable.save` wrote.

    Raises:
        StudyError: missing, damaged, or not a range table.
    """
    try:
        return _read(path)
    except FileNotFoundError as error:
        raise StudyError(f"{path}: no such file") from error
    except StudyError:
        raise
    except Exception as error:  # numpy and zipfile raise whatever the damage leads to
        raise StudyError(
            f"{path}: no range table of qsr, or damaged; delete it to have ranges measured again"
        ) from error


def _read(path: Path) -> RangeTable:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
        about = json.loads(str(content["about"]))
        if about["format"] != _FORMAT:
            raise StudyError(f"{path}: range table of format {about['format']}, not {_FORMAT}")
        return RangeTable(
            about["model_hash"],
            about["reader"],
            _texts(content["images"]),
            _texts(content["image_hashes"]),
            _texts(content["tensors"]),
            content["minimum"],
            content["maximum"],
            about["versions"],
        )


def _texts(values: NDArray[np.str_]) -> tuple[str, ...]:
    return tuple(str(value) for value in values)


def empty_table(
    model_hash: str, reader: Reader, tensors: Sequence[str], versions: Mapping[str, str]
) -> RangeTable:
    """Return a table without images."""
    none = np.empty((0, len(tensors)), np.float32)
    return RangeTable(model_hash, reader, (), (), tuple(tensors), none, none.copy(), versions)
