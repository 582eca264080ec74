"""Turns: sessions that have sent several messages at once are served one after another, for a short time in each round
of the loop, and all of them together for a part of the time.

A message that comes alone, as the answer of a hook does, is served when it is read. From there to the next hook call a
dialogue takes about eight rounds of the loop and two transactions. Between two turns of a flood the loop rests, so that
it delays one or two of these rounds, and not each of them. Each round is followed by a rest, also the first ones of
many short floods. The loop does not rest if all that are connected wait for turns.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Sized
from math import inf
from typing import Protocol

from dreamd.clock import Clock

ROUND_S = 0.0003  # in one round of the loop, which itself takes 0.007 ms
ROUND_EVENTS = 100  # in one round, also if the clock stands still, as in a simulation
SHARE = 1 / 5  # of the time, while another session is connected
TASK_S = 0.0005  # what the task of a call takes, of which a round begins one at most
REST_S = 0.005  # a rest is at most this long, so that a round in which the machine stood still costs no more


class Takes(Protocol):
    """The part of a session that has turns."""

    def take_turn(self) -> None: ...

    def abort(self) -> None: ...


class Turns:
    """Those of the sessions of a server that wait for a turn, in their order."""

    def __init__(self, clock: Clock = Clock(), sessions: Sized = ()) -> None:
        self._now = clock.monotonic
        self._sessions = sessions
        self._waiting: OrderedDict[Takes, None] = OrderedDict()
        self._until = -inf  # the end of the round
        self._events = 0  # of the round
        self._task_s = 0.0  # what a task takes that began in the round
        self._rest_until = -inf
        self._is_due = False  # `_serve` will be called

    def wait(self, session: Takes) -> None:
        """Give a session a turn, after those that wait already."""
        self._waiting[session] = None
        if not self._is_due:
            self._is_due = True
            self._call_later()

    def _call_later(self) -> None:
        loop, rest_s = asyncio.get_running_loop(), self._rest_until - self._now()
        if rest_s > 0 and len(self._sessions) > len(self._waiting):
            loop.call_later(rest_s, self._serve)
        else:
            loop.call_soon(self._serve)

    def _serve(self) -> None:
        began = self._now()
        self._until, self._events, self._task_s = began + ROUND_S, 0, 0.0
        try:
            self._serve_round()
        finally:
            now = self._now()
            self._rest_until = min(began + (now - began + self._task_s) / SHARE, now + REST_S)
            self._is_due = bool(self._waiting)
            if self._is_due:
                self._call_later()

    def _serve_round(self) -> None:
        while self._waiting:
            session, _ = self._waiting.popitem(last=False)
            try:
                session.take_turn()
            except BaseException:
                session.abort()  # as its transport does after an error in `data_received`; the loop reports it
                raise
            if self.is_over():
                break

    def is_over(self) -> bool:
        """Count an event that was served, and return whether the round is over."""
        self._events += 1
        return self._events >= ROUND_EVENTS or self._now() >= self._until

    def end(self) -> None:
        """End the round, because the task that makes an answer takes its time in the next one."""
        self._until, self._task_s = -inf, TASK_S
