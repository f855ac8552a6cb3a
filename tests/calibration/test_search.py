"""Searches: what is measured, what is reported, resumed, on any number of workers, after a kill."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, replace
from math import nan
from pathlib import Path

import numpy as np
import psutil
import pytest
import search_script
import skimage.data
from ranges_as_model import (
    FLOAT_MODEL,
    as_model,
    ends_of,
    images_of,
    noisy_table,
    number_of,
    table_of,
    table_of_sets,
)
from search_script import HashScore, summary

from qsr import calibration as cal
from qsr.calibration.executor import local_processes
from qsr.calibration.objective import objective_value
from qsr.calibration.race import Race
from qsr.calibration.strategies.base import Batch
from qsr.calibration.study import Trial, best_of
from qsr.errors import ModelError, StudyError, UsageError

NAMES = tuple(f"crop{index}" for index in range(8))
MODELS = len(NAMES)
"""Of a linear search: all crops together are the brightest one alone."""


@pytest.fixture(scope="module")
def table(espcn):
    """Ranges of eight crops of one photograph, each a little brighter than the one before."""
    crop = skimage.data.chelsea()[100:120, 100:124]
    return cal.collect(espcn, {name: crop // (9 - index) for index, name in enumerate(NAMES)})


@pytest.fixture
def calls(tmp_path):
    """Where scores leave their calls."""
    folder = tmp_path / "calls"
    folder.mkdir()
    return folder


@pytest.fixture
def score(calls):
    """A score that follows from the model's bytes, and counts its calls."""
    return HashScore(calls)


@pytest.fixture
def journal(tmp_path):
    """Where the journal is kept."""
    return tmp_path / "study.jsonl"


@pytest.fixture
def models_are_ranges(monkeypatch):
    """Have models made of their ranges."""
    monkeypatch.setattr("qsr.calibration.bench.quantize", as_model)


def test_best_of():
    """The best has the highest score of those measured in full, and no estimate beats it."""
    first, second, third, estimate, broken = (
        Trial(cal.Proposal((name,)), score, items, name)
        for name, score, items in (
            ("a", 1.0, (1.0,)),
            ("b", 2.0, (2.0,)),
            ("c", 2.0, (2.0,)),
            ("d", 9.0, ()),
            ("e", nan, (nan,)),
        )
    )
    assert best_of([broken, first, estimate, second, third]) is second
    assert best_of([estimate, broken]) is None
    assert best_of([]) is None


class TestReal:
    """Searches that quantize a network."""

    def test_linear(self, espcn, table, score):
        """Every image is tried alone, and all together; the best mean is handed over."""
        study = cal.search(espcn, table, score)
        sets = [NAMES, *((name,) for name in NAMES)]
        models = [cal.quantize(espcn, table.merged(images)) for images in sets]
        assert [trial.images for trial in study.trials] == sets
        for trial, model in zip(study.trials, models, strict=True):
            digest = hashlib.sha256(model).digest()
            assert trial.model_hash == digest.hex()
            assert trial.item_scores == tuple(digest[:3])
            assert trial.score == pytest.approx(np.mean(list(digest[:3])))
        best = max(range(len(sets)), key=lambda index: sum(study.trials[index].item_scores))
        assert study.best == study.trials[best]
        assert study.model == models[best]
        assert study.baseline == study.trials[0]
        assert study.resumed == 0
        assert study.confirmation is None

    def test_baseline_and_scheme(self, espcn, table, score):
        """The baseline may be other images, and every model follows the scheme."""
        scheme = cal.Scheme(io="int8", per_channel=False)
        study = cal.search(espcn, table, score, baseline=[NAMES[3], NAMES[1]], scheme=scheme)
        assert study.baseline.images == (NAMES[3], NAMES[1])
        together = cal.quantize(espcn, table.merged([NAMES[1], NAMES[3]]), scheme)
        assert study.baseline.model_hash == hashlib.sha256(together).hexdigest()
        alone = cal.quantize(espcn, table.merged([NAMES[0]]), scheme)
        assert study.trials[1].model_hash == hashlib.sha256(alone).hexdigest()

    def test_identical_models_are_one(self, espcn, score, calls):
        """Images that give the same quantization parameters are measured as one model."""
        dark = skimage.data.chelsea()[100:120, 100:124] // 8
        bright = skimage.data.coffee()[100:120, 100:124]
        bright[0, 0], bright[0, 1] = 0, 255
        table = cal.collect(espcn, {"dark": dark, "bright": bright, "again": bright.copy()})
        study = cal.search(espcn, table, score, strategy=cal.RandomSubsets(count=7))
        made = {cal.quantize(espcn, table.merged(trial.images)) for trial in study.trials}
        assert len(study.trials) == 8
        assert study.distinct_models == len(made) < 7
        assert sorted(called(calls)) == sorted(hashlib.sha256(model).hexdigest() for model in made)

    def test_another_model(self, xcat, table, score):
        """A table that was measured on another model is refused."""
        with pytest.raises(StudyError, match="measured on another model"):
            cal.search(xcat, table, score)

    def test_ranges_that_are_missing(self, espcn, table, score):
        """If nothing can be quantized, the error is the quantizer's own."""
        with pytest.raises(ModelError, match=r"no range for [0-9]+ tensors?"):
            cal.search(espcn, table.columns(table.tensors[:1]), score)


