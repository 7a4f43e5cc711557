"""TF32 is off within, and afterwards everything is as before, whoever leaves last."""

import threading

import pytest
import torch

from relsplit.lrp.precision import full_precision

GPU, CPU = torch.device("cuda"), torch.device("cpu")


def setting() -> tuple[bool, bool]:
    """Whether convolutions and products may use TF32."""
    return torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32


def test_is_off_within_and_restored_after_an_error() -> None:
    before = setting()
    found: list[object] = []

    def fail() -> None:
        with full_precision(GPU):
            found.append(setting())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert found[0] == (False, False)
    assert setting() == before
    assert before == (True, False), "PyTorch's own choice"


def test_a_cpu_changes_nothing() -> None:
    before = setting()
    with full_precision(CPU):
        assert setting() == before


def test_the_last_thread_restores() -> None:
    before = setting()
    entered, leave = threading.Event(), threading.Event()

    def other() -> None:
        with full_precision(GPU):
            entered.set()
            leave.wait(600)  # a guard only

    thread = threading.Thread(target=other)
    with full_precision(GPU):
        thread.start()
        assert entered.wait(600)
    assert setting() != before
    leave.set()
    thread.join()
    assert setting() == before


@pytest.mark.skipif(not hasattr(torch.backends.cudnn, "conv"), reason="before PyTorch 2.9 precisions have no names")
def test_precisions_that_were_set_by_name() -> None:
    convolution = torch.backends.cudnn.conv
    try:
        convolution.fp32_precision = "none"
        with full_precision(GPU):
            assert convolution.fp32_precision == "ieee"
        assert convolution.fp32_precision == "none"
    finally:
        convolution.fp32_precision = "tf32"
    assert setting() == (True, False)
