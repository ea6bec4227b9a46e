# Types for the compiler (CONTRIBUTING.md). Numbers have 64 bits, so that nothing wraps that would not wrap in Python.
cimport cython
from conduitfw.octets cimport put

cdef bint _COMPILED
cdef unsigned char _FREE, _USED, _IN_HAND
cdef Py_ssize_t _HALVES_AT, _ROOM_AT, _HALF_SIZE, _INLINE

cdef class Flow:
    cdef public long long client_ack, client_window, client_stamp, server_next, server_window, server_stamp
    cdef public long long base, sent, taken, raised_from, raised_to, edge
    cdef public long long alone_until, isn, pending_isn, pending_stamp, client_end, server_end, server_early, claimed
    cdef public long long server_mss, longest_sent, longest_end, longest, client_port_index, server_port_index, vlan
    cdef public long long denials, older_until, removed, inserted, answered_end, answered_size, answer_at, open_policy
    cdef public unsigned long long open_rules
    cdef public double last, created, head_since, answer_since, answer_due
    cdef public int state, transport, window_scale, deaths, answer_length
    cdef public bint observed, client_known, server_known, scale_known, loose, closing, client_ended, server_ended
    cdef public bint timestamps, pending, pending_timestamps, pending_sack, sack, alone, ahead, claiming
    cdef public bint turning, ordinary
    cdef public bytes client_mac, server_mac, answer, held, key, partial, reverse_key, session_bytes
    cdef public Py_ssize_t at, block, place, slot, resets_due
    cdef public int half
    cdef public object channel, early, session

cdef class Records:
    cdef public object memory, _free_blocks
    cdef public list _free_slots
    cdef public Py_ssize_t capacity, pool_full, _blocks_at, _most_blocks, _touched
    cdef unsigned char[::1] _octets
    cdef unsigned int[::1] _words
    cdef double[::1] _times
    cdef public dict _blocks_by_source
    cpdef mark(self, Flow flow)
    @cython.locals(
        session_size=Py_ssize_t, held_size=Py_ssize_t, at=Py_ssize_t,
        other=int, half=Py_ssize_t, room=Py_ssize_t, word=Py_ssize_t, held=bytes,
    )
    cpdef bint write_ordinary(self, Flow flow, bytes packed) except -1
