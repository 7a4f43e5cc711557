"""Training through the command line on tiny photographs: resume, refuse, finish once."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from PIL import Image

from pausing import pausing, wait_until_paused
from relsplit.bench.data.configured import labelled_as_learned
from relsplit.bench.explain.explained_network import explained_network
from relsplit.bench.models.checkpoint import read_checkpoint
from relsplit.bench.runs.summary import TRAINING, read_summary
from relsplit.bench.train.training import train as run
from relsplit.errors import InputError
from small_runs import TINY_NETWORK

PROJECT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes, bright at the left or at the right, so that a few steps learn something."""
    root = tmp_path_factory.mktemp("photographs")
    draw = np.random.default_rng(0)
    for split, count in (("train", 12), ("val", 4), ("test", 4)):
        for place, name in enumerate(("left", "right")):
            (root / split / name).mkdir(parents=True)
            for index in range(count):
                pixels = draw.integers(0, 100, (32, 32, 3), dtype=np.uint8)
                pixels[:, 16 * place : 16 * place + 16] += 120
                Image.fromarray(pixels).save(root / split / name / f"{index}.png")
    return root


def overrides(root: Path, folder: Path, *more: str) -> list[str]:
    chosen = [] if any(item.startswith("trainer=") for item in more) else ["trainer.lr_scheduler.scheduler.step_size=2"]
    return [
        "task=train",
        "dataset=image_folder",
        f"dataset.root={root}",
        "dataset.resize=32",
        "dataset.image_size=32",
        *TINY_NETWORK,
        "trainer.batch_size=8",
        "trainer.max_epochs=4",
        *chosen,
        "logger=none",
        "device=cpu",
        f"output_dir={folder}",
        *more,
    ]


def config(root: Path, folder: Path, *more: str) -> DictConfig:
    with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
        return compose("config", overrides(root, folder, *more))


def command(root: Path, folder: Path, *more: str) -> list[str]:
    return [sys.executable, str(PROJECT / "run.py"), *overrides(root, folder, *more)]


def weights(path: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = read_checkpoint(path)["state_dict"]
    return state


@pytest.fixture(scope="module")
def finished(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "run"
    run(config(photographs, folder))
    return folder


def test_what_a_training_leaves(finished: Path) -> None:
    assert {path.name for path in finished.iterdir()} == {
        "best.ckpt",
        "last.ckpt",
        "metrics.csv",
        "config.yaml",
        "summary.json",
    }
    summary = json.loads((finished / "summary.json").read_text())
    history = pd.read_csv(finished / "metrics.csv")
    assert summary["epochs"] == len(history) == 4
    assert list(history["epoch"]) == [0, 1, 2, 3]
    assert summary["best_epoch"] == history["val_loss"].argmin()
    assert summary["accuracy"] > 0.5
    np.testing.assert_allclose(history["learning_rate"], [1e-3, 1e-3, 1e-4, 1e-4])
    assert "optimizer_states" not in read_checkpoint(finished / "best.ckpt")


def test_killed_and_resumed_gives_the_very_weights_of_an_uninterrupted_training(
    photographs: Path, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    # With a worker process, which fetches ahead, where the uninterrupted training had none.
    more = ["dataset.num_workers=1"]
    victim = subprocess.Popen(
        pausing("metrics.csv", 2, overrides(photographs, folder, *more)),
        env={**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())},
        cwd=tmp_path,
        start_new_session=True,
    )
    history = folder / "metrics.csv"
    wait_until_paused(victim)
    os.killpg(victim.pid, signal.SIGKILL)
    victim.wait()
    assert not (folder / "summary.json").exists()
    run(config(photographs, folder, *more))
    assert "resuming after epoch" in capsys.readouterr().out
    for name in ("last.ckpt", "best.ckpt"):
        expected, measured = weights(finished / name), weights(folder / name)
        assert expected.keys() == measured.keys()
        assert all(torch.equal(expected[key], measured[key]) for key in expected), name
    assert history.read_text() == (finished / "metrics.csv").read_text()


def test_a_finished_training_is_not_repeated(
    photographs: Path, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (finished / "best.ckpt").stat().st_mtime_ns
    summary = run(config(photographs, finished))
    assert "already trained" in capsys.readouterr().out
    assert summary == read_summary(finished, TRAINING)
    assert (finished / "best.ckpt").stat().st_mtime_ns == before


def test_another_configuration_is_refused_with_the_differing_keys(photographs: Path, finished: Path) -> None:
    with pytest.raises(InputError, match=r"training\.optimizer\.lr was 0\.001, now 0\.5"):
        run(config(photographs, finished, "trainer.optimizer.lr=0.5"))


def test_where_it_runs_and_what_is_evaluated_later_is_no_other_configuration(photographs: Path, finished: Path) -> None:
    run(config(photographs, finished, "num_samples=7", "dataset.num_workers=3", "dataset.sampling.seed=1"))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["dataset.root=/no/such/folder"], "/no/such/folder"),
        (["model.num_classes=5"], "has 2 classes"),
        (["+trainer.optimizer.speed=3"], "speed"),
        (["trainer.optimizer._target_=torch.optim.NoSuch"], "NoSuch"),
        (["trainer.precision=17"], "17"),
        (["+trainer.no_such_option=1"], "no_such_option"),
        (["device=abacus"], "abacus"),
        (["dataset.datamodule.augmentation.blur=1"], "blur"),
    ],
)
def test_wrong_settings_end_in_one_line_before_anything_is_learned(
    photographs: Path, tmp_path: Path, more: list[str], message: str
) -> None:
    folder = tmp_path / "run"
    more = [f"+{item}" if item.startswith("dataset.datamodule") else item for item in more]
    with pytest.raises(InputError) as caught:
        run(config(photographs, folder, *more))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(folder.glob("*.ckpt"))
    # What went wrong does not hold the folder: the corrected command runs in it.
    run(config(photographs, folder, "trainer.max_epochs=1"))


