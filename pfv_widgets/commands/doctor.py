"""``pfv-widgets doctor``: what is installed, what can compute, and can widgets be shown."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pfv_widgets import __version__

PACKAGES = (
    *("torch", "torchvision", "numpy", "pillow", "matplotlib"),
    *("ipywidgets", "ipycanvas", "anywidget"),
    *("jupyterlab", "notebook", "voila", "ipykernel"),
)
EXTENSIONS = {
    "@jupyter-widgets/jupyterlab-manager": "ipywidgets",
    "ipycanvas": "ipycanvas",
    "anywidget": "anywidget",
}
"""Folder of each JupyterLab extension that the widgets need → the package that brings it."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``doctor``."""
    parser.add_argument("--json", action="store_true", help="print JSON for other programs")


def run(options: argparse.Namespace) -> int:
    """Print the report; 0 where widgets can be shown in JupyterLab, else 1."""
    report: dict[str, Any] = {
        "python": platform.python_version(),
        "pfv-widgets": __version__,
        **{name: _version(name) for name in PACKAGES},
        "devices": _devices(),
        "extensions": {name: _extension(name) for name in EXTENSIONS},
    }
    missing = _missing(report)
    report["widgets"] = not missing
    report["fix"] = f"pip install {' '.join(missing)}" if missing else None
    sys.stdout.write(json.dumps(report, indent=2) + "\n" if options.json else _text(report))
    return int(bool(missing))


def _missing(report: dict[str, Any]) -> list[str]:
    """Name what to install for widgets in JupyterLab; an extension comes with its package."""
    needed = ("jupyterlab", "ipykernel", "ipywidgets", "ipycanvas", "anywidget")
    absent = [name for name in needed if report[name] is None]
    for extension, package in EXTENSIONS.items():
        if report["extensions"][extension] is None and package not in absent:
            absent += [f"--force-reinstall {'jupyterlab_widgets' if '/' in extension else package}"]
    return absent


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _devices() -> dict[str, Any]:
    try:
        import torch
    except Exception as error:  # a broken installation raises anything
        return {"torch cannot be imported": f"{type(error).__name__}: {error}"}
    rows: dict[str, Any] = {"cpu": f"{torch.get_num_threads()} threads of {os.cpu_count()} cores"}
    for index in range(torch.cuda.device_count()):
        one = torch.cuda.get_device_properties(index)
        rows[f"cuda:{index}"] = f"{one.name}, {one.total_memory / 2**30:.1f} GiB"
    if torch.backends.mps.is_available():
        rows["mps"] = "available"
    return rows


def _extension(name: str) -> str | None:
    """Folder where JupyterLab finds an extension: of the environment, or of the user."""
    roots = [Path(sys.prefix, "share", "jupyter")]
    try:
        from jupyter_core.paths import jupyter_path

        roots += [Path(path) for path in jupyter_path()]
    except ImportError:
        pass
    folders = [root / "labextensions" / name for root in roots]
    return next((str(folder) for folder in folders if (folder / "package.json").is_file()), None)


def _text(report: dict[str, Any]) -> str:
    rows = {name: report[name] or "not installed" for name in ("python", "pfv-widgets", *PACKAGES)}
    rows |= report["devices"]
    rows |= {f"extension {k}": v or "not found" for k, v in report["extensions"].items()}
    width = max(map(len, rows))
    lines = [f"{name:{width}}  {value}" for name, value in rows.items()]
    verdict = "yes" if report["widgets"] else f"no – run: {report['fix']}"
    return "\n".join([*lines, f"Widgets can be shown in JupyterLab: {verdict}", ""])
