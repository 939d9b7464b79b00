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
const ODD = '"\\ \'; </script> \u2028\u200c a+b=c&d %41 \ud83d\udc19';
const LINES = 10;

let ada, grace;


function lines(name, topic) {
    return Array.from({ length: LINES },
                      (_, n) => `${topic}, ${name} ${n}: ${ODD}`);
}


function bodies(page) {
    return page.$$eval(MESSAGES,
                       (all) => all.map((body) => body.textContent));
}


/* each says its lines, whatever the other does; both see all in one order */
async function talk(topic) {
    const pages = [ada, grace];

    for (const page of pages) {
        await page.click('#clear');
    }

    await Promise.all(pages.map(async (page) => {
        for (const line of lines(await page.inputValue('#name'), topic)) {
            await page.fill('#text', line);
            await page.press('#text', 'Enter');
        }
    }));

    for (const page of pages) {
        await page.waitForFunction(([selector, count]) =>
            document.querySelectorAll(selector).length >= count,
            [MESSAGES, 2 * LINES]);
    }

    const heard = await bodies(ada);

    assert.deepStrictEqual(await bodies(grace), heard);

    for (const name of ['Ada', 'Grace']) {
        assert.deepStrictEqual(
            heard.filter((body) => body.startsWith(`${topic}, ${name} `)),
            lines(name, topic));
    }
}


/* with what the page says of its worker */
async function served(page, transport) {
    const over = page.locator('#over');

    if (transport === null) {
        await over.getByText('over a WebSocket', { exact: true }).waitFor();
        assert.match(await page.textContent('#worker'), /^Worker \d+$/);
        return;
    }

    await over.getByText(`over SockJS, by ${transport}:`).waitFor();
    await texts(page, '#worker',
                [transport === 'websocket' ? 'one worker' : 'any worker']);
}


function event(page, expected) {
    return page.waitForFunction((wanted) =>
        [...document.querySelectorAll('#log ol:not([hidden]) .event .body')]
            .at(-1)?.textContent === wanted, expected);
}


/* the members, in whichever order they have come back */
function members(page, names) {
    return page.waitForFunction((wanted) =>
        JSON.stringify([...document.querySelectorAll('#members .who')]
            .map((who) => who.textContent).sort()) === wanted,
        JSON.stringify(names));
}


/* ------------------------------------------------------------- the cases */

async function chatting(context, transport) {
    await it(`${transport}: who comes by it is seen to come`, async () => {
        grace = await open(context,
                           `/chat.html?user=Grace&transport=${transport}`);
        await served(grace, transport);
        await members(grace, ['Ada', 'Grace (you)']);
        await members(ada, ['Ada (you)', 'Grace']);
    });

    await it(`${transport}: both talk`, () => talk('Before'));

    await it(`${transport}: after a reload it is used again`, async () => {
        await reload([ada, grace]);
        await served(grace, transport);

        const events = await grace.$$eval('#log .event .body',
            (all) => all.map((body) => body.textContent));

        assert.ok(events.includes(
            'Disconnected: the server restarts (1012)'), events);
        await members(grace, ['Ada', 'Grace (you)']);
        await members(ada, ['Ada (you)', 'Grace']);
    });

    await it(`${transport}: and both talk on`, () => talk('After'));

    await it(`${transport}: who leaves is seen to leave`, async () => {
        await grace.close();
        await members(ada, ['Ada (you)']);
        await event(ada, 'Grace left');
    });
}


async function choosing(context) {
    await it('a plain WebSocket is what there is at first', async () => {
        ada = await open(context, '/chat.html?user=Ada');
        await served(ada, null);
        assert.strictEqual(await ada.inputValue('#transport'), '');
        assert.ok(await ada.isHidden('#no-sockjs'));
    });

    await it('all transports that a browser can have are offered', async () => {
        assert.deepStrictEqual((await ada.$$eval(
            '#transport optgroup option:enabled',
            (all) => all.map((option) => option.value))).sort(),
            ['any', ...TRANSPORTS].sort());
    });

    await it('another choice is another connection', async () => {
        grace = await open(context, '/chat.html?user=Grace#lobby');
        await members(ada, ['Ada (you)', 'Grace']);
        await grace.selectOption('#transport', 'xhr-streaming');
        await served(grace, 'xhr-streaming');
        await event(ada, 'Grace joined');
        await talk('Another');
    });

    await it('it stands in the address, and in the link', async () => {
        assert.strictEqual(new URL(grace.url()).search,
                           '?user=Grace&transport=xhr-streaming');
        assert.strictEqual(await grace.getAttribute('#another', 'href'),
                           '?user=Grace&transport=xhr-streaming#lobby');
        await grace.reload();
        await served(grace, 'xhr-streaming');
    });

    await it('and does not when it is the first one again', async () => {
        await grace.selectOption('#transport', '');
        await served(grace, null);
        assert.strictEqual(new URL(grace.url()).search, '?user=Grace');
        await grace.close();
        await members(ada, ['Ada (you)']);
    });

    await it('one that there is not is the first one', async () => {
        grace = await open(context,
                           '/chat.html?user=Grace&transport=smoke');
        await served(grace, null);
        assert.strictEqual(await grace.$eval('#transport',
            (field) => field.selectedIndex), 0);
    });

    await it('SockJS may choose itself', async () => {
        await grace.selectOption('#transport', 'any');
        await served(grace, 'websocket');
        await grace.close();
    });

    await it('which is another one where WebSockets fail', async () => {
        grace = await context.newPage();
        await grace.routeWebSocket(/\/sockjs\//,
                                   (socket) => socket.close({ code: 1006 }));
        await grace.goto(new URL('/chat.html?user=Grace&transport=any',
                                 ada.url()).href);
        await served(grace, 'xhr-streaming');
    });

    await it('a transport that fails is said to', async () => {
        await grace.selectOption('#transport', 'websocket');
        await texts(grace, '#over', ['this transport does not work here']);
        await texts(grace, '#worker', ['no worker yet']);
        await grace.close();
        await members(ada, ['Ada (you)']);
    });
}


browse(async (context) => {
    await choosing(context);

    for (const transport of TRANSPORTS) {
        await chatting(context, transport);
    }

    grace = await open(context,
                       '/chat.html?user=Grace&transport=xhr-polling');
    await talk('Diving');
    await looks(grace, 'chat-sockjs');
});
