/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Uses the page of the application as people would: Ada, and admin.  Starts
 * the application, and ends it.  See t/browser/windows.js for how this is
 * started.
 */

'use strict';

const assert = require('node:assert');
const { spawn } = require('node:child_process');
const { once } = require('node:events');
const { openSync } = require('node:fs');
const net = require('node:net');
const path = require('node:path');
const {
    url, it, open, connected, worker, part, texts, reload, looks, browse,
} = require('./windows');

const PROGRAM = path.join(__dirname, '../../demo/app/app.js');
const MESSAGES = '#messages .message .body';
const CHANNELS = ['events', 'announcements', 'general'];

/* where the sockets and the application's log are */
const directory = process.argv[5];
const socket = path.join(directory, 'app.sock');

let application;
let ada, admin;


/* -------------------------------------------------------- the application */

/* it ends with its standard input, and so with this test */
async function start() {
    const log = openSync(path.join(directory, 'app.log'), 'a');

    application = spawn(PROGRAM, [
        '--until-eof', socket, path.join(directory, 'app.json'),
        `${url}backend`, 'swordfish',
    ], { stdio: ['pipe', log, log] });

    for (;;) {
        const probe = net.connect(socket);

        if (await once(probe, 'connect').catch(() => null) !== null) {
            probe.destroy();
            return;
        }

        await new Promise((resolve) => setTimeout(resolve, 20));
    }
}


async function kill() {
    application.kill('SIGKILL');
    await once(application, 'exit');
}


async function end() {
    application.stdin.end();
    await once(application, 'exit');
    assert.strictEqual(application.exitCode, 0);
}


/* ---------------------------------------------------------- what is shown */

function row(page, text, nth = 0) {
    return page.locator('#calls .call').filter(
        { has: page.locator(`code:text-is("${text}")`) }).nth(nth);
}


/* what the newest call of this text was answered with */
async function answer(page, text) {
    const item = row(page, text);

    await item.and(page.locator(':not([data-state="waiting"])')).waitFor();
    return item.locator('.result').textContent();
}


async function add(page, a, b) {
    await page.fill('#add-a', `${a}`);
    await page.fill('#add-b', `${b}`);
    await page.click('#add button');
    return answer(page, `add ${a} + ${b}`);
}


async function whoami(page) {
    await page.click('#whoami');
    return JSON.parse(await answer(page, 'whoami'));
}


async function publish(page, channel, text) {
    await page.selectOption('#channel', channel);
    await page.fill('#text', text);
    await page.press('#text', 'Enter');
}


/*
 * Asks for something slow, and at its first step presses another button.  What
 * the slow one said until its answer, and whether its bar could be seen.
 */
function slow(page, other) {
    return page.evaluate((id) => new Promise((resolve) => {
        const said = [];

        document.getElementById('slow').click();

        const item = document.querySelector('#calls .call');
        const bar = item.querySelector('progress');

        new MutationObserver(() => {
            said.push(`${item.querySelector('.result').textContent}: `
                      + `${!bar.hidden}`);

            if (said.length === 1) {
                document.querySelector(`#${id} button`).click();
            }

            if (item.dataset.state !== 'waiting') {
                resolve(said);
            }
        }).observe(item, { childList: true, subtree: true });
    }), other);
}


/* the events that are shown, oldest first: "EVENT WHAT" */
async function events(page) {
    const all = await page.$$eval('#events li', (items) => items.map(
        (li) => li.textContent.trim()));

    return all.reverse();
}


/* waits for an event behind the others that there are of this kind */
function event(page, expected, count = 1) {
    return page.waitForFunction(([text, n]) =>
        [...document.querySelectorAll('#events li')].filter(
            (li) => li.textContent.trim() === text).length === n,
        [expected, count]);
}


function members(page, expected) {
    return page.waitForFunction((names) => JSON.stringify(
        [...document.querySelectorAll('#members .who')]
            .map((who) => who.textContent).sort()) === names,
        JSON.stringify([...expected].sort()));
}


/* the last row of the news that is no message */
function said(page, expected) {
    return page.waitForFunction((wanted) =>
        [...document.querySelectorAll('#log .event .body')].some(
            (body) => body.textContent === wanted), expected);
}


function disconnect(page, name) {
    return page.locator('#members .member').filter(
        { has: page.locator(`.who:text-is("${name}")`) })
        .getByRole('button').click();
}


/* ------------------------------------------------------------- the cases */

