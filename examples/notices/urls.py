"""The example's pages, wherever the project puts them."""

from django.contrib.auth.views import LoginView, LogoutView
from django.urls import path

from . import views

app_name = "notices"

urlpatterns = [
    path("", views.page, name="page"),
    path("read/", views.read, name="read"),
    path("write/", views.write, name="write"),
    path("login/", LoginView.as_view(template_name="notices/login.html", next_page="notices:page"), name="login"),
    path("logout/", LogoutView.as_view(next_page="notices:login"), name="logout"),
]