@pytest.mark.usefixtures("models_are_ranges")
class TestMeasured:
    """What is measured and what is made of it."""

    def test_equal_scores(self):
        """Of equal scores the first wins, and the baseline is the first of all."""
        study = cal.search(FLOAT_MODEL, noisy_table(5, 2), lambda _: [0.0, 1.0])
        assert study.best == study.baseline == study.trials[0]

    def test_score_that_is_no_number(self):
        """A score that is NaN never wins over a number."""
        table = table_of_sets(8)
        values = {"a": nan, "c": 5.0, "abcdefgh": nan}
        study = cal.search(
            FLOAT_MODEL, table, lambda model: [values.get(images_of(model, table), 3.0)]
        )
        assert study.best.images == ("c",)

    def test_no_score_is_a_number(self):
        """If no model can be run, the search says so."""
        with pytest.raises(ModelError, match="none of 9 trials gives an integer model that can be"):
            cal.search(FLOAT_MODEL, noisy_table(8, 2), lambda _: [nan])

    def test_score_of_no_items(self):
        """A score without a number is refused in words."""
        with pytest.raises(UsageError, match="one per validation item"):
            cal.search(FLOAT_MODEL, noisy_table(2, 2), lambda _: [])

    def test_score_of_other_items(self):
        """A score that gives a model fewer numbers than another is refused, and not kept."""
        counts = iter([3, 3, 2])
        with pytest.raises(UsageError, match="2 numbers for a model and 3 for another"):
            cal.search(FLOAT_MODEL, noisy_table(4, 2), lambda _: [1.0] * next(counts))

    @pytest.mark.parametrize("objective", ["mean", "worst", "p5"])
    def test_objective(self, objective):
        """The best is the best by the objective."""
        table = noisy_table(30, 2)

        def score(model):
            return [number_of(model, str(item)) for item in range(5)]

        study = cal.search(FLOAT_MODEL, table, score, objective=objective)
        for trial in study.trials:
            assert trial.score == objective_value(objective, trial.item_scores)
        assert study.best == max(study.trials, key=lambda trial: trial.score)

    def test_objectives_differ(self):
        """A model of a good mean and a bad worst item wins by one objective and not by another."""
        table = table_of_sets(2)
        items = {"a": [0.0, 10.0], "b": [4.0, 4.0], "ab": [1.0, 1.0]}
        for objective, best in (("mean", "a"), ("worst", "b")):
            study = cal.search(
                FLOAT_MODEL,
                table,
                lambda model: items[images_of(model, table)],
                objective=objective,
            )
            assert study.best.images == (best,)

    def test_unknown_objective(self):
        """An unknown objective is refused before anything is measured, with the valid ones."""
        calls = []
        with pytest.raises(UsageError, match="give one of: mean, worst, p5"):
            cal.search(FLOAT_MODEL, noisy_table(2, 2), calls.append, objective="median")
        assert calls == []

    def test_unknown_baseline(self):
        """A baseline of images that are no candidates is refused before anything is measured."""
        calls = []
        with pytest.raises(UsageError, match="no ranges of an image named 'z'"):
            cal.search(FLOAT_MODEL, noisy_table(2, 2), calls.append, baseline=["z"])
        assert calls == []

    def test_no_candidates(self):
        """A table without images is refused in words, by every strategy."""
        empty = replace(
            noisy_table(1, 2),
            images=(),
            image_hashes=(),
            minimum=np.empty((0, 2), np.float32),
            maximum=np.empty((0, 2), np.float32),
        )
        for strategy in cal.strategies.STRATEGIES.values():
            with pytest.raises(UsageError, match=r"at least one image|there are 0"):
                cal.search(FLOAT_MODEL, empty, lambda _: [1.0], strategy=strategy())

    def test_each_model_once(self):
        """Candidates that are alike and proposals that come again are measured once."""
        few = noisy_table(6, 2)
        table = table_of(np.tile(few.minimum, (3, 1)), np.tile(few.maximum, (3, 1)))
        scored = Counter()
        study = cal.search(
            FLOAT_MODEL,
            table,
            lambda model: scored.update([model]) or [number_of(model)],
            strategy=Several([[(name,) for name in table.images], [("a", "b")], [("b", "a")]]),
        )
        assert len(study.trials) == 1 + 18 + 2
        assert study.distinct_models == len(scored) == 8
        assert set(scored.values()) == {1}

    def test_told_in_order(self):
        """A strategy gets a batch's trials in the order of its proposals, with their scores."""
        table = noisy_table(5, 2)
        strategy = Several([[("c",), ("a",), ("c", "a")], [("b",)]])
        study = cal.search(FLOAT_MODEL, table, lambda model: [number_of(model)], strategy=strategy)
        told = [[trial.images for trial in trials] for trials in strategy.told]
        assert told == [[("c",), ("a",), ("c", "a")], [("b",)]]
        assert tuple(trial for trials in strategy.told for trial in trials) == study.trials[1:]

    def test_progress(self):
        """Progress rises to the number asked for, within each thing that is done."""
        seen = []
        cal.search(
            FLOAT_MODEL,
            noisy_table(8, 2),
            lambda model: [number_of(model)],
            confirm=lambda model: [number_of(model), 1.0],
            on_progress=lambda *progress: seen.append(progress),
        )
        scoring = [(done, total) for stage, done, total in seen if stage == "score (selection)"]
        assert scoring == [*((count, 8) for count in range(1, 9)), (1, 1)]
        assert [done for stage, *done in seen if stage == "score (confirmation)"][-1] == [2, 2]

    def test_few_models_in_memory(self, monkeypatch):
        """However many models are made, a few at most are held at a time."""
        alive, most = [0], [0]

        class Held(bytes):
            __slots__ = ()

            def __del__(self):
                alive[0] -= 1

        def quantize(*parts):
            alive[0] += 1
            return Held(as_model(*parts))

        def score(model):
            most[0] = max(most[0], alive[0])
            return [number_of(model)]

        monkeypatch.setattr("qsr.calibration.bench.quantize", quantize)
        table = noisy_table(60, 2)
        cal.search(FLOAT_MODEL, table, score, race=Race(OneItem()))
        assert 1 <= most[0] <= 4


