from typing import Any

from django.db.models import QuerySet
from rest_framework import viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer

from accounts.models import User
from store.models import Order
from store.serializers import OrderSerializer
from store.services import change_status
from store.tasks import ship


class OrderViewSet(viewsets.ModelViewSet[Order]):
    serializer_class = OrderSerializer

    def get_queryset(self) -> QuerySet[Order]:
        assert isinstance(self.request.user, User)
        return Order.objects.filter(owner=self.request.user)

    def perform_create(self, serializer: BaseSerializer[Order]) -> None:
        serializer.save(owner=self.request.user)

    @action(detail=True, methods=["post"])
    def pay(self, request: Request, **kwargs: Any) -> Response:
        order = change_status(self.get_object().pk, "paid", "a view")
        return Response({"status": order.status})

    @action(detail=True, methods=["post"])
    def ship(self, request: Request, **kwargs: Any) -> Response:
        ship.delay(self.get_object().pk)
        return Response({"status": "will be shipped"}, status=202)
