"""What the environment gives is in force, decides what a run is, and stands in no file."""

from pathlib import Path

import pytest
import torch
from torchvision.models import resnet18

from hostile_inputs import write_image
from relsplit.bench.configuration.environment import FromEnvironment
from relsplit.bench.configuration.identity import command_without_secrets, identified, without_secrets
from relsplit.bench.evaluate.task import measure as evaluate
from relsplit.bench.explain.sample_maps import maps_of_run
from relsplit.bench.explain.task import explain
from relsplit.bench.runs.folder import read_config
from relsplit.bench.runs.maps import read_maps
from relsplit.bench.runs.store import read_samples
from relsplit.errors import InputError
from small_runs import configured, settings_of

SECRET = "n0t-t0-be-read"


def texts(folder: Path) -> str:
    """All files of a folder, as far as they are text."""
    return "".join(path.read_text(errors="replace") for path in folder.rglob("*") if path.is_file())


def test_what_a_variable_holds_is_in_force_and_not_written(photographs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRIVATE", SECRET)
    options = ("explainer=edges", "data_dir=${oc.env:PRIVATE}/data", "dataset.name=birds")
    settings = configured(photographs, *options, "+model.layers_note=${oc.env:PRIVATE}")
    assert settings.data_dir == f"{SECRET}/data"
    assert settings.model.arguments["layers_note"] == SECRET
    assert settings.document()["data_dir"] == FromEnvironment(f"{SECRET}/data", "${oc.env:PRIVATE}/data")
    written = identified(settings.document()).written()
    assert written["data_dir"] == "${oc.env:PRIVATE}/data"
    assert written["model"]["layers_note"] == "${oc.env:PRIVATE}"
    assert SECRET not in str(written)
    folder = evaluate(configured(photographs, *options))
    assert SECRET not in texts(folder)
    assert read_config(folder)["data_dir"] == "${oc.env:PRIVATE}/data"


def test_a_setting_that_follows_another_is_of_the_environment_too(
    photographs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIDE", "48")
    settings = configured(photographs, "dataset.image_size='${oc.decode:${oc.env:SIDE}}'", "dataset.resize=48")
    assert settings.dataset.image_size == 48
    assert settings.dataset.transform.arguments["image_size"] == 48
    written = settings.identity().written()["dataset"]
    assert written["image_size"] == "${oc.decode:${oc.env:SIDE}}"
    assert "${" in written["transform"]["image_size"]
    assert written["resize"] == 48


def test_of_a_list_with_such_an_item_the_list_counts(photographs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIRD", "jay")
    settings = configured(photographs, "dataset.class_names=[finch,${oc.env:BIRD},wren]")
    assert settings.dataset.class_names == ["finch", "jay", "wren"]
    before = settings.identity()
    assert before.written()["dataset"]["class_names"] == ["finch", "${oc.env:BIRD}", "wren"]
    monkeypatch.setenv("BIRD", "owl")
    assert configured(photographs, "dataset.class_names=[finch,${oc.env:BIRD},wren]").identity().hash != before.hash


def test_a_run_goes_on_where_the_variable_holds_the_same_and_names_it_elsewhere(
    photographs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def settings(*more: str):  # type: ignore[no-untyped-def]
        return configured(photographs, "explainer=edges", "dataset.root=${oc.env:BIRDS}/photographs", *more)

    monkeypatch.setenv("BIRDS", str(photographs))
    folder = evaluate(settings())
    curves = folder / "curves.jsonl"
    curves.write_text("".join(curves.read_text().splitlines(keepends=True)[:4]))
    (folder / "summary.json").unlink()
    assert evaluate(settings()) == folder
    rows = read_samples(folder)
    assert len(rows) == 9
    shown = maps_of_run(folder, [rows.sample_id[0]])  # read back from config.yaml alone
    assert (shown.map == read_maps(folder).map[:1]).all()

    (photographs / "elsewhere").symlink_to(photographs)
    monkeypatch.setenv("BIRDS", str(photographs / "elsewhere"))
    with pytest.raises(InputError, match=r"\(dataset.*root=\$\{oc\.env:BIRDS\}/photographs holds something else now"):
        evaluate(settings())
    with pytest.raises(InputError, match="holds something else now"):
        maps_of_run(folder, [rows.sample_id[0]])
    with pytest.raises(InputError, match=r"root was '\$\{oc\.env:BIRDS\}/photographs', now '/"):
        evaluate(settings(f"dataset.root={photographs / 'photographs'}"))


def test_where_a_run_is_carried_out_is_no_part_of_it(photographs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = []
    for place in ("here", "there"):
        monkeypatch.setenv("PLACE", str(photographs / place))
        names.append(configured(photographs, "output_dir=${oc.env:PLACE}", "data_dir=${oc.env:PLACE}").identity().hash)
    assert names[0] == names[1] == configured(photographs).identity().hash


def test_weights_at_a_place_from_the_environment_count_by_what_they_hold(
    photographs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (photographs / "copy.pt").write_bytes((photographs / "weights.pt").read_bytes())
    names = []
    for name in ("weights.pt", "copy.pt"):
        monkeypatch.setenv("WEIGHTS", str(photographs / name))
        names.append(configured(photographs, "model.checkpoint=${oc.env:WEIGHTS}").identity().hash)
    assert names[0] == names[1] == configured(photographs).identity().hash


def test_a_secret_from_the_environment_decides_nothing(photographs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    documents = []
    for value in ("one", "another"):
        monkeypatch.setenv("PRIVATE", value)
        documents.append(configured(photographs, "+model.api_key=${oc.env:PRIVATE}").identity().written())
    assert documents[0] == documents[1]
    assert documents[0]["model"]["api_key"] == "***"


def test_photographs_of_ones_own_keep_it_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their dataset is made of what the checkpoint says, whose place is one more setting."""
    place = tmp_path / SECRET
    place.mkdir()
    write_image(tmp_path / "bird.png")
    content = {"state_dict": resnet18(num_classes=2).state_dict(), "class_names": ["finch", "jay"]}
    torch.save(content, place / "own.pt")
    monkeypatch.setenv("PRIVATE", SECRET)
    monkeypatch.chdir(tmp_path)
    own = ("model=custom", "model._target_=torchvision.models.resnet18", "+model.num_classes=2", "device=cpu")
    checkpoint = "model.checkpoint=${oc.env:PRIVATE}/own.pt"
    settings = settings_of("task=explain", "task.images=[bird.png]", "explainer=center", *own, checkpoint)
    folder = explain(settings)
    assert read_config(folder)["dataset"]["catalogue"]["checkpoint"] == "${oc.env:PRIVATE}/own.pt"
    assert SECRET not in texts(folder)


def test_secrets_in_lists_and_with_spaces_are_hidden() -> None:
    assert without_secrets({"rows": [{"api_key": SECRET, "name": "a"}]}) == {"rows": [{"api_key": "***", "name": "a"}]}
    typed = [f"model.password=a {SECRET}", f"+x={{token: 'a, {SECRET}', name: b}}", "x.secret=${oc.env:PRIVATE}", "a=b"]
    assert command_without_secrets(typed) == ["model.password=***", "+x={token: ***, name: b}", "x.secret=***", "a=b"]
