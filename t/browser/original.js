/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Does what pages of the original Snorky do, in two windows.  The page has our
 * client or the original's own: see t/original_client.t, and
 * t/browser/windows.js for how it is started.
 *
 * What the original's client does wrong by itself is not tested, and is gone
 * around:
 *  - the signal cursorUpdated is given the cursor as it was before;
 *  - a cursor's remove() takes the others' cursors from the document's list,
 *    and leaves itself in it;
 *  - an update of a cursor to what it is already counts as pending for ever;
 *  - a cursor whose creation was refused stays in the document's list;
 *  - calls that have no answer at a disconnection are never settled;
 *  - connect() does not work in a listener of "disconnected".
 */

'use strict';

const assert = require('node:assert');
const { TIMEOUT, url, master, it, watch, browse } = require('./windows');

const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}[+-]\d\d:\d\d$/;

const wrong = [];       /* what the client complained of */
const devtools = new Map();     /* page: its session of the DevTools */

let ada, grace;         /* the two windows' clients */
let twin, stranger;     /* more, in Ada's window: hers again, and nobody's */


/* ------------------------------------------------------ inside the windows */

/*
 * Runs in a page, before all else.  What its signals told is kept by name.
 */
function equip(timeout) {
    const seen = {};
    const waiting = new Set();

    globalThis.see = (name, value) => {
        (seen[name] ??= []).push(JSON.parse(JSON.stringify(value ?? null)));
        waiting.forEach((look) => look());
    };

    /* all that a signal told since the last time, once it is so much */
    globalThis.take = (name, count) => new Promise((resolve, reject) => {
        const finish = (done) => {
            const all = seen[name] ?? [];

            waiting.delete(look);
            clearTimeout(timer);
            delete seen[name];
            done(all);
        };

        const look = () => {
            if ((seen[name] ?? []).length >= count) {
                finish(resolve);
            }
        };

        const timer = setTimeout(() => finish((all) => reject(Error(
            `${name}: not ${count} but ${JSON.stringify(all)}`))), timeout);

        waiting.add(look);
        look();
    });

    globalThis.start = (name, user) => {
        const query = user === undefined ? '' : `?user=${user}`;
        const signals = {
            echo: ['packetReceived'],
            pubsub: ['messagePublished'],
            messaging: ['messageReceived'],
            chat: ['messageReceived', 'presenceReceived', 'readReceived'],
            datasync: ['deltaReceived'],
        };

        const client = new Snorky(WebSocket,
            `ws://${location.host}/ws${query}`, {
                echo: Snorky.Service,
                pubsub: Snorky.PubSub,
                messaging: Snorky.Messaging,
                chat: Snorky.Chat,
                cursors: Snorky.Cursors,
                datasync: Snorky.DataSync,
            });

        for (const signal of ['connected', 'disconnected']) {
            client[signal].add(() => see(`${name} ${signal}`));
        }

        for (const service of Object.keys(signals)) {
            for (const signal of signals[service]) {
                client.services[service][signal].add((value) =>
                    see(`${name} ${service} ${signal}`, value));
            }
        }

        globalThis[name] = client;
    };

    /* a document of cursors, under a name of its own */
    globalThis.joinDocument = async (client, name, document) => {
        const joined = await globalThis[client].services.cursors
            .join({ document });

        for (const signal of ['cursorAdded', 'cursorRemoved']) {
            joined[signal].add((cursor) => see(`${name} ${signal}`, cursor));
        }

        joined.cursorUpdated.add(() => see(`${name} cursorUpdated`));
        globalThis[name] = joined;
    };

    globalThis.cursorsOf = (document) => document.cursors.map(
        ({ publicHandle, position, status, owner }) =>
            ({ publicHandle, position, status, owner }));
}


/* one of the original's clients: a variable of its window */
class Client {
    constructor(page, name) {
        this.page = page;
        this.name = name;
    }

    static async start(page, name, user) {
        const client = new Client(page, name);

        await client.connects(() => page.evaluate(
            ([variable, who]) => start(variable, who), [name, user]));
        await client.told('connected', null);
        return client;
    }

    /* does what makes it connect, and learns which worker it has */
    async connects(code) {
        const shaken = handshake(this.page);
        const result = await code();

        this.worker = await shaken;
        return result;
    }

    async reconnect() {
        await this.connects(() => this.run((snorky) => snorky.connect()));
        await this.told('connected', null);
    }

    /* runs a function in the page, with the client and one more argument */
    run(code, argument) {
        return this.page.evaluate(`(${code})(${this.name}, ${
            JSON.stringify(argument)})`);
    }

    take(signal, count = 1) {
        return this.page.evaluate(([name, n]) => take(name, n),
                                  [`${this.name} ${signal}`, count]);
    }

    /* a method of a service: { data } or { error } */
    call(service, method, ...parameters) {
        return this.page.evaluate(async ([name, on, verb, all]) => {
            const to = globalThis[name].services[on];

            try {
                return { data: await to[verb](...all) };

            } catch (error) {
                return { error: error instanceof Error ? error.message
                                : `no Error but ${error}` };
            }
        }, [this.name, service, method, parameters]);
    }

