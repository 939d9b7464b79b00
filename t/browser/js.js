/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * The JavaScript client in each place where it can be; who is refused; SockJS;
 * loops.  See t/browser/js_pages.js for what its windows have.
 */

'use strict';

const assert = require('node:assert');
const { url, it } = require('./windows');
const {
    open, window, client, had, has, isBack, until, eventually, left, reload,
    backend, publish, befall,
} = require('./js_pages');

const address = (path) => new URL(path, url).href.replace('http', 'ws');


/* ---------------------------------------------- the cases: where it can be */

const trip = {
    got: [{ first: ['\u2603', null] }, 'last'],
    error: ['Error: Not subscribed', 'rpc', true],
    transport: 'websocket',
    state: 'closed',
};


async function places(context) {
    const page = await open(context);
    const took = { ...trip, address: address('/ws') };

    await page.addScriptTag({ url: '/trip.js' });

    await it('a script is one global', async () => {
        const before = await page.evaluate(() => Object.keys(globalThis));

        await page.addScriptTag({ url: '/client/snorky.js' });
        assert.deepStrictEqual(await page.evaluate((was) => {
            const all = Object.getOwnPropertyNames(globalThis);

            return [all.filter((name) => /snorky/i.test(name)),
                    Object.keys(globalThis).filter((name) =>
                        !was.includes(name) && name !== 'Snorky')];
        }, before), [['Snorky'], []]);
        assert.deepStrictEqual(
            await page.evaluate(() => trip(Snorky, '/ws')), took);
    });

    await it('a script that is a module imports the class', async () => {
        await page.addScriptTag({ type: 'module', content: `
            import Snorky, { PubSub } from '/client/snorky.mjs';

            globalThis.imported = [Snorky, PubSub];
        ` });
        await until(page, () => globalThis.imported);
        assert.deepStrictEqual(await page.evaluate(() => [
            imported[0] === Snorky, imported[0].PubSub === imported[1],
        ]), [false, true]);
        assert.deepStrictEqual(
            await page.evaluate(() => trip(imported[0], '/ws')), took);
    });

    for (const file of ['/client/snorky.mjs', '/src/index.js']) {
        await it(`${file} is imported when it is needed`, async () => {
            assert.deepStrictEqual(await page.evaluate(async (name) => {
                const all = await import(name);
                const same = Object.keys(all).every((key) =>
                    ['default', 'Snorky'].includes(key)
                    || all[key] === all.Snorky[key]
                    || key in all.Snorky.Cursors || key in all.Snorky.DataSync);

                return [same, all.default === all.Snorky,
                        await trip(all.Snorky, 'ws')];
            }, file), [true, true, took]);
        });
    }

    await it('addresses are URLs, too, or functions', async () => {
        assert.deepStrictEqual(await page.evaluate(() => Promise.all([
            new URL('/ws', location), location.href + 'ws',
            () => '/ws', async () => new URL('ws', location),
        ].map((where) => trip(Snorky, where)))), Array(4).fill(took));
    });

    for (const [name, make] of [
        ['a worker', () => new Worker('/classic.js')],
        ['a worker without an address', () => new Worker(URL.createObjectURL(
            new Blob([`importScripts('${location.origin}/client/snorky.js',
                                     '${location.origin}/trip.js');
                       serve(Snorky, self);`])))],
        ['a worker that is a module',
         () => new Worker('/module.js', { type: 'module' })],
        ['a shared worker',
         () => new SharedWorker('/module.js', { type: 'module' }).port],
    ]) {
        await it(`${name} has it`, () => working(page, make, took));
    }

    await page.close();
    await it('nothing is left of it', () => left(0, 0));

    await it('a page by TLS has a connection by TLS', async () => {
        const secure = new URL(url);

        secure.protocol = 'https:';
        secure.port = await (await fetch(new URL('/secure', url))).text();

        const sheltered = await open(context, secure.href);

        await sheltered.addScriptTag({ url: '/trip.js' });
        await sheltered.addScriptTag({ url: '/client/snorky.js' });
        assert.deepStrictEqual(
            await sheltered.evaluate(() => trip(Snorky, '/ws')),
            { ...trip, address: new URL('/ws', secure).href
                .replace('https', 'wss') });
        await sheltered.close();
    });
}


