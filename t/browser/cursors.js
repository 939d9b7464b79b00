/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Uses the board of cursors as people would, in two windows and more.  See
 * t/browser/windows.js for how it is started.
 */

'use strict';

const assert = require('node:assert');
const { say, it, open, worker, part, texts, reload, looks, browse }
    = require('./windows');

const OTHERS = '#board .cursor:not(.own)';

let ada, grace;


/* the mouse to a place of the board, as shares of its size */
async function move(page, x, y, steps = 1) {
    const box = await (await page.$('#board')).boundingBox();

    await page.mouse.move(box.x + x * box.width, box.y + y * box.height,
                          { steps });
}


async function click(page, x, y) {
    const box = await (await page.$('#board')).boundingBox();

    await page.mouse.click(box.x + x * box.width, box.y + y * box.height);
}


/* off the board */
function off(page) {
    return page.mouse.move(1, 1);
}


/* what a page draws: { name, mark, left, top, hue }, in any order */
function drawn(page, selector) {
    return page.$$eval(selector, (elements) => elements.map((element) => ({
        name: element.querySelector('.cursor-name').textContent,
        mark: element.classList.contains('mark'),
        left: parseFloat(element.style.left),
        top: parseFloat(element.style.top),
        hue: element.style.getPropertyValue('--hue'),
    })));
}


/* waits until so many cursors of others are there, and tells them */
async function others(page, count) {
    try {
        await page.waitForFunction(([selector, wanted]) =>
            document.querySelectorAll(selector).length === wanted,
            [OTHERS, count]);

    } catch (error) {
        say(`# drawn: ${JSON.stringify(await drawn(page, OTHERS))}`);
        throw error;
    }

    return drawn(page, OTHERS);
}


/* waits until another's pointer is at that place */
async function arrived(page, x, y) {
    await page.waitForFunction(([selector, left, top]) =>
        [...document.querySelectorAll(selector)].some((element) =>
            Math.abs(parseFloat(element.style.left) - left) < .5
            && Math.abs(parseFloat(element.style.top) - top) < .5),
        [`${OTHERS}:not(.mark)`, 100 * x, 100 * y]);
}


/* the list as "NAME: what they have" */
async function onBoard(page, expected) {
    await page.waitForFunction((wanted) => JSON.stringify(
        [...document.querySelectorAll('#members li')].map((item) =>
            `${item.querySelector('.who').textContent}: `
            + item.querySelector('.count').textContent).sort()) === wanted,
        JSON.stringify([...expected].sort()));
}


/* ------------------------------------------------------------- the cases */

async function pointing(context) {
    await it('two windows meet on the board', async () => {
        ada = await open(context, '/cursors.html?user=Ada');
        grace = await open(context, '/cursors.html?user=Gr%C3%A2ce');
        await part(ada, grace);
        assert.notStrictEqual(await worker(grace), await worker(ada));
        await texts(ada, '#member-count', ['0 cursors']);
    });

    await it('one moves, and the other sees where', async () => {
        await move(ada, .25, .5);
        await arrived(grace, .25, .5);
        await move(ada, .75, .2, 20);
        await arrived(grace, .75, .2);

        const [pointer, ...more] = await others(grace, 1);

        assert.deepStrictEqual(more, []);
        assert.strictEqual(pointer.name, 'Ada');
        assert.strictEqual(pointer.mark, false);
        await onBoard(grace, ['Ada: 1 pointer']);
        await onBoard(ada, ['Ada (you): 1 pointer']);
    });

    await it('boards of other sizes agree', async () => {
        await grace.setViewportSize({ width: 800, height: 700 });
        await move(grace, .5, .25);
        await arrived(ada, .5, .25);
        await grace.setViewportSize({ width: 1280, height: 860 });
    });

    await it('a way of many steps is told in few', async () => {
        const sent = await ada.evaluate(async () => {
            const board = document.getElementById('board');
            const { left, top, width, height } =
                board.getBoundingClientRect();
            const send = WebSocket.prototype.send;
            let count = 0;

            WebSocket.prototype.send = function (data) {
                count += data.includes('"updateCursor"') ? 1 : 0;
                return send.call(this, data);
            };

            for (let n = 1; n <= 1000; n++) {
                board.dispatchEvent(new PointerEvent('pointermove', {
                    clientX: left + width * (.1 + .8 * n / 1000),
                    clientY: top + height * .6,
                }));
            }

            await new Promise((resolve) => requestAnimationFrame(() =>
                requestAnimationFrame(() => setTimeout(resolve))));
            WebSocket.prototype.send = send;
            return count;
        });

        assert.ok(sent >= 1 && sent <= 3, `${sent} updates`);
        await arrived(grace, .9, .6);
    });

    await it('who leaves the board is not on it', async () => {
        await off(grace);
        await others(ada, 0);
        await onBoard(ada, ['Ada (you): 1 pointer']);
        await off(ada);
        await others(grace, 0);
        assert.ok(await grace.isVisible('#empty'));
    });
}