    async calls(service, method, parameters, expected) {
        assert.deepStrictEqual(await this.call(service, method, parameters),
                               expected);
    }

    async ok(service, method, parameters, data = null) {
        await this.calls(service, method, parameters, { data });
    }

    async fails(service, method, parameters, error) {
        await this.calls(service, method, parameters, { error });
    }

    async told(signal, ...expected) {
        assert.deepStrictEqual(await this.take(signal, expected.length),
                               expected);
    }
}


/* ----------------------------------------------------------------- outside */

async function open(context) {
    const page = await context.newPage();

    devtools.set(page, await context.newCDPSession(page));
    await devtools.get(page).send('Network.enable');

    watch(page);
    page.on('console', (message) => {
        if (message.type() === 'error') {
            wrong.push(message.text());
        }
    });

    await page.goto(url);
    await page.evaluate(equip, TIMEOUT);
    return page;
}


/* the worker that takes the page's next connection */
function handshake(page) {
    return new Promise((resolve) => devtools.get(page).once(
        'Network.webSocketHandshakeResponseReceived', (event) => {
            const { headers } = event.response;
            const name = Object.keys(headers)
                .find((header) => header.toLowerCase() === 'x-worker');

            resolve(headers[name]);
        }));
}


/* the second window reconnects until another worker serves it */
async function part() {
    for (let n = 0; n < 60 && grace.worker === ada.worker; n++) {
        await grace.run((snorky) => snorky.disconnect());
        await grace.told('disconnected', null);
        await grace.reconnect();
    }

    assert.match(ada.worker, /^\d+$/);
    assert.match(grace.worker, /^\d+$/);
    assert.notStrictEqual(grace.worker, ada.worker);
}


/* a call of the trusted side */
async function backend(service, command, params) {
    const answer = await fetch(new URL('/backend', url), {
        method: 'POST',
        headers: { 'X-Backend-Key': 'swordfish' },
        body: JSON.stringify({
            service, message: { command, params, callId: 'backend' },
        }),
    });

    assert.strictEqual(answer.status, 200);

    const { message } = await answer.json();

    assert.strictEqual(message.type, 'response', message.message);
    return message.data;
}


function authorize(...items) {
    return backend('datasync_backend', 'authorizeSubscription', {
        items: items.map(([dealer, query]) => ({ dealer, query })),
    });
}


function publish(...deltas) {
    return backend('datasync_backend', 'publishDeltas', { deltas });
}


function insert(model, data) {
    return { type: 'insert', model, data };
}


function update(model, oldData, newData) {
    return { type: 'update', model, newData, oldData };
}


function remove(model, data) {
    return { type: 'delete', model, data };
}


/* a message of chat without its time, which is about now */
function timed({ timestamp, ...message }) {
    assert.match(timestamp, TIME);
    assert.ok(Math.abs(new Date(timestamp) - Date.now()) < 60000, timestamp);
    return message;
}


/* ------------------------------------------------- the cases: connections */

async function connecting(context) {
    const pages = [await open(context), await open(context)];

    await it('the files make up the client', async () => {
        for (const page of pages) {
            assert.deepStrictEqual(await page.evaluate(() => [
                Snorky, Snorky.Service, Snorky.RPCService, Snorky.PubSub,
                Snorky.Messaging, Snorky.Chat, Snorky.Cursors,
                Snorky.DataSync, Snorky.Signal, Snorky.Promise,
            ].map((type) => typeof type)), Array(10).fill('function'));
        }
    });

    await it('what is said before the connection stands is not lost',
        async () => {
            ada = new Client(pages[0], 'snorky');

            const early = () => ada.page.evaluate(async () => {
                start('snorky', 'ada');

                const { echo, pubsub } = snorky.services;
                const channel = 'early';
                const before = [snorky.isConnected, snorky.isConnecting];

                ['one', { two: [2, null] }, 3].forEach((message) =>
                    echo.sendMessage(message));

                const answers = await Promise.all([
                    pubsub.subscribe({ channel }),
                    pubsub.publish({ channel, message: 'bird' }),
                    pubsub.unsubscribe({ channel }),
                    pubsub.unsubscribe({ channel }).catch(String),
                ]);

                return [before, answers,
                        [snorky.isConnected, snorky.isConnecting]];
            });

            assert.deepStrictEqual(await ada.connects(early), [
                [false, true],
                [null, null, null, 'Error: Not subscribed'],
                [true, false],
            ]);
        });

    await it('and comes in the order in which it was said', async () => {
        await ada.told('connected', null);
        await ada.told('echo packetReceived', 'one', { two: [2, null] }, 3);
        await ada.told('pubsub messagePublished',
                       { type: 'message', channel: 'early', message: 'bird' });
    });

    await it('the windows have workers of their own', async () => {
        grace = await Client.start(pages[1], 'snorky', 'grace');
        await part();
    });

    await it('and one window may have several clients', async () => {
        twin = await Client.start(pages[0], 'twin', 'ada');
        stranger = await Client.start(pages[0], 'stranger');
        await stranger.ok('pubsub', 'subscribe', { channel: 'nobody' });
    });
}


