"""Run the demo notebook in the server's kernel, so that its widget is live when it opens."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from pfv_widgets.commands.server import Server

TIMEOUT = 120.0
"""Seconds for a kernel to start and for a cell to run."""


def run_notebook(server: Server, notebook: Path) -> None:
    """Start the notebook's session, run its cells there and write their outputs.

    JupyterLab opens the notebook on the session that has its name, and takes the widgets of
    that kernel over, as after a reload of the page.

    Raises
    ------
    Exception
        Whatever goes wrong; the notebook is then opened without outputs.
    """
    import nbformat
    from nbformat.sign import NotebookNotary

    book = nbformat.read(notebook, as_version=4)
    body = {"path": notebook.name, "name": notebook.name, "type": "notebook"}
    session = server.request("api/sessions", body | {"kernel": {"name": "python3"}})
    client = _client(session["kernel"]["id"])
    try:
        wait_until_ready(client)
        count = 0
        for cell in book.cells:
            if cell.cell_type == "code":
                count += 1
                cell.outputs, cell.execution_count = _outputs(client, cell.source), count
    finally:
        client.stop_channels()
    nbformat.write(book, notebook)
    NotebookNotary().sign(book)  # an untrusted notebook would show the still picture


def _client(kernel: str) -> Any:
    from jupyter_client.blocking.client import BlockingKernelClient
    from jupyter_core.paths import jupyter_runtime_dir

    file = Path(jupyter_runtime_dir()) / f"kernel-{kernel}.json"
    deadline = time.monotonic() + TIMEOUT
    while not file.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    client = BlockingKernelClient(connection_file=str(file))
    client.load_connection_file()
    client.start_channels()
    return client


def wait_until_ready(client: Any) -> None:
    """Wait for the first answer: on a busy machine a late heartbeat does not mean a dead kernel."""
    deadline = time.monotonic() + TIMEOUT
    while True:
        try:
            client.wait_for_ready(timeout=max(deadline - time.monotonic(), 1.0))
        except RuntimeError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return


def _outputs(client: Any, source: str) -> list[Any]:
    """Run a cell and return what it shows."""
    from nbformat.v4 import output_from_msg

    outputs: list[Any] = []

    def store(message: dict[str, Any]) -> None:
        if message["msg_type"] in ("execute_result", "display_data", "stream", "error"):
            outputs.append(output_from_msg(message))

    client.execute_interactive(source, output_hook=store, timeout=TIMEOUT)
    return outputs
