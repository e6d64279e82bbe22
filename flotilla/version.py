"""The version of the distribution, as clients, the admin and metrics see it: written here and nowhere else."""

VERSION = "0.2.0"
