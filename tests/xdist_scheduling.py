"""How pytest-xdist shares the tests out: files stay together, browsers are few."""

from __future__ import annotations

from itertools import cycle

from xdist.scheduler import LoadScopeScheduling

BROWSER_TESTS = "tests/browser/"


class FilesTogether(LoadScopeScheduling):
    """A file goes to one worker, so that what its tests share is made once.

    Files of browser tests are dealt to half of the workers, each with a server and a browser: a
    browser keeps a second core busy. With `--rest`, where there is hardly anything else, to all.
    """

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)
        self.config.option.loadscopereorder = False  # the order of the collection counts
        browsers = self.numnodes if self.config.option.rest else max(1, self.numnodes // 2)
        self._browsers = cycle(f"browser {number}" for number in range(browsers))
        self._browser_of: dict[str, str] = {}

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::", 1)[0]
        if not file.startswith(BROWSER_TESTS):
            return file
        if file not in self._browser_of:
            self._browser_of[file] = next(self._browsers)
        return self._browser_of[file]
