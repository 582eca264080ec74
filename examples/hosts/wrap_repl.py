"""Make a host of a REPL that prints one line for each that it reads, and answers ":say .." without learning."""

import json
import subprocess
import sys
import threading

repl = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
turn, heard = threading.Lock(), set()


def ask(line):
    with turn:  # the user and the dream take turns
        print(" ".join(line.split()), file=repl.stdin, flush=True)
        return repl.stdout.readline().strip()


def send(**message):
    print(json.dumps(message) + "\n", end="", flush=True)


def talk():
    for prompt in open("/dev/tty"):  # noqa: SIM115 - until the end
        words, reply = set(prompt.split()), ask(prompt)
        novelty = len(words - heard) / max(1, len(words))
        heard.update(words)
        print(reply, file=sys.stderr)
        send(context={"prompt": prompt.strip(), "reply": reply, "pulse": {"novelty": novelty}})


send(hello={"name": "repl", "provides": ["generate", "observe"]})
if sys.stderr.isatty():
    threading.Thread(target=talk, daemon=True).start()
for call in map(json.loads, sys.stdin):
    if "generate" in call:
        send(id=call["id"], text=ask(":say " + call["generate"]["seed"]))
    elif "observe" in call:
        ask(call["observe"]["text"])  # it learns the line, and its reply is dropped
        send(id=call["id"])
