/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Cases of t/js_resume.t: what is held again after a connection's end, and
 * what becomes of calls meanwhile.
 */

import {
    Snorky, apart, assert, backend, connect, connected, fails, figure, has, it,
    next, order, pause, port, read, record, reload, run, status, until, url,
    workerOf,
} from './lib.mjs';
import { Proxy } from './proxy.mjs';

const services = {
    echo: Snorky.Service,
    pubsub: Snorky.PubSub,
    messaging: Snorky.Messaging,
    chat: Snorky.Chat,
    cursors: Snorky.Cursors,
    datasync: Snorky.DataSync,
};

const as = (user, at) => `${url('/ws', at)}?user=${user}`;

const channel = 'news';


const waits = ({ states }) => states.filter(({ state }) => state === 'waiting');


function authorize() {
    return backend('datasync_backend', 'authorizeSubscription', {
        items: [{ dealer: 'ships', query: null }],
    });
}


function publishShip(id) {
    return backend('datasync_backend', 'publishDeltas', {
        deltas: [{ type: 'insert', model: 'ship', data: { id } }],
    });
}


async function throughProxy(user = 'ada', options = {}) {
    const proxy = await Proxy.start(port);

    return [await connected(as(user, proxy.port), services, options), proxy];
}


/* what the proxy saw of these commands */
function said(proxy, ...commands) {
    return proxy.sent.map((text) => JSON.parse(text).message.command)
        .filter((command) => commands.includes(command));
}


/* ---------------------------------------------------------------- resuming */

/* a client that holds one of everything */
async function holder() {
    const ada = await connected(as('ada'), services);
    const { pubsub, messaging, chat, cursors, datasync } = ada.services;
    const signals = [];
    const heard = [];

    pubsub.messagePublished.add((publication) =>
        publication.channel === channel && heard.push(publication));

    const held = {
        ada,
        heard,
        loop: read(pubsub.channel('loop')),
        letters: record(messaging.messageReceived),
        messages: record(chat.messageReceived),
        deltas: record(datasync.deltaReceived),
        signals,
    };

    await pubsub.subscribe({ channel });
    await messaging.registerParticipant({ name: 'ada' });
    await chat.join({ channel });
    held.document = await cursors.join({ document: 'map' });

    const [cursor, made] = held.document.createCursor(
        { position: [0], status: 'idle' });

    await made;
    await cursor.update({ position: [1] });
    held.cursor = cursor;
    held.subscription = datasync.subscribe((signal) => {
        signals.push(signal);
        return authorize();
    });
    await held.subscription.ready;
    await figure('subscriptions', 6);
    return held;
}


/* that it holds all, which another client can see */
async function holds(held, round) {
    const { ada, heard, loop, letters, messages, deltas } = held;
    const grace = await connected(as('grace'), services);
    const { pubsub, messaging, chat, cursors } = grace.services;

    for (const list of [heard, loop, letters, messages, deltas]) {
        list.length = 0;
    }

    await pubsub.publish({ channel, message: round });
    await pubsub.publish({ channel: 'loop', message: round });
    await messaging.registerParticipant({ name: 'grace' });
    await messaging.send({ sender: 'grace', dest: 'ada', body: round });
    assert.deepEqual((await chat.join({ channel })).members, ['ada', 'grace']);
    await chat.send({ channel, body: round });
    await publishShip(round);

    const document = await cursors.join({ document: 'map' });

    assert.deepEqual(document.cursors.map(({ owner, position, status }) =>
        [owner, position, status]), [['ada', [1], 'idle']]);
    assert.equal(held.cursor.publicHandle, document.cursors[0].publicHandle);
    assert.deepEqual(held.document.cursors, [held.cursor]);

    const moved = next(document.cursorUpdated);

    await held.cursor.update({ position: [2] });
    assert.deepEqual((await moved).position, [2]);
    await held.cursor.update({ position: [1] });

    for (const list of [heard, loop, letters, messages, deltas]) {
        await has(list, 1);
    }

    assert.deepEqual([heard[0].message, loop[0], letters[0].body,
                      messages[0].body, deltas[0].data],
                     [round, round, round, round, { id: round }]);
    assert.ok([heard, loop, letters, messages, deltas].every(({ length }) =>
        length === 1));
    assert.equal(ada.state.state, 'open');
    grace.close();
    await figure('subscriptions', 6);
}


