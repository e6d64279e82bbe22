"""No table: a model that gives the page “Cluster” its entry in the admin."""

from django.db import models

from flotilla.realtime.models import NoRows


class Cluster(models.Model):
    """The cluster as it is now; nothing of it is stored."""

    objects = NoRows()

    class Meta:
        managed = False
        default_permissions = ()
        verbose_name = "cluster"
        verbose_name_plural = "Cluster"

    def __str__(self) -> str:
        return "the cluster"
