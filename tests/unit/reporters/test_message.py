"""Message formatters."""

from __future__ import annotations

import datetime as dt
import time
from typing import Any

import pytest
from jinja2.exceptions import SecurityError, UndefinedError

from buildbot.config import ConfigErrors
from buildbot.process.properties import Interpolate, Property
from buildbot.reporters import templates
from buildbot.reporters.message import (
    MessageFormatter,
    MessageFormatterBase,
    MessageFormatterEmpty,
    MessageFormatterFunction,
    MessageFormatterFunctionRaw,
    MessageFormatterMissingWorker,
    MessageFormatterRenderable,
    create_context_for_build,
)
from buildbot.reporters.templates import MAX_CHARS, TooMuchError
from buildbot.test.reporters import STAMP, ReporterHarness
from buildbot.util.deferreds import resolved
from buildbot.util.results import CANCELLED, EXCEPTION, FAILURE, RETRY, SUCCESS, WARNINGS

MASTER: Any = ReporterHarness().master


def build(results: int | None = FAILURE, **more: Any) -> dict[str, Any]:
    """A build in the form of reports."""
    stamp = {**STAMP, "patch": None}
    return {
        "buildid": 3, "number": 7, "builderid": 2, "results": results, "state_string": "failed <make>",
        "builder": {"name": "b one", "tags": []}, "url": "https://ci/#/builders/2/builds/7", "prev_build": None,
        "buildset": {"sourcestamps": [stamp], "results": results},
        "properties": {"branch": ("main", "B"), "workername": ("w", "W"), "got_revision": ("1a2b3c", "Git")},
        "steps": [
            {"number": 0, "name": "git", "results": SUCCESS, "hidden": False, "logs": []},
            {"number": 1, "name": "make", "results": FAILURE, "hidden": False,
             "logs": [{"name": "stdio", "url": "https://ci/log"}]},
            {"number": 2, "name": "secret", "results": SUCCESS, "hidden": True, "logs": []},
        ],
        **more,
    }  # fmt: skip


async def said(formatter: Any, about: dict[str, Any] | None = None, **kwargs: Any) -> dict[str, Any]:
    """The message about a build."""
    given = {"is_buildset": False, "users": ["Ann", "Zoe"], "mode": ("failing",), **kwargs}
    made: dict[str, Any] = await resolved(formatter.format_message_for_build(MASTER, about or build(), **given))
    return made


async def test_the_usual_words() -> None:
    """The text has builder, state, revision, worker, blamelist and visible steps."""
    message = await said(MessageFormatter())
    assert message["subject"] == "☠ Buildbot (Widget CI): b one - failed <make> (main)"
    assert message["type"] == "plain" and message["extra_info"] is None
    for part in ("A failed build", "builder b one", "acme/widget", "https://ci/#/builders/2/builds/7",
                 "Build state: failed <make>", "Revision: 1a2b3c", "Worker: w", "Build Reason: (unknown)",
                 "Blamelist: Ann, Zoe", "- 0: git ( success )", "- 1: make ( failure )",
                 "- stdio: https://ci/log"):  # fmt: skip
        assert part in message["body"], part
    assert "secret" not in message["body"]


async def test_html() -> None:
    """The same in HTML with links; values of builds are escaped."""
    message = await said(MessageFormatter(template_type="html"))
    assert message["type"] == "html"
    assert "failed &lt;make&gt;" in message["body"] and "<make>" not in message["body"]
    assert 'style="color: #f00; font-weight: bold;"' in message["body"]
    assert '<a href="https://ci/log">&lt;stdio&gt;</a>' in message["body"]


