import { Dialer, original } from './dialer.js';
import { SnorkyError } from './error.js';
import { Link } from './link.js';
import { patient } from './patience.js';
import { disposeAll, Signal } from './signal.js';

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
    debug: false,
};

/* the original's client does no more than it is told to */
const ORIGINAL = {
    ...DEFAULTS, reconnect: false, resume: false, timeout: 0, silence: 0,
};


/* The client: services by name, over one connection. */
export class Snorky {
    #link;
    #dialer;
    #options;
    #queue = [];            /* what is said while there is no connection */
    #ready = [];
    #before = false;        /* whether there has been a connection */

    constructor(...args) {
        this.services = {};
        this.connected = new Signal();
        this.disconnected = new Signal();
        this.stateChanged = new Signal();
        this.resumed = new Signal();

        const services = isOriginal(args) ? this.#original(...args)
                                          : this.#current(...args);

        this.#link = new Link(this.#dialer, this.#options, {
            changed: (state) => this.#changed(state),
            ended: (state) => this.#ended(state),
            received: (text) => this.#received(text),
        });

        for (const [name, Class] of Object.entries(services)) {
            this.services[name] = new Class(name, this);
        }

        if (this.#options.autoConnect) {
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
        return this.#dialer.transport;
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
        this.#queue = [];

        this.#each('_holds', (holds) => holds.close());
        [this, ...Object.values(this.services)].forEach(disposeAll);
    }

    ready(options) {
        if (this.isConnected) {
            return Promise.resolve();
        }

        if (this._over) {
            return Promise.reject(this._over);
        }

        return patient(new Promise((resolve, reject) =>
            this.#ready.push({ resolve, reject })), options);
    }


    /* ------------------------------------------------------ for services */

    /* why there will be no answers, if so */
    get _over() {
        const { state, reason } = this.state;

        return state === 'refused' || state === 'closed'
               ? new SnorkyError(state, reason || `Connection ${state}`)
               : undefined;
    }

    get _resume() {
        return this.#options.resume;
    }

    get _timeout() {
        return this.#options.timeout;
    }

    get _socket() {
        return this.#link.socket;
    }

    _pause(failures) {
        return this.#link.pause(failures);
    }

    _sendServiceMessage(service, message) {
        const text = JSON.stringify({ service, message });

        if (this.#isWritable()) {
            this.#link.send(text);

        } else if (this.state.state !== 'closed') {
            this.#queue.push({ message, text });
        }
    }

    /* a message that was not sent yet won't be */
    _withdraw(message) {
        this.#queue = this.#queue.filter((said) => said.message !== message);
    }


    /* ------------------------------------------------------ construction */

    #original(socketClass, address, services, options) {
        this.socketClass = socketClass;
        this.address = address;
        this.#options = { ...ORIGINAL, ...options };
        this.#dialer = original(this);
        return services;
    }

    #current(url, services, options) {
        this.#options = { ...DEFAULTS, ...options };
        this.#dialer = new Dialer(url, this.#options);
        return services;
    }


    /* -------------------------------------------------------- connection */

    #changed(state) {
        this.#say('it is', state);

        if (this.isConnected) {
            this.#opened(state);
            return;
        }

        if (this._over) {
            this.#end(this._over);
        }

        this.stateChanged.dispatch(state);
    }

    /* first what was there before, then what the page has to say */
    #opened(state) {
        const first = !this.#before;
        const all = Promise.all(this.#each('_holds', (holds) =>
            holds.resume()));

        this.#before = true;
        this.#settle(({ resolve }) => resolve());
        this.stateChanged.dispatch(state);

        if (this.state === state) {
            this.connected.dispatch();
        }

        while (this.#queue.length > 0 && this.#isWritable()) {
            this.#link.send(this.#queue.shift().text);
        }

        all.then(() => {
            if (!first && this.state === state) {
                this.resumed.dispatch();
            }
        });
    }

    #ended(state) {
        this.#end(this._over ?? new SnorkyError('disconnected',
                                                'Connection closed'));
        this.#changed(state);
        this.disconnected.dispatch(state);
    }

    /* there won't be answers, unless to what is to be sent by the next one */
    #end(error) {
        const over = error.code !== 'disconnected';
        const unsent = new Set(over ? [] : this.#queue.map(messageOf));

        const ended = new Set(this.#each('_calls', (calls) =>
            calls.end(error, unsent)).flat());

        this.#queue = this.#queue.filter((said) => !ended.has(messageOf(said)));

        this.#each('_holds', (holds) => {
            if (over) {
                holds.stop(error);
            } else {
                holds.end(this._resume ? undefined : error);
            }
        });

        if (over) {
            this.#settle(({ reject }) => reject(error));
        }
    }

    #received(text) {
        let content;

        try {
            content = JSON.parse(text);

        } catch {
            /* said below */
        }

        const { service, message } = content ?? {};

        if (Object.hasOwn(this.services, service)) {
            this.services[service].packetReceived.dispatch(message);

        } else if (service !== '') {
            this.#say('ignored', text);
        }
    }

    #isWritable() {
        return this.isConnected && !(this.socket.readyState > OPEN);
    }

    /* what services keep for us, where they have it */
    #each(part, code) {
        return Object.values(this.services)
            .filter((service) => service[part])
            .map((service) => code(service[part]));
    }

    #settle(code) {
        this.#ready.splice(0).forEach(code);
    }

    #say(...what) {
        if (this.#options.debug) {
            console.debug('Snorky:', ...what);
        }
    }
}


function messageOf({ message }) {
    return message;
}


function isOriginal([first, second]) {
    return typeof first === 'function'
           && (typeof second === 'string' || second instanceof URL);
}
