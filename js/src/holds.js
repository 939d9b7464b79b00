import { Calls } from './calls.js';
import { SnorkyError } from './error.js';
import { key } from './key.js';
import { pauseOf } from './link.js';
import { deferred, patient } from './promise.js';
import { disposeAll } from './signal.js';
import { Stream } from './stream.js';

/* what may be gone the next time; the first of these is another client's */
const TAKEN = 'Name already registered';
const PASSING = [
    TAKEN, 'Not joined', 'Overloaded', 'Authorization failed', 'Timed out',
    'Too many calls', 'Internal error',
];

const CANCELLED = ['closed', 'Cancelled'];


/*
 * What a client holds of one service: channels, names, documents.  Each is had
 * by one call, once, for all who want it: the page, and loops.  When the
 * client resumes, each connection makes the call anew.
 *
 * A kind of these is
 *
 *   take, free             two commands
 *   by                     the parameter by which one is known
 *   none                   what the server says to the second in vain
 *   held(hold, data)       what is made of the answer, if not the data itself
 *   call(hold, signal)     a promise of the answer, if it takes more than one
 *                          call; whatever it is rejected with, it is tried
 *                          again
 */
export class Holds extends Calls {
    #all = new Map();

    get(kind, params) {
        return this.#all.get(idOf(kind, params));
    }

    /* for the page */
    async take(kind, params = {}, options = {}) {
        const { _options, _over } = this.service.snorky;
        let hold = this.get(kind, params);

        options.signal?.throwIfAborted();

        if (_over) {
            throw _over;
        }

        if (hold?.page) {
            const data = await this.service.rpcCall(kind.take, params, options);

            hold.data = undefined;
            return this.#make(hold, data);
        }

        hold ??= this.#add(kind, params);

        const page = hold.page = deferred();

        if (hold.held) {
            page.resolve(hold.data);
        }

        return patient(page.promise, { timeout: _options?.timeout, ...options },
                       (error) => {
                           page.reject(error);
                           hold.page = undefined;
                           this.#leave(hold);
                       });
    }

    async free(kind, params = {}, options) {
        const hold = this.get(kind, params);

        if (!hold?.streams.size) {
            return this.#end(hold, kind, params, options);
        }

        if (!hold.page) {
            throw new SnorkyError('rpc', kind.none);
        }

        hold.page.reject(new SnorkyError(...CANCELLED));
        hold.page = undefined;
        return null;
    }

    /*
     * A call about what is held, the params of which it changes.  The next
     * connection needs no such call.
     */
    async change(hold, command, params, options) {
        const { _options, isConnected } = this.service.snorky;
        const resume = hold && _options?.resume;

        if (resume && !isConnected && (hold.held || !hold.busy)) {
            return null;
        }

        try {
            return await this.service.rpcCall(command, params, options);

        } catch (error) {
            if (resume && error.code === 'disconnected') {
                return null;
            }

            throw error;
        }
    }

    /* the server does not have it any longer */
    forget(kind, params) {
        this.#drop(this.get(kind, params));
    }

