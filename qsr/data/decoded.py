"""LR/HR pairs decoded once into one memory-mapped file, shared by every process that reads them."""

import json
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cached_property, lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsr.atomic import replacing
from qsr.data.pairs import Pair
from qsr.errors import ImageError
from qsr.images import image_size

Image = NDArray[np.uint8]

_INDEX = "index.json"
_PIXELS = ".u8"
_KEY_DIGITS = 32


@dataclass(frozen=True)
class DecodedPairs(Sequence[tuple[Image, Image]]):
    """A sequence of ``(lr, hr)``: ``(h, w, 3)`` and ``(scale*h, scale*w, 3)``, ``uint8`` RGB.

    The arrays are read-only views of the file, so an object of this class is cheap to send to
    another process, and pages are read from disk as they are used. A slice is again one of these.

    Attributes:
        path: the file of all pixels, named after the images in it, so that it never holds others.
        names: name of each pair.
        sizes: height and width of each LR image, in pixels.
        offsets: where each pair starts in the file, in bytes.
        scale: HR size over LR size.
    """

    path: Path
    names: tuple[str, ...]
    sizes: tuple[tuple[int, int], ...]
    offsets: tuple[int, ...]
    scale: int

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.names)

    def __getitem__(self, index: Any) -> Any:
        """Return the pair at ``index``, or the pairs of a slice."""
        if isinstance(index, slice):
            return replace(
                self,
                names=self.names[index],
                sizes=self.sizes[index],
                offsets=self.offsets[index],
            )
        height, width = self.sizes[index]
        pixels = _mapped(self.path)
        start = self.offsets[index]
        middle = start + height * width * 3
        stop = middle + height * width * 3 * self.scale**2
        lr = pixels[start:middle].reshape(height, width, 3)
        hr = pixels[middle:stop].reshape(height * self.scale, width * self.scale, 3)
        return lr, hr

    def at(self, indices: Sequence[int]) -> "DecodedPairs":
        """Return the pairs of those numbers, in their order."""
        return replace(
            self,
            names=tuple(self.names[index] for index in indices),
            sizes=tuple(self.sizes[index] for index in indices),
            offsets=tuple(self.offsets[index] for index in indices),
        )


@dataclass(frozen=True)
class HeldPairs(Sequence[tuple[Image, Image]]):
    """The same in memory, whole: what can be sent to another machine.

    Attributes:
        names: name of each pair.
        images: ``(lr, hr)`` of each, as in :class:`DecodedPairs`.
    """

    names: tuple[str, ...]
    images: tuple[tuple[Image, Image], ...]

    @cached_property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """Height and width of each LR image, in pixels."""
        return tuple((lr.shape[0], lr.shape[1]) for lr, _ in self.images)

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.names)

    def __getitem__(self, index: Any) -> Any:
        """Return the pair at ``index``, or the pairs of a slice."""
        if isinstance(index, slice):
            return HeldPairs(self.names[index], self.images[index])
        return self.images[index]

    def at(self, indices: Sequence[int]) -> "HeldPairs":
        """Return the pairs of those numbers, in their order."""
        return HeldPairs(
            tuple(self.names[index] for index in indices),
            tuple(self.images[index] for index in indices),
        )


def held(pairs: DecodedPairs) -> HeldPairs:
    """Return decoded pairs in memory."""
    return HeldPairs(pairs.names, tuple((np.array(lr), np.array(hr)) for lr, hr in pairs))


@dataclass(frozen=True)
class SharedPairs(Sequence[tuple[Image, Image]]):
    """The same, where something else holds the images: what refers to them travels without them.

    Attributes:
        names: name of each pair.
        sizes: height and width of each LR image, in pixels.
        numbers: which of the images each pair is.
        images: returns all images, wherever it is called.
    """

    names: tuple[str, ...]
    sizes: tuple[tuple[int, int], ...]
    numbers: tuple[int, ...]
    images: Callable[[], Sequence[tuple[Image, Image]]]

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.names)

    def __getitem__(self, index: Any) -> Any:
        """Return the pair at ``index``, or the pairs of a slice."""
        if isinstance(index, slice):
            names, sizes, numbers = self.names[index], self.sizes[index], self.numbers[index]
            return SharedPairs(names, sizes, numbers, self.images)
        return self.images()[self.numbers[index]]


