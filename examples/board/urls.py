"""The example's page and API, wherever the project puts them."""

from django.urls import include, path
from rest_framework.routers import SimpleRouter

from . import api, views

app_name = "board"
router = SimpleRouter()
router.register("tickets", api.TicketViewSet)

urlpatterns = [
    path("", views.board, name="first"),
    path("api/", include(router.urls)),
    path("<slug:name>/", views.board, name="board"),
]
