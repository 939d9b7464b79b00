/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Uses the page of publish and subscribe as people would, in two windows of a
 * headless Chromium.  See t/browser/windows.js for how it is started.
 */

'use strict';

const assert = require('node:assert');
const { execFileSync } = require('node:child_process');
const {
    TIMEOUT, DRAIN, url, master, say, it, watch, open, connected, worker,
    part, looks, browse,
} = require('./windows');

let one, two;           /* the windows */


/* ------------------------------------------------------ a window's parts */

async function openAs(context, name) {
    const page = await open(context, '/');

    await page.fill('#name', name);
    return page;
}


async function publish(page, text, channel) {
    if (channel !== undefined) {
        await page.selectOption('#channel', channel);
    }

    await page.focus('#text');
    await page.keyboard.type(text);
    await page.keyboard.press('Enter');
}


/* messages as shown, in order: { who, where, route, kind, ms, body } */
function messages(page) {
    return page.$$eval('#messages .message', (items) => items.map((item) => {
        const text = (part) => item.querySelector(`.${part}`).textContent;

        return {
            who: text('who'), where: text('where'), route: text('route'),
            kind: text('kind'), ms: text('ms'), body: text('body'),
        };
    }));
}


/* the messages with that text, once there is one */
async function seen(page, text) {
    await page.waitForFunction((wanted) =>
        [...document.querySelectorAll('#messages .message .body')]
            .some((body) => body.textContent === wanted), text);

    return (await messages(page)).filter((m) => m.body === text);
}


/* the rows between messages: { text, time } */
function events(page) {
    return page.$$eval('#messages .event', (items) => items.map((item) => ({
        text: item.querySelector('.body').textContent,
        time: Date.parse(item.querySelector('time').dateTime),
    })));
}


function joined(page) {
    return page.$$eval('#channels .channel-name',
        (names) => names.map((name) => name.textContent));
}


async function join(page, channel) {
    await page.focus('#join-name');
    await page.keyboard.type(channel);
    await page.keyboard.press('Enter');
    await page.waitForFunction((wanted) =>
        [...document.querySelectorAll('#channels .channel-name')]
            .some((name) => name.textContent === wanted), channel);
}


function sh(line) {
    return execFileSync('/bin/sh', ['-c', line],
        { encoding: 'utf8', timeout: TIMEOUT, stdio: 'pipe' });
}


/* ------------------------------------------------------------- the cases */

async function connecting(context) {
    await it('two windows connect', async () => {
        one = await openAs(context, 'Ada');
        two = await openAs(context, 'Grace');
    });

    await it('each tells which worker serves it, as nginx counts', async () => {
        const { workers } = await (await fetch(`${url}status`)).json();
        const count = {};

        for (const page of [one, two]) {
            const n = await worker(page);
            count[n] = (count[n] ?? 0) + 1;
        }

        for (const w of workers.filter((w) => w.state === 'live')) {
            assert.strictEqual(w.sessions_websocket, count[w.slot] ?? 0,
                               `worker ${w.slot}`);
        }
    });

    await it('a window can move on to another worker', async () => {
        await part(one, two);
        assert.notStrictEqual(await worker(two), await worker(one));
    });

    await it('the tiles show both workers, one of them as mine', async () => {
        await one.waitForFunction(() => {
            const tiles = [...document.querySelectorAll('#workers li')];

            return tiles.length === 2
                && tiles.every((t) => /^\d+1 window$/.test(t.textContent));
        });

        const mine = await one.textContent('#workers .mine b');

        assert.strictEqual(Number(mine), await worker(one));
    });
}