@pytest.mark.usefixtures("models_are_ranges")
class TestWithoutModel:
    """Proposals that TFLite refuses."""

    @pytest.fixture
    def table(self):
        """Ranges that tell which images were merged."""
        return table_of_sets(4)

    @pytest.fixture
    def refused(self, monkeypatch, table):
        """A function that has the quantizer refuse some sets, and tells what it was asked."""

        def refuse(condition):
            asked = []

            def quantize(*parts):
                images = images_of(as_model(*parts), table)
                asked.append(images)
                if condition(images):
                    raise ModelError(f"no model of {images}")
                return as_model(*parts)

            monkeypatch.setattr("qsr.calibration.bench.quantize", quantize)
            return asked

        return refuse

    def search(self, table, **options):
        """Search by the number of images."""
        return cal.search(
            FLOAT_MODEL, table, lambda model: [-len(images_of(model, table)), 0.5], **options
        )

    @pytest.mark.parametrize("race", [None, "race"])
    def test_one(self, table, refused, journal, race):
        """One that cannot be quantized is a trial without score or model, and others win."""
        asked = refused(lambda images: images == "b")
        options = {"journal": journal, "race": race and Race(OneItem())}
        study = self.search(table, **options)
        trial = study.trials[2]
        assert (trial.images, trial.model_hash, trial.item_scores) == (("b",), "", ())
        assert np.isnan(trial.score)
        assert trial.dropped
        assert study.best.images == ("a",)
        assert study.distinct_models == 4
        assert asked.count("b") == 1
        again = self.search(table, **options)
        assert repr(again.trials) == repr(study.trials)
        assert again.resumed == sum(bool(trial.item_scores) for trial in study.trials)

    def test_baseline(self, table, refused):
        """A baseline that cannot be quantized is beaten, by how much nobody knows."""
        refused(lambda images: len(images) == 4)
        confirmed = []

        def confirm(model):
            confirmed.append(images_of(model, table))
            return [1.0, 2.0]

        study = self.search(table, confirm=confirm)
        assert study.best.images == ("a",)
        assert study.baseline.model_hash == ""
        assert confirmed == ["a"]
        assert study.confirmation.best == (1.0, 2.0)
        assert np.isnan(study.confirmation.baseline).all()
        assert np.isnan(study.confirmation.gain.mean)
        assert not study.confirmation.gain.excludes_zero

    def test_all(self, table, refused):
        """If none can be quantized, the search fails with what was wrong with the first."""
        refused(lambda _: True)
        with pytest.raises(ModelError, match=r"^no model of a$"):
            self.search(table)

    @pytest.mark.parametrize("strategy", [cal.Greedy(), cal.RangeStatistics()])
    def test_in_the_middle(self, table, refused, strategy):
        """Strategies go on where some of what they ask for cannot be quantized."""
        refused(lambda images: "a" in images and len(images) < 4)
        assert np.isfinite(self.search(table, strategy=strategy).best.score)


