import { SnorkyError } from './error.js';

const LIMIT = 10000;


/*
 * What stands behind a loop: values that wait for it, or it for them.  It is
 * opened by the first next(), and released once, when it ends.
 */
export class Stream {
    #values = [];
    #readers = [];
    #limit;
    #signal;
    #open;
    #release;
    #ended = false;
    #error;

    constructor({ signal, limit = LIMIT } = {}, open, release) {
        this.#limit = limit;
        this.#signal = signal;
        this.#open = open;
        this.#release = release;
        signal?.addEventListener('abort', this.#abort);

        if (signal?.aborted) {
            this.#abort();
        }
    }

    push(value) {
        if (this.#ended) {
            return;
        }

        if (this.#readers.length > 0) {
            this.#readers.shift().resolve({ value, done: false });

        } else if (this.#values.length < this.#limit) {
            this.#values.push(value);

        } else {
            this.end(new SnorkyError('overflow', 'Too much is waiting'));
        }
    }

    /* what is waiting is read yet; then the error is thrown, if there is one */
    end(error) {
        if (this.#ended) {
            return;
        }

        this.#ended = true;
        this.#error = error;
        this.#signal?.removeEventListener('abort', this.#abort);
        this.#release?.(this);

        for (const { resolve } of this.#readers.splice(0)) {
            resolve(this.#last());
        }
    }

    next() {
        if (this.#values.length > 0) {
            return Promise.resolve({ value: this.#values.shift(), done: false });
        }

        if (this.#ended) {
            return this.#last();
        }

        return new Promise((resolve) => {
            this.#readers.push({ resolve });
            this.#start();
        });
    }

    return(value) {
        this.#values = [];
        this.end();
        this.#error = undefined;
        return Promise.resolve({ value, done: true });
    }

    [Symbol.asyncIterator]() {
        return this;
    }

    #start() {
        const open = this.#open;

        this.#open = undefined;
        open?.(this);
    }

    /* the error is told once */
    #last() {
        const error = this.#error;

        this.#error = undefined;
        return error === undefined
               ? Promise.resolve({ value: undefined, done: true })
               : Promise.reject(error);
    }

    #abort = () => {
        this.#values = [];
        this.end(this.#signal.reason);
    };
}