@pytest.mark.parametrize(("results", "before", "mode", "status", "summary"), [
    (SUCCESS, None, (), "passing build", "Build succeeded!"),
    (SUCCESS, FAILURE, ("change",), "restored build", "Build succeeded!"),
    (SUCCESS, SUCCESS, ("change",), "passing build", "Build succeeded!"),
    (WARNINGS, None, (), "problem in the build", "Build Had Warnings: text"),
    (FAILURE, SUCCESS, ("failing",), "failed build", "BUILD FAILED: text"),
    (FAILURE, SUCCESS, ("problem",), "new failure", "BUILD FAILED: text"),
    (FAILURE, None, ("problem",), "failed build", "BUILD FAILED: text"),
    (EXCEPTION, None, (), "build exception", "BUILD FAILED: text"),
    (RETRY, None, (), "retry build", "BUILD FAILED: text"),
    (CANCELLED, None, (), "cancelled build", "Build was cancelled"),
    (None, None, (), "not finished build", "Build is running: text"),
])  # fmt: skip
def test_status_and_summary(results: Any, before: Any, mode: Any, status: str, summary: str) -> None:
    """The texts of results."""
    previous = None if before is None else {"results": before}
    about = build(results, prev_build=previous, state_string="text")
    context = create_context_for_build(mode, about, False, MASTER, [])
    assert (context["status_detected"], context["summary"]) == (status, summary)
    assert context["previous_results"] == before


async def test_what_templates_know() -> None:
    """Templates have all variables, and those of ``ctx``."""
    template = (
        "{{ results }} {{ result_names[results] }} {{ mode }} {{ buildername }} {{ workername }} {{ is_buildset }} "
        "{{ projects }} {{ previous_results }} {{ build_url }} {{ buildbot_title }} {{ buildbot_url }} {{ blamelist }} "
        "{{ extra }}|{{ sourcestamps }}"
    )
    message = await said(MessageFormatter(template=template, subject="{{ extra }}\nx", ctx={"extra": 5}))
    assert message["body"] == (
        "2 failure ('failing',) b one w False acme/widget None https://ci/#/builders/2/builds/7 Widget CI https://ci/ "
        "['Ann', 'Zoe'] 5|Build Source Stamp: [branch main] 1a2b3c\n"
    ).removesuffix("")
    assert message["subject"] == "5 x"


async def test_times() -> None:
    """Times are datetime objects, which users' templates expect."""
    formatter = MessageFormatter(template="{{ (build['complete_at'] - build['started_at']).total_seconds() }}")
    begun = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    about = build(started_at=begun, complete_at=begun + dt.timedelta(seconds=5))
    assert (await said(formatter, about))["body"] == "5.0"


class Own(MessageFormatter):
    """Adds a variable."""

    async def buildAdditionalContext(self, master: Any, ctx: dict[str, Any]) -> None:
        super().buildAdditionalContext(master, ctx)
        ctx["more"] = ctx["buildername"].upper()


