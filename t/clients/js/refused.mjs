/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Cases of t/js_refused.t.  A client that would come back had done so many
 * times in the moment that is waited for here.
 */

import {
    Snorky, WebSocket, assert, backend, connect, connected, during, fails, it,
    next, pause, port, read, record, run, until, url,
} from './lib.mjs';
import { Proxy } from './proxy.mjs';

const MOMENT = 150;

const services = {
    echo: Snorky.Service,
    pubsub: Snorky.PubSub,
    application: Snorky.RPCService,
};

const quick = { minWait: 1, maxWait: 5 };

const waits = ({ states }) => states.filter(({ state }) => state === 'waiting');


async function throughProxy(path = '/ws', options = {}) {
    const proxy = await Proxy.start(port);

    return [connect(url(path, proxy.port), services,
                    { ...quick, ...options }), proxy];
}


function refusal(snorky) {
    return snorky.state.state === 'refused'
           ? Promise.resolve(snorky.state)
           : next(snorky.stateChanged, ({ state }) => state === 'refused');
}


/* it stays away until it is told to come */
async function staysAway(snorky, proxy) {
    const { accepted } = proxy;

    await pause(MOMENT);
    assert.equal(proxy.accepted, accepted);
    assert.equal(snorky.state.state, 'refused');
    assert.equal(snorky.isConnected, false);
    assert.equal(snorky.isConnecting, false);
}


async function closing() {
    for (const [code, reason] of [
        [1008, 'No more'], [1000, 'Good bye'], [3000, ''], [4001, 'Closed'],
        [4999, 'ü'],
    ]) {
        await it(`the application closes it with ${code}`, async () => {
            const [snorky, proxy] = await throughProxy('/ws?user=ada');

            await snorky.ready();

            const told = record(snorky.disconnected);

            await backend('application_backend', 'disconnect', {
                to: { identity: 'ada' }, code, reason,
            });
            assert.deepEqual(await refusal(snorky),
                { state: 'refused', code, reason, wasOpen: true });
            await staysAway(snorky, proxy);
            assert.equal(proxy.open, 0);
            assert.equal(told.length, 1);
            assert.equal(told[0].code, code);

            snorky.connect();
            await snorky.ready();
        });
    }

    await it('a location that only closes', async () => {
        const [snorky, proxy] = await throughProxy('/closes/websocket');

        assert.deepEqual(await refusal(snorky), {
            state: 'refused', code: 3000, reason: 'Go away!', wasOpen: true,
        });
        await staysAway(snorky, proxy);
    });

    await it('the server says that the client is wrong', async () => {
        for (const [code, reason] of [
            [1002, 'reserved bit'], [1003, 'binary message'],
            [1007, 'text is not UTF-8'], [1010, ''],
        ]) {
            const [snorky, proxy] = await throughProxy();

            await snorky.ready();
            proxy.end(code, reason);
            assert.deepEqual(await refusal(snorky),
                { state: 'refused', code, reason, wasOpen: true });
            await staysAway(snorky, proxy);
        }
    });

    for (const [code, reason] of [
        [1001, 'server stops'], [1002, 'Connection interrupted'],
        [1009, 'message too big'], [1011, 'ping timeout'],
        [1012, 'service restart'], [1013, 'too slow'],
    ]) {
        await it(`${code} "${reason}" is no refusal`, async () => {
            const [snorky, proxy] = await throughProxy();

            await snorky.ready();
            proxy.end(code, reason);
            await next(snorky.connected);
            assert.equal(proxy.accepted, 2);
            assert.deepEqual([waits(snorky)[0].code, waits(snorky)[0].reason],
                             [code, reason]);
        });
    }

    await it('a message that is too big is none', async () => {
        const [snorky, proxy] = await throughProxy();

        await snorky.ready();

        const again = next(snorky.connected);

        snorky.services.echo.sendMessage('x'.repeat(70000));
        await again;
        assert.equal(waits(snorky)[0].code, 1009);
        await pause(MOMENT);
        assert.equal(proxy.accepted, 2);
    });
}


