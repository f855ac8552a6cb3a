"""The images of a training: what each is for, held out, told apart, and decoded once."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from qsr.data.decoded import DecodedPairs, decode, decoded_of
from qsr.data.pairs import Pair, content_hash
from qsr.errors import ImageError
from qsr.training.recipe import Recipe
from qsr.training.run_folder import check_description, claimed, keep_description

_LEAST_TO_VALIDATE = 3  # LR pixels along a side, as `qsr evaluate` asks for PSNR


@dataclass(frozen=True)
class ListedImages:
    """Images by what they are for.

    Attributes:
        training: patches are cut from them.
        added: patches are cut from them as well, in stages with ``added_data``.
        validation: PSNR is measured on them, whole.
    """

    training: Sequence[Pair]
    added: Sequence[Pair]
    validation: Sequence[Pair]

    @property
    def all(self) -> tuple[Pair, ...]:
        """All of them, in this order."""
        return (*self.training, *self.added, *self.validation)

    def with_validation(self) -> "ListedImages":
        """Return these, with some of the training images held out if none are to validate on.

        Raises:
            ImageError: there is nothing to hold out.
        """
        if self.validation:
            return self
        training, validation = hold_out(self.training)
        return replace(self, training=training, validation=validation)

    def described(self) -> dict[str, list[dict[str, Any]]]:
        """Say what they are, as JSON gives it back: names, and what the files hold.

        Raises:
            ImageError: a file cannot be read, or an image would be both trained on and validated
                on.
        """
        found = {
            f"{field.name} images": [_content(pair) for pair in getattr(self, field.name)]
            for field in fields(self)
        }
        validated = {image["hr_sha256"]: image["name"] for image in found["validation images"]}
        for purpose in ("training images", "added images"):
            for image in found[purpose]:
                name = validated.get(image["hr_sha256"])
                if name is not None:
                    raise ImageError(
                        f"{image['name']}: one of the {purpose}, and validated on as {name}; take "
                        "it out of one, or give other images with --validation"
                    )
        return found


@dataclass(frozen=True)
class TrainingImages:
    """Decoded images by what they are for.

    Attributes:
        training: to cut patches from.
        all: these, and the added ones.
        validation: to validate on.
    """

    training: DecodedPairs
    all: DecodedPairs
    validation: DecodedPairs


@contextmanager
def claimed_images(
    listed: ListedImages,
    recipe: Recipe,
    out: Path,
    description: dict[str, Any],
    *,
    decoded: Path | None = None,
    on_bad: Callable[[ImageError], None] | None = None,
    on_decode: Callable[[int, int], None] | None = None,
) -> Iterator[TrainingImages]:
    """Hold a run folder for one training, with its images decoded, for as long as the block runs.

    What is trained, images too, is written down in the folder, for the runs that go on with it.

    Args:
        listed: the images; if none are to validate on, some of the training images are held out.
        recipe: what is trained.
        out: run folder; created if missing.
        description: of the training but for its images, as JSON gives it back.
        decoded: where images are decoded to; ``out/decoded`` if None.
        on_bad: told of an image that cannot be decoded, which is left out; None stops at the first.
        on_decode: called with (done, total) while images are decoded.

    Raises:
        ImageError: an image is too small, of another scale than the network, cannot be decoded, or
            would be both trained on and validated on.
        StudyError: ``out`` belongs to another training, or one works in it.
    """
    folder = decoded or out / "decoded"
    with claimed(out):
        check_description(out, description)
        if on_bad is not None:
            listed = without_bad(listed, folder, on_bad=on_bad, on_decode=on_decode)
        listed = listed.with_validation()
        whole = description | listed.described()
        there = check_description(out, whole)
        images = decoded_images(listed, recipe, folder, on_decode)
        if not there:
            keep_description(out, whole)
        yield images


def without_bad(
    listed: ListedImages,
    folder: Path,
    *,
    on_bad: Callable[[ImageError], None],
    on_decode: Callable[[int, int], None] | None = None,
) -> ListedImages:
    """Decode images, and leave out those that cannot be.

    Args:
        listed: the images.
        folder: where they are decoded to.
        on_bad: told of each that is left out.
        on_decode: called with (done, total) while images are decoded.

    Raises:
        ImageError: none can be decoded, or the disk has no room for them.
    """
    decode(listed.all, folder, on_bad=on_bad, on_progress=on_decode)
    return ListedImages(
        training=decoded_of(listed.training, folder),
        added=decoded_of(listed.added, folder),
        validation=decoded_of(listed.validation, folder),
    )


def decoded_images(
    listed: ListedImages,
    recipe: Recipe,
    folder: Path,
    on_decode: Callable[[int, int], None] | None = None,
) -> TrainingImages:
    """Decode images, or take what lies in a folder, and check that a recipe can be trained on them.

    Args:
        listed: the images.
        recipe: what is trained.
        folder: where they are decoded to.
        on_decode: called with (done, total) while images are decoded.

    Raises:
        ImageError: an image is too small, of another scale than the network, or cannot be decoded.
    """
    decoded = decode(listed.all, folder, on_progress=on_decode)
    count = len(listed.training) + len(listed.added)
    both, validation = decoded[:count], decoded[count:]
    patch = recipe.training.lr_patch_px
    _check(both, recipe, patch, "a training patch (training.lr_patch_px)")
    _check(validation, recipe, _LEAST_TO_VALIDATE, "validation")
    return TrainingImages(both[: len(listed.training)], both, validation)


def hold_out(pairs: Sequence[Pair], *, most: int = 10) -> tuple[list[Pair], list[Pair]]:
    """Take every so many-th pair out for validation: one in ten, at most ``most``.

    Returns:
        The pairs to train on and the pairs to validate on; no pair is in both.

    Raises:
        ImageError: fewer than two pairs.
    """
    if len(pairs) < 2:  # noqa: PLR2004
        raise ImageError(
            f"training needs at least two images, one of them to validate on; there is {len(pairs)}"
        )
    count = max(1, min(most, len(pairs) // 10))
    held = {round((index + 0.5) * len(pairs) / count - 0.5) for index in range(count)}
    kept = [pair for index, pair in enumerate(pairs) if index not in held]
    return kept, [pairs[index] for index in sorted(held)]


def _content(pair: Pair) -> dict[str, Any]:
    """Name a pair and what its files hold, so that only the same images are gone on with."""
    return {
        "name": pair.name,
        "hr_sha256": content_hash(pair.hr_path),
        "lr_sha256": None if pair.lr_path is None else content_hash(pair.lr_path),
    }


def _check(images: DecodedPairs, recipe: Recipe, least: int, purpose: str) -> None:
    """Raise ImageError for images of another scale than the network, or one that is too small."""
    if images.scale != recipe.model.scale:
        raise ImageError(
            f"the images are for x{images.scale} and the network is for x{recipe.model.scale}; "
            "set model.scale, or give other images"
        )
    for name, (height, width) in zip(images.names, images.sizes, strict=True):
        if min(height, width) < least:
            raise ImageError(
                f"{name}: its LR image is {width}x{height} pixels, and {purpose} needs {least} "
                "along each side; remove it"
            )
