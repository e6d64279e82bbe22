from django.urls import include, path

from live.views import greet

urlpatterns = [path("live/greet/", greet), path("", include("bazaar.urls"))]
