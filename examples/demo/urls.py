"""The demo's HTTP routes."""

from django.urls import path

from examples.demo import views

app_name = "demo"

urlpatterns = [
    path("", views.demo, name="page"),
    path("demo/stop", views.stop_instance, name="stop"),
]
