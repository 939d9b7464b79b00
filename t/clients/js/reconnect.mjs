/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Cases of t/js_reconnect.t: which pause is made before the next connection,
 * and what becomes of publications meanwhile.
 */

import {
    Snorky, assert, connect, connected, figure, it, next, order, pause, port,
    read, reload, run, until, url, workerOf,
} from './lib.mjs';
import { Proxy } from './proxy.mjs';

const services = { pubsub: Snorky.PubSub };

const as = (user, at) => `${url('/ws', at)}?user=${user}`;

const channel = 'news';

const waits = ({ states }) => states.filter(({ state }) => state === 'waiting');


async function throughProxy(user = 'ada', options = {}) {
    const proxy = await Proxy.start(port);

    return [await connected(as(user, proxy.port), services, options), proxy];
}


/* ------------------------------------------------------------------ pauses */

async function pausing() {
    await it('after a reload all come back at once', async () => {
        const all = await Promise.all(Array.from({ length: 16 }, (_, n) =>
            connected(as(`user${n}`), services, { minWait: 60000 })));

        await reload();
        await until(() => all.every((snorky) => snorky.isConnected
                                    && waits(snorky).length === 1));

        for (const snorky of all) {
            assert.deepEqual(waits(snorky), [{
                state: 'waiting', code: 1012, reason: 'service restart',
                wait: 0, wasOpen: true,
            }]);
            assert.deepEqual(snorky.states.map(({ state }) => state),
                ['open', 'waiting', 'connecting', 'open']);
        }

        await figure('sessions', 16);
    });

    await it('or within the spread that the server gives', async () => {
        const proxy = await Proxy.start(port);
        const all = await Promise.all(Array.from({ length: 50 }, () =>
            connected(url('/ws', proxy.port), services)));

        proxy.end(1012, 'service restart; spread=400');
        await until(() => all.every((snorky) => waits(snorky).length === 1));

        const pauses = all.map((snorky) => waits(snorky)[0].wait);

        assert.ok(Math.min(...pauses) >= 0 && Math.max(...pauses) <= 400);
        assert.ok(Math.min(...pauses) < 100 && Math.max(...pauses) > 300,
                  `${pauses}`);
        await until(() => all.every(({ isConnected }) => isConnected));
    });

    await it('as it does when all of a worker are closed at once', async () => {
        await order('conf hasty');
        await reload();

        const all = await Promise.all(Array.from({ length: 60 }, () =>
            connected(url('/ws'), services)));

        await order('conf usual');
        await reload();
        await until(() => all.every((snorky) => waits(snorky).length >= 1));

        const ends = all.map((snorky) => waits(snorky)[0]);
        const spread = ends.filter(({ reason }) =>
            reason === 'service restart; spread=400');

        assert.ok(ends.every(({ code }) => code === 1012));
        assert.ok(ends.every((end) => spread.includes(end)
            || (end.reason === 'service restart' && end.wait === 0)));
        assert.ok(spread.length > 30, `${spread.length}`);
        assert.ok(spread.every(({ wait }) => wait >= 0 && wait <= 400));
        assert.ok(new Set(spread.map(({ wait }) => wait)).size > 20);
        await until(() => all.every(({ isConnected }) => isConnected));
    });

    await it('but a server that always says so is left in peace', async () => {
        const [snorky, proxy] = await throughProxy();
        const times = 12;

        snorky.connected.add(() => proxy.end(1012, 'service restart'));
        proxy.end(1012, 'service restart');
        await until(() => waits(snorky).length >= times);

        const pauses = waits(snorky).map(({ wait }) => wait);

        assert.equal(pauses[0], 0);
        assert.ok(pauses.filter((wait) => wait > 0).length >= times - 3,
                  `${pauses}`);
    });

    await it('pauses are random, and up to a bound that doubles', async () => {
        const proxy = await Proxy.start(port);

        await proxy.refuse();

        const minWait = 10;
        const maxWait = 80;
        const all = Array.from({ length: 25 }, () =>
            connect(url('/ws', proxy.port), services, { minWait, maxWait }));

        await until(() => all.every((snorky) => waits(snorky).length >= 10));

        const shares = [];

        for (const snorky of all) {
            const seen = waits(snorky).slice(0, 10);

            for (const [n, { code, wait, wasOpen }] of seen.entries()) {
                const bound = Math.min(maxWait, minWait * 2 ** n);

                assert.equal(code, 1006);
                assert.equal(wasOpen, false);
                assert.ok(wait >= 0 && wait <= bound, `${n}: ${wait}`);
                shares.push(wait / bound);
            }
        }

        /* chance has it otherwise once in millions of runs */
        const mean = shares.reduce((sum, share) => sum + share) / 250;

        assert.ok(mean > 0.4 && mean < 0.6, `${mean}`);
        assert.ok(Math.min(...shares) < 0.1 && Math.max(...shares) > 0.9);
        assert.ok(new Set(shares).size > 100);
    });

    await it('they are made', async () => {
        const proxy = await Proxy.start(port);

        await proxy.refuse();

        const snorky = connect(url('/ws', proxy.port), services,
                               { minWait: 100, maxWait: 100 });
        const times = [];

        snorky.stateChanged.add((state) =>
            times.push([state, performance.now()]));
        await until(() => waits(snorky).length >= 6);

        for (const [at, [{ state, wait }, time]] of times.entries()) {
            if (state === 'waiting' && at + 1 < times.length) {
                const [following, then] = times[at + 1];

                assert.equal(following.state, 'connecting');

                /* a timer begins when the turn began, which may be long */
                assert.ok(then - time > wait - 20, `${wait}: ${then - time}`);
            }
        }
    });

    await it('it comes back when there is a server again', async () => {
        const [snorky, proxy] = await throughProxy();

        await proxy.refuse();
        await until(() => waits(snorky).length >= 4);
        assert.deepEqual([waits(snorky)[0].code, waits(snorky)[0].wasOpen],
                         [1006, true]);
        assert.equal(waits(snorky)[1].wasOpen, false);
        await proxy.listen();
        await snorky.ready();
        assert.equal(proxy.open, 1);
    });

    await it('connect() does not wait', async () => {
        const [snorky, proxy] = await throughProxy('ada',
            { minWait: 1e6, maxWait: 1e6 });

        proxy.cut();
        await next(snorky.disconnected);
        assert.equal(snorky.state.state, 'waiting');
        assert.equal(snorky.isConnecting, false);
        snorky.connect();
        assert.equal(snorky.isConnecting, true);
        await snorky.ready();
        assert.equal(proxy.accepted, 2);
    });

    await it('disconnect() ends the waiting', async () => {
        const [snorky, proxy] = await throughProxy('ada',
            { minWait: 20, maxWait: 20 });

        await snorky.services.pubsub.subscribe({ channel });
        proxy.cut();
        await next(snorky.disconnected);
        snorky.disconnect();
        assert.equal(snorky.state.state, 'idle');
        await pause(100);
        assert.equal(proxy.accepted, 1);

        /* nothing of it is lost */
        const again = next(snorky.resumed);

        snorky.connect();
        await again;
        await figure('subscriptions', 1);
    });

    await it('without `reconnect` it does not come back', async () => {
        const [snorky, proxy] = await throughProxy('ada',
            { reconnect: false, minWait: 1 });

        proxy.cut();
        await next(snorky.disconnected);
        await pause(100);
        assert.equal(proxy.accepted, 1);
        assert.equal(snorky.isConnecting, false);
        snorky.connect();
        await snorky.ready();
    });
}