def test_killed_before_the_first_checkpoint_was_written(photographs: Path, finished: Path, tmp_path: Path) -> None:
    """Configuration and table of the first epoch are there, no checkpoint yet: the same command begins anew."""
    for name in ("config.yaml", "metrics.csv"):
        (tmp_path / name).write_bytes((finished / name).read_bytes())
    assert run(config(photographs, tmp_path))["epochs"] == 4
    assert (tmp_path / "metrics.csv").read_text() == (finished / "metrics.csv").read_text()


def test_a_best_checkpoint_alone_is_no_trained_network(photographs: Path, finished: Path, tmp_path: Path) -> None:
    """The first epoch has written it, the second file that would let a training go on is missing."""
    for name in ("config.yaml", "metrics.csv", "best.ckpt"):
        (tmp_path / name).write_bytes((finished / name).read_bytes())
    cfg = config(photographs, tmp_path / "evaluation", "task=evaluate", f"model.checkpoint={tmp_path / 'best.ckpt'}")
    with pytest.raises(InputError, match="is of a training that has not come to its end"):
        explained_network(cfg, instantiate(cfg.dataset.catalogue))
    with pytest.raises(InputError, match=r"training\.optimizer\.lr was 0\.001, now 0\.5"):
        run(config(photographs, tmp_path, "trainer.optimizer.lr=0.5"))
    assert run(config(photographs, tmp_path))["epochs"] == 4
    assert (tmp_path / "metrics.csv").read_text() == (finished / "metrics.csv").read_text()


def test_the_last_checkpoint_of_another_training_is_refused(photographs: Path, finished: Path, tmp_path: Path) -> None:
    other = ["trainer.optimizer.lr=0.01", "trainer.max_epochs=1"]
    run(config(photographs, tmp_path / "run", *other))
    (tmp_path / "run/summary.json").unlink()
    (tmp_path / "run/last.ckpt").write_bytes((finished / "last.ckpt").read_bytes())
    with pytest.raises(InputError, match=r"last\.ckpt is of another training"):
        run(config(photographs, tmp_path / "run", *other))