async function resuming() {
    const ends = {
        'a reload': async () => {
            await reload();
            return [1012, 'service restart'];
        },

        'the worker\'s death': async (ada) => {
            process.kill(await workerOf(ada), 'SIGKILL');
            return [1006, ''];
        },

        'a stop and a start': async (ada) => {
            const ended = next(ada.disconnected);

            await order('stop');
            await ended;
            await order('start');
            return [1001, 'server stops'];
        },

        'restart()': async (ada) => {
            ada.restart();
            return [];
        },
    };

    for (const [name, end] of Object.entries(ends)) {
        await it(`all is held again after ${name}`, async () => {
            const held = await holder();
            const { ada, signals } = held;
            const told = [];
            const { subscription: { ready } } = held;

            for (const [service, { resumed, lost }] of
                 Object.entries(ada.services))
            {
                resumed?.add(({ command, params }) =>
                    told.push(`${service} ${command} ${
                        JSON.stringify(params)}`));
                lost?.add((what) => told.push(what));
            }

            ada.resumed.add(() => told.push('resumed'));

            const resumed = next(ada.resumed);
            const [code, reason] = await end(ada);

            await resumed;

            if (code !== undefined) {
                const [{ code: seen, reason: why, wasOpen }] = waits(ada);

                assert.deepEqual([seen, why, wasOpen], [code, reason, true]);
            }

            /* another may have the name until the dead one's is free */
            await until(() => told.some((what) =>
                what.startsWith?.('messaging')));
            assert.deepEqual(told.filter((what) =>
                /pubsub|messaging|chat/.test(what)).sort(), [
                'chat join {"channel":"news"}',
                'messaging registerParticipant {"name":"ada"}',
                'pubsub subscribe {"channel":"loop"}',
                'pubsub subscribe {"channel":"news"}',
            ]);
            assert.equal(told.filter((what) => what === 'resumed').length, 1);

            await until(() => held.cursor.isSynchronized());
            assert.equal(signals.length, 2);
            assert.deepEqual(signals.map(({ aborted }) => aborted),
                             [true, false]);
            assert.equal(held.subscription.ready, ready);
            await holds(held, 1);
        });
    }

    await it('and after one reload after another', async () => {
        const held = await holder();

        for (let round = 1; round <= 3; round++) {
            const resumed = next(held.ada.resumed);

            await reload();
            await resumed;
            await until(() => held.cursor.isSynchronized());
            await holds(held, round);
        }
    });

    await it('what the killed worker did not have is not disturbed',
        async () => {
            const ada = await connected(as('ada'), services);
            const grace = await connected(as('grace'), services);

            await apart(grace, ada);

            const resumed = next(ada.resumed);
            const told = record(grace.disconnected);

            await ada.services.pubsub.subscribe({ channel });
            process.kill(await workerOf(ada), 'SIGKILL');
            await resumed;
            await grace.services.pubsub.publish({ channel, message: 1 });
            assert.deepEqual(told, []);
        });

    await it('"resumed" comes last, when all is held', async () => {
        const [ada, proxy] = await throughProxy();
        const { pubsub, chat } = ada.services;
        const told = [];

        for (let n = 0; n < 20; n++) {
            await pubsub.subscribe({ channel: n });
            await chat.join({ channel: n });
        }

        pubsub.resumed.add(() => told.push('one'));
        chat.resumed.add(() => told.push('one'));
        ada.connected.add(() => told.push('connected'));
        ada.resumed.add(() => told.push('resumed'));

        const resumed = next(ada.resumed);

        proxy.cut();
        await resumed;
        assert.equal((await status()).total.subscriptions, 40);
        assert.deepEqual(told, ['connected', ...Array(40).fill('one'),
                                'resumed']);
        await pause(20);
        assert.equal(told.length, 42);
    });

    await it('with nothing held, too; but not of the first connect',
        async () => {
            const proxy = await Proxy.start(port);
            const ada = connect(as('ada', proxy.port), services);
            const told = record(ada.resumed);

            await ada.ready();
            await pause(20);
            assert.equal(told.length, 0);
            proxy.cut();
            await has(told, 1);
        });

    await it('what is kept is sent before what a listener says', async () => {
        const [ada, proxy] = await throughProxy();
        const { pubsub, echo } = ada.services;

        await pubsub.subscribe({ channel });
        ada.connected.add(() => echo.sendMessage('connected'));
        proxy.sent.length = 0;
        ada.disconnected.add(() => echo.sendMessage('queued'));
        proxy.cut();
        await has(proxy.sent, 3);
        assert.deepEqual(proxy.sent.map((text) => {
            const { message } = JSON.parse(text);

            return message.command ?? message;
        }), ['subscribe', 'connected', 'queued']);
    });

    await it('a call under way is rejected, one that is kept waits',
        async () => {
            const [ada, proxy] = await throughProxy();
            const { pubsub, messaging } = ada.services;

            proxy.freeze();

            const call = pubsub.publish({ channel, message: 1 });
            const list = messaging.listParticipants();
            const kept = pubsub.subscribe({ channel });

            await pause(20);
            proxy.frozen = false;
            proxy.cut();
            await fails(call, 'disconnected', 'Connection closed');
            await fails(list, 'disconnected');
            assert.equal(await kept, null);
            assert.equal(said(proxy, 'publish').length, 0);
            assert.equal(said(proxy, 'subscribe').length, 1);
            await figure('subscriptions', 1);
        });

    await it('without `resume` it is rejected as well', async () => {
        const [ada, proxy] = await throughProxy('ada', { resume: false });
        const { pubsub } = ada.services;

        await pubsub.subscribe({ channel });
        proxy.freeze();

        const call = pubsub.subscribe({ channel: 'other' });

        await pause(20);
        proxy.frozen = false;
        proxy.cut();
        await fails(call, 'disconnected');
        await next(ada.connected);
        assert.equal(await pubsub.subscribe({ channel }), null);
        await figure('subscriptions', 1);
    });

    await it('a name that the dead connection has is asked for again',
        async () => {
            const [old, other] = [await Proxy.start(port),
                                  await Proxy.start(port)];
            let at = old.port;
            const ada = await connected(() => as('ada', at), services);
            const { messaging } = ada.services;
            const told = record(messaging.resumed);
            const lost = record(messaging.lost);
            const grace = await connected(as('grace'), services);

            await messaging.registerParticipant({ name: 'ada' });
            old.freeze();
            at = other.port;
            ada.restart();
            await until(() => said(other, 'registerParticipant').length >= 3);
            assert.deepEqual([told, lost], [[], []]);

            old.frozen = false;
            old.cut();
            await has(told, 1);
            assert.equal(told[0].command, 'registerParticipant');
            assert.deepEqual(told[0].params, { name: 'ada' });
            await grace.services.messaging.registerParticipant({ name: 'g' });

            const letter = next(messaging.messageReceived);

            await grace.services.messaging.send(
                { sender: 'g', dest: 'ada', body: 1 });
            assert.equal((await letter).body, 1);
        });

    await it('what is refused now is lost, and said to be', async () => {
        const ada = await connected(as('ada'), services);
        const { pubsub, chat } = ada.services;
        const told = record(pubsub.lost);
        const list = read(pubsub.channel('loop'));

        await pubsub.subscribe({ channel });
        await chat.join({ channel });
        await figure('subscriptions', 3);
        await order('conf strict');

        const resumed = next(ada.resumed);

        await reload();
        await resumed;
        await has(told, 2);
        assert.deepEqual(told.map(({ command, params, error }) =>
            [command, params.channel, error.code, error.message]).sort(), [
            ['subscribe', 'loop', 'rpc', 'Not authorized'],
            ['subscribe', 'news', 'rpc', 'Not authorized'],
        ]);
        await fails(list.ended, 'rpc', 'Not authorized');
        await figure('subscriptions', 1);
        await order('conf usual');

        const again = next(ada.resumed);

        await reload();
        await again;
        assert.equal(await pubsub.subscribe({ channel }), null);
    });

    await it('what was left meanwhile is not asked for', async () => {
        const [ada, proxy] = await throughProxy();
        const { pubsub, chat, messaging } = ada.services;

        await pubsub.subscribe({ channel });
        await pubsub.subscribe({ channel: 'other' });
        await chat.join({ channel });
        await messaging.registerParticipant({ name: 'ada' });

        const ended = next(ada.disconnected);

        await proxy.refuse();
        await ended;
        assert.equal(await pubsub.unsubscribe({ channel }), null);
        assert.equal(await chat.leave({ channel }), null);
        assert.equal(await messaging.unregisterParticipant({ name: 'ada' }),
                     null);
        proxy.sent.length = 0;

        const resumed = next(ada.resumed);

        await proxy.listen();
        await resumed;
        assert.deepEqual(proxy.sent.map((text) =>
            JSON.parse(text).message.params), [{ channel: 'other' }]);
        await fails(pubsub.unsubscribe({ channel }), 'rpc', 'Not subscribed');
    });

    await it('nor what is under way of being unsubscribed', async () => {
        const [ada, proxy] = await throughProxy();
        const { pubsub } = ada.services;

        await pubsub.subscribe({ channel });
        proxy.freeze();

        const call = pubsub.unsubscribe({ channel });

        await pause(20);
        proxy.frozen = false;
        proxy.sent.length = 0;

        const resumed = next(ada.resumed);

        proxy.cut();
        assert.equal(await call, null);
        await resumed;
        assert.deepEqual(proxy.sent, []);
        await figure('subscriptions', 0);
    });

    await it('a subscribe between two connections is one', async () => {
        const [ada, proxy] = await throughProxy();
        const { pubsub } = ada.services;
        const ended = next(ada.disconnected);

        await proxy.refuse();
        await ended;
        proxy.sent.length = 0;

        const call = pubsub.subscribe({ channel });

        await until(() => waits(ada).length >= 3);
        await proxy.listen();
        assert.equal(await call, null);
        assert.equal(said(proxy, 'subscribe').length, 1);
    });
}


