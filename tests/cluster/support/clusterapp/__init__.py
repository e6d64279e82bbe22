"""A Django app of a project that uses Flotilla: what the cluster tests find behind the instances they start."""
