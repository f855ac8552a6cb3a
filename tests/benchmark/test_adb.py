"""Finding a phone and talking to it, through a stand-in for adb."""

import os
import re

import pytest

from qsr.benchmark.adb import attached_phone, last_line
from qsr.errors import DeviceError, UsageError


class TestFinding:
    """Which phone is used, and what is said of phones that cannot be."""

    @pytest.mark.parametrize("daemon", ["runs", "starts"])
    def test_only(self, stand_in_phone, daemon):
        """The only phone is used, also when adb tells of its daemon first."""
        stand_in = stand_in_phone(daemon=daemon)
        assert attached_phone().serial == "A1"
        assert stand_in.calls == [["devices"]]

    def test_ready(self, stand_in_phone):
        """Of several phones the one that is ready is used."""
        stand_in_phone(phones={"A1": "offline", "B2": "device"})
        assert attached_phone().serial == "B2"

    def test_chosen(self, stand_in_phone, monkeypatch):
        """Of several, the one that is named is used, or that the environment names to adb."""
        stand_in_phone(phones={"A1": "device", "B2": "device"})
        assert attached_phone("B2").serial == "B2"
        monkeypatch.setenv("ANDROID_SERIAL", "A1")
        assert attached_phone().serial == "A1"
        assert attached_phone("B2").serial == "B2"

    def test_several(self, stand_in_phone):
        """Of several, none is guessed."""
        stand_in_phone(phones={"A1": "device", "B2": "device", "C3": "device"})
        with pytest.raises(UsageError, match="choose one with --serial A1, or B2, C3"):
            attached_phone()

    def test_unknown(self, stand_in_phone):
        """A phone that is not attached is told, and those that are."""
        stand_in_phone()
        with pytest.raises(UsageError, match="no phone Z9 is attached; there is A1"):
            attached_phone("Z9")

    def test_none(self, stand_in_phone):
        """No phone is told, and what to do."""
        stand_in_phone(phones={})
        with pytest.raises(DeviceError, match="no phone is attached; plug one in, and turn on USB"):
            attached_phone()

    @pytest.mark.parametrize("serial", [None, "A1"])
    @pytest.mark.parametrize(
        ("state", "advice"),
        [
            ("unauthorized", "phone A1 has not allowed this computer to debug it; unlock it"),
            ("offline", "phone A1 is offline; plug it in again"),
            (
                "no permissions (user in plugdev group); see [http://developer.android.com]",
                "phone A1 cannot be opened by this user; install adb's udev rules",
            ),
            ("recovery", "phone A1 is not ready: adb says recovery"),
        ],
    )
    def test_not_ready(self, stand_in_phone, serial, state, advice):
        """A phone that is not ready is told, and what to do."""
        stand_in_phone(phones={"A1": state})
        with pytest.raises(DeviceError, match=re.escape(advice)):
            attached_phone(serial)

    def test_no_adb(self, monkeypatch, tmp_path):
        """Without adb it is said where to get it."""
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(DeviceError, match="adb is not on the PATH; install"):
            attached_phone()

    def test_daemon(self, stand_in_phone):
        """What adb itself fails of is told."""
        stand_in_phone(daemon="fails")
        with pytest.raises(
            DeviceError, match="adb devices failed: error: cannot connect to daemon"
        ):
            attached_phone()

    def test_no_program(self, stand_in_phone):
        """An adb that is no program is told."""
        adb = stand_in_phone().folder / "bin/adb"
        adb.write_bytes(b"\x00")
        with pytest.raises(DeviceError, match=f"{adb}: cannot be run: Exec format error"):
            attached_phone()


@pytest.fixture
def typed():
    """Type something on standard input, the descriptor itself."""
    kept = os.dup(0)

    def type_(text):
        reader, writer = os.pipe()
        os.write(writer, text)
        os.dup2(reader, 0)
        os.close(writer)
        os.close(reader)

    yield type_
    os.dup2(kept, 0)
    os.close(kept)


class TestTalking:
    """Commands and files."""

    def test_shell(self, stand_in_phone):
        """A command reaches the phone's own shell, and its text and exit code come back."""
        stand_in = stand_in_phone()
        answer = attached_phone().shell("echo one; echo two >&2; exit 3")
        assert (answer.code, sorted(answer.text.split())) == (3, ["one", "two"])
        assert stand_in.calls[-1] == ["-s", "A1", "shell", "echo one; echo two >&2; exit 3"]

    def test_no_input(self, stand_in_phone, typed):
        """What is typed here does not reach the phone."""
        stand_in_phone()
        typed(b"for another program")
        assert not attached_phone().shell("cat").text

    def test_line_ends(self, stand_in_phone):
        """Lines end as here, also those of phones that end them otherwise; any byte is text."""
        stand_in_phone()
        assert attached_phone().shell(r"printf 'a\r\nb\377\n'").text == "a\nb\ufffd\n"

    def test_push(self, stand_in_phone, tmp_path):
        """A file is copied whole, into a folder that was not there."""
        stand_in = stand_in_phone()
        (tmp_path / "a file").write_bytes(b"content")
        attached_phone().push(tmp_path / "a file", "/data/local/tmp/new/file")
        assert (stand_in.folder / "storage/new/file").read_bytes() == b"content"

    def test_full(self, stand_in_phone, tmp_path):
        """A file that cannot be copied is told, and why."""
        stand_in_phone(full=True)
        (tmp_path / "file").touch()
        with pytest.raises(DeviceError, match=r"cannot be copied to A1: .*No space left on device"):
            attached_phone().push(tmp_path / "file", "/data/local/tmp/file")

    def test_model(self, stand_in_phone):
        """A phone has a maker and a model."""
        stand_in_phone()
        assert attached_phone().model() == "Maker Phone 7"

    def test_unplugged(self, stand_in_phone):
        """A phone that is gone has its serial number as a name."""
        stand_in_phone(unplugged_after=1)
        assert attached_phone().model() == "A1"

    def test_hangs(self, stand_in_phone):
        """A phone that does not answer is told."""
        stand_in_phone()
        phone = attached_phone()
        with pytest.raises(DeviceError, match=r"no answer within 0\.2 s; is the phone"):
            phone.shell("sleep 1", within_s=0.2)


def test_last_line():
    """The last line with text counts."""
    assert last_line("one\n two \n\n") == "two"
    assert last_line(" \n") == "it said nothing"
