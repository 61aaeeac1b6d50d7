"""An OpenID provider on loopback that behaves, or misbehaves as a test asks."""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

CLIENT_ID, CLIENT_SECRET = "the-space", "the secret of the space"


@functools.cache
def make_key(number: int) -> rsa.RSAPrivateKey:
    """A key of that number; making one takes a while."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


class Provider:
    """`change` may change the claims of an ID token, `sign` replace how it is signed, `answers` what is answered at a
    path: (status, body), as JSON unless it is bytes. `seen` has the paths that were asked."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.key = make_key(1)
        self.change: Callable[[dict[str, Any]], object] = lambda claims: None
        self.sign: Callable[[dict[str, Any]], str] = self.sign_rightly
        self.answers: dict[str, tuple[int, Any]] = {}
        self.subject = "5f0c0f9b2d5c"
        self.seen: list[str] = []
        self._codes: dict[str, dict[str, str]] = {}

    def sign_rightly(self, claims: dict[str, Any]) -> str:
        return jwt.encode(claims, self.key, algorithm="RS256", headers={"kid": "one"})

    def describe(self) -> dict[str, str]:
        base = self.address
        return {
            "issuer": base,
            "authorization_endpoint": f"{base}/oauth/authorize",
            "token_endpoint": f"{base}/oauth/token",
            "jwks_uri": f"{base}/oauth/jwks",
        }

    def list_keys(self) -> dict[str, Any]:
        public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key()))
        return {"keys": [{**public, "kid": "one", "use": "sig", "alg": "RS256"}]}

    def authorize(self, address: str) -> str:
        """What the provider sends the browser back to, once the user agreed at `address`."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
        assert asked["client_id"] == CLIENT_ID
        assert asked["code_challenge_method"] == "S256"
        code = f"code-{len(self._codes)}"
        self._codes[code] = asked
        return f"{asked['redirect_uri']}?code={code}&state={asked['state']}"

    def exchange(self, form: dict[str, str], authorization: str) -> tuple[int, Any]:
        """The token endpoint: a code once, for the client that got it, with the verifier of its challenge."""
        basic = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        asked = self._codes.pop(form.get("code", ""), None)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
        fits = (
            asked is not None
            and asked["code_challenge"] == challenge.decode().rstrip("=")
            and asked["redirect_uri"] == form.get("redirect_uri")
            and authorization == f"Basic {basic}"
        )
        if asked is None or not fits:
            return 400, {"error": "invalid_grant"}
        now = int(time.time())
        claims = {
            "iss": self.address,
            "aud": CLIENT_ID,
            "sub": self.subject,
            "iat": now,
            "exp": now + 300,
            "nonce": asked["nonce"],
        }
        self.change(claims)
        return 200, {"access_token": "opaque", "token_type": "bearer", "id_token": self.sign(claims)}

    def answer(self, path: str, form: dict[str, str], authorization: str) -> tuple[int, Any]:
        self.seen.append(path)
        if path in self.answers:
            return self.answers[path]
        match path:
            case "/.well-known/openid-configuration":
                return 200, self.describe()
            case "/oauth/jwks":
                return 200, self.list_keys()
            case "/oauth/token":
                return self.exchange(form, authorization)
        return 404, {}


@contextlib.contextmanager
def serve_provider() -> Iterator[Provider]:
    """A provider on a free port."""

    class Handler(BaseHTTPRequestHandler):
        disable_nagle_algorithm = True  # or each body waits 40 ms for the acknowledgement of its head

        def do_GET(self) -> None:
            self._answer({})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
            self._answer({name: values[0] for name, values in parse_qs(body).items()})

        def _answer(self, form: dict[str, str]) -> None:
            status, found = provider.answer(urlsplit(self.path).path, form, self.headers.get("Authorization", ""))
            body = found if isinstance(found, bytes) else json.dumps(found).encode()
            self.send_response(status)
            if status in (301, 302, 307):
                self.send_header("Location", f"{provider.address}/elsewhere")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with contextlib.suppress(OSError):  # whoever asked had enough
                self.wfile.write(body)

        def log_message(self, *args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    provider = Provider(f"http://127.0.0.1:{server.server_port}")
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()
