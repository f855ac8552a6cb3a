"""The main job: find the representative images that make the best integer model."""

import shutil
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import sha256
from math import isfinite
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from qsr.calibration import (
    Race,
    RangeTable,
    Scheme,
    Strategy,
    Study,
    collect,
    search,
    write_litert_json,
)
from qsr.calibration.bootstrap import paired_bootstrap
from qsr.calibration.cluster import ClusterExecutor, cluster
from qsr.calibration.collect import Image, ImageSource
from qsr.calibration.executor import local_processes
from qsr.calibration.journal import check_journal
from qsr.calibration.objective import Objective, objective_named, objective_value
from qsr.calibration.provenance import model_hash
from qsr.calibration.quantize import check_quantizable, picture_ranges
from qsr.calibration.ranges import Reader
from qsr.calibration.scheme import scheme_named
from qsr.calibration.search import study_identity
from qsr.calibration.strategies import strategy_named
from qsr.calibration.strategies.range_statistics import RangeStatistics
from qsr.calibration.strategies.tuning import Tuned
from qsr.calibration.study import best_of
from qsr.data.bundled import write_bundled
from qsr.data.decoded import DecodedPairs, Pairs, SharedPairs, decode, held
from qsr.data.pairs import Pair, find_pairs
from qsr.errors import ImageError, UsageError
from qsr.evaluation import PsnrScore
from qsr.images import image_size
from qsr.jobs.clip_free import Augmented, augment, augmentation_notes
from qsr.jobs.equalization import (
    Equalization,
    another_was_equalized,
    equalization_notes,
    equalized_before,
    equalized_if_better,
    keep_equalization,
    middles,
)
from qsr.jobs.held_out import HeldOut, check_count, divide
from qsr.jobs.images import LEAST_LR_TO_SCORE, check_there, usable
from qsr.jobs.kept_results import KeptResults, inputs_hash
from qsr.jobs.models import load_float, short_name
from qsr.jobs.progress import Progress, silent
from qsr.jobs.refinement import Refining, network_gain, refined
from qsr.jobs.repdata_report import Racing, RepdataReport, model_score, singles_of
from qsr.jobs.run_folder import RUNS, RunFolder
from qsr.jobs.scores import ScoreOrNan, shared_score
from qsr.jobs.screen import screen_for
from qsr.jobs.splitting import STAGE as SPLITTING
from qsr.jobs.splitting import (
    Splitting,
    check_limit,
    check_split,
    keep_splitting,
    split_before,
    split_if_better,
    splitting_notes,
)
from qsr.jobs.steps import EQUALIZED, SPLIT, Judges, Step
from qsr.jobs.workers import checked_workers
from qsr.metrics import RGB_SHAVE
from qsr.tflite.files import write_model
from qsr.tflite.fold import Folded, fold
from qsr.tflite.fold_unclip import without_output_clip
from qsr.tflite.graph import Graph
from qsr.tflite.runtime import ModelFacts, inspect_model


@dataclass(frozen=True)
class _Asked:
    """What the user asked for, checked."""

    model: str
    images: tuple[Path, Path] | None
    confirmation: Path | None
    scheme: Scheme
    reader: Reader
    strategy: Strategy
    objective: Objective
    exact: bool
    equalized: bool
    split_channels: int
    clip_free: bool
    refining: Refining
    keep_clip: bool
    workers: int
    dask: str | None
    skip_bad_images: bool
    on_progress: Progress


