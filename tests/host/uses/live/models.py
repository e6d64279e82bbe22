receipts: list[int] = []
"""The orders for which a receipt was sent: what has to happen after the commit, whatever became of publications."""
