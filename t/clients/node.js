/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * A Snorky client made with npm's "ws", driven by t/clients.t:
 *
 *   node node.js URL [PROTOCOL]
 *
 * Takes orders from standard input, a JSON array a line, and prints what
 * happens in the same form:
 *
 *   ["send", TEXT] ["parts", [TEXT, ...]] ["ping", TEXT]
 *   ["close", CODE, REASON]
 *
 *   ["headers", {NAME: VALUE}] ["open", PROTOCOL, EXTENSIONS]
 *   ["text", TEXT] ["binary", TEXT] ["pong", TEXT] ["close", CODE, REASON]
 *   ["error", TEXT]
 */

'use strict';

const readline = require('node:readline');
const WebSocket = require('ws');

const [url, protocol] = process.argv.slice(2);
const socket = protocol === undefined ? new WebSocket(url)
                                      : new WebSocket(url, protocol);


function say(...what) {
    process.stdout.write(`${JSON.stringify(what)}\n`);
}


const orders = {

    send(text) {
        socket.send(text);
    },

    /* one text message, a frame for each part */
    parts(parts) {
        parts.forEach((part, n) => {
            socket.send(part, { fin: n === parts.length - 1 });
        });
    },

    ping(text) {
        socket.ping(text);
    },

    close(code, reason) {
        socket.close(code, reason);
    },
};


socket.on('upgrade', (response) => say('headers', response.headers));

socket.on('open', () => {
    const lines = readline.createInterface({ input: process.stdin });

    say('open', socket.protocol, socket.extensions);

    lines.on('line', (line) => {
        const [order, ...parameters] = JSON.parse(line);

        orders[order](...parameters);
    });

    lines.on('close', () => process.exit(0));
});

socket.on('message', (data, isBinary) => {
    say(isBinary ? 'binary' : 'text', data.toString());
});

socket.on('pong', (data) => say('pong', data.toString()));

socket.on('close', (code, reason) => {
    say('close', code, reason.toString());
    process.exit(0);
});

socket.on('error', (error) => say('error', error.message));
