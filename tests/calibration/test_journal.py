"""Journals: what a killed or failed run leaves, and which journals are refused."""

import json
import resource
import signal

import pytest

from qsr.calibration.study import Journal, Trial, check_journal
from qsr.errors import StudyError

IDENTITY = {"model": "m" * 64, "strategy": "Linear()", "scheme": {"io": "uint8"}, "images": [1, 2]}
FIRST = Trial(("a",), 30.5, (30.0, 31.0), "1" * 64)
SECOND = Trial(("b", "c"), float("inf"), (float("inf"),), "2" * 64)


@pytest.fixture
def path(tmp_path):
    """Where the journal is kept."""
    return tmp_path / "study.jsonl"


@pytest.fixture
def written(path):
    """A journal with two trials."""
    with Journal(path, IDENTITY) as journal:
        journal.add(FIRST)
        journal.add(SECOND)
    return path


def test_round_trip(written):
    """A journal opened again holds the trials that were added, equal in every part."""
    with Journal(written, IDENTITY) as journal:
        assert list(journal.trials.values()) == [FIRST, SECOND]


def test_on_disk_at_once(path):
    """A trial is in the file as one JSON line as soon as it is added."""
    with Journal(path, IDENTITY) as journal:
        journal.add(FIRST)
        lines = path.read_text().splitlines()
        assert len(lines) == 2
        assert json.loads(lines[1])["images"] == ["a"]


def test_tuples_are_lists(written):
    """An identity that JSON gives back otherwise, with tuples, is still the same."""
    with Journal(written, {**IDENTITY, "images": (1, 2)}) as journal:
        assert len(journal.trials) == 2


def test_torn_anywhere(written):
    """A file cut at any byte gives the trials that are whole, and goes on from there."""
    content = written.read_bytes()
    ends = [place + 1 for place, byte in enumerate(content) if byte == ord("\n")]
    for length in range(len(content)):
        written.write_bytes(content[:length])
        whole = sum(end <= length for end in ends[1:])
        with Journal(written, IDENTITY) as journal:
            assert list(journal.trials.values()) == [FIRST, SECOND][:whole]
            for trial in (FIRST, SECOND)[whole:]:
                journal.add(trial)
        assert written.read_bytes() == content


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"model": "n" * 64}, "other model"),
        ({"strategy": "Greedy()"}, r"strategy: Linear\(\) there, Greedy\(\) here"),
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
    with pytest.raises(StudyError, match=r"other model; strategy: .* there, x here"):
        Journal(written, {**IDENTITY, "model": "n" * 64, "strategy": "x"})


def test_two_at_once(written):
    """A journal that is open is refused, and free again when closed."""
    with (
        Journal(written, IDENTITY),
        pytest.raises(StudyError, match="another process is running this search"),
    ):
        Journal(written, IDENTITY)
    with Journal(written, IDENTITY) as journal:
        assert len(journal.trials) == 2


def test_free_after_a_refusal(written):
    """A refused journal is not left locked."""
    with pytest.raises(StudyError):
        Journal(written, {})
    with Journal(written, IDENTITY) as journal:
        assert len(journal.trials) == 2


@pytest.mark.parametrize(
    "content",
    [
        b"\x89PNG\r\n\x1a\n\x00\x00 a picture",
        b"a letter without an end",
        b"12\n13\n",
        b"[1, 2]\n",
        b"null\n",
        b'{"format": 1}\n{"images": ["a"]}\n',
        b'{"format": 1}\n{"images": ["a"]\n{}\n',
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


def test_no_room(path):
    """A full disk, here a limit of the file's size, is named, and what was finished is kept."""
    with Journal(path, IDENTITY) as journal:
        journal.add(FIRST)
        size = path.stat().st_size
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, hard))
            with pytest.raises(StudyError, match=r"cannot be written .*finished trials are kept"):
                journal.add(SECOND)
            journal.__exit__(None, None, None)  # while there is still no room
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            signal.signal(signal.SIGXFSZ, before)
    with Journal(path, IDENTITY) as journal:
        assert list(journal.trials.values()) == [FIRST]
        journal.add(SECOND)
    with Journal(path, IDENTITY) as journal:
        assert list(journal.trials.values()) == [FIRST, SECOND]


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
        with pytest.raises(StudyError, match=r"another study \(strategy: Linear\(\) there"):
            check_journal(written, {"model": IDENTITY["model"], "strategy": "Greedy()"})

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
