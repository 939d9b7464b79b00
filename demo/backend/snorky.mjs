#!/usr/bin/env node

/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Calls Snorky's services from a backend in Node: see docs/backend.md.
 *
 *   import { Backend } from './snorky.mjs';
 *
 *   const backend = new Backend('http://127.0.0.1:8080/backend', key);
 *
 *   await backend.call('messaging_backend', 'publish',
 *                      { channel: 'news', message: 'Hello!' });
 *
 * Without arguments, the address is that of the environment's SNORKY_URL, and
 * the key that of SNORKY_KEY.  So it is from a shell:
 *
 *   snorky.mjs SERVICE COMMAND [PARAMS]
 *
 * PARAMS is JSON, of the standard input where it is left out.  What is
 * returned is printed.  The exit status is 1 when the call was refused, and 3
 * when it is not known what has become of it.
 *
 * It needs nothing but Node 18.  Copy it into your application.
 */

import { readFileSync, realpathSync } from 'node:fs';
import { fileURLToPath } from 'node:url';


/* any of the following */
export class SnorkyError extends Error {
    get name() {
        return this.constructor.name;
    }
}


/* the answer is an error, and this its text; nothing was done */
export class ServiceError extends SnorkyError {}


/* an HTTP status, and no answer */
export class StatusError extends SnorkyError {
    constructor(status) {
        super(`HTTP status ${status}`);
        this.status = status;
    }
}


/* none came, or not in time: the call may have been carried out */
export class NoAnswer extends SnorkyError {}


/*
 * fetch() keeps connections for the next call; calls at the same time have one
 * each.
 */
export class Backend {
    constructor(url = process.env.SNORKY_URL, key = process.env.SNORKY_KEY,
                timeout = 15000)
    {
        this.url = url;
        this.key = key;
        this.timeout = timeout;
    }

    /* what the command returns */
    async call(service, command, params) {
        const answer = await this.post(envelope(service, command, params));
        const { type, data, message } = answer.message;

        if (type === 'error') {
            throw new ServiceError(message);
        }

        return data;
    }

    /*
     * Makes [service, command, params] one after the other.  Their answers,
     * { type: 'response', data } or { type: 'error', message }.  There are
     * less than calls when the last is Overloaded: then those behind it were
     * not tried.
     */
    async batch(calls) {
        const answers = await this.post(calls.map((call) => envelope(...call)));

        return answers.map(({ message }) => message);
    }

    async post(message) {
        const request = {
            method: 'POST',
            headers: {
                'Content-Type': 'application/json',
                'X-Backend-Key': this.key,
            },
            body: JSON.stringify(message),
            redirect: 'manual',         /* the key is for nobody else */
            signal: AbortSignal.timeout(this.timeout),
        };

        let response, text;

        try {
            response = await fetch(this.url, request);
            text = await response.text();
        } catch (error) {
            throw new NoAnswer((error.cause ?? error).message,
                               { cause: error });
        }

        /* 503 comes with an answer, too, when that is this error */
        if (response.status === 200
            || response.status === 503 && text.includes('"Overloaded"'))
        {
            return JSON.parse(text);
        }

        /* nginx, or a proxy before it, may have failed when all was done */
        if ([500, 502, 504].includes(response.status)) {
            throw new NoAnswer(`HTTP status ${response.status}`);
        }

        throw new StatusError(response.status);
    }
}


function envelope(service, command, params) {
    return { service, message: { command, params, callId: 1 } };
}


async function main([service, command, params, ...rest]) {
    if (command === undefined || rest.length > 0) {
        console.error('usage: snorky.mjs SERVICE COMMAND [PARAMS]');
        process.exit(2);
    }

    params = JSON.parse(params ?? readFileSync(0));

    try {
        const data = await new Backend().call(service, command, params);

        console.log(typeof data === 'string' ? data : JSON.stringify(data));
    } catch (error) {
        if (!(error instanceof SnorkyError)) {
            throw error;
        }

        console.error(`${error.name}: ${error.message}`);
        process.exitCode = error instanceof NoAnswer ? 3 : 1;
    }
}


if (process.argv[1]
    && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url))
{
    await main(process.argv.slice(2));
}
