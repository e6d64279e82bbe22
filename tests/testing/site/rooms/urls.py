"""The project's pages."""

from django.urls import path

from rooms.views import say

urlpatterns = [path("rooms/<slug:name>/say/", say)]
