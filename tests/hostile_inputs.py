"""Files and folders that no task can use, beside good ones, for the table of wrong input."""

import csv
import json
import os
import shutil
import socket
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from PIL import Image
from torch import nn

from small_runs import CLASSES, ROOT


def write_image(path: Path, seed: int = 0) -> None:
    """Write a picture of 40x40 coarse pixels."""
    pixels = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.repeat(5, 0).repeat(5, 1)).save(path)


def write_photographs(root: Path, classes: tuple[str, ...] = CLASSES, train: int = 2, test: int = 4) -> Path:
    """Write a folder of photographs; return it."""
    seed = 0
    for split, count in (("train", train), ("test", test)):
        for name in classes:
            for index in range(count):
                seed += 1
                write_image(root / split / name / f"{index}.png", seed)
    return root


def demo_network(num_classes: int) -> nn.Module:
    """The demo network with seeded random weights."""
    model = OmegaConf.load(ROOT / "conf/model/demo.yaml")
    options = {key: model[key] for key in ("_target_", "block", "layers", "width_per_group")}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network: nn.Module = instantiate(options, num_classes=num_classes)
    return network


def write_cub(root: Path) -> Path:
    """Write a folder like CUB-200-2011's with two classes of four images; return it."""
    lines: dict[str, list[str]] = {
        name: [] for name in ("images", "image_class_labels", "train_test_split", "bounding_boxes")
    }
    for number in range(1, 9):
        label = 1 + (number - 1) // 4
        relative = f"{label:03d}.Bird_{label}/Bird_{number}.png"
        write_image(root / "images" / relative, number)
        lines["images"].append(f"{number} {relative}")
        lines["image_class_labels"].append(f"{number} {label}")
        lines["train_test_split"].append(f"{number} {number % 2}")
        lines["bounding_boxes"].append(f"{number} 5.0 5.0 20.0 20.0")
    for name, content in lines.items():
        (root / f"{name}.txt").write_text("\n".join(content) + "\n")
    (root / "classes.txt").write_text("1 001.Bird_1\n2 002.Bird_2\n")
    return root


def write_world(root: Path) -> None:
    """Write all that the rows of the table name, by the names that they use."""
    photographs = write_photographs(root / "photographs")
    network = demo_network(3)
    state = network.state_dict()
    torch.save(state, root / "weights.pt")
    torch.save(demo_network(2).state_dict(), root / "weights2.pt")
    _checkpoints(root / "checkpoints", network)
    _folders(root / "folders", photographs)
    _cubs(root / "cubs")
    _files(root / "files", photographs)
    _archives(root / "archives")


