"""Exit status 0 when the instance in this container should get clients; the reason why not goes to Docker's log.

Standard library only, and little of it: it is started every few seconds (`python -I -S deploy/healthcheck.py`).
"""

import socket
import sys

ADDRESS = ("127.0.0.1", 8000)
WITHIN = 2.5  # seconds: longer than any check behind it may take

try:
    with socket.create_connection(ADDRESS, WITHIN) as connection:
        connection.sendall(b"GET /health/ready HTTP/1.0\r\nHost: localhost\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
except OSError as error:
    sys.exit(f"no answer: {error}")
if b" 200 " not in answer.partition(b"\r\n")[0]:
    sys.exit(answer.decode(errors="replace"))
