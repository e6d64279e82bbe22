"""Access looked at again: what a change ends, what it leaves alone, and what a fault or a race does not let through."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from asgiref.sync import sync_to_async
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, Permission, User
from django.contrib.contenttypes.models import ContentType
from django.db import transaction
from django.db.models.signals import m2m_changed, post_delete, post_save, pre_save
from django.test import Client

from flotilla import Affected, affects, areauthorize, asubscribe, make_connection_token, make_subscription_token
from flotilla.realtime.access.hooks import Cached
from flotilla.realtime.conf import get_config
from flotilla.realtime.node import reauthorization
from flotilla.realtime.node.node import Node
from flotilla.store.shards import reset_store
from tests.realtime.client.nodes import REALTIME, hurry
from tests.realtime.client.peers import Peer
from tests.store.places import nobody
from tests.store.redis_process import until

pytestmark = [pytest.mark.asyncio, pytest.mark.django_db(transaction=True)]

GONE = {"code": 2103, "reason": "permission denied"}


def named(user: Any, channel: str, info: Any) -> Any:
    """Users whose first name is the channel's; an answer that is kept."""
    return Cached(isinstance(user, User) and user.first_name == channel.partition(":")[2])


def entitled(user: Any, channel: str, info: Any) -> bool:
    """Users with a permission."""
    return isinstance(user, User) and user.has_perm("auth.view_group")


def listed(user: Any, channel: str, info: Any) -> bool:
    """Users with a log entry that names the channel."""
    return LogEntry.objects.filter(user_id=user.pk, object_id=channel).exists()


class Moody:
    """A hook that answers as the test says: True, False, or an exception; waits for `door` where there is one."""

    def __init__(self) -> None:
        self.mood: Any = True
        self.asked: list[Any] = []
        self.door: asyncio.Event | None = None

    async def __call__(self, user: Any, channel: str, info: Any) -> bool:
        mood = self.mood
        self.asked.append(info)
        if self.door is not None:
            await self.door.wait()
        if isinstance(mood, Exception):
            raise mood
        return bool(mood)


moody = Moody()


@pytest.fixture
def configured(configured: Any) -> Iterator[Any]:
    """Namespaces that ask."""
    moody.__init__()  # type: ignore[misc]
    hooks = {"named": named, "entitled": entitled, "listed": listed, "moody": moody}
    asked = {name: {"subscribe_permission": hook, "presence": True} for name, hook in hooks.items()}
    configured.REALTIME = REALTIME | {"namespaces": REALTIME["namespaces"] | asked, "anonymous": False}
    configured.SESSION_ENGINE = "django.contrib.sessions.backends.db"
    configured.ALLOWED_HOSTS = ["me.com"]
    get_config.reset()
    return configured


@sync_to_async
def make_user(name: str = "ann", **more: Any) -> User:
    return User.objects.create_user(name, first_name="garden", password="old", **more)


async def by_token(node: Node, user: User, *channels: str) -> Peer:
    peer = Peer(node)
    await peer.connect(token=make_connection_token(user))
    for channel in channels:
        await peer.subscribe(channel)
    await until(lambda: node.heartbeat.alive and node.presence.alive)
    return peer


async def by_session(node: Node, client: Client) -> Peer:
    headers = [(b"host", b"me.com"), (b"cookie", f"sessionid={client.session.session_key}".encode())]
    peer = Peer(node, headers=headers)
    await peer.connect()
    await until(lambda: node.heartbeat.alive and node.presence.alive)
    return peer


@sync_to_async
def logged_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


