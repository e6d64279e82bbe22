from django.conf import settings
from django.db import models


class Product(models.Model):
    name = models.CharField(max_length=100)

    def __str__(self) -> str:
        return self.name


class Order(models.Model):
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    product = models.ForeignKey(Product, on_delete=models.PROTECT)
    status = models.CharField(max_length=20, default="placed")
    changed_by = models.CharField(max_length=20, default="the owner")

    def __str__(self) -> str:
        return f"{self.product} for {self.owner}"
