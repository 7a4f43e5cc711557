"""Every recipe runs as it stands, and has the effect that it promises."""

import os
import re
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from PIL import Image
from torchvision.models import resnet18

from relsplit import LRP
from relsplit.bench.runs.store import read_samples
from relsplit.errors import InputError
from relsplit.lrp.rules import RULES
from relsplit.lrp.splitting import SPLITTINGS
from relsplit.metrics.insertion_deletion.protocols import PROTOCOLS

EXAMPLES = Path(__file__).parents[2] / "examples"
SMALL = ("dataset=stripes", "model=demo", "model.checkpoint=null", "num_samples=4", "task.pictures=1", "logger=none")
Run = Callable[..., Path]


@pytest.fixture(autouse=True)
def registries(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an example registers is forgotten after its test."""
    for registry in (RULES, SPLITTINGS, PROTOCOLS):
        registry.names()
        monkeypatch.setattr(registry, "_found", dict(registry._found))
        monkeypatch.setattr(registry, "_files", dict(registry._files))


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """An example in this process, in an empty folder; returns the folder of its results."""

    def start(name: str, *overrides: str) -> Path:
        monkeypatch.setattr(sys, "argv", [name, *SMALL, f"output_dir={tmp_path / 'out'}", *overrides])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        assert ended.value.code == 0
        return tmp_path / "out"

    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return start


def test_every_example_is_run_here() -> None:
    text = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    recipes = {path.name for path in EXAMPLES.glob("*.py")} - {"command_line.py", "bird_scenes.py"}
    assert {name for name in recipes if f'"{name}"' in text} == recipes


@pytest.mark.parametrize("name", ["w_square_rule.py", "energy_splitting.py"])
def test_a_rule_and_a_splitting_conserve(run: Run, name: str) -> None:
    rows = read_samples(run(name))
    assert (rows["conservation_gap"] < 1e-5).all()


def test_registered_names_are_known() -> None:
    model, images = resnet18().eval(), torch.randn(1, 3, 64, 64)
    runpy.run_path(str(EXAMPLES / "w_square_rule.py"))
    runpy.run_path(str(EXAMPLES / "energy_splitting.py"))
    assert "w_square" in RULES.names()
    assert "energy" in SPLITTINGS.names()
    relevance, sums = LRP(model, split="energy", rule="w_square").attribute(images, return_sums=True)
    torch.testing.assert_close(relevance.sum((1, 2, 3)), sums["output"])


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "copied.py").write_text('from relsplit.lrp.splitting import SPLITTINGS\nSPLITTINGS.register("ratio")')
    with pytest.raises(InputError, match=r"copied\.py and .*ratio\.py both register 'ratio'"):
        runpy.run_path(str(tmp_path / "copied.py"))


def test_an_explainer(run: Run) -> None:
    assert len(read_samples(run("brightness_explainer.py"))) == 4


def test_a_metric_is_a_column(run: Run) -> None:
    rows = read_samples(run("border_metric.py"))
    assert rows["border"].between(0, 1).all()
    assert "gini" in rows


def test_a_protocol_has_its_points(run: Run) -> None:
    folder = run("ten_points_protocol.py")
    assert "id_score_strict" in read_samples(folder)
    assert '"protocol": "ten_points"' in (folder / "summary.json").read_text()


def test_a_dataset(run: Run) -> None:
    rows = read_samples(run("stripes_dataset.py"))
    assert rows["label"].value_counts().to_dict() == {0: 2, 1: 2}


def test_a_second_paper_is_a_second_folder(run: Run) -> None:
    table = pd.read_csv(run("toy_paper.py") / "table1" / "table.csv").set_index("method")
    assert table.loc["Ours", "id_score_paper"] == 0.4
    assert table.loc["Edges", "insertion_paper"] == 0.3
    assert pd.isna(table.loc["random", "id_score_paper"])


def test_one_image(tmp_path: Path) -> None:
    Image.effect_noise((300, 260), 80).convert("RGB").save(tmp_path / "noise.png")
    command = [sys.executable, str(EXAMPLES / "explain_one_image.py"), "noise.png", "--weights", "none"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    said = re.search(r"p = (\S+), gap (\S+); heat_map\.png", done.stdout)
    assert said is not None, done.stdout
    assert 0 < float(said[1]) <= 1  # random weights may be certain: 1.0 when rounded
    assert float(said[2]) < 1e-5
    assert Image.open(tmp_path / "heat_map.png").size == (448, 224)


@pytest.mark.parametrize(
    ("content", "options", "said"),
    [
        ("picture", [], "the weights need a connection once, or say --weights none"),
        ("text", ["--weights", "none"], "give an image file"),
        (None, ["--weights", "none"], "give an image file"),
        ("picture", ["--weights", "none", "--picture", "missing/heat_map.png"], "No such file"),
    ],
)
def test_one_image_that_cannot_be_explained_is_one_line(
    tmp_path: Path, content: str | None, options: list[str], said: str
) -> None:
    if content == "picture":
        Image.effect_noise((30, 26), 80).convert("RGB").save(tmp_path / "bird.png")
    elif content is not None:
        (tmp_path / "bird.png").write_text(content)
    command = [sys.executable, "-W", "ignore", str(EXAMPLES / "explain_one_image.py"), "bird.png", *options]
    nowhere = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9", "no_proxy": ""}
    environment = {**os.environ, **nowhere, "TORCH_HOME": str(tmp_path / "weights")}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if not line.startswith("Downloading")]  # says torch
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    assert said in lines[0]


def test_maps_of_other_outputs_sum_to_what_is_explained(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = runpy.run_path(str(EXAMPLES / "explain_any_output.py"))
    shown["main"]()
    sums = {line[:28].strip(): float(line[28:]) for line in capsys.readouterr().out.splitlines()}
    torch.manual_seed(0)
    images = torch.rand(1, 3, 24, 24)
    pooled = (torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    encoder, linear = shown["encoder"], torch.nn.Linear
    classifier, regression = encoder(*pooled, linear(8, 5)), encoder(*pooled, linear(8, 1))
    embedding, segmentation = encoder(*pooled), encoder(torch.nn.Conv2d(8, 5, 1))
    p = classifier(images).softmax(1)[0]
    other = embedding(torch.rand(1, 3, 24, 24))
    output = segmentation(images)
    most = int(output.argmax(1).flatten().mode().values)
    expected = {
        "class 1 against class 3": p[1] - p[3],
        "a regression's value": regression(images).sum(),
        "likeness to another image": torch.cosine_similarity(embedding(images), other),
        "the commonest class's pixels": (output.softmax(1)[:, most] * (output.argmax(1) == most)).sum(),
    }
    detector = shown["Detector"]()
    expected["the second box"] = detector(images)[0]["scores"][1]
    assert sums == pytest.approx({what: float(value) for what, value in expected.items()}, abs=2e-4, rel=1e-4)
