"""The pages and their files, as the server gives them."""

from __future__ import annotations

import gzip
import re

import pytest

from tests.support.web import WebWorld
from vmproxy.web.assets import PAGES, Assets


@pytest.fixture
def pages(web: WebWorld) -> WebWorld:
    """The front with its pages."""
    web.web.assets = Assets.load()
    return web


def nonce_of(csp: str) -> str:
    found = re.search(r"style-src 'self' 'nonce-([\w-]{20,})';", csp)
    assert found is not None, csp
    return found[1]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_needs_no_login_and_has_a_nonce_of_its_own(pages: WebWorld, page: object) -> None:
    path = getattr(page, "path", "").replace("{name}", "web%2001")
    first, second = pages.get(path), pages.get(path)
    assert (first.status, first.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert first.headers["cache-control"] == "no-store"
    nonces = [nonce_of(got.headers["content-security-policy"]) for got in (first, second)]
    assert nonces[0] != nonces[1]
    assert f'nonce="{nonces[0]}"' in first.body.decode()


def test_a_page_is_the_same_whatever_stands_behind_its_question_mark(pages: WebWorld) -> None:
    assert pages.get("/?filter=x&state=up&state=down").status == 200
    assert pages.get("/wall?c=1&c=2").status == 200
    assert pages.get(f"/?filter={pages.token()}").status == 400


def test_a_page_of_a_console_that_there_is_not_is_the_page(pages: WebWorld) -> None:
    pages.vm("web01")
    sizes = {len(pages.get(f"/c/{name}").body) for name in ("web01", "nothing")}
    assert len(sizes) == 1


def test_a_file_may_be_kept_for_ever_and_is_packed_for_who_takes_that(pages: WebWorld) -> None:
    path = pages.web.assets.address("pages/style.css")
    packed = pages.get(path, headers=[("Accept-Encoding", "gzip, deflate, br")])
    plain = pages.get(path)
    assert packed.status == plain.status == 200
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert gzip.decompress(packed.body) == plain.body
    for got in (packed, plain):
        assert got.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert got.headers["vary"] == "Accept-Encoding"
        assert got.headers["content-type"] == "text/css; charset=utf-8"


@pytest.mark.parametrize(
    "path", ["000000000000/pages/style.css", "{version}/pages/x.css", "{version}/", "{version}/.."]
)
def test_what_there_is_not_is_not_found(pages: WebWorld, path: str) -> None:
    assert pages.get("/a/" + path.replace("{version}", pages.web.assets.version)).status == 404


def test_a_front_without_pages_says_so(web: WebWorld) -> None:
    assert web.get("/").status == 404
