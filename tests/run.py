"""Set everything up on a fresh machine and test the package: `python3 tests/run.py`.

Standard library only. It runs what tells whether the product works, on several cores, with lint
and types beside it; `--all` adds what takes longer, `--slow` what takes many minutes. Arguments
that are not its own go to pytest, in one process: `tests/run.py -k basis`.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv-test"
STAMP = VENV / "installed.txt"

QUICK_CHECKERS = (
    ("ruff", "check", "."),
    ("ruff", "format", "--check", "--diff", "."),
    ("lint-imports",),
)
SLOW_CHECKERS = (("mypy",),)  # reads all of PyTorch first: a minute of processor time
# folders of Python files that hardly anything imports: a third of all that is installed
SELDOM_IMPORTED = r"[/\\](tests?|testing|triton|_inductor|pip|setuptools)[/\\]"
# what pip is told by its settings → what uv is told by its environment, and what parts a list there
UV_SETTINGS = {
    "index-url": ("UV_DEFAULT_INDEX", " "),
    "extra-index-url": ("UV_INDEX", " "),
    "find-links": ("UV_FIND_LINKS", ","),
    "constraint": ("UV_CONSTRAINT", " "),
    "cert": ("SSL_CERT_FILE", " "),
}
LOW_PRIORITY = ("nice", "-n", "10") if os.name == "posix" else ()
SLOWEST = 25  # tests whose times are listed

COMMANDS = (
    "chromium-headless-shell",  # Chromium without windows of its own: a sixth less work
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "msedge",
    "microsoft-edge",
)
MACOS_APPS = (
    "Google Chrome.app/Contents/MacOS/Google Chrome",
    "Chromium.app/Contents/MacOS/Chromium",
    "Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
)
WINDOWS_PROGRAMS = (
    "Google/Chrome/Application/chrome.exe",
    "Chromium/Application/chrome.exe",
    "Microsoft/Edge/Application/msedge.exe",
)
NO_BROWSER = """\
No Chrome or Chromium was found or could be installed: the browser tests cannot run.
Install one (Debian: `apt-get install chromium`; macOS and Windows: Google Chrome), or run
`python -m playwright install --with-deps chromium`, or set PFV_CHROMIUM to an executable."""


def say(text: str) -> None:
    print(f"[tests/run.py] {text}", flush=True)


def venv_python(venv: Path) -> Path:
    return venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def run_limited(command: Sequence[str], seconds: float) -> bool:
    """Run a command and end it with all its children after a time: did it succeed?"""
    say(" ".join(command))
    posix = os.name == "posix"
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, env=environment, start_new_session=posix
        )
    except OSError as error:
        say(f"could not be started: {error}")
        return False
    try:
        return process.wait(timeout=seconds) == 0
    except subprocess.TimeoutExpired:
        say(f"not finished after {seconds:.0f} s: given up")
        return False
    finally:
        if process.poll() is None:
            if posix:
                os.killpg(process.pid, signal.SIGKILL)
            process.kill()
            process.wait()


# ---------------------------------------------------------------------------------- Python


def fingerprint(root: Path, version: str) -> str:
    """Whatever makes an existing environment out of date changes this text."""
    project = hashlib.sha256((root / "pyproject.toml").read_bytes()).hexdigest()
    return f"{root}\n{version}\n{project}\n"


def install() -> Path:
    """Create or reuse the test environment; return its Python."""
    python = venv_python(VENV)
    expected = fingerprint(ROOT, sys.version)
    if python.exists() and STAMP.exists() and STAMP.read_text("utf-8") == expected:
        say(f"using {VENV.name} (pyproject.toml is unchanged)")
        return python
    start = time.monotonic()
    create_venv()
    if not install_by_uv(python):
        pip = [*pip_of(python), "install", "-q", "--no-compile", "-e", ".[test]"]
        if subprocess.call(pip, cwd=ROOT, stdin=subprocess.DEVNULL):
            sys.exit("Installing the package failed: see pip's message above.")
    compile_all(python)
    STAMP.write_text(expected, "utf-8")
    say(f"installed into {VENV.name} in {time.monotonic() - start:.0f} s")
    return python


def pip_of(python: Path) -> list[str]:
    return [str(python), "-m", "pip", "--disable-pip-version-check", "--no-input"]


def install_by_uv(python: Path) -> bool:
    """Install on all cores, in a quarter of pip's time: did it work? Else pip does it."""
    uv = shutil.which("uv")
    if uv is None:
        subprocess.call([*pip_of(python), "install", "-q", "uv"], stdin=subprocess.DEVNULL)
        uv = shutil.which("uv", path=str(python.parent))
    if uv is None:
        return False
    settings = subprocess.run(
        [*pip_of(python), "config", "list"], capture_output=True, text=True, check=False
    )
    command = [uv, "pip", "install", "-q", "--python", str(python), "-e", ".[test]"]
    environment = {**uv_environment(settings.stdout), **os.environ}
    if subprocess.call(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL):
        say("uv could not install the package: pip tries it")
        return False
    return True


