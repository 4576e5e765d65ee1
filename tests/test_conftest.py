"""Which tests run, in which order, and how long they may take."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from tests import conftest

pytest_plugins = ["pytester"]

TESTS = """
import time
import pytest

def busy():
    end = time.process_time() + 0.2
    while time.process_time() < end:
        pass

def test_plain(): pass
def test_unmarked(): busy()
@pytest.mark.all
def test_marked(): busy()
@pytest.mark.slow
def test_of_minutes(): pass
@pytest.mark.browser
def test_browser(): pass
def test_last(): pass
"""


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    """A suite under the conftest of this one, with a limit of 0.1 s."""
    text = Path(conftest.__file__).read_text("utf-8").replace("LIMIT = 5.0", "LIMIT = 0.1")
    pytester.makeconftest(text.replace("LOOP = 0.06", "LOOP = 1e9"))  # as on a free machine
    pytester.makepyfile(TESTS)
    pytester.makeini(
        "[pytest]\nmarkers =\n" + "".join(f"    {name}: x\n" for name in ("all", "slow", "browser"))
    )
    return pytester


@pytest.mark.all
def test_test_that_takes_too_long_without_a_marker_fails(suite: pytest.Pytester) -> None:
    result = suite.runpytest_inprocess("-p", "no:xdist", "--all")
    result.assert_outcomes(passed=4, failed=1, skipped=1)
    result.stdout.fnmatch_lines(["*took 0.* s of processor time*mark it as one of browser, all*"])
    result.stdout.fnmatch_lines(["FAILED *::test_unmarked*"])


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ((), ["plain", "unmarked", "of_minutes", "last", "browser"]),
        (("--all",), ["plain", "unmarked", "marked", "of_minutes", "last", "browser"]),
        (("--rest",), ["marked"]),
    ],
)
def test_options_choose_what_runs_and_the_browser_comes_last(
    suite: pytest.Pytester, options: tuple[str, ...], names: list[str]
) -> None:
    result = suite.runpytest_inprocess("-p", "no:xdist", "--collect-only", "-q", *options)
    actual = [line.split("::test_")[1] for line in result.outlines if "::test_" in line]
    assert actual == names


def test_slow_tests_run_when_they_are_asked_for(suite: pytest.Pytester) -> None:
    suite.runpytest_inprocess("-p", "no:xdist", "-k", "minutes").assert_outcomes(skipped=1)
    suite.runpytest_inprocess("-p", "no:xdist", "-k", "minutes", "--slow").assert_outcomes(passed=1)


def test_folder_keeps_its_fixtures_where_the_arguments_leave_it_and_come_back(
    suite: pytest.Pytester,
) -> None:
    fixture = "import pytest\n\n@pytest.fixture\ndef one():\n    return 1\n"
    test = "def test_one(one):\n    assert one == 1\n"
    folder = suite.mkdir("folder")
    for name, text in (("conftest", fixture), ("test_a", test), ("test_b", test)):
        (folder / f"{name}.py").write_text(text)
    (suite.path / "test_beside.py").write_text("def test_nothing(): pass\n")
    arguments = ("folder/test_a.py", "test_beside.py", "folder/test_b.py")
    suite.runpytest_inprocess("-p", "no:xdist", *arguments).assert_outcomes(passed=3)


def test_large_files_come_first_and_browser_tests_keep_their_order() -> None:
    def item(name: str, mark: str = "") -> SimpleNamespace:
        return SimpleNamespace(path=Path(name), get_closest_marker=lambda one: one == mark)

    order = conftest.file_order
    assert order(item("b.py"), 9) < order(item("a.py"), 2) < order(item("b.py"), 2)
    assert order(item("b.py", "browser"), 9) == order(item("a.py", "browser"), 2)


def test_busy_machine_lengthens_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conftest, "LOOP", 1e9)
    assert conftest.slowness() == 1
    monkeypatch.setattr(conftest, "LOOP", 1e-6)
    assert conftest.slowness() > 100


@pytest.mark.parametrize(
    ("workers", "rest", "browsers"),
    [(2, False, 1), (3, False, 1), (8, False, 4), (2, True, 2), (4, True, 4)],
)
def test_files_stay_together_and_half_of_the_workers_have_a_browser(
    workers: int, rest: bool, browsers: int
) -> None:
    xdist = pytest.importorskip("xdist.remote")
    from tests.xdist_scheduling import FilesTogether

    option = SimpleNamespace(loadscopereorder=True, rest=rest)
    config = SimpleNamespace(getvalue=lambda _: [f"{workers}*popen"], option=option)
    shared = FilesTogether(config, xdist.Producer("test", enabled=False))
    assert not option.loadscopereorder
    assert shared._split_scope("tests/test_a.py::test_1[a::b]") == "tests/test_a.py"
    files = [f"tests/browser/test_{number}.py" for number in range(9)]
    groups = [shared._split_scope(f"{file}::test_1") for file in files]
    assert groups == [shared._split_scope(f"{file}::test_2") for file in files]
    assert len(set(groups)) == browsers
