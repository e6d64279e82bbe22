"""The tickets' REST API, as any project with Django REST framework has one: make, change, delete."""

from rest_framework import permissions, serializers, viewsets
from rest_framework.renderers import JSONRenderer

from .models import Ticket


class TicketSerializer(serializers.ModelSerializer):  # type: ignore[misc]
    """What a page has of a ticket: from the API and over the connection the same."""

    position = serializers.FloatField(min_value=-1e9, max_value=1e9)

    class Meta:
        model = Ticket
        fields = ("id", "board", "title", "state", "position")


class TicketViewSet(viewsets.ModelViewSet):  # type: ignore[misc]
    """For everybody who has logged in. There is no list: the page has it from the live model's state."""

    queryset = Ticket.objects.all()
    serializer_class = TicketSerializer
    permission_classes = (permissions.IsAuthenticated,)
    renderer_classes = (JSONRenderer,)
    http_method_names = ("post", "patch", "delete")
