"""Which changes of models change who may be where: Django's users, groups and permissions, and what a project declares.

    from flotilla import Affected, affects

    @affects(Membership)
    def rooms(membership):
        return Affected(user=membership.user_id, channel=f"room:{membership.room_id}")

After a save or delete has been committed, access is looked at again for what the function returned, before and after
the change. For the hidden model of a ManyToManyField (`Room.members.through`) it gets the instance whose relation was
changed, from either side. A change never fails for this: without Redis it is logged, and the rounds catch up.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple, TypeVar

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission
from django.contrib.auth.signals import user_logged_out
from django.db import transaction
from django.db.models import Model
from django.db.models.signals import m2m_changed, post_delete, post_save, pre_delete, pre_save

from flotilla.ratelimit.personal import has_many
from flotilla.realtime.access.tokens import user_id
from flotilla.realtime.conf import get_config
from flotilla.realtime.node.control import Command, Control
from flotilla.realtime.node.operations.disconnect import Disconnect
from flotilla.realtime.node.operations.reauthorize import Reauthorize
from flotilla.realtime.node.selection import login_of
from flotilla.realtime.protocol.codes import DisconnectCode
from flotilla.store import StoreUnavailable, get_store
from flotilla.store.patience import patiently

logger = logging.getLogger("flotilla.realtime.changes")

MAX_NAMED = 1000  # users named in one command; more of them are everybody
DECIDE = frozenset({"password", "is_active", "is_staff", "is_superuser"})  # fields of a user that access hangs on


class Affected(NamedTuple):
    """Whose access a change may have changed: a user's (an id or object), a channel's subscribers', or one's in one."""

    user: Any = None
    channel: str = ""


Answer = Affected | Iterable[Affected] | None
Function = TypeVar("Function", bound=Callable[[Any], Answer])


def affects(*models: Any) -> Callable[[Function], Function]:
    """Declare whom a change of these models affects. The function gets an instance; it may use the ORM."""

    def register(function: Function) -> Function:
        for model in models:
            if model._meta.auto_created:
                m2m_changed.connect(_Relation(function), sender=model, weak=False)
            else:
                watch = _Watch(function)
                pre_save.connect(watch.before, sender=model, weak=False)
                post_save.connect(watch.saved, sender=model, weak=False)
                post_delete.connect(watch.deleted, sender=model, weak=False)
        return function

    return register


class _Watch:
    """One function's signals: what is affected before a save counts as well, as a member may have been moved."""

    def __init__(self, function: Callable[[Any], Answer]) -> None:
        self._function = function
        self._kept = f"_affected_{id(self)}"

    def before(self, instance: Model, using: str, raw: bool = False, **_: Any) -> None:
        old = None
        if instance.pk is not None and not raw and not instance._state.adding:
            old = type(instance)._base_manager.using(using).filter(pk=instance.pk).first()
        setattr(instance, self._kept, self._asked(old) if old is not None else ())

    def saved(self, instance: Model, using: str, raw: bool = False, **_: Any) -> None:
        found = [*getattr(instance, self._kept, ()), *(() if raw else self._asked(instance))]
        _announce(found, using)

    def deleted(self, instance: Model, using: str, **_: Any) -> None:
        _announce(self._asked(instance), using)

    def _asked(self, instance: Model) -> list[Affected]:
        return list(_flat(self._function(instance)))


class _Relation:
    """One function's signal for a ManyToManyField."""

    def __init__(self, function: Callable[[Any], Answer]) -> None:
        self._function = function

    def __call__(self, instance: Model, action: str, using: str, **_: Any) -> None:
        if action.startswith("post_"):
            _announce(_flat(self._function(instance)), using)


def _flat(answer: Answer) -> Iterator[Affected]:
    if isinstance(answer, Affected):
        yield answer
    elif answer is not None:
        yield from answer


# Django's own