class TestSubscriptions:
    async def test_a_saved_change_ends_what_is_no_longer_allowed(self, node: Node) -> None:
        """Of that user alone; the connection and other channels stay; a kept answer does not count any more."""
        ann, ben = await make_user(), await make_user("ben")
        one, two = await by_token(node, ann, "named:garden", "open:a"), await by_token(node, ben, "named:garden")
        ann.first_name = "cellar"
        await ann.asave()
        assert await until(lambda: one.pushes("unsubscribe", "named:garden")) == [GONE]
        assert list(one.client.subscriptions) == ["open:a"]
        assert list(two.client.subscriptions) == ["named:garden"]
        assert (await one.ask(subscribe={"channel": "named:garden"}))["error"]["code"] == 103
        await one.subscribe("named:cellar")

    async def test_what_sends_no_signal_is_found_when_it_is_looked_for(self, node: Node) -> None:
        """By user, by channel, or for everybody; a second look ends nothing."""
        ann = await make_user()
        for whom in ({"user": ann}, {"channel": "named:garden"}, {}):
            await User.objects.filter(pk=ann.pk).aupdate(first_name="garden")
            peer = await by_token(node, ann, "named:garden")
            await User.objects.filter(pk=ann.pk).aupdate(first_name="cellar")
            assert (await areauthorize(**whom)).hit == 1
            assert peer.pushes("unsubscribe", "named:garden") == [GONE]
            assert (await areauthorize(**whom)).hit == 0

    async def test_tokens_and_the_servers_word_hold(self, node: Node) -> None:
        """Nobody asks the hook about them."""
        peer = await by_token(node, await make_user())
        await peer.subscribe("moody:a", token=make_subscription_token(peer.client.identity.user, "moody:a"))
        await asubscribe(peer.client.identity.user, "moody:b")
        moody.mood = False
        assert (await areauthorize()).hit == 0
        assert set(peer.client.subscriptions) == {"moody:a", "moody:b"}
        assert moody.asked == []

    async def test_the_hook_is_asked_with_what_the_client_sent(self, node: Node) -> None:
        """As when it subscribed."""
        peer = await by_token(node, await make_user())
        await peer.subscribe("moody:a", data={"ticket": 7})
        await peer.subscribe("moody:b")
        await areauthorize()
        assert moody.asked == [{"ticket": 7}, None, {"ticket": 7}, None]

    @pytest.mark.parametrize(
        ("change", "ends"),
        [
            (lambda user, group: user.groups.remove(group), True),
            (lambda user, group: user.groups.clear(), True),
            (lambda user, group: user.groups.set([]), True),
            (lambda user, group: group.user_set.remove(user), True),
            (lambda user, group: group.user_set.clear(), True),
            (lambda user, group: group.permissions.clear(), True),
            (lambda user, group: group.permissions.get().group_set.remove(group), True),
            (lambda user, group: group.delete(), True),
            (lambda user, group: Group.objects.all().delete(), True),
            (lambda user, group: Permission.objects.filter(codename="view_group").delete(), True),
            (lambda user, group: user.groups.add(Group.objects.create(name="more")), False),
        ],
    )
    async def test_groups_and_permissions(self, node: Node, change: Callable[[User, Group], Any], ends: bool) -> None:
        """From either side of each relation."""
        user = await make_user()

        def entitle() -> Group:
            kind = ContentType.objects.get_for_model(Group)
            names = {"content_type": kind, "codename": "view_group"}
            permission, _ = Permission.objects.get_or_create(**names, defaults={"name": "Can view"})
            group = Group.objects.create(name="readers")
            group.permissions.add(permission)
            user.groups.add(group)
            return group

        group = await sync_to_async(entitle)()
        peer = await by_token(node, user, "entitled:a")
        await sync_to_async(change)(user, group)
        if ends:
            assert await until(lambda: peer.pushes("unsubscribe", "entitled:a")) == [GONE]
        else:
            assert (await areauthorize()).hit == 0
            assert "entitled:a" in peer.client.subscriptions


class TestConnections:
    async def test_a_deactivated_user_is_out(self, node: Node) -> None:
        """However they came in."""
        user = await make_user()
        peers = [await by_token(node, user), await by_session(node, await logged_in(user))]
        hurry(node, authenticate=lambda request: user)
        peers.append(await by_token(node, user))
        assert peers[-1].client.identity.via == "hook"
        user.is_active = False
        await user.asave(update_fields=["is_active"])
        ends = [await peer.end() for peer in peers]
        assert ends == [(3507, "user deactivated"), (3507, "session ended"), (3507, "user deactivated")]

    async def test_a_new_password_ends_sessions_made_with_the_old(self, node: Node) -> None:
        """A token knows no password."""
        user = await make_user()
        token, client = await by_token(node, user), await by_session(node, await logged_in(user))
        await sync_to_async(user.set_password)("new")
        await user.asave()
        assert await client.end() == (3507, "session ended")
        assert (await areauthorize()).hit == 0
        assert token.socket.closed is None

    async def test_a_logout_ends_the_connections_of_that_session(self, node: Node) -> None:
        """Another device stays."""
        user = await make_user()
        here, there = await logged_in(user), await logged_in(user)
        leaving, staying = await by_session(node, here), await by_session(node, there)
        await sync_to_async(here.logout)()
        assert await leaving.end() == (3507, "logged out")
        assert (await areauthorize()).hit == 0
        assert staying.socket.closed is None

    async def test_a_deleted_user_is_out(self, node: Node) -> None:
        """By token too, of which nobody could tell any more whose it was."""
        user = await make_user()
        peers = [await by_token(node, user), await by_session(node, await logged_in(user))]
        await user.adelete()
        assert {await peer.end() for peer in peers} == {(3507, "user deleted")}

    async def test_ids_that_are_no_users_of_django_are_left_alone(self, node: Node) -> None:
        """And so is a login, which changes a user without changing what they may."""
        peer = Peer(node)
        await peer.connect(token=make_connection_token("someone else's user"))
        await until(lambda: node.heartbeat.alive and node.presence.alive)
        assert (await areauthorize()).hit == 0
        before = node.reauthorization.revision
        user = await make_user()
        user.first_name = "cellar"
        await user.asave(update_fields=["last_login"])
        assert (await areauthorize()).hit == 0
        assert node.reauthorization.revision == before + 1


