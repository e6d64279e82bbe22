"""The processes that serve: Daphne and its extension, the supervisor of several, drain, and the embedded Redis."""