/* -------------------------------------------------------------- all of it */

/*
 * A subscriber's list has numbers, and null where it was not held.  A number
 * that the publisher was told to be published is missing only beside a null.
 */
function complaints(list, published) {
    const wrong = [];
    let last = null;
    let gap = true;

    for (const n of list) {
        if (n === null) {
            gap = true;
            continue;
        }

        if (last !== null && n <= last) {
            wrong.push(`${n} after ${last}`);
        }

        for (let m = (last ?? n) + 1; m < n && !gap; m++) {
            if (published.has(m)) {
                wrong.push(`${m} is missing`);
            }
        }

        last = n;
        gap = false;
    }

    return wrong;
}


async function counting() {
    await it('through reloads and a death nothing comes twice, and nothing is '
        + 'lost while it is held', async () => {
        const publisher = await connected(as('publisher'), services);
        const all = await Promise.all(Array.from({ length: 8 }, (_, n) =>
            connected(as(`user${n}`), services)));
        const lists = [];
        const published = new Set();
        let going = true;
        let count = 0;

        for (const snorky of all) {
            const list = [];
            const { pubsub } = snorky.services;

            snorky.disconnected.add(() => list.push(null));
            snorky.resumed.add(() => list.push(null));
            pubsub.messagePublished.add(({ message }) => list.push(message));
            await pubsub.subscribe({ channel });
            lists.push(list);
        }

        const loop = read(all[0].services.pubsub.channel(channel));

        const publishing = (async () => {
            for (let n = 0; going; n++) {
                publisher.services.pubsub.publish({ channel, message: n }).then(
                    () => published.add(n),
                    (error) => assert.equal(error.code, 'disconnected'));

                count = n;
                await pause(1);
            }
        })();

        for (let round = 0; round < 4; round++) {
            const seen = lists[0].length;

            await until(() => lists[0].length > seen + 50);

            if (round === 2) {
                process.kill(await workerOf(all[0]), 'SIGKILL');
                await next(all[0].resumed);

            } else {
                await reload();
            }
        }

        const before = published.size;

        /* all are back */
        await until(() => published.size > before + 100
                          && lists.every((list) => list.at(-1) !== null));
        going = false;
        await publishing;
        await publisher.services.pubsub.publish(
            { channel, message: count + 1 });
        await until(() => lists.every((list) => list.includes(count + 1)));

        for (const list of lists) {
            assert.ok(list.includes(null));
            assert.deepEqual(complaints(list, published), []);
        }

        assert.deepEqual([...loop], lists[0].filter((n) => n !== null));
    });
}


await run(pausing, counting);