async function calling(context) {
    await it('a call is answered by the application', async () => {
        ada = await open(context, '/app.html?user=Ada');
        assert.strictEqual(await add(ada, 2, 40), '42');
        assert.strictEqual(await add(ada, 0.5, -7), '-6.5');
    });

    await it('which knows who asks', async () => {
        admin = await open(context, '/app.html?user=admin');
        await part(ada, admin);
        assert.notStrictEqual(await worker(admin), await worker(ada));

        const [one, two] = [await whoami(ada), await whoami(admin)];

        assert.notStrictEqual(one.client, two.client);
        assert.deepStrictEqual(
            [one.identity, one.address, one.admin],
            ['Ada', '127.0.0.1', false]);
        assert.deepStrictEqual(
            [two.identity, two.address, two.admin],
            ['admin', '127.0.0.1', true]);
    });

    await it('a slow call tells how far it is', async () => {
        const steps = await slow(ada, 'add');

        assert.deepStrictEqual(steps.slice(0, 4),
            [1, 2, 3, 4].map((n) => `step ${n} of 5: true`));
        assert.strictEqual(steps.at(-1), '"5 steps": false');
    });

    await it('and one that came later does not wait for it', async () => {

        const order = await ada.$$eval('#calls .call', (items) => items.map(
            (item) => [item.querySelector('code').textContent,
                       Number(item.dataset.answered)]));

        assert.deepStrictEqual(order.slice(0, 2).map(([text]) => text),
                               ['add 0.5 + -7', 'slow']);
        assert.ok(order[0][1] < order[1][1]);
        await texts(ada, '#said', ['slow: "5 steps"']);
    });

    await it('progress is told to the window that has asked', async () => {
        const adaToo = await open(context, '/app.html?user=Ada');

        /* the numbers of their calls are the same again */
        await ada.reload();
        await connected(ada);

        const both = await Promise.all([slow(ada, 'add'),
                                        slow(adaToo, 'add')]);

        for (const steps of both) {
            assert.deepStrictEqual(
                steps.filter((text) => /^step [1-4] /.test(text)),
                [1, 2, 3, 4].map((n) => `step ${n} of 5: true`));
        }

        await adaToo.close();
    });
}


async function publishing() {
    await it('everybody may publish', async () => {
        await publish(ada, 'general', 'Hello, <b>all</b>');

        for (const page of [ada, admin]) {
            await texts(page, MESSAGES, ['Hello, <b>all</b>']);
        }
    });

    await it('but to announcements only admin', async () => {
        await publish(ada, 'announcements', 'I am the captain');
        await texts(ada, '#publish-error',
                    ['Not published: Not authorized.']);
        assert.strictEqual(await ada.inputValue('#text'), 'I am the captain');
    });

    await it('whose announcement comes to all', async () => {
        await publish(admin, 'announcements', 'Tea is ready');

        for (const page of [ada, admin]) {
            await texts(page, MESSAGES, ['Hello, <b>all</b>',
                                         'Tea is ready']);
        }

        await texts(ada, '#messages .where', ['general', 'announcements']);
        await texts(ada, '#messages .who', ['Ada', 'admin']);
    });

    await it('another name has other rights', async () => {
        await ada.fill('#name', 'Grace Höpper');
        await ada.press('#name', 'Enter');
        await connected(ada);
        await publish(ada, 'general', 'As Grace');
        await texts(admin, MESSAGES, ['Hello, <b>all</b>', 'Tea is ready',
                                      'As Grace']);
        await texts(admin, '#messages .who', ['Ada', 'admin',
                                              'Grace Höpper']);
        assert.strictEqual((await whoami(ada)).identity,
                           'Grace%20H%C3%B6pper');
    });
}


async function telling(context) {
    await it('the application is told of who comes, in order', async () => {
        const page = await open(context, '/app.html?user=Dora');
        const wanted = [
            'connected Dora',
            ...CHANNELS.map((name) => `subscribed Dora · news "${name}"`),
        ];

        for (const text of wanted) {
            await event(admin, text);
        }

        const all = await events(admin);

        assert.deepStrictEqual(
            all.filter((text) => text.includes('Dora')), wanted);
        assert.deepStrictEqual(
            (await events(page)).filter((text) => text.includes('Dora')),
            wanted);
        await members(admin, ['Dora', 'Grace Höpper', 'admin']);
        await page.close();
    });

    await it('and of who goes', async () => {
        await event(admin, 'disconnected Dora');
        await members(admin, ['Grace Höpper', 'admin']);
        await members(ada, ['Grace Höpper', 'admin']);
        assert.strictEqual((await events(admin)).at(-1),
                           'disconnected Dora');
    });

    await it('one without an identity is known by its client', async () => {
        const page = await open(context, '/');

        await admin.locator('#members .who', { hasText: /^[0-9a-f]+-/ })
            .waitFor();
        await event(admin, 'occupied messaging "lobby"');
        await page.close();
        await event(admin, 'vacated messaging "lobby"');
        await members(admin, ['Grace Höpper', 'admin']);
    });

    await it('all windows show the same events', async () => {
        await ada.click('#reconnect');
        await event(admin, 'connected Grace Höpper', 2);
        await event(admin, 'subscribed Grace Höpper · news "general"', 2);
        await texts(ada, '#event-count',
                    [await admin.textContent('#event-count')]);
        assert.deepStrictEqual(await events(ada), await events(admin));
    });
}


