"""Weights come back from every way of saving them, and nothing in a file is ever run."""

import os
import pickle
from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision.models import resnet18

from relsplit.bench.models.checkpoint import load_checkpoint, read_checkpoint, read_state_dict
from relsplit.errors import InputError


class Net(nn.Module):
    def __init__(self, num_classes: int = 5) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.fc(self.norm(self.conv(images)).mean((2, 3)))


class Wrapped(nn.Module):
    """A network whose own parameter names begin like a wrapper's prefix."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Net()


def prefixed(network: nn.Module, prefix: str) -> dict[str, torch.Tensor]:
    return {prefix + name: value.clone() for name, value in network.state_dict().items()}


def assert_same(a: nn.Module, b: nn.Module) -> None:
    for (name, x), (other, y) in zip(a.state_dict().items(), b.state_dict().items(), strict=True):
        assert name == other
        assert torch.equal(x, y), name


@pytest.mark.parametrize(
    "prefix", ["", "module.", "model.", "network.", "_orig_mod.", "model.module.", "module.network."]
)
@pytest.mark.parametrize("container", [None, "state_dict", "model_state_dict", "model", "network"])
def test_every_way_of_saving_gives_the_weights_back(tmp_path: Path, prefix: str, container: str | None) -> None:
    trained, fresh = Net(), Net()
    state = prefixed(trained, prefix)
    # What training scripts and Lightning put beside the weights.
    content = state if container is None else {container: state, "epoch": 3, "optimizer": {"state": {}, "lr": 0.1}}
    torch.save(content, tmp_path / "weights.pt")
    load_checkpoint(fresh, tmp_path / "weights.pt")
    assert_same(fresh, trained)


@pytest.mark.parametrize("prefix", ["", "model.", "network.", "module.model."])
def test_a_network_with_a_submodule_called_model(tmp_path: Path, prefix: str) -> None:
    trained, fresh = Wrapped(), Wrapped()
    torch.save(prefixed(trained, prefix), tmp_path / "weights.pt")
    load_checkpoint(fresh, tmp_path / "weights.pt")
    assert_same(fresh, trained)


def test_buffers_of_a_loss_beside_the_network_are_left_out(tmp_path: Path) -> None:
    trained, fresh = Net(), Net()
    torch.save({"state_dict": {**prefixed(trained, "network."), "loss.weight": torch.ones(5)}}, tmp_path / "a.ckpt")
    load_checkpoint(fresh, tmp_path / "a.ckpt")
    assert_same(fresh, trained)


def test_released_weights_have_torchvision_names_and_200_outputs(tmp_path: Path) -> None:
    trained, fresh = resnet18(num_classes=200), resnet18(num_classes=200)
    torch.save(trained.state_dict(), tmp_path / "best.pt")
    load_checkpoint(fresh, tmp_path / "best.pt")
    assert_same(fresh, trained)


def test_mismatch_names_the_first_keys_and_shapes(tmp_path: Path) -> None:
    state = resnet18(num_classes=200).state_dict()
    state["extra.weight"] = state.pop("conv1.weight")
    torch.save(state, tmp_path / "best.pt")
    network = resnet18(num_classes=12)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(InputError) as caught:
        load_checkpoint(network, tmp_path / "best.pt")
    message = str(caught.value)
    for part in (
        "best.pt",
        "1 missing (conv1.weight)",
        "1 unexpected (extra.weight)",
        "fc.weight (200, 512) in the file, (12, 512) in the network",
    ):
        assert part in message
    assert "\n" not in message
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items()), "half loaded"


def test_only_three_of_many_names_are_shown(tmp_path: Path) -> None:
    torch.save({"nothing": torch.ones(1)}, tmp_path / "a.pt")
    with pytest.raises(InputError, match=r"102 missing \(conv1\.weight, bn1\.weight, bn1\.bias, \.\.\.\)"):
        load_checkpoint(resnet18(), tmp_path / "a.pt")


def test_new_head_keeps_the_random_classifier_and_takes_the_rest(tmp_path: Path) -> None:
    trained, fresh = Net(num_classes=7), Net(num_classes=5)
    head = fresh.fc.weight.clone()
    torch.save(trained.state_dict(), tmp_path / "a.pt")
    load_checkpoint(fresh, tmp_path / "a.pt", new_head=True)
    assert torch.equal(fresh.conv.weight, trained.conv.weight)
    assert torch.equal(fresh.fc.weight, head)


def test_new_head_does_not_excuse_another_architecture(tmp_path: Path) -> None:
    trained = Net()
    trained.conv = nn.Conv2d(3, 4, 5)
    torch.save(trained.state_dict(), tmp_path / "a.pt")
    with pytest.raises(InputError, match=r"conv\.weight \(4, 3, 5, 5\)"):
        load_checkpoint(Net(), tmp_path / "a.pt", new_head=True)


def test_old_files_lack_the_batch_counter(tmp_path: Path) -> None:
    trained, fresh = Net(), Net()
    state = trained.state_dict()
    del state["norm.num_batches_tracked"]
    torch.save(state, tmp_path / "a.pt")
    load_checkpoint(fresh, tmp_path / "a.pt")
    assert_same(fresh, trained)


class Evil:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch '{self.mark}'",)


@pytest.mark.parametrize("writer", ["torch", "pickle 2", "pickle 4"])
def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path, writer: str) -> None:
    mark, path = tmp_path / "ran", tmp_path / "evil.pt"
    if writer == "torch":
        torch.save({"state_dict": Evil(mark)}, path)
    else:
        path.write_bytes(pickle.dumps(Evil(mark), protocol=int(writer[-1])))
    with pytest.raises(InputError, match=r"evil\.pt: refused, .* code") as caught:
        read_checkpoint(path)
    # torch does not look into protocol 4, and so cannot say what it would have run.
    assert writer == "pickle 4" or f"({os.name}.system)" in str(caught.value)
    assert not mark.exists()


def test_a_whole_pickled_network_is_refused(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2), tmp_path / "model.pt")
    with pytest.raises(InputError, match="would run code"):
        read_state_dict(tmp_path / "model.pt")


@pytest.mark.parametrize("damage", ["empty", "text", "cut"])
def test_damaged_files(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "a.pt"
    torch.save(Net().state_dict(), path)
    path.write_bytes({"empty": b"", "text": b"not weights\n", "cut": path.read_bytes()[:500]}[damage])
    with pytest.raises(InputError) as caught:
        read_state_dict(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [torch.ones(3), [1, 2], {"epoch": 3}, {}])
def test_files_without_a_state_dict(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(InputError, match=r"not a state dict|holds no state dict"):
        read_state_dict(tmp_path / "a.pt")


def test_a_missing_file_names_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no such file; make it with `python run\.py task=train`"):
        load_checkpoint(Net(), tmp_path / "none.pt", made_by="python run.py task=train")
