# Types for the compiler (CONTRIBUTING.md).
cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.string cimport memcpy
from conduitfw.octets cimport span, u16_low

cdef unsigned short[::1] _WORDS, _OCTETS, _SIZES
cdef long long _START
cdef Py_ssize_t _HEADER_SIZE, _BLOCK
cdef bint _COMPILED


cdef inline bint has_crc(
    unsigned short[::1] words, unsigned short[::1] octets, bytes data, Py_ssize_t at, Py_ssize_t size
) except -1:
    """Whether the CRC behind data[at:at + size] is right. Both tables answer for every number of their index."""
    cdef const unsigned char *each = span(data, at, size + 2)
    cdef Py_ssize_t place
    cdef unsigned short register = 0
    if words.shape[0] != 0x10000 or octets.shape[0] != 0x100:
        raise IndexError("a table is not whole")
    for place in range(0, size - 1, 2):
        register = words[register ^ <unsigned short>(each[place] | each[place + 1] << 8)]
    if size & 1:
        register = register >> 8 ^ octets[(register ^ each[size - 1]) & 0xFF]
    return register == <unsigned short>~(each[size] | each[size + 1] << 8)


cdef inline bytes without_crcs(bytes data, Py_ssize_t at, Py_ssize_t user):
    """`user` octets of user data, in blocks from `at` on."""
    cdef Py_ssize_t step, written = 0
    cdef bytes whole = PyBytes_FromStringAndSize(NULL, user)
    while written < user:
        step = user - written if user - written < _BLOCK else _BLOCK
        memcpy(PyBytes_AS_STRING(whole) + written, span(data, at, step), step)
        written += step
        at += _BLOCK + 2
    return whole


@cython.locals(first=cython.longlong, second=cython.longlong, size=Py_ssize_t, right=cython.bint)
cpdef Py_ssize_t frame(bytes data, Py_ssize_t start, Py_ssize_t end) except -1

@cython.locals(size=Py_ssize_t)
cpdef bint blocks_are_right(bytes data, Py_ssize_t at, Py_ssize_t user) except -1

cpdef bytes user_data(bytes data, Py_ssize_t start, Py_ssize_t user)
