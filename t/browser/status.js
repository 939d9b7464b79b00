/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Looks at the page of snorky_status as an operator would, while clients come
 * and go, and nginx too.  See t/browser/windows.js for how it is started.
 */

'use strict';

const assert = require('node:assert');
const { spawn } = require('node:child_process');
const { readFileSync } = require('node:fs');
const http = require('node:http');
const path = require('node:path');
const WebSocket = require('ws');
const {
    url, master, say, it, watch, texts, looks, browse,
} = require('./windows');

const [executable, ...args] = JSON.parse(process.env.TEST_SNORKY_COMMAND);
const pictures = process.argv[6];

const own = new URL('status?format=html', url).href;
const asked = new URL('status?format=json', url).href;

const clients = [];
const requests = [];            /* the addresses that the page has asked */
const said = [];                /* what the browser says of errors */

let page;
let answer;                     /* the JSON that the page got last */
let nginx = Number(master);
let second = null;              /* nginx, once it was started anew */
let other = null;               /* the worker that stands still */


/* ------------------------------------------------------- what moves nginx */

/* on a connection of its own, which no worker that stands still has taken */
function post(body) {
    return new Promise((resolve, reject) => {
        const request = http.request(new URL('backend', url), {
            method: 'POST',
            agent: false,
            timeout: 10000,
            headers: { 'X-Backend-Key': 'swordfish' },
        }, (response) => {
            response.resume();
            response.on('end', () => resolve(response.statusCode));
        });

        request.on('error', reject);
        request.on('timeout', () => request.destroy(new Error('timeout')));
        request.end(body);
    });
}


function publish(count, size = 10) {
    return post(JSON.stringify(Array.from({ length: count }, (_, callId) => ({
        service: 'messaging_backend',
        message: {
            command: 'publish',
            params: { channel: 'news', message: 'x'.repeat(size) },
            callId,
        },
    }))));
}


/* a steady flow, until the function that it returns is called */
function flow() {
    const timer = setInterval(() => publish(1).catch(() => {}), 50);

    return () => clearInterval(timer);
}


function connect(where) {
    const socket = new WebSocket(new URL(where, url).href
        .replace(/^http/, 'ws'));

    clients.push(socket);
    socket.on('error', () => {});

    return new Promise((resolve) => socket.once('open', () => {
        socket.send(JSON.stringify({
            service: 'messaging',
            message: {
                command: 'subscribe', params: { channel: 'news' }, callId: 1,
            },
        }));
        socket.once('message', () => resolve(socket));
    }));
}


/* a session of SockJS whose poll lasts */
async function poll() {
    const where = `sockjs/000/session${clients.length}/xhr`;

    await fetch(new URL(where, url), { method: 'POST' })
        .then((response) => response.text());

    const request = http.request(new URL(where, url), { method: 'POST' });

    request.on('error', () => {});
    request.end();
    clients.push({ terminate: () => request.destroy() });
}


/* until it stands still, it may take a connection that nobody answers */
async function halt(pid) {
    process.kill(pid, 'SIGSTOP');

    while (!/\) T /.test(readFileSync(`/proc/${pid}/stat`, 'latin1'))) {
        await new Promise((resolve) => setTimeout(resolve, 10));
    }
}


/* process ids of the workers, as nginx tells them */
const pids = () => answer.workers.map((worker) => worker.pid);


/* ------------------------------------------------------ the page's parts */

/* waits until what this returns of the page is what is wanted */
async function until(code, what) {
    const deadline = Date.now() + 20000;
    let last;

    for (;;) {
        last = await code();

        if (last === true) {
            return;
        }

        assert.ok(Date.now() < deadline, `${what}: ${JSON.stringify(last)}`);
        await page.waitForTimeout(100);
    }
}


/* the plot with this title: figures of its legend, or its note */
function plot(title) {
    return page.locator('.plot', {
        has: page.getByRole('heading', { name: title, exact: true }),
    });
}


async function legend(title) {
    const rows = await plot(title).locator('li').evaluateAll((all) =>
        all.map((row) => [row.querySelector('span').textContent,
                          row.querySelector('b').textContent]));

    return Object.fromEntries(rows);
}


const note = (title) => plot(title).locator('.head p').textContent();
const state = () => page.textContent('#state');
const attention = () => page.$$eval('#attention li',
    (all) => all.map((item) => item.textContent));
const rows = () => page.$$eval('tbody tr', (all) => all.map((row) =>
    [...row.cells].map((cell) => cell.textContent)));


async function tile(name) {
    const all = await page.$$eval('.tiles > div', (tiles) => tiles.map(
        (one) => ['dt', 'b', 'small'].map((part) =>
            one.querySelector(part).textContent)));

    return all.find(([title]) => title === name).slice(1);
}


