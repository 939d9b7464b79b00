/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Cases of t/js_sockjs.t.  A proxy knows which paths were asked for.
 */

import SockJS from 'sockjs-client';
import {
    Snorky, assert, connect, connected, during, fails, figure, has, it, next,
    pause, port, read, record, run, reload, status, until, url,
} from './lib.mjs';
import { Proxy } from './proxy.mjs';

const services = {
    echo: Snorky.Service,
    pubsub: Snorky.PubSub,
    messaging: Snorky.Messaging,
};

const page = (path, at = port) => `http://127.0.0.1:${at}${path}`;

const waits = ({ states }) => states.filter(({ state }) => state === 'waiting');


/* all that a client can do, over whatever it is connected by */
async function converse({ services: { echo, pubsub, messaging } }) {
    const told = record(echo.packetReceived);
    const loop = read(pubsub.channel('loop'), { count: 100 });

    for (let n = 0; n < 100; n++) {
        echo.sendMessage(n);
        pubsub.publish({ channel: 'loop', message: n });
    }

    await loop.ended;
    await has(told, 100);
    assert.deepEqual(told, [...Array(100).keys()]);
    assert.deepEqual([...loop], told);
    assert.deepEqual(await messaging.listParticipants(), []);
    await fails(pubsub.unsubscribe({ channel: 'none' }), 'rpc',
                'Not subscribed');
}


async function original() {
    for (const [path, transport] of [
        ['/sockjs', 'websocket'], ['/http', 'xhr-streaming'],
    ]) {
        await it(`the original's constructor takes it: ${transport}`,
            async () => {
                const snorky = during(new Snorky(SockJS, page(path),
                                                 services));

                await snorky.ready();
                assert.equal(snorky.socket.transport, transport);
                await converse(snorky);

                const { socket } = snorky;

                snorky.disconnect();
                await next(snorky.disconnected);
                assert.equal(socket.readyState, SockJS.CLOSED);
                snorky.connect();
                await snorky.ready();
                await snorky.services.pubsub.subscribe({ channel: 1 });
            });
    }

    await it('it may come back by itself, if it is asked to', async () => {
        const snorky = during(new Snorky(SockJS, page('/http'), services, {
            reconnect: true, resume: true, minWait: 20,
        }));

        await snorky.ready();
        await snorky.services.pubsub.subscribe({ channel: 1 });

        const resumed = next(snorky.resumed);

        snorky.restart();
        await resumed;
        await figure('subscriptions', 1);
    });
}


