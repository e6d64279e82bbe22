"""Application errors of the HTTP API: their shape, and the HTTP status each has in the error mode `transport`. Each is
counted by the method that answered with it."""

from http import HTTPStatus
from typing import Any

from flotilla.realtime.api.stats import api_stats
from flotilla.realtime.protocol.codes import CommandError, ErrorCode

STATUS_OF: dict[int, int] = {
    ErrorCode.INTERNAL: HTTPStatus.INTERNAL_SERVER_ERROR,
    ErrorCode.UNKNOWN_CHANNEL: HTTPStatus.NOT_FOUND,
    ErrorCode.PERMISSION_DENIED: HTTPStatus.FORBIDDEN,
    ErrorCode.METHOD_NOT_FOUND: HTTPStatus.NOT_FOUND,
    ErrorCode.LIMIT_EXCEEDED: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    ErrorCode.BAD_REQUEST: HTTPStatus.BAD_REQUEST,
    ErrorCode.NOT_AVAILABLE: HTTPStatus.BAD_REQUEST,
    ErrorCode.TOO_MANY_REQUESTS: HTTPStatus.TOO_MANY_REQUESTS,
    ErrorCode.UNRECOVERABLE_POSITION: HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
    ErrorCode.CONCURRENT_PAGINATION: HTTPStatus.CONFLICT,
}


def status_of(code: int) -> int:
    """The status of an error; a project's own codes (of rpc methods) are the caller's fault."""
    return int(STATUS_OF.get(code, HTTPStatus.BAD_REQUEST))


def refusal(method: str, error: CommandError) -> dict[str, Any]:
    """The answer, or the part of one, that says that something was not done."""
    api_stats.errors[method, error.code] += 1
    return {"error": {"code": error.code, "message": error.message}}