async function read(title) {
    return plot(title).locator('.chart').getAttribute('aria-valuetext');
}


/* all that a plot knows, read by the keyboard: { text, NAME: value } */
async function history(title) {
    const chart = plot(title).locator('.chart');
    const all = [];
    let last;

    await page.click('#pause');
    await chart.focus();
    await page.keyboard.press('Home');

    for (;;) {
        const text = await read(title);

        if (text === last) {
            break;
        }

        const found = [...text.matchAll(
            /[:,] ([a-z ]+) (-?[\d.]+)(k?)(?=,|$)/g)];

        if (found.length > 0) {
            all.push(Object.fromEntries([['text', text], ...found.map(
                ([, name, value, k]) => [name, value * (k ? 1000 : 1)])]));
        }

        last = text;
        await page.keyboard.press('ArrowRight');
    }

    await page.keyboard.press('Escape');
    await page.click('#pause');
    await until(async () => await state() === 'Live', 'it goes on');
    return all;
}


/* the lines of a plot, as lists of points [x, y] */
function lines(title) {
    return plot(title).locator('.line').evaluateAll((all) => all.map((line) =>
        [...line.getAttribute('d').matchAll(/[ML]([\d.-]+) ([\d.-]+)/g)]
            .map(([, x, y]) => [Number(x), Number(y)])));
}


const count = (value) => value.toLocaleString('en');


/* ------------------------------------------------------------- the cases */

async function beginning(context) {
    page = await context.newPage();
    watch(page);

    page.on('request', (request) => requests.push(request.url()));
    page.on('console', (message) => {
        if (message.type() === 'error' || message.type() === 'warning') {
            said.push(message.text());
        }
    });
    page.on('response', async (response) => {
        if (response.url() === asked && response.ok()) {
            answer = await response.json().catch(() => answer);
        }
    });

    await it('the page asks nginx, and is live', async () => {
        await page.goto(own);
        await until(async () => await state() === 'Live', 'its state');
        assert.strictEqual(await page.isVisible('main'), true);
    });

    await it('tells whom it has asked', async () => {
        assert.strictEqual(await page.textContent('#about'),
            `${new URL(url).host} · module ${answer.version} · nginx `
            + answer.nginx);
    });

    await it('and that nothing wants attention', async () => {
        await texts(page, '#attention h2', ['Nothing wants attention']);
        assert.deepStrictEqual(await attention(), []);
        assert.match(await page.title(), /^Snorky status/);
    });

    await it('the workers are those that nginx has', () => until(async () => {
        const shown = await rows();
        const told = answer.workers.map((worker) => [
            `${worker.slot}`, `${worker.pid}`, 'live', '0', '0', '0', '0',
            '0 B',
        ]);

        return JSON.stringify(shown) === JSON.stringify(told) || shown;
    }, 'the table'));

    await it('the log and the zone are as large as they are', async () => {
        const room = answer.zone.size - answer.log.size;
        const free = Math.floor(100 * answer.zone.free / room);

        assert.deepStrictEqual(await tile('Log used'), ['0%', 'of 2 MiB']);
        assert.deepStrictEqual(await tile('Zone free'),
                               [`${free}%`, '0 records']);
        assert.deepStrictEqual(await tile('Workers'),
                               ['3 live', '0 quitting, 0 lost']);
    });
}