def _checkpoints(folder: Path, network: nn.Module) -> None:
    folder.mkdir()
    state = network.state_dict()
    floating = {name: value for name, value in state.items() if value.is_floating_point()}
    first = next(iter(floating))
    contents = {
        "int8": {**state, **{name: value.to(torch.int8) for name, value in floating.items()}},
        "bool": {**state, first: state[first] > 0},
        "complex": {**state, **{name: value.to(torch.complex64) for name, value in floating.items()}},
        "nan": {**state, first: torch.full_like(state[first], float("nan"))},
        "infinite": {**state, first: torch.full_like(state[first], float("inf"))},
        "missing": {name: value for name, value in state.items() if name != first},
        "unexpected": {**state, "another.weight": torch.ones(2)},
        "reshaped": {**state, first: torch.ones(1)},
        "no_tensors": {"epoch": 3, "lr": 0.1},
        "strange_layout": {"weights": {"net": state}},
        "list": [1, 2, 3],
        "tensor": torch.ones(3),
        "other_classes": {"state_dict": state, "class_names": ["finch", "jay", "owl"]},
        "other_index": {"state_dict": state, "class_to_idx": {"finch": 0, "jay": 1, "owl": 2}},
        "one_index": {"state_dict": state, "class_to_idx": dict.fromkeys(CLASSES, 1)},
        "text_index": {"state_dict": state, "class_to_idx": {name: name for name in CLASSES}},
        "none_index": {"state_dict": state, "class_to_idx": dict.fromkeys(CLASSES)},
        "late_index": {"state_dict": state, "class_to_idx": {name: place for place, name in enumerate(CLASSES, 1)}},
        "listed_index": {"state_dict": state, "class_to_idx": list(CLASSES)},
        "no_index": {"state_dict": state, "class_to_idx": {}},
        "few_classes": {"state_dict": state, "class_to_idx": {"finch": 0, "jay": 1}},
        "class_twice": {"state_dict": state, "class_names": ["finch", "finch", "wren"]},
        "sparse": {**state, first: state[first].to_sparse()},
        "csr": {**state, "fc.weight": state["fc.weight"].to_sparse_csr()},
        "meta": {**state, first: state[first].to("meta")},
        "huge": {**state, first: torch.zeros(1).expand(10**13)},
    }
    for name, content in contents.items():
        torch.save(content, folder / f"{name}.pt")
    torch.save(network, folder / "whole_module.pt")
    whole = (folder / "missing.pt").read_bytes()
    (folder / "truncated.pt").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.pt").write_bytes(b"")
    (folder / "text.pt").write_text("weights\n")
    (folder / "a_folder.pt").mkdir()
    (folder / "flipped.pt").write_bytes(whole[:40] + bytes(200) + whole[240:])
    torch.save(state, folder / "whole.pt")
    changed = bytearray((folder / "whole.pt").read_bytes())
    changed[len(changed) // 2] ^= 1  # in the midst of some weight: it is another number then
    (folder / "flipped_bit.pt").write_bytes(changed)


def _folders(folder: Path, photographs: Path) -> None:
    def changed(name: str, change: Callable[[Path], object]) -> None:
        shutil.copytree(photographs, folder / name)
        change(folder / name)

    (folder / "empty").mkdir(parents=True)
    changed("no_test", lambda root: shutil.rmtree(root / "test"))
    changed("no_train", lambda root: shutil.rmtree(root / "train"))
    changed("lacking_class", lambda root: shutil.rmtree(root / "test/jay"))
    changed("empty_class", lambda root: [path.unlink() for path in (root / "test/jay").iterdir()])
    changed("text_image", lambda root: (root / "test/jay/2.png").write_text("no picture"))
    changed("empty_image", lambda root: (root / "test/jay/2.png").write_bytes(b""))
    changed("cut_image", lambda root: _cut(root / "test/jay/2.png"))
    changed("dangling", lambda root: _dangle(root / "test/jay/2.png"))
    changed("pipe", lambda root: _other(root / "test/jay/2.png", os.mkfifo))
    changed("socket", lambda root: _other(root / "test/jay/2.png", _socket))
    changed("folder", lambda root: _other(root / "test/jay/2.png", Path.mkdir))
    changed("endless", lambda root: _other(root / "test/jay/2.png", lambda path: path.symlink_to("/dev/zero")))
    changed("non_utf8", lambda root: (root / "test/jay/2.png").rename(_bytes_path(root / "test/jay", b"\xff\xfe.png")))
    changed("text_train_image", lambda root: [path.write_text("no picture") for path in root.glob("train/jay/*.png")])
    changed("one_class", lambda root: [shutil.rmtree(path) for path in root.glob("*/[jw]*")])
    changed("flat", lambda root: [shutil.rmtree(root / "train"), (root / "train").mkdir()])


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:80])


def _dangle(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.with_name("nowhere.png"))


def _other(path: Path, make: Callable[[Path], object]) -> None:
    path.unlink()
    make(path)


def _socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # the name of a socket has 107 bytes at most
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


def _bytes_path(folder: Path, name: bytes) -> Path:
    return folder / name.decode("utf-8", "surrogateescape")


def _cubs(folder: Path) -> None:
    def changed(name: str, file: str, old: str, new: str) -> None:
        path = write_cub(folder / name) / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    write_cub(folder / "good")
    changed("nan_box", "bounding_boxes.txt", "2 5.0", "2 nan")
    changed("infinite_box", "bounding_boxes.txt", "2 5.0 5.0 20.0", "2 5.0 5.0 inf")
    changed("negative_box", "bounding_boxes.txt", "2 5.0 5.0 20.0", "2 5.0 5.0 -20.0")
    changed("flat_box", "bounding_boxes.txt", "2 5.0 5.0 20.0", "2 5.0 5.0 0.0")
    changed("box_outside", "bounding_boxes.txt", "2 5.0 5.0", "2 500.0 500.0")
    changed("text_box", "bounding_boxes.txt", "2 5.0", "2 left")
    changed("short_box", "bounding_boxes.txt", "2 5.0 5.0 20.0 20.0", "2 5.0 5.0 20.0")
    changed("label_0", "image_class_labels.txt", "2 1", "2 0")
    changed("label_3", "image_class_labels.txt", "2 1", "2 3")
    changed("split_2", "train_test_split.txt", "2 0", "2 2")
    changed("lacking_line", "image_class_labels.txt", "8 2\n", "")
    changed("twice", "images.txt", "2 001.Bird_1/Bird_2.png", "1 001.Bird_1/Bird_2.png")
    changed("outside", "images.txt", "001.Bird_1/Bird_2.png", "../Bird_2.png")
    changed("class_order", "classes.txt", "1 001.Bird_1", "3 001.Bird_1")
    (write_cub(folder / "no_boxes") / "bounding_boxes.txt").unlink()
    (write_cub(folder / "empty_images") / "images.txt").write_text("")
    (write_cub(folder / "binary") / "images.txt").write_bytes(bytes(range(128, 256)))
    (write_cub(folder / "lost_image") / "images/001.Bird_1/Bird_2.png").unlink()


