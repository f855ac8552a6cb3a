"""What an analysis says: plain records, from which every table, page and file is drawn."""

from dataclasses import dataclass
from typing import Literal

from qsr.analysis.labels import layer_label

How = Literal["end", "name", "structure"]
"""How two tensors were found to be the same: by their place, their name or their neighbours."""


@dataclass(frozen=True)
class ChannelErrors:
    """The error of each channel of a tensor, in the order of the channels.

    Attributes:
        sqnr_db: as in :class:`TensorError`, and so are all but the gain.
        mse: mean of ``(q - f)^2``.
        mean_error: mean of ``q - f``.
        max_error: largest ``|q - f|``.
        cosine: of the channel alone.
        saturated_low: share of the channel's values, 0 to 1.
        saturated_high: share of the channel's values.
        used_levels: share of the grid's integers that occur in the channel; None for 16-bit grids.
            Channels share one grid, of which each is meant to use a part.
        gain: ``sum f q / sum f^2``, what f is multiplied by; 0 without signal.
    """

    sqnr_db: tuple[float, ...]
    mse: tuple[float, ...]
    mean_error: tuple[float, ...]
    max_error: tuple[float, ...]
    cosine: tuple[float, ...]
    saturated_low: tuple[float, ...]
    saturated_high: tuple[float, ...]
    used_levels: tuple[float, ...] | None
    gain: tuple[float, ...]

    @property
    def saturated_share(self) -> tuple[float, ...]:
        """Share of each channel's f more than half a step outside the grid, at either end."""
        return tuple(
            low + high for low, high in zip(self.saturated_low, self.saturated_high, strict=True)
        )


@dataclass(frozen=True)
class TensorError:
    """How far a tensor of the tested model is off.

    With f the reference's value, and q what the tested model's integer stands for,
    ``scale * (integer - zero_point)``; sums are over every value of every picture.

    Attributes:
        sqnr_db: signal-to-quantization-noise ratio, ``10 log10(sum f^2 / sum (q - f)^2)`` in dB;
            infinite without noise, minus infinite without signal.
        mse: mean of ``(q - f)^2``, in squared real units.
        mean_error: mean of ``q - f`` (the bias), in real units.
        max_error: largest ``|q - f|``.
        cosine: ``sum f q / sqrt(sum f^2 sum q^2)``, from -1 to 1; 1 if both are zero throughout.
        saturated_low: share of f more than half a step below the grid, 0 to 1.
        saturated_high: share of f more than half a step above the grid.
        used_levels: share of the grid's integers that occur, 0 to 1; None for 16-bit grids.
        channels: the same for each channel, the last axis.
    """

    sqnr_db: float
    mse: float
    mean_error: float
    max_error: float
    cosine: float
    saturated_low: float
    saturated_high: float
    used_levels: float | None
    channels: ChannelErrors

    @property
    def saturated_share(self) -> float:
        """Share of f more than half a step outside the grid, at either end."""
        return self.saturated_low + self.saturated_high


@dataclass(frozen=True)
class Histogram:
    """How often the reference's values of a tensor occur, in steps of the tested model's grid.

    Attributes:
        counts: of as many bins of equal width as there are counts.
        minimum: lower end of the first bin, in real units.
        maximum: upper end of the last bin.
    """

    counts: tuple[int, ...]
    minimum: float
    maximum: float


@dataclass(frozen=True)
class StoredError:
    """How far the stored values of a layer, its weights and biases, are off.

    Attributes:
        weights_sqnr_db: SQNR of the weights.
        weights_off_steps: largest distance of a weight from the reference's, in steps of its grid:
            at most 0.5 where it was rounded to the nearest.
        bias_off_steps: the same for the biases, as the kernels count them, in steps of the layer's
            *output* grid; None without biases.
        bias_scale_ratio: the scale in which the kernels count biases, input scale times weight
            scale, over the scale written beside them; of the channel where it is furthest from 1;
            None without biases.
        channel: the output channel whose weights or bias are furthest off.
        one_scale: whether several output channels share one weight scale (per-tensor weights).
    """

    weights_sqnr_db: float
    weights_off_steps: float
    bias_off_steps: float | None
    bias_scale_ratio: float | None
    channel: int
    one_scale: bool = False