async function flowing() {
    await it('who comes is shown, by transport', async () => {
        for (const where of ['ws', 'ws', 'ws', 'ws', 'sockjs/websocket']) {
            await connect(where);
        }

        await connect('echo');
        await poll();
        await poll();

        await until(async () => {
            const shown = await legend('Connections');

            return `${shown.WebSocket} ${shown.SockJS} ${shown.echo}`
                === '5 2 1' || shown;
        }, 'the legend');
    });

    await it('as many as nginx tells', () => until(async () => {
        const shown = await tile('Connections');

        return answer.total.sessions === 8
            && shown[0] === count(answer.total.sessions)
            && shown[1] === `${answer.total.subscriptions} subscriptions`
            || shown;
    }, 'the figure'));

    await it('and at which workers they are', () => until(async () => {
        const shown = (await rows()).map((row) => row[3]).join();

        return shown === answer.workers.map((w) => w.sessions).join()
            || shown;
    }, 'the table'));

    await it('messages that flow are lines that grow', async () => {
        const still = flow();

        try {
            await until(async () => {
                const [into, out] = await lines('Messages');
                const floor = Math.max(...into.map(([, y]) => y));
                const up = (line) => line.filter(([, y]) => y < floor).length;

                return up(into) >= 4 && up(out) >= 4 || [into, out];
            }, 'the lines');

        } finally {
            still();
        }
    });

    await it('a publication is delivered to each of the five', async () => {
        const [most] = (await history('Deliveries'))
            .sort((a, b) => b.publications - a.publications);

        assert.ok(most.publications > 0, most.text);
        assert.ok(Math.abs(most.deliveries - 5 * most.publications)
                  <= .1 * most.deliveries + 1, most.text);
    });

    await it('what has been is told as it was', () => until(async () => {
        const shown = await tile('Opened /s');

        return shown[1] === `${count(answer.total.connections)} so far`
            || shown;
    }, 'the figure'));

    await it('many at once are told in thousands', async () => {
        await publish(4000);

        await until(async () => {
            const axis = await plot('Messages').locator('text')
                .allTextContents();

            return axis.some((text) => /^\d+(\.\d)?k$/.test(text)) || axis;
        }, 'the axis');
    });

    await it('each axis begins at 0 and has times', async () => {
        for (const one of await page.locator('.plot').all()) {
            const axis = await one.locator('text').allTextContents();

            assert.match(axis[0], /^0( B)?$/);
            assert.ok(axis.slice(3).every((text) =>
                /^\d\d:\d\d$/.test(text)), axis.join());
            assert.ok(axis.length > 3, axis.join());
        }
    });

    await it('lines differ by more than colour', async () => {
        for (const one of await page.locator('.plot').all()) {
            const dashes = await one.locator('.line').evaluateAll((all) =>
                all.map((line) => line.getAttribute('stroke-dasharray')));
            const swatches = await one.locator('li path').evaluateAll((all) =>
                all.map((line) => line.getAttribute('stroke-dasharray')));

            assert.deepStrictEqual(swatches, dashes);
            assert.strictEqual(new Set(dashes.slice(0, 6)).size,
                               Math.min(dashes.length, 6));
        }
    });
}


async function reading() {
    await it('the keyboard goes from value to value', async () => {
        const chart = plot('Messages').locator('.chart');

        await page.click('#pause');
        await chart.focus();
        await page.keyboard.press('End');

        const last = await read('Messages');

        assert.match(last, /^\d\d:\d\d:\d\d.*: in .*, out /);
        await page.keyboard.press('ArrowLeft');
        await page.keyboard.press('ArrowLeft');

        const before = await read('Messages');

        assert.ok(before < last, `${before} | ${last}`);
        assert.ok(await chart.getAttribute('aria-valuenow') < 0);
        assert.strictEqual(await chart.getAttribute('role'), 'slider');
        assert.match(await chart.getAttribute('aria-label'), /^Messages/);
    });

    await it('the legend has the values of that time', async () => {
        const time = await note('Messages');
        const shown = await legend('Messages');

        assert.strictEqual(await read('Messages'),
                           `${time}: in ${shown.in}, out ${shown.out}`);
    });

    await it('and so have all other plots', async () => {
        assert.strictEqual(await note('Connections'), await note('Messages'));
    });

    await it('Escape returns to what is now', async () => {
        await page.keyboard.press('Escape');
        assert.strictEqual(await note('Messages'), 'per second');
    });

    await it('the pointer does the same', async () => {
        const chart = plot('Messages').locator('.chart');
        const box = await chart.boundingBox();

        await page.mouse.move(box.x + box.width - 3, box.y + 40);
        assert.match(await note('Messages'), /^\d\d:\d\d:\d\d/);
        await page.mouse.move(5, 5);
        assert.strictEqual(await note('Messages'), 'per second');
    });

    await it('what a finger touched stays', async () => {
        const chart = plot('Messages').locator('.chart');
        const finger = { pointerType: 'touch', bubbles: true };
        const box = await chart.boundingBox();

        await chart.dispatchEvent('pointerdown',
            { ...finger, clientX: box.x + box.width - 3, clientY: box.y + 9 });
        await chart.dispatchEvent('pointerleave', finger);
        assert.match(await note('Messages'), /^\d\d:\d\d:\d\d/);
        await chart.focus();
        await chart.blur();
        assert.strictEqual(await note('Messages'), 'per second');
    });

    await it('it stands still until it is told to go on', async () => {
        const [before] = await lines('Messages');

        assert.strictEqual(await state(), 'Paused');

        const count = requests.length;

        await publish(3000);
        await page.waitForTimeout(1500);
        assert.strictEqual(requests.length, count);
        assert.deepStrictEqual((await lines('Messages'))[0], before);
        await page.click('#pause');
        await until(async () => await state() === 'Live', 'its state');
    });

    await it('and while nobody sees it', async () => {
        const hide = (hidden) => page.evaluate((value) => {
            Object.defineProperty(document, 'hidden',
                                  { configurable: true, value });
            document.dispatchEvent(new Event('visibilitychange'));
        }, hidden);

        await hide(true);

        const count = requests.length;

        await page.waitForTimeout(1500);
        assert.strictEqual(requests.length, count);
        await hide(false);
        await until(async () => await state() === 'Live', 'its state');
    });

    await it('which is marked in the plots', async () => {
        assert.ok(await plot('Messages').locator('.gap').count() >= 2);
    });

    await it('what came meanwhile did not come at once', async () => {
        const rates = (await history('Messages')).map((one) => one.in);

        /* 4,000 came in a second, and 3,000 in two */
        assert.deepStrictEqual(rates.filter((rate) => rate >= 2000).length,
                               1, rates.join());
        assert.ok(rates.some((rate) => rate > 500 && rate < 2000),
                  rates.join());
    });
}


