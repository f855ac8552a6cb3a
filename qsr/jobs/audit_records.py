"""What an audit of a representative set finds, as records."""

from dataclasses import dataclass
from typing import Literal

from qsr.analysis.labels import layer_label
from qsr.calibration.audit import Extreme, TensorSaturation
from qsr.calibration.ranges import Reader
from qsr.calibration.scheme import Scheme

__all__ = [
    "AddAdvice",
    "Audit",
    "AuditReport",
    "DropAdvice",
    "Extreme",
    "HeldOut",
    "IoGrid",
    "Role",
    "TensorAudit",
    "TensorSaturation",
    "Verdict",
    "VerdictKind",
]

Role = Literal["judged", "pinned", "tied"]
"""``judged``: its grid follows from the images. ``pinned``: known without any. ``tied``: not
pinned, but its values are those of the picture at an end, which is judged in its place."""

VerdictKind = Literal[
    "good",
    "wrong brightness",
    "too narrow",
    "likely too narrow",
    "stretched by one image",
    "unstable",
    "coarse",
    "not measured",
]


@dataclass(frozen=True)
class IoGrid:
    """The grid that the images alone would give to input or output.

    Attributes:
        end: ``input`` or ``output``.
        pinned: whether it is replaced by the true grid, in which byte b means b/255.
        dtype: ``uint8`` or ``int8``.
        scale: quantization scale, in the float model's units.
        zero_point: quantization zero point.
        byte_128_means: the brightness, 0 to 255, that byte 128 would stand for.
        largest_error: by how much the brightness that a byte stands for would be off at most, in
            8-bit steps.
    """

    end: Literal["input", "output"]
    pinned: bool
    dtype: str
    scale: float
    zero_point: int
    byte_128_means: float
    largest_error: float


@dataclass(frozen=True)
class TensorAudit:
    """One activation of the float model.

    Attributes:
        name: of the tensor.
        operator: TFLite operator that makes it, or ``INPUT``.
        role: whether its grid follows from the images.
        leads: whether it is judged and fills its grid the most of all tensors that share it: the
            quantizer gives one grid to a split and what it splits, or to all that is concatenated.
        state: ``dead``: 0 on every image; ``constant``: one other value on every image; or
            ``varies``.
        minimum: the lower end of the range, and who sets it.
        maximum: the upper end.
        grid_minimum: smallest value that the integer tensor can hold, in real units.
        grid_maximum: the largest.
        halves_median: difference of the widths of two random halves' grids, as a share of the
            larger, 0 to 1: the median over the splits. None with one image.
        halves_worst: the largest over the splits.
        saturation: how held-out activations fit; None if not measured, or not judged.
    """

    name: str
    operator: str
    role: Role
    leads: bool
    state: Literal["varies", "constant", "dead"]
    minimum: Extreme
    maximum: Extreme
    grid_minimum: float
    grid_maximum: float
    halves_median: float | None
    halves_worst: float | None
    saturation: TensorSaturation | None

    @property
    def label(self) -> str:
        """The layer's name alone, for tables."""
        return layer_label(self.name)

    @property
    def farther_end(self) -> Extreme:
        """The end of the range that lies farther from 0."""
        return max((self.maximum, self.minimum), key=lambda end: abs(end.value))


@dataclass(frozen=True)
class DropAdvice:
    """The image whose removal makes the grids finest.

    Attributes:
        image: its name.
        narrower: by which share of their width the grids get narrower, mean over the grids.
        tensor: name of the tensor whose grid does most.
        tensor_narrower: by which share.
        own_share: share of the image's own activations that the rest's grids cut off, 0 to 1, in
            the worst tensor. The rest of the set loses nothing: its ranges are the grids.
        held_out_share: share of held-out activations that are cut off without the image, in the
            worst tensor; None if not measured.
        error_change_db: how much larger the error of saturation and rounding on held-out images
            gets, mean over the grids, in dB; below 0 if dropping helps. None if not measured.
    """

    image: str
    narrower: float
    tensor: str
    tensor_narrower: float
    own_share: float
    held_out_share: float | None
    error_change_db: float | None


