# Types for the compiler (CONTRIBUTING.md).
cdef class OrdinarySession:
    cpdef long long asks(self, bytes data, Py_ssize_t at, Py_ssize_t end) except -2
    cpdef asked(self, bytes data, Py_ssize_t at, Py_ssize_t end, double now)
    cpdef bint answers(self, bytes data, Py_ssize_t at, Py_ssize_t end) except -1
    cpdef answered(self, double now)
    cpdef bytes pack(self)