async function watching() {
    await it('what grows that should not wants attention', async () => {
        assert.strictEqual(await post('{'), 400);

        await until(async () => {
            const [first = ''] = await attention();

            return first.includes('malformed +1 ') || first;
        }, 'the list');

        await texts(page, '#attention h2', ['Wants attention: 1']);
        assert.match(await page.title(), /^\(1\) /);
    });

    await it('a worker that does not read lags', async () => {
        other = answer.workers.find((one) => one.pid !== answer.pid);
        await halt(other.pid);
        await publish(20, 20000);

        await until(async () => {
            const { [`worker ${other.slot}`]: shown } =
                await legend('Log not yet read, by worker');

            return shown?.endsWith('KiB') || shown || 'nothing';
        }, 'its line');
    });

    await it('is lost when it goes on so', async () => {
        await until(async () => {
            const row = (await rows()).find(([slot]) =>
                slot === `${other.slot}`);

            return row[2] === 'lost' || row;
        }, 'its state');

        assert.strictEqual((await tile('Workers'))[1], '0 quitting, 1 lost');
        assert.match((await attention())[0], RegExp(
            `bad.*worker ${other.slot} pid ${other.pid} stands still`));
    });

    await it('and comes back', async () => {
        process.kill(other.pid, 'SIGCONT');
        other = null;
        await until(async () => (await tile('Workers'))[0] === '3 live'
            || tile('Workers'), 'its state');
    });
}


async function reloading() {
    let old;

    await it('a reload shows the new workers', async () => {
        const still = flow();

        try {
            old = pids();
            process.kill(nginx, 'SIGHUP');

            await until(async () => {
                const shown = (await rows()).map((row) => Number(row[1]));

                return shown.length === 3
                    && !shown.some((pid) => old.includes(pid)) || shown;
            }, 'the table');

            /* what came with them is in the past */
            const [line] = await lines('Messages');

            await until(async () => (await lines('Messages'))[0].length
                > line.length + 2, 'the line');

        } finally {
            still();
        }
    });

    await it('says so', async () => {
        const shown = (await attention()).join('\n');

        for (const pid of pids()) {
            assert.match(shown, RegExp(`began: .*\\b${pid}\\b`));
        }

        for (const pid of old) {
            assert.match(shown, RegExp(
                `(ended|gone \\(.*\\)): .*\\b${pid}\\b`));
        }

        assert.ok(await plot('Messages').locator('.mark').count() > 0);
    });

    await it('and no rate that there was not', async () => {
        const all = await history('Messages');
        const last = all.slice(-5);

        assert.ok(answer.total.messages_in > 4000);
        assert.ok(all.length > 10);
        assert.ok(last.every((one) => one.in >= 0 && one.in < 200),
                  last.map((sample) => sample.text).join('\n'));
    });

    await it('while totals go on', async () => {
        const [, shown] = await tile('Opened /s');

        assert.ok(Number(shown.split(' ')[0]) >= 8, shown);
    });

    await it('a worker that is killed is gone', async () => {
        const victim = answer.workers.find((one) => one.pid !== answer.pid);

        process.kill(victim.pid, 'SIGKILL');

        await until(async () => {
            const shown = (await rows()).map((row) => row[1]);

            return shown.length === 3 && !shown.includes(`${victim.pid}`)
                || shown;
        }, 'the table');

        assert.match((await attention()).join('\n'), RegExp(
            `gone \\([^)]*error log[^)]*\\): ${victim.pid}\\b`));
    });
}


