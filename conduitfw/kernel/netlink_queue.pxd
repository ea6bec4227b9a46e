# Types for the compiler (CONTRIBUTING.md), and the system calls that Python has no name for.
cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.errno cimport EAGAIN, EINTR, ENOBUFS, errno as code
from libc.stdint cimport uint16_t, uint32_t
from libc.string cimport memcpy, memset

cdef extern from "<sys/socket.h>":
    int MSG_DONTWAIT, MSG_WAITFORONE
    struct iovec:
        void *iov_base
        size_t iov_len
    struct msghdr:
        iovec *msg_iov
        size_t msg_iovlen
    struct mmsghdr:
        msghdr msg_hdr
        unsigned int msg_len
    int recvmmsg(int fd, mmsghdr *messages, unsigned int count, int flags, void *timeout)
    ssize_t send(int fd, const void *data, size_t size, int flags)

cdef extern from "<sys/epoll.h>":
    ctypedef union epoll_data_t:
        int fd
    struct epoll_event:
        epoll_data_t data
    int epoll_wait(int epoll, epoll_event *events, int most, int milliseconds)

cdef extern from "<arpa/inet.h>":
    uint32_t htonl(uint32_t number)
    uint16_t htons(uint16_t number)

cdef extern from "<Python.h>":
    object PyErr_SetFromErrno(object kind)

cdef bint _COMPILED, _LITTLE
cdef double _ASIDE_UNDER_WAY
cdef Py_ssize_t _FAMILY_HEAD, _ROOM, _ANSWER, _OUT, _BURST, _BUDGET, _TOGETHER
cdef int _PACKET, _PACKET_HEADER, _MARK, _INDEV, _PHYSINDEV, _HWADDR, _PAYLOAD, _TYPE_MASK, _DROP, _ACCEPT


cdef inline bytes octets(const unsigned char[::1] data, Py_ssize_t at, Py_ssize_t end):
    """data[at:end], where that is within `data`."""
    if at < 0 or end < at or end > data.shape[0]:
        raise IndexError("beyond the message")
    return b"" if at == end else PyBytes_FromStringAndSize(<const char *>&data[at], end - at)


cdef inline int receive_burst(
    int fd, const unsigned char[::1] into, Py_ssize_t room, unsigned int *sizes, bint wait
) except -1:
    """At most 16 messages that wait, one each `room` octets of `into`; their sizes. Gives how many.

    `wait`: for the first of them, as long as the socket's SO_RCVTIMEO says.
    """
    cdef mmsghdr messages[16]
    cdef iovec vectors[16]
    cdef int place, count
    if into.shape[0] < 16 * room:
        raise IndexError("no room for a burst")
    memset(messages, 0, sizeof(messages))
    for place in range(16):
        vectors[place].iov_base = <void *>(&into[0] + place * room)
        vectors[place].iov_len = room
        messages[place].msg_hdr.msg_iov = &vectors[place]
        messages[place].msg_hdr.msg_iovlen = 1
    while True:
        count = recvmmsg(fd, messages, 16, MSG_WAITFORONE if wait else MSG_DONTWAIT, NULL)
        if count >= 0:
            break
        if code == EAGAIN or code == EINTR:
            return 0
        if code != ENOBUFS:  # some did not fit, and the kernel counts them; told once
            PyErr_SetFromErrno(OSError)
    for place in range(count):
        sizes[place] = messages[place].msg_len
    return count


cdef inline int wait_on(int epoll, double seconds, int *ready) except -1:
    """Wait until one of the descriptors can be read; gives how many can, at most 4, and which."""
    cdef epoll_event events[4]
    cdef int place, count = epoll_wait(epoll, events, 4, <int>(seconds * 1000) + 1 if seconds > 0 else 0)
    if count < 0:
        if code != EINTR:
            PyErr_SetFromErrno(OSError)
        return 0
    for place in range(count):
        ready[place] = events[place].data.fd
    return count


cdef inline int send_buffer(int fd, const unsigned char[::1] data, Py_ssize_t size) except -1:
    """Send data[:size]."""
    if size > data.shape[0]:
        raise IndexError("beyond the buffer")
    while send(fd, &data[0], size, 0) < 0:
        if code != EINTR:
            PyErr_SetFromErrno(OSError)
    return 0


