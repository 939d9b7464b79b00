/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * What befalls the JavaScript client's connection in a page: reloads, killed
 * workers, links that are cut or dead, a network or a page that comes back.
 * See t/browser/js_pages.js for what its windows have.
 *
 * A headless Chromium has no hidden pages as long as Playwright is attached,
 * so document.visibilityState is set by hand; "offline" is the browser's own.
 */

'use strict';

const assert = require('node:assert');
const net = require('node:net');
const { url, it } = require('./windows');
const {
    window, client, had, has, isBack, until, eventually, status, left, reload,
    backend, publish, befall,
} = require('./js_pages');


/*
 * Node 20 waits for ever, in a loop, for a socket that was to be reset while
 * its FIN was on the way: at the end, when nothing else is open.
 */
process.once('beforeExit', () => process.exit());


/*
 * A link that can be cut, or pass nothing on without an end.  What was under
 * way in one that is frozen is lost.
 */
class Link {
    static async lay() {
        const link = new Link();

        link.ends = new Set();
        link.frozen = false;
        link.count = 0;
        link.server = net.createServer((socket) => link.join(socket));

        await new Promise((resolve) =>
            link.server.listen(0, '127.0.0.1', resolve));
        link.url = `ws://127.0.0.1:${link.server.address().port}/ws`;
        return link;
    }

    join(client) {
        const server = net.connect(new URL(url).port, '127.0.0.1');

        this.count++;

        for (const [one, other] of [[client, server], [server, client]]) {
            this.ends.add(one);
            one.on('data', (data) => this.frozen || other.write(data));
            one.on('error', () => {});
            one.on('close', () => {
                this.ends.delete(one);

                if (!this.frozen) {
                    other.destroy();
                }
            });
        }
    }

    cut() {
        this.ends.forEach((end) => end.resetAndDestroy());
    }

    /* what is frozen stays so */
    thaw() {
        this.frozen = false;
        this.cut();
    }

    remove() {
        this.server.close();
        this.cut();
    }
}


/* ------------------------------------------------------------- the cases */

