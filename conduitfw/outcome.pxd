# Types for the compiler (CONTRIBUTING.md).
cdef class Outcome:
    cdef public object verdict, rule, reason, protocol, emissions, units
    cdef public bint forward
    cdef public bytes payload
    cdef public str detail
