"""The chat of the Channels tutorial, as it stands there: what Flotilla is compared with as stock Channels."""
