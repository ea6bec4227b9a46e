# Types for the compiler (CONTRIBUTING.md).
cimport cython
from conduitfw.record cimport Flow

cdef Py_ssize_t _AT_ONCE
cdef int _TOMBSTONE

cdef class Figures:
    cdef object _flows
    cdef list _round
    cdef Py_ssize_t _next
    cdef long long _unacknowledged, _kept, _tombstones
    cdef public dict last
    @cython.locals(end=Py_ssize_t, place=Py_ssize_t, flow=Flow, held=bytes, sent=cython.longlong)
    cpdef step(self)
