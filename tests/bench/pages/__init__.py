"""A page of Django, the same for every server that serves pages beside its sockets."""
