"""Kernels that start at once: forked from a process that has imported what takes seconds.

``kernels.py serve SOCKET`` is that process; ``kernels.py run SOCKET -f FILE`` is what Jupyter
starts, interrupts and ends in a kernel's place.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import socket
import sys
import time
from pathlib import Path

SUPPORTED = sys.platform == "linux"  # elsewhere a fork of so many libraries is not safe
HEAVY = (
    "torch", "matplotlib.figure", "ipykernel.kernelapp",
    "pfv_widgets.methods.attribution.attribute", "pfv_widgets.demo.images",
)  # fmt: skip # and nothing with widgets: ipycanvas wants its kernel when it is imported


def serve(address: str) -> None:
    """Fork a kernel for each connection; end it when its client is gone, and all with stdin."""
    gc.disable()  # what is imported is no garbage, and no kernel needs to look at it
    for name in HEAVY:
        __import__(name)
    gc.freeze()
    gc.enable()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen()
    kernels: dict[int, socket.socket] = {}
    while True:
        readable, _, _ = select.select([listener, sys.stdin, *kernels.values()], [], [], 0.05)
        if sys.stdin in readable:
            for pid in kernels:
                os.kill(pid, signal.SIGKILL)
            return
        for pid, client in list(kernels.items()):
            if client in readable:  # nothing more is ever sent: it is gone
                os.kill(pid, signal.SIGKILL)
            if os.waitpid(pid, os.WNOHANG)[0]:
                client.close()  # for which its other side waits
                del kernels[pid]
        if listener in readable:
            client, _ = listener.accept()
            kernels[forked(client, [listener, *kernels.values()])] = client


def forked(client: socket.socket, others: list[socket.socket]) -> int:
    """Start the kernel that a client asks for; return its process."""
    expected = json.loads(client.makefile("r").readline())
    pid = os.fork()
    if pid:
        client.sendall(f"{pid}\n".encode())
        return pid
    try:
        for one in (client, *others):
            one.close()
        os.setsid()
        os.environ.clear()
        os.environ.update(expected["environment"])
        os.environ.pop("JPY_PARENT_PID", None)  # its parent is another process than it was told
        os.chdir(expected["folder"])
        sys.argv = ["ipykernel_launcher", *expected["arguments"]]
        from ipykernel.kernelapp import IPKernelApp

        IPKernelApp.launch_instance()
    finally:
        os._exit(0)


def run(address: str, arguments: list[str]) -> None:
    """Ask for a kernel, hand on every signal, and end when it ends."""
    server = socket.socket(socket.AF_UNIX)
    while server.connect_ex(address):  # it is not there, or does not listen yet
        time.sleep(0.05)
    expected = {"arguments": arguments, "environment": dict(os.environ), "folder": str(Path.cwd())}
    server.sendall(f"{json.dumps(expected)}\n".encode())
    pid = int(server.makefile("r").readline())
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: os.kill(pid, number))
    server.recv(1)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2])
    else:
        run(sys.argv[2], sys.argv[3:])
