"""A Jupyter server of its own for the tests: free port, token, none of the user's settings."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from tests.browser import kernels

# What asks the network, and what paints anew at each message of a kernel: it took a quarter of what
# a line of code costs kernel, server, browser and page.
UNUSED_PLUGINS = (
    "@jupyterlab/apputils-extension:announcements",
    "@jupyterlab/apputils-extension:kernel-status",
    "@jupyterlab/console-extension:kernel-status",
    "@jupyterlab/debugger-extension",
    "@jupyterlab/notebook-extension:execution-indicator",
    "@jupyterlab/notebook-extension:kernel-status",
)
START_LIMIT = 180.0  # seconds; a cold start on a busy machine takes about 10


class JupyterServer:
    """JupyterLab on the loopback address, with Notebook 7 (`/notebooks/`) and Voila beside it."""

    def __init__(self, folder: Path) -> None:
        self.notebooks = folder / "notebooks"
        self.log = folder / "server.log"
        self.token = secrets.token_hex(16)
        self.notebooks.mkdir(parents=True)
        self._folder = folder
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._kernels: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Begin to start; :meth:`wait` for the end of it, with other work in between."""
        if kernels.SUPPORTED:
            self._start_kernels()
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command(),
                cwd=self.notebooks,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def wait(self) -> None:
        """Wait until it answers.

        Raises
        ------
        RuntimeError
            If it does not, with its output.
        """
        deadline = time.monotonic() + START_LIMIT
        while not self._answers():
            if self._ended_within(0.1) or time.monotonic() > deadline:
                text = self.log.read_text("utf-8", errors="replace")
                self.stop()
                raise RuntimeError(f"JupyterLab did not start; its output:\n{text}")

    def stop(self) -> None:
        if self._kernels is not None and self._kernels.stdin is not None:
            self._kernels.stdin.close()
        if self._process is None:
            return
        self._process.kill()  # it would take seconds to say goodbye to each kernel
        self._process.wait()

    def url(self, path: str) -> str:
        separator = "&" if "?" in path else "?"
        return f"http://127.0.0.1:{self._port}/{path}{separator}token={self.token}"

    def write_notebook(self, name: str, cells: list[str]) -> None:
        """Write code cells as a notebook, without nbformat, which takes seconds to import."""
        empty = {"cell_type": "code", "metadata": {}, "execution_count": None, "outputs": []}
        book = {
            "nbformat": 4,
            "nbformat_minor": 5,
            "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3"}},
            "cells": [{**empty, "id": f"cell-{i}", "source": text} for i, text in enumerate(cells)],
        }
        (self.notebooks / name).write_text(json.dumps(book), "utf-8")

    def kernels(self) -> list[str]:
        return [kernel["id"] for kernel in json.loads(self._request("GET", "api/kernels"))]

    def end_kernels(self) -> None:
        """End what a test has left running: each kernel holds torch in memory."""
        for session in json.loads(self._request("GET", "api/sessions")):
            self._request("DELETE", f"api/sessions/{session['id']}")
        for kernel in self.kernels():
            self._request("DELETE", f"api/kernels/{kernel}")

    def _request(self, method: str, path: str) -> bytes:
        headers = {"Authorization": f"token {self.token}"}
        url = f"http://127.0.0.1:{self._port}/{path}"
        request = urllib.request.Request(url, method=method, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return bytes(answer.read())
        except urllib.error.HTTPError as error:
            if method == "DELETE" and error.code == 404:  # Voila's page has ended it meanwhile
                return b""
            raise

    def _answers(self) -> bool:
        try:
            self._request("GET", "api/status")
        except OSError:
            return False
        return True

    def _ended_within(self, seconds: float) -> bool:
        assert self._process is not None
        try:
            self._process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _command(self) -> list[str]:
        return [
            *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"),
            f"--ServerApp.port={self._port}",
            "--ServerApp.port_retries=0",
            "--ServerApp.ip=127.0.0.1",
            f"--ServerApp.root_dir={self.notebooks}",
            f"--IdentityProvider.token={self.token}",
            "--LabApp.expose_app_in_browser=True",
            "--JupyterNotebookApp.expose_app_in_browser=True",
            "--LabApp.extension_manager=readonly",  # the other kind asks the network for a list
        ]

    def _start_kernels(self) -> None:
        """Let kernels start at once, where that is possible: each one imports torch."""
        spec = self._folder / "data" / "kernels" / "python3" / "kernel.json"
        address = str(self._folder / "kernels.socket")
        light = [sys.executable, "-I", "-S", kernels.__file__]
        spec.parent.mkdir(parents=True)
        spec.write_text(
            json.dumps(
                {
                    "argv": [*light, "run", address, "-f", "{connection_file}"],
                    "display_name": "Python 3 (ipykernel)",
                    "language": "python",
                }
            ),
            "utf-8",
        )
        with (self._folder / "kernels.log").open("wb") as log:
            self._kernels = subprocess.Popen(
                [sys.executable, kernels.__file__, "serve", address],
                cwd=self._folder,
                env=self._environment(),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def _environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("JUPYTER", "JPY_"))}
        config = self._folder / "config"
        (config / "labconfig").mkdir(parents=True, exist_ok=True)
        unused = dict.fromkeys(UNUSED_PLUGINS, True)
        page = {"disabledExtensions": unused, "buildCheck": False, "buildAvailable": False}
        (config / "labconfig" / "page_config.json").write_text(json.dumps(page), "utf-8")
        return {
            **kept,
            "JUPYTER_CONFIG_DIR": str(config),
            "JUPYTER_DATA_DIR": str(self._folder / "data"),
            "JUPYTER_PATH": str(self._folder / "data"),  # before that of the environment
            "JUPYTER_RUNTIME_DIR": str(self._folder / "runtime"),
            "IPYTHONDIR": str(self._folder / "ipython"),
        }


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
