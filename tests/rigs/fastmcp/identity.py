"""The identity provider of an enterprise. It rotates its refresh token strictly, and issues ID-JAGs that are signed."""

from __future__ import annotations

import secrets
import time
from collections import Counter
from typing import Any

from joserfc import jwt
from joserfc.jwk import RSAKey
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ID_JAG = "urn:ietf:params:oauth:token-type:id-jag"
ID_TOKEN = "urn:ietf:params:oauth:token-type:id_token"


class IdentityProvider:
    def __init__(self, issuer: str) -> None:
        self.issuer = issuer
        self.counts: Counter[str] = Counter()
        # The client of the person's programs at the MCP server. The provider of an enterprise knows it.
        self.client_id = ""
        self._key = RSAKey.generate_key(2048, parameters={"kid": "1", "use": "sig", "alg": "RS256"})
        self._refresh = "rt-0"
        self._is_ended = False

    def routes(self) -> list[Route]:
        return [
            Route("/.well-known/openid-configuration", self._metadata),
            Route("/jwks", self._jwks),
            Route("/token", self._token, methods=["POST"]),
        ]

    def id_token(self, lifetime: int = 300) -> str:
        claims = {"iss": self.issuer, "sub": "alice", "aud": "desktop", "nonce": secrets.token_hex(4)}
        return self._signed("JWT", claims, lifetime)

    def _signed(self, kind: str, claims: dict[str, Any], lifetime: int) -> str:
        now = int(time.time())
        header = {"alg": "RS256", "typ": kind, "kid": "1"}
        return jwt.encode(header, {**claims, "iat": now, "exp": now + lifetime}, self._key)

    async def _metadata(self, _: Request) -> JSONResponse:
        return JSONResponse(
            {
                "issuer": self.issuer,
                "token_endpoint": f"{self.issuer}/token",
                "jwks_uri": f"{self.issuer}/jwks",
                "grant_types_supported": ["refresh_token", EXCHANGE],
            }
        )

    async def _jwks(self, _: Request) -> JSONResponse:
        return JSONResponse({"keys": [self._key.as_dict(private=False)]})

    async def _token(self, request: Request) -> JSONResponse:
        form = await request.form()
        match form["grant_type"]:
            case "refresh_token":
                return self._refreshed(str(form["refresh_token"]))
            case kind if kind == EXCHANGE and form["subject_token_type"] == ID_TOKEN:
                return self._exchanged(form)
        return refused("unsupported_grant_type")

    def _refreshed(self, presented: str) -> JSONResponse:
        self.counts["refresh"] += 1
        if self._is_ended or presented != self._refresh:
            self.counts["replay"] += 1
            self._is_ended = True
            return refused("invalid_grant")
        self._refresh = f"rt-{self.counts['refresh']}"
        tokens = {"access_token": secrets.token_hex(8), "token_type": "Bearer", "expires_in": 300}
        return JSONResponse({**tokens, "refresh_token": self._refresh, "id_token": self.id_token()})

    def _exchanged(self, form: Any) -> JSONResponse:
        self.counts["exchange"] += 1
        try:
            subject = jwt.decode(form["subject_token"], self._key, algorithms=["RS256"]).claims
        except ValueError:
            return refused("invalid_grant")
        if subject["exp"] <= time.time() or form["requested_token_type"] != ID_JAG:
            return refused("invalid_grant")
        claims = {
            "iss": self.issuer,
            "sub": subject["sub"],
            "aud": form["audience"],
            "resource": form["resource"],
            "client_id": self.client_id,
            "scope": form.get("scope", ""),
            "jti": secrets.token_hex(16),
        }
        assertion = self._signed("oauth-id-jag+jwt", claims, 120)
        answer = {"access_token": assertion, "issued_token_type": ID_JAG, "token_type": "N_A", "expires_in": 120}
        return JSONResponse(answer)


def refused(error: str) -> JSONResponse:
    return JSONResponse({"error": error}, status_code=400)
