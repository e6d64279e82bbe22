"""Boards and tickets in the admin: what is changed or deleted here, the pages show at once."""

from django.contrib import admin

from .models import Board, Ticket

admin.site.register([Board, Ticket])
