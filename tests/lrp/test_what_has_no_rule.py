"""An operation without a rule: one line that names it, its module and the user's line, and nothing else."""

import subprocess
from pathlib import Path

import pytest

from errors_of_a_program import ran

PROGRAM = """
    import torch
    from torch import nn
    from relsplit import LRP
    from relsplit.errors import InputError

    class Net(nn.Module):
        # ``odd`` between a convolution and a linear layer; ``bends``: by an if that a trace cannot follow.
        def __init__(self, odd, bends):
            super().__init__()
            self.conv, self.odd, self.fc = nn.Conv2d(3, 4, 3), odd, nn.Linear(4, 3)
            self.bends = bends

        def forward(self, x):
            h = self.conv(x).relu()
            if self.bends and h.shape[0] > 100:
                h = h * 2
            return self.fc(self.odd(h).mean((2, 3)))

    def tell(name, odd, bends, **options):
        try:
            relevance = LRP(Net(odd, bends).eval(), **options).attribute(torch.rand(2, 3, 8, 8), 1)
            print(f"{name}|{bends}|{tuple(relevance.shape)}")
        except InputError as error:
            print(f"{name}|{bends}|{error}")

    class Accumulated(nn.Module):
        def forward(self, x):
            return torch.logcumsumexp(x, 1)  # logcumsumexp

    class Multiplied(nn.Module):
        def forward(self, x):
            return x.cumprod(1)  # cumprod

    class Inverted(nn.Module):
        def forward(self, x):
            return torch.linalg.inv(x @ x.mT + torch.eye(6))  # inv

    class Transformed(nn.Module):
        def forward(self, x):
            return torch.fft.fft2(x).abs()  # fft

    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = Multiplied()

        def forward(self, x):
            return self.inner(x * 2)

    class Gated(nn.Module):
        def forward(self, x):
            return x * torch.sigmoid(x.cumprod(1))

    def function(x):
        return torch.special.i0(x)  # i0

    class ByFunction(nn.Module):
        def forward(self, x):
            return function(x)

    for bends in (False, True):
        tell("logcumsumexp", Accumulated(), bends)
        tell("cumprod", Multiplied(), bends)
        tell("inv", Inverted(), bends)
        tell("fft", Transformed(), bends)
        tell("wrapped", Wrapped(), bends)
        tell("i0", ByFunction(), bends)
        tell("remedy", Multiplied(), bends, leaves={Multiplied: "pass"})
        tell("gated", Gated(), bends)
"""
OPERATIONS = {
    "logcumsumexp": "odd", "cumprod": "odd", "inv": "odd", "fft": "odd", "i0": "odd", "wrapped": "odd.inner"
}  # fmt: skip


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> "subprocess.CompletedProcess[str]":
    return ran(PROGRAM, tmp_path_factory.mktemp("program"))


def said(done: "subprocess.CompletedProcess[str]", name: str, bends: bool) -> str:
    (line,) = [line for line in done.stdout.splitlines() if line.startswith(f"{name}|{bends}|")]
    return line.split("|", 2)[2]


def test_nothing_else_is_said(done: "subprocess.CompletedProcess[str]") -> None:
    assert done.stderr == ""
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 2 * (len(OPERATIONS) + 2)


@pytest.mark.parametrize("bends", [False, True], ids=["", "control flow"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_names_the_operation_the_module_and_the_line(
    name: str, bends: bool, done: "subprocess.CompletedProcess[str]"
) -> None:
    operation = "cumprod" if name == "wrapped" else name
    lines = [line.rstrip() for line in PROGRAM.lstrip("\n").splitlines()]
    line = next(index for index, each in enumerate(lines, 1) if each.endswith(f"# {operation}"))
    message = said(done, name, bends)
    assert operation in message
    assert OPERATIONS[name] in message
    assert f"program.py:{line}" in message


@pytest.mark.parametrize("bends", [False, True], ids=["", "control flow"])
@pytest.mark.parametrize("name", ["remedy", "gated"])
def test_the_remedy_works_and_gates_need_none(name: str, bends: bool, done: "subprocess.CompletedProcess[str]") -> None:
    assert said(done, name, bends) == "(2, 3, 8, 8)"


DETECTOR = """
    import torch, torchvision
    from relsplit import LRP
    from relsplit.errors import InputError

    model = torchvision.models.detection.fasterrcnn_mobilenet_v3_large_320_fpn(
        weights=None, weights_backbone=None, num_classes=4
    ).eval()
    try:
        LRP(model).attribute(torch.rand(1, 3, 64, 64), 1)
    except InputError as error:
        print(error)
"""


def test_a_detector_is_refused_in_one_line(tmp_path: Path) -> None:
    """Boxes are no class scores."""
    done = ran(DETECTOR, tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stderr == "", f"{len(done.stderr.splitlines())} lines"
    assert len(done.stdout.splitlines()) == 1
