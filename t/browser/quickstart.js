/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * The pages of docs/quickstart.md, used as it says: started by
 * t/docs_quickstart.t, see windows.js.
 */

'use strict';

const assert = require('node:assert');
const { execFileSync } = require('node:child_process');
const path = require('node:path');

const { url, master, it, watch, texts, browse } = require('./windows.js');

const directory = process.argv[5];


async function open(context, where) {
    const page = await context.newPage();

    watch(page);
    await page.goto(new URL(where, url).href);
    return page;
}


function shows(page, id, text) {
    return page.waitForFunction(([name, wanted]) =>
        document.getElementById(name).textContent === wanted, [id, text]);
}


async function say(page, text) {
    await page.fill('#text', text);
    await page.click('#form button');
}


function curl() {
    return execFileSync('sh', [path.join(directory, 'curl.sh')], {
        stdio: ['ignore', 'pipe', 'ignore'],
    }).toString();
}


async function news(context) {
    const one = await open(context, '/');
    const two = await open(context, '/');

    await it('the page is connected', async () => {
        await shows(one, 'state', 'open');
        await shows(two, 'state', 'open');
    });

    await it('the line of curl is answered', () =>
        assert.strictEqual(curl(), '{"service":"messaging_backend",'
            + '"message":{"type":"response","callId":1,"data":null}}'));

    await it('and both windows show it', async () => {
        await texts(one, '#news li', ['Hello from curl!']);
        await texts(two, '#news li', ['Hello from curl!']);
    });

    await it('what one window says, both show', async () => {
        await say(one, 'Hello!');
        await texts(one, '#news li', ['Hello!', 'Hello from curl!']);
        await texts(two, '#news li', ['Hello!', 'Hello from curl!']);
    });

    await it('after a reload both come back', async () => {
        for (const page of [one, two]) {
            await page.evaluate(() => {
                const state = document.getElementById('state');

                globalThis.states = [];
                new MutationObserver(() => states.push(state.textContent))
                    .observe(state, { childList: true });
            });
        }

        process.kill(Number(master), 'SIGHUP');

        for (const page of [one, two]) {
            await page.waitForFunction(() => states.at(-1) === 'open', null,
                                       { timeout: 60000 });
        }
    });

    await it('and are told of what is said then', async () => {
        await one.evaluate(() => { document.getElementById('news')
            .replaceChildren(); });
        curl();
        await texts(one, '#news li', ['Hello from curl!']);
        await texts(two, '#news li',
                    ['Hello from curl!', 'Hello!', 'Hello from curl!']);
    });

    await one.close();
    await two.close();
}


/* another page of the same kind */
async function readme(context) {
    const page = await context.newPage();
    const heard = page.waitForEvent('console', {
        predicate: (message) => message.text() === 'Hello from curl!',
    });

    watch(page);
    await page.goto(new URL('/readme.html', url).href);

    await it('README\'s module says what is published', async () => {
        const again = setInterval(curl, 100);

        await heard.finally(() => clearInterval(again));
    });

    await page.close();
}


async function chat(context) {
    const ada = await open(context, '/chat.html?user=ada');

    await say(ada, 'Is anybody there?');
    await texts(ada, '#lines li', ['ada: Is anybody there?']);

    const grace = await open(context, '/chat.html?user=grace');

    await it('who comes is told', () =>
        texts(ada, '#lines li', ['ada: Is anybody there?',
                                 'grace has joined']));

    await it('what one says, both see', async () => {
        await say(grace, 'I am.');
        await texts(grace, '#lines li', ['grace: I am.']);
        await texts(ada, '#lines li', ['ada: Is anybody there?',
                                       'grace has joined', 'grace: I am.']);
    });

    await it('who goes is told', async () => {
        await grace.close();
        await texts(ada, '#lines li', ['ada: Is anybody there?',
            'grace has joined', 'grace: I am.', 'grace has left']);
    });

    await ada.close();
}


async function todo(context) {
    const one = await open(context, '/todo.html');
    const two = await open(context, '/todo.html');

    await it('the rows are there', async () => {
        await texts(one, '#todos li', ['Wash up']);
        await texts(two, '#todos li', ['Wash up']);
    });

    await it('a row that one window adds, both show', async () => {
        await say(one, 'Bake');
        await texts(one, '#todos li', ['Wash up', 'Bake']);
        await texts(two, '#todos li', ['Wash up', 'Bake']);
    });

    await it('who comes later has it, too', async () => {
        const late = await open(context, '/todo.html');

        await texts(late, '#todos li', ['Wash up', 'Bake']);
        await late.close();
    });

    await one.close();
    await two.close();
}


async function login(context) {
    const page = await open(context, '/private.html');

    await it('without a login the handshake is refused', async () => {
        await shows(page, 'state', 'refused');
        await page.waitForSelector('#login:not([hidden])');
    });

    await it('a wrong password is refused', async () =>
        assert.strictEqual(await page.evaluate(async () => (await fetch(
            '/login', { method: 'POST', body: 'user=ada&password=x' })
        ).status), 403));

    await it('after a login the client knows who one is', async () => {
        await page.click('#login');
        await shows(page, 'state', 'here: ada');
        await page.waitForSelector('#login[hidden]', { state: 'attached' });
    });

    await page.close();
}


browse(async (context) => {
    await news(context);
    await readme(context);
    await chat(context);
    await todo(context);
    await login(context);

    await it('what is next to the pages is not served', async () => {
        const page = await open(context, '/');

        assert.strictEqual(await page.evaluate(async () =>
            (await fetch('/app.py')).status), 404);
        assert.strictEqual(await page.evaluate(async () =>
            (await fetch('/nginx.conf')).status), 404);
    });
});
