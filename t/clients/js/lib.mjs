/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * What the tests of the JavaScript client in Node share: cases, clients that
 * are closed with their case, and what nginx and its status are asked for.  A
 * script is started by t/lib/Snorky/Script.pm, which counts what is printed:
 * a line "ok NAME" or "not ok NAME" for each case, "# ..." for details.
 *
 *   node SCRIPT.mjs '{"client":MODULE,"port":NUMBER,"master":PID,...}'
 */

import assert from 'node:assert/strict';
import readline from 'node:readline';
import { pathToFileURL } from 'node:url';
import Ws from 'ws';

export const given = JSON.parse(process.argv[2]);
export const { port } = given;

export const { default: Snorky } =
    await import(pathToFileURL(given.client).href);

export const { SnorkyError } = Snorky;

export const TIMEOUT = 20000;

export const url = (path, at = port) => `ws://127.0.0.1:${at}${path}`;


export function say(text) {
    process.stdout.write(`${text}\n`);
}


/* ------------------------------------------------------------------ cases */

const scope = [];       /* what the present case leaves to be closed */
const errors = [];      /* what nobody has caught */

let running = false;    /* whether there is one */
let waiting = '';       /* for what, if a case takes too long */

for (const event of ['uncaughtException', 'unhandledRejection']) {
    process.on(event, (error) => {
        errors.push(error);

        if (!running) {
            stop(error);
        }
    });
}


function complain(error) {
    say(String(error?.stack ?? error).replace(/^/gm, '# '));
}


function stop(error) {
    complain(error);
    process.exit(1);
}


/* a case: goes on with the next one if it fails */
export async function it(name, code) {
    let timer;

    errors.length = 0;
    running = true;
    waiting = '';

    try {
        await Promise.race([code(), new Promise((resolve, reject) => {
            timer = setTimeout(() => reject(Error(`too long: ${waiting}`)),
                               TIMEOUT * 1.5);
        })]);

        assert.deepEqual(errors.map((error) => error?.stack ?? error), []);
        say(`ok ${name}`);

    } catch (error) {
        say(`not ok ${name}`);
        complain(error);

    } finally {
        clearTimeout(timer);
        await Promise.all(scope.splice(0).map((one) => one.close()));
        running = false;
    }
}


/*
 * All cases, part by part.  The process ends when nothing is open any more.
 * Not by itself: Node 20 waits for ever, in a loop, for a socket that was to
 * be reset while its FIN was on the way.
 */
export async function run(...parts) {
    process.once('beforeExit', () => process.exit());

    try {
        for (const part of parts) {
            await part();
        }

    } catch (error) {
        stop(error);
    }
}


/* what has a close() is closed when the case is over */
export function during(one) {
    scope.push(one);
    return one;
}


/* the errors that nobody has caught so far, which are no failure then */
export function uncaught() {
    return errors.splice(0);
}


/* what may take a moment, looked at until it is true */
export async function until(condition, what = `${condition}`) {
    const deadline = Date.now() + TIMEOUT;

    for (;;) {
        const value = await condition();

        if (value) {
            return value;
        }

        if (Date.now() > deadline) {
            throw Error(`not in time: ${what}`);
        }

        waiting = what;
        await pause(10);
    }
}


export function pause(ms) {
    return new Promise((resolve) => setTimeout(resolve, ms));
}


/* the error that a promise is rejected with */
export async function failure(promise) {
    try {
        await promise;

    } catch (error) {
        return error;
    }

    throw Error('nothing failed');
}


/* that it is rejected with a SnorkyError of this code, and text */
export async function fails(promise, code, message) {
    const error = await failure(promise);

    assert.ok(error instanceof SnorkyError, String(error));
    assert.ok(error instanceof Error);
    assert.equal(error.code, code, String(error));

    if (message !== undefined) {
        assert.equal(error.message, message);
    }

    return error;
}


/* -------------------------------------------------------------- clients */

