"""The demo: rooms in the browser, and buttons that stop an instance to see that nobody notices."""
