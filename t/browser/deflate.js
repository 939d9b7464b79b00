/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * A browser's own WebSocket, which compresses.  See t/browser/windows.js for
 * how it is started.
 */

'use strict';

const assert = require('node:assert');
const { it, url, watch, browse } = require('./windows');


/* runs in the page: what the echoes of these are, and what was agreed on */
function echo([where, messages]) {
    return new Promise((resolve) => {
        const address = new URL(where, location.href);
        const socket = new WebSocket(address.href.replace(/^http/, 'ws'));
        const echoes = [];

        socket.binaryType = 'arraybuffer';
        socket.onopen = () => messages.forEach((message) =>
            socket.send(Array.isArray(message) ? new Uint8Array(message)
                                               : message));

        socket.onmessage = ({ data }) => {
            echoes.push(typeof data === 'string' ? data
                                                 : [...new Uint8Array(data)]);

            if (echoes.length === messages.length) {
                socket.close(1000);
            }
        };

        socket.onclose = ({ code }) => resolve({
            extensions: socket.extensions, echoes, code,
        });
    });
}


async function cases(context) {
    const page = await context.newPage();

    watch(page);
    await page.goto(url);

    const long = Array.from({ length: 900 }, (_, n) => `wörd-${n}`).join(' ');
    const bytes = Array.from({ length: 1000 }, (_, n) => n * n % 251);
    const messages = ['', 'short', long, bytes, long, long, 'x'.repeat(500000),
                      'short'];

    for (const [where, agreed] of [
        ['/echo', 'permessage-deflate; server_no_context_takeover; '
                  + 'client_no_context_takeover'],
        ['/own_echo', 'permessage-deflate'],
    ]) {
        const sent = where === '/echo' ? messages
            : messages.filter((message) => message.length < 60000);
        const result = await page.evaluate(echo, [where, sent]);

        await it(`${where}: a browser agrees`, () =>
            assert.strictEqual(result.extensions, agreed));
        await it('gets all messages back as they were', () =>
            assert.deepStrictEqual(result.echoes, sent));
        await it('and closes', () => assert.strictEqual(result.code, 1000));
    }

    await it('a message of too many bytes is told so', async () => {
        const result = await page.evaluate(echo,
            ['/own_echo', ['x'.repeat(100000)]]);

        assert.strictEqual(result.code, 1009);
    });
}


browse(cases);
