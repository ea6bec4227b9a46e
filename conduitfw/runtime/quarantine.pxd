# Types for the compiler (CONTRIBUTING.md): every packet asks whether anything is active.
cdef class Quarantine:
    cdef public bint active
    cdef object _memory
    cdef dict _known
    cdef list _free
