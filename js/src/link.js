import { later } from './promise.js';
import { isRefusal, refusedStatus } from './refusal.js';

/* after so long, a connection has not failed, whatever follows */
const STOOD = 5000;

/*
 * Of failed handshakes in a row, the first one of so many is asked about, and
 * the last one makes us try the other transport, whatever it was before.
 */
const ASKED = 8;

/* the nameless service of every registry sends it back */
const PROBE = '{"service":"","message":0}';

const now = () => performance.now();


/*
 * The connection: one socket at a time, and when there is to be another.
 * Its owner is told of
 *
 *   _changed(state)   each state
 *   _ended(state)     likewise, when a socket has ended, or did not come about
 *   _received(text)
 */
export class Link {
    state = { state: 'idle' };
    socket = null;

    #options;
    #owner;
    #timer;
    #listening = new AbortController();

    #failures = 0;          /* connections in a row that did not stand */
    #unopened = 0;          /* handshakes in a row that failed */
    #asked = 0;             /* those that were to be asked about */
    #address;
    #openedAt = null;
    #heardAt;
    #probing = false;

    constructor(transports, options, owner) {
        this.transports = transports;
        this.#options = options;
        this.#owner = owner;

        if (options.reconnect || options.silence) {
            this.#listen();
        }
    }

    connect() {
        if (this.#is('idle')) {
            this.#leave('idle');
        }

        /* a listener may have done so */
        if (this.#is('idle', 'waiting', 'refused')) {
            this.#failures = this.#unopened = this.#asked = 0;
            this.#try();
        }
    }

    restart() {
        if (this.#is('waiting')) {
            this.#try();

        } else if (this.#is('connecting', 'open')) {
            this.#end('waiting', 1000, '', { wait: 0 });
        }
    }

    /* the socket is listened to until it has closed */
    disconnect() {
        if (!this.#is('idle', 'closed')) {
            this.#set({ state: 'idle' });
            this.socket?.close();
        }
    }

    close() {
        this.#listening.abort();
        this.#leave('closed');

        if (!this.#is('closed')) {
            this.#set({ state: 'closed' });
        }
    }


    /* ------------------------------------------------------- connecting */

    #try() {
        const attempt = { state: 'connecting' };

        const dial = (address) =>
            this.state === attempt && this.#dial(address);

        const fail = (error) =>
            this.state === attempt && this.#lost(1006, textOf(error));

        this.#enter(attempt);
        this.#timer = later(() => fail('No answer in time'),
                            this.#options.connectTimeout);
        this.#owner._changed(attempt);

        const { url } = this.transports[0];

