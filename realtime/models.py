"""No tables: what gives the cluster's things their places, permissions and audit in the admin.

An object is made for a question alone, as `Channel(name="room:7")` in
`user.has_perm("flotilla_realtime.control_channel", …)`; nothing of it is stored.
"""

from typing import Any

from django.db import models


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
