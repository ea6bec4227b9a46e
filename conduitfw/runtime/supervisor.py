"""The supervisor: owns the ruleset and the bound queues, keeps the others alive. Reads no packet.

It blocks in one place only, for at most TICK seconds, and does little enough there that its own ticks
come on time: a worker's silence counts only while they do.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import msgspec

from conduitfw import __version__, build
from conduitfw.flow import FlowTable
from conduitfw.kernel.guard import Owned
from conduitfw.kernel.netlink_queue import TRANSPORT, NetlinkQueue
from conduitfw.kernel.staging import Staging
from conduitfw.policy import ledger
from conduitfw.policy.compile import Tables, compile_policy
from conduitfw.policy.model import Policy
from conduitfw.runtime import child, control, privileges
from conduitfw.runtime.candidate import Examine, Trial
from conduitfw.runtime.hand import Transmitter
from conduitfw.runtime.handover import LAYOUT, Check, Handover, Memory, Serving, TakingUp, adopted, deposit, leave
from conduitfw.runtime.keeping import InForce, Keeping
from conduitfw.runtime.load import Load
from conduitfw.runtime.messages import EngineKind, Notifier, Sink, receive, send, wide_pair
from conduitfw.runtime.pool import Place, Pool
from conduitfw.runtime.reload import Reload
from conduitfw.runtime.service_manager import ServiceManager
from conduitfw.runtime.shared import Counter, Shared
from conduitfw.runtime.worker import Post, Worker

TICK, TICK_UNDER_WAY = 0.1, 0.05  # seconds: as a rule, and while something is awaited
LATE = 0.07  # seconds more than that between two steps, from which on the supervisor itself was held up
CONTROL_LIVED = 1.0  # seconds after which its death is no part of a row
CONTROL_SILENCE = 30.0  # seconds: control may wait for a slow disk; nothing depends on it
CONTROL_FINISHES_WITHIN = 2.0  # seconds, at an upgrade
TELLERS = 8
ANNOUNCED_WITHIN = 5  # seconds; what nobody has read by then stays untold
LOOK = 0.1  # seconds between two looks at the ruleset
_REINSTALL_AFTER = 1.0
CHANGES_IN_EVENT = 100
_FINISH = msgspec.msgpack.encode({"id": -1, "command": "finish"})  # to control: write what there is, and end


class Host(Protocol):
    """What the supervisor asks of the kernel (runtime/host.py)."""

    def bind(self, held: Mapping[int, int]) -> Sequence[NetlinkQueue]:
        """Bind the queues, as many for each place, place by place; raises OSError where somebody else holds one.

        `held`: descriptors of those that the program before this one has bound, by number.
        """

    def hand_over(self) -> Owned:
        """The guard, for the program that takes this one's place."""

    def adopt(self, guard: Owned) -> None:
        """Take it, before anything is installed."""

    def stage(self, policy: Policy, *, static: bool, per_source: int = 0) -> Staging:
        """What of a ruleset can be brought before it is installed, and takes long."""

    def install(self, policy: Policy, *, static: bool, per_source: int = 0) -> None:
        """Load the ruleset in one transaction; raises OSError. `static`: no engine for fail-static conduits.

        `per_source`: packets per second that one source may have queued; 0: no limit.
        """

    def watched(self) -> int:
        """A descriptor: something to read there means that somebody has changed something."""

    def disturbance(self) -> tuple[str, str] | None:
        """What of the ruleset somebody has changed, and who; None where all stands as it was loaded."""

    def restore(self, policy: Policy, *, static: bool, per_source: int = 0) -> None:
        """Load it again over whatever somebody has made of it; raises OSError."""

    def close(self) -> None:
        """Let go of what only a living supervisor holds; in a child of it, of the child's share. The ruleset stays."""

    def remove(self) -> None:
        """Take out everything that `install` brought."""

    def transmitter(self) -> Transmitter:
        """What sends packets of our own: opened once, and used by whoever serves."""

    def describe(self) -> dict[str, Any]:
        """Where it stands, for `status`: bridge, queue numbers, how packets reach the queue."""

    def counters(self) -> dict[str, dict[str, int]]:
        """The ruleset's counters, for `status`; called in a process of its own."""


