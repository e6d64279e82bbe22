"""No tables: what gives connections their place, permissions and audit in the admin."""

from django.db import models


class Connection(models.Model):
    """A client's connection to some instance, as it is now; nothing of it is stored."""

    class Meta:
        managed = False
        default_permissions = ("view",)
        permissions = [("control_connection", "Can end connections and subscriptions")]

    def __str__(self) -> str:
        return "a connection"
