"""What a convolution multiplies its kernel by, as rows of a matrix."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from qsr.tflite.graph import Graph, Operator


@dataclass(frozen=True)
class Window:
    """How a convolution moves over its input; pairs are (vertical, horizontal), in pixels.

    Attributes:
        size: of the kernel.
        stride: from one output pixel to the next.
        dilation: from one weight to the next.
        same: pad with zeros so that there is an output pixel for every stride; else no padding.
    """

    size: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    same: bool

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width of the output for those of the input."""
        padded = [
            side + sum(pad)
            for side, pad in zip((height, width), self._padding(height, width), strict=True)
        ]
        rows, columns = (
            (side - (size - 1) * dilation - 1) // stride + 1
            for side, size, dilation, stride in zip(
                padded, self.size, self.dilation, self.stride, strict=True
            )
        )
        return max(rows, 0), max(columns, 0)

    def patches(
        self, values: NDArray[np.float32], rows: NDArray[np.intp], columns: NDArray[np.intp]
    ) -> NDArray[np.float32]:
        """Return what the kernel is multiplied by for some output pixels.

        Args:
            values: ``(h, w, channels)``: the input; 0 is what padding holds.
            rows: ``(n,)``: rows of the output pixels.
            columns: ``(n,)``: their columns.

        Returns:
            ``(n, height, width, channels)``, height and width of the kernel.
        """
        padded = np.pad(values, (*self._padding(*values.shape[:2]), (0, 0)))
        reach = [
            (size - 1) * dilation + 1
            for size, dilation in zip(self.size, self.dilation, strict=True)
        ]
        views = sliding_window_view(padded, reach, axis=(0, 1))
        found = views[rows * self.stride[0], columns * self.stride[1]]
        return found[:, :, :: self.dilation[0], :: self.dilation[1]].transpose(0, 2, 3, 1)

    def _padding(self, height: int, width: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return how many zeros are before and after, as TensorFlow pads."""
        pads = []
        for side, size, stride, dilation in zip(
            (height, width), self.size, self.stride, self.dilation, strict=True
        ):
            reach = (size - 1) * dilation + 1
            missing = max((-(-side // stride) - 1) * stride + reach - side, 0) if self.same else 0
            pads.append((missing // 2, missing - missing // 2))
        return pads[0], pads[1]


def window_of(graph: Graph, operator: Operator) -> Window:
    """Return how a CONV_2D or DEPTHWISE_CONV_2D moves over its input."""
    options: Any = operator.options
    height, width = graph.tensors[operator.inputs[1]].shape[1:3]
    return Window(
        (height, width),
        (options.strideH, options.strideW),
        (options.dilationHFactor, options.dilationWFactor),
        same=options.padding == schema.Padding.SAME,
    )
