from django.urls import include, path

from live.views import buy, greet

urlpatterns = [
    path("live/greet/", greet),
    path("live/buy/<int:order_id>/<int:times>/", buy),
    path("", include("bazaar.urls")),
]