async function talking() {
    await it('both are in the lobby from the start', async () => {
        assert.deepStrictEqual(await joined(one), ['lobby']);
        assert.deepStrictEqual(await joined(two), ['lobby']);
    });

    await it('what one publishes both see, once', async () => {
        await publish(one, 'Is anybody on the other worker?');
        await seen(two, 'Is anybody on the other worker?');
        await publish(two, 'Yes, and I hear you.');

        for (const page of [one, two]) {
            await seen(page, 'Yes, and I hear you.');

            assert.deepStrictEqual(
                (await messages(page)).map((m) => m.body),
                ['Is anybody on the other worker?', 'Yes, and I hear you.']);
        }
    });

    await it('with the sender, the channel and the latency', async () => {
        const [mine] = await messages(one);
        const [theirs] = await messages(two);

        assert.strictEqual(mine.who, 'Ada (you)');
        assert.strictEqual(mine.kind, 'round trip');
        assert.match(mine.ms, /^\d+(\.\d)? ms$/);
        assert.strictEqual(theirs.who, 'Ada');
        assert.strictEqual(theirs.where, 'lobby');
        assert.match(theirs.ms, /^(< 1|\d+) ms$/);
    });

    await it('and the way from worker to worker', async () => {
        const [a, b] = [await worker(one), await worker(two)];
        const [mine] = await messages(one);
        const [theirs] = await messages(two);

        assert.strictEqual(mine.route, `worker ${a} → ${a}`);
        assert.strictEqual(theirs.route, `worker ${a} → ${b}`);
    });

    await it('the last round trip stands in its card', async () => {
        const [mine] = await messages(one);

        assert.strictEqual(await one.textContent('.figure'), mine.ms);
    });

    await it('text with markup stays text', async () => {
        const text = '<img src=/x onerror="document.title=1"><b>bold</b>';

        await publish(one, text);

        for (const page of [one, two]) {
            await seen(page, text);
            assert.strictEqual(await page.$('#messages img, #messages b'),
                               null);
            assert.match(await page.title(), /Snorky/);
        }
    });

    await it('a channel joined by keyboard carries messages', async () => {
        for (const page of [one, two]) {
            await join(page, 'news');
            assert.deepStrictEqual(await joined(page), ['lobby', 'news']);
        }

        await publish(two, 'The news');
        assert.deepStrictEqual(
            (await seen(one, 'The news')).map((m) => m.where), ['news']);
    });

    await it('a channel that was left does not', async () => {
        await two.click('#channels li:has-text("news") button');
        assert.deepStrictEqual(await joined(two), ['lobby']);

        await publish(one, 'Only for me', 'news');
        await seen(one, 'Only for me');
        await publish(one, 'Meant for all', 'lobby');
        await seen(two, 'Meant for all');

        assert.ok((await messages(two)).every(
            (m) => m.body !== 'Only for me'));
    });

    await it('a channel is joined but once', async () => {
        await two.fill('#join-name', 'lobby');
        await two.press('#join-name', 'Enter');
        await two.waitForSelector('#join-error:not(:empty)');
        assert.deepStrictEqual(await joined(two), ['lobby']);
    });

    await it('what the server refuses is said', async () => {
        await two.fill('#join-name', 'long'.repeat(400));
        await two.press('#join-name', 'Enter');
        await two.waitForFunction(() => document
            .getElementById('join-error').textContent
            === 'Channel too long.');
        assert.deepStrictEqual(await joined(two), ['lobby']);
        await two.fill('#join-name', '');
    });

    await it('a hundred round trips are measured', async () => {
        await one.click('#measure');
        await one.waitForFunction(() => /^Median of 100; 99 of them within/
            .test(document.getElementById('trip-note').textContent));
        assert.match(await one.textContent('.figure'), /^\d+(\.\d)? ms$/);
        assert.strictEqual(await one.$$eval('#spark rect',
            (bars) => bars.length), 60);
    });
}


async function shell(context) {
    await it('the curl line publishes through the backend', async () => {
        await one.selectOption('#channel', 'lobby');

        const answer = JSON.parse(sh(await one.inputValue('#curl')));

        assert.deepStrictEqual(answer, {
            service: 'messaging_backend',
            message: { type: 'response', callId: 1, data: null },
        });

        for (const page of [one, two]) {
            const [message] = await seen(page, 'hi');

            assert.strictEqual(message.who, 'backend');
            assert.strictEqual(message.where, 'lobby');
        }
    });

    await it('the button copies it', async () => {
        await context.grantPermissions(['clipboard-read', 'clipboard-write']);
        await one.click('#copy');
        await one.waitForFunction(() => document
            .getElementById('copied').textContent !== '');

        assert.strictEqual(
            await one.evaluate(() => navigator.clipboard.readText()),
            await one.inputValue('#curl'));
    });

    await it('it can be run for a channel with quotes, too', async () => {
        await join(one, 'it\'s "$(quoted)"');
        sh(await one.inputValue('#curl'));

        await one.waitForFunction(() =>
            [...document.querySelectorAll('#messages .where')].some(
                (where) => where.textContent.startsWith('it\'s')));

        const message = (await messages(one)).at(-1);

        assert.strictEqual(message.where, 'it\'s "$(quoted)"');
        assert.strictEqual(message.body, 'hi');
        await one.click('#channels li:has-text("quoted") button');
    });

    await it('a message of any other shape is shown as JSON', async () => {
        const line = (await one.inputValue('#curl'))
            .replace('{"text":"hi"}', '[1,{"two":null}]')
            .replace(/"channel":"[^"]*"/, '"channel":"lobby"');

        sh(line);
        await seen(one, '[1,{"two":null}]');
        await seen(two, '[1,{"two":null}]');
    });
}


