"""A small OpenID Connect provider, which tests can have lie."""

import contextlib
import datetime as dt
import http.server
import json
import threading
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey


class Provider(http.server.ThreadingHTTPServer):
    """A small OpenID Connect provider, which tests can have lie."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.issuer = f"http://127.0.0.1:{self.server_address[1]}"
        self.key = RSAKey.generate_key(2048, parameters={"kid": "one"})
        self.signing_key = self.key
        self.claims = {"preferred_username": "anna", "roles": ["radiologists"]}
        self.lies = {}
        self.algorithm = "RS256"
        self.asked = {}
        self.token_requests = []

    def id_token(self):
        """What it says of whoever logged in."""
        now = int(dt.datetime.now(dt.UTC).timestamp())
        claims = {
            "iss": self.issuer,
            "sub": "248289761001",
            "aud": "dicomnlp",
            "iat": now,
            "exp": now + 300,
            "nonce": self.asked["nonce"],
            **self.claims,
            **self.lies,
        }
        header = {"alg": self.algorithm, "kid": "one"}
        return jwt.encode(header, {k: v for k, v in claims.items() if v is not None}, self.signing_key)


class Handler(http.server.BaseHTTPRequestHandler):
    """Its description, its keys and its tokens."""

    def do_GET(self):
        """Description, keys, and the page where people log in: everybody is let in, and sent back at once."""
        server = self.server
        if self.path == "/keys":
            self.answer(KeySet([server.key]).as_dict(private=False))
        elif self.path.startswith("/authorize?"):
            server.asked = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
            back = urlencode({"code": "code", "state": server.asked["state"]})
            self.send_response(302)
            self.send_header("Location", f"{server.asked['redirect_uri']}?{back}")
            self.end_headers()
        else:
            self.answer(
                {
                    "issuer": server.lies.get("issuer", server.issuer),
                    "authorization_endpoint": f"{server.issuer}/authorize",
                    "token_endpoint": f"{server.issuer}/token",
                    "jwks_uri": f"{server.issuer}/keys",
                }
            )

    def do_POST(self):
        """A token for a code, if the verifier is that of the challenge."""
        from authlib.oauth2.rfc7636 import create_s256_code_challenge

        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.server.token_requests.append((form, self.headers.get("Authorization")))
        right = create_s256_code_challenge(form["code_verifier"][0]) == self.server.asked["code_challenge"]
        if form["code"] != ["code"] or not right:
            self.answer({"error": "invalid_grant"}, 400)
            return
        self.answer({"access_token": "x", "token_type": "Bearer", "id_token": self.server.id_token()})

    def answer(self, document, status=200):
        """JSON."""
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        """Nothing."""


@contextlib.contextmanager
def running_provider():
    """A provider that runs until the block ends."""
    server = Provider()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
