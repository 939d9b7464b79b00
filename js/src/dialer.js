/*
 * Where to connect to, and by which transport.  Where both are given, one is
 * tried after the other until one of them connects.
 */
export class Dialer {
    #transports = [];
    #changed = false;

    constructor(url, options) {
        const { WebSocket = globalThis.WebSocket, SockJS } = options;

        if (WebSocket) {
            this.#transports.push({
                name: 'websocket',
                url,
                open: (at) => new WebSocket(absolute(at), options.protocols),
                page: (at) => absolute(at).replace(/^ws/, 'http'),
            });
        }

        if (SockJS) {
            this.#transports.push({
                name: 'sockjs',
                url: options.sockjsUrl,
                open: (at) => new SockJS(String(at), null,
                                         options.sockjsOptions),
            });
        }

        if (!this.#transports.length) {
            throw new TypeError('No WebSocket here: give one as an option');
        }

        if (options.transport === 'sockjs') {
            this.#change();
        }
    }

    get transport() {
        return this.#transports[0].name;
    }

    /* an address, or a promise of one */
    address() {
        const { url } = this.#transports[0];

        return typeof url === 'function' ? url() : url;
    }

    open(address) {
        return this.#transports[0].open(address);
    }

    /* what a plain GET may be sent to; none for SockJS, which has sent some */
    page(address) {
        return this.#transports[0].page?.(address);
    }

    opened() {
        this.#changed = false;
    }

    /* whether there is another to be tried at once */
    failed() {
        const first = !this.#changed && this.#transports.length > 1;

        this.#changed = true;
        this.#change();
        return first;
    }

    #change() {
        this.#transports.reverse();
    }
}


/* the original's: the class and the address are the client's own fields */
export function original(client) {
    return {
        transport: 'websocket',
        address: () => client.address,
        open: (address) => new client.socketClass(address),
        page() {},
        opened() {},
        failed: () => false,
    };
}


function absolute(address) {
    const { href, origin } = globalThis.location ?? {};
    const url = new URL(address, /^http/.test(href) ? href : origin);

    url.protocol = url.protocol.replace('http', 'ws');
    url.hash = '';
    return url.href;
}