@dataclass(frozen=True)
class AddAdvice:
    """The held-out image that helps most when it joins the set.

    Attributes:
        image: its name.
        share_before: share of the other held-out images' activations that are cut off now, 0 to 1,
            in the worst tensor.
        share_after: the same with the image in the set.
        error_change_db: how much larger the error of saturation and rounding on the other held-out
            images gets, mean over the grids, in dB; below 0.
    """

    image: str
    share_before: float
    share_after: float
    error_change_db: float


@dataclass(frozen=True)
class HeldOut:
    """What was measured on images that are not in the set.

    Attributes:
        images: how many.
        worst_share: share of activations that are cut off, 0 to 1, in the worst tensor.
        worst_tensor: name of that tensor.
        saturating_images: number of images with any activation outside its grid.
        worst_image: the image with the largest share in any tensor.
        worst_image_share: that share.
        gain_db: how much smaller the error of saturation and rounding would be with the best width
            of each grid, mean over the grids, in dB.
        add: which of them to add; None if none makes the error smaller.
        shared: names of images that were left out, because the set has the same pixels.
    """

    images: int
    worst_share: float
    worst_tensor: str
    saturating_images: int
    worst_image: str
    worst_image_share: float
    gain_db: float
    add: AddAdvice | None
    shared: tuple[str, ...]


@dataclass(frozen=True)
class Audit:
    """What was found about a representative set.

    Attributes:
        model: what the user called the model.
        images_folder: the folder of the set.
        against_folder: the folder of held-out images, or None.
        scheme: how the model would be quantized.
        reader: how the ranges were read.
        images: number of images in the set.
        fixed_size: the only input height and width that the model takes; larger images are run in
            tiles of it, smaller ones are padded. None for any.
        lowest_byte: the darkest value of any LR pixel of the set, 0 to 255.
        highest_byte: the brightest.
        io_grids: the grids that the images alone would give to input and output.
        tensors: every activation, in the order of execution.
        splits: how often the set was halved at random; 0 with one image.
        drop: which image to drop; None with one image, or if no single image sets a range.
        held_out: what was measured on other images; None without any.
    """

    model: str
    images_folder: str
    against_folder: str | None
    scheme: Scheme
    reader: Reader
    images: int
    fixed_size: tuple[int, int] | None
    lowest_byte: int
    highest_byte: int
    io_grids: tuple[IoGrid, IoGrid]
    tensors: tuple[TensorAudit, ...]
    splits: int
    drop: DropAdvice | None
    held_out: HeldOut | None

    @property
    def judged(self) -> tuple[TensorAudit, ...]:
        """The tensors whose grid follows from the images."""
        return tuple(tensor for tensor in self.tensors if tensor.role == "judged")

    @property
    def grids(self) -> tuple[tuple[TensorAudit, ...], ...]:
        """The judged tensors, those that share a grid together, the one that fills it first."""
        sharing: dict[tuple[float, float], list[TensorAudit]] = {}
        for tensor in self.judged:
            sharing.setdefault((tensor.grid_minimum, tensor.grid_maximum), []).append(tensor)
        return tuple(
            tuple(sorted(tensors, key=lambda one: not one.leads)) for tensors in sharing.values()
        )


@dataclass(frozen=True)
class Verdict:
    """Whether the set is good, and what to do.

    Attributes:
        kind: in a word or two.
        sentences: in two to five sentences.
        next_purpose: what to do next.
        next_command: and how: the words of a command; ``DIR`` where a folder of the user's goes.
    """

    kind: VerdictKind
    sentences: tuple[str, ...]
    next_purpose: str
    next_command: tuple[str, ...]


@dataclass(frozen=True)
class AuditReport:
    """An audit and its verdict.

    Attributes:
        verdict: in words.
        audit: what it rests on.
        skipped: one line on each image that was left out as unusable.
        workers: number of processes.
        seconds: time that it took.
    """

    verdict: Verdict
    audit: Audit
    skipped: tuple[str, ...]
    workers: int
    seconds: float
