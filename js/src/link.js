import { isRefusal, refusedStatus } from './refusal.js';

/* after so long, a connection has not failed, whatever follows */
const STOOD = 5000;

/* of failed handshakes in a row, the first one of so many is asked about */
const ASKED = 8;

/* the nameless service of every registry sends it back */
const PROBE = '{"service":"","message":0}';

const now = () => performance.now();


/*
 * The connection: one socket at a time, and when there is to be another.
 * Its owner is told of
 *
 *   changed(state)    each state
 *   ended(state)      likewise, when a socket has ended, or did not come about
 *   received(text)
 */
export class Link {
    state = { state: 'idle' };
    socket = null;

    #dialer;
    #options;
    #owner;
    #timer;
    #listening = new AbortController();

    #failures = 0;          /* connections in a row that did not stand */
    #unopened = 0;          /* handshakes in a row that failed */
    #address;
    #openedAt = null;
    #heardAt;
    #probing = false;

    constructor(dialer, options, owner) {
        this.#dialer = dialer;
        this.#options = options;
        this.#owner = owner;

        if (options.reconnect || options.silence) {
            this.#listen();
        }
    }

    connect() {
        if (!this.#is('connecting', 'open', 'closed')) {
            this.#leave('idle');
        }

        /* a listener may have done so */
        if (!this.#is('connecting', 'open', 'closed')) {
            this.#try();
        }
    }

