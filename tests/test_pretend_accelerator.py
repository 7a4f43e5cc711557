"""Everything runs on an accelerator, equal to the CPU, mixes nothing, and hardly ever makes it wait.

The device is pretended (``pretend_accelerator``) in a process of its own; where there is a GPU, the same runs on it.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from on_an_accelerator import CONF, EXPLAINED, HEADS, NETWORKS, OPTIONS, TARGETS, distinct_methods
from pretend_accelerator import is_available
from relsplit.metrics.insertion_deletion.protocols import PROTOCOLS

TESTS = Path(__file__).parent
DEVICES = [
    pytest.param(
        "pretend",
        marks=pytest.mark.skipif(not is_available(), reason="this PyTorch cannot register a device from Python"),
    ),
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")),
]
TOLERATED = {"pretend": 1e-9, "cuda": 1e-6}
METRICS = [path.stem for path in sorted((CONF / "metric").glob("*.yaml"))]
METRICS += [f"insertion and deletion, {protocol}" for protocol in PROTOCOLS.names()]
METRICS += [f"pixel flipping of {name}" for name in EXPLAINED]
MOST_WAITS = 3
"""Of one call of LRP, however deep the network and however many the images."""


def started(*arguments: str) -> "subprocess.CompletedProcess[str]":
    paths = [str(TESTS.parent / "src"), str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False, env=environment, timeout=1800
    )


@cache
def outcomes(device: str) -> dict[str, dict[str, Any]]:
    done = started(str(TESTS / "on_an_accelerator.py"), device)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def check(device: str, kind: str, name: str) -> None:
    found = outcomes(device)[kind][name]
    assert found["error"] is None, found["error"]
    assert found["difference"] <= TOLERATED[device]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", distinct_methods())
def test_explainer(name: str, device: str) -> None:
    check(device, "explainers", name)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", METRICS)
def test_metric(name: str, device: str) -> None:
    check(device, "metrics", name)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", [*TARGETS, *(f"of {head}" for head in HEADS)])
def test_target(name: str, device: str) -> None:
    check(device, "targets", name)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", [*OPTIONS, "at all", "check"])
def test_option(name: str, device: str) -> None:
    check(device, "options", name)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("target", ["predicted", "given"])
@pytest.mark.parametrize("network", NETWORKS)
def test_lrp_hardly_waits(network: str, target: str, device: str) -> None:
    one, four = (outcomes(device)["waits"][f"{network}, {count} images, {target}"] for count in (1, 4))
    assert sum(one.values()) <= MOST_WAITS, one
    assert four == one


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("network", ["ResNet", "transformer"])
def test_depth_makes_nobody_wait(network: str, device: str) -> None:
    waits = outcomes(device)["waits"]
    assert waits[f"a deeper {network}, 1 images, given"] == waits[f"{network}, 1 images, given"]


PROPERTIES = """
import torch
from pretend_accelerator import Accelerator, registered

device = registered()
with Accelerator() as watch:
    there, here = torch.rand(3, 4).to(device), torch.rand(3, 4)
    {statement}
"""
HOLDS: dict[str, str] = {
    "says where it is": "assert there.device == device and torch.zeros(2, device=device).device == device",
    "computes": "assert torch.equal((there @ there.T).cpu(), there.cpu() @ there.cpu().T)",
    "a view has its base's memory": (
        "view = there[1:, ::2]; assert view.untyped_storage()._cdata == there.untyped_storage()._cdata; "
        "assert view.storage_offset() == 4 and view.stride() == (4, 2)"
    ),
    "a view of a view, too": "view = there.T[1:].unsqueeze(0)[:, :, 1]; "
    "assert view.untyped_storage()._cdata == there.untyped_storage()._cdata and view.storage_offset() == 5",
    "a write into a view reaches its base": "there[1:].zero_(); assert there.cpu()[1:].abs().sum() == 0",
    "in place is the same tensor": "assert there.relu_() is there and there.add_(1) is there",
    "another tensor has memory of its own": (
        "assert there.clone().untyped_storage()._cdata != there.untyped_storage()._cdata"
    ),
    "a number may be mixed in": "there + 1, there * torch.tensor(2.0)",
    "gradients": "there.requires_grad_().square().sum().backward(); assert there.grad.device == device",
    "gradients in this thread": (
        "import threading; ran = []; there.requires_grad_(); "
        "there.register_hook(lambda _: ran.append(threading.get_ident())); there.square().sum().backward(); "
        "assert ran == [threading.get_ident()]"
    ),
    "counts": "there.sum().item(); bool((there > 0).all()); there.cpu(); there.nonzero(); there[there > 2]; "
    "torch.equal(there, there); assert sum(watch.waits.values()) == 6, watch.waits",
    "counts nothing else": "there.relu().sum(); there[:, 1]; torch.zeros(3, device=device) + there[:, 0]; "
    "torch.where(there > 1, there, 0); there[torch.tensor([0, 2], device=device)]; "
    "assert not +watch.waits, watch.waits",
    "as under inference mode": "torch.inference_mode().__enter__(); "
    "assert there.cpu().device.type == 'cpu' and there[1:].device == device and watch.waits.total() == 1",
}
REFUSED: dict[str, str] = {
    "a sum": "there + here",
    "a product": "torch.nn.functional.linear(there, here)",
    "an index": "there[torch.tensor([0, 2])]",
    "a mask": "there.masked_fill(here > 0.5, 0)",
    "a concatenation": "torch.cat([there, here])",
    "in place": "there.add_(here)",
}


def _held(statements: dict[str, str], wrap: Callable[[str], str]) -> None:
    """Run all of them in one process, each by itself."""
    body = "\n    ".join(
        f"there, here = torch.rand(3, 4).to(device), torch.rand(3, 4); watch.waits.clear()\n    {wrap(each)}"
        for each in statements.values()
    )
    done = started("-c", PROPERTIES.format(statement=body))
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.skipif(not is_available(), reason="this PyTorch cannot register a device from Python")
def test_the_pretended_device_behaves_as_one() -> None:
    _held(HOLDS, lambda each: each)


@pytest.mark.skipif(not is_available(), reason="this PyTorch cannot register a device from Python")
def test_the_pretended_device_is_not_mixed_with_the_cpu() -> None:
    refused = (
        "try: {each}\n    except RuntimeError as error: assert 'one device' in str(error), error\n"
        "    else: raise SystemExit({name!r})"
    )
    _held(REFUSED, lambda each: refused.format(each=each, name=each))
