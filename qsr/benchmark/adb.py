"""A phone that is attached through adb, the debug bridge of Android's platform tools."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from qsr.errors import DeviceError, UsageError

_ANSWERS_WITHIN_S = 60.0
_READY = "device"
_SERIAL_VARIABLE = "ANDROID_SERIAL"

_NOT_READY = {
    "unauthorized": "has not allowed this computer to debug it; unlock it, accept the question "
    "on its screen, and try again",
    "offline": "is offline; plug it in again, or restart adb with: adb kill-server",
    "no permissions": "cannot be opened by this user; install adb's udev rules (on Debian and "
    "Ubuntu the package android-sdk-platform-tools-common) and plug it in again",
}
"""What can be done about a state that ``adb devices`` shows, by how its name begins."""


@dataclass(frozen=True)
class Answer:
    """What a command printed, to either stream, and its exit code."""

    code: int
    text: str


@dataclass(frozen=True)
class Phone:
    """A phone that is ready.

    Attributes:
        adb: path of the adb program.
        serial: what ``adb devices`` calls the phone.
    """

    adb: str
    serial: str

    def push(self, source: Path, target: str) -> None:
        """Copy a file to the phone: ``adb -s SERIAL push SOURCE TARGET``.

        Args:
            source: on this host.
            target: path on the phone; folders are made.

        Raises:
            DeviceError: it cannot be copied.
        """
        answer = _asked(self.adb, ["-s", self.serial, "push", str(source), target])
        if answer.code:
            raise DeviceError(
                f"{source}: cannot be copied to {self.serial}: {last_line(answer.text)}"
            )

    def shell(self, command: str, *, within_s: float = _ANSWERS_WITHIN_S) -> Answer:
        """Run a command on the phone: ``adb -s SERIAL shell COMMAND``.

        Its exit code comes back from Android 7 on; from an older one it is always 0.

        Args:
            command: for the phone's own shell, quoted.
            within_s: seconds that it may take.

        Raises:
            DeviceError: it takes longer.
        """
        return _asked(self.adb, ["-s", self.serial, "shell", command], within_s)

    def model(self) -> str:
        """Return the phone's maker and model, or its serial number if it does not say.

        Raises:
            DeviceError: it does not answer.
        """
        answer = self.shell("getprop ro.product.manufacturer; getprop ro.product.model")
        return (" ".join(answer.text.split()) if answer.code == 0 else "") or self.serial


def attached_phone(serial: str | None = None) -> Phone:
    """Find the phone to use: ``adb devices``.

    Args:
        serial: of the phone, if several are attached; the environment's ``ANDROID_SERIAL``, which
            adb heeds too, if None.

    Raises:
        DeviceError: there is no adb, no phone, or none that is ready.
        UsageError: several are ready, or none has that serial number.
    """
    adb = shutil.which("adb")
    if adb is None:
        raise DeviceError(
            "adb is not on the PATH; install Android's platform tools (on Debian and Ubuntu the "
            "package adb)"
        )
    states = _states(adb)
    wanted = serial or os.environ.get(_SERIAL_VARIABLE)
    if not states:
        raise DeviceError(
            "no phone is attached; plug one in, and turn on USB debugging in its developer options"
        )
    if wanted is not None and wanted not in states:
        raise UsageError(f"no phone {wanted} is attached; there is {', '.join(states)}")
    ready = [name for name, state in states.items() if state == _READY]
    if wanted is None and len(ready) > 1:
        raise UsageError(
            f"several phones are attached: choose one with --serial {ready[0]}, or "
            f"{', '.join(ready[1:])}"
        )
    chosen = wanted or next(iter(ready or states))
    if chosen not in ready:
        raise DeviceError(f"phone {chosen} {_advice(states[chosen])}")
    return Phone(adb, chosen)


def last_line(text: str) -> str:
    """Return the last line with text in it, or a word that there is none."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"


def _states(adb: str) -> dict[str, str]:
    """Return the phones that ``adb devices`` lists, by serial number, and the state of each."""
    answer = _asked(adb, ["devices"])
    if answer.code:
        raise DeviceError(f"adb devices failed: {last_line(answer.text)}")
    listed = (line.partition("\t") for line in answer.text.splitlines())
    return {serial: state.strip() for serial, tab, state in listed if tab}


def _advice(state: str) -> str:
    known = (advice for name, advice in _NOT_READY.items() if state.startswith(name))
    return next(known, f"is not ready: adb says {state}")


def _asked(adb: str, words: Sequence[str], within_s: float = _ANSWERS_WITHIN_S) -> Answer:
    try:
        done = subprocess.run(  # noqa: S603 (the user's own adb, and no shell of this host)
            [adb, *words],
            stdin=subprocess.DEVNULL,  # adb shell would read it
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=within_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise DeviceError(
            f"adb {' '.join(words)}: no answer within {within_s:g} s; is the phone still there?"
        ) from error
    except OSError as error:
        raise DeviceError(f"{adb}: cannot be run: {error.strerror}") from error
    return Answer(done.returncode, done.stdout.decode(errors="replace").replace("\r\n", "\n"))
