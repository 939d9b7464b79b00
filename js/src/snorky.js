import { SnorkyError } from './error.js';
import { Link } from './link.js';
import { deferred, patient } from './promise.js';
import { disposeAll, Signal } from './signal.js';
import { transportOf, transportsOf } from './transports.js';

const OPEN = 1;           /* of a socket's states */

const DEFAULTS = {
    sockjsUrl: '/sockjs',
    autoConnect: true,
    reconnect: true,
    resume: true,
    minWait: 500,
    maxWait: 20000,
    connectTimeout: 10000,
    timeout: 30000,
    silence: 25000,
    probeTimeout: 5000,
};

/* the original's client does no more than it is told to */
const ORIGINAL = {
    reconnect: false, resume: false, timeout: 0, silence: 0,
};


/* The client: services by name, over one connection. */
export class Snorky {
    #link;
    #before = false;        /* whether there has been a connection */

    constructor(...args) {
        const original = isOriginal(args);
        const [url, services, options] = original ? args.slice(1) : args;

        if (original) {
            [this.socketClass, this.address] = args;
        }

        this._options = { ...DEFAULTS, ...original && ORIGINAL, ...options };
        this._queue = new Map();    /* what is said before it can be sent */
        this.services = {};
        this.connected = new Signal();
        this.disconnected = new Signal();
        this.stateChanged = new Signal();
        this.resumed = new Signal();

        this.#link = new Link(original ? [transportOf(this)]
                                       : transportsOf(url, this._options),
                              this._options, this);

        for (const name in services) {
            this.services[name] = new services[name](name, this);
        }

        if (this._options.autoConnect) {
            this.connect();
        }
    }

    get state() {
        return this.#link.state;
    }

    get isConnected() {
        return this.state.state === 'open';
    }

    get isConnecting() {
        return this.state.state === 'connecting';
    }

    get socket() {
        return this.isConnected ? this.#link.socket : null;
    }

    get transport() {
        return this.#link.transports[0].name;
    }

    connect() {
        this.#link.connect();
    }

    restart() {
        this.#link.restart();
    }

    disconnect() {
        this.#link.disconnect();
    }

    close() {
        this.#link.close();
        this.#each((calls) => calls.close());
        [this, ...Object.values(this.services)].forEach(disposeAll);
    }

    async ready(options = {}) {
        const ready = deferred();

        const look = () => {
            if (this.isConnected) {
                ready.resolve();

            } else if (this._over) {
                ready.reject(this._over);
            }
        };

        const binding = this.stateChanged.add(look, undefined, Infinity);

        look();
        await patient(ready.promise, options, ready.reject)
            .finally(binding.detach);
    }


    /* ------------------------------------------------------ for services */

    /* why there will be no answers, if so */
    get _over() {
        const { state, reason } = this.state;

        return state === 'refused' || state === 'closed'
               ? new SnorkyError(state, reason || `Connection ${state}`)
               : undefined;
    }

    get _socket() {
        return this.#link.socket;
    }

    _sendServiceMessage(service, message) {
        const text = JSON.stringify({ service, message });

        if (this.#isWritable()) {
            this.#link.socket.send(text);

        } else if (!this._over) {
            /* by the message itself, but if it is there or is no object */
            this._queue.set(this._queue.has(message) ? {} : Object(message),
                            text);
        }
    }


    /* ----------------------------------------------------- for the link */

    _changed(state) {
        if (this.isConnected) {
            this.#opened(state);
            return;
        }

        if (this._over) {
            this.#end(this._over);
            this._queue.clear();
        }

        this.stateChanged.dispatch(state);
    }

    /* first what was there before, then what the page has to say */
    #opened(state) {
        const first = !this.#before;
        const all = Promise.all(this.#each((calls) => calls.resume()));

        this.#before = true;
        this.stateChanged.dispatch(state);

        if (this.state === state) {
            this.connected.dispatch();
        }

        for (const [message, text] of this._queue) {
            if (this.#isWritable()) {
                this._queue.delete(message);
                this.#link.socket.send(text);
            }
        }

        all.then(() => {
            if (!first && this.state === state) {
                this.resumed.dispatch();
            }
        });
    }

    _ended(state) {
        if (!this._over) {
            this.#end(new SnorkyError('disconnected', 'Connection closed'));
        }

        this._changed(state);
        this.disconnected.dispatch(state);
    }

    #end(error) {
        this.#each((calls) => calls.end(error));
    }

    _received(text) {
        let content;

        try {
            content = JSON.parse(text);

        } catch {
            /* ignored below */
        }

        const service = this.services[content?.service];

        service?.packetReceived?.dispatch(content.message);
    }

    #isWritable() {
        return this.isConnected && !(this.socket.readyState > OPEN);
    }

    #each(code) {
        return Object.values(this.services)
            .flatMap(({ _calls }) => _calls ? [code(_calls)] : []);
    }
}


function isOriginal([first, second]) {
    return typeof first === 'function'
           && (typeof second === 'string' || second instanceof URL);
}
