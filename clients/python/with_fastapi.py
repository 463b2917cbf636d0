"""A FastAPI application that lets in whoever has an API key of heare-auth: needs Python 3.10, `fastapi`, and heare_auth.py beside it."""

from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.security import APIKeyHeader

import heare_auth

app = FastAPI()
auth = heare_auth.Client()  # Reads HEARE_AUTH_URL.
api_key_header = APIKeyHeader(name="X-API-Key", auto_error=False)


def key_with(*scopes):
    """A dependency on a key that has all of these scopes."""

    # FastAPI runs a plain `def` on a thread of its own, so that waiting for an answer stops nobody else.
    def dependency(request: Request, api_key: Annotated[str | None, Depends(api_key_header)]) -> heare_auth.Key:
        # Behind a proxy, uvicorn's --forwarded-allow-ips makes this the address of the client.
        client_ip = request.client.host if request.client else None
        try:
            return auth.verify(api_key or "", client_ip=client_ip, required_scopes=scopes)
        except heare_auth.NotAllowed as refusal:
            headers = {"WWW-Authenticate": "ApiKey"} if refusal.status == 401 else {}
            if refusal.retry_after is not None:
                headers["Retry-After"] = str(refusal.retry_after)
            raise HTTPException(refusal.status, refusal.code, headers) from None

    return dependency


@app.get("/whoami")
def whoami(key: Annotated[heare_auth.Key, Depends(key_with())]):
    return {"key_id": key.key_id, "name": key.name}


@app.get("/orders")
def orders(key: Annotated[heare_auth.Key, Depends(key_with("orders:read"))]):
    return {"orders": [], "for": key.name}
