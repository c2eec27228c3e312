"""The configuration of a master as one frozen value, made from the dictionary of a master.cfg.

A `MasterConfig` exists only without mistakes: `MasterConfig.from_values` checks everything before it raises, so that
all mistakes are reported at once. Checks of single keys come first (`keys`), then those between keys: names that are
used twice, and names of workers and builders that do not exist.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

from buildbot.config import checks, database_url, locks
from buildbot.config.builder import BuilderConfig
from buildbot.config.errors import ConfigErrors
from buildbot.config.keys import KEYS, RENAMED, Key
from buildbot.config.ports import endpoint, tcp_port
from buildbot.config.projects import Codebase, Project
from buildbot.config.retention import Retention, check_retention
from buildbot.config.source import Source
from buildbot.config.www import WwwConfig, check_www
from buildbot.interfaces import (
    ChangeSourceLike,
    HostedWorker,
    LatentMachine,
    MachineLike,
    SchedulerLike,
    SecretProviderLike,
    ServiceLike,
    TakesClients,
    WorkerLike,
    is_renderable,
)

PROTOCOLS = ("pb", "msgpack_experimental_v7", "null")


@dataclass(frozen=True, eq=False)
class MasterConfig:
    """A configuration without mistakes.

    Attributes are named as the keys of master.cfg; docs/configuration.md has the list with meanings.

    Attributes:
        basedir: the master's directory.
        configfile: the file that says all this.
        db_url: a database URL that means the same from every directory, or a renderable with secrets that gives one.
        protocols: ``{'pb': {'port': endpoint description}}``.
        schedulers: by name.
        www: a mapping with ``port`` (endpoint description or None).
        warnings: settings without effect, one line each, with its place.
    """

    basedir: Path
    configfile: Path = Path("master.cfg")
    title: str = "Buildbot"
    titleURL: str = ""
    buildbotURL: str = "http://localhost:8080/"
    db_url: Any = database_url.DEFAULT
    protocols: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    workers: Sequence[WorkerLike] = ()
    machines: Sequence[MachineLike] = ()
    change_source: Sequence[ChangeSourceLike] = ()
    schedulers: Mapping[str, SchedulerLike] = field(default_factory=dict)
    builders: Sequence[BuilderConfig] = ()
    projects: Sequence[Project] = ()
    codebases: Sequence[Codebase] = ()
    www: WwwConfig = field(default_factory=WwwConfig)
    retention: Retention = field(default_factory=Retention)
    properties: Mapping[str, Any] = field(default_factory=dict)
    collapseRequests: Any = False
    prioritizeBuilders: Callable[..., Any] | None = None
    codebaseGenerator: Callable[..., Any] | None = None
    revlink: Callable[..., Any] | None = None
    multiMaster: bool = False
    logMaxSize: int | None = None
    logMaxTailSize: int | None = None
    logEncoding: str = "utf-8"
    select_next_worker: Callable[..., Any] | None = None
    services: Sequence[ServiceLike] = ()
    user_managers: Sequence[ServiceLike] = ()
    secretsProviders: Sequence[SecretProviderLike] = ()
    validation: Mapping[str, Any] = field(default_factory=dict)
    caches: Mapping[str, int] = field(default_factory=dict)
    manhole: Any = None
    warnings: Sequence[str] = ()

    @classmethod
    def from_values(
        cls,
        values: Mapping[Any, Any],
        basedir: Path,
        source: Source | None = None,
        incomplete: Collection[str] = (),
    ) -> MasterConfig:
        """The configuration that ``BuildmasterConfig`` describes.

        Args:
            values: the dictionary.
            basedir: the master's directory, absolute.
            source: the lines of keys and calls in the file, for messages.
            incomplete: keys with incomplete values, because a line of the file failed. The failure is reported, and
                references to these keys are not.

        Raises:
            ConfigErrors: all mistakes.
        """
        source = source or Source("master.cfg")
        reader = _Reader(values, basedir, source, incomplete)
        settings = reader.read()
        if reader.errors:
            raise reader.errors
        return cls(basedir=basedir, configfile=basedir / source.filename, warnings=tuple(reader.warnings), **settings)


class _Reader:
    """Reads a dictionary once, collecting settings, mistakes and warnings."""

    def __init__(self, values: Mapping[Any, Any], basedir: Path, source: Source, incomplete: Collection[str]) -> None:
        self.values = dict(values)
        self.basedir = basedir
        self.source = source
        #: also keys with a value of the wrong kind: references to their elements are not checked
        self.incomplete = set(incomplete)
        self.errors = ConfigErrors()
        self.warnings: list[str] = []

    def report(self, key: str, message: str, place: str | None = None) -> None:
        self.errors.addError(f"{place or self.source.key(key)}: c[{key!r}] {message}")

    def warn(self, key: str, message: str) -> None:
        self.warnings.append(f"{self.source.key(key)}: c[{key!r}] {message}")

    def read(self) -> dict[str, Any]:
        self._configure()
        self._unknown_keys()
        checked = {key.name: self._checked(key) for key in KEYS.values()}
        settings = {each.name: checked[each.name] for each in fields(MasterConfig) if each.name in checked}
        settings["db_url"] = self._db_url(checked["db"])
        settings["protocols"] = self._protocols(checked["protocols"])
        settings["www"] = self._www(checked["www"])
        self._ports(settings["protocols"], settings["www"])
        self._mq(checked["mq"])
        settings["workers"] = self._workers(checked["workers"])
        settings["projects"] = tuple(self._elements("projects", checked["projects"], Project, "a util.Project"))
        settings["builders"] = self._builders(checked["builders"], settings["workers"])
        self._locks(settings["builders"], settings["workers"])
        settings["codebases"] = self._codebases(checked["codebases"])
        for key in ("builders", "codebases"):
            self._known_projects(key, settings[key], settings["projects"])
        settings["schedulers"] = self._schedulers(checked["schedulers"], settings["builders"], settings["multiMaster"])
        settings["change_source"] = self._change_sources(checked["change_source"], checked["protocols"])
        settings["machines"] = self._machines(checked["machines"], settings["workers"])
        settings["services"] = tuple(
            self._elements("services", checked["services"], ServiceLike, "a service such as a reporter")
        )
        settings["user_managers"] = tuple(
            self._elements(
                "user_managers",
                checked["user_managers"],
                ServiceLike,
                "a user manager such as util.CommandlineUserManager(…)",
            )
        )
        settings["secretsProviders"] = tuple(
            self._elements(
                "secretsProviders",
                checked["secretsProviders"],
                SecretProviderLike,
                "a provider such as secrets.SecretInAFile(dirname)",
            )
        )
        settings["retention"] = check_retention(checked["retention"], lambda message: self.report("retention", message))
        settings["titleURL"] = settings["titleURL"] or settings["buildbotURL"]
        for name in ("properties", "caches", "validation"):
            settings[name] = MappingProxyType(settings[name])
        self._idle(settings)
        return settings

    def _configure(self) -> None:
        """Call the configurators, which extend the configuration."""
        configurators = self.values.get("configurators")
        for number, each in enumerate(configurators if isinstance(configurators, list | tuple) else (), 1):
            if callable(getattr(each, "configure", None)):
                each.configure(self.values)
            else:
                self.report("configurators", f"element {number} must have a method configure, not {checks.kind(each)}")

    def _unknown_keys(self) -> None:
        for key in self.values:
            if not isinstance(key, str):
                self.errors.addError(f"{self.source.filename}: keys of c must be strings, not {checks.kind(key)}")
            elif key in RENAMED:
                self.report(key, f"is unknown: {RENAMED[key]}")
            elif key not in KEYS:
                self.report(key, f"is unknown{checks.suggestion(key, KEYS)}")

    def _checked(self, key: Key) -> Any:
        if key.name not in self.values:
            return key.default
        try:
            value = key.check(self.values[key.name])
        except ValueError as reason:
            self.report(key.name, str(reason))
            self.incomplete.add(key.name)
            return key.default
        if not key.has_effect and value and value != key.default:
            self.warn(key.name, f"has no effect in this version ({key.meaning})")
        return value

    def _db_url(self, db: Mapping[str, Any]) -> Any:
        for name in db:
            if name not in ("db_url", "engine_kwargs"):
                self.report("db", f"[{name!r}] is unknown{checks.suggestion(name, ['db_url'])}")
        if db.get("engine_kwargs"):
            self.warn("db", "['engine_kwargs'] has no effect in this version")
        if "db_url" in self.values and "db_url" in db:
            self.report("db", "['db_url'] and c['db_url'] are both set; keep one")
        key, value = ("db", db["db_url"]) if "db_url" in db else ("db_url", self.values.get("db_url"))
        if is_renderable(value):  # checked when its secrets are known
            return value
        try:
            return database_url.resolve(database_url.DEFAULT if value is None else value, self.basedir)
        except ValueError as reason:
            self.report(key, f"['db_url'] {reason}" if key == "db" else str(reason))
            return database_url.DEFAULT

    def _protocols(self, protocols: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
        read: dict[str, Mapping[str, Any]] = {}
        for name, options in protocols.items():
            if name not in PROTOCOLS:
                self.report("protocols", f"[{name!r}] is unknown{checks.suggestion(name, PROTOCOLS)}")
                continue
            if name == "null":
                self.warn("protocols", "['null'] has no effect: workers of the master's own need no port")
                continue
            try:
                options = checks.mapping(options)
            except ValueError as reason:
                self.report("protocols", f"[{name!r}] {reason}")
                continue
            for option in options:
                if option != "port":
                    self.report("protocols", f"[{name!r}][{option!r}] is unknown{checks.suggestion(option, ['port'])}")
            if options.get("port") is None:
                self.report("protocols", f"[{name!r}] needs a port: {{{name!r}: {{'port': 9989}}}}")
                continue
            try:
                read[name] = MappingProxyType({"port": endpoint(options["port"])})
            except ValueError as reason:
                self.report("protocols", f"[{name!r}]['port'] {reason}")
        return MappingProxyType(read)

    def _www(self, value: Any) -> WwwConfig:
        try:
            return check_www(
                value, lambda message: self.report("www", message), lambda message: self.warn("www", message)
            )
        except ValueError as reason:
            self.report("www", str(reason))
            return WwwConfig()

    def _ports(self, protocols: Mapping[str, Mapping[str, Any]], www: WwwConfig) -> None:
        page = tcp_port(www.port or "")
        taken: dict[int, str] = {}
        for name, options in protocols.items():
            port = tcp_port(options["port"])
            if port is None:
                continue
            if port == page:
                self.report("www", f"['port'] {page} is also the port of c['protocols'][{name!r}]; they must differ")
            if port in taken:
                self.report("protocols", f"[{name!r}]['port'] {port} is also that of {taken[port]!r}; they must differ")
            taken[port] = name

    def _mq(self, mq: Mapping[str, Any]) -> None:
        if mq.get("type", "simple") != "simple":
            self.warn(
                "mq",
                f"type {mq['type']!r} is not used: masters that share a database find each other by it",
            )

    def _elements(
        self,
        key: str,
        elements: Iterable[Any],
        protocol: type,
        example: str,
        identity: Callable[[Any], Any] = lambda element: element.name,
    ) -> list[Any]:
        """The elements of the right kind, each name once."""
        found: list[Any] = []
        names: set[Any] = set()
        for number, element in enumerate(elements, 1):
            if not isinstance(element, protocol):
                self.incomplete.add(key)
                self.report(key, f"element {number} must be {example}, not {checks.kind(element)}")
                continue
            name = getattr(element, "name", None)
            if not isinstance(name, str) or not name:
                self.report(key, f"element {number} has no name; give it a string that is not empty")
                continue
            if identity(element) in names:
                place = self._place(key, element)
                self.report(key, f"has two entries named {name!r}; names must be unique", place)
            else:
                found.append(element)
            names.add(identity(element))
        return found

    def _place(self, key: str, element: Any) -> str:
        own: str | None = getattr(element, "location", None)
        return own or self.source.call(type(element).__name__, element.name) or self.source.key(key)

    def _workers(self, workers: list[Any]) -> tuple[WorkerLike, ...]:
        found = self._elements("workers", workers, WorkerLike, "a worker such as worker.Worker('name', 'password')")
        remote = [each for each in found if not isinstance(each, HostedWorker)]
        if remote and "protocols" not in self.values and "protocols" not in self.incomplete:
            self.report("workers", "needs a port that workers connect to: c['protocols'] = {'pb': {'port': 9989}}")
        return tuple(found)

    def _machines(self, machines: list[Any], workers: Sequence[WorkerLike]) -> tuple[MachineLike, ...]:
        found: dict[str, MachineLike] = {
            each.name: each
            for each in self._elements(
                "machines", machines, MachineLike, "a machine such as machine.generic.GenericLatentMachine(…)"
            )
        }
        for worker in workers:
            name = getattr(worker, "machine_name", None)
            if name is None or "machines" in self.incomplete:
                continue
            place = self._place("workers", worker)
            if name not in found:
                self.report(
                    "workers",
                    f"worker {worker.name!r} names machine {name!r}, which is not in c['machines']"
                    f"{checks.suggestion(name, found)}",
                    place,
                )
            elif isinstance(worker, HostedWorker) and isinstance(found[name], LatentMachine):
                self.report(
                    "workers",
                    f"worker {worker.name!r} runs on the master's own machine, so it cannot be on {name!r}, which is "
                    "started and stopped",
                    place,
                )
        return tuple(found.values())

    def _builders(self, builders: list[Any], workers: Sequence[WorkerLike]) -> tuple[BuilderConfig, ...]:
        made = [self._from_dictionary(each) if isinstance(each, dict) else each for each in builders]
        for each in made:
            if isinstance(each, BuilderConfig):
                self._check_again(each)
        found: list[BuilderConfig] = self._elements(
            "builders", [each for each in made if each is not None], BuilderConfig, "a util.BuilderConfig"
        )
        known = {worker.name for worker in workers}
        directories: dict[str, str] = {}
        for builder in found:
            place = self._place("builders", builder)
            if "workers" not in self.incomplete:
                for name in builder.workernames:
                    if name and name not in known:
                        self.report(
                            "builders",
                            f"builder {builder.name!r} names worker {name!r}, which is not in c['workers']"
                            f"{checks.suggestion(name, known)}",
                            place,
                        )
            other = directories.setdefault(builder.builddir, builder.name)
            if other != builder.name:
                self.report(
                    "builders",
                    f"builders {other!r} and {builder.name!r} have the same builddir {builder.builddir!r}",
                    place,
                )
        return tuple(found)

    def _locks(self, builders: Sequence[BuilderConfig], workers: Sequence[WorkerLike]) -> None:
        """Report locks that a build would hold and wait for at the same time, and equal names with different counts."""
        on_worker = {worker.name: locks.known_locks(getattr(worker, "locks", ())) for worker in workers}
        everywhere = [access for its in on_worker.values() for access in its]
        for builder in builders:
            place = self._place("builders", builder)
            held: dict[tuple[str, str], str] = {}
            for name in builder.workernames:
                held |= {access.key: f"its worker {name!r}" for access in on_worker.get(name, ())}
            for access in locks.known_locks(builder.locks):
                everywhere.append(access)
                if access.key in held:
                    self._waits_for_itself(builder, access, held[access.key], "the builder itself", place)
                held[access.key] = "the builder itself"
            for step, its in getattr(builder.factory, "locks_of_steps", ()):
                for access in locks.known_locks(its):
                    everywhere.append(access)
                    if access.key in held:
                        self._waits_for_itself(builder, access, held[access.key], f"its step {step!r}", place)
        for message in locks.differing(everywhere):
            self.report("builders", message)

    def _waits_for_itself(
        self, builder: BuilderConfig, access: locks.LockAccess, holder: str, waiter: str, place: str
    ) -> None:
        self.report(
            "builders",
            f"builder {builder.name!r}: {waiter} wants {locks.shown(access)}, which {holder} holds: "
            "its builds would wait for themselves",
            place,
        )

    def _codebases(self, codebases: list[Any]) -> tuple[Codebase, ...]:
        found = self._elements(
            "codebases", codebases, Codebase, "a util.Codebase", lambda codebase: (codebase.project, codebase.name)
        )
        return tuple(found)

    def _known_projects(self, key: str, elements: Iterable[Any], projects: Sequence[Project]) -> None:
        """Report builders and codebases whose project does not exist."""
        known = {project.name for project in projects}
        for element in elements:
            if element.project is not None and element.project not in known and "projects" not in self.incomplete:
                self.report(
                    key,
                    f"{element.name!r} names project {element.project!r}, which is not in c['projects']"
                    f"{checks.suggestion(element.project, known)}",
                    self._place(key, element),
                )

    def _from_dictionary(self, values: dict[Any, Any]) -> BuilderConfig | None:
        """A builder from a dictionary, as old configurations have it."""
        try:
            return BuilderConfig(**values)
        except ConfigErrors as mistakes:
            for message in mistakes.errors:
                self.report("builders", message)
        except TypeError as reason:
            self.report("builders", f"{checks.kind(values)} is not a builder: {reason}")
        return None

    def _check_again(self, builder: BuilderConfig) -> None:
        """Check a builder whose fields were assigned after it was made."""
        try:
            builder.complete()
        except ConfigErrors as mistakes:
            self.errors.merge(mistakes)

    def _schedulers(
        self, schedulers: list[Any], builders: Sequence[BuilderConfig], multi_master: bool
    ) -> Mapping[str, SchedulerLike]:
        found: list[SchedulerLike] = self._elements(
            "schedulers", schedulers, SchedulerLike, "a scheduler such as schedulers.SingleBranchScheduler(…)"
        )
        known = {builder.name for builder in builders}
        for scheduler in found:
            place = self._place("schedulers", scheduler)
            names = scheduler.builderNames
            # Rendered names are not known yet, and this master does not know the builders of other masters.
            if not isinstance(names, list | tuple):
                continue
            if "builders" in self.incomplete or multi_master:
                continue
            for name in names:
                if isinstance(name, str) and name not in known:
                    self.report(
                        "schedulers",
                        f"scheduler {scheduler.name!r} names builder {name!r}, which is not in c['builders']"
                        f"{checks.suggestion(name, known)}",
                        place,
                    )
        return MappingProxyType({scheduler.name: scheduler for scheduler in found})

    def _change_sources(self, value: Any, protocols: Mapping[str, Any]) -> tuple[ChangeSourceLike, ...]:
        given = list(value) if isinstance(value, list | tuple) else [] if value is None else [value]
        found = self._elements("change_source", given, ChangeSourceLike, "a change source such as changes.GitPoller(…)")
        for each in found:
            at_workers_port = isinstance(each, TakesClients) and each.client_port() is None
            if at_workers_port and "pb" not in protocols and "protocols" not in self.incomplete:
                self.report(
                    "change_source",
                    f"{each.name!r} needs a port that programs connect to: give it port=…, or "
                    "c['protocols'] = {'pb': {'port': 9989}}",
                    self._place("change_source", each),
                )
        return tuple(found)

    def _idle(self, settings: Mapping[str, Any]) -> None:
        """Warn if nothing can be built; a master may serve only its page."""
        if not settings["multiMaster"] and not self.incomplete:
            for key in ("builders", "workers"):
                if not settings[key]:
                    self.warnings.append(f"{self.source.filename}: c[{key!r}] is empty; this master builds nothing")