@pytest.mark.usefixtures("models_are_ranges")
class TestConfirmation:
    """What the winner is worth on items that chose nothing."""

    def test_by_hand(self):
        """Winner and baseline are measured, nothing else is, and the gain is their difference."""
        table = table_of_sets(3)
        items = {"b": [3.0, 5.0, 10.0], "abc": [2.0, 4.5, 9.0]}
        seen = []

        def confirm(model):
            seen.append(images_of(model, table))
            return items[seen[-1]]

        study = cal.search(
            FLOAT_MODEL,
            table,
            lambda model: [float(images_of(model, table) == "b")],
            confirm=confirm,
        )
        assert sorted(seen) == ["abc", "b"]
        assert study.best.images == ("b",)
        assert study.best.item_scores == (1.0,)
        assert study.confirmation.best == (3.0, 5.0, 10.0)
        assert study.confirmation.baseline == (2.0, 4.5, 9.0)
        assert study.confirmation.gain.mean == pytest.approx(2.5 / 3)
        assert study.confirmation.gain.items == 3
        assert 0.5 <= study.confirmation.gain.low <= study.confirmation.gain.high <= 1.0

    def test_baseline_wins(self):
        """If nothing beats the baseline, it is measured once and gains nothing."""
        seen = []
        study = cal.search(
            FLOAT_MODEL,
            noisy_table(3, 2),
            lambda _: [1.0],
            confirm=lambda model: seen.append(model) or [1.0, 2.0],
        )
        assert study.best == study.baseline
        assert len(seen) == 1
        assert (study.confirmation.gain.low, study.confirmation.gain.high) == (0.0, 0.0)

    def test_resumed(self, journal):
        """What was confirmed is not measured again, and is never taken for what chooses."""
        seen = []

        def search(strategy):
            return cal.search(
                FLOAT_MODEL,
                noisy_table(5, 2),
                lambda model: [number_of(model)],
                confirm=lambda model: seen.append(model) or [9.0, number_of(model, "x")],
                strategy=strategy,
                journal=journal,
            )

        first = search(cal.Linear())
        assert len(seen) == 2
        assert search(cal.Linear()).confirmation == first.confirmation
        assert len(seen) == 2
        assert search(cal.Linear()).resumed == len(first.trials)
        assert max(trial.score for trial in first.trials) < 1

    def test_no_winners_curse(self):
        """Where models differ by chance alone, what chose promises a gain and confirming none."""
        promised, confirmed, certain = [], [], 0
        for seed in range(40):
            table = noisy_table(100, 2, seed=seed)
            study = cal.search(
                FLOAT_MODEL, table, Chance(f"choose {seed}"), confirm=Chance(f"confirm {seed}")
            )
            promised.append(study.best.score - study.baseline.score)
            confirmed.append(study.confirmation.gain.mean)
            certain += study.confirmation.gain.excludes_zero
        expected = Chance.SPREAD * np.sqrt(2 / Chance.ITEMS)  # of a difference of two means
        assert min(promised) > 0
        assert np.mean(promised) > 1.5 * expected
        assert abs(np.mean(confirmed)) < 3 * expected / np.sqrt(40)
        assert certain <= 7  # five in a hundred, and what few items and sampling add

    def test_a_real_gain(self):
        """Where one model is better by more than chance, confirming says so."""
        table = table_of_sets(30)

        class Better(Chance):
            def __call__(self, model):
                gain = 0.5 if images_of(model, table) == "image0007" else 0.0
                return [value + gain for value in super().__call__(model)]

        study = cal.search(FLOAT_MODEL, table, Better("choose"), confirm=Better("confirm"))
        assert study.best.images == ("image0007",)
        assert study.confirmation.gain.excludes_zero
        assert study.confirmation.gain.low < 0.5 < study.confirmation.gain.high


