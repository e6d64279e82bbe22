"""The permission hook of a drill's installation: a project has some, so what is drilled has one."""

from typing import Any


async def everybody(user: Any, channel: str, info: Any) -> bool:
    """Yes, to whomever."""
    return True
