"""Every kind of image file becomes 8-bit RGB, or is named."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch.utils.data import DataLoader

from relsplit.bench.data.catalogue import Sample
from relsplit.bench.data.dataset import EvaluationDataset, collate_evaluation
from relsplit.bench.data.image_reading import BadImage, read_image, read_mask
from relsplit.bench.data.transforms import EvaluationTransform

RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)


def pixels(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    image = read_image(path)
    assert image.mode == "RGB"
    return np.asarray(image)


def test_greyscale_is_repeated(tmp_path: Path) -> None:
    Image.fromarray(RAMP).save(tmp_path / "a.png")
    assert np.array_equal(pixels(tmp_path / "a.png"), np.stack([RAMP] * 3, -1))


def test_bilevel_and_palette(tmp_path: Path) -> None:
    Image.fromarray(RAMP > 100).save(tmp_path / "a.png")
    assert np.array_equal(pixels(tmp_path / "a.png")[..., 0], np.where(RAMP > 100, 255, 0))
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putpixel((1, 0), 1)
    palette.save(tmp_path / "p.png")
    assert pixels(tmp_path / "p.png").tolist() == [[[10, 20, 30], [40, 50, 60]]]


def test_cmyk_jpeg_keeps_its_colours(tmp_path: Path) -> None:
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=100)
    assert np.abs(pixels(tmp_path / "a.jpg").astype(int) - (255, 0, 0)).max() <= 4


@pytest.mark.parametrize(("alpha", "expected"), [(0, 255), (255, 40), (128, 147)])
def test_transparency_lies_on_white(tmp_path: Path, alpha: int, expected: int) -> None:
    Image.new("RGBA", (4, 4), (40, 40, 40, alpha)).save(tmp_path / "a.png")
    assert np.abs(pixels(tmp_path / "a.png").astype(int) - expected).max() <= 1
    Image.new("LA", (4, 4), (40, alpha)).save(tmp_path / "b.png")
    assert np.abs(pixels(tmp_path / "b.png").astype(int) - expected).max() <= 1


def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path) -> None:
    Image.fromarray(RAMP.astype(np.uint16) * 257).save(tmp_path / "a.png")
    assert np.array_equal(pixels(tmp_path / "a.png")[..., 0], RAMP)
    Image.fromarray(RAMP.astype(np.int32) * 257).save(tmp_path / "b.tif")
    assert np.array_equal(pixels(tmp_path / "b.tif")[..., 0], RAMP)


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    stored = Image.new("RGB", (32, 16))
    stored.paste((255, 0, 0), (0, 0, 8, 16))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees clockwise to be seen upright
    stored.save(tmp_path / "a.jpg", exif=exif, quality=95)
    seen = pixels(tmp_path / "a.jpg")
    assert seen.shape == (32, 16, 3)
    assert seen[2, 8, 0] > 200
    assert seen[28, 8, 0] < 60


def bad_files(folder: Path) -> dict[str, Path]:
    """One file of every kind that cannot be read."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(folder / "whole.jpg")
    Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(folder / "whole.png")
    for name in ("jpg", "png"):
        content = (folder / f"whole.{name}").read_bytes()
        (folder / f"truncated.{name}").write_bytes(content[: len(content) // 2])
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.jpg").write_text("this is no picture")
    Image.fromarray(np.full((4, 4), 0.5, np.float32)).save(folder / "float.tif")
    Image.fromarray(np.full((4, 4), 100_000, np.int32)).save(folder / "wide.tif")
    (folder / "folder.jpg").mkdir()
    names = ("truncated.jpg", "truncated.png", "empty.jpg", "text.jpg", "float.tif", "wide.tif", "folder.jpg")
    return {name: folder / name for name in (*names, "missing.jpg")}


def test_unreadable_files_are_named_with_the_reason(tmp_path: Path) -> None:
    reasons = {}
    for name, path in bad_files(tmp_path).items():
        with pytest.raises(BadImage) as caught:
            read_image(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
        reasons[name] = caught.value.reason
    assert "empty" in reasons["empty.jpg"]
    assert "truncated" in reasons["truncated.jpg"]
    assert "not an image" in reasons["text.jpg"]
    assert "no such file" in reasons["missing.jpg"]
    assert "no defined range" in reasons["float.tif"]


def test_the_error_survives_the_way_out_of_a_worker_process() -> None:
    error = pickle.loads(pickle.dumps(BadImage(Path("a.jpg"), "it is empty")))
    assert (error.path, error.reason) == (Path("a.jpg"), "it is empty")


def test_masks_are_the_majority_of_annotators(tmp_path: Path) -> None:
    levels = np.array([[0, 51, 102, 153, 204, 255]], np.uint8)
    Image.fromarray(levels).save(tmp_path / "l.png")
    Image.fromarray(np.stack([levels, 255 - levels], -1), "LA").save(tmp_path / "la.png")
    for name in ("l.png", "la.png"):
        assert read_mask(tmp_path / name).tolist() == [[False, False, False, True, True, True]]


def test_a_bad_image_is_still_one_line_when_a_loading_process_meets_it(tmp_path: Path) -> None:
    path = tmp_path / "note.jpg"
    path.write_text("hello")
    dataset = EvaluationDataset([Sample("note", path, 0, "test")], EvaluationTransform(8, 8, (0.5,) * 3, (0.5,) * 3))
    with pytest.raises(BadImage) as caught:
        list(DataLoader(dataset, num_workers=1, collate_fn=collate_evaluation))  # type: ignore[arg-type]
    assert str(caught.value).startswith(f"cannot read the image {path}: ")
    assert "\n" not in str(caught.value)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
