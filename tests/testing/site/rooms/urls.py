"""The project's pages."""

from django.urls import path

from rooms.views import announce, say

urlpatterns = [path("rooms/<slug:name>/say/", say), path("news/<slug:text>/", announce)]
