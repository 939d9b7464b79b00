/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * A browser's sockjs-client with each transport that it has, forced: from a
 * page of the server's own origin, and from one of another.  See
 * t/browser/windows.js for how it is started.
 *
 * The server has at /sockjs.html the page beside this file, at /sockjs.min.js
 * npm's sockjs-client, and the locations /echo, /disabled_websocket_echo and
 * /close, whose frames load that script.  It is 127.0.0.1 and "localhost".
 */

'use strict';

const assert = require('node:assert');
const { exchange } = require('../clients/exchange');
const { it, url, watch, browse } = require('./windows');

const MESSAGES = 1000;

/* and what each is seen to ask for */
const transports = {
    'websocket': 'websocket',
    'xhr-streaming': 'xhr_streaming',
    'eventsource': 'eventsource',
    'iframe-eventsource': 'eventsource',
    'htmlfile': 'htmlfile',
    'iframe-htmlfile': 'htmlfile',
    'xhr-polling': 'xhr',
    'iframe-xhr-polling': 'xhr',
    'jsonp-polling': 'jsonp',
};

/* a page of another origin has it in a frame only */
const near = ['htmlfile'];

const flawless = {
    sent: MESSAGES, received: MESSAGES, lost: [], duplicated: [],
    reordered: [], changed: [], strange: [], end: 'done', closed: null,
};


/* runs in the page: opens a session, and exchanges messages or is closed */
function session([where, chosen, options]) {
    const socket = globalThis.socket = new SockJS(where, null, {
        transports: chosen, timeout: 60000,
    });

    let used = null;

    return new Promise((resolve) => {
        socket.onclose = ({ code, reason, wasClean }) =>
            resolve({ used, closed: { code, reason, wasClean } });

        socket.onopen = async () => {
            used = socket.transport;

            if (options !== null) {
                resolve({ used, ...await exchange(socket, options) });
            }
        };
    });
}


/* a window, and what is asked for in it and in its frames */
async function open(context, page) {
    const window = await context.newPage();
    const asked = new Set();
    const note = (request) =>
        asked.add(new URL(request.url()).pathname.split('/').at(-1));

    if (page.startsWith(url)) {
        watch(window);
    }

    window.on('request', note);
    window.on('websocket', (socket) =>
        note({ url: () => socket.url() }));

    await window.goto(page);
    await window.addScriptTag({ content: `${exchange}` });

    return { window, asked };
}


async function transport(context, page, origin, name) {
    const { window, asked } = await open(context, page);
    const seed = Math.floor(Math.random() * 2 ** 32);

    await it(`${name}, ${origin}: all messages go and come`, async () => {
        const { characters, seed: used, ...report } = await window.evaluate(
            session, [`${url}echo`, [name], { count: MESSAGES, seed }]);

        assert.deepStrictEqual(report, { used: name, ...flawless },
            `seed ${used}: ${JSON.stringify(report)}`);

        assert.ok(asked.has(transports[name]), `asks for ${[...asked]}`);
        assert.strictEqual(asked.has('iframe.html'),
            name.startsWith('iframe-'));
        assert.strictEqual(asked.has('websocket'), name === 'websocket');
    });

    await it('and it is told that it was closed', async () => {
        await window.evaluate('socket.close()');

        assert.deepStrictEqual(
            await window.evaluate(session, [`${url}close`, [name], null]), {
                used: name,
                closed: { code: 3000, reason: 'Go away!', wasClean: true },
            });
    });

    await window.close();
}


async function cases(context) {
    const own = `${url}sockjs.html`;
    const other = own.replace('127.0.0.1', 'localhost');

    for (const name of Object.keys(transports)) {
        await transport(context, own, 'the same origin', name);
    }

    for (const name of Object.keys(transports)) {
        if (!near.includes(name)) {
            await transport(context, other, 'another origin', name);
        }
    }

    const { window } = await open(context, own);

    for (const [where, used] of [
        ['echo', 'websocket'], ['disabled_websocket_echo', 'xhr-streaming'],
    ]) {
        await it(`/${where}: left alone it takes ${used}`, async () => {
            const report = await window.evaluate(session,
                [`${url}${where}`, [], { count: 10 }]);

            assert.strictEqual(report.used, used);
            assert.strictEqual(report.end, 'done');
        });
    }
}


browse(cases);
