"""Training batches: which patches they hold, and that seed and step alone decide."""

from collections import Counter

import numpy as np
import pytest
import skimage.data
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from qsr.data.decoded import decode
from qsr.data.pairs import find_pairs
from qsr.data.pipeline import Augmentation, batches_of_steps, chunks
from qsr.errors import UsageError

NO_AUGMENTATION = Augmentation(flips=False, rotations=False, intensities=(1.0,))
SCALE = 3


def decoded(folder, lr_images):
    """Decode pairs of which HR is LR with every pixel repeated."""
    for name in ("HR", f"LRx{SCALE}"):
        (folder / name).mkdir(parents=True)
    for index, lr in enumerate(lr_images):
        hr = lr.repeat(SCALE, axis=0).repeat(SCALE, axis=1)
        Image.fromarray(lr).save(folder / f"LRx{SCALE}" / f"{index}.png")
        Image.fromarray(hr).save(folder / "HR" / f"{index}.png")
    return decode(find_pairs(folder, SCALE), folder / "decoded")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Three photographs of different sizes, the smallest of exactly one patch."""
    crops = (
        skimage.data.astronaut()[0:40, 170:230],
        skimage.data.chelsea()[90:130, 110:140],
        skimage.data.coffee()[100:112, 200:212],
    )
    return decoded(tmp_path_factory.mktemp("photographs"), crops)


@pytest.fixture(scope="module")
def ramp(tmp_path_factory):
    """One image: red is the column, green the row."""
    lr = np.zeros((40, 50, 3), np.uint8)
    lr[..., 1], lr[..., 0] = np.mgrid[:40, :50]
    return decoded(tmp_path_factory.mktemp("ramp"), [lr])


def draw(images, steps=range(4), **changes):
    """Draw batches of six patches of 12 x 12 pixels."""
    options = {"seed": 1, "batch_size": 6, "lr_size": 12, "augmentation": Augmentation()}
    return batches_of_steps(images, steps, **{**options, **changes})


def directions(patch):
    """Say how red and green of the ramp grow in a patch: (red, green) x (down, right)."""
    down, right = (patch[1, 0].astype(int) - patch[0, 0]), (patch[0, 1].astype(int) - patch[0, 0])
    return (down[0], right[0]), (down[1], right[1])


def places(batches):
    """Say where each patch of the ramp was cut: (top, left)."""
    return [(int(y), int(x)) for x, y, _ in batches.lr[:, :, 0, 0].reshape(-1, 3)]


class TestBatches:
    """What is drawn."""

    def test_shapes(self, photographs):
        """There is one batch per step; pixels stay bytes and intensities are kept apart."""
        batches = draw(photographs, range(5, 9))
        assert (batches.lr.shape, batches.lr.dtype) == ((4, 6, 12, 12, 3), np.uint8)
        assert (batches.hr.shape, batches.hr.dtype) == ((4, 6, 36, 36, 3), np.uint8)
        assert (batches.intensity.shape, batches.intensity.dtype) == ((4, 6), np.float32)

    def test_aligned(self, photographs):
        """LR and HR patches show the same pixels, in whatever orientation."""
        batches = draw(photographs, range(20))
        repeated = batches.lr.repeat(SCALE, axis=2).repeat(SCALE, axis=3)
        assert np.array_equal(batches.hr, repeated)

    def test_pure(self, photographs):
        """A step's batch is the same in whatever range, and whatever was drawn before."""
        together = draw(photographs, range(10))
        for step in (7, 3):
            alone = draw(photographs, range(step, step + 1))
            assert np.array_equal(alone.lr[0], together.lr[step])
            assert np.array_equal(alone.hr[0], together.hr[step])
            assert np.array_equal(alone.intensity[0], together.intensity[step])

    def test_steps_differ(self, photographs):
        """No two steps have the same batch."""
        batches = draw(photographs, range(50))
        assert len({batch.tobytes() for batch in batches.lr}) == 50

    def test_seeds_differ(self, photographs):
        """Another seed draws other batches."""
        assert not np.array_equal(draw(photographs).lr, draw(photographs, seed=2).lr)

    def test_images_alike(self, photographs):
        """Every image is as likely as any other, however large."""
        whole = photographs[2][0].tobytes()  # the one patch that the smallest image has
        batches = draw(photographs, range(300), augmentation=NO_AUGMENTATION)
        smallest = sum(patch.tobytes() == whole for batch in batches.lr for patch in batch)
        assert 500 < smallest < 700  # 600 of 1800 expected, 20 is one standard deviation

    def test_everywhere(self, ramp):
        """Patches come from everywhere, edges included, and from nowhere more often."""
        batches = draw(ramp, range(800), lr_size=38, augmentation=NO_AUGMENTATION)
        seen = Counter(places(batches))
        assert set(seen) == {(top, left) for top in range(3) for left in range(13)}
        assert min(seen.values()) > 80  # 123 expected, 11 is one standard deviation
        assert max(seen.values()) < 166

    def test_as_before(self, ramp):
        """A seed and a step give the batch that they always gave, so that old runs go on."""
        batches = draw(ramp, range(1_000_000, 1_000_001), augmentation=NO_AUGMENTATION)
        assert places(batches) == [(26, 38), (11, 2), (11, 26), (6, 7), (3, 16), (3, 26)]
        augmented = draw(ramp, range(1_000_000, 1_000_001))
        assert (
            augmented.intensity[0].round(1).tolist()
            == np.float32([0.5, 0.5, 0.7, 0.7, 1.0, 0.5]).tolist()
        )
        assert [directions(patch) for patch in augmented.lr[0]] == [
            ((-1, 0), (0, -1)),
            ((0, 1), (1, 0)),
            ((-1, 0), (0, -1)),
            ((0, 1), (-1, 0)),
            ((0, -1), (1, 0)),
            ((-1, 0), (0, 1)),
        ]

    def test_too_small(self, photographs):
        """An image smaller than a patch is a mistake of the caller, not a patch of another size."""
        with pytest.raises(ValueError, match="smaller than a patch of 13 x 13 LR"):
            draw(photographs, range(20), lr_size=13)

    def test_no_steps(self, photographs):
        """No steps are no batches."""
        assert draw(photographs, range(3, 3)).lr.shape == (0, 6, 12, 12, 3)

    def test_part_of_the_images(self, photographs):
        """Patches of some images come from those alone."""
        (smallest,) = {
            patch.tobytes()
            for patch in draw(photographs[2:], augmentation=NO_AUGMENTATION).lr.reshape(
                -1, 12, 12, 3
            )
        }
        assert smallest == photographs[2][0].tobytes()


