"""The pure parts of `tests/run.py`: which browser is taken, what is installed, and when."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from tests import run

posix_only = pytest.mark.skipif(os.name == "nt", reason="makes shell scripts")


def executable(path: Path, text: str = "#!/bin/sh\nexit 0\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    path.chmod(0o755)
    return path


@posix_only
def test_browsers_on_the_path_come_in_the_order_of_preference(tmp_path: Path) -> None:
    chrome = executable(tmp_path / "first" / "google-chrome")
    chromium = executable(tmp_path / "second" / "chromium")
    environment = {"PATH": f"{chrome.parent}{os.pathsep}{chromium.parent}"}
    assert list(run.installed_browsers(environment, "linux", tmp_path)) == [chromium, chrome]


@posix_only
def test_stub_that_starts_a_snap_is_passed_over(tmp_path: Path) -> None:
    executable(tmp_path / "chromium-browser", "#!/bin/sh\nexec /snap/bin/chromium\n")
    assert list(run.installed_browsers({"PATH": str(tmp_path)}, "linux", tmp_path)) == []
    assert run.is_snap(Path("/snap/bin/chromium"))


def test_browsers_of_macos_are_found_in_the_applications_of_the_user(tmp_path: Path) -> None:
    app = executable(tmp_path / "Applications" / run.MACOS_APPS[1])
    assert app in run.installed_browsers({"PATH": ""}, "darwin", tmp_path)
    assert app not in run.installed_browsers({"PATH": ""}, "linux", tmp_path)


def test_browsers_of_windows_are_found_in_the_program_folders(tmp_path: Path) -> None:
    edge = executable(tmp_path / run.WINDOWS_PROGRAMS[2])
    environment = {"PATH": "", "PROGRAMFILES(X86)": str(tmp_path)}
    assert list(run.installed_browsers(environment, "win32", tmp_path)) == [edge]


def test_browser_named_by_the_environment_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PFV_CHROMIUM", "chosen")
    assert run.find_browser() == Path("chosen")


@posix_only
def test_browser_that_does_not_start_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = executable(tmp_path / "chromium", "#!/bin/sh\nexit 1\n")
    working = executable(tmp_path / "chrome", "#!/bin/sh\necho '<html></html>'\n")
    monkeypatch.delenv("PFV_CHROMIUM", raising=False)
    monkeypatch.setattr(run, "installed_browsers", lambda *_: iter([broken, working]))
    assert run.find_browser() == working


@posix_only
def test_playwrights_own_browser_is_the_last_that_is_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = executable(tmp_path / "own", "#!/bin/sh\necho '<html></html>'\n")
    monkeypatch.delenv("PFV_CHROMIUM", raising=False)
    monkeypatch.setattr(run, "installed_browsers", lambda *_: iter([]))
    monkeypatch.setattr(run, "playwright_browser", lambda _: own)
    assert run.find_browser() == own


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('PRETTY_NAME="Debian"\nID=debian\nVERSION_ID="12"\n', "debian"),
        ('ID="ubuntu"\nID_LIKE=debian\n', "ubuntu"),
        ("", ""),
    ],
)
def test_distribution_is_the_id_of_os_release(text: str, expected: str) -> None:
    assert run.distribution(text) == expected


def test_only_root_on_debian_installs_the_system_package() -> None:
    def tools(system: str, is_root: bool) -> list[str]:
        python = Path("python")
        return [command[0] for command, _ in run.install_commands(python, system, is_root)]

    assert tools("debian", True) == ["python", "sh"]
    assert tools("debian", False) == tools("fedora", True) == tools("", False) == ["python"]


def test_root_on_ubuntu_lets_playwright_install_its_libraries() -> None:
    [(command, _)] = run.install_commands(Path("python"), "ubuntu", True)
    assert command == ["python", "-m", "playwright", "install", "--with-deps", "chromium"]


def test_fingerprint_changes_with_the_project_its_place_and_the_python(tmp_path: Path) -> None:
    project = tmp_path / "pyproject.toml"
    project.write_text("one", "utf-8")
    before = run.fingerprint(tmp_path, "3.11")
    assert before == run.fingerprint(tmp_path, "3.11")
    assert before != run.fingerprint(tmp_path, "3.12")
    project.write_text("two", "utf-8")
    assert before != run.fingerprint(tmp_path, "3.11")


def test_uv_is_told_where_pip_gets_packages_from() -> None:
    settings = r"""
