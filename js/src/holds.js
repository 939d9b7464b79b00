import { SnorkyError } from './error.js';
import { key } from './key.js';
import { patient } from './patience.js';
import { disposeAll } from './signal.js';
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
 * A kind of these is
 *
 *   take, free             two commands
 *   none                   what the server says to the second in vain
 *   held(hold, data)       what is made of the answer, if not the data itself
 *   call(hold, signal)     a promise of the answer, if it takes more than one
 *                          call; whatever it is rejected with, it is tried
 *                          again
 */
export class Holds {
    #service;
    #all = new Map();

    constructor(service) {
        this.#service = service;
    }

    get(kind, value) {
        return this.#all.get(idOf(kind, value));
    }

    /* for the page */
    take(kind, value, params, options) {
        const { signal } = options ?? {};
        let hold = this.get(kind, value);

        if (signal?.aborted) {
            return Promise.reject(signal.reason);
        }

        if (hold?.explicit) {
            return this.#service.rpcCall(kind.take, params, options)
                .then((data) => this.#make(hold, data, true));
        }

        hold ??= this.#add(kind, value, params);
        hold.explicit = true;

        const promise = hold.held ? Promise.resolve(hold.data) : hold.promise;
        const timeout = kind.call ? 0 : this.#service.snorky._timeout;

        return patient(promise, { timeout, ...options }, () => {
            hold.explicit = false;
            this.#leave(hold);
        });
    }

    async free(kind, value, params, options) {
        const hold = this.get(kind, value);

        if (hold === undefined) {
            return this.#service.rpcCall(kind.free, params, options);
        }

        if (hold.streams.size === 0) {
            return this.#end(hold, params, options);
        }

        if (!hold.explicit) {
            throw new SnorkyError('rpc', kind.none);
        }

        hold.explicit = false;
        return null;
    }

    /* a call that changes the params of what is held */
    async change(kind, value, command, params, options) {
        const hold = this.get(kind, value);

        if (hold?.held && this.#isAway()) {
            return null;
        }

        try {
            return await this.#service.rpcCall(command, params, options);

        } catch (error) {
            return this.#pass(error);
        }
    }

    /* of a kind with a call of its own; loops end, too */
    async cancel(kind, value, error, options) {
        const hold = this.get(kind, value);

        if (hold) {
            hold.reject(error ?? new SnorkyError('closed', 'Cancelled'));
            endLoops(hold, error);

            if (hold.params) {
                await this.#end(hold, hold.params, options);
            } else {
                this.#drop(hold);
            }
        }
    }

    /* the server does not have it any longer */
    forget(kind, value) {
        const hold = this.get(kind, value);

        if (hold) {
            this.#drop(hold);
        }
    }

    /* what a loop reads; it is told by tell() */
    stream(kind, value, params, options) {
        let hold;

        const open = (stream) => {
            hold = this.get(kind, value)
                   ?? (kind.call ? undefined : this.#add(kind, value, params));

            if (hold) {
                hold.streams.add(stream);
            } else {
                stream.end();
            }
        };

        return new Stream(options, open, (stream) => {
            if (hold?.streams.delete(stream)) {
                this.#leave(hold);
            }
        });
    }

    tell(kind, value, message) {
        this.#tellLoops(this.get(kind, value), message);
    }

    tellAll(message) {
        this.#each((hold) => this.#tellLoops(hold, message));
    }

    /* resolved when all is held again */
    resume() {
        return Promise.all([...this.#all.values()].map((hold) =>
            hold.busy || this.#call(hold)));
    }

    /* nothing is held at present; without an error, the client resumes */
    end(error) {
        this.#each((hold) => {
            this.#pause(hold);
            hold.tries = 0;

            if (error && !hold.busy) {
                this.#fail(hold, error);
            }
        });
    }

    /* there are no more connections, unless the page wants one */
    stop(error) {
        this.#each((hold) => {
            this.#pause(hold);
            endLoops(hold, error.code === 'closed' ? undefined : error);

            if (!hold.held) {
                this.#fail(hold, error);
            }
        });
    }

    close() {
        this.#each(({ data }) => disposeAll(Object(data)));
        this.#all.clear();
    }

    #add(kind, value, params) {
        const { _over, isConnected } = this.#service.snorky;
        const hold = {
            id: idOf(kind, value), service: this.#service, kind, params,
            tries: 0, streams: new Set(),
        };

