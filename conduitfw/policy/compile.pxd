# Types for the compiler (CONTRIBUTING.md).
cdef class Channel:
    cdef public object conduit, protocol, on_deny, outstanding, stamp, transaction_timeout, unanswered, ordinary
    cdef public object _classes, _rows, _tags
    cdef public bint monitor, resync, lenient, goes_on_unanswered
