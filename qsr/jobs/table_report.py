"""What a table reports: each row of the paper beside what was measured here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from qsr.benchmark import Latency
from qsr.models.provenance import Parameters
from qsr.tables.paper import PaperRow

NOT_TRAINED = "not trained"
"""Why a row is missing that nothing was ever trained for."""


@dataclass(frozen=True, kw_only=True)
class ModelPsnr:
    """Mean PSNR of one model on one set, its picture in 8 bits, as ``qsr evaluate`` measures it.

    Attributes:
        rgb_db: over the three channels, one pixel shaved.
        y_db: in luminance, one scale shaved.
    """

    rgb_db: float
    y_db: float


@dataclass(frozen=True, kw_only=True)
class RowScores:
    """Scores of the models of one row on one set.

    Attributes:
        fp32: of the float model.
        uint8: of the integer model with searched representative images; None if there is none.
        naive_uint8: of the integer model as ``TFLiteConverter`` makes it of all candidates, its
            output shown as raw bytes; None if it was not asked for.
        challenge_score: of ``uint8`` in RGB, with the time it takes on this host; None without.
    """

    fp32: ModelPsnr
    uint8: ModelPsnr | None = None
    naive_uint8: ModelPsnr | None = None
    challenge_score: float | None = None

    @property
    def drop_rgb_db(self) -> float | None:
        """How far ``uint8`` lies below ``fp32``."""
        return None if self.uint8 is None else self.fp32.rgb_db - self.uint8.rgb_db

    @property
    def naive_drop_rgb_db(self) -> float | None:
        """How far ``naive_uint8`` lies below ``fp32``."""
        return None if self.naive_uint8 is None else self.fp32.rgb_db - self.naive_uint8.rgb_db


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What was measured of one row; what was not is None.

    Attributes:
        weights: path of the trained network.
        origin: ``run``, trained here; ``shipped`` with qsr; ``formula``, nothing to train.
        steps: training steps of the weights, if it is known.
        parameters: of the network.
        lacks_added_data: whether a stage that adds images to the others was given none, and trained
            without; False for weights that ship, whose provenance names their images.
        missing: why something is missing, in one line; empty if nothing is.
        representative_images: those that the integer model is made with.
        latency: of the integer model.
        scores: per set, by the set's name.
    """

    weights: str | None = None
    origin: Literal["run", "shipped", "formula"] | None = None
    steps: int | None = None
    parameters: Parameters | None = None
    lacks_added_data: bool = False
    missing: str = ""
    representative_images: tuple[str, ...] = ()
    latency: Latency | None = None
    scores: Mapping[str, RowScores] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class TableRow:
    """One row: the paper's and ours.

    Attributes:
        paper: what the paper says.
        ours: what was measured.
    """

    paper: PaperRow
    ours: Measured


@dataclass(frozen=True, kw_only=True)
class ScoredSet:
    """A set of images that all rows were scored on.

    Attributes:
        name: of the benchmark set, if its folder is named so; else of the folder.
        data: its folder.
        images: number of images.
        seen: those of them that are candidates too, or helped to choose, found by their pixels.
        skipped: one line on each image that was left out as unusable.
    """

    name: str
    data: str
    images: int
    seen: tuple[str, ...]
    skipped: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class TableReport:
    """A table of the paper beside ours.

    Attributes:
        number: of the table.
        title: what it shows.
        rows: in the paper's order.
        sets: what was scored on; none if the rows were only trained.
        candidates: folder of the images that may become representative.
        choosing: folder of the images that chose.
        refined: whether integer models were refined after the search.
        lr_size: height and width of the picture that times are for, in pixels.
        threads: of the interpreter, when times were taken.
        host: processor that times were taken on.
        runs: folder of the trainings, and of everything computed from them.
    """

    number: int
    title: str
    rows: tuple[TableRow, ...]
    sets: tuple[ScoredSet, ...]
    candidates: str
    choosing: str
    refined: bool
    lr_size: tuple[int, int]
    threads: int
    host: str
    runs: str

    @property
    def untrained(self) -> tuple[str, ...]:
        """Recipes that there are no weights of."""
        return tuple(
            row.paper.recipe
            for row in self.rows
            if row.paper.recipe is not None and row.ours.weights is None
        )
