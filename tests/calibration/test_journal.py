"""Journals: what a killed or failed run leaves, and which journals are refused."""

import json
import resource
import signal
from math import inf, nan

import pytest

from qsr.calibration.journal import Journal, check_journal
from qsr.calibration.proposal import Proposal, percentile, together
from qsr.errors import StudyError

IDENTITY = {"model": "m" * 64, "reader": "exact", "scheme": {"io": "uint8"}, "images": [1, 2]}
ONE, OTHER = "1" * 64, "2" * 64
PROPOSALS = {
    together(["a"]): ONE,
    together(["a", "b"]): OTHER,
    Proposal(("a", "b"), percentile(99.9)): OTHER,
    Proposal(("a", "b"), "mean", (("tensor", 1 / 3, 1.1),)): ONE,
}
SCORES = {
    (ONE, "selection"): (30.5, 1 / 3),
    (ONE, "screen x"): (1.0, 2.0, inf, -inf),
    (OTHER, "selection"): (inf, nan),
}


def write(journal):
    """Add everything to a journal."""
    for proposal, model in PROPOSALS.items():
        journal.add_model(proposal, model)
    journal.add_scores(ONE, "selection", 0, [30.5, 1 / 3])
    journal.add_scores(ONE, "screen x", 0, [1.0, 2.0])
    journal.add_scores(OTHER, "selection", 0, [inf, nan])
    journal.add_scores(ONE, "screen x", 2, [inf, -inf])


def same(scores, others):
    """Whether scores are equal, NaN to NaN."""
    return repr(scores) == repr(others)


@pytest.fixture
def path(tmp_path):
    """Where the journal is kept."""
    return tmp_path / "study.jsonl"


@pytest.fixture
def written(path):
    """A journal with models and scores."""
    with Journal(path, IDENTITY) as journal:
        write(journal)
    return path


def test_round_trip(written):
    """A journal opened again holds what was added, equal in every part, numbers or not."""
    with Journal(written, IDENTITY) as journal:
        assert journal.models == PROPOSALS
        assert same(sorted(journal.scores.items()), sorted(SCORES.items()))


def test_in_memory(tmp_path):
    """Without a file it holds the same, and writes nothing."""
    with Journal(None, IDENTITY) as journal:
        write(journal)
        assert journal.models == PROPOSALS
        assert same(sorted(journal.scores.items()), sorted(SCORES.items()))
    assert list(tmp_path.iterdir()) == []


def test_lines(path):
    """Models and scores are lines of strict JSON, in the file before they count as added."""
    with Journal(path, IDENTITY) as journal:
        journal.add_model(together(["a"]), ONE)
        journal.add_scores(ONE, "selection", 0, [1.5, nan, -inf])
        written = path.read_bytes()

    def refuse(constant):
        raise AssertionError(constant)

    lines = [json.loads(line, parse_constant=refuse) for line in written.splitlines()]
    assert len(lines) == 3
    assert lines[1]["proposal"]["images"] == ["a"]
    assert lines[2] == {
        "model": ONE, "items": "selection", "start": 0, "scores": [1.5, "nan", "-inf"],
    }  # fmt: skip


def test_on_disk_within_a_second(path, monkeypatch):
    """Each line is in the file at once, and forced to disk if the last time is a second ago."""
    flushed, now = [], [100.0]
    monkeypatch.setattr("qsr.calibration.journal.monotonic", lambda: now[0])
    with Journal(path, IDENTITY) as journal:
        monkeypatch.setattr("os.fsync", lambda _: flushed.append(path.read_bytes()))
        before = path.read_bytes()
        journal.add_scores(ONE, "selection", 0, [1.5, nan, -inf])
        first = path.read_bytes()
        assert first.startswith(before)
        assert len(first) > len(before)
        assert flushed == []
        now[0] += 1.5
        journal.add_scores(OTHER, "selection", 0, [0.5])
        assert flushed == [path.read_bytes()]
        journal.add_scores(OTHER, "confirmation", 0, [0.5])
        assert len(flushed) == 1


def test_measured_anew(path):
    """Scores from an earlier item on replace what was known from there."""
    with Journal(path, IDENTITY) as journal:
        journal.add_scores(ONE, "selection", 0, [1.0, 2.0, 3.0])
        journal.add_scores(ONE, "selection", 1, [9.0])
        with pytest.raises(ValueError, match="from item 5 on, but 2 are known"):
            journal.add_scores(ONE, "selection", 5, [9.0])
    with Journal(path, IDENTITY) as journal:
        assert journal.scores == {(ONE, "selection"): (1.0, 9.0)}