class TestResume:
    """Searches with a journal."""

    @pytest.mark.parametrize("stop_after", [1, 5])
    def test_interrupted(self, *, espcn, table, score, calls, journal, stop_after):
        """A stopped search goes on where it was and ends as if it had never been stopped."""
        whole = cal.search(espcn, table, score)
        clear(calls)
        told = []

        def stop(*progress):
            told.append(progress)
            if len(told) == stop_after:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            cal.search(espcn, table, score, journal=journal, on_progress=stop)
        resumed = cal.search(espcn, table, score, journal=journal)
        assert resumed.resumed == stop_after
        assert summary(resumed) == summary(whole)
        assert sorted(called(calls)) == sorted({trial.model_hash for trial in whole.trials})
        assert_each_model_once(journal)

    def test_finished(self, espcn, table, score, calls, journal):
        """A finished search scores nothing again and gives the same study."""
        whole = cal.search(espcn, table, score, journal=str(journal))
        clear(calls)
        again = cal.search(espcn, table, score, journal=journal)
        assert called(calls) == []
        assert again.resumed == MODELS
        assert summary(again) == summary(whole)

    def test_torn(self, espcn, table, score, calls, journal):
        """A measurement torn by a kill is made again, and it alone."""
        whole = cal.search(espcn, table, score, journal=journal)
        clear(calls)
        content = journal.read_bytes()
        journal.write_bytes(content[: content.rindex(b'"scores"')])
        resumed = cal.search(espcn, table, score, journal=journal)
        assert called(calls) == [whole.trials[-1].model_hash]
        assert summary(resumed) == summary(whole)
        assert_each_model_once(journal)

    def test_quantized_but_not_scored(self, espcn, table, score, calls, journal):
        """A model that the journal knows of, but no score of it, is made again and scored."""
        whole = cal.search(espcn, table, score, journal=journal)
        clear(calls)
        lines = journal.read_text().splitlines(keepends=True)
        journal.write_text("".join(line for line in lines if '"scores"' not in line))
        resumed = cal.search(espcn, table, score, journal=journal)
        assert resumed.resumed == 0
        assert len(called(calls)) == MODELS
        assert summary(resumed) == summary(whole)

    def test_scored_but_not_known_of(self, espcn, table, score, calls, journal):
        """A score is of a model, so it counts though the line on who asked for it is missing."""
        whole = cal.search(espcn, table, score, journal=journal)
        clear(calls)
        lines = journal.read_text().splitlines(keepends=True)
        journal.write_text("".join(line for line in lines if '"proposal"' not in line))
        assert summary(cal.search(espcn, table, score, journal=journal)) == summary(whole)
        assert called(calls) == []

    def test_known_ranges_are_not_quantized_again(self, monkeypatch, journal):
        """What the journal knows, in whatever words it is asked for again, is not quantized."""
        made = []

        def quantize(*parts):
            made.append(as_model(*parts))
            return made[-1]

        monkeypatch.setattr("qsr.calibration.bench.quantize", quantize)
        table = noisy_table(3, 2)

        def search(subsets):
            made.clear()
            return cal.search(
                FLOAT_MODEL,
                table,
                lambda model: [number_of(model)],
                strategy=Several([subsets]),
                journal=journal,
            )

        search([("a", "b"), ("b", "c")])
        size = journal.stat().st_size
        study = search([("b", "a"), ("c", "b", "c"), ("c", "a", "b")])
        assert made == [study.model]
        assert journal.stat().st_size == size

    def test_another_quantizer(self, monkeypatch, journal):
        """A journal begun where TFLite made other models is refused when one is made anew."""
        monkeypatch.setattr("qsr.calibration.bench.quantize", as_model)
        table = noisy_table(3, 2)
        cal.search(FLOAT_MODEL, table, lambda model: [number_of(model)], journal=journal)
        monkeypatch.setattr(
            "qsr.calibration.bench.quantize", lambda *parts: as_model(*parts) + b"otherwise"
        )
        with pytest.raises(StudyError, match="another integer model here"):
            cal.search(FLOAT_MODEL, table, lambda model: [number_of(model)], journal=journal)

    def test_any_strategy_and_objective(self, espcn, table, score, calls, journal):
        """What one strategy and objective had measured serves the others."""
        cal.search(espcn, table, score, journal=journal)
        clear(calls)
        study = cal.search(
            espcn, table, score, strategy=cal.AllImages(), objective="worst", journal=journal
        )
        assert called(calls) == []
        assert study.best.score == min(study.best.item_scores)
        assert study.resumed == MODELS

    @pytest.mark.parametrize(
        ("change", "named"),
        [
            ({"scheme": cal.Scheme(io="int8")}, "other scheme"),
            ({"validation": {"metric": "ssim"}}, "validation: .*psnr.* there, .*ssim.* here"),
        ],
    )
    def test_another_study(self, *, espcn, table, score, calls, journal, change, named):
        """A journal of other work is refused with what differs, before anything is scored."""
        known = {"validation": {"metric": "psnr"}, "journal": journal}
        cal.search(espcn, table, score, **known)
        clear(calls)
        with pytest.raises(StudyError, match=named):
            cal.search(espcn, table, score, **{**known, **change})
        assert called(calls) == []

    def test_other_candidates(self, espcn, table, score, journal):
        """A journal of other images, or of other pixels of the same names, is refused."""
        cal.search(espcn, table, score, journal=journal)
        with pytest.raises(StudyError, match=r"study .other candidates.;"):
            cal.search(espcn, table.subset(NAMES[:4]), score, journal=journal)
        hashes = ("0" * 64, *table.image_hashes[1:])
        changed = replace(table, image_hashes=hashes)
        with pytest.raises(StudyError, match=r"study .other candidates.;"):
            cal.search(espcn, changed, score, journal=journal)

    @pytest.mark.usefixtures("models_are_ranges")
    def test_other_versions(self, monkeypatch, journal):
        """A journal of other versions is refused."""
        table = noisy_table(2, 2)
        cal.search(FLOAT_MODEL, table, lambda _: [1.0], journal=journal)
        module = sys.modules["qsr.calibration.search"]  # the package has a function of that name
        monkeypatch.setattr(module, "versions", lambda: {"numpy": "9.9"})
        with pytest.raises(StudyError, match="other versions"):
            cal.search(FLOAT_MODEL, table, lambda _: [1.0], journal=journal)

    def test_two_at_once(self, espcn, table, score, journal):
        """A second search on an open journal is refused."""

        def search_again(*_progress):
            cal.search(espcn, table, score, journal=journal)

        with pytest.raises(StudyError, match="another process is running this search"):
            cal.search(espcn, table, score, journal=journal, on_progress=search_again)