async function calling() {
    await it('a command that there is not', async () => {
        for (const service of ['pubsub', 'messaging', 'chat', 'cursors',
                               'datasync'])
        {
            assert.deepStrictEqual(
                await ada.call(service, 'rpcCall', 'explode', {}),
                { error: 'Unknown command' });
        }
    });

    await it('parameters that a command does not have', async () => {
        await ada.fails('pubsub', 'subscribe', { chanel: 'a' },
                        'Invalid params');
        await ada.fails('messaging', 'send', { dest: 'a' }, 'Invalid params');
        await ada.fails('chat', 'join', undefined, 'Invalid params');
        await ada.fails('cursors', 'join', {}, 'Invalid params');
        await ada.fails('datasync', 'acquireSubscription', { token: 'a', b: 1 },
                        'Invalid params');
    });

    await it('many calls of several services have their own answers',
        async () => {
            assert.deepStrictEqual(await ada.run(async (snorky) => {
                const { pubsub, messaging } = snorky.services;
                const calls = [];

                for (let n = 0; n < 100; n++) {
                    calls.push(pubsub.unsubscribe({ channel: n }),
                               messaging.unregisterParticipant({ name: n }),
                               messaging.listParticipants());
                }

                const all = await Promise.all(calls.map((call) =>
                    call.catch(String)));

                return [...new Set(all.map((answer, n) =>
                    `${n % 3} ${JSON.stringify(answer)}`))];
            }), [
                '0 "Error: Not subscribed"',
                '1 "Error: Unknown participant"',
                '2 []',
            ]);
        });
}


/* ------------------------------------------------------- publish, subscribe */

async function pubsub() {
    const message = (channel, text) =>
        ({ type: 'message', channel, message: text });

    await it('a message comes to both windows', async () => {
        await ada.ok('pubsub', 'subscribe', { channel: 'deck' });
        await grace.ok('pubsub', 'subscribe', { channel: 'deck' });
        await grace.ok('pubsub', 'publish',
                       { channel: 'deck', message: 'Land!' });
        await ada.told('pubsub messagePublished', message('deck', 'Land!'));
        await grace.told('pubsub messagePublished', message('deck', 'Land!'));
    });

    await it('to its sender before the answer', async () => {
        assert.deepStrictEqual(await ada.run(async ({ services }) => {
            const order = [];

            services.pubsub.messagePublished.addOnce(() =>
                order.push('message'));
            await services.pubsub.publish({ channel: 'deck', message: 1 });
            return [...order, 'answer'];
        }), ['message', 'answer']);

        await ada.told('pubsub messagePublished', message('deck', 1));
        await grace.told('pubsub messagePublished', message('deck', 1));
    });

    await it('whatever it is', async () => {
        for (const value of [
            null, false, -0.5, 1e300, '', 'd\u00e9j\u00e0 \u{1f419} \u2028 "\\',
            [], {}, { a: [{ b: { c: [[]] } }], __proto: 1 },
            '\u20ac\n'.repeat(10000),
        ]) {
            await grace.ok('pubsub', 'publish',
                           { channel: 'deck', message: value });
            await ada.told('pubsub messagePublished', message('deck', value));
            await grace.take('pubsub messagePublished');
        }
    });

    await it('a channel is any value, and its keys have no order', async () => {
        await ada.ok('pubsub', 'subscribe', { channel: { a: 1, b: [null] } });
        await ada.fails('pubsub', 'subscribe', { channel: { b: [null], a: 1 } },
                        'Already subscribed');
        await grace.ok('pubsub', 'publish',
                       { channel: { b: [null], a: 1 }, message: 'x' });
        await ada.told('pubsub messagePublished',
                       message({ a: 1, b: [null] }, 'x'));
    });

    await it('the backend may publish', async () => {
        await backend('pubsub_backend', 'publish',
                      { channel: 'deck', message: 'from ashore' });

        for (const client of [ada, grace]) {
            await client.told('pubsub messagePublished',
                              message('deck', 'from ashore'));
        }
    });

    await it('who has left gets nothing any more', async () => {
        await ada.ok('pubsub', 'unsubscribe', { channel: 'deck' });
        await ada.fails('pubsub', 'unsubscribe', { channel: 'deck' },
                        'Not subscribed');
        await grace.ok('pubsub', 'publish', { channel: 'deck', message: 1 });
        await grace.ok('pubsub', 'publish',
                       { channel: { a: 1, b: [null] }, message: 2 });
        await ada.told('pubsub messagePublished',
                       message({ a: 1, b: [null] }, 2));
        await grace.told('pubsub messagePublished', message('deck', 1));
    });
}


/* --------------------------------------------------------------- messaging */