async function away() {
    await it('without nginx the page says so', async () => {
        for (const client of clients) {
            client.terminate();
        }

        process.kill(nginx, 'SIGTERM');
        await until(async () => /^nginx does not answer since \d\d:\d\d:\d\d/
            .test(await state()) || state(), 'its state');
    });

    await it('and keeps what it knew', async () => {
        assert.strictEqual((await rows()).length, 3);
        assert.strictEqual(await page.isVisible('.plot'), true);
    });

    await it('where there was no answer is marked', async () => {
        assert.ok(await plot('Messages').locator('.gap').count() >= 3);

        await plot('Messages').locator('.chart').focus();
        await page.keyboard.press('End');
        assert.match(await read('Messages'),
            /^\d\d:\d\d:\d\d, nginx does not answer: in –, out –$/);
        await page.keyboard.press('Escape');
    });

    await it('not shown, it has no width, and nothing to say', async () => {
        const drawn = (shown) => page.evaluate((display) => {
            document.querySelector('main').style.display = display;
            dispatchEvent(new Event('resize'));

            return [...document.querySelectorAll('.chart svg')].map((svg) =>
                [svg.clientWidth, svg.viewBox.baseVal.width]);
        }, shown);
        const before = said.length;

        assert.ok((await drawn('none')).every(([room]) => room === 0));
        assert.ok((await drawn('')).every(([room, width]) =>
            room > 0 && width === room));
        assert.deepStrictEqual(said.slice(before).filter((text) =>
            !/net::ERR_/.test(text)), []);
    });

    await it('when nginx is there again, the page goes on', async () => {
        const old = pids();

        second = spawn(executable, args, { stdio: 'inherit' });

        await until(async () => await state() === 'Live', 'its state');
        await until(async () => (await rows()).filter(([, pid]) =>
            !old.includes(Number(pid))).length === 3 || rows(), 'the table');
    });

    await it('counters that began anew are no rates', async () => {
        const last = (await history('Messages')).slice(-3);

        assert.ok(last.every((one) => one.in >= 0 && one.in < 200),
                  last.map((sample) => sample.text).join('\n'));
        assert.strictEqual((await tile('Opened /s'))[1], '0 so far');
    });

    await it('and an answer that is none is told', async () => {
        await page.route(asked, (route) => route.fulfill({ status: 503 }));
        await until(async () => /^nginx answers 503 since/
            .test(await state()) || state(), 'its state');
        await page.unroute(asked);
        await until(async () => await state() === 'Live', 'its state');
    });
}


async function looking() {
    const still = flow();

    for (const where of ['ws', 'ws', 'ws', 'echo']) {
        await connect(where);
    }

    await until(async () => {
        const newest = await plot('Messages').locator('.line').first()
            .evaluate((line) => line.getAttribute('d').split('M')[1]);

        return newest.split('L').length > 10 || newest;
    }, 'the line');

    await looks(page, 'status');

    for (const colorScheme of ['light', 'dark']) {
        await it(`${colorScheme}: all fits on a small phone`, async () => {
            await page.emulateMedia({ colorScheme });
            await page.setViewportSize({ width: 360, height: 740 });

            /* each plot is drawn for its width */
            await page.waitForFunction(() =>
                [...document.querySelectorAll('.chart svg')].every((svg) =>
                    svg.viewBox.baseVal.width === svg.clientWidth));
            await page.screenshot({
                path: path.join(pictures, `status-small-${colorScheme}.png`),
                fullPage: true,
            });

            assert.deepStrictEqual(await page.evaluate(() =>
                [...document.querySelectorAll('body *')].filter((e) =>
                    !e.closest('svg')
                    && e.getBoundingClientRect().right > innerWidth)
                    .map((e) => e.outerHTML)), []);
        });
    }

    still();
}


async function ending() {
    const expected = /net::ERR_|status of 503/;

    await it('nobody but itself was asked', async () => {
        assert.deepStrictEqual(requests.filter((one) =>
            one !== own && one !== asked && !one.startsWith('data:')), []);
    });

    await it('and the browser had nothing to say', async () => {
        assert.deepStrictEqual(said.filter((text) => !expected.test(text)),
                               []);
    });
}


/* nginx ends before its directory does */
async function finish() {
    for (const client of clients) {
        client.terminate();
    }

    if (other !== null) {
        process.kill(other.pid, 'SIGCONT');
    }

    await page.close();

    if (second !== null) {
        const ended = new Promise((resolve) => second.once('exit', resolve));

        second.kill('SIGQUIT');
        await ended;
    }
}


browse(async (context) => {
    try {
        await beginning(context);
        await flowing();
        await reading();
        await watching();
        await reloading();
        await away();
        await looking();
        await ending();

    } finally {
        await finish();
    }
});
