from django.db import models


class Probe(models.Model):
    """When something of the bazaar was last seen to work."""

    name = models.CharField(max_length=50, unique=True)
    seen = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return self.name