    restart() {
        if (this.#is('connecting', 'open')) {
            this.#end({ state: 'waiting', code: 1000, reason: 'restart',
                        wait: 0 });

        } else if (this.#is('waiting')) {
            this.#try();
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
        if (!this.#is('closed')) {
            this.#listening.abort();
            this.#leave('closed');
        }

        if (!this.#is('closed')) {
            this.#set({ state: 'closed' });
        }
    }

    send(text) {
        this.socket.send(text);
    }

    /* full jitter, so that those who were cut off together come one by one */
    pause(failures) {
        const { minWait, maxWait } = this.#options;

        return Math.random() * Math.min(maxWait, minWait * 2 ** failures);
    }


    /* ------------------------------------------------------- connecting */

    #try() {
        const attempt = { state: 'connecting' };

        const current = (code) => (value) => {
            if (this.state === attempt) {
                code(value);
            }
        };

        const dial = current((address) => this.#dial(address));
        const fail = current((error) => this.#lost(1006, textOf(error)));

        this.#set(attempt);
        this.#timer = setTimeout(
            current(() => this.#lost(1006, 'no connection in time')),
            this.#options.connectTimeout);

        try {
            const address = this.#dialer.address();

            if (typeof address?.then === 'function') {
                address.then(dial, fail);
            } else {
                dial(address);
            }

        } catch (error) {
            fail(error);
        }
    }

    #dial(address) {
        let socket;

        this.#address = address;

        try {
            socket = this.#dialer.open(address);

        } catch (error) {
            /* no such address, and there won't be */
            this.#end({ state: this.#options.reconnect ? 'refused' : 'idle',
                        code: 1006, reason: textOf(error), wasOpen: false });
            return;
        }

        this.socket = socket;
        socket.onopen = () => this.#opened();
        socket.onmessage = (event) => this.#received(event.data);
        socket.onclose = (event) => this.#closed(event ?? {});
        socket.onerror = () => {};      /* onclose follows */
    }

    #opened() {
        if (!this.#is('connecting')) {
            return;             /* it is being closed */
        }

        this.#openedAt = this.#heardAt = now();
        this.#unopened = 0;
        this.#dialer.opened();
        this.#set({ state: 'open' });

        if (this.#is('open')) {
            this.#watch();
        }
    }


    /* ----------------------------------------------------------- ending */

    #closed({ code = 1006, reason = '' }) {
        const { reconnect } = this.#options;
        const wasOpen = this.#openedAt !== null;

        if (reconnect && !this.#is('idle') && isRefusal(code, reason)) {
            this.#end({ state: 'refused', code, reason, wasOpen });
            return;
        }

        this.#lost(code, reason, !wasOpen);
    }

    /* whether to ask by HTTP is known of a handshake that was answered */
    #lost(code, reason, answered) {
        const wasOpen = this.#openedAt !== null;

        if (this.#is('idle') || !this.#options.reconnect) {
            this.#end({ state: 'idle', code, reason, wasOpen });
            return;
        }

        const asking = answered ? this.#ask() : undefined;

        this.#end({ state: 'waiting', code, reason, wasOpen,
                    wait: this.#wait(code, reason, wasOpen) }, asking);
    }

    #wait(code, reason, wasOpen) {
        if (wasOpen && now() - this.#openedAt >= STOOD) {
            this.#failures = 0;
        }

        const first = this.#failures === 0;
        const pause = this.pause(this.#failures++);

        if (isOffline()) {
            return Infinity;
        }

        if (!wasOpen && this.#dialer.failed()) {
            return 0;
        }

        return code === 1012 && first ? Math.random() * spreadOf(reason)
                                      : pause;
    }

    #ask() {
        const page = this.#unopened++ % ASKED === 0
                     && this.#dialer.page(this.#address);

        return page ? refusedStatus(page, this.#options.connectTimeout)
                    : undefined;
    }

    /* there is no socket after this */
    #end(state, asking) {
        const { socket } = this;

        this.socket = null;
        this.#openedAt = null;
        this.#probing = false;

        if (socket !== null) {
            socket.onopen = socket.onmessage = socket.onclose = null;
            socket.close();
        }

        this.#enter(state);

        if (state.state === 'waiting') {
            this.#sleep(state, asking);
        }

        this.#owner.ended(state);
    }

    /* gives up a socket that is there still */
    #leave(state) {
        if (this.socket !== null || this.#is('connecting')) {
            this.#end({ state, code: 1000, reason: '',
                        wasOpen: this.#openedAt !== null });
        }
    }


    /* ---------------------------------------------------------- waiting */

    #sleep(state, asking) {
        const { maxWait } = this.#options;

        this.#timer = setTimeout(async () => {
            await asking;

            if (this.state === state) {
                this.#try();
            }
        }, state.wait === Infinity ? maxWait : state.wait);

        asking?.then((status) => {
            if (status !== undefined && this.state === state) {
                const { wait, ...end } = state;

                this.#set({ ...end, state: 'refused', status });
            }
        });
    }

    #listen() {
        const { signal } = this.#listening;
        const wake = () => this.#wake();

        const on = (target, type, code) =>
            target?.addEventListener?.(type, code, { signal });

        on(globalThis, 'online', wake);
        on(globalThis, 'offline', () => this.#offline());
        on(globalThis, 'pageshow', ({ persisted }) => persisted && wake());
        on(globalThis.document, 'visibilitychange', () =>
            globalThis.document.visibilityState === 'visible' && wake());
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
        if (this.#is('waiting') && this.state.wait !== Infinity) {
            const state = { ...this.state, wait: Infinity };

            this.#enter(state);
            this.#sleep(state);
            this.#owner.changed(state);
        }
    }


    /* ------------------------------------------------------ a dead link */

    #received(text) {
        this.#heardAt = now();

        if (this.#probing) {
            this.#probing = false;
            this.#watch();
        }

        this.#owner.received(text);
    }

    /* one timer looks at times; messages cost none */
    #watch() {
        const { silence } = this.#options;
        const rest = this.#heardAt + silence - now();

        clearTimeout(this.#timer);

        if (silence > 0) {
            this.#timer = setTimeout(() => {
                if (now() < this.#heardAt + silence) {
                    this.#watch();
                } else {
                    this.#probe();
                }
            }, rest);
        }
    }

    #probe() {
        const { silence, probeTimeout } = this.#options;

        if (silence > 0 && !this.#probing) {
            this.#probing = true;
            this.send(PROBE);

            clearTimeout(this.#timer);
            this.#timer = setTimeout(
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
        this.#owner.changed(state);
    }
}


function isOffline() {
    return globalThis.navigator?.onLine === false;
}


/* the server's: "service restart; spread=1000" */
function spreadOf(reason) {
    return Number(/; spread=(\d+)$/.exec(reason)?.[1] ?? 0);
}


function textOf(error) {
    return String(error?.message ?? error);
}
