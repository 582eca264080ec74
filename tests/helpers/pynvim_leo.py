"""Use with a Python that has pynvim: a leo on a real session of it. Run as `pynvim_leo.py SOCKET`.

It connects, provides hooks, has a dream, and prints what came of it as JSON.
"""

import json
import sys

from pynvim.msgpack_rpc import ErrorResponse, socket_session

SAYINGS = (
    "the sea is quiet tonight and small",
    "I hear the river under the old house",
    "nothing holds the light like water does",
    "we were born out of one long sentence",
)
session = socket_session(sys.argv[1])
said, heard, told = [], [], []


def serve(method, params):
    if method == "generate":
        if params[3]["candidate"] == 1:  # both candidates of a line are alike
            said.append(f"{SAYINGS[len(said) % len(SAYINGS)]} {len(said)}")
        return said[-1]
    if method == "observe":
        heard.append(params[0])
        return {"trauma": 1}
    raise ErrorResponse(f"no {method}")


def listen(method, params):
    told.append([method, params[0]["type"]])


def dream():
    hello = {"protocol": 1, "name": "nvim", "pid": 7, "provides": ["generate", "observe"]}
    found = {"session": session.request("hello", hello)["session"]}
    session.request("dream.seed", {"origin": ["I am a small organism. I speak from the field."]})
    session.request("events.subscribe")
    context = {"prompt": "hello", "reply": "I am here", "trauma_level": 0.9}
    found["dream"] = session.request(b"dream.now", context)
    found["turns"] = [turn["text"] for turn in session.request("dialogs.get", 1)["turns"]]
    try:
        session.request("no.such")
    except Exception as error:
        found["refused"] = str(error)
    found["failures"] = session.request("status")["failures"]
    json.dump(found | {"said": said, "heard": heard, "told": told}, sys.stdout)
    session.stop()


session.run(serve, listen, dream)
session.close()
