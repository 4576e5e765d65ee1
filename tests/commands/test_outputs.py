"""Where the command line writes: what cannot be written is told in words."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from pfv_widgets.commands.outputs import Outputs
from pfv_widgets.errors import PFVValueError


def test_folder_that_cannot_be_made_is_named_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    outputs = Outputs(tmp_path / "file" / "results")
    for write in (outputs.writing().__enter__, lambda: outputs.write_record({}, [])):
        with pytest.raises(
            PFVValueError, match=r"--out .*results: nothing can be written there \("
        ) as one:
            write()
        assert "Errno" not in str(one.value)


def test_disk_that_fills_up_while_writing_is_told(tmp_path: Path) -> None:
    with (
        pytest.raises(PFVValueError, match=r"nothing can be written there.*a disk with room"),
        Outputs(tmp_path).writing(),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