def uv_environment(pip_settings: str) -> dict[str, str]:
    """Say to uv what `pip config list` says: where packages come from; uv does not read it."""
    environment = {}
    for line in pip_settings.splitlines():
        name, _, value = line.partition("=")
        if (known := UV_SETTINGS.get(name.rpartition(".")[2])) and value:
            variable, joint = known
            environment[variable] = joint.join(ast.literal_eval(value).split())
    return environment


def compile_all(python: Path) -> None:
    """Compile what was installed on all cores; pip would do it on one, and with all of it."""
    command = [str(python), "-m", "compileall", "-q", "-j", "0", "-x", SELDOM_IMPORTED]
    folder = "import sysconfig; print(sysconfig.get_path('purelib'))"
    purelib = subprocess.check_output([str(python), "-c", folder], text=True).strip()
    subprocess.run(  # some packages bring files that are no Python: nothing of it matters
        [*command, purelib], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False
    )


def create_venv() -> None:
    say(f"creating {VENV.name} and installing the package with its test tools (minutes)")
    try:
        import ensurepip  # noqa: F401  # Debian and Ubuntu ship it separately
        import venv
    except ImportError:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        sys.exit(
            f"Python {version} here cannot create virtual environments. On Debian or Ubuntu:\n"
            f"  apt-get install python{version}-venv"
        )
    venv.create(VENV, with_pip=True, clear=VENV.exists())


# --------------------------------------------------------------------------------- browser


def is_snap(path: Path) -> bool:
    """Tell whether this is a snap or its stub: confined, it cannot open a profile in /tmp."""
    if path.parts[:2] == ("/", "snap"):
        return True
    try:
        with path.open("rb") as file:
            head = file.read(2048)
    except OSError:
        return False
    return head.startswith(b"#!") and b"/snap/" in head


def installed_browsers(environment: Mapping[str, str], platform: str, home: Path) -> Iterator[Path]:
    """Yield the Chrome-like browsers of this machine, in the order of preference."""
    for command in COMMANDS:
        result = shutil.which(command, path=environment.get("PATH", ""))
        if result and not is_snap(Path(result)):
            yield Path(result)
    candidates: list[Path] = []
    if platform == "darwin":
        folders = [Path("/Applications"), home / "Applications"]
        candidates = [folder / app for folder in folders for app in MACOS_APPS]
    elif platform == "win32":
        names = ("PROGRAMFILES", "PROGRAMFILES(X86)", "LOCALAPPDATA")
        folders = [Path(environment[name]) for name in names if name in environment]
        candidates = [folder / program for folder in folders for program in WINDOWS_PROGRAMS]
    yield from (path for path in candidates if path.exists())