cdef inline Py_ssize_t put_octets(unsigned char[::1] out, Py_ssize_t at, bytes octets) except -1:
    """Write `octets` at `at`; gives where they end."""
    cdef Py_ssize_t end = at + len(octets)
    if at < 0 or end > out.shape[0]:
        raise IndexError("no room for the message")
    if end > at:
        memcpy(&out[at], <const char *>octets, end - at)
    return end


cdef struct Answer:
    uint32_t size
    uint16_t kind, flags
    uint32_t sequence, port  # nlmsghdr
    unsigned char family, version
    uint16_t queue  # nfgenmsg
    uint16_t verdict_size, verdict_kind
    uint32_t verdict, number
    uint16_t mark_size, mark_kind
    uint32_t mark


cdef inline Py_ssize_t put_verdict(
    unsigned char[::1] out, Py_ssize_t at, int queue, long long number, int verdict, long long mark
) except -1:
    """Write a message NFQNL_MSG_VERDICT at `at`, with a mark that is not negative; gives where it ends."""
    cdef Answer answer
    cdef Py_ssize_t size = sizeof(answer) if mark >= 0 else sizeof(answer) - 8
    if at < 0 or at + size > out.shape[0]:
        raise IndexError("no room for the message")
    memset(&answer, 0, sizeof(answer))
    answer.size, answer.kind, answer.flags = <uint32_t>size, 0x301, 1
    answer.queue = htons(<uint16_t>queue)
    answer.verdict_size, answer.verdict_kind = 12, 2
    answer.verdict, answer.number = htonl(<uint32_t>verdict), htonl(<uint32_t>number)
    answer.mark_size, answer.mark_kind = 8, 3
    answer.mark = htonl(<uint32_t>mark)
    memcpy(&out[at], &answer, size)
    return at + size


cdef class Packet:
    cdef public long long number, mark, ifindex
    cdef public bytes mac, payload
    cdef public NetlinkQueue _queue
    cpdef accept(self, long long mark, bytes payload=*)
    cpdef drop(self)
    cpdef flush(self)


cdef class NetlinkQueue:
    cdef public int number
    cdef public object take
    cdef public object _socket
    cdef Packet _packet
    cdef bytes _head
    cdef list _messages, _verdicts
    cdef const unsigned char[::1] _into
    cdef unsigned char[::1] _out
    cdef Py_ssize_t _used
    cdef unsigned int[16] _sizes
    cdef int _descriptor
    @cython.locals(done=int, count=int, place=int)
    cpdef service(self, bint wait=*)
    cdef int _receive(self, bint wait) except -1
    @cython.locals(size=Py_ssize_t, kind=int)
    cdef _read(self, const unsigned char[::1] data, Py_ssize_t at, Py_ssize_t end)
    @cython.locals(packet=Packet, size=Py_ssize_t, kind=int, indev=cython.longlong, length=Py_ssize_t)
    cdef _read_packet(self, const unsigned char[::1] data, Py_ssize_t at, Py_ssize_t end)
    cpdef answer(self, long long number, int verdict, long long mark)
    @cython.locals(message=bytes)
    cpdef answer_changed(self, long long number, long long mark, bytes payload)
    @cython.locals(size=Py_ssize_t)
    cpdef flush(self)


cdef class Waiter:
    cdef object _epoll
    cdef dict _by_descriptor
    cdef NetlinkQueue _alone
    cdef double _busy_poll, _looked
    cdef int _other, _descriptor
    cdef int[4] _ready
    @cython.locals(now=double, until=double)
    cpdef bint serve(self, double seconds) except -1
    @cython.locals(now=double, served=int)
    cdef int _serve_alone(self) except -2
    @cython.locals(count=int, place=int, descriptor=int, found=list, queue=NetlinkQueue)
    cdef int _look(self, double seconds) except -2
    @cython.locals(now=double, last=double, queue=NetlinkQueue)
    cdef _ask_again(self, double until)

cdef int _half(const unsigned char[::1] data, Py_ssize_t at) except -1
@cython.locals(high=cython.longlong)
cdef long long _word(const unsigned char[::1] data, Py_ssize_t at) except -1