async function handshaking() {
    for (const status of [401, 403, 404, 405, 410]) {
        await it(`HTTP ${status}`, async () => {
            const [snorky, proxy] = await throughProxy(`/${status}`);
            const state = await refusal(snorky);

            assert.deepEqual([state.code, state.status, state.wasOpen],
                             [1006, status, false]);
            await staysAway(snorky, proxy);

            /* it may be told to try again */
            snorky.connect();
            assert.equal(snorky.isConnecting, true);
            assert.equal((await refusal(snorky)).status, status);
            await staysAway(snorky, proxy);
        });
    }

    for (const status of [429, 500, 503]) {
        await it(`HTTP ${status} is no refusal`, async () => {
            const [snorky, proxy] = await throughProxy(`/${status}`);

            await until(() => waits(snorky).length >= 20);
            assert.ok(snorky.states.every(({ state }) => state !== 'refused'));
            assert.ok(proxy.heads.length >= 20);
        });
    }

    await it('what it was is asked now and then only', async () => {
        const [snorky, proxy] = await throughProxy('/503');

        await until(() => waits(snorky).length >= 20);
        snorky.close();

        /* each was one connection; those that asked came besides */
        assert.ok(proxy.accepted - waits(snorky).length <= 5,
                  `${proxy.accepted} for ${waits(snorky).length}`);
    });

    await it('it comes in as soon as it is wanted again', async () => {
        const proxy = await Proxy.start(port);

        proxy.answer = 'HTTP/1.1 503 Service Unavailable\r\n'
            + 'Content-Length: 0\r\nConnection: close\r\n\r\n';

        const snorky = connect(url('/ws', proxy.port), services, quick);

        await until(() => waits(snorky).length >= 5);
        proxy.answer = null;
        await snorky.ready();
    });

    await it('one that had stood may be refused later', async () => {
        const [snorky, proxy] = await throughProxy();

        await snorky.ready();
        proxy.answer = 'HTTP/1.1 403 Forbidden\r\n'
            + 'Content-Length: 0\r\nConnection: close\r\n\r\n';
        proxy.cut();
        assert.equal((await refusal(snorky)).status, 403);
        await staysAway(snorky, proxy);
    });

    await it('a server that says nothing to the question is no refusal',
        async () => {
            const proxy = await Proxy.start(port);

            proxy.answer = 'nonsense\r\n\r\n';

            const snorky = connect(url('/ws', proxy.port), services, quick);

            await until(() => waits(snorky).length >= 10);
            proxy.answer = null;
            await snorky.ready();
        });
}


async function telling() {
    await it('calls and loops are told', async () => {
        const [snorky] = await throughProxy('/other');
        const { pubsub, application } = snorky.services;
        const early = pubsub.publish({ channel: 1, message: 1 });
        const kept = pubsub.subscribe({ channel: 1 });
        const loop = read(pubsub.channel('news'));

        await fails(early, 'refused');
        await fails(kept, 'refused');
        await fails(loop.ended, 'refused');
        await fails(pubsub.subscribe({ channel: 2 }), 'refused');
        await fails(application.rpcCall('any'), 'refused');
        await fails(read(pubsub.channel('later')).ended, 'refused');
        await fails(snorky.ready(), 'refused');
    });

    await it('so are those that had begun', async () => {
        const [snorky] = await throughProxy('/ws?user=ada');
        const { pubsub } = snorky.services;

        await snorky.ready();

        const loop = read(pubsub.channel('news'));

        await pubsub.publish({ channel: 1, message: 1 });
        await backend('application_backend', 'disconnect', {
            to: { identity: 'ada' },
        });
        await fails(loop.ended, 'refused');
    });

    await it('after connect() all is well again', async () => {
        const proxy = await Proxy.start(port);

        proxy.answer = 'HTTP/1.1 403 Forbidden\r\n'
            + 'Content-Length: 0\r\nConnection: close\r\n\r\n';

        const snorky = connect(url('/ws', proxy.port), services, quick);
        const { pubsub } = snorky.services;

        await refusal(snorky);
        proxy.answer = null;
        snorky.connect();

        const heard = next(pubsub.messagePublished);

        await pubsub.subscribe({ channel: 1 });
        await pubsub.publish({ channel: 1, message: 2 });
        assert.equal((await heard).message, 2);
        assert.equal(snorky.state.state, 'open');
    });

    await it('but not after restart(), which restarts nothing', async () => {
        const [snorky, proxy] = await throughProxy('/ws?user=ada');

        await snorky.ready();
        await backend('application_backend', 'disconnect', {
            to: { identity: 'ada' }, code: 4000,
        });
        await refusal(snorky);
        snorky.restart();
        await staysAway(snorky, proxy);
    });

    await it('the original\'s constructor does not ask why', async () => {
        const proxy = await Proxy.start(port);
        const snorky = during(new Snorky(WebSocket, url('/other', proxy.port),
                                         services));

        await next(snorky.disconnected);
        await pause(MOMENT);
        assert.equal(proxy.accepted, 1);
    });
}


await run(closing, handshaking, telling);