def starts(browser: Path) -> bool:
    """Tell whether it opens an empty page without a window: a stub or missing library fails."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [str(browser), "--headless", "--no-sandbox", "--disable-gpu"]
        command += [f"--user-data-dir={profile}", "--dump-dom", "about:blank"]
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            return False
    return done.returncode == 0 and b"<html>" in done.stdout


def playwright_browser(python: Path) -> Path | None:
    """Return the browser that Playwright has downloaded, if it has."""
    code = (
        "from playwright.sync_api import sync_playwright\n"
        "with sync_playwright() as p: print(p.chromium.executable_path)"
    )
    done = subprocess.run(
        [str(python), "-c", code],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    path = Path(done.stdout.strip() or "missing")
    return path if done.returncode == 0 and path.exists() else None


def find_browser(python: Path = Path(sys.executable)) -> Path | None:
    """Return a browser that is here and starts; PFV_CHROMIUM is taken as it is."""
    if browser := os.environ.get("PFV_CHROMIUM"):
        return Path(browser)
    for path in installed_browsers(os.environ, sys.platform, Path.home()):
        if starts(path):
            return path
        say(f"{path} does not start: looking further")
    path = playwright_browser(python)
    return path if path and starts(path) else None


def distribution(text: str) -> str:
    """Return the ID in the text of /etc/os-release."""
    lines = (line.partition("=") for line in text.splitlines())
    return next((value.strip('"') for key, _, value in lines if key == "ID"), "")


def install_commands(python: Path, system: str, is_root: bool) -> list[tuple[list[str], float]]:
    """Return ways to get a browser, in order, each with its limit in seconds.

    Only root on Debian has a second way, and so waits briefly for the first; Ubuntu's
    `chromium` package is a stub of the snap, but Playwright can install the libraries there.
    """
    playwright = [str(python), "-m", "playwright", "install"]
    if is_root and system == "ubuntu":
        return [([*playwright, "--with-deps", "chromium"], 600)]
    if is_root and system == "debian":
        packages = ("chromium-headless-shell", "chromium")  # Debian 11 has the second alone
        either = " || ".join(f"apt-get install -qy {package}" for package in packages)
        system_package = ["sh", "-c", f"apt-get update -q && ({either})"]
        return [([*playwright, "chromium"], 90), (system_package, 600)]
    return [([*playwright, "chromium"], 600)]


def provide_browser(python: Path) -> Path | None:
    """Return a browser that is here, or else install one."""
    if result := find_browser(python):
        return result
    release = Path("/etc/os-release")
    system = distribution(release.read_text("utf-8")) if release.exists() else ""
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    for command, seconds in install_commands(python, system, is_root):
        if not run_limited(command, seconds):
            say("that did not work")
        elif result := find_browser(python):
            return result
        else:
            say("that worked, and yet no browser starts")
    return None


# -------------------------------------------------------------------------------- checkers


class Checkers(threading.Thread):
    """Lint, format, imports and types, one after the other beside the tests."""

    def __init__(self, python: Path, checkers: Sequence[Sequence[str]]) -> None:
        super().__init__(daemon=True)
        self._checkers = checkers
        self._folder = python.parent
        self._complaints: dict[str, str] = {}

    def run(self) -> None:
        for arguments in self._checkers:
            tool = shutil.which(arguments[0], path=str(self._folder))
            name = " ".join(arguments)
            if tool is None:
                self._complaints[name] = f"it is not installed in {self._folder}"
                continue
            done = subprocess.run(
                [*LOW_PRIORITY, tool, *arguments[1:]],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                errors="replace",
                check=False,
            )
            if done.returncode:
                self._complaints[name] = done.stdout

    def report(self) -> int:
        """Wait for the last one, print what they complain of, and return an exit status."""
        self.join()
        for name, output in self._complaints.items():
            print(output)
            say(f"`{name}` complains: see above")
        if not self._complaints:
            say(f"no complaint of {', '.join(arguments[0] for arguments in self._checkers)}")
        return 1 if self._complaints else 0


# ------------------------------------------------------------------------------------ main


def read(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Return the options, and what is left for pytest."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--all", action="store_true", help="run also what takes longer")
    parser.add_argument("--rest", action="store_true", help="run only what --all adds")
    parser.add_argument("--slow", action="store_true", help="run also what takes many minutes")
    parser.add_argument("--no-install", action="store_true", help="use this Python as it is")
    parser.add_argument("--check-browser", action="store_true", help="print the browser and exit")
    return parser.parse_known_args(arguments)


def checkers_of(options: argparse.Namespace) -> Sequence[Sequence[str]]:
    """Return what runs beside the tests."""
    if options.rest:
        return SLOW_CHECKERS
    return (*QUICK_CHECKERS, *SLOW_CHECKERS) if options.all else QUICK_CHECKERS


def pytest_environment(browser: Path | None) -> dict[str, str]:
    """Return the environment of the tests: the browser, one thread for each worker."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # a dozen processes import the same files
    return environment | ({"PFV_CHROMIUM": str(browser)} if browser else {})


def main(arguments: Sequence[str]) -> int:
    options, for_pytest = read(arguments)
    python = Path(sys.executable) if options.no_install else install()
    browser = find_browser(python) if options.no_install else provide_browser(python)
    say(f"browser: {browser}" if browser else NO_BROWSER)
    if options.check_browser:
        return 0 if browser else 1
    flags = [f"--{name}" for name in ("all", "rest", "slow") if getattr(options, name)]
    pytest = [str(python), "-m", "pytest", *flags]
    environment = pytest_environment(browser)
    if for_pytest:
        return subprocess.call([*pytest, *for_pytest], cwd=ROOT, env=environment)
    checkers = Checkers(python, checkers_of(options))
    checkers.start()
    workers = max(2, min(os.cpu_count() or 2, 8))
    suite = [*pytest, "-n", str(workers), f"--durations={SLOWEST}"]
    code = subprocess.call(suite, cwd=ROOT, env=environment)
    return checkers.report() or code


if __name__ == "__main__":
    if sys.version_info < (3, 11):  # noqa: UP036  # an older Python shall say so clearly
        sys.exit(f"Python 3.11 or newer is needed; this is {sys.version.split()[0]}.")
    sys.exit(main(sys.argv[1:]))
