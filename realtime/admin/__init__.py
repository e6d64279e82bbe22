"""The cluster in Django's admin: instances, channels, users, connections, blocks and the outbox, live; a page each."""

from django.contrib import admin

from flotilla.admin_sites import group_pages
from flotilla.realtime.admin import blocks, channels, connections, instances, outbox, users  # noqa: F401

group_pages(admin.site)
