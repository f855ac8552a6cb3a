"""What the three searches took and found, as records, and the tables drawn from them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

from converter_search import CandidateTimes, ConverterSearch
from observed import PeakMemory


@dataclass(frozen=True)
class Part:
    """One piece of the measurement, in the order in which they were done.

    Attributes:
        what: whose piece it is.
        candidates: how many candidates it searched.
        seconds: from the start of its process to the end.
        foreign_share: share of the cores' time that others took; 0 on a quiet machine.
        memory: of its processes.
        report: what the search printed as JSON, if it is one of qsr.
    """

    what: str
    candidates: int
    seconds: float
    foreign_share: float
    memory: PeakMemory
    report: Mapping[str, Any]


@dataclass(frozen=True)
class Total:
    """How long a search over all candidates takes.

    Attributes:
        what: whose it is.
        seconds: of the whole search.
        seconds_per_candidate: of one candidate more.
        measured_candidates: how many were really searched; the total is extrapolated if that is not
            all of them.
    """

    what: str
    seconds: float
    seconds_per_candidate: float
    measured_candidates: int


@dataclass(frozen=True)
class Winner:
    """What a search chose.

    Attributes:
        what: whose search.
        candidates: over how many.
        images: the representative data.
        psnr_db: of its integer model, mean RGB PSNR over all validation images, each scored anew by
            TensorFlow's own interpreter, raw bytes in and out.
        item_psnr_db: the same of each validation image.
    """

    what: str
    candidates: int
    images: tuple[str, ...]
    psnr_db: float
    item_psnr_db: tuple[float, ...]


@dataclass(frozen=True)
class Regret:
    """What racing lost against scoring every candidate on everything.

    Attributes:
        exact: what was chosen without racing.
        racing: what was chosen with it.
    """

    exact: Winner
    racing: Winner

    @property
    def regret_db(self) -> float:
        """How far the mean PSNR with racing lies below that without; negative if above."""
        return self.exact.psnr_db - self.racing.psnr_db


@dataclass(frozen=True)
class UnitCosts:
    """What the single steps of the search with the public API take, in seconds.

    Attributes:
        convert: reading and converting with one representative image.
        image_default: the interpreter on one validation image, with its default threads.
        image_threaded: the same with a thread for each core.
        image_psnr: comparing one result.
    """

    convert: float
    image_default: float
    image_threaded: float
    image_psnr: float


@dataclass(frozen=True)
class Comparison:
    """The whole benchmark.

    Attributes:
        cores: that every process was limited to.
        candidates: number of candidate images.
        validation_images: number of validation images.
        mean_lr_pixels: of a validation image.
        versions: of the software.
        processor: its name.
        parts: every piece, in order.
        totals: of the public API with default threads and with one for each core, of qsr without
            and with racing.
        winners: what each of them chose.
        unit_costs: of the public API.
        regrets: of racing.
        converter_candidates: what each candidate of the public API took.
    """

    cores: int
    candidates: int
    validation_images: int
    mean_lr_pixels: float
    versions: dict[str, str]
    processor: str
    parts: tuple[Part, ...]
    totals: tuple[Total, ...]
    winners: tuple[Winner, ...]
    unit_costs: UnitCosts
    regrets: tuple[Regret, ...]
    converter_candidates: tuple[CandidateTimes, ...]


def converter_total(
    what: str, searches: Sequence[ConverterSearch], candidates: int, *, threaded: bool
) -> Total:
    """Extrapolate the public API: its start once, and the mean of a candidate for each of them.

    Args:
        what: what to call it.
        searches: pieces of the search.
        candidates: how many to extrapolate to.
        threaded: take the passes with a thread for each core.
    """
    done = [candidate for search in searches for candidate in search.candidates]
    each = mean(
        candidate.convert_seconds + (candidate.threaded if threaded else candidate.default).seconds
        for candidate in done
    )
    start = mean(search.start_seconds for search in searches)
    return Total(what, start + candidates * each, each, len(done))


def line_total(what: str, few: Part, many: Part, candidates: int) -> Total:
    """Extrapolate along the line through two measured searches.

    Args:
        what: what to call it.
        few: a search over few candidates, which is mostly what does not depend on their number.
        many: one over more.
        candidates: how many to extrapolate to.
    """
    each = (many.seconds - few.seconds) / (many.candidates - few.candidates)
    total = many.seconds + (candidates - many.candidates) * each
    return Total(what, total, each, many.candidates)


def measured_total(part: Part) -> Total:
    """Return a search that was done in full as a total."""
    return Total(part.what, part.seconds, part.seconds / part.candidates, part.candidates)


def converter_winner(what: str, candidates: Sequence[CandidateTimes]) -> Winner:
    """Return the best of the candidates of the public API."""
    best = max(candidates, key=lambda candidate: mean(candidate.default.psnr_db))
    scores = best.default.psnr_db
    return Winner(what, len(candidates), (best.image,), mean(scores), scores)


def unit_costs(candidates: Sequence[CandidateTimes]) -> UnitCosts:
    """Average what candidates took, over candidates and validation images."""
    images = len(candidates[0].default.psnr_db)
    return UnitCosts(
        convert=mean(candidate.convert_seconds for candidate in candidates),
        image_default=mean(one.default.interpreter_seconds for one in candidates) / images,
        image_threaded=mean(one.threaded.interpreter_seconds for one in candidates) / images,
        image_psnr=mean(one.default.psnr_seconds for one in candidates) / images,
    )


def markdown(comparison: Comparison) -> str:
    """Draw the tables of a benchmark, in Markdown."""
    tables = (
        _headline(comparison),
        _totals(comparison),
        _regrets(comparison),
        _units(comparison),
        _parts(comparison),
        _searches(comparison),
        *(_stages(part) for part in comparison.parts if part.report),
    )
    return "\n\n".join(tables) + "\n"


def _headline(comparison: Comparison) -> str:
    default, threaded, _, racing = comparison.totals
    regrets = ", ".join(
        f"{regret.regret_db:+.5f} dB on {regret.exact.candidates} candidates"
        for regret in comparison.regrets
    )
    return (
        f"{comparison.candidates} candidates x {comparison.validation_images} validation images of "
        f"{comparison.mean_lr_pixels:.0f} LR pixels, {comparison.cores} cores "
        f"({comparison.processor}): qsr is {default.seconds / racing.seconds:.1f} times as fast as "
        f"{default.what}, and {threaded.seconds / racing.seconds:.1f} times as fast as "
        f"{threaded.what}. Regret of racing: {regrets}."
    )


def _totals(comparison: Comparison) -> str:
    racing = comparison.totals[-1]
    rows = []
    for total, winner in zip(comparison.totals, comparison.winners, strict=True):
        measured = total.measured_candidates == comparison.candidates
        source = "measured" if measured else f"extrapolated from {total.measured_candidates}"
        rows.append(
            (
                total.what,
                f"{total.seconds_per_candidate:.3f}",
                f"{total.seconds:.0f} ({source})",
                f"{total.seconds / racing.seconds:.2f}",
                f"{winner.psnr_db:.4f} (of {winner.candidates})",
            )
        )
    heads = ("search", "s per candidate", "s in all", "over qsr", "PSNR of its winner (dB)")
    return _table(heads, rows)


def _regrets(comparison: Comparison) -> str:
    rows = [
        (
            str(regret.exact.candidates),
            _named(regret.exact),
            _named(regret.racing),
            f"{regret.exact.psnr_db:.5f}",
            f"{regret.racing.psnr_db:.5f}",
            f"{regret.regret_db:+.5f}",
        )
        for regret in comparison.regrets
    ]
    heads = ("candidates", "exact chose", "racing chose", "exact (dB)", "racing (dB)", "regret")
    return _table(heads, rows)


def _named(winner: Winner) -> str:
    few = 3
    more = len(winner.images) - few
    return ", ".join(winner.images[:few]) + (f" and {more} more" if more > 0 else "")


def _units(comparison: Comparison) -> str:
    costs = comparison.unit_costs
    rows = (
        ("read and convert with one image", f"{costs.convert:.3f}"),
        ("interpreter, one validation image, default threads", f"{costs.image_default:.4f}"),
        (
            f"interpreter, one validation image, {comparison.cores} threads",
            f"{costs.image_threaded:.4f}",
        ),
        ("PSNR of one validation image", f"{costs.image_psnr:.4f}"),
    )
    return _table(("step of the public API", "s"), rows)


def _parts(comparison: Comparison) -> str:
    rows = [
        (
            part.what,
            str(part.candidates),
            f"{part.seconds:.1f}",
            f"{100 * part.foreign_share:.0f}%",
            f"{part.memory.main_mib:.0f}",
            f"{part.memory.worker_mib:.0f} ({part.memory.worker_private_mib:.0f})",
            f"{part.memory.all_private_mib:.0f}",
        )
        for part in comparison.parts
    ]
    heads = (
        *("in this order", "candidates", "s", "cores taken by others", "main process, peak MiB"),
        *("worker, peak MiB (private)", "all, private, peak MiB"),
    )
    return _table(heads, rows)


def _searches(comparison: Comparison) -> str:
    facts = ("distinct_models", "measured_models", "selection_images", "confirmation_images")
    rows = [
        (part.what, str(part.candidates), *(str(part.report[fact]) for fact in facts))
        for part in comparison.parts
        if part.report
    ]
    heads = (
        *("search", "candidates", "distinct models", "measured on every selection image"),
        *("selection images", "confirmation images"),
    )
    return _table(heads, rows)


def _stages(part: Part) -> str:
    stages: Mapping[str, float] = part.report["stage_seconds"]
    rows = [(stage, f"{seconds:.1f}") for stage, seconds in stages.items()]
    rows.append(("outside of these", f"{part.seconds - sum(stages.values()):.1f}"))
    return _table((f"{part.what}, {part.candidates} candidates: stage", "s"), rows)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Draw a table whose first column is text."""
    lines = [heads, ["---", *("---:" for _ in heads[1:])], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
