"""Fetching and unpacking: a real server that breaks off, and archives that mean harm."""

import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from relsplit.bench.data.archive import extract
from relsplit.bench.data.cub import read_cub
from relsplit.bench.data.cub_download import get_cub, get_segmentations
from relsplit.bench.data.demo import generate_demo
from relsplit.bench.data.download import download
from relsplit.errors import InputError


class Server(ThreadingHTTPServer):
    """Serves one file; ``break_after`` bytes end a response too early, ``ranges`` says whether parts can be had."""

    content = b""
    break_after: int | None = None
    ranges = True
    asked: list[str]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers.get("Range", "")
        self.server.asked.append(asked)
        if self.path != "/file.tgz":
            self.send_error(404)
            return
        start = int(asked.removeprefix("bytes=").rstrip("-") or 0) if self.server.ranges else 0
        if start >= len(self.server.content):
            self.send_error(416)
            return
        body = self.server.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.server.break_after])

    def log_message(self, format: str, *args: object) -> None:
        """Keep the tests' output clean."""


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server(("127.0.0.1", 0), Handler)
    server.asked = []
    server.content = bytes(range(256)) * 400
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def url(server: Server, name: str = "file.tgz") -> str:
    return f"http://127.0.0.1:{server.server_port}/{name}"


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def test_a_broken_download_goes_on_where_it_stopped(server: Server, tmp_path: Path) -> None:
    target = tmp_path / "new" / "file.tgz"
    server.break_after = 30_000
    with pytest.raises(InputError, match="30000 of 102400 bytes; run the command again"):
        download(url(server), target, md5(server.content))
    assert not target.exists()
    server.break_after = None
    download(url(server), target, md5(server.content))
    assert target.read_bytes() == server.content
    assert server.asked == ["", "bytes=30000-"]
    download(url(server), target, md5(server.content))
    assert len(server.asked) == 2  # what is there is only checked
    assert [path.name for path in target.parent.iterdir()] == ["file.tgz"]


@pytest.mark.parametrize("ranges", [True, False])
def test_a_part_that_is_complete_or_cannot_be_continued(server: Server, tmp_path: Path, ranges: bool) -> None:
    server.ranges = ranges
    (tmp_path / "file.tgz.part").write_bytes(server.content)
    download(url(server), tmp_path / "file.tgz", md5(server.content))
    assert (tmp_path / "file.tgz").read_bytes() == server.content


def test_wrong_sums_and_refusals_are_named(server: Server, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"{md5(server.content)} instead of {'0' * 32}"):
        download(url(server), tmp_path / "file.tgz", "0" * 32)
    assert not (tmp_path / "file.tgz").exists()
    with pytest.raises(InputError, match="404"):
        download(url(server, "other"), tmp_path / "other", "0" * 32)
    closed = "http://127.0.0.1:1/file.tgz"
    with pytest.raises(InputError, match="run the command again"):
        download(closed, tmp_path / "closed", "0" * 32)


def pack(source: Path, archive: Path, name: str) -> bytes:
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(source, name)
        note = tarfile.TarInfo("attributes.txt")  # the real archive has such a file beside the folder
        tar.addfile(note)
    return archive.read_bytes()


def test_cub_arrives_by_download_or_from_the_disk(server: Server, tmp_path: Path) -> None:
    generate_demo(tmp_path / "birds", 0, 2, 1)
    (tmp_path / "birds" / "segmentations").rename(tmp_path / "masks")
    server.content = pack(tmp_path / "birds", tmp_path / "birds.tgz", "CUB_200_2011")
    fetched = get_cub(tmp_path / "a", url=url(server), md5=md5(server.content))
    from_disk = get_cub(tmp_path / "b", tmp_path / "birds.tgz", md5=md5(server.content))
    masks = pack(tmp_path / "masks", tmp_path / "masks.tgz", "segmentations")
    get_segmentations(tmp_path / "a", tmp_path / "masks.tgz", md5=md5(masks))
    one, other = read_cub(fetched), read_cub(from_disk)
    assert [s.sample_id for s in one.samples] == [s.sample_id for s in other.samples]
    assert one.samples[0].segmentation == tmp_path / "a" / "segmentations" / one.relative_path(
        one.samples[0]
    ).removeprefix("images/").replace(".jpg", ".png")
    assert other.samples[0].segmentation is None
    assert get_cub(tmp_path / "a", url="http://127.0.0.1:1/") == fetched  # what is there is left as it is
    with pytest.raises(InputError, match="97eceeb196236b17998738112f37df78"):
        get_cub(tmp_path / "c", tmp_path / "birds.tgz")


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    one = tarfile.TarInfo(name)
    one.type = kind
    one.linkname = link
    return one


@pytest.mark.parametrize(
    "evil",
    [
        member("../evil"),
        member("CUB/../../evil"),
        member("/tmp/evil"),
        member("CUB\\..\\..\\evil"),
        member("C:/evil"),
        member("CUB/link", tarfile.SYMTYPE, "/etc"),
        member("CUB/link", tarfile.SYMTYPE, "inside.txt"),
        member("CUB/hard", tarfile.LNKTYPE, "../../evil"),
        member("CUB/device", tarfile.CHRTYPE),
        member("CUB/pipe", tarfile.FIFOTYPE),
    ],
    ids=lambda one: f"{one.name}->{one.linkname}",
)
def test_harmful_archives_are_refused_and_leave_nothing(tmp_path: Path, evil: tarfile.TarInfo) -> None:
    archive = tmp_path / "a.tar"
    with tarfile.open(archive, "w") as tar:
        good = member("CUB/images.txt")
        good.size = 4
        tar.addfile(good, io.BytesIO(b"good"))
        tar.addfile(evil)
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match="do not trust"):
        extract(archive, tmp_path / "out", "CUB")
    assert list((tmp_path / "out").iterdir()) == []
    assert {path.name for path in tmp_path.iterdir()} == {"a.tar", "out"}


def test_damaged_and_wrong_archives_leave_nothing(tmp_path: Path) -> None:
    (tmp_path / "CUB").mkdir()
    (tmp_path / "CUB" / "a.bin").write_bytes(bytes(100_000))
    whole = pack(tmp_path / "CUB", tmp_path / "whole.tgz", "CUB")
    (tmp_path / "cut.tgz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.tgz").write_text("no archive")
    for name in ("cut.tgz", "text.tgz"):
        with pytest.raises(InputError, match=f"cannot unpack .*{name}"):
            extract(tmp_path / name, tmp_path / "out", "CUB")
    with pytest.raises(InputError, match="has no folder OTHER/"):
        extract(tmp_path / "whole.tgz", tmp_path / "out", "OTHER")
    assert not (tmp_path / "out").exists()
    extract(tmp_path / "whole.tgz", tmp_path / "out", "CUB")
    with pytest.raises(InputError, match="exists already"):
        extract(tmp_path / "whole.tgz", tmp_path / "out", "CUB")
