"""Strategies: the contract that all keep, and what each of them promises besides."""

import hashlib
import json
from collections import Counter
from itertools import combinations, product
from math import comb, inf, log, nan

import numpy as np
import pytest
import skimage.data
from ranges_as_model import (
    FLOAT_MODEL,
    answers,
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
from qsr.calibration.strategies import STRATEGIES, strategy_named
from qsr.calibration.strategies.coverage import covered_share
from qsr.errors import UsageError

SETTINGS = {
    **{name: make() for name, make in STRATEGIES.items()},
    "greedy, one": cal.Greedy(largest=1),
    "greedy, two": cal.Greedy(largest=2),
    "few random": cal.RandomSubsets(count=5, largest=1, seed=3),
    "half covered": cal.Coverage(share=0.5),
    "all covered": cal.Coverage(share=1.0),
    "statistics alone": cal.RangeStatistics(steps=()),
    "tuned coarsely": cal.RangeStatistics(steps=(0.5,)),
    "linear, tuned": cal.Tuned(cal.Linear()),
    "greedy, tuned": cal.Tuned(cal.Greedy(largest=1), steps=(0.3,)),
}

TABLES = {
    "five": noisy_table(5, 3),
    "one candidate": noisy_table(1, 3),
    "two candidates": noisy_table(2, 1),
    "identical rows": table_of([[-1.0, 0.0]] * 4, [[1.0, 2.0]] * 4),
    "all zero": table_of(np.zeros((3, 2)), np.zeros((3, 2))),
    "apart": table_of([[1.0], [10.0], [-9.0]], [[2.0], [12.0], [-7.0]]),
}

SCORES = {
    "constant": lambda _model: 1.0,
    "chance": number_of,
    "not a number": lambda _model: nan,
    "often not a number": lambda model: nan if number_of(model) < 0.5 else number_of(model),
    "minus infinite": lambda _model: -inf,
    "the wider the better": lambda model: float(np.diff(ends_of(model), axis=0).sum()),
    "the narrower the better": lambda model: -float(np.diff(ends_of(model), axis=0).sum()),
}


@pytest.fixture(params=SETTINGS)
def strategy(request):
    """Every strategy, with its default settings and with others."""
    return SETTINGS[request.param]


@pytest.fixture
def played(strategy):
    """A function that plays a search on a table of :data:`TABLES` with one of :data:`SCORES`."""

    def play(table, score):
        if strategy.name == "greedy" and (strategy.largest or 0) > len(TABLES[table].images):
            with pytest.raises(UsageError, match="a set of 2 images asked for; there are 1"):
                next(strategy.propose(TABLES[table]))
            return [], []
        return answers(strategy, TABLES[table], SCORES[score])

    return play


@pytest.fixture(scope="module")
def pool():
    """Two worker processes."""
    with local_processes(2) as executor:
        yield executor


@pytest.mark.parametrize("table", TABLES)
class TestContract:
    """What every strategy keeps to."""

    @pytest.mark.parametrize("score", SCORES)
    def test_valid_until_the_end(self, played, table, score):
        """Whatever the scores, it ends, and all it asks for is whole, finite and in order."""
        batches, trials = played(table, score)
        for trial in trials:
            ranges = trial.proposal.ranges(TABLES[table])
            assert ranges.tensors == TABLES[table].tensors
            assert np.isfinite([ranges.minimum, ranges.maximum]).all()
            assert (ranges.minimum <= ranges.maximum).all()
            assert set(trial.images) <= set(TABLES[table].images)
            assert len(set(trial.images)) == len(trial.images)
        for batch in batches:
            assert len(set(batch.proposals)) == len(batch.proposals)

    def test_deterministic(self, played, table):
        """It asks for the same, in the same order, whenever it is told the same."""
        assert played(table, "chance") == played(table, "chance")

    def test_to_beat(self, played, table):
        """What is to be beaten is a trial that was measured."""
        batches, trials = played(table, "often not a number")
        for batch in batches:
            assert batch.to_beat is None or batch.to_beat in trials


class TestSearched:
    """What every strategy keeps to in a search."""

    @pytest.fixture
    def table(self):
        """Ranges of four images."""
        return noisy_table(4, 2, seed=1)

    @pytest.fixture
    def counted(self, monkeypatch):
        """Models that were scored, how often each; they are their ranges."""
        monkeypatch.setattr("qsr.calibration.bench.quantize", as_model)
        return Counter()

    @pytest.fixture
    def searched(self, strategy, table, counted):
        """A function that searches with the strategy."""

        def score(model):
            counted[model] += 1
            return [number_of(model, "one"), number_of(model, "two")]

        def run(journal=None):
            return cal.search(FLOAT_MODEL, table, score, strategy=strategy, journal=journal)

        return run

    def test_best(self, searched, counted, table):
        """The best trial is the first maximum of all, and its model the one handed over."""
        study = searched()
        first = max(study.trials, key=lambda trial: trial.score)
        assert study.best == first
        assert study.model == as_model(b"", first.proposal.ranges(table))
        for trial in study.trials:
            model = as_model(b"", trial.proposal.ranges(table))
            assert trial.item_scores == (number_of(model, "one"), number_of(model, "two"))
            assert trial.model_hash == hashlib.sha256(model).hexdigest()
        assert set(counted.values()) == {1}
        assert study.distinct_models == len(counted)

    def test_resumed(self, searched, counted, tmp_path):
        """Cut after any line, it ends the same, and measures only what the journal lacks."""
        journal = tmp_path / "study.jsonl"
        whole = searched(journal)
        everything = set(counted)
        lines = journal.read_bytes().splitlines(keepends=True)
        for kept in {0, 1, 2, 3, 4, 7, len(lines) // 2, len(lines) - 1, len(lines)}:
            counted.clear()
            journal.write_bytes(b"".join(lines[:kept]))
            assert searched(journal) == whole_but_resumed(whole, lines[:kept])
            known = {line["model"] for line in map(json.loads, lines[:kept]) if "scores" in line}
            assert set(counted) == {model for model in everything if hash_of(model) not in known}
            assert all(times == 1 for times in counted.values())
            assert sorted(journal.read_bytes().splitlines(keepends=True)) == sorted(lines)

    def test_workers(self, strategy, espcn, pool, tmp_path):
        """On real integer models, two processes give what one does."""
        crop = skimage.data.chelsea()[100:116, 100:120]
        table = cal.collect(espcn, {f"crop{index}": crop // (4 - index) for index in range(3)})
        studies = [
            cal.search(
                espcn, table, HashScore(tmp_path), strategy=short(strategy), executor=executor
            )
            for executor in (None, pool)
        ]
        assert summary(studies[0]) == summary(studies[1])
        ranges = studies[0].best.proposal.ranges(table)
        assert studies[0].model == cal.quantize(espcn, ranges)


class TestNames:
    """Strategies by name."""

    @pytest.mark.parametrize("name", STRATEGIES)
    def test_known(self, name):
        """Every strategy calls itself what the command line calls it."""
        assert strategy_named(name).name == name

    def test_unknown(self):
        """An unknown name is refused with the valid ones."""
        names = "linear, greedy, random, all, coverage, ranges"
        with pytest.raises(UsageError, match=f"'best'; give one of: {names}$"):
            strategy_named("best")


@pytest.mark.parametrize(
    ("strategy", "named"),
    [
        (cal.Greedy(largest=6), "a set of 6 images asked for; there are 5"),
        (cal.Greedy(largest=0), "a set of 0 images asked for"),
        (cal.RandomSubsets(largest=6), "subsets of 6 images asked for; there are 5"),
        (cal.RandomSubsets(largest=0), "subsets of 0 images asked for"),
        (cal.RandomSubsets(count=0), "0 random subsets asked for; give at least 1"),
        (cal.Coverage(share=0.0), "give one above 0, at most 1"),
        (cal.Coverage(share=1.01), "give one above 0, at most 1"),
        (cal.Coverage(share=nan), "give one above 0, at most 1"),
        (cal.RangeStatistics(steps=(0.1, 0.0)), "give relative changes between 0 and 1"),
        (cal.RangeStatistics(steps=(1.0,)), "give relative changes between 0 and 1"),
        (cal.RangeStatistics(steps=(nan,)), "give relative changes between 0 and 1"),
    ],
)
def test_settings_that_do_not_fit(monkeypatch, strategy, named):
    """Settings that cannot be are refused in words, before anything is measured."""
    monkeypatch.setattr("qsr.calibration.bench.quantize", as_model)
    calls = []
    with pytest.raises(UsageError, match=named):
        cal.search(FLOAT_MODEL, noisy_table(5, 2), calls.append, strategy=strategy)
    assert calls == []


def test_linear():
    """Every image alone, in the table's order, all at once."""
    batches, trials = answers(cal.Linear(), noisy_table(30, 2), number_of)
    assert len(batches) == 1
    assert [trial.images for trial in trials] == [(name,) for name in noisy_table(30, 2).images]
    assert all(trial.proposal.is_data_set for trial in trials)


def test_all():
    """All images together, and nothing else."""
    _, trials = answers(cal.AllImages(), noisy_table(30, 2), number_of)
    assert [trial.images for trial in trials] == [noisy_table(30, 2).images]
    assert trials[0].proposal.is_data_set


class TestRandom:
    """Random subsets."""

    def test_sizes(self):
        """As many as asked for, none twice, of all sizes from one image to the largest."""
        table = noisy_table(40, 2)
        _, trials = answers(cal.RandomSubsets(count=200, largest=5), table, number_of)
        assert len({frozenset(trial.images) for trial in trials}) == len(trials) == 200
        sizes = Counter(len(trial.images) for trial in trials)
        assert set(sizes) == {1, 2, 3, 4, 5}
        assert min(sizes[size] for size in (2, 3, 4, 5)) > 20

    def test_largest_by_default(self):
        """Unless told otherwise, the largest has 16 images, or all there are."""
        for images, largest in ((40, 16), (5, 5)):
            _, trials = answers(cal.RandomSubsets(200), noisy_table(images, 2), number_of)
            assert max(len(trial.images) for trial in trials) == largest

    def test_every_image(self):
        """Every image has its chance."""
        _, trials = answers(cal.RandomSubsets(100), noisy_table(20, 2), number_of)
        uses = Counter(name for trial in trials for name in trial.images)
        assert len(uses) == 20
        assert max(uses.values()) < 3 * min(uses.values())

    def test_seeds(self):
        """Another seed draws other subsets."""
        first, second = (
            answers(cal.RandomSubsets(10, seed=seed), noisy_table(20, 2), number_of)[0]
            for seed in (0, 1)
        )
        assert first != second

    @pytest.mark.parametrize(("largest", "subsets"), [(1, 4), (2, 4 + comb(4, 2)), (4, 15)])
    def test_few_images(self, largest, subsets):
        """Where there are fewer subsets than asked for, each is tried once."""
        strategy = cal.RandomSubsets(count=50, largest=largest)
        _, trials = answers(strategy, noisy_table(4, 2), number_of)
        assert len({trial.images for trial in trials}) == len(trials) == subsets


class TestGreedy:
    """Greedy growth and floating search."""

    WORTH = {  # noqa: RUF012 (growth takes a, ab, abc; then a is dropped, and c swapped for d)
        "a": 5, "b": 3, "c": 2, "d": 1,
        "ab": 6, "ac": 4, "ad": 4, "bc": 8, "bd": 9, "cd": 3,
        "abc": 7, "abd": 2, "acd": 2, "bcd": 2, "abcd": 1,
    }  # fmt: skip

    def steps(self, strategy, images=4):
        """Return each improvement by its images, and all trials."""
        table = table_of_sets(images)
        batches, trials = answers(
            strategy, table, lambda model: float(self.WORTH.get(images_of(model, table), 0))
        )
        chosen = ["".join(batch.to_beat.images) for batch in batches if batch.to_beat is not None]
        return list(dict.fromkeys(chosen)), trials

    def test_floats_to_the_optimum(self):
        """Where growth alone stops short, a drop and then a swap lead to the best of all sets."""
        steps, trials = self.steps(cal.Greedy())
        assert steps == ["a", "ab", "abc", "bc", "bd"]
        assert max(trial.score for trial in trials) == max(self.WORTH.values())

    def test_order_of_images(self):
        """A set is the same set in whatever order it was put together."""
        _, trials = self.steps(cal.Greedy())
        for trial in trials:
            assert list(trial.images) == sorted(trial.images)

    def test_all_neighbours(self):
        """In the end no set that differs by one image more, less or another is better."""
        for seed in range(5):
            table = noisy_table(7, 3, seed=seed)
            score = self.bumpy(seed)
            _, trials = answers(cal.Greedy(), table, score)
            best = max(trials, key=lambda trial: trial.score)
            chosen, others = set(best.images), set(table.images) - set(best.images)
            near = [chosen - {one} for one in chosen] + [chosen | {one} for one in others]
            near += [chosen - {one} | {other} for one, other in product(chosen, others)]
            for images in filter(None, near):
                assert score(as_model(b"", table.merged(images))) <= best.score

    @staticmethod
    def bumpy(seed):
        """Return a score with an optimum in the middle and bumps."""
        goal = noisy_table(1, 3, seed=100 + seed)
        goal = np.concatenate([goal.minimum, goal.maximum])
        return lambda model: number_of(model) / 5 - float(np.abs(ends_of(model) - goal).sum())

    def test_largest(self):
        """No set is larger than allowed."""
        steps, trials = self.steps(cal.Greedy(largest=2))
        assert max(len(trial.images) for trial in trials) == 2
        assert steps == ["a", "ab", "bd"]

    def test_growth_that_helps_not(self):
        """If two together are no better than one, one it is."""
        table = table_of_sets(3)
        _, trials = answers(cal.Greedy(), table, lambda model: -float(len(images_of(model, table))))
        best = max(trials, key=lambda trial: trial.score)
        assert best.images == ("a",)
        assert {len(trial.images) for trial in trials} == {1, 2}

    def test_duplicates_cost_nothing(self, monkeypatch):
        """Images that many candidates equal are neither quantized nor measured again."""
        few = noisy_table(4, 2)
        many = table_of(np.repeat(few.minimum, 6, axis=0), np.repeat(few.maximum, 6, axis=0))
        models, made = {}, []

        def quantize(*parts):
            made.append(as_model(*parts))
            return made[-1]

        monkeypatch.setattr("qsr.calibration.bench.quantize", quantize)
        for name, table in (("few", few), ("many", many)):
            made.clear()
            scored = models.setdefault(name, [])
            study = cal.search(
                FLOAT_MODEL,
                table,
                lambda model, scored=scored: scored.append(model) or [number_of(model)],
                strategy=cal.Greedy(),
            )
            assert len(made) <= len(scored) + 1  # the winner once more, to be handed over
            assert study.distinct_models == len(scored) < len(study.trials)
        assert set(models["many"]) == set(models["few"])
        assert len(set(models["many"])) == len(models["many"])


class TestCoverage:
    """The smallest set whose ranges cover enough."""

    TABLE = table_of([[0, -1], [0, 0], [-4, 0], [0, 0]], [[4, 1], [8, 3], [0, 2], [2, 3]])

    def chosen(self, table, share):
        """Return the set asked for."""
        _, (trial,) = answers(cal.Coverage(share=share), table, number_of)
        assert trial.proposal.is_data_set
        return "".join(trial.images)

    @pytest.mark.parametrize(
        ("images", "share"),
        [
            # by candidate, then tensor: what part of its own range lies inside
            ("a", (1 + 1 + 0.5 + 1 / 3 + 0 + 1 / 2 + 1 + 1 / 3) / 8),
            ("b", (1 + 1 / 2 + 1 + 1 + 0 + 1 + 1 + 1) / 8),
            ("c", (0 + 1 / 2 + 0 + 2 / 3 + 1 + 1 + 0 + 2 / 3) / 8),
            ("d", (1 / 2 + 1 / 2 + 1 / 4 + 1 + 0 + 1 + 1 + 1) / 8),
            ("bc", (1 + 1 / 2 + 1 + 1 + 1 + 1 + 1 + 1) / 8),
            ("abc", 1),
        ],
    )
    def test_share_by_hand(self, images, share):
        """The share that ranges cover is the mean of the parts that lie inside."""
        ranges = self.TABLE.merged(images)
        assert covered_share(self.TABLE, ranges.minimum, ranges.maximum) == pytest.approx(share)

    @pytest.mark.parametrize(
        ("share", "images"), [(0.5, "b"), (0.8125, "b"), (0.9, "bc"), (0.94, "abc"), (1.0, "abc")]
    )
    def test_by_hand(self, share, images):
        """The best one comes first, then the one that adds most, until the share is reached."""
        assert self.chosen(self.TABLE, share) == images

    def test_constant_tensors(self):
        """A tensor that is the same everywhere is covered by ranges that hold its value."""
        table = table_of([[3, 0], [3, 0], [5, 0]], [[3, 1], [3, 2], [5, 1]])
        assert covered_share(table, np.float32([3, 0]), np.float32([3, 2])) == pytest.approx(5 / 6)
        assert self.chosen(table, 0.8) == "b"
        assert self.chosen(table, 1.0) == "bc"

    @pytest.mark.parametrize("seed", range(6))
    @pytest.mark.parametrize("share", [0.9, 0.99, 1.0])
    def test_small(self, seed, share):
        """It covers the share, with few more images than the smallest set that does."""
        table = noisy_table(9, 3, seed=seed)

        def covers(images):
            ranges = table.merged(images)
            return covered_share(table, ranges.minimum, ranges.maximum) >= share

        found = self.chosen(table, share)
        assert covers(found)
        smallest = next(
            size
            for size in range(1, 10)
            if any(covers(images) for images in combinations(table.images, size))
        )
        assert len(found) <= smallest * (1 + log(len(table.images)))
        assert len(found) <= smallest + 2


class TestRanges:
    """Statistics of the table, and tuning."""

    def test_statistics(self):
        """Extremes, the mean and percentiles over all images are tried at once."""
        table = noisy_table(8, 2)
        (batch,), trials = answers(cal.RangeStatistics(steps=()), table, number_of)
        statistics = {trial.proposal.statistic: trial for trial in trials}
        assert set(statistics) >= {"extremes", "mean", "percentile 99", "percentile 50"}
        assert len(statistics) == len(batch.proposals)
        assert all(trial.images == table.images for trial in trials)
        median = statistics["percentile 50"].proposal.ranges(table)
        np.testing.assert_allclose(median.maximum, np.median(table.maximum, axis=0), rtol=1e-6)

    @pytest.mark.parametrize("seed", range(4))
    def test_finds_the_optimum(self, seed):
        """Of a concave score that each end has its own part in, tuning finds the optimum."""
        table = noisy_table(12, 4, seed=seed)
        off = np.exp(np.random.default_rng(seed).uniform(-0.6, 0.6, (2, 4)))
        goal = np.stack([table.minimum.mean(axis=0), table.maximum.mean(axis=0)]) * off

        def score(model):
            return -float((np.log(ends_of(model) / goal) ** 2).sum())

        _, trials = answers(cal.RangeStatistics(), table, score)
        best = max(trials, key=lambda trial: trial.score).proposal.ranges(table)
        distance = np.log(np.stack([best.minimum, best.maximum]) / goal)
        assert np.abs(distance).max() <= log(1.02) / 2 + 1e-6

    def test_starts_from_the_best(self):
        """Tuning starts from the best statistic, and moves one end at a time first."""
        table = noisy_table(5, 2)
        goal = as_model(b"", cal.Proposal(table.images, "mean").ranges(table))
        batches, trials = answers(
            cal.RangeStatistics(steps=(0.1,)), table, lambda model: float(model == goal)
        )
        assert max(trials, key=lambda trial: trial.score).proposal.statistic == "mean"
        first, moves = batches
        assert moves.to_beat.proposal == cal.Proposal(table.images, "mean")
        assert len(moves.proposals) == 2 * 2 * 2
        plain = ends_of(goal)
        for proposal in moves.proposals:
            ranges = proposal.ranges(table)
            changed = np.stack([ranges.minimum, ranges.maximum]) / plain
            (factor,) = changed[~np.isclose(changed, 1)]
            assert max(factor, 1 / factor) == pytest.approx(1.1)
        assert first.to_beat is None

    def test_ends_at_zero_stay(self):
        """An end that is zero in every image cannot be moved by a factor, and is not tried."""
        table = table_of([[0.0], [0.0]], [[1.0], [2.0]])
        batches, _ = answers(cal.RangeStatistics(steps=(0.1,)), table, lambda _: 1.0)
        assert len(batches[1].proposals) == 2

    def test_never_far(self):
        """However much a score likes it, no end goes beyond four times its first value."""
        table = noisy_table(5, 2)
        _, trials = answers(cal.RangeStatistics(), table, SCORES["the wider the better"])
        widest = max(trials, key=lambda trial: trial.score).proposal
        first = cal.Proposal(table.images, widest.statistic).ranges(table)
        ratio = widest.ranges(table).maximum / first.maximum
        assert (ratio > 3.5).all()
        assert (ratio <= 4.001).all()

    def test_pinned_tensors_cost_nothing(self, monkeypatch):
        """Tensors whose ranges make no difference to the model cause no further measurement."""

        def pinned(_, ranges, scheme):
            ends = ranges.minimum[-2:], ranges.maximum[-2:]
            return as_model(b"", cal.Ranges(ranges.tensors[-2:], *ends), scheme)

        monkeypatch.setattr("qsr.calibration.bench.quantize", pinned)
        whole = noisy_table(6, 3)
        free = whole.columns(whole.tensors[1:])
        calls = {}
        for name, table in (("whole", whole), ("free", free)):
            scored = calls.setdefault(name, [])
            study = cal.search(
                FLOAT_MODEL,
                table,
                lambda model, scored=scored: scored.append(model) or [number_of(model)],
                strategy=cal.RangeStatistics(),
            )
            assert study.distinct_models == len(scored)
        assert calls["whole"] == calls["free"]


def whole_but_resumed(study, lines):
    """Return a study, but resumed from those lines of its journal."""
    scored = sum('"items": "selection"' in line.decode() for line in lines)
    return type(study)(**{**vars(study), "resumed": scored})


def hash_of(model):
    """Return the SHA-256 of a model."""
    return hashlib.sha256(model).hexdigest()


def short(strategy):
    """Return a strategy that real models are made for in a second."""
    return cal.RangeStatistics(steps=(0.5,)) if strategy.name == "ranges" else strategy


class TestTuned:
    """Another strategy's best, tuned."""

    def test_asks_what_the_first_asks(self):
        """The first strategy takes its own way, and tuning begins where that ends: at its best."""
        table = noisy_table(6, 2)
        alone, found = answers(cal.Greedy(), table, number_of)
        batches, _ = answers(cal.Tuned(cal.Greedy(), steps=(0.1,)), table, number_of)
        assert batches[: len(alone)] == alone
        best = max(found, key=lambda trial: trial.score)
        assert batches[len(alone)].to_beat == best
        assert all(proposal.images == best.images for proposal in batches[len(alone)].proposals)

    @pytest.mark.parametrize("seed", range(3))
    def test_finds_the_optimum(self, seed):
        """Of a concave score that each end has its own part in, it finds the optimum."""
        table = noisy_table(6, 3, seed=seed)
        goal = np.stack([table.minimum[2], table.maximum[2]]) * np.exp(
            np.random.default_rng(seed).uniform(-0.6, 0.6, (2, 3))
        )

        def score(model):
            return -float((np.log(ends_of(model) / goal) ** 2).sum())

        _, trials = answers(cal.Tuned(cal.Linear()), table, score)
        best = max(trials, key=lambda trial: trial.score).proposal.ranges(table)
        distance = np.log(np.stack([best.minimum, best.maximum]) / goal)
        assert np.abs(distance).max() <= log(1.02) / 2 + 1e-6

    def test_wrong_steps_are_told_at_once(self):
        """Steps that no range can be changed by are told before the first strategy asks."""
        with pytest.raises(UsageError, match="between 0 and 1"):
            next(cal.Tuned(cal.Linear(), steps=(2.0,)).propose(noisy_table(3, 1)))
