"""The files of the pages, read once and packed beforehand, and the pages that name them.

A file's address has the version of all files in it, so that browsers may keep it for ever. The terminal comes from npm
and is copied by ``make web``; without it console pages show the log as text.

Bound: what is kept is the packed files and nothing else; they come with the package.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from importlib.resources.abc import Traversable
from string import Template

PREFIX = "/a/"

_MEDIA = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "mjs": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "txt": "text/plain; charset=utf-8",
}
_FOLDERS = ("pages", "vendor")
_VENDOR = ("xterm.mjs", "xterm.css", "search.mjs", "unicode11.mjs", "web-links.mjs")


@dataclass(frozen=True, slots=True)
class Asset:
    """One file.

    :ivar media: its Content-Type.
    :ivar packed: by gzip.
    :ivar size: unpacked.
    """

    media: str
    packed: bytes
    size: int

    def plain(self) -> bytes:
        """The file for clients that do not take gzip."""
        return gzip.decompress(self.packed)


@dataclass(frozen=True, slots=True)
class Page:
    """A page: ``pages/NAME.html`` is its content, ``pages/NAME.js`` its module.

    :ivar path: where it is; ``{name}`` stands for whatever a NAME may be.
    :ivar modules: what the module imports, for browsers to get at once.
    :ivar styles: beside ``style.css``.
    """

    path: str
    name: str
    title: str
    modules: tuple[str, ...] = ()
    styles: tuple[str, ...] = ()


_COMMON = ("pages/shell.js", "pages/api.js", "pages/dom.js", "pages/settings.js", "pages/words.js")
_TERMINAL = (
    *(f"pages/{name}.js" for name in ("terminal", "answers", "keys")),
    *(f"vendor/{name}.mjs" for name in ("xterm", "unicode11", "web-links")),
)
_LIVE = (*_TERMINAL, *(f"pages/{name}.js" for name in ("session", "socket", "actions")))
_TERMINAL_STYLES = ("vendor/xterm.css", "pages/console.css")

PAGES = (
    Page(
        "/",
        "list",
        "Consoles",
        ("pages/list-row.js", "pages/live.js", "pages/query.js", "pages/rows.js"),
        ("pages/list.css",),
    ),
    Page("/login", "login", "Log in", ("pages/landing.js",)),
    Page("/account", "account", "Account"),
    Page("/alerts", "alerts", "Alerts"),
    Page("/search", "search", "Search"),
    Page("/c/{name}", "console", "Console", (*_LIVE, "pages/bar.js"), _TERMINAL_STYLES),
    Page("/c/{name}/play", "play", "Player", (*_TERMINAL, "pages/recording.js"), _TERMINAL_STYLES),
    Page("/wall", "wall", "Wall", _LIVE, _TERMINAL_STYLES),
)


class Assets:
    """All files of the pages.

    :ivar version: of all of them; another if one byte is.
    :ivar missing: files that ``make web`` has not brought.
    """

    def __init__(
        self, assets: dict[str, Asset] | None = None, templates: dict[str, str] | None = None, version: str = ""
    ) -> None:
        self.version = version
        self._assets = assets or {}
        self._templates = templates or {}
        self.missing = tuple(name for name in _VENDOR if f"vendor/{name}" not in self._assets)

    @classmethod
    def load(cls) -> Assets:
        """Read the files of the package.

        :raises OSError: if they cannot be read.
        """
        assets: dict[str, Asset] = {}
        templates: dict[str, str] = {}
        digest = hashlib.sha256()
        for name, file in _found(files("vmproxy.web")):
            kind = name.rpartition(".")[2]
            content = file.read_bytes()
            digest.update(f"{name} {len(content)} ".encode() + content)
            if kind == "html":
                templates[name] = content.decode()
            elif kind in _MEDIA:
                assets[name] = Asset(_MEDIA[kind], gzip.compress(content, 9, mtime=0), len(content))
        return cls(assets, templates, digest.hexdigest()[:12])

    def get(self, version: str, name: str) -> Asset | None:
        """The file of this version with a name; None if there is none."""
        return self._assets.get(name) if version == self.version else None

    def names(self) -> list[str]:
        """The names of all files."""
        return sorted(self._assets)

    def address(self, name: str) -> str:
        """The path of a file."""
        return f"{PREFIX}{self.version}/{name}"

    def page(self, page: Page, nonce: str) -> bytes:
        """The HTML of a page.

        :param nonce: for style elements that the terminal makes, as in the header.
        """
        modules = (f"pages/{page.name}.js", *_COMMON, *page.modules)
        there = [name for name in modules if name in self._assets]
        scripts = [f'<script type="module" src="{self.address(there[0])}"></script>'] if there else []
        scripts += [f'<link rel="modulepreload" href="{self.address(name)}">' for name in there[1:]]
        styles = [name for name in ("pages/style.css", *page.styles) if name in self._assets]
        html = Template(self._templates["pages/shell.html"]).substitute(
            name=page.name,
            title=escape(page.title),
            nonce=escape(nonce),
            assets=f"{PREFIX}{self.version}",
            styles="\n".join(f'<link rel="stylesheet" href="{self.address(name)}">' for name in styles),
            scripts="\n".join(scripts),
            main=self._templates[f"pages/{page.name}.html"].strip(),
        )
        return html.encode()


def _found(folder: Traversable) -> Iterator[tuple[str, Traversable]]:
    for name in _FOLDERS:
        inner = folder / name
        if inner.is_dir():
            for file in sorted(inner.iterdir(), key=lambda file: file.name):
                if file.is_file():
                    yield f"{name}/{file.name}", file