async function disconnecting() {
    await it('who is not admin disconnects nobody', async () => {
        await disconnect(ada, 'admin');
        await texts(ada, '#member-error',
                    ['admin stays: Only admin may do that.']);
    });

    await it('admin does, on another worker, too', async () => {
        await part(admin, ada);
        assert.notStrictEqual(await worker(admin), await worker(ada));
        await members(admin, ['Grace Höpper', 'admin']);

        const before = (await whoami(ada)).client;

        await disconnect(admin, 'Grace Höpper');
        await said(ada, 'Disconnected: admin closed it (4001)');
        await ada.waitForSelector('#state[data-state="refused"]');
        await members(admin, ['admin']);
        await ada.click('#reconnect');
        await connected(ada);
        await members(admin, ['Grace Höpper', 'admin']);
        assert.notStrictEqual((await whoami(ada)).client, before);
    });
}


async function surviving() {
    await it('a reload is in the events, and changes nothing', async () => {
        await reload([ada, admin]);
        assert.strictEqual(await add(ada, 3, 4), '7');

        for (const page of [ada, admin]) {
            await members(page, ['Grace Höpper', 'admin']);
        }
    });

    await it('without the application a call fails', async () => {
        await kill();
        assert.strictEqual(await add(ada, 5, 6), '502 Bad Gateway.');
    });

    await it('and nobody may publish that was not asked about', async () => {
        await ada.fill('#name', 'Bob');
        await ada.press('#name', 'Enter');
        await connected(ada);
        await publish(ada, 'general', 'Is anybody there?');
        await texts(ada, '#publish-error',
                    ['Not published: Authorization failed.']);
        await texts(ada, '#loading', ['502 Bad Gateway; trying again']);
    });

    await it('its events wait for it to be started again', async () => {
        const before = await admin.textContent('#event-count');

        await start();
        await ada.waitForSelector('#loading', { state: 'hidden' });

        await event(admin, 'connected Bob');
        await event(admin, 'subscribed Bob · news "general"');
        await members(admin, ['Bob', 'admin']);
        await members(ada, ['Bob', 'admin']);

        assert.notStrictEqual(await admin.textContent('#event-count'),
                              before);
        assert.deepStrictEqual((await events(admin)).filter(
            (text) => text.includes('Bob')), [
            'connected Bob',
            ...CHANNELS.map((name) => `subscribed Bob · news "${name}"`),
        ]);
    });

    await it('and all is as before', async () => {
        await publish(ada, 'general', 'There you are');
        await texts(ada, '#publish-error', ['']);
        await publish(ada, 'announcements', 'Me, too');
        await texts(ada, '#publish-error',
                    ['Not published: Not authorized.']);
        assert.strictEqual(await add(ada, 5, 6), '11');
    });
}


async function looking() {
    await it('answers are announced, and the state', async () => {
        assert.strictEqual(await ada.getAttribute('#said', 'role'), 'status');
        assert.strictEqual(await ada.getAttribute('#state', 'role'),
                           'status');
    });

    await it('the keyboard gets to the calls at once', async () => {
        await ada.reload();
        await connected(ada);
        await ada.keyboard.press('Tab');
        await ada.keyboard.press('Enter');
        assert.strictEqual(await ada.evaluate(
            () => document.activeElement.id), 'add-a');
    });

    await publish(ada, 'announcements', 'I am the captain');
    await publish(admin, 'announcements', 'The tide is coming in');
    await add(ada, 2, 40);
    await whoami(ada);
    await ada.click('#slow');
    await looks(ada, 'app');
}


browse(async (context) => {
    await start();

    try {
        await calling(context);
        await publishing();
        await telling(context);
        await disconnecting();
        await surviving();
        await looking();
    } finally {
        await end();
    }
});
