/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Cases of t/js_streams.t: signals, calls that take too long or are given up,
 * and loops: what they hold on the server is seen in its status, and in what
 * passes a proxy.
 */

import http from 'node:http';
import {
    Snorky, assert, backend, connect, connected, failure, fails,
    figure, given, has, it, next, port, read, run, uncaught, until, url,
} from './lib.mjs';
import { Proxy } from './proxy.mjs';

const services = {
    echo: Snorky.Service,
    pubsub: Snorky.PubSub,
    messaging: Snorky.Messaging,
    chat: Snorky.Chat,
    datasync: Snorky.DataSync,
    calculator: Snorky.RPCService,
};

const held = [];        /* what the application has not answered yet */


/* a client behind a proxy that sees all it sends */
async function watched(options) {
    const proxy = await Proxy.start(port);
    const snorky = await connected(`${url('/ws', proxy.port)}?user=ada`,
                                   services, options);

    return [snorky, snorky.services, proxy];
}


/* what the proxy saw of these commands */
function said(proxy, ...commands) {
    return proxy.sent.map((text) => JSON.parse(text).message.command)
        .filter((command) => commands.includes(command));
}


function publish(channel, message) {
    return backend('pubsub_backend', 'publish', { channel, message });
}


/* all that was sent before has been taken by the server, and answered */
async function settled({ echo }) {
    const token = Math.random();
    const back = next(echo.packetReceived, (message) => message === token);

    echo.sendMessage(token);
    await back;
}


/* ---------------------------------------------------------------- signals */

async function signalling() {
    await it('signals: by priority, then as they were added', () => {
        const signal = new Snorky.Signal();
        const told = [];

        signal.add(() => told.push('b'));
        signal.add(() => told.push('c'));
        signal.add(() => told.push('a'), null, 1);
        signal.add(() => told.push('d'), null, -1);
        signal.dispatch();
        assert.deepEqual(told, ['a', 'b', 'c', 'd']);
        assert.equal(signal.getNumListeners(), 4);
    });

    await it('signals: once, with a context, and not any more', () => {
        const signal = new Snorky.Signal();
        const context = {};
        const told = [];

        function listener(...values) {
            told.push([this, ...values]);
        }

        signal.addOnce(listener, context);
        assert.equal(signal.has(listener, context), true);
        assert.equal(signal.has(listener), false);
        signal.dispatch(1, 2);
        signal.dispatch(3);
        assert.deepEqual(told, [[context, 1, 2]]);
        assert.equal(told[0][0], context);
        assert.equal(signal.has(listener, context), false);

        signal.add(listener, context);
        signal.remove(listener);
        assert.equal(signal.getNumListeners(), 1);
        signal.remove(listener, context);
        signal.dispatch(4);
        assert.equal(told.length, 1);

        const binding = signal.add(listener);

        binding.detach();
        signal.add(listener);
        signal.removeAll();
        signal.dispatch(5);
        assert.equal(told.length, 1);
    });

    await it('signals: the same listener is added once', () => {
        const signal = new Snorky.Signal();
        let told = 0;
        const listener = () => { told++; };

        signal.add(listener);
        signal.add(listener);
        signal.dispatch();
        assert.equal(told, 1);
        assert.equal(signal.getNumListeners(), 1);
    });

    await it('signals: a listener may keep the others from it', () => {
        const signal = new Snorky.Signal();
        const told = [];

        signal.add(() => { told.push('a'); signal.halt(); });
        signal.add(() => told.push('b'));
        signal.dispatch();
        signal.dispatch();
        assert.deepEqual(told, ['a', 'a']);
        signal.removeAll();
        signal.add(() => told.push('c'));
        signal.dispatch();
        assert.deepEqual(told, ['a', 'a', 'c']);
    });

    await it('signals: listeners that come and go in a dispatch', () => {
        const signal = new Snorky.Signal();
        const told = [];
        const gone = () => told.push('gone');

        signal.add(() => {
            told.push('first');
            signal.remove(gone);
            signal.add(() => told.push('new'));
        }, null, 1);
        signal.add(gone);
        signal.dispatch();
        assert.equal(told.includes('new'), false);
        signal.dispatch();
        assert.equal(told.filter((what) => what === 'new').length, 1);
    });

    await it('signals: one that throws does not keep others from it',
        async () => {
            const signal = new Snorky.Signal();
            let told = 0;

            signal.add(() => { throw Error('mine'); });
            signal.add(() => { told++; });
            signal.dispatch();
            assert.equal(told, 1);
            await until(() => uncaught()[0]?.message === 'mine');
        });

    await it('signals: a loop has what comes from its beginning on',
        async () => {
            const signal = new Snorky.Signal();

            signal.dispatch(0);

            const list = read(signal, { count: 3 });

            [1, 2, 3, 4].forEach((value) => signal.dispatch(value));
            await list.ended;
            assert.deepEqual([...list], [1, 2, 3]);
            assert.equal(signal.getNumListeners(), 0);
        });
}


