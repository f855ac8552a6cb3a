"""A stand-in for the quantizer whose integer model is its ranges themselves, and its tools.

So a test knows what each model is made from, and thousands of them take no time.
"""

import hashlib
from collections import Counter

import numpy as np

from qsr.calibration.ranges import Ranges, RangeTable
from qsr.calibration.study import Trial

FLOAT_MODEL = b"a float model"


def as_model(_content, ranges, _scheme=None):
    """Take the place of ``quantize``."""
    return np.stack([ranges.minimum, ranges.maximum]).tobytes()


def ends_of(model):
    """Return the minima and the maxima that a model was made from, ``(2, tensors)``."""
    return np.frombuffer(model, np.float32).reshape(2, -1)


def number_of(model, salt=""):
    """Return a number from 0 to 1 that follows from a model's bytes, and looks like chance."""
    digest = hashlib.sha256(salt.encode() + model).digest()
    return int.from_bytes(digest[:4]) / 2**32


def table_of(minimum, maximum):
    """Return a table of these ranges, ``(images, tensors)``; images are a, b, c and so on."""
    minimum, maximum = np.asarray(minimum, np.float32), np.asarray(maximum, np.float32)
    images, tensors = minimum.shape
    names = tuple(chr(ord("a") + index) for index in range(images))
    if images > 26:
        names = tuple(f"image{index:04}" for index in range(images))
    return RangeTable(
        hashlib.sha256(FLOAT_MODEL).hexdigest(),
        "exact",
        names,
        tuple(hashlib.sha256(name.encode()).hexdigest() for name in names),
        tuple(f"tensor{index}" for index in range(tensors)),
        minimum,
        maximum,
        {},
    )


def noisy_table(images, tensors, seed=0):
    """Return a table of ranges that hold zero, as those of most activations do."""
    draws = np.random.default_rng(seed)
    return table_of(-draws.random((images, tensors)), draws.random((images, tensors)))


def table_of_sets(images):
    """Return a table whose merged ranges tell which images were merged."""
    return table_of(np.zeros((images, images)), np.eye(images))


def images_of(model, table):
    """Return which images of :func:`table_of_sets` were merged."""
    return "".join(np.array(table.images)[ends_of(model)[1] > 0])


def answers(strategy, table, score):
    """Play a search without racing: return the batches asked for and all trials.

    Args:
        strategy: what is asked.
        table: the candidates.
        score: called with each model.
    """
    batches, trials = [], []
    asking = strategy.propose(table)
    batch = next(asking, None)
    while batch is not None:
        assert len(batches) < 2000
        batches.append(batch)
        found = [_trial(proposal, table, score) for proposal in batch.proposals]
        trials += found
        try:
            batch = asking.send(found)
        except StopIteration:
            break
    return batches, trials


def _trial(proposal, table, score):
    ranges = proposal.ranges(table)
    assert isinstance(ranges, Ranges)
    model = as_model(b"", ranges)
    value = score(model)
    return Trial(proposal, value, (value,), hashlib.sha256(model).hexdigest())


class Noisy:
    """A score of many items, and a screen of the first of them; both count what they measure.

    A model's items are its merit, what makes the item hard for all models, and noise.

    Attributes:
        measured: how often each (model, item) was screened.
        scored: models scored in full, in order.
    """

    identity = "noisy"

    def __init__(self, merit, *, noise=0.05, rungs=(16, 32, 64), items=256):
        self.merit, self.noise, self.rungs, self.items = merit, noise, rungs, items
        self.measured = Counter()
        self.scored = []

    def values(self, model):
        """Return the score of every item."""
        hardness = np.random.default_rng(0).normal(30, 5, self.items)
        seed = int.from_bytes(hashlib.sha256(model).digest()[:8])
        noise = np.random.default_rng(seed).normal(0, self.noise, self.items)
        return hardness + self.merit(model) + noise

    def score(self, model):
        """Score a model in full."""
        self.scored.append(model)
        return self.values(model).tolist()

    def __call__(self, model, start, stop):
        """Screen a model."""
        self.measured.update((model, item) for item in range(start, stop))
        return self.values(model)[start:stop].tolist()
