"""Experiments: every row of every one composes, and a table is measured, resumed and reported for real."""

import json
import os
import re
import runpy
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from PIL import Image
from torchvision.models import ResNet
from torchvision.models.resnet import BasicBlock

from pausing import GUARD, wait_until, wait_until_all_ended
from relsplit.bench.configuration.composition import files_read_once
from relsplit.bench.configuration.settings import Evaluate, Settings
from relsplit.papers.plan import PlannedRow, listed_rows, plan
from relsplit.papers.reproduce import measure_of
from small_runs import TINY_NETWORK

PROJECT = Path(__file__).parents[3]
HOME = PROJECT / "conf" / "experiment"
PAPER = "otsuki2024"
EXPERIMENTS = sorted(
    path.relative_to(HOME).with_suffix("").as_posix()
    for path in HOME.rglob("*.yaml")
    if path.stem != "paper" and not path.stem.startswith("_")
)


@pytest.fixture
def hydra_job() -> Iterator[None]:
    """What hydra.main and the task set up before an experiment is planned."""
    with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"), files_read_once():
        HydraConfig.instance().set_config(compose("config", return_hydra_config=True))
        yield


@pytest.mark.usefixtures("hydra_job")
def test_every_experiment_composes_and_names_existing_explainers() -> None:
    explainers = {f"explainer={path.stem}" for path in (PROJECT / "conf" / "explainer").glob("*.yaml")}
    for name in EXPERIMENTS:
        experiment = Settings.composed(compose("config", [f"experiment={name}"])).reproduce
        assert experiment is not None
        if experiment.experiments:
            folder = "".join(name.rpartition("/")[:2])
            assert {f"{folder}{each}" for each in experiment.experiments} <= set(EXPERIMENTS)
            continue
        assert experiment.name == name.rpartition("/")[2]
        if experiment.row_task != "train":
            assert {row["overrides"][0] for row in listed_rows(experiment)} <= explainers
        assert callable(measure_of(experiment.row_task))
        assert experiment.product is not None
        assert callable(experiment.product.build("reproduce.product"))


@pytest.mark.usefixtures("hydra_job")
def test_every_switch_of_the_audit_composes() -> None:
    rows = plan(compose("config", [f"experiment={PAPER}/audit"]), f"{PAPER}/audit", []).rows
    sizes = {row.traits["switch"]: row.runs[0].map.arguments for row in rows if row.traits["method"] == "Ours, C1C"}
    assert sizes["published setting"]["upsampling"] == "first_row"
    assert {each["upsampling"] for switch, each in sizes.items() if switch != "published setting"} == {"bilinear"}
    by_switch = {
        row.traits["switch"]: row.runs[0].explainer.arguments for row in rows if row.traits["method"] == "Ours"
    }
    assert by_switch["published setting"]["max_pool"] == "average_2x2"
    last = by_switch["ties"]
    assert (last["input_rule"], last["max_pool"], last["stabilizer"]) == ("activation", "average", 0.0)
    assert {row.runs[0].map.arguments["heat_quantization"] for row in rows if row.traits["switch"] == "ties"} == {
        "floor"
    }
    assert all("reproduce" not in row.runs[0].document() for row in rows)


def test_only_audits_published_setting_scores_a_maps_first_row() -> None:
    found = {path.relative_to(PROJECT).as_posix() for path in (PROJECT / "conf").rglob("*.yaml")}
    assert {name for name in found if "=first_row" in (PROJECT / name).read_text()} == {
        "conf/experiment/iida2023/audit.yaml",
        "conf/experiment/otsuki2024/audit.yaml",
    }
    for path in (PROJECT / "conf" / "map").glob("*.yaml"):
        assert not re.search(r"upsampling: *first_row", path.read_text())


@pytest.mark.usefixtures("hydra_job")
@pytest.mark.parametrize("dataset", ["demo", "cub"])
def test_a_paper_with_attention_branches_explains_one_network_in_a_table(dataset: str) -> None:
    def rows(name: str) -> tuple[PlannedRow, ...]:
        typed = [f"dataset={dataset}"]
        return plan(compose("config", [f"experiment=iida2023/{name}", *typed]), f"iida2023/{name}", typed).rows

    plain = {"demo": "demo", "cub": "resnet50_cub"}[dataset]
    for name in ("comparison", "audit"):
        assert {row.runs[0].model.name for row in rows(name)} == {f"abn_{dataset}"}
    assert {row.runs[0].model.name for row in rows("blocks")} == {plain}
    trained = [row.runs[0] for row in rows("accuracy")]
    assert [config.model.name for config in trained] == [plain, f"abn_{dataset}"]
    assert [config.trainer.module is not None for config in trained] == [False, True]