async function messaging() {
    await it('participants are listed', async () => {
        await ada.ok('messaging', 'registerParticipant', { name: 'b-ada' });
        await grace.ok('messaging', 'registerParticipant', { name: 'grace' });
        await grace.ok('messaging', 'registerParticipant', { name: 'a-grace' });

        for (const client of [ada, grace]) {
            await client.ok('messaging', 'listParticipants', undefined,
                            ['a-grace', 'b-ada', 'grace']);
        }
    });

    await it('a name is one participant\u2019s', async () => {
        await ada.fails('messaging', 'registerParticipant', { name: 'grace' },
                        'Name already registered');
        await ada.fails('messaging', 'unregisterParticipant', { name: 'grace' },
                        'Invalid participant');
    });

    await it('a message comes to the one whom it is for', async () => {
        const sent = {
            sender: 'b-ada', dest: 'a-grace', body: { hi: '\u2603' },
        };

        await ada.ok('messaging', 'send', sent);
        await grace.told('messaging messageReceived',
                         { type: 'message', ...sent });
        await grace.ok('messaging', 'send',
                       { sender: 'grace', dest: 'b-ada', body: 2 });
        await ada.told('messaging messageReceived',
                       { type: 'message', sender: 'grace', dest: 'b-ada',
                         body: 2 });
    });

    await it('and is refused to others', async () => {
        await ada.fails('messaging', 'send',
                        { sender: 'grace', dest: 'b-ada', body: 0 },
                        'Invalid sender');
        await ada.fails('messaging', 'send',
                        { sender: 'b-ada', dest: 'nobody', body: 0 },
                        'Unknown destination');
    });

    await it('a name that was given back is free', async () => {
        await grace.ok('messaging', 'unregisterParticipant', { name: 'grace' });
        await grace.fails('messaging', 'unregisterParticipant',
                          { name: 'grace' }, 'Unknown participant');
        await ada.ok('messaging', 'registerParticipant', { name: 'grace' });
        await grace.ok('messaging', 'send',
                       { sender: 'a-grace', dest: 'grace', body: 3 });
        await ada.told('messaging messageReceived',
                       { type: 'message', sender: 'a-grace', dest: 'grace',
                         body: 3 });
    });
}


/* -------------------------------------------------------------------- chat */

async function chat() {
    const channel = { deck: 1 };
    const presence = (from, status) =>
        ({ type: 'presence', from, channel, status });

    const heard = async (client, signal, ...expected) =>
        assert.deepStrictEqual((await client.take(`chat ${signal}`,
            expected.length)).map(timed), expected);

    await it('members are listed, and their coming is told', async () => {
        await ada.ok('chat', 'join', { channel }, { members: ['ada'] });
        await grace.ok('chat', 'join', { channel },
                       { members: ['ada', 'grace'] });
        await heard(ada, 'presenceReceived', presence('grace', 'joined'));
        await ada.fails('chat', 'join', { channel }, 'Already joined');
    });

    await it('a message comes to all of them', async () => {
        await grace.ok('chat', 'send', { channel, body: ['Ahoy'] });

        for (const client of [ada, grace]) {
            await heard(client, 'messageReceived', {
                type: 'message', from: 'grace', channel, body: ['Ahoy'],
            });
        }
    });

    await it('a second window of a member is none that comes', async () => {
        await twin.ok('chat', 'join', { channel },
                      { members: ['ada', 'grace'] });
        await twin.ok('chat', 'send', { channel, body: 'me again' });

        for (const client of [ada, twin, grace]) {
            await heard(client, 'messageReceived', {
                type: 'message', from: 'ada', channel, body: 'me again',
            });
        }

        await heard(grace, 'presenceReceived');
        await heard(ada, 'presenceReceived');
    });

    await it('what was read in one is told to the other', async () => {
        await ada.ok('chat', 'read', { channel });
        await heard(twin, 'readReceived', { type: 'read', channel });
        await grace.ok('chat', 'send', { channel, body: 'after it' });
        await heard(grace, 'messageReceived', {
            type: 'message', from: 'grace', channel, body: 'after it',
        });
        await heard(grace, 'readReceived');
        await heard(ada, 'readReceived');
    });

    await it('who goes with both windows has left', async () => {
        await twin.ok('chat', 'leave', { channel });
        await ada.ok('chat', 'leave', { channel });
        await heard(grace, 'presenceReceived', presence('ada', 'left'));
        await ada.fails('chat', 'leave', { channel }, 'Not joined');
        await ada.fails('chat', 'send', { channel, body: 0 }, 'Not joined');
    });

    await it('nobody may not join a channel', async () => {
        await stranger.fails('chat', 'join', { channel }, 'Not authenticated');
        await stranger.ok('chat', 'read', { channel });
    });
}


/* ----------------------------------------------------------------- cursors */