def test_a_resumed_checkpoint_that_would_run_code_is_refused(photographs: Path, finished: Path, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch '{tmp_path / 'ran'}'",)

    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.yaml").write_text((finished / "config.yaml").read_text())
    torch.save({"state_dict": Evil(), "epoch": 1}, folder / "last.ckpt")
    with pytest.raises(InputError, match="would run code"):
        run(config(photographs, folder))
    assert not (tmp_path / "ran").exists()


def test_early_stopping_holds_after_an_interruption_before_the_test(photographs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    more = ["trainer.max_epochs=50", "trainer.patience=1", "trainer.optimizer.lr=1.0"]
    summary = run(config(photographs, folder, *more))
    assert summary["epochs"] < 50
    last = weights(folder / "last.ckpt")
    (folder / "summary.json").unlink()
    again = run(config(photographs, folder, *more))
    assert again["epochs"] == summary["epochs"]
    assert again["accuracy"] == summary["accuracy"]
    assert all(torch.equal(value, last[name]) for name, value in weights(folder / "last.ckpt").items())


def test_the_released_code_never_decays_the_learning_rate(photographs: Path, tmp_path: Path) -> None:
    more = ["trainer=released", "trainer.lr_scheduler.scheduler.step_size=2", "trainer.max_epochs=4"]
    run(config(photographs, tmp_path / "run", *more))
    np.testing.assert_allclose(pd.read_csv(tmp_path / "run/metrics.csv")["learning_rate"], 1e-3, rtol=1e-6)


def test_the_length_of_the_one_cycle_is_that_of_the_training(photographs: Path, tmp_path: Path) -> None:
    more = ["trainer=demo", "trainer.batch_size=8", "trainer.max_epochs=3"]
    run(config(photographs, tmp_path / "run", *more))
    rates = pd.read_csv(tmp_path / "run/metrics.csv")["learning_rate"]
    assert rates[0] < rates[1] > rates[2] > 0


def test_an_evaluation_trains_only_what_is_its_own_and_missing(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    cfg = config(photographs, tmp_path / "evaluation", "task=evaluate", "trainer.max_epochs=1")
    catalogue = instantiate(cfg.dataset.catalogue)
    made = tmp_path / "outputs/train/image_folder/custom/seed42"
    cfg.model.checkpoint = "outputs/train/image_folder/custom/seed42/best.ckpt"
    with pytest.raises(InputError, match="task=train"):
        explained_network(cfg, catalogue)
    assert not made.exists(), "only models that say so are trained on the way"
    OmegaConf.update(cfg, "model.train_if_missing", True, force_add=True)
    cfg.explainer.split = "thirds"
    with pytest.raises(InputError, match="thirds"):
        explained_network(cfg, catalogue)
    assert not made.exists(), "wrong options show before the training"
    cfg.explainer.split = "ratio"
    explained_network(cfg, catalogue)
    assert yaml.safe_load((made / "config.yaml").read_text())["training"]["max_epochs"] == 1

    others = dataclasses.replace(catalogue, class_names=("another", *catalogue.class_names[1:]))
    with pytest.raises(InputError, match=r"trained on other classes \('left' is none of the dataset's\)"):
        labelled_as_learned(cfg, others)
    turned = dataclasses.replace(catalogue, class_names=catalogue.class_names[::-1])
    assert labelled_as_learned(cfg, turned).class_names == catalogue.class_names

    (made / "summary.json").unlink()
    (made / "config.yaml").unlink()
    before = (made / "best.ckpt").stat().st_mtime_ns
    with pytest.raises(InputError, match=r"best\.ckpt is there, but no config\.yaml says how it was trained"):
        explained_network(cfg, catalogue)
    assert (made / "best.ckpt").stat().st_mtime_ns == before, "it is neither used nor replaced"


def test_a_dataset_without_training_images(tmp_path: Path) -> None:
    with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
        cfg = compose("config", ["task=train", "dataset=imagenet", f"output_dir={tmp_path / 'run'}"])
    with pytest.raises(InputError, match="dataset=imagenet has no training images"):
        run(cfg)


def test_the_curves_go_to_an_offline_dashboard(photographs: Path, tmp_path: Path) -> None:
    """Two trainings of one process, as in a table of trainings: each has a run of its own."""
    for name in ("run", "other"):
        run(config(photographs, tmp_path / name, "logger=wandb", "trainer.max_epochs=1"))
        assert len(list((tmp_path / name / "wandb").glob("offline-run-*/*.wandb"))) == 1


ABN = [  # the tiny network with an attention branch
    "model=abn_resnet18",
    "model.weights=null",
    "model.backbone._target_=torchvision.models.ResNet",
    "+model.backbone.block={_target_: hydra.utils.get_class, path: torchvision.models.resnet.BasicBlock}",
    "+model.backbone.layers=[1,1,1,1]",
]


def branched(root: Path, folder: Path, *more: str) -> list[str]:
    kept = [text for text in overrides(root, folder) if text not in TINY_NETWORK]
    return [*kept, *ABN, *more]


def test_an_attention_branch_is_trained_beside_its_network_and_resumed(photographs: Path, tmp_path: Path) -> None:
    def trained(name: str) -> dict[str, object]:
        with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
            return run(compose("config", branched(photographs, tmp_path / name)))

    summary = trained("whole")
    history = pd.read_csv(tmp_path / "whole/metrics.csv")
    assert {"train_attention_accuracy", "val_attention_accuracy", "val_accuracy"} <= set(history.columns)
    assert 0 <= summary["attention_accuracy"] <= 1  # type: ignore[operator]
    assert "network.attention_branch.class_head.0.weight" in weights(tmp_path / "whole/best.ckpt")

    folder = tmp_path / "killed"
    victim = subprocess.Popen(
        pausing("metrics.csv", 2, branched(photographs, folder)),
        env={**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())},
        cwd=tmp_path,
        start_new_session=True,
    )
    wait_until_paused(victim)
    os.killpg(victim.pid, signal.SIGKILL)
    victim.wait()
    trained("killed")
    expected, resumed = weights(tmp_path / "whole/last.ckpt"), weights(folder / "last.ckpt")
    assert all(torch.equal(expected[name], resumed[name]) for name in expected)


def test_a_network_without_a_branch_is_not_trained_as_if_it_had_one(photographs: Path, tmp_path: Path) -> None:
    target = "relsplit.bench.models.attention_branch_training.AttentionBranchFineTuning"
    with pytest.raises(InputError, match="ResNet has no attention branch to be trained"):
        run(config(photographs, tmp_path / "run", f"+trainer.module._target_={target}"))
    wrong = "+trainer.module.attention_weight=-1"
    with pytest.raises(InputError, match=r"trainer\.module\.attention_weight must be"):
        run(config(photographs, tmp_path / "run", f"+trainer.module._target_={target}", wrong))
