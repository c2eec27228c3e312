"""``/api/v2/openapi.json``: the HTTP API described for programs, as OpenAPI 3.1.

All of it is made from the code that answers: the paths from ``data/endpoints.py``, the schemas and filters from the
nouns' declarations, the operators from ``db/engine/query.py``, the actions from ``data/control.py``. It is made at the
first request and stays the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from typing import Any, Protocol

from buildbot.data.control import ACTIONS, Action
from buildbot.data.endpoint import Endpoint
from buildbot.data.links import target_of
from buildbot.data.options import operators_of
from buildbot.data.properties import PropertiesEndpoint, PropertyListEndpoint
from buildbot.db.engine.query import OPERATORS
from buildbot.resources.base import Field, Resource
from buildbot.resources.build_data import BUILD_DATA
from buildbot.www import jsonbody
from buildbot.www.api import logsearch
from buildbot.www.api.schemas import ANY, INTEGER, PROPERTIES, Schema, noun, nullable, of_kind, plain
from buildbot.www.http.messages import Request, Response
from buildbot.www.settings import Settings
from buildbot.www.ui.static import File, make_file, send_file

NAME = "openapi.json"

_JSON = "application/json"
_TEXT = "text/plain"
_COUNT: Schema = {"type": "integer", "minimum": 0, "maximum": 2**63 - 1}
_IDENTIFIER: Schema = {"type": "string", "pattern": "^[a-zA-Z_-][.a-zA-Z0-9_-]*$"}
_SEGMENT: Mapping[str, Schema] = {
    "n": INTEGER,
    "i": _IDENTIFIER,
    "s": {"type": "string", "minLength": 1, "pattern": "^[^/]+$"},
}
_CLOCK: Schema = {**_COUNT, "description": "the number of the newest event that the reply contains"}
_HEADERS = {name: {"$ref": f"#/components/headers/{name}"} for name in ("X-Tenfold-Clock", "ETag")}

#: the parameter in a path template for each type of variable
_VARIABLE = "{}"


class Data(Protocol):
    """The part of the Data API that is described."""

    def endpoints(self) -> Sequence[Endpoint]:
        """All paths of the API."""


class OpenApi:
    """Answers GET of the document.

    Args:
        data: the Data API that is described.
        settings: of the server; the document names its URL and limits.
    """

    def __init__(self, data: Data, settings: Settings) -> None:
        self._data = data
        self._settings = settings
        self._file: File | None = None

    def handle(self, request: Request) -> Response:
        """The document, or 304."""
        if self._file is None:
            self._file = make_file(NAME, jsonbody.compact(document(self._data.endpoints(), self._settings)))
        response = send_file(request, self._file, "no-cache")
        assert response is not None
        return response


def document(endpoints: Iterable[Endpoint], settings: Settings) -> dict[str, Any]:
    """The whole description, as an OpenAPI 3.1 document."""
    components = _Components(settings)
    paths: dict[str, Any] = {}
    for segments, several in _by_template(endpoints).items():
        path, parameters = _template(segments, [each.path.parts for each in several])
        item: dict[str, Any] = {"parameters": parameters} if parameters else {}
        operation = re.sub(r"\W+", "_", path.removeprefix("/api/v2")).strip("_") or "root"
        item["get"] = {"operationId": f"get_{operation}", **components.get(several[0], bool(parameters))}
        actions = [action for action in ACTIONS if several[0].kind == "single" and action.plural == several[0].plural]
        if actions:
            item["post"] = {"operationId": f"call_{operation}", **components.call(actions)}
        paths[path] = item
    paths |= _other_paths()
    return {
        "openapi": "3.1.0",
        "info": {
            "title": settings.public.get("title") or "Buildbot",
            "version": version("tenfold"),
            "description": _DESCRIPTION,
        },
        "servers": [{"url": settings.buildbot_url.rstrip("/")}],
        "paths": dict(sorted(paths.items())),
        "components": components.made(),
    }


_DESCRIPTION = (
    "Every reply is true at one moment and has its number (X-Tenfold-Clock, meta.clock). A subscription "
    "(WebSocket at /ws, or /sse) with that number as since continues from there, without a gap. A filter is a "
    "parameter named after a field, alone or with an operator behind two underscores; all must be true. Replies "
    "are compact JSON if Accept names application/json, and JSON for people to read, as text/plain, otherwise. POST "
    "calls actions by JSON-RPC 2.0."
)


def _by_template(endpoints: Iterable[Endpoint]) -> dict[tuple[str, ...], list[Endpoint]]:
    """Endpoints by their paths, without the names and types of variables."""
    found: dict[tuple[str, ...], list[Endpoint]] = {}
    for endpoint in endpoints:
        parts = endpoint.path.parts if endpoint.path.pattern else ()
        found.setdefault(tuple(_VARIABLE if ":" in part else part for part in parts), []).append(endpoint)
    return found


def _template(segments: Sequence[str], patterns: Sequence[Sequence[str]]) -> tuple[str, list[dict[str, Any]]]:
    """A path and its parameters; a variable in which the paths differ has the types of all."""
    path, parameters = ["/api/v2"], []
    for place, segment in enumerate(segments):
        if segment == _VARIABLE:
            variables = [parts[place].partition(":") for parts in patterns]
            kinds = {name: kind for kind, _, name in variables}
            segment = "{" + "_or_".join(kinds) + "}"
            schemas = [_SEGMENT[kind] for kind in kinds.values()]
            schema = schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
            parameters.append({"name": segment[1:-1], "in": "path", "required": True, "schema": schema})
        path.append(segment)
    return "/".join(path), parameters


class _Components:
    """Makes operations, and gathers the components that several of them share."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._schemas: dict[str, Schema] = {"error": _ERROR, "rpc_error": _RPC_ERROR}
        self._parameters: dict[str, Any] = dict(_PARAMETERS)

    def made(self) -> dict[str, Any]:
        """The components that operations refer to."""
        return {
            "schemas": self._schemas,
            "parameters": self._parameters,
            "responses": {name: _error(description) for name, description in _ERRORS.items()},
            "headers": {
                "X-Tenfold-Clock": {"schema": _CLOCK, "description": "what since takes"},
                "ETag": {"schema": {"type": "string"}, "description": "what If-None-Match takes"},
            },
        }

    def get(self, endpoint: Endpoint, has_variables: bool) -> dict[str, Any]:
        """The GET operation of an endpoint."""
        refused = ["400", "403", "414", "503", *(["404"] if has_variables or not endpoint.is_collection else [])]
        responses: dict[str, Any] = {code: {"$ref": f"#/components/responses/{code}"} for code in refused}
        parameters = self._own_parameters(endpoint)
        if endpoint.plural == BUILD_DATA.plural and endpoint.kind == "raw":
            responses["200"] = {"description": "the bytes", "content": {"application/octet-stream": {}}}
        elif endpoint.kind in ("raw", "raw_inline"):
            parameters.append({"$ref": "#/components/parameters/Range"})
            text = {kind: {"schema": {"type": "string"}} for kind in (_TEXT, "text/html")}
            headers = {**_HEADERS, "Accept-Ranges": {"schema": {"const": "bytes"}, "description": "of complete logs"}}
            responses["200"] = {"description": "the whole log, as it grows", "headers": headers, "content": text}
            ranged = {**headers, "Content-Range": {"schema": {"type": "string"}}}
            responses["206"] = {"description": "the bytes asked for", "headers": ranged, "content": text}
            responses["416"] = {"$ref": "#/components/responses/416"}
        else:
            responses["200"] = {
                "description": "so it is",
                "headers": _HEADERS,
                "content": {_JSON: {"schema": self._reply(endpoint)}, _TEXT: {"schema": {"type": "string"}}},
            }
        responses["304"] = {"description": "so it is still", "headers": _HEADERS}
        parameters.append({"$ref": "#/components/parameters/If-None-Match"})
        doc = endpoint.resource.doc if endpoint.resource is not None else (type(endpoint).__doc__ or "").split("\n")[0]
        return {
            "tags": [endpoint.plural],
            "summary": doc,
            "parameters": parameters,
            "responses": dict(sorted(responses.items())),
        }

    def call(self, actions: Sequence[Action]) -> dict[str, Any]:
        """The POST operation of a resource with actions."""
        calls = [_call(action) for action in actions]
        responses: dict[str, Any] = {
            code: {"description": description, "content": {_JSON: {"schema": _ref("rpc_error")}}}
            for code, description in _RPC_ERRORS.items()
        }
        responses["400"]["content"][_TEXT] = {"schema": {"type": "string"}}
        responses["200"] = {"description": "done", "content": {_JSON: {"schema": {"anyOf": _results(actions)}}}}
        return {
            "tags": [actions[0].plural],
            "summary": "; ".join(f"{action.name}: {action.doc}" for action in actions),
            "requestBody": {"required": True, "content": {_JSON: {"schema": {"oneOf": calls}}}},
            "responses": dict(sorted(responses.items())),
        }

    def _own_parameters(self, endpoint: Endpoint) -> list[dict[str, Any]]:
        names: list[str] = []
        resource = endpoint.resource
        if resource is not None:
            names += self._choices(resource, endpoint.is_collection)
        if isinstance(endpoint, PropertiesEndpoint):
            names.append("property")
        if endpoint.kind == "lines" or isinstance(endpoint, PropertyListEndpoint):
            names += ["limit", "offset"]
        if resource is not None and endpoint.is_collection:
            names += ["limit_of_growing" if endpoint.growing else "limit", "offset"]
            self._parameters.setdefault("limit_of_growing", self._limit())
        return [{"$ref": f"#/components/parameters/{name}"} for name in names]

    def _choices(self, resource: Resource, is_collection: bool) -> list[str]:
        """Names of the parameters that come from a noun's declaration."""
        fields = list(resource.fields)
        names = [self._several(f"{resource.name}.field", "field", fields, "only these attributes")]
        if any(_shows_properties(resource, name) for name in fields):
            names.append("property")
        expandable = [name for name, link in resource.links.items() if target_of(link) is not None]
        if expandable:
            links = {"type": "string", "pattern": f"^({'|'.join(expandable)})(\\.[a-z_]+)*$"}
            doc = "show the resources that these links point to; dots follow their links"
            names.append(self._parameter(f"{resource.name}.expand", "expand", _array(links), doc))
        if is_collection:
            ordered = [name for name, attribute in resource.fields.items() if isinstance(attribute, Field)]
            both = [*ordered, *(f"-{name}" for name in ordered)]
            doc = "by these attributes; - for descending"
            names.append(self._several(f"{resource.name}.order", "order", both, doc))
            for name in fields:
                names += [self._filter(resource, name, operator) for operator in operators_of(resource, name)]
        return names

    def _filter(self, resource: Resource, field: str, operator: str) -> str:
        kind = resource.compared(field)
        if kind in ("int", "time"):
            value = INTEGER
        else:
            value = of_kind("bool" if kind == "bool" else "str")
        name = field if operator == "eq" else f"{field}__{operator}"
        described = OPERATORS[operator]
        schema = _array(value) if described.several else value
        return self._parameter(f"{resource.name}.{name}", name, schema, described.doc)

    def _several(self, key: str, name: str, values: list[str], doc: str) -> str:
        return self._parameter(key, name, _array({"enum": values}), doc)

    def _parameter(self, key: str, name: str, schema: Schema, doc: str) -> str:
        self._parameters[key] = {"name": name, "in": "query", "description": doc, "schema": schema}
        return key

    def _limit(self) -> dict[str, Any]:
        schema = {**_COUNT, "maximum": self._settings.max_limit, "default": self._settings.default_limit}
        return {"name": "limit", "in": "query", "description": "at most so many", "schema": schema}

    def _reply(self, endpoint: Endpoint) -> Schema:
        item = self._item(endpoint)
        items: Schema = {"type": "array", "items": item}
        meta: Schema = {"type": "object", "additionalProperties": False}
        if endpoint.is_collection:
            total = {**_COUNT, "description": "the number of resources on all pages"}
            meta |= {"properties": {"clock": _CLOCK, "total": total}, "required": ["clock", "total"]}
        else:
            items |= {"minItems": 1, "maxItems": 1}
        properties = {endpoint.plural: items, "meta": meta}
        return {"type": "object", "properties": properties, "required": sorted(properties)}

    def _item(self, endpoint: Endpoint) -> Schema:
        if endpoint.resource is not None:
            return self._noun(endpoint.resource)
        if isinstance(endpoint, PropertiesEndpoint):
            return PROPERTIES
        self._schemas.setdefault(endpoint.name, plain(endpoint.fields))
        return _ref(endpoint.name)

    def _noun(self, resource: Resource) -> Schema:
        if resource.name not in self._schemas:
            self._schemas[resource.name] = {}  # schemas refer to it by name meanwhile
            self._schemas[resource.name] = noun(resource, self._noun)
        return _ref(resource.name)


