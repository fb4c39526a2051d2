"""What the kernel knows of a socket before the loop does; called by the stock transport on idle connections."""

import select
import socket


def is_readable(sock: socket.socket | None) -> bool:
    """Whether bytes or an end have arrived that nobody has read; true where there is no socket any more."""
    if sock is None or sock.fileno() < 0:
        return True
    poll = select.poll()
    poll.register(sock.fileno(), select.POLLIN)
    return bool(poll.poll(0))