async function marking(context) {
    await it('a click leaves a mark', async () => {
        await click(ada, .3, .4);
        await off(ada);

        const [mark, ...more] = await others(grace, 1);

        assert.deepStrictEqual(more, []);
        assert.ok(mark.mark);
        assert.ok(Math.abs(mark.left - 30) < .5, `${mark.left}`);
        assert.ok(Math.abs(mark.top - 40) < .5, `${mark.top}`);
        await onBoard(grace, ['Ada: 1 mark']);
        await texts(grace, '#said', ['Ada left a mark']);
    });

    await it('who comes later sees it, too', async () => {
        const page = await open(context, '/cursors.html?user=Linus');
        const [mark] = await others(page, 1);

        assert.ok(Math.abs(mark.left - 30) < .5, `${mark.left}`);
        assert.strictEqual(mark.name, 'Ada');
        await page.close();
    });

    await it('another colour is seen at once', async () => {
        await ada.check('#colours input[value="14"]', { force: true });
        await grace.waitForFunction((selector) =>
            document.querySelector(selector)?.style
                .getPropertyValue('--hue') === '14', OTHERS);
    });

    await it('another board is another', async () => {
        const page = await open(context, '/cursors.html?user=Linus#other');

        await click(page, .5, .5);
        await onBoard(page, ['Linus (you): 1 pointer, 1 mark']);
        await off(page);

        /* what comes behind it has come */
        await click(ada, .6, .6);
        await off(ada);
        await others(grace, 2);
        await others(page, 0);
        await page.close();
    });

    await it('a click on a mark of one\'s own takes it away', async () => {
        const box = await (await ada.$('#board')).boundingBox();

        await ada.mouse.click(box.x + .6 * box.width,
                              box.y + .6 * box.height - 10);
        await off(ada);
        await others(grace, 1);
        await texts(grace, '#said', ['Ada took a mark away']);
    });

    await it('there is an end to it, which is said', async () => {
        for (let n = 0; n < 16; n++) {
            await click(grace, .05 + .05 * n, .8);
        }

        await texts(grace, '#board-error', ['Not left: Too many cursors.']);
        await off(grace);
        await onBoard(grace, ['Ada: 1 mark', 'Grâce (you): 15 marks']);
        await onBoard(ada, ['Ada (you): 1 mark', 'Grâce: 15 marks']);
    });

    await it('all can be taken away at once', async () => {
        await grace.click('#sweep');
        await others(ada, 0);
        assert.ok(await grace.isDisabled('#sweep'));
    });
}