async function cursors() {
    let handle;

    const told = async (client, signal, ...expected) =>
        assert.deepStrictEqual(await client.page.evaluate(([name, count]) =>
            take(name, count), [`sheet ${signal}`, expected.length]), expected);

    const shown = (client) => client.page.evaluate(() => cursorsOf(sheet));

    const join = (client, name, document) => client.page.evaluate((all) =>
        joinDocument(...all), [client.name, name, document]);

    await it('a document is joined', async () => {
        await join(ada, 'sheet', { file: 'log', page: 1 });
        await join(grace, 'sheet', { page: 1, file: 'log' });

        for (const client of [ada, grace]) {
            assert.ok(await client.page.evaluate(() =>
                sheet instanceof Snorky.Cursors.Document));
            assert.deepStrictEqual(await shown(client), []);
        }
    });

    await it('a cursor has a handle, once it is synchronized', async () => {
        const [before, after, publicHandle] = await ada.page.evaluate(
            async () => {
                const [own, created] = sheet.createCursor({
                    position: { x: 1, y: [2.5] }, status: 'typing',
                });
                const first = own.isSynchronized();

                globalThis.own = own;
                await created;
                return [first, own.isSynchronized(), own.publicHandle];
            });

        assert.strictEqual(before, false);
        assert.strictEqual(after, true);
        assert.ok(Number.isInteger(publicHandle), String(publicHandle));
        handle = publicHandle;
    });

    await it('the other window is told of it', async () => {
        await told(grace, 'cursorAdded', {
            publicHandle: handle, document: { page: 1, file: 'log' },
            position: { x: 1, y: [2.5] }, status: 'typing', owner: 'ada',
        });
        assert.deepStrictEqual(await shown(grace), [{
            publicHandle: handle, position: { x: 1, y: [2.5] },
            status: 'typing', owner: 'ada',
        }]);
        await told(ada, 'cursorAdded');
    });

    await it('and of its changes', async () => {
        await ada.page.evaluate(() => own.update({ position: 7 }));
        await told(grace, 'cursorUpdated', null);
        assert.deepStrictEqual(await shown(grace), [{
            publicHandle: handle, position: 7, status: 'typing', owner: 'ada',
        }]);

        await ada.page.evaluate(() =>
            own.update({ position: null, status: { idle: true } }));
        await told(grace, 'cursorUpdated', null);
        assert.deepStrictEqual(await shown(grace), [{
            publicHandle: handle, position: null, status: { idle: true },
            owner: 'ada',
        }]);
        assert.ok(await ada.page.evaluate(() => own.isSynchronized()));
    });

    await it('who comes later has it, too', async () => {
        await join(twin, 'late', { file: 'log', page: 1 });
        assert.deepStrictEqual(await ada.page.evaluate(() =>
            [cursorsOf(late), late.cursors[0].isMine]), [[{
            publicHandle: handle, position: null, status: { idle: true },
            owner: 'ada',
        }], false]);
    });

    await it('a cursor may move before it has its handle', async () => {
        const theirs = await grace.page.evaluate(async () => {
            const [mine, created] = sheet.createCursor({
                position: 0, status: 0,
            });
            const all = [created];

            for (let position = 1; position <= 20; position++) {
                all.push(mine.update({ position }));
            }

            globalThis.own = mine;
            await Promise.all(all);
            return [mine.publicHandle, mine.isSynchronized()];
        });

        assert.notStrictEqual(theirs[0], handle);
        assert.strictEqual(theirs[1], true);

        await ada.page.evaluate(() => take('sheet cursorUpdated', 20));
        assert.deepStrictEqual((await shown(ada))[1], {
            publicHandle: theirs[0], position: 20, status: 0, owner: 'grace',
        });
    });

    await it('a cursor that is removed is gone everywhere', async () => {
        await ada.page.evaluate(() => own.remove());
        await told(grace, 'cursorRemoved', {
            publicHandle: handle, document: { page: 1, file: 'log' },
        });
        assert.deepStrictEqual((await shown(grace)).map(
            ({ position }) => position), [20]);
        assert.strictEqual(await ada.page.evaluate(() =>
            own.update({ position: 1 }).catch(String)),
            'Error: No such cursor');
    });

    await it('there is a limit to cursors', async () => {
        assert.deepStrictEqual(await ada.page.evaluate(async () => {
            const made = [];

            for (let n = 0; n < 17; n++) {
                made.push(sheet.createCursor({ position: n, status: null }));
            }

            const answers = await Promise.all(made.map(([, created]) =>
                created.then(() => 'created', String)));

            await Promise.all(made.slice(0, 16).map(([own]) => own.remove()));
            return answers;
        }), [...Array(16).fill('created'), 'Error: Too many cursors']);

        await grace.page.evaluate(() => take('sheet cursorAdded', 16));
        await grace.page.evaluate(() => take('sheet cursorRemoved', 16));
        assert.strictEqual((await shown(grace)).length, 1);
    });

    /* the class has no method for it */
    await it('who leaves a document takes the cursors along', async () => {
        const publicHandle = await grace.page.evaluate(() => own.publicHandle);
        const params = { document: { file: 'log', page: 1 } };
        const leave = (client) =>
            client.call('cursors', 'rpcCall', 'leave', params);

        await ada.page.evaluate(() => take('sheet cursorRemoved', 0));
        assert.deepStrictEqual(await leave(grace), { data: null });
        await told(ada, 'cursorRemoved', {
            publicHandle, document: { file: 'log', page: 1 },
        });
        assert.deepStrictEqual(await leave(grace), { error: 'Not joined' });
    });

    await it('nobody may not join a document', async () => {
        await stranger.fails('cursors', 'join', { document: 1 },
                             'Not authenticated');
        await ada.fails('cursors', 'join',
                        { document: { page: 1, file: 'log' } },
                        'Already joined');
    });
}


