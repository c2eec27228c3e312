"""One run: hostile requests, then what the document itself suggests, then whether the master is as it was."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

import hypothesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode

from tests.fuzz.farm import Master, operations
from tests.fuzz.hostile import Hostile
from tests.fuzz.wire import Answer, exchange

#: what no answer may hold
FORBIDDEN = (b"Traceback (most recent", b'File "/', b"sqlalchemy", b"psycopg", b"s3cret-of-hooks", b"root:x:0:0")
#: how much memory may grow, and how slow ordinary requests may be, afterwards
MAX_GROWTH_KB = 80 * 1024
MAX_QUICKNESS_S = 0.1
#: what the log may grow for each request
MAX_LOG_BYTES = 400

#: of each hundred requests; the rest is schemathesis's
_SHARES = {"query": 25, "call": 15, "path": 10, "header": 8, "sse": 5, "hook": 5, "bytes": 5, "frames": 10}


@dataclass
class Report:
    """What happened.

    Attributes:
        requests: by kind.
        statuses: by status; 0: the connection was closed without an answer.
        problems: what must not be, with the request.
    """

    requests: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0
    memory_kb: tuple[int, int] = (0, 0)
    quickness_s: tuple[float, float] = (0.0, 0.0)

    def lines(self) -> Iterator[str]:
        """For people."""
        total = self.requests.total()
        kinds = ", ".join(f"{kind} {number}" for kind, number in sorted(self.requests.items()))
        yield f"{total} requests in {self.seconds:.0f} s: {kinds}"
        yield "answers: " + ", ".join(f"{status or 'closed'} {n}" for status, n in sorted(self.statuses.items()))
        yield f"memory: {self.memory_kb[0] // 1024} MB before, {self.memory_kb[1] // 1024} MB after"
        before_ms, after_ms = (1000 * seconds for seconds in self.quickness_s)
        yield f"an ordinary request: {before_ms:.1f} ms before, {after_ms:.1f} ms after"
        yield f"problems: {len(self.problems)}"
        yield from (problem if problem.startswith("in the log") else problem[:400] for problem in self.problems[:20])


def attack(master: Master, requests: int, seed: int) -> Report:
    """Send so many requests; the report names everything that went wrong."""
    report = Report()
    begin = time.monotonic()
    document = master.described()
    random = Random(seed)
    hostile = Hostile(random, document)
    _warm_up(master, hostile)
    before_kb, before_s, log_bytes = master.memory_kb(), master.quickness_s(), master.log_bytes()
    _follow(master, document, requests * (100 - sum(_SHARES.values())) // 100, seed, report)
    for kind in random.choices(list(_SHARES), list(_SHARES.values()), k=requests - report.requests.total()):
        _send(master, hostile, kind, report)
    report.memory_kb = before_kb, master.memory_kb()
    report.quickness_s = before_s, master.quickness_s()
    report.seconds = time.monotonic() - begin
    grown = master.log_bytes() - log_bytes
    if report.memory_kb[1] - before_kb > MAX_GROWTH_KB:
        report.problems.append(f"memory grew from {before_kb} to {report.memory_kb[1]} kB")
    if report.quickness_s[1] > MAX_QUICKNESS_S:
        report.problems.append(f"an ordinary request takes {report.quickness_s[1]:.3f} s")
    if grown > MAX_LOG_BYTES * requests:
        report.problems.append(f"the log grew by {grown} bytes")
    if not master.is_alive() or master.get("/ready")[0] != 200:
        report.problems.append("the master is not ready any more")
    report.problems += [f"in the log:\n{complaint}" for complaint in master.complaints()[:10]]
    return report


def _warm_up(master: Master, hostile: Hostile) -> None:
    """What is compiled, imported and cached once is no growth."""
    for _ in range(300):
        exchange(master.port, hostile.query())


def _send(master: Master, hostile: Hostile, kind: str, report: Report) -> None:
    sent = hostile.frames() if kind == "frames" else hostile.kinds[kind]()
    streams = b"/sse" in sent[:200] or kind in ("frames", "bytes")
    report.requests[kind] += 1
    try:
        answer = exchange(master.port, sent, 5.0, whole=not streams)
    except TimeoutError:
        if kind != "bytes":  # half a request is waited for, as it should be
            report.problems.append(f"no answer to {sent[:2000]!r}")
        return
    report.statuses[answer.status] += 1
    _check(answer, sent, report)


def _check(answer: Answer, sent: bytes, report: Report) -> None:
    everything = answer.head + answer.body
    if answer.status in (500, 502):
        report.problems.append(f"{answer.status} for {sent[:2000]!r}: {answer.body[:500]!r}")
    for forbidden in FORBIDDEN:
        if forbidden in everything and forbidden not in sent:
            report.problems.append(f"{forbidden!r} in the answer to {sent[:2000]!r}")
    if any(line.lower().startswith(b"x-injected") for line in answer.head.split(b"\r\n")):
        report.problems.append(f"a header was injected by {sent[:2000]!r}")


def _follow(master: Master, document: dict[str, Any], requests: int, seed: int, report: Report) -> None:
    """What schemathesis makes of the document, sense and nonsense."""
    chosen = operations(document)
    base_url = f"http://127.0.0.1:{master.port}"
    most, extra = divmod(requests, len(chosen))
    for place, operation in enumerate(chosen):
        wanted = most + (place < extra)
        mode = GenerationMode.NEGATIVE if place % 2 else GenerationMode.POSITIVE
        if wanted:
            _examples(operation, mode, base_url, wanted, seed + place, report)


def _examples(operation: Any, mode: Any, base_url: str, wanted: int, seed: int, report: Report) -> None:
    @hypothesis.seed(seed)
    @settings(
        max_examples=wanted,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate,),
    )
    @given(operation.as_strategy(generation_mode=mode))
    def send(case: Any) -> None:
        report.requests["schemathesis"] += 1
        response = case.call(base_url=base_url, timeout=10)
        report.statuses[response.status_code] += 1
        sent = f"{case.method} {response.request.url} {str(response.request.body)[:1000]}".encode()
        _check(Answer(response.status_code, b"", response.content), sent, report)

    try:
        send()
    except hypothesis.errors.Unsatisfiable:  # there is nothing that it could violate
        _examples(operation, GenerationMode.POSITIVE, base_url, wanted, seed, report)
