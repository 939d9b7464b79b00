import { SnorkyError } from './error.js';

const LIMIT = 10000;


/*
 * What stands behind a loop: values that wait for it, or it for them.  It is
 * opened by the first next(), and released once, when it ends.
 */
export class Stream {
    #values = [];
    #wake = [];             /* by those who wait */
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
        if (this.#values.length >= this.#limit) {
            this.end(new SnorkyError('overflow', 'Too much is waiting'));

        } else if (!this.#ended) {
            this.#values.push(value);
            this.#wake.shift()?.();
        }
    }

    /* what is waiting is read yet; then the error is thrown, if there is one */
    end(error) {
        if (!this.#ended) {
            this.#ended = true;
            this.#error = error;
            this.#signal?.removeEventListener('abort', this.#abort);
            this.#release?.(this);
            this.#wake.forEach((wake) => wake());
        }
    }

    async next() {
        if (!this.#ended) {
            this.#open?.(this);
            this.#open = undefined;
        }

        while (this.#values.length === 0 && !this.#ended) {
            await new Promise((wake) => this.#wake.push(wake));
        }

        if (this.#values.length > 0) {
            return { value: this.#values.shift(), done: false };
        }

        const error = this.#error;

        if (error !== undefined) {
            this.#error = undefined;
            throw error;
        }

        return { value: undefined, done: true };
    }

    async return(value) {
        this.#values = [];
        this.end();
        this.#error = undefined;
        return { value, done: true };
    }

    [Symbol.asyncIterator]() {
        return this;
    }

    #abort = () => {
        this.#values = [];
        this.end(this.#signal.reason);
    };
}