/* ------------------------------------------------------------------ calls */

/* what is behind the upstream service: it answers when it is told to */
function application() {
    const server = http.createServer((request, response) => {
        request.resume();
        request.on('end', () => held.push((data) => {
            response.setHeader('Content-Type', 'application/json');
            response.end(JSON.stringify(data));
        }));
    });

    return new Promise((resolve) => server.listen(
        given.application, '127.0.0.1', () => resolve(server)));
}


async function calling() {
    await it('a call that is not answered in time', async () => {
        const [, { calculator }] = await watched({ timeout: 50 });
        const start = performance.now();

        held.length = 0;
        await fails(calculator.rpcCall('wait'), 'timeout');

        const took = performance.now() - start;

        assert.ok(took > 45 && took < 2000, `${took}`);
        await fails(calculator.rpcCall('wait', {}, { timeout: 10 }),
                    'timeout');
    });

    await it('has no late answer, and harms no other call', async () => {
        const [, { calculator }] = await watched();

        held.length = 0;
        await fails(calculator.rpcCall('wait', {}, { timeout: 20 }), 'timeout');
        await has(held, 1);

        const second = calculator.rpcCall('wait', {}, { timeout: 0 });

        await has(held, 2);
        held[0]('first');
        held[1]('second');
        assert.equal(await second, 'second');
        assert.deepEqual(uncaught(), []);
    });

    await it('one may take longer than the client\'s others', async () => {
        const [, services_] = await watched({ timeout: 40 });
        const { calculator } = services_;

        held.length = 0;

        const call = calculator.rpcCall('wait', {}, { timeout: 0 });

        await fails(calculator.rpcCall('wait'), 'timeout');
        held[0](1);
        assert.equal(await call, 1);
    });

    await it('a call that times out before it was sent is not sent',
        async () => {
            const proxy = await Proxy.start(port);
            const snorky = connect(url('/ws', proxy.port), services,
                                   { autoConnect: false });
            const { pubsub, echo } = snorky.services;

            await fails(pubsub.publish({ channel: 'a', message: 1 },
                                       { timeout: 10 }), 'timeout');
            snorky.connect();
            await snorky.ready();
            await settled({ echo });
            assert.deepEqual(said(proxy, 'publish'), []);
        });

    await it('nor one that is aborted', async () => {
        const proxy = await Proxy.start(port);
        const snorky = connect(url('/ws', proxy.port), services,
                               { autoConnect: false });
        const { pubsub, echo } = snorky.services;
        const controller = new AbortController();
        const { signal } = controller;
        const first = pubsub.publish({ channel: 'a', message: 1 });
        const calls = [
            pubsub.publish({ channel: 'a', message: 2 }, { signal }),
            pubsub.subscribe({ channel: 'a' }, { signal }),
        ];

        controller.abort();

        for (const call of calls) {
            const error = await failure(call);

            assert.equal(error, signal.reason);
            assert.equal(error.name, 'AbortError');
        }

        snorky.connect();
        await first;
        await settled({ echo });
        assert.deepEqual(said(proxy, 'publish', 'subscribe'), ['publish']);
    });

    await it('with a signal that is aborted already nothing is sent',
        async () => {
            const [, { pubsub, echo }, proxy] = await watched();
            const signal = AbortSignal.abort(Error('why'));

            for (const call of [
                pubsub.publish({ channel: 'a', message: 1 }, { signal }),
                pubsub.subscribe({ channel: 'a' }, { signal }),
                pubsub.rpcCall('publish', {}, { signal }),
            ]) {
                assert.equal((await failure(call)).message, 'why');
            }

            await settled({ echo });
            assert.deepEqual(said(proxy, 'publish', 'subscribe'), []);
        });

    await it('a call under way is aborted', async () => {
        const [, { calculator }] = await watched();
        const controller = new AbortController();

        held.length = 0;

        const call = calculator.rpcCall('wait', {},
            { signal: controller.signal });
        const other = calculator.rpcCall('wait');

        await has(held, 2);
        controller.abort('enough');
        assert.equal(await failure(call), 'enough');
        held[0](0);
        held[1](1);
        assert.equal(await other, 1);
    });

    await it('an answer leaves nothing at the signal', async () => {
        const [, { pubsub }] = await watched();
        const { signal } = new AbortController();
        let listeners = 0;

        for (const [method, by] of [['addEventListener', 1],
                                    ['removeEventListener', -1]])
        {
            const was = signal[method];

            signal[method] = function (...parameters) {
                listeners += by;
                return was.apply(this, parameters);
            };
        }

        await pubsub.subscribe({ channel: 'a' }, { signal });
        await pubsub.publish({ channel: 'a', message: 1 }, { signal });
        await failure(pubsub.unsubscribe({ channel: 'b' }, { signal }));
        assert.equal(listeners, 0);
    });

    await it('a subscribe under way that is aborted leaves no subscription',
        async () => {
            const [, { pubsub, echo }, proxy] = await watched();
            const controller = new AbortController();
            const call = pubsub.subscribe({ channel: 'a' },
                { signal: controller.signal });

            controller.abort();
            await failure(call);
            await settled({ echo });
            await figure('subscriptions', 0);
            assert.deepEqual(said(proxy, 'subscribe', 'unsubscribe').length % 2,
                             0);
        });

    await it('a closed client\'s calls are rejected', async () => {
        const [snorky, { calculator, pubsub, echo }] = await watched();
        const under = calculator.rpcCall('wait');

        await has(held, 1);
        snorky.close();
        await fails(under, 'closed');
        await fails(pubsub.subscribe({ channel: 'a' }), 'closed');
        await fails(calculator.rpcCall('wait'), 'closed');
        echo.sendMessage('nobody');
        assert.equal(snorky.state.state, 'closed');
        snorky.connect();
        assert.equal(snorky.state.state, 'closed');
        snorky.close();
    });

    await it('a message that is no JSON is the caller\'s mistake', async () => {
        const [snorky, { pubsub, echo }] = await watched();
        const circle = {};

        circle.circle = circle;
        await failure(pubsub.publish({ channel: 'a', message: circle }));
        assert.throws(() => echo.sendMessage(1n));
        await settled({ echo });
        assert.equal(snorky.isConnected, true);
    });
}