def search_repdata(
    model: str = "xcat",
    *,
    candidates: Path | None = None,
    validation: Path | None = None,
    confirmation: Path | None = None,
    out: Path | None = None,
    scheme: str = "uint8",
    strategy: str | Strategy = "linear",
    objective: str = "mean",
    exact: bool = False,
    equalized: bool = True,
    split_channels: int = 0,
    clip_free: bool = False,
    refining: Refining | None = None,
    keep_clip: bool = False,
    pin_io: bool = True,
    reader: Reader = "exact",
    workers: int | None = None,
    dask: str | None = None,
    skip_bad_images: bool = False,
    on_progress: Progress = silent,
) -> RepdataReport:
    """Search candidate images for the representative data that makes the best integer model.

    The float model's ranges are measured once per candidate. Each trial is a real integer model.
    Half of the validation images choose; the winner, and all candidates together, are then measured
    on the other half, and that is what is reported. Killed at any moment and started again with the
    same arguments, it goes on where it was.

    Args:
        model: a name from the zoo, or a ``.tflite``, ``.keras``, ``.h5`` or SavedModel path.
        candidates: folder of photographs or of LR/HR images; None takes the bundled photographs.
        validation: the same; both or neither.
        confirmation: images that confirm; None takes half of ``validation``.
        out: run folder; by default one below ``runs/`` whose name follows from the arguments.
        scheme: name of a quantization scheme.
        strategy: what is tried, or its name.
        objective: what makes a model the best: ``mean``, ``worst`` or ``p5`` of what it loses on
            each image.
        exact: measure every candidate on every image; else those that cannot win are dropped early.
        equalized: rescale the float model's channels first, where that leaves its function alone,
            if its integer model then comes closer to it on the candidates.
        split_channels: then add so many channels at most, copies of those that rounding hurts most
            (:mod:`qsr.quantization.channel_splitting`), if integer models are better for it.
        clip_free: leave out the clip at the network's end, and scale and shift each candidate's
            intensities so that the output still spans exactly black to white
            (:mod:`qsr.quantization.clip_free`).
        refining: what is done to the best that the strategy finds, each step kept if it surely
            helps on the images that choose; None does all that the scheme and the strategy leave to
            do. Ranges are tuned end by end; integer weights are chosen so that each layer gives
            what the float model's does (:mod:`qsr.quantization.weight_rounding`); ranges of least
            squared error are tried (:mod:`qsr.quantization.fitted_ranges`); biases are set to give
            channels the float model's means (:mod:`qsr.quantization.bias_correction`).
        keep_clip: write the integer model as the quantizer made it; else the operators of its clip
            are removed that are proved to copy bytes (:mod:`qsr.tflite.fold`).
        pin_io: give input and output their true grid, whatever the images hold.
        reader: ``exact``, or ``converter`` for the ranges that ``TFLiteConverter`` would record.
        workers: number of processes; as many as there are cores if None.
        dask: address of a Dask scheduler whose workers are used instead.
        skip_bad_images: leave unusable images out instead of stopping.
        on_progress: called while working.

    Returns:
        The report; it is also written to the run folder.

    Raises:
        ImageError: a folder or an image is unusable.
        ModelError: the model is unusable.
        StudyError: the run folder is another study's, damaged, in use, or cannot be written.
        UsageError: the arguments do not fit together.
    """
    started = perf_counter()
    if (candidates is None) != (validation is None):
        raise UsageError("give both --candidates and --validation, or neither")
    if dask is not None and workers is not None:
        raise UsageError("--workers counts processes on this machine; leave it out with --dask")
    if confirmation is not None and validation is None:
        raise UsageError("give --candidates and --validation with --confirmation")
    chosen_strategy = strategy_named(strategy) if isinstance(strategy, str) else strategy
    chosen_scheme = scheme_named(scheme, pin_io=pin_io)
    check_split(split_channels, chosen_scheme)
    if refining is None:
        itself = isinstance(chosen_strategy, RangeStatistics)  # tunes what it finds
        refining = replace(Refining.every(chosen_scheme), tuned=not itself)
    refining.check(chosen_scheme)
    asked = _Asked(
        model,
        None if candidates is None or validation is None else (candidates, validation),
        confirmation,
        scheme=chosen_scheme,
        reader=reader,
        strategy=Tuned(chosen_strategy) if refining.tuned else chosen_strategy,
        objective=objective_named(objective),
        exact=exact,
        equalized=equalized,
        split_channels=split_channels,
        clip_free=clip_free,
        refining=refining,
        keep_clip=keep_clip,
        workers=checked_workers(workers),
        dask=dask,
        skip_bad_images=skip_bad_images,
        on_progress=on_progress,
    )
    check_there([candidates, validation, confirmation])
    folder = RunFolder(out or _default_out(asked))
    with folder.claimed():
        report = _Search(asked, folder).run()
        report = replace(report, seconds=perf_counter() - started)
        folder.write_summary(report)
    return report


