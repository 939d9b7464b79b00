import { SnorkyError } from './error.js';
import { deferred, patient } from './promise.js';


/* The calls of one service that have no answer yet. */
export class Calls {
    #waiting = new Map();       /* by callId */
    #nextId = 0;

    constructor(service) {
        this.service = service;
    }

    /* "tell" has the answer at once, before what may come right after it */
    async make(command, params, options = {}) {
        const { snorky } = this.service;
        const callId = this.#nextId++;
        const message = { command, params, callId };
        const call = { ...deferred(), message, tell: options.tell };

        options.signal?.throwIfAborted();

        if (snorky._over) {
            throw snorky._over;
        }

        this.service.sendMessage(message);
        this.#waiting.set(callId, call);

        return patient(call.promise,
                       { timeout: snorky._options?.timeout, ...options },
                       (error) => this.#fail(call, error));
    }

    /* whether the message was for us */
    answered(content) {
        const { type, callId, data, message } = content ?? {};
        const call = this.#waiting.get(callId);

        if (type === 'response') {
            this.#waiting.delete(callId);
            call?.tell?.(data);
            call?.resolve(data);

        } else if (type === 'error') {
            call && this.#fail(call, new SnorkyError('rpc', message));

        } else {
            return false;
        }

        return true;
    }

    /* those that were not sent yet may have an answer still, or may not */
    end(error, all) {
        for (const call of this.#waiting.values()) {
            if (all || !this.service.snorky._queue.has(call.message)) {
                this.#fail(call, error);
            }
        }
    }

    #fail({ message, reject }, error) {
        this.#waiting.delete(message.callId);
        this.service.snorky._queue?.delete(message);
        reject(error);
    }
}