def connect() -> None:
    """Watch users, groups, permissions and logouts. Called once the apps are ready."""
    user = get_user_model()
    post_save.connect(_user_saved, sender=user, dispatch_uid="realtime.user")
    post_delete.connect(_user_deleted, sender=user, dispatch_uid="realtime.user")
    user_logged_out.connect(_logged_out, dispatch_uid="realtime.logout")
    for field, model in (("groups", Group), ("user_permissions", Permission)):
        if has_many(field, model):
            m2m_changed.connect(
                _rights_changed, sender=getattr(user, field).through, dispatch_uid=f"flotilla.realtime.{field}"
            )
    m2m_changed.connect(_group_changed, sender=Group.permissions.through, dispatch_uid="realtime.group")
    pre_delete.connect(_group_ends, sender=Group, dispatch_uid="realtime.group")
    post_delete.connect(_permission_deleted, sender=Permission, dispatch_uid="realtime.permission")


def _user_saved(
    instance: Model, created: bool, using: str, raw: bool = False, update_fields: frozenset[str] | None = None, **_: Any
) -> None:
    decided = update_fields is None or not DECIDE.isdisjoint(update_fields)
    if decided and not created and not raw:
        _announce([Affected(instance)], using)


def _user_deleted(instance: Model, using: str, **_: Any) -> None:
    code = DisconnectCode.PERMISSION_DENIED
    _send(Disconnect(user=user_id(instance), code=int(code), reason="user deleted"), using)


def _logged_out(request: Any, user: Any, **_: Any) -> None:
    key = getattr(getattr(request, "session", None), "session_key", None)
    if key and user is not None:
        code = DisconnectCode.PERMISSION_DENIED
        _send(Disconnect(user=user_id(user), login=login_of(key), code=int(code), reason="logged out"), None)


def _rights_changed(instance: Any, action: str, reverse: bool, pk_set: set[Any] | None, using: str, **_: Any) -> None:
    """Groups or permissions of a user; in reverse, users of a group or permission."""
    if not reverse:
        if action.startswith("post_"):
            _announce([Affected(instance)], using)
    elif action == "pre_clear":  # afterwards nobody knows whose they were
        _announce_users(_users_with(instance, using), using)
    elif action in ("post_add", "post_remove"):
        _announce([Affected(pk) for pk in pk_set or ()], using)


def _group_changed(instance: Any, action: str, reverse: bool, using: str, **_: Any) -> None:
    if action in ("post_add", "post_remove", "post_clear"):
        if reverse:
            _announce([Affected()], using)
        else:
            _announce_users(_users_with(instance, using), using)


def _group_ends(instance: Any, using: str, **_: Any) -> None:
    _announce_users(_users_with(instance, using), using)


def _users_with(granted: Group | Permission, using: str) -> Any:
    """The users of a group or with a permission; a user model of the project's own may know neither."""
    model, name = get_user_model(), "groups" if isinstance(granted, Group) else "user_permissions"
    users = model._base_manager.using(using)
    return users.filter(**{name: granted}) if has_many(name, type(granted)) else users.none()


def _permission_deleted(using: str, **_: Any) -> None:
    _announce([Affected()], using)


def _announce_users(users: Any, using: str) -> None:
    keys = list(users.values_list("pk", flat=True)[: MAX_NAMED + 1])
    _announce([Affected(key) for key in keys], using)


def _announce(affected: Iterable[Affected], using: str) -> None:
    """Have the access of these looked at again once the change is committed."""
    by_channel: dict[str, dict[str | None, None]] = {}
    for user, channel in affected:
        by_channel.setdefault(channel, {})[None if user is None else user_id(user)] = None
    for channel, users in by_channel.items():
        named = [user for user in users if user is not None]
        everybody = None in users or len(named) > MAX_NAMED
        _send(Reauthorize(users=None if everybody else named, channel=channel), using)


def _send(command: Command, using: str | None) -> None:
    transaction.on_commit(partial(_tell, command), using=using, robust=True)


def _tell(command: Command) -> None:
    try:
        with patiently(get_config().publish_within):
            Control(get_store()).tell_sync(command)
    except StoreUnavailable as error:
        log_untold(error)


def log_untold(error: StoreUnavailable) -> None:
    """Log that instances do not know of a change: their next round will find it."""
    logger.warning("the instances could not be told that access changed: %s", error)
