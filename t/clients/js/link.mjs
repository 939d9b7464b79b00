/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Cases of t/js_link.t: a proxy stands still, or takes connections and says
 * nothing, and counts what it has.  Given a port, this is a process with one
 * client, which closes it when it is told to.
 */

import { spawn } from 'node:child_process';
import {
    Snorky, WebSocket, assert, connect, connected, during, fails, figure, it,
    next, pause, port, record, run, until, url,
} from './lib.mjs';
import { Proxy } from './proxy.mjs';

const services = { echo: Snorky.Service, pubsub: Snorky.PubSub };

const PROBE = '{"service":"","message":0}';

const probes = (proxy) => proxy.sent.filter((text) => text === PROBE).length;

const waits = ({ states }) => states.filter(({ state }) => state === 'waiting');


/* two ways to the server; the client takes the second one when it is told */
async function ways(options) {
    const [one, two] = [await Proxy.start(port), await Proxy.start(port)];
    const where = { at: one };
    const snorky = connect(() => url('/ws', where.at.port), services, options);

    await snorky.ready();
    return [snorky, one, two, where];
}


async function probing() {
    await it('a link in silence is probed, and stays', async () => {
        const proxy = await Proxy.start(port);
        const snorky = await connected(url('/ws', proxy.port), services,
                                       { silence: 40, probeTimeout: 2000 });

        await until(() => probes(proxy) >= 4);
        assert.equal(proxy.accepted, 1);
        assert.deepEqual(snorky.states.map(({ state }) => state), ['open']);
        await until(() => proxy.got.length >= 4);
        assert.deepEqual([...new Set(proxy.got)], [PROBE]);
        assert.equal(proxy.sent.length, probes(proxy));
    });

    await it('not more often than in each silence', async () => {
        const proxy = await Proxy.start(port);
        const start = performance.now();

        await connected(url('/ws', proxy.port), services,
                        { silence: 50, probeTimeout: 2000 });
        await until(() => probes(proxy) >= 5);
        assert.ok(performance.now() - start >= 5 * 50 - 10);
    });

    await it('what is received is no silence', async () => {
        const proxy = await Proxy.start(port);
        const snorky = await connected(url('/ws', proxy.port), services,
                                       { silence: 400, probeTimeout: 2000 });
        const other = await connected(url('/ws'), services);
        const { pubsub } = snorky.services;

        await pubsub.subscribe({ channel: 1 });

        const told = record(pubsub.messagePublished);
        let longest = 0;
        let last = performance.now();

        pubsub.messagePublished.add(() => {
            longest = Math.max(longest, performance.now() - last);
            last = performance.now();
        });

        /* three times as long as the silence would have to be */
        while (told.length < 60) {
            await other.services.pubsub.publish({ channel: 1, message: 1 });
            await pause(20);
        }

        if (longest < 300) {
            assert.equal(probes(proxy), 0);
        }

        await until(() => probes(proxy) === 1);
    });

    await it('what is sent is', async () => {
        const proxy = await Proxy.start(port);
        const snorky = await connected(url('/ws', proxy.port), services,
                                       { silence: 60, probeTimeout: 2000 });

        /* nobody answers to this */
        await until(() => {
            snorky._sendServiceMessage('nobody', 1);
            return probes(proxy) >= 2;
        });
    });

    await it('without `silence` there is no probe', async () => {
        const proxy = await Proxy.start(port);

        await connected(url('/ws', proxy.port), services,
                        { silence: 0, probeTimeout: 10 });

        /* a timer that can't wait so long would not wait at all */
        const { setTimeout } = globalThis;
        const times = [];

        globalThis.setTimeout = (code, time) => {
            times.push(time);
            return setTimeout(code, time);
        };

        await connected(url('/ws', proxy.port), services,
                        { silence: Infinity, connectTimeout: 2 ** 31 });
        globalThis.setTimeout = setTimeout;
        assert.ok(times.every((time) => time < 2 ** 31), `${times}`);

        await pause(150);
        assert.equal(proxy.sent.length, 0);
        assert.equal(proxy.open, 2);
    });

    await it('the page does not see probes', async () => {
        const proxy = await Proxy.start(port);
        const snorky = await connected(url('/ws', proxy.port), services,
                                       { silence: 20, probeTimeout: 2000 });
        const told = record(snorky.services.echo.packetReceived);

        await until(() => proxy.got.length >= 3);
        assert.deepEqual(told, []);
    });
}