/* ----------------------------------------------------------------- cursors */

async function pointing() {
    await it('a document tells what has changed meanwhile', async () => {
        const [ada, proxy] = await throughProxy();
        const grace = await connected(as('grace'), services);
        const document = 'map';
        const mine = await ada.services.cursors.join({ document });
        const hers = await grace.services.cursors.join({ document });
        const { cursors: list } = mine;

        const [[gone], [moved], [same]] = await Promise.all(
            [1, 2, 3].map(async (position) => {
                const made = hers.createCursor({ position, status: 0 });

                await made[1];
                return made;
            }));

        await until(() => list.length === 3);

        const [own, there] = mine.createCursor({ position: 'a', status: 'b' });

        await there;

        const old = own.publicHandle;
        const signals = ['cursorAdded', 'cursorUpdated', 'cursorRemoved']
            .map((name) => record(mine[name]));
        const ended = next(ada.disconnected);

        await proxy.refuse();
        await ended;

        await gone.remove();
        await moved.update({ position: 22 });

        const [added, came] = hers.createCursor({ position: 4, status: 0 });

        await came;

        /* one's own may be moved meanwhile */
        const update = own.update({ position: 'c' });

        const resumed = next(ada.resumed);

        await proxy.listen();
        await resumed;
        await update.catch(() => {});
        await until(() => own.isSynchronized());

        assert.deepEqual(signals.map((told) =>
            told.map(({ publicHandle }) => publicHandle)), [
            [added.publicHandle], [moved.publicHandle], [gone.publicHandle],
        ]);
        assert.equal(signals[1][0].position, 22);
        assert.equal(mine.cursors, list);
        assert.deepEqual(list.map(({ publicHandle }) => publicHandle).sort(),
            [moved, same, added, own].map(({ publicHandle }) =>
                publicHandle).sort());
        assert.notEqual(own.publicHandle, old);

        await until(() => hers.cursors.some(({ publicHandle, position }) =>
            publicHandle === own.publicHandle && position === 'c'));
        assert.equal(hers.cursors.filter(({ isMine }) => !isMine).length, 1);
    });

    await it('an own cursor that is removed meanwhile does not come back',
        async () => {
            const [ada, proxy] = await throughProxy();
            const document = await ada.services.cursors.join(
                { document: 'map' });
            const [one, made] = document.createCursor(
                { position: 1, status: 1 });

            await made;
            document.createCursor({ position: 2, status: 2 });

            const ended = next(ada.disconnected);

            await proxy.refuse();
            await ended;
            await one.remove().catch(() => {});

            const resumed = next(ada.resumed);

            await proxy.listen();
            await resumed;
            await until(() => document.cursors.every((cursor) =>
                cursor.isSynchronized()));

            const grace = await connected(as('grace'), services);
            const hers = await grace.services.cursors.join(
                { document: 'map' });

            assert.deepEqual(hers.cursors.map(({ position }) => position), [2]);
        });

    await it('nor is the dead connection\'s taken for another\'s', async () => {
        const [old, other] = [await Proxy.start(port),
                              await Proxy.start(port)];
        let at = old.port;
        const ada = await connected(() => as('ada', at), services);
        const grace = await connected(as('grace'), services);
        const mine = await ada.services.cursors.join({ document: 'map' });
        const hers = await grace.services.cursors.join({ document: 'map' });
        const [own, made] = mine.createCursor({ position: 1, status: 1 });

        await made;

        const signals = ['cursorAdded', 'cursorUpdated', 'cursorRemoved']
            .map((name) => record(mine[name]));
        const { publicHandle } = own;

        old.freeze();
        at = other.port;
        ada.restart();
        await until(() => hers.cursors.length === 2);
        await until(() => own.publicHandle !== publicHandle);
        old.frozen = false;
        old.cut();
        await until(() => hers.cursors.length === 1);
        assert.equal(hers.cursors[0].publicHandle, own.publicHandle);
        assert.deepEqual(signals, [[], [], []]);
        assert.deepEqual(mine.cursors, [own]);
    });

    await it('a document that was left does not come back', async () => {
        const [ada, proxy] = await throughProxy();
        const document = await ada.services.cursors.join({ document: 'map' });
        const [cursor, made] = document.createCursor(
            { position: 1, status: 1 });

        await made;

        const ended = next(ada.disconnected);

        await proxy.refuse();
        await ended;
        assert.equal(await document.leave(), null);
        assert.equal(cursor.removed, true);
        proxy.sent.length = 0;

        const resumed = next(ada.resumed);

        await proxy.listen();
        await resumed;
        assert.deepEqual(proxy.sent, []);
    });
}


await run(resuming, pointing);
