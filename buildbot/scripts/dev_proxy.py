"""``buildbot dev-proxy``"""

from __future__ import annotations

import json
from typing import Any

import click


def _plugins(ctx: click.Context, param: click.Parameter, value: str) -> dict[str, Any]:
    try:
        plugins = json.loads(value)
    except ValueError as reason:
        raise click.BadParameter(f"is no JSON: {reason}") from None
    if not isinstance(plugins, dict):
        raise click.BadParameter("must be an object, such as '{\"waterfall_view\": {}}'")
    return plugins


def _url(ctx: click.Context, param: click.Parameter, value: str) -> str:
    if not value.startswith(("http://", "https://")):
        raise click.BadParameter(f"must be a http:// or https:// URL, not {value!r}")
    return value


@click.command("dev-proxy")
@click.option(
    "-b", "--buildbot_url", "--buildbot-url", "url", required=True, callback=_url, metavar="URL",
    help="The URL of the other master, its buildbotURL.",
)  # fmt: skip
@click.option(
    "-p", "--port", default=8011, show_default=True, type=click.IntRange(0, 65535), help="The port to listen on."
)
@click.option(
    "--plugins", default="{}", callback=_plugins, metavar="JSON",
    help="Views of the page of buildbot-www, with options; without any, Tenfold's own page is shown.",
)  # fmt: skip
@click.option("--auth_cookie", "--auth-cookie", "cookie", help="The value of the session cookie of the other master.")
@click.option(
    "--unsafe_ssl", "--unsafe-ssl", "unsafe", is_flag=True, help="Accept any certificate of the other master."
)
def command(url: str, port: int, plugins: dict[str, Any], cookie: str | None, unsafe: bool) -> None:
    """Show the page that is installed here with the data of another master, until Ctrl-C.

    It is for developers of the page. It listens on the loopback interface only.
    """
    from twisted.internet import reactor as installed
    from twisted.internet.defer import ensureDeferred
    from twisted.internet.error import CannotListenError

    from buildbot.www.devproxy import NoPageError

    reactor: Any = installed
    problems: list[Exception] = []

    def failed(failure: Any) -> None:
        problems.append(failure.value)
        reactor.stop()

    def begin() -> None:
        ensureDeferred(serve(reactor, url, port, plugins, cookie, not unsafe)).addErrback(failed)

    reactor.callWhenRunning(begin)
    reactor.run()
    for problem in problems:
        if isinstance(problem, NoPageError | CannotListenError):
            raise click.ClickException(str(problem)) from None
        raise problem


async def serve(reactor: Any, url: str, port: int, plugins: dict[str, Any], cookie: str | None, verify: bool) -> Any:
    """Begin to listen on 127.0.0.1; the listening port. The other arguments are those of `DevProxy`."""
    from buildbot.util import tcp
    from buildbot.util.httpclient import HttpClient
    from buildbot.www.app import plain_error
    from buildbot.www.devproxy import DevProxy
    from buildbot.www.http.server import HttpServer

    proxy = DevProxy(reactor, HttpClient(reactor), url, plugins, cookie, verify)
    server = HttpServer(reactor, proxy.handle, plain_error, proxy)
    listening: Any = await tcp.listen(reactor, f"tcp:{port}:interface=127.0.0.1", server)
    click.echo(f"http://localhost:{listening.getHost().port}/ shows {url}")
    return listening