def test_long_lists_once(path):
    """Proposals that share hundreds of images list them once, across runs too."""
    names = tuple(f"photograph {number:04}.png" for number in range(800))
    proposals = {Proposal(names, percentile(q)): f"{q:064}" for q in range(100)}
    for part in (list(proposals)[:50], list(proposals)[50:]):
        with Journal(path, IDENTITY) as journal:
            for proposal in part:
                journal.add_model(proposal, proposals[proposal])
    assert path.read_text().count(names[0]) == 1
    assert path.stat().st_size < 60_000
    with Journal(path, IDENTITY) as journal:
        assert journal.models == proposals


def test_tuples_are_lists(written):
    """An identity that JSON gives back otherwise, with tuples, is still the same."""
    with Journal(written, {**IDENTITY, "images": (1, 2)}) as journal:
        assert journal.models == PROPOSALS


def test_torn_anywhere(written):
    """A file cut at any byte gives the lines that are whole, and goes on from there."""
    content = written.read_bytes()
    ends = [place + 1 for place, byte in enumerate(content) if byte == ord("\n")]
    near = {end + by for end in ends for by in (-2, -1, 0, 1)}
    for length in sorted({*near, *range(0, len(content), 11)} & {*range(len(content))}):
        written.write_bytes(content[:length])
        whole = sum(end <= length for end in ends)
        with Journal(written, IDENTITY) as journal:
            models = max(0, min(whole - 1, len(PROPOSALS)))
            assert list(journal.models.items()) == list(PROPOSALS.items())[:models]
            if models == len(PROPOSALS):
                known = sum(len(scores) for scores in journal.scores.values())
                assert known == 2 * (whole - 1 - models)
        assert written.read_bytes() == content[: ends[max(whole, 1) - 1]]
        with Journal(written, IDENTITY) as journal:
            for proposal, model in list(PROPOSALS.items())[models:]:
                journal.add_model(proposal, model)
        with Journal(written, IDENTITY) as journal:
            assert journal.models == PROPOSALS


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"model": "n" * 64}, "other model"),
        ({"reader": "converter"}, "reader: exact there, converter here"),
        ({"scheme": {"io": "int8"}}, "scheme: .*uint8.* there, .*int8.* here"),
        ({"images": [1]}, r"images: \[1, 2\] there, \[1\] here"),
        ({"new": 1}, "new: None there, 1 here"),
    ],
)
def test_another_study(written, change, named):
    """A journal of another study is refused with what differs, and stays as it was."""
    content = written.read_bytes() + b'{"torn'
    written.write_bytes(content)
    with pytest.raises(StudyError, match=f"another study .{named}.; give another folder"):
        Journal(written, {**IDENTITY, **change})
    assert written.read_bytes() == content


def test_all_that_differs(written):
    """Each part that differs is named."""
    with pytest.raises(StudyError, match=r"other model; reader: .* there, x here"):
        Journal(written, {**IDENTITY, "model": "n" * 64, "reader": "x"})


def test_another_format(written):
    """A journal of an older format is refused as such, whatever its lines hold."""
    written.write_text('{"format": 1, "model": "m"}\n{"images": ["a"], "score": 1.0}\n')
    for refuse in (Journal, check_journal):
        with pytest.raises(StudyError, match=r"another study .*format: 1 there, 2 here"):
            refuse(written, {"model": "m"})


def test_two_at_once(written):
    """A journal that is open is refused, and free again when closed."""
    with (
        Journal(written, IDENTITY),
        pytest.raises(StudyError, match="another process is running this search"),
    ):
        Journal(written, IDENTITY)
    with Journal(written, IDENTITY) as journal:
        assert journal.models == PROPOSALS


def test_free_after_a_refusal(written):
    """A refused journal is not left locked."""
    with pytest.raises(StudyError):
        Journal(written, {})
    with Journal(written, IDENTITY) as journal:
        assert journal.models == PROPOSALS