class TestWorkers:
    """Searches on processes."""

    def test_one_is_this_process(self):
        """One worker is no other process at all."""
        with local_processes(1) as executor:
            assert executor is None

    def test_same_study(self, espcn, table, calls, journal):
        """Two processes that finish in another order give the study of one."""
        whole = cal.search(espcn, table, HashScore(calls))
        clear(calls)
        with local_processes(2) as executor:
            study = cal.search(
                espcn, table, HashScore(calls, seconds=0.3), executor=executor, journal=journal
            )
        assert summary(study) == summary(whole)
        assert len(processes(calls)) == 2
        assert os.getpid() not in processes(calls)
        assert_each_model_once(journal)

    def test_killed(self, espcn, table, calls, journal):
        """A killed worker ends the search in one line; what was finished is kept and not redone."""
        whole = cal.search(espcn, table, HashScore(calls))
        clear(calls)
        with (
            pytest.raises(StudyError, match="a worker process was killed") as error,
            local_processes(2) as executor,
        ):
            cal.search(espcn, table, DeadlyScore(calls, 5), executor=executor, journal=journal)
        assert "\n" not in str(error.value)
        assert_gone(processes(calls))
        kept = scored_lines(journal)
        assert 1 <= kept < MODELS
        clear(calls)
        resumed = cal.search(espcn, table, HashScore(calls), journal=journal)
        assert resumed.resumed == kept
        assert len(called(calls)) == MODELS - kept
        assert summary(resumed) == summary(whole)
        assert_each_model_once(journal)

    def test_error_of_a_score(self, espcn, table, calls, journal):
        """What a score raises in a worker reaches the caller, and finished trials are kept."""
        with (
            pytest.raises(ModelError, match="cannot be scored"),
            local_processes(2) as executor,
        ):
            cal.search(espcn, table, FailingScore(calls, 5), executor=executor, journal=journal)
        assert_gone(processes(calls))
        assert scored_lines(journal) >= 1

    def test_ctrl_c(self):
        """A worker leaves Ctrl-C to the process that started it."""
        with local_processes(2) as executor:
            worker = executor.submit(interrupt_itself).result()
            assert worker != os.getpid()
            assert executor.submit(abs, -1).result() == 1