@pytest.mark.usefixtures("hydra_job")
def test_cub_is_measured_on_five_checkpoints_and_drawn_from_one() -> None:
    table = compose("config", [f"experiment={PAPER}/table2", "dataset=cub"])
    for row in plan(table, f"{PAPER}/table2", ["dataset=cub"]).rows:
        assert [config.seed for config in row.runs] == [40, 41, 42, 43, 44]
        assert row.command.startswith(f"relsplit -m experiment={PAPER}/table2 ")
        assert row.command.endswith(" seed=40,41,42,43,44")
        assert row.runs[0].model.checkpoint == "outputs/train/cub/resnet50_cub/seed40/best.ckpt"
    figure = compose("config", [f"experiment={PAPER}/figureB", "dataset=cub"])
    planned = plan(figure, f"{PAPER}/figureB", ["dataset=cub", "task.forward_batch_size=8"])
    assert [[config.seed for config in row.runs] for row in planned.rows] == [[42], [42]]
    assert planned.rows[0].runs[0].task.import_path == "relsplit.bench.explain.task.run"


@pytest.mark.usefixtures("hydra_job")
def test_what_is_chosen_is_confirmed_on_other_images_and_measured_once_for_all_tables() -> None:
    def hashes(name: str) -> dict[str, str]:
        rows = plan(compose("config", [f"experiment=method/{name}"]), f"method/{name}", []).rows
        styles = {row.runs[0].dataset.sampling.style for row in rows}
        assert styles == {"development" if name == "choice" else "confirmation"}
        return {row.label: row.runs[0].identity().hash for row in rows}

    tables = [hashes(name) for name in ("versus_grad_cam", "versus_score_cam", "quality")]
    assert tables[0] == tables[1] == tables[2]
    assert {"random", "center", "edges", "one pixel", "Grad-CAM", "Score-CAM", "Relevance pyramid"} <= set(tables[0])
    chosen = hashes("choice")
    assert chosen.keys() == tables[0].keys()
    assert not set(chosen.values()) & set(tables[0].values())
    assert hashes("robustness").keys() == chosen.keys()


@pytest.mark.usefixtures("hydra_job")
@pytest.mark.parametrize("typed", ["++model.checkpoint=best.pt", "seed=42", "model.weights=w.pt"])
def test_one_network_is_not_counted_five_times(typed: str) -> None:
    overrides = ["dataset=cub", typed, *(["model.checkpoint=null"] if "weights" in typed else [])]
    rows = plan(compose("config", [f"experiment={PAPER}/table2", *overrides]), f"{PAPER}/table2", overrides).rows
    assert {len(row.runs) for row in rows} == {1}


@pytest.mark.usefixtures("hydra_job")
@pytest.mark.parametrize("name", ["table2", "table3", "tableC", "figure6", "figureB"])
def test_rows_that_say_ratio_are_ratio_whatever_is_typed(name: str) -> None:
    name = f"{PAPER}/{name}"
    rows = plan(compose("config", [f"experiment={name}", "split=symmetric"]), name, ["split=symmetric"]).rows
    for row in rows:
        if "symmetric" not in row.label and row.runs[0].split_name and row.label != "Method (i)":
            assert row.runs[0].split_name == "ratio", row.label


@pytest.mark.usefixtures("hydra_job")
def test_a_row_is_the_run_that_its_command_would_start() -> None:
    config = compose("config", [f"experiment={PAPER}/table2"])
    row = plan(config, f"{PAPER}/table2", ["num_samples=7"]).rows[1]
    typed = f"experiment={PAPER}/table2 task=evaluate num_samples=7 explainer=ours_released split=symmetric"
    assert row.command == f"relsplit {typed}"
    alone = Settings.composed(compose("config", row.command.split()[1:]))
    assert isinstance(alone.task, Evaluate)
    assert alone.identity().hash == row.runs[0].identity().hash
    assert list(alone.protocol) == ["published", "strict"]
    assert alone.split_name == "symmetric"


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("photographs")
    draw = np.random.default_rng(0)
    for split, count in (("train", 2), ("test", 3)):
        for name in ("left", "right"):
            (root / split / name).mkdir(parents=True)
            for index in range(count):
                pixels = draw.integers(0, 255, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / split / name / f"{index}.png")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        torch.save(ResNet(BasicBlock, [1, 1, 1, 1], num_classes=2).state_dict(), root / "net.pt")
    return root