@dataclass
class _Search:
    """A search in a folder that is ours."""

    asked: _Asked
    folder: RunFolder
    original: bytes = b""
    skipped: list[str] = field(default_factory=list)
    equalization: Equalization | None = None
    splitting: Splitting | None = None
    augmented: Augmented | None = None
    pictures: tuple[Image, ...] = ()
    stage_seconds: dict[str, float] = field(default_factory=dict)

    def run(self) -> RepdataReport:
        """Do it; the report lacks only the time it took."""
        asked, folder = self.asked, self.folder
        with self._stage("load the model"):
            content = load_float(asked.model)
            if asked.clip_free:
                content = without_output_clip(content, source=asked.model)
            self.original = content
            facts = inspect_model(content, source=asked.model)
            self._check_study(self._known_network(content))
        candidates, validation = asked.images or write_bundled(folder.photographs)
        candidate_pairs = self._pairs(candidates, facts, "check candidates")
        validation_pairs = self._pairs(validation, facts, "check validation images")
        confirmation_pairs: tuple[Pair, ...] = ()
        if asked.confirmation is not None:
            confirmation_pairs = self._pairs(asked.confirmation, facts, "check confirmation images")
        check_count(len(validation_pairs), len(confirmation_pairs) if asked.confirmation else None)
        with self._stage("check that the model can be quantized"):
            check_quantizable(content, asked.scheme, source=asked.model)
        with self._stage("equalize"):
            content = self._equalized(content, candidate_pairs, facts)
        with self._stage(SPLITTING):
            content = self._split(content, candidate_pairs, facts)
            write_model(folder.float_model, content)
        with self._executor() as executor:
            with self._stage("decode validation images"):
                decoded = self._decoded(
                    validation_pairs, folder.decoded, "decode validation images"
                )
                confirming = None
                if confirmation_pairs:
                    confirming = self._decoded(
                        confirmation_pairs,
                        folder.decoded_confirmation,
                        "decode confirmation images",
                    )
            table = self._table(content, candidate_pairs, facts, executor)
            parts = divide(decoded, confirming, self._hashes(table))
            check_journal(
                folder.journal,
                {
                    "candidates": dict(zip(table.images, table.image_hashes, strict=True)),
                    "validation": _measured_on(parts),
                },
            )
            if asked.refining.any or (self.splitting is not None and self.splitting.kept):
                self._middles(candidate_pairs, facts)
            else:
                self.pictures = ()  # what splitting looked at; nothing else is measured on them
            report = self._searched(content, table, facts, parts, executor)
        shutil.rmtree(folder.decoded, ignore_errors=True)
        shutil.rmtree(folder.decoded_confirmation, ignore_errors=True)
        return replace(report, validation=str(validation.resolve()))

    def _known_network(self, content: bytes) -> bytes | None:
        """Return the float model that is searched for, if no work is needed to know it."""
        asked, folder = self.asked, self.folder
        check_limit(folder, asked.split_channels)
        if asked.equalized:
            self.equalization = equalized_before(folder, content)
            if self.equalization is not None:
                content = self.equalization.model
            elif not another_was_equalized(folder, content):
                return None
        if asked.split_channels:
            self.splitting = split_before(folder, content, asked.split_channels)
            return None if self.splitting is None else self.splitting.model
        return content

    def _check_study(self, content: bytes | None) -> None:
        """Check that the folder holds no study of another model, or one done in another way."""
        asked = self.asked
        known = study_identity(
            model="" if content is None else model_hash(content),
            reader=asked.reader,
            scheme=asked.scheme,
            validation={},
        )
        del known["validation"]
        if content is None:
            del known["model"]
        check_journal(self.folder.journal, known)

    def _equalized(self, content: bytes, pairs: Sequence[Pair], facts: ModelFacts) -> bytes:
        """Return the float model that integer models are made of."""
        asked = self.asked
        if not asked.equalized:
            return content
        if self.equalization is None:
            self.equalization = equalized_if_better(
                content,
                pairs,
                asked.scheme,
                least_side=max(facts.smallest_side, LEAST_LR_TO_SCORE),
                source=asked.model,
            )
            if not asked.split_channels:  # else it is another model that is searched for
                self._check_study(self.equalization.model)
            if not asked.split_channels or not self.folder.journal.exists():
                keep_equalization(self.folder, content, self.equalization)
        return self.equalization.model

    def _split(self, content: bytes, pairs: Sequence[Pair], facts: ModelFacts) -> bytes:
        """Return the float model with channels split, if that is asked for and pays."""
        asked = self.asked
        if not asked.split_channels:
            return content
        if self.splitting is None:
            self.splitting = split_if_better(
                content,
                self._middles(pairs, facts),
                asked.scheme,
                asked.split_channels,
                source=asked.model,
                on_progress=asked.on_progress,
            )
            self._check_study(self.splitting.model)
            if self.equalization is not None:
                keep_equalization(self.folder, self.original, self.equalization)
            keep_splitting(self.folder, asked.split_channels, self.splitting)
        return self.splitting.model

    def _middles(self, pairs: Sequence[Pair], facts: ModelFacts) -> tuple[Image, ...]:
        """Return what steps before and after the search measure on; loaded once."""
        if not self.pictures:
            self.pictures = middles(pairs, max(facts.smallest_side, LEAST_LR_TO_SCORE))
        return self.pictures

    def _searched(
        self,
        content: bytes,
        table: RangeTable,
        facts: ModelFacts,
        parts: HeldOut,
        executor: Executor | None,
    ) -> RepdataReport:
        asked, folder = self.asked, self.folder
        choosing, confirming = (
            self._travelling(parts.selection, executor),
            self._travelling(parts.confirmation, executor),
        )
        with self._stage("score the float model"):
            fp32_confirming = self._fp32(confirming, facts, executor)
            # The mean is the largest for the same model, whatever is taken off each image's score.
            reference = None if asked.objective == "mean" else self._fp32(choosing, facts, executor)
        io = asked.scheme.io
        integer_facts = replace(facts, input_dtype=io, output_dtype=io, quantized=True)
        race = None
        if not asked.exact and asked.objective == "mean":
            with self._stage("draw tiles to screen on"):
                screen = screen_for(
                    content,
                    table,
                    asked.scheme,
                    pairs=choosing,
                    hashes=parts.selection_hashes,
                    facts=integer_facts,
                    executor=executor,
                    path=folder.screen,
                    on_progress=lambda done, total: asked.on_progress(
                        "draw tiles to screen on", done, total
                    ),
                )
            race = None if screen is None else Race(screen)
        with self._stage("search"):
            study = search(
                folder.float_model,
                table,
                ScoreOrNan(PsnrScore(choosing, integer_facts)),
                strategy=asked.strategy,
                objective=asked.objective,
                reference=reference,
                race=race,
                confirm=ScoreOrNan(PsnrScore(confirming, integer_facts)),
                scheme=asked.scheme,
                journal=folder.journal,
                validation=_measured_on(parts),
                executor=executor,
                on_progress=asked.on_progress,
            )
        confirmed = study.confirmation
        assert confirmed is not None  # noqa: S101 (asked for)
        kept = KeptResults(
            folder.refinement, inputs_hash(content, self.pictures, _measured_on(parts))
        )
        choosing_score, confirming_score = (
            kept.scored_once(
                what,
                partial(
                    shared_score,
                    score=ScoreOrNan(PsnrScore(images, integer_facts)),
                    images=len(images),
                    executor=executor,
                ),
            )
            for what, images in (("choosing", choosing), ("confirming", confirming))
        )
        value = None
        if reference is not None:
            value = partial(objective_value, asked.objective, reference=reference)
        judges = Judges(choosing_score, confirming_score, value)
        with self._stage("refine"):
            final = refined(
                study,
                content,
                table,
                asked.scheme,
                asked.refining,
                pictures=self.pictures,
                judges=judges,
                kept=kept,
                source=asked.model,
                on_model=lambda done: asked.on_progress("refine", done, asked.refining.models),
            )
            equalized = self._network_gain(EQUALIZED, self.equalization, judges)
            split = self._network_gain(SPLIT, self.splitting, judges)
        changed = final.model != study.model
        scores = tuple(confirming_score(final.model)) if changed else confirmed.best
        chosen = model_score(final.trial, scores, fp32_confirming)
        if changed:
            chosen = replace(
                chosen,
                objective_db=judges.worth(final.model),
                estimated=False,
                refined=final.refined,
            )
        path = folder.integer_model(io)
        written = Folded(final.model, ()) if asked.keep_clip else fold(final.model)
        write_model(path, written.model)
        write_litert_json(
            final.ranges.with_known(self._known_ranges(content)),
            folder.chosen_ranges,
            images=final.trial.images,
        )
        full = {trial.model_hash for trial in study.trials if not trial.dropped}
        return RepdataReport(
            model=asked.model,
            scheme=asked.scheme,
            reader=asked.reader,
            strategy=asked.strategy.name,
            objective=asked.objective,
            candidates=len(table.images),
            trials=len(study.trials) - 1,
            distinct_models=study.distinct_models,
            measured_models=len(full),
            selection_images=len(choosing),
            confirmation_images=len(confirming),
            selection_names=choosing.names,
            confirmation_names=confirming.names,
            validation="",
            fp32_psnr_db=float(np.mean(fp32_confirming)),
            chosen=chosen,
            baseline=model_score(study.baseline, confirmed.baseline, fp32_confirming),
            gain_db=paired_bootstrap(scores, confirmed.baseline),
            tried=model_score(best_of(study.trials[1:]) or study.trials[1]),
            singles=singles_of(study),
            racing=_racing(race, study, len(full)),
            shared_images=parts.shared,
            removed=written.removed,
            equalization=equalized,
            splitting=split,
            refinements=final.steps,
            notes=(
                *_notes(asked, facts, race),
                *equalization_notes(self.equalization),
                *splitting_notes(self.splitting),
                *augmentation_notes(self.augmented),
            ),
            skipped=tuple(self.skipped),
            run_folder=str(folder.path),
            integer_model=str(path),
            resumed_models=study.resumed,
            workers=0 if asked.dask else asked.workers,
            seconds=0.0,
            stage_seconds=dict(self.stage_seconds),
            measured_db=tuple(one.score for one in study.trials[1:] if not one.dropped),
            estimated_db=tuple(
                one.score for one in study.trials[1:] if one.dropped and isfinite(one.score)
            ),
        )

    def _network_gain(
        self, step: str, found: Equalization | Splitting | None, judges: Judges
    ) -> Step | None:
        """Measure what a change of the network gave, where pictures are at hand for it."""
        if found is None or not found.kept or not self.pictures:
            return None
        return network_gain(
            step,
            found.original,
            found.model,
            self.asked.scheme,
            pictures=self.pictures,
            judges=judges,
            source=self.asked.model,
        )

    def _table(
        self,
        content: bytes,
        pairs: Sequence[Pair],
        facts: ModelFacts,
        executor: Executor | None,
    ) -> RangeTable:
        """Measure the ranges of the candidates, which are loaded where they are measured."""
        asked = self.asked
        # Images of one size follow each other: TFLite plans its memory anew for each new size.
        by_size = sorted(pairs, key=lambda pair: image_size(pair.lr_path or pair.hr_path))
        there = [(pair.name, pair.load_lr) for pair in by_size]

        def images() -> Iterable[tuple[str, ImageSource]]:
            whole: Iterable[tuple[str, ImageSource]] = (
                there if asked.dask is None else self._loaded_here(by_size)
            )
            return whole if self.augmented is None else self.augmented.sources(whole)

        if asked.clip_free:
            self.augmented = self._augmented(content, images(), len(pairs), executor)
        with self._stage("measure ranges"):
            table = collect(
                self.folder.float_model,
                images(),
                reader=asked.reader,
                known=self._known_ranges(content),
                least_side=max(facts.smallest_side, LEAST_LR_TO_SCORE),
                augmented=asked.clip_free,
                source=asked.model,
                executor=executor,
                store=self.folder.ranges,
                on_image=lambda done: asked.on_progress("measure ranges", done, len(pairs)),
                on_bad=self._leave_out,
            )
        measured = set(table.images)
        return table.subset(pair.name for pair in pairs if pair.name in measured)

    def _augmented(
        self,
        content: bytes,
        images: Iterable[tuple[str, ImageSource]],
        count: int,
        executor: Executor | None,
    ) -> Augmented:
        """Find what is done to the candidates, for a network without its clip."""
        with self._stage("augment candidates"):
            augmented = augment(
                content,
                images,
                self.folder,
                source=self.asked.model,
                executor=executor,
                on_progress=self.asked.on_progress,
                total=count,
            )
        for name, problem in augmented.problems.items():
            self._leave_out(name, problem)
        return augmented

    def _hashes(self, table: RangeTable) -> tuple[str, ...]:
        """Return the hashes of the candidates' pictures as they are in their files."""
        return table.image_hashes if self.augmented is None else self.augmented.hashes

    def _known_ranges(self, content: bytes) -> dict[str, tuple[float, float]]:
        """Return the ranges that no image is needed for."""
        if not self.asked.scheme.pin_io:
            return {}
        return picture_ranges(Graph(content), source=self.asked.model)

    def _loaded_here(self, pairs: Iterable[Pair]) -> Iterator[tuple[str, Image]]:
        """Load candidates in this process, for a cluster that may not see our files."""
        for pair in pairs:
            try:
                yield pair.name, pair.load_lr()
            except ImageError as error:
                self._leave_out(pair.name, error)

    def _fp32(
        self, pairs: Pairs, facts: ModelFacts, executor: Executor | None
    ) -> tuple[float, ...]:
        """Return the float model's PSNR on each image, in dB."""
        return shared_score(
            self.original,
            score=PsnrScore(pairs, facts),
            images=len(pairs),
            executor=executor,
            on_scored=lambda done: self.asked.on_progress(
                "score the float model", done, len(pairs)
            ),
        )

    def _pairs(self, path: Path, facts: ModelFacts, stage: str) -> tuple[Pair, ...]:
        """Find pairs, and look at their headers; they are decoded only once, later."""
        pairs, skipped = usable(
            find_pairs(path, facts.scale),
            least_lr=max(facts.smallest_side, LEAST_LR_TO_SCORE),
            skip_bad=self.asked.skip_bad_images,
            decoded=False,
            stage=stage,
            on_progress=self.asked.on_progress,
        )
        self.skipped += skipped
        return pairs

    def _decoded(self, pairs: Sequence[Pair], folder: Path, stage: str) -> DecodedPairs:
        return decode(
            pairs,
            folder,
            on_bad=lambda error: self._leave_out("", error),
            on_progress=lambda done, total: self.asked.on_progress(stage, done, total),
        )

    def _leave_out(self, _: str, error: ImageError) -> None:
        """Take note of a bad image; stop if the user did not ask to go on without it."""
        if not self.asked.skip_bad_images:
            raise ImageError(f"{error} (--skip-bad-images goes on without such images)") from error
        self.skipped.append(str(error))

    def _travelling(self, pairs: DecodedPairs, executor: Executor | None) -> Pairs:
        """Return pairs as the workers can read them: a cluster may not see our files."""
        if not isinstance(executor, ClusterExecutor):
            return pairs
        whole = held(pairs)
        numbers = tuple(range(len(whole)))
        return SharedPairs(whole.names, whole.sizes, numbers, executor.share(whole).value)

    def _executor(self) -> AbstractContextManager[Executor | None]:
        if self.asked.dask is not None:
            return cluster(self.asked.dask)
        return local_processes(self.asked.workers)

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        """Take the time of a stage."""
        started = perf_counter()
        yield
        self.stage_seconds[name] = perf_counter() - started


