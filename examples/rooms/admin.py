"""Rooms in the admin. Who takes a member out of a room here ends that member's subscription at once."""

from django.contrib import admin

from .models import Membership, Message, Room


class Members(admin.TabularInline):  # type: ignore[type-arg]
    """The members of a room."""

    model = Membership
    extra = 0


@admin.register(Room)
class RoomAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """A room and its members."""

    inlines = [Members]


@admin.register(Message)
class MessageAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """What was said; what is said here reaches the room as well."""

    list_display = ["text", "room", "author", "at"]
