"""The workers: one for each place, and a prepared one that waits. Kept alive, and exchanged.

A *place* is a set of queues and a slot of shared memory; a *member* is a process that serves it. A
member is forked with the tables of a policy, prepares itself and waits for an order, so the same few
steps replace a dead member, a silent one, and one whose policy is no longer the newest.
"""

from __future__ import annotations

import contextlib
import enum
import math
import socket
import time
from collections import deque
from collections.abc import Callable, Container
from dataclasses import dataclass, field

from conduitfw.policy.compile import Tables
from conduitfw.runtime import child
from conduitfw.runtime.messages import EngineKind, Notifier, Order, Report, pair, receive, send
from conduitfw.runtime.shared import Slot

QUICK = 0.1  # seconds: a member that served for less is part of a crash loop
WINDOW = 10.0  # seconds in which quick deaths are counted
PATIENCE = 3  # quick deaths before the next fork waits; whoever is ready serves at once
LONGEST_WAIT = 1.0  # seconds
HOPELESS = 8  # quick deaths in the window: no worker can be kept alive
PROVEN = 1.0  # seconds of service after which one can
CALM = 0.05  # seconds after an exchange or a death in which what is not urgent waits
STARVED = 5  # times the silence that is allowed: then it is replaced, whatever it waits for
PREPARATION = 30.0  # seconds for a member to become ready, or to begin to serve

Run = Callable[[Tables, socket.socket], None]


class MemberState(enum.Enum):
    """Where a member stands."""

    PREPARING = "preparing"
    READY = "ready"
    ORDERED = "ordered"  # told to serve
    SERVING = "serving"
    LEAVING = "leaving"  # told to leave
    LEFT = "left"  # serves no more; its process is about to end
    KILLED = "killed"  # by us, for its silence


@dataclass
class Member:
    """One worker process. `since`: when it entered its state (CLOCK_MONOTONIC)."""

    pid: int
    end: socket.socket
    state: MemberState
    since: float
    served_since: float | None = None

    def enter(self, state: MemberState, now: float) -> None:
        """Change the state."""
        self.state, self.since = state, now
        if state is MemberState.SERVING:
            self.served_since = now


@dataclass
class Place:
    """What one member serves at a time."""

    index: int
    slot: Slot
    member: Member | None = None
    heir: Member | None = None  # of a new policy, until the member has left
    restarts: int = 0
    succeeds: bool = False  # a program before this one has served it
    silent_since: float = 0.0  # the heartbeat behind which a silence was first seen, ...
    ran_then: float = 0.0  # ... and how much processor time the member had had by then