@dataclass(frozen=True)
class LayerCost:
    """What the quantization of one layer costs, in dB of PSNR of the output picture.

    All are mean PSNR over the pictures against the originals. A layer is its stored values and the
    rounding of its output.

    Attributes:
        alone_db: what is lost when this layer alone is quantized in the reference.
        weights_db: what is lost when its stored values alone are.
        activation_db: what is lost when its output alone is rounded and saturated.
        saturation_db: what is lost when its output alone is saturated, but not rounded.
        recovered_db: what is got back when this layer alone stays in float in the tested model.
    """

    alone_db: float
    weights_db: float
    activation_db: float
    saturation_db: float
    recovered_db: float


@dataclass(frozen=True)
class LayerError:
    """One tensor that both models have, and the layer that makes it.

    Attributes:
        name: of the tensor in the reference.
        tested_name: of the tensor in the tested model.
        how: how the two were matched.
        operator: TFLite operator that makes it in the tested model, such as ``CONV_2D``; ``INPUT``
            for the picture that goes in.
        after: names (as in ``name``) of the nearest matched tensors that it is made of.
        scale: step of the tested tensor's grid, in real units.
        zero_point: the integer that stands for 0.
        grid_minimum: the smallest value that the grid holds.
        grid_maximum: the largest.
        minimum: smallest value of the reference on the pictures.
        maximum: largest value of the reference.
        tied_to_output: whether it must share the output's grid, so that its range is no choice.
        accumulated: error of the tested model's tensor, all layers before it quantized as well.
        local: error of this layer alone, fed the reference's values on its input grids; None for
            the input, and where an input was not matched.
        stored: of its weights and biases; None if it has none.
        cost: in dB of the output picture; None if it was not measured.
        histogram: of the reference's values.
    """

    name: str
    tested_name: str
    how: How
    operator: str
    after: tuple[str, ...]
    scale: float
    zero_point: int
    grid_minimum: float
    grid_maximum: float
    minimum: float
    maximum: float
    tied_to_output: bool
    accumulated: TensorError
    local: TensorError | None
    stored: StoredError | None
    cost: LayerCost | None
    histogram: Histogram

    @property
    def label(self) -> str:
        """The layer's name for tables."""
        return layer_label(self.name)


@dataclass(frozen=True)
class CauseCosts:
    """What each cause takes by itself, in dB of mean PSNR of the output picture.

    Attributes:
        weights_db: stored values rounded, nothing else.
        activations_db: every activation rounded and saturated, nothing else.
        saturation_db: every activation saturated but not rounded: a part of ``activations_db``.
        io_grid_db: raw bytes go in and come out on the tested model's grids, nothing else.
        kernels_db: what the tested model loses more than all of these together in float arithmetic.
        interaction_db: what all together lose more than ``weights_db``, ``activations_db`` and
            ``io_grid_db`` added up.
        reference_rounding_db: what rounding its own activations costs the reference, if it is an
            integer model; all of the above are measured from it in float arithmetic. Else 0.
        total_db: the drop: ``weights + activations + io_grid + interaction + kernels -
            reference_rounding``.
        last_rounding_db: what rounding its output to 8 bits takes from the reference; not part of
            the drop, as the reference is measured rounded.
    """

    weights_db: float
    activations_db: float
    saturation_db: float
    io_grid_db: float
    kernels_db: float
    interaction_db: float
    reference_rounding_db: float
    total_db: float
    last_rounding_db: float


@dataclass(frozen=True)
class Crop:
    """A square of a picture.

    Attributes:
        top: first row, in pixels of the enlarged picture.
        left: first column.
        side: in pixels.
        mse: mean squared difference of the two models there, in squared 8-bit steps.
    """

    top: int
    left: int
    side: int
    mse: float