        hold.promise = new Promise((resolve, reject) =>
            Object.assign(hold, { resolve, reject }));
        hold.promise.catch(() => {});

        this.#all.set(hold.id, hold);

        if (_over) {
            this.#fail(hold, _over);

        } else if (isConnected || !kind.call) {
            this.#call(hold);
        }

        return hold;
    }

    /* resolved when it is held, or lost */
    async #call(hold) {
        const { kind, params } = hold;
        const { signal } = hold.abort = new AbortController();
        let told = false;

        /* at once, before what may come with the answer */
        const tell = (data) => {
            told = true;
            hold.busy = false;
            this.#held(hold, data);
        };

        hold.busy = true;

        try {
            const data = await (kind.call?.(hold, signal)
                ?? this.#service.rpcCall(kind.take, params,
                                         { timeout: 0, signal, tell }));

            if (!told && !signal.aborted) {
                tell(data);
            }

        } catch (error) {
            if (!signal.aborted) {
                hold.busy = false;
                await this.#refused(hold, error);
            }
        }
    }

    #held(hold, data) {
        const again = hold.held;

        Object.assign(hold, { held: true, tries: 0 });
        hold.resolve(this.#make(hold, data));

        if (again && this.#has(hold)) {
            this.#tellPage(hold, 'resumed', { data });
        }
    }

    #make(hold, data, anew) {
        const { held } = hold.kind;

        if (anew) {
            hold.data = undefined;
        }

        hold.data = held ? held(hold, data) : data;
        return hold.data;
    }

    #refused(hold, error) {
        if (!this.#has(hold)) {
            hold.reject(error);
            return;
        }

        if (this.#resumes(error) || (hold.held && error.code !== 'rpc')) {
            return;                 /* the next connection calls again */
        }

        const { kind, held } = hold;

        if (!kind.call && !(held && PASSING.includes(error.message))) {
            this.#fail(hold, error);
            return;
        }

        const again = new Promise((resolve) => {
            hold.timer = setTimeout(() => resolve(this.#call(hold)),
                this.#service.snorky._pause(hold.tries++));
        });

        return kind.call || error.message === TAKEN ? undefined : again;
    }

    /* it is over */
    #fail(hold, error) {
        this.#drop(hold);
        hold.reject(error);
        endLoops(hold, error);

        if (hold.held && error.code === 'rpc') {
            this.#tellPage(hold, 'lost', { error });
        }
    }

    /* one who wanted it does not any longer */
    #leave(hold) {
        if (hold.explicit || hold.streams.size > 0 || !this.#has(hold)) {
            return;
        }

        if (!hold.held && !this.#service.snorky.isConnected) {
            this.#drop(hold);
            hold.abort.abort();     /* it was not sent yet */

        } else {
            this.#end(hold, hold.params).catch(() => {});
        }
    }

    /* nothing of it is left when the connection ends */
    async #end(hold, params, options) {
        this.#drop(hold);

        if (this.#isAway() && (hold.held || !hold.busy)) {
            hold.reject(new SnorkyError('disconnected', 'Connection closed'));
            return null;
        }

        try {
            return await this.#service.rpcCall(hold.kind.free, params, options);

        } catch (error) {
            return this.#pass(error);
        }
    }

    #drop(hold) {
        this.#pause(hold);
        this.#all.delete(hold.id);
    }

    #pause(hold) {
        clearTimeout(hold.timer);

        if (hold.kind.call) {
            hold.busy = false;
            hold.abort?.abort();
        }
    }

    #has(hold) {
        return this.#all.get(hold.id) === hold;
    }

    /* whether the next connection has what there is then */
    #isAway() {
        const { _resume, isConnected } = this.#service.snorky;

        return _resume && !isConnected;
    }

    #resumes(error) {
        return error.code === 'disconnected' && this.#service.snorky._resume;
    }

    #pass(error) {
        if (this.#resumes(error)) {
            return null;
        }

        throw error;
    }

    #tellLoops(hold, message) {
        for (const stream of [...hold?.streams ?? []]) {
            stream.push(message);
        }
    }

    #tellPage({ kind, params }, signal, more) {
        this.#service[signal].dispatch({ command: kind.take, params, ...more });
    }

    #each(code) {
        [...this.#all.values()].forEach(code);
    }
}


function idOf(kind, value) {
    return kind.take + key(value);
}


function endLoops({ streams }, error) {
    for (const stream of [...streams]) {
        stream.end(error);
    }
}
