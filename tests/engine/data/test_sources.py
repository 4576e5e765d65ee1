from __future__ import annotations

import errno
import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pfv_widgets.engine.data.sources import pictures_of
from pfv_widgets.errors import PFVTypeError, PFVValueError


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def names(source: object) -> list[str]:
    return [picture.name for picture in pictures_of(source)]


def test_folder_gives_its_images_in_natural_order(tmp_path: Path) -> None:
    touch(*(tmp_path / n for n in ("img10.png", "img2.PNG", "img1.jpg", "README.txt", ".x.png")))
    assert names(tmp_path) == names(str(tmp_path)) == ["img1.jpg", "img2.PNG", "img10.png"]


def test_sub_folders_become_labels(tmp_path: Path) -> None:
    touch(tmp_path / "b" / "1.png", tmp_path / "a" / "deep" / "2.png", tmp_path / ".git" / "3.png")
    result = pictures_of(tmp_path)
    assert [(p.name, p.label) for p in result] == [("2.png", "a"), ("1.png", "b")]


def test_own_images_of_a_folder_come_before_its_sub_folders(tmp_path: Path) -> None:
    touch(tmp_path / "1.png", tmp_path / "a" / "2.png")
    assert [(p.name, p.label) for p in pictures_of(tmp_path)] == [("1.png", None)]


def test_loop_of_links_ends(tmp_path: Path) -> None:
    touch(tmp_path / "a" / "1.png")
    (tmp_path / "a" / "again").symlink_to(tmp_path, target_is_directory=True)
    assert names(tmp_path) == ["1.png"]


def test_link_to_a_folder_around_is_no_class(tmp_path: Path) -> None:
    touch(tmp_path / "photos" / "a" / "1.png")
    for target in (tmp_path, tmp_path / "photos"):
        link = tmp_path / "photos" / f"to {target.name}"
        link.symlink_to(target, target_is_directory=True)
    assert names(tmp_path / "photos") == ["1.png"]


def test_glob_goes_once_into_each_folder_by_whatever_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    touch(tmp_path / "a" / "1.png", tmp_path / "a" / "b" / "2.png", tmp_path / ".git" / "3.png")
    for where in ("again", "a/up", "a/b/up"):
        (tmp_path / where).symlink_to(tmp_path, target_is_directory=True)
    elsewhere = tmp_path.parent / f"{tmp_path.name} beside"
    touch(elsewhere / "4.png")
    (tmp_path / "linked").symlink_to(elsewhere, target_is_directory=True)
    everything = ["1.png", "2.png", "4.png"]
    for pattern in ("**/*.png", "**/**/*.png", f"{tmp_path}/**/*.png", "**", f"{tmp_path}/**"):
        assert sorted(names(pattern)) == everything
    assert names("a/**/2.*") == names("**/b/*.png") == names("*/**/b/2.png") == ["2.png"]
    assert names("**/?.png") == everything


def test_link_that_leads_nowhere_is_told_where_it_leads(tmp_path: Path) -> None:
    (tmp_path / "round.png").symlink_to(tmp_path / "round.png")
    (tmp_path / "gone.png").symlink_to(tmp_path / "no file")
    with pytest.raises(PFVValueError, match=r"round.png' is a link .* leads back to itself"):
        pictures_of(tmp_path / "round.png")
    with pytest.raises(PFVValueError, match=r"gone.png' is a link .*no file' does not exist"):
        pictures_of(tmp_path / "gone.png")


@pytest.mark.parametrize("pattern", ["", "*", "**"])
def test_link_in_a_folder_that_leads_nowhere_is_listed(tmp_path: Path, pattern: str) -> None:
    touch(tmp_path / "1.png")
    (tmp_path / "gone.png").symlink_to(tmp_path / "no file")
    (tmp_path / "gone.txt").symlink_to(tmp_path / "no file")
    assert names(str(tmp_path / pattern)) == ["1.png", "gone.png"]


def test_classes_are_found_beside_a_link_that_leads_nowhere(tmp_path: Path) -> None:
    touch(tmp_path / "a" / "1.png")
    (tmp_path / "gone.png").symlink_to(tmp_path / "no file")
    assert [(p.name, p.label) for p in pictures_of(tmp_path)] == [("1.png", "a")]