def _measured_on(parts: HeldOut) -> dict[str, Any]:
    """Say what scores are measured on, for the journal."""
    return {
        "metric": f"psnr_rgb_db, {RGB_SHAVE} px shaved",
        "selection": parts.selection_hashes,
        "confirmation": parts.confirmation_hashes,
    }


def _racing(race: Race | None, study: Study, full: int) -> Racing | None:
    if race is None:
        return None
    return Racing(race.screen.rungs[-1], race.error, race.tolerance, study.distinct_models - full)


def _notes(asked: _Asked, facts: ModelFacts, race: Race | None) -> tuple[str, ...]:
    """Say what the user should know of how it was done."""
    notes = []
    if facts.fixed_size is not None:
        height, width = facts.fixed_size
        notes.append(
            f"the model takes {width}x{height} pixels only: larger images are run in overlapping "
            "tiles of that size, smaller ones padded by their edges"
        )
    if not asked.exact and race is None:
        why = (
            "screening on tiles would not be cheaper here"
            if asked.objective == "mean"
            else "only for the mean can any be dropped early"
        )
        notes.append(f"every candidate was measured in full: {why}")
    return tuple(notes)


def _default_out(asked: _Asked) -> Path:
    """Name the run folder after what is measured, so that one search finds another's work."""
    model = asked.model
    described = [model if "/" not in model else str(Path(model).resolve()), repr(asked.scheme)]
    described.append(asked.reader)
    if not asked.equalized:
        described.append("not equalized")
    if asked.split_channels:
        described.append(f"{asked.split_channels} channels added")
    if asked.clip_free:
        described.append("clip-free")
    paths = (*(asked.images or (None, None)), asked.confirmation)
    described += [str(path.resolve()) if path else "bundled" for path in paths]
    digest = sha256("\n".join(described).encode()).hexdigest()[:8]
    return RUNS / f"{short_name(model)}-{asked.scheme.io}-{digest}"
