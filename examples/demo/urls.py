"""The demo's HTTP routes. The API's are in `flotilla.realtime.api.urls`, the WebSocket's in
`flotilla.realtime.routing`."""

from django.urls import path

from examples.demo import views

app_name = "realtime"

urlpatterns = [
    path("", views.demo, name="demo"),
    path("demo/stop", views.stop_instance, name="demo_stop"),
]
