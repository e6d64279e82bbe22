"""The HTTP API's shell: who may call (`X-API-Key`), what a request is, how an answer looks.

Application errors are HTTP 200 with `{"error": …}`, as the API's clients expect; 400, 401, 404, 405 and 413 are for
requests that never got to a method. With `X-Centrifugo-Error-Mode: transport` application errors have a status of their
own; a batch or broadcast, whose parts have each their outcome, is 200 all the same.
"""

import logging
import time
from typing import Any

import msgspec
from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from flotilla.realtime.api.errors import refusal, status_of
from flotilla.realtime.api.keys import is_valid, key_of
from flotilla.realtime.api.methods import METHODS
from flotilla.realtime.api.openapi import document
from flotilla.realtime.api.params import Batch, decode
from flotilla.realtime.api.stats import api_stats
from flotilla.realtime.protocol.codes import CommandError, ErrorCode
from flotilla.realtime.protocol.foreign import UNREADABLE
from flotilla.store import StoreUnavailable

logger = logging.getLogger("flotilla.realtime.api")

BATCH = "batch"
MAX_COMMANDS = 1000  # in a batch
ERROR_MODE = "X-Centrifugo-Error-Mode"


@login_not_required  # the key says who calls
@csrf_exempt
async def call(request: HttpRequest, method: str) -> HttpResponse:
    """`POST /api/<method>`."""
    if method != BATCH and method not in METHODS:
        return _problem(404, f"no such method: {method}")
    if request.method != "POST":
        return _problem(405, "use POST", Allow="POST")
    if not is_valid(key_of(request)):
        return _problem(401, "send a valid key in X-API-Key")
    try:
        body = _body(request)
        if method == BATCH:
            return _answer(await _batch(body))
        answer = await _run(method, body)
        told_by_status = request.headers.get(ERROR_MODE, "") == "transport" and "error" in answer
        return _answer(answer, status=status_of(answer["error"]["code"]) if told_by_status else 200)
    except RequestDataTooBig:
        return _problem(413, f"the body is larger than {settings.DATA_UPLOAD_MAX_MEMORY_SIZE} bytes")
    except UNREADABLE as error:
        return _problem(400, f"the body cannot be used: {error}")


@login_not_required
@require_safe
def openapi(request: HttpRequest) -> HttpResponse:
    """`GET /api/openapi.json`: what can be asked, for anybody; it holds nothing of this installation."""
    return HttpResponse(document(), content_type="application/json")


def _body(request: HttpRequest) -> bytes:
    """The whole body. Raises RequestDataTooBig, also for one that did not say how long it is."""
    body, most = request.body, settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    if most is not None and len(body) > most:
        raise RequestDataTooBig
    return body


async def _run(method: str, body: bytes) -> dict[str, Any]:
    kind, function = METHODS[method]
    began = time.perf_counter()
    try:
        return {"result": await function(decode(kind, body))}
    except CommandError as error:
        return refusal(method, error)
    except StoreUnavailable as error:
        logger.warning("%s: %s", method, error)
        return refusal(method, CommandError(ErrorCode.INTERNAL))
    finally:
        api_stats.durations[method].observe(time.perf_counter() - began)


async def _batch(body: bytes) -> dict[str, Any]:
    """Each command's own outcome, in order; a command that does not exist or cannot be read is an error member."""
    batch = decode(Batch, body)
    if len(batch.commands) > MAX_COMMANDS:
        return refusal(BATCH, CommandError(ErrorCode.LIMIT_EXCEEDED))
    found = []
    for command in batch.commands:
        method, asked = next(iter(command.items()), ("", b"{}"))
        if method not in METHODS:
            found.append(refusal(BATCH, CommandError(ErrorCode.METHOD_NOT_FOUND)))
            continue
        try:
            answer = await _run(method, bytes(asked))
        except UNREADABLE:
            answer = refusal(BATCH, CommandError(ErrorCode.BAD_REQUEST))
        found.append({method: answer["result"]} if "result" in answer else answer)
    return {"replies": found}


def _answer(content: dict[str, Any], *, status: int = 200) -> HttpResponse:
    return HttpResponse(msgspec.json.encode(content), status=status, content_type="application/json")


def _problem(status: int, message: str, **headers: str) -> HttpResponse:
    body = msgspec.json.encode({"error": {"code": status, "message": message}})
    return HttpResponse(body, status=status, content_type="application/json", headers=headers)
