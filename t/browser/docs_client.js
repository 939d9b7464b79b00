/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Runs the examples of docs/client.md, each in a window of its own, and sees
 * that they do what the page says.  Started by t/docs_client.t, which has
 * written them down; see windows.js.
 */

'use strict';

const assert = require('node:assert');
const { execFileSync } = require('node:child_process');
const { readFileSync, writeFileSync } = require('node:fs');
const path = require('node:path');

const { TIMEOUT, DRAIN, url, master, it, watch, browse } =
    require('./windows.js');

const directory = process.argv[5];

const blocks = JSON.parse(readFileSync(path.join(directory, 'blocks.json')));
const left = new Set(blocks.filter(({ language }) =>
    /^(?:js|html)$/.test(language)));

let context;


/* ------------------------------------------------------------ the examples */

function example(heading, language, number = 1) {
    const found = blocks.filter((block) => block.heading === heading
        && block.language === language)[number - 1];

    assert.ok(found, `there is no example ${number} in "${heading}"`);
    left.delete(found);
    return found;
}


const prelude = () => `${example('First example', 'js').text}
    Object.assign(globalThis, { snorky, pubsub, chat, cursors });\n`;


/* a window whose console is kept */
async function open(where) {
    const page = await context.newPage();
    const lines = [];

    watch(page);

    page.on('console', (message) => {
        if (message.type() === 'log') {
            lines.push(message.text());
        }
    });

    page.lines = lines;
    await page.goto(new URL(where, url).href);
    return page;
}


/* runs a script after what the page's first example does, as another user */
async function start(text, user = 'alice') {
    const page = await open('/blank.html');

    await page.addScriptTag({
        type: 'module',
        content: `${prelude().replace('user=alice', `user=${user}`)}\n${text}`,
    });

    return page;
}


function run(heading, number) {
    return start(example(heading, 'js', number).text);
}


async function prints(page, expected) {
    const until = Date.now() + TIMEOUT;

    while (page.lines.length < expected.length && Date.now() < until) {
        await page.waitForEvent('console', { timeout: until - Date.now() })
            .catch(() => {});
    }

    assert.deepStrictEqual(page.lines, expected);
    page.lines.length = 0;
}


/* an example that prints this, and is left then */
function case_(name, heading, number, expected) {
    return it(name, async () => {
        const page = await run(heading, number);

        await prints(page, expected);
        await page.close();
    });
}


async function shows(page, text) {
    await page.waitForFunction((wanted) =>
        document.getElementById('state').textContent === wanted, text);
    await page.close();
}


/* ------------------------------------------------------------- the backend */

async function backend(service, command, params) {
    const response = await fetch(new URL('/backend', url), {
        method: 'POST',
        headers: { 'X-Backend-Key': 'swordfish' },
        body: JSON.stringify({
            service,
            message: { command, params, callId: 1 },
        }),
    });
    const { message } = await response.json();

    assert.strictEqual(message.type, 'response', JSON.stringify(message));
    return message.data;
}


const publish = (channel, message) =>
    backend('pubsub_backend', 'publish', { channel, message });


/* --------------------------------------------------------------- the cases */

async function installed() {
    await it('plain modules', async () =>
        shows(await open(example('Install', 'html', 1).path), 'connected'));

    await it('a script tag', async () =>
        shows(await open(example('Install', 'html', 2).path), 'connected'));

    await it('the first example', async () => {
        const page = await start('await snorky.ready(); console.log("ready")');

        await prints(page, ['ready']);
        await page.close();
    });

    await case_('an address that is asked for', 'First example', 2, ['grace']);
}


async function services() {
    await case_('pubsub: a loop', 'pubsub', 1, ['1.5']);
    await case_('pubsub: calls', 'pubsub', 2, ['["room",7] Lunch!']);
    await case_('messaging', 'messaging', 1, ['alice: A note to myself']);

    await it('chat: signals', async () => {
        const page = await run('chat', 1);

        await prints(page, ['alice', 'alice: Hello!']);

        const other = await start('await chat.join({ channel: "lobby" });',
                                  'bob');

        await prints(page, ['bob joined']);
        await other.close();
        await prints(page, ['bob left']);
        await page.close();
    });

    await case_('chat: a loop', 'chat', 2, ['Hello!']);
    await case_('chat: after a reconnect', 'chat', 3, ['join lobby alice']);

    await it('cursors', async () => {
        const page = await run('cursors');

        await prints(page, ['11,21 true']);

        const other = await start(`
            const plan = await cursors.join({ document: 'plan' });
            const [own, created] = plan.createCursor({
                position: [1, 2], status: 'idle' });

            await created;
            await own.update({ position: [3, 4] });
            await own.remove();`, 'bob');

        await prints(page, ['added bob 1,2', 'updated bob 3,4',
                            'removed true']);
        await other.close();
        await page.close();
    });

    await it('datasync', datasync);

    await it('calls to the application', async () => {
        const page = await run('Calls to your application', 1);

        await prints(page, ['{asked: order, by: alice}']);
        await backend('app_backend', 'send', {
            to: { identity: 'alice' },
            message: { type: 'sold' },
        });
        await prints(page, ['sold']);
        await page.close();
    });

    await case_('a class of one\'s own', 'Calls to your application', 2,
                ['{asked: order, by: alice} {asked: total, by: alice}']);
}


