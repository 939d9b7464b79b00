/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Uses the to-do lists as people would, in two windows.  See
 * t/browser/windows.js for how it is started; t/demo_todo.t starts the
 * application, too, and tests what needs no browser.
 */

'use strict';

const assert = require('node:assert');
const http = require('node:http');
const { url, it, open, worker, part, texts, reload, looks, browse }
    = require('./windows');

const LIST = 'Reef survey';

let one, two;


function tasks(page, expected) {
    return texts(page, '#tasks .task-title', expected);
}


/* those that are done */
function done(page, expected) {
    return texts(page, '#tasks .done .task-title', expected);
}


function lists(page, expected) {
    return texts(page, '#lists .count', expected);
}


async function add(page, title) {
    await page.fill('#title', title);
    await page.press('#title', 'Enter');
}


function row(page, title) {
    return page.locator('#tasks .task').filter(
        { has: page.locator(`.task-title:text-is("${title}")`) });
}


async function choose(page, list) {
    await page.click(`#lists .channel-name:text-is("${list}")`);
    await texts(page, '#shown', [list]);
    await page.waitForSelector('#loading', { state: 'hidden' });
}


/* the newest delta that a window was told: "TYPE MODEL {...}" */
async function delta(page, type, wanted) {
    await page.waitForFunction(([kind, fields]) => {
        const item = [...document.querySelectorAll('#deltas .delta')].find(
            (li) => /^todo /.test(li.querySelector('code').textContent));

        if (item?.querySelector('b').textContent !== kind) {
            return false;
        }

        const data = JSON.parse(
            item.querySelector('code').textContent.slice(5));

        return Object.entries(fields).every(([k, v]) => data[k] === v);
    }, [type, wanted]);
}


/* what an application's other users do, by its own interface */
/*
 * On a connection of its own: one that is kept alive may be closed by a worker
 * that quits just when the next request is sent on it.
 */
function api(method, path, fields) {
    return new Promise((resolve, reject) => {
        const body = fields && JSON.stringify(fields);

        const request = http.request(`${url}api/todos${path}`, {
            agent: false,
            method,
            headers: body ? {
                'Content-Type': 'application/json',
                'Content-Length': Buffer.byteLength(body),
            } : {},
        }, (answer) => {
            let text = '';

            answer.setEncoding('utf8');
            answer.on('data', (piece) => { text += piece; });
            answer.on('error', reject);
            answer.on('end', () => {
                if (answer.statusCode >= 200 && answer.statusCode < 300) {
                    resolve(JSON.parse(text));
                } else {
                    reject(new Error(
                        `${method} ${path}: ${answer.statusCode}`));
                }
            });
        });

        request.on('error', reject);
        request.end(body);
    });
}


/* its failure waits until it is awaited, whatever goes on meanwhile */
function meanwhile(code) {
    const promise = code();

    promise.catch(() => {});

    return promise;
}


async function database(list) {
    const { data } = await api('GET', `?list=${encodeURIComponent(list)}`);

    return data.todos.map((todo) => todo.title);
}


/* ------------------------------------------------------------- the cases */

async function loading(context) {
    await it('two windows show the rows of the database', async () => {
        one = await open(context, '/todo.html');
        two = await open(context, '/todo.html');
        await part(one, two);
        assert.notStrictEqual(await worker(two), await worker(one));

        for (const page of [one, two]) {
            await tasks(page, ['Check the tanks', 'Count the starfish',
                               'Photograph the new anemone']);
            await done(page, ['Check the tanks']);
            await texts(page, '#lists .channel-name', ['Boat', LIST]);
            await lists(page, ['1 of 2 open', '2 of 3 open']);
            await page.waitForSelector('#loading', { state: 'hidden' });
        }
    });
}