/* a trip in a worker; then a client stays there while nginx is reloaded */
async function working(page, make, took) {
    await page.evaluate(`globalThis.port = (${make})();
        globalThis.told = [];
        port.onmessage = ({ data }) => told.push(data);
        port.postMessage({ go: '/ws' });`);

    await until(page, () => told.length === 1);
    assert.deepStrictEqual(await page.evaluate(() => told.splice(0)),
                           [{ kind: 'trip', value: took }]);

    const messages = (count) => until(page, (n) =>
        told.filter(({ kind }) => kind === 'message').length === n, count);

    await page.evaluate(() => port.postMessage({ stay: '/ws' }));
    await left(1, 1);
    await publish('stay', 'before');
    await messages(1);
    await reload();
    await until(page, () => told.at(-1).value === 'open'
                            && told.at(-2).value === 'connecting'
                            && told.at(-3).value === 'waiting 1012');
    await left(1, 1);
    await publish('stay', 'after');
    await messages(2);

    assert.deepStrictEqual((await page.evaluate(() => told)).filter(
        ({ kind }) => kind !== 'state').map(({ kind, value }) =>
        `${kind} ${value}`), ['message before', 'message after']);

    await page.evaluate(() => {
        port.terminate?.();
    });
}


/* -------------------------------------------------------- who is not wanted */

async function refusals(context) {
    const page = await window(context);

    for (const code of [401, 403, 404, 410]) {
        await it(`${code} is the end of it`, async () => {
            const asked = [];
            const note = (request) => asked.push(request.url());

            page.on('request', note);
            page.on('websocket', note);
            await client(page, `/refused/${code}`, { ready: false });
            await had(page, 'refused 1006');

            assert.deepStrictEqual(await page.evaluate(async () => {
                const { pubsub } = client.services;
                const call = () => pubsub.publish({ channel: 1, message: 1 })
                    .catch((error) => error.code);

                return [client.state.status, await call(),
                        await client.ready().catch((error) => error.code)];
            }), [code, 'refused', 'refused']);

            /* another thing that takes its time */
            await page.evaluate(() => fetch('/status'));
            assert.strictEqual(asked.filter((where) =>
                where.endsWith(`/refused/${code}`)).length, 2, `${asked}`);

            page.off('request', note);
            page.off('websocket', note);
        });
    }

    await it('unless it is asked to try once more', async () => {
        await page.evaluate(() => client.connect());
        await has(page, 'connecting', 'waiting 1006', 'refused 1006');
    });

    /* the browser itself lets one page wait that has failed so often */
    const other = await window(context);

    await it('a server that is busy is asked again', async () => {
        let asked = 0;

        other.on('websocket', () => asked++);
        await client(other, '/busy', { ready: false });
        await eventually(() => asked >= 10);
        assert.ok(await other.evaluate(() => client.states.every((state) =>
            ['connecting', 'waiting 1006'].includes(state))));
    });

    await other.close();

    await it('who is thrown out stays out', async () => {
        await client(page, '/ws?user=eve');
        await page.evaluate(() =>
            read('news', client.services.pubsub.channel('news')));
        await left(1, 1);
        await backend('app_backend', 'disconnect', {
            to: { identity: 'eve' }, code: 4001, reason: 'Go away',
        });
        await has(page, 'connecting', 'open', 'refused 4001');
        await until(page, () => news.end !== null);
        assert.deepStrictEqual(await page.evaluate(() => {
            const { state, code, reason, wasOpen } = client.state;

            return [state, code, reason, wasOpen, news.end];
        }), ['refused', 4001, 'Go away', true, 'Error: Go away']);
        await left(0, 0);
    });

    await it('until it knocks again', async () => {
        await page.evaluate(() => client.connect());
        await has(page, 'connecting', 'open');
        await page.evaluate(() => client.close());
    });

    await page.close();
}


/* ------------------------------------------------------------------ SockJS */

