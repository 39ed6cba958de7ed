# SPDX-License-Identifier: Apache-2.0
"""The server side of tcp-info's event protocol: a unix stream socket on which each client gets one JSON line per event,
from the moment it connects on; nothing is replayed."""
import os
import pathlib
import socket
import threading


class EventServer:
    def __init__(self, test, path, mode=0o666):
        self.path = pathlib.Path(path)
        self.clients, self.lock, self.accepted = [], threading.Lock(), 0
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(str(self.path))
        os.chmod(self.path, mode)
        self.listener.listen(8)
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()
        test.addCleanup(self.close)

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            with self.lock:
                self.clients.append(client)
                self.accepted += 1

    def emit(self, line):
        """Sends raw bytes or a text to every client; forgets those that are gone."""
        data = line if isinstance(line, bytes) else line.encode()
        with self.lock:
            for client in list(self.clients):
                try:
                    client.sendall(data)
                except OSError:
                    self.clients.remove(client)

    def hang_up(self):
        """Closes the connections, not the listener."""
        with self.lock:
            for client in self.clients:
                client.close()
            self.clients = []

    def close(self):
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        self.hang_up()
        self.path.unlink(missing_ok=True)
