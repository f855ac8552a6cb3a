"""A float model without the clip at its end."""

from qsr.tflite.clips import clip_runs
from qsr.tflite.fold import drop
from qsr.tflite.graph import Graph


def without_output_clip(model: bytes, *, source: str = "model") -> bytes:
    """Return a float model whose output is not clipped; what moves values stays.

    Args:
        model: content of a float ``.tflite`` file.
        source: named in errors.

    Returns:
        Content of the model; the same bytes if no clip is at its end.

    Raises:
        ModelError: damaged, or not a model with one input and one output.
    """
    graph = Graph(model, source=source)
    clips = [
        clip
        for run in clip_runs(graph)
        if run.tensors[-1] == graph.output_index
        for clip in run.clips
    ]
    return drop(graph, tuple(clips))
