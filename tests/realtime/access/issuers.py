"""Token issuers of the tests: key pairs of every kind, tokens signed with them, and key sets as they are published."""

import base64
import hmac
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

MAKERS: dict[str, Callable[[], Any]] = {
    "rsa": lambda: rsa.generate_private_key(65537, 2048),
    "rsa-other": lambda: rsa.generate_private_key(65537, 2048),
    "rsa-short": lambda: rsa.generate_private_key(65537, 1024),
    "p256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "p521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "k256": lambda: ec.generate_private_key(ec.SECP256K1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "ed448": ed448.Ed448PrivateKey.generate,
}
KIND_OF = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), "rsa"),
    "ES256": "p256",
    "ES384": "p384",
    "ES512": "p521",
    "EdDSA": "ed25519",
}


@cache
def private(kind: str) -> Any:
    """The key of that name: made once, RSA takes its time."""
    return MAKERS[kind]()


def pem(kind: str) -> str:
    """Its public key."""
    made: bytes = private(kind).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return made.decode()


def private_pem(kind: str) -> str:
    made: bytes = private(kind).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return made.decode()


def token(algorithm: str, claims: dict[str, Any] | None = None, *, kind: str = "", **headers: Any) -> str:
    """A token of this issuer."""
    key = private(kind or KIND_OF[algorithm])
    body = json.dumps({"sub": "42"} if claims is None else claims).encode()
    return jwt.PyJWS().encode(body, key, algorithm=algorithm, headers=headers or None)


def hs256(secret: str, claims: dict[str, Any] | None = None, algorithm: str = "HS256") -> str:
    """Signed by hand: PyJWT refuses some of these secrets."""
    head, body = ({"alg": algorithm, "typ": "JWT"}, {"sub": "42"} if claims is None else claims)
    text = ".".join(segment(json.dumps(part).encode()) for part in (head, body))
    return f"{text}.{segment(hmac.digest(secret.encode(), text.encode(), 'sha256'))}"


def segment(data: bytes) -> str:
    """A part of a token."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def jwk(kind: str, **members: Any) -> dict[str, Any]:
    """A public key as a JWK; None takes a member out."""
    public = private(kind).public_key()
    writer: Any = RSAAlgorithm if kind.startswith("rsa") else ECAlgorithm if kind[0] in "pk" else OKPAlgorithm
    made = {**writer.to_jwk(public, as_dict=True), "kid": kind} | members
    return {name: value for name, value in made.items() if value is not None}


def key_set(*keys: dict[str, Any]) -> bytes:
    return json.dumps({"keys": list(keys)}).encode()


class Site:
    """An HTTP server on this machine. `answer` writes the whole response; `asked` has what came."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answer: Callable[[Any], None] = lambda handler: None
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._server.block_on_close = False
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/keys"

    def publish(self, *keys: dict[str, Any]) -> None:
        """Answer with these keys from now on."""
        self.serve(key_set(*keys))

    def serve(self, body: bytes, status: int = 200, **headers: str) -> None:
        def answer(handler: Any) -> None:
            handler.send_response(status)
            for name, value in headers.items():
                handler.send_header(name, value)
            handler.send_header("Content-Length", str(len(body)))
            handler.end_headers()
            handler.wfile.write(body)

        self.answer = answer

    def _handler(site) -> Any:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                site.asked.append(self.path)
                try:
                    site.answer(self)
                except OSError:
                    pass  # the asker has gone
                self.close_connection = True

            def log_message(self, *_: Any) -> None:
                pass

        return Handler

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def published(*keys: dict[str, Any]) -> Iterator[Site]:
    """An issuer's site with these keys."""
    site = Site()
    site.publish(*keys)
    try:
        yield site
    finally:
        site.close()
