"""A Django app with a live model, for the tests of pages that show it."""
