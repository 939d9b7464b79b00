/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Uses the page of the chat as people would: Ada has two windows, Grace has
 * one.  See t/browser/windows.js for how it is started.
 */

'use strict';

const assert = require('node:assert');
const {
    it, open, worker, part, texts, reload, looks, browse,
} = require('./windows');

const MESSAGES = '#log ol:not([hidden]) .message';

let ada, adaToo, grace;


async function speak(page, text) {
    await page.fill('#text', text);
    await page.press('#text', 'Enter');
}


/* messages of the channel that is shown: { who, body, time, own } */
function messages(page) {
    return page.$$eval(MESSAGES, (items) => items.map((item) => ({
        who: item.querySelector('.who').textContent,
        body: item.querySelector('.body').textContent,
        time: item.querySelector('time').dateTime,
        own: item.classList.contains('own'),
    })));
}


function bodies(page, expected) {
    return texts(page, `${MESSAGES} .body`, expected);
}


/* the last row that is no message, of the channel that is shown */
function event(page, expected) {
    return page.waitForFunction((wanted) =>
        [...document.querySelectorAll('#log ol:not([hidden]) .event .body')]
            .at(-1)?.textContent === wanted, expected);
}


function events(page) {
    return page.$$eval('#log ol:not([hidden]) .event .body',
        (rows) => rows.map((row) => row.textContent));
}


function members(page, expected) {
    return texts(page, '#members .who', expected);
}


async function join(page, channel) {
    await page.fill('#join-name', channel);
    await page.press('#join-name', 'Enter');
    await texts(page, '#shown', [channel]);
    await page.waitForSelector('#members .member');
}


async function choose(page, channel) {
    await page.click(`#channels .channel-name:text-is("${channel}")`);
    await texts(page, '#shown', [channel]);
}


/* how many messages a window has unread in a channel; 0 is not shown */
async function unread(page, channel, expected) {
    await page.waitForFunction(([name, wanted]) => {
        const item = [...document.querySelectorAll('#channels li')].find(
            (li) => li.querySelector('.channel-name').textContent === name);
        const badge = item.querySelector('.unread');

        return wanted === 0 ? badge.hidden
            : !badge.hidden && badge.firstChild.textContent === `${wanted}`;
    }, [channel, expected]);
}


/* ------------------------------------------------------------- the cases */

async function meeting(context) {
    await it('without its client there is no SockJS to choose', async () => {
        const page = await open(context,
                                '/chat.html?user=Ada&transport=xhr-polling');

        await texts(page, '#over', ['over a WebSocket']);
        await worker(page);
        assert.deepStrictEqual(await page.$$eval('#transport option:enabled',
            (all) => all.map((option) => option.value)), ['']);
        assert.match(await page.textContent('#no-sockjs'), /npm/);
        assert.ok(await page.isVisible('#no-sockjs'));
        await page.close();
    });

    await it('who opens the page is alone in the lobby', async () => {
        ada = await open(context, '/chat.html?user=Ada');
        await members(ada, ['Ada (you)']);
        await texts(ada, '#member-count', ['1 member']);
    });

    await it('both see who comes second', async () => {
        grace = await open(context, '/chat.html?user=Grace%20H%C3%B6pper');
        await part(ada, grace);
        assert.notStrictEqual(await worker(grace), await worker(ada));

        await members(ada, ['Ada (you)', 'Grace Höpper']);
        await members(grace, ['Ada', 'Grace Höpper (you)']);
        await event(ada, 'Grace Höpper joined');
    });

    await it('the link opens another window of the same name', async () => {
        const [page] = await Promise.all([
            context.waitForEvent('page'),
            ada.click('#another'),
        ]);

        await page.close();
        adaToo = await open(context, await ada.getAttribute('#another',
                                                            'href')
            .then((href) => `/chat.html${href}`));
        await part(ada, adaToo);
        assert.strictEqual(await adaToo.inputValue('#name'), 'Ada');
    });

    await it('which is no other member', async () => {
        await members(adaToo, ['Ada (you)', 'Grace Höpper']);

        /* who came, came before what is said now */
        await speak(adaToo, 'Here I am twice');
        await bodies(grace, ['Here I am twice']);
        await members(grace, ['Ada', 'Grace Höpper (you)']);
        assert.ok(!(await events(grace)).includes('Ada joined'));
    });
}


