"""Notebooks run in the process of a test, cell by cell."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"


def run_notebook(name: str, scope: dict[str, Any], *, first: int = 0) -> list[Any]:
    """Run the code cells from ``first`` on in ``scope``; return what each shows.

    The notebook has to be stored without outputs.
    """
    book = json.loads((NOTEBOOKS / name).read_text("utf-8"))
    cells = [cell for cell in book["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells)
    shown = []
    for cell in cells[first:]:
        tree = ast.parse("".join(line for line in cell["source"] if not line.startswith("%")))
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, "cell", "exec"), scope)
        shown.append(last and eval(compile(ast.Expression(last.value), "cell", "eval"), scope))
    return shown