async function typing() {
    await it('the keyboard points, leaves marks and takes them', async () => {
        await grace.focus('#board');
        await grace.keyboard.press('ArrowRight');
        await others(ada, 1);

        const [{ left, top }] = await others(ada, 1);

        await grace.keyboard.press('ArrowDown');
        await arrived(ada, left / 100, top / 100 + .02);

        await grace.keyboard.press('Enter');
        await others(ada, 2);
        await grace.keyboard.press('Delete');
        await others(ada, 1);
    });

    await it('and is off the board elsewhere', async () => {
        await grace.focus('#name');
        await others(ada, 0);
    });
}


async function hostile(context) {
    await it('what is no position is not drawn', async () => {
        const page = await open(context, '/?user=Eve');

        await page.evaluate(() => new Promise((resolve) => {
            const socket = new WebSocket(
                `ws://${location.host}/ws?user=%3Cb%3EEve%FF`);
            const call = (command, params) => socket.send(JSON.stringify({
                service: 'cursors', message: { command, params, callId: 1 },
            }));

            socket.onopen = () => {
                call('join', { document: 'board' });
                call('createCursor', { privateHandle: 1, document: 'board',
                                       position: null, status: null });
                call('createCursor', {
                    privateHandle: [2], document: 'board',
                    position: { x: '1', y: {} }, status: { hue: 'red' },
                });
                call('createCursor', {
                    privateHandle: 3, document: 'board',
                    position: { x: 99, y: -99 }, status: 'mark',
                });
            };

            let answers = 0;

            socket.onmessage = () => ++answers === 4 && resolve();
        }));

        await onBoard(grace, ['Ada: 1 mark', '%3Cb%3EEve%FF: 3 pointers']);
        assert.deepStrictEqual(
            (await drawn(grace, `${OTHERS}:not(.mark):not([hidden])`))
                .map(({ left, top }) => [left, top]), [[100, 0]]);

        await page.close();
        await others(grace, 1);
    });
}


async function reloading() {
    await it('a reload of nginx takes no mark away', async () => {
        await click(grace, .5, .7);
        await off(grace);
        await others(ada, 1);
        await reload([ada, grace]);

        await onBoard(ada, ['Ada (you): 1 mark', 'Grâce: 1 mark']);
        await onBoard(grace, ['Ada: 1 mark', 'Grâce (you): 1 mark']);

        const [mark] = await others(ada, 1);

        assert.ok(Math.abs(mark.left - 50) < .5, `${mark.left}`);
    });

    await it('and pointers move on', async () => {
        await move(ada, .15, .15);
        await arrived(grace, .15, .15);
        await off(ada);
        await others(grace, 1);
    });
}


async function looking(context) {
    await it('the keyboard gets to the board at once', async () => {
        await grace.evaluate(() => document.activeElement.blur());
        await grace.reload();
        await grace.waitForSelector('#state[data-state="open"]');
        await grace.keyboard.press('Tab');
        await grace.keyboard.press('Enter');
        assert.strictEqual(await grace.evaluate(
            () => document.activeElement.id), 'board');
        await grace.evaluate(() => document.activeElement.blur());
    });

    await it('what is sent and received is counted', async () => {
        const linus = await open(context, '/cursors.html?user=Linus');

        await linus.check('#colours input[value="110"]', { force: true });
        await grace.check('#colours input[value="320"]', { force: true });
        await click(linus, .72, .3);
        await move(linus, .8, .55);
        await click(grace, .2, .6);
        await click(grace, .4, .75);
        await move(grace, .45, .3);
        await others(ada, 5);
        await arrived(ada, .8, .55);

        for (let n = 0; n < 40; n++) {
            await move(grace, .45 - .002 * n, .3 - .001 * n);

            if (Number(await ada.textContent('#rate-in')) > 0) {
                break;
            }

            await grace.waitForTimeout(100);
        }

        assert.ok(Number(await ada.textContent('#rate-in')) > 0);
    });

    await looks(ada, 'cursors');
}


browse(async (context) => {
    await pointing(context);
    await marking(context);
    await typing();
    await hostile(context);
    await reloading();
    await looking(context);
});
