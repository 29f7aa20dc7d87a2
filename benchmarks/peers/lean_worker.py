"""A lean HTTP worker on a Unix socket (its argument): asyncio.Protocol, httptools, uvloop, JSON in and out."""

import asyncio
import json
import sys
from pathlib import Path

import httptools
import uvloop

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"


def handle(event):
    return event


class Worker(asyncio.Protocol):
    """One kept-alive connection. Requests of a connection are answered in order, each as soon as it is whole."""

    def connection_made(self, transport):
        self.transport = transport
        self.parser = httptools.HttpRequestParser(self)
        self.body = b""

    def data_received(self, data):
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.transport.close()

    def on_body(self, data):
        self.body += data

    def on_message_complete(self):
        answer = json.dumps(handle(json.loads(self.body))).encode()
        self.body = b""
        self.transport.write(HEAD % (len(answer), answer))


async def main(path):
    Path(path).unlink(missing_ok=True)
    server = await asyncio.get_running_loop().create_unix_server(Worker, path, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
