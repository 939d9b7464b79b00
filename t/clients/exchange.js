/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Sends many random messages to an echo with a sockjs-client and compares
 * what comes back.  It runs in Node, for t/clients/sockjs.js, and in a page,
 * for t/browser/sockjs.js, where its source is sent: so it uses nothing from
 * outside of itself.
 *
 *   exchange(socket, { count, size, burst, window, seed, patience }, progress)
 *
 * The socket is open.  A burst has up to "burst" messages, a message up to
 * "size" characters, and up to "window" characters are on their way.  The
 * first messages between them have all code points of the BMP but the
 * surrogates, which stand only in pairs.  The same seed makes the same
 * messages.  progress(number), if given, is called for each that comes.
 *
 * A message of its own, sent when all have come back, tells that no more come.
 * It ends as well when the socket is closed, or when nothing has come for
 * "patience" milliseconds.  The result of the promise:
 *
 *   { seed, sent, received, characters,
 *     lost, duplicated, reordered        numbers of messages, from 0
 *     changed                            [{ number, at, wanted, got }]
 *     strange                            what came and has no number
 *     end                                "done", "closed", "late"
 *     closed }                           { code, reason, wasClean }
 *
 * A message is reordered that comes after one that was sent after it.
 */

'use strict';


function exchange(socket, options, progress) {

    const settings = {
        count: 2000, size: 3000, burst: 40, window: 32768, seed: 1,
        patience: 20000, ...options,
    };

    const LAST = 'last';

    let state = settings.seed >>> 0;


    /* mulberry32: a number from 0 up to below n */
    function random(n) {
        state = state + 0x6d2b79f5 >>> 0;

        let t = Math.imul(state ^ state >>> 15, state | 1);

        t ^= t + Math.imul(t ^ t >>> 7, t | 61);
        return Math.floor(((t ^ t >>> 14) >>> 0) / 4294967296 * n);
    }


    function between(first, last) {
        return String.fromCodePoint(first + random(last - first + 1));
    }


    const bits = ['"', '\\', '\\u', '</script>', '<!--', '<script>', '-->',
                  '\r\n', '\n\n', 'data: o', 'a["x"]', '&amp;', '%22', '+',
                  '=', ' '];

    /* one or a few characters, more often those that somebody escapes */
    const kinds = [
        () => between(0x20, 0x7e), () => between(0x20, 0x7e),
        () => between(0x20, 0x7e), () => between(0x00, 0x1f),
        () => between(0x7f, 0x9f), () => between(0xa0, 0x7ff),
        () => between(0x2000, 0x2070), () => between(0x800, 0xd7ff),
        () => between(0xe000, 0xffff), () => between(0xffe0, 0xffff),
        () => between(0x10000, 0x10ffff), () => bits[random(bits.length)],
    ];


    function text() {
        const shorter = random(4);
        const length = random(shorter === 0 ? settings.size + 1
                                            : shorter === 1 ? 300 : 40);
        const plain = random(3) === 0;
        let made = '';

        while (made.length < length) {
            made += plain ? between(0x61, 0x7a)
                          : kinds[random(kinds.length)]();
        }

        return made;
    }


    /* 256 code points each, as long as there are any; the rest is random */
    let next = 0;

    function systematic() {
        let made = '';

        if (next === 0xd800) {
            next = 0xe000;
        }

        for (const end = next + 256; next < end; next++) {
            made += String.fromCharCode(next);
        }

        return made;
    }


    const sent = [];

    function message() {
        const content = next < 0x10000 && random(3) > 0 ? systematic()
                                                        : text();

        sent.push(`${sent.length}|${content}`);
        return sent.at(-1);
    }


    const got = [], strange = [];
    const arrived = new Set();

    function take(data) {
        const number = /^\d+\|/.test(data) ? parseInt(data, 10) : NaN;

        if (number < sent.length) {
            got.push({ number, data });
            arrived.add(number);

        } else {
            strange.push(data.slice(0, 80));
        }
    }


    function difference({ number, data }) {
        const wanted = sent[number];
        let at = 0;

        while (wanted[at] === data[at]) {
            at++;
        }

        return {
            number, at, wanted: JSON.stringify(wanted.slice(at, at + 20)),
            got: JSON.stringify(data.slice(at, at + 20)),
        };
    }


    function report(end, closed) {
        const seen = new Set();
        const duplicated = [], reordered = [];
        let greatest = -1;

        for (const { number } of got) {
            if (seen.has(number)) {
                duplicated.push(number);

            } else if (number < greatest) {
                reordered.push(number);
            }

            seen.add(number);
            greatest = Math.max(greatest, number);
        }

        return {
            seed: settings.seed,
            sent: sent.length,
            received: got.length + strange.length,
            characters: sent.reduce((sum, { length }) => sum + length, 0),
            lost: [...sent.keys()].filter((number) => !seen.has(number)),
            duplicated,
            reordered,
            changed: got.filter(({ number, data }) => data !== sent[number])
                .map(difference),
            strange,
            end,
            closed,
        };
    }


    return new Promise((resolve) => {
        let outside = 0;        /* characters that have not come back */
        let wait = 0;           /* the next burst is sent when fewer are out */
        let asked = false;
        let timer;

        function finish(end, closed = null) {
            clearTimeout(timer);
            socket.onmessage = socket.onclose = null;
            resolve(report(end, closed));
        }

        function patient() {
            clearTimeout(timer);
            timer = setTimeout(() => finish('late'), settings.patience);
        }

        function burst() {
            const end = sent.length + 1 + random(settings.burst);

            while (sent.length < Math.min(end, settings.count)
                   && outside < settings.window)
            {
                const made = message();

                outside += made.length;
                socket.send(made);
            }

            wait = sent.length === settings.count ? 0 : random(outside) + 1;
        }

        socket.onmessage = ({ data }) => {
            if (data === LAST) {
                finish('done');
                return;
            }

            take(data);
            outside -= data.length;
            patient();
            progress?.(arrived.size);

            if (sent.length < settings.count) {
                if (outside < wait) {
                    burst();
                }

            } else if (arrived.size === settings.count && !asked) {
                asked = true;
                socket.send(LAST);
            }
        };

        socket.onclose = ({ code, reason, wasClean }) =>
            finish('closed', { code, reason, wasClean });

        patient();
        burst();
    });
}


if (typeof module !== 'undefined') {
    module.exports = { exchange };
}