async function choosing() {
    await it('it may be the first choice', async () => {
        const proxy = await Proxy.start(port);
        const snorky = await connected(url('/ws', proxy.port), services, {
            SockJS, sockjsUrl: page('/http', proxy.port), transport: 'sockjs',
        });

        assert.equal(snorky.transport, 'sockjs');
        assert.ok(!proxy.heads.some((line) => line.includes('/ws')));
        await converse(snorky);
    });

    await it('with options of its own', async () => {
        const snorky = await connected(url('/ws'), services, {
            SockJS, sockjsUrl: () => page('/sockjs'), transport: 'sockjs',
            sockjsOptions: { transports: 'xhr-polling' },
        });

        assert.equal(snorky.socket.transport, 'xhr-polling');
        await converse(snorky);
    });

    await it('a WebSocket that opens is preferred', async () => {
        const proxy = await Proxy.start(port);
        const snorky = await connected(url('/ws', proxy.port), services, {
            SockJS, sockjsUrl: page('/sockjs', proxy.port),
        });

        assert.equal(snorky.transport, 'websocket');
        assert.equal(proxy.accepted, 1);
    });

    await it('where it is refused with 400, SockJS is taken at once',
        async () => {
            const snorky = await connected(url('/cut'), services, {
                SockJS, sockjsUrl: page('/sockjs'), minWait: 1e6, maxWait: 1e6,
            });

            assert.equal(snorky.transport, 'sockjs');
            assert.deepEqual(waits(snorky).map(({ wait, wasOpen }) =>
                [wait, wasOpen]), [[0, false]]);
            await converse(snorky);
        });

    await it('or where upgrades are cut', async () => {
        const proxy = await Proxy.start(port);

        proxy.answer = '';
        proxy.only = / \/ws /;

        const snorky = await connected(url('/ws', proxy.port), services, {
            SockJS, sockjsUrl: page('/http', proxy.port),
            minWait: 1e6, maxWait: 1e6,
        });

        assert.equal(snorky.transport, 'sockjs');
        await converse(snorky);
    });

    await it('or where nobody answers to it', async () => {
        const [silent, good] = [await Proxy.start(port),
                                await Proxy.start(port)];

        silent.freeze();

        const snorky = await connected(url('/ws', silent.port), services, {
            SockJS, sockjsUrl: page('/http', good.port), connectTimeout: 100,
            minWait: 1e6, maxWait: 1e6,
        });

        assert.equal(snorky.transport, 'sockjs');
    });

    await it('it stays with what has opened', async () => {
        const proxy = await Proxy.start(port);

        proxy.answer = '';
        proxy.only = / \/ws /;

        const snorky = await connected(url('/ws', proxy.port), services, {
            SockJS, sockjsUrl: page('/http', proxy.port),
        });
        const tries = () => proxy.heads.filter((line) =>
            line.includes(' /ws ')).length;
        const before = tries();

        for (let n = 0; n < 3; n++) {
            const again = next(snorky.connected);

            snorky.restart();
            await again;
            assert.equal(snorky.transport, 'sockjs');
        }

        assert.equal(tries(), before);
    });

    await it('a WebSocket that had opened is tried first', async () => {
        const proxy = await Proxy.start(port);
        const snorky = await connected(url('/ws', proxy.port), services, {
            SockJS, sockjsUrl: page('/http', proxy.port),
        });
        const again = next(snorky.connected);

        proxy.cut();
        await again;
        assert.equal(snorky.transport, 'websocket');
        assert.ok(proxy.heads.every((line) => line.includes(' /ws ')));
    });

    await it('also after an outage of both', async () => {
        const proxy = await Proxy.start(port);
        const snorky = await connected(url('/ws', proxy.port), services, {
            SockJS, sockjsUrl: page('/http', proxy.port),
            minWait: 10, maxWait: 20,
        });
        const again = next(snorky.connected);
        const tried = [];

        /* it is over at the fifth try */
        snorky.stateChanged.add(({ state }) => {
            if (state === 'connecting'
                && tried.push(snorky.transport) === 5)
            {
                proxy.answer = null;
            }
        });

        proxy.answer = 'HTTP/1.1 503 Service Unavailable\r\n'
            + 'Content-Length: 0\r\nConnection: close\r\n\r\n';
        proxy.cut();
        await again;
        assert.deepEqual(tried, Array(5).fill('websocket'));
        assert.equal(snorky.transport, 'websocket');
    });

    await it('but not for ever', async () => {
        const proxy = await Proxy.start(port);
        const snorky = await connected(url('/ws', proxy.port), services, {
            SockJS, sockjsUrl: page('/http', proxy.port),
            minWait: 10, maxWait: 20,
        });

        proxy.answer = '';
        proxy.only = / \/ws /;
        proxy.cut();
        await next(snorky.connected);
        assert.equal(snorky.transport, 'sockjs');
    });

    await it('where neither opens, both are tried, with pauses', async () => {
        const proxy = await Proxy.start(port);

        proxy.answer = 'HTTP/1.1 503 Service Unavailable\r\n'
            + 'Content-Length: 0\r\nConnection: close\r\n\r\n';

        const snorky = connect(url('/ws', proxy.port), services, {
            SockJS, sockjsUrl: page('/sockjs', proxy.port),
            minWait: 10, maxWait: 20,
        });
        const tried = new Set();

        snorky.stateChanged.add(({ state }) =>
            state === 'connecting' && tried.add(snorky.transport));
        await until(() => waits(snorky).length >= 8);
        assert.ok(waits(snorky).filter(({ wait }) => wait > 0).length >= 5);
        assert.deepEqual([...tried].sort(), ['sockjs', 'websocket']);

        proxy.answer = null;
        await snorky.ready();
    });
}


async function ending() {
    await it('a location that only closes refuses it', async () => {
        const snorky = connect(url('/ws'), services, {
            SockJS, sockjsUrl: page('/closes'), transport: 'sockjs',
        });
        const { code, reason } = await next(snorky.stateChanged,
            ({ state }) => state === 'refused');

        assert.deepEqual([code, reason], [3000, 'Go away!']);
        await pause(100);
        assert.equal(snorky.state.state, 'refused');
    });

    const killed = async () => {
        const { workers } = await status();

        for (const { pid } of workers) {
            process.kill(pid, 'SIGKILL');
        }
    };

    /* sockjs-client in Node does not see that a response was cut off */
    for (const [name, end] of [['a reload', reload],
                               ['the workers\' death', killed]])
    {
        await it(`all is held again after ${name}`, async () => {
            const snorky = await connected(url('/ws'), services, {
                SockJS, sockjsUrl: page('/http'), transport: 'sockjs',
                silence: 200, probeTimeout: 500,
            });
            const { pubsub, messaging } = snorky.services;
            const loop = read(pubsub.channel('loop'));
            const resumed = next(snorky.resumed);

            await pubsub.subscribe({ channel: 1 });
            await messaging.registerParticipant({ name: 'ada' });
            await figure('subscriptions', 3);
            await end();
            await resumed;
            assert.equal(snorky.transport, 'sockjs');

            if (end === reload) {
                assert.deepEqual([waits(snorky)[0].code, waits(snorky)[0].wait],
                                 [1012, 0]);
            }

            await until(async () =>
                (await messaging.listParticipants()).join() === 'ada');

            const heard = next(pubsub.messagePublished);

            await pubsub.publish({ channel: 1, message: 'again' });
            assert.equal((await heard).message, 'again');
            await pubsub.publish({ channel: 'loop', message: 'again' });
            await has(loop, 1);
            await figure('subscriptions', 3);
        });
    }

    await it('a session in silence is probed like any other', async () => {
        const snorky = await connected(url('/ws'), services, {
            SockJS, sockjsUrl: page('/http'), transport: 'sockjs',
            silence: 60, probeTimeout: 5000,
        });
        const count = async () => (await status()).total.messages_in;
        const before = await count();

        await until(async () => await count() >= before + 3);
        assert.equal(snorky.isConnected, true);
        assert.equal(waits(snorky).length, 0);
    });
}


await run(original, choosing, ending);
