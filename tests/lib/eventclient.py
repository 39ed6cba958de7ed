# SPDX-License-Identifier: Apache-2.0
"""The client side of tcp-info's event protocol: one JSON line per event."""
import json
import socket
import threading


class EventClient:
    def __init__(self, test, path):
        self.events = []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.connect(str(path))
        test.addCleanup(self.close)
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        try:
            with self.socket.makefile("rb") as lines:
                for line in lines:
                    self.events.append(json.loads(line))
        except OSError:
            pass

    def opened(self, port):
        """UUID of an opened flow with that port at either end, or None."""
        for event in list(self.events):
            ends = event.get("ID") or {}
            if event["Event"] == 0 and port in (ends.get("SPort"), ends.get("DPort")):
                return event["UUID"]
        return None

    def close(self):
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.socket.close()