Pairs = DecodedPairs | HeldPairs | SharedPairs
"""Decoded pairs, wherever they are."""


def part_of(pairs: Pairs, index: int, count: int) -> Pairs:
    """Return part ``index`` of ``count`` about equal ones; all of them in order are the whole."""
    start, stop = (len(pairs) * end // count for end in (index, index + 1))
    part: Pairs = pairs[start:stop]
    return part


def decode(
    pairs: Sequence[Pair],
    folder: Path,
    *,
    on_bad: Callable[[ImageError], None] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> DecodedPairs:
    """Decode ``pairs`` into ``folder``, or take what an earlier call left there for the same files.

    That call may have decoded more of them, and in another order.

    Args:
        pairs: what to decode, at least one; all of one scale.
        folder: created if missing; its earlier content is replaced unless it holds all pairs.
        on_bad: told of a pair that cannot be decoded, which is left out; None stops at the first.
        on_progress: called with (done, total) after each pair.

    Returns:
        The decoded pairs, in the order of ``pairs``.

    Raises:
        ImageError: a file cannot be decoded, or none can; the disk has no room for the pixels (told
            before any is decoded), or ``folder`` cannot be written.
        ValueError: no pairs, or pairs of different scales.
    """
    scales = {pair.scale for pair in pairs}
    if len(scales) != 1:
        raise ValueError(f"pairs of one scale are needed, not of {sorted(scales)}")
    on_bad = on_bad or _refuse
    index = _read_index(folder)
    errors = None if index is None else _all_bad(_split(pairs, index)[1])
    if index is None or errors is None:
        index = _decode(pairs, folder, on_bad, on_progress)
    else:
        for error in errors:
            on_bad(error)
    kept, _ = _split(pairs, index)
    if not kept:
        raise ImageError(f"none of the {len(pairs)} images can be decoded")
    places = [index.places[_key(pair)] for pair in kept]
    return DecodedPairs(
        folder / index.pixels,
        names=tuple(pair.name for pair in kept),
        sizes=tuple((height, width) for _, height, width in places),
        offsets=tuple(offset for offset, _, _ in places),
        scale=kept[0].scale,
    )


def decoded_of(pairs: Sequence[Pair], folder: Path) -> tuple[Pair, ...]:
    """Return those of ``pairs`` that :func:`decode` would find in ``folder``."""
    index = _read_index(folder)
    return () if index is None else _split(pairs, index)[0]


@dataclass(frozen=True)
class _Index:
    """What lies in a folder.

    Attributes:
        pixels: name of the file of all pixels.
        size: of that file, in bytes.
        places: by the key of each pair, where it starts in the file, in bytes, and the height and
            width of its LR image, in pixels.
    """

    pixels: str
    size: int
    places: dict[str, tuple[int, int, int]]


def _decode(
    pairs: Sequence[Pair],
    folder: Path,
    on_bad: Callable[[ImageError], None],
    on_progress: Callable[[int, int], None] | None,
) -> _Index:
    """Decode pairs in place of what lies in a folder."""
    keys = [_key(pair) for pair in pairs]
    path = folder / f"{sha256(''.join(keys).encode()).hexdigest()[:16]}{_PIXELS}"
    places: dict[str, tuple[int, int, int]] = {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for earlier in (folder / _INDEX, *folder.glob(f"*{_PIXELS}")):
            earlier.unlink(missing_ok=True)  # never overwritten: somebody may have it mapped
        _mapped.cache_clear()
        _check_room(pairs, folder)
        with path.open("wb") as pixels:
            for done, (key, (_, loaded)) in enumerate(
                zip(keys, _loaded(pairs), strict=True), start=1
            ):
                if isinstance(loaded, ImageError):
                    on_bad(loaded)
                else:
                    places[key] = pixels.tell(), *loaded[0].shape[:2]
                    pixels.writelines(image.tobytes() for image in loaded)
                if on_progress is not None:
                    on_progress(done, len(pairs))
            index = _Index(path.name, pixels.tell(), places)
            pixels.flush()
            os.fsync(pixels.fileno())  # the index vouches for them
        with replacing(folder / _INDEX) as unfinished:
            unfinished.write_text(json.dumps(asdict(index)))
    except OSError as error:
        raise ImageError(f"{folder}: cannot keep the decoded images there: {error}") from error
    return index


def _split(pairs: Sequence[Pair], index: _Index) -> tuple[tuple[Pair, ...], tuple[Pair, ...]]:
    """Return the pairs that an index has, and the others."""
    known = tuple(pair for pair in pairs if _key(pair) in index.places)
    others = tuple(pair for pair in pairs if _key(pair) not in index.places)
    return known, others


def _all_bad(pairs: Sequence[Pair]) -> list[ImageError] | None:
    """Return why each of the pairs cannot be decoded; None as soon as one can."""
    errors = []
    for _, loaded in _loaded(pairs):
        if not isinstance(loaded, ImageError):
            return None
        errors.append(loaded)
    return errors


def _loaded(
    pairs: Sequence[Pair],
) -> Iterator[tuple[Pair, tuple[Image, Image] | ImageError]]:
    """Load pairs in order, a few of them at once: Pillow decodes without holding Python's lock."""
    ahead = os.cpu_count() or 1
    waiting: deque[tuple[Pair, Future[tuple[Image, Image] | ImageError]]] = deque()
    with ThreadPoolExecutor(ahead) as pool:
        try:
            for pair in pairs:
                waiting.append((pair, pool.submit(_load, pair)))
                if len(waiting) > ahead:
                    first, loading = waiting.popleft()
                    yield first, loading.result()
            while waiting:
                first, loading = waiting.popleft()
                yield first, loading.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _load(pair: Pair) -> tuple[Image, Image] | ImageError:
    try:
        return pair.load()
    except ImageError as error:
        return error


def _refuse(error: ImageError) -> None:
    """Stop at a pair that cannot be decoded."""
    raise ImageError(f"{error} (--skip-bad-images goes on without such images)") from error


def _check_room(pairs: Sequence[Pair], folder: Path) -> None:
    """Raise ImageError if the disk has no room for the pixels, before any is decoded."""
    pixels = 0
    for pair in pairs:
        with suppress(ImageError):  # told when it is decoded
            width, height = image_size(pair.hr_path)
            pixels += width * height
    needed = 3 * pixels + 3 * pixels // pairs[0].scale ** 2
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise ImageError(
            f"{folder}: the {len(pairs)} decoded images take {needed / 1e6:.1f} MB, and "
            f"{free / 1e6:.1f} MB are free; make room, or give another folder"
        )


def _key(pair: Pair) -> str:
    """Identify what a pair decodes to by scale, and by the files' paths, sizes and times."""
    files = [(str(path), path and _state(path)) for path in (pair.hr_path, pair.lr_path)]
    return sha256(repr((pair.scale, files)).encode()).hexdigest()[:_KEY_DIGITS]


def _state(path: Path) -> tuple[int, int]:
    """Return the size and the time of change of a file."""
    try:
        state = path.stat()
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror}).") from error
    return state.st_size, state.st_mtime_ns


def _read_index(folder: Path) -> _Index | None:
    """Return what lies in the folder, or None when it is missing or torn."""
    try:
        index = json.loads((folder / _INDEX).read_text())
        places = {
            str(key): (int(offset), int(height), int(width))
            for key, (offset, height, width) in index["places"].items()
        }
        found = _Index(str(index["pixels"]), int(index["size"]), places)
        return found if (folder / found.pixels).stat().st_size == found.size else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


@lru_cache(maxsize=4)
def _mapped(path: Path) -> Image:
    """Map the file into memory, once per process; numpy cuts plain arrays three times as fast."""
    return np.asarray(np.memmap(path, dtype=np.uint8, mode="r"))