/* npm's, which tells the worker that it is connected to */
export class WebSocket extends Ws {
    constructor(...parameters) {
        super(...parameters);

        this.on('upgrade', ({ headers }) => {
            this.worker = headers['x-worker'];
        });
    }
}


/* what the signals told, in a list: all of it, or the first argument */
export function record(signal, all = false) {
    const list = [];

    signal.add((...values) => list.push(all ? values : values[0]));
    return list;
}


/* a client with its states in a list; it is closed with its case */
export function connect(where, services, options = {}) {
    const snorky = during(new Snorky(where, services, {
        WebSocket, minWait: 20, maxWait: 200, ...options,
    }));

    snorky.states = record(snorky.stateChanged);
    return snorky;
}


/* the same, once it is connected */
export async function connected(...parameters) {
    const snorky = connect(...parameters);

    await snorky.ready();
    return snorky;
}


/* it connects until it has another worker than those */
export async function apart(snorky, ...others) {
    const taken = others.map((other) => other.socket.worker);

    while (taken.includes(snorky.socket.worker)) {
        const once = next(snorky.connected);

        snorky.restart();
        await once;
    }
}


/* the next time that a signal tells something (of this kind) */
export function next(signal, filter = () => true) {
    return new Promise((resolve, reject) => {
        const binding = signal.add((...values) => {
            if (filter(...values)) {
                finish(() => resolve(values[0]));
            }
        });

        const timer = setTimeout(() => finish(() =>
            reject(Error(`nothing told in time: ${filter}`))), TIMEOUT);

        function finish(done) {
            clearTimeout(timer);
            binding.detach();
            done();
        }
    });
}


/* what a loop gets, in a list, and how it ends: `ended`, a promise */
export function read(iterable, { count = Infinity } = {}) {
    const list = [];

    list.ended = (async () => {
        for await (const value of iterable) {
            list.push(value);

            if (list.length >= count) {
                break;
            }
        }
    })();

    list.ended.catch(() => {});
    return list;
}


export function has(list, length) {
    return until(() => list.length >= length,
                 `${length} of ${JSON.stringify(list)}`);
}


/* ----------------------------------------------------------------- nginx */

const lines = readline.createInterface({ input: process.stdin });

process.stdin.unref?.();     /* a file has none */


/* orders what Script.pm can do */
export function order(text) {
    process.stdin.ref();
    say(`do ${text}`);

    return new Promise((resolve) => lines.once('line', (master) => {
        given.master = Number(master);
        process.stdin.unref();
        resolve();
    }));
}


export async function status() {
    const answer = await fetch(`http://127.0.0.1:${port}/status`,
                               { headers: { Connection: 'close' } });

    return answer.json();
}


/* a figure, summed over the workers, becomes this */
export function figure(name, value) {
    return until(async () => (await status()).total[name] === value,
                 `${name} is ${value}`);
}


/* nginx is reloaded: resolved when all workers are new ones */
export async function reload() {
    const old = (await status()).workers.map(({ pid }) => pid);
    const { master } = given;

    assert.ok(master > 0, 'nginx runs');
    process.kill(master, 'SIGHUP');

    await until(async () => {
        const { workers } = await status();

        return workers.length === old.length
            && workers.every(({ pid, state }) =>
                !old.includes(pid) && state === 'live');
    }, 'new workers only');
}


/* the worker of a client's connection */
export async function workerOf(snorky) {
    const { workers } = await status();

    return workers.find(({ slot }) =>
        String(slot) === snorky.socket.worker).pid;
}


/* a call of the trusted side */
export async function backend(service, command, params) {
    const answer = await fetch(`http://127.0.0.1:${port}/backend`, {
        method: 'POST',
        headers: { 'X-Backend-Key': 'swordfish' },
        body: JSON.stringify({
            service, message: { command, params, callId: 'backend' },
        }),
    });

    assert.equal(answer.status, 200);

    const { message } = await answer.json();

    assert.equal(message.type, 'response', message.message);
    return message.data;
}


export { assert };
