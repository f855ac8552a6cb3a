"""Files are written whole or not at all, and held by one process at a time."""

import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from qsr.atomic import locked, replacing, sweep

HOLDS = """
import sys
from pathlib import Path
from qsr.atomic import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""

WITHOUT_FCNTL = """
import sys
from pathlib import Path
sys.modules["fcntl"] = None
import qsr.calibration
from qsr.atomic import locked
with locked(Path(sys.argv[1])), locked(Path(sys.argv[1])):
    print("both")
"""


class TestReplacing:
    """Writing a file that may be there already."""

    @pytest.mark.parametrize("earlier", [None, b"earlier, and longer"])
    def test_written(self, tmp_path, earlier):
        """What is written has the name at the end, and nothing else is left in the folder."""
        path = tmp_path / "a.txt"
        if earlier is not None:
            path.write_bytes(earlier)
        with replacing(path) as unfinished:
            unfinished.write_bytes(b"new")
            assert (path.read_bytes() if path.exists() else None) == earlier
        assert path.read_bytes() == b"new"
        assert list(tmp_path.iterdir()) == [path]

    @pytest.mark.parametrize("name", ["a.keras", "x" * 249 + ".keras"])
    def test_name(self, tmp_path, name):
        """The name to write to is hidden, in the same folder, of the same suffix and never long."""
        with replacing(tmp_path / name) as unfinished:
            assert unfinished.parent == tmp_path
            assert unfinished.name.startswith(".")
            assert unfinished.suffix == ".keras"
            unfinished.write_bytes(b"new")
        assert (tmp_path / name).read_bytes() == b"new"

    def test_two_at_once(self, tmp_path):
        """Two who write the same file write to two files, and the last to finish has the name."""
        path = tmp_path / "a.txt"
        with replacing(path) as first:
            first.write_bytes(b"first")
            with replacing(path) as second:
                assert not second.exists()
                second.write_bytes(b"second")
            assert path.read_bytes() == b"second"
        assert path.read_bytes() == b"first"
        assert list(tmp_path.iterdir()) == [path]

    @pytest.mark.parametrize("error", [OSError(28, "No space left"), KeyboardInterrupt()])
    def test_failure(self, tmp_path, error):
        """After any exception the earlier file is as it was, and what was begun is gone."""
        path = tmp_path / "a.txt"
        path.write_bytes(b"earlier")

        def write_half():
            with replacing(path) as unfinished:
                unfinished.write_bytes(b"half")
                raise error

        with pytest.raises(type(error)):
            write_half()
        assert path.read_bytes() == b"earlier"
        assert list(tmp_path.iterdir()) == [path]

    def test_not_renamed(self, tmp_path):
        """A folder in the file's place is an OSError, stays, and is alone."""
        path = tmp_path / "a.txt"
        path.mkdir()
        with pytest.raises(OSError, match="directory"), replacing(path) as unfinished:
            unfinished.write_bytes(b"new")
        assert list(tmp_path.iterdir()) == [path]
        assert path.is_dir()

    def test_nothing_written(self, tmp_path):
        """Who writes nothing gets an OSError, and the earlier file stays."""
        path = tmp_path / "a.txt"
        path.write_bytes(b"earlier")
        with pytest.raises(FileNotFoundError), replacing(path):
            pass
        assert path.read_bytes() == b"earlier"

    def test_flushed(self, tmp_path, monkeypatch):
        """The bytes are flushed to disk, all of them, before the file takes the name."""
        path = tmp_path / "a.txt"
        flushed = []

        def fsync(descriptor):
            flushed.append((os.fstat(descriptor), path.exists()))

        monkeypatch.setattr(os, "fsync", fsync)
        with replacing(path) as unfinished:
            unfinished.write_bytes(b"new")
        ((state, named),) = flushed
        assert (state.st_ino, state.st_size, named) == (path.stat().st_ino, 3, False)

    def test_not_flushed(self, tmp_path, monkeypatch):
        """A flush that fails keeps the earlier file, and what was begun is gone."""
        path = tmp_path / "a.txt"
        path.write_bytes(b"earlier")

        def fsync(_):
            raise OSError(5, "Input/output error")

        monkeypatch.setattr(os, "fsync", fsync)
        with pytest.raises(OSError, match="Input/output"), replacing(path) as unfinished:
            unfinished.write_bytes(b"new")
        assert path.read_bytes() == b"earlier"
        assert list(tmp_path.iterdir()) == [path]


class TestLocked:
    """Holding a file."""

    pytestmark = pytest.mark.skipif(os.name != "posix", reason="nothing is locked on Windows")

    def test_twice(self, tmp_path):
        """A held file is refused, and is free afterwards, after an exception too."""
        path = tmp_path / "lock"
        with suppress(KeyboardInterrupt), locked(path):
            with pytest.raises(BlockingIOError), locked(path):
                pass
            raise KeyboardInterrupt
        with locked(path):
            pass

    def test_other_process(self, tmp_path):
        """What another process holds is refused until that process is killed."""
        path = tmp_path / "lock"
        command = [sys.executable, "-c", HOLDS, path]
        with subprocess.Popen(  # noqa: S603 (our own script)
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as other:
            assert other.stdout.readline().strip() == b"held"
            with pytest.raises(BlockingIOError), locked(path):
                pass
            other.kill()
            other.wait()
            with locked(path):
                pass

    def test_content_stays(self, tmp_path):
        """A file that holds something can be locked, and keeps what it holds."""
        path = tmp_path / "log.jsonl"
        path.write_bytes(b"{}\n")
        with locked(path):
            pass
        assert path.read_bytes() == b"{}\n"

    def test_no_folder(self, tmp_path):
        """A file that cannot be made is an OSError."""
        with pytest.raises(FileNotFoundError), locked(tmp_path / "gone" / "lock"):
            pass


def test_without_fcntl(tmp_path):
    """Where Python has no ``fcntl``, calibration is imported and nothing is locked."""
    done = subprocess.run(  # noqa: S603 (our own script)
        [sys.executable, "-c", WITHOUT_FCNTL, tmp_path / "lock"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, "both\n"), done.stderr


def test_one_place():
    """No other module of qsr imports ``fcntl``, or renames what it wrote."""
    import qsr

    root = Path(qsr.__file__).parent
    others = [path for path in root.rglob("*.py") if path != root / "atomic.py"]
    assert len(others) > 20
    for path in others:
        source = path.read_text(encoding="utf-8")
        assert "fcntl" not in source, path
        assert ".unfinished" not in source, path


def test_sweep(tmp_path):
    """What a killed writer left is removed, and nothing else."""
    kept = tmp_path / "a.npz"
    kept.write_bytes(b"whole")
    with suppress(KeyboardInterrupt), replacing(kept) as unfinished:
        unfinished.write_bytes(b"half")
        shutil.copy(unfinished, left := unfinished.with_stem(f"{unfinished.stem}0"))
        raise KeyboardInterrupt
    assert left.exists()
    sweep(tmp_path)
    assert list(tmp_path.iterdir()) == [kept]
