"""The example's pages, wherever the project puts them."""

from django.contrib.auth.views import LoginView, LogoutView
from django.urls import path

from . import views

app_name = "rooms"

urlpatterns = [
    path("", views.index, name="index"),
    path("login/", LoginView.as_view(template_name="rooms/login.html", next_page="rooms:index"), name="login"),
    path("logout/", LogoutView.as_view(next_page="rooms:login"), name="logout"),
    path("<slug:name>/", views.room, name="room"),
    path("<slug:name>/messages/", views.messages, name="messages"),
]