/* ------------------------------------------------------------------ loops */

async function looping() {
    await it('a loop subscribes, and has all in order', async () => {
        const [, { pubsub }, proxy] = await watched();
        const list = read(pubsub.channel('news'), { count: 500 });

        await until(() => said(proxy, 'subscribe').length === 1);
        await figure('subscriptions', 1);

        for (let n = 0; n < 500; n++) {
            pubsub.publish({ channel: 'news', message: n });
        }

        await list.ended;
        assert.deepEqual([...list], [...Array(500).keys()]);
    });

    await it('and unsubscribes with a break', async () => {
        const [, { pubsub }, proxy] = await watched();
        const news = pubsub.channel('news');
        const list = read(news, { count: 1 });

        await figure('subscriptions', 1);
        await news.publish('over');
        await list.ended;
        await figure('subscriptions', 0);
        assert.deepEqual(said(proxy, 'subscribe', 'unsubscribe'),
                         ['subscribe', 'unsubscribe']);
    });

    await it('or with an error that is thrown in it', async () => {
        const [, { pubsub }] = await watched();
        const news = pubsub.channel('news');
        const loop = (async () => {
            for await (const message of news) {
                throw Error(message);
            }
        })();

        await figure('subscriptions', 1);
        await news.publish('mine');
        assert.equal((await failure(loop)).message, 'mine');
        await figure('subscriptions', 0);
    });

    await it('a channel that nobody reads is not subscribed to', async () => {
        const [, { pubsub, echo }, proxy] = await watched();

        pubsub.channel('news')[Symbol.asyncIterator]();
        await settled({ echo });
        assert.deepEqual(said(proxy, 'subscribe'), []);
    });

    await it('it is read again, subscribed anew', async () => {
        const [, { pubsub }, proxy] = await watched();
        const news = pubsub.channel({ a: 1, b: 2 });

        for (let round = 0; round < 3; round++) {
            const list = read(news, { count: 1 });

            await figure('subscriptions', 1);
            await news.publish(round);
            await list.ended;
            assert.equal(list[0], round);
            await figure('subscriptions', 0);
        }

        assert.equal(said(proxy, 'subscribe').length, 3);
    });

    await it('two loops share a subscription', async () => {
        const [, { pubsub }, proxy] = await watched();
        const one = read(pubsub.channel({ a: 1, b: 2 }), { count: 2 });
        const two = read(pubsub.channel({ b: 2, a: 1 }), { count: 4 });
        const other = read(pubsub.channel('other'));

        await figure('subscriptions', 2);

        for (let n = 0; n < 4; n++) {
            await publish({ b: 2, a: 1 }, n);
        }

        await Promise.all([one.ended, two.ended]);
        assert.deepEqual([...one], [0, 1]);
        assert.deepEqual([...two], [0, 1, 2, 3]);
        await figure('subscriptions', 1);
        assert.deepEqual(said(proxy, 'subscribe', 'unsubscribe'),
                         ['subscribe', 'subscribe', 'unsubscribe']);
        assert.equal(other.length, 0);
    });

    await it('and with the page itself', async () => {
        const [, { pubsub }, proxy] = await watched();
        const channel = 'news';
        const list = read(pubsub.channel(channel), { count: 1 });

        await figure('subscriptions', 1);
        assert.equal(await pubsub.subscribe({ channel }), null);
        await fails(pubsub.subscribe({ channel }), 'rpc', 'Already subscribed');
        await publish(channel, 1);
        await list.ended;

        /* the page holds it still */
        const heard = next(pubsub.messagePublished);

        await publish(channel, 2);
        assert.equal((await heard).message, 2);
        assert.equal((await figure('subscriptions', 1)), true);

        await pubsub.unsubscribe({ channel });
        await figure('subscriptions', 0);
        assert.equal(said(proxy, 'unsubscribe').length, 1);
    });

    await it('the page leaves what a loop holds', async () => {
        const [, { pubsub }, proxy] = await watched();
        const channel = 'news';

        await pubsub.subscribe({ channel });

        const list = read(pubsub.channel(channel), { count: 1 });

        assert.equal(await pubsub.unsubscribe({ channel }), null);
        await fails(pubsub.unsubscribe({ channel }), 'rpc', 'Not subscribed');
        await publish(channel, 1);
        await list.ended;
        await figure('subscriptions', 0);
        assert.equal(said(proxy, 'subscribe').length, 1);
    });

    await it('what waits is read, however slow the loop is', async () => {
        const [, { pubsub }] = await watched();
        const news = pubsub.channel('news');
        const list = [];
        const loop = (async () => {
            for await (const message of news) {
                list.push(message);
                await new Promise((resolve) => setTimeout(resolve, 2));

                if (message === 49) {
                    break;
                }
            }
        })();

        await figure('subscriptions', 1);
        await Promise.all(Array.from({ length: 50 }, (_, n) =>
            news.publish(n)));
        await loop;
        assert.deepEqual(list, [...Array(50).keys()]);
    });

    await it('more than may wait is an overflow, after what waited',
        async () => {
            const [, { pubsub, echo }] = await watched();
            const reader = pubsub.channel('news', { limit: 10 })
                [Symbol.asyncIterator]();
            const first = reader.next();

            await figure('subscriptions', 1);

            for (let n = 0; n < 20; n++) {
                pubsub.publish({ channel: 'news', message: n });
            }

            await settled({ echo });

            const list = [(await first).value];
            const error = await failure((async () => {
                for (;;) {
                    list.push((await reader.next()).value);
                }
            })());

            assert.equal(error.code, 'overflow');
            assert.ok([10, 11].includes(list.length), `${list}`);
            assert.deepEqual(list, [...list.keys()]);
            await figure('subscriptions', 0);
        });

    await it('an abort ends it with the reason, and frees the channel',
        async () => {
            const [, { pubsub }] = await watched();
            const controller = new AbortController();
            const news = pubsub.channel('news', { signal: controller.signal });
            const list = read(news);

            await figure('subscriptions', 1);
            await publish('news', 1);
            await has(list, 1);
            controller.abort(Error('enough'));
            assert.equal((await failure(list.ended)).message, 'enough');
            await figure('subscriptions', 0);
            assert.equal((await failure(read(news).ended)).message, 'enough');
        });

    await it('what it is refused is thrown in it', async () => {
        const snorky = await connected(url('/ws'), services);
        const { chat } = snorky.services;
        const list = read(chat.room('hold'));

        await fails(list.ended, 'rpc', 'Not authenticated');
        await fails(read(chat.room('hold')).ended, 'rpc', 'Not authenticated');
    });

    await it('close() ends it, and what waits is read before', async () => {
        const [snorky, { pubsub, echo }] = await watched();
        const reader = pubsub.channel('news')[Symbol.asyncIterator]();
        const idle = read(pubsub.channel('idle'));
        const first = reader.next();

        await figure('subscriptions', 2);
        await publish('news', 1);
        await publish('news', 2);
        assert.equal((await first).value, 1);
        await settled({ echo });
        snorky.close();
        await idle.ended;
        assert.equal((await reader.next()).value, 2);
        assert.deepEqual(await reader.next(), { value: undefined, done: true });
        await figure('subscriptions', 0);
    });

    await it('a loop of a closed client does not begin', async () => {
        const [snorky, { pubsub }] = await watched();

        snorky.close();

        const list = read(pubsub.channel('news'));

        assert.equal((await list.ended.catch(({ code }) => code)) ?? 'closed',
                     'closed');
        assert.equal(list.length, 0);

        /* one over a signal has nothing to wait for, either */
        await read(snorky.connected).ended;
        await read(pubsub.messagePublished).ended;
    });

    await it('several next() at once have the values in order', async () => {
        const [, { pubsub }] = await watched();
        const reader = pubsub.channel('news')[Symbol.asyncIterator]();
        const all = [reader.next(), reader.next(), reader.next()];

        await figure('subscriptions', 1);
        await publish('news', 'a');
        await publish('news', 'b');
        await all[1];
        await reader.return();

        const values = await Promise.all(all);

        assert.deepEqual(values.map(({ done, value }) => [done, value]),
                         [[false, 'a'], [false, 'b'], [true, undefined]]);
        await figure('subscriptions', 0);
    });

    await it('nothing is lost between subscribe and its answer', async () => {
        const [, { pubsub }] = await watched();
        const [, { pubsub: other }] = await watched();
        const list = read(pubsub.channel('busy'), { count: 200 });

        for (let n = 0; n < 300; n++) {
            other.publish({ channel: 'busy', message: n });
            await null;
        }

        let n = 300;

        while (list.length < 200) {
            await other.publish({ channel: 'busy', message: n++ });
        }

        await list.ended;

        const [first] = list;

        assert.deepEqual([...list],
                         Array.from(list, (_, at) => first + at));
    });

    await it('a participant\'s letters', async () => {
        const [, { messaging }, proxy] = await watched();
        const [, { messaging: other }] = await watched();
        const me = messaging.participant('me');
        const list = read(me, { count: 2 });

        await until(async () => (await other.listParticipants()).length === 1);
        await other.registerParticipant({ name: 'you' });

        const letters = read(other.participant('you'), { count: 1 });

        await me.send('you', 'hello');
        await other.send({ sender: 'you', dest: 'me', body: 1 });
        await other.send({ sender: 'you', dest: 'me', body: 2 });
        await Promise.all([list.ended, letters.ended]);
        assert.deepEqual(list.map(({ body }) => body), [1, 2]);
        assert.deepEqual([...letters], [
            { type: 'message', sender: 'me', dest: 'you', body: 'hello' },
        ]);
        await until(async () =>
            (await other.listParticipants()).join() === 'you');
        assert.equal(said(proxy, 'registerParticipant').length, 1);
    });

    await it('a room\'s messages, presences and reads', async () => {
        const [, { chat }] = await watched();
        const room = chat.room('hold');
        const list = read(room, { count: 4 });

        await figure('subscriptions', 1);

        const grace = await connected(url('/ws?user=grace'), services);
        const window = await connected(url('/ws?user=ada'), services);

        await grace.services.chat.join({ channel: 'hold' });
        await window.services.chat.join({ channel: 'hold' });
        await grace.services.chat.room('hold').send('Ahoy!');
        await window.services.chat.room('hold').read();
        await grace.services.chat.leave({ channel: 'hold' });
        await list.ended;
        assert.deepEqual(list.map(({ type, from, status, body }) =>
            [type, from, status ?? body].join(' ').trim()), [
            'presence grace joined', 'message grace Ahoy!', 'read',
            'presence grace left',
        ]);
    });

    await it('a signal of a service', async () => {
        const [snorky, { echo }] = await watched();
        const list = read(echo.packetReceived, { count: 2 });
        const open = read(snorky.packetReceived ?? snorky.stateChanged);

        echo.sendMessage(1);
        echo.sendMessage(2);
        await list.ended;
        assert.deepEqual([...list], [1, 2]);
        snorky.close();
        await open.ended;
    });
}


const server = await application();

await run(signalling, calling, looping);

server.close();
server.closeAllConnections();
