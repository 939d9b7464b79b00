/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * npm's sockjs-client, unmodified, driven by tests through Snorky::Client:
 *
 *   node sockjs.js URL [TRANSPORT]
 *
 * TRANSPORT is one of those it has in Node: websocket, xhr-streaming,
 * eventsource, xhr-polling; without one, it chooses.  Takes orders from
 * standard input, a JSON array a line, and prints what happens in the same
 * form:
 *
 *   ["send", TEXT, ...]        messages
 *   ["exchange", OPTIONS]      with an echo: exchange.js says what they are;
 *                              "progress" is after how many to tell of it
 *   ["close", CODE, REASON]
 *
 *   ["open", TRANSPORT] ["text", TEXT] ["heartbeat"] ["progress", NUMBER]
 *   ["report", REPORT] ["close", CODE, REASON, CLEAN] ["error", TEXT]
 */

'use strict';

const readline = require('node:readline');
const SockJS = require('sockjs-client');
const { exchange } = require('./exchange');

const [url, transport] = process.argv.slice(2);

/* what is slow is no reason to try another transport */
const socket = new SockJS(url, null, {
    transports: transport === undefined ? [] : [transport], timeout: 60000,
});


function say(...what) {
    process.stdout.write(`${JSON.stringify(what)}\n`);
}


function listen() {
    socket.onmessage = ({ data }) => say('text', data);
    socket.onclose = closed;
}


/* exits when all is written that was said */
function closed({ code, reason, wasClean }) {
    say('close', code, reason, wasClean);
    process.stdout.write('', () => process.exit(0));
}


const orders = {

    send(...texts) {
        texts.forEach((text) => socket.send(text));
    },

    async exchange({ progress, ...options }) {
        const done = await exchange(socket, options, (number) => {
            if (progress !== undefined && number % progress === 0) {
                say('progress', number);
            }
        });

        say('report', done);

        if (done.closed !== null) {
            closed(done.closed);
            return;
        }

        listen();
    },

    close(code, reason) {
        socket.close(code, reason);
    },
};


listen();

socket.onheartbeat = () => say('heartbeat');
socket.onerror = () => say('error', 'no connection');

socket.onopen = () => {
    const lines = readline.createInterface({ input: process.stdin });

    say('open', socket.transport);

    lines.on('line', (line) => {
        const [order, ...parameters] = JSON.parse(line);

        orders[order](...parameters);
    });

    lines.on('close', () => process.exit(0));
};
