"""``script/bench``: see docs/benchmarks.md."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from bench import (
    decisions,
    farm,
    farm_items,
    history,
    http,
    http_items,
    imports,
    items,
    page,
    report,
    rounds,
    stream,
    stream_items,
)
from bench.cast import comparison
from bench.databases import BACKENDS, NoServerError
from bench.process import ROOT, ActorError

_ONLY = "items whose names begin with this, …"


def main() -> int:
    """Run; 0 unless something could not be measured or, with ``--check``, a goal is missed."""
    options = _arguments()
    options.directory.mkdir(parents=True, exist_ok=True)
    machine = report.machine(options.directory)
    print(f"{machine['cpus']} CPUs, load {machine['load'][0]}, fdatasync {machine['fdatasync_us']} µs")
    runs = {
        "db": _compare,
        "decisions": _decide,
        "farm": _build,
        "history": _age,
        "http": _serve,
        "import": _import,
        "page": _look,
        "stream": _stream,
    }
    run = runs[options.command]
    code, measured = 0, []
    for backend in options.backends:
        try:
            entries, all_well = run(backend, options)
        except NoServerError as reason:
            print(f"\n{reason}")
            code = 1
            continue
        measured += entries
        if options.check and not all_well:
            code = 1
    if options.json:
        options.json.write_text(json.dumps({"machine": machine, "results": measured}, indent=1) + "\n")
    return code


def _compare(backend: str, options: argparse.Namespace) -> tuple[list[Any], bool]:
    results: list[rounds.Result] = []
    with comparison(backend, options.directory, options.upstream) as actors:
        for item in options.only:
            results += rounds.measure(item, actors, options.rounds, options.secs)
    print(f"\n{backend}\n{report.table(backend, results)}")
    missed = report.missed(backend, results)
    print("\n" + ("\n".join(["Missed:", *missed]) if missed else "All goals are met."))
    return list(report.as_json(backend, results)), not missed


def _age(backend: str, options: argparse.Namespace) -> tuple[list[Any], bool]:
    # the finished requests are those of the databases
    chosen = [replace(item, finished=None) for item in options.only]
    found = history.measure(backend, options.directory, chosen, options.history, options.rounds, options.secs)
    print(f"\n{backend}\n{history.table(found, options.history)}")
    entries = [
        {"backend": backend, "item": a.item.name, "callers": a.callers, "history": options.history, "slower": a.slower}
        for a in found
    ]
    return entries, all(a.all_well for a in found)


def _decide(backend: str, options: argparse.Namespace) -> tuple[list[Any], bool]:
    found = decisions.measure(backend, options.directory, options.rounds, options.secs)
    print(f"\n{backend}\n{decisions.table(found)}")
    return [{"backend": backend, "name": one.name, "plain": one.plain, "ratio": one.ratio} for one in found], True


def _serve(backend: str, options: argparse.Namespace) -> tuple[list[Any], bool]:
    rounds, secs = (1, 0.3) if options.quick else (options.rounds, options.secs)
    found = http.measure(backend, options.directory, options.only, rounds, secs, options.upstream, options.quick)
    print(f"\n{backend}\n{http.table(found)}")
    missed = found.missed()
    print("\n" + ("\n".join(["Missed:", *missed]) if missed else "All goals are met."))
    return http.as_json(backend, found), not missed


def _import(backend: str, options: argparse.Namespace) -> tuple[list[Any], bool]:
    found = imports.measure(backend, options.directory, options.builds)
    print(f"\n{backend}\n{imports.table(found)}")
    return [{"backend": backend, **asdict(found)}], found.rows / found.seconds >= imports.GOAL


def _look(backend: str, options: argparse.Namespace) -> tuple[list[Any], bool]:
    found = page.measure(backend, options.directory, options.rounds, options.quick)
    print(f"\n{backend}\n{page.table(found)}")
    entries = [
        {"backend": backend, "page": one.visit.name, "first_ms": one.first_ms, "again_ms": one.again_ms}
        for one in found
    ]
    return entries, not any(one.missed for one in found)


def _build(backend: str, options: argparse.Namespace) -> tuple[list[Any], bool]:
    found = farm.measure(
        backend,
        options.directory,
        options.only,
        1 if options.quick else options.rounds,
        options.upstream,
        options.quick,
        options.measured,
    )
    options.measured[backend] = found
    print(f"\n{backend}\n{farm.table(found)}")
    missed = found.missed()
    print("\n" + ("\n".join(["Missed:", *missed]) if missed else "All goals are met."))
    return farm.as_json(found), not missed


def _stream(backend: str, options: argparse.Namespace) -> tuple[list[Any], bool]:
    found = stream.measure(backend, options.directory, options.only, options.rounds, options.secs, options.upstream)
    print(f"\n{backend}\n{stream.table(found)}")
    missed = stream.missed(found)
    print("\n" + ("\n".join(["Missed:", *missed]) if missed else "All goals are met."))
    return stream.as_json(found), not missed


def _arguments() -> argparse.Namespace:
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "--backends", type=_backends, default=list(BACKENDS[:2]), help="sqlite,postgresql,mysql; default: the first two"
    )
    shared.add_argument("--rounds", type=int, default=5, help="default: 5")
    shared.add_argument("--secs", type=float, default=0.4, help="length of a run; default: 0.4")
    shared.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured")
    shared.add_argument("--check", action="store_true", help="exit with 1 if a goal is missed")
    shared.add_argument("--directory", type=Path, default=ROOT / "var" / "bench", help="default: var/bench")
    parser = argparse.ArgumentParser(prog="script/bench", description="Measure; see docs/benchmarks.md.")
    commands = parser.add_subparsers(dest="command", required=True)
    db = commands.add_parser("db", parents=[shared], help="against the bare driver and upstream Buildbot")
    serve = commands.add_parser("http", parents=[shared], help="the web server, against upstream Buildbot's")
    serve.add_argument("--quick", action="store_true", help="a small farm, one short round")
    follow = commands.add_parser("stream", parents=[shared], help="the event stream, against upstream Buildbot's")
    build = commands.add_parser("farm", parents=[shared], help="whole masters with many agents, against upstream's")
    build.add_argument("--quick", action="store_true", help="a tenth of each farm, one round")
    for command in (db, serve, follow, build):
        command.add_argument("--no-upstream", dest="upstream", action="store_false", help="leave upstream out")
    age = commands.add_parser("history", parents=[shared], help="with a short and a long history")
    age.add_argument("--history", type=int, default=1_000_000, metavar="N", help="finished requests; default: 10⁶")
    bring = commands.add_parser("import", parents=[shared], help="a Buildbot database with many builds")
    bring.add_argument("--builds", type=int, default=1_000_000, metavar="N", help="default: 10⁶")
    commands.add_parser("decisions", parents=[shared], help="each bold piece beside the plain way to do the same")
    look = commands.add_parser("page", parents=[shared], help="the page in Chromium: from the click to the data")
    look.add_argument("--quick", action="store_true", help="a small farm")
    for command in (db, age):
        command.add_argument("--only", type=_items, default=list(items.ITEMS), metavar="PREFIX", help=_ONLY)
    serve.add_argument("--only", type=_http_items, default=list(http_items.HTTP_ITEMS), metavar="PREFIX", help=_ONLY)
    follow.add_argument(
        "--only", type=_stream_items, default=list(stream_items.STREAM_ITEMS), metavar="PREFIX", help=_ONLY
    )
    build.add_argument("--only", type=_farm_items, default=list(farm_items.FARM_ITEMS), metavar="PREFIX", help=_ONLY)
    options = parser.parse_args()
    options.measured = {}
    options.directory = options.directory.absolute()
    return options


def _backends(given: str) -> list[str]:
    wanted = given.split(",")
    for name in wanted:
        if name not in BACKENDS:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(BACKENDS)}")
    return wanted


def _http_items(given: str) -> list[http_items.HttpItem]:
    try:
        return http_items.chosen(given)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _farm_items(given: str) -> list[farm_items.FarmItem]:
    try:
        return farm_items.chosen(given)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _stream_items(given: str) -> list[stream_items.StreamItem]:
    try:
        return stream_items.chosen(given)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _items(given: str) -> list[items.Item]:
    try:
        return items.chosen(given)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ActorError as error:
        sys.exit(str(error))