@dataclass(frozen=True)
class Banding:
    """Steps that the tested model makes in smooth areas, and the reference does not.

    Attributes:
        smooth_share: share of the picture in which the reference is smooth, 0 to 1: flat as in
            :class:`RegionErrors`.
        flattened_share: of the steps between neighbouring values (pixels to the right and below,
            each channel) that the reference has in smooth areas, the share that the tested model
            lacks on balance: ``1 - steps of tested / steps of reference``, at least 0; 0 if there
            are none. So a step that merely moves counts as none lost.
        contrast: mean height of the tested model's steps over the mean of the reference's there; 1
            if either has none.
    """

    smooth_share: float
    flattened_share: float
    contrast: float


@dataclass(frozen=True)
class RegionErrors:
    """Mean squared difference of the two models' pictures by kind of area, in squared 8-bit steps.

    Areas are told apart by the reference's picture, as :func:`qsr.analysis.regions.areas_of` says.
    None where a picture has none of a kind.

    Attributes:
        flat: where hardly anything changes.
        texture: where it changes in many directions.
        edge: where it changes in one.
        flat_share: share of the pixels, 0 to 1.
        texture_share: share of the pixels.
        edge_share: share of the pixels.
    """

    flat: float | None
    texture: float | None
    edge: float | None
    flat_share: float
    texture_share: float
    edge_share: float


@dataclass(frozen=True)
class PictureError:
    """One picture by both models, as they are used: bytes in, bytes out.

    Attributes:
        name: of the picture.
        between_db: PSNR of one model's picture against the other's, RGB, in dB; infinite if equal.
        reference_psnr_db: of the reference against the original, RGB,
            :data:`qsr.metrics.RGB_SHAVE` pixels shaved; None without an original.
        tested_psnr_db: of the tested model.
        drop_db: the first less the second, both as :func:`qsr.metrics.counted_db` counts them.
        colour_shift: mean of tested less reference for red, green and blue, in 8-bit steps.
        largest_difference: of a value, in 8-bit steps.
        regions: by kind of area.
        banding: in smooth areas.
        worst_crop: where the two differ most.
    """

    name: str
    between_db: float
    reference_psnr_db: float | None
    tested_psnr_db: float | None
    drop_db: float | None
    colour_shift: tuple[float, float, float]
    largest_difference: int
    regions: RegionErrors
    banding: Banding
    worst_crop: Crop


@dataclass(frozen=True)
class Suspect:
    """A layer that costs more than it need.

    Attributes:
        layer: its label.
        name: of the tensor that it makes, in the reference.
        avoidable_db: what a better model of the same network would not lose there, by itself.
        cause: one word of :data:`qsr.analysis.diagnosis.CAUSES`.
    """

    layer: str
    name: str
    avoidable_db: float
    cause: str


@dataclass(frozen=True)
class Diagnosis:
    """What is wrong, in words.

    Attributes:
        costs_most: what costs most, with numbers.
        why: the cause.
        what_to_do: with a command.
        layer: label of the layer that is named first; None if no single layer stands out.
        cause: one word of :data:`qsr.analysis.diagnosis.CAUSES`.
        suspects: every layer that costs more than it need, the dearest first.
    """

    costs_most: str
    why: str
    what_to_do: str
    layer: str | None
    cause: str
    suspects: tuple[Suspect, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """A tested model against its reference.

    Attributes:
        layers: tensors that both models have, in the reference's order of execution.
        only_reference: names of the reference's tensors that the tested model lacks, such as those
            of a folded clip.
        only_tested: names of the tested model's tensors that the reference lacks; copies of
            matched ones, such as ``QUANTIZE`` makes at the ends, are not among them.
        causes: in dB; None if there were no originals to measure against.
        pictures: in the order given.
        reference_quantized: whether the reference is an integer model, too.
        value_max: what white is inside the models: 1 or 255.
    """

    layers: tuple[LayerError, ...]
    only_reference: tuple[str, ...]
    only_tested: tuple[str, ...]
    causes: CauseCosts | None
    pictures: tuple[PictureError, ...]
    reference_quantized: bool
    value_max: float
