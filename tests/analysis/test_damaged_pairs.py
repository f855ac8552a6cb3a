"""Damaged files in a comparison: a result or a clear error, and none brings the process down."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
import skimage.data

from qsr.analysis import compare
from qsr.errors import ModelError

SEEDS = 45


@pytest.mark.parametrize("damaged_side", ["reference", "tested"])
def test_any_damage(damaged_side, trained_xcat, sound, tmp_path):
    """Whatever bytes of one model are wrong, both are compared or refused in one line."""
    paths = [tmp_path / "reference.tflite", tmp_path / "tested.tflite"]
    for path, model in zip(paths, (trained_xcat, sound), strict=True):
        path.write_bytes(model)
    words = [sys.executable, __file__, *paths, damaged_side, str(SEEDS)]
    run = subprocess.run(words, capture_output=True, text=True, check=False)  # noqa: S603 (this file)
    *_, last = run.stdout.splitlines()
    assert run.returncode == 0, f"ended with {run.returncode} on {last}\n{run.stderr[-2000:]}"
    outcomes = json.loads(last)
    assert outcomes.keys() == {"compared", "refused"}
    assert min(outcomes.values()) > SEEDS / 15


def damaged(model, seed):
    """Return a model with some wrong bytes among those that describe it, or its end cut off.

    Weights, most of a file, are seldom hit: wrong ones make another model, not a damaged file.
    """
    chance = random.Random(seed)  # noqa: S311 (repeatable on purpose)
    content = bytearray(model)
    described = [place for place in range(8, len(content)) if near_zeros(content, place)]
    match seed % 5:
        case 0 | 1:
            for _ in range(chance.randint(1, 2)):
                content[chance.choice(described)] = chance.randrange(256)
        case 2 | 3:
            wrong = [b"\xff\xff\xff\x7f", b"\xff\xff\xff\xff", bytes(4), chance.randbytes(4)]
            place = chance.choice(described) // 4 * 4
            content[place : place + 4] = chance.choice(wrong)
        case 4:
            del content[chance.randrange(8, len(content)) :]
    return bytes(content)


def near_zeros(content, place):
    """Whether zero bytes are near, as in the small numbers that flatbuffers are made of."""
    return content[place - 4 : place + 4].count(0) > 1


def main():
    """Compare damaged copies of one model with the other, and print how many were compared."""
    reference, tested = (Path(word).read_bytes() for word in sys.argv[1:3])
    hr = skimage.data.astronaut()[20:62, 170:218]
    picture = ("astronaut", hr[1::3, 1::3].copy(), hr)
    outcomes = {"compared": 0, "refused": 0}
    for seed in range(int(sys.argv[4])):
        print(f"seed {seed}", flush=True)  # noqa: T201 (the last one before a crash)
        pair = [reference, tested]
        side = ["reference", "tested"].index(sys.argv[3])
        pair[side] = damaged(pair[side], seed)
        try:
            compare(*pair, [picture])
        except ModelError as error:
            assert "\n" not in str(error)  # noqa: PT017 (a script)
            outcomes["refused"] += 1
        else:
            outcomes["compared"] += 1
    print(json.dumps(outcomes))  # noqa: T201 (read by the test)


if __name__ == "__main__":
    main()
