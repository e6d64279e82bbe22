"""A child for the supervisor that starts in no time: answers each connection with its name and process id.

How it behaves is said by TINY in its environment: `fails` (ends at once), `deaf` (ignores SIGTERM), `slow` (is never
ready), `last-words` (says something when it ends).
"""

import os
import signal
import socket
import sys

MODE = os.environ.get("TINY", "")


def end(*_: object) -> None:
    if MODE == "last-words":
        print("good-bye", flush=True)
    os._exit(0)


def main() -> None:
    if MODE == "fails":
        sys.exit(3)
    signal.signal(signal.SIGTERM, signal.SIG_IGN if MODE == "deaf" else end)
    listener = socket.socket(fileno=int(sys.argv[1]))
    listener.listen(128)
    print(f"serving as {os.environ['INSTANCE_ID']} with metrics at {os.environ['METRICS_PORT']}", flush=True)
    if MODE != "slow":
        os.write(int(os.environ["FLOTILLA_READY_FD"]), f"life-of-{os.getpid()}\n".encode())
    while True:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(f"{os.environ['INSTANCE_ID']} {os.getpid()}".encode())


main()
