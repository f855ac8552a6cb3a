"""Runs a ``.tflite`` model on pictures of any size, in bounded memory, and reads any tensor."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import lru_cache
from math import ceil
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from numpy.typing import NDArray

from qsr.errors import ModelError
from qsr.quiet import captured_stderr
from qsr.tflite.graph import Graph, Tensor
from qsr.tflite.receptive_field import receptive_radius

Image = NDArray[np.uint8]

RGB_CHANNELS = 3
LARGEST_TILE = 384
"""Larger pictures are run in overlapping tiles of at most this many LR pixels a side; larger tiles
take more time, and more memory if the inner tensors are kept."""

_PROBE_SIZE = 48
_MIN_PROBE_PSNR_DB = 15.0
_CLEAR_PROBE_PSNR_DB = 30.0
_FAR_BEYOND_WHITE = 1e4
_SIGNED_TOLERANCE = 0.02
_SIGNED_MARGIN_DB = 3.0
_MIDDLE_OF_INT8 = 128
_INTACT_TOLERANCE = 1e-5


@dataclass(frozen=True)
class ModelFacts:
    """What a model takes and gives, found by reading it and by running it on a test picture.

    Attributes:
        scale: output size over input size.
        fixed_size: the only input height and width that it takes, in pixels; None for any.
        value_max: what white is, for the float tensors at its ends: 1.0 or 255.0.
        input_dtype: ``float32``, ``uint8`` or ``int8``.
        output_dtype: the same for the output.
        quantized: whether any activation is an integer.
        receptive_radius: LR pixels around its own that an output pixel depends on; None for all,
            or when they depend on where the picture begins.
    """

    scale: int
    fixed_size: tuple[int, int] | None
    value_max: float
    input_dtype: str
    output_dtype: str
    quantized: bool
    receptive_radius: int | None

    @property
    def smallest_side(self) -> int:
        """The side in LR pixels below which a picture is all border: the receptive field."""
        return 2 * (self.receptive_radius or 0) + 1


@dataclass(frozen=True)
class Window:
    """A piece of a picture that the model has just been run on.

    Attributes:
        rows: the rows of the piece in the picture, in LR pixels.
        columns: its columns.
        kept_rows: the rows that no neighbouring piece covers better.
        kept_columns: the same for columns.
    """

    rows: slice
    columns: slice
    kept_rows: slice
    kept_columns: slice

    def kept_of_piece(self) -> tuple[slice, slice]:
        """Return the kept rows and columns, counted from the beginning of the piece."""
        top, left = self.rows.start, self.columns.start
        return (
            slice(self.kept_rows.start - top, self.kept_rows.stop - top),
            slice(self.kept_columns.start - left, self.kept_columns.stop - left),
        )

    def kept_of(self, values: NDArray[Any], piece: tuple[int, int]) -> NDArray[Any]:
        """Return what no other piece covers better of a tensor's values, as a view.

        Args:
            values: those of the whole piece; a height and width that are no multiple of the piece's
                come whole.
            piece: height and width of what the model was run on, in LR pixels, padding included.
        """
        height, width = piece
        if values.ndim != 4 or values.shape[1] % height or values.shape[2] % width:  # noqa: PLR2004
            return values
        rows, columns = self.kept_of_piece()
        return values[
            :,
            _scaled(rows, values.shape[1] // height),
            _scaled(columns, values.shape[2] // width),
        ]


class Runner:
    """A model ready to run on one picture after another.

    Bytes go in and come out as a phone does it: to an integer model as they are, to a float model
    as ``byte / 255 * value_max``.

    Args:
        model: content of a ``.tflite`` file. One with several outputs, as ``Graph.pruned`` makes
            them, gives no picture, but all its outputs can be read by :meth:`tensor`.
        facts: what :func:`inspect_model` says of it (found here if None).
        threads: threads of the interpreter.
        keep_tensors: keep every tensor intact, to be read by :meth:`tensor`. Uses TFLite's own
            kernels in place of XNNPACK's, and more memory.
        source: named in errors.

    Raises:
        ModelError: the model cannot be run.
    """

    def __init__(
        self,
        model: bytes,
        facts: ModelFacts | None = None,
        *,
        threads: int = 1,
        keep_tensors: bool = False,
        source: str = "model",
    ) -> None:
        self.facts = facts if facts is not None else inspect_model(model, source=source)
        self._source = source
        self._interpreter = _interpreter(model, source, threads, keep_tensors=keep_tensors)
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._output = self._interpreter.get_output_details()[0]["index"]
        self._size: tuple[int, int] | None = None

    def upscale(self, lr: Image) -> Image:
        """Return the model's picture in 8 bits.

        Args:
            lr: ``(h, w, 3)`` ``uint8`` RGB.

        Returns:
            ``(scale*h, scale*w, 3)`` ``uint8``; a float model's result is clipped and rounded.
        """
        result = self._assemble(lr)
        return result if result.dtype == np.uint8 else to_bytes(result)

    def upscale_unrounded(self, lr: Image) -> NDArray[np.float32]:
        """Return the model's picture before rounding and clipping.

        Args:
            lr: ``(h, w, 3)`` ``uint8`` RGB.

        Returns:
            ``(scale*h, scale*w, 3)`` ``float32`` in units of 0..255.
        """
        return self._assemble(lr).astype(np.float32)

    def windows(self, lr: Image) -> Iterator[Window]:
        """Run the model piece by piece; its tensors can be read until the next piece is asked for.

        Args:
            lr: ``(h, w, 3)`` ``uint8`` RGB.

        Raises:
            ModelError: the model refuses the picture.
        """
        for window, piece in self._pieces(lr):
            self.run(piece)
            yield window

    def pieces(self, lr: Image) -> Iterator[Image]:
        """Cut a picture into what the model is fed, piece by piece, without running it.

        Args:
            lr: ``(h, w, 3)`` ``uint8`` RGB.

        Yields:
            ``(h', w', 3)`` ``uint8``: the whole picture if the model takes it.
        """
        for _, piece in self._pieces(lr):
            yield piece

    def tensor(self, index: int) -> NDArray[Any]:
        """Return a view of a tensor; the next run fails while it is held.

        Args:
            index: its number; any but inputs and outputs need ``keep_tensors``.
        """
        view: NDArray[Any] = self._interpreter.tensor(index)()
        return view

    def kept(self, index: int, window: Window) -> NDArray[Any]:
        """Return what no other piece covers better of a tensor: all pieces make up the picture's.

        A tensor whose height and width are no multiple of the piece's comes whole.

        Args:
            index: as in :meth:`tensor`.
            window: the piece that was just run.
        """
        return window.kept_of(self.tensor(index), self._size or (1, 1))

    def _pieces(self, lr: Image) -> Iterator[tuple[Window, Image]]:
        height, width = lr.shape[:2]
        window_height, window_width = self._window_size(height, width)
        halo = self._halo(window_height, window_width)
        for rows, kept_rows in _cuts(height, window_height, halo):
            for columns, kept_columns in _cuts(width, window_width, halo):
                piece = _padded(lr[rows, columns], window_height, window_width)
                yield Window(rows, columns, kept_rows, kept_columns), piece

    def _assemble(self, lr: Image) -> NDArray[Any]:
        """Run the model over all windows and put their results together."""
        scale = self.facts.scale
        height, width = lr.shape[0] * scale, lr.shape[1] * scale
        result: NDArray[Any] | None = None
        for window in self.windows(lr):
            piece = self._picture(self.tensor(self._output)[0])
            if piece.shape[:2] == (height, width):
                return piece
            if result is None:
                result = np.empty((height, width, RGB_CHANNELS), piece.dtype)
            rows, columns = window.kept_of_piece()
            result[_scaled(window.kept_rows, scale), _scaled(window.kept_columns, scale)] = piece[
                _scaled(rows, scale), _scaled(columns, scale)
            ]
        assert result is not None  # noqa: S101 (a picture has at least one window)
        return result

    def _picture(self, output: NDArray[Any]) -> NDArray[Any]:
        """Return the output tensor as ``uint8``, or as ``float32`` in units of 0..255 (a copy)."""
        if output.dtype == np.uint8:
            return output.copy()
        if output.dtype == np.int8:
            return output.view(np.uint8) ^ np.uint8(_MIDDLE_OF_INT8)
        return output * np.float32(255.0 / self.facts.value_max)

    def run(self, piece: Image) -> None:
        """Run the model on a picture as it is, in one piece.

        Args:
            piece: ``(h, w, 3)`` ``uint8`` RGB, of the model's size if it takes one alone.

        Raises:
            ModelError: the model refuses the picture.
        """
        size = piece.shape[:2]
        try:
            if size != self._size:
                with captured_stderr():
                    self._interpreter.resize_tensor_input(self._input, (1, *piece.shape))
                    self._interpreter.allocate_tensors()
                self._size = size
            values = to_input(piece, self.facts.input_dtype, self.facts.value_max)
            self._interpreter.set_tensor(self._input, values)
            self._interpreter.invoke()
        except (RuntimeError, ValueError) as error:
            self._size = None
            raise ModelError(
                f"{self._source}: cannot take a picture of {size[1]}x{size[0]} pixels: "
                f"{_first_line(error)}"
            ) from error

    def _window_size(self, height: int, width: int) -> tuple[int, int]:
        if self.facts.fixed_size is not None:
            return self.facts.fixed_size
        if self.facts.receptive_radius is None:
            return height, width
        halo = self._halo(min(height, LARGEST_TILE), min(width, LARGEST_TILE))
        return _even_window(height, LARGEST_TILE, halo), _even_window(width, LARGEST_TILE, halo)

    def _halo(self, window_height: int, window_width: int) -> int:
        """Return the overlap that makes pieces equal the whole picture, where one does and fits."""
        smaller = min(window_height, window_width)
        if self.facts.receptive_radius is None:
            return smaller // 4
        return min(self.facts.receptive_radius, (smaller - 1) // 2)


def reading_runner(model: bytes, tensors: Collection[int], *, source: str = "model") -> Runner:
    """Return a runner of a float model whose tensors can be read, run only as far as they need.

    XNNPACK's kernels run it, several times as fast as TFLite's own, if they are seen to leave these
    tensors intact: on the test picture each must be what TFLite's own kernels give with every
    tensor kept, within 1e-5 of its largest magnitude. If one is not, TFLite's own kernels run it.

    Args:
        model: content of a float ``.tflite`` file.
        tensors: numbers of tensors that operators make, at least one.
        source: named in errors.

    Raises:
        ModelError: the model cannot be run.
    """
    facts = inspect_model(model, source=source)
    pruned = Graph(model, source=source).pruned(tensors)
    fast = _keeps_intact(model, pruned, tuple(tensors), facts, source)
    return Runner(pruned, facts, keep_tensors=not fast, source=source)


@lru_cache(maxsize=16)
def _keeps_intact(
    model: bytes, pruned: bytes, tensors: tuple[int, ...], facts: ModelFacts, source: str
) -> bool:
    """Whether the default kernels give every tensor of a pruned model; looked at once a process."""
    probe = probe_picture(*(facts.fixed_size or (_PROBE_SIZE, _PROBE_SIZE)))
    trusted = Runner(model, facts, keep_tensors=True, source=source)
    fast = Runner(pruned, facts, source=source)
    try:
        for runner in (trusted, fast):
            runner.run(probe)
        return all(_same(fast.tensor(index), trusted.tensor(index)) for index in tensors)
    except (ModelError, ValueError):  # refused, or a tensor that was never allocated
        return False


def _same(found: NDArray[Any], expected: NDArray[Any]) -> bool:
    """Whether two tensors differ by rounding at most."""
    if found.shape != expected.shape:
        return False
    tolerance = _INTACT_TOLERANCE * float(np.abs(expected).max(initial=0))
    with np.errstate(invalid="ignore"):  # what is not finite is not the same
        return bool((np.abs(found - expected) <= tolerance).all())


@lru_cache(maxsize=16)
def inspect_model(model: bytes, *, source: str = "model") -> ModelFacts:
    """Find out what a model takes and gives.

    The scale, and whether a float model works in 0..1 or in 0..255, are found by running it on a
    smooth test picture: a super-resolution model gives the picture back, larger. A model of -1..1
    is known by where its output ends when driven far beyond any picture; one whose output has no
    end may pass for one of 0..1 or 0..255, and then works as such on the test picture.

    Args:
        model: content of a ``.tflite`` file.
        source: named in errors.

    Raises:
        ModelError: damaged, no RGB picture in NHWC order on both sides, an output size that is no
            integer multiple of the input's, weights that are not finite, an output that does not
            look like its input in either range of values, or one that looks like it in -1..1.
    """
    try:
        return _inspect(model, source)
    except (AttributeError, IndexError, TypeError, ValueError) as error:  # of a damaged file
        raise ModelError(f"{source}: damaged .tflite model ({_first_line(error)})") from error


def _inspect(model: bytes, source: str) -> ModelFacts:
    graph = Graph(model, source=source)
    for role, tensor in (("input", graph.input), ("output", graph.output)):
        _check_end(tensor, role, source)
    _check_constants(graph, source)
    height, width = graph.input.shape[1:3]
    fixed = (height, width) if height > 0 and width > 0 else None
    interpreter = _interpreter(model, source, 1, keep_tensors=False)
    probe = probe_picture(*(fixed or (_PROBE_SIZE, _PROBE_SIZE)))
    results = {}
    for value_max in (1.0, 255.0):
        output = _run_probe(interpreter, to_input(probe, graph.input.dtype, value_max), source)
        results[value_max] = output
        if "float32" not in {graph.input.dtype, graph.output.dtype}:
            break
    scale = _scale(probe.shape, output.shape, source)
    psnr = {white: _probe_psnr(probe, results[white], scale, 0.0, white) for white in results}
    if graph.input.dtype == graph.output.dtype == "float32":
        _refuse_signed(interpreter, probe, scale, max(psnr.values()), source)
    return ModelFacts(
        scale=scale,
        fixed_size=fixed,
        value_max=_value_max(graph, psnr, source) if graph.output.dtype == "float32" else 1.0,
        input_dtype=graph.input.dtype,
        output_dtype=graph.output.dtype,
        quantized=any(tensor.quantized for tensor in graph.activations),
        receptive_radius=receptive_radius(graph),
    )


def to_bytes(picture: NDArray[np.float32]) -> Image:
    """Clip and round a picture in units of 0..255 to ``uint8``, half to even; the shape stays."""
    return np.rint(np.clip(picture, 0.0, 255.0)).astype(np.uint8)


def to_input(lr: Image, dtype: str, value_max: float) -> NDArray[Any]:
    """Return a picture as the input tensor of a model.

    Args:
        lr: ``(h, w, 3)`` ``uint8`` RGB.
        dtype: of the tensor: ``uint8``, ``int8`` or ``float32``.
        value_max: what white is, for ``float32``.

    Returns:
        ``(1, h, w, 3)`` of that type.
    """
    if dtype == "uint8":
        return lr[None]
    if dtype == "int8":
        return (lr ^ np.uint8(_MIDDLE_OF_INT8)).view(np.int8)[None]
    values = lr[None].astype(np.float32)
    return values if value_max == 255.0 else values / np.float32(255.0 / value_max)  # noqa: PLR2004


def _interpreter(model: bytes, source: str, threads: int, *, keep_tensors: bool) -> Interpreter:
    resolver = (
        OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES if keep_tensors else OpResolverType.AUTO
    )
    with captured_stderr():
        try:
            return Interpreter(
                model_content=model,
                num_threads=threads,
                experimental_op_resolver_type=resolver,
                experimental_preserve_all_tensors=keep_tensors,
            )
        except (RuntimeError, ValueError) as error:
            raise ModelError(f"{source}: TFLite cannot run it: {_first_line(error)}") from error


def _run_probe(interpreter: Interpreter, values: NDArray[Any], source: str) -> NDArray[Any]:
    index = interpreter.get_input_details()[0]["index"]
    with captured_stderr():
        try:
            interpreter.resize_tensor_input(index, values.shape)
            interpreter.allocate_tensors()
            interpreter.set_tensor(index, values)
            interpreter.invoke()
        except (RuntimeError, ValueError) as error:
            raise ModelError(f"{source}: TFLite cannot run it: {_first_line(error)}") from error
    output: NDArray[Any] = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    return output


def _check_end(tensor: Tensor, role: str, source: str) -> None:
    if len(tensor.shape) != 4 or tensor.shape[3] not in {RGB_CHANNELS, -1}:  # noqa: PLR2004
        raise ModelError(
            f"{source}: its {role} has the shape {tensor.shape}; an RGB picture (N, H, W, 3) is "
            "needed"
        )
    if tensor.dtype not in {"float32", "uint8", "int8"}:
        raise ModelError(
            f"{source}: its {role} is {tensor.dtype}; float32, uint8 or int8 is needed"
        )


def _check_constants(graph: Graph, source: str) -> None:
    for tensor in graph.tensors:
        if tensor.constant and tensor.dtype in {"float32", "float16"}:
            values = graph.constant(tensor.index)
            if not np.isfinite(values).all():
                count = int((~np.isfinite(values)).sum())
                raise ModelError(
                    f"{source}: {count} of {values.size} values of {tensor.name} are NaN or "
                    "infinite; go back to weights from before training failed"
                )


def _scale(lr_shape: tuple[int, ...], output_shape: tuple[int, ...], source: str) -> int:
    (height, width), (out_height, out_width) = lr_shape[:2], output_shape[1:3]
    scale = out_height // height
    if scale < 1 or (out_height, out_width) != (scale * height, scale * width):
        raise ModelError(
            f"{source}: turns {width}x{height} pixels into {out_width}x{out_height}, no integer "
            "multiple: not a super-resolution model"
        )
    if scale == 1:
        raise ModelError(
            f"{source}: gives a picture of the size that it takes: not a super-resolution model"
        )
    if output_shape[3] != RGB_CHANNELS:
        raise ModelError(f"{source}: gives {output_shape[3]} channels where RGB is needed")
    return scale


def _probe_psnr(
    probe: Image, output: NDArray[Any], scale: int, black: float, white: float
) -> float:
    """Return how like the enlarged probe an output is, in dB; minus infinity if not finite."""
    if output.dtype != np.float32:
        return -np.inf
    expected = probe.repeat(scale, axis=0).repeat(scale, axis=1).astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        found = (output[0].astype(np.float64) - black) * (255.0 / (white - black))
        psnr = float(10 * np.log10(255.0**2 / np.mean((found - expected) ** 2)))
    return -np.inf if np.isnan(psnr) else psnr


def _refuse_signed(
    interpreter: Interpreter, probe: Image, scale: int, unsigned_psnr: float, source: str
) -> None:
    """Raise ModelError for a model of pictures in -1..1, black to white.

    Most such models pass for one of 0..1 by how like the probe the output is: what turns grey into
    the same grey does so in either range. But their output ends at -1 and 1, by a clip or a tanh.
    One that ends elsewhere, or nowhere, is refused if nothing but -1..1 explains it.
    """
    values = to_input(probe, "float32", 1.0) * np.float32(2) - np.float32(1)
    psnr = _probe_psnr(probe, _run_probe(interpreter, values, source), scale, -1.0, 1.0)
    beyond = np.copysign(np.float32(_FAR_BEYOND_WHITE), values)
    output = _run_probe(interpreter, beyond, source)
    ends = np.array([output.min(), output.max()])
    signed = np.allclose(ends, (-1.0, 1.0), rtol=0, atol=_SIGNED_TOLERANCE)
    explained = unsigned_psnr >= _MIN_PROBE_PSNR_DB
    better = psnr > unsigned_psnr - _SIGNED_MARGIN_DB if signed else not explained
    if better and psnr >= _MIN_PROBE_PSNR_DB:
        raise ModelError(
            f"{source}: works on pictures in -1..1 ({psnr:.1f} dB), which are not supported; "
            "export the model with 0..1 or 0..255 at its ends"
        )


def _value_max(graph: Graph, psnr: dict[float, float], source: str) -> float:
    """Return the range of values in which the output is like the enlarged probe.

    A network of 0..1 takes 0..255 as well where nothing clips, and even better, as its biases are
    then small against the picture; to one of 0..255, a picture of 0..1 is lost among the biases. So
    it is 0..1 if both are clear, unless the network scales or clips by 255.
    """
    best = max(psnr, key=lambda value_max: psnr[value_max])
    if psnr[1.0] >= _CLEAR_PROBE_PSNR_DB and not _scales_bytes(graph):
        best = 1.0
    if psnr[best] == -np.inf:
        raise ModelError(f"{source}: gives values that are not finite; its weights are broken")
    if not psnr[best] >= _MIN_PROBE_PSNR_DB:
        raise ModelError(
            f"{source}: does not give a picture back, whether fed 0..1 ({psnr[1.0]:.1f} dB) or "
            f"0..255 ({psnr[255.0]:.1f} dB); it is untrained, no super-resolution model, or wants "
            "another normalisation"
        )
    return best


def _scales_bytes(graph: Graph) -> bool:
    """Whether a single number stored in the model is 255 or 1/255."""
    numbers = [
        float(graph.constant(tensor.index).reshape(()))
        for tensor in graph.tensors
        if tensor.constant and tensor.dtype == "float32" and np.prod(tensor.shape) == 1
    ]
    return bool(np.isclose(numbers, 255.0).any() or np.isclose(numbers, 1 / 255).any())


def probe_picture(height: int = _PROBE_SIZE, width: int = _PROBE_SIZE) -> Image:
    """Return a smooth colour picture, ``(height, width, 3)`` ``uint8``."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    y, x = y / max(height - 1, 1), x / max(width - 1, 1)
    red = 0.15 + 0.7 * x
    green = 0.85 - 0.6 * y
    blue = 0.5 + 0.3 * np.sin(np.pi * (x + y))
    return to_bytes(np.stack([red, green, blue], axis=-1).astype(np.float32) * 255.0)


def _cuts(length: int, window: int, halo: int) -> Iterator[tuple[slice, slice]]:
    """Cut ``length`` pixels into overlapping windows; yields (the window, what is kept of it)."""
    start = kept = 0
    while kept < length:
        stop = min(start + window, length)
        keep_stop = length if stop == length else stop - halo
        yield slice(start, stop), slice(kept, keep_stop)
        kept = keep_stop
        start = max(0, min(kept - halo, length - window))


def _even_window(length: int, largest: int, halo: int) -> int:
    """Return the smallest window that needs no more pieces than the largest one does."""
    if length <= largest:
        return length
    count = ceil((length - 2 * halo) / (largest - 2 * halo))
    return ceil((length - 2 * halo) / count) + 2 * halo


def _padded(piece: Image, height: int, width: int) -> Image:
    """Repeat the last row and column until the piece has the size of the window."""
    missing = (height - piece.shape[0], width - piece.shape[1])
    if missing == (0, 0):
        return piece
    return np.pad(piece, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="edge")


def _scaled(part: slice, scale: int) -> slice:
    return slice(part.start * scale, part.stop * scale)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), repr(error))