async function changing() {
    await it('what one adds both have, once', async () => {
        await add(one, 'Feed the squid');

        for (const page of [one, two]) {
            await tasks(page, ['Check the tanks', 'Count the starfish',
                               'Photograph the new anemone',
                               'Feed the squid']);
            await lists(page, ['1 of 2 open', '3 of 4 open']);
        }

        await delta(two, 'insert', { title: 'Feed the squid', done: false });
        assert.strictEqual((await database(LIST)).at(-1), 'Feed the squid');
    });

    await it('what one ticks is done in both', async () => {
        await row(two, 'Feed the squid').locator('input').check();
        await done(one, ['Check the tanks', 'Feed the squid']);
        await done(two, ['Check the tanks', 'Feed the squid']);
        await lists(one, ['1 of 2 open', '2 of 4 open']);
        await delta(one, 'update', { title: 'Feed the squid', done: true });
        await texts(one, '#said', ['Feed the squid: done']);
    });

    await it('what one changes is another in both', async () => {
        await row(one, 'Count the starfish').locator('.edit').click();
        await one.fill('.edit-title', 'Count the <i>urchins</i>');
        await one.press('.edit-title', 'Enter');

        for (const page of [one, two]) {
            await tasks(page, ['Check the tanks', 'Count the <i>urchins</i>',
                               'Photograph the new anemone',
                               'Feed the squid']);
        }

        await one.waitForSelector('.editor', { state: 'detached' });
        assert.strictEqual(await two.$('#tasks i'), null);
    });

    await it('an edit can be given up', async () => {
        await row(one, 'Feed the squid').locator('.edit').click();
        await one.fill('.edit-title', 'Nothing of it');
        await one.press('.edit-title', 'Escape');
        await one.waitForSelector('.editor', { state: 'detached' });
        assert.strictEqual((await database(LIST)).at(-1), 'Feed the squid');
    });

    await it('what one deletes is gone from both', async () => {
        await row(two, 'Count the <i>urchins</i>').locator('.delete').click();

        for (const page of [one, two]) {
            await tasks(page, ['Check the tanks',
                               'Photograph the new anemone',
                               'Feed the squid']);
        }

        await delta(one, 'delete', { title: 'Count the <i>urchins</i>' });
        assert.ok(await two.evaluate(() =>
            document.activeElement.matches('#tasks input')));
    });

    await it('what is refused is said', async () => {
        const { data } = await api('GET', `?list=${encodeURI(LIST)}`);
        const last = data.todos.at(-1);

        await one.route('**/api/todos/*', (route) => route.fulfill({
            status: 404, contentType: 'application/json',
            body: '{"error": "Not there any more"}',
        }));
        await row(one, last.title).locator('input').click();
        await texts(one, '#todo-error', ['Not changed: Not there any more.']);
        await one.unroute('**/api/todos/*');
        assert.strictEqual(await row(one, last.title).locator('input')
            .isChecked(), last.done);
    });
}


async function choosing() {
    await it('a window is told of the list that it shows', async () => {
        await choose(two, 'Boat');
        await tasks(two, ['Fill up the fuel', 'Mend the ladder']);

        const before = await two.textContent('#delta-count');

        await add(one, 'Wake the octopus');
        await tasks(one, ['Check the tanks', 'Photograph the new anemone',
                          'Feed the squid', 'Wake the octopus']);

        /* that list's figures are all that comes */
        await lists(two, ['1 of 2 open', '2 of 4 open']);
        assert.strictEqual(parseInt(await two.textContent('#delta-count')),
                           parseInt(before) + 1);
        await tasks(two, ['Fill up the fuel', 'Mend the ladder']);
    });

    await it('a task that moves goes from one to the other', async () => {
        await row(one, 'Wake the octopus').locator('.edit').click();
        await one.selectOption('.edit-list', 'Boat');
        await one.click('.editor button[type="submit"]');
        await tasks(one, ['Check the tanks', 'Photograph the new anemone',
                          'Feed the squid']);
        await tasks(two, ['Fill up the fuel', 'Mend the ladder',
                          'Wake the octopus']);
        await delta(one, 'delete', { list: LIST, title: 'Wake the octopus' });
        await delta(two, 'insert', { list: 'Boat',
                                     title: 'Wake the octopus' });
        await lists(one, ['2 of 3 open', '1 of 3 open']);
    });

    await it('only what is open: done is as good as deleted', async () => {
        await two.check('#open');
        await tasks(two, ['Fill up the fuel', 'Wake the octopus']);
        await choose(one, 'Boat');
        await row(one, 'Wake the octopus').locator('input').check();
        await tasks(two, ['Fill up the fuel']);
        await delta(two, 'delete', { title: 'Wake the octopus' });
        await done(one, ['Mend the ladder', 'Wake the octopus']);
    });

    await it('and open again is as good as new', async () => {
        await row(one, 'Mend the ladder').locator('input').uncheck();
        await tasks(two, ['Fill up the fuel', 'Mend the ladder']);
        await delta(two, 'insert', { title: 'Mend the ladder', done: false });
        await delta(one, 'update', { title: 'Mend the ladder', done: false });
        await two.uncheck('#open');
        await tasks(two, ['Fill up the fuel', 'Mend the ladder',
                          'Wake the octopus']);
    });

    await it('a list is there with its first task', async () => {
        await one.fill('#list-name', 'Galley');
        await one.press('#list-name', 'Enter');
        await texts(one, '#shown', ['Galley']);
        await tasks(one, []);
        assert.ok(await one.isVisible('#empty'));
        await add(one, 'Buy tea');
        await tasks(one, ['Buy tea']);
        await texts(two, '#lists .channel-name', ['Boat', 'Galley', LIST]);
    });

    await it('and gone with the last one', async () => {
        await row(one, 'Buy tea').locator('.delete').click();
        await texts(two, '#lists .channel-name', ['Boat', LIST]);
        await choose(one, 'Boat');
        await texts(one, '#lists .channel-name', ['Boat', LIST]);
    });

    await it('lists in quick succession end with the last one', async () => {
        for (let n = 0; n < 10; n++) {
            await one.evaluate((names) => names.forEach((name) =>
                [...document.querySelectorAll('#lists button')]
                    .find((button) => button.textContent === name).click()),
                [LIST, 'Boat', LIST]);
            await one.evaluate(() => document.querySelector(
                '#lists button[data-list="Boat"]').click());
        }

        await tasks(one, ['Fill up the fuel', 'Mend the ladder',
                          'Wake the octopus']);
        await add(two, 'Paint the hull');

        for (const page of [one, two]) {
            await tasks(page, ['Fill up the fuel', 'Mend the ladder',
                               'Wake the octopus', 'Paint the hull']);
        }
    });
}


