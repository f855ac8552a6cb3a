"""What a user asks of quantization, checked before anything slow is done."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from qsr.calibration import Scheme
from qsr.calibration.ranges import Reader
from qsr.calibration.scheme import scheme_named
from qsr.errors import UsageError
from qsr.jobs.images import check_sets, check_there
from qsr.jobs.new_files import Product, check_new
from qsr.jobs.progress import Progress, silent
from qsr.tflite.sixteen_bits import check_installed


class Settings(TypedDict, total=False):
    """How models are quantized; what is left out is as the command line has it.

    Attributes:
        ranges: calibration result of qsr or of LiteRT's quantizer, as JSON, in place of images.
        save_ranges: where to write the ranges that the integer model is made with, pinned ends
            too, in the same JSON; nowhere if None.
        float_layers: layers or tensors that stay in float, as names or patterns.
        pin_io: give input and output their true grid, whatever the images hold.
        reader: ``exact``, or ``converter`` for the ranges that ``TFLiteConverter`` would record.
        images_are_lr: the images are LR already: feed them as they are.
        equalized: rescale the float model's channels by the images first, where that leaves its
            function alone (:mod:`qsr.quantization.equalize`).
        biases_corrected: give the integer model's channels the float model's means on the images
            (:mod:`qsr.quantization.bias_correction`).
        keep_clip: leave the operators in that are proved to copy bytes (:mod:`qsr.tflite.fold`).
        input_size: height and width of the only input that the integer model is to take, in pixels,
            as compilers for NPUs want it (:mod:`qsr.tflite.fixed_size`); None for any size.
        skip_bad_images: leave unusable images out instead of stopping.
        on_progress: called while working.
    """

    ranges: Path | None
    save_ranges: Path | None
    float_layers: Sequence[str]
    pin_io: bool
    reader: Reader
    images_are_lr: bool
    equalized: bool
    biases_corrected: bool
    keep_clip: bool
    input_size: tuple[int, int] | None
    skip_bad_images: bool
    on_progress: Progress


_INTEGER_MODEL = Product("the integer model", ".tflite", "-o")
_SAVED_RANGES = Product("the file of ranges", ".json", "--save-ranges")


@dataclass(frozen=True)
class Request:
    """What the user asked for.

    Attributes:
        model: the float model.
        repdata: representative images.
        outs: name of each scheme to the path of its integer model.
        data: folders of validation images.

    The others are as in :class:`Settings`.
    """

    model: str
    repdata: tuple[Path, ...]
    outs: dict[str, Path]
    data: tuple[Path, ...] = ()
    ranges: Path | None = None
    save_ranges: Path | None = None
    float_layers: Sequence[str] = ()
    pin_io: bool = True
    reader: Reader = "exact"
    images_are_lr: bool = False
    equalized: bool = False
    biases_corrected: bool = False
    keep_clip: bool = False
    input_size: tuple[int, int] | None = None
    skip_bad_images: bool = False
    on_progress: Progress = silent

    @property
    def schemes(self) -> tuple[Scheme, ...]:
        """The schemes."""
        kept = tuple(self.float_layers)
        return tuple(
            scheme_named(name, pin_io=self.pin_io, float_layers=kept) for name in self.outs
        )

    def check(self) -> None:
        """Raise UsageError or ImageError for what can be seen before the model is loaded."""
        if any(scheme.activation_bits != 8 for scheme in self.schemes):  # noqa: PLR2004
            check_installed()
        self._check_source()
        if self.equalized and self.save_ranges is not None:
            raise UsageError(
                "--save-ranges would write the ranges of the equalized network, which fit no "
                "other; leave out --save-ranges or --equalize"
            )
        made = {out.parent for out in self.outs.values()} if len(self.outs) > 1 else set()
        for out in self.outs.values():
            check_new(out, _INTEGER_MODEL, folder_is_made=out.parent in made)
            if out.exists() and Path(self.model).exists() and out.samefile(self.model):
                raise UsageError(
                    f"{out}: is the float model itself; give the integer model another name"
                )
        saved = self.save_ranges
        if saved is not None:
            check_new(saved, _SAVED_RANGES, folder_is_made=saved.parent in made)
            if self.ranges is not None and saved.exists() and saved.samefile(self.ranges):
                raise UsageError(f"{saved}: is what --ranges reads; give another --save-ranges")
        check_there(self.repdata)
        check_sets(self.data, split="valid")

    def _check_source(self) -> None:
        """Raise UsageError unless there are images, or else ranges and no options about images."""
        if not self.repdata and self.ranges is None:
            raise UsageError(
                "give at least one representative image with --repdata, or measured ranges with "
                "--ranges"
            )
        if self.repdata and self.ranges is not None:
            raise UsageError("give representative images or --ranges, not both")
        about_images = (
            *(self.reader != "exact", self.images_are_lr, self.equalized, self.biases_corrected),
            self.skip_bad_images and not self.data,
        )
        if self.ranges is not None and any(about_images):
            raise UsageError(
                "--reader, --lr, --equalize, --correct-biases and --skip-bad-images are about "
                "images; leave them out with --ranges"
            )


def outs_of(schemes: Sequence[str], out: Path | None) -> dict[str, Path]:
    """Return name of each scheme to the path of its integer model.

    Args:
        schemes: names of schemes.
        out: what the user gave: a path with one scheme, a folder with several, or None.

    Raises:
        UsageError: a scheme is named twice or none, or ``out`` is a file.
    """
    if not schemes:
        raise UsageError("give at least one --scheme")
    twice = [scheme for scheme in schemes if schemes.count(scheme) > 1]
    if twice:
        raise UsageError(f"--scheme {twice[0]} was given more than once; name each once")
    if len(schemes) == 1:
        return {schemes[0]: out or Path(_file_name(schemes[0]))}
    folder = out or Path()
    if folder.suffix == _INTEGER_MODEL.suffix or (folder.exists() and not folder.is_dir()):
        raise UsageError(f"{folder}: with several --scheme, give -o the name of a folder")
    return {scheme: folder / _file_name(scheme) for scheme in schemes}


def _file_name(scheme: str) -> str:
    return f"model_{scheme}{_INTEGER_MODEL.suffix}"
