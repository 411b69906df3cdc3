"""Programs side by side: their output, their devices, their end."""

import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from segmentation.commands.processes import Program, run_all


def program(name: str, code: str) -> Program:
    return Program(name, [sys.executable, "-c", code], Path(f"{name}.log"))


def test_one_that_fails_stops_no_other(capfd: pytest.CaptureFixture[str]) -> None:
    Path("b.log").write_text("of an earlier time\n")
    fails = program("b", "import sys; print('broken', file=sys.stderr); sys.exit(3)")
    assert run_all([program("a", "print('one\\ntwo')"), fails, program("c", "print('done')")], [None]) == [0, 3, 0]
    assert capfd.readouterr().out == "a | one\na | two\nb | broken\nc | done\n"
    assert Path("a.log").read_text() == "one\ntwo\n"
    assert Path("b.log").read_text() == "of an earlier time\nbroken\n"


def test_lines_come_while_a_program_runs(capfd: pytest.CaptureFixture[str]) -> None:
    waits = "import pathlib, time\nprint('first')\nwhile not pathlib.Path('go').exists(): time.sleep(0.01)"
    answers = "import pathlib, time\nwhile 'first' not in pathlib.Path('a.log').read_text(): time.sleep(0.01)\n"
    Path("a.log").touch()
    # neither ends before the other has run: they run side by side, and a log is written at once
    assert run_all([program("a", waits), program("b", answers + "pathlib.Path('go').touch()")], [None, None]) == [0, 0]
    assert "a | first" in capfd.readouterr().out


def test_each_device_runs_one_at_a_time() -> None:
    code = (
        "import os, pathlib, time\n"
        "device = pathlib.Path('on' + os.environ['CUDA_VISIBLE_DEVICES'])\n"
        "device.mkdir()\n"  # fails where another one is on this device
        "time.sleep(0.1)\nprint(device)\ndevice.rmdir()"
    )
    programs = [program(str(number), code) for number in range(5)]
    assert run_all(programs, ["3", "7"]) == [0] * 5
    assert {each.log.read_text() for each in programs} == {"on3\n", "on7\n"}


def test_one_that_is_no_longer_wanted_is_stopped_after_its_line() -> None:
    code = "import time\nfor number in range(9): print(number, flush=True); time.sleep(20 * (number == 2))"
    stopped = program("a", code)
    unwanted = replace(stopped, unwanted=lambda: "2" in stopped.log.read_text())
    assert run_all([unwanted, program("b", "print('runs')")], [None]) == [-signal.SIGTERM, 0]
    assert stopped.log.read_text() == "0\n1\n2\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_each_end_and_starts_no_other(tmp_path: Path, number: signal.Signals) -> None:
    ends = (
        "import pathlib, signal, sys\n"
        "def end(*_):\n    pathlib.Path(f'{sys.argv[1]}.ckpt').touch(); sys.exit(143)\n"
        "signal.signal(signal.SIGTERM, end)\npathlib.Path(f'{sys.argv[1]}.ready').touch()\n"
        "signal.pause()\nsignal.pause()"
    )
    code = (
        "import sys\nfrom pathlib import Path\nfrom segmentation.commands.processes import Program, run_all\n"
        f"programs = [Program(n, [sys.executable, '-c', {ends!r}, n], Path(n + '.log')) for n in 'abc']\n"
        "run_all(programs, [None, None])"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    while not (Path("a.ready").exists() and Path("b.ready").exists()):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(number)
    _, message = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert "stopping" in message and "Traceback" not in message
    assert {path.name for path in tmp_path.glob("*.ckpt")} == {"a.ckpt", "b.ckpt"}
    assert not Path("c.ready").exists()