/* many changes, while windows come and go */
async function racing() {
    await it('whatever changes during a reload is there after it', async () => {
        let busy = true;
        const rows = [];

        const writing = meanwhile(async () => {
            for (let n = 0; busy || n < 40; n++) {
                const title = `Task ${n}`;
                const { id } = await api('POST', '', { list: 'Boat', title });

                await api('PATCH', `/${id}`, { title: `${title}, changed` });
                await api('PATCH', `/${id}`, { done: n % 2 === 0 });

                if (n % 3 === 0) {
                    await api('DELETE', `/${id}`);
                } else {
                    rows.push(id);
                }
            }
        });

        await reload([one, two]);
        busy = false;
        await writing;

        const { data } = await api('GET', '?list=Boat');

        for (const page of [one, two]) {
            await tasks(page, data.todos.map((todo) => todo.title));
            await done(page, data.todos.filter((todo) => todo.done)
                .map((todo) => todo.title));
        }

        await Promise.all(rows.map((id) => api('DELETE', `/${id}`)));

        for (const page of [one, two]) {
            await tasks(page, ['Fill up the fuel', 'Mend the ladder',
                               'Wake the octopus', 'Paint the hull']);
        }
    });

    await it('a window that comes amid changes misses none', async () => {
        let busy = true;

        const writing = meanwhile(async () => {
            const { id } = await api('POST', '', { list: 'Boat', title: '0' });

            for (let n = 1; busy; n++) {
                await api('PATCH', `/${id}`, { title: `${n}` });
            }

            return id;
        });

        /* each time it goes on until there are changes that it is told of */
        for (let n = 0; n < 20; n++) {
            const before = parseInt(await two.textContent('#delta-count'));

            await two.click('#reconnect');
            await two.waitForFunction((count) => parseInt(
                document.getElementById('delta-count').textContent) > count,
                before + 1);
        }

        busy = false;

        const id = await writing;
        const titles = await database('Boat');

        await tasks(one, titles);
        await tasks(two, titles);
        await api('DELETE', `/${id}`);
        await tasks(two, titles.slice(0, -1));
    });

    await it('without the application a window says so', async () => {
        await two.route('**/api/todos?*', (route) => route.fulfill({
            status: 502, contentType: 'text/html', body: '<html>',
        }));
        await two.click('#reconnect');
        await texts(two, '#loading',
                    ['The application cannot be reached; trying again']);
        await two.unroute('**/api/todos?*');
        await two.waitForSelector('#loading', { state: 'hidden' });
        await add(one, 'Oil the winch');
        await tasks(two, ['Fill up the fuel', 'Mend the ladder',
                          'Wake the octopus', 'Paint the hull',
                          'Oil the winch']);
    });
}


async function looking() {
    await it('changes are announced, and the state', async () => {
        assert.strictEqual(await one.getAttribute('#said', 'role'), 'status');
        assert.strictEqual(await one.getAttribute('#state', 'role'),
                           'status');
    });

    await it('the keyboard gets to the new task at once', async () => {
        await two.evaluate(() => document.activeElement.blur());
        await two.reload();
        await two.waitForSelector('#state[data-state="open"]');
        await two.keyboard.press('Tab');
        await two.keyboard.press('Enter');
        assert.strictEqual(await two.evaluate(
            () => document.activeElement.id), 'title');
    });

    await row(one, 'Mend the ladder').locator('.edit').click();
    await looks(one, 'todo');
}


browse(async (context) => {
    await loading(context);
    await changing();
    await choosing();
    await racing();
    await looking();
});