class TestSwitches:
    """What each field of the augmentation does, told from the growth of red and green."""

    @pytest.mark.parametrize(
        ("switches", "expected"),
        [
            # red to the right, green down
            ({"flips": False, "rotations": False}, {((0, 1), (1, 0))}),
            # red to the left as well
            ({"flips": True, "rotations": False}, {((0, 1), (1, 0)), ((0, -1), (1, 0))}),
            # red to the right, up, left, down; green always a quarter turn clockwise from it
            (
                {"flips": False, "rotations": True},
                {
                    ((0, 1), (1, 0)),
                    ((-1, 0), (0, 1)),
                    ((0, -1), (-1, 0)),
                    ((1, 0), (0, -1)),
                },
            ),
            # and green a quarter turn to the other side
            (
                {"flips": True, "rotations": True},
                {
                    ((0, 1), (1, 0)),
                    ((-1, 0), (0, 1)),
                    ((0, -1), (-1, 0)),
                    ((1, 0), (0, -1)),
                    ((0, -1), (1, 0)),
                    ((1, 0), (0, 1)),
                    ((0, 1), (-1, 0)),
                    ((-1, 0), (0, -1)),
                },
            ),
        ],
    )
    def test_orientations(self, ramp, switches, expected):
        """Patches have the orientations that the switches allow, each about as often."""
        batches = draw(ramp, range(100), augmentation=Augmentation(**switches))
        patches = batches.lr.reshape(-1, 12, 12, 3)
        seen = Counter(directions(patch) for patch in patches)
        assert set(seen) == expected
        assert min(seen.values()) > 600 / len(expected) * 0.6

    def test_intensities(self, ramp):
        """Every patch has one of the given intensities, drawn anew for each."""
        batches = draw(ramp, range(50), augmentation=Augmentation(intensities=(0.25, 0.75)))
        counts = Counter(batches.intensity.ravel().tolist())
        assert set(counts) == {0.25, 0.75}
        assert min(counts.values()) > 110  # 150 expected, 9 is one standard deviation
        assert len({tuple(row) for row in batches.intensity.tolist()}) > 10

    def test_intensity_apart(self, ramp):
        """Intensities change neither the pixels nor which patches are drawn."""
        darker = draw(ramp, augmentation=Augmentation(intensities=(0.5,)))
        assert np.array_equal(darker.lr, draw(ramp).lr)

    @pytest.mark.parametrize("intensities", [(), (0.0,), (-1.0, 1.0), (1.1,), (float("nan"),)])
    def test_impossible(self, intensities):
        """Intensities that leave no picture in [0, 1] are an error that names the field."""
        with pytest.raises(UsageError, match=r"augmentation\.intensities must be"):
            Augmentation(intensities=intensities)


class TestChunks:
    """Steps, cut into ranges."""

    @given(first=st.integers(0, 300), count=st.integers(0, 300), size=st.integers(1, 60))
    def test_cover(self, first, count, size):
        """Together the ranges are all steps, in order; each but the last ends on a multiple."""
        ranges = list(chunks(first, first + count, size))
        assert [step for steps in ranges for step in steps] == [*range(first, first + count)]
        assert all(1 <= len(steps) <= size for steps in ranges)
        assert all(steps.stop % size == 0 for steps in ranges[:-1])

    @given(last=st.integers(1, 300), size=st.integers(1, 60), done=st.integers(0, 300))
    def test_resumed(self, last, size, done):
        """Going on at the end of a range gives the ranges that were left."""
        ranges = list(chunks(0, last, size))
        done %= len(ranges)
        assert list(chunks(ranges[done].start, last, size)) == ranges[done:]
