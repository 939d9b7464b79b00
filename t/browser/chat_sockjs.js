/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Uses the page of the chat over SockJS: Ada has a plain WebSocket, and Grace
 * comes by each transport in turn.  See t/browser/windows.js for how it is
 * started.
 */

'use strict';

const assert = require('node:assert');
const { it, open, texts, reload, looks, browse } = require('./windows');

const MESSAGES = '#log ol:not([hidden]) .message .body';

const TRANSPORTS = [
    'websocket', 'xhr-streaming', 'eventsource', 'htmlfile', 'xhr-polling',
    'jsonp-polling', 'iframe-eventsource', 'iframe-htmlfile',
    'iframe-xhr-polling',
];

/* what JSON, scripts, forms and lines could stumble over */
const ODD = '"\\ \'; </script> \u2028\u200c a+b=c&d %41 \ud83d\udc19 ';

let ada;


async function speak(page, text) {
    await page.fill('#text', text);
    await page.press('#text', 'Enter');
}


/* each says some lines, not waiting for the other; all see them in one order */
async function talk(pages, text) {
    const lines = (name) => Array.from({ length: 10 },
        (_, n) => `${text} ${name} ${n} ${ODD}`.trim());

    const before = (await bodies(pages[0])).length;

    await Promise.all(pages.map(async (page) => {
        for (const line of lines(await page.inputValue('#name'))) {
            await speak(page, line);
        }
    }));

    for (const page of pages) {
        await page.waitForFunction(([selector, n]) =>
            document.querySelectorAll(selector).length >= n,
            [MESSAGES, 10 * pages.length]);
    }

    const heard = (await bodies(ada)).slice(before);

    for (const page of pages) {
        const name = await page.inputValue('#name');

        await texts(page, `${MESSAGES}`, (await bodies(ada)).slice(
            -(await bodies(page)).length));
        assert.deepStrictEqual(heard.filter((body) => body.startsWith(
            `${text} ${name} `)), lines(name));
    }

    assert.strictEqual(heard.length, 10 * pages.length);
}


function bodies(page) {
    return page.$$eval(MESSAGES, (all) => all.map((e) =>
        e.textContent.trim()));
}