async function talking() {
    await it('what one says all see, once, and from whom', async () => {
        await speak(grace, 'Hello, both of you');

        for (const page of [ada, adaToo, grace]) {
            await bodies(page, ['Here I am twice', 'Hello, both of you']);
        }

        assert.deepStrictEqual((await messages(ada)).map((m) => m.who),
                               ['Ada (you)', 'Grace Höpper']);
        assert.deepStrictEqual((await messages(grace)).map((m) => m.who),
                               ['Ada', 'Grace Höpper (you)']);
        assert.deepStrictEqual((await messages(adaToo)).map((m) => m.own),
                               [true, false]);
    });

    await it('with the same time in all windows, the server\'s', async () => {
        const [first, second, third] = await Promise.all(
            [ada, adaToo, grace].map(messages));
        const times = first.map((m) => m.time);

        assert.deepStrictEqual(second.map((m) => m.time), times);
        assert.deepStrictEqual(third.map((m) => m.time), times);

        for (const time of times) {
            assert.match(time,
                /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}[+-]\d\d:\d\d$/);
            assert.ok(Math.abs(Date.now() - Date.parse(time)) < 60000, time);
        }
    });

    await it('text with markup stays text', async () => {
        const text = '<img src=/x onerror="document.title=1"><b>bold</b>';

        await speak(grace, text);

        for (const page of [ada, grace]) {
            await page.waitForFunction((wanted) =>
                [...document.querySelectorAll('.message .body')]
                    .some((body) => body.textContent === wanted), text);
            assert.strictEqual(await page.$('#log img, #log b'), null);
        }
    });

    await it('a channel is joined but once', async () => {
        await join(ada, 'lobby');
        await texts(ada, '#channels .channel-name', ['lobby']);
    });

    await it('what the server refuses is said', async () => {
        await ada.fill('#join-name', 'long'.repeat(400));
        await ada.press('#join-name', 'Enter');
        await texts(ada, '#join-error', ['Channel too long.']);
        await texts(ada, '#channels .channel-name', ['lobby']);
        await ada.fill('#join-name', '');
    });
}


