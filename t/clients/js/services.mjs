/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Cases of t/js_services.t: each service, with clients on several workers, and
 * an application behind an upstream service, which is this process.
 */

import { getEventListeners } from 'node:events';
import http from 'node:http';
import {
    Snorky, apart, assert, backend, connect, connected, failure, fails,
    figure, given, has, it, next, pause, port, read, record, run, until, url,
} from './lib.mjs';
import { Proxy } from './proxy.mjs';

const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}[+-]\d\d:\d\d$/;

const services = {
    echo: Snorky.Service,
    pubsub: Snorky.PubSub,
    messaging: Snorky.Messaging,
    chat: Snorky.Chat,
    cursors: Snorky.Cursors,
    datasync: Snorky.DataSync,
};

const as = (user) => url(`/ws?user=${user}`);


/* two clients that are served by different workers */
async function two() {
    const ada = await connected(as('ada'), services);
    const grace = await connected(as('grace'), services);

    await apart(grace, ada);
    return [ada, grace];
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


function authorize(...items) {
    return backend('datasync_backend', 'authorizeSubscription', {
        items: items.map(([dealer, query]) => ({ dealer, query })),
    });
}


function publish(...deltas) {
    return backend('datasync_backend', 'publishDeltas', { deltas });
}


/* --------------------------------------------------------------- services */

async function serving() {
    await it('echo', async () => {
        const { services: { echo } } = await connected(url('/ws'), services);
        const told = record(echo.packetReceived);
        const all = [null, true, 1.5, '', 'grüße 🌊', [], {}, { a: [null] }];

        all.forEach((message) => echo.sendMessage(message));
        await has(told, all.length);
        assert.deepEqual(told, all);
        assert.equal(echo.name, 'echo');
    });

    await it('pubsub: from one worker to another, and to oneself', async () => {
        const [ada, grace] = await two();
        const [a, g] = [ada, grace].map(({ services: { pubsub } }) =>
            record(pubsub.messagePublished));
        const channel = { b: [1, null], a: 'x' };

        await ada.services.pubsub.subscribe({ channel });
        await grace.services.pubsub.subscribe({
            channel: { a: 'x', b: [1, null] },
        });
        await ada.services.pubsub.publish({ channel, message: 1 });
        await grace.services.pubsub.publish({ channel, message: 2 });
        await Promise.all([has(a, 2), has(g, 2)]);

        for (const told of [a, g]) {
            assert.deepEqual(told, [
                { type: 'message', channel, message: 1 },
                { type: 'message', channel, message: 2 },
            ]);
        }

        await fails(ada.services.pubsub.subscribe({ channel }), 'rpc',
                    'Already subscribed');
        await ada.services.pubsub.unsubscribe({ channel });
        await fails(ada.services.pubsub.unsubscribe({ channel }), 'rpc',
                    'Not subscribed');
        await backend('pubsub_backend', 'publish', { channel, message: 3 });
        await has(g, 3);
        assert.equal(a.length, 2);
    });

    await it('messaging', async () => {
        const [ada, grace] = await two();
        const { messaging: mine } = ada.services;
        const { messaging: hers } = grace.services;
        const told = record(hers.messageReceived);

        await mine.registerParticipant({ name: 'ada' });
        await hers.registerParticipant({ name: 'grace' });
        await fails(hers.registerParticipant({ name: 'ada' }), 'rpc',
                    'Name already registered');
        assert.deepEqual(await mine.listParticipants(), ['ada', 'grace']);
        await mine.send({ sender: 'ada', dest: 'grace', body: [1] });
        await has(told, 1);
        assert.deepEqual(told, [
            { type: 'message', sender: 'ada', dest: 'grace', body: [1] },
        ]);
        await fails(mine.send({ sender: 'ada', dest: 'who', body: 1 }), 'rpc',
                    'Unknown destination');
        await hers.unregisterParticipant({ name: 'grace' });
        assert.deepEqual(await mine.listParticipants(), ['ada']);
    });

    await it('chat', async () => {
        const [ada, grace] = await two();
        const { chat } = ada.services;
        const [messages, presences, reads] = ['messageReceived',
            'presenceReceived', 'readReceived'].map((name) =>
            record(chat[name]));
        const channel = 'hold';

        assert.deepEqual(await chat.join({ channel }), { members: ['ada'] });
        assert.deepEqual(await grace.services.chat.join({ channel }),
                         { members: ['ada', 'grace'] });
        await grace.services.chat.send({ channel, body: 'Ahoy!' });
        await grace.services.chat.leave({ channel });
        await has(presences, 2);

        for (const { timestamp } of [...messages, ...presences]) {
            assert.match(timestamp, TIME);
        }

        assert.deepEqual(messages.map(({ timestamp, ...rest }) => rest), [
            { type: 'message', from: 'grace', channel, body: 'Ahoy!' },
        ]);
        assert.deepEqual(presences.map(({ timestamp, ...rest }) => rest), [
            { type: 'presence', from: 'grace', channel, status: 'joined' },
            { type: 'presence', from: 'grace', channel, status: 'left' },
        ]);

        const window = await connected(as('ada'), services);

        await window.services.chat.join({ channel });
        await window.services.chat.read({ channel });
        await has(reads, 1);
        assert.equal(reads[0].type, 'read');

        const stranger = await connected(url('/ws'), services);

        await fails(stranger.services.chat.join({ channel }), 'rpc',
                    'Not authenticated');
    });

    await it('chat and messaging: the page leaves what a loop holds',
        async () => {
            const [ada] = await two();
            const { chat, messaging } = ada.services;
            const channel = 'loop';
            const letters = read(messaging.participant('me'));
            const heard = read(chat.room(channel));

            await figure('subscriptions', 2);

            assert.deepEqual(await chat.join({ channel }),
                             { members: ['ada'] });
            await chat.leave({ channel });
            assert.deepEqual(await chat.join({ channel }),
                             { members: ['ada'] });
            await chat.leave({ channel });
            await fails(chat.leave({ channel }), 'rpc', 'Not joined');
            await messaging.registerParticipant({ name: 'me' });
            await messaging.unregisterParticipant({ name: 'me' });
            await fails(messaging.unregisterParticipant({ name: 'me' }),
                        'rpc', 'Unknown participant');

            await chat.send({ channel, body: 1 });
            await messaging.send({ sender: 'me', dest: 'me', body: 2 });
            await Promise.all([has(heard, 1), has(letters, 1)]);
            assert.deepEqual([heard[0].body, letters[0].body], [1, 2]);
        });

    await it('notifications of other types are passed over', async () => {
        const [{ services: { chat, datasync, messaging } }] = await two();
        const told = [chat.messageReceived, datasync.deltaReceived,
                      messaging.messageReceived].map((one) => record(one));

        for (const service of [chat, datasync, messaging]) {
            for (const message of [null, 'message', { type: 'messages' },
                                   { type: 'unread' }, { dest: 'ada' }])
            {
                service.packetReceived.dispatch(message);
            }
        }

        assert.deepEqual(told, [[], [], []]);
    });

    await it('cursors: documents and foreign cursors', async () => {
        const [ada, grace] = await two();
        const document = { plan: 1 };
        const mine = await ada.services.cursors.join({ document });
        const added = record(mine.cursorAdded);
        const updated = record(mine.cursorUpdated);
        const removed = record(mine.cursorRemoved);

        assert.ok(mine instanceof Snorky.Cursors.Document);
        assert.deepEqual(mine.name, document);

        const hers = await grace.services.cursors.join({ document });
        const [cursor, made] = hers.createCursor({
            position: [1, 2], status: 'idle',
        });

        assert.ok(cursor instanceof Snorky.Cursors.OwnCursor);
        assert.equal(cursor.publicHandle, null);
        assert.equal(cursor.isMine, true);
        assert.equal(cursor.isSynchronized(), false);
        await made;
        assert.equal(cursor.isSynchronized(), true);
        assert.equal(typeof cursor.publicHandle, 'number');
        assert.deepEqual(hers.cursors, [cursor]);

        await has(added, 1);
        assert.ok(added[0] instanceof Snorky.Cursors.ForeignCursor);
        assert.equal(added[0].publicHandle, cursor.publicHandle);
        assert.equal(added[0].owner, 'grace');
        assert.equal(added[0].isMine, false);
        assert.deepEqual(mine.cursors, added);

        await cursor.update({ position: [3, 4] });
        await has(updated, 1);
        assert.equal(updated[0], added[0]);
        assert.deepEqual([updated[0].position, updated[0].status],
                         [[3, 4], 'idle']);

        await cursor.update({ status: 'busy' });
        await has(updated, 2);
        assert.equal(added[0].status, 'busy');

        await cursor.remove();
        await has(removed, 1);
        assert.equal(removed[0].publicHandle, added[0].publicHandle);
        assert.equal(cursor.removed, true);
        assert.deepEqual([mine.cursors, hers.cursors], [[], []]);
    });

    await it('cursors: what the original\'s has wrong', async () => {
        const proxy = await Proxy.start(port);
        const [ada, grace] = [
            await connected(as('ada'), services),
            await connected(`${url('/ws', proxy.port)}?user=grace`, services),
        ];
        const document = 'map';
        const hers = await grace.services.cursors.join({ document });
        const mine = await ada.services.cursors.join({ document });
        const [foreign, there] = mine.createCursor({ position: 0, status: 0 });

        await there;
        await until(() => hers.cursors.length === 1);

        /* an update that changes nothing sends nothing */
        const [one, made] = hers.createCursor({ position: [1], status: 's' });

        await made;

        const { length } = proxy.sent;

        await one.update({ position: [1], status: 's' });
        await one.update({});
        assert.equal(proxy.sent.length, length);
        assert.equal(one.isSynchronized(), true);

        /* one's own goes, the others' stay */
        await one.remove();
        assert.deepEqual(hers.cursors.map(({ publicHandle }) => publicHandle),
                         [foreign.publicHandle]);

        /* one that is refused is none */
        const all = [1, 2, 3, 4, 5].map((position) =>
            hers.createCursor({ position, status: null }));

        await fails(all[4][1], 'rpc', 'Too many cursors');
        assert.equal(hers.cursors.includes(all[4][0]), false);
        assert.equal(all[4][0].removed, true);
        assert.equal(all[4][0].isSynchronized(), true);
        assert.equal(hers.cursors.length, 5);
        assert.equal(new Set(all.map(([{ privateHandle }]) =>
            privateHandle)).size, 5);

        await hers.leave();
        assert.ok(all.every(([{ removed }]) => removed));
        await until(() => mine.cursors.length === 1);
        assert.deepEqual(mine.cursors, [foreign]);
        await fails(grace.services.cursors.leave({ document }), 'rpc',
                    'Not joined');
    });

    await it('cursors: what may not be updated, and what is given up',
        async () => {
            const [ada, grace] = await two();
            const document = await ada.services.cursors.join({ document: 1 });
            const [cursor, made] = document.createCursor(
                { position: 1, status: 1 });
            const aborted = { signal: AbortSignal.abort(Error('why')) };

            await made;
            assert.throws(() => cursor.update({ position: 2, owner: 'me' }),
                          /owner can't be updated/);
            assert.equal(cursor.position, 1);

            const [other, gone] = document.createCursor(
                { position: 2, status: 2 }, aborted);

            assert.equal((await failure(gone)).message, 'why');
            assert.equal(other.removed, true);
            assert.equal((await failure(cursor.update({ position: 3 },
                                                      aborted))).message,
                         'why');
            assert.equal(cursor.isSynchronized(), true);
            assert.deepEqual(document.cursors, [cursor]);

            /* what was given up may be tried again */
            await cursor.update({ position: 3 });

            const { cursors } = await grace.services.cursors
                .join({ document: 1 });

            assert.equal(cursors[0].position, 3);
        });

    await it('cursors: updates come in order', async () => {
        const [ada, grace] = await two();
        const document = 'race';
        const mine = await ada.services.cursors.join({ document });
        const seen = [];

        mine.cursorAdded.add(({ position }) => seen.push(position));
        mine.cursorUpdated.add(({ position }) => seen.push(position));

        const hers = await grace.services.cursors.join({ document });
        const [cursor] = hers.createCursor({ position: 0, status: 0 });

        for (let n = 1; n <= 100; n++) {
            cursor.update({ position: n });
        }

        await until(() => cursor.isSynchronized());
        await until(() => seen.at(-1) === 100);
        assert.deepEqual(seen, [...seen].sort((a, b) => a - b));
        assert.equal(cursor.position, 100);
    });
}


async function syncing() {
    const {
        ArrayCollection, CollectionDeltaProcessor, SingleItemCollection,
    } = Snorky.DataSync;

    await it('datasync: a token is acquired, and cancelled', async () => {
        const [ada, grace] = await two();
        const { datasync } = ada.services;
        const told = record(datasync.deltaReceived);
        const anne = { id: 1, name: 'Anne', team: 'red' };
        const token = await authorize(['team_players', 'red']);

        await publish(insert('player', anne));
        assert.equal(await datasync.acquireSubscription({ token }), null);
        assert.deepEqual(told, [insert('player', anne)]);

        await publish(update('player', anne, { ...anne, team: 'blue' }));
        await has(told, 2);
        assert.deepEqual(told[1], remove('player', anne));

        await fails(grace.services.datasync.acquireSubscription({ token }),
                    'rpc', 'Subscription already acquired');
        await datasync.cancelSubscription({ token });
        await fails(datasync.cancelSubscription({ token }), 'rpc',
                    'No such subscription');
    });

    await it('datasync: deltas change collections', async () => {
        const { services: { datasync } } = await connected(url('/ws'),
                                                           services);
        const players = [];
        let ship = { id: 1, name: 'Arg' };
        const processor = new CollectionDeltaProcessor({
            player: new ArrayCollection(players, {
                transformItem: (item) => ({ ...item, shown: true }),
            }),
            ship: new SingleItemCollection(
                () => ship,
                (item) => { ship = item; },
                () => { ship = null; }),
        });

        datasync.deltaReceived.add((delta) => processor.processDelta(delta));
        await datasync.acquireSubscription({
            token: await authorize(['all_players', null], ['ships', null]),
        });

        const anne = { id: 1, name: 'Anne' };
        const mary = { id: 2, name: 'Mary' };
        const argo = { id: 1, name: 'Argo' };

        await publish(insert('player', anne), insert('player', mary),
                      update('ship', { id: 1 }, argo));
        await until(() => ship.name === 'Argo');
        assert.deepEqual(players, [{ ...anne, shown: true },
                                   { ...mary, shown: true }]);
        assert.deepEqual(ship, argo);

        await publish(update('player', anne, { ...anne, name: 'Ann' }),
                      remove('player', mary),
                      update('ship', argo, { ...argo, name: 'Argo II' }));
        await until(() => ship.name === 'Argo II');
        assert.deepEqual(players, [{ id: 1, name: 'Ann', shown: true }]);

        await publish(remove('ship', argo));
        await until(() => ship === null);
    });

    await it('datasync: what tells items apart may be another', async () => {
        const red = [];
        const blue = [];
        const processor = new CollectionDeltaProcessor({
            player: {
                red: new ArrayCollection(red),
                blue: new ArrayCollection(blue),
            },
        }, { itemsAreEqual: (item, other) => item.name === other.name });

        for (const [type, name, team] of [
            ['insert', 'Anne', 'red'], ['insert', 'Mary', 'red'],
            ['insert', 'Zoe', 'blue'], ['delete', 'Anne', 'red'],
        ]) {
            processor.processDelta({
                type, model: 'player', data: { name }, tag: team,
            });
        }

        processor.processDelta({
            type: 'update', model: 'player', tag: 'blue',
            oldData: { name: 'Zoe' }, newData: { name: 'Zoe', score: 5 },
        });

        assert.deepEqual([red, blue],
                         [[{ name: 'Mary' }], [{ name: 'Zoe', score: 5 }]]);
    });

    await it('datasync: a collection of one\'s own', async () => {
        const kept = new Map();

        class ById extends Snorky.DataSync.Collection {
            insert(item) {
                kept.set(item.id, item);
            }

            getIterator() {
                const keys = [...kept.keys()];
                let key;

                return {
                    hasNext: () => keys.length > 0,
                    next: () => kept.get(key = keys.shift()),
                    remove: () => kept.delete(key),
                    update: (item) => kept.set(key, item),
                };
            }
        }

        const processor = new CollectionDeltaProcessor({ a: new ById() });

        processor.processDelta(insert('a', { id: 1 }));
        processor.processDelta(insert('a', { id: 2 }));
        processor.processDelta(update('a', { id: 2 }, { id: 2, b: 1 }));
        processor.processDelta(remove('a', { id: 1 }));
        assert.deepEqual([...kept.values()], [{ id: 2, b: 1 }]);
    });

    await it('datasync: a row that is there is not inserted again', () => {
        const rows = [{ id: 1, b: 0 }, { c: 0 }];
        const processor = new CollectionDeltaProcessor({
            a: new ArrayCollection(rows),
        });

        processor.processDelta(insert('a', { id: 2 }));
        processor.processDelta(insert('a', { id: 1, b: 1 }));
        processor.processDelta(insert('a', { c: 1 }));
        assert.deepEqual(rows, [{ id: 1, b: 1 }, { c: 0 }, { id: 2 },
                                { c: 1 }]);
    });

    await it('datasync: an iterator goes along, and changes what it gave',
        () => {
            const array = ['a', 'b', 'c', 'd'];
            const walk = new ArrayCollection(array).getIterator();
            const none = { message: 'There is no item' };

            assert.throws(() => walk.remove(), none);
            assert.equal(walk.next(), 'a');
            assert.equal(walk.next(), 'b');
            walk.remove();
            assert.throws(() => walk.remove(), none);
            assert.throws(() => walk.update('x'), none);
            assert.equal(walk.next(), 'c');
            walk.update('C');
            walk.update('CC');
            assert.equal(walk.next(), 'd');
            walk.remove();
            assert.equal(walk.hasNext(), false);
            assert.throws(() => walk.next(), none);
            assert.deepEqual(array, ['a', 'CC']);
        });

    await it('datasync: so does that of a single item', () => {
        const told = [];
        const one = new SingleItemCollection(() => 'a',
                                             (item) => told.push(item));
        const walk = one.getIterator();

        one.insert('x');
        assert.equal(walk.next(), 'a');
        assert.equal(walk.hasNext(), false);
        walk.update('b');
        walk.remove();
        assert.equal(walk.hasNext(), false);
        assert.deepEqual(told, ['b']);
    });

    await it('datasync: items that are no rows, and rows of no collection',
        () => {
            const array = [null, undefined, 'text', { id: '7' }, { id: 8 }];
            const seen = [];
            const { error } = console;
            const processor = new CollectionDeltaProcessor({
                a: new ArrayCollection(array),
            });

            processor.processDelta(update('a', { id: 7 }, { id: 7, b: 1 }));
            processor.processDelta(remove('a', { id: '8' }));
            processor.processDelta(remove('a', { id: 9 }));
            assert.deepEqual(array, [null, undefined, 'text',
                                     { id: 7, b: 1 }]);

            try {
                console.error = (...what) => seen.push(what.at(-1));
                processor.processDelta(insert('b', { id: 1 }));
            } finally {
                console.error = error;
            }

            assert.deepEqual(seen, [insert('b', { id: 1 })]);

            const delta = { ...remove('a', {}), by: 'delta' };

            new CollectionDeltaProcessor(processor.collections, {
                itemsAreEqual: (item, data, { by }) => item?.id && by,
            }).processDelta(delta);
            assert.deepEqual(array, [null, undefined, 'text']);
        });

    await it('datasync: subscribe() asks for a token and acquires it',
        async () => {
            const { services: { datasync } } = await connected(url('/ws'),
                                                               services);
            let signal;
            const subscription = datasync.subscribe((given) => {
                signal = given;
                return authorize(['ships', null]);
            });
            const list = read(subscription, { count: 2 });

            await subscription.ready;
            assert.equal(signal.aborted, false);
            await publish(insert('ship', { id: 1 }),
                          insert('player', { id: 1 }),
                          insert('ship', { id: 2 }));
            await list.ended;
            assert.deepEqual([...list], [insert('ship', { id: 1 }),
                                         insert('ship', { id: 2 })]);
            await subscription.cancel();
            await figure('subscriptions', 0);
        });

    await it('datasync: one that fails is tried again', async () => {
        const { services: { datasync } } = await connected(url('/ws'),
                                                           services);
        let asked = 0;
        const subscription = datasync.subscribe(() => {
            asked++;

            if (asked === 1) {
                throw Error('mine');
            }

            return asked === 2 ? 'nonsense' : authorize(['ships', null]);
        });

        await subscription.ready;
        assert.equal(asked, 3);
        await subscription.cancel();
    });

    await it('datasync: one that is cancelled before it is ready', async () => {
        const { services: { datasync } } = await connected(url('/ws'),
                                                           services);
        let signal;
        const subscription = datasync.subscribe((given) => {
            signal = given;
            return new Promise(() => {});
        });
        const failed = failure(subscription.ready);

        await until(() => signal);
        await subscription.cancel();
        await failed;
        assert.equal(signal.aborted, true);
    });

    await it('datasync: one that is aborted before it is ready', async () => {
        const proxy = await Proxy.start(port);
        const { services: { datasync } } = await connected(
            url('/ws', proxy.port), services);
        const controller = new AbortController();
        let signal;
        const { ready } = datasync.subscribe((given) => {
            signal = given;
            return new Promise(() => {});
        }, { signal: controller.signal });

        await until(() => signal);
        controller.abort(Error('enough'));
        assert.equal((await failure(ready)).message, 'enough');
        assert.equal(signal.aborted, true);

        /* there is nothing to be cancelled */
        await datasync.rpcCall('acquireSubscription').catch(() => {});
        assert.equal(proxy.sent.length, 1);
    });

    await it('datasync: or before there is a connection', async () => {
        const { services: { datasync } } = connect(url('/ws'), services,
                                                   { autoConnect: false });
        const controller = new AbortController();
        const { ready } = datasync.subscribe(() => 'token',
                                             { signal: controller.signal });

        controller.abort(Error('enough'));
        assert.equal((await failure(ready)).message, 'enough');
        await pause(0);     /* what a listener throws comes then */
    });

    await it('datasync: two subscriptions are two, and an abort ends one',
        async () => {
            const { services: { datasync } } = await connected(url('/ws'),
                                                               services);
            const controller = new AbortController();
            const ships = datasync.subscribe(
                () => authorize(['ships', null]),
                { signal: controller.signal });
            const list = read(ships);
            const { signal } = new AbortController();
            const players = datasync.subscribe(
                () => authorize(['all_players', null]), { signal });

            await Promise.all([ships.ready, players.ready]);
            await figure('subscriptions', 2);
            controller.abort(Error('enough'));
            assert.equal((await failure(list.ended)).message, 'enough');
            await figure('subscriptions', 1);
            await players.cancel();
            await figure('subscriptions', 0);

            /* a signal may live longer */
            assert.deepEqual(getEventListeners(signal, 'abort'), []);
        });

    await it('datasync: a subscription may take as long as it takes',
        async () => {
            const proxy = await Proxy.start(port);
            const { services: { datasync } } = await connected(
                url('/ws', proxy.port), services, { timeout: 30 });
            let asked = 0;
            const subscription = datasync.subscribe(async () => {
                const token = await authorize(['ships', null]);

                asked++;
                await pause(60);
                proxy.freeze();
                return token;
            });

            await until(() => proxy.frozen);
            await pause(60);
            proxy.thaw();
            await subscription.ready;
            assert.equal(asked, 1);

            /* one that is cancelled under way is none */
            const other = datasync.subscribe(async () => {
                const token = await authorize(['ships', null]);

                proxy.freeze();
                return token;
            });

            await until(() => proxy.frozen);
            await other.cancel();
            proxy.thaw();
            await subscription.cancel({ timeout: 0 });
            await figure('subscriptions', 0);
        });

    await it('datasync: a token that is spent is not cancelled again',
        async () => {
            const snorky = await connected(url('/ws'), services);
            let asked = 0;
            const subscription = snorky.services.datasync.subscribe(
                () => asked++ === 0 ? authorize(['ships', null])
                                    : new Promise(() => {}));

            await subscription.ready;
            snorky.restart();
            await until(() => asked === 2);
            await subscription.cancel();
            await figure('subscriptions', 0);
        });
}


/* ------------------------------------------------------------ applications */

/* what is behind the upstream service: this process */
function application() {
    const server = http.createServer(async (request, response) => {
        let text = '';

        for await (const part of request) {
            text += part;
        }

        const { command, params } = JSON.parse(text);
        const client = request.headers['x-snorky-client'];

        if (command === 'fail') {
            response.writeHead(409, { 'Content-Type': 'text/plain' });
            response.end('It is taken');
            return;
        }

        response.setHeader('Content-Type', 'application/json');
        response.end(JSON.stringify(
            command === 'sum' ? params.a + params.b
            : command === 'whoami' ? { client }
            : params));
    });

    return new Promise((resolve) => server.listen(
        given.application, '127.0.0.1', () => resolve(server)));
}


async function calling() {
    class Calculator extends Snorky.RPCService {
        static {
            this.addRPCMethods(['sum', 'fail', 'whoami', 'same']);
        }
    }

    await it('upstream: an application\'s commands are methods', async () => {
        const { services: { calculator } } = await connected(url('/ws'),
            { calculator: Calculator });

        assert.equal(await calculator.sum({ a: 3, b: 4 }), 7);
        assert.deepEqual(await calculator.same(), {});
        assert.deepEqual(await calculator.rpcCall('same', { a: [null] }),
                         { a: [null] });
        assert.deepEqual(await Promise.all(
            Array.from({ length: 10 }, (_, n) =>
                calculator.sum({ a: n, b: 1 }))),
            [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    });

    await it('upstream: its errors are errors', async () => {
        const { services: { calculator } } = await connected(url('/ws'),
            { calculator: Calculator });

        await fails(calculator.fail(), 'rpc', 'It is taken');
    });

    await it('upstream: it speaks unasked', async () => {
        const { services: { calculator } } = await connected(url('/ws'),
            { calculator: Calculator });
        const told = record(calculator.notificationReceived);
        const { client } = await calculator.whoami();
        const message = { type: 'sold', article: 17 };

        await backend('calculator_backend', 'send', { to: { client },
                                                      message });
        await has(told, 1);
        assert.deepEqual(told, [message]);
    });

    await it('a method does not take another\'s place', async () => {
        for (const name of ['sum', 'rpcCall', 'sendMessage', 'toString']) {
            assert.throws(() => Calculator.addRPCMethods([name]), {
                message: `Method "${name}" already exists in the class. `
                    + 'Refusing to overwrite it.',
            });
        }
    });
}


const server = await application();

await run(serving, syncing, calling);

server.close();
server.closeAllConnections();
