import { SnorkyError } from './error.js';
import { key } from './key.js';
import { patient } from './patience.js';
import { Stream } from './stream.js';

/* what may be gone the next time; the first of these is another client's */
const TAKEN = 'Name already registered';
const PASSING = [
    TAKEN, 'Not joined', 'Overloaded', 'Authorization failed', 'Timed out',
    'Too many calls', 'Internal error',
];


/*
 * What a client holds of one service: channels, names, documents.  Each is had
 * by one call, once, for all who want it: the page itself, and loops.  When
 * the client resumes, each connection makes the call anew.
 *
 * A kind of these is { take, free, none }: two commands, and what the server
 * says to the second where there is nothing to be freed.
 */
export class Holds {
    #service;
    #all = new Map();

    constructor(service) {
        this.#service = service;
    }

    get(kind, value) {
        return this.#all.get(kind.take + key(value));
    }

    /* for the page */
    take(kind, value, params, options) {
        const { snorky } = this.#service;
        let hold = this.get(kind, value);

        if (options?.signal?.aborted) {
            return Promise.reject(options.signal.reason);
        }

        if (hold?.explicit) {
            return this.#service.rpcCall(kind.take, params, options);
        }

        hold ??= this.#add(kind, value, params);
        hold.explicit = true;

        const promise = hold.held ? Promise.resolve(hold.data) : hold.promise;

        return patient(promise, { timeout: snorky._timeout, ...options }, () => {
            hold.explicit = false;
            this.#leave(hold);
        });
    }

    free(kind, value, params, options) {
        const hold = this.get(kind, value);

        if (hold?.streams.size > 0) {
            return this.#letGo(hold);
        }

        if (hold === undefined) {
            return this.#service.rpcCall(kind.free, params, options);
        }

        return this.#end(hold, params, options);
    }

    /* what a loop reads; it is told by tell() */
    stream(kind, value, params, options) {
        let hold;

        const open = (stream) => {
            hold = this.get(kind, value) ?? this.#add(kind, value, params);
            hold.streams.add(stream);
        };

        return new Stream(options, open, (stream) => {
            if (hold?.streams.delete(stream)) {
                this.#leave(hold);
            }
        });
    }

    tell(kind, value, message) {
        for (const stream of [...this.get(kind, value)?.streams ?? []]) {
            stream.push(message);
        }
    }

    /* resolved when all is held again */
    resume() {
        return Promise.all([...this.#all.values()].map((hold) =>
            hold.busy || this.#call(hold)));
    }

    /* nothing is held at present; without an error, the client resumes */
    end(error) {
        for (const hold of [...this.#all.values()]) {
            clearTimeout(hold.timer);
            hold.tries = 0;

            if (error && !hold.busy) {
                this.#fail(hold, error);
            }
        }
    }

    /* loops end, with an error or without one */
    endLoops(error) {
        for (const hold of [...this.#all.values()]) {
            for (const stream of [...hold.streams]) {
                stream.end(error);
            }
        }
    }

    #add(kind, value, params) {
        const id = kind.take + key(value);
        const hold = { id, kind, params, explicit: false, held: false,
                       streams: new Set(), tries: 0,
                       abort: new AbortController() };

        hold.promise = new Promise((resolve, reject) =>
            Object.assign(hold, { resolve, reject }));
        hold.promise.catch(() => {});

        this.#all.set(id, hold);
        this.#call(hold);
        return hold;
    }

    /* resolved when it is held, or lost */
    async #call(hold) {
        const { kind: { take }, params } = hold;

        hold.busy = true;

        try {
            const data = await this.#service.rpcCall(take, params,
                { timeout: 0, signal: hold.abort.signal });

            hold.busy = false;
            this.#held(hold, data);

        } catch (error) {
            hold.busy = false;
            await this.#refused(hold, error);
        }
    }

    #held(hold, data) {
        const again = hold.held;

        Object.assign(hold, { held: true, data, tries: 0 });
        hold.resolve(data);

        if (again && this.#has(hold)) {
            this.#tellOf(hold, 'resumed', { data });
        }
    }

    #refused(hold, error) {
        const { snorky } = this.#service;
        const resumes = this.#resumes(error);

        if (!this.#has(hold)) {
            resumes ? hold.resolve(null) : hold.reject(error);
            return;
        }

        if (resumes || (hold.held && error.code !== 'rpc')) {
            return;                 /* the next connection calls again */
        }

        if (!hold.held || !PASSING.includes(error.message)) {
            this.#fail(hold, error);
            return;
        }

        const again = new Promise((resolve) => {
            hold.timer = setTimeout(() => resolve(this.#call(hold)),
                                    snorky._pause(hold.tries++));
        });

        return error.message === TAKEN ? undefined : again;
    }

    /* it is over */
    #fail(hold, error) {
        this.#all.delete(hold.id);
        clearTimeout(hold.timer);
        hold.reject(error);

        for (const stream of [...hold.streams]) {
            hold.streams.delete(stream);
            stream.end(error);
        }

        if (hold.held && error.code === 'rpc') {
            this.#tellOf(hold, 'lost', { error });
        }
    }

    #tellOf({ kind, params }, signal, more) {
        this.#service[signal].dispatch({ command: kind.take, params, ...more });
    }

    #has(hold) {
        return this.#all.get(hold.id) === hold;
    }

    #resumes(error) {
        return error.code === 'disconnected' && this.#service.snorky._resume;
    }

    /* the page frees what loops hold */
    async #letGo(hold) {
        if (!hold.explicit) {
            throw new SnorkyError('rpc', hold.kind.none);
        }

        hold.explicit = false;
        return null;
    }

    /* one who wanted it does not any longer */
    #leave(hold) {
        if (hold.explicit || hold.streams.size > 0 || !this.#has(hold)) {
            return;
        }

        if (!hold.held && !this.#service.snorky.isConnected) {
            this.#all.delete(hold.id);
            hold.abort.abort();     /* it was not sent yet */

        } else {
            this.#end(hold, hold.params).catch(() => {});
        }
    }

    /* nothing of it is left when the connection ends */
    async #end(hold, params, options) {
        const { snorky } = this.#service;

        this.#all.delete(hold.id);
        clearTimeout(hold.timer);

        if (snorky._resume && !snorky.isConnected
            && (hold.held || !hold.busy))
        {
            hold.resolve(null);
            return null;
        }

        try {
            return await this.#service.rpcCall(hold.kind.free, params, options);

        } catch (error) {
            if (!this.#resumes(error)) {
                throw error;
            }

            return null;
        }
    }
}
