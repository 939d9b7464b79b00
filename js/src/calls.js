import { SnorkyError } from './error.js';
import { patient } from './patience.js';


/* The calls of one service that have no answer yet. */
export class Calls {
    #service;
    #waiting = new Map();       /* by callId */
    #nextId = 0;

    constructor(service) {
        this.#service = service;
    }

    make(command, params, options = {}) {
        const { snorky } = this.#service;
        const error = options.signal?.aborted ? options.signal.reason
                                              : snorky._over;

        if (error) {
            return Promise.reject(error);
        }

        const callId = this.#nextId++;
        const call = { message: { command, params, callId },
                       tell: options.tell };

        const promise = new Promise((resolve, reject) => {
            Object.assign(call, { resolve, reject });
            this.#waiting.set(callId, call);
            this.#send(call);
        });

        return patient(promise, { timeout: snorky._timeout, ...options }, () => {
            this.#waiting.delete(callId);
            snorky._withdraw?.(call.message);
        });
    }

    /* whether the message was for us */
    answered(content) {
        const { type, callId, data, message } = content ?? {};
        const call = this.#waiting.get(callId);

        if (type !== 'response' && type !== 'error') {
            return false;
        }

        this.#waiting.delete(callId);

        if (type === 'response') {
            call?.tell?.(data);
            call?.resolve(data);
        } else {
            call?.reject(new SnorkyError('rpc', message));
        }

        return true;
    }

    /* there will be no answers, but to those that were not sent yet */
    end(error, unsent) {
        const ended = [...this.#waiting.values()].filter(({ message }) =>
            !unsent.has(message));

        for (const { message, reject } of ended) {
            this.#waiting.delete(message.callId);
            reject(error);
        }

        return ended.map(({ message }) => message);
    }

    #send(call) {
        try {
            this.#service.sendMessage(call.message);

        } catch (error) {
            this.#waiting.delete(call.message.callId);
            call.reject(error);
        }
    }
}
