"""A Jupyter server on the loopback address, with a token, that ends with its owner."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any

from pfv_widgets.errors import PFVError

START_LIMIT = 120.0
"""Seconds; a cold start from a slow disk takes its time."""
STOP_LIMIT = 15.0
"""Seconds for the kernels to end before the server is killed."""
_DEFAULT_WORKSPACE = "default-37a8.jupyterlab-workspace"  # as JupyterLab calls its file
_FOLDED = {
    "data": {"layout-restorer:data": {"left": {"collapsed": True, "visible": True}}},
    "metadata": {"id": "default"},
}


class Server:
    """JupyterLab, or Voila within a Jupyter server, serving ``folder`` as long as ``with`` lasts.

    ``private`` is a folder that only the user can read, gone with the server.
    """

    def __init__(self, folder: Path, port: int, *, voila: bool, allow_root: bool) -> None:
        self.port = free_port(port)
        self.private = Path(tempfile.mkdtemp(prefix="pfv-server-"))
        self._token = secrets.token_hex(24)
        self._command = self._arguments(folder, voila, allow_root)
        self._process: subprocess.Popen[bytes] | None = None

    def address(self, page: str) -> str:
        """Return the address of a page with the token that it asks for."""
        return f"http://127.0.0.1:{self.port}/{page}?token={self._token}"

    def request(self, path: str, body: dict[str, object]) -> Any:
        """Post JSON to the server's API and return its answer."""
        with self._send(path, json.dumps(body).encode(), timeout=60) as answer:
            return json.load(answer)

    def _send(self, path: str, data: bytes | None = None, *, timeout: float) -> Any:
        """Send a request; no proxy of the environment may come before the loopback address."""
        headers = {"Authorization": f"token {self._token}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/{path}", data, headers)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        return opener.open(request, timeout=timeout)

    def wait(self) -> None:
        """Wait until the server ends by itself, as after a shutdown from its page."""
        if self._process is not None and self._process.wait() != 0:
            raise PFVError(f"the server ended unexpectedly:\n{self._log()}")

    def __enter__(self) -> Server:
        try:
            self._start()
        except BaseException:  # Ctrl-C while it starts must leave nothing behind either
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop()

    def _start(self) -> None:
        environment = self._environment()
        with (self.private / "server.log").open("wb") as log:
            self._process = subprocess.Popen(
                self._command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for this process, which ends the server
            )
        deadline = time.monotonic() + START_LIMIT
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise PFVError(f"the server did not start; its last lines:\n{self._log()}")
            time.sleep(0.1)

    def _environment(self) -> dict[str, str]:
        """Return what, unlike the arguments, is not shown to other users.

        The virtual environment's kernel goes before one of that name in the user's home, and
        Lab does not ask in a corner of the page whether it may fetch news: no option of its
        command line keeps it from that. Its file list, which takes the room of a third of the
        pictures in a window of 1,280 pixels, is folded; what the user has open elsewhere is
        another workspace, and stays as it is.
        """
        config, workspaces = self.private / "config", self.private / "workspaces"
        quiet = {"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}
        _write(config / "labconfig" / "page_config.json", quiet)
        _write(workspaces / _DEFAULT_WORKSPACE, _FOLDED)
        own = os.environ.get("JUPYTER_CONFIG_PATH")
        return os.environ | {
            "JUPYTER_TOKEN": self._token,
            "JUPYTER_PREFER_ENV_PATH": "1",
            "JUPYTERLAB_WORKSPACES_DIR": str(workspaces),
            "JUPYTER_CONFIG_PATH": os.pathsep.join(filter(None, (str(config), own))),
        }

    def _stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_LIMIT)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self.private, ignore_errors=True)

    def _answers(self) -> bool:
        try:
            with self._send("api/status", timeout=5) as answer:
                return bool(answer.status == 200)
        except urllib.error.HTTPError as error:
            if error.code in (401, 403):
                raise PFVError(
                    "the server does not take its token: a setting of your Jupyter "
                    "configuration is in the way (see `jupyter --paths`)."
                ) from None
            return False
        except OSError:  # not there yet
            return False

    def _log(self) -> str:
        lines = (self.private / "server.log").read_text("utf-8", "replace").splitlines()
        return "\n".join(lines[-15:]).replace(self._token, "…")

    def _arguments(self, folder: Path, voila: bool, allow_root: bool) -> list[str]:
        arguments = [sys.executable, "-m", "jupyter_server" if voila else "jupyterlab"]
        arguments += [
            "--ServerApp.ip=127.0.0.1",
            f"--ServerApp.port={self.port}",
            "--ServerApp.port_retries=0",
            "--ServerApp.open_browser=False",
            f"--ServerApp.root_dir={folder}",
            "--ServerApp.base_url=/",
        ]
        arguments += ["--ServerApp.jpserver_extensions=voila.server_extension=True"] * voila
        return arguments + ["--ServerApp.allow_root=True"] * allow_root


def _write(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(content), "utf-8")


def free_port(first: int) -> int:
    """Return ``first`` where it is free on the loopback address, else another that is."""
    for port in (first, 0):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise PFVError("no free port on 127.0.0.1.")
