"""Searches: the best trial, resumed, on any number of workers, and after a kill."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest
import search_script
import skimage.data
from search_script import HashScore, summary

from qsr import calibration as cal
from qsr.calibration.executor import local_processes
from qsr.errors import ModelError, StudyError, UsageError

NAMES = tuple(f"crop{index}" for index in range(8))


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


def test_linear(espcn, table, score):
    """Every image is tried alone, in order, and the best by mean score is handed over."""
    study = cal.search(espcn, table, score)
    models = [cal.quantize(espcn, table.merged([name])) for name in NAMES]
    assert [trial.images for trial in study.trials] == [(name,) for name in NAMES]
    for trial, model in zip(study.trials, models, strict=True):
        digest = hashlib.sha256(model).digest()
        assert trial.model_hash == digest.hex()
        assert trial.item_scores == tuple(digest[:3])
        assert trial.score == pytest.approx(np.mean(list(digest[:3])))
    best = max(range(len(NAMES)), key=lambda index: sum(study.trials[index].item_scores))
    assert study.best == study.trials[best]
    assert study.model == models[best]
    assert study.resumed == 0


def test_also(espcn, table, score):
    """Data sets tried besides come first, each once, with their merged ranges and the scheme."""
    scheme = cal.Scheme(io="int8", per_channel=False)
    also = [NAMES, (NAMES[3],), NAMES]
    study = cal.search(espcn, table, score, also=also, scheme=scheme)
    others = [(name,) for name in NAMES if name != NAMES[3]]
    assert [trial.images for trial in study.trials] == [NAMES, (NAMES[3],), *others]
    together = cal.quantize(espcn, table.merged(), scheme)
    assert study.trials[0].model_hash == hashlib.sha256(together).hexdigest()


def test_other_data_sets_besides(espcn, table, score, journal):
    """Earlier trials that are not asked for again count neither as resumed nor as done."""
    cal.search(espcn, table, score, also=[NAMES, NAMES[:2]], journal=str(journal))
    told = []
    study = cal.search(
        espcn,
        table,
        score,
        also=[NAMES[:3]],
        journal=journal,
        on_trial=lambda done, total, _: told.append((done, total)),
    )
    assert study.resumed == len(NAMES)
    assert told == [(len(NAMES) + 1, len(NAMES) + 1)]


def test_equal_scores(espcn, table):
    """Of equal scores the first asked for wins."""
    study = cal.search(espcn, table, lambda model: [len(model) * 0.0, 1.0])
    assert study.best.images == (NAMES[0],)


def test_score_that_is_no_number(espcn, table):
    """A score that is NaN never wins over a number."""
    values = iter([float("nan"), 3.0, 5.0, *[4.0] * 5])
    study = cal.search(espcn, table, lambda _: [next(values)])
    assert study.best.images == (NAMES[2],)


def test_score_of_no_items(espcn, table):
    """A score without a number is refused in words."""
    with pytest.raises(UsageError, match="one per validation item"):
        cal.search(espcn, table, lambda _: [])


def test_asks_until_nothing_is_new(espcn, table, score, journal):
    """A strategy is asked anew with all trials in its order, and a resumed one gets the same."""
    strategy = BestPair()
    study = cal.search(espcn, table, score, strategy=strategy, journal=journal)
    singles = study.trials[:-1]
    best, second = sorted(singles, key=lambda trial: -trial.score)[:2]
    assert study.trials[-1].images == best.images + second.images
    lines = journal.read_text().splitlines()
    journal.write_text("\n".join([lines[0], *lines[:2:-1]]) + "\n")  # finished in another order
    resumed = cal.search(espcn, table, score, strategy=strategy, journal=journal)
    assert summary(resumed) == summary(study)
    assert resumed.resumed == len(study.trials) - 2


def test_progress(espcn, table, score):
    """Progress counts trials up to what was asked for so far."""
    seen = []
    cal.search(espcn, table, score, on_trial=lambda *progress: seen.append(progress))
    assert [done[:2] for done in seen] == [(count, len(NAMES)) for count in range(1, 9)]
    assert [done[2].images for done in seen] == [(name,) for name in NAMES]


def test_another_model(xcat, table, score):
    """A table that was measured on another model is refused."""
    with pytest.raises(StudyError, match="measured on another model"):
        cal.search(xcat, table, score)


class TestResume:
    """Searches with a journal."""

    @pytest.mark.parametrize("stop_after", [1, 5])
    def test_interrupted(self, *, espcn, table, score, calls, journal, stop_after):
        """A stopped search goes on where it was and ends as if it had never been stopped."""
        whole = cal.search(espcn, table, score)
        clear(calls)

        def stop(done, _total, _trial):
            if done == stop_after:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            cal.search(espcn, table, score, journal=journal, on_trial=stop)
        resumed = cal.search(espcn, table, score, journal=journal)
        assert resumed.resumed == stop_after
        assert summary(resumed) == summary(whole)
        assert sorted(called(calls)) == sorted(trial.model_hash for trial in whole.trials)
        assert_each_trial_once(journal)

    def test_finished(self, espcn, table, score, calls, journal):
        """A finished search scores nothing again and gives the same study."""
        whole = cal.search(espcn, table, score, journal=journal)
        clear(calls)
        again = cal.search(espcn, table, score, journal=journal)
        assert called(calls) == []
        assert again.resumed == len(NAMES)
        assert summary(again) == summary(whole)

    def test_torn(self, espcn, table, score, calls, journal):
        """A trial torn by a kill is scored again, and it alone."""
        whole = cal.search(espcn, table, score, journal=journal)
        clear(calls)
        journal.write_bytes(journal.read_bytes()[:-30])
        resumed = cal.search(espcn, table, score, journal=journal)
        assert called(calls) == [whole.trials[-1].model_hash]
        assert summary(resumed) == summary(whole)
        assert_each_trial_once(journal)

    @pytest.mark.parametrize(
        ("change", "named"),
        [
            ({"scheme": cal.Scheme(io="int8")}, "other scheme"),
            ({"validation": {"metric": "ssim"}}, "validation: .*psnr.* there, .*ssim.* here"),
            ({"strategy": cal.Linear("other")}, "strategy: .*linear.* there, .*other.* here"),
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
        with pytest.raises(StudyError, match="other candidate_hashes; other candidates"):
            cal.search(espcn, table.subset(NAMES[:4]), score, journal=journal)
        hashes = ("0" * 64, *table.image_hashes[1:])
        changed = type(table)(**{**vars(table), "image_hashes": hashes})
        with pytest.raises(StudyError, match=r"study .other candidate_hashes.;"):
            cal.search(espcn, changed, score, journal=journal)

    def test_two_at_once(self, espcn, table, score, journal):
        """A second search on an open journal is refused."""

        def search_again(*_progress):
            cal.search(espcn, table, score, journal=journal)

        with pytest.raises(StudyError, match="another process is running this search"):
            cal.search(espcn, table, score, journal=journal, on_trial=search_again)


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
        assert_each_trial_once(journal)

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
        kept = len(journal.read_text().splitlines()) - 1
        assert 1 <= kept < len(NAMES)
        clear(calls)
        resumed = cal.search(espcn, table, HashScore(calls), journal=journal)
        assert resumed.resumed == kept
        assert len(called(calls)) == len(NAMES) - kept
        assert summary(resumed) == summary(whole)
        assert_each_trial_once(journal)

    def test_error_of_a_score(self, espcn, table, calls, journal):
        """What a score raises in a worker reaches the caller, and finished trials are kept."""
        with (
            pytest.raises(ModelError, match="cannot be scored"),
            local_processes(2) as executor,
        ):
            cal.search(espcn, table, FailingScore(calls, 5), executor=executor, journal=journal)
        assert_gone(processes(calls))
        assert len(journal.read_text().splitlines()) >= 2

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
        wait_until(lambda: journal.exists() and journal.read_bytes().count(b"\n") >= 3)
        workers = processes(calls)
        assert len(workers) == 2
        assert all(alive(number) for number in (search.pid, *workers))
        search.kill()
        assert search.wait() == -signal.SIGKILL
        assert_gone(workers)
        finished = journal.read_bytes().count(b"\n") - 1
        assert 2 <= finished < len(NAMES)

        clear(calls)
        again = subprocess.run(  # noqa: S603 (our own script)
            [*command, "0", "2"], check=True, capture_output=True
        )
        assert json.loads(again.stdout) == json.loads(json.dumps(summary(whole)))
        assert len(called(calls)) == len(NAMES) - finished
        assert_each_trial_once(journal)


@dataclass(frozen=True)
class BestPair:
    """A strategy of two rounds: every image alone, then the two best together."""

    name: str = "best pair"

    def ask(self, images, trials):
        """Return the data sets of the round that follows from the trials so far."""
        if not trials:
            return [(image,) for image in images]
        assert [trial.images for trial in trials[: len(images)]] == [(image,) for image in images]
        best, second = sorted(trials[: len(images)], key=lambda trial: -trial.score)[:2]
        return [best.images + second.images]


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


def assert_each_trial_once(journal):
    """Check that the journal holds every trial of the study, each on one line."""
    _, *lines = journal.read_text().splitlines()
    images = [json.loads(line)["images"] for line in lines]
    assert sorted(images) == sorted([name] for name in NAMES)


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
