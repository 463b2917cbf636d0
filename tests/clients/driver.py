"""Uses the Python client as the tests say: the first line of stdin is its settings, each further one a list of questions
that are asked all at once, or "forget". Each list is answered by a line."""

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../../clients/python"))
import heare_auth

SECONDS = ("max_age", "max_age_refused", "attempt", "total")


def client(settings):
    url = settings.pop("url")
    names = {"attempt": "attempt_seconds", "total": "total_seconds"}
    options = {names.get(name, name): value / 1000 if name in SECONDS else value for name, value in settings.items()}
    return heare_auth.Client(url, **options)


def ask(asked):
    try:
        return asking.verify(**asked).answer
    except heare_auth.NotAllowed as refusal:
        wait, scopes = refusal.retry_after, list(refusal.required_scopes)
        return {"code": refusal.code, "status": refusal.status, "retry_after": wait, "required_scopes": scopes}


asking = client(json.loads(sys.stdin.readline()))
with ThreadPoolExecutor(64) as threads:
    for line in sys.stdin:
        questions = json.loads(line)
        if questions == "forget":
            asking.forget_all()
            print("[]", flush=True)
        else:
            print(json.dumps(list(threads.map(ask, questions))), flush=True)
