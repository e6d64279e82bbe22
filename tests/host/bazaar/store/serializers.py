from rest_framework import serializers

from store.models import Order


class OrderSerializer(serializers.ModelSerializer[Order]):
    class Meta:
        model = Order
        fields = ["id", "product", "status", "changed_by"]
        read_only_fields = ["status", "changed_by"]