async function losing(context) {
    const page = await window(context);

    await it('a reload: it is back, and has all it had', async () => {
        await client(page, '/ws?user=ada');
        await has(page, 'connecting', 'open');

        await page.evaluate(async () => {
            const { pubsub, chat, messaging, cursors } = client.services;

            read('news', pubsub.channel('news'));
            read('deck', chat.room('deck'));
            await pubsub.subscribe({ channel: 'more' });
            await messaging.registerParticipant({ name: 'ada' });

            globalThis.sheet = await cursors.join({ document: 'log' });
            const [own, created] = sheet.createCursor(
                { position: 1, status: null });

            await created;
            await own.update({ position: 2 });
            globalThis.own = own;
            globalThis.more = [];
            pubsub.messagePublished.add(({ channel, message }) =>
                channel === 'more' && more.push(message));
        });

        await publish('news', 1);
        await publish('more', 1);
        await until(page, () => news.got.length === 1 && more.length === 1);

        await reload();

        const times = await isBack(page);

        await until(page, () => client.told.at(-1) === 'resumed');

        const told = await page.evaluate(() => client.told);

        assert.match(told.join(' '),
            /^connected( disconnected connected( resumed)?)+$/);
        assert.strictEqual(
            told.filter((what) => what === 'connected').length, 1 + times);

        await publish('news', 2);
        await publish('more', 2);
        await until(page, () => news.got.length === 2 && more.length === 2);

        assert.deepStrictEqual(await page.evaluate(async () => {
            const { messaging, chat } = client.services;

            await chat.room('deck').send('Ahoy');
            await until(() => deck.got.some(({ type }) => type === 'message'));

            return [await messaging.listParticipants(), news, more,
                    deck.got.at(-1).body, deck.end,
                    sheet.cursors.length, own.position];
        }), [['ada'], { got: [1, 2], end: null }, [1, 2], 'Ahoy', null, 1, 2]);
    });

    await it('others see its cursors again', async () => {
        const other = await window(context);

        await client(other, '/ws?user=grace');
        assert.deepStrictEqual(await other.evaluate(async () => {
            const { cursors } = client.services;
            const joined = await cursors.join({ document: 'log' });

            return joined.cursors.map(({ position, owner }) =>
                [position, owner]);
        }), [[2, 'ada']]);
        await other.close();
    });

    await it('rows are asked for again, and deltas go on', async () => {
        const insert = (id) => backend('datasync_backend', 'publishDeltas', {
            deltas: [{ type: 'insert', model: 'ship', data: { id } }],
        });

        await page.exposeFunction('authorize', () => backend(
            'datasync_backend', 'authorizeSubscription',
            { items: [{ dealer: 'ships', query: null }] }));
        await page.evaluate(async () => {
            globalThis.asked = 0;
            globalThis.subscription = client.services.datasync.subscribe(
                () => { asked++; return authorize(); });
            read('deltas', subscription);
            await subscription.ready;
        });

        await insert(1);
        await until(page, () => deltas.got.length === 1);
        await reload();

        const times = await isBack(page);

        await until(page, () => client.told.at(-1) === 'resumed');
        await insert(2);
        await until(page, () => deltas.got.length === 2);

        const asked = await page.evaluate(() => globalThis.asked);

        assert.ok(asked >= 2 && asked <= 1 + times, `${asked} of ${times}`);
        assert.deepStrictEqual(await page.evaluate(async () => {
            await subscription.cancel();
            await until(() => deltas.end !== null);
            return [deltas.got.map(({ data }) => data.id), deltas.end];
        }), [[1, 2], 'done']);
    });

    await it('a worker is killed', async () => {
        const slot = Number(page.workers.at(-1));
        const { workers } = await status();

        process.kill(workers.find((worker) => worker.slot === slot).pid,
                     'SIGKILL');
        assert.strictEqual((await had(page, 'connecting', 'open'))[0],
                           'waiting 1006');
        await until(page, () => client.told.at(-1) === 'resumed');
        await publish('news', 3);
        await until(page, () => news.got.length === 3);
    });

    await it('a call under way ends with the connection', async () => {
        assert.strictEqual(await page.evaluate(async () => {
            const { pubsub } = client.services;
            const call = pubsub.publish({ channel: 'x', message: 1 });

            client.restart();

            const { code, message } = await call.catch((error) => error);

            return `${code}: ${message}`;
        }), 'disconnected: Connection closed');
        await has(page, 'waiting 1000', 'connecting', 'open');
        await left(1);
    });

    await page.close();
    await it('a page that is closed leaves nothing', () => left(0, 0));
}


async function links(context) {
    const page = await window(context);
    const link = await Link.lay();

    await it('a link is cut', async () => {
        await client(page, link.url, {
            silence: 200, probeTimeout: 1500, connectTimeout: 1500,
        });
        await has(page, 'connecting', 'open');
        await page.evaluate(() =>
            read('news', client.services.pubsub.channel('news')));
        await left(1, 1);
        link.cut();
        await has(page, 'waiting 1006', 'connecting', 'open');
        await left(1, 1);
        await publish('news', 1);
        await until(page, () => news.got.length === 1);
    });

    await it('a silent link is probed, and stays', async () => {
        const probe = '{"service":"","message":0}';
        const probes = () => page.sent.filter((text) => text === probe).length;
        const before = probes();

        await eventually(() => probes() >= before + 3);
        assert.deepStrictEqual(await page.evaluate(() => client.states), []);
    });

    await it('one that is not silent is not probed', async () => {
        const before = page.sent.length;

        await page.evaluate(async () => {
            const end = performance.now() + 1000;

            client.services.echo.packetReceived.add((n) =>
                performance.now() < end && setTimeout(() =>
                    client.services.echo.sendMessage(n + 1), 20));
            client.services.echo.sendMessage(0);
            await until(() => performance.now() > end);
        });

        const sent = page.sent.slice(before)
            .map((text) => JSON.parse(text).service);

        assert.ok(sent.lastIndexOf('echo') > 10);
        assert.ok(sent.slice(sent.indexOf('echo'), sent.lastIndexOf('echo'))
            .filter((service) => service === '').length <= 1, `${sent}`);
    });

    await it('a dead one is given up', async () => {
        link.frozen = true;

        const [first] = await had(page, 'waiting 1006', 'connecting');

        assert.strictEqual(first, 'waiting 1006');

        /* the next ones do not get through, either */
        await had(page, 'waiting 1006', 'connecting', 'waiting 1006');
        link.thaw();
        await had(page, 'connecting', 'open');
        await left(1, 1);
        await publish('news', 2);
        await until(page, () => news.got.length === 2);
    });

    await it('and said why', async () => {
        await page.evaluate(() => {
            globalThis.reasons = [];
            client.stateChanged.add(({ state, reason, wasOpen, wait }) =>
                state === 'waiting'
                && reasons.push([reason, wasOpen, typeof wait]));
        });
        link.frozen = true;
        await had(page, 'waiting 1006', 'connecting');
        link.thaw();
        await had(page, 'connecting', 'open');
        assert.deepStrictEqual((await page.evaluate(() => reasons))[0],
                               ['no answer to a probe', true, 'number']);
    });

    await it('no second socket is left behind', async () => {
        await left(1, 1);
        await page.evaluate(() => client.close());
        await left(0, 0);
        assert.strictEqual(await page.evaluate(() => news.end), 'done');
    });

    link.remove();
    await page.close();
}