/* ---------------------------------------------------------------- datasync */

/* runs in a page: collections that follow what the client is told */
function collect() {
    const { ArrayCollection, CollectionDeltaProcessor, SingleItemCollection }
        = Snorky.DataSync;

    globalThis.players = [];
    globalThis.ship = { id: 1, name: 'Beagle' };

    const processor = new CollectionDeltaProcessor({
        player: new ArrayCollection(players),
        ship: new SingleItemCollection(() => ship, (now) => { ship = now; },
                                       () => { ship = null; }),
    });

    snorky.services.datasync.deltaReceived.add((delta) =>
        processor.processDelta(delta));
}


async function datasync() {
    const anne = { id: 1, name: 'Anne', team: 'red', score: 5 };
    const bart = { id: 2, name: 'Bart', team: 'blue', score: 1 };
    const mary = { id: 3, name: 'Mary', team: 'red', score: 9 };
    let all;

    const players = (client) => client.page.evaluate(() => globalThis.players);

    const acquire = async (client, ...items) => {
        const token = await authorize(...items);

        await client.ok('datasync', 'acquireSubscription', { token });
        return token;
    };

    const deltas = (client, count) =>
        client.take('datasync deltaReceived', count);

    await it('what changed since the token was made is there with the answer',
        async () => {
            await ada.page.evaluate(collect);
            await grace.page.evaluate(collect);

            all = await authorize(['all_players', null], ['ships', null]);
            assert.match(all, /^[a-z0-9]{32}$/);
            await publish(insert('player', anne), insert('player', bart));

            assert.deepStrictEqual(await ada.run(
                async ({ services }, token) => {
                    await services.datasync.acquireSubscription({ token });
                    return globalThis.players;
                }, all), [anne, bart]);
            assert.strictEqual((await deltas(ada, 2)).length, 2);
        });

    await it('an array follows inserts, updates and deletes', async () => {
        await publish(insert('player', mary));
        await publish(update('player', anne, { ...anne, name: 'Ann' }),
                      remove('player', bart));

        assert.deepStrictEqual(await deltas(ada, 3), [
            insert('player', mary),
            update('player', anne, { ...anne, name: 'Ann' }),
            remove('player', bart),
        ]);
        assert.deepStrictEqual(await players(ada),
                               [{ ...anne, name: 'Ann' }, mary]);
        assert.deepStrictEqual(await players(grace), []);
    });

    await it('and a single item its update and delete', async () => {
        await publish(update('ship', { id: 1 }, { id: 1, name: 'Argo' }));
        await deltas(ada, 1);
        assert.deepStrictEqual(await ada.page.evaluate(() => ship),
                               { id: 1, name: 'Argo' });
        await publish(remove('ship', { id: 1 }));
        await deltas(ada, 1);
        assert.strictEqual(await ada.page.evaluate(() => ship), null);
    });

    await it('a team is what its members make of it', async () => {
        await acquire(grace, ['team_players', 'red']);
        await publish(insert('player', anne), insert('player', bart),
                      update('player', bart, { ...bart, team: 'red' }),
                      update('player', anne, { ...anne, team: 'blue' }));

        assert.deepStrictEqual(await deltas(grace, 3), [
            insert('player', anne),
            insert('player', { ...bart, team: 'red' }),
            remove('player', anne),
        ]);
        assert.deepStrictEqual(await players(grace),
                               [{ ...bart, team: 'red' }]);
        await deltas(ada, 4);
    });

    await it('views of one model, items of another key, other objects',
        async () => {
            await acquire(twin, ['some_players', ['>', 'score', 4]]);

            await ada.page.evaluate(() => {
                const { ArrayCollection, CollectionDeltaProcessor }
                    = Snorky.DataSync;
                const transformItem = ({ name }) => ({ name, shown: true });

                globalThis.red = [];
                globalThis.blue = [];

                const processor = new CollectionDeltaProcessor({
                    player: {
                        red: new ArrayCollection(red, { transformItem }),
                        blue: new ArrayCollection(blue, { transformItem }),
                    },
                }, { itemsAreEqual: (item, other) =>
                    item.name === other.name });

                twin.services.datasync.deltaReceived.add((delta) => {
                    const { team } = delta.data ?? delta.newData;

                    processor.processDelta({ ...delta, tag: team });
                });
            });

            const zoe = { id: 4, name: 'Zoe', team: 'blue', score: 2 };

            await publish(insert('player', anne), insert('player', mary),
                          insert('player', zoe),
                          update('player', zoe, { ...zoe, score: 5 }),
                          update('player', mary, { ...mary, score: 10 }),
                          update('player', anne, { ...anne, score: 0 }));
            await deltas(twin, 5);

            assert.deepStrictEqual(await ada.page.evaluate(() => [red, blue]), [
                [{ name: 'Mary', shown: true }],
                [{ name: 'Zoe', shown: true }],
            ]);
            await deltas(ada, 6);
            await deltas(grace, 3);
        });

    await it('a token is acquired once', async () => {
        for (const client of [ada, grace]) {
            await client.fails('datasync', 'acquireSubscription',
                               { token: all }, 'Subscription already acquired');
        }

        await grace.fails('datasync', 'acquireSubscription', { token: 'abc' },
                          'No such subscription');
        await grace.fails('datasync', 'acquireSubscription', { token: 1 },
                          'token must be string');
    });

    await it('and cancelled once, by its owner', async () => {
        await acquire(ada, ['ships', null]);
        await grace.fails('datasync', 'cancelSubscription', { token: all },
                          'No such subscription');
        await ada.ok('datasync', 'cancelSubscription', { token: all });
        await ada.fails('datasync', 'cancelSubscription', { token: all },
                        'No such subscription');

        const argo = { id: 1, name: 'Argo' };

        await ada.page.evaluate(() => { ship = { id: 1 }; });
        await publish(insert('player', mary), update('ship', argo, argo));
        assert.deepStrictEqual(await deltas(ada, 1),
                               [update('ship', argo, argo)]);
    });

    await it('amid changes each comes once, and in order', async () => {
        for (let round = 0; round < 10; round++) {
            const team = `team ${round}`;
            const token = await authorize(['team_players', team]);
            let acquired;

            await grace.page.evaluate(() => { players.length = 0; });

            for (let id = 0; id < 40; id++) {
                await publish(insert('player', { id, team }));

                if (id === 10 + round) {
                    acquired = grace.ok('datasync', 'acquireSubscription',
                                        { token });
                }
            }

            await acquired;
            await publish(insert('player', { id: 'last', team }));
            await grace.page.waitForFunction(() =>
                players.at(-1)?.id === 'last');
            assert.deepStrictEqual(
                (await players(grace)).map(({ id }) => id),
                [...Array(40).keys(), 'last']);
            await grace.ok('datasync', 'cancelSubscription', { token });
        }
    });
}


