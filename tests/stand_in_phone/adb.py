"""Stands in for adb: phones are a file with their states, and their storage is a folder.

As the real one it has a serial number to be given when there are several phones, joins the words of
``shell`` with blanks for the phone's own shell, and gives back that shell's exit code, or 0 from an
Android before 7.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

FOLDER = Path(os.environ["STAND_IN_PHONE"])
SETUP = json.loads((FOLDER / "setup.json").read_text())
STORAGE = "/data/local/tmp"
PROPERTIES = 'getprop() { case "$1" in *manufacturer) echo Maker;; *model) echo "Phone 7";; esac; }'


def main(words):
    """Do what adb does with a command line, and return its exit code."""
    with (FOLDER / "calls.jsonl").open("a") as calls:
        calls.write(json.dumps(words) + "\n")
    if SETUP.get("daemon") == "fails":
        return failed("error: cannot connect to daemon")
    if SETUP.get("daemon") == "starts":
        sys.stderr.write("* daemon not running; starting now at tcp:5037\n")
        sys.stderr.write("* daemon started successfully\n")
    if words == ["devices"]:
        lines = [f"{serial}\t{state}\n" for serial, state in SETUP["phones"].items()]
        sys.stdout.write("".join(["List of devices attached\n", *lines, "\n"]))
        return 0
    serial = None
    if words[0] == "-s":
        _, serial, *words = words
    if serial is None and len(SETUP["phones"]) > 1:
        return failed("error: more than one device/emulator")
    serial = serial or next(iter(SETUP["phones"]), None)
    if SETUP["phones"].get(serial) != "device" or gone():
        return failed(f"adb: error: failed to get feature set: device '{serial}' not found")
    return {"push": push, "shell": shell}[words[0]](*words[1:])


def push(source, target):
    """Copy a file to the phone, which takes no permissions along."""
    if SETUP.get("full"):
        return failed(f"adb: error: failed to copy '{source}': remote No space left on device")
    path = Path(target.replace(STORAGE, str(storage())))
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, path)
    sys.stdout.write(f"{source}: 1 file pushed, 0 skipped. 9.1 MB/s (1 bytes in 0.001s)\n")
    return 0


def shell(*words):
    """Run a command on the phone."""
    command = " ".join(words).replace(STORAGE, str(storage()))
    done = subprocess.run(["/bin/sh", "-c", f"{PROPERTIES}\n{command}"], check=False)  # noqa: S603
    return done.returncode if SETUP.get("exit_codes", True) else 0


def gone():
    """Whether the phone was unplugged by now."""
    calls = (FOLDER / "calls.jsonl").read_text().splitlines()
    return len(calls) > SETUP.get("unplugged_after", len(calls))


def storage():
    """Return the folder that is the phone's storage."""
    folder = FOLDER / "storage"
    folder.mkdir(exist_ok=True)
    return folder


def failed(line):
    """Say what is wrong."""
    sys.stderr.write(f"{line}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
