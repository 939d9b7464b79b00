/*
 * The connection of a page to nginx, and nothing that a page shows: keeps one
 * socket open, a WebSocket or one of SockJS, and speaks the RPC of Snorky over
 * it.  Its owner makes the sockets, with webSocket() or sockJS() below, and is
 * told of what happens:
 *
 *   dial()                      a new socket
 *   onstate(state, detail)      "connecting", "open" or "waiting"; the latter
 *                               with { code, reason, wait, wasOpen }
 *   onopen(worker, transport)   after each connect; the worker's number, or
 *                               null, and SockJS's transport, or null
 *   onnotify(service, content)  a message that answers no call
 */

const FIRST_WAIT = 250;
const LONGEST_WAIT = 10000;
const CONNECT_TIMEOUT = 10000;

/* a worker past these is not offered, and so stays unknown to the page */
const WORKERS_OFFERED = 64;

export const CLOSE_TEXTS = {
    1000: 'closed',
    1001: 'the server stopped',
    1006: 'the connection was lost',
    1007: 'text was not UTF-8',
    1009: 'the message was too large',
    1011: 'a ping was not answered',
    1012: 'the server restarts',
    1013: 'this window was too slow',
    2000: 'this transport does not work here',
    4001: 'admin closed it',
};


export class Connection {

    constructor(owner) {
        this.owner = owner;
        this.calls = new Map();
        this.callId = 0;
        this.failures = 0;
        this.opened = false;
        this.socket = null;
        this.timer = null;
    }

    get open() {
        return this.socket !== null
               && this.socket.readyState === WebSocket.OPEN;
    }

    connect() {
        clearTimeout(this.timer);
        this.owner.onstate('connecting');

        const socket = this.owner.dial();

        this.socket = socket;
        this.timer = setTimeout(() => this.drop(), CONNECT_TIMEOUT);

        socket.onopen = () => {
            clearTimeout(this.timer);
            this.failures = 0;
            this.opened = true;
            this.owner.onstate('open');
            this.owner.onopen(workerOf(socket), socket.transport ?? null);
        };

        socket.onmessage = (event) => this.receive(event.data);

        socket.onclose = (event) => {
            if (socket === this.socket) {
                this.closed(event.code, event.reason);
            }
        };
    }

    /* gives the socket up and goes on as if it had been lost */
    drop() {
        if (this.abandon(undefined)) {
            this.closed(1006, '');
        }
    }

    /* another connection at once, asked for by the user */
    reconnect() {
        if (this.abandon(1000)) {
            this.fail(new Error('Connection closed'));
        }

        this.connect();
    }

    /* does not wait any longer, if it was waiting */
    hurry() {
        if (this.socket === null) {
            this.connect();
        }
    }

    /* nothing is heard of a socket after this; was there one? */
    abandon(code) {
        const socket = this.socket;

        if (socket === null) {
            return false;
        }

        this.socket = null;
        socket.onopen = socket.onmessage = socket.onclose = null;
        socket.close(code);
        return true;
    }

    closed(code, reason) {
        this.socket = null;
        clearTimeout(this.timer);
        this.fail(new Error('Connection closed'));

        const wasOpen = this.opened;

        this.opened = false;

        /*
         * 1012: nginx was reloaded and asks us to come back; it has spread
         * these closes over time itself, so there is no reason to wait.
         */
        const wait = (code === 1012 && wasOpen) ? 0 : backOff(this.failures);

        this.failures += 1;
        this.owner.onstate('waiting', { code, reason, wait, wasOpen });
        this.timer = setTimeout(() => this.connect(), wait);
    }

    fail(error) {
        const calls = [...this.calls.values()];

        this.calls.clear();
        for (const call of calls) {
            call.reject(error);
        }
    }

    /*
     * Asks a service.  The promise has the answer's data, or is rejected with
     * what the service says, or when the connection ends before.
     */
    call(service, command, params) {
        if (!this.open) {
            return Promise.reject(new Error('Not connected'));
        }

        return new Promise((resolve, reject) => {
            const callId = ++this.callId;

            this.calls.set(callId, { resolve, reject });
            this.socket.send(JSON.stringify({
                service, message: { command, params, callId },
            }));
        });
    }

    receive(data) {
        const { service, message } = JSON.parse(data);

        if (message.type !== 'response' && message.type !== 'error') {
            this.owner.onnotify(service, message);
            return;
        }

        const call = this.calls.get(message.callId);

        if (call === undefined) {
            return;
        }

        this.calls.delete(message.callId);

        if (message.type === 'response') {
            call.resolve(message.data);
        } else {
            call.reject(new Error(message.message));
        }
    }
}


/* a quarter of a second, then twice as long each time, up to 10 s */
export function backOff(failures) {
    const most = Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** failures);

    return most / 2 + Math.random() * most / 2;
}


/* offers all that the worker may answer with, see demo/nginx.conf */
export function webSocket(path) {
    const offers = Array.from({ length: WORKERS_OFFERED },
                              (_, n) => `worker.${n}`);

    return new WebSocket(location.origin.replace('http', 'ws') + path, offers);
}


/* null where a page's sockjs-client could not be loaded */
export const SockJS = globalThis.SockJS ?? null;


/* by the first of these transports that works, or of all if there are none */
export function sockJS(path, transports) {
    return new SockJS(path, null, { transports });
}


/* its number is the subprotocol; SockJS has none */
function workerOf({ protocol }) {
    const found = /^worker\.([0-9]+)$/.exec(protocol);

    return found === null ? null : Number(found[1]);
}
