"""What goes into FLOTILLA["namespaces"]: who may see a board, and what is kept for those who were away."""

NAMESPACES = {
    "tickets": {
        "allow_subscribe_for_client": True,  # everybody who has logged in
        "history_size": 300,
        "history_ttl": "10m",
        "force_recovery": True,
    }
}