def _shows_properties(resource: Resource, name: str) -> bool:
    """Whether an attribute shows the properties that the parameter ``property`` names."""
    return getattr(resource.fields[name], "shape", None) == "properties"


def _array(items: Schema) -> Schema:
    return {"type": "array", "items": items, "minItems": 1}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _error(description: str) -> dict[str, Any]:
    # JSON as text/plain, as clients of Buildbot get it
    schema = {"type": "string", "contentMediaType": _JSON, "contentSchema": _ref("error")}
    return {"description": description, "content": {_TEXT: {"schema": schema}}}


def _call(action: Action) -> Schema:
    params: Schema = {"type": "object"}
    if action.takes is not None:
        types = {str: {"type": "string", "pattern": "^[^\\u0000]*$"}, int: INTEGER, bool: {"type": "boolean"}}
        params["properties"] = {name: types[kind] for name, kind in action.takes.items()}
        params["additionalProperties"] = False
    else:
        names = {"type": "array", "items": {"type": "string"}}
        params["properties"] = {"builderid": {"type": ["integer", "string"]}, "builderNames": names}
    if action.required:
        params["required"] = sorted(action.required)
    return {
        "title": action.name,
        "description": action.doc,
        "type": "object",
        "properties": {
            "jsonrpc": {"const": "2.0"},
            "method": {"const": action.name},
            "id": {"type": ["string", "number", "null"]},
            "params": params,
        },
        "required": ["id", "jsonrpc", "method", "params"],
    }


