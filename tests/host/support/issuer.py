"""Somebody else who makes tokens: RS256, with the public keys at an address on this machine (JWKS, RFC 7517)."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

KEY_ID = "the first key"


class Issuer:
    """Serves its keys, counts how often it was asked, and signs."""

    def __init__(self) -> None:
        self.asked = 0
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        public = RSAAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        body = json.dumps({"keys": [public | {"kid": KEY_ID, "use": "sig", "alg": "RS256"}]}).encode()
        issuer = self

        class Keys(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked += 1
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Keys)
        self.url = f"http://127.0.0.1:{self._server.server_port}/jwks.json"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def token(self, user: str) -> str:
        """A token for five minutes."""
        now = int(time.time())
        return _signed({"user_id": user, "iat": now, "exp": now + 300}, self._key)

    def forged_token(self, user: str) -> str:
        """The same, by somebody who has not its key and says to have it."""
        return _signed({"user_id": user}, rsa.generate_private_key(public_exponent=65537, key_size=2048))

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()


def _signed(claims: dict[str, Any], key: rsa.RSAPrivateKey) -> str:
    return jwt.encode(claims, key, algorithm="RS256", headers={"kid": KEY_ID})