async function datasync() {
    let rows = ['Wash up'];

    await context.route('**/todos?list=home', async (route) => {
        const token = await backend('datasync_backend',
            'authorizeSubscription',
            { items: [{ dealer: 'todos', query: 'home' }] });

        await route.fulfill({
            json: {
                token,
                todos: rows.map((text, n) => ({ id: n, list: 'home', text })),
            },
        });
    });

    const insert = (id, text) => backend('datasync_backend', 'publishDeltas', {
        deltas: [{ type: 'insert', model: 'todo',
                   data: { id, list: 'home', text } }],
    });

    const page = await start(`${example('datasync', 'js').text}
        console.log('ready');
        snorky.connected.add(() => subscription.ready.then(() =>
            console.log('again')));`);

    await prints(page, ['ready']);
    await insert(7, 'Bake');
    await prints(page, ['insert Wash up, Bake']);

    /* what is fetched after a reconnect takes the place of all */
    rows = ['Anew'];
    await page.evaluate(() => snorky.restart());
    await prints(page, ['again']);
    await page.waitForFunction(() => snorky.isConnected);

    const until = Date.now() + TIMEOUT;

    do {
        await insert(8, 'Sweep');
        await new Promise((resolve) => { setTimeout(resolve, 50); });
    } while (page.lines.at(-1) !== 'insert Anew, Sweep'
             && Date.now() < until);

    assert.strictEqual(page.lines.at(-1), 'insert Anew, Sweep');
    await page.close();
}


async function signals() {
    await it('a signal as a loop', async () => {
        const page = await run('Signals and loops', 1);

        while (page.lines.at(-1) !== 'idle') {
            await page.waitForEvent('console');
        }

        await page.close();
    });

    await case_('a loop that gives up', 'Signals and loops', 2,
                ['TimeoutError']);
    await case_('errors', 'Errors', 1, ['rpc Already subscribed']);
    await case_('a call that is aborted', 'Time-outs and AbortSignal', 1,
                ['AbortError']);
}


async function connection() {
    await it('what to show of the state', async () => {
        const page = await run('The state of the connection');
        const mark = (state, text) => page.evaluate((now) =>
            snorky.stateChanged.dispatch(now), state)
            .then(() => page.waitForFunction((wanted) =>
                document.querySelector('p').textContent === wanted, text));

        await page.waitForFunction(() => globalThis.snorky?.isConnected);
        await mark({ state: 'refused', status: 401 }, 'Please log in');
        await mark({ state: 'waiting', wait: 5 },
                   'Connection lost, trying again...');
        await mark({ state: 'open' }, '');
        await page.close();
    });

    await it('what is missed is fetched', async () => {
        const page = await run('What is resumed, and what is missed');

        await prints(page, ['latest 7']);
        await publish('prices', { price: 8 });
        await prints(page, ['then 8']);

        process.kill(Number(master), 'SIGHUP');
        await page.waitForEvent('console', { timeout: DRAIN });
        await prints(page, ['latest 7']);
        await publish('prices', { price: 9 });
        await prints(page, ['then 9']);
        await page.close();
    });

    await it('SockJS, where WebSocket gets no connection', async () => {
        const page = await context.newPage();

        watch(page);
        await page.addInitScript(() => {
            globalThis.WebSocket = class extends WebSocket {
                constructor(address, ...rest) {
                    super(address.replace(/\/ws$/, '/nothing'), ...rest);
                }
            };
        });

        await page.goto(new URL(example('SockJS', 'html').path, url).href);
        await shows(page, 'sockjs');
    });

    await it('SockJS without this client', async () => {
        const page = await open('/blank.html');

        await page.addScriptTag({ url: '/js/sockjs.min.js' });
        await page.addScriptTag({ content: `${example('SockJS', 'js').text}
            socket.onopen = () => console.log('open');` });
        await prints(page, ['open']);
        await page.close();
    });
}


async function elsewhere() {
    await it('Node', async () => {
        const page = await start(`
            pubsub.messagePublished.add(({ message }) =>
                console.log(message));
            await pubsub.subscribe({ channel: 'news' });
            console.log('subscribed');`);

        await prints(page, ['subscribed']);
        writeFileSync(path.join(directory, 'node.mjs'),
            example('Node', 'js').text.replace('127.0.0.1:8080',
                                               new URL(url).host));
        execFileSync('node', [path.join(directory, 'node.mjs')],
                     { timeout: TIMEOUT, stdio: ['ignore', 'pipe', 'pipe'] });
        await prints(page, ['Hi!']);
        await page.close();
    });

    await case_('a worker', 'Workers', 1, ['the worker is connected']);
}


async function original() {
    const heading = 'Pages of the original\'s client';

    await case_('a page of the original\'s client', heading, 1,
                ['connected true', 'works', 'disconnected false']);
    await case_('and a class of such a page', heading, 2, ['sum']);
}


browse(async (browser) => {
    context = browser;

    await installed();
    await services();
    await signals();
    await connection();
    await elsewhere();
    await original();

    await it('that were all', () => assert.deepStrictEqual(
        [...left].map(({ page, line }) => `${page}:${line}`), []));
});
