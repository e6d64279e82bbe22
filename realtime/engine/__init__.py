"""How a publication travels: broker, history, hub, recovery. The only caller of the channel layer."""
