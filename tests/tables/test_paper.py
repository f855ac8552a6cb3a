"""The paper's numbers, as data."""

import pytest

from qsr.errors import UsageError
from qsr.metrics import challenge_score
from qsr.models.zoo import BICUBIC, ZOO
from qsr.tables.paper import NUMBERS, claims, paper_table

ROWS = [row for number in NUMBERS for row in paper_table(number).rows]


def row(number, name):
    """Return the row of that name."""
    (found,) = (one for one in paper_table(number).rows if one.name == name)
    return found


@pytest.mark.parametrize(("number", "rows"), [(1, 14), (2, 6), (3, 12), (4, 5)])
def test_rows(number, rows):
    """A table has as many rows as the paper's, of different names."""
    assert len({one.name for one in paper_table(number).rows}) == rows


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("XCAT", (29.88, 29.81, 320, 240)),
        ("A", (29.85, 29.79, 320, 233)),
        ("D", (30.04, 29.97, 770, 124)),
        ("H", (29.87, 29.76, 300, 238)),
        ("M", (29.63, 29.15, 298, 103)),
    ],
)
def test_table_1(name, numbers):
    """Rows of Table 1, copied by hand from the paper."""
    one = row(1, name)
    assert (one.fp32_psnr_db, one.uint8_psnr_db, one.mali_ms, one.score) == numbers


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("Bicubic", [30.44, 27.63, 27.13, 24.43, 26.87, 28.82]),
        ("XLSR", [33.09, 29.59, 28.45, 26.48, 31.13, 30.10]),
        ("XCAT", [33.02, 29.54, 28.42, 26.38, 31.12, 29.88]),
    ],
)
def test_table_2(name, numbers):
    """Columns of Table 2, copied by hand from the paper."""
    assert list(row(2, name).set_psnr_db) == [
        *("Set5", "Set14", "B100", "Urban100", "Manga109", "DIV2K")
    ]
    assert list(row(2, name).set_psnr_db.values()) == numbers


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("21/7, m=2, straight", (29.87, 29.79, 320, 233)),
        ("21/7, m=12, straight", (30.04, 29.72, 580, 117)),
        ("24/8, m=6, cross", (30.02, 29.92, 410, 218)),
        ("56/8, m=4, straight", (30.04, 29.99, 620, 159)),
    ],
)
def test_table_3(name, numbers):
    """Rows of Table 3, copied by hand from the paper."""
    one = row(3, name)
    assert (one.fp32_psnr_db, one.uint8_psnr_db, one.mali_ms, one.score) == numbers


def test_table_4():
    """Columns of Table 4, copied by hand; what the paper leaves out is None."""
    fsrcnn, abpn = row(4, "FSRCNN"), row(4, "ABPN")
    assert (fsrcnn.fp32_psnr_db, fsrcnn.uint8_psnr_db, fsrcnn.drop_db) == (29.67, 18.52, 11.15)
    assert (fsrcnn.uint8_test_psnr_db, fsrcnn.synaptics_ms) == (None, None)
    assert (fsrcnn.parameters_thousands, fsrcnn.mali_ms, fsrcnn.score) == (25, 485, 0.003)
    assert (abpn.uint8_test_psnr_db, abpn.synaptics_ms, abpn.score) == (29.87, 36.9, 188)


def test_scores():
    """The paper's scores follow from its PSNR and times, but for three: as printed, they stay."""
    assert round(challenge_score(29.81, 320)) == 240
    rounding = 0.016  # 0.01 dB is 1.4% of a score
    wrong = {
        one.name
        for one in ROWS
        if one.score is not None
        and challenge_score(one.uint8_psnr_db, one.mali_ms)
        != pytest.approx(one.score, rel=rounding)
    }
    assert wrong == {"21/7, m=4, straight", "FSRCNN", "ESPCN"}


def test_drops():
    """The drops of Table 4 are differences of its PSNR, each of them rounded to 0.01 dB."""
    for one in paper_table(4).rows:
        assert one.fp32_psnr_db - one.uint8_psnr_db == pytest.approx(one.drop_db, abs=0.0101)


def test_same_network_same_numbers():
    """Rows of Tables 1 and 3 that one recipe trains have the same numbers in both."""
    shared = 0
    for one in paper_table(3).rows:
        for other in paper_table(1).rows:
            if one.recipe == other.recipe:
                shared += 1
                assert (one.fp32_psnr_db, one.uint8_psnr_db) == (
                    other.fp32_psnr_db,
                    other.uint8_psnr_db,
                )
                assert (one.mali_ms, one.score) == (other.mali_ms, other.score)
    assert shared == 2


def test_networks():
    """Every row is of a network of the zoo, or bicubic, which alone has no recipe."""
    assert {one.network for one in ROWS} == {*ZOO, BICUBIC}
    assert {one.network for one in ROWS if one.recipe is None} == {BICUBIC}


def test_claims():
    """The paper gives no numbers for what it only recommends."""
    assert len(claims()) == 3
    for one in claims():
        assert (one.fp32_psnr_db, one.uint8_psnr_db, one.mali_ms, one.score) == (None,) * 4


@pytest.mark.parametrize("number", [0, 5, -1])
def test_unknown(number):
    """There are four tables."""
    with pytest.raises(UsageError, match=rf"no table {number}; give one of 1, 2, 3, 4"):
        paper_table(number)
