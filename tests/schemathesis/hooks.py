"""What schemathesis cannot know from the document: texts of our own formats, and rules between two values."""

import base64
import json
import os
import random
import uuid

import schemathesis
from hypothesis import strategies as st

networks = st.one_of(
    st.ip_addresses().map(str),
    st.tuples(st.ip_addresses(v=4), st.integers(0, 32)).map("{0[0]}/{0[1]}".format),
    st.tuples(st.ip_addresses(v=6), st.integers(0, 128)).map("{0[0]}/{0[1]}".format),
)
schemathesis.openapi.format("ip-network", networks)

marks = st.tuples(st.integers(0, 2**40), st.integers(0, 1000), st.text(max_size=10))
cursors = marks.map(lambda mark: base64.urlsafe_b64encode(json.dumps(mark).encode()).decode().rstrip("="))
schemathesis.openapi.format("cursor", cursors)


def whole(value):
    """To JSON Schema 5.0 is an integer; here a whole number is written without a point."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [whole(item) for item in value]
    if isinstance(value, dict):
        return {name: whole(item) for name, item in value.items()}
    return value


@schemathesis.hook
def before_call(context, case, kwargs):
    if isinstance(case.body, (dict, list)) and json.dumps(body := whole(case.body)) != json.dumps(case.body):
        case.body = body
    if case.path == "/api/v1/keys/validate" and isinstance(case.body, dict) and isinstance(case.body.get("api_key"), str):
        # The key in the header is another one, and two different keys are refused.
        del case.body["api_key"]
    if case.headers and isinstance(case.headers.get("Idempotency-Key"), str):
        # The same one with another body is refused.
        case.headers["Idempotency-Key"] += uuid.uuid4().hex if len(case.headers["Idempotency-Key"]) < 200 else ""
    if case.path.startswith("/api/v1/auth/keys/") and random.random() < 0.5:
        # The key that there is; otherwise one that nobody has.
        case.path_parameters["id"] = os.environ["KEY_ID"]
    if case.path == "/api/sessions/{id}":
        # The list has shown which one is the user's own, who stays logged in.
        case.path_parameters["id"] = uuid.uuid4().hex
