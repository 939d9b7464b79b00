/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Uses the demo page as people would, in two windows of a headless Chromium.
 * Started by t/demo.t, which runs the nginx and counts what is printed here:
 * a line "ok NAME" or "not ok NAME" for each case, "# ..." for details.
 *
 *   node demo.js CHROMIUM URL MASTER_PID DIRECTORY PICTURES
 *
 * DIRECTORY is for the browser's own files, PICTURES for screenshots.
 */

'use strict';

const assert = require('node:assert');
const { execFileSync } = require('node:child_process');
const { mkdirSync } = require('node:fs');
const path = require('node:path');
const { chromium } = require('playwright-core');

const [executablePath, url, master, directory, pictures] =
    process.argv.slice(2);

const TIMEOUT = 20000;
const DRAIN = 30000;

const wrong = [];       /* errors that the pages themselves have had */
const foreign = [];     /* requests that went to another server */

let one, two;           /* the windows */


function say(text) {
    process.stdout.write(`${text}\n`);
}


/* a case: goes on with the next one if it fails */
async function it(name, code) {
    try {
        await code();
        say(`ok ${name}`);

    } catch (error) {
        say(`not ok ${name}`);
        say(String(error.stack ?? error).replace(/^/gm, '# '));
    }
}


/* ------------------------------------------------------ a window's parts */

function watch(page) {
    page.setDefaultTimeout(TIMEOUT);
    page.on('pageerror', (error) => wrong.push(String(error)));

    page.on('console', (message) => {
        if (/Content Security Policy/i.test(message.text())) {
            wrong.push(message.text());
        }
    });

    page.on('request', (request) => {
        const to = request.url();

        if (!to.startsWith(url) && !to.startsWith('data:')) {
            foreign.push(to);
        }
    });
}


async function open(context, name) {
    const page = await context.newPage();

    watch(page);
    await page.goto(url);
    await page.fill('#name', name);
    await connected(page);
    return page;
}


function connected(page) {
    return page.waitForSelector('#state[data-state="open"]');
}


async function worker(page) {
    const text = await page.textContent('#worker');
    const found = /^Worker (\d+)$/.exec(text);

    assert.ok(found, `the window says "${text}"`);
    return Number(found[1]);
}


/* the second window reconnects until another worker serves it */
async function part() {
    const first = await worker(one);

    for (let n = 0; n < 60 && await worker(two) === first; n++) {
        await two.click('#reconnect');
        await two.waitForFunction(() => /\d/.test(
            document.getElementById('worker').textContent));
    }
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
        one = await open(context, 'Ada');
        two = await open(context, 'Grace');
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
        await part();
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

        /* the n-th is random between half and all of 250 ms * 2^n */
        assert.ok(gaps[0] >= 100, 'the first try comes too soon');
        assert.ok(gaps[3] >= 900, 'the fourth try comes too soon');
        assert.ok(gaps[3] > gaps[0]);
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
    await it('every control has a name', async () => {
        const nameless = await one.$$eval(
            'input, select, textarea, button, a', (all) => all.filter((e) =>
                !(e.labels?.length || e.getAttribute('aria-label')
                  || e.matches('a, button') && e.textContent.trim()))
                .map((e) => e.outerHTML));

        assert.deepStrictEqual(nameless, []);
    });

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
        await part();
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

    const scenes = [
        ['light', 'light', 1280, 860],
        ['dark', 'dark', 1280, 860],
        ['phone', 'light', 390, 844],
        ['phone-dark', 'dark', 390, 844],
    ];

    for (const [name, colorScheme, width, height] of scenes) {
        await it(`${name}: all fits, and can be read`, async () => {
            await one.bringToFront();
            await one.emulateMedia({ colorScheme });
            await one.setViewportSize({ width, height });
            await one.evaluate(() => document.activeElement.blur());
            await one.waitForTimeout(200);
            await one.screenshot({
                path: path.join(pictures, `demo-${name}.png`),
                fullPage: width < 600,
            });

            assert.ok(await one.evaluate(() =>
                document.documentElement.scrollWidth <= innerWidth),
                'the page is wider than its window');

            assert.deepStrictEqual(await one.evaluate(faint), []);
        });
    }
}


/*
 * Runs in the page: the texts whose contrast to their background is less than
 * the 4.5 to 1 of WCAG 2, 1.4.3.
 */
function faint() {
    const rgb = (color) => color.match(/[\d.]+/g).map(Number);
    const seen = [];

    const luminance = ([r, g, b]) => {
        const [x, y, z] = [r, g, b].map((v) => (v /= 255) <= .03928
            ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);

        return .2126 * x + .7152 * y + .0722 * z;
    };

    const background = (element) => {
        for (let e = element; e !== null; e = e.parentElement) {
            const color = rgb(getComputedStyle(e).backgroundColor);

            if (color.length === 3 || color[3] === 1) {
                return color;
            }
        }

        return [255, 255, 255];
    };

    for (const element of document.querySelectorAll('body *')) {
        const words = [...element.childNodes].filter((node) =>
            node.nodeType === Node.TEXT_NODE && node.data.trim() !== '');

        if (words.length === 0 && !element.matches('input, textarea')
            || element.matches('script, template, option, :disabled')
            || element.getClientRects().length === 0)
        {
            continue;
        }

        const text = luminance(rgb(getComputedStyle(element).color));
        const behind = luminance(background(element));
        const contrast = (Math.max(text, behind) + .05)
                         / (Math.min(text, behind) + .05);

        if (contrast < 4.5) {
            seen.push(`${element.tagName} ${element.className}: `
                      + `${element.textContent.trim()}: `
                      + contrast.toFixed(2));
        }
    }

    return seen;
}


async function main() {
    mkdirSync(pictures, { recursive: true });

    const context = await chromium.launchPersistentContext(
        path.join(directory, 'profile'), {
            executablePath,
            headless: true,
            timeout: 60000,
            viewport: { width: 1280, height: 860 },
            env: { ...process.env, HOME: directory },
            args: [
                '--no-sandbox', '--disable-gpu', '--disable-quic',
                '--no-first-run', '--disable-background-networking',
                '--disable-component-update', '--disable-sync',
            ],
        });

    try {
        await connecting(context);
        await talking();
        await shell(context);
        await failing(context);
        await reloading();
        await looking();

        await it('the pages had no errors', () =>
            assert.deepStrictEqual(wrong, []));
        await it('and asked no other server for anything', () =>
            assert.deepStrictEqual(foreign, []));

    } finally {
        await context.close();
    }
}


main().catch((error) => {
    say(String(error.stack ?? error).replace(/^/gm, '# '));
    process.exitCode = 1;
});
