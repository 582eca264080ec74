"""A stand-in for leo: the small field behind the hooks of a client."""

import threading

from dreamclient.messages import DreamContext, PulseSnapshot

from dreamd.ctl.stand_in.field import TrigramField

SENTENCES = 4  # offered for each line: the daemon chooses those that answer the line before


class StandInLeo:
    """A field with a lock, so that two threads may use it."""

    def __init__(self, field: TrigramField) -> None:
        self._field = field
        self._lock = threading.Lock()

    def generate(self, seed: str, temperature: float, semantic_weight: float) -> str:
        """Return a line of a dream (the hook `generate`)."""
        with self._lock:
            return self._field.generate(seed, temperature, semantic_weight, count=SENTENCES)

    def observe(self, text: str) -> dict[str, float]:
        """Observe a line and return how it felt, measured before it was observed (the hook `observe`)."""
        with self._lock:
            felt = self._field.pulse(text)
            self._field.observe(text)
        return felt

    def answer(self, prompt: str) -> DreamContext:
        """Reply to a prompt, observe both, and return the context that leo offers to the daemon."""
        with self._lock:
            reply = self._field.reply(prompt)
            felt = self._field.pulse(f"{prompt} {reply}")
            self._field.observe(prompt)
            self._field.observe(reply)
        return DreamContext(prompt, reply, pulse=PulseSnapshot(**felt))
