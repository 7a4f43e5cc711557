"""Configurations composed from files that are read once are those that Hydra composes."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from relsplit.bench.configuration.composition import files_read_once
from small_runs import ROOT

COMMANDS = [
    [],
    ["explainer=grad_cam"],
    ["explainer=score_cam", "num_samples=4", "map.heat_quantization=floor"],
    ["experiment=otsuki2024/audit", "task=evaluate", "explainer=ours_released", "map=c1c", "map.upsampling=bilinear"],
    ["experiment=otsuki2024/figure5", "task=explain", "explainer=lrp_epsilon", "logger=none"],
    ["experiment=method/quality"],
    ["experiment=vukadin2024/gae_vit_b_16", "+explainer.colour=blue", "~trainer.max_epochs"],
    ["dataset=cub", "protocol=[published,strict]", "metric=[]", "trainer.devices=2"],
    ["dataset=imagenet", "model=resnet50", "split={_target_: relsplit.lrp.splitting.ratio.Ratio}"],
    ["explainer=grad_cam"],  # once more, after all the others
]


def written(config: DictConfig) -> tuple[str, str]:
    """What is in a configuration before and after its interpolations are filled in."""
    return OmegaConf.to_yaml(config), OmegaConf.to_yaml(config, resolve=True)


def test_the_configurations_are_those_of_hydra() -> None:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        usual = [compose("config", typed, return_hydra_config=True) for typed in COMMANDS]
        with files_read_once():
            for typed, config in zip(COMMANDS, usual, strict=True):
                again = compose("config", typed, return_hydra_config=True)
                assert again == config
                del again.hydra, config.hydra  # it has values that only a job fills in
                assert written(again) == written(config)
                assert OmegaConf.is_struct(again) == OmegaConf.is_struct(config)


def test_what_is_done_to_one_configuration_happens_to_no_other() -> None:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"), files_read_once():
        first, expected = compose("config"), written(compose("config"))
        OmegaConf.set_struct(first, False)
        first.dataset.catalogue.colour = "blue"
        first.explainer.name = "another"
        del first.metric["sparsity"]
        assert written(compose("config")) == expected


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "config.yaml").write_text("value: 1\n")
    return tmp_path / "conf"


def test_every_file_is_read_once_and_only_as_long_as_asked_for(folder: Path) -> None:
    with initialize_config_dir(str(folder), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        with files_read_once():
            assert compose("config").value == 1
            (folder / "config.yaml").write_text("value: 2\n")
            assert compose("config").value == 1
        assert compose("config").value == 2
        assert GlobalHydra.instance().config_loader() is loader


def test_a_search_path_of_its_own_finds_its_own_files(folder: Path) -> None:
    for name, value in (("here", 1), ("there", 2)):
        (folder.parent / name / "bird").mkdir(parents=True)
        (folder.parent / name / "bird" / "finch.yaml").write_text(f"wings: {value}\n")
    with initialize_config_dir(str(folder), version_base="1.3"), files_read_once():
        for name, value in (("here", 1), ("there", 2), ("here", 1)):
            typed = [f"hydra.searchpath=[file://{folder.parent / name}]", "+bird=finch"]
            assert compose("config", typed).bird.wings == value


def test_what_is_not_there_is_said_as_ever() -> None:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        with pytest.raises(HydraException) as usual:
            compose("config", ["explainer=unheard_of"])
        with files_read_once():
            for _ in range(2):
                with pytest.raises(HydraException) as caught:
                    compose("config", ["explainer=unheard_of"])
                assert str(caught.value) == str(usual.value)
