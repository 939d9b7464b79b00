/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * What the browser tests of all demo pages share: cases, windows of a headless
 * Chromium, and how a page has to look.  A test is started by t/lib/Snorky/
 * Demo.pm, which counts what is printed: a line "ok NAME" or "not ok NAME" for
 * each case, "# ..." for details.
 *
 *   node TEST.js CHROMIUM URL MASTER_PID DIRECTORY PICTURES
 *
 * DIRECTORY is for the browser's own files, PICTURES for screenshots.
 */

'use strict';

const assert = require('node:assert');
const { mkdirSync } = require('node:fs');
const path = require('node:path');
const { chromium } = require('playwright-core');

const [executablePath, url, master, directory, pictures] =
    process.argv.slice(2);

const { hostname } = new URL(url);

const TIMEOUT = 20000;
const DRAIN = 30000;

const wrong = [];       /* errors that the pages themselves have had */
const foreign = [];     /* requests that went to another server */


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

        if (!['', hostname].includes(new URL(to).hostname)) {
            foreign.push(to);
        }
    });
}


async function open(context, where) {
    const page = await context.newPage();

    watch(page);
    await page.goto(new URL(where, url).href);
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
async function part(one, two) {
    const first = await worker(one);

    for (let n = 0; n < 60 && await worker(two) === first; n++) {
        await two.click('#reconnect');
        await two.waitForFunction(() => /\d/.test(
            document.getElementById('worker').textContent));
    }
}


/* waits until the selected elements have these texts, and says which not */
async function texts(page, selector, expected) {
    const all = () => page.$$eval(selector, (elements) =>
        elements.map((element) => element.textContent.trim()));

    try {
        await page.waitForFunction(([chosen, wanted]) => JSON.stringify(
            [...document.querySelectorAll(chosen)]
                .map((element) => element.textContent.trim())) === wanted,
            [selector, JSON.stringify(expected)]);

    } catch (error) {
        assert.deepStrictEqual(await all(), expected);
        throw error;
    }
}


/*
 * nginx is reloaded.  Each window loses its connection, and has another one.
 * What it showed of its state meanwhile is in its list "states".
 */
async function reload(pages) {
    await Promise.all(pages.map((page) => page.evaluate(() => {
        const state = document.getElementById('state');

        globalThis.states = [];
        new MutationObserver(() => states.push(state.dataset.state))
            .observe(state, { attributeFilter: ['data-state'] });
    })));

    process.kill(Number(master), 'SIGHUP');

    await Promise.all(pages.map((page) => page.waitForFunction(() =>
        states.includes('waiting') && states.at(-1) === 'open',
        null, { timeout: DRAIN })));
}


/* ------------------------------------------------------------- the looks */

/* to be called with a page that has something to show on it */
async function looks(page, name) {
    const scenes = [
        ['light', 'light', 1280, 860],
        ['dark', 'dark', 1280, 860],
        ['phone', 'light', 390, 844],
        ['phone-dark', 'dark', 390, 844],
    ];

    await it('every control has a name', async () => {
        const nameless = await page.$$eval(
            'input, select, textarea, button, a', (all) => all.filter((e) =>
                !(e.labels?.length || e.getAttribute('aria-label')
                  || e.matches('a, button') && e.textContent.trim()))
                .map((e) => e.outerHTML));

        assert.deepStrictEqual(nameless, []);
    });

    for (const [scene, colorScheme, width, height] of scenes) {
        await it(`${scene}: all fits, and can be read`, async () => {
            await page.bringToFront();
            await page.emulateMedia({ colorScheme });
            await page.setViewportSize({ width, height });
            await page.evaluate(() => {
                document.activeElement.blur();
                scrollTo(0, 0);
            });
            await page.evaluate(() => new Promise((resolve) =>
                requestAnimationFrame(() => setTimeout(resolve))));
            await page.screenshot({
                path: path.join(pictures, `${name}-${scene}.png`),
                fullPage: width < 600,
            });

            assert.ok(await page.evaluate(() =>
                document.documentElement.scrollWidth <= innerWidth),
                'the page is wider than its window');

            assert.deepStrictEqual(await page.evaluate(faint), []);
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


/* runs the cases in a browser; two more are about all of its windows */
async function browse(cases, options = {}) {
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
            ...options,
        });

    try {
        await cases(context);

        await it('the pages had no errors', () =>
            assert.deepStrictEqual(wrong, []));
        await it('and asked no other server for anything', () =>
            assert.deepStrictEqual(foreign, []));

    } catch (error) {
        say(String(error.stack ?? error).replace(/^/gm, '# '));
        process.exitCode = 1;

    } finally {
        await context.close();
    }
}


module.exports = {
    TIMEOUT, DRAIN, url, master, say, it, watch, open, connected, worker,
    part, texts, reload, looks, browse,
};