def _results(actions: Sequence[Action]) -> list[Schema]:
    return [
        {
            "type": "object",
            "properties": {"id": ANY, "jsonrpc": {"const": "2.0"}, "result": _RESULTS[gives]},
            "required": ["id", "jsonrpc", "result"],
        }
        for gives in sorted({action.gives for action in actions})
    ]


_RESULTS: Mapping[str, Schema] = {
    "nothing": {"type": "null"},
    "buildset": {
        "type": "array",
        "description": "the buildset, and its requests by the ids of their builders",
        "items": {"anyOf": [{"type": "integer"}, {"type": "object", "additionalProperties": {"type": "integer"}}]},
        "minItems": 2,
        "maxItems": 2,
    },
}
_ERROR: Schema = {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]}
_RPC_ERROR: Schema = {
    "type": "object",
    "properties": {
        "jsonrpc": {"const": "2.0"},
        "id": ANY,
        "error": {
            "type": "object",
            "properties": {
                "code": INTEGER,
                "message": {"description": "a text, or for a form the mistake of each field"},
            },
            "required": ["code", "message"],
        },
    },
    "required": ["error", "jsonrpc"],
}
_ERRORS: Mapping[str, str] = {
    "400": "a parameter is unknown or wrong, and named",
    "403": "the rules of this installation forbid it",
    "404": "there is no such resource",
    "410": "the events after since are gone from the log; fetch again",
    "414": "the URL is too long",
    "416": "the range begins after the end",
    "503": "the database or the server is busy",
}
_RPC_ERRORS: Mapping[str, str] = {
    "400": "the call is malformed, or an argument is wrong",
    "403": _ERRORS["403"],
    "404": _ERRORS["404"],
    "501": "the resource has no such action",
    "503": _ERRORS["503"],
}
_PARAMETERS: Mapping[str, Any] = {
    "limit": {"name": "limit", "in": "query", "description": "at most so many", "schema": _COUNT},
    "offset": {"name": "offset", "in": "query", "description": "leave out this number of resources", "schema": _COUNT},
    "property": {
        "name": "property",
        "in": "query",
        "description": "show these properties; * is all",
        "schema": _array({"type": "string"}),
    },
    "since": {
        "name": "since",
        "in": "query",
        "description": "the clock after which to begin, default now; like the header Last-Event-ID",
        "schema": _COUNT,
    },
    "search.text": {
        "name": "text",
        "in": "query",
        "required": True,
        "description": "part of a line; the case of ASCII letters does not count",
        "schema": {"type": "string", "minLength": 1, "maxLength": logsearch.MAX_TEXT, "pattern": "^[^\\n]*$"},
    },
    "search.after": {
        "name": "after",
        "in": "query",
        "description": "find later lines only",
        "schema": {"type": "integer", "minimum": -1, "maximum": 2**31 - 1, "default": -1},
    },
    "search.limit": {
        "name": "limit",
        "in": "query",
        "description": "find at most this number of lines",
        "schema": {
            "type": "integer",
            "minimum": 1,
            "maximum": logsearch.MAX_LIMIT,
            "default": logsearch.DEFAULT_LIMIT,
        },
    },
    "If-None-Match": {
        "name": "If-None-Match",
        "in": "header",
        "description": "the ETag of the reply that the client has",
        "schema": {"type": "string", "pattern": "^[ -~]*$"},
    },
    "Range": {
        "name": "Range",
        "in": "header",
        "description": "of complete logs",
        "schema": {"type": "string", "pattern": "^bytes=([0-9]{1,18}-[0-9]{0,18}|-[0-9]{1,18})$"},
    },
}