global.extra-index-url='file:///first/simple\nfile:///second/simple'
:env:.find-links='/wheels /more'
global.constraint='/etc/constraints.txt'
global.timeout='180'
"""
    assert run.uv_environment(settings) == {
        "UV_INDEX": "file:///first/simple file:///second/simple",
        "UV_FIND_LINKS": "/wheels,/more",
        "UV_CONSTRAINT": "/etc/constraints.txt",
    }
    assert run.uv_environment("") == {}


def test_pip_installs_where_there_is_no_uv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(run.subprocess, "call", lambda *_, **__: 1)  # uv cannot be had
    assert not run.install_by_uv(tmp_path / "bin" / "python")


def test_command_is_ended_at_its_time_limit(capfd: pytest.CaptureFixture[str]) -> None:
    start = time.monotonic()
    code = "import time; time.sleep(60)"
    assert not run.run_limited([sys.executable, "-c", code], 0.3)
    assert time.monotonic() - start < 20
    assert "given up" in capfd.readouterr().out


def test_command_succeeds_or_fails_with_its_exit_status() -> None:
    assert run.run_limited([sys.executable, "-c", ""], 60)
    assert not run.run_limited([sys.executable, "-c", "raise SystemExit(3)"], 60)
    assert not run.run_limited(["no-such-program"], 60)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands of pytest, in place of running them."""
    commands: list[list[str]] = []
    monkeypatch.setenv("PFV_CHROMIUM", "/no/such/browser")
    monkeypatch.setattr(run.subprocess, "call", lambda command, **_: commands.append(command) or 5)
    return commands


def test_arguments_that_are_not_its_own_go_to_pytest_in_one_process(calls: list[list[str]]) -> None:
    assert run.main(["--no-install", "--slow", "-k", "basis", "-x"]) == 5
    assert calls == [[sys.executable, "-m", "pytest", "--slow", "-k", "basis", "-x"]]


@pytest.mark.parametrize(
    ("chosen", "names"),
    [
        ([], "ruff ruff lint-imports"),
        (["--rest"], "mypy"),
        (["--all"], "ruff ruff lint-imports mypy"),
    ],
)
def test_types_are_checked_with_all_that_takes_longer(chosen: list[str], names: str) -> None:
    options, _ = run.read(chosen)
    assert [checker[0] for checker in run.checkers_of(options)] == names.split()


@pytest.mark.parametrize("checkers", [0, 1])
def test_suite_runs_once_on_several_cores_with_the_checkers_beside_it(
    monkeypatch: pytest.MonkeyPatch, calls: list[list[str]], checkers: int
) -> None:
    monkeypatch.setattr(run.Checkers, "start", lambda _: None)
    monkeypatch.setattr(run.Checkers, "report", lambda _: checkers)
    assert run.main(["--no-install"]) == (checkers or 5)
    [suite] = calls
    assert "-n" in suite


@posix_only
def test_checker_that_complains_is_reported_with_its_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    python = executable(tmp_path / "python")
    executable(tmp_path / "good")
    executable(tmp_path / "bad", "#!/bin/sh\necho line 3 is long\nexit 1\n")
    checkers = run.Checkers(python, (("good", "-q"), ("bad", "check"), ("absent",)))
    checkers.start()
    assert checkers.report() == 1
    output = capsys.readouterr().out
    assert "line 3 is long\n" in output
    assert "`bad check` complains" in output
    assert "`absent` complains" in output
    assert "good" not in output


@posix_only
def test_checkers_without_a_complaint_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    executable(tmp_path / "good")
    checkers = run.Checkers(executable(tmp_path / "python"), (("good", "-q"),))
    checkers.start()
    assert checkers.report() == 0
    assert "no complaint of good" in capsys.readouterr().out


def test_tests_get_one_thread_each_and_compiled_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    environment = run.pytest_environment(Path("chosen"))
    assert environment["PFV_CHROMIUM"] == "chosen"
    assert environment["OMP_NUM_THREADS"] == "1"
    assert "PYTHONDONTWRITEBYTECODE" not in environment