async function fallback(context) {
    const page = await window(context);
    const where = (socket) => socket.url().split('/')[3];
    const sockets = [];

    page.on('websocket', (socket) => sockets.push(where(socket)));
    await page.addScriptTag({ url: '/client/sockjs.min.js' });

    const begin = (path, options = {}) => page.evaluate(async ([to, more]) => {
        start(to, { SockJS, ...more });
        await client.ready({ timeout: 20000 });
    }, [path, options]);

    await it('SockJS is used where WebSockets get nowhere', async () => {
        await begin('/blocked', { minWait: 1e7, maxWait: 1e7 });
        assert.strictEqual(await page.evaluate(() => client.transport),
                           'sockjs');
        assert.deepStrictEqual((await had(page, 'connecting', 'open'))
            .filter((state) => state !== 'connecting'),
            ['waiting 1006', 'open']);
        assert.strictEqual(sockets.filter((s) => s === 'blocked').length, 1);
    });

    await it('with all that there is', async () => {
        await begin('/blocked', { sockjsUrl: '/sockjs?user=ada' });
        sockets.length = 0;
        await page.evaluate(() => {
            read('news', client.services.pubsub.channel('news'));
            read('deck', client.services.chat.room('deck'));
        });
        await left(1, 2);
        await publish('news', 1);
        await until(page, () => news.got.length === 1);
    });

    await it('and comes back to it after a reload', async () => {
        await page.evaluate(() => client.states.splice(0));
        await reload();
        await isBack(page);
        assert.strictEqual(await page.evaluate(() => client.transport),
                           'sockjs');
        await left(1, 2);
        await publish('news', 2);
        await until(page, () => news.got.length === 2);
        assert.ok(!sockets.includes('blocked'), `${sockets}`);
        await page.evaluate(() => client.close());
        await left(0, 0);
    });

    await it('it is not asked for where they do', async () => {
        sockets.length = 0;
        await begin('/ws');
        assert.strictEqual(await page.evaluate(() => client.transport),
                           'websocket');
        assert.deepStrictEqual(sockets, ['ws']);
        await page.evaluate(() => client.close());
    });

    await it('one may begin with it', async () => {
        await begin('/ws', {
            transport: 'sockjs',
            sockjsOptions: { transports: ['xhr-streaming'] },
        });
        assert.deepStrictEqual(await page.evaluate(async () => {
            const { pubsub } = client.services;

            await pubsub.publish({ channel: 'x', message: 1 });
            return [client.transport, client.socket.transport];
        }), ['sockjs', 'xhr-streaming']);
        await page.evaluate(() => client.close());
        await left(0, 0);
    });

    await page.close();
}


/* ------------------------------------------------------- loops and errors */

async function loops(context) {
    const page = await window(context);

    await client(page, '/ws');

    await it('a loop that is left subscribes no longer', async () => {
        await page.evaluate(() => {
            globalThis.once = (async () => {
                for await (const m of client.services.pubsub.channel('a')) {
                    return m;
                }
            })();
        });
        await left(1, 1);
        await publish('a', 'only');
        assert.strictEqual(await page.evaluate(() => once), 'only');
        await left(1, 0);
    });

    await it('two loops share a channel', async () => {
        await page.evaluate(() => {
            const { pubsub } = client.services;

            globalThis.end = new AbortController();
            read('one', pubsub.channel({ a: 1, b: 2 }, end));
            read('two', pubsub.channel({ b: 2, a: 1 }));
        });
        await left(1, 1);
        await publish({ a: 1, b: 2 }, 1);
        await until(page, () => one.got.length === 1 && two.got.length === 1);
        await page.evaluate(() => end.abort(Error('enough')));
        await until(page, () => one.end !== null);
        await publish({ a: 1, b: 2 }, 2);
        await until(page, () => two.got.length === 2);
        assert.deepStrictEqual(await page.evaluate(() => one),
                               { got: [1], end: 'Error: enough' });
    });

    await it('what a burst brings comes in order', async () => {
        const count = 3000;

        assert.deepStrictEqual(await page.evaluate(async (n) => {
            const { pubsub } = client.services;

            read('burst', pubsub.channel('burst'));

            for (let i = 0; i < n; i++) {
                pubsub.publish({ channel: 'burst', message: i });
            }

            await until(() => burst.got.length === n);
            return [burst.got.every((m, i) => m === i), burst.end];
        }, count), [true, null]);
    });

    await it('a listener that throws is told, and breaks nothing', async () => {
        assert.deepStrictEqual(await page.evaluate(async () => {
            const { pubsub } = client.services;
            const heard = [];
            const errors = [];

            addEventListener('error', (event) => {
                errors.push(event.message);
                event.preventDefault();
            }, { once: true });

            pubsub.messagePublished.addOnce(() => {
                throw Error('in a listener');
            }, null, 1);
            pubsub.messagePublished.addOnce(() => heard.push('other'));

            await pubsub.subscribe({ channel: 'c' });
            await pubsub.publish({ channel: 'c', message: 1 });
            await until(() => errors.length === 1);
            return [heard, errors, client.state.state];
        }), [['other'], ['Uncaught Error: in a listener'], 'open']);
    });

    await page.evaluate(() => client.close());
    await it('a client that is closed leaves nothing', () => left(0, 0));
    await page.close();
}


befall(places, refusals, fallback, loops);