@dataclass(frozen=True)
class Settings:
    """What the operator chose."""

    paths: tuple[str, ...]
    socket_path: str
    workers: int = 1
    silence: float = 0.2  # seconds without a heartbeat after which a worker is replaced
    max_flows: int = 4096
    busy_poll: float = 0.0  # seconds for which a worker asks again for packets before it sleeps
    flood_limit: int = 500  # packets per second of one source while a queue is too long; 0: none
    remove_on_exit: bool = False


class Supervisor:
    """One running firewall."""

    def __init__(
        self,
        settings: Settings,
        keeping: Keeping,
        host: Host,
        examine: Examine,
        sink: Callable[[], Sink],
        announce: Callable[[dict[str, Any]], None],
        manager: ServiceManager,
        old: Handover | None = None,
    ) -> None:
        """`sink` is called in the control process; `announce` once, with the status, when packets are decided.

        `old`: what the program before this one has left.
        """
        policy = keeping.current.trial.policy
        assert policy is not None
        self._settings = settings
        self._policy = policy
        self._paths = keeping.current.paths
        self._keeping = keeping
        self._host = host
        self._examine = examine
        self._sink = sink
        self._announce = announce
        self._manager = manager
        self._old = old
        self._started = self._policy_since = time.time()
        self._static = False  # whether the static ruleset is loaded
        self._retry_static = 0.0
        self._next_look = 0.0  # at the ruleset
        self._load = Load(host.describe()["queues"], settings.flood_limit)
        self._announced = False
        self._stopping: int | None = None  # the request that asked for it; -1: a signal
        self._reload: Reload | None = None
        self._reload_request = -1
        self._reload_confirm = 0.0  # seconds within which the new policy has to be confirmed; 0: it has not
        self._reload_back = ""  # why it is a going back, or ""
        self._control_pid = 0
        self._control_restarts = -1
        self._control_next = self._control_since = 0.0
        self._control_before = 0  # an older program's, which is about to end
        self._taking_up: TakingUp | None = None  # the place of an older program
        self._upgrade: Check | None = None  # of a newer one
        self._upgrade_request = -1
        self._leftovers: list[int] = []  # processes of an older program that are about to end
        self._tellers: list[int] = []  # processes that answer for `status`
        self._control_deaths = 0  # of control, each soon after its start
        self._awake = threading.Lock()  # ours, but while the loop waits
        self._over = False

    def run(self) -> None:
        """Enforce until told to stop. Raises OSError where it cannot begin (queue taken, ruleset refused)."""
        old, self._old = self._old, None
        upgraded = old is not None and bool(old.members)
        self._listener = adopted(old.listener) if old and upgraded else control.listen(self._settings.socket_path)
        try:
            self._queues = self._host.bind(old.queues if old is not None else {})
            if old is not None:
                self._host.adopt(old.owned)
            # One for all workers: the kernel takes tens of milliseconds to close a packet socket, and a dead worker
            # that held the last descriptor of one could not be buried until then.
            self._transmitter = self._host.transmitter()
            self._host.install(self._policy, static=False)
            workers = self._settings.workers
            # Among other workers servers are shared out otherwise, so what is known of them has another name.
            self._names = [(f"flows-{each}-of-{workers}", f"ledger-{each}-of-{workers}") for each in range(workers)]
            sizes = {"slots": Shared.size(workers)}
            for flows, book in self._names:
                sizes |= {flows: FlowTable.memory_size(self._settings.max_flows), book: ledger.SIZE}
            left = old.memories if old is not None and old.layout == LAYOUT else {}
            self._memories = {name: Memory(name, size, left.get(name)) for name, size in sizes.items()}
            if old is not None:
                for name, descriptor in old.memories.items():
                    if name not in left or name not in sizes:
                        os.close(descriptor)
            self._shared = Shared(workers, self._memories["slots"].map)
            self._control_end, self._controls_own_end = wide_pair()
            self._notices, self._notices_end = (
                (adopted(old.notices[0]), adopted(old.notices[1])) if old and upgraded else wide_pair()
            )
            self._notifier = Notifier(self._notices, self._shared.supervisor)
            self._pool = Pool(
                [Place(index, slot) for index, slot in enumerate(self._shared.workers)],
                compile_policy(self._policy),
                self._run_worker,
                self._notifier,
                self._settings.silence,
            )
            self._notifier.engine(EngineKind.ENGINE_START, **self._policy_detail(self._policy))
            if old is not None:
                self._take_up(old, time.monotonic())
            self._keeping.begin(self._notifier)
            self._loop()
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._settings.socket_path)

    # --- a new program in the place of this one ----------------------------------------------------

    def _take_up(self, old: Handover, now: float) -> None:
        """The old program's workers go on until ours are prepared; where it has ended, ours go on from its memories."""
        if old.spare_pid:
            child.kill(old.spare_pid)
            self._leftovers.append(old.spare_pid)
        if old.control_pid:
            self._control_before, self._control_next = old.control_pid, now + CONTROL_FINISHES_WITHIN
        for member in old.members:
            if member.place < len(self._pool.places):
                place = self._pool.places[member.place]
                self._pool.adopt(place, member.pid, adopted(member.orders), member.restarts, now)
        if old.members:
            self._pool.prepare(self._pool.tables, now)
        for place in self._pool.places:
            place.succeeds = True
        self._taking_up = TakingUp(old.version, exchanging=not old.members)

    def _step_taking_up(self, taking_up: TakingUp, now: float) -> None:
        if not taking_up.exchanging:
            prepared = self._pool.prepared()
            if prepared is None:  # one has died: another try
                self._pool.prepare(self._pool.tables, now)
            elif prepared:
                taking_up.exchanging = True
                self._pool.exchange(self._pool.tables, now)
        elif self._pool.exchanged():
            self._taking_up = None
            self._notifier.engine(EngineKind.ENGINE_UPGRADE, before=taking_up.version, now=__version__)

    def _begin_upgrade(self, request: int) -> None:
        busy = self._reload is not None or self._taking_up is not None or self._upgrade is not None
        refusal = "a reload or an upgrade is under way" if busy else self._keeping.refusal
        if not refusal and not self._pool.serving:
            refusal = "no worker serves"
        if not refusal:
            try:
                self._upgrade = Check(self._paths)
                self._upgrade_request = request
            except OSError as error:
                refusal = str(error)
        if refusal:
            self._reply(request, ok=False, error=refusal)

    def _step_upgrade(self, check: Check) -> None:
        refusal = check.result()
        if refusal is None or (not refusal and not (self._pool.serving and self._pool.buried)):
            return
        self._upgrade = None
        if refusal:
            self._reply(self._upgrade_request, ok=False, error=refusal)
            return
        self._reply(self._upgrade_request, ok=True)
        send(self._control_end, _FINISH)
        self._manager.reloading()
        leave(
            msgspec.structs.replace(
                self._handover(),
                listener=self._listener.fileno(),
                notices=(self._notices.fileno(), self._notices_end.fileno()),
                members=[
                    Serving(place.index, place.member.pid, place.member.end.fileno(), place.restarts)
                    for place in self._pool.places
                    if place.member is not None
                ],
                spare_pid=self._pool.spare.pid if self._pool.spare is not None else 0,
                control_pid=self._control_pid,
            )
        )

    def _handover(self) -> Handover:
        """What outlives this program in any case."""
        numbers, descriptors = self._host.describe()["queues"], (each.hand_over() for each in self._queues)
        return Handover(
            pid=os.getpid(),
            layout=LAYOUT,
            version=__version__,
            queues=dict(zip(numbers, descriptors, strict=True)),
            memories={name: memory.descriptor for name, memory in self._memories.items()},
            owned=self._host.hand_over(),
        )

    # --- processes --------------------------------------------------------------------------------

    def _run_worker(self, tables: Tables, orders: socket.socket) -> None:
        self._listener.close()
        self._host.close()
        self._control_end.close()
        count = len(self._queues) // len(self._names)  # of each place
        posts = [
            Post(
                self._shared.workers[place],
                self._queues[place * count : (place + 1) * count],
                self._memories[flows].map,
                self._memories[book].map,
            )
            for place, (flows, book) in enumerate(self._names)
        ]
        worker = Worker(posts, tables, self._notices, self._transmitter, self._settings.busy_poll)
        privileges.keep_only(privileges.NET_ADMIN, become_nobody=True)
        privileges.start_nothing()
        worker.run(orders)

    def _run_control(self) -> None:
        for queue in self._queues:  # else the queue stays bound, with nobody reading, for as long as control lives
            queue.let_go()
        self._host.close()
        self._control_end.close()
        # As root it may have to write into folders of others; of the network it needs nothing.
        privileges.keep_only(privileges.DAC_OVERRIDE, orphaned=control.ORPHANED)
        control.Control(self._listener, self._controls_own_end, self._notices_end, self._shared, self._sink).run()

    def _keep_control(self, now: float) -> None:
        slot = self._shared.control
        if self._control_before:  # it writes what it has folded; two at a time would count wrongly
            if child.reap(self._control_before) is None:
                if now < self._control_next:
                    return
                child.kill(self._control_before)
                self._leftovers.append(self._control_before)
            self._control_before, self._control_next = 0, now
        if self._control_pid:
            if now - max(slot.heartbeat, self._on_time_since) > CONTROL_SILENCE:
                child.kill(self._control_pid)
            ended = child.reap(self._control_pid)
            if ended is None:
                return
            self._control_pid = 0
            self._notifier.engine(EngineKind.CONTROL_DEATH, ended=ended)
            # One that lived for a while was killed; one that dies again and again is given time.
            self._control_deaths = 0 if now - self._control_since > CONTROL_LIVED else self._control_deaths + 1
            self._control_next = now + (
                min(0.5, 0.05 * 2 ** min(self._control_deaths, 7)) if self._control_deaths else 0
            )
        if now >= self._control_next:
            slot.beat(now)
            self._control_since = now
            self._control_restarts += 1
            self._control_pid = child.fork("cfw-control", self._run_control, control.ORPHANED)

    # --- the loop ---------------------------------------------------------------------------------

    def _loop(self) -> None:
        wake, woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
        self._awake.acquire()
        for place in self._pool.places:
            place.slot.lifeline.watch(partial(self._follow, place, woken))
        before = {
            number: signal.signal(number, self._on_signal)
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
        }
        self._hangup = False
        last = self._on_time_since = time.monotonic()
        wait = TICK
        polled: set[int] = set()
        poll = select.poll()
        spoke: list[int] | None = None
        try:
            while self._stopping is None:
                now = time.monotonic()
                if now - last > wait + LATE:
                    self._on_time_since = now
                last = now
                self._step(now, spoke)
                wanted = {wake, self._control_end.fileno(), *self._pool.descriptors()}
                for descriptor in polled - wanted:
                    poll.unregister(descriptor)
                for descriptor in wanted - polled:
                    poll.register(descriptor, select.POLLIN)
                polled = wanted
                # Neither a tick late to see who is silent, nor a moment early.
                wait = min(self._tick(), self._pool.until_silent(time.monotonic()) + 0.001)
                self._awake.release()
                try:
                    found = poll.poll(wait * 1000)
                finally:
                    self._awake.acquire()
                spoke = [descriptor for descriptor, _ in found]
                if wake in spoke:
                    with contextlib.suppress(BlockingIOError):
                        os.read(wake, 4096)
        finally:
            self._finish()
            signal.set_wakeup_fd(-1)
            for number, handler in before.items():
                signal.signal(number, handler)
            os.close(wake)
            os.close(woken)
            self._over = True
            self._awake.release()

    def _follow(self, place: Place, woken: int) -> bool:
        """A thread's, when who served a place dies: the spare has its order before the loop wakes. False at the end."""
        with self._awake:
            if not self._over and not self._pool.follow(place, time.monotonic()):
                with contextlib.suppress(BlockingIOError):  # full: it is read soon enough
                    os.write(woken, b"\0")
            return not self._over

    def _tick(self) -> float:
        """Each step interrupts somebody's packet: no more of them than are needed."""
        awaited = self._reload or self._taking_up or self._upgrade or self._tellers or self._leftovers
        return TICK_UNDER_WAY if awaited or not self._pool.settled else TICK

    def _on_signal(self, number: int, frame: object) -> None:
        if number in (signal.SIGTERM, signal.SIGINT):
            self._stopping = -1
        elif number == signal.SIGHUP:
            self._hangup = True

    def _step(self, now: float, spoke: Collection[int] | None) -> None:
        """`spoke`: descriptors that have something to read; None: any may."""
        self._shared.supervisor.beat(now)
        self._pool.step(now, self._on_time_since, spoke)
        self._keep_control(now)
        if self._pool.serving and not self._announced:
            self._announced = True
            self._manager.tell("READY=1", f"STATUS=enforcing {self._policy.site}")
            self._tell_that_it_decides(now)
        if self._hangup:
            self._hangup = False
            if self._control_pid:
                os.kill(self._control_pid, signal.SIGHUP)
            self._begin_reload(-1, self._paths, "signal")
        asked = spoke is None or self._control_end.fileno() in spoke
        while asked and (data := receive(self._control_end)):
            self._answer(msgspec.msgpack.decode(data, type=dict[str, Any]), now)
        if self._taking_up is not None:
            self._step_taking_up(self._taking_up, now)
        if self._upgrade is not None:
            self._step_upgrade(self._upgrade)
        if self._reload is not None:
            self._step_reload(self._reload, now)
        elif (before := self._keeping.overdue(now)) is not None:
            self._begin_reload(-1, before.paths, "nobody", ready=before.trial, back="it was not confirmed in time")
        self._keeping.step(now)
        self._choose_ruleset(now)
        self._keep_ruleset(now)
        self._watch_load(now)
        self._tellers = [pid for pid in self._tellers if child.reap(pid) is None]
        self._leftovers = [pid for pid in self._leftovers if child.reap(pid) is None]
        self._manager.tick(now)

    def _watch_load(self, now: float) -> None:
        """A queue that gets too long is told, and no source may fill it alone until it is over."""
        if now < self._load.next_look:
            return
        before = self._load.per_source
        for kind, detail in self._load.look(control.queue_figures(), now):
            self._notifier.engine(kind, **detail)
        if self._load.per_source == before:
            return
        try:
            self._host.install(self._policy, static=self._static, per_source=self._load.per_source)
        except OSError as error:
            self._load.per_source = before
            self._notifier.engine(EngineKind.RULESET_FAILED, error=str(error))

    def _keep_ruleset(self, now: float) -> None:
        """Whoever changes or empties the ruleset finds it put right, and is told of (DESIGN.md, 3)."""
        if now < self._next_look:
            return
        self._next_look = now + LOOK
        try:
            if (found := self._host.disturbance()) is None:
                return
            self._host.restore(self._policy, static=self._static, per_source=self._load.per_source)
        except OSError as error:
            self._next_look = now + _REINSTALL_AFTER
            self._notifier.engine(EngineKind.RULESET_FAILED, error=str(error))
            return
        what, who = found
        self._notifier.engine(EngineKind.RULESET_RESTORED, what=what, who=who)

    def _choose_ruleset(self, now: float) -> None:
        """Static rules for fail-static conduits while no worker can be kept alive (DESIGN.md, 4)."""
        wanted = self._static
        if self._pool.hopeless(now):
            wanted = True
        elif self._static and self._pool.proven(now):
            wanted = False
        if wanted == self._static or now < self._retry_static:
            return
        try:
            self._host.install(self._policy, static=wanted, per_source=self._load.per_source)
        except OSError as error:
            self._retry_static = now + _REINSTALL_AFTER
            self._notifier.engine(EngineKind.RULESET_FAILED, error=str(error))
            return
        self._static = wanted
        if wanted:
            self._notifier.engine(EngineKind.NO_ENGINE, conduits=[c.name for c in self._policy.conduits])
        else:
            self._pool.forgive()
            self._notifier.engine(EngineKind.ENGINE_BACK)

    # --- requests ---------------------------------------------------------------------------------

    def _reply(self, request: int, **answer: Any) -> None:
        if request >= 0:  # an answer that finds no room is control's loss: it has gone, or stands still
            send(self._control_end, msgspec.msgpack.encode({"id": request, **answer}))

    def _answer(self, request: dict[str, Any], now: float) -> None:
        number, command, by = int(request["id"]), request["command"], str(request.get("by", ""))
        if command == "status":
            self._tell_status(number, now)
        elif command == "stop":
            self._stopping = number
            self._stopped_by = by
        elif command == "reload":
            paths = request.get("policy") or self._paths
            self._begin_reload(number, paths, by, confirm=float(request.get("confirm") or 0))
        elif command == "upgrade":
            self._begin_upgrade(number)
        elif command == "confirm":
            self._reply(number, **self._keeping.confirm(by))
        elif command == "rollback":
            self._roll_back(number, int(request.get("number") or 1), by)
        else:
            self._reply(number, ok=False, error=f"unknown command {command!r}")

    def _tell_that_it_decides(self, now: float) -> None:
        """Whoever started this may have stopped reading, or be stuck: only a process of its own waits for that."""
        status = self.status(now)

        def main() -> None:
            for queue in self._queues:
                queue.let_go()
            signal.alarm(ANNOUNCED_WITHIN)
            self._announce(status)

        self._tellers.append(child.fork("cfw-announce", main))

    def _tell_status(self, request: int, now: float) -> None:
        """The kernel's counters take a while: a process of its own asks for them and answers."""
        if len(self._tellers) >= TELLERS:
            self._reply(request, ok=False, error="too many ask at once")
            return
        status = self.status(now)

        def main() -> None:
            self._reply(request, ok=True, status={**status, "kernel_counters": self._host.counters()})

        self._tellers.append(child.fork("cfw-status", main))

    def _roll_back(self, request: int, number: int, by: str) -> None:
        waiting, back = self._keeping.waiting_before, "it was taken back"
        if waiting is None:
            # Kept files are a copy: what a reload reads next is what the operator edits.
            examine = self._keeping.examine_before(number, self._examine)
            self._begin_reload(request, self._paths, by, back=back, examine=examine)
        elif number == 1:
            self._begin_reload(request, waiting.paths, by, ready=waiting.trial, back=back)
        else:
            self._reply(request, ok=False, error=self._keeping.refusal)

    def _begin_reload(
        self,
        request: int,
        paths: Sequence[str],
        by: str,
        *,
        confirm: float = 0.0,
        ready: Trial | None = None,
        back: str = "",
        examine: Examine | None = None,
    ) -> None:
        """`paths`: what a later reload reads, and this one, unless `ready` or `examine` say what to take instead."""
        refusal = "another reload is under way" if self._reload is not None else "" if back else self._keeping.refusal
        if self._taking_up is not None or self._upgrade is not None:
            refusal = "an upgrade is under way"
        if refusal:
            self._reply(request, ok=False, error=refusal)
            return
        self._reload_confirm, self._reload_back = confirm, back
        self._reload_paths = tuple(paths)
        self._manager.reloading()
        self._reload_request, self._reload_by = request, by

        def stage(policy: Policy) -> Staging:
            return self._host.stage(policy, static=self._static, per_source=self._load.per_source)

        def install(policy: Policy) -> None:
            self._host.install(policy, static=self._static, per_source=self._load.per_source)

        self._reload = Reload(paths, examine or self._examine, self._pool, stage, install, self._policy, ready)

    def _step_reload(self, reload: Reload, now: float) -> None:
        answer = reload.step(now)
        if reload.in_force and reload.policy is not None and reload.policy is not self._policy:
            self._take_over(reload, reload.policy, now)
        if answer is None:
            return
        self._reload = None
        self._manager.tell("READY=1")
        if not reload.in_force:
            errors = [problem for problem in answer["problems"] if problem.get("severity") == "error"]
            self._notifier.engine(
                EngineKind.POLICY_REFUSED,
                paths=list(reload.paths),
                error=answer["error"],
                errors=len(errors),
                by=self._reload_by,
            )
        answer["policy"] = self._policy_detail(self._policy)
        answer.setdefault("changes", [])
        answer["confirm_within"] = self._reload_confirm if reload.in_force else 0.0
        self._reply(self._reload_request, **answer)

    def _take_over(self, reload: Reload, policy: Policy, now: float) -> None:
        """The new policy has become the policy."""
        before, self._policy = self._policy, policy
        self._policy_since = time.time()
        by, back = self._reload_by, self._reload_back
        self._paths = self._reload_paths
        in_force = InForce(reload.trial, self._paths)
        if back:
            self._keeping.went_back(in_force, by, back)
        else:
            self._keeping.took_over(in_force, by, self._reload_confirm, now)
        told = {
            "changes": [change["line"] for change in reload.trial.changes[:CHANGES_IN_EVENT]],
            "more_changes": max(0, len(reload.trial.changes) - CHANGES_IN_EVENT) + reload.trial.more_changes,
        }
        detail = {**self._policy_detail(policy), "before": before.digest, "by": by, **told}
        if back:
            self._notifier.engine(EngineKind.POLICY_WENT_BACK, **detail, reason=back)
        else:
            self._notifier.engine(EngineKind.POLICY_CHANGE, **detail, confirm_within=self._reload_confirm)

    # --- status -----------------------------------------------------------------------------------

    def _policy_detail(self, policy: Policy) -> dict[str, Any]:
        return {
            "site": policy.site,
            "revision": policy.revision,
            "digest": policy.digest,
            "paths": list(self._paths),
            "conduits": len(policy.conduits),
            "rules": len(policy.rules),
        }

    def status(self, now: float) -> dict[str, Any]:
        """How it stands, as plain data. `now`: seconds of CLOCK_MONOTONIC."""
        conduits = [
            {"name": c.name, "from": c.from_zone, "to": c.to_zone, "mode": c.mode, "fail": c.fail,
             "rules": len(c.rules), "state": self._conduit_state(c.mode, c.fail)}
            for c in self._policy.conduits
        ]  # fmt: skip
        engine = "serving" if self._pool.serving else "none" if self._static else "starting"
        return {
            "version": __version__,
            "build": build.how(),
            "transport": TRANSPORT,
            "pid": os.getpid(),
            "engine": engine,
            # In the operator's sense: every conduit that should be enforced is.
            "enforcing": engine == "serving" and not self._static and any(c["mode"] == "enforce" for c in conduits),
            "started": self._started,
            "policy": {
                **self._policy_detail(self._policy),
                "since": self._policy_since,
                **self._keeping.status(now),
            },
            "conduits": conduits,
            "workers": [
                {
                    "place": place.index,
                    "pid": place.member.pid if place.member else None,
                    "state": place.member.state.value if place.member else "waiting to start",
                    "since": place.member.since if place.member else None,  # seconds of CLOCK_MONOTONIC
                    "restarts": place.restarts,
                    "packets": int(place.slot.counters[Counter.PACKETS]),
                }
                for place in self._pool.places
            ],
            "spare": self._pool.spare.pid if self._pool.spare else None,
            "control": {"pid": self._control_pid or None, "restarts": self._control_restarts},
            "reload": self._reload.phase.value if self._reload else None,
            "overload": self._load.describe(),
            "taking_up": self._taking_up is not None,
            **self._host.describe(),
        }

    def _conduit_state(self, mode: str, fail: str) -> str:
        if mode == "monitor":
            return "NOT ENFORCING: monitor"
        if self._static:
            if fail == "static":
                return "NOT ENFORCING: no engine, the kernel goes by addresses and ports"
            return "CLOSED: no engine, what needs inspection is dropped"
        return "enforcing" if self._pool.serving else "waiting for an engine"

    # --- the end ----------------------------------------------------------------------------------

    def _finish(self) -> None:
        """Workers first, control last. The ruleset stays: each conduit is left as its `fail` says."""
        self._manager.tell("STOPPING=1")
        by = getattr(self, "_stopped_by", "signal")
        leaves = self._stopping == -1 and not self._settings.remove_on_exit and self._manager.keeps
        if not leaves and not self._settings.remove_on_exit:
            # While workers decide: with the guard goes all that waits in the queues (a base chain is taken out).
            self._host.close()
        self._keeping.finish(within=1.0)
        self._pool.cancel()
        self._pool.stop(within=1.0)
        if leaves:
            deposit(self._handover(), self._manager)
        self._notifier.engine(EngineKind.ENGINE_STOP, by=by)
        if self._settings.remove_on_exit:
            self._host.remove()
        self._reply(
            self._stopping if self._stopping is not None else -1, ok=True, removed=self._settings.remove_on_exit
        )
        while self._control_before:  # an upgrade has only just begun: somebody has to write what is told
            self._keep_control(time.monotonic())
            time.sleep(0.005)
        send(self._control_end, _FINISH)
        deadline = time.monotonic() + 3.0
        while self._control_pid and child.reap(self._control_pid) is None:
            if time.monotonic() > deadline:
                child.kill(self._control_pid)
            time.sleep(0.005)
        self._listener.close()
