"""Steps that may improve a model: measured on both halves, and kept only if they surely help."""

from dataclasses import replace
from math import isnan, nan

import pytest

from qsr.jobs.steps import CORRECTED, ROUNDED, Judges, judged, nothing_done


def judges(choosing_after, confirming_after):
    """Scores by which the model before has 30 dB on every image."""
    choosing = {b"before": [30.0] * len(choosing_after), b"after": choosing_after}
    confirming = {b"before": [30.0] * len(confirming_after), b"after": confirming_after}
    return Judges(choosing.__getitem__, confirming.__getitem__)


def test_what_helps_is_kept():
    """A gain on every image that chooses is sure; what it gave the others is told beside it."""
    found = judged(ROUNDED, b"before", b"after", judges([30.5, 30.4] * 4, [29.0, 29.0]))
    assert found.kept
    assert found.choosing_gain_db == pytest.approx(0.45)
    assert found.gain_db.mean == -1.0


def test_what_does_not_help_is_left_out():
    """Where the images that choose say no, the step is not kept, whatever the others say."""
    found = judged(ROUNDED, b"before", b"after", judges([29.0, 30.5] * 4, [31.0, 31.0]))
    assert not found.kept
    assert found.choosing_gain_db == pytest.approx(-0.25)
    assert found.gain_db.mean == 1.0


def test_what_may_be_chance_is_left_out():
    """A mean gain that some images contradict is not kept."""
    found = judged(ROUNDED, b"before", b"after", judges([29.0, 31.1] * 4, [31.0]))
    assert found.choosing_gain_db > 0
    assert not found.kept


def test_what_cannot_run_is_left_out():
    """A model that TFLite cannot run is no improvement, and nothing stops for it."""
    found = judged(ROUNDED, b"before", b"after", judges([nan] * 8, [nan] * 8))
    assert isnan(found.choosing_gain_db)
    assert not found.kept


def test_what_cannot_be_made_is_left_out():
    """So is a model that a step could not make."""
    found = judged(ROUNDED, b"before", None, judges([30.0], [30.0]))
    assert isnan(found.choosing_gain_db)
    assert (found.gain_db, found.kept) == (None, False)


@pytest.mark.parametrize(("after", "kept"), [([30.9] * 7 + [29.5], False), ([30.1] * 8, True)])
def test_other_objective(after, kept):
    """Where not the mean is maximised, a step is kept if that which is has grown."""
    by_worst = replace(judges(after, [30.0]), value=min)
    found = judged(ROUNDED, b"before", b"after", by_worst)
    assert found.choosing_gain_db > 0
    assert found.kept == kept


def test_nothing_to_do():
    """A step that changes nothing is neither measured nor kept, and says why."""

    def never(_):
        raise AssertionError

    found = judged(CORRECTED, b"same", b"same", Judges(never, never))
    assert (found.choosing_gain_db, found.gain_db, found.kept) == (None, None, False)
    assert nothing_done(CORRECTED) == "every bias is right already"


def test_unseen():
    """Without images a step is done as asked."""
    assert judged(CORRECTED, b"before", b"after", None).kept
