# Copyright (C) The ngx_snorky_module authors
#
# A Snorky client made with Python's "websockets", driven by t/clients.t with
# the orders that node.js takes:
#
#   python3 python.py URL [PROTOCOL]

import asyncio
import json
import sys

import websockets


def say(*what):
    print(json.dumps(what), flush=True)


async def order(socket, name, *parameters):
    if name == "send":
        await socket.send(parameters[0])

    elif name == "parts":
        # one text message, a frame for each part
        await socket.send(parameters[0])

    elif name == "ping":
        pong = await socket.ping(parameters[0])
        await pong
        say("pong", parameters[0])

    elif name == "close":
        await socket.close(*parameters)


async def orders(socket):
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)

    while line := await reader.readline():
        await order(socket, *json.loads(line))


async def receive(socket):
    try:
        while True:
            message = await socket.recv()

            if isinstance(message, str):
                say("text", message)
            else:
                say("binary", message.decode())

    except websockets.exceptions.ConnectionClosed:
        say("close", socket.close_code, socket.close_reason)


def headers(socket):
    # the name before version 14, and the one since
    found = (socket.response_headers if hasattr(socket, "response_headers")
             else socket.response.headers)

    return {name.lower(): value for name, value in found.raw_items()}


async def main(url, *protocols):
    socket = await websockets.connect(url, subprotocols=protocols or None)
    found = headers(socket)

    say("headers", found)
    say("open", socket.subprotocol or "",
        found.get("sec-websocket-extensions", ""))

    reading = asyncio.ensure_future(orders(socket))
    await receive(socket)
    reading.cancel()


asyncio.run(main(*sys.argv[1:]))
