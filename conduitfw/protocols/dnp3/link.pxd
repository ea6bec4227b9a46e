# Types for the compiler (CONTRIBUTING.md).
cimport cython

cdef unsigned short[::1] _WORDS
cdef long long _START, _AFTER_START

@cython.locals(
    words=cython.ushort[::1], first=cython.longlong, second=cython.longlong, destination=cython.longlong,
    source=cython.longlong, check=cython.longlong,
)
cpdef frame(bytes data, Py_ssize_t start, Py_ssize_t end)

@cython.locals(
    words=cython.ushort[::1], a=cython.longlong, b=cython.longlong, c=cython.longlong, d=cython.longlong,
    e=cython.longlong, f=cython.longlong, g=cython.longlong, h=cython.longlong, check=cython.longlong,
    register=cython.longlong, word=cython.longlong, octet=cython.longlong,
)
cpdef bint blocks_are_right(bytes data, Py_ssize_t at, Py_ssize_t user) except -1
