#!/usr/bin/env python3

# Copyright (C) The ngx_snorky_module authors

"""Calls Snorky's services from a backend in Python: see docs/backend.md.

    from snorky import Backend

    backend = Backend("http://127.0.0.1:8080/backend", key)
    backend.call("messaging_backend", "publish",
                 {"channel": "news", "message": "Hello!"})

Without arguments, the address is that of the environment's SNORKY_URL, and the
key that of SNORKY_KEY.  So it is from a shell:

    snorky.py SERVICE COMMAND [PARAMS]

PARAMS is JSON, of the standard input where it is left out.  What is returned
is printed.  The exit status is 1 when the call was refused, and 3 when it is
not known what has become of it.

It needs nothing but Python 3.9.  Copy it into your application.
"""

import http.client
import json
import os
import selectors
import sys
from urllib.parse import urlsplit


class SnorkyError(Exception):
    """Any of the following."""


class ServiceError(SnorkyError):
    """The answer is an error, and this its text; nothing was done."""


class StatusError(SnorkyError):
    """An HTTP status, and no answer."""

    def __init__(self, status):
        super().__init__(f"HTTP status {status}")
        self.status = status


class NoAnswer(SnorkyError):
    """None came, or not in time: the call may have been carried out."""


class Backend:
    """Threads may share it: calls at the same time have a connection each.

    Connections are kept for the next call.  Processes must not share them: so
    make a Backend after a fork.
    """

    def __init__(self, url=None, key=None, timeout=15):
        self.url = urlsplit(url or os.environ["SNORKY_URL"])
        self.path = self.url._replace(scheme="", netloc="").geturl()
        self.headers = {
            "Content-Type": "application/json",
            "X-Backend-Key": key or os.environ["SNORKY_KEY"],
        }
        self.timeout = timeout      # seconds, for each wait
        self.idle = []

    def call(self, service, command, params):
        """What the command returns."""
        answer = self.post(envelope(service, command, params))["message"]

        if answer["type"] == "error":
            raise ServiceError(answer["message"])

        return answer["data"]

    def batch(self, calls):
        """Makes (service, command, params) one after the other.

        Their answers, {"type": "response", "data": ...} or {"type": "error",
        "message": ...}.  There are less than calls when the last is Overloaded:
        then those behind it were not tried.
        """
        return [answer["message"]
                for answer in self.post([envelope(*call) for call in calls])]

    def post(self, message):
        body = json.dumps(message, ensure_ascii=False, allow_nan=False,
                          separators=(",", ":")).encode()
        connection = self.take()

        try:
            connection.request("POST", self.path, body, self.headers)
            response = connection.getresponse()
            text = response.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise NoAnswer(str(error) or type(error).__name__) from error

        self.idle.append(connection)

        # 503 comes with an answer, too, when that is this error
        if response.status == 200 \
                or response.status == 503 and b'"Overloaded"' in text:
            return json.loads(text)

        # nginx, or a proxy before it, may have failed when all was done
        if response.status in (500, 502, 504):
            raise NoAnswer(f"HTTP status {response.status}")

        raise StatusError(response.status)

    def take(self):
        """A connection that nobody uses, and nginx has not closed."""
        while self.idle:
            try:
                connection = self.idle.pop()
            except IndexError:
                break                   # another thread was faster

            if connection.sock is None or not readable(connection.sock):
                return connection

            connection.close()

        kind = {"http": http.client.HTTPConnection,
                "https": http.client.HTTPSConnection}[self.url.scheme]

        return kind(self.url.hostname, self.url.port, timeout=self.timeout)


def envelope(service, command, params):
    return {"service": service, "message": {
        "command": command, "params": params, "callId": 1}}


def readable(sock):
    """Whether it has something to read, as is the end of the connection."""
    with selectors.DefaultSelector() as selector:
        selector.register(sock, selectors.EVENT_READ)
        return bool(selector.select(0))


def main(args):
    if len(args) not in (2, 3):
        sys.exit(f"usage: {sys.argv[0]} SERVICE COMMAND [PARAMS]")

    params = json.loads(args[2] if len(args) == 3 else sys.stdin.buffer.read())

    try:
        data = Backend().call(args[0], args[1], params)
    except SnorkyError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(3 if isinstance(error, NoAnswer) else 1)

    print(data if isinstance(data, str) else json.dumps(data))


if __name__ == "__main__":
    main(sys.argv[1:])