async function reloading() {
    await it('a reload of nginx closes both with 1012', async () => {
        process.kill(Number(master), 'SIGHUP');

        await Promise.all([one, two].map((page) => page.waitForFunction(() =>
            [...document.querySelectorAll('#messages .event')].some(
                (event) => event.textContent.includes('(1012)')),
            null, { timeout: DRAIN })));
    });

    await it('they come back at once', async () => {
        for (const page of [one, two]) {
            await page.waitForFunction(() => {
                const rows = [...document.querySelectorAll(
                    '#messages .event .body')].map((row) => row.textContent);
                const closed = rows.findIndex((row) => row.includes('(1012)'));

                return rows[closed + 1]?.startsWith('Connected to worker');
            });

            const rows = await events(page);
            const closed = rows.findIndex((r) => r.text.includes('(1012)'));
            const gap = rows[closed + 1].time - rows[closed].time;

            say(`# away for ${gap} ms`);
            assert.ok(gap < 2000, `${gap} ms`);
            assert.strictEqual(rows.filter((r) => /^Dis/.test(r.text)).length,
                               1);
        }
    });

    await it('and are in their channels as before', async () => {
        await publish(one, 'Still here after a reload', 'lobby');

        for (const page of [one, two]) {
            assert.strictEqual(
                (await seen(page, 'Still here after a reload')).length, 1);
        }

        assert.deepStrictEqual(await joined(one), ['lobby', 'news']);
    });
}


/* a third window, whose server refuses it for a while */
async function failing(context) {
    const page = await context.newPage();
    const tries = [];
    let refuse = true;

    watch(page);

    /* pauses are as random as this */
    await page.addInitScript(() => { Math.random = () => .75; });

    await page.routeWebSocket(/\/ws$/, (socket) => {
        tries.push(Date.now());

        if (refuse) {
            socket.close({ code: 1011, reason: 'not now' });
        } else {
            socket.connectToServer();
        }
    });

    await it('a server that fails is asked less and less', async () => {
        await page.goto(url);

        while (tries.length < 5) {
            assert.ok(tries.length === 0
                      || Date.now() - tries[0] < TIMEOUT, 'no more tries');
            await page.waitForTimeout(50);
        }

        const gaps = tries.slice(1).map((time, n) => time - tries[n]);

        say(`# waited ${gaps.join(', ')} ms`);

        gaps.forEach((gap, n) => assert.ok(gap >= .75 * 500 * 2 ** n,
            `try ${n + 2} comes too soon`));
    });

    await it('and nothing can be published meanwhile', async () => {
        assert.notStrictEqual(await page.getAttribute('#state', 'data-state'),
                              'open');
        assert.ok(await page.isDisabled('#send'));
    });

    await it('until it is there again', async () => {
        refuse = false;
        await connected(page);
        await page.waitForSelector('#send:enabled');
    });

    await page.close();
}


/* ------------------------------------------------------------- the looks */

async function looking() {
    await it('news are announced, and the state', async () => {
        assert.strictEqual(await one.getAttribute('#log', 'role'), 'log');
        assert.strictEqual(await one.getAttribute('#state', 'role'),
                           'status');
    });

    await it('the keyboard gets to the message field at once', async () => {
        const page = two;

        await page.evaluate(() => document.activeElement.blur());
        await page.reload();
        await connected(page);
        await page.keyboard.press('Tab');
        assert.strictEqual(await page.evaluate(
            () => document.activeElement.className), 'skip');
        await page.keyboard.press('Enter');
        assert.strictEqual(await page.evaluate(
            () => document.activeElement.id), 'text');
    });

    await it('messages are cleared away, for others to follow', async () => {
        await part(one, two);
        await one.click('#clear');
        assert.deepStrictEqual(await messages(one), []);
        assert.ok(await one.isVisible('#empty'));

        await publish(one, 'Good morning! Who is there?', 'lobby');
        await seen(two, 'Good morning! Who is there?');
        await publish(two, 'Grace, on the other worker.');
        await seen(one, 'Grace, on the other worker.');
        sh((await one.inputValue('#curl')).replace('"hi"',
            '"The backend says hello to the whole lobby."'));
        await join(two, 'news');
        await publish(two, 'The reef survey is up: twelve new species.');
        await seen(one, 'The reef survey is up: twelve new species.');
        await publish(one, 'Saw it. Congratulations to everybody who was down '
                           + 'there to count them.', 'news');
        await seen(two, 'Saw it. Congratulations to everybody who was down '
                        + 'there to count them.');
        await one.click('#measure');
        await one.waitForFunction(() => /^Median of/
            .test(document.getElementById('trip-note').textContent));
    });

    await looks(one, 'demo');
}


browse(async (context) => {
    await connecting(context);
    await talking();
    await shell(context);
    await failing(context);
    await reloading();
    await looking();
});
