# Types for the compiler (CONTRIBUTING.md).
cimport cython

cdef int _VARIATIONS, _PACKED
cdef unsigned short[::1] _LAYOUT

@cython.locals(end=Py_ssize_t, variation=int, qualifier=int, size=Py_ssize_t, prefix=Py_ssize_t, count=Py_ssize_t)
cpdef bint are_whole(bytes octets, Py_ssize_t at) except -1