async function dying() {
    await it('a dead link is dropped in time', async () => {
        const [silence, probeTimeout] = [100, 80];
        const [snorky, one, two, where] = await ways({ silence, probeTimeout });
        const { pubsub } = snorky.services;

        await pubsub.subscribe({ channel: 1 });

        where.at = two;
        one.freeze();

        const start = performance.now();
        const state = await next(snorky.disconnected);
        const took = performance.now() - start;

        assert.deepEqual([state.code, state.reason, state.wasOpen],
                         [1006, 'no answer to a probe', true]);
        assert.ok(took > silence + probeTimeout - 60, `${took}`);
        assert.ok(took < silence + probeTimeout + 1000, `${took}`);
    });

    await it('and another one taken, with all that was held', async () => {
        const [snorky, one, two, where] = await ways(
            { silence: 50, probeTimeout: 50 });
        const { pubsub } = snorky.services;

        await pubsub.subscribe({ channel: 1 });
        where.at = two;
        one.freeze();
        await next(snorky.resumed);
        assert.equal(two.accepted, 1);

        const heard = record(pubsub.messagePublished);

        await pubsub.publish({ channel: 1, message: 2 });
        assert.deepEqual(heard.map(({ message }) => message), [2]);

        /* what the dead one had to say is not heard when it wakes */
        one.thaw();
        await figure('subscriptions', 1);
        await pause(50);
        assert.equal(heard.length, 1);
        assert.equal(snorky.state.state, 'open');
    });

    await it('a link that wakes in time is kept', async () => {
        const [snorky, one] = await ways({ silence: 30, probeTimeout: 5000 });

        await pause(10);
        one.freeze();

        /* the probe is under way */
        await pause(100);
        one.thaw();
        await until(() => probes(one) >= 2);
        assert.deepEqual(snorky.states.map(({ state }) => state),
                         ['connecting', 'open'].slice(-snorky.states.length));
        assert.equal(one.accepted, 1);
    });

    await it('one probe is under way at a time', async () => {
        const [snorky, one] = await ways({ silence: 20, probeTimeout: 5000 });

        await until(() => probes(one) >= 1);
        one.freeze();

        const seen = probes(one);

        await pause(200);
        one.thaw();
        await until(() => probes(one) > seen);
        await pause(10);
        assert.ok(probes(one) - seen <= 3, `${probes(one) - seen}`);
        assert.equal(snorky.isConnected, true);
    });

    await it('a call on a dead link is rejected when it is dropped',
        async () => {
            const [snorky, one, two, where] = await ways(
                { silence: 50, probeTimeout: 50 });

            where.at = two;
            one.freeze();
            await fails(snorky.services.pubsub.publish(
                { channel: 1, message: 2 }), 'disconnected');
        });
}


async function opening() {
    await it('a server that says nothing is not waited for', async () => {
        const proxy = await Proxy.start(port);

        proxy.freeze();

        const start = performance.now();
        const snorky = connect(url('/ws', proxy.port), services,
            { connectTimeout: 100, minWait: 5, maxWait: 5 });
        const state = await next(snorky.stateChanged,
                                 ({ state: is }) => is === 'waiting');
        const took = performance.now() - start;

        assert.deepEqual([state.code, state.wasOpen], [1006, false]);
        assert.ok(took > 90, `${took}`);
        await until(() => waits(snorky).length >= 3);

        proxy.thaw();
        await snorky.ready();
        await until(() => proxy.open === 1);
    });

    await it('nor is a URL that does not come', async () => {
        let asked = 0;
        const snorky = await connected(() => {
            asked++;
            return asked === 1 ? new Promise(() => {}) : url('/ws');
        }, services, { connectTimeout: 50 });

        assert.equal(asked, 2);
        assert.equal(waits(snorky).length, 1);
    });
}


async function leaving() {
    await it('no socket is left behind', async () => {
        const proxy = await Proxy.start(port);
        const snorky = await connected(url('/ws', proxy.port), services);

        for (let n = 0; n < 5; n++) {
            const again = next(snorky.connected);

            snorky.restart();
            snorky.restart();
            await again;
        }

        for (let n = 0; n < 5; n++) {
            const again = next(snorky.connected);

            snorky.disconnect();
            snorky.connect();
            snorky.restart();
            snorky.connect();
            await again;
        }

        await until(() => proxy.open === 1, 'one connection');
        await figure('sessions', 1);

        const own = connect(url('/ws', proxy.port), services);

        own.close();
        snorky.close();
        await until(() => proxy.open === 0, 'no connection');
        await figure('sessions', 0);
    });

    await it('nor one whose handshake comes late', async () => {
        const [one, two] = [await Proxy.start(port), await Proxy.start(port)];
        let at = one;

        one.freeze();

        const snorky = connect(() => url('/ws', at.port), services,
                               { connectTimeout: 100 });
        const told = record(snorky.connected);

        await until(() => waits(snorky).length >= 1);
        at = two;
        await snorky.ready();
        one.thaw();
        await until(() => one.open === 0, 'nothing at the first');
        await figure('sessions', 1);
        assert.equal(told.length, 1);
        assert.equal(two.open, 1);
    });

    /* how the proxy is, and the state in which the client is closed */
    for (const [name, how, state] of [
        ['with its last client', 'listen', 'open'],
        ['before it has connected', 'freeze', 'connecting'],
        ['while it waits', 'refuse', 'waiting'],
    ]) {
        await it(`a process ends ${name}`, async () => {
            const proxy = await Proxy.start(port);

            await (how === 'listen' || proxy[how]());

            const child = spawn(process.execPath, [
                process.argv[1], process.argv[2], proxy.port,
            ], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
            const ended = new Promise((resolve) =>
                child.once('exit', (...values) => resolve(values)));

            during({ close: () => child.kill() });
            await new Promise((resolve) => child.on('message', (is) =>
                is === state && resolve()));

            const start = performance.now();

            child.send('close');
            assert.deepEqual(await ended, [0, null]);
            assert.ok(performance.now() - start < 5000,
                      `${performance.now() - start}`);
            proxy.thaw();
            await until(() => proxy.open === 0);
        });
    }
}


/* what such a process does */
function end(at) {
    const snorky = new Snorky(url('/ws', at), services, {
        WebSocket, minWait: 1e6, maxWait: 1e6,
    });

    process.send(snorky.state.state);
    snorky.stateChanged.add(({ state }) => process.send(state));
    snorky.services.pubsub.subscribe({ channel: 1 }).catch(() => {});

    process.once('message', () => {
        snorky.stateChanged.removeAll();
        snorky.close();
        process.disconnect();
    });
}


if (process.argv[3] === undefined) {
    await run(probing, dying, opening, leaving);

} else {
    end(Number(process.argv[3]));
}
