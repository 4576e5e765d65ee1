from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from PIL import Image

from pfv_widgets.cli import main
from pfv_widgets.commands import demo, run_notebook
from pfv_widgets.commands.server import free_port
from pfv_widgets.errors import PFVValueError

needs_lab = pytest.mark.skipif(find_spec("jupyterlab") is None, reason="needs jupyterlab")
needs_voila = pytest.mark.skipif(find_spec("voila") is None, reason="needs voila")


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


def status(address: str) -> int:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), NoRedirect)
    try:
        with opener.open(address, timeout=60) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


class Demo:
    """The command in a process of its own, as a user starts it."""

    def __init__(self, folder: Path, *options: str) -> None:
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # inherited by all in the background
            signal.signal(signal.SIGINT, signal.default_int_handler)
        command = [sys.executable, "-m", "pfv_widgets", "demo", "--no-browser", *options]
        self.process = subprocess.Popen(
            [*command, "--port", "0", "--notebook-dir", str(folder)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().strip()
        self.port = int(self.address.split(":")[2].split("/")[0]) if self.address else 0
        self.token = self.address.rpartition("token=")[2]

    def end(self, number: int) -> tuple[int, str]:
        self.process.send_signal(number)
        rest, _ = self.process.communicate(timeout=40)
        return self.process.returncode, rest


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    started = Demo(tmp_path_factory.mktemp("lab"))
    yield started
    if started.process.poll() is None:  # a test failed: the server must not outlive the run
        started.end(signal.SIGTERM)


def children(pid: int) -> list[int]:
    """Children of a process, from Linux's process list."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    if not path.exists():
        pytest.skip("needs the process list of Linux")
    return [int(child) for child in path.read_text().split()]


@pytest.mark.all
@needs_lab
def test_lab_opens_the_notebook_with_its_token_only(lab: Demo) -> None:
    assert lab.address.startswith(f"http://127.0.0.1:{lab.port}/lab/tree/demo.ipynb?token=")
    assert status(lab.address) == 200
    assert status(lab.address.partition("?")[0]) in (302, 403)
    contents = f"http://127.0.0.1:{lab.port}/api/contents/demo.ipynb"
    assert status(contents) == 403
    assert status(f"{contents}?token={lab.token}") == 200


@pytest.mark.all
@needs_lab
def test_lab_listens_on_the_loopback_address_only(lab: Demo) -> None:
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    listening = {row[1] for row in lines if row[3] == "0A"}
    assert [a for a in listening if a.endswith(f":{lab.port:04X}")] == [f"0100007F:{lab.port:04X}"]


@pytest.mark.all
@needs_lab
def test_token_is_not_in_the_process_list(lab: Demo) -> None:
    (server,) = children(lab.process.pid)
    for pid in (lab.process.pid, server):
        assert lab.token.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()


@pytest.mark.all
@needs_lab
def test_sigterm_ends_server_and_kernels_and_prints_nothing_more(lab: Demo) -> None:
    (server,) = children(lab.process.pid)
    request = urllib.request.Request(
        f"http://127.0.0.1:{lab.port}/api/kernels",
        method="POST",
        data=b"{}",
        headers={"Authorization": f"token {lab.token}"},
    )
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request):
        pass
    kernels = children(server)
    assert kernels
    assert lab.end(signal.SIGTERM) == (128 + signal.SIGTERM, "")
    deadline = time.monotonic() + 10
    alive = [server, *kernels]
    while alive and time.monotonic() < deadline:
        alive = [pid for pid in alive if Path(f"/proc/{pid}").exists()]
        time.sleep(0.05)
    assert alive == []


@pytest.mark.all
@needs_lab
@needs_voila
def test_voila_serves_the_page_with_its_token_only(tmp_path: Path) -> None:
    # a notebook of the user's in that place is used; this one is quick to run
    (tmp_path / "demo.ipynb").write_text(
        '{"cells": [], "metadata": {"kernelspec": {"name": '
        '"python3", "display_name": ""}}, "nbformat": 4, "nbformat_minor": 5}'
    )
    served = Demo(tmp_path, "--voila")
    try:
        assert "/voila/render/demo.ipynb?token=" in served.address
        assert status(served.address) == 200
        assert status(served.address.partition("?")[0]) in (302, 403)
    finally:
        code, _ = served.end(signal.SIGINT)
    assert code == 130


def test_notebook_of_the_user_is_never_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "demo.ipynb").write_text("mine")
    assert demo.copied_notebook(tmp_path).read_text() == "mine"
    assert "used as it is" in capsys.readouterr().err


def test_fresh_folder_goes_away_unless_the_user_saved(capsys: pytest.CaptureFixture[str]) -> None:
    with demo.notebook_folder(None) as folder:
        demo.copied_notebook(folder)
    assert not folder.exists()
    with demo.notebook_folder(None) as folder:
        demo.copied_notebook(folder).write_text("changed")
    assert (folder / "demo.ipynb").read_text() == "changed"
    assert str(folder) in capsys.readouterr().err
    (folder / "demo.ipynb").unlink()
    folder.rmdir()


def test_missing_jupyterlab_names_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "find_spec", lambda _: None)
    assert main(["demo", "--no-browser"]) == 1
    assert "jupyterlab is not installed; run: pip install 'pfv-widgets[lab]'" in (
        capsys.readouterr().err
    )


def test_missing_notebook_is_a_named_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(demo, "NOTEBOOK", "no-such.ipynb")
    with pytest.raises(PFVValueError, match=r"neither in the package nor at .*no-such\.ipynb"):
        demo.copied_notebook(tmp_path)


def test_taken_port_gives_way_to_a_free_one() -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        assert free_port(port) not in (0, port)
    assert free_port(port) == port


def test_browser_is_led_to_the_address_by_a_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(demo.webbrowser, "open", opened.append)
    demo.open_page("http://127.0.0.1:1/x?token=secret", tmp_path)
    assert "secret" not in opened[0]
    assert "url=http://127.0.0.1:1/x?token=secret" in (tmp_path / "open.html").read_text()
    assert Path(opened[0].removeprefix("file://")).samefile(tmp_path / "open.html")


def test_folder_of_photos_is_what_the_notebook_opens(tmp_path: Path) -> None:
    photos = tmp_path / "it's mine"
    photos.mkdir()
    with pytest.raises(PFVValueError, match=r"^DIR .* hold no images"):
        demo.notebook_on(photos)
    (photos / "notes.txt").write_text("no photo")
    for other, message in [
        (photos / "notes.txt", "notes.txt is no photo .*: give a folder with photos"),
        (photos / "gone", "^DIR .*gone. does not exist"),
    ]:
        with pytest.raises(PFVValueError, match=message):
            demo.notebook_on(other)
    Image.new("RGB", (8, 8)).save(photos / "a.png")
    cells = json.loads(demo.notebook_on(photos))["cells"]
    source = "".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    assert f"pw.demo(photos={str(photos)!r})" in source
    assert "photos=True" not in source
    first, third = ("".join(cells[number]["source"]) for number in (0, 2))
    assert first.startswith("# What has this network learned?")
    assert third.startswith("## Four things to try")
    assert not {"cup", "cat", "cats"} & set(f"{first} {third}".replace(",", " ").split())


def test_kernel_whose_heartbeat_is_late_is_waited_for() -> None:
    class Client:
        tries = 0

        def wait_for_ready(self, timeout: float) -> None:
            assert timeout > 0
            self.tries += 1
            if self.tries < 3:
                raise RuntimeError("Kernel died before replying to kernel_info")

    client = Client()
    run_notebook.wait_until_ready(client)
    assert client.tries == 3