/* ------------------------------------------------------------------ habits */

async function habits() {
    const message = (text) =>
        ({ type: 'message', channel: 'galley', message: text });

    /* a client of one service, and what it tells, of the class that is made */
    const use = (name, make) => ada.page.evaluate(`{
        const client = new Snorky(WebSocket, \`ws://\${location.host}/ws\`,
                                  { pubsub: (${make})() });

        client.services.pubsub.published.add((message) =>
            see('${name} published', message));
        globalThis.${name} = client;
    }`);

    const told = async (name) => {
        const client = new Client(ada.page, name);

        await client.ok('pubsub', 'subscribe', { channel: 'galley' });
        await client.ok('pubsub', 'publish',
                        { channel: 'galley', message: name });
        await client.told('published', message(name));
        await client.ok('pubsub', 'unsubscribe', { channel: 'galley' });
        await client.fails('pubsub', 'unsubscribe', { channel: 'galley' },
                           'Not subscribed');
    };

    await it('a class of the page\u2019s own has an init()', async () => {
        await use('initiated', () => {
            const Own = new Snorky.Class(Snorky.RPCService, {
                init: function () {
                    Snorky.RPCService.prototype.init.call(this);
                    this.published = new Snorky.Signal();
                    this.notificationReceived.add(this.onNotification, this);
                },

                onNotification: function (message) {
                    this.published.dispatch(message);
                },
            });

            Own.addRPCMethods(['subscribe', 'publish', 'unsubscribe']);
            return Own;
        });

        await told('initiated');
    });

    await it('or a constructor that calls its parent\u2019s', async () => {
        await use('constructed', () => {
            const Own = Snorky.Class(Snorky.RPCService, {
                STATIC: { commands: ['subscribe', 'publish', 'unsubscribe'] },

                constructor: function (name, snorky) {
                    Snorky.RPCService.call(this, name, snorky);
                    this.published = new Snorky.Signal();
                },

                onPacket: function (message) {
                    Own.Super.prototype.onPacket.call(this, message);

                    if (message.type === 'message') {
                        this.published.dispatch(message);
                    }
                },
            });

            Own.addRPCMethods(Own.commands);
            return Own;
        });

        await told('constructed');
    });

    await it('or is derived from one that there is', async () => {
        await use('derived', () => Snorky.Class(Snorky.PubSub, {
            init: function () {
                Snorky.PubSub.prototype.init.apply(this, arguments);
                this.published = this.messagePublished;
            },
        }));

        await told('derived');
    });

    await it('a method is not overwritten by a command\u2019s', async () => {
        assert.deepStrictEqual(await ada.page.evaluate(() => {
            const Own = Snorky.Class(Snorky.RPCService, {});

            Own.addRPCMethods(['sum']);

            return ['sum', 'sendMessage', 'init'].map((name) => {
                try {
                    Own.addRPCMethods([name]);
                } catch (error) {
                    return error.message;
                }
            });
        }), ['sum', 'sendMessage', 'init'].map((name) =>
            `Method "${name}" already exists in the class. `
            + 'Refusing to overwrite it.'));
    });

    /* the original's can't at once */
    await it('a listener of "disconnected" connects again', async () => {
        const states = await ada.page.evaluate(() => new Promise((resolve) => {
            const later = Snorky.SnorkyError ? (code) => code() : setTimeout;
            const seen = [];

            derived.disconnected.addOnce(() => {
                seen.push(derived.isConnected, derived.isConnecting);
                later(() => {
                    derived.connect();
                    seen.push(derived.isConnected, derived.isConnecting);
                });
            });

            derived.connected.addOnce(() => {
                seen.push(derived.isConnected, derived.isConnecting);
                resolve(seen);
            });

            derived.disconnect();
        }));

        assert.deepStrictEqual(states,
                               [false, false, false, true, true, false]);
        await told('derived');
    });

    await ada.page.evaluate(() => [initiated, constructed, derived]
        .forEach((client) => client.disconnect()));
}


