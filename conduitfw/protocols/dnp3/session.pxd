# Types for the compiler (CONTRIBUTING.md).
cimport cython
from conduitfw.octets cimport copy, part, put_time
from conduitfw.protocols.dnp3 cimport link, plain
from conduitfw.protocols.ordinary cimport OrdinarySession

cdef int _WAITING, _LATE, _ANSWERED
cdef int _ORDINARY_CONTROL, _ANSWER_CONTROL, _WHOLE_SEGMENT, _WHOLE_FRAGMENT
cdef int _CONFIRM, _READ, _RESPONSE, _UNS, _SEQUENCE
cdef long long _RESERVED
cdef Py_ssize_t _SHORTEST, _LONGEST, _DATA_AT, _OBJECTS_AT, _ANSWER_OBJECTS, _HEADER_SIZE, _REQUEST_SIZE, _MOST_READS
cdef unsigned char[::1] _ROOM_OCTETS
cdef bint _COMPILED
cdef dict _reads


cdef class Request:
    cdef public long long pair
    cdef public int function, sequence, state, owed
    cdef public bint carries_data
    cdef public double sent
    cpdef settle(self)

@cython.locals(objects=bytes)
cdef bint _only_reads(bytes octets) except -1

@cython.locals(octets=cython.uchar[::1], at=Py_ssize_t, each=Request)
cdef bytes _packed(list requests, bint unknown)

cdef class Dnp3Session(OrdinarySession):
    cdef public object _answer, _fragment, _lenient
    cdef public Request _answered
    cdef public dict _responses, _selections
    cdef public list _requests
    cdef public bint _unknown
    @cython.locals(each=Request, spare=Request, request=Request, kept=list, owed=int)
    cpdef _remember(self, long long pair, int function, int sequence, bint carries_data, double now)
    @cython.locals(
        each=Request, destination=cython.longlong, source=cython.longlong, user=Py_ssize_t, octets=bytes, function=int,
    )
    cpdef long long asks(self, bytes data, Py_ssize_t at, Py_ssize_t end) except -2
    @cython.locals(
        destination=cython.longlong, source=cython.longlong, pair=cython.longlong, sequence=int, only=Request,
    )
    cpdef asked(self, bytes data, Py_ssize_t at, Py_ssize_t end, double now)
    @cython.locals(request=Request)
    cpdef bint answers(self, bytes data, Py_ssize_t at, Py_ssize_t end) except -1
    @cython.locals(
        each=Request, user=Py_ssize_t, header=int, control=int, function=int, destination=cython.longlong,
        source=cython.longlong, pair=cython.longlong, sequence=int,
    )
    cpdef Request _answered_by(self, bytes data, Py_ssize_t at)
    @cython.locals(request=Request)
    cpdef answered(self, double now)
    @cython.locals(only=Request)
    cpdef bytes pack(self)