def small(photographs: Path) -> list[str]:
    """The photographs and a tiny network."""
    return [
        "dataset=image_folder",
        f"dataset.root={photographs}",
        "dataset.resize=48",
        "dataset.image_size=48",
        "dataset.num_workers=0",
        *TINY_NETWORK,
        f"model.checkpoint={photographs / 'net.pt'}",
        "logger=none",
        "device=cpu",
    ]


Run = Callable[..., int]


@pytest.fixture
def run(photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """run.py in this process, in an empty folder."""

    def start(*overrides: str) -> int:
        monkeypatch.setattr(sys, "argv", ["run.py", *small(photographs), *overrides])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(PROJECT / "run.py"), run_name="__main__")
        assert isinstance(ended.value.code, int)
        return ended.value.code

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    return start


def interruptible() -> None:
    """A shell ignores SIGINT for what it starts in the background, and so would all that this process starts."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


ROWS = (
    "reproduce.rows=[{label: 'Grad-CAM', paper_row: '4', overrides: ['explainer=grad_cam']},"
    "{label: Ours, paper_row: '6', overrides: ['explainer=ours_released']}]"
)


def test_a_table_is_measured_once_and_reported(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shorter = [ROWS, "reproduce.controls=[one_pixel]", "num_samples=4", "task.pictures=2"]
    assert run("experiment=otsuki2024/table1", *shorter) == 0
    printed = capsys.readouterr().out
    folder = tmp_path / "outputs" / "reproduce" / PAPER / "image_folder" / "table1"
    names = {"table.csv", "table.md", "table.tex", "product.json", "curves.pdf", "curves.png"}
    assert names == {path.name for path in folder.iterdir()}
    frame = pd.read_csv(folder / "table.csv")
    assert list(zip(frame["protocol"], frame["method"], strict=True)) == [
        (protocol, method) for protocol in ("published", "strict") for method in ("Grad-CAM", "Ours", "one pixel")
    ]
    for value in frame["id_score"]:
        assert f"{value:.3f}" in printed
    product = json.loads((folder / "product.json").read_text())
    for row, value in zip(product["rows"], frame["id_score"], strict=False):
        summary = json.loads((folder / row["folders"][0] / "summary.json").read_text())
        assert summary["id_score"] == pytest.approx(value)

    # Another experiment with the same rows measures nothing twice: the seconds in its rows are those of the first time.
    def measured() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in (tmp_path / "outputs" / "evaluate").rglob("samples.csv")}

    before = measured()
    assert len(before) == 3
    assert run("experiment=otsuki2024/tableB", *shorter, "reproduce.title=Again") == 0
    assert measured() == before

    assert run("task=report") == 0
    page = (tmp_path / "outputs" / "report.html").read_text()
    assert re.search("Table 1 · image_folder", page)
    assert re.search("Again · image_folder", page)
    assert page.count("data-run=") >= 3


def test_the_confirmation_has_no_image_of_the_development(run: Run, tmp_path: Path) -> None:
    rows = (
        "reproduce.rows=[{label: Grad-CAM, overrides: ['explainer=center']},"
        "{label: Pyramid, overrides: ['explainer=relevance_pyramid']}]"
    )
    images = {}
    only = [
        "reproduce.product.metrics=[{column: id_score, label: ID, better: high}]",
        "reproduce.product.references=[Grad-CAM]",
    ]
    for name, more in (("choice", only), ("versus_grad_cam", [])):
        assert run(f"experiment=method/{name}", rows, "reproduce.controls=[]", "metric=[]", "num_samples=2", *more) == 0
        folder = tmp_path / "outputs/reproduce/method/image_folder" / name
        table = pd.read_csv(folder / "table.csv").set_index("method").loc[["Pyramid"]]
        low = table["id_score_minus_Grad-CAM_low" if name == "choice" else "versus_reference_low"]
        assert np.isfinite(low).all()
        measured = json.loads((folder / "product.json").read_text())["rows"][1]["folders"][0]
        images[name] = set(pd.read_csv(folder / measured / "samples.csv")["sample_id"])
    assert all(len(each) == 2 for each in images.values())
    assert not images["choice"] & images["versus_grad_cam"]


def test_rows_of_one_configuration_are_measured_once(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = "[{label: A, overrides: ['explainer=center']},{label: B, overrides: ['explainer=center']}]"
    options = [f"reproduce.rows={rows}", "reproduce.controls=[]", "reproduce.product.reference=null", "num_samples=2"]
    assert run("experiment=otsuki2024/table1", *options) == 0
    assert capsys.readouterr().out.count("samples done") == 1
    frame = pd.read_csv(tmp_path / "outputs/reproduce/otsuki2024/image_folder/table1/table.csv").set_index("method")
    assert frame.loc["A", "id_score"].tolist() == frame.loc["B", "id_score"].tolist()


def test_two_processes_measure_what_one_does(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["experiment=otsuki2024/table1", ROWS, "reproduce.controls=[]", "num_samples=4", "task.pictures=1"]
    results = tmp_path / "outputs"

    def scores() -> dict[Path, pd.DataFrame]:
        columns = ["sample_id", "insertion", "deletion", "id_score", "id_score_strict"]
        return {path: pd.read_csv(path)[columns] for path in (results / "evaluate").rglob("samples.csv")}

    assert run(*options, "reproduce.processes=1") == 0
    before = scores()
    assert len(before) == 2
    for path in before:
        shutil.rmtree(path.parent)

    in_the_way = max(before).parent / "notes.txt"
    in_the_way.parent.mkdir()
    in_the_way.touch()
    capsys.readouterr()
    assert run(*options, "reproduce.processes=2") == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "holds other files (notes.txt)" in said

    shutil.rmtree(in_the_way.parent)
    assert run(*options, "reproduce.processes=2") == 0
    logs = sorted((results / "reproduce" / PAPER / "image_folder").glob("process*.log"))
    assert len(logs) == 2
    for path, frame in before.items():
        assert sum(f"of 4 samples done, {path.parent.relative_to(tmp_path)}" in log.read_text() for log in logs) == 1
        pd.testing.assert_frame_equal(scores()[path], frame, atol=1e-5, rtol=0)


def test_a_product_that_cannot_be_written_is_said_before_rows_are_measured(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "taken").touch()
    options = ["experiment=otsuki2024/table1", ROWS, "reproduce.controls=[]", "num_samples=4"]
    assert run(*options, "reproduce.processes=2", f"output_dir={tmp_path / 'taken'}") == 2
    assert "cannot be written" in capsys.readouterr().err
    assert not (tmp_path / "outputs" / "evaluate").exists()


def running(folder: Path) -> list[str]:
    """Other processes that work in a folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (entry / "cwd").resolve() == folder and entry.name != str(os.getpid()):
                found.append(entry.name)
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_processes_end_with_the_one_that_started_them(photographs: Path, tmp_path: Path) -> None:
    options = ["experiment=otsuki2024/table1", "num_samples=6", "metric=[]", "task.batch_size=1", "logger=none"]
    process = subprocess.Popen(
        [sys.executable, str(PROJECT / "run.py"), *small(photographs), *options, "reproduce.processes=2"],
        cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip

    measured = tmp_path / "outputs"
    wait_until(lambda: bool(list(measured.rglob("curves*.jsonl"))) and len(running(tmp_path)) >= 3, process)
    process.kill()
    process.wait()
    wait_until_all_ended(lambda: running(tmp_path))


def test_all_goes_on_where_it_was_interrupted(
    run: Run, photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [
        "experiment=otsuki2024/all",
        "reproduce.experiments=[table3,figureA]",
        "num_samples=6",
        "task.batch_size=1",
    ]
    options += ["metric=[]", "task.pictures=1"]  # what takes longest
    results = tmp_path / "outputs"

    def rows() -> dict[str, str]:
        """What was measured, with the seconds that it took: repeating it would change them."""
        files = (results / "evaluate").rglob("samples.csv")
        return {f"{path}:{line.split(',')[0]}": line for path in files for line in path.read_text().splitlines()[1:]}

    process = subprocess.Popen(
        [sys.executable, str(PROJECT / "run.py"), *small(photographs), *options, "reproduce.processes=2"],
        cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        text=True, preexec_fn=interruptible,
    )  # fmt: skip
    wait_until(lambda: len(rows()) >= 8, process)
    process.send_signal(signal.SIGINT)
    assert "interrupted: start the same command again" in process.communicate(timeout=GUARD)[1]
    assert process.returncode == 130
    assert not running(tmp_path)  # its processes are gone, too
    before = rows()
    assert 8 <= len(before) < 8 * 6
    assert not list((results / "reproduce").rglob("product.json"))

    assert run(*options) == 0
    after = rows()
    assert len(after) == 8 * 6  # four methods and four controls
    assert {name: after[name] for name in before} == before
    page = (results / "reproduce" / PAPER / "image_folder" / "report.html").read_text()
    assert re.search("Table 3 · image_folder", page)
    assert re.search("Figure A · image_folder", page)


def test_figures_and_table_d(run: Run, tmp_path: Path) -> None:
    results = tmp_path / "outputs" / "reproduce" / PAPER / "image_folder"
    assert run("experiment=otsuki2024/figure7", "num_samples=4") == 0
    gaps = pd.read_csv(results / "figure7" / "table.csv").set_index(["method", "checkpoint"])["max_relative_gap"]
    assert gaps["Ours (conserving)"].max() < 1e-5
    assert gaps["Ours (released code)", "input"] > 1e-3  # its pooling loses relevance
    assert run("experiment=otsuki2024/figureA", "num_samples=4") == 0
    assert (results / "figureA" / "figure_jet.pdf").exists()
    threshold = "reproduce.product.threshold=1.0"  # everything fails
    assert run("experiment=otsuki2024/tableD", ROWS, threshold, "num_samples=4", "task.pictures=0") == 0
    failures = pd.read_csv(results / "tableD" / "failures.csv", keep_default_na=False)
    assert len(failures) == 4
    assert failures["id_score"].is_monotonic_increasing
    failures.loc[0, "confirmed"] = "WA"
    failures.to_csv(results / "tableD" / "failures.csv", index=False)
    assert run("experiment=otsuki2024/tableD", ROWS, threshold, "num_samples=4", "task.pictures=0") == 0
    assert "1 are confirmed" in (results / "tableD" / "table.md").read_text()


def test_the_command_of_a_product_makes_it_again(run: Run, tmp_path: Path) -> None:
    options = [ROWS, "reproduce.product.threshold=0.9", "num_samples=2", "task.pictures=0", "metric=[]"]
    assert run("experiment=otsuki2024/tableD", *options, f"output_dir={tmp_path / 'out'}") == 0
    command = shlex.split(json.loads((tmp_path / "out" / "tableD" / "product.json").read_text())["command"])
    assert command[:2] == ["relsplit", "experiment=otsuki2024/tableD"]
    assert {*options, f"output_dir={tmp_path / 'out'}"} <= set(command)


def test_pictures_that_all_rows_have_are_shown(run: Run, tmp_path: Path) -> None:
    demo = ["experiment=demo", "reproduce.product.reference=null", "num_samples=4", "reproduce.controls=[]"]
    first, second = ("{label: A, overrides: ['explainer=center']}", "{label: B, overrides: ['explainer=edges']}")
    assert run(*demo, f"reproduce.rows=[{first}]", "task.pictures=3") == 0
    assert run(*demo, f"reproduce.rows=[{first},{second}]", "task.pictures=2") == 0
    assert (tmp_path / "outputs/reproduce/image_folder/demo/maps.png").exists()


def test_relevance_sums_are_those_of_the_samples_asked_for(run: Run, tmp_path: Path) -> None:
    options = ["task=conservation", "explainer=ours", "num_samples=4", f"output_dir={tmp_path / 'sums'}"]
    assert run(*options) == 0
    path = tmp_path / "sums" / "conservation.csv"
    whole = path.read_text()
    path.write_text("".join(whole.splitlines(keepends=True)[:-1]))
    assert run(*options) == 0
    assert path.read_text() == whole


def test_no_experiments_is_said(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("experiment=otsuki2024/all", "reproduce.experiments=[]") == 2
    assert "reproduce.experiments=[" in capsys.readouterr().err
    assert run("task=reproduce") == 2
    assert "experiment=NAME" in capsys.readouterr().err


def test_a_misspelt_row_ends_before_anything_is_measured(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = "reproduce.rows=[{label: A, overrides: ['explainer=grad_cam']},{label: B, overrides: ['explainer.rul=x']}]"
    assert run("experiment=otsuki2024/table1", wrong) == 2
    error = capsys.readouterr().err.strip()
    assert error.count("\n") == 0
    assert "row 'B' of experiment=otsuki2024/table1 (explainer.rul=x)" in error
    assert not (tmp_path / "outputs").exists()
