# Types for the compiler (CONTRIBUTING.md).
cimport cython
from conduitfw.octets cimport part, sums_to_nothing, u16, u32
from conduitfw.policy.compile cimport Channel
from conduitfw.protocols.ordinary cimport OrdinarySession
from conduitfw.record cimport Flow, Records

cdef bint _COMPILED
cdef long long _MASK, _HALF
cdef Py_ssize_t _HEADERS, _STAMPED, _LONGEST

cdef class Allowed:
    cdef public bint learns
    cdef public long long stamp, number
    cdef public object outcome, passing
    cdef public dict requests

cdef class Ordinary:
    cdef public long long packets, units
    cdef public Flow in_hand
    cdef Records _records
    cdef dict _from_client, _from_server
    @cython.locals(
        size=Py_ssize_t, end=Py_ssize_t, at=Py_ssize_t, header=int, flags=int, stamp=cython.longlong, sequence=cython.longlong,
        ack=cython.longlong, window=cython.longlong, key=bytes, flow=Flow, channel=Channel, from_client=cython.bint,
    )
    cpdef decide(self, bytes data, double now, long long ifindex, bytes mac, long long mark)
    @cython.locals(
        length=Py_ssize_t, session=OrdinarySession, allowed=Allowed, sent=cython.longlong, number=cython.longlong, packed=bytes,
    )
    cdef _client(
        self, Flow flow, Channel channel, bytes data, Py_ssize_t at, Py_ssize_t end, long long sequence, long long ack,
        long long window, long long stamp, double now,
    )
    @cython.locals(session=OrdinarySession, allowed=Allowed, taken=cython.longlong, advances=cython.bint)
    cdef _server(
        self, Flow flow, Channel channel, bytes data, Py_ssize_t at, Py_ssize_t end, long long sequence, long long ack,
        long long window, long long stamp, double now,
    )
    cdef _write_longer(self, Flow flow)

cdef bint _checksums_are_right(bytes data, Py_ssize_t end) except -1
