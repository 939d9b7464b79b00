/*
 * Where to connect to, and how: a list of
 *
 *   name             'websocket', 'sockjs'
 *   url              an address, or what gives one, or a promise of one
 *   open(address)    a socket
 *   page(address)    what a plain GET may be sent to; SockJS has sent some
 *
 * The first is tried first.
 */
export function transportsOf(url, options) {
    const { WebSocket = globalThis.WebSocket, SockJS } = options;
    const all = [];

    if (WebSocket) {
        all.push({
            name: 'websocket',
            url,
            open: (address) =>
                new WebSocket(absolute(address), options.protocols),
            page: (address) => absolute(address).replace('ws', 'http'),
        });
    }

    if (SockJS) {
        all.push({
            name: 'sockjs',
            url: options.sockjsUrl,
            open: (address) =>
                new SockJS(String(address), null, options.sockjsOptions),
        });
    }

    if (options.transport === 'sockjs') {
        all.reverse();
    }

    if (all.length === 0) {
        throw new Error('No WebSocket here');
    }

    return all;
}


/* the original's: the class and the address are the client's own fields */
export function transportOf(client) {
    return {
        name: 'websocket',

        get url() {
            return client.address;
        },

        open: (address) => new client.socketClass(address),
    };
}


function absolute(address) {
    const { href, origin } = globalThis.location ?? {};
    const base = /^http/.test(href) ? href : origin;

    if (!base && /^[./?]/.test(address)) {
        throw new Error('A relative URL needs a page');
    }

    const url = new URL(address, base);

    url.protocol = url.protocol.replace('http', 'ws');
    return url.href;
}
