"""The command as a process: interruptions are never lost."""

import signal
import subprocess
import sys

import pytest

IN_A_DESTRUCTOR = """
import os, signal, sys, time
from relsplit.bench.command import Command

signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests may have it ignored, as nohup does

class Removed:
    def __del__(self):
        os.kill(os.getpid(), int(sys.argv[1]))
        here = True  # the handler raises here, where Python ignores it

class Started(Command):
    def start(self):
        Removed()
        time.sleep(600)

sys.exit(Started().run())
"""


@pytest.mark.parametrize(("number", "code", "said"), [(signal.SIGINT, 130, "int"), (signal.SIGTERM, 143, "termin")])
def test_an_interruption_that_python_ignores_comes_again(number: signal.Signals, code: int, said: str) -> None:
    command = [sys.executable, "-c", IN_A_DESTRUCTOR, str(int(number))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert done.stderr.startswith(said)
    assert done.stderr.count("\n") == 1, done.stderr