class TestRounds:
    @pytest.fixture
    def configured(self, configured: Any) -> Any:
        configured.REALTIME |= {"recheck_interval": 0.5}
        get_config.reset()
        return configured

    async def test_bulk_updates_are_found(self, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
        """Fields that no signal tells of, rows that are gone, sessions."""
        ann, ben, eve = await make_user(), await make_user("ben"), await make_user("eve")
        named_one, deactivated = await by_token(node, ann, "named:garden"), await by_token(node, ben)
        deleted, client = await by_token(node, eve, "named:garden"), await by_session(node, await logged_in(ben))
        await User.objects.filter(pk=ann.pk).aupdate(first_name="cellar")
        await User.objects.filter(pk=ben.pk).aupdate(is_active=False)
        await sync_to_async(User.objects.filter(pk=eve.pk)._raw_delete)("default")  # type: ignore[attr-defined]
        assert await until(lambda: named_one.pushes("unsubscribe", "named:garden")) == [GONE]
        assert await deactivated.end() == (3507, "user deactivated")
        assert await client.end() == (3507, "session ended")
        assert await deleted.end() == (3507, "user deleted")

    async def test_a_fault_is_left_to_the_next_round(self, node: Node) -> None:
        """Nobody is thrown out because the database was away for a moment."""
        peer = await by_token(node, await make_user(), "moody:a")
        moody.mood = OSError("the database is away")
        asked = len(moody.asked)
        await until(lambda: len(moody.asked) > asked + 1, within=10)
        assert "moody:a" in peer.client.subscriptions
        moody.mood = False
        await until(lambda: peer.pushes("unsubscribe", "moody:a"), within=10)

    async def test_a_database_that_is_away_is_said_once(
        self, node: Node, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Not in every slice; nobody is thrown out, and the rounds go on when it is back."""
        user = await make_user()
        peer = await by_token(node, user)
        find, asked = reauthorization.hooks.find_users, 0

        async def away(ids: Any) -> Any:
            nonlocal asked
            asked += 1
            raise OSError("the database is away")

        monkeypatch.setattr(reauthorization, "SLICE_EVERY", 0.02)
        monkeypatch.setattr(reauthorization.hooks, "find_users", away)
        await until(lambda: asked > 3, within=10)
        said = [
            record
            for record in caplog.records
            if record.name == "flotilla.realtime.reauthorization" and record.exc_info
        ]
        assert len(said) == 1  # that a round takes long on a busy machine is said without an exception
        assert peer.socket.closed is None
        monkeypatch.setattr(reauthorization.hooks, "find_users", find)
        await User.objects.filter(pk=user.pk).aupdate(is_active=False)
        assert await peer.end() == (3507, "user deactivated")

    async def test_their_work_is_bounded(self, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
        """Never more in a slice than it may; a round that takes too long is said once."""
        sizes: list[int] = []
        monkeypatch.setattr(reauthorization, "SLICE_EVERY", 0.02)
        node.config = msgspec.structs.replace(node.config, recheck_interval=0.1, recheck_per_second=1)

        async def slice_of(clients: list[Any]) -> None:
            sizes.append(len(clients))

        node.reauthorization._slice = slice_of  # type: ignore[method-assign]
        for _ in range(20):
            await Peer(node).connect(token=make_connection_token("x"))
        await node.reauthorization.close()  # its rounds went by the configuration before
        sizes.clear()
        node.reauthorization.start()
        await until(lambda: sum(sizes) > 40 and node.reauthorization.late)
        assert max(sizes) == 1


class TestFaultsAndRaces:
    async def test_a_hook_that_fails_is_asked_again_and_then_the_client_comes_back(
        self, node: Node, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A fault never counts as yes; 2603 makes the client subscribe anew."""
        monkeypatch.setattr(reauthorization, "AGAIN_AFTER", 0.01)
        peer = await by_token(node, await make_user(), "moody:a")
        moody.mood = OSError("the database is away")
        assert (await areauthorize()).hit == 1
        assert len(moody.asked) == 1 + reauthorization.ATTEMPTS
        assert peer.pushes("unsubscribe", "moody:a") == [{"code": 2603, "reason": "permission could not be checked"}]

    async def test_who_is_on_the_way_in_is_asked_again(self, node: Node) -> None:
        """The answer was given before the change, and must not count after it."""
        peer = await by_token(node, await make_user())
        moody.door = asyncio.Event()
        id = peer.say(subscribe={"channel": "moody:a"})
        await until(lambda: moody.asked)
        moody.mood = False
        assert (await areauthorize(channel="moody:a")).hit == 0
        moody.door.set()
        assert (await peer.reply(id))["error"]["code"] == 103
        assert peer.client.subscriptions == {}

    async def test_who_is_connecting_is_looked_at_afterwards(self, node: Node) -> None:
        """Who was let in by what was true a moment before."""
        user = await make_user()
        client = await logged_in(user)
        door, enter = asyncio.Event(), node.enter

        async def wait_and_enter(*args: Any) -> None:
            await door.wait()
            await enter(*args)

        node.enter = wait_and_enter  # type: ignore[method-assign]
        headers = [(b"host", b"me.com"), (b"cookie", f"sessionid={client.session.session_key}".encode())]
        peer = Peer(node, headers=headers)
        peer.say(connect={})
        await until(lambda: peer.client.identity.user)
        await until(lambda: node.heartbeat.alive and node.presence.alive)
        await User.objects.filter(pk=user.pk).aupdate(is_active=False)
        assert (await areauthorize(user)).hit == 0
        door.set()
        assert await peer.end() == (3507, "session ended")

    async def test_a_change_is_saved_though_redis_is_away(self, configured: Any, tmp_path: Any) -> None:
        """It is logged; the rounds find it later."""
        configured.REDIS_URLS = [nobody(tmp_path)]
        reset_store()
        user = await make_user()
        user.is_active = False
        await user.asave()
        assert await User.objects.filter(is_active=False).acount() == 1


class TestAffects:
    @pytest.fixture(autouse=True)
    def _signals(self) -> Iterator[None]:
        """What a test declares ends with it."""
        signals = (pre_save, post_save, post_delete, m2m_changed)
        before = [list(signal.receivers) for signal in signals]
        yield
        for signal, receivers in zip(signals, before, strict=True):
            signal.receivers = receivers
            signal.sender_receivers_cache.clear()

    def entry(self, user: User, channel: str) -> LogEntry:
        kind = ContentType.objects.get_for_model(User)
        return LogEntry.objects.create(user=user, object_id=channel, content_type=kind, action_flag=1)

    async def test_a_model_says_whom_it_affects(self, node: Node) -> None:
        """A row that moves affects those it leaves, one that is deleted those it was about; nobody else is."""

        @affects(LogEntry)
        def members(entry: LogEntry) -> Affected:
            return Affected(user=entry.user_id, channel=entry.object_id or "")

        ann, ben = await make_user(), await make_user("ben")
        entries = [
            await sync_to_async(self.entry)(user, channel)
            for user in (ann, ben)
            for channel in ("listed:a", "listed:b")
        ]
        one, two = [await by_token(node, user, "listed:a", "listed:b") for user in (ann, ben)]
        await LogEntry.objects.filter(pk=entries[1].pk).aupdate(object_id="listed:c")  # nobody is told
        entries[0].user = ben
        await entries[0].asave()
        assert await until(lambda: one.pushes("unsubscribe", "listed:a")) == [GONE]
        assert "listed:b" in one.client.subscriptions, "a channel it was not about was looked at"
        await entries[3].adelete()
        assert await until(lambda: two.pushes("unsubscribe", "listed:b")) == [GONE]
        assert "listed:a" in two.client.subscriptions

    async def test_a_rollback_changes_nothing(self, node: Node) -> None:
        """Whoever looked before the commit would see what was."""

        @affects(LogEntry)
        def everybody(entry: LogEntry) -> list[Affected]:
            return [Affected(user=entry.user_id), Affected(channel="listed:a")]

        user = await make_user()
        entry = await sync_to_async(self.entry)(user, "listed:a")
        peer = await by_token(node, user, "listed:a")
        before = node.reauthorization.revision

        def change(then: str) -> None:
            with transaction.atomic():
                entry.object_id = "listed:b"
                entry.save()
                if then == "roll back":
                    transaction.set_rollback(True)

        await sync_to_async(change)("roll back")
        assert (await areauthorize("nobody")).answered == 1
        assert node.reauthorization.revision == before + 1
        await sync_to_async(change)("commit")
        assert await until(lambda: peer.pushes("unsubscribe", "listed:a")) == [GONE]

    async def test_a_hidden_model_of_a_relation(self, node: Node) -> None:
        """From either side, the instance that was changed."""
        seen: list[Any] = []

        @affects(User.groups.through)
        def members(instance: Any) -> None:
            seen.append(instance)

        user = await make_user()
        group = await Group.objects.acreate(name="readers")
        await user.groups.aadd(group)
        await group.user_set.aremove(user)
        assert seen == [user, group]
