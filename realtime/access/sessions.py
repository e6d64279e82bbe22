"""The identity that a Django session cookie gives. The session and its user are read at connect, and when access is
looked at again.

The session is never written (a handshake cannot send a new cookie). The user must be active, and the session's hash
must fit the password, as in Django's own middleware. `info` stays empty, because other clients see it and a user name
may be an e-mail address. The connection ends when the session does.
"""

import logging
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from channels.db import database_sync_to_async
from django.apps import apps
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model, load_backend
from django.contrib.auth.models import AbstractBaseUser
from django.contrib.sessions.backends.base import SessionBase
from django.http import parse_cookie
from django.utils.crypto import constant_time_compare

from flotilla.realtime.access.identity import Identity
from flotilla.realtime.access.origins import cookie_refusal
from flotilla.realtime.conf import get_config

logger = logging.getLogger("flotilla.realtime.sessions")

_IN_DATABASE = {"django.contrib.sessions.backends.db", "django.contrib.sessions.backends.cached_db"}


async def identity_from_session(scope: Mapping[str, Any]) -> Identity | None:
    """The identity of the session cookie in the handshake, or None without a valid one of an active user.

    Raises what the session store and the database raise when they are away.
    """
    key = _session_key(scope)
    if not key or not _has_sessions():
        return None
    if refusal := cookie_refusal(scope, get_config()):
        logger.warning("a session cookie does not count: %s", refusal)
        return None
    identity: Identity | None = await database_sync_to_async(_identity)(key)
    return identity


async def identity_from_key(key: str) -> Identity | None:
    """The identity that a session gives now: None when it ended, or its user or the password changed."""
    identity: Identity | None = await database_sync_to_async(_identity)(key)
    return identity


def _session_key(scope: Mapping[str, Any]) -> str:
    cookies = [value.decode("latin-1") for name, value in scope.get("headers", ()) if name == b"cookie"]
    return parse_cookie("; ".join(cookies)).get(settings.SESSION_COOKIE_NAME, "") if cookies else ""


def _has_sessions() -> bool:
    """Whether this project keeps sessions: Django's own engine for the database needs its app."""
    in_database = settings.SESSION_ENGINE in _IN_DATABASE
    return not in_database or apps.is_installed("django.contrib.sessions")


def _identity(key: str) -> Identity | None:
    store: SessionBase = import_module(settings.SESSION_ENGINE).SessionStore(key)
    user = _user(store)
    if user is None:
        return None
    return Identity(user=str(user.pk), expire_at=_expiry(store), session_key=key, via="session")


def _user(store: SessionBase) -> AbstractBaseUser | None:
    path = store.get(BACKEND_SESSION_KEY, "")
    if SESSION_KEY not in store or path not in settings.AUTHENTICATION_BACKENDS:
        return None
    user = load_backend(path).get_user(get_user_model()._meta.pk.to_python(store[SESSION_KEY]))
    if user is None or not user.is_active or not _hash_fits(store, user):
        return None
    return user


def _hash_fits(store: SessionBase, user: AbstractBaseUser) -> bool:
    """Whether the session was made with the user's present password (and the present or a fallback secret key)."""
    if not hasattr(user, "get_session_auth_hash"):
        return True
    given = store.get(HASH_SESSION_KEY) or ""
    hashes = [user.get_session_auth_hash(), *user.get_session_auth_fallback_hash()]
    return bool(given) and any(constant_time_compare(given, known) for known in hashes)


def _expiry(store: SessionBase) -> float:
    """When the session ends, Unix seconds: by its row in the database, else as the session store computes it."""
    model = getattr(store, "model", None)
    if model is not None:
        row = model.objects.filter(session_key=store.session_key).values_list("expire_date", flat=True).first()
        if row is not None:
            return float(row.timestamp())
    return store.get_expiry_date().timestamp()
