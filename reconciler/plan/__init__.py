"""Two values in, a plan out. Pure: no I/O, no clock."""
