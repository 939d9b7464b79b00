/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * What the tests of the JavaScript client share: windows with clients, and
 * what the server is asked for.  See t/js_browser.t for the server,
 * t/browser/windows.js for how a test is started.
 */

'use strict';

const assert = require('node:assert');
const { TIMEOUT, url, master, it, watch, browse } = require('./windows');

const wrong = [];       /* what pages said on their consoles */

/* what the browser itself says of each failed request, and nobody can help */
const OWN_WORDS =
    /^(WebSocket connection to|Failed to load resource|Access to fetch)/;


/* a worker that quits closes connections that are kept */
const ONCE = { Connection: 'close' };


/* ------------------------------------------------------ inside the windows */

/* runs in a page, before all else */
function equip(timeout) {
    /* the page's client, and what it told: client.states, client.told */
    globalThis.start = (where, options) => {
        globalThis.client?.close();

        const client = globalThis.client = new Snorky(where, {
            echo: Snorky.Service,
            pubsub: Snorky.PubSub,
            messaging: Snorky.Messaging,
            chat: Snorky.Chat,
            cursors: Snorky.Cursors,
            datasync: Snorky.DataSync,
        }, { minWait: 20, maxWait: 200, autoConnect: false, ...options });

        client.states = [];
        client.told = [];

        client.stateChanged.add(({ state, code }) => {
            client.states.push(code === undefined ? state
                                                  : `${state} ${code}`);
        });

        for (const signal of ['connected', 'disconnected', 'resumed']) {
            client[signal].add(() => client.told.push(signal));
        }

        client.connect();
    };

    /* reads a loop to its end, into NAME.got; then it is in NAME.end */
    globalThis.read = (name, iterable) => {
        const reader = globalThis[name] = { got: [], end: null };

        (async () => {
            for await (const value of iterable) {
                reader.got.push(value);
            }
        })().then(() => { reader.end = 'done'; },
                  (error) => { reader.end = String(error); });
    };

    globalThis.shown = (visibilityState) => {
        Object.defineProperty(document, 'visibilityState',
                              { value: visibilityState, configurable: true });
        Object.defineProperty(document, 'hidden',
            { value: visibilityState === 'hidden', configurable: true });
        document.dispatchEvent(new Event('visibilitychange'));
    };

    /* looks until it is so: frames are not drawn in all pages */
    globalThis.until = async (condition) => {
        const end = Date.now() + timeout;

        while (!condition()) {
            if (Date.now() > end) {
                throw Error(`not so: ${condition}`);
            }

            await new Promise((resolve) => setTimeout(resolve, 10));
        }
    };
}


async function open(context, where = url) {
    const page = await context.newPage();
    const session = page.devtools = await context.newCDPSession(page);

    await session.send('Network.enable');

    watch(page);
    page.on('console', (message) => {
        if (message.type() === 'error' && !OWN_WORDS.test(message.text())) {
            wrong.push(message.text());
        }
    });

    page.sent = [];
    session.on('Network.webSocketFrameSent', ({ response }) =>
        page.sent.push(response.payloadData));

    page.workers = [];
    session.on('Network.webSocketHandshakeResponseReceived',
        ({ response: { headers } }) => page.workers.push(headers[
            Object.keys(headers).find((name) => /^x-worker$/i.test(name))]));

    await page.goto(where);
    await page.evaluate(equip, TIMEOUT);
    return page;
}


/* with the file for a <script>, as most pages will have it */
async function window(context) {
    const page = await open(context);

    await page.addScriptTag({ url: '/client/snorky.js' });
    return page;
}


/* a client of the page: it is connected, unless that is not waited for */
async function client(page, where, { ready = true, ...options } = {}) {
    await page.evaluate(async ([path, more, wait]) => {
        start(path, more);

        if (wait) {
            await client.ready({ timeout: 20000 });
        }
    }, [where, options, ready]);
}


/* once its states since the last time end with these */
async function had(page, ...states) {
    await page.evaluate(async (wanted) => {
        const all = () => client.states.slice(-wanted.length);

        try {
            await until(() => `${all()}` === `${wanted}`);
        } catch (error) {
            throw Error(`not ${wanted} but ${client.states}`);
        }
    }, states);

    return page.evaluate(() => client.states.splice(0));
}


/* exactly these */
async function has(page, ...states) {
    assert.deepStrictEqual(await had(page, ...states), states);
}


/*
 * After a reload: closed for it, and back at once.  Who comes back to another
 * old worker, which has not heard of the reload yet, is closed once more.
 * How often it was so.
 */
async function isBack(page) {
    const once = ['waiting 1012', 'connecting', 'open'];
    const states = await had(page, ...once);
    const times = Math.ceil(states.length / once.length);

    assert.deepStrictEqual(states, Array(times).fill(once).flat());
    return times;
}


function until(page, condition, argument) {
    return page.evaluate(`(async () => {
        const argument = ${JSON.stringify(argument ?? null)};

        await until(() => (${condition})(argument));
    })()`);
}


/* ---------------------------------------------------------------- outside */

async function eventually(condition) {
    const end = Date.now() + TIMEOUT;

    for (;;) {
        if (await condition()) {
            return;
        }

        assert.ok(Date.now() < end, `not so: ${condition}`);
        await new Promise((resolve) => setTimeout(resolve, 20));
    }
}


async function status() {
    return (await fetch(new URL('/status', url), { headers: ONCE })).json();
}


/* the server has so many clients, of so many subscriptions */
function left(sessions, subscriptions) {
    return eventually(async () => {
        const { total } = await status();

        return total.sessions === sessions
               && total.subscriptions === (subscriptions
                                           ?? total.subscriptions);
    });
}


/* nginx is reloaded: resolved when no client is with an old worker */
async function reload() {
    const old = (await status()).workers.map(({ pid }) => pid);

    process.kill(Number(master), 'SIGHUP');

    await eventually(async () => {
        const { workers } = await status();

        return workers.some(({ pid }) => !old.includes(pid))
            && workers.every(({ pid, quitting, sessions }) =>
                !old.includes(pid) || (quitting && sessions === 0));
    });
}


/* a call of the trusted side */
async function backend(service, command, params) {
    const answer = await fetch(new URL('/backend', url), {
        method: 'POST',
        headers: { 'X-Backend-Key': 'swordfish', ...ONCE },
        body: JSON.stringify({
            service, message: { command, params, callId: 'backend' },
        }),
    });

    const { message } = await answer.json();

    assert.strictEqual(message.type, 'response', message.message);
    return message.data;
}


function publish(channel, message) {
    return backend('pubsub_backend', 'publish', { channel, message });
}


/* runs the cases; one more is about all of their pages */
function befall(...all) {
    browse(async (context) => {
        for (const cases of all) {
            await cases(context);
        }

        await it('nobody complained on a console', () =>
            assert.deepStrictEqual(wrong, []));
    }, { ignoreHTTPSErrors: true });
}


module.exports = {
    open, window, client, had, has, isBack, until, eventually, status, left,
    reload, backend, publish, befall,
};
