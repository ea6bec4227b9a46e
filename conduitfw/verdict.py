"""The pipeline: a packet in, a decision out. The same for live packets, for a capture and in the benchmark.

    bytes -> decode -> flow table -> TCP stream (in order) -> protocol parser -> policy -> verdict

It knows no sockets and no clocks. Hostile bytes never raise out of it: a malformed packet is a denial
with a reason.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from conduitfw import denial, stream, tcp, translation
from conduitfw.denial import Emission
from conduitfw.flow import FlowTable, State
from conduitfw.inspection import BOUNDS, Findings
from conduitfw.ordinary import Ordinary, is_ordinary
from conduitfw.outcome import Notice, NoticeKind, Outcome, Verdict
from conduitfw.packet import RST, SYN, TCP, UDP, Packet, decode
from conduitfw.policy.compile import Tables
from conduitfw.policy.ledger import Ledger
from conduitfw.protocols import Remark, Unit
from conduitfw.reasons import Malformed, Reason
from conduitfw.record import Flow

TOMBSTONE_SECONDS = 60.0
OPENING_SECONDS = 120.0  # a SYN is repeated for about that long
CLOSED_SECONDS = 30.0  # after FIN or RST, for what is still under way
IDLE_SECONDS = 24 * 3600.0
UDP_IDLE_SECONDS = 600.0
_ROUND, _SWEEP = 0.1, 512  # in so many seconds every flow is looked at for time-outs, or so many are
# Of every flow that is looked at: plain numbers are compared faster than members of an enum.
_OPENING, _ANSWERED, _OPEN = int(State.OPENING), int(State.ANSWERED), int(State.OPEN)
_TOMBSTONE, _TCP = int(State.TOMBSTONE), int(TCP)
_VLAN = 0x0FFF  # of the packet mark: the VLAN id, 0 without a tag (kernel/marks.py)
_TAKE_UP = 16  # records of a predecessor's flows that are read at a time, while packets wait


_COUNTERS = (
    "packets", "accepted", "held", "denied", "units", "rewritten", "emitted", "flows_started", "flows_ended",
    "engine_errors", "answers_unmatched", *BOUNDS,
)  # fmt: skip


class Pipeline:
    """All stages, over one policy and one flow table."""

    def __init__(
        self,
        tables: Tables,
        flows: FlowTable,
        notices: Callable[[Notice], None],
        ledger: Ledger | None = None,
        *,
        capture: bool = False,
        any_protocol: bool = False,
        at_once: bool = True,
    ) -> None:
        """`ledger`: what decisions remember beside flows; None: one of its own.

        `capture`: packets were recorded: nothing that we would have done happened to them.

        `any_protocol`: deny only what is malformed (`replay --any`).

        `at_once`: decide ordinary packets without going through the stages (ordinary.py).
        """
        self.tables = tables
        self.flows = flows
        self.notices = notices
        self.ledger = ledger if ledger is not None else Ledger()
        self._capture = capture
        self._any = any_protocol
        self._owed = 0.0  # flows that are still to be looked at for time-outs, and parts of one
        self._counters: dict[str, int] = dict.fromkeys(_COUNTERS, 0)
        self._ordinary = Ordinary(flows) if at_once and not capture and not any_protocol else None

    @property
    def counters(self) -> dict[str, int]:
        """What was counted so far, by name."""
        ordinary = self._ordinary
        if ordinary is not None:
            self._counters["packets"] += ordinary.packets
            self._counters["accepted"] += ordinary.packets
            self._counters["units"] += ordinary.units
            ordinary.packets = ordinary.units = 0
        return self._counters

    def decide(
        self,
        data: bytes,
        now: float,
        ifindex: int = 0,
        mac: bytes = b"",
        mark: int = 0,
        verify_checksums: bool = True,
    ) -> Outcome:
        """Decide one IP packet (bytes behind the IP length are ignored).

        `now` in seconds, never going back; `ifindex` and `mac` of the port and the sender it came from,
        `mark` the packet mark, whose lowest 12 bits are the VLAN id. `verify_checksums` is False only for
        packets of a capture whose sender left them to its network card.
        """
        ordinary = self._ordinary
        if ordinary is not None and verify_checksums:
            try:
                outcome = ordinary.decide(data, now, ifindex, mac, mark)
            except Exception:  # noqa: BLE001
                if ordinary.in_hand is not None:
                    return self._failed(ordinary.in_hand, now)
                outcome = None  # nothing was changed
            if outcome is not None:
                return outcome
        self._counters["packets"] += 1
        try:
            packet = decode(data, verify_checksums=verify_checksums)
        except Malformed as malformed:
            return self._refused(malformed.reason)
        if self.flows.unread and (flow := self.flows.recall(packet.transport, packet.key)) is not None:
            ended = self._judge_anew(flow, now)
            if ended:
                outcome = self._refused(Reason.POLICY_CHANGED)
                outcome.emissions = ended
                return outcome
        flow = self.flows.from_client[packet.transport].get(packet.key)
        from_client = True
        if flow is None:
            flow = self.flows.from_server[packet.transport].get(packet.key)
            from_client = False
        findings = Findings(self.ledger, now, self._any)
        if flow is None:
            flow, from_client, reason = self._begin(packet, now)
            if flow is None:
                return self._refused(reason)
        elif flow.vlan != mark & _VLAN and not flow.observed:
            return self._refused(Reason.OTHER_VLAN)
        elif flow.channel is None and not self._find_channel(flow):
            return self._no_longer_allowed(flow, now)
        elif flow.turning:
            self._turn(flow)
        self.flows.mark(flow)
        self._learn(flow, from_client, now, ifindex, mac, mark)
        try:
            if not translation.concerns(flow, packet, from_client):
                step = self._pass(flow, packet, findings, from_client, now)
            elif from_client:
                step = self._pass_translated(flow, translation.from_client(flow, packet), findings, now)
            else:
                step = self._pass(flow, packet, findings, False, now)
                if step.forward and translation.applies(flow):
                    leaving = packet if step.payload is None else decode(step.payload)
                    step.payload = translation.to_client(flow, leaving)
            return self._outcome(flow, findings, step, from_client, now)
        except Exception:  # noqa: BLE001
            return self._failed(flow, now)

    def _failed(self, flow: Flow, now: float) -> Outcome:
        """A defect of ours, met by this packet: its flow cannot be relied upon any more, the others can."""
        self._counters["engine_errors"] += 1
        outcome = self._refused(Reason.ENGINE_ERROR)
        outcome.emissions = self._end_broken(flow, now)
        outcome.forward = flow.observed  # who only watches stops nothing
        return outcome

    def _pass(self, flow: Flow, packet: Packet, findings: Findings, from_client: bool, now: float) -> tcp.Step:
        if packet.transport == UDP:
            return self._pass_udp(flow, packet, findings, from_client, now)
        before = flow.state
        if from_client:
            step = tcp.pass_client(flow, packet, findings, now)
        else:
            step = tcp.pass_server(flow, packet, findings, now)
        if flow.state == State.OPEN and before in (State.ANSWERED, State.ASKING):
            self._tell_start(flow, now)
        return step

    def _pass_translated(self, flow: Flow, packet: Packet, findings: Findings, now: float) -> tcp.Step:
        """A client's packet, in the server's numbers by now."""
        step = self._pass(flow, packet, findings, True, now)
        if step.forward and step.payload is None:
            step.payload = packet.data
        if findings.reason is None and flow.state == State.OPEN:
            step.emissions += tcp.release(flow, findings, now)  # what waited for the client to have our answer
        return step

    def _refused(self, reason: Reason) -> Outcome:
        """A packet that belongs to no flow: it is dropped, and counted by its reason."""
        self._counters["denied"] += 1
        name = "refused_" + reason.code
        self._counters[name] = self._counters.get(name, 0) + 1
        outcome = Outcome(Verdict.DENY, False)
        outcome.reason = reason
        return outcome

    # --- flows ------------------------------------------------------------------------------------

    def _begin(self, packet: Packet, now: float) -> tuple[Flow | None, bool, Reason]:
        """A packet of no known flow: begin one where the policy names the two ends."""
        from_client = True
        channel = self.tables.channel(packet.transport, packet.source, packet.destination, packet.destination_port)
        key = packet.key
        if channel is None:
            from_client = False
            channel = self.tables.channel(packet.transport, packet.destination, packet.source, packet.source_port)
            if channel is None:
                return None, True, Reason.NO_CONDUIT
            half = len(packet.source)
            key = packet.destination + packet.source + packet.key[2 * half + 2 :] + packet.key[2 * half : 2 * half + 2]
        observed = channel.monitor or self._capture
        if packet.transport == TCP and not observed:
            if packet.flags & SYN and not from_client:
                return None, from_client, Reason.SERVER_OPENS
            if packet.flags & RST:
                return None, from_client, Reason.NO_SESSION
        flow = self.flows.create(key, packet.transport, now)
        if flow is None:
            return None, from_client, Reason.TOO_MANY_FLOWS
        flow.channel = channel
        flow.session = channel.protocol.session(channel.lenient)
        flow.observed = observed
        if packet.transport == UDP:
            flow.state = State.OPEN
            self._tell_start(flow, now)
        elif packet.flags & SYN:
            flow.state = State.OPENING
        elif observed:
            flow.state = State.OPEN
            flow.loose = True
            flow.session.accept_unknown()
            self._tell_start(flow, now)
        else:
            tcp.begin_midstream(flow, packet, from_client)
        return flow, from_client, Reason.NO_CONDUIT

    def _find_channel(self, flow: Flow) -> bool:
        """After a hand-over or a reload: find again what the policy says of the flow's two ends."""
        channel = self.tables.channel(flow.transport, flow.client, flow.server, flow.server_port)
        if channel is None:
            return False
        flow.channel = channel
        if flow.session is None:
            flow.session = channel.protocol.session(channel.lenient)
            if flow.session_bytes:
                flow.session.restore(flow.session_bytes)
                flow.session_bytes = b""
        flow.turning = flow.observed != (channel.monitor or self._capture)
        if flow.turning:
            self._turn(flow)
        return True

    @staticmethod
    def _turn(flow: Flow) -> None:
        """From watching to enforcing, or back, where the server has all that went on and the client all answers.

        No session is ended by it. One in which we answered keeps its numbers, and they are translated for ever.
        """
        gap = flow.early is not None and any(flow.early)  # each mode does something else with what is behind it
        if flow.held or gap or translation.is_pending(flow) or flow.state == State.TOMBSTONE:
            return
        flow.observed = not flow.observed
        if flow.observed and flow.state == State.ASKING:
            flow.state = State.OPEN
        flow.turning = flow.ahead = flow.claiming = False

    def _learn(self, flow: Flow, from_client: bool, now: float, ifindex: int, mac: bytes, mark: int) -> None:
        flow.last = now
        if from_client:
            flow.client_port_index = ifindex
            if len(mac) == 6:
                flow.client_mac = mac
        else:
            flow.server_port_index = ifindex
            if len(mac) == 6:
                flow.server_mac = mac
        flow.vlan = mark & _VLAN

    def _tell_start(self, flow: Flow, now: float) -> None:
        self._counters["flows_started"] += 1
        self.notices(Notice(NoticeKind.FLOW_START, flow, now))

    def _forget(self, flow: Flow, now: float) -> None:
        if flow.state not in (State.OPENING, State.TOMBSTONE):
            self._tell_end(flow, now)
        self.flows.remove(flow)

    def _tell_end(self, flow: Flow, now: float) -> None:
        self._counters["flows_ended"] += 1
        self.notices(Notice(NoticeKind.FLOW_END, flow, now))

    # --- UDP --------------------------------------------------------------------------------------

    def _pass_udp(self, flow: Flow, packet: Packet, findings: Findings, from_client: bool, now: float) -> tcp.Step:
        """A datagram holds whole units, and goes on if each of them may."""
        assert flow.channel is not None and flow.session is not None
        protocol, session = flow.channel.protocol, flow.session
        payload = packet.payload
        before = session.pack(), flow.open_rules, flow.open_policy
        self.ledger.begin()
        answers: list[Emission] = []
        at, end = 0, len(payload)
        while at < end:
            try:
                size = protocol.frame(payload, at, end)
            except Malformed as malformed:
                findings.deny(malformed.reason)
                break
            if size == 0 or at + size > end:
                findings.deny(Reason.CUT_DATAGRAM)
                break
            unit = session.inspect(payload, at, at + size, from_client)
            findings.units.append(unit)
            if not findings.judge(flow, unit) and not flow.observed:
                refusal = findings.refusal(flow, unit, payload[at : at + size]) if from_client else None
                if refusal is not None:
                    findings.reject(unit)
                    answers = [denial.answer_datagram(flow, refusal)] if refusal else []
                break
            if unit.reason is None or not unit.reason.malformed:
                findings.sent(flow, unit)
            at += size
        if end == 0:
            findings.deny(Reason.CUT_DATAGRAM)
        if (findings.reason is not None or findings.rejected) and not flow.observed:
            session.restore(before[0])
            session.abandon()  # nothing of that fragment goes on until another begins
            for unit, reason, _ in findings.rejected:
                session.refuse(unit, reason)
            flow.open_rules, flow.open_policy = before[1:]
            self.ledger.undo()
            step = tcp.Step(False)
            step.emissions = answers
            return step
        self.ledger.keep()
        return tcp.Step(True)

    # --- the verdict ------------------------------------------------------------------------------

    def _outcome(self, flow: Flow, findings: Findings, step: tcp.Step, from_client: bool, now: float) -> Outcome:
        channel = flow.channel
        assert channel is not None
        counters = self._counters
        outcome = Outcome(Verdict.ACCEPT, step.forward)
        outcome.payload = step.payload
        outcome.emissions = step.emissions
        outcome.units = findings.units
        outcome.rule = findings.rule
        outcome.protocol = channel.protocol
        counters["units"] += len(findings.units)
        for unit in findings.units:
            if unit.remark is not None and unit.reason is None:
                self._remark(flow, unit, unit.remark, now)
        for name in findings.met:
            counters[name] += 1
        midstream = flow.state == State.ASKING and not channel.resync and not flow.observed
        if midstream and findings.reason is None:
            findings.deny(Reason.NO_SESSION)
        reason = findings.reason
        if reason is not None:
            outcome.verdict = Verdict.DENY
            outcome.reason = reason
            outcome.detail = findings.detail
            outcome.rule = None
            counters["denied"] += 1
            outcome.forward = flow.observed or step.carries_allowed
            self._carry_out(flow, outcome, findings, from_client, now, ends=midstream or reason not in tcp.PACKET_ONLY)
        elif findings.rejected:
            outcome.verdict = Verdict.DENY
            _, outcome.reason, outcome.detail = findings.rejected[0]
            counters["denied"] += 1
        elif findings.waits and not findings.units:
            outcome.verdict = Verdict.HOLD
            counters["held"] += 1
        else:
            counters["accepted"] += 1
        for unit, why, detail in findings.rejected:
            self._tell_rejected(flow, unit, why, detail, now)
        if now >= flow.answer_due and flow.state == State.OPEN:
            outcome.emissions = [*outcome.emissions, self._answer(flow, now)]
        if outcome.payload is not None:
            counters["rewritten"] += 1
        counters["emitted"] += len(outcome.emissions)
        self.flows.save(flow)
        if self._ordinary is not None:
            flow.ordinary = is_ordinary(flow)
        return outcome

    def _carry_out(
        self, flow: Flow, outcome: Outcome, findings: Findings, from_client: bool, now: float, *, ends: bool
    ) -> None:
        """Carry a denial out as the conduit asks. What was allowed in front of it goes on first."""
        channel = flow.channel
        assert channel is not None
        reason = findings.reason
        flow.denials += 1
        action = "drop"
        if flow.observed:
            action = "monitor"
        elif ends and flow.transport == TCP:
            if reason is Reason.UNINSPECTED_BYTES and channel.resync:
                self._lose_state(flow)
            elif channel.on_deny in ("reset", "reject") or reason in _ALWAYS_ENDS:
                action = "reset"
                outcome.emissions += denial.end(flow)
                self._tell_end(flow, now)
        if reason is Reason.ENDED:
            return  # told when it was ended
        notice = Notice(NoticeKind.DENIED, flow, now)
        notice.from_client = from_client
        notice.reason = reason
        notice.detail = findings.detail
        notice.action = action
        if findings.denied is not None:
            notice.describe(findings.denied, channel.protocol)
        self.notices(notice)

    def _remark(self, flow: Flow, unit: Unit, remark: Remark, now: float) -> None:
        """An answer passes, and is not what one would expect."""
        if remark is Remark.UNMATCHED:
            self._counters["answers_unmatched"] += 1
            return
        assert flow.channel is not None
        notice = Notice(NoticeKind.REMARK, flow, now)
        notice.from_client, notice.action = False, remark.value
        notice.describe(unit, flow.channel.protocol)
        self.notices(notice)

    def _tell_rejected(self, flow: Flow, unit: Unit, reason: Reason, detail: str, now: float) -> None:
        assert flow.channel is not None
        flow.denials += 1
        notice = Notice(NoticeKind.DENIED, flow, now)
        notice.reason, notice.detail, notice.action = reason, detail, "reject"
        notice.describe(unit, flow.channel.protocol)
        self.notices(notice)

    @staticmethod
    def _answer(flow: Flow, now: float) -> Emission:
        """Send our answer, and look again later whether the client has it."""
        flow.answer_due = now + translation.AGAIN if translation.is_pending(flow) else math.inf
        return denial.send_answer(flow)

    @staticmethod
    def _lose_state(flow: Flow) -> None:
        """The kernel passed bytes that nobody inspected: begin again from what the server says (tcp-rules.md, 9)."""
        flow.state = State.ASKING
        flow.client_known = flow.scale_known = flow.sack = False
        flow.window_scale = 0
        flow.loose = True
        flow.ahead = flow.claiming = False
        flow.early = None
        flow.held = flow.partial = b""
        flow.base = flow.sent
        flow.head_since = 0.0
        if flow.session is not None:
            flow.session.accept_unknown()

    def _no_longer_allowed(self, flow: Flow, now: float) -> Outcome:
        outcome = self._refused(Reason.POLICY_CHANGED)
        if flow.transport == TCP and flow.state != State.TOMBSTONE and not flow.observed:
            outcome.emissions = denial.end(flow)
            self.flows.save(flow)
        return outcome

    # --- time and reload --------------------------------------------------------------------------

    def tick(self, now: float, since: float = _ROUND) -> list[Emission]:
        """Time-outs; call it every 100 ms at the latest. Gives packets to send.

        `since`: seconds since the last call, of which it depends how many flows are looked at.
        """
        emissions = self.take_up(now)
        self._owed = min(self._owed + min(len(self.flows), _SWEEP) * (since / _ROUND), _SWEEP)
        count = int(self._owed)
        self._owed -= count
        for flow in self.flows.portion(count):
            if _expired(flow, now):
                self._forget(flow, now)
                continue
            if flow.resets_due and flow.state == _TOMBSTONE and not flow.pending:
                emissions += denial.end_again(flow)
            if flow.transport != _TCP or (flow.state != _OPEN and flow.state != _ANSWERED) or flow.observed:
                continue
            if flow.channel is None and not self._find_channel(flow):
                continue
            emissions += self._time_out(flow, now)
        self._counters["emitted"] += len(emissions)
        return emissions

    def take_up(self, now: float) -> list[Emission]:
        """Read some more of what a predecessor left; end the flows whose packet killed. Gives packets to send."""
        emissions: list[Emission] = []
        for _ in range(_TAKE_UP):
            flow = self.flows.recall_any()
            if flow is None:
                break
            emissions += self._judge_anew(flow, now)
        return emissions + self.end_suspects(now)

    def end_suspects(self, now: float) -> list[Emission]:
        """End the flows whose packet killed workers. Gives packets to send."""
        emissions: list[Emission] = []
        while self.flows.suspects:
            suspect = self.flows.suspects.pop()
            if suspect.observed:
                self._forget(suspect, now)  # who only watches ends nothing: it is met again as an unknown one
            else:
                emissions += self._end_now(suspect, Reason.QUARANTINED, now)
        return emissions

    def _time_out(self, flow: Flow, now: float) -> list[Emission]:
        assert flow.channel is not None and flow.session is not None
        timeout = flow.channel.transaction_timeout
        if flow.session.overdue(now, timeout, all_late=flow.channel.goes_on_unanswered):
            return self._end_now(flow, Reason.NO_ANSWER, now)
        if translation.is_pending(flow):
            if now - flow.answer_since > translation.GIVE_UP:
                return self._end_now(flow, Reason.NO_ANSWER, now)
            return [self._answer(flow, now)] if now >= flow.answer_due else []
        if not flow.kept:
            return []
        if stream.keeps_head(flow):
            if now - flow.head_since > timeout:
                return self._end_now(flow, Reason.HEAD_TIMEOUT, now)
            return []
        findings = Findings(self.ledger, now)
        self.flows.mark(flow)
        released = tcp.release(flow, findings, now)
        for unit, why, detail in findings.rejected:
            self._tell_rejected(flow, unit, why, detail, now)
        if findings.rejected:
            released = [*released, self._answer(flow, now)]
        self.flows.save(flow)
        if findings.reason is not None:
            released += self._end_now(flow, findings.reason, now)
        return released

    def _end_now(self, flow: Flow, reason: Reason, now: float) -> list[Emission]:
        """End a flow outside of any packet of its own, and tell why."""
        if flow.channel is None:
            self._find_channel(flow)
        notice = Notice(NoticeKind.DENIED, flow, now)
        notice.reason = reason
        notice.action = "reset"
        self.notices(notice)
        emissions: list[Emission] = []
        if flow.transport == TCP:
            emissions = denial.end(flow)
        flow.state = State.TOMBSTONE
        flow.last = now
        self.flows.save(flow)
        self._tell_end(flow, now)
        return emissions

    def _end_broken(self, flow: Flow, now: float) -> list[Emission]:
        """End a flow whose state cannot be relied upon, whatever is wrong with it. One that is watched begins anew."""
        assert flow.channel is not None
        flow.session = flow.channel.protocol.session(flow.channel.lenient)
        flow.session_bytes = b""
        self.ledger.keep()
        if not flow.observed:
            return self._end_now(flow, Reason.ENGINE_ERROR, now)
        flow.held = flow.partial = b""
        self._lose_state(flow)
        flow.state = State.OPEN
        self.flows.save(flow)
        return []

    def swap(self, tables: Tables, now: float) -> list[Emission]:
        """Take a new policy, between two packets. Sessions that it no longer allows are ended.

        Those whose records are not read yet are judged when they are: by `take_up`, or by their next packet.
        """
        self.tables = tables
        emissions: list[Emission] = []
        for flow in self.flows.read():
            emissions += self._judge_anew(flow, now)
        return emissions

    def _judge_anew(self, flow: Flow, now: float) -> list[Emission]:
        """A flow of an older policy, or of a predecessor's. Gives packets to send, where it is ended."""
        flow.channel = None
        if flow.state == State.TOMBSTONE:
            return []
        observed = flow.observed
        if not self._find_channel(flow):
            if not flow.observed:
                return self._end_now(flow, Reason.POLICY_CHANGED, now)
            self._forget(flow, now)
            return []
        flow.older_until = flow.sent if flow.sent != flow.taken else -1
        if flow.observed != observed:
            self.flows.save(flow)
        return []


# These end the flow whatever `on_deny` says: dropping would leave both sides waiting for ever.
_ALWAYS_ENDS = frozenset(
    (
        Reason.NO_SESSION,
        Reason.UNINSPECTED_BYTES,
        Reason.UNFINISHED,
        Reason.NO_WINDOW_SCALE,
        Reason.BYTES_LOST,
        Reason.QUARANTINED,
    )
)


def _expired(flow: Flow, now: float) -> bool:
    idle = now - flow.last
    if flow.transport != _TCP:
        return idle > UDP_IDLE_SECONDS
    if flow.state == _TOMBSTONE:
        return idle > TOMBSTONE_SECONDS
    if flow.state == _OPENING or flow.state == _ANSWERED:
        return idle > OPENING_SECONDS
    if flow.closing or (flow.client_ended and flow.server_ended):
        return idle > CLOSED_SECONDS
    return idle > IDLE_SECONDS