/* ----------------------------------------------------------- disconnection */

async function parting() {
    let token;

    await it('who disconnects is no member, and no participant', async () => {
        await ada.ok('chat', 'join', { channel: 'hold' }, { members: ['ada'] });
        await grace.ok('chat', 'join', { channel: 'hold' },
                       { members: ['ada', 'grace'] });
        await ada.take('chat presenceReceived');

        token = await authorize(['all_players', null]);
        await grace.ok('datasync', 'acquireSubscription', { token });

        await grace.run((snorky) => snorky.disconnect());
        assert.strictEqual(await grace.run((snorky) => snorky.isConnected),
                           false);
        await grace.told('disconnected', null);

        assert.deepStrictEqual(
            (await ada.take('chat presenceReceived')).map(timed), [{
                type: 'presence', from: 'grace', channel: 'hold',
                status: 'left',
            }]);
        await ada.ok('messaging', 'listParticipants', undefined,
                     ['b-ada', 'grace']);
        await ada.fails('messaging', 'send',
                        { sender: 'b-ada', dest: 'a-grace', body: 1 },
                        'Unknown destination');
    });

    await it('what is said meanwhile is sent by the next connection',
        async () => {
            const meanwhile = () => grace.run(
                async ({ services }, was) => {
                    const name = 'a-grace';
                    const answers = Promise.all([
                        services.messaging.registerParticipant({ name }),
                        services.pubsub.unsubscribe({ channel: 'deck' })
                            .catch(String),
                        services.datasync.cancelSubscription({ token: was })
                            .catch(String),
                        services.chat.join({ channel: 'hold' }),
                    ]);

                    snorky.connect();
                    return answers;
                }, token);

            assert.deepStrictEqual(await grace.connects(meanwhile), [
                null, 'Error: Not subscribed', 'Error: No such subscription',
                { members: ['ada', 'grace'] },
            ]);
            await grace.told('connected', null);
            await ada.ok('messaging', 'send',
                         { sender: 'b-ada', dest: 'a-grace', body: 1 });
            await grace.told('messaging messageReceived', {
                type: 'message', sender: 'b-ada', dest: 'a-grace', body: 1,
            });
        });

    await it('a window that is closed disconnects', async () => {
        await ada.take('chat presenceReceived', 1);

        const page = await open(grace.page.context());
        const third = await Client.start(page, 'snorky', 'third');

        await third.ok('chat', 'join', { channel: 'hold' },
                       { members: ['ada', 'grace', 'third'] });
        await page.close();

        for (const client of [ada, grace]) {
            assert.deepStrictEqual(
                (await client.take('chat presenceReceived', 2)).map(
                    ({ from, status }) => `${from} ${status}`),
                ['third joined', 'third left']);
        }
    });

    await it('a reload of nginx disconnects', async () => {
        process.kill(Number(master), 'SIGHUP');

        for (const client of [ada, grace, twin, stranger]) {
            await client.told('disconnected', null);
            assert.deepStrictEqual(await client.run((snorky) =>
                [snorky.isConnected, snorky.isConnecting]), [false, false]);
        }
    });

    await it('and who connects again has all services', async () => {
        await ada.reconnect();
        await grace.reconnect();
        await part();
        await ada.ok('messaging', 'listParticipants', undefined, []);
        await ada.ok('chat', 'join', { channel: 'hold' }, { members: ['ada'] });
        await grace.ok('chat', 'join', { channel: 'hold' },
                       { members: ['ada', 'grace'] });
        await ada.ok('pubsub', 'subscribe', { channel: 'deck' });
        await grace.ok('pubsub', 'publish',
                       { channel: 'deck', message: 'here again' });
        await ada.told('pubsub messagePublished', {
            type: 'message', channel: 'deck', message: 'here again',
        });

        const fresh = await authorize(['ships', null]);
        const argo = { id: 2, name: 'Argo' };

        await grace.page.evaluate(() => { ship = { id: 2 }; });
        await grace.ok('datasync', 'acquireSubscription', { token: fresh });
        await publish(update('ship', argo, argo));
        await grace.page.waitForFunction(() => ship.name === 'Argo');
    });
}


browse(async (context) => {
    await connecting(context);
    await calling();
    await pubsub();
    await messaging();
    await chat();
    await cursors();
    await datasync();
    await habits();
    await parting();

    await it('the client had nothing to complain of', () =>
        assert.deepStrictEqual(wrong, []));
});
