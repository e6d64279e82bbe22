"""How a publication travels: broker, history, hub, recovery, control. The only caller of the channel layer."""
