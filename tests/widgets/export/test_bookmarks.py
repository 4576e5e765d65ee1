"""Named states: unique names, files, and texts that are none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pfv_widgets.engine.pipeline.settings import Settings
from pfv_widgets.errors import PFVError, PFVTypeError, PFVValueError
from pfv_widgets.widgets.export.bookmarks import Bookmarks, read_text

FIRST = Settings(components=2, layer="features.7", images=(0.0, 1.5))
SECOND = Settings(view="split", split=0.25, pins=((0, 0.5, 1.0),), channels=(1,))


@pytest.fixture
def two() -> Bookmarks:
    return Bookmarks().add("cats", FIRST).add("dogs", SECOND)


def test_bookmarks_keep_order_and_give_back_what_was_added(two: Bookmarks) -> None:
    assert two.names == ("cats", "dogs")
    assert two.get("cats") == FIRST
    assert two.get("dogs") == SECOND
    assert len(two) == 2


def test_no_change_touches_the_bookmarks_it_starts_from(two: Bookmarks) -> None:
    before = two.entries
    two.add("more", FIRST)
    two.delete("cats")
    two.rename("cats", "lions")
    assert two.entries == before


def test_names_are_made_unique_and_clean(two: Bookmarks) -> None:
    more = two.add("cats", SECOND).add(" cats\n", SECOND)
    assert more.names == ("cats", "dogs", "cats (2)", "cats (3)")
    assert more.get("cats (2)") == SECOND
    assert Bookmarks().add("a\x1b\u202eb", FIRST).names == ("a b",)
    assert len(Bookmarks().add("x" * 500, FIRST).names[0]) == 60


def test_renaming_keeps_place_and_settings(two: Bookmarks) -> None:
    renamed = two.rename("cats", "lions")
    assert renamed.names == ("lions", "dogs")
    assert renamed.get("lions") == FIRST
    assert two.rename("cats", "cats") == two
    assert two.rename("cats", "dogs").names == ("dogs (2)", "dogs")


def test_deleting_leaves_the_others(two: Bookmarks) -> None:
    assert two.delete("cats").names == ("dogs",)


@pytest.mark.parametrize(
    ("act", "error", "message"),
    [
        (lambda b: b.get("cat"), PFVValueError, "Did you mean 'cats'"),
        (lambda b: b.delete("nothing"), PFVValueError, "is no bookmark"),
        (lambda b: b.rename("x", "y"), PFVValueError, "is no bookmark"),
        (lambda b: b.rename("cats", " "), PFVValueError, "name is empty"),
        (lambda b: b.add("\n\t", FIRST), PFVValueError, "name is empty"),
        (lambda b: b.add(3, FIRST), PFVTypeError, "expected a text"),
        (lambda b: b.add("a", {"components": 3}), PFVTypeError, "expected a Settings"),
        (lambda _: Bookmarks().get("a"), PFVValueError, "no bookmarks yet"),
    ],
)
def test_what_cannot_be_is_refused_in_words(
    two: Bookmarks, act: object, error: type[PFVError], message: str
) -> None:
    with pytest.raises(error, match=message):
        act(two)  # type: ignore[operator]


def test_there_is_a_bound(two: Bookmarks) -> None:
    full = Bookmarks(tuple((str(index), FIRST) for index in range(200)))
    with pytest.raises(PFVValueError, match="delete some first"):
        full.add("one more", FIRST)


def test_text_comes_back_the_same(two: Bookmarks) -> None:
    more = two.add("</script> $x$ 犬 \"'", FIRST)
    assert Bookmarks.from_json(more.to_json()) == (more, ())


def test_file_comes_back_the_same(two: Bookmarks, tmp_path: Path) -> None:
    two.save(tmp_path / "b.json")
    assert Bookmarks.load(tmp_path / "b.json") == (two, ())
    assert Bookmarks.load(str(tmp_path / "b.json"))[0] == two


def test_joining_keeps_both_and_doubles_once(two: Bookmarks) -> None:
    others = Bookmarks().add("cats", FIRST).add("dogs", FIRST)
    assert two.joined(others).names == ("cats", "dogs", "dogs (2)")


def test_entries_of_another_version_are_read_as_far_as_they_go(two: Bookmarks) -> None:
    content = json.loads(two.to_json())
    content["bookmarks"][0]["settings"]["glow"] = 3
    content["bookmarks"][0]["settings"]["sigma"] = "wide"
    content["bookmarks"] += [7, {"name": "", "settings": {}}, {"name": "a", "settings": []}]
    result, notes = Bookmarks.from_json(json.dumps(content))
    assert result.names == ("cats", "dogs")
    assert result.get("cats") == FIRST
    assert len(notes) == 5
    assert any("cats" in note and "'glow' is no setting" in note for note in notes)
    assert any("Bookmark 3 was left out" in note for note in notes)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "3", '{"bookmarks": 3}', "null", "[" * 100_000, '"\ud800"']
)
def test_text_without_bookmarks_is_refused(text: str) -> None:
    with pytest.raises(PFVValueError, match=r"Save wrote"):
        Bookmarks.from_json(text)


@pytest.mark.parametrize("name", ["absent.json", "a\0", ".", "", "x" * 300])
def test_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(PFVValueError, match="path="):
        read_text(str(tmp_path / name))


def test_file_of_other_bytes_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PFVValueError, match="no text file"):
        Bookmarks.load(tmp_path / "a.json")


@pytest.mark.parametrize("name", ["a.txt", "absent/a.json"])
def test_place_that_cannot_be_written_is_refused(two: Bookmarks, tmp_path: Path, name: str) -> None:
    with pytest.raises(PFVValueError, match="path="):
        two.save(tmp_path / name)
