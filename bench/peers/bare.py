"""The limit at one send a delivery: a raw asyncio server that keeps nothing and does nothing else.

It takes the posts of the load and sends one ready frame to each subscriber with ``socket.send``.
"""

import asyncio
import json
import socket
import sys

subscribers: list[socket.socket] = []
last = 0


class Connection(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
        self.data = b""

    def data_received(self, data):
        global last
        self.data += data
        while (end := self.data.find(b"\r\n\r\n")) >= 0:
            head = self.data[:end]
            if head.startswith(b"GET"):
                self.data = b""
                sock = self.transport.get_extra_info("socket")
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n: hello\n\n")
                subscribers.append(socket.socket(fileno=sock.fileno()))
                return
            size = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            if len(self.data) < end + 4 + size:
                return
            body, self.data = self.data[end + 4 : end + 4 + size], self.data[end + 4 + size :]
            text = json.loads(body)["text"]
            last += 1
            data = {"id": last, "type": "message", "sessionId": "dev", "payload": {"text": text}}
            frame = f"id: {last}\ndata: {json.dumps(data)}\n\n".encode()
            for subscriber in subscribers:
                self.send(subscriber, frame)
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n" + b'{"ok":true}')

    def send(self, subscriber, frame):
        while frame:
            try:
                frame = frame[subscriber.send(frame) :]
            except BlockingIOError:
                continue


async def main():
    server = await asyncio.get_running_loop().create_server(
        Connection, "127.0.0.1", int(sys.argv[1]), backlog=4096
    )
    await server.serve_forever()


asyncio.run(main())
