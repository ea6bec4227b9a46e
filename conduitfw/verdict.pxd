# Types for the compiler (CONTRIBUTING.md).
from conduitfw.ordinary cimport Ordinary

cdef class Pipeline:
    cdef public object tables, flows, notices, ledger
    cdef public Ordinary _ordinary
    cdef bint _capture, _any
    cdef dict _counters
    cpdef decide(
        self, bytes data, double now, long long ifindex=*, bytes mac=*, long long mark=*, bint verify_checksums=*
    )
