"""``python -m pfv_widgets`` is the command line ``pfv-widgets``."""

from __future__ import annotations

import sys

from pfv_widgets.cli import main

if __name__ == "__main__":
    sys.exit(main())