/* ---------------------------------------- what the browser knows of a page */

async function devices(context) {
    const page = await window(context);
    const link = await Link.lay();
    const network = (offline) => page.devtools.send(
        'Network.emulateNetworkConditions', {
            offline, latency: 0, downloadThroughput: -1, uploadThroughput: -1,
        });

    /* a pause is long: what comes before its end has another cause */
    const patient = {
        minWait: 1e7, maxWait: 1e7, silence: 1e7, probeTimeout: 1500,
    };

    await it('a reload is no reason for a pause', async () => {
        await client(page, link.url, patient);
        await has(page, 'connecting', 'open');
        await reload();
        await isBack(page);
    });

    await it('without a network it waits for one', async () => {
        await network(true);
        link.cut();
        await has(page, 'waiting 1006');
        await until(page, () => client.state.wait === Infinity);
    });

    await it('and connects as soon as there is one', async () => {
        await network(false);
        await had(page, 'connecting', 'open');
    });

    await it('one that goes while it waits makes it wait for it', async () => {
        link.frozen = true;
        link.cut();
        await had(page, 'waiting 1006');
        await until(page, () => Number.isFinite(client.state.wait));
        await network(true);
        await until(page, () => client.state.wait === Infinity);
        link.thaw();
        await network(false);
        await had(page, 'connecting', 'open');
    });

    await it('a page that is seen again does not wait', async () => {
        await page.evaluate(() => shown('hidden'));
        link.cut();
        await had(page, 'waiting 1006');
        await page.evaluate(() => shown('visible'));
        await has(page, 'connecting', 'open');
    });

    for (const [name, happens] of [
        ['a page that is seen again', () => {
            shown('hidden');
            shown('visible');
        }],
        ['one that comes back from the cache', () => dispatchEvent(
            new PageTransitionEvent('pageshow', { persisted: true }))],
        ['one whose network is back', () => dispatchEvent(
            new Event('online'))],
    ]) {
        await it(`${name} probes its connection once`, async () => {
            const before = page.sent.length;

            await page.evaluate(`(${happens})(); (${happens})();`);
            await eventually(() => page.sent.length > before);
            await page.evaluate(async () => {
                const { pubsub } = client.services;

                await pubsub.publish({ channel: 'x', message: 1 });
            });

            assert.deepStrictEqual(page.sent.slice(before).map(
                (text) => JSON.parse(text).service), ['', 'pubsub']);
            assert.deepStrictEqual(
                await page.evaluate(() => client.states), []);
        });
    }

    await it('one that is dead is found to be so at once', async () => {
        link.frozen = true;
        await page.evaluate(() => {
            shown('hidden');
            shown('visible');
        });
        await has(page, 'waiting 1006');
        assert.strictEqual(await page.evaluate(() => client.state.reason),
                           'no answer to a probe');
        link.thaw();
    });

    await it('a client that is closed listens to nothing', async () => {
        await page.evaluate(() => {
            client.close();
            client.states.length = 0;
            shown('hidden');
            shown('visible');
            dispatchEvent(new Event('online'));
        });
        assert.deepStrictEqual(await page.evaluate(() => client.states), []);
        await left(0, 0);
    });

    link.remove();
    await page.close();
}


befall(losing, links, devices);
