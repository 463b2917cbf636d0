"""A key service as one writes it in Python: a dictionary, FastAPI, a structlog line and a bridge call per request."""

import json
import os
import time

import structlog
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from heare.stats.client import HttpClient
from pydantic import BaseModel

structlog.configure(
    processors=[
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso"),
        structlog.processors.JSONRenderer(),
    ],
    logger_factory=structlog.PrintLoggerFactory(),
)
log = structlog.get_logger()
app = FastAPI()

with open(os.environ["KEYS_FILE"]) as document:
    keys_by_secret = {key["secret"]: key for key in json.load(document)["keys"]}

bridge = None
if "DEST_PORT" in os.environ:
    bridge = HttpClient("127.0.0.1", int(os.environ["DEST_PORT"]), "secret", prefix="heare-auth")


class Presented(BaseModel):
    api_key: str


class Verified(BaseModel):
    valid: bool
    key_id: str
    name: str
    metadata: dict


@app.post("/verify", response_model=Verified)
async def verify(presented: Presented, request: Request):
    began = time.time()
    user_agent = request.headers.get("user-agent", "unknown")
    key = keys_by_secret.get(presented.api_key)
    count("success" if key else "failed", began)
    if key is None:
        log.warning("verification_failed", secret_prefix=presented.api_key[:4], user_agent=user_agent)
        refusal = {"valid": False, "error": "Invalid API key"}
        return JSONResponse({"detail": refusal}, status_code=403)
    log.info("verification_success", key_id=key["id"], key_name=key["name"], user_agent=user_agent)
    return Verified(valid=True, key_id=key["id"], name=key["name"], metadata=key["metadata"])


def count(outcome: str, began: float) -> None:
    if bridge is None:
        return
    with bridge.pipeline() as metrics:
        metrics.incr("verify.requests")
        metrics.incr(f"verify.{outcome}")
        metrics.time("verify.duration", (time.time() - began) * 1000)
