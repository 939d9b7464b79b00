/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * What a client does in each place that it can be loaded in: pages and workers
 * have this file, see t/browser/js.js.
 */

'use strict';

/* a client goes, says what it has seen, and is closed */
globalThis.trip = async (Snorky, url, options) => {
    const client = new Snorky(url, { pubsub: Snorky.PubSub }, options);
    const { pubsub } = client.services;
    const channel = { of: Math.random() };
    const got = [];

    const reading = (async () => {
        for await (const message of pubsub.channel(channel)) {
            got.push(message);

            if (message === 'last') {
                break;
            }
        }
    })();

    await pubsub.publish({ channel, message: { first: ['\u2603', null] } });
    await pubsub.channel(channel).publish('last');
    await reading;

    const error = await pubsub.unsubscribe({ channel }).catch((e) => e);
    const { transport } = client;
    const address = client.socket.url;

    client.close();

    return {
        got, transport, address,
        error: [String(error), error.code, error instanceof Error],
        state: client.state.state,
    };
};


/* for a worker's own file: trips, and a client that stays */
globalThis.serve = (Snorky, port) => {
    const say = (kind, value) => port.postMessage({ kind, value });

    self.addEventListener('unhandledrejection', ({ reason }) =>
        say('wrong', String(reason)));

    port.onmessage = async ({ data: { go, stay } }) => {
        if (go) {
            say('trip', await trip(Snorky, go));
            return;
        }

        const client = new Snorky(stay, { pubsub: Snorky.PubSub });

        client.stateChanged.add(({ state, code }) => say('state',
            code === undefined ? state : `${state} ${code}`));

        for await (const m of client.services.pubsub.channel('stay')) {
            say('message', m);
        }
    };
};