async function reading() {
    await it('another channel has its own members and messages', async () => {
        await join(grace, 'news');
        await members(grace, ['Grace Höpper (you)']);
        await join(adaToo, 'news');
        await members(grace, ['Grace Höpper (you)', 'Ada']);
        await join(ada, 'news');
        await members(ada, ['Grace Höpper', 'Ada (you)']);
        assert.deepStrictEqual(await messages(ada), []);
    });

    await it('what is said where nobody looks is unread', async () => {
        await choose(ada, 'lobby');
        await choose(adaToo, 'lobby');
        await speak(grace, 'The first news');
        await speak(grace, 'The second news');
        await unread(ada, 'news', 2);
        await unread(adaToo, 'news', 2);
        assert.match(await ada.title(), /^\(2\) /);
    });

    await it('and read in all windows once it is in one', async () => {
        await choose(adaToo, 'news');
        await unread(adaToo, 'news', 0);
        await unread(ada, 'news', 0);
        assert.doesNotMatch(await ada.title(), /^\(/);

        await choose(ada, 'news');
        await event(ada, 'Read in another window');
        await bodies(ada, ['The first news', 'The second news']);
    });

    await it('which is no matter of others', async () => {
        assert.ok(!(await events(grace)).some((e) => /Read/.test(e)));
    });

    await it('one\'s own words are never unread', async () => {
        await choose(ada, 'lobby');
        await speak(adaToo, 'Good news');
        await bodies(grace, ['The first news', 'The second news',
                             'Good news']);

        /* what comes behind it has come */
        await speak(grace, 'Whose?');
        await bodies(adaToo, ['The first news', 'The second news',
                              'Good news', 'Whose?']);
        await unread(ada, 'news', 0);
        await choose(ada, 'news');
        await bodies(ada, ['The first news', 'The second news',
                           'Good news', 'Whose?']);
    });
}


async function leaving(context) {
    await it('who leaves with one window of two is still there', async () => {
        await adaToo.click('#channels li:has-text("news") .link');
        await texts(adaToo, '#channels .channel-name', ['lobby']);
        await speak(ada, 'I am here');
        await bodies(grace, ['The first news', 'The second news',
                             'Good news', 'Whose?', 'I am here']);
        await members(grace, ['Grace Höpper (you)', 'Ada']);
    });

    await it('and gone with the last one', async () => {
        await ada.click('#channels li:has-text("news") .link');
        await members(grace, ['Grace Höpper (you)']);
        await event(grace, 'Ada left');
    });

    await it('a window that is closed takes its name with it', async () => {
        const page = await open(context, '/chat.html?user=Linus#news');

        await members(grace, ['Grace Höpper (you)', 'Linus']);
        await page.close();
        await members(grace, ['Grace Höpper (you)']);
        await event(grace, 'Linus left');
    });

    await it('a name is the same here and there', async () => {
        const page = await open(context,
                                '/chat.html?user=O%27Hara+%26+%C3%9F#news');

        await members(grace, ['Grace Höpper (you)', "O'Hara & ß"]);
        await members(page, ['Grace Höpper', "O'Hara & ß (you)"]);
        await page.close();
        await members(grace, ['Grace Höpper (you)']);
    });

    await it('another name is another member', async () => {
        await choose(grace, 'lobby');
        await adaToo.fill('#name', 'Edsger');
        await adaToo.press('#name', 'Enter');
        await members(grace, ['Ada', 'Grace Höpper (you)', 'Edsger']);
        await event(grace, 'Edsger joined');
        await members(adaToo, ['Ada', 'Grace Höpper', 'Edsger (you)']);
    });
}


async function reloading() {
    await it('a reload of nginx closes all, and they come back', async () => {
        await reload([ada, adaToo, grace]);

        for (const page of [ada, adaToo, grace]) {
            assert.ok((await events(page)).includes(
                'Disconnected: the server restarts (1012)'));
        }
    });

    await it('to the channels and members that there were', async () => {
        const names = ['Ada', 'Edsger', 'Grace Höpper'];

        for (const page of [ada, adaToo, grace]) {
            await page.waitForFunction((wanted) =>
                JSON.stringify([...document.querySelectorAll('#members .who')]
                    .map((who) => who.textContent.replace(' (you)', ''))
                    .sort()) === wanted, JSON.stringify(names));
        }

        await texts(grace, '#channels .channel-name', ['lobby', 'news']);
    });

    await it('and talk on', async () => {
        await speak(ada, 'Still here after a reload');

        for (const page of [ada, adaToo, grace]) {
            await page.waitForFunction(([selector, text]) =>
                [...document.querySelectorAll(selector)].at(-1)
                    ?.querySelector('.body').textContent === text,
                [MESSAGES, 'Still here after a reload']);
            assert.strictEqual((await messages(page)).filter(
                (m) => m.body === 'Still here after a reload').length, 1);
        }
    });
}


async function looking() {
    await it('news are announced, and the state', async () => {
        assert.strictEqual(await ada.getAttribute('#log', 'role'), 'log');
        assert.strictEqual(await ada.getAttribute('#state', 'role'),
                           'status');
    });

    await it('the keyboard gets to the message field at once', async () => {
        await adaToo.evaluate(() => document.activeElement.blur());
        await adaToo.reload();
        await adaToo.waitForSelector('#send:enabled');
        await adaToo.keyboard.press('Tab');
        await adaToo.keyboard.press('Enter');
        assert.strictEqual(await adaToo.evaluate(
            () => document.activeElement.id), 'text');
    });

    await it('messages are cleared away, for others to follow', async () => {
        await ada.click('#clear');
        await bodies(ada, []);
        await join(ada, 'dive plans');
        await join(grace, 'dive plans');
        await choose(ada, 'lobby');
        await choose(grace, 'lobby');

        const lines = [
            [grace, 'Good morning! Who is on the boat today?'],
            [ada, 'Me, and two from the aquarium. We leave at nine.'],
            [adaToo, 'Then I bring the big lamp; the small one is still wet, '
                     + 'and will be for another day at least.'],
            [grace, 'Wonderful. The sea is flat.'],
        ];

        for (const [page, text] of lines) {
            await speak(page, text);
            await ada.waitForFunction((wanted) =>
                [...document.querySelectorAll('.message .body')]
                    .some((body) => body.textContent === wanted), text);
        }

        await choose(grace, 'dive plans');
        await speak(grace, 'The reef first?');
        await unread(ada, 'dive plans', 1);
    });

    await looks(ada, 'chat');
}


browse(async (context) => {
    await meeting(context);
    await talking();
    await reading();
    await leaving(context);
    await reloading();
    await looking();
});