@pytest.mark.skipif(not Path("/dev/fd").is_dir(), reason="pipes have no path here")
def test_pipe_is_read_once() -> None:
    end, start = os.pipe()
    os.write(start, b"content")
    os.close(start)
    (picture,) = pictures_of(f"/dev/fd/{end}")
    os.close(end)
    assert isinstance(picture.content, io.BytesIO)
    assert (picture.name, picture.content.getvalue()) == (str(end), b"content")


def test_glob_descends_with_two_stars(tmp_path: Path) -> None:
    touch(tmp_path / "1.png", tmp_path / "a" / "b" / "2.png", tmp_path / "a" / "notes.txt")
    assert names(f"{tmp_path}/**/*.png") == ["1.png", "2.png"]
    assert names(f"{tmp_path}/**") == ["1.png", "2.png"]


def test_glob_may_match_folders(tmp_path: Path) -> None:
    touch(tmp_path / "a1" / "1.png", tmp_path / "a2" / "2.png")
    assert names(f"{tmp_path}/a*") == ["1.png", "2.png"]


def test_file_whose_name_looks_like_a_glob_is_taken_as_it_is(tmp_path: Path) -> None:
    touch(tmp_path / "a[1].png")
    assert names(str(tmp_path / "a[1].png")) == ["a[1].png"]


def test_home_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    touch(tmp_path / "me.png")
    assert names("~/me.png") == names("~/*.png") == ["me.png"]


def test_list_mixes_kinds_and_numbers_the_unnamed(tmp_path: Path) -> None:
    touch(tmp_path / "a.png")
    mixed = [tmp_path / "a.png", np.zeros((2, 2), np.uint8), Image.new("L", (2, 2))]
    assert names(mixed) == ["a.png", "image 2", "image 3"]


def test_same_name_in_two_folders_is_told_apart(tmp_path: Path) -> None:
    touch(tmp_path / "x" / "a.png", tmp_path / "y" / "a.png", tmp_path / "y" / "b.png")
    assert names([tmp_path / "x", tmp_path / "y"]) == ["x/a.png", "y/a.png", "b.png"]


def test_same_file_twice_is_numbered(tmp_path: Path) -> None:
    touch(tmp_path / "x" / "a.png")
    assert names([tmp_path / "x" / "a.png"] * 2) == ["x/a.png", "x/a.png (2)"]


@pytest.mark.parametrize(
    "name", [b"<img src=x onerror=alert(1)>.png".replace(b"/", b""), b"$x$.png", b"a\nb.png"]
)
def test_hostile_name_is_kept_as_text(tmp_path: Path, name: bytes) -> None:
    touch(tmp_path / name.decode())
    assert names(tmp_path) == [name.decode()]


def test_undecodable_name_can_be_encoded(tmp_path: Path) -> None:
    try:
        touch(tmp_path / os.fsdecode(b"caf\xe9.png"))
    except OSError:
        pytest.skip("this file system takes only valid names")
    assert names(tmp_path)[0].encode("utf-8") == b"caf?.png"


def test_missing_path_suggests_the_nearest(tmp_path: Path) -> None:
    touch(tmp_path / "kitten.png")
    with pytest.raises(PFVValueError, match=r"kiten\.png.*does not exist.*'kitten\.png'"):
        pictures_of(tmp_path / "kiten.png")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere/at/all.png", "folder"),
        ("https://example.org/cat.png", "not downloaded"),
        ("", "expected"),
        ([], "no pictures"),
        ("nothing-here-*.png", "matches no file"),
        ("a" * 5000, "does not exist"),
        ("nul\0byte.png", "does not exist"),
        (os.devnull, "neither a file nor a folder: write the picture to a file"),
    ],
)
def test_source_without_pictures_is_a_named_error(source: object, message: str) -> None:
    with pytest.raises(PFVValueError, match=rf"source.*{message}"):
        pictures_of(source)


def test_folder_that_cannot_be_listed_is_a_named_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(PFVValueError, match=r"source='.*' cannot be read: Permission denied\."):
        names(tmp_path)
    with pytest.raises(PFVValueError, match=r"does not exist\. Check the name and the folder"):
        names(tmp_path / "a.png")


def test_empty_folder_is_a_named_error(tmp_path: Path) -> None:
    touch(tmp_path / "README.txt")
    with pytest.raises(PFVValueError, match="hold no images"):
        pictures_of(tmp_path)


@pytest.mark.parametrize("source", [None, 3, {"a": 1}, b"bytes", [1], [None], [b"bytes"]])
def test_source_of_another_type_is_a_named_error(source: object) -> None:
    with pytest.raises(PFVTypeError, match="source"):
        pictures_of(source)
