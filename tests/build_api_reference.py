"""Build the API reference from the docstrings: python tests/build_api_reference.py FOLDER.

Any warning of pdoc ends it, such as that of a public name that it cannot find, and so does a
public name without a docstring.
"""

from __future__ import annotations

import dataclasses
import inspect
import sys
import warnings
from pathlib import Path
from typing import Any

import pfv_widgets


def main(folder: str) -> None:
    import pdoc  # which nobody needs to test the package

    names = {name: getattr(pfv_widgets, name) for name in pfv_widgets.__all__}  # fetched when used
    silent = [name for name, one in names.items() if callable(one) and not inspect.getdoc(one)]
    assert not silent, f"without a docstring: {silent}"
    warnings.simplefilter("error", UserWarning)
    pdoc.render.configure(docformat="numpy")
    pdoc.doc.Class.own_members = property(_own_members)
    pdoc.pdoc("pfv_widgets", output_directory=Path(folder))
    page = Path(folder, "pfv_widgets.html").read_text("utf-8")
    fields = [f"Settings.{one.name}" for one in dataclasses.fields(pfv_widgets.Settings)]
    absent = [name for name in [*names, *fields] if f'id="{name}"' not in page]
    assert not absent, f"not on the first page: {absent}"


def _own_members(documented: Any) -> list[Any]:
    """Members of a class and of those of the package that it inherits from."""
    members = documented.members.values()
    return [one for one in members if one.taken_from[0].startswith("pfv_widgets")]


if __name__ == "__main__":
    main(sys.argv[1])
