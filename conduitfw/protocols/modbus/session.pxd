# Types for the compiler (CONTRIBUTING.md).
cimport cython
from conduitfw.octets cimport copy, part, put, put_time
from conduitfw.protocols.ordinary cimport OrdinarySession

cdef int _FIRST_READ, _LAST_READ
cdef Py_ssize_t _READ_SIZE, _ANSWER_HEAD, _LONGEST_ANSWER, _ONE_SIZE
cdef unsigned short[::1] _MOST, _BITS
cdef bint _COMPILED
cdef unsigned char[::1] _ROOM_OCTETS
cdef bytes _NOTHING


cdef class Transaction:
    cdef public int transaction_id, unit_id, function
    cdef public bytes expected
    cdef public bint carries_data, late
    cdef public double sent

@cython.locals(octets=cython.uchar[::1], expected=bytes)
cdef bytes _packed(Transaction only, bint unknown)

cdef class ModbusSession(OrdinarySession):
    cdef public object _lenient
    cdef public bint _unknown
    cdef public list _outstanding, _spare
    @cython.locals(function=int, quantity=int, first=int, most=int)
    cpdef long long asks(self, bytes data, Py_ssize_t at, Py_ssize_t end) except -2
    @cython.locals(transaction=Transaction)
    cpdef asked(self, bytes data, Py_ssize_t at, Py_ssize_t end, double now)
    @cython.locals(
        size=Py_ssize_t, function=int, transaction=Transaction, expected=bytes, octets=int, bits=int,
    )
    cpdef bint answers(self, bytes data, Py_ssize_t at, Py_ssize_t end) except -1
    cpdef answered(self, double now)
    @cython.locals(only=Transaction)
    cpdef bytes pack(self)
