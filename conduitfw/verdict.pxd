# Types for the compiler (CONTRIBUTING.md).
cimport cython
from conduitfw.ordinary cimport Ordinary
from conduitfw.record cimport Flow

cdef int _OPENING, _ANSWERED, _OPEN, _TOMBSTONE, _TCP

cdef bint _expired(Flow flow, double now) except -1

cdef class Pipeline:
    cdef public object tables, flows, notices, ledger
    cdef public Ordinary _ordinary
    cdef bint _capture, _any
    cdef dict _counters
    cdef double _owed
    cpdef decide(
        self, bytes data, double now, long long ifindex=*, bytes mac=*, long long mark=*, bint verify_checksums=*
    )
    @cython.locals(flow=Flow)
    cpdef tick(self, double now, double since=*)
    cdef _time_out(self, Flow flow, double now)
