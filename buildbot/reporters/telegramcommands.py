"""The commands of the bot on Telegram: the commands of other chats, with buttons, and a form that forces builds."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from buildbot.data.exceptions import ControlParamsError, InvalidControlError
from buildbot.reporters.chat import EVENTS, Room, Teller
from buildbot.reporters.chatcommands import Bot, Commands, UsageError

#: the most bytes of a button's command; Telegram allows no more
MAX_BUTTON_BYTES = 64
#: the command of the button that deletes the message with the buttons
HIDE = "/hide"
_NOT_ASKED = ("username", "file", "fixed")

#: rows of buttons, each a label and a command
Buttons = Sequence[Sequence[tuple[str, str]]]


class TelegramBot(Bot, Protocol):
    """The methods of the bot on Telegram that commands use."""

    def ask(self, room: str, text: str, buttons: Buttons) -> None:
        """Send a text with buttons to a room."""

    def redraw(self, room: str, message: int, buttons: Buttons) -> None:
        """Replace the buttons of a message."""


@dataclass
class Form:
    """A form that a user fills in.

    Attributes:
        scheduler: the name of the force scheduler.
        builder: the name of the builder.
        fields: the scheduler's fields, without groups.
        values: the values by the fields' full names.
        awaited: the index of the field whose value is the next message; None: no value is awaited.
    """

    scheduler: str
    builder: str
    fields: list[dict[str, Any]]
    values: dict[str, Any]
    awaited: int | None = None


class TelegramCommands(Commands):
    """Answers commands.

    Attributes:
        pressed: the id of the message whose button gave the current command; None: a user wrote it.
        people: the names of users, by their ids.
    """

    left_out: ClassVar[frozenset[str]] = frozenset({"dance", "destroy", "hustle", "join", "leave", "mute", "unmute"})
    bot: TelegramBot

    def __init__(self, master: Any, bot: TelegramBot, teller: Teller, rules: Mapping[str, Any]) -> None:
        super().__init__(master, bot, teller, rules)
        self.pressed: int | None = None
        self.people: dict[str, str] = {}
        self._forms: dict[tuple[str, str], Form] = {}

    def person(self, user: str) -> str:
        """The name and the id of a user: names are not unique."""
        name = self.people.get(user, "")
        return f"{name} ({user})" if name else user

    async def heard(self, user: str, room: Room, text: str) -> list[str] | None:
        """The answer to a text that is no command: the value that a form awaits. None if no form does."""
        form = self._forms.get((user, room.name))
        if form is None or form.awaited is None:
            return None
        field, form.awaited = form.fields[form.awaited], None
        form.values[field["fullName"]] = text
        self._show(room, form)
        return []

    # about the bot

    async def command_start(self, user: str, room: Room, args: list[str]) -> list[str]:
        """start

        a greeting
        """
        return [f"Hello, {self.people.get(user) or user}. /help tells what I can do."]

    async def command_getid(self, user: str, room: Room, args: list[str]) -> list[str]:
        """getid

        your id, and that of a group
        """
        group = [] if room.name == user else [f"The id of this group is `{room.name}`."]
        return [f"Your id is `{user}`.", *group]

    async def command_nay(self, user: str, room: Room, args: list[str]) -> list[str]:
        """nay

        forget the form that is being filled in
        """
        known = self._forms.pop((user, room.name), None)
        return ["It is forgotten." if known else "There is nothing to forget."]

    async def command_commands(self, user: str, room: Room, args: list[str]) -> list[str]:
        """commands [botfather]

        the names of all commands, or the list that BotFather takes
        """
        if args == ["botfather"]:
            return [f"{name} - {meaning}" for name, meaning in self.meanings().items() if name != "start"]
        return await super().command_commands(user, room, args)

    async def command_notify(self, user: str, room: Room, args: list[str]) -> list[str]:
        """notify [on|off|list] [EVENT ...]

        the events of which you are notified here; alone: buttons
        """
        quiet = args[:1] in (["on-quiet"], ["off-quiet"]) and len(args) == 2 and args[1] in EVENTS
        if args and not quiet:
            return await super().command_notify(user, room, args)
        if not args:
            self.bot.ask(room.name, "Of what shall I tell here?", _toggles(room))
            return []
        await super().command_notify(user, room, [args[0].removesuffix("-quiet"), args[1]])
        if self.pressed is not None:
            self.bot.redraw(room.name, self.pressed, _toggles(room))
        return []

    async def command_shutdown(self, user: str, room: Room, args: list[str]) -> list[str]:
        """shutdown [check|start|stop|now]

        stop this master: after its builds ('stop' revokes that), or now: its builds run again after the next start
        """
        if args:
            return await super().command_shutdown(user, room, args)
        later = ("Go on", "/shutdown stop") if self.master.is_leaving else ("After the builds", "/shutdown start")
        buttons = [[later, ("Now", "/shutdown now")], [("What runs?", "/shutdown check")], _HIDE]
        self.bot.ask(room.name, "Shall I stop?", buttons)
        return []

    # about builds

    async def command_list(self, user: str, room: Room, args: list[str]) -> list[str]:
        """list [all|N] [builders|workers|changes]

        names; changes are the newest ones; alone: buttons
        """
        if args:
            return await super().command_list(user, room, args)
        rows = [[(what.capitalize(), f"/list {what}"), (f"All {what}", f"/list all {what}")]
                for what in ("builders", "workers")]  # fmt: skip
        self.bot.ask(room.name, "What do you want to see?", [*rows, [("Changes", "/list changes")], _HIDE])
        return []

    async def command_watch(self, user: str, room: Room, args: list[str]) -> list[str]:
        """watch [BUILDER]

        notify of the end of running builds; alone: buttons
        """
        if args:
            return await super().command_watch(user, room, args)
        return await self._choose_running(room, "Which builder shall I watch?", "/watch {}")

    async def command_stop(self, user: str, room: Room, args: list[str]) -> list[str]:
        """stop [build BUILDER REASON]

        stop running builds; alone: buttons
        """
        if args:
            return await super().command_stop(user, room, args)
        return await self._choose_running(room, "Whose builds shall I stop?", "/stop build {} in Telegram")

    async def command_force(self, user: str, room: Room, args: list[str]) -> list[str]:
        """force [SCHEDULER | build [--codebase=C] [--branch=B] [--revision=R] [--props=k=v,k=v] BUILDER REASON]

        request a build; alone: a form
        """
        schedulers = await self._schedulers()
        names = [each["name"] for each in schedulers]
        if args[:1] == ["build"] and "build" not in names:
            return await super().command_force(user, room, args)
        if args[:1] == ["-"]:
            return await self._fill_in(user, room, args[1:])
        if not names:
            return ["There is no force scheduler."]
        if not args and len(names) > 1:
            rows = [
                [(each["label"], _line("/force {}", each["name"], number))] for number, each in enumerate(schedulers)
            ]
            self.bot.ask(room.name, "With which scheduler?", [*rows, _HIDE])
            return []
        scheduler = _of(schedulers, args[0] if args else names[0])
        if scheduler is None:
            raise UsageError(f"no such force scheduler '{args[0][:100]}'")
        if len(args) <= 1:
            name = f"#{names.index(scheduler['name'])}"
            rows = []
            for number, builder in enumerate(scheduler["builder_names"]):
                line = f"/force {shlex.quote(scheduler['name'])} config {shlex.quote(builder)}"
                rows.append([(builder, line if _fits(line) else f"/force {name} config #{number}")])
            self.bot.ask(room.name, "Which builder?", [*rows, _HIDE])
            return []
        builders = [{"name": each} for each in scheduler["builder_names"]]
        chosen = _of(builders, args[2]) if len(args) == 3 and args[1] == "config" else None
        if chosen is None:
            raise self._wrong("force")
        fields = _flat(scheduler["all_fields"])
        values = {each["fullName"]: each["default"] for each in fields}
        form = Form(scheduler["name"], chosen["name"], fields, values)
        self._forms[user, room.name] = form
        self._show(room, form)
        return []

    async def _fill_in(self, user: str, room: Room, args: list[str]) -> list[str]:
        """The commands of a form's buttons: ``change N``, ``value N M`` and ``start``."""
        form = self._forms.get((user, room.name))
        if form is None:
            return ["You are filling in no form; /force begins one."]
        numbers = [int(each) for each in args[1:] if each.isdecimal()]
        if args == ["start"]:
            return await self._force(user, room, form)
        if not numbers or numbers[0] >= len(form.fields):
            raise self._wrong("force")
        field = form.fields[numbers[0]]
        choices = field.get("choices") or []
        if args[0] == "value" and len(numbers) == 2 and numbers[1] < len(choices):
            form.values[field["fullName"]] = _chosen(field, form.values[field["fullName"]], choices[numbers[1]])
            form.awaited = None
            self._show(room, form)
        elif args[0] == "change" and field["type"] == "bool":
            form.values[field["fullName"]] = not form.values[field["fullName"]]
            self._show(room, form)
        elif args[0] == "change":
            rows = [[(str(each) or "(none)", f"/force - value {numbers[0]} {n}")] for n, each in enumerate(choices)]
            form.awaited = None if choices and field.get("strict", True) else numbers[0]
            how = "Choose" if choices else "Send me"
            self.bot.ask(room.name, f"{how}: {_label(field)}", [*rows, _HIDE])
        else:
            raise self._wrong("force")
        return []

    async def _force(self, user: str, room: Room, form: Form) -> list[str]:
        given = {name: value for name, value in form.values.items() if value is not None}
        what = {**given, "owner": self.person(user), "builderNames": [form.builder]}
        try:
            _, brids = await self.master.data.control("force", what, ("forceschedulers", form.scheduler))
        except ControlParamsError as problem:
            return [f"That cannot be built: {problem}"]
        except InvalidControlError as problem:
            return [str(problem)]
        self._forms.pop((user, room.name), None)
        return [f"Build request {brid} of `{form.builder}` is made." for brid in brids.values()]

    def _show(self, room: Room, form: Form) -> None:
        said = [f"Build `{form.builder}` with `{form.scheduler}`:"]
        rows: list[list[tuple[str, str]]] = []
        for number, field in enumerate(form.fields):
            value = form.values[field["fullName"]]
            shown = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            said.append(f"{_label(field)}: {shown[:200] if value not in ('', None) else '(none)'}")
            rows.append([(f"Change {_label(field)}"[:100], f"/force - change {number}")])
        self.bot.ask(room.name, "\n".join(said), [*rows, [("Start", "/force - start"), ("Forget it", "/nay")]])

    async def _schedulers(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = await self.master.data.get({}, ("forceschedulers",))
        return sorted((each for each in found if each["enabled"]), key=lambda each: str(each["name"]))

    async def _named(self, command: str, args: list[str]) -> list[dict[str, Any]]:
        """As in other chats; also by ``#`` and the builder's id, which buttons use for long names."""
        if len(args) == 1 and args[0].startswith("#"):
            found = [each for each in await self._builders() if f"#{each['builderid']}" == args[0]]
            if found:
                return found
        return await super()._named(command, args)

    async def _choose_running(self, room: Room, text: str, line: str) -> list[str]:
        running = [each for each in await self._builders() if await self._running(each)]
        if not running:
            return ["There are no builds running now."]
        rows = [[(each["name"], _line(line, each["name"], each["builderid"]))] for each in running]
        self.bot.ask(room.name, text, [*rows, _HIDE])
        return []


_HIDE: list[tuple[str, str]] = [("Hide", HIDE)]


def _toggles(room: Room) -> Buttons:
    """A button for each event, which turns it on or off."""
    rows = []
    for event in EVENTS:
        on = event in room.events
        rows.append([(f"{event}: {'on' if on else 'off'}", f"/notify {'off' if on else 'on'}-quiet {event}")])
    return [*rows, _HIDE]


def _fits(line: str) -> bool:
    return len(line.encode()) <= MAX_BUTTON_BYTES


def _line(pattern: str, name: str, number: int) -> str:
    """The command of a button, with a name or, if that is too long, ``#`` and a number."""
    line = pattern.format(shlex.quote(name))
    return line if _fits(line) else pattern.format(f"#{number}")


def _of(found: Sequence[dict[str, Any]], name: str) -> dict[str, Any] | None:
    """The element with a name, or with ``#`` and its index; None if there is none."""
    by_name = {f"#{number}": each for number, each in enumerate(found)} | {each["name"]: each for each in found}
    return by_name.get(name)


def _flat(fields: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The fields that the form shows, without groups."""
    found: list[dict[str, Any]] = []
    for each in fields:
        if "fields" in each:
            found += _flat(each["fields"])
        elif not each["hide"] and each["type"] not in _NOT_ASKED and each["fullName"]:
            found.append(each)
    return found


def _label(field: Mapping[str, Any]) -> str:
    return str(field["label"] or field["fullName"]).rstrip(" :")


def _chosen(field: Mapping[str, Any], value: Any, choice: Any) -> Any:
    """The value of a field after a choice was pressed, which is added or removed if there may be several."""
    if not field["multiple"]:
        return choice
    values = list(value) if isinstance(value, list | tuple) else []
    return [each for each in values if each != choice] if choice in values else [*values, choice]
