"""The version of this package, as clients, the admin and metrics see it."""

VERSION = "0.2.0"