def _files(folder: Path, photographs: Path) -> None:
    folder.mkdir()
    write_image(folder / "bird.png")
    (folder / "no_image.png").write_text("no picture")
    (folder / "empty.png").write_bytes(b"")
    (folder / "plain_file").write_text("a file where a folder belongs")
    (folder / "two_names.txt").write_text("finch\njay\n")
    (folder / "name_twice.txt").write_text("finch\njay\njay\n")
    (folder / "no_names.txt").write_text("\n")
    (folder / "binary_names.txt").write_bytes(bytes(range(128, 256)))
    for name, text in (
        ("nested", "a: " + "[" * 3_000 + "]" * 3_000),
        ("in_itself", "&a\nseed: 1\nb: *a\n"),
        (
            "growing",
            "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(map(_nine_times, "bcdefghi", "abcdefgh")),
        ),
    ):
        (folder / name).mkdir()
        (folder / name / "config.yaml").write_text(text)
    (folder / "notes").mkdir()
    (folder / "notes" / "diary.txt").write_text("mine")
    header = ["sample_id", "path", "label", "class"]
    row = ["test-finch-0.png", "test/finch/0.png", "0", "finch"]

    def manifest(name: str, *rows: list[str]) -> None:
        with (folder / name).open("w", newline="") as file:
            csv.writer(file).writerows(rows)

    manifest("other_header.csv", ["a", "b"], row)
    manifest("no_rows.csv", header)
    manifest("row_twice.csv", header, row, row)
    manifest("short_row.csv", header, row[:3])
    manifest("unknown_path.csv", header, ["x", "test/finch/99.png", "0", "finch"])
    manifest("other_label.csv", header, [*row[:2], "1", "finch"])
    manifest("train_path.csv", header, ["x", "train/finch/0.png", "0", "finch"])
    (folder / "binary.csv").write_bytes(bytes(range(128, 256)))
    (folder / "product").mkdir()
    (folder / "product" / "product.json").write_text('{"name": "table1"}')
    (folder / "broken_product").mkdir()
    (folder / "broken_product" / "product.json").write_text("{")
    (folder / "list_product").mkdir()
    (folder / "list_product" / "product.json").write_text(json.dumps([1, 2]))


def _nine_times(name: str, before: str) -> str:
    return f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n"


def _archives(folder: Path) -> None:
    folder.mkdir()
    (folder / "text.tar").write_text("no archive")
    (folder / "empty.tar").write_bytes(b"")
    inside = folder / "member.txt"
    inside.write_text("content")

    def archive(name: str, member: Callable[[tarfile.TarInfo], tarfile.TarInfo]) -> None:
        with tarfile.open(folder / name, "w:gz") as tar:
            tar.add(inside, arcname="top/member.txt", filter=member)

    def renamed(to: str) -> Callable[[tarfile.TarInfo], tarfile.TarInfo]:
        return lambda info: info.replace(name=to, deep=False)

    def linked(info: tarfile.TarInfo) -> tarfile.TarInfo:
        info.type, info.linkname, info.size = tarfile.SYMTYPE, "/etc/passwd", 0
        return info

    archive("good.tgz", lambda info: info)
    archive("upward.tgz", renamed("top/../../escaped.txt"))
    archive("absolute.tgz", renamed("/escaped.txt"))
    archive("link.tgz", linked)
    with tarfile.open(folder / "sparse.tar", "w", format=tarfile.GNU_FORMAT) as tar:
        hole = tarfile.TarInfo("top/hole.bin")
        hole.type, hole.size = tarfile.GNUTYPE_SPARSE, 0
        tar.addfile(hole)
    with tarfile.open(folder / "nul.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        named = tarfile.TarInfo("top/member.txt")
        named.pax_headers = {"path": "top/mem\0ber.txt"}
        tar.addfile(named)
    os.mkfifo(folder / "fifo.tar")
    whole = (folder / "good.tgz").read_bytes()
    (folder / "cut.tgz").write_bytes(whole[: len(whole) // 2])
    inside.unlink()
