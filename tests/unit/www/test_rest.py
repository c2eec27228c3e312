"""REST v2: replies, query language, errors."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
import zstandard

from buildbot.www.api.rest import RestApi
from buildbot.www.http.messages import Request, Response
from buildbot.www.settings import make_settings
from tests.unit.www.fake_data import FakeData, make_data

SETTINGS = make_settings({"port": 8010, "rest_default_limit": 2, "rest_max_limit": 5}, "http://ci.example:8010")


def api(data: FakeData) -> RestApi:
    return RestApi(data, SETTINGS)


async def get(data: FakeData, url: str, **headers: str) -> Response:
    path, _, query = url.partition("?")
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return await api(data).handle(Request("GET", path, query, sent), tuple(path.split("/")))


def body(response: Response) -> Any:
    assert isinstance(response.body, bytes)
    return json.loads(response.body)


async def test_collection() -> None:
    """A collection is an array under its plural, with the true total and the clock."""
    response = await get(make_data(), "builds", accept="application/json")
    assert response.status == 200
    assert response.header("content-type") == "application/json; charset=utf-8"
    assert response.header("x-tenfold-clock") == "41"
    reply = body(response)
    assert [build["buildid"] for build in reply["builds"]] == [1, 2]
    assert reply["meta"] == {"clock": 41, "total": 3}


async def test_single() -> None:
    """A single resource comes as a one-element array with an empty meta."""
    response = await get(make_data(), "builds/2", accept="text/html, application/json;q=0.1")
    assert [build["buildid"] for build in body(response)["builds"]] == [2]
    assert body(response)["meta"] == {}
    assert response.header("x-tenfold-clock") == "41"


async def test_keys_are_sorted_and_compact() -> None:
    """All keys are sorted alphabetically, without blanks for programs."""
    response = await get(make_data(), "workers", accept="application/json")
    assert response.body == b'{"meta":{"clock":41,"total":1},"workers":[{"name":"w1","workerid":1}]}'


async def test_pretty_for_people() -> None:
    """Without application/json in Accept the reply is indented by two and plain text."""
    response = await get(make_data(), "workers", accept="*/*")
    assert response.header("content-type") == "text/plain; charset=utf-8"
    assert isinstance(response.body, bytes)
    assert b'\n  "workers": [\n    {\n      "name": "w1"' in response.body


async def test_default_limit_of_growing_collections_only() -> None:
    """Growing collections have a default limit; configured ones are complete."""
    data = make_data()
    await get(data, "builds")
    await get(data, "builders")
    assert data.asked == [("read", {"limit": 2}, ("builds",)), ("read", {}, ("builders",))]


async def test_options_reach_the_data_api() -> None:
    """The query string becomes typed options."""
    data = make_data()
    await get(
        data,
        "builds?limit=3&offset=1&order=-buildid&order=number&field=buildid&field=number&field=complete&complete=off"
        "&buildid__gt=1&number=1&number=2&property=a&property=*&expand=builder",
    )
    assert data.asked == [
        (
            "read",
            {
                "fields": ["buildid", "number", "complete"],
                "order": ["-buildid", "number"],
                "limit": 3,
                "offset": 1,
                "properties": ["a", "*"],
                "expand": ["builder"],
                "filters": {"complete": False, "buildid__gt": 1, "number": [1, 2]},
            },
            ("builds",),
        )
    ]


async def test_lists_are_compared_by_elements() -> None:
    """``contains`` on lists takes an element: a number where the list holds ids, else a text."""
    data = make_data()
    await get(data, "builders?tags__contains=7&masterids__contains=1")
    assert data.asked[0][1]["filters"] == {"tags__contains": "7", "masterids__contains": 1}


@pytest.mark.parametrize(
    ("url", "status", "message"),
    [
        ("nonsense", 404, "Invalid path: nonsense"),
        ("builders/", 404, "Invalid path: builders/"),
        ("builds/99", 404, "not found: builds/99"),
        ("builds?field=nope", 400, "no such field 'nope'"),
        ("builds?order=-nope", 400, "no such field 'nope'"),
        ("builds?order=", 400, "no such field ''"),
        ("builds?limit=x", 400, "invalid limit"),
        ("builds?limit=-1", 400, "invalid limit"),
        ("builds?limit=6", 400, "limit must not exceed 5; use offset for more"),
        ("builds?offset=1.5", 400, "invalid offset"),
        ("builds?buildid=x", 400, "invalid filter value for buildid"),
        ("builds?buildid=", 400, "invalid filter value for buildid"),
        ("builds?started_at__ge=soon", 400, "invalid filter value for started_at__ge"),
        ("builds?complete=maybe", 400, "invalid filter value for complete"),
        ("builds?properties=x", 400, "invalid filter value for properties"),
        ("builds?buildid__lt=1&buildid__lt=2", 400, "invalid filter value for buildid__lt"),
        ("builds?nope=1", 400, "unrecognized query parameter 'nope'"),
        ("builds?nope__eq=1", 400, "unrecognized query parameter 'nope__eq'"),
        ("builds?buildid__near=1", 400, "unrecognized query parameter 'buildid__near'"),
        ("builds?buildid__=1", 400, "unrecognized query parameter 'buildid__'"),
        ("builds?field=buildid&order=number", 400, "cannot order on un-selected fields"),
        ("builds?field=buildid&number=1", 400, "cannot filter on un-selected fields"),
        ("builds/1?number=1", 400, "this is not a collection"),
        ("masters?masterid__gt=1", 400, "cannot filter with masterid__gt"),
        ("logs/9/raw?foo=1", 400, "unrecognized query parameter 'foo'"),
        ("logs/99/raw", 404, "not found: logs/99/raw"),
    ],
)
async def test_errors(url: str, status: int, message: str) -> None:
    """Every error is JSON text under a plain type and names the mistake."""
    response = await get(make_data(), url, accept="application/json")
    assert response.status == status
    assert response.header("content-type") == "text/plain; charset=utf-8"
    assert body(response) == {"error": message}


async def test_too_many_parameters() -> None:
    """An absurd number of parameters is refused."""
    response = await get(make_data(), "builds?" + "&".join(["number=1"] * 1001))
    assert response.status == 400


async def test_internal_errors_stay_inside() -> None:
    """The answer to an unforeseen error does not have its text."""
    data = make_data()
    data.broken = ZeroDivisionError("secret")
    response = await get(data, "builds")
    assert response.status == 500
    assert body(response) == {"error": "internal error - see logs"}


async def test_not_modified() -> None:
    """While the clock stands still, a client that has the reply is answered 304 without a query."""
    data = make_data()
    rest = api(data)
    first = await rest.handle(Request("GET", "builds"), ("builds",))
    etag = first.header("etag")
    assert etag is not None
    again = await rest.handle(Request("GET", "builds", headers={"if-none-match": etag}), ("builds",))
    assert (again.status, again.body) == (304, b"")
    assert again.header("x-tenfold-clock") == "41"
    assert len(data.asked) == 1


async def test_modified() -> None:
    """A validator of an older clock, or of another process, does not hold."""
    data = make_data()
    rest = api(data)
    etag = (await rest.handle(Request("GET", "builds"), ("builds",))).header("etag")
    assert etag is not None
    assert (await get(data, "builds", if_none_match=etag)).status == 200
    sent = Request("GET", "builds", headers={"if-none-match": etag})
    data.commits += 1
    assert (await rest.handle(sent, ("builds",))).status == 304, "nothing was announced"
    data.clock += 1
    assert (await rest.handle(sent, ("builds",))).status == 200


async def test_validator_where_changes_are_silent() -> None:
    """Nouns that change without an event have a validator that any change ends."""
    data = make_data()
    rest = api(data)
    etag = (await rest.handle(Request("GET", "masters"), ("masters",))).header("etag")
    assert etag is not None
    sent = Request("GET", "masters", headers={"if-none-match": etag})
    assert (await rest.handle(sent, ("masters",))).status == 304
    data.commits += 1
    assert (await rest.handle(sent, ("masters",))).status == 200


async def test_answers_are_kept_while_nothing_changes() -> None:
    """The same request gets the same bytes without a query, until anything at all is committed."""
    data = make_data()
    rest = api(data)

    async def ask(query: str = "", **headers: str) -> Response:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return await rest.handle(Request("GET", "builds", query, sent), ("builds",))

    first = await ask()
    assert (await ask()).body == first.body
    assert len(data.asked) == 1
    for different in (await ask("limit=1"), await ask(accept="application/json")):
        assert different.body != first.body
    assert len(data.asked) == 3
    data.commits += 1
    await ask()
    assert len(data.asked) == 4


async def test_kept_answers_are_bounded() -> None:
    """Kept answers take no more memory than they may."""
    data = make_data()
    rest = RestApi(data, make_settings({"rest_cache_bytes": 20_000}, "http://ci.example:8010"))
    for _ in range(2):
        for offset in range(100):
            await rest.handle(Request("GET", "builds", f"offset={offset}"), ("builds",))
    assert len(data.asked) == 200
    await rest.handle(Request("GET", "builds", "offset=99"), ("builds",))
    assert len(data.asked) == 200


async def test_errors_are_not_kept() -> None:
    """The answer "not found" is not kept: the object may be there a moment later."""
    data = make_data()
    rest = api(data)
    for count in (1, 2):
        assert (await rest.handle(Request("GET", "builds/99"), ("builds", "99"))).status == 404
        assert len(data.asked) == count


async def test_compression() -> None:
    """Large replies are compressed for clients that take it."""
    data = make_data()
    data.rows["workers"] = [{"workerid": number, "name": f"worker{number}"} for number in range(200)]
    plain = await get(data, "workers", accept_encoding="gzip;q=0")
    zipped = await get(data, "workers", accept_encoding="gzip, deflate")
    strong = await get(data, "workers", accept_encoding="br, zstd, gzip")
    assert plain.header("content-encoding") is None
    assert zipped.header("content-encoding") == "gzip"
    assert strong.header("content-encoding") == "zstd"
    assert isinstance(plain.body, bytes) and isinstance(zipped.body, bytes)
    assert len(zipped.body) < len(plain.body) / 3


async def test_huge_integers() -> None:
    """Integers beyond 64 bits, which properties may hold, are served."""
    data = make_data()
    data.rows["workers"][0]["name"] = 2**70
    assert body(await get(data, "workers"))["workers"][0]["name"] == 2**70


async def test_contents_by_lines() -> None:
    """``contents`` takes offset and limit as lines."""
    reply = body(await get(make_data(), "logs/9/contents?offset=1&limit=1"))
    assert reply == {"logchunks": [{"content": "oout\x1b[1m\n", "firstline": 1, "logid": 9}], "meta": {}}


async def read(response: Response) -> bytes:
    assert not isinstance(response.body, bytes)
    return b"".join([chunk async for chunk in response.body])


async def test_raw() -> None:
    """A raw stdio log has three lines in front and no prefix letters."""
    response = await get(make_data(), "logs/9/raw")
    assert response.header("content-type") == "text/plain; charset=utf-8"
    assert response.header("content-disposition") == ("attachment; filename=linux_build_1_step_compile it_log_stdio")
    assert await read(response) == b"Builder: linux\nBuild number: 1\nWorker name: w1\nstart\nout\x1b[1m\nerr\n"


async def test_raw_inline_html_is_harmless() -> None:
    """A build's HTML is shown without the rights of this server's pages."""
    response = await get(make_data(), "logs/10/raw_inline")
    assert response.header("content-type") == "text/html; charset=utf-8"
    assert response.header("content-disposition") is None
    assert response.header("content-security-policy") == "sandbox"
    assert await read(response) == b"<b>hi</b>\n"


async def test_raw_in_parts() -> None:
    """A long log is read in bounded parts, whole."""
    data = make_data()
    data.write(9, "".join(f"o{number}\n" for number in range(5000)))
    content = await read(await get(data, "logs/9/raw"))
    assert content.endswith(b"\n4999\n")
    assert content.count(b"\n") == 5003


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
async def test_raw_compressed(coding: str) -> None:
    """A log is compressed for clients that take it, as it comes."""
    data = make_data()
    data.write(9, "".join(f"o{number}\n" for number in range(5000)))
    plain = await read(await get(data, "logs/9/raw"))
    response = await get(data, "logs/9/raw", accept_encoding=coding)
    assert response.header("content-encoding") == coding
    packed = await read(response)
    if coding == "gzip":
        assert gzip.decompress(packed) == plain
    else:
        with zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True) as reader:
            assert reader.read() == plain
    assert len(packed) < len(plain) / 2


async def test_raw_ranges() -> None:
    """Any range of bytes of a complete log equals this part of the whole."""
    data = make_data()
    data.part_lines = 7
    data.write(9, "".join(f"o{'ü' * (number % 5)}{number}\n" for number in range(100)))
    whole = await read(await get(data, "logs/9/raw"))
    total = len(whole)
    for start, end in ((0, 1), (0, total), (10, 60), (60, 61), (70, 300), (total - 1, total), (200, total)):
        response = await get(data, "logs/9/raw", range=f"bytes={start}-{end - 1}", accept_encoding="gzip")
        assert response.status == 206
        assert response.header("content-range") == f"bytes {start}-{end - 1}/{total}"
        assert response.header("content-encoding") is None
        assert await read(response) == whole[start:end]
    assert await read(await get(data, "logs/9/raw", range="bytes=-5")) == whole[-5:]
    assert await read(await get(data, "logs/9/raw", range="bytes=50-")) == whole[50:]
    assert await read(await get(data, "logs/9/raw", range=f"bytes=50-{total * 2}")) == whole[50:]
    for ignored in ("bytes=1-2,5-6", "lines=1-2", "bytes=-", "bytes=x-"):
        assert (await get(data, "logs/9/raw", range=ignored)).status == 200
    for beyond in (f"bytes={total}-", "bytes=5-4", "bytes=-0"):
        assert (await get(data, "logs/9/raw", range=beyond)).status == 416


async def test_raw_of_a_log_that_grows() -> None:
    """A log that is not complete has no ranges and no validator."""
    response = await get(make_data(), "logs/10/raw", range="bytes=0-1")
    assert (response.status, response.header("etag"), response.header("accept-ranges")) == (200, None, None)
    assert (await get(make_data(), "logs/9/raw")).header("etag") is not None


async def test_raw_header_cannot_be_split() -> None:
    """Names with line ends or quotes do not break out of the header."""
    data = make_data()
    data.rows["builders"][0]["name"] = 'a\r\nX: "b"é中'
    header = (await get(data, "logs/9/raw")).header("content-disposition")
    assert header is not None
    assert header.startswith("attachment; filename=a__X: _b_é?_build_1")