@pytest.mark.parametrize(
    "content",
    [
        b"\x89PNG\r\n\x1a\n\x00\x00 a picture",
        b"a letter without an end",
        b"12\n13\n",
        b"[1, 2]\n",
        b"null\n",
        b"\xff\xfe\n",
    ],
)
def test_another_file(path, content):
    """A file of another kind, or damaged before its end, is refused and stays as it was."""
    path.write_bytes(content)
    with pytest.raises(StudyError) as error:
        Journal(path, IDENTITY)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"{}",
        b"12",
        b"null",
        b'"proposal"',
        b'["proposal"]',
        b'{"model": "x", "items": "selection", "start": 0}',
        b'{"model": "x", "items": "selection", "start": 0, "scores": ["many"]}',
        b'{"model": "x", "items": "selection", "start": 0, "scores": 7}',
        b'{"model": "x", "items": "selection", "start": 3, "scores": [1.0]}',
        b'{"model": "x", "items": "selection", "start": -1, "scores": [1.0]}',
        b'{"model": "x", "items": "selection", "start": "0", "scores": [1.0]}',
        b'{"proposal": {"images": ["a"]}, "model": "x"}',
        b'{"proposal": {"images": 4, "statistic": "mean", "factors": []}, "model": "x"}',
        b'{"proposal": {"images": ["a"], "statistic": "mean", "factors": [["t", 1]]}, "model": 1}',
        b'{"proposal": {"images": ["a"], "statistic": "mean", "factors": []}}',
        b'{"proposal": "a", "model": "x"}',
        b"\xff\xfe",
    ],
)
def test_damaged(written, line):
    """A journal with a whole line that says nothing is refused, and stays as it was."""
    content = written.read_bytes() + line + b"\n"
    written.write_bytes(content)
    with pytest.raises(
        StudyError, match=r"damaged journal, line \d+ \(.* from that line on"
    ) as error:
        Journal(written, IDENTITY)
    assert "\n" not in str(error.value)
    assert written.read_bytes() == content


def test_no_room(path):
    """A full disk, here a limit of the file's size, is named, and what was finished is kept."""
    with Journal(path, IDENTITY) as journal:
        journal.add_scores(ONE, "selection", 0, [1.0])
        size = path.stat().st_size
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, hard))
            with pytest.raises(StudyError, match=r"cannot be written .*finished trials are kept"):
                journal.add_scores(OTHER, "selection", 0, [2.0])
            journal.__exit__(None, None, None)  # while there is still no room
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            signal.signal(signal.SIGXFSZ, before)
    with Journal(path, IDENTITY) as journal:
        assert journal.scores == {(ONE, "selection"): (1.0,)}
        journal.add_scores(OTHER, "selection", 0, [2.0])
    with Journal(path, IDENTITY) as journal:
        assert journal.scores == {(ONE, "selection"): (1.0,), (OTHER, "selection"): (2.0,)}


def test_no_folder(tmp_path):
    """A journal that cannot be made says where."""
    with pytest.raises(StudyError, match=r"study\.jsonl: cannot be written: No such file"):
        Journal(tmp_path / "nowhere" / "study.jsonl", IDENTITY)


class TestCheck:
    """Asking beforehand whether a journal fits."""

    def test_fits(self, written):
        """A journal that agrees in the parts given is accepted."""
        check_journal(written, {"model": IDENTITY["model"], "images": (1, 2)})

    def test_differs(self, written):
        """A journal that differs in a part given is refused, and the part is named."""
        with pytest.raises(StudyError, match=r"another study \(reader: exact there"):
            check_journal(written, {"model": IDENTITY["model"], "reader": "converter"})

    def test_missing_or_torn(self, written):
        """No journal, and one torn in its first line, fit any study."""
        check_journal(written.with_name("other.jsonl"), IDENTITY)
        written.write_bytes(written.read_bytes()[:20])
        check_journal(written, IDENTITY)

    @pytest.mark.parametrize("content", [b"a letter\n", b"12\n", b"[1]\n"])
    def test_another_file(self, path, content):
        """A file of another kind is refused."""
        path.write_bytes(content)
        with pytest.raises(StudyError, match=r"no journal of qsr|no study at all"):
            check_journal(path, IDENTITY)

    def test_unreadable(self, tmp_path):
        """A folder in the journal's place is refused."""
        with pytest.raises(StudyError, match="cannot be read: Is a directory"):
            check_journal(tmp_path, IDENTITY)