        if (typeof url === 'function') {
            (async () => url())().then(dial, fail);
        } else {
            dial(url);
        }
    }

    #dial(address) {
        let socket;

        try {
            socket = this.transports[0].open(address);

        } catch (error) {
            /* no such address, and there won't be */
            this.#end('refused', 1006, textOf(error));
            return;
        }

        this.socket = socket;
        this.#address = address;

        socket.onopen = () => this.#opened();
        socket.onmessage = ({ data }) => this.#received(data);
        socket.onerror = () => {};      /* onclose follows */
        socket.onclose = ({ code = 1006, reason = '' } = {}) =>
            this.#lost(code, reason, this.#openedAt === null);
    }

    #opened() {
        if (!this.#is('connecting')) {
            return;             /* it is being closed */
        }

        this.#openedAt = this.#heardAt = now();
        this.#unopened = this.#asked = 0;
        this.transports[0].opened = true;
        this.#enter({ state: 'open' });
        this.#watch();
        this.#owner._changed(this.state);
    }


    /* ----------------------------------------------------------- ending */

    /* "answered": the server may be asked why there is no connection */
    #lost(code, reason, answered) {
        const { page } = this.transports[0];

        if (this.#is('idle') || !this.#options.reconnect) {
            this.#end('idle', code, reason);

        } else if (isRefusal(code, reason)) {
            this.#end('refused', code, reason);

        } else {
            const wait = this.#wait(code, reason);

            this.#end('waiting', code, reason, { wait },
                      answered && page && this.#asked++ % ASKED === 0
                      && refusedStatus(page(this.#address),
                                       this.#options.connectTimeout));
        }
    }

    #wait(code, reason) {
        if (now() - (this.#openedAt ?? Infinity) >= STOOD) {
            this.#failures = 0;
        }

        const wait = code === 1012 && this.#failures === 0
                     ? Math.random() * spreadOf(reason)
                     : pauseOf(this.#options, this.#failures);

        this.#failures += 1;

        if (this.#openedAt !== null) {
            return this.#online(wait);
        }

        const { opened } = this.transports[0];

        this.#unopened += 1;

        /* one that has worked is seldom to blame */
        if (!opened || this.#unopened % ASKED === 0) {
            this.transports.reverse();
        }

        /* another transport is tried at once, the first time */
        return this.#online(!opened && this.#unopened < this.transports.length
                            ? 0 : wait);
    }

    #online(wait) {
        return globalThis.navigator?.onLine === false ? Infinity : wait;
    }

    /* there is no socket after this */
    #end(name, code, reason, more, asking) {
        const { socket } = this;
        const state = { state: name, code, reason, ...more,
                        wasOpen: this.#openedAt !== null };

        this.socket = null;
        this.#openedAt = null;
        this.#probing = false;

        if (socket !== null) {
            socket.onopen = socket.onmessage = socket.onclose = null;
            socket.close();
        }

        this.#enter(state);
        this.#sleep(state, asking);
        this.#owner._ended(state);
    }

    /* gives up a socket that is there still */
    #leave(state) {
        if (this.socket !== null || this.#is('connecting')) {
            this.#end(state, 1000, '');
        }
    }


    /* ---------------------------------------------------------- waiting */

    async #sleep(state, asking) {
        const { wait, ...end } = state;

        if (wait === undefined) {
            return;
        }

        this.#timer = later(async () => {
            await asking;
            this.state === state && this.#try();
        }, wait === Infinity ? this.#options.maxWait : wait);

        const status = await asking;

        if (status && this.state === state) {
            this.#set({ ...end, state: 'refused', status });
        }
    }

    #listen() {
        const { signal } = this.#listening;
        const { document } = globalThis;
        const wake = () => this.#wake();

        const on = (target, type, code) =>
            target?.addEventListener?.(type, code, { signal });

        on(globalThis, 'online', wake);
        on(globalThis, 'offline', () => this.#offline());
        on(globalThis, 'pageshow', ({ persisted }) => persisted && wake());
        on(document, 'visibilitychange', () => document.hidden || wake());
    }

    /* it may well work now, or not any longer */
    #wake() {
        if (this.#is('waiting')) {
            this.#try();

        } else if (this.#is('open')) {
            this.#probe();
        }
    }

    /* what a device says of its network is not to be trusted for ever */
    #offline() {
        if (this.#is('waiting')) {
            const state = { ...this.state, wait: Infinity };

            this.#set(state);
            this.#sleep(state);
        }
    }


    /* ------------------------------------------------------ a dead link */

    #received(text) {
        this.#heardAt = now();

        if (this.#probing) {
            this.#probing = false;
            this.#watch();
        }

        this.#owner._received(text);
    }

    /* one timer looks at times; messages cost none */
    #watch() {
        const { silence } = this.#options;
        const rest = this.#heardAt + silence - now();

        clearTimeout(this.#timer);

        if (rest <= 0) {
            this.#probe();

        } else {
            this.#timer = later(() => this.#watch(), rest);
        }
    }

    #probe() {
        const { silence, probeTimeout } = this.#options;

        if (silence > 0 && !this.#probing) {
            this.#probing = true;
            this.socket.send(PROBE);

            clearTimeout(this.#timer);
            this.#timer = later(
                () => this.#lost(1006, 'no answer to a probe'), probeTimeout);
        }
    }


    /* ----------------------------------------------------------- states */

    #is(...states) {
        return states.includes(this.state.state);
    }

    #enter(state) {
        clearTimeout(this.#timer);
        this.state = state;
    }

    #set(state) {
        this.#enter(state);
        this.#owner._changed(state);
    }
}


/* full jitter, so that those who were cut off together come one by one */
export function pauseOf({ minWait, maxWait }, failures) {
    return Math.random() * Math.min(maxWait, minWait * 2 ** failures);
}


/* the server's: "service restart; spread=1000" */
function spreadOf(reason) {
    return Number(/; spread=(\d+)$/.exec(reason)?.[1] ?? 0);
}


function textOf(error) {
    return `${error?.message ?? error}`;
}
