# How the compiled modules read and write runs of octets: each looks once whether all that it touches is there, and
# raises IndexError where it is not. What stands between two looks has a fixed length.
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.string cimport memcpy


cdef inline const unsigned char *span(bytes data, Py_ssize_t at, Py_ssize_t size) except NULL:
    """`size` octets of data from `at` on."""
    if at < 0 or size < 0 or size > len(data) or at > len(data) - size:
        raise IndexError("octets that are not there")
    return <const unsigned char *>data + at


cdef inline long long u16(bytes data, Py_ssize_t at) except -1:
    """Two octets, the high one first."""
    cdef const unsigned char *octets = span(data, at, 2)
    return octets[0] << 8 | octets[1]


cdef inline long long u32(bytes data, Py_ssize_t at) except -1:
    """Four octets, the highest first."""
    cdef const unsigned char *octets = span(data, at, 4)
    return <long long>octets[0] << 24 | octets[1] << 16 | octets[2] << 8 | octets[3]


cdef inline long long u16_low(bytes data, Py_ssize_t at) except -1:
    """Two octets, the low one first."""
    cdef const unsigned char *octets = span(data, at, 2)
    return octets[0] | octets[1] << 8


cdef inline bytes part(bytes data, Py_ssize_t at, Py_ssize_t end):
    """data[at:end], all of it."""
    return PyBytes_FromStringAndSize(<const char *>span(data, at, end - at), end - at)


cdef inline bytes copy(unsigned char[::1] room, Py_ssize_t size):
    """room[:size], all of it."""
    if size < 0 or size > room.shape[0]:
        raise IndexError("octets that are not there")
    return PyBytes_FromStringAndSize(<const char *>&room[0], size) if size else b""


cdef inline int put_time(unsigned char[::1] room, Py_ssize_t at, double seconds) except -1:
    """A time in room[at:], as the struct module's "d"."""
    if at < 0 or at > room.shape[0] - 8:
        raise IndexError("no room for octets")
    memcpy(&room[at], &seconds, 8)
    return 0


cdef inline int put(unsigned char[::1] room, Py_ssize_t at, bytes octets) except -1:
    """room[at:] begins with `octets` from now on."""
    cdef Py_ssize_t size = len(octets)
    if at < 0 or size > room.shape[0] or at > room.shape[0] - size:
        raise IndexError("no room for octets")
    if size:
        memcpy(&room[at], <const char *>octets, size)
    return 0


cdef inline bint sums_to_nothing(bytes data, Py_ssize_t at, Py_ssize_t end, long long more) except -1:
    """Whether data[at:end] and `more` (of 16 bits), as words, have the sum 0 in ones' complement (RFC 1071)."""
    cdef const unsigned char *octets = span(data, at, end - at)
    cdef Py_ssize_t size = end - at
    cdef unsigned char pair[2]
    cdef unsigned short two
    cdef unsigned int four
    cdef unsigned long long eight, total
    # In the machine's own order of octets, which changes no sum's being 0 (RFC 1071, 2 (B)); nor does taking several
    # words at once, since 2 ^ 16 leaves 1. A packet has too few octets for `total` to overflow.
    pair[0], pair[1] = more >> 8 & 0xFF, more & 0xFF
    memcpy(&two, pair, 2)
    total = two
    while size >= 8:
        memcpy(&eight, octets, 8)
        total += <unsigned int>eight + (eight >> 32)
        octets += 8
        size -= 8
    if size & 4:
        memcpy(&four, octets, 4)
        total += four
        octets += 4
    if size & 2:
        memcpy(&two, octets, 2)
        total += two
        octets += 2
    if size & 1:
        pair[0], pair[1] = octets[0], 0
        memcpy(&two, pair, 2)
        total += two
    return total % 0xFFFF == 0