def _other_paths() -> dict[str, Any]:
    """The paths that are not of the Data API."""
    text = {_TEXT: {"schema": {"type": "string"}}}
    refused = {code: {"$ref": f"#/components/responses/{code}"} for code in ("400", "403")}
    listening = {
        "operationId": "listen",
        "tags": ["events"],
        "summary": "Events of a path, one by one, for EventSource; * in it is any segment.",
        "parameters": [{"$ref": "#/components/parameters/since"}],
        "responses": {
            "200": {"description": "a stream without an end", "content": {"text/event-stream": {}}},
            **refused,
            "410": {"$ref": "#/components/responses/410"},
        },
    }
    log = {"name": "logid", "in": "path", "required": True, "schema": INTEGER}
    searched = [{"$ref": f"#/components/parameters/search.{name}"} for name in ("text", "after", "limit")]
    match: Schema = {
        "type": "object",
        "properties": {"line": _COUNT, "text": {"type": "string"}},
        "required": ["line", "text"],
    }
    following = nullable({"type": "integer", "description": "the after of the next request; null at the log's end"})
    found: Schema = {
        "type": "object",
        "properties": {
            "logmatches": {"type": "array", "items": match},
            "meta": {
                "type": "object",
                "properties": {"clock": _CLOCK, "next": following},
                "required": ["clock", "next"],
            },
        },
        "required": ["logmatches", "meta"],
    }
    path = {"name": "path", "in": "path", "required": True, "schema": {"type": "string"}, "description": "slashes too"}
    state: Schema = {"type": "object", "properties": {"reason": nullable({"type": "string"})}}
    answer = {_JSON: {"schema": state}}
    return {
        "/sse/listen/{path}": {"parameters": [path], "get": listening},
        "/api/v2/logs/{logid}/search": {
            "parameters": [log],
            "get": {
                "operationId": "search_log",
                "tags": ["logs"],
                "summary": "Lines of a log that contain a text.",
                "parameters": searched,
                "responses": {
                    "200": {
                        "description": "the lines found within the time limit",
                        "content": {_JSON: {"schema": found}, _TEXT: {"schema": {"type": "string"}}},
                    },
                    **{code: {"$ref": f"#/components/responses/{code}"} for code in ("400", "403", "404", "503")},
                },
            },
        },
        "/metrics": {
            "get": {
                "operationId": "metrics",
                "tags": ["operating"],
                "summary": "What Prometheus reads.",
                "responses": {"200": {"description": "the metrics", "content": text}, "403": refused["403"]},
            }
        },
        "/health": {
            "get": {
                "operationId": "health",
                "tags": ["operating"],
                "summary": "Whether the process answers.",
                "responses": {"200": {"description": "it does", "content": answer}},
            }
        },
        "/ready": {
            "get": {
                "operationId": "ready",
                "tags": ["operating"],
                "summary": "Whether the master can do its work.",
                "responses": {
                    "200": {"description": "it can", "content": answer},
                    "503": {"description": "it cannot, and why", "content": answer},
                },
            }
        },
    }
