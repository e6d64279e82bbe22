"""The HTTP API as an OpenAPI 3.1 document, made of the types that read its requests; served at `/api/openapi.json`."""

from functools import cache
from typing import Any

import msgspec

from flotilla.realtime.api import results
from flotilla.realtime.api.errors import STATUS_OF
from flotilla.realtime.api.methods import METHODS
from flotilla.version import VERSION

RESULTS: dict[str, type[Any]] = {
    "publish": results.Place,
    "broadcast": results.Broadcast,
    "subscribe": results.Done,
    "unsubscribe": results.Done,
    "disconnect": results.Done,
    "refresh": results.Done,
    "reauthorize": results.Done,
    "presence": results.Presence,
    "presence_stats": results.PresenceStats,
    "history": results.History,
    "history_remove": results.Empty,
    "map_publish": results.MapChange,
    "map_remove": results.MapChange,
    "map_read_state": results.MapState,
    "map_stats": results.MapStats,
    "channels": results.Channels,
    "info": results.Info,
    "rpc": results.Rpc,
}
REFERENCE = "#/components/schemas/{name}"
KEYS: list[dict[str, list[str]]] = [{"key": []}, {"authorization": []}]
MODE = {
    "name": "X-Centrifugo-Error-Mode",
    "in": "header",
    "description": "`transport`: application errors are told by the HTTP status as well.",
    "schema": {"type": "string", "enum": ["transport"]},
}
REFUSED = {
    400: "The body cannot be used.",
    401: "No valid key came along.",
    405: "Not POST.",
    413: "The body is too large.",
    429: "A rate limit denied it; Retry-After says when to come again.",
}
IN_MODE = "An application error, in the error mode `transport`."


@cache
def document() -> bytes:
    """The document, as JSON."""
    shown = {kind: _shown(kind) for kind, _ in METHODS.values()}
    types = [shown[kind] for kind, _ in METHODS.values()]
    requests, request_parts = _schemas(types, "Request")
    answers, answer_parts = _schemas([*RESULTS.values(), results.Error, results.Refusal], "Result")
    asked = dict(zip(METHODS, requests, strict=True))
    given = dict(zip([*RESULTS, "", "refusal"], answers, strict=True))
    paths = {
        f"/api/{method}": {"post": _operation(method, asked[method], given[method], given[""], given["refusal"])}
        for method in METHODS
    }
    paths["/api/batch"] = {"post": _batch(given[""], given["refusal"])}
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {"title": "Flotilla server API", "version": VERSION},
            "paths": paths,
            "components": {
                "schemas": request_parts | answer_parts,
                "securitySchemes": {
                    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
                    "authorization": {
                        "type": "apiKey",
                        "in": "header",
                        "name": "Authorization",
                        "description": "`apikey KEY`",
                    },
                },
            },
            "security": KEYS,
        }
    )


def _schemas(types: list[type[Any]], suffix: str) -> tuple[list[Any], dict[str, Any]]:
    """References to the types' schemas, and the schemas; names get a suffix, as requests and results share some."""
    template = REFERENCE.replace("{name}", "{name}" + suffix)
    found, parts = msgspec.json.schema_components(types, ref_template=template)
    return list(found), {name + suffix: part for name, part in parts.items()}


def _shown(kind: type[Any]) -> type[Any]:
    """A request's type with payloads as what they are: any JSON, there or not."""
    fields: list[Any] = []
    for field in msgspec.structs.fields(kind):
        if field.type is msgspec.Raw:
            fields.append((field.name, Any | msgspec.UnsetType, msgspec.UNSET))
        elif field.default_factory is not msgspec.NODEFAULT:
            fields.append((field.name, field.type, msgspec.field(default_factory=field.default_factory)))
        else:
            fields.append((field.name, field.type, field.default))
    shown: type[Any] = msgspec.defstruct(kind.__name__, fields)
    shown.__doc__ = kind.__doc__
    return shown


def _operation(method: str, asked: Any, result: Any, error: Any, problem: Any) -> dict[str, Any]:
    function = METHODS[method][1]
    answer = {
        "oneOf": [
            {"type": "object", "required": ["result"], "properties": {"result": result}},
            {"type": "object", "required": ["error"], "properties": {"error": error}},
        ]
    }
    return _post(method, (function.__doc__ or "").splitlines()[0], asked, answer, problem, told_by_status=True)


def _batch(error: Any, problem: Any) -> dict[str, Any]:
    commands = {"type": "array", "items": {"type": "object", "additionalProperties": {}}}
    asked = {"type": "object", "properties": {"commands": commands, "parallel": {"type": "boolean"}}}
    replies = {"type": "array", "items": {"type": "object", "minProperties": 1, "maxProperties": 1}}
    answer = {
        "oneOf": [
            {"type": "object", "required": ["replies"], "properties": {"replies": replies}},
            {"type": "object", "required": ["error"], "properties": {"error": error}},
        ]
    }
    summary = "Several commands, each an object with one member: its method. Their outcomes follow in order."
    return _post("batch", summary, asked, answer, problem, told_by_status=False)


def _post(method: str, summary: str, asked: Any, answer: Any, problem: Any, *, told_by_status: bool) -> dict[str, Any]:
    responses: dict[str, Any] = {"200": _response("The result, or an application error.", answer)}
    for status, why in REFUSED.items():
        responses[str(status)] = _response(why, problem)
    responses["429"] = {"description": REFUSED[429], "content": {"application/problem+json": {"schema": {}}}}
    for status in set(STATUS_OF.values()) - REFUSED.keys() if told_by_status else ():
        responses[str(status)] = _response(IN_MODE, problem)
    return {
        "operationId": method,
        "summary": summary,
        "parameters": [MODE],
        "requestBody": {"required": True, "content": {"application/json": {"schema": asked}}},
        "responses": dict(sorted(responses.items())),
    }


def _response(description: str, schema: Any) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}
