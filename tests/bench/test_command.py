"""The command: interruptions are never lost, and what it says of itself."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import relsplit
from relsplit.bench.command import Command

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


def test_a_folder_that_is_gone_is_said(tmp_path: Path) -> None:
    code = "import os, sys; os.rmdir(os.getcwd()); from relsplit.bench.command import main; sys.exit(main())"
    gone = tmp_path / "gone"
    gone.mkdir()
    done = subprocess.run([sys.executable, "-c", code], cwd=gone, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "error: the folder in which this was started is gone: change to another\n"


def test_the_version_is_this_packages(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["relsplit", "--version"])
    assert Command().run() == 0
    assert capsys.readouterr().out == f"relsplit {relsplit.__version__}\n"


def test_a_checkout_that_is_not_installed_has_a_version() -> None:
    """Whoever asks every imported module for its version gets an answer."""
    code = (
        "import importlib.metadata as m\n"
        "def version(name): raise m.PackageNotFoundError(name)\n"
        "m.version = version\n"
        "import relsplit; print(relsplit.__version__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "0+unknown\n", done.stderr


def test_how_much_hydra_is_to_say_changes_neither_the_code_nor_the_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "relsplit", "metric.localisatoin=1"]
    said = [
        subprocess.run(command, cwd=tmp_path, env=os.environ | more, capture_output=True, text=True, check=False)
        for more in ({}, {"HYDRA_FULL_ERROR": "0"})
    ]
    assert [each.returncode for each in said] == [2, 2]
    assert said[0].stderr == said[1].stderr
    assert said[0].stderr.count("\n") == 1
