# Types for the compiler (CONTRIBUTING.md).
cimport cython
from libc.string cimport memcpy
from conduitfw.kernel.netlink_queue cimport Packet
from conduitfw.outcome cimport Outcome
from conduitfw.runtime.quarantine cimport Quarantine
from conduitfw.verdict cimport Pipeline

cdef Py_ssize_t _PACKETS, _FORWARDED, _CHANGED, _DROPPED, _QUARANTINED, _SENT, _UNSENT, _ROOM
cdef long long _VERDICT
cdef bint _COMPILED
cdef object _clock


cdef inline int keep_head(unsigned char[::1] record, bytes payload) except -1:
    """Write the payload's first octets behind the two that say whether they count, and how many they are."""
    cdef Py_ssize_t size = min(len(payload), _ROOM)
    if size + 2 > record.shape[0]:
        raise IndexError("no room for the head")
    if size:
        memcpy(&record[2], <const char *>payload, size)
    record[1] = <unsigned char>size
    return 0


cdef class Hand:
    cdef unsigned char[::1] _record
    cdef unsigned long long[::1] _counters
    cdef double[::1] _heartbeat
    cdef Pipeline _pipeline
    cdef Quarantine _quarantine
    cdef object _transmitter, _failed
    @cython.locals(now=double, counters=cython.ulonglong[::1], record=cython.uchar[::1], payload=bytes)
    cpdef take(self, Packet packet)
    @cython.locals(counters=cython.ulonglong[::1], mark=cython.longlong, outcome=Outcome)
    cpdef _judge(self, Packet packet, bytes payload, double now)
    cpdef send(self, emissions)