class TestKilled:
    """A search killed with no chance to clean up."""

    def test_killed_and_started_again(self, espcn, table, calls, journal, tmp_path):
        """A killed search leaves no process, and started again ends as if never killed."""
        whole = cal.search(espcn, table, HashScore(calls))
        clear(calls)
        model, stored = tmp_path / "espcn.tflite", tmp_path / "ranges.npz"
        model.write_bytes(espcn)
        table.save(stored)
        command = [sys.executable, search_script.__file__, model, stored, journal, calls]

        search = subprocess.Popen([*command, "1.0", "2"])  # noqa: S603 (our own script)
        wait_until(lambda: journal.exists() and scored_lines(journal) >= 3)
        workers = processes(calls)
        assert len(workers) == 2
        assert all(alive(number) for number in (search.pid, *workers))
        search.kill()
        assert search.wait() == -signal.SIGKILL
        assert_gone(workers)
        finished = scored_lines(journal)
        assert 3 <= finished < MODELS

        clear(calls)
        again = subprocess.run(  # noqa: S603 (our own script)
            [*command, "0", "2"], check=True, capture_output=True
        )
        assert json.loads(again.stdout) == json.loads(json.dumps(summary(whole)))
        assert len(called(calls)) == MODELS - finished
        assert_each_model_once(journal)