@dataclass
class Pool:
    """All places, the spare member, and the rules by which they are filled."""

    places: list[Place]
    tables: Tables
    run: Run  # what a forked member does
    notifier: Notifier
    silence: float  # seconds without a heartbeat after which a member is killed
    spare: Member | None = None
    next_start: float = 0.0
    _quick_deaths: deque[float] = field(default_factory=deque)
    _parting: list[Member] = field(default_factory=list)  # who serves no more, and ends when nobody waits to serve
    _dying: list[tuple[Place, Member]] = field(default_factory=list)  # dead, and the kernel is at it still
    _exchanging: bool = False
    _calm_at: float = 0.0  # from when on nobody minds what else is done

    # --- what the supervisor asks -----------------------------------------------------------------

    @property
    def serving(self) -> bool:
        """Whether every place is served."""
        return all(place.member is not None and place.member.state is MemberState.SERVING for place in self.places)

    def hopeless(self, now: float) -> bool:
        """Whether no worker can be kept alive."""
        while self._quick_deaths and now - self._quick_deaths[0] > WINDOW:
            self._quick_deaths.popleft()
        return len(self._quick_deaths) >= HOPELESS

    def proven(self, now: float) -> bool:
        """Whether every place has been served long enough to rely on it."""
        return self.serving and all(place.member and now - place.member.since >= PROVEN for place in self.places)

    @property
    def settled(self) -> bool:
        """Whether nobody is about to begin, or to end."""
        return self.serving and self.spare is not None and not self._parting and self.buried

    @property
    def buried(self) -> bool:
        """Whether whoever died is told of."""
        return not self._dying

    def descriptors(self) -> list[int]:
        """What to poll: something to read there means that `step` has work."""
        return [member.end.fileno() for member in self._members()]

    def _members(self) -> list[Member]:
        of_places = [member for place in self.places for member in (place.member, place.heir) if member is not None]
        return [*of_places, *([self.spare] if self.spare is not None else []), *self._parting]

    def until_silent(self, now: float) -> float:
        """Seconds until a member that serves has been silent for too long, if it goes on; infinite where none serves.

        One that is so already is looked at in every step, and does not count.
        """
        left = (
            place.slot.heartbeat + self.silence - now
            for place in self.places
            if place.member is not None and place.member.state is MemberState.SERVING
        )
        return min((each for each in left if each > 0), default=math.inf)

    # --- one step of the loop ---------------------------------------------------------------------

    def step(self, now: float, on_time_since: float, spoke: Container[int] | None = None) -> None:
        """Hear reports, bury the dead, end the silent, fill what is empty.

        `spoke`: which of `descriptors` have something to read; None: any may. `on_time_since`: since when the
        supervisor's own steps came on time. A machine that stood still made everybody silent, and kills nobody.
        """
        for member in self._members():
            if spoke is None or member.end.fileno() in spoke:
                self._hear(member, now)
        for place in self.places:
            self._look_after(place, now, on_time_since)
        if self.spare is not None and self._has_died(self.spare, now):
            self.spare = None
        self._dying = [each for each in self._dying if not self._is_buried(*each)]
        # Ends and forks take the kernel a core for milliseconds: not while somebody begins to serve.
        calm = not self._exchanging and now >= self._calm_at
        if calm:
            for member in self._parting:
                child.kill(member.pid)
        self._parting = [member for member in self._parting if not self._has_gone(member)]
        for place in self.places:
            self._refill(place, now)
        if self.spare is None and calm and now >= self.next_start and self.serving:
            self.spare = self._fork(self.tables, now)
        if self._exchanging and self.exchanged():
            self._exchanging, self._calm_at = False, now + CALM

    def follow(self, place: Place, now: float) -> bool:
        """Where who served it is dead, let the spare follow at once; gives whether it does. All else is left to `step`.

        It forks nobody and tells nobody, so any thread may call it, while nobody else uses the pool.
        """
        dead = place.member
        if dead is None or self.spare is None or self._exchanging or not self._is_broken(place):
            return False
        self._replace_dead(place, dead, now)
        self._dying.append((place, dead))
        return True

    def _hear(self, member: Member, now: float) -> bool:
        """Take in what a member reports; gives whether it has left."""
        while data := receive(member.end):
            if data == Report.READY and member.state is MemberState.PREPARING:
                member.enter(MemberState.READY, now)
            elif data == Report.LEFT:
                member.enter(MemberState.LEFT, now)
        return member.state is MemberState.LEFT

    def _see_begin(self, place: Place, member: Member) -> None:
        if member.state is MemberState.ORDERED and (since := place.slot.served_since):
            member.enter(MemberState.SERVING, since)

    def _look_after(self, place: Place, now: float, on_time_since: float) -> None:
        if place.heir is not None and self._has_died(place.heir, now):
            place.heir = None
        member = place.member
        if member is None:
            return
        self._see_begin(place, member)
        if member.state is MemberState.LEFT:
            place.member = None
            self._parting.append(member)
            self._fill(place, Order.SERVE, now)
            return
        ended = child.reap(member.pid)
        if ended is not None or self._is_broken(place):
            self._replace_dead(place, member, now)
            # Packets wait: it is told when another has its order.
            if not self._is_buried(place, member, ended):
                self._dying.append((place, member))
            return
        allowed = self.silence if member.state in (MemberState.SERVING, MemberState.LEAVING) else PREPARATION
        beat = place.slot.heartbeat
        silent = now - max(beat, on_time_since)
        if silent > allowed / 3 and beat != place.silent_since:
            place.silent_since, place.ran_then = beat, child.ran(member.pid)
        if allowed < silent <= STARVED * allowed and child.runnable(member.pid):
            # Who only waits for a processor is not hung: another in its place would wait as long.
            ran = child.ran(member.pid)
            if ran and ran - place.ran_then < allowed / 3:
                return
        if member.state is not MemberState.KILLED and silent > allowed:
            member.enter(MemberState.KILLED, now)
            self.notifier.engine(EngineKind.WORKER_SILENT, place=place.index, pid=member.pid, seconds=allowed)
            child.kill(member.pid)  # reaped by a later step: a place is filled only when it is dead

    def _is_broken(self, place: Place) -> bool:
        """Whether who served it is dead, and perhaps not buried."""
        member = place.member
        return member is not None and place.slot.lifeline.broken

    def _replace_dead(self, place: Place, member: Member, now: float) -> None:
        child.make_way(member.pid)
        self._calm_at = now + CALM
        self._see_begin(place, member)  # what it did last, ...
        left = self._hear(member, now)  # ... and said
        place.member = None
        if not left:
            place.restarts += 1
            self._delay_after_death(now, quick=member.served_since is None or now - member.served_since < QUICK)
        if left or (self._exchanging and place.heir is not None):
            self._fill(place, Order.SERVE if left else Order.TAKE_OVER, now)
        else:
            self._refill(place, now)

    def _is_buried(self, place: Place, member: Member, ended: str | None = None) -> bool:
        ended = ended or child.reap(member.pid)
        if ended is None:
            return False
        member.end.close()
        if member.state is not MemberState.LEFT:
            self.notifier.engine(EngineKind.WORKER_DEATH, place=place.index, pid=member.pid, ended=ended)
        return True

    def _has_died(self, member: Member, now: float) -> bool:
        """For members that wait: dead, or not ready in time."""
        if member.state is MemberState.PREPARING and now - member.since > PREPARATION:
            child.kill(member.pid)
        if (ended := child.reap(member.pid)) is None:
            return False
        member.end.close()
        self.notifier.engine(EngineKind.WORKER_DEATH, place=-1, pid=member.pid, ended=ended)
        self._delay_after_death(now, quick=member.state is MemberState.PREPARING)
        return True

    def _has_gone(self, member: Member) -> bool:
        if child.reap(member.pid) is None:
            return False
        member.end.close()
        return True

    def _delay_after_death(self, now: float, *, quick: bool) -> None:
        if not quick:
            return
        self._quick_deaths.append(now)
        self.hopeless(now)  # forgets old ones
        excess = len(self._quick_deaths) - PATIENCE
        if excess > 0:
            self.next_start = now + min(LONGEST_WAIT, 0.05 * 2 ** min(excess - 1, 10))

    def forgive(self) -> None:
        """A worker lives: earlier deaths count no more."""
        self._quick_deaths.clear()

    # --- filling a place --------------------------------------------------------------------------

    def _fork(self, tables: Tables, now: float) -> Member:
        ours, theirs = pair()

        def main() -> None:
            ours.close()
            self.run(tables, theirs)

        pid = child.fork("cfw-worker", main)
        theirs.close()
        return Member(pid, ours, MemberState.PREPARING, now)

    def _refill(self, place: Place, now: float) -> None:
        """A crash loop delays forks, never a spare that is there: the queue is served as long as anybody can."""
        if place.member is None and (self.spare is not None or now >= self.next_start):
            self._fill(place, Order.TAKE_OVER if place.restarts or place.succeeds else Order.SERVE, now)

    def _fill(self, place: Place, order: Order, now: float) -> None:
        """Let the heir, else the spare, else a new member serve. It reads the order as soon as it is ready."""
        if self._exchanging and place.heir is not None:
            member, place.heir = place.heir, None
        elif self.spare is not None:
            member, self.spare = self.spare, None
        else:
            member = self._fork(self.tables, now)
        place.slot.beat(now)
        place.slot.served_since = 0.0
        place.slot.lifeline.mend()
        send(member.end, order + bytes((place.index,)))
        member.enter(MemberState.ORDERED, now)
        place.member = member

    # --- taking up --------------------------------------------------------------------------------

    def adopt(self, place: Place, pid: int, end: socket.socket, restarts: int, now: float) -> None:
        """A worker of the program before this one serves the place."""
        place.member = Member(pid, end, MemberState.SERVING, now, served_since=now)
        place.restarts = restarts

    # --- a new policy -----------------------------------------------------------------------------

    def prepare(self, tables: Tables, now: float) -> None:
        """Fork an heir for every place, with the new tables. Those who serve go on."""
        self.cancel()
        for place in self.places:
            place.heir = self._fork(tables, now)

    def prepared(self) -> bool | None:
        """Whether all heirs wait for their order; None where one has died."""
        heirs = [place.heir for place in self.places]
        if any(heir is None for heir in heirs):
            return None
        return all(heir is not None and heir.state is MemberState.READY for heir in heirs)

    def cancel(self) -> None:
        """Give the heirs up."""
        for place in self.places:
            if place.heir is not None:
                child.kill(place.heir.pid)
                self._parting.append(place.heir)
                place.heir = None

    def exchange(self, tables: Tables, now: float) -> None:
        """The new policy is the policy: every member finishes its packet and leaves, its heir goes on.

        Two policies never decide for one place at a time, and what arrives between them waits in the
        kernel's queue.
        """
        self.tables = tables
        self._exchanging = True
        if self.spare is not None:
            self._parting.append(self.spare)
            self.spare = None
        for place in self.places:
            if place.member is None:
                self._fill(place, Order.TAKE_OVER, now)
            else:
                send(place.member.end, Order.LEAVE)
                self._see_begin(place, place.member)
                if place.member.state is MemberState.SERVING:
                    place.member.enter(MemberState.LEAVING, now)
                else:  # it was about to begin with the old policy
                    child.kill(place.member.pid)

    def exchanged(self) -> bool:
        """Whether the new policy decides at every place."""
        return self.serving and not any(place.heir for place in self.places)

    def stop(self, within: float) -> None:
        """Let everybody finish the packet in hand and end; after `within` seconds kill who has not."""
        for member in self._members():
            send(member.end, Order.LEAVE)
            with contextlib.suppress(OSError):  # one that is dead already
                member.end.shutdown(socket.SHUT_WR)
        deadline = time.monotonic() + within
        left = {member.pid for member in (*self._members(), *(member for _, member in self._dying))}
        while left:
            left = {pid for pid in left if child.reap(pid) is None}
            if left and time.monotonic() > deadline:
                for pid in left:
                    child.kill(pid)
            if left:
                time.sleep(0.002)
