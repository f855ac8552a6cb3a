"""What a benchmark reports: the times of models, and what follows from them."""

from dataclasses import dataclass

from qsr.benchmark import Delegate, Latency, TimeRatio


@dataclass(frozen=True, kw_only=True)
class OnPhone:
    """How a model ran on a phone.

    Attributes:
        are_medians: whether the time of a round is the median of its runs; False if the tool is too
            old to print medians: then it is their mean.
        delegated: how much of the model the delegate took, as the tool says; None if it does not.
        command: the command line on the phone.
    """

    are_medians: bool
    delegated: str | None
    command: str


@dataclass(frozen=True, kw_only=True)
class ModelTime:
    """What was measured of one model.

    Attributes:
        model: what the user called it.
        input_dtype: ``float32``, ``uint8`` or ``int8``.
        quantized: whether it is an integer model.
        file_bytes: size of its ``.tflite`` file.
        times_ms: time in each round.
        latency: their summary.
        ratio: to the first model, round by round; None for the first.
        psnr_rgb_db: mean over the images, of the 8-bit picture; None without images.
        challenge_score: of an integer model, from these two; None if it cannot be given.
        on_phone: how it ran there; None on this host.
    """

    model: str
    input_dtype: str
    quantized: bool
    file_bytes: int
    times_ms: tuple[float, ...]
    latency: Latency
    ratio: TimeRatio | None
    psnr_rgb_db: float | None
    challenge_score: float | None
    on_phone: OnPhone | None


@dataclass(frozen=True, kw_only=True)
class BenchmarkReport:
    """Times of models.

    Attributes:
        models: in the order given; the first is the reference of the others.
        device: processor of this host, or maker and model of the phone.
        phone: serial number of the phone; None on this host.
        delegate: what ran the models.
        lr_size: height and width of the picture, in pixels.
        threads: of the interpreter.
        warm_ups: runs before those that count; on a phone before each round.
        runs: runs that count, of each model; on a phone at least.
        data: folder that PSNR is measured on, or None.
        images: number of its images.
        skipped: one line on each image that was left out as unusable.
        no_score: why no challenge score can be given, in one line; empty if one can.
    """

    models: tuple[ModelTime, ...]
    device: str
    phone: str | None
    delegate: Delegate
    lr_size: tuple[int, int]
    threads: int
    warm_ups: int
    runs: int
    data: str | None
    images: int
    skipped: tuple[str, ...]
    no_score: str