class Several:
    """A strategy of batches made beforehand; remembers what it is told."""

    name = "several"

    def __init__(self, batches):
        self.batches, self.told = batches, []

    def propose(self, table):
        """Ask for one batch after the other."""
        del table
        for subsets in self.batches:
            self.told.append((yield Batch([cal.Proposal(images) for images in subsets])))


class Chance:
    """A score in which all models are alike but for noise of their own on each item."""

    SPREAD = 0.2
    ITEMS = 25

    def __init__(self, name):
        self.name = name

    def __call__(self, model):
        """Return what makes an item hard, and the model's noise on it."""
        hardness = np.random.default_rng(len(self.name)).normal(30, 5, self.ITEMS)
        seed = int(number_of(model, self.name) * 2**32)
        noise = np.random.default_rng(seed).normal(0, self.SPREAD, self.ITEMS)
        return (hardness + noise).tolist()


class OneItem:
    """A screen whose items tell narrow ranges from wide ones."""

    identity = "one item"
    rungs = (2,)

    def __call__(self, model, start, stop):
        """Return minus the width of all ranges, with an item's own noise."""
        width = float(np.diff(ends_of(model), axis=0).sum())
        return [item / 100 - width for item in range(start, stop)]


@dataclass(frozen=True)
class DeadlyScore:
    """HashScore, but its process is killed once so many calls were made by all processes."""

    folder: Path
    calls: int

    def __call__(self, model):
        """Return what HashScore does, or die."""
        if len(called(self.folder)) >= self.calls:
            os.kill(os.getpid(), signal.SIGKILL)
        return HashScore(self.folder, 0.1)(model)


@dataclass(frozen=True)
class FailingScore:
    """HashScore, but it fails once so many calls were made by all processes."""

    folder: Path
    calls: int

    def __call__(self, model):
        """Return what HashScore does, or raise ModelError."""
        if len(called(self.folder)) >= self.calls:
            raise ModelError("cannot be scored")
        return HashScore(self.folder, 0.1)(model)


def interrupt_itself():
    """Send Ctrl-C to this process and return its number."""
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.1)
    return os.getpid()


def called(folder):
    """Return the hashes of the models scored so far, by all processes."""
    return [line for file in folder.iterdir() for line in file.read_text().splitlines()]


def processes(folder):
    """Return the numbers of the processes that have scored a model."""
    return {int(file.stem) for file in folder.iterdir()}


def clear(folder):
    """Forget the calls so far."""
    for file in folder.iterdir():
        file.unlink()


def scored_lines(journal):
    """Return how many models a journal holds the scores of, a torn last line left out."""
    whole = journal.read_bytes().rpartition(b"\n")[0]
    return whole.count(b'"scores"')


def assert_each_model_once(journal):
    """Check that the journal holds every model of a linear search, its score on one line each."""
    entries = [json.loads(line) for line in journal.read_text().splitlines()[1:]]
    proposals = [entry["model"] for entry in entries if "proposal" in entry]
    scores = [entry["model"] for entry in entries if "scores" in entry]
    assert len(set(scores)) == len(scores) == MODELS
    assert set(proposals) == set(scores)


def assert_gone(numbers):
    """Check that the processes end within seconds."""
    wait_until(lambda: not any(alive(number) for number in numbers), seconds=20)


def alive(number):
    """Whether a process runs; one that has ended but was not waited for does not."""
    try:
        return psutil.Process(number).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until(condition, *, seconds=120):
    """Wait until the condition holds, and fail if it does not in time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)
