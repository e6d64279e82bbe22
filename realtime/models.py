"""The outbox, and, without tables, what gives the cluster's things their places, permissions and audit in the admin.

An object is made for a question alone, as `Channel(name="room:7")` in
`user.has_perm("flotilla_realtime.control_channel", …)`; nothing of it is stored.
"""

from typing import Any

from django.db import models
from django.db.models.functions import Now

from flotilla.realtime.outbox.columns import CurrentTransaction, NoKeywords


class NoRows(models.Manager[Any]):
    """Finds nothing and asks no database, so that whoever goes through all models (`dumpdata`) passes these over."""

    def get_queryset(self) -> models.QuerySet[Any]:
        return super().get_queryset().none()


class Instance(models.Model):
    """A serving process, as it is now."""

    incarnation = models.CharField(primary_key=True, max_length=300)
    objects = NoRows()

    class Meta:
        managed = False
        default_permissions = ("view",)
        permissions = [("control_instance", "Can drain instances")]

    def __str__(self) -> str:
        return self.incarnation


class Channel(models.Model):
    """A named stream that clients subscribe to, as it is now."""

    name = models.CharField(primary_key=True, max_length=255)
    objects = NoRows()

    class Meta:
        managed = False
        default_permissions = ("view",)
        permissions = [
            ("control_channel", "Can publish to channels and clear their history"),
            ("tail_channel", "Can follow channels live"),
            ("tail_payloads", "Can see payloads in what is followed live"),
        ]

    def __str__(self) -> str:
        return self.name


class ConnectedUser(models.Model):
    """A user with a connection to some instance."""

    user = models.CharField(primary_key=True, max_length=255)
    objects = NoRows()

    class Meta:
        managed = False
        default_permissions = ("view",)
        permissions = [
            ("control_connecteduser", "Can end connections of users and send them messages"),
            ("tail_connecteduser", "Can follow users live"),
        ]
        verbose_name = "user"

    def __str__(self) -> str:
        return self.user


class Connection(models.Model):
    """A client's connection to some instance, as it is now."""

    client = models.CharField(primary_key=True, max_length=64)
    objects = NoRows()

    class Meta:
        managed = False
        default_permissions = ("view",)
        permissions = [
            ("control_connection", "Can end connections and subscriptions, and send messages"),
            ("tail_connection", "Can follow connections live"),
        ]

    def __str__(self) -> str:
        return self.client


class Block(models.Model):
    """A user or an address that may not connect until a time."""

    who = models.CharField(primary_key=True, max_length=255)
    objects = NoRows()

    class Meta:
        managed = False
        default_permissions = ("view",)
        permissions = [("control_block", "Can block users and addresses, and unblock them")]

    def __str__(self) -> str:
        return self.who.partition(":")[2]


class OutboxRow(models.Model):
    """A publication that was written in a transaction, and is sent after its commit (`flotilla.realtime.outbox`).

    It waits while `sent_at` and `failed_at` are null. `position` orders the rows of a channel as they were committed:
    the database gives it (`outbox/order.py`).
    """

    channel = models.CharField(max_length=255)
    position = models.BigIntegerField(null=True, editable=False)
    transaction = models.CharField(max_length=40, db_default=CurrentTransaction(), editable=False)
    """What tells the rows of one transaction from those of others, while it goes on."""
    key = models.CharField(max_length=255, default="", db_default="")
    """Of a live model's row: its key. "" where the publication is about no row."""
    operation = models.CharField(max_length=8, default="publish", db_default="publish")
    """`publish`: `body` is the publication. `set`, `remove`, `reload`: of a live model."""
    live = models.CharField(max_length=255, default="", db_default="")
    """The live model that renders the row, "app_label.ModelName", where `body` is null."""
    body = models.BinaryField(null=True)
    """The publication's JSON object without an offset; of a live model the JSON of `data`; null: rendered when sent."""
    keywords = models.JSONField(default=dict, db_default=NoKeywords())
    """Of a publication: those of `PublishKeywords` that are not as by default, but for `idempotency_key`."""
    once = models.CharField(max_length=24, null=True, editable=False)  # noqa: DJ001  null equals no other null
    """The hash of an `idempotency_key`, which a channel has once among the rows that are kept."""
    written_at = models.DateTimeField(db_default=Now())
    """On PostgreSQL the time of the commit."""
    sent_at = models.DateTimeField(null=True)
    epoch = models.CharField(max_length=64, default="", db_default="")
    offset = models.BigIntegerField(default=0, db_default=0)
    attempts = models.PositiveIntegerField(default=0, db_default=0)
    failed_at = models.DateTimeField(null=True)
    error = models.CharField(max_length=500, default="", db_default="")

    class Meta:
        db_table = "flotilla_outbox"
        verbose_name = "outbox row"
        default_permissions = ("view",)
        permissions = [("control_outboxrow", "Can retry and drop publications of the outbox")]
        # the others, and the triggers, are in SQL (`migrations/0003_outbox.py`)
        indexes = [models.Index(name="flotilla_outbox_channel", fields=["channel", "position"])]

    def __str__(self) -> str:
        return f"{self.channel} #{self.position or self.pk}"


class OutboxRelay(models.Model):
    """Who sends the outbox of this database, until when; and whose positions its rows have. One row, made when the
    first relay asks (`outbox/lease.py`, `outbox/source.py`)."""

    id = models.PositiveSmallIntegerField(primary_key=True)
    source = models.CharField(max_length=16)
    since = models.BigIntegerField(default=0)
    """The position after which this source's own rows begin."""
    batches = models.BigIntegerField(default=0)
    holder = models.CharField(max_length=255, default="")
    until = models.DateTimeField()

    class Meta:
        db_table = "flotilla_outbox_relay"
        default_permissions = ()

    def __str__(self) -> str:
        return self.holder