    /* of a kind with a call of its own; loops end, too */
    async cancel(kind, params, error, options) {
        const hold = this.get(kind, params);

        if (hold) {
            hold.page?.reject(error ?? new SnorkyError(...CANCELLED));
            endLoops(hold, error);
            await (hold.params.token
                   ? this.#end(hold, kind, hold.params, options)
                   : this.#drop(hold));
        }
    }

    /* what a loop reads; it is told by tell() */
    stream(kind, params, options) {
        let hold;

        const open = (stream) => {
            const { _over } = this.service.snorky;

            hold = this.get(kind, params) ?? (_over || kind.call
                ? undefined : this.#add(kind, params));
            hold ? hold.streams.add(stream) : stream.end(_over);
        };

        return new Stream(options, open, (stream) => {
            if (hold?.streams.delete(stream)) {
                this.#leave(hold);
            }
        });
    }

    tell(kind, params, message) {
        tellLoops(this.get(kind, params), message);
    }

    tellAll(message) {
        this.#each((hold) => tellLoops(hold, message));
    }

    /* resolved when all is held again */
    resume() {
        return Promise.all([...this.#all.values()].map((hold) => {
            hold.tries = 0;
            return hold.busy || this.#call(hold);
        }));
    }

    /* nothing is held, until the next connection, if there is to be one */
    end(error) {
        const { _options: { resume }, _over } = this.service.snorky;

        super.end(error, _over);

        this.#each((hold) => {
            this.#pause(hold);

            if (_over) {
                endLoops(hold, error.code === 'closed' ? undefined : error);
            }

            if (_over ? !hold.held : !resume && !hold.busy) {
                this.#fail(hold, error);
            }
        });
    }

    close() {
        this.#each(({ data }) => disposeAll(Object(data)));
        this.#all.clear();
    }

    #add(kind, params) {
        const hold = {
            id: idOf(kind, params), service: this.service, kind, params,
            tries: 0, streams: new Set(),
        };

        this.#all.set(hold.id, hold);

        if (!kind.call || this.service.snorky.isConnected) {
            this.#call(hold);
        }

        return hold;
    }

    /* resolved when it is held, or lost */
    async #call(hold) {
        const { kind, params } = hold;
        const { signal } = hold.abort = new AbortController();

        const tell = (data) => {
            if (hold.busy) {
                hold.busy = false;
                this.#held(hold, data);
            }
        };

        hold.busy = true;

        try {
            const data = await (kind.call?.(hold, signal)
                ?? this.service.rpcCall(kind.take, params,
                                        { timeout: 0, signal, tell }));

            signal.aborted || tell(data);

        } catch (error) {
            if (!signal.aborted) {
                hold.busy = false;
                await this.#refused(hold, error);
            }
        }
    }

    #held(hold, data) {
        const again = hold.held;

        hold.held = true;
        this.#make(hold, data);
        hold.page?.resolve(hold.data);

        if (again && this.#has(hold)) {
            this.#tellPage(hold, 'resumed', { data });
        }
    }

    #make(hold, data) {
        const { held } = hold.kind;

        hold.data = held ? held(hold, data) : data;
        return hold.data;
    }

    #refused(hold, error) {
        const { kind, held } = hold;
        const { snorky } = this.service;

        if (!this.#has(hold)) {
            hold.page?.reject(error);
            return;
        }

        const { code, message } = error;

        if (!kind.call) {
            if (held ? code !== 'rpc'
                     : code === 'disconnected' && snorky._options.resume)
            {
                return;             /* the next connection calls again */
            }

            if (!held || !PASSING.includes(message)) {
                this.#fail(hold, error);
                return;
            }
        }

        const again = new Promise((resolve) => {
            hold.timer = setTimeout(() => resolve(this.#call(hold)),
                                    pauseOf(snorky._options, hold.tries++));
        });

        return kind.call || message === TAKEN ? undefined : again;
    }

    /* it is over */
    #fail(hold, error) {
        this.#drop(hold);
        hold.page?.reject(error);
        endLoops(hold, error);

        if (hold.held && error.code === 'rpc') {
            this.#tellPage(hold, 'lost', { error });
        }
    }

    /* one who wanted it does not any longer */
    #leave(hold) {
        if (hold.page || hold.streams.size > 0 || !this.#has(hold)) {
            return;
        }

        const { kind, held } = hold;

        if (!held && (kind.call || !this.service.snorky.isConnected)) {
            this.#drop(hold);
            hold.abort?.abort();    /* it was not sent yet */

        } else {
            this.#end(hold, kind, hold.params).catch(() => {});
        }
    }

    #end(hold, kind, params, options) {
        const answer = this.change(hold, kind.free, params, options);

        this.#drop(hold);

        /* what is away, and was never held, won't have an answer */
        if (!hold?.busy) {
            hold?.page?.reject(new SnorkyError('disconnected',
                                              'Connection closed'));
        }

        return answer;
    }

    #drop(hold) {
        if (hold) {
            this.#pause(hold);
            this.#all.delete(hold.id);
        }
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

    #tellPage({ kind, params }, signal, more) {
        this.service[signal].dispatch({ command: kind.take, params, ...more });
    }

    #each(code) {
        [...this.#all.values()].forEach(code);
    }
}


function idOf(kind, params) {
    return kind.take + key(params[kind.by]);
}


function tellLoops(hold, message) {
    hold?.streams.forEach((stream) => stream.push(message));
}


function endLoops(hold, error) {
    hold.streams.forEach((stream) => stream.end(error));
}
