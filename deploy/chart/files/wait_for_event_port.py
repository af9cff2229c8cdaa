# The kubelet starts the distributor only when this has returned: events that it sends to a closed
# port are lost silently.
import socket
import sys
import time

port, seconds = int(sys.argv[1]), float(sys.argv[2])
deadline = time.monotonic() + seconds
while True:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        break
    except OSError as error:
        if time.monotonic() > deadline:
            sys.exit(f"nothing listens on port {port} after {seconds:g} s: {error}")
        time.sleep(0.2)
