"""Small apps that use Flotilla, to read and to copy. `make run` serves them; nothing else installs them."""
