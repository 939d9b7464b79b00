#!/usr/bin/env node

/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * The application of the demo "Application".  Browsers never speak to it, nor
 * it to them: nginx does.
 *
 *   app.js [--until-eof] SOCKET STATE BACKEND KEY
 *
 * It listens on the Unix socket SOCKET, where nginx asks it by POST:
 *
 *   /call      what a client wants of the service "app"; the status and the
 *              body are the client's answer
 *   /policy    whether a client may publish a message: 204 or 403
 *   /events    who came, went, subscribed: an array, in order
 *
 * It reaches Snorky's backend at the URL BACKEND with KEY, as
 * ../backend/snorky.mjs does.  What it knows from the events is in the file
 * STATE, too, so that it is still known when it is started again.  It needs
 * nothing but Node.
 */

'use strict';

const fs = require('node:fs');
const http = require('node:http');
const { setTimeout: sleep } = require('node:timers/promises');

const ADMIN = 'admin';
const DISCONNECTED = 4001;      /* close code */
const RECENT = 100;             /* events that a new window gets to see */
const STEPS = 5;
const STEP = 400;               /* ms */

const untilEof = process.argv[2] === '--until-eof';
const [SOCKET, STATE, BACKEND, KEY] = process.argv.slice(untilEof ? 3 : 2);


/* an answer that is an error; its text is what the client is told */
class Refused extends Error {
    constructor(status, text) {
        super(text);
        this.status = status;
    }
}


/* ----------------------------------------------------- what Snorky is told */

const snorky = import('../backend/snorky.mjs')
    .then(({ Backend }) => new Backend(BACKEND, KEY, 3000));


async function backend(service, command, params) {
    return (await snorky).call(service, command, params);
}


/* ------------------------------------------------ what clients may call for */

/* each gets the call's params, its client, and a signal that nobody waits */

const commands = {
    __proto__: null,

    add({ a, b }) {
        if (typeof a !== 'number' || typeof b !== 'number') {
            throw new Refused(400, 'Two numbers, please');
        }

        return a + b;
    },

    whoami(params, client) {
        return { ...client, admin: client.identity === ADMIN };
    },

    /* tells its client how far it is; "call" says which call this is */
    async slow({ call }, client, gone) {
        for (let step = 1; step <= STEPS; step++) {
            await sleep(STEP, null, { signal: gone });
            await backend('app_backend', 'send', {
                to: { client: client.client },
                message: { type: 'progress', call, step, of: STEPS },
            });
        }

        return `${STEPS} steps`;
    },

    online() {
        return state;
    },

    async disconnect({ client }, { identity }) {
        if (identity !== ADMIN) {
            throw new Refused(403, 'Only admin may do that');
        }

        await backend('app_backend', 'disconnect', {
            to: { client }, code: DISCONNECTED, reason: 'Closed by admin',
        });

        return null;
    },
};


function call({ command, params }, client, gone) {
    return commands[command](params, client, gone);
}


/* ------------------------------------------------ what nginx asks and tells */

/* nobody may publish events but this process, which asks nobody */
function policy({ params: { channel } }, { identity }) {
    if (channel === 'events' || channel === 'announcements'
                                && identity !== ADMIN)
    {
        throw new Refused(403, 'Not for you');
    }
}


/* n numbers the events: a window that misses one sees that */
const state = { n: 0, online: {}, recent: [] };

let publishing = Promise.resolve();


function events(batch) {
    const numbered = batch.map((event) => ({ ...event, n: ++state.n }));

    numbered.forEach(noteOnline);
    state.recent = [...state.recent, ...numbered].slice(-RECENT);

    /* stored before nginx hears that they are taken, and forgets them */
    fs.writeFileSync(`${STATE}.new`, JSON.stringify(state));
    fs.renameSync(`${STATE}.new`, STATE);

    for (const event of numbered) {
        publishing = publishing
            .then(() => backend('news_backend', 'publish',
                                { channel: 'events', message: event }))
            .catch((error) => console.error(`app: ${error.message}`));
    }
}


function noteOnline(event) {
    if (event.event === 'connected') {
        state.online[event.client] = event;

    } else if (event.event === 'disconnected') {
        delete state.online[event.client];

    } else if (event.event === 'lost') {
        for (const { client, worker } of Object.values(state.online)) {
            if (worker === event.worker) {
                delete state.online[client];
            }
        }
    }
}


/* -------------------------------------------------------------------- HTTP */

const paths = { __proto__: null, '/call': call, '/policy': policy,
                '/events': events };


/* who asks, as nginx says; the identity is escaped as in JSON, or not there */
function clientOf({ headers }) {
    const identity = headers['x-snorky-identity'];

    return {
        client: headers['x-snorky-client'],
        address: headers['x-snorky-remote-addr'],
        identity: identity === undefined ? null
            : JSON.parse(`"${Buffer.from(identity, 'latin1')}"`),
    };
}


/* [status, data]; no data: no body */
async function answerTo(request, gone) {
    try {
        if (paths[request.url] === undefined) {
            throw new Refused(404, 'No such thing');
        }

        const pieces = await request.toArray();
        const body = JSON.parse(Buffer.concat(pieces));
        const data = await paths[request.url](body, clientOf(request), gone);

        return data === undefined ? [204] : [200, data];

    } catch (error) {
        if (error instanceof Refused) {
            return [error.status, error.message];
        }

        if (!gone.aborted) {
            console.error(`app: ${request.url}: ${error.message}`);
        }

        return [500, 'The application has failed'];
    }
}


const server = http.createServer(async (request, response) => {
    const gone = new AbortController();

    response.on('close', () => gone.abort());

    const [status, data] = await answerTo(request, gone.signal);

    response.writeHead(status, { 'Content-Type': 'application/json' })
        .end(data === undefined ? '' : JSON.stringify(data));
});


/* longer than nginx keeps a connection, so that none is closed under it */
server.keepAliveTimeout = 75000;


function stop() {
    server.close();
    fs.rmSync(SOCKET, { force: true });
    process.exit();
}


if (fs.existsSync(STATE)) {
    Object.assign(state, JSON.parse(fs.readFileSync(STATE, 'utf8')));
}

process.on('SIGTERM', stop);

if (untilEof) {
    process.on('SIGINT', () => { /* a terminal's Ctrl-C is nginx's matter */ });
    process.stdin.on('end', stop).resume();
}

/* nginx's workers may be another user */
fs.rmSync(SOCKET, { force: true });
server.listen({ path: SOCKET, readableAll: true, writableAll: true });
