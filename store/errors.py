"""What a caller of Redis must be ready for."""


class StoreUnavailable(Exception):
    """Redis did not answer: connection refused or lost, or no reply within the deadline.

    A write may or may not have happened. The caller tells its client to try again, or repeats an idempotent call.
    """
