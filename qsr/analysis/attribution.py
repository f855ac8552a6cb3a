"""What each layer's and each cause's quantization costs, in dB of the output picture.

The tested model is run in float arithmetic with one thing of it at a time: the stored values of a
layer, the rounding of its output, all activations, the grids of both ends. What the picture loses
is the price of that thing by itself. It is also run with all of them but one layer: what the
picture gains is what would be got back.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from qsr.analysis.layers import Layer, layers, rounded_activations, stored_values
from qsr.analysis.left_out_clips import clip_bounds, grid_ends, left_out_clips
from qsr.analysis.pair import ModelPair
from qsr.analysis.records import CauseCosts, LayerCost
from qsr.analysis.view_psnrs import Image, ViewBatch, Watched
from qsr.metrics import PEAK, RGB_SHAVE, counted_db, psnr_db
from qsr.tflite.float_view import View, float_views
from qsr.tflite.graph import EndGrid, end_grids
from qsr.tflite.real_values import real_constant
from qsr.tflite.runtime import ModelFacts, Runner, to_bytes

Doubles = NDArray[np.float64]

_MODELS = 4
"""PSNRs of models come first: the reference in float arithmetic, before and after its output is
rounded, the reference as it is, and the tested model. Those of views follow."""

_CAUSES = 6
"""The first views: nothing of the tested model, its stored values, its activations, their
saturation, its ends, and all of it. Those of layers follow."""

_PER_LAYER = 5
"""Views of a layer: all of it, its stored values, its activations, their saturation, and all of the
tested model but it."""

_MOST_VIEWED_PIXELS = 3 << 18
"""LR pixels that views run together have, at most: some 400 MB for XCAT. All views of a picture of
170x110 pixels fit."""


class Attribution:
    """Measures what quantization costs, part by part, on pictures with an original.

    If the reference is an integer model, the model in float arithmetic with its stored values and
    the ends of its grids takes its place; what its own rounding costs is told apart.

    Args:
        pair: the two models.

    Raises:
        ModelError: stored values cannot be read.
    """

    def __init__(self, pair: ModelPair) -> None:
        self._pair = pair
        graph, facts = pair.tested_graph, pair.tested_facts
        self._layers = layers(graph, pair.alignment)
        self._views = (
            *self._of_causes(),
            *(view for one in self._layers for view in self._of(one)),
        )
        in_float = [one for one in pair.facts if one.input_dtype == "float32"]
        self.value_max = in_float[0].value_max if in_float else facts.value_max
        """What white is inside the models, 1 or 255."""
        self._tested = Runner(graph.model, facts, source=pair.tested_source)
        self._kept: dict[View, ViewBatch] = {}

    def psnrs(self, lr: Image, hr: Image) -> Doubles:
        """Measure one picture by every view of the models.

        Args:
            lr: ``(h, w, 3)`` ``uint8`` RGB.
            hr: its original, ``scale`` times as large.

        Returns:
            PSNR in dB of each, RGB, shaved by :data:`qsr.metrics.RGB_SHAVE` and at most
            :data:`qsr.metrics.MOST_DB`, in an order that :meth:`costs` knows: their mean over
            pictures is what it wants.

        Raises:
            ModelError: a model refuses the picture.
        """
        unrounded = np.clip(self._reference.upscale_unrounded(lr), 0.0, PEAK)
        rounded = to_bytes(unrounded)
        used = rounded if self._integers is None else self._integers.upscale(lr)
        pictures = (unrounded, rounded, used, self._tested.upscale(lr))
        of_models = [counted_db(psnr_db(one, hr, shave=RGB_SHAVE)) for one in pictures]
        distinct = dict.fromkeys(self._views)
        found, beyond = self._measured([view for view in distinct if not view.saturated], lr, hr)
        saturated = [view for view in distinct if view.saturated]
        cutting = [view for view in saturated if view.saturated & beyond]
        found |= dict.fromkeys(saturated, found[self._views[0]])
        if cutting:
            found |= self._measured(cutting, lr, hr)[0]
        return np.array([*of_models, *(found[view] for view in self._views)])

    def costs(self, mean_psnrs: Doubles) -> tuple[CauseCosts, dict[int, LayerCost]]:
        """Return what each cause and each layer costs.

        Args:
            mean_psnrs: mean over pictures of what :meth:`psnrs` gives.

        Returns:
            The causes, and number of the tested model's tensor to the cost of the layer that makes
            it; all outputs of an operator have the same. Left out are layers that could not be
            measured, because their stored values have no counterpart in the reference.
        """
        unrounded, in_float, reference, tested = mean_psnrs[:_MODELS].tolist()
        of_views = mean_psnrs[_MODELS:].tolist()
        base, weights, activations, saturation, ends, everything = of_views[:_CAUSES]
        parts = base - weights, base - activations, base - ends
        causes = CauseCosts(
            weights_db=parts[0],
            activations_db=parts[1],
            saturation_db=base - saturation,
            io_grid_db=parts[2],
            kernels_db=everything - tested,
            interaction_db=in_float - everything - sum(parts),
            reference_rounding_db=in_float - reference,
            total_db=reference - tested,
            last_rounding_db=unrounded - in_float,
        )
        by_tensor: dict[int, LayerCost] = {}
        for place, layer in enumerate(self._layers):
            first = _CAUSES + _PER_LAYER * place
            alone, stored, rounded, saturated, left = of_views[first : first + _PER_LAYER]
            cost = LayerCost(
                alone_db=base - alone,
                weights_db=base - stored,
                activation_db=base - rounded,
                saturation_db=base - saturated,
                recovered_db=left - everything,
            )
            by_tensor |= dict.fromkeys(layer.tensors, cost)
        return causes, by_tensor

    def _of_causes(self) -> tuple[View, ...]:
        """Return the views of :data:`_CAUSES`."""
        ends, own_ends = self._ends
        return (
            View(ends=ends),
            View(stored=self._stored, ends=ends),
            View(rounded=self._rounded, ends=ends),
            View(saturated=self._rounded, ends=ends),
            View(ends=own_ends),
            View(stored=self._stored.union(self._bounds), rounded=self._rounded, ends=own_ends),
        )

    def _of(self, layer: Layer) -> tuple[View, ...]:
        """Return the views of :data:`_PER_LAYER`."""
        ends, own_ends = self._ends
        return (
            View(stored=layer.stored, rounded=layer.rounded, ends=ends),
            View(stored=layer.stored, ends=ends),
            View(rounded=layer.rounded, ends=ends),
            View(saturated=layer.rounded, ends=ends),
            View(
                stored=(self._stored - layer.stored).union(self._bounds),
                rounded=self._rounded - layer.rounded,
                ends=own_ends,
            ),
        )

    @cached_property
    def _ends(self) -> tuple[tuple[EndGrid, EndGrid], tuple[EndGrid, EndGrid]]:
        """What bytes stand for at both ends of the reference, and of the tested model."""
        pair = self._pair
        return end_grids(pair.reference_graph.model), end_grids(pair.tested_graph.model)

    @cached_property
    def _stored(self) -> frozenset[int]:
        """All stored values of the tested model."""
        graph = self._pair.tested_graph
        every = (stored_values(graph, operator) for operator in graph.operators)
        return frozenset[int]().union(*every)

    @cached_property
    def _rounded(self) -> frozenset[int]:
        """All activations that the tested model rounds."""
        return rounded_activations(self._pair.tested_graph)

    @cached_property
    def _reference(self) -> Runner:
        """Runs the reference, in float arithmetic."""
        pair = self._pair
        graph, facts = pair.reference_graph, pair.reference_facts
        if not facts.quantized:
            return Runner(graph.model, facts, source=pair.reference_source)
        made = float_views(
            graph,
            [View(ends=end_grids(graph.model))],
            clipped={one.index: grid_ends(graph, one.index) for one in graph.activations},
            value_max=self.value_max,
        )
        return Runner(made.model, self._facts_of_views, source=pair.reference_source)

    @cached_property
    def _integers(self) -> Runner | None:
        """Runs the reference as it is, if that is an integer model."""
        pair = self._pair
        if not pair.reference_facts.quantized:
            return None
        graph, facts = pair.reference_graph, pair.reference_facts
        return Runner(graph.model, facts, source=pair.reference_source)

    @cached_property
    def _facts_of_views(self) -> ModelFacts:
        """What views take and give."""
        return replace(
            self._pair.reference_facts,
            value_max=self.value_max,
            input_dtype="float32",
            output_dtype="float32",
            quantized=False,
        )

    def _measured(
        self, views: Sequence[View], lr: Image, hr: Image
    ) -> tuple[dict[View, float], frozenset[int]]:
        """Run views on a picture, as many at a time as fit into bounded memory.

        Returns:
            Their PSNRs, and numbers of the activations that lie beyond their grids, if the first of
            all views is among them.
        """
        piece = next(self._reference.pieces(lr))
        count = max(1, _MOST_VIEWED_PIXELS // (piece.shape[0] * piece.shape[1]))
        if count >= len(views):
            return self._kept_ready(views).psnrs(lr, hr)
        self._kept.clear()
        found: dict[View, float] = {}
        beyond: frozenset[int] = frozenset()
        for start in range(0, len(views), count):
            psnrs, more = self._ready(views[start : start + count]).psnrs(lr, hr)
            found |= psnrs
            beyond |= more
        return found, beyond

    def _kept_ready(self, views: Sequence[View]) -> ViewBatch:
        """Return views ready to run, kept until others that begin with the same are wanted."""
        kept = self._kept.get(views[0])
        if kept is None or list(kept.outputs) != list(views):
            self._kept.pop(views[0], None)
            kept = self._kept[views[0]] = self._ready(views)
        return kept

    def _ready(self, views: Sequence[View]) -> ViewBatch:
        """Return some of the views ready to run; the first of all watches the activations."""
        graph = self._pair.tested_graph
        watched = sorted(self._rounded) if views[0] == self._views[0] else []
        made = float_views(
            graph,
            views,
            constants=self._constants,
            clipped=self._clipped,
            value_max=self.value_max,
            as_bytes=True,
            also=watched,
        )
        (first, *_) = made.activations
        return ViewBatch(
            dict(zip(views, made.outputs, strict=True)),
            {index: Watched(first[index], grid_ends(graph, index)) for index in watched},
            Runner(made.model, self._facts_of_views, source=self._pair.tested_source),
        )

    @cached_property
    def _constants(self) -> dict[int, NDArray[np.float32]]:
        """The reference's stored values, and bounds of clips, by the tested model's numbers."""
        return {
            index: real_constant(self._pair.reference_graph, of)
            for index, of in self._pair.alignment.constants.items()
        } | self._bounds

    @cached_property
    def _bounds(self) -> dict[int, NDArray[np.float32]]:
        """The reference's bounds of clips by the numbers of the tested model's."""
        return clip_bounds(self._pair)

    @cached_property
    def _clipped(self) -> dict[int, tuple[float, float]]:
        """What is clipped in every view."""
        return left_out_clips(self._pair)
