"""For programs that have `requests` already: a question to heare-auth in one function, without memory and retries.

    echo "$KEY" | HEARE_AUTH_URL=http://localhost:8080 python3 with_requests.py
"""

import os
import sys

import requests

session = requests.Session()
session.trust_env = False  # No proxy of the environment gets keys.


def verify(api_key):
    """What the service says about a good key, else None: also when nobody could say."""
    url = os.environ.get("HEARE_AUTH_URL", "http://localhost:8080") + "/verify"
    try:
        # A redirect would carry the key elsewhere. Each time is for connecting and for each piece of the answer.
        answer = session.post(url, json={"api_key": api_key}, timeout=(1, 2), allow_redirects=False)
        said = answer.json() if answer.status_code == 200 else {}
    except requests.RequestException:
        return None
    return said if isinstance(said, dict) and said.get("valid") is True else None


if __name__ == "__main__":
    key = verify(sys.stdin.readline().strip())
    print(key["name"] if key else "not allowed")
    sys.exit(0 if key else 1)