class Short(MessageFormatterBase):
    """A user's formatter, as written for Buildbot."""

    template_type = "html"

    def __init__(self, word: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.word = word

    async def format_message_for_build(self, master: Any, build: dict[str, Any], **kwargs: Any) -> Any:
        return {"body": f"{self.word} {build['number']}", "type": "plain", "subject": None}


async def test_subclasses() -> None:
    """Methods that users override are called."""
    assert (await said(Own(template="{{ more }}")))["body"] == "B ONE"
    assert (await said(Short("build", want_steps=True)))["body"] == "build 7"


async def test_extra_info() -> None:
    """The report has the function's result."""
    formatter = MessageFormatter(template="x", extra_info_cb=lambda context: {"labels": {"n": context["results"]}})
    assert (await said(formatter))["extra_info"] == {"labels": {"n": FAILURE}}


async def test_renderable() -> None:
    """Properties, source stamps and the worker are rendered."""
    formatter = MessageFormatterRenderable(
        Interpolate("%(prop:workername)s %(src::branch)s %(worker:name)s"), Property("branch")
    )
    assert await said(formatter) == {"body": "w main w", "subject": "main", "type": "plain", "extra_info": None}
    with pytest.raises(NotImplementedError, match="does not format messages of buildsets"):
        await formatter.format_message_for_buildset(MASTER, {}, [])


async def test_functions() -> None:
    """A function makes the body, or the whole message, of builds and buildsets."""

    async def raw(master: Any, context: dict[str, Any]) -> Any:
        return {"body": context["buildername"], "subject": "s", "type": "html"}

    whole = MessageFormatterFunction(lambda context: [each["number"] for each in context["builds"]], "json")
    assert (await said(MessageFormatterFunction(lambda context: context["build"]["number"], "json")))["body"] == 7
    assert (await whole.format_message_for_buildset(MASTER, {}, [build()]))["body"] == [7]
    expected = {"body": "b one", "subject": "s", "type": "html", "extra_info": None}
    assert await said(MessageFormatterFunctionRaw(raw)) == expected
    with pytest.raises(ValueError, match=r"returned unknown keys: \['boddy'\]"):
        await said(MessageFormatterFunctionRaw(lambda master, context: {"boddy": 1}))
    with pytest.raises(TypeError, match="must give a dictionary"):
        await said(MessageFormatterFunctionRaw(lambda master, context: "x"))


async def test_empty() -> None:
    """The message has neither body nor subject."""
    assert await said(MessageFormatterEmpty()) == {"body": None, "subject": None, "type": "plain", "extra_info": None}


async def test_missing_worker() -> None:
    """The message in plain text and HTML."""
    worker = {"name": "<w>", "last_connection": "Sat"}
    html = await MessageFormatterMissingWorker(template_type="html").formatMessageForMissingWorker(MASTER, worker)
    assert "&lt;w&gt;" in html["body"] and html["subject"] == "Buildbot Widget CI worker <w> missing"


@pytest.mark.parametrize(("template", "problem"), [
    ("{{ ''.__class__.__mro__ }}", SecurityError),
    ("{{ build.__class__ }}{{ cycler.__init__.__globals__ }}", SecurityError),
    ("{{ 'x' * 10000000 }}", TooMuchError),
    ("{% for i in range(99999) %}{{ 'x' * 100 }}{% endfor %}", TooMuchError),
    ("{{ 2 ** 1000000 }}", TooMuchError),
    ("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}", TooMuchError),
    ("{{ range(10000000) }}", OverflowError),
    ("{{ missing.attribute }}", UndefinedError),
])  # fmt: skip
async def test_templates_that_go_too_far(template: str, problem: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """They fail in time, and cannot reach the master."""
    monkeypatch.setattr(templates, "MAX_S", 0.2)
    begun = time.monotonic()
    with pytest.raises(problem):
        await said(MessageFormatter(template=template))
    assert time.monotonic() - begun < 5


async def test_a_long_message() -> None:
    """A message within the limit is accepted."""
    assert len((await said(MessageFormatter(template="{{ 'x' * 999999 }}")))["body"]) == MAX_CHARS - 1


@pytest.mark.parametrize(("kind", "arguments", "text"), [
    (MessageFormatter, {"template": "{{ x"}, r"template is no template: .*\(line 1\)"),
    (MessageFormatter, {"template_type": "json"}, "template_type must be 'html' or 'plain' without a template"),
    (MessageFormatter, {"wantProperties": True}, "unknown argument 'wantProperties'; did you mean 'want_properties'"),
    (MessageFormatter, {"ctx": 3}, "ctx must be a dictionary"),
    (MessageFormatterFunction, {"function": 3, "template_type": "plain"}, "function must be a function"),
    (MessageFormatterFunction, {"function": len, "template_type": "x"}, "template_type must be one of"),
    (MessageFormatterRenderable, {}, "argument 'template' is missing"),
])  # fmt: skip
def test_mistakes(kind: Any, arguments: dict[str, Any], text: str) -> None:
    """Mistakes are reported when the configuration is read."""
    with pytest.raises(ConfigErrors, match=text):
        kind(**arguments)
